//! The queue of messages for one peer's socket, and of control from the hub to its session.
//!
//! Any thread may insert, and never waits: the lock is held for moments. Signals may fill half of the queue. Each
//! sender may fill a part of this half, which shrinks as the half fills (`shares`); a signal over its sender's part is
//! refused. Messages of the hub that other hubs can cause count as signals of the hub. Only the hub's own messages use
//! the other half: when such a message does not fit, the session is marked for closing ([`CloseReason::OutboxFull`]).
//! Only the session removes messages. Knows no dialect and no socket; the memory is freed whenever the queue is empty.
//!
//! Invariants: messages leave in the order of insertion; the queue is bounded in messages and bytes, and a roster
//! counts as the bytes that it may become; no signal ends a session; [`Mailbox::shut`] returns each inserted signal
//! that was not removed; the first reason to close stays.

mod shares;

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use hubmesh_core::api::Sender;
use hubmesh_core::ids::{ClaimNo, HubId, NetworkKey, PeerId, SignalKind};
use parking_lot::{Mutex, MutexGuard};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::reason::CloseReason;
use crate::config::ROSTER_ENVELOPE_BYTES;
use crate::watch::Party;

use shares::SenderShares;

/// The mailbox refused the message: it is full, or its session is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxFull;

/// Control from the hub to a session; overtakes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The claim is accepted.
    Accepted(ClaimNo),
    /// The claim is refused or lost; the mesh has dropped it.
    Lost {
        /// The claim that is lost.
        claim: ClaimNo,
        /// The reason of the loss, and of the connection's end if the protocol ends it.
        why: CloseReason,
    },
    /// The connection ends.
    Close(CloseReason),
    /// The mesh asks whether the peer is alive.
    Probe {
        /// The claim that is asked about.
        claim: ClaimNo,
        /// Returned with the answer.
        token: u64,
        /// How long to wait for a sign of life.
        within: Duration,
    },
}

/// The members that a newcomer is told of; encoded message by message as the socket accepts them.
#[derive(Debug)]
pub struct PendingRoster {
    /// The network.
    pub network: NetworkKey,
    /// The members that are still to be told, the next one last.
    pub left: Vec<(PeerId, Option<Bytes>)>,
}

impl PendingRoster {
    /// The bytes that the roster may become on the wire, as the configuration estimates them.
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
    /// With the next message that wakes it, at a release, or when the session checks its mailbox by itself.
    Later,
}

/// The author of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Author {
    /// A claim of this hub.
    Here(ClaimNo),
    /// A claim of another hub.
    There(HubId, ClaimNo),
    /// This hub, for messages that other hubs may cause without limit.
    Hub,
}

impl Author {
    fn of(sender: Sender) -> Self {
        match sender {
            Sender::Here(claim) => Author::Here(claim),
            Sender::There(posted) => Author::There(posted.hub, posted.claim),
        }
    }
}

/// The facts about a signal that are needed to tell its sender that it was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its author.
    pub sender: Sender,
    /// The claim that it is for.
    pub to: ClaimNo,
    /// Its kind.
    pub kind: SignalKind,
}

impl Receipt {
    fn author(&self) -> Author {
        Author::of(self.sender)
    }
}

/// One item in the queue.
#[derive(Debug)]
pub enum Item {
    /// One message of the hub.
    Text(Utf8Bytes),
    /// One signal of another peer.
    Signal(Utf8Bytes, Receipt),
    /// A message that counts as a signal of this author; its author is not told if it is not read.
    Unreceipted(Utf8Bytes, Author),
    /// Many messages to come.
    Roster(Box<PendingRoster>),
}

/// The bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Messages.
    pub messages: u32,
    /// Bytes of their text.
    pub bytes: u32,
}

/// The part of a mailbox that signals may fill.
const SIGNALS_PART: u32 = 2;

