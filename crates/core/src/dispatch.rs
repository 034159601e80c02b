//! Passes events between the parts until none is left.
//!
//! The order after every input: links tell the topology; the topology tells the subscriptions, the hold-down and the
//! dialler; contests are decided; and changes of the directory reach peers, the waiting room and the claims that lost
//! their ids. Part of [`Core`], whose doc has the contract.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::api::{Bye, Output, Route, SharedRoutes, record_id};
use super::contest::ContestAction;
use super::directory::IdChange;
use super::ids::{HubId, Incarnation, LeaveReason, Moment, NetworkKey, Now, PeerId};
use super::links::LinkEvent;
use super::routing::Routing;
use super::topology::TopologyEvent;
use crate::frames::{Scope, Set};

use super::{ABSENCE, ALARM_EVERY, Core, DROP_AFTER, MAX_ABSENCE, RENAMED_EVERY};

impl Core {
    /// The next thing to do; drained after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Passes events between the parts until none is left.
    pub(super) fn settle(&mut self, now: Now) {
        loop {
            if let Some(event) = self.linkage.links.poll_event() {
                self.on_link_event(now, event);
            } else if let Some(event) = self.routing.topology.poll_event() {
                self.on_topology_event(now, event);
            } else if let Some(action) = self.presence.next_action(now.at, &self.directory) {
                self.on_action(now, action);
            } else if !self.pass_changes_on(now) && !self.evict_excess_members(now) {
                break;
            }
        }
        self.routing.decide_guards(now.at);
        self.tell_of_bans();
        while let Some((dial, target)) = self.linkage.dialer.poll_dial() {
            self.outputs.push_back(Output::Dial { dial, target });
        }
        if self.presence.rosters.owes() {
            let directory = self.directory.read();
            let told = self.presence.refill_rosters(&directory, now.at);
            self.outputs.extend(told);
        }
        for (link, frame) in self.routing.subscriptions.take_frames() {
            self.linkage.ask(link, frame);
        }
    }

    pub(super) fn on_action(&mut self, now: Now, action: ContestAction) {
        match action {
            ContestAction::Claim(claim) => self.claim(now, claim),
            ContestAction::Refuse { claim, why } => {
                self.outputs.push_back(Output::Refused { claim, why })
            }
            ContestAction::Probe { claim, token } => {
                let within = self.probe_within;
                self.outputs.push_back(Output::Probe {
                    claim,
                    token,
                    within,
                });
            }
            ContestAction::Send { to, payload, token } => {
                self.exchange
                    .lock()
                    .send_hub_message(now.at, to, payload, token);
            }
            ContestAction::Expel(claim) => self.supersede(now, claim),
        }
    }

    pub(super) fn on_link_event(&mut self, now: Now, event: LinkEvent) {
        match event {
            LinkEvent::NeighbourUp {
                hub,
                incarnation,
                link,
            } => {
                self.routing
                    .topology
                    .on_neighbour_up(now.at, hub, incarnation, link);
            }
            LinkEvent::NeighbourSwitched { hub, link } => self
                .routing
                .topology
                .on_neighbour_switched(now.at, hub, link),
            LinkEvent::NeighbourDown { hub } => {
                self.routing.topology.on_neighbour_down(now.at, hub);
                self.linkage.dialer.on_neighbour_down(now.at, hub);
            }
            LinkEvent::Close { link, bye } => {
                if let Some(codec) = self.linkage.codecs.get(&link) {
                    self.linkage.dialer.on_bye(now.at, codec.hub, bye);
                }
                match bye {
                    Bye::StaleIncarnation { .. } if !self.linkage.closing_links.was_told(link) => {
                        self.begin_closing(now, link, bye);
                    }
                    _ => {
                        self.forget_link(link);
                        self.close(link, bye);
                    }
                }
            }
            LinkEvent::RttMeasured { hub, rtt } => {
                self.routing.topology.on_rtt(now.at, hub, rtt);
                self.linkage.dialer.on_rtt(hub, rtt);
            }
            LinkEvent::IdentityClash { incarnation } => {
                self.alarm(now, "identity-clash", || {
                    format!("another machine uses this hub's id, in {incarnation}")
                });
                self.routing.topology.on_stale(now.at, incarnation);
            }
        }
    }

    pub(super) fn drain_topology_events(&mut self, now: Now) {
        while let Some(event) = self.routing.topology.poll_event() {
            self.on_topology_event(now, event);
        }
    }

