//! How many records of rooms a hub holds, and how many bytes of them; which room ends first when the capacity is used
//! up.
//!
//! Rooms without a member are counted by their makers. A room whose maker is not known here counts as the only room of
//! its maker. When there is no capacity left, the maker with the most rooms without a member loses the one that was
//! left first, so a client that makes many rooms ends no rooms of others. Rooms with members are never ended for
//! others. Once they take half of the capacity, one maker may make no more than a quarter of it, and nobody may enter
//! its rooms that are without a member. Knows no directory. Called by `rooms` alone.
//!
//! Invariants: a room is in it once; the bytes of all are the sum of the bytes that each was said to take.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::ids::{Moment, NetworkKey};
use crate::reach::AddressGroup;

/// The maker of a room, as limits count them; `None` if it is not known here.
pub(super) type RoomMaker = Option<AddressGroup>;

/// A maker may have so many rooms with members, however few a hub holds, if their bytes take no more than a quarter.
const LEAST_OF_ONE: usize = 16;

/// The order in which rooms end: the one with the lowest rank ends last.
type RecordRank = (usize, Reverse<(Moment, NetworkKey)>, RoomMaker);

/// A room without a member.
#[derive(Debug)]
struct Idle {
    maker: RoomMaker,
    ends: Moment,
    bytes: usize,
}

/// A number of rooms, and the bytes of their records.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Taken {
    rooms: usize,
    bytes: usize,
}

impl Taken {
    fn add(&mut self, bytes: usize) {
        self.rooms += 1;
        self.bytes += bytes;
    }

