//! Subscribes only to networks of interest, as `interest` decides.
//!
//! **When.** Every hub of a mesh subscribes to single networks (the mesh is *narrow*) if all hubs in its reach know of
//! interest and one of them asks for it, by the marks in their link records. Otherwise every hub subscribes to all
//! claims of all others. So hubs of earlier versions, which show no mark, get whole sets as before.
//!
//! **Hub by hub.** Of each other hub this hub has the whole set, or the names of its networks and the sets of those of
//! interest. The form that it has is kept up to date until the other form is complete; then one replaces the other in
//! one step.
//!
//! **For neighbours.** A set of one network takes the same routes as a whole set. So a hub on the way also subscribes
//! to it, as long as a neighbour subscribes to it at this hub.
//!
//! [`Routing`] has the functions that do not affect joins; the rest is part of [`Core`], whose doc has the contract.

use std::collections::BTreeSet;

use super::Core;
use super::api::{Join, JoinRefusal, Output, bans_network};
use super::ids::{HubId, LeaveReason, Moment, NetworkKey, Now};
use super::interest::InterestDue;
use super::routing::Routing;
use crate::frames::{Scope, Set};

/// How many lines are sent again in one round of housekeeping because their number is far off.
const SIZES_A_ROUND: usize = 32;

impl Core {
    /// Whether this hub subscribes to single networks of others.
    pub fn is_narrow(&self) -> bool {
        self.routing.interest.narrow
    }

    /// How many networks are of interest here.
    pub fn interests(&self) -> usize {
        self.routing.interest.len()
    }

    /// Whether a network is of interest here.
    pub fn is_interested(&self, network: &NetworkKey) -> bool {
        self.routing.interest.includes(network)
    }

    /// Whether a peer here, or a hub behind a neighbour, needs a set of one network.
    pub fn has_use_for(&self, set: &Set) -> bool {
        self.routing.has_use_for(set)
    }

    /// The hubs to whose single networks this hub subscribes.
    pub fn by_parts(&self) -> impl Iterator<Item = &HubId> {
        self.routing.interest.by_parts.iter()
    }

    /// Joins that wait for the members of their networks.
    pub fn unseen_joins(&self) -> usize {
        self.routing.interest.waiting()
    }

    /// A local peer asks to be in a network: returns the join if it need not wait.
    pub(super) fn wait_for_members(&mut self, now: Now, join: Join) -> Option<Join> {
        if !self.routing.interest.is_active() {
            return Some(join);
        }
        let network = join.network.clone();
        let has_members = self.directory.read().own_count(&network) > 0;
        let is_lost = self.is_between_hubs(&network);
        let interest = &mut self.routing.interest;
        let (join, fresh) = interest.on_join(now.at, join, has_members, is_lost);
        if fresh {
            self.routing.review_network(&network);
        }
        if self.mutants.joins_unseen() {
            return join.or_else(|| self.routing.interest.go_on(&network).pop());
        }
        self.go_on_if_known(now, &network);
        join
    }

    /// Somebody looks at a network without a member here: its members become known here, and stay so for a few seconds.
    /// [`Output::Seen`] follows, at the latest when the wait for the other hubs is over. If no hub has a member in the
    /// network, no hub is asked.
    pub fn look(&mut self, now: Now, network: &NetworkKey) {
        if self.has_to_ask_for(now, network) {
            let has_members = self.directory.read().own_count(network) > 0;
            if self.routing.interest.on_look(now.at, network, has_members) {
                self.routing.review_network(network);
            }
            self.go_on_if_known(now, network);
            return self.settle(now);
        }
        self.see(network.clone());
    }

    /// Whether another hub may have members in a network.
    fn has_to_ask_for(&self, now: Now, network: &NetworkKey) -> bool {
        let is_listed = || !self.directory.read().lines().hubs_in(network).is_empty();
        self.routing.interest.is_active()
            && (is_listed() || !self.routing.unlined(now.at).is_empty())
    }

    fn see(&mut self, network: NetworkKey) {
        self.outputs.push_back(Output::Seen { network });
    }

    fn go_on_if_known(&mut self, now: Now, network: &NetworkKey) {
        if self.routing.interest.is_waited_for(network)
            && self.routing.unlined(now.at).is_empty()
            && self.is_known(now, network)
        {
            self.go_on(now, network);
        }
    }