    pub(super) fn on_topology_event(&mut self, now: Now, event: TopologyEvent) {
        match event {
            // The hub was lost again before this was noticed: its hold goes on. If it ended here, the hub would be
            // hidden.
            TopologyEvent::Reachable { hub, .. } if !self.routing.topology.is_reachable(hub) => {}
            TopologyEvent::Reachable { hub, incarnation } => {
                let is_kept = self.directory.read().keeps_claims_of(&hub, incarnation);
                self.routing.hold_down.end(now.at, hub, is_kept);
                self.linkage.dialer.on_reachable(now.at, hub);
                self.routing.show(hub, LeaveReason::HubLost);
            }
            TopologyEvent::Unreachable { hub } => {
                self.linkage.dialer.on_unreachable(now.at, hub);
                let hold = if self.mutants.no_hold_down() {
                    Duration::ZERO
                } else {
                    self.hold
                };
                self.routing
                    .hold_down
                    .start(hub, now.at + hold, now.at + hold.max(DROP_AFTER));
            }
            TopologyEvent::IncarnationChanged { hub, incarnation } => {
                self.routing.subscriptions.on_incarnation(hub, incarnation);
                self.routing.drop_stale_sets(hub, incarnation);
                self.linkage.links.on_incarnation(hub, incarnation);
                self.routing.show(hub, LeaveReason::HubLost);
            }
            TopologyEvent::MindChanged => self.routing.interest.look_soon(now.at),
            TopologyEvent::Learned { hub } => {
                self.routing.interest.look_soon(now.at);
                if let Some(record) = self.routing.topology.record(hub) {
                    self.linkage
                        .dialer
                        .on_learned(now.at, hub, &record.urls, record.draining);
                    if record.draining {
                        self.expect_rooms_of(now, &hub);
                    }
                }
            }
            TopologyEvent::Forgotten { hub } => {
                self.routing.hold_down.clear(&hub);
                self.linkage.dialer.on_forgotten(hub);
                self.routing.forget_sets(hub);
                self.rest_if_whole(now);
            }
            TopologyEvent::RoutesChanged => self.on_routes_changed(now),
            TopologyEvent::OwnIncarnation(incarnation) => self.begin_incarnation(now, incarnation),
            TopologyEvent::IdentityClash => self.leave_mesh(now),
        }
    }

    pub(super) fn on_routes_changed(&mut self, now: Now) {
        let routes = self.routing.follow_routes();
        self.exchange.lock().set_routes(now.at, routes);
        self.routing.interest.look_soon(now.at);
        self.go_on_where_known(now);
    }

    pub(super) fn begin_incarnation(&mut self, now: Now, incarnation: Incarnation) {
        self.incarnation = incarnation;
        self.linkage.links.set_incarnation(incarnation);
        self.directory.write().set_own_incarnation(incarnation);
        self.exchange.lock().set_incarnation(now.at, incarnation);
        self.routing.serve_all_of(self.me);
        self.alarm(now, "new-incarnation", || {
            format!("the mesh knew a later incarnation of this hub, which goes on as {incarnation}")
        });
    }

    pub(super) fn leave_mesh(&mut self, now: Now) {
        if self.left {
            return;
        }
        self.left = true;
        let absence = ABSENCE * 2_u32.saturating_pow(self.absences.min(8));
        let back = now.at + absence.min(MAX_ABSENCE);
        self.back = (!self.mutants.exile_for_ever()).then_some(back);
        self.absences = self.absences.saturating_add(1);
        let me = self.me;
        self.alarm(now, "left-mesh", || {
            format!("another live machine has hub id {me}: this one leaves the mesh; give each its own HUB_ID")
        });
        self.linkage.dialer.stop();
        // A hub that draws another id is to be dialled again when it is back.
        let bye = match self.random_id {
            true => Bye::Draining {
                retry_after: self.back_with_a_new_id(now) - now.at,
            },
            false => Bye::IdentityClash,
        };
        for link in self.linkage.open() {
            self.linkage.links.on_down(now.at, link);
            self.forget_link(link);
            self.close(link, bye);
        }
        self.outputs.push_back(Output::LeftMesh);
    }

    /// Takes another id, in a first incarnation, and goes back into the mesh: at once, or a minute after the last time.
    /// To be called after [`Output::LeftMesh`] by a hub whose id was drawn at random. Its peers stay.
    pub fn take_new_id(&mut self, now: Now, hub: HubId, nonce: u64) {
        if !self.left {
            return;
        }
        let old = std::mem::replace(&mut self.me, hub);
        self.routing.me = hub;
        let incarnation = Incarnation { epoch: 0, nonce };
        self.incarnation = incarnation;
        self.linkage.links.set_id(hub, incarnation);
        self.linkage.dialer.set_id(hub);
        self.presence.contests.set_id(hub);
        self.directory.write().set_own_id(hub, incarnation);
        self.exchange.lock().set_id(now.at, hub, incarnation);
        self.routing.topology.set_id(now.at, hub, incarnation);
        self.alarm(now, "new-id", || {
            format!("hub {old} goes by the id {hub} from now on: another hub used its own id")
        });
        let back = self.back_with_a_new_id(now);
        self.renamed = Some(now.at);
        self.back = Some(back);
        if back <= now.at {
            self.come_back(now);
        }
        self.settle(now);
    }

    fn back_with_a_new_id(&self, now: Now) -> Moment {
        let rested = self.renamed.map(|last| last + RENAMED_EVERY);
        rested.map_or(now.at, |rested| rested.max(now.at))
    }

    /// Enters the mesh again: the other hub with our id may be gone, or a rogue made it up.
    pub(super) fn come_back(&mut self, now: Now) {
        self.left = false;
        self.back = None;
        self.routing.topology.forget_clash();
        self.linkage.dialer.resume(now.at);
        self.outputs.push_back(Output::BackInMesh);
    }

