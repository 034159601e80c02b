//! What waits to be written to one hub-to-hub link.
//!
//! Two lanes. *Data* (signals, acknowledgements) is encoded straight into batches by whoever sends it, from any
//! thread, and bounded in bytes: an overflow ends the link, whose windows then send again by another way.
//! *Control* is at most one message, pulled from the core when the last one has been taken, so that a slow link
//! holds back a cursor and not a queue. Nothing here knows what the bytes mean.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use std::task::{Context, Poll};

use super::frames::Frame;
use super::wire;

/// From how many bytes on a batch is not added to.
pub const BATCH: usize = 16 * 1024;
/// How many bytes of signals may wait for a link.
pub const MAX_WAITING: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
struct Lanes {
    data: VecDeque<BytesMut>,
    data_bytes: usize,
    control: Option<Bytes>,
    closing: Option<Bytes>,
    overflowed: bool,
}

/// The next thing for the writer to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Write these messages, then flush.
    Write {
        /// In this order.
        messages: Vec<Bytes>,
        /// The control message is among them: there is room for the next.
        control: bool,
    },
    /// Write this last message, then close.
    Close(Bytes),
}

/// A link's lanes.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: Mutex<Lanes>,
    writer: AtomicWaker,
    heard: AtomicBool,
}

impl Outbox {
    /// Adds a signal or an acknowledgement. False if there is no room: the link has to go.
    pub fn push_data(&self, frame: &Frame) -> bool {
        let mut lanes = self.lanes.lock();
        if lanes.overflowed || lanes.closing.is_some() {
            return !lanes.overflowed;
        }
        let fits = lanes.data.back().is_some_and(|batch| batch.len() < BATCH);
        if !fits {
            lanes.data.push_back(BytesMut::with_capacity(1024));
        }
        let mut written = 0;
        if let Some(batch) = lanes.data.back_mut() {
            let before = batch.len();
            wire::encode_data(frame, batch);
            written = batch.len() - before;
        }
        lanes.data_bytes += written;
        if lanes.data_bytes > MAX_WAITING {
            lanes.overflowed = true;
            lanes.data = VecDeque::new();
            return false;
        }
        drop(lanes);
        self.writer.wake();
        true
    }

    /// Whether a control message may be put in.
    pub fn takes_control(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.control.is_none() && lanes.closing.is_none()
    }

    /// Puts the next control message in.
    pub fn put_control(&self, message: Bytes) {
        self.lanes.lock().control = Some(message);
        self.writer.wake();
    }

    /// The link is to close: what waits is written, then `bye`.
    pub fn close(&self, bye: Bytes) {
        self.lanes.lock().closing.get_or_insert(bye);
        self.writer.wake();
    }

    /// Notes a sign of life of the other end.
    pub fn mark_heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether there was one since this was last asked.
    pub fn take_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    /// Everything there is to write. Control goes first: it is one message of 16 KiB at most.
    pub fn poll_work(&self, context: &Context<'_>) -> Poll<Work> {
        self.writer.register(context.waker());
        let mut lanes = self.lanes.lock();
        let mut messages: Vec<Bytes> = lanes.control.take().into_iter().collect();
        let control = !messages.is_empty();
        lanes.data_bytes = 0;
        messages.extend(lanes.data.drain(..).map(BytesMut::freeze));
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
mod tests {
    use super::*;
    use crate::mesh::core::ids::{HubId, Incarnation};
    use crate::mesh::frames::AckFrame;
    use std::task::Waker;

    fn ack(upto: u64) -> Frame {
        let incarnation = Incarnation { epoch: 0, nonce: 1 };
        Frame::Ack(AckFrame {
            ttl: 4,
            source: HubId([1; 20]),
            source_incarnation: incarnation,
            dest: HubId([2; 20]),
            dest_incarnation: incarnation,
            upto,
            refused: Vec::new(),
        })
    }

    fn poll(outbox: &Outbox) -> Poll<Work> {
        outbox.poll_work(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn frames_pushed_between_two_writes_share_a_message() {
        let outbox = Outbox::default();
        assert_eq!(poll(&outbox), Poll::Pending);
        assert!(outbox.push_data(&ack(1)));
        assert!(outbox.push_data(&ack(2)));
        let Poll::Ready(Work::Write { messages, control }) = poll(&outbox) else {
            panic!("there is work")
        };
        assert!(!control);
        assert_eq!(messages.len(), 1);
        assert_eq!(wire::decode_data(&messages[0]).unwrap(), [ack(1), ack(2)]);
    }

    #[test]
    fn a_link_that_takes_nothing_overflows_once_and_frees_what_it_held() {
        let outbox = Outbox::default();
        let mut pushed = 0_u64;
        while outbox.push_data(&ack(pushed)) {
            pushed += 1;
            assert!(pushed < 10_000_000);
        }
        assert!(!outbox.push_data(&ack(0)));
        assert!(outbox.lanes.lock().data.is_empty());
    }

    #[test]
    fn closing_comes_after_what_waits() {
        let outbox = Outbox::default();
        outbox.put_control(Bytes::from_static(b"control"));
        outbox.close(Bytes::from_static(b"bye"));
        assert!(!outbox.takes_control());
        assert_eq!(
            poll(&outbox),
            Poll::Ready(Work::Write {
                messages: vec![Bytes::from_static(b"control")],
                control: true
            })
        );
        assert_eq!(
            poll(&outbox),
            Poll::Ready(Work::Close(Bytes::from_static(b"bye")))
        );
    }
}
