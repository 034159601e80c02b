//! The names of hubs, peers, networks and claims, and the two clocks.
//!
//! Every identifier of the mesh has its own type, so that a hub id cannot be passed for a peer id, nor a sequence
//! number for a claim number. Nothing here knows of sockets or reads a clock: a [`Moment`] comes from the driver, which
//! has a clock, or from the simulator, which makes one up.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::policy::Dialect;
use crate::policy::{Policies, Policy};

/// A hub's name: 20 bytes, shown as 40 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubId(pub [u8; 20]);

impl Ord for HubId {
    /// As the bytes, but compared as numbers: ids are the keys of most maps, and the derived order calls `memcmp` for each
    /// comparison.
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers().cmp(&other.numbers())
    }
}

impl PartialOrd for HubId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl HubId {
    /// The first 16 bytes and the last 4. Both are always there.
    fn numbers(&self) -> (Option<u128>, Option<u32>) {
        let first = self.0.first_chunk().copied().map(u128::from_be_bytes);
        let last = self.0.last_chunk().copied().map(u32::from_be_bytes);
        (first, last)
    }
}

impl Hash for HubId {
    /// Hashed as machine words: the ids in each link record are looked up for each neighbour that it is sent to, and
    /// the derived hash would take half of that time.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (words, _) = self.0.as_chunks();
        for word in words {
            state.write_u32(u32::from_ne_bytes(*word));
        }
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// A hub id is 40 hex digits.
    #[error("a hub id is 40 hex digits")]
    Hub,
    /// A peer id has 1 to [`PeerId::MAX_BYTES`] bytes.
    #[error("a peer id has 1 to 128 bytes")]
    Peer,
    /// A network name has 1 to [`NetworkKey::MAX_NAME_BYTES`] bytes.
    #[error("a network name has 1 to 128 bytes")]
    Network,
}

impl FromStr for HubId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let mut id = [0; 20];
        hex::decode_to_slice(text, &mut id).map_err(|_| BadId::Hub)?;
        Ok(HubId(id))
    }
}

/// One life of a hub: a boot draws `nonce`, and `epoch` rises when the hub hears of a higher incarnation of itself.
///
/// Compared by epoch, then by nonce. Neither a clock nor a bare counter would do: clocks go back, and a hub
/// that boots twice before it has spoken would draw the same count again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Incarnation {
    /// Raised above every epoch of this hub's id that the hub has heard of.
    pub epoch: u32,
    /// Random per boot.
    pub nonce: u64,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "incarnation {} ({:016x})", self.epoch, self.nonce)
    }
}

/// A peer's name within its network: 1 to 128 bytes of text, kept byte for byte.
///
/// Most clients use forty lower-case hex digits: these take 20 bytes instead of 40.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerId {
    /// 40 lower-case hex digits, packed.
    Hex([u8; 20]),
    /// Any other text. Never 40 lower-case hex digits: equality relies on one form per id.
    Text(Box<str>),
}

impl PeerId {
    /// The longest peer id, in bytes of its text.
    pub const MAX_BYTES: usize = 128;

    /// The id with this text.
    pub fn new(text: &str) -> Result<Self, BadId> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(BadId::Peer);
        }
        let mut packed = [0; 20];
        let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if lower && hex::decode_to_slice(text, &mut packed).is_ok() {
            return Ok(PeerId::Hex(packed));
        }
        Ok(PeerId::Text(text.into()))
    }

    /// The number by which distances between ids are measured: the first 8 bytes of a packed id, and a hash of any
    /// other.
    pub fn place(&self) -> u64 {
        match self {
            PeerId::Hex([a, b, c, d, e, f, g, h, ..]) => {
                u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
            }
            PeerId::Text(text) => stable_hash(text.as_bytes()),
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerId::Hex(packed) => {
                let mut text = [0; 40];
                // Twenty bytes always fit forty digits.
                let _ = hex::encode_to_slice(packed, &mut text);
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
            PeerId::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        PeerId::new(text)
    }
}

/// A hash that is the same on every hub and in every run (64-bit FNV-1a with a final mix), for decisions on which hubs
/// must agree.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// Spreads the bits of `x` (the finalizer of SplitMix64).
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The key of the network for the claims of bans. No dialect has this letter, and no client can name it.
pub const BANS: &str = "\0bans";

/// A network: its dialect and its name, in one shared string `<dialect tag><name>`.
///
/// A hub that does not know the dialect of a network still carries its claims.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkKey(Arc<str>);

impl NetworkKey {
    /// The longest network name, in bytes.
    pub const MAX_NAME_BYTES: usize = 128;

    /// The network of this dialect and name.
    pub fn new(dialect: Dialect, name: &str) -> Result<Self, BadId> {
        if name.is_empty() || name.len() > Self::MAX_NAME_BYTES {
            return Err(BadId::Network);
        }
        let mut key = String::with_capacity(1 + name.len());
        key.push(dialect.tag());
        key.push_str(name);
        Ok(NetworkKey(key.into()))
    }

    /// The network with this whole key, as it is sent between hubs.
    pub fn from_wire(key: &str) -> Result<Self, BadId> {
        let tag = key.chars().next().ok_or(BadId::Network)?;
        let name = key.len() - tag.len_utf8();
        if name == 0 || name > Self::MAX_NAME_BYTES {
            return Err(BadId::Network);
        }
        Ok(NetworkKey(key.into()))
    }

    /// The dialect, if this hub knows it.
    pub fn dialect(&self) -> Option<Dialect> {
        self.0.chars().next().and_then(Dialect::from_tag)
    }

    /// Whether its members are shown to each other.
    pub fn tells_of_peers(&self) -> bool {
        self.dialect()
            .is_none_or(|dialect| dialect.policy().tells_of_peers)
    }

    /// Whether it is a room: a network that a client creates and that has a host.
    pub fn is_room(&self) -> bool {
        self.dialect().is_some_and(|dialect| dialect.policy().rooms)
    }

    /// Whether it is the network for the claims of bans.
    pub fn is_of_bans(&self) -> bool {
        &*self.0 == BANS
    }

    /// Whether its peers usually come back under their ids when their connection breaks; false if this hub does not
    /// know the dialect.
    pub fn returns(&self) -> bool {
        self.dialect()
            .is_some_and(|dialect| dialect.policy().returns)
    }

    /// Its policy; `None` if this hub does not know its dialect.
    pub fn policy<'p>(&self, policies: &'p Policies) -> Option<&'p Policy> {
        self.dialect().map(|dialect| policies.of(dialect))
    }

    /// The most peers that it shows; `None` is no limit.
    pub fn capacity(&self, policies: &Policies) -> Option<usize> {
        self.policy(policies)?.capacity
    }

    /// The name that the peers use.
    pub fn name(&self) -> &str {
        let mut rest = self.0.chars();
        rest.next();
        rest.as_str()
    }

    /// The whole key, as it is sent between hubs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for NetworkKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One claim of one hub incarnation: "this peer of this network is on this socket of mine". Never used twice