    /// Whether the members of a network are known, and the room if it is one.
    fn is_known(&self, now: Now, network: &NetworkKey) -> bool {
        self.routing.unanswered(now.at, network).is_empty() && !self.is_between_hubs(network)
    }

    pub(super) fn go_on_where_known(&mut self, now: Now) {
        // Until the lines of all hubs have arrived, nothing is known of any network: there is no need to check each.
        if self.routing.interest.is_idle() || !self.routing.unlined(now.at).is_empty() {
            return;
        }
        for network in self.routing.interest.waited_for() {
            if self.is_known(now, &network) {
                self.go_on(now, &network);
            }
        }
    }

    fn end_look(&mut self, network: &NetworkKey) {
        if self.routing.interest.end_look(network) {
            self.see(network.clone());
        }
    }

    /// Decides the joins that waited in a network, and ends the look at it.
    fn go_on(&mut self, now: Now, network: &NetworkKey) {
        self.end_look(network);
        for join in self.routing.interest.go_on(network) {
            self.decide(now, join);
        }
    }

    /// Decides a join, unless its network is full.
    pub(super) fn decide(&mut self, now: Now, join: Join) {
        let why = if self.draining {
            JoinRefusal::Draining
        } else if !self.has_capacity(&join.network, &join.peer) {
            JoinRefusal::RoomFull
        } else {
            return self
                .presence
                .contests
                .begin(now.at, &self.directory.read(), join);
        };
        let claim = join.claim;
        self.outputs.push_back(Output::Refused { claim, why });
    }

    /// Ends interest in networks and lets joins go on, as is due.
    pub(super) fn handle_interest_timeout(&mut self, now: Now) {
        while let Some((network, due)) = self.routing.interest.take_due(now.at) {
            match due {
                InterestDue::GoOn if self.waits_for_take_over(now, &network) => {
                    self.end_look(&network);
                }
                InterestDue::GoOn => {
                    let mut tardy = self.routing.unlined(now.at);
                    tardy.extend(self.routing.unanswered(now.at, &network));
                    for hub in tardy {
                        self.routing.interest.note_tardy(now.at, hub);
                    }
                    self.go_on(now, &network);
                }
                InterestDue::End => self.end_interest(now, &network),
            }
        }
        if self.routing.interest.is_look_due(now.at) {
            self.look_at_mesh(now);
        }
    }

    fn end_interest(&mut self, now: Now, network: &NetworkKey) {
        if self.directory.read().own_count(network) > 0
            || self.routing.interest.is_waited_for(network)
        {
            return;
        }
        let waits = self.exchange.lock().waits_in(network);
        let waits = waits || self.presence.contests.wants(network);
        let waits = waits && !self.mutants.waiting_signal_missed();
        if waits || self.may_be_lost_soon(network) {
            return self.routing.interest.look_again(now.at, network);
        }
        let was_listed = self.directory.write().lines_mut().retract(now.at, network);
        if was_listed {
            self.routing.subscribers.on_advance(&Set::networks(self.me));
            // What is here of the room stays if this hub is its guardian now.
            self.routing.decide_guard(now.at, network);
        }
        let is_guarded = self.routing.guards.includes(network);
        if is_guarded || self.mutants.interest_for_ever() || network.is_of_bans() {
            return;
        }
        self.routing.interest.end(network);
        self.routing.review_network(network);
    }

    /// A set changed.
    pub(super) fn on_set_advanced(&mut self, now: Now, set: &Set) {
        match &set.scope {
            Scope::All => {
                self.routing.arrange(set.hub);
                self.routing.serve_all_of(set.hub);
                if self.directory.read().records() > self.routing.interest.config.full_peers {
                    self.routing.interest.look_soon(now.at);
                }
            }
            Scope::Networks => {
                // A whole set that becomes some of single networks keeps those that are guarded.
                self.routing.decide_guards(now.at);
                self.routing.arrange(set.hub);
                self.routing.review_touched(set.hub);
                self.go_on_where_known(now);
            }
            Scope::Of(network) => {
                self.routing.interest.forget_tardy(&set.hub);
                self.routing.review(set);
                self.go_on_if_known(now, network);
            }
        }
    }

    /// Checks the hubs in reach: whether all know of interest and one asks for it.
    fn look_at_mesh(&mut self, now: Now) {
        if let Some(narrow) = self.routing.judge_mesh(now.at) {
            self.routing.turn(narrow);
            self.rest_if_whole(now);
            self.counters.turns += 1;
        }
        self.look_at_guards(now);
    }