    fn take(&mut self, bytes: usize) {
        self.rooms = self.rooms.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn less(self, other: Taken) -> Taken {
        Taken {
            rooms: self.rooms.saturating_sub(other.rooms),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// The rooms of one maker: all of them, and those without a member.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct OfMaker {
    held: Taken,
    idle: Taken,
}

/// The records that a hub holds, and how many it may hold.
#[derive(Debug)]
pub(super) struct RecordCapacity {
    most: usize,
    most_bytes: usize,
    held: Taken,
    idle: BTreeMap<NetworkKey, Idle>,
    /// The part of rooms without a member.
    idle_taken: Taken,
    taken: BTreeMap<RoomMaker, OfMaker>,
    by_maker: BTreeMap<RoomMaker, BTreeSet<(Moment, NetworkKey)>>,
    ranks: BTreeSet<RecordRank>,
}

impl RecordCapacity {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        RecordCapacity {
            most,
            most_bytes,
            held: Taken::default(),
            idle: BTreeMap::new(),
            idle_taken: Taken::default(),
            taken: BTreeMap::new(),
            by_maker: BTreeMap::new(),
            ranks: BTreeSet::new(),
        }
    }

    /// The number of records that are held.
    pub(super) fn held(&self) -> usize {
        self.held.rooms
    }

    /// The number of rooms without a member.
    pub(super) fn empty(&self) -> usize {
        self.idle.len()
    }

    /// A record of this many bytes, of a room of this maker, is held from now on.
    pub(super) fn hold(&mut self, maker: RoomMaker, bytes: usize) {
        self.held.add(bytes);
        self.count(maker, |of| of.held.add(bytes));
    }

    /// A record of this many bytes, of a room of this maker, is held no longer.
    pub(super) fn give_up(&mut self, maker: RoomMaker, bytes: usize) {
        self.held.take(bytes);
        self.count(maker, |of| of.held.take(bytes));
    }

    fn count(&mut self, maker: RoomMaker, how: impl FnOnce(&mut OfMaker)) {
        let of = self.taken.entry(maker).or_default();
        how(of);
        if *of == OfMaker::default() {
            self.taken.remove(&maker);
        }
    }

    /// Whether one more record of this many bytes fits.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.fits_beside(self.held, bytes)
    }

    /// Whether a record of this many bytes fits beside `taken`.
    fn fits_beside(&self, taken: Taken, bytes: usize) -> bool {
        taken.rooms < self.most && taken.bytes + bytes <= self.most_bytes
    }

    /// The part of rooms with members.
    fn living(&self) -> Taken {
        self.held.less(self.idle_taken)
    }

    /// Whether a record of this many bytes would fit once all rooms without a member have ended.
    pub(super) fn would_fit(&self, bytes: usize) -> bool {
        self.fits_beside(self.living(), bytes)
    }

    /// Whether a maker may make one more room, of this many bytes. Once rooms with members take half of the capacity,
    /// the rooms of one maker may take a quarter.
    pub(super) fn is_fair(&self, maker: RoomMaker, bytes: usize) -> bool {
        let of = self.taken.get(&maker).copied().unwrap_or_default();
        let (all, own) = (self.living(), of.held.less(of.idle));
        let rooms = 2 * all.rooms < self.most || own.rooms < (self.most / 4).max(LEAST_OF_ONE);
        let bytes = 2 * all.bytes < self.most_bytes || own.bytes + bytes <= self.most_bytes / 4;
        rooms && bytes
    }

    /// The room to end first.
    pub(super) fn first_to_end(&self) -> Option<NetworkKey> {
        let (_, Reverse((_, network)), _) = self.ranks.last()?;
        Some(network.clone())
    }

    /// The rooms that end so that a record of this many bytes fits, where no peer here has asked for that record. They
    /// are rooms without a member of the maker with the most of these, as far as that maker has more than a quarter of
    /// the capacity with them. `None` if that is not enough.
    pub(super) fn to_end_for_others(&self, bytes: usize) -> Option<Vec<NetworkKey>> {
        let (_, _, maker) = self.ranks.last()?;
        let mut left = self.taken.get(&Some((*maker)?))?.idle;
        let (mut held, mut to_end) = (self.held, Vec::new());
        for (_, network) in self.by_maker.get(maker)? {
            let is_greedy = left.rooms > self.most / 4 || left.bytes > self.most_bytes / 4;
            let idle = self.idle.get(network).filter(|_| is_greedy)?;
            left.take(idle.bytes);
            held.take(idle.bytes);
            to_end.push(network.clone());
            if self.fits_beside(held, bytes) {
                return Some(to_end);
            }
        }
        None
    }

    /// This room has no member and ends at that time; its record takes this many bytes.
    pub(super) fn stand(
        &mut self,
        network: &NetworkKey,
        maker: RoomMaker,
        ends: Moment,
        bytes: usize,
    ) {
        self.leave(network);
        self.idle_taken.add(bytes);
        self.count(maker, |of| of.idle.add(bytes));
        let idle = Idle { maker, ends, bytes };
        self.idle.insert(network.clone(), idle);
        self.change(maker, |rooms| {
            rooms.insert((ends, network.clone()));
        });
    }

    /// This room has a member again, or is gone.
    pub(super) fn leave(&mut self, network: &NetworkKey) {
        let Some(idle) = self.idle.remove(network) else {
            return;
        };
        self.idle_taken.take(idle.bytes);
        self.count(idle.maker, |of| of.idle.take(idle.bytes));
        self.change(idle.maker, |rooms| {
            rooms.remove(&(idle.ends, network.clone()));
        });
    }

    fn change(&mut self, maker: RoomMaker, how: impl FnOnce(&mut BTreeSet<(Moment, NetworkKey)>)) {
        let rooms = self.by_maker.entry(maker).or_default();
        let rank = |rooms: &BTreeSet<(Moment, NetworkKey)>| {
            let first = rooms.first().cloned()?;
            // Rooms without a known maker are of many makers: each room counts for itself.
            let count = maker.map_or(1, |_| rooms.len());
            Some((count, Reverse(first), maker))
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::super::ids::Dialect;
    use super::*;

    fn maker(last: u8) -> RoomMaker {
        Some(AddressGroup::of(Ipv4Addr::new(192, 0, 2, last).into()))
    }

    #[test]
    fn past_half_of_the_capacity_one_maker_has_a_quarter_of_it() {
        let mut capacity = RecordCapacity::new(100, 1_000_000);
        for _ in 0..50 {
            assert!(capacity.is_fair(maker(1), 10));
            capacity.hold(maker(1), 10);
        }
        assert!(!capacity.is_fair(maker(1), 10));
        for _ in 0..25 {
            assert!(capacity.is_fair(maker(2), 10));
            capacity.hold(maker(2), 10);
        }
        assert!(!capacity.is_fair(maker(2), 10) && capacity.is_fair(maker(3), 10));
        for _ in 0..26 {
            capacity.give_up(maker(1), 10);
        }
        assert!(capacity.is_fair(maker(1), 10), "less than half is taken");
    }

    fn stand(capacity: &mut RecordCapacity, name: &str, maker: RoomMaker, ends: u64, bytes: usize) {
        let network = NetworkKey::new(Dialect::Rooms, name).unwrap();
        capacity.hold(maker, bytes);
        capacity.stand(&network, maker, Moment(ends), bytes);
    }

    fn first_to_end(capacity: &RecordCapacity) -> String {
        capacity.first_to_end().unwrap().name().to_string()
    }

    #[test]
    fn rooms_whose_maker_is_not_known_do_not_end_before_those_of_who_made_two() {
        let mut capacity = RecordCapacity::new(100, 1_000);
        for (no, name) in ["a", "b", "c"].into_iter().enumerate() {
            stand(&mut capacity, name, None, no as u64, 1);
        }
        stand(&mut capacity, "r", maker(1), 9, 1);
        assert_eq!(first_to_end(&capacity), "a");
        stand(&mut capacity, "s", maker(1), 10, 1);
        assert_eq!(first_to_end(&capacity), "r");
    }

    #[test]
    fn for_a_record_that_nobody_asked_for_no_rooms_end_but_those_of_one_with_more_than_a_quarter() {
        let mut capacity = RecordCapacity::new(8, 100);
        for (no, name) in ["a", "b", "c"].into_iter().enumerate() {
            stand(&mut capacity, name, None, no as u64, 10);
        }
        stand(&mut capacity, "k", maker(2), 4, 10);
        for (no, name) in ["r", "s", "t", "u"].into_iter().enumerate() {
            stand(&mut capacity, name, maker(1), 10 + no as u64, 10);
        }
        let names = |bytes: usize| -> Option<Vec<String>> {
            let rooms = capacity.to_end_for_others(bytes)?;
            Some(rooms.iter().map(|room| room.name().to_owned()).collect())
        };
        assert_eq!(names(30), Some(vec!["r".to_owned()]));
        assert_eq!(names(40), Some(vec!["r".to_owned(), "s".to_owned()]));
        assert_eq!(names(41), None, "these two alone are past the quarter");
    }

    #[test]
    fn rooms_without_a_member_count_against_nobody_and_bytes_do() {
        let mut capacity = RecordCapacity::new(100, 1_000);
        capacity.hold(maker(1), 500);
        assert!(!capacity.is_fair(maker(1), 1) && capacity.is_fair(maker(2), 250));
        assert!(!capacity.is_fair(maker(2), 251));
        let network = NetworkKey::new(Dialect::Rooms, "r").unwrap();
        capacity.stand(&network, maker(1), Moment(9), 500);
        assert!(capacity.is_fair(maker(1), 251));
        capacity.leave(&network);
        assert!(!capacity.is_fair(maker(1), 1));
        capacity.give_up(maker(1), 500);
        assert!(capacity.taken.is_empty());
    }
}