/// in an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ClaimNo(pub u64);

/// One link of this hub to another, numbered by this hub. Never used twice in a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// One attempt to dial. Never used twice in a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialId(pub u64);

/// A hybrid logical clock: Unix milliseconds in the upper 48 bits, a counter in the lower 16.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first value at this Unix time.
    pub const fn from_wall(wall_ms: u64) -> Self {
        Hlc(wall_ms << 16)
    }

    /// The Unix time in it, in milliseconds.
    pub const fn wall_ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next value after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Hlc(self.0.saturating_add(1))
    }
}

/// A point of monotonic time: microseconds since an origin that only its maker knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(pub u64);

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(
            self.0
                .saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// The time from `earlier` to this; nothing if `earlier` is later.
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// The readings of the clocks when an input arrives: monotonic time for deadlines, Unix time only for [`Hlc`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Monotonic; never goes back between two inputs.
    pub at: Moment,
    /// Unix time in milliseconds; may jump either way.
    pub wall_ms: u64,
}

/// Why a claim ended, or a peer left. Travels between hubs; an unknown number reads as [`LeaveReason::Closed`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LeaveReason {
    /// The peer's socket closed, or it moved to another network.
    Closed,
    /// The peer said goodbye.
    Goodbye,
    /// The peer was silent for too long, or broke a limit, and was closed.
    Expelled,
    /// The same peer came by a newer connection.
    Superseded,
    /// The hub that held it is out of reach or has stopped.
    HubLost,
    /// Its hub is shutting down.
    Draining,
}

impl LeaveReason {
    /// The number that is sent between hubs.
    pub const fn code(self) -> u8 {
        match self {
            LeaveReason::Closed => 0,
            LeaveReason::Goodbye => 1,
            LeaveReason::Expelled => 2,
            LeaveReason::Superseded => 3,
            LeaveReason::HubLost => 4,
            LeaveReason::Draining => 5,
        }
    }

    /// The reason with this number.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => LeaveReason::Goodbye,
            2 => LeaveReason::Expelled,
            3 => LeaveReason::Superseded,
            4 => LeaveReason::HubLost,
            5 => LeaveReason::Draining,
            _ => LeaveReason::Closed,
        }
    }

    /// The word that peers, logs and metrics see.
    pub const fn as_str(self) -> &'static str {
        match self {
            LeaveReason::Closed => "disconnected",
            LeaveReason::Goodbye => "goodbye",
            LeaveReason::Expelled => "timeout",
            LeaveReason::Superseded => "superseded",
            LeaveReason::HubLost => "hub-lost",
            LeaveReason::Draining => "hub-draining",
        }
    }
}

/// The kind of a signal. The number belongs to the network's dialect; the mesh does not look at it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SignalKind(pub u8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids_have_the_order_of_their_bytes() {
        // All hubs agree on the order: a tie between claims, and who dials first, are decided by it.
        let mut rng = crate::rng::Rng::new(3);
        let mut drawn = || {
            let mut bytes = [0; 20];
            for byte in &mut bytes {
                *byte = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize];
            }
            bytes
        };
        for _ in 0..1_000 {
            let (one, other) = (drawn(), drawn());
            assert_eq!(HubId(one).cmp(&HubId(other)), one.cmp(&other));
            // Ids that differ in one byte.
            for place in 0..20 {
                let mut near = one;
                near[place] = other[place];
                assert_eq!(HubId(one).cmp(&HubId(near)), one.cmp(&near));
            }
        }
    }
}
