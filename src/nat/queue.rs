//! What waits for a client that came by a stream, bounded in packets and in bytes.
//!
//! The engine puts packets in, the client's task takes them out and writes them. A packet that does not fit is lost, as
//! it would be by UDP. Knows neither sockets nor the server.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Packets that may wait for one client.
const WAITING: usize = 256;
/// How many bytes they may have together: a packet may be as long as a datagram, and short ones are many.
const WAITING_BYTES: usize = 256 * 1024;

/// The packets for one client, bounded in number and in bytes.
pub(super) struct Queue {
    packets: mpsc::Sender<Bytes>,
    /// Bytes that the writer has not taken yet.
    waiting: Rc<Cell<usize>>,
}

/// The other end of a [`Queue`].
pub(super) struct Waiting {
    packets: mpsc::Receiver<Bytes>,
    waiting: Rc<Cell<usize>>,
}

/// An empty one, and its other end.
pub(super) fn queue() -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let waiting = Rc::new(Cell::new(0));
    let queue = Queue {
        packets: sender,
        waiting: Rc::clone(&waiting),
    };
    let packets = receiver;
    (queue, Waiting { packets, waiting })
}

impl Queue {
    /// Puts a packet at the end, or drops it if it does not fit: a client that does not read loses packets. True if it
    /// was put.
    pub(super) fn put(&self, packet: &[u8]) -> bool {
        let waiting = self.waiting.get() + packet.len();
        let has_room = waiting <= WAITING_BYTES
            && self
                .packets
                .try_send(Bytes::copy_from_slice(packet))
                .is_ok();
        if has_room {
            self.waiting.set(waiting);
        }
        has_room
    }
}

impl Waiting {
    /// The next packet; `None` once the engine has dropped its end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let packet = self.packets.recv().await;
        self.took(packet)
    }

    /// The next packet, if it is there already.
    pub(super) fn ready(&mut self) -> Option<Bytes> {
        let packet = self.packets.try_recv().ok();
        self.took(packet)
    }

    fn took(&self, packet: Option<Bytes>) -> Option<Bytes> {
        let bytes = packet.as_ref().map_or(0, Bytes::len);
        self.waiting.set(self.waiting.get() - bytes);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_a_client_is_bounded_in_bytes() {
        let (queue, mut waiting) = queue();
        let packet = vec![0; 60_000];
        let taken = (0..10).filter(|_| queue.put(&packet)).count();
        assert_eq!(taken, WAITING_BYTES / packet.len());
        assert!(waiting.next().await.is_some());
        assert!(queue.put(&packet));
        let rest = std::iter::from_fn(|| waiting.ready()).count();
        assert_eq!(
            rest,
            WAITING_BYTES / packet.len(),
            "one more for the one taken"
        );
        assert!(queue.put(&packet));
        assert!(waiting.ready().is_some(), "there is space for all again");
    }
}