    /// Tells peers, the waiting room and the claims that lost their ids of changes. False if nothing changed.
    pub(super) fn pass_changes_on(&mut self, now: Now) -> bool {
        let (changes, hidden, shown) = {
            let mut directory = self.directory.write();
            let (hidden, shown) = (directory.take_hidden_rooms(), directory.take_shown_rooms());
            (directory.take_changes(), hidden, shown)
        };
        self.note_lost_rooms(now, hidden, &shown);
        if changes.is_empty() {
            return false;
        }
        for (at, change) in changes.iter().enumerate() {
            self.pass_change_on(now, change, &changes[at..]);
        }
        // Once for each room, however many changes it had.
        let came = changes.iter().filter(|change| change.after.is_some());
        let rooms: BTreeSet<&NetworkKey> = came.map(|change| &change.network).collect();
        for room in rooms {
            self.presence.find_excess_members(&self.directory, room);
        }
        let of_bans = changes.iter().filter(|change| change.network.is_of_bans());
        self.review_bans(now, of_bans.map(|change| change.peer.clone()).collect());
        let touched = changes.iter().map(|change| &change.network);
        let touched = touched.filter(|network| network.is_room()).cloned();
        self.review_rooms(now, touched.collect());
        true
    }

    pub(super) fn pass_change_on(&mut self, now: Now, change: &IdChange, rest: &[IdChange]) {
        {
            let directory = self.directory.read();
            if let Some(output) = self.presence.rosters.on_change(&directory, change, rest) {
                self.outputs.push_back(output);
            }
        }
        if change.appeared {
            let mut exchange = self.exchange.lock();
            exchange.on_appeared(
                now.at,
                &*self.directory.read(),
                &change.network,
                &change.peer,
            );
        }
        for claim in &change.lost {
            if self.directory.read().own_claim(*claim).is_none() {
                continue;
            }
            // Which record of a room counts, and which hub holds a ban, are decided elsewhere.
            let is_record = change.peer == record_id() && change.network.is_room();
            if is_record || change.network.is_of_bans() {
                continue;
            }
            // A takeover by a newcomer of this hub was noted when it claimed the id.
            if self.is_held_elsewhere(&change.network, &change.peer) {
                self.presence
                    .contests
                    .note_takeover(now.at, &change.network, &change.peer);
            }
            self.supersede(now, *claim);
        }
    }

    pub(super) fn is_held_elsewhere(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let holder = self.directory.read().holder(network, peer);
        holder.is_some_and(|(found, _)| found.hub != self.me)
    }

    pub(super) fn alarm(&mut self, now: Now, label: &'static str, text: impl FnOnce() -> String) {
        let due = self
            .alarms
            .get(label)
            .is_none_or(|last| now.at - *last >= ALARM_EVERY);
        if due {
            self.alarms.insert(label, now.at);
            self.outputs.push_back(Output::Alarm {
                label,
                text: text(),
            });
        }
    }
}

impl Routing {
    /// Tells the subscriptions only of routes that have changed, because in a large mesh most runs change few. Gives all
    /// routes.
    fn follow_routes(&mut self) -> SharedRoutes {
        let routes = self.topology.routes();
        let before = std::mem::replace(&mut self.routed, Arc::clone(&routes));
        let mut lost: Vec<HubId> = before
            .by_hub
            .keys()
            .filter(|hub| !routes.by_hub.contains_key(*hub))
            .copied()
            .collect();
        lost.sort_unstable();
        for hub in lost {
            self.subscriptions.on_route_lost(hub);
        }
        let way = |route: &Route| (route.hop.link, route.incarnation);
        let mut moved: Vec<(HubId, Route)> = routes
            .by_hub
            .iter()
            .filter(|(hub, route)| before.by_hub.get(*hub).map(way) != Some(way(route)))
            .map(|(hub, route)| (*hub, *route))
            .collect();
        moved.sort_unstable_by_key(|(hub, _)| *hub);
        for (hub, route) in moved {
            self.subscriptions.on_route(
                &self.directory.read(),
                hub,
                route.incarnation,
                route.hop.link,
            );
            self.arrange(hub);
        }
        routes
    }

    /// Makes a hub's claims visible or not, as its reachability and its incarnation say.
    pub(super) fn show(&mut self, hub: HubId, reason: LeaveReason) {
        let sets = self.directory.read().sets_of(&hub);
        sets.iter().for_each(|set| self.show_set(set, reason));
    }

    /// Makes one set visible or hidden.
    pub(super) fn show_set(&mut self, set: &Set, reason: LeaveReason) {
        let Some(here) = self.directory.read().set_state(set) else {
            return;
        };
        let near = self.topology.is_reachable(set.hub) || self.hold_down.is_held(&set.hub);
        let incarnation = self
            .topology
            .record(set.hub)
            .map(|record| record.incarnation);
        let visible = here.complete && incarnation == Some(here.incarnation) && near;
        if here.visible != visible {
            self.directory.write().show_set(set, visible, reason);
            if set.scope == Scope::Networks {
                self.review_guards_of(set.hub);
            }
        }
    }
}
