//! The data of rooms.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::ids::{ClaimNo, Hlc, HubId, PeerId};

/// The id of the claim that holds a room's record. No client may have it.
pub const RECORD: &str = "\0room";

/// The id of the claims that hold records.
pub fn record_id() -> PeerId {
    PeerId::Text(RECORD.into())
}

/// Whether this is the id of the claims that hold records. Allocates nothing.
pub(crate) fn is_record_id(peer: &PeerId) -> bool {
    matches!(peer, PeerId::Text(text) if &**text == RECORD)
}

/// A joining client's request about its room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoomAsk {
    /// The room must be new; this is stored with it.
    Create(Bytes),
    /// The room must exist.
    Enter,
}

/// The record of a room, the same on all hubs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoomRecord {
    /// When it was created. Together with the hub, this distinguishes two rooms of one name.
    pub created: Hlc,
    /// The hub where it was created.
    pub by: HubId,
    /// The id of the peer that created it, as text.
    pub creator: String,
    /// When its last member left, or when it was created, as Unix time in milliseconds.
    pub left_ms: u64,
    /// The data that its dialect stores.
    pub about: Vec<u8>,
}

impl RoomRecord {
    /// The record in the data of a claim; `None` if there is none.
    pub fn read(data: &[u8]) -> Option<Self> {
        postcard::from_bytes(data).ok()
    }

    /// The data of a claim that holds this record.
    pub fn write(&self) -> Bytes {
        // Writing to memory cannot fail for these types.
        postcard::to_allocvec(self).unwrap_or_default().into()
    }

    /// The identity of the room among rooms of one name. Of two rooms, the one with the lower birth counts.
    pub fn birth(&self) -> (Hlc, HubId) {
        (self.created, self.by)
    }

    /// Whether a hub made this record because it saw members of a room, and no record: it names no creator.
    pub fn is_substitute(&self) -> bool {
        self.creator.is_empty()
    }
}

/// The data of a claim on which the rules for rooms depend.
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
    /// The data that it shows.
    pub data: Option<Bytes>,
}

impl RoomClaim {
    /// The record that it holds; `None` if it holds none.
    pub fn record(&self) -> Option<RoomRecord> {
        RoomRecord::read(self.data.as_deref()?)
    }

    /// The order of a room's members: the one that has been there the longest is the lowest.
    pub fn rank(&self) -> (Hlc, HubId, ClaimNo) {
        (self.hlc, self.hub, self.claim)
    }
}

/// A room, as one hub sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Its record.
    pub record: RoomRecord,
    /// Its members, the longest present first: the first is the host.
    pub members: Vec<RoomClaim>,
}
