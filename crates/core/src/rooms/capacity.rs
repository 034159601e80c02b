//! How many rooms' records a hub holds, and how many bytes of them; which room ends first when it can hold no more.
//!
//! Rooms without a member are counted by their makers. When there is no capacity left, the maker with the most of them
//! loses the one that was left first: nobody ends others' rooms by making many. Knows no directory. Called by `rooms`
//! alone.
//!
//! Invariants: a room is in it once; the bytes of all are the sum of what each was said to take.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::ids::{Moment, NetworkKey};
use crate::reach::AddressGroup;

/// The maker of a room, as limits count them; `None` if it is not known here.
pub(super) type RoomMaker = Option<AddressGroup>;

/// The order in which rooms end: the lowest ends last.
type RecordRank = (usize, Reverse<(Moment, NetworkKey)>, RoomMaker);

/// A room without a member.
#[derive(Debug)]
struct Idle {
    maker: RoomMaker,
    ends: Moment,
    bytes: usize,
}

/// What a hub holds of rooms' records, and what it may.
#[derive(Debug)]
pub(super) struct RecordCapacity {
    most: usize,
    most_bytes: usize,
    held: usize,
    bytes: usize,
    idle: BTreeMap<NetworkKey, Idle>,
    idle_bytes: usize,
    by_maker: BTreeMap<RoomMaker, BTreeSet<(Moment, NetworkKey)>>,
    ranks: BTreeSet<RecordRank>,
}

impl RecordCapacity {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        RecordCapacity {
            most,
            most_bytes,
            held: 0,
            bytes: 0,
            idle: BTreeMap::new(),
            idle_bytes: 0,
            by_maker: BTreeMap::new(),
            ranks: BTreeSet::new(),
        }
    }

    /// How many records are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How many of them are of rooms without a member.
    pub(super) fn empty(&self) -> usize {
        self.idle.len()
    }

    /// A record of this many bytes is held from now on.
    pub(super) fn hold(&mut self, bytes: usize) {
        self.held += 1;
        self.bytes += bytes;
    }

    /// A record of this many bytes is held no longer.
    pub(super) fn give_up(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether one more record of this many bytes fits.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.held < self.most && self.bytes + bytes <= self.most_bytes
    }

    /// Whether it would fit once all rooms without a member have ended.
    pub(super) fn would_fit(&self, bytes: usize) -> bool {
        let living = self.held.saturating_sub(self.idle.len());
        living < self.most && self.bytes.saturating_sub(self.idle_bytes) + bytes <= self.most_bytes
    }

    /// The room to end first.
    pub(super) fn first_to_end(&self) -> Option<NetworkKey> {
        let (_, Reverse((_, network)), _) = self.ranks.last()?;
        Some(network.clone())
    }

    /// A room without a member, whose record takes this many bytes, will end then.
    pub(super) fn stand(
        &mut self,
        network: &NetworkKey,
        maker: RoomMaker,
        ends: Moment,
        bytes: usize,
    ) {
        self.leave(network);
        self.idle_bytes += bytes;
        let idle = Idle { maker, ends, bytes };
        self.idle.insert(network.clone(), idle);
        self.change(maker, |rooms| {
            rooms.insert((ends, network.clone()));
        });
    }

    /// It has a member, or is gone.
    pub(super) fn leave(&mut self, network: &NetworkKey) {
        let Some(idle) = self.idle.remove(network) else {
            return;
        };
        self.idle_bytes = self.idle_bytes.saturating_sub(idle.bytes);
        self.change(idle.maker, |rooms| {
            rooms.remove(&(idle.ends, network.clone()));
        });
    }

    fn change(&mut self, maker: RoomMaker, how: impl FnOnce(&mut BTreeSet<(Moment, NetworkKey)>)) {
        let rooms = self.by_maker.entry(maker).or_default();
        let rank = |rooms: &BTreeSet<(Moment, NetworkKey)>| {
            let first = rooms.first().cloned()?;
            Some((rooms.len(), Reverse(first), maker))
        };
        if let Some(before) = rank(rooms) {
            self.ranks.remove(&before);
        }
        how(rooms);
        match rank(rooms) {
            Some(after) => drop(self.ranks.insert(after)),
            None => drop(self.by_maker.remove(&maker)),
        }
    }
}
