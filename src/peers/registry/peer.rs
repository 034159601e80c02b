//! One claim of one session, as the registry has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hubmesh_core::api::Source;
use hubmesh_core::ids::Dialect;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::runs::Runs;
use crate::clock::unix_ms;
use crate::dialect::{self, Event};
use crate::peers::mailbox::Mailbox;

/// One claim of one session.
#[derive(Debug)]
pub struct Peer {
    pub(super) source: Source,
    pub(super) dialect: Dialect,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) quiet: AtomicBool,
    /// The client is told of no other peer.
    pub(super) blind: bool,
    pub(super) forgotten: AtomicBool,
    pub(super) absent: AtomicBool,
    /// Operators were told that the peer is connected.
    pub(super) shown: AtomicBool,
    pub(super) failures: Runs,
}

impl Peer {
    /// A claim whose messages go to `mailbox`.
    pub fn new(source: Source, dialect: Dialect, mailbox: Arc<Mailbox>, quiet: bool) -> Self {
        Peer {
            source,
            dialect,
            mailbox,
            quiet: AtomicBool::new(quiet),
            blind: false,
            forgotten: AtomicBool::new(false),
            absent: AtomicBool::new(false),
            shown: AtomicBool::new(false),
            failures: Runs::default(),
        }
    }

    /// The claim, its network and its id.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// From now on the client is told of no other peer in its network.
    pub fn go_blind(&mut self) {
        self.blind = true;
    }

    /// Whether the claim can be reached but is not shown.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// The claim is shown from the mesh's next [`Registry::accepted`](super::Registry::accepted) on.
    pub fn show(&self) {
        self.quiet.store(false, Ordering::Relaxed);
    }

    /// The peer keeps its claim, but receives no more messages.
    pub fn go_absent(&self) {
        self.absent.store(true, Ordering::Relaxed);
    }

    /// Whether the peer receives no messages.
    pub fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Relaxed)
    }

    /// Whether the mesh has given up the claim by itself, so that leaving need not be reported to it.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    pub(super) fn encode(&self, event: &Event<'_>) -> Option<Utf8Bytes> {
        let network = self.source.network.name();
        dialect::encode(self.dialect, network, event, unix_ms())
    }
}
