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

use super::ids::{HubId, Moment, NetworkKey, mix, stable_hash};
use super::mutants::Mutants;
use super::routing::Routing;

/// The most networks that are decided at one look at the mesh.
const AT_ONCE: usize = 20_000;
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
}

impl Guards {
    /// None yet. Hubs of this mesh hold up to `most_rooms` rooms each.
    pub(super) fn new(most_rooms: usize) -> Self {
        Guards {
            most_rooms,
            staying: Vec::new(),
            rooms: BTreeMap::new(),
            of_hub: BTreeMap::new(),
            undecided: BTreeSet::new(),
            again_from: None,
            left_out: false,
        }
    }

    pub(super) fn includes(&self, network: &NetworkKey) -> bool {
        self.rooms.contains_key(network)
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// The most rooms of one other hub that this hub guards: twice its part of as many as a hub may have, and a few
    /// more.
    fn share(&self) -> usize {
        PARTS.saturating_mul(self.most_rooms) / self.staying.len().max(1) + BESIDE
    }

    /// Whether the hub `me` comes first for a room among the hubs that stay, without `lister`.
    fn is_first(&self, me: HubId, network: &NetworkKey, lister: HubId, mutants: Mutants) -> bool {
        let order = TakeOverOrder::of(network);
        let own = order.rank(&me);
        let mut others = self.staying.iter().filter(|(_, hub)| *hub != lister);
        match mutants.guardian_comes_last() {
            true => others.all(|hub| order.rank_by(hub) <= own),
            false => others.all(|hub| order.rank_by(hub) >= own),
        }
    }

    fn begin(&mut self, network: &NetworkKey, lister: HubId) {
        self.rooms.insert(network.clone(), lister);
        *self.of_hub.entry(lister).or_default() += 1;
    }

    fn end(&mut self, network: &NetworkKey) -> Option<HubId> {
        let lister = self.rooms.remove(network)?;
        if let Some(count) = self.of_hub.get_mut(&lister) {
            *count -= 1;
            if *count == 0 {
                self.of_hub.remove(&lister);
            }
        }
        Some(lister)
    }

    /// Lines of these networks changed: the rooms among them are to be decided.
    pub(super) fn review(&mut self, networks: impl IntoIterator<Item = NetworkKey>) {
        let rooms = networks.into_iter().filter(NetworkKey::is_room);
        self.undecided.extend(rooms);
    }

    /// Decides the rooms again for which there was no space.
    pub(super) fn try_again(&mut self) {
        if std::mem::take(&mut self.left_out) {
            self.again_from = Some(0);
        }
    }

    /// Guards nothing: every hub has all claims.
    pub(super) fn clear(&mut self) {
        *self = Guards::new(self.most_rooms);
    }
}

impl Routing {
    /// These hubs are in reach and stay. Decides all rooms again if they are others than before, a part of them at each
    /// call.
    pub(super) fn guard_among(&mut self, now: Moment, staying: Vec<HubId>) {
        let hashed = staying.into_iter().map(|hub| (hash(&hub), hub));
        let mut staying: Vec<(u64, HubId)> = hashed.collect();
        staying.sort_unstable_by_key(|(_, hub)| *hub);
        let is_first = self.guards.staying.is_empty();
        if staying != self.guards.staying && (is_first || !self.mutants.guards_decided_once()) {
            self.guards.staying = staying;
            self.guards.again_from = Some(0);
        }
        let Some(from) = self.guards.again_from.take() else {
            return;
        };
        let (rooms, next) = self.directory.read().lines().rooms_from(from, AT_ONCE);
        self.guards.again_from = next;
        if next.is_some() {
            self.interest.look_soon(now);
        }
        for room in rooms {
            self.decide_guard(now, &room);
        }
    }

    /// The lines of a hub are shown, hidden or dropped: decides the rooms among them with this input.
    pub(super) fn review_guards_of(&mut self, hub: HubId) {
        let networks = self.directory.read().lines().of(&hub);
        self.guards.review(networks);
    }

    /// Decides the rooms whose lines changed.
    pub(super) fn decide_guards(&mut self, now: Moment) {
        for room in std::mem::take(&mut self.guards.undecided) {
            self.decide_guard(now, &room);
        }
    }

    /// Decides whether this hub guards a network.
    pub(super) fn decide_guard(&mut self, now: Moment, network: &NetworkKey) {
        if !network.is_room() || !self.interest.is_active() {
            return;
        }
        let lister = self.lister_to_outlive(network);
        let before = self.guards.rooms.get(network).copied();
        if before == lister {
            return;
        }
        let before = self.guards.end(network);
        let used = lister.map(|hub| self.guards.of_hub.get(&hub).copied().unwrap_or(0));
        let has_space = used.is_some_and(|used| used < self.guards.share())
            || self.mutants.guarded_without_end();
        match lister {
            Some(lister) if has_space => {
                self.guards.begin(network, lister);
                if self.interest.on_guard(network) {
                    self.review_network(network);
                }
            }
            _ => {
                self.guards.left_out |= lister.is_some();
                if before.is_some() {
                    self.interest.on_guard_end(now, network);
                }
            }
        }
    }

    /// The only hub that lists a network, if this hub is to guard it.
    fn lister_to_outlive(&self, network: &NetworkKey) -> Option<HubId> {
        let lister = self.directory.read().lines().only_shown_in(network)?;
        if self.mutants.rooms_unguarded() {
            return None;
        }
        let staying = &self.guards.staying;
        let is_candidate = staying
            .binary_search_by_key(&self.me, |(_, hub)| *hub)
            .is_ok();
        let is_first = || self.guards.is_first(self.me, network, lister, self.mutants);
        (lister != self.me && is_candidate && is_first()).then_some(lister)
    }
}

#[cfg(test)]
mod tests;
