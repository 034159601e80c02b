//! The queue of outgoing frames of one hub-to-hub link.
//!
//! Two lanes. *Data* (signals, acknowledgements) is encoded straight into batches by the sending thread. Once
//! [`BACKED_UP`] bytes of signals wait, this hub's own peers are limited to their shares (see
//! [`Exchange::set_backed_up`](hubmesh_core::exchange::Exchange::set_backed_up)), and the frames from each link, or
//! from this hub, have shares too (`shares`). A frame over its share is dropped, and its source sends it again. No load
//! closes a link. Acknowledgements overtake the signals of a link that is behind, because a hub that waits for them
//! cannot send. *Control* is at most one message, encoded by the core only when the last one was written, so that a
//! slow link costs a cursor and no copies. It never waits behind more than [`AT_ONCE`] of data and one signal. Nothing
//! here decodes the bytes.

mod shares;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::task::AtomicWaker;
use hubmesh_core::exchange::SIGNAL_COST;
use hubmesh_core::frames::DataFrame;
use hubmesh_core::ids::LinkId;
use hubmesh_core::wire;
use parking_lot::Mutex;
use std::task::{Context, Poll};

use super::progress::Progress;

use shares::{FrameOwner, LinkShares, OwnerBytes};

/// A batch is closed once it has this many bytes.
pub const BATCH: usize = 16 * 1024;
/// A link is backed up once this many bytes of signals wait for it: 84 ms of a link of 100 Mbit/s, and more than
/// hundreds of peers send at once.
pub const BACKED_UP: usize = 1024 * 1024;
/// How many bytes of signals may wait for a link.
pub const MAX_WAITING: usize = 8 * 1024 * 1024;
/// How many bytes of acknowledgements may wait in front of the signals; the next acknowledgement replaces one that does
/// not fit.
const MAX_ACKS: usize = 256 * 1024;
/// The most bytes of an acknowledgement without refusals, and of each refused signal in it.
const ACK_COST: usize = 128;
const REFUSED_COST: usize = 11;
/// The writer gets no more data in one turn when it has this many bytes.
const AT_ONCE: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Lanes {
    acks: Lane,
    data: Lane,
    control: Option<Bytes>,
    closing: Option<Bytes>,
}

/// Batches, each of them one message.
#[derive(Debug, Default)]
struct Lane {
    batches: VecDeque<Batch>,
    bytes: usize,
    shares: LinkShares,
}

#[derive(Debug, Default)]
struct Batch {
    message: BytesMut,
    /// The bytes of each owner in it; only frames that are counted have one.
    parts: Vec<OwnerBytes>,
}

impl Lane {
    /// Encodes a frame into the last batch, or into a new batch if the last one is long enough, and counts it as this
    /// owner's.
    fn put(&mut self, frame: &DataFrame, counted: Option<FrameOwner>) {
        if !matches!(self.batches.back(), Some(batch) if batch.message.len() < BATCH) {
            self.batches.push_back(Batch {
                message: BytesMut::with_capacity(1024),
                parts: Vec::new(),
            });
        }
        let last = self.batches.len() - 1;
        let batch = &mut self.batches[last];
        let before = batch.message.len();
        wire::encode_data(frame, &mut batch.message);
        let written = batch.message.len() - before;
        self.bytes += written;
        if let Some(owner) = counted {
            self.shares.add(owner, written, &mut batch.parts);
        }
    }

    fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.message.len();
        self.shares.subtract(&batch.parts);
        Some(batch)
    }
}

impl Lanes {
    fn put_signal(&mut self, frame: &DataFrame, bytes: usize, by: Option<LinkId>) -> Pushed {
        let counts = self.data.bytes > BACKED_UP || self.data.shares.is_counting();
        let space = MAX_WAITING.saturating_sub(self.data.bytes);
        let owner = FrameOwner {
            came_by: by,
            source: frame.head().source,
        };
        if counts && !self.data.shares.fits(&owner, bytes, space) {
            return Pushed::Dropped;
        }
        self.data.put(frame, counts.then_some(owner));
        if self.data.bytes > BACKED_UP {
            Pushed::BackedUp
        } else {
            Pushed::Taken
        }
    }

