//! What waits for one peer's socket: messages, and word from the hub to its session.
//!
//! Anyone may put something in, from any thread, and is never made to wait: the lock is held for moments, and a
//! full mailbox refuses and marks its session for closing ([`CloseReason::OutboxFull`]). The session alone takes
//! out. Knows no dialect and no socket; memory is given back whenever it runs empty.
//!
//! Invariants: messages leave in the order in which they came in; what waits is bounded in messages and bytes, and
//! a roster counts as the bytes that it may become; the first reason to close stays.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::reason::CloseReason;
use crate::config::ROSTER_ENVELOPE_BYTES;
use crate::mesh::core::ids::{ClaimNo, NetworkKey, PeerId};

/// The mailbox did not take it: it is full, or its session is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Word from the hub to a session; overtakes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The claim stands.
    Accepted(ClaimNo),
    /// The claim may not be, or is no more: end.
    Close(CloseReason),
    /// Find out whether the peer is alive.
    Probe {
        /// The claim that is asked about.
        claim: ClaimNo,
        /// To be given back.
        token: u64,
        /// How long to wait for a sign of life.
        within: Duration,
    },
}

/// The members that a newcomer is told of; written message by message as the socket takes them.
#[derive(Debug)]
pub struct Roster {
    /// The network.
    pub network: NetworkKey,
    /// The members that are still to be told, the next one last.
    pub left: Vec<(PeerId, Option<Bytes>)>,
}

impl Roster {
    /// What it may become on the wire, in bytes, as the configuration reckons it.
    fn bytes(&self) -> usize {
        let data = self
            .left
            .iter()
            .map(|(_, data)| data.as_ref().map_or(0, Bytes::len));
        data.sum::<usize>() + self.left.len() * ROSTER_ENVELOPE_BYTES
    }
}

/// When a session is woken for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeUp {
    /// At once.
    Now,
    /// With the next message that wakes it, or when it is released.
    Later,
}

/// What comes out next.
#[derive(Debug)]
pub enum Item {
    /// One message.
    Text(Utf8Bytes),
    /// Many messages to come.
    Roster(Box<Roster>),
}

/// The most that may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Messages.
    pub messages: usize,
    /// Bytes of their text.
    pub bytes: usize,
}

/// What waits for one session.
pub struct Mailbox {
    capacity: Capacity,
    queue: Mutex<Queue>,
    control: Mutex<Controls>,
    /// Whether `control` holds anything: spares the session a lock on every message.
    has_control: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    shut: bool,
    /// Something waits that the session has not been woken for.
    unannounced: bool,
}

#[derive(Default)]
struct Controls {
    items: VecDeque<Control>,
    close: Option<CloseReason>,
}

impl Mailbox {
    /// An empty one.
    pub fn new(capacity: Capacity) -> Self {
        Mailbox {
            capacity,
            queue: Mutex::default(),
            control: Mutex::default(),
            has_control: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Puts a message in; a mailbox that overflows refuses from then on, and its session ends.
    pub fn push(&self, text: Utf8Bytes) -> Result<(), Full> {
        self.put(text.len(), Item::Text(text), WakeUp::Now)
    }

    /// Puts a notice in, under the same terms. With [`WakeUp::Later`] whoever calls releases it in time.
    pub fn push_notice(&self, text: Utf8Bytes, wake: WakeUp) -> Result<(), Full> {
        self.put(text.len(), Item::Text(text), wake)
    }

    /// Has the session look at what was put in without waking it.
    pub fn release(&self) {
        if std::mem::take(&mut self.queue.lock().unannounced) {
            self.waker.wake();
        }
    }

    /// Puts a roster in, under the same terms: a client that moves about and does not read must not pile them up.
    pub fn push_roster(&self, roster: Box<Roster>) -> Result<(), Full> {
        self.put(roster.bytes(), Item::Roster(roster), WakeUp::Now)
    }

    /// Only the first item of an empty queue wakes: until it is empty again, the session is on it already. An item
    /// that wakes it later leaves that to the next one.
    fn put(&self, bytes: usize, item: Item, wake: WakeUp) -> Result<(), Full> {
        let mut queue = self.queue.lock();
        if queue.shut {
            return Err(Full);
        }
        let bytes = queue.bytes.saturating_add(bytes);
        if queue.items.len() >= self.capacity.messages || bytes > self.capacity.bytes {
            queue.shut = true;
            drop(queue);
            self.close(CloseReason::OutboxFull);
            return Err(Full);
        }
        queue.bytes = bytes;
        let asleep = queue.items.is_empty() || queue.unannounced;
        queue.unannounced = asleep && wake == WakeUp::Later;
        queue.items.push_back(item);
        drop(queue);
        if asleep && wake == WakeUp::Now {
            self.waker.wake();
        }
        Ok(())
    }

    /// Tells the session something.
    pub fn tell(&self, control: Control) {
        if let Control::Close(reason) = control {
            return self.close(reason);
        }
        self.control.lock().items.push_back(control);
        self.has_control.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ends the session; the first reason stays.
    pub fn close(&self, reason: CloseReason) {
        self.control.lock().close.get_or_insert(reason);
        self.has_control.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Refuses everything from now on and drops what waits. For the session's end.
    pub fn shut(&self) {
        let mut queue = self.queue.lock();
        queue.shut = true;
        queue.bytes = 0;
        let dropped = std::mem::take(&mut queue.items);
        drop(queue);
        drop(dropped);
    }

    /// Refuses everything from now on if nothing waits; whether that is so now. For an end that loses nothing.
    pub fn shut_if_empty(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.shut |= queue.items.is_empty();
        queue.shut
    }

    /// Has the session woken for whatever comes in from now on.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// What the hub has to say, if anything; a reason to close before all else.
    pub(crate) fn next_control(&self) -> Option<Control> {
        if !self.has_control.load(Ordering::Acquire) {
            return None;
        }
        let mut control = self.control.lock();
        if let Some(reason) = control.close {
            return Some(Control::Close(reason));
        }
        let next = control.items.pop_front();
        if control.items.is_empty() {
            control.items = VecDeque::new();
            self.has_control.store(false, Ordering::Release);
        }
        next
    }

    /// Hands messages to `write` until they are `enough` bytes or none is left; stops at a roster, and gives
    /// that out.
    pub fn drain(&self, enough: usize, mut write: impl FnMut(&str)) -> Option<Box<Roster>> {
        let mut queue = self.queue.lock();
        queue.unannounced = false;
        let mut written = 0;
        while written < enough {
            match queue.items.pop_front() {
                Some(Item::Text(text)) => {
                    queue.bytes = queue.bytes.saturating_sub(text.len());
                    written += text.len();
                    write(&text);
                }
                Some(Item::Roster(roster)) => {
                    queue.bytes = queue.bytes.saturating_sub(roster.bytes());
                    return Some(roster);
                }
                None => break,
            }
        }
        if queue.items.is_empty() {
            queue.items = VecDeque::new();
        }
        None
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.queue.lock();
        f.debug_struct("Mailbox")
            .field("messages", &queue.items.len())
            .field("bytes", &queue.bytes)
            .field("shut", &queue.shut)
            .finish()
    }
}

#[cfg(test)]
mod tests;