/// The queue of one session.
pub struct Mailbox {
    capacity: Capacity,
    /// Its party, as far as that is known.
    party: Option<Party>,
    /// Its party, if the client has proved it after it connected.
    proven: OnceLock<Box<Party>>,
    queue: Mutex<Contents>,
    control: Mutex<Controls>,
    /// Whether `control` holds anything: spares the session a lock on every message.
    has_control: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Contents {
    items: VecDeque<Item>,
    bytes: usize,
    signals: SenderShares,
    shut: bool,
    /// The session has not been woken for an item.
    unannounced: bool,
}

#[derive(Default)]
struct Controls {
    items: VecDeque<Control>,
    close: Option<CloseReason>,
}

impl Contents {
    /// Counts a signal of this length in, if it fits.
    fn takes_signal(&mut self, capacity: Capacity, author: Author, bytes: usize) -> bool {
        let part = Capacity {
            messages: capacity.messages / SIGNALS_PART,
            bytes: capacity.bytes / SIGNALS_PART,
        };
        let items = &self.items;
        let waiting = || items.iter().filter_map(Item::as_signal);
        self.signals.try_add(part, author, bytes, waiting)
    }
}

impl Item {
    /// The author and the length, if the item counts as a signal.
    fn as_signal(&self) -> Option<(Author, usize)> {
        match self {
            Item::Signal(text, receipt) => Some((receipt.author(), text.len())),
            Item::Unreceipted(text, author) => Some((*author, text.len())),
            Item::Text(_) | Item::Roster(_) => None,
        }
    }
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new(capacity: Capacity) -> Self {
        Mailbox {
            capacity,
            party: None,
            proven: OnceLock::new(),
            queue: Mutex::default(),
            control: Mutex::default(),
            has_control: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// An empty mailbox of this party.
    pub fn of(party: Party, capacity: Capacity) -> Self {
        Mailbox {
            party: Some(party),
            ..Mailbox::new(capacity)
        }
    }

    /// Its party, as far as that is known.
    pub fn party(&self) -> Option<&Party> {
        self.proven.get().map(Box::as_ref).or(self.party.as_ref())
    }

    /// From now on the mailbox belongs to this party. Only the first call counts: a party never changes.
    pub fn prove(&self, party: Party) {
        // A proven party stays.
        let _ = self.proven.set(Box::new(party));
    }

    /// The reason for which its session has to end, if it has to.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.control.lock().close
    }

    /// Inserts a signal, unless it is over the part of all signals or of this sender; then nothing changes.
    pub fn push_signal(&self, text: Utf8Bytes, receipt: Receipt) -> Result<(), MailboxFull> {
        let (author, bytes) = (receipt.author(), text.len());
        self.put_within_share(author, bytes, Item::Signal(text, receipt), WakeUp::Now)
    }

    /// Inserts a publication, under the rules for a signal. Its sender is not told if it is not read. With
    /// [`WakeUp::Later`] the caller is the session itself, which looks at its mailbox before it sleeps.
    pub fn push_publication(
        &self,
        text: Utf8Bytes,
        sender: Sender,
        wake: WakeUp,
    ) -> Result<(), MailboxFull> {
        let (author, bytes) = (Author::of(sender), text.len());
        self.put_within_share(author, bytes, Item::Unreceipted(text, author), wake)
    }

    /// Inserts a message of the hub that others may cause without limit. It counts as a signal of the hub, so that such
    /// messages and signals together leave the other half to the hub's own messages.
    pub fn push_spare(&self, text: Utf8Bytes) -> Result<(), MailboxFull> {
        let bytes = text.len();
        let item = Item::Unreceipted(text, Author::Hub);
        self.put_within_share(Author::Hub, bytes, item, WakeUp::Now)
    }

    fn put_within_share(
        &self,
        author: Author,
        bytes: usize,
        item: Item,
        wake: WakeUp,
    ) -> Result<(), MailboxFull> {
        let mut queue = self.queue.lock();
        let all = queue.bytes.saturating_add(bytes);
        let full = queue.items.len() >= self.capacity.messages as usize
            || all > self.capacity.bytes as usize;
        if queue.shut || full || !queue.takes_signal(self.capacity, author, bytes) {
            return Err(MailboxFull);
        }
        self.append(queue, all, item, wake);
        Ok(())
    }

    /// Inserts a message of the hub. If there is no space, the mailbox refuses all messages from then on, and its
    /// session ends.
    pub fn push(&self, text: Utf8Bytes) -> Result<(), MailboxFull> {
        self.put(text.len(), Item::Text(text), WakeUp::Now)
    }

    /// Inserts a notice, under the rules for a message of the hub. With [`WakeUp::Later`] the caller releases it in
    /// time.
    pub fn push_notice(&self, text: Utf8Bytes, wake: WakeUp) -> Result<(), MailboxFull> {
        self.put(text.len(), Item::Text(text), wake)
    }

    /// Wakes the session for items that were inserted without waking it. True if there were any.
    pub fn release(&self) -> bool {
        let unannounced = std::mem::take(&mut self.queue.lock().unannounced);
        if unannounced {
            self.waker.wake();
        }
        unannounced
    }

    /// Inserts a roster, under the rules for a message of the hub: a client that moves often and does not read must not
    /// fill memory with them.
    pub fn push_roster(&self, roster: Box<PendingRoster>) -> Result<(), MailboxFull> {
        self.put(roster.bytes(), Item::Roster(roster), WakeUp::Now)
    }

    fn put(&self, bytes: usize, item: Item, wake: WakeUp) -> Result<(), MailboxFull> {
        let mut queue = self.queue.lock();
        if queue.shut {
            return Err(MailboxFull);
        }
        let bytes = queue.bytes.saturating_add(bytes);
        if queue.items.len() >= self.capacity.messages as usize
            || bytes > self.capacity.bytes as usize
        {
            queue.shut = true;
            drop(queue);
            self.close(CloseReason::OutboxFull);
            return Err(MailboxFull);
        }
        self.append(queue, bytes, item, wake);
        Ok(())
    }

    /// Only the first item of an empty queue wakes the session: until it is empty again, the session is working on it
    /// already. An item with a later wake-up leaves the wake-up to the next item.
    fn append(&self, mut queue: MutexGuard<'_, Contents>, bytes: usize, item: Item, wake: WakeUp) {
        queue.bytes = bytes;
        let asleep = queue.items.is_empty() || queue.unannounced;
        queue.unannounced = asleep && wake == WakeUp::Later;
        queue.items.push_back(item);
        drop(queue);
        if asleep && wake == WakeUp::Now {
            self.waker.wake();
        }
    }

    /// Sends control to the session.
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

    /// Refuses all messages from now on and drops the queue; returns its signals, in order. For the session's end.
    pub fn shut(&self) -> Vec<Receipt> {
        let mut queue = self.queue.lock();
        queue.shut = true;
        queue.bytes = 0;
        queue.signals = SenderShares::default();
        let dropped = std::mem::take(&mut queue.items);
        drop(queue);
        let signals = dropped.into_iter().filter_map(|item| match item {
            Item::Signal(_, receipt) => Some(receipt),
            Item::Text(_) | Item::Unreceipted(..) | Item::Roster(_) => None,
        });
        signals.collect()
    }

    /// Refuses all messages from now on, if the queue is empty. True if it is empty. For an end that loses no message.
    pub fn shut_if_empty(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.shut |= queue.items.is_empty();
        queue.shut
    }

    /// Wakes the session with this waker for items inserted from now on.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// The next control of the hub, if there is any; a reason to close comes first.
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

    /// Passes messages to `write` until they are `enough` bytes or none is left; stops at a roster, and returns the
    /// roster.
    pub fn drain(&self, enough: usize, mut write: impl FnMut(&str)) -> Option<Box<PendingRoster>> {
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
                Some(Item::Unreceipted(text, author)) => {
                    queue.bytes = queue.bytes.saturating_sub(text.len());
                    queue.signals.subtract(author, text.len());
                    written += text.len();
                    write(&text);
                }
                Some(Item::Signal(text, receipt)) => {
                    queue.bytes = queue.bytes.saturating_sub(text.len());
                    queue.signals.subtract(receipt.author(), text.len());
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
            queue.signals = SenderShares::default();
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
