//! One relay: its user, its lifetime, and the peers that may send.
//!
//! Invariants: nothing passes for a peer without a valid permission; a channel has one peer and a peer one channel;
//! permissions and channels are bounded in number. The server asks, and ends the relay in time.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use slab::Slab;
use stun_types::message::TransactionId;

use crate::FiveTuple;
use crate::codec::{Family, IntegrityKey};
use crate::error_code::Code;

/// How long a permission is valid (RFC 8656, section 9).
pub(crate) const PERMISSION: Duration = Duration::from_secs(300);
/// How long a channel is valid (RFC 8656, section 12).
pub(crate) const CHANNEL: Duration = Duration::from_secs(600);
/// The most permissions, and the most channels, of one relay: a client has some dozens of candidates of its peers at
/// most.
pub(crate) const MOST: usize = 128;
/// RFC 8656 has channels to 0x4fff; clients of RFC 5766 use all of these.
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x7fff;

/// Names a relay; no two ever have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AllocationId {
    slot: usize,
    serial: u64,
}

pub(crate) struct Allocation {
    pub(crate) id: AllocationId,
    pub(crate) client: FiveTuple,
    /// `expiry:name`, as the client logged in.
    pub(crate) username: String,
    pub(crate) key: IntegrityKey,
    /// The user in the ledger.
    pub(crate) user: usize,
    /// Its address as peers see it.
    pub(crate) relayed: SocketAddr,
    /// The request that made it: a repeated one is answered as before.
    pub(crate) made_by: TransactionId,
    /// The lifetime in the answer, in seconds.
    pub(crate) granted: u32,
    /// Whether the request asked for a second relay of the other family, which the answer mentions too.
    pub(crate) two_families: bool,
    pub(crate) expires: Instant,
    /// When it ends, even if it is refreshed.
    pub(crate) ends: Instant,
    pub(crate) peers: Peers,
}

/// Which peers may send to a relay, and by which channels they are named.
#[derive(Default)]
pub(crate) struct Peers {
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, Channel>,
    numbers: HashMap<SocketAddr, u16>,
}

#[derive(Clone, Copy)]
struct Channel {
    peer: SocketAddr,
    expires: Instant,
}

/// All relays.
#[derive(Default)]
pub(crate) struct Allocations {
    slots: Slab<Allocation>,
    serial: u64,
}

impl Allocations {
    pub(crate) fn get(&self, id: AllocationId) -> Option<&Allocation> {
        self.slots.get(id.slot).filter(|found| found.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        self.slots.get_mut(id.slot).filter(|found| found.id == id)
    }

    /// Adds a relay, made for the id that it gets.
    pub(crate) fn insert(&mut self, make: impl FnOnce(AllocationId) -> Allocation) -> &Allocation {
        self.serial += 1;
        let place = self.slots.vacant_entry();
        let id = AllocationId {
            slot: place.key(),
            serial: self.serial,
        };
        place.insert(make(id))
    }

    pub(crate) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        self.get(id)?;
        self.slots.try_remove(id.slot)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Allocation> {
        self.slots.iter_mut().map(|(_, one)| one)
    }

    pub(crate) fn ids(&self) -> Vec<AllocationId> {
        self.slots.iter().map(|(_, one)| one.id).collect()
    }
}

impl Allocation {
    /// Gives it this much time from now, but none beyond its end; returns the seconds that it has left.
    pub(crate) fn refresh(&mut self, lifetime: u32, now: Instant) -> u32 {
        self.expires = expiry(lifetime, now, self.ends);
        let left = self.expires.saturating_duration_since(now).as_secs();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    pub(crate) fn family(&self) -> Family {
        Family::of(&self.relayed)
    }
}

impl Peers {
    /// Whether data to or from this address passes.
    pub(crate) fn permits(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions
            .get(&peer)
            .is_some_and(|until| *until > now)
    }

    /// The peer of a valid channel.
    pub(crate) fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.channels.get(&number)?;
        (channel.expires > now).then_some(channel.peer)
    }

    /// The valid channel of a peer, if there is one.
    pub(crate) fn channel_to(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let number = *self.numbers.get(&peer)?;
        self.peer_of(number, now).map(|_| number)
    }

    /// Gives permissions to all of these peers, or to none of them.
    pub(crate) fn permit(&mut self, peers: &[SocketAddr], now: Instant) -> Result<(), Code> {
        let is_new = |peer: &&SocketAddr| !self.permissions.contains_key(&peer.ip());
        let more = peers.iter().filter(is_new).count();
        if self.permissions.len() + more > MOST {
            self.permissions.retain(|_, until| *until > now);
        }
        if self.permissions.len() + more > MOST {
            return Err(Code::InsufficientCapacity);
        }
        for peer in peers {
            self.permissions.insert(peer.ip(), now + PERMISSION);
        }
        Ok(())
    }

    /// Binds a channel to a peer, and gives it a permission.
    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), Code> {
        if !CHANNELS.contains(&number) {
            return Err(Code::BadRequest);
        }
        let is_other = |found: Option<SocketAddr>| found.is_some_and(|found| found != peer);
        let has_other = self.channel_to(peer, now).is_some_and(|its| its != number);
        if is_other(self.peer_of(number, now)) || has_other {
            return Err(Code::BadRequest);
        }
        if self.channels.len() >= MOST {
            self.forget_channels(now);
        }
        if self.channels.len() >= MOST && !self.channels.contains_key(&number) {
            return Err(Code::InsufficientCapacity);
        }
        self.permit(&[peer], now)?;
        self.unname(number);
        if let Some(old) = self.numbers.insert(peer, number) {
            self.channels.remove(&old);
        }
        let expires = now + CHANNEL;
        self.channels.insert(number, Channel { peer, expires });
        Ok(())
    }

    /// Takes the permission, and the channel, of each peer that the policy no longer allows.
    pub(crate) fn revoke(&mut self, may: impl Fn(IpAddr) -> bool) {
        self.permissions.retain(|peer, _| may(*peer));
        self.channels.retain(|_, channel| may(channel.peer.ip()));
        self.numbers.retain(|peer, _| may(peer.ip()));
    }

    /// The peer that had this channel loses it.
    fn unname(&mut self, number: u16) {
        if let Some(old) = self.channels.remove(&number) {
            self.numbers.remove(&old.peer);
        }
    }

    fn forget_channels(&mut self, now: Instant) {
        self.channels.retain(|_, channel| channel.expires > now);
        let channels = &self.channels;
        self.numbers
            .retain(|_, number| channels.contains_key(number));
    }
}

/// When a relay with this lifetime in seconds ends, if it is not refreshed.
pub(crate) fn expiry(lifetime: u32, now: Instant, ends: Instant) -> Instant {
    (now + Duration::from_secs(lifetime.into())).min(ends)
}