    /// Once every hub's whole set is here, there is no interest.
    pub(super) fn rest_if_whole(&mut self, now: Now) {
        if self.routing.interest.is_active() || self.directory.read().lines().sets().is_none() {
            return;
        }
        self.directory.write().close_lines();
        self.routing.guards.clear();
        let (joins, looks) = self.routing.interest.clear();
        for join in joins {
            self.decide(now, join);
        }
        looks.into_iter().for_each(|network| self.see(network));
    }
}

impl Routing {
    /// Looks at the hubs in reach, whether all know of interest and one asks for it. Gives what to take from now on, if
    /// that changes: single networks or all.
    fn judge_mesh(&mut self, now: Moment) -> Option<bool> {
        if !self.interest.config.known {
            return None;
        }
        let routes = self.topology.routes();
        let hubs = routes.by_hub.len() + 1;
        // If there are too many hubs, the peers need not be counted.
        let peers = match hubs > self.interest.config.full_hubs {
            true => 0,
            false => self.directory.read().peers(),
        };
        let asks = self.interest.judge(now, hubs, peers);
        self.topology.set_interest(now, Some(asks));
        let (mut all_know, mut one_asks) = (true, asks);
        for hub in routes.by_hub.keys() {
            let record = self.topology.record(*hub);
            match record.and_then(|record| record.asks_for_interest()) {
                Some(asks) => one_asks |= asks,
                None => all_know &= self.mutants.old_hubs_uncounted(),
            }
        }
        let narrow = all_know && one_asks;
        (narrow != self.interest.narrow).then_some(narrow)
    }

    /// Begins to take single networks, or all.
    fn turn(&mut self, narrow: bool) {
        let was_active = self.interest.is_active();
        self.interest.narrow = narrow;
        if !was_active {
            let me = self.me;
            let mut directory = self.directory.write();
            directory.open_lines();
            directory.open_views(&me);
            let own = directory.own_networks();
            drop(directory);
            for network in own {
                self.on_own_claim(&network);
            }
            // All hubs go by the bans of all.
            if self.interest.on_member(&bans_network()) {
                self.review_network(&bans_network());
            }
            self.serve_all_of(me);
        }
        let routes = self.topology.routes();
        let parts = self.interest.by_parts.iter();
        let hubs: BTreeSet<HubId> = routes.by_hub.keys().chain(parts).copied().collect();
        for hub in hubs {
            self.arrange(hub);
            if narrow && self.interest.by_parts.contains(&hub) {
                // Networks that came to be of interest while all was on its way were not asked for.
                self.review_all_of(hub);
            }
        }
    }

    /// Whether a peer here, or a hub behind a neighbour, needs a set of one network.
    pub(super) fn has_use_for(&self, set: &Set) -> bool {
        match &set.scope {
            Scope::Of(network) => {
                self.interest.includes(network) || self.subscribers.has_children(set)
            }
            Scope::All | Scope::Networks => true,
        }
    }

    pub(super) fn waits_for(&self, now: Moment, hub: &HubId) -> bool {
        self.topology.is_reachable(*hub)
            && (self.interest.waits_for(now, hub) || self.mutants.tardy_waited_for())
    }

    /// The hubs in reach whose lines have not arrived yet.
    pub(super) fn unlined(&self, now: Moment) -> Vec<HubId> {
        let directory = self.directory.read();
        let parts = self.interest.by_parts.iter();
        let unlined = parts.filter(|hub| !self.interest.narrow || !directory.lines().is_whole(hub));
        unlined
            .filter(|hub| self.waits_for(now, hub))
            .copied()
            .collect()
    }

    /// The hubs in reach that have a line of a network, and whose members of it have not arrived yet.
    pub(super) fn unanswered(&self, now: Moment, network: &NetworkKey) -> Vec<HubId> {
        let directory = self.directory.read();
        let lacking = |hub: &HubId| {
            let state = directory.set_state(&Set::of(*hub, network));
            self.interest.by_parts.contains(hub)
                && !state.is_some_and(|state| state.complete)
                && self.waits_for(now, hub)
        };
        let listing = directory.lines().hubs_in(network);
        listing.into_iter().filter(lacking).collect()
    }

