//! Guards rooms: decides which ones, follows them, and waits for those that another hub takes over.
//!
//! `guards` has the rule. Part of [`Core`] and of [`Routing`], like `narrowing`, which calls it.

use super::Core;
use super::api::record_id;
use super::guards::Decided;
use super::ids::{HubId, Moment, NetworkKey, Now};
use super::routing::Routing;

/// The most networks that are decided at one look at the mesh.
const AT_ONCE: usize = 20_000;

impl Core {
    /// Whether this hub guards a room, which one other hub lists.
    pub fn is_guarding(&self, network: &NetworkKey) -> bool {
        self.routing.guards.includes(network)
    }

    /// How many rooms this hub guards.
    pub fn guarded(&self) -> usize {
        self.routing.guards.len()
    }

    /// Whether joins wait once more, for another hub to take the room over: it does so once the hold is over.
    pub(super) fn waits_for_take_over(&mut self, now: Now, network: &NetworkKey) -> bool {
        let limit = now.at + self.hold;
        self.is_between_hubs(network) && self.routing.interest.wait_longer(network, limit)
    }

    /// Whether another hub may be about to take a room over: all hubs that list it are out of reach, and nothing is
    /// known of it here.
    pub(super) fn is_between_hubs(&self, network: &NetworkKey) -> bool {
        if !network.is_room() || self.mutants.lost_room_not_waited_for() {
            return false;
        }
        let listing = self.directory.read().lines().hubs_in(network);
        let is_lost = |hub: &HubId| !self.routing.topology.is_reachable(*hub);
        !listing.is_empty() && listing.iter().all(is_lost) && self.known_record(network).is_none()
    }

    /// Whether the hub that shows a room's record is out of reach, and in its hold: the record must be here when it is
    /// over.
    pub(super) fn may_be_lost_soon(&self, network: &NetworkKey) -> bool {
        if !network.is_room() || self.mutants.hold_outlasts_interest() {
            return false;
        }
        let records = self.directory.read().claims_of_id(network, &record_id());
        let mut hubs = records.iter().map(|record| &record.hub);
        hubs.any(|hub| self.routing.hold_down.is_held(hub))
    }

    /// Guards rooms among the hubs in reach that stay.
    pub(super) fn look_at_guards(&mut self, now: Now) {
        if !self.routing.interest.is_active() {
            return;
        }
        let routes = self.routing.topology.routes();
        let hubs = routes.by_hub.keys().chain(std::iter::once(&self.me));
        let staying: Vec<HubId> = hubs.copied().filter(|hub| self.stays(hub)).collect();
        self.routing.guard_among(now.at, staying);
    }
}

impl Routing {
    /// These hubs are in reach and stay. Decides a part of the rooms again if they are others than before.
    fn guard_among(&mut self, now: Moment, staying: Vec<HubId>) {
        self.guards.set_staying(staying);
        let Some(from) = self.guards.take_place() else {
            return;
        };
        let (rooms, next) = self.directory.read().lines().rooms_from(from, AT_ONCE);
        if let Some(next) = next {
            self.guards.go_on_from(next);
            self.interest.look_soon(now);
        }
        for room in rooms {
            self.decide_guard(now, &room);
        }
    }

    /// The lines of a hub are shown, hidden or dropped: the rooms among them are decided with this input.
    pub(super) fn review_guards_of(&mut self, hub: HubId) {
        let networks = self.directory.read().lines().of(&hub);
        self.guards.review(networks);
    }

    /// Decides the rooms whose lines changed.
    pub(super) fn decide_guards(&mut self, now: Moment) {
        for room in self.guards.take_undecided() {
            self.decide_guard(now, &room);
        }
    }

    /// Decides whether this hub guards a network.
    pub(super) fn decide_guard(&mut self, now: Moment, network: &NetworkKey) {
        if !network.is_room() || !self.interest.is_active() {
            return;
        }
        let lister = self.directory.read().lines().only_shown_in(network);
        match self.guards.decide(self.me, network, lister) {
            Decided::AsBefore => {}
            Decided::Guarded => {
                if self.interest.on_guard(network) {
                    self.review_network(network);
                }
            }
            Decided::LetGo => self.interest.on_guard_end(now, network),
        }
    }
}
