//! Clients: their requests, the results, and the notices that they were sent.
//!
//! A session is one connection of a client to one hub. Its roster is the one that a real client would have after the
//! events so far. A second join of a known peer, or a leave of an unknown one, is noted as a fault.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ids::Boot;
use hubmesh_core::api::{PeerEvent, Unread};
use hubmesh_core::ids::{ClaimNo, NetworkKey, PeerId};

/// One connection of a client. Never used twice in a world.
pub type SessionNo = usize;

/// The state of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It has asked to join.
    Asking,
    /// It was accepted.
    Live,
    /// Its hub refused it.
    Refused,
    /// A newer connection has its id.
    Superseded,
    /// It left, or its hub is gone.
    Gone,
}

/// One connection of a client to a hub.
#[derive(Debug)]
pub struct Session {
    pub(super) at: Boot,
    pub(super) claim: ClaimNo,
    /// Its network.
    pub network: NetworkKey,
    /// Its id.
    pub peer: PeerId,
    /// The data that it shows.
    pub data: Option<Bytes>,
    /// Its state.
    pub status: Status,
    /// It answers probes.
    pub alive: bool,
    /// Reachable, but not shown.
    pub quiet: bool,
    /// The peers that it knows.
    pub roster: BTreeMap<PeerId, Option<Bytes>>,
    /// The signals in its mailbox that it has not read; `None` if it reads at once.
    pub(super) unread: Option<Vec<Unread>>,
    /// The number of joins, updates and leaves that it was told of after its first roster.
    pub told: u64,
    /// The number of leaves among these.
    pub leaves: u64,
}

impl Session {
    /// Handles a notice; returns a fault, if there is one.
    pub(super) fn tell(&mut self, event: &PeerEvent) -> Result<(), String> {
        if let PeerEvent::Hosts { peer, .. } = event {
            let is_there = *peer == self.peer || self.roster.contains_key(peer);
            return is_there
                .then_some(())
                .ok_or_else(|| self.fault("a host that is not there:", peer));
        }
        self.told += 1;
        if *event.peer() == self.peer {
            return Err(format!("15: {:?} hears of itself", self.peer));
        }
        let known = self.roster.contains_key(event.peer());
        match event {
            PeerEvent::Joined { peer, data } => {
                self.roster.insert(peer.clone(), data.clone());
                (!known)
                    .then_some(())
                    .ok_or_else(|| self.fault("a second join", peer))
            }
            PeerEvent::Updated { peer, data } => {
                self.roster.insert(peer.clone(), data.clone());
                known
                    .then_some(())
                    .ok_or_else(|| self.fault("an update of the unknown", peer))
            }
            PeerEvent::Hosts { .. } => Ok(()),
            PeerEvent::Left { peer, .. } => {
                self.leaves += 1;
                self.roster.remove(peer);
                known
                    .then_some(())
                    .ok_or_else(|| self.fault("a leave of the unknown", peer))
            }
        }
    }

    fn fault(&self, what: &str, peer: &PeerId) -> String {
        format!(
            "18: {:?} at host {} was told of {what} {peer:?}",
            self.peer, self.at.host
        )
    }
}
