//! Clients: what each wanted, what became of it, and what it was told of others.
//!
//! A session is one connection of a client to one hub. Its roster is what a real client would have after the events so
//! far; telling it of a join twice, or of a leave of an unknown peer, is noted as a fault.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ids::Boot;
use hubmesh_core::api::{PeerEvent, Unread};
use hubmesh_core::ids::{ClaimNo, NetworkKey, PeerId};

/// One connection of a client. Never used twice in a world.
pub type SessionNo = usize;

/// Where a session stands.
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
    /// What it shows.
    pub data: Option<Bytes>,
    /// Where it stands.
    pub status: Status,
    /// It answers probes.
    pub alive: bool,
    /// Reachable, but not shown.
    pub quiet: bool,
    /// Whom it knows.
    pub roster: BTreeMap<PeerId, Option<Bytes>>,
    /// What it has been handed and not read; none if it reads at once.
    pub(super) unread: Option<Vec<Unread>>,
    /// How many joins, updates and leaves it was told of after its first roster.
    pub told: u64,
    /// The same for leaves alone.
    pub leaves: u64,
}

impl Session {
    /// Takes an event in; a fault is described.
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