    /// Acknowledgements share messages with signals while little waits.
    fn put_ack(&mut self, frame: &DataFrame, bytes: usize, by: Option<LinkId>) -> Pushed {
        if self.data.bytes < BATCH && self.acks.bytes == 0 {
            self.data.put(frame, None);
            return Pushed::Taken;
        }
        let space = MAX_ACKS.saturating_sub(self.acks.bytes);
        let owner = FrameOwner {
            came_by: by,
            source: frame.head().source,
        };
        if !self.acks.shares.fits(&owner, bytes, space) {
            return Pushed::Dropped;
        }
        self.acks.put(frame, Some(owner));
        Pushed::Taken
    }

    /// Acknowledgements are taken first, up to half of the bound; signals follow. A hub that sends acknowledgements
    /// faster than the link writes them cannot stop signals.
    fn take_data(&mut self, messages: &mut Vec<Bytes>) {
        let mut taken = 0;
        while taken < AT_ONCE {
            let batch = match taken < AT_ONCE / 2 {
                true => self.acks.pop().or_else(|| self.data.pop()),
                false => self.data.pop().or_else(|| self.acks.pop()),
            };
            let Some(batch) = batch else { return };
            taken += batch.message.len();
            messages.push(batch.message.freeze());
        }
    }
}

/// The result for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is queued.
    Taken,
    /// It is queued; from now on the link is backed up.
    BackedUp,
    /// There is no space: the frame is dropped.
    Dropped,
}

/// The next thing for the writer to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Write these messages, then flush.
    Write {
        /// In this order.
        messages: Vec<Bytes>,
        /// The control message is among them: there is space for the next.
        control: bool,
    },
    /// Write this last message, then close.
    Close(Bytes),
}

/// A link's lanes.
#[derive(Debug, Default)]
pub struct LinkQueue {
    lanes: Mutex<Lanes>,
    writer: AtomicWaker,
    progress: Arc<Progress>,
}

impl LinkQueue {
    /// An empty queue for a link whose stream has this progress.
    pub fn over(progress: Arc<Progress>) -> Self {
        LinkQueue {
            progress,
            ..LinkQueue::default()
        }
    }

    /// Adds a signal or an acknowledgement that arrived on this link, or that this hub sends.
    pub fn push_data(&self, frame: &DataFrame, came_by: Option<LinkId>) -> Pushed {
        let mut lanes = self.lanes.lock();
        let pushed = match frame {
            // A closing link sends nothing more; the window sends the frame on another link.
            _ if lanes.closing.is_some() => return Pushed::Taken,
            DataFrame::Signal(signal) => {
                lanes.put_signal(frame, SIGNAL_COST + signal.body.payload().len(), came_by)
            }
            DataFrame::Ack(ack) => {
                lanes.put_ack(frame, ACK_COST + REFUSED_COST * ack.refused.len(), came_by)
            }
            DataFrame::Raw(unread) if unread.is_ack() => {
                lanes.put_ack(frame, ACK_COST + unread.rest.len(), came_by)
            }
            DataFrame::Raw(unread) => {
                lanes.put_signal(frame, SIGNAL_COST + unread.rest.len(), came_by)
            }
        };
        drop(lanes);
        if pushed != Pushed::Dropped {
            self.writer.wake();
        }
        pushed
    }

    /// Whether a link that was backed up still is backed up: it is until half of [`BACKED_UP`] is left.
    pub fn is_backed_up(&self) -> bool {
        self.lanes.lock().data.bytes > BACKED_UP / 2
    }

    /// Whether there is space for a control message.
    pub fn takes_control(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.control.is_none() && lanes.closing.is_none()
    }

    /// Inserts the next control message.
    pub fn put_control(&self, message: Bytes) {
        self.lanes.lock().control = Some(message);
        self.writer.wake();
    }

    /// Closes the link: the queue is written, then `bye`.
    pub fn close(&self, bye: Bytes) {
        self.lanes.lock().closing.get_or_insert(bye);
        self.writer.wake();
    }

    /// Whether the link is closing.
    pub fn is_closing(&self) -> bool {
        self.lanes.lock().closing.is_some()
    }

    /// The progress of the link's stream.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The messages to write, up to a bound. The control message is first. Acknowledgements follow, up to half of the
    /// bound while signals wait.
    pub fn poll_work(&self, context: &Context<'_>) -> Poll<Work> {
        self.writer.register(context.waker());
        let mut lanes = self.lanes.lock();
        let mut messages: Vec<Bytes> = lanes.control.take().into_iter().collect();
        let control = !messages.is_empty();
        lanes.take_data(&mut messages);
        if !messages.is_empty() {
            return Poll::Ready(Work::Write { messages, control });
        }
        match lanes.closing.take() {
            Some(bye) => Poll::Ready(Work::Close(bye)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
