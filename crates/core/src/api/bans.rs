//! The data of bans. The mesh stores them, and does not interpret [`Ban::about`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::ids::{BANS, NetworkKey, PeerId};

/// The longest [`Ban::about`], in bytes.
pub const MAX_BAN_BYTES: usize = 2 * 1024;

/// The longest that a ban lasts, in milliseconds: 366 days.
pub const MAX_BAN_MS: u64 = 366 * 24 * 60 * 60 * 1_000;

/// The number of a ban, drawn at random by the hub that placed it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BanId(pub [u8; 20]);

impl BanId {
    /// The id of a claim that holds this ban.
    pub fn peer(self) -> PeerId {
        PeerId::Hex(self.0)
    }
}

/// A ban, the same on all hubs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ban {
    /// Its number.
    pub id: BanId,
    /// When it ends, as Unix time in milliseconds.
    pub until_ms: u64,
    /// An operator lifted it: it no longer counts, and is kept so that it does not come back.
    pub lifted: bool,
    /// Who is banned and why, in the hub's own words.
    pub about: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Data {
    until_ms: u64,
    lifted: bool,
    about: Vec<u8>,
}

impl Ban {
    /// The ban in the data of a claim in [`BANS`], if an honest hub could have made it at this time.
    pub fn read(peer: &PeerId, data: &[u8], wall_ms: u64) -> Option<Self> {
        let PeerId::Hex(id) = peer else {
            return None;
        };
        let data: Data = postcard::from_bytes(data).ok()?;
        // Clocks may differ, so twice the longest time is accepted.
        let last = wall_ms.saturating_add(2 * MAX_BAN_MS);
        let is_honest = data.about.len() <= MAX_BAN_BYTES && data.until_ms <= last;
        is_honest.then(|| Ban {
            id: BanId(*id),
            until_ms: data.until_ms,
            lifted: data.lifted,
            about: data.about.into(),
        })
    }

    /// The data of a claim that holds this ban.
    pub fn write(&self) -> Bytes {
        let data = Data {
            until_ms: self.until_ms,
            lifted: self.lifted,
            about: self.about.to_vec(),
        };
        // Writing to memory cannot fail for these types.
        postcard::to_allocvec(&data).unwrap_or_default().into()
    }
}

/// The network for the claims of bans.
pub fn bans_network() -> NetworkKey {
    NetworkKey::from_wire(BANS).unwrap_or_else(|_| unreachable!("it is a letter and a name"))
}

/// The hub has its maximum of bans.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("as many bans stand as MAX_BANS allows")]
pub struct BansFull;