    /// A claim of this hub was made or changed.
    pub(super) fn on_own_claim(&mut self, network: &NetworkKey) {
        self.subscribers.on_advance(&Set::of(self.me, network));
        if !self.interest.is_active() {
            return;
        }
        if self.interest.on_member(network) {
            self.review_network(network);
        }
        let new = {
            let directory = self.directory.read();
            let size = directory.own_count(network);
            let said = directory.lines().own_size(network);
            (said.is_none() && size > 0).then_some(size)
        };
        if let Some(size) = new {
            let mut directory = self.directory.write();
            directory.lines_mut().author(network, size);
            drop(directory);
            self.subscribers.on_advance(&Set::networks(self.me));
            self.guards.review([network.clone()]);
        }
    }

    /// A claim of this hub is over.
    pub(super) fn on_own_gone(&mut self, now: Now, network: &NetworkKey) {
        self.subscribers.on_advance(&Set::of(self.me, network));
        if !self.interest.is_active() {
            return;
        }
        if self.directory.read().own_count(network) == 0 {
            let linger = match self.mutants.interest_dropped_early() {
                true => std::time::Duration::ZERO,
                false => self.interest.config.linger,
            };
            self.interest.on_last_gone(now.at, network, linger);
        }
    }

    /// Checks the subscriptions of this network at every hub.
    pub(super) fn review_network(&mut self, network: &NetworkKey) {
        let hubs: BTreeSet<HubId> = {
            let directory = self.directory.read();
            let listing = directory.lines().hubs_in(network);
            listing
                .into_iter()
                .chain(directory.holding(network))
                .collect()
        };
        for hub in hubs {
            self.review(&Set::of(hub, network));
        }
    }

    /// Subscribes to a set of one network if its hub has a line of it, and a peer here or a hub behind a neighbour is
    /// interested; otherwise ends the subscription.
    pub(super) fn review(&mut self, set: &Set) {
        let Scope::Of(network) = &set.scope else {
            return;
        };
        if !self.interest.by_parts.contains(&set.hub) {
            return;
        }
        let directory = self.directory.read();
        let held = directory.set_state(set);
        // If its hub has no members in the network any more, no hub on the way has anything to send.
        let lines = directory.lines();
        let there = match lines.is_whole(&set.hub) {
            true => lines.lists(&set.hub, network),
            false => held.is_some(),
        };
        if there && self.is_of_use(set, network) {
            // While the whole set is on its way, no subscription to a single network is started beside it.
            if self.interest.narrow {
                self.subscriptions.want(&directory, set.clone());
            }
            return;
        }
        drop(directory);
        self.subscriptions.unwant(set);
        if held.is_some() {
            self.directory.write().drop_set(set, LeaveReason::Closed);
        }
    }

    pub(super) fn is_of_use(&self, set: &Set, network: &NetworkKey) -> bool {
        self.interest.includes(network)
            || self.subscribers.has_children(set) && !self.mutants.no_interest_for_neighbours()
    }

    /// Every subscription of neighbours to sets of this hub may have news.
    pub(super) fn serve_all_of(&mut self, hub: HubId) {
        let sets: Vec<Set> = self.subscribers.sets_of(&hub).cloned().collect();
        sets.iter().for_each(|set| self.subscribers.on_advance(set));
    }

    /// Checks the networks of which a line was added or removed.
    pub(super) fn review_touched(&mut self, hub: HubId) {
        let touched = self.directory.write().lines_mut().take_touched();
        if self.mutants.line_missed() {
            return;
        }
        for network in &touched {
            self.review(&Set::of(hub, network));
        }
        self.guards.review(touched);
    }

    /// A neighbour subscribed to a set at this hub, or ended that.
    pub(super) fn on_followed(&mut self, set: &Set) {
        if !matches!(set.scope, Scope::Of(_)) {
            return;
        }
        if self.interest.by_parts.contains(&set.hub) {
            self.review(set);
        } else if self.subscribers.has_children(set) {
            self.directory.write().open_views(&set.hub);
        }
    }

