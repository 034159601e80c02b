//! Guardians: in a narrow mesh, each room that only one other hub lists is followed by one hub more, so that its record
//! outlives the hub that lists it.
//!
//! The *guardian* of such a room is the hub that would take it over at once if its only hub were gone: the first in the
//! order of take-over among the hubs in reach that stay, without the hub that lists it. A hub finds by the lines and
//! the routes alone which rooms it guards, so no frame says so. A guarded network is of interest, and lingers like any
//! other when it is guarded no more: the record of a hub that was lost stays here until it counts as lost.
//!
//! A decision about one room reads hubs until one comes before this hub: about as many as the natural logarithm of their
//! number, each with one hash of two numbers. Rooms whose lines changed are decided with the input that changed them. When
//! the hubs in reach that stay are others, all rooms are decided again: a bounded number at each look at the mesh.
//!
//! A hub guards of each other hub a bounded number of rooms ([`Guards::share`]), and so of all hubs together.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::{HubId, NetworkKey, mix, stable_hash};
use super::mutants::Mutants;

/// How many times its part of another hub's rooms a hub guards at most.
const PARTS: usize = 2;
/// So many more rooms of each other hub, because the parts of a few rooms differ.
const BESIDE: usize = 32;

/// The order in which hubs take a room over.
pub(super) struct TakeOverOrder(u64);

impl TakeOverOrder {
    pub(super) fn of(network: &NetworkKey) -> Self {
        TakeOverOrder(stable_hash(network.as_str().as_bytes()))
    }

    /// The hub of the lowest rank comes first.
    pub(super) fn rank(&self, hub: &HubId) -> (u64, HubId) {
        self.rank_by(&(hash(hub), *hub))
    }

    fn rank_by(&self, (hash, hub): &(u64, HubId)) -> (u64, HubId) {
        (mix(self.0 ^ hash), *hub)
    }
}

fn hash(hub: &HubId) -> u64 {
    mix(stable_hash(&hub.0))
}

/// What a decision changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decided {
    AsBefore,
    /// This hub guards the room from now on, or for another hub than before.
    Guarded,
    /// It guards the room no more.
    LetGo,
}

/// The rooms that this hub guards.
#[derive(Debug)]
pub(super) struct Guards {
    /// The most rooms that an honest hub has.
    most_rooms: usize,
    /// The hubs in reach that stay, with their hashes, by id. This hub is among them unless it drains.
    staying: Vec<(u64, HubId)>,
    /// The guarded rooms, with the hub that lists each.
    rooms: BTreeMap<NetworkKey, HubId>,
    of_hub: BTreeMap<HubId, usize>,
    /// Rooms to decide with this input.
    undecided: BTreeSet<NetworkKey>,
    /// All rooms are to be decided again, from this place among the lines on.
    again_from: Option<usize>,
    /// There was no space for some rooms.
    left_out: bool,
    mutants: Mutants,
}

impl Guards {
    /// None yet. Hubs of this mesh hold up to `most_rooms` rooms each.
    pub(super) fn new(most_rooms: usize, mutants: Mutants) -> Self {
        Guards {
            most_rooms,
            staying: Vec::new(),
            rooms: BTreeMap::new(),
            of_hub: BTreeMap::new(),
            undecided: BTreeSet::new(),
            again_from: None,
            left_out: false,
            mutants,
        }
    }

    pub(super) fn includes(&self, network: &NetworkKey) -> bool {
        self.rooms.contains_key(network)
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Lines of these networks changed: the rooms among them are to be decided.
    pub(super) fn review(&mut self, networks: impl IntoIterator<Item = NetworkKey>) {
        let rooms = networks.into_iter().filter(NetworkKey::is_room);
        self.undecided.extend(rooms);
    }

    pub(super) fn take_undecided(&mut self) -> BTreeSet<NetworkKey> {
        std::mem::take(&mut self.undecided)
    }

    /// These hubs are in reach and stay. If they are others than before, all rooms are to be decided again.
    pub(super) fn set_staying(&mut self, hubs: Vec<HubId>) {
        let hashed = hubs.into_iter().map(|hub| (hash(&hub), hub));
        let mut staying: Vec<(u64, HubId)> = hashed.collect();
        staying.sort_unstable_by_key(|(_, hub)| *hub);
        let is_first = self.staying.is_empty();
        if staying != self.staying && (is_first || !self.mutants.guards_decided_once()) {
            self.staying = staying;
            self.again_from = Some(0);
        }
    }

    /// From which place among the lines on rooms are to be decided again, if any are. Without [`go_on_from`] these are
    /// all that is left.
    ///
    /// [`go_on_from`]: Self::go_on_from
    pub(super) fn take_place(&mut self) -> Option<usize> {
        self.again_from.take()
    }

    /// The next rooms to be decided again are those from this place on.
    pub(super) fn go_on_from(&mut self, place: usize) {
        self.again_from = Some(place);
    }

    /// Decides the rooms again for which there was no space.
    pub(super) fn try_again(&mut self) {
        if std::mem::take(&mut self.left_out) {
            self.again_from = Some(0);
        }
    }

    /// Decides whether the hub `me` guards a room, which only the hub `lister` lists; `None`: no hub does, or several.
    pub(super) fn decide(
        &mut self,
        me: HubId,
        room: &NetworkKey,
        lister: Option<HubId>,
    ) -> Decided {
        let lister = lister.filter(|lister| self.is_guardian(me, room, *lister));
        let before = self.rooms.get(room).copied();
        if before == lister {
            return Decided::AsBefore;
        }
        self.end(room);
        match lister {
            Some(lister) if self.has_space_for(&lister) => {
                self.rooms.insert(room.clone(), lister);
                *self.of_hub.entry(lister).or_default() += 1;
                return Decided::Guarded;
            }
            Some(_) => self.left_out = true,
            None => {}
        }
        match before {
            Some(_) => Decided::LetGo,
            None => Decided::AsBefore,
        }
    }

    /// Guards nothing: every hub has all claims.
    pub(super) fn clear(&mut self) {
        *self = Guards::new(self.most_rooms, self.mutants);
    }

    /// Whether the hub `me` comes first for a room among the hubs that stay, without `lister`.
    fn is_guardian(&self, me: HubId, room: &NetworkKey, lister: HubId) -> bool {
        let stays = self.staying.binary_search_by_key(&me, |(_, hub)| *hub);
        if me == lister || stays.is_err() || self.mutants.rooms_unguarded() {
            return false;
        }
        let order = TakeOverOrder::of(room);
        let own = order.rank(&me);
        let mut others = self.staying.iter().filter(|(_, hub)| *hub != lister);
        match self.mutants.guardian_comes_last() {
            true => others.all(|hub| order.rank_by(hub) <= own),
            false => others.all(|hub| order.rank_by(hub) >= own),
        }
    }

    /// The most rooms of one other hub that this hub guards: twice its part of as many as a hub may have, and a few
    /// more.
    fn share(&self) -> usize {
        PARTS.saturating_mul(self.most_rooms) / self.staying.len().max(1) + BESIDE
    }

    fn has_space_for(&self, lister: &HubId) -> bool {
        let used = self.of_hub.get(lister).copied().unwrap_or(0);
        used < self.share() || self.mutants.guarded_without_end()
    }

    fn end(&mut self, room: &NetworkKey) {
        let Some(lister) = self.rooms.remove(room) else {
            return;
        };
        if let Some(count) = self.of_hub.get_mut(&lister) {
            *count -= 1;
            if *count == 0 {
                self.of_hub.remove(&lister);
            }
        }
    }
}

#[cfg(test)]
mod tests;
