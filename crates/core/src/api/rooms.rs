//! What hubs and dialects say of rooms.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::ids::{ClaimNo, Hlc, HubId, PeerId};

/// The id of the claim that holds a room's record. No client may have it.
pub const RECORD: &str = "\0room";

/// The id of the claims that hold records.
pub fn record_id() -> PeerId {
    PeerId::Text(RECORD.into())
}

/// What a client that joins a room wants of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoomAsk {
    /// The room must be new, and this is kept of it.
    Create(Bytes),
    /// The room must exist.
    Enter,
}

/// What is kept of a room, the same on all hubs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoomRecord {
    /// When it was created. Together with the hub this tells two rooms of one name apart.
    pub created: Hlc,
    /// The hub where it was created.
    pub by: HubId,
    /// The id of the peer that created it, as text.
    pub creator: String,
    /// When its last member left, or when it was created, as Unix time in milliseconds.
    pub left_ms: u64,
    /// What its dialect keeps.
    pub about: Vec<u8>,
}

impl RoomRecord {
    /// The record in a claim's data, if it is one.
    pub fn read(data: &[u8]) -> Option<Self> {
        postcard::from_bytes(data).ok()
    }

    /// The data of a claim that holds it.
    pub fn write(&self) -> Bytes {
        // Writing to memory fails for nothing that has a length.
        postcard::to_allocvec(self).unwrap_or_default().into()
    }

    /// What tells it from another room of the same name. Of two rooms the one with the lower birth counts.
    pub fn birth(&self) -> (Hlc, HubId) {
        (self.created, self.by)
    }
}

/// A claim as the rule for rooms sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomClaim {
    /// The claiming hub.
    pub hub: HubId,
    /// Its number.
    pub claim: ClaimNo,
    /// Its clock.
    pub hlc: Hlc,
    /// Its peer.
    pub peer: PeerId,
    /// What it shows.
    pub data: Option<Bytes>,
}

impl RoomClaim {
    /// The order of a room's members: the one that has been there the longest is the lowest.
    pub fn rank(&self) -> (Hlc, HubId, ClaimNo) {
        (self.hlc, self.hub, self.claim)
    }
}

/// A room as it is seen from one hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// What is kept of it.
    pub record: RoomRecord,
    /// Its members, the longest present first: the first is the host.
    pub members: Vec<RoomClaim>,
}
