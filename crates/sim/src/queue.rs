//! Future events, in the order of time and, within one instant, of scheduling.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use bytes::Bytes;

use super::ids::{Boot, ConnNo, Side};
use hubmesh_core::api::DialTarget;
use hubmesh_core::ids::{ClaimNo, DialId};

/// An event.
#[derive(Debug)]
pub(super) enum Event {
    /// A core's timer.
    Timer(Boot),
    /// The next item of a pipe arrives.
    Arrive { conn: ConnNo, from: Side },
    /// An end learns that its connection is gone.
    Lost { conn: ConnNo, side: Side },
    /// A dial reaches the machine at its address, if there is one.
    Dialed {
        by: Boot,
        dial: DialId,
        target: DialTarget,
    },
    /// The handshake of a dial is complete at its dialler.
    HandshakeDone { conn: ConnNo, dial: DialId },
    /// The wait for a dial without an answer is over.
    DialFailed { by: Boot, dial: DialId },
    /// A client answers a probe, or has not answered it.
    Probed {
        host: Boot,
        claim: ClaimNo,
        token: u64,
        alive: bool,
    },
    /// The time in which a link collects more messages to write is over.
    Gathered { conn: ConnNo, side: Side },
    /// Bytes that no hub wrote arrive at the end of a pipe.
    Garbage {
        conn: ConnNo,
        from: Side,
        bytes: Bytes,
    },
}

#[derive(Debug)]
struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The queue of a world.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        let order = self.order;
        self.heap.push(Reverse(Scheduled { at, order, event }));
    }

    /// The next event that is due by `until`, and its time.
    pub(super) fn pop_until(&mut self, until: u64) -> Option<(u64, Event)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| (next.at, next.event))
    }
}
