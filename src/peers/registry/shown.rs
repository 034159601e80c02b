//! Lists and disconnects local peers, for operators.
//!
//! Operators are told once that a claim's peer has joined, when the mesh first accepts the claim, and once that the
//! peer has left.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hubmesh_core::ids::{ClaimNo, LeaveReason};

use super::{Peer, Registry};
use crate::peers::reason::CloseReason;
use crate::watch::{Party, Watch, What};

impl Registry {
    /// The events and bans that operators are told of.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(super) fn show_join(&self, peer: &Peer) {
        if peer.shown.swap(true, Ordering::Relaxed) {
            return;
        }
        self.metrics.operating.joins.inc();
        self.watch.events.note(What::Join {
            network: peer.source.network.clone(),
            peer: peer.source.peer.clone(),
        });
    }

    pub(super) fn show_leave(&self, peer: &Peer, reason: LeaveReason) {
        if !peer.shown.load(Ordering::Relaxed) {
            return;
        }
        self.metrics.operating.leaves.inc();
        let by_operator = peer.mailbox.close_reason();
        let by_operator = by_operator
            .filter(|reason| matches!(reason, CloseReason::Removed | CloseReason::Banned));
        let reason = by_operator.map_or(reason.as_str(), CloseReason::label);
        self.watch.events.note(What::Leave {
            network: peer.source.network.clone(),
            peer: peer.source.peer.clone(),
            reason: reason.into(),
        });
    }

    pub(super) fn show_takeover(&self, claim: ClaimNo) {
        if let Some(peer) = self.find(claim) {
            self.watch.events.note(What::Takeover {
                network: peer.source.network.clone(),
                peer: peer.source.peer.clone(),
            });
        }
    }

    /// Reports to operators that a claim is refused for this reason.
    pub fn show_refusal(&self, claim: ClaimNo, why: CloseReason) {
        let Some(peer) = self.find(claim) else {
            return;
        };
        self.metrics.operating.joins_refused.inc(why.label());
        let address = peer.mailbox.party().map(|party| party.address);
        let wanted = (peer.source.network.clone(), peer.source.peer.clone());
        let events = &self.watch.events;
        events.note_refusal(why.label(), address, Some(wanted));
    }

    /// Disconnects the peer of a claim. False if the claim is not registered.
    pub fn send_away(&self, claim: ClaimNo) -> bool {
        let peer = self.find(claim);
        if let Some(peer) = &peer {
            peer.mailbox.close(CloseReason::Removed);
        }
        peer.is_some()
    }

    /// Whether a member of a room joined over HTTP and has no connection.
    pub fn is_visitor(&self, claim: ClaimNo) -> bool {
        self.find(claim).is_some_and(|peer| peer.is_absent())
    }

    /// The party of a claim, as far as it is known.
    pub fn party(&self, claim: ClaimNo) -> Option<Party> {
        self.find(claim)?.mailbox.party().cloned()
    }

    /// Disconnects peers whose ids are banned.
    pub fn enforce_bans(&self) {
        for shard in &self.shards {
            let peers: Vec<Arc<Peer>> = shard.read().values().cloned().collect();
            for peer in peers {
                let source = &peer.source;
                if self.watch.bans.bars_id(&source.network, &source.peer) {
                    peer.mailbox.close(CloseReason::Banned);
                }
            }
        }
    }
}
