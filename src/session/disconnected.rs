//! A peer whose connection is over but whose memberships still exist.
//!
//! It holds the peer's id for as long as the peer may return under this id. Knows no socket. Made from the
//! conversation, and dropped by [`Sessions`](super::Sessions).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::memberships::Memberships;
use crate::peers::mailbox::{Control, Mailbox};
use crate::peers::port::MeshPort;

/// How long the id of a client whose connection broke is kept for it: as long as a probe takes.
const KEPT: Duration = Duration::from_secs(2);

/// A peer whose connection is over. Its memberships are given up when this is dropped.
pub(super) struct DisconnectedPeer<M: MeshPort> {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) memberships: Memberships<M>,
    /// When the open probe has to be answered.
    pub(super) probed_until: Option<Instant>,
}

impl<M: MeshPort> DisconnectedPeer<M> {
    /// Keeps the id of a client whose connection broke, if the client had one: until the client is back, at this hub or
    /// another, or for as long as a silent holder of an id has to answer. Signals for the client wait meanwhile, as for
    /// an absent peer.
    pub(super) async fn keep_id(&mut self) {
        if !self.memberships.is_vacated() {
            return;
        }
        let back = poll_fn(|cx| {
            self.mailbox.register(cx.waker());
            while let Some(control) = self.mailbox.next_control() {
                // When the id is given up, a probe is answered. A probe that was open already gets no extra time.
                if matches!(control, Control::Close(_) | Control::Lost { .. }) {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        });
        let until = Instant::now() + KEPT;
        let until = self.probed_until.map_or(until, |at| at.min(until));
        // Whatever the result, the memberships are given up next.
        let _ = timeout_at(until, back).await;
    }
}