    /// Subscribes to a hub's whole set or its single networks, as the mesh does now.
    pub(super) fn arrange(&mut self, hub: HubId) {
        let whole = Set::all(hub);
        let lines = Set::networks(hub);
        let is_whole = {
            let state = self.directory.read().set_state(&whole);
            state.is_some_and(|state| state.complete)
        };
        if !self.interest.narrow {
            self.give_up_what_is_not_here(hub);
            self.subscriptions.want(&self.directory.read(), whole);
            if is_whole {
                self.rest_on_whole(hub);
            }
            return;
        }
        self.subscriptions.want(&self.directory.read(), lines);
        if self.interest.by_parts.contains(&hub) {
            if self.subscriptions.wants(&whole) {
                self.subscriptions.unwant(&whole);
                self.directory
                    .write()
                    .drop_set(&whole, LeaveReason::HubLost);
                self.review_all_of(hub);
            }
            return;
        }
        if is_whole && !self.directory.read().lines().is_whole(&hub) {
            // The whole set stays until the names of the hub's networks are known.
            return;
        }
        self.interest.by_parts.insert(hub);
        self.subscriptions.unwant(&whole);
        let mut directory = self.directory.write();
        if is_whole && !self.mutants.narrowed_from_nothing() {
            directory.narrow(&hub, |network| self.has_use_for(&Set::of(hub, network)));
        } else {
            directory.drop_set(&whole, LeaveReason::HubLost);
        }
        drop(directory);
        self.review_all_of(hub);
    }

    /// The whole set of a hub will arrive: single networks that are still on their way would arrive twice.
    pub(super) fn give_up_what_is_not_here(&mut self, hub: HubId) {
        let here = self.directory.read().networks_held(&hub);
        for set in self.subscriptions.wanted_of(hub) {
            if let Scope::Of(network) = &set.scope
                && here.binary_search(network).is_err()
            {
                self.subscriptions.unwant(&set);
            }
        }
    }

    /// Checks every network that a hub has, or of which there is a set here.
    pub(super) fn review_all_of(&mut self, hub: HubId) {
        let networks = {
            let directory = self.directory.read();
            let mut networks = directory.lines().of(&hub);
            networks.extend(directory.networks_held(&hub));
            networks
        };
        for network in networks {
            self.review(&Set::of(hub, &network));
        }
    }

    /// A hub's whole set has arrived: its single networks are not needed any more.
    pub(super) fn rest_on_whole(&mut self, hub: HubId) {
        self.interest.by_parts.remove(&hub);
        if self.subscribers.has_followers_of(&hub) {
            self.directory.write().open_views(&hub);
        }
        for set in self.subscriptions.wanted_of(hub) {
            if set.scope != Scope::All {
                self.subscriptions.unwant(&set);
            }
        }
        let lines = Set::networks(hub);
        let has_lines = self.directory.read().set_state(&lines).is_some();
        if has_lines {
            self.review_guards_of(hub);
            let mut directory = self.directory.write();
            directory.drop_set(&lines, LeaveReason::HubLost);
        }
    }

    /// Forgets all sets of a hub.
    pub(super) fn forget_sets(&mut self, hub: HubId) {
        self.review_guards_of(hub);
        self.directory
            .write()
            .forget_hub(&hub, LeaveReason::HubLost);
        for set in self.subscriptions.wanted_of(hub) {
            self.subscriptions.unwant(&set);
        }
        self.interest.by_parts.remove(&hub);
        self.interest.forget_tardy(&hub);
    }

    /// A hub has another incarnation: drops all sets of the last one.
    pub(super) fn drop_stale_sets(&mut self, hub: HubId, incarnation: super::ids::Incarnation) {
        self.review_guards_of(hub);
        let mut directory = self.directory.write();
        for set in directory.sets_of(&hub) {
            let state = directory.set_state(&set);
            if state.is_some_and(|here| here.incarnation < incarnation) {
                directory.drop_set(&set, LeaveReason::HubLost);
                if matches!(set.scope, Scope::Of(_)) {
                    self.subscriptions.unwant(&set);
                }
            }
        }
    }

    /// Updates lines whose number is far off, and closes views without a subscriber.
    pub(super) fn keep_interest(&mut self, now: Now) {
        let mut said = false;
        if self.interest.is_active() {
            let mut directory = self.directory.write();
            let off = directory.sizes_far_off(SIZES_A_ROUND);
            said = !off.is_empty();
            for (network, size) in off {
                directory.lines_mut().author(&network, size);
            }
        }
        if said {
            self.subscribers.on_advance(&Set::networks(self.me));
        }
        let viewed = self.directory.read().viewed();
        for hub in viewed {
            let is_own = hub == self.me && self.interest.is_active();
            if !self.subscribers.has_followers_of(&hub) && !is_own {
                self.directory.write().close_views(&hub);
            }
        }
        self.guards.try_again();
        self.interest.look_soon(now.at);
    }
}
