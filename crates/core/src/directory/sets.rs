//! The sets of each hub, by their scope: all its claims, those of one network, or the names of its networks.
//!
//! Of another hub, the directory has the whole set or sets of single networks, never both: each claim is in one set.
//! [`Directory::narrow`] turns the whole set into sets of networks, [`Directory::widen`] turns these back. Each does it
//! in one step: a peer in a network of interest that is there before and after is not shown as gone or as new in
//! between.

use std::collections::BTreeMap;

use super::super::ids::{HubId, Incarnation, LeaveReason, Moment, NetworkKey};
use super::log::Tombstone;
use super::store::{OriginNo, RecordNo};
use super::views::Views;
use super::{ClaimView, Directory, Lines, OriginSet, OriginState, SetPart};
use crate::frames::{Entry, Scope, Set};

impl OriginSet {
    /// The number of its claims that are peers: not bans, and not records of rooms.
    pub(super) fn peers(&self) -> usize {
        self.log.live().saturating_sub(self.used.no_peers)
    }

    pub(super) fn state(&self) -> OriginState {
        OriginState {
            incarnation: self.incarnation,
            seq: self.seq,
            complete: self.complete,
            visible: self.visible,
            claims: self.log.live(),
            hash: self.hash,
        }
    }
}

impl Directory {
    /// The networks that hubs have members in.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The networks in which hubs have members, to be changed.
    pub fn lines_mut(&mut self) -> &mut Lines {
        &mut self.lines
    }

    /// Starts to keep lines. The numbers of this hub's own lines continue above earlier ones.
    pub fn open_lines(&mut self) {
        let incarnation = self.own_mut().incarnation;
        // Other hubs may still have an earlier set of lines, with lower numbers.
        let after = self.lines_given + 1;
        self.lines
            .open(self.me, incarnation, after, self.quota, self.mutants);
    }

    /// Stops keeping lines.
    pub fn close_lines(&mut self) {
        if let Some(state) = self.lines.sets().and_then(|all| all.origin_state(&self.me)) {
            self.lines_given = state.seq;
        }
        self.lines = Lines::default();
    }

    pub(super) fn set_no(&self, hub: &HubId, network: Option<&NetworkKey>) -> Option<OriginNo> {
        match network {
            None => self.by_hub.get(hub).copied(),
            Some(network) => self.by_part.get(hub)?.get(network).copied(),
        }
    }

    /// The sets of single networks of a hub.
    pub(super) fn parts_of(&self, hub: &HubId) -> impl Iterator<Item = (&NetworkKey, OriginNo)> {
        let parts = self.by_part.get(hub).into_iter().flatten();
        parts.map(|(network, no)| (network, *no))
    }

    /// The hubs that have sets of single networks here, by id.
    pub fn hubs_with_parts(&self) -> Vec<HubId> {
        self.by_part.keys().copied().collect()
    }

    /// The hubs with any set here, by id.
    pub fn all_hubs(&self) -> Vec<HubId> {
        let lines = self.lines.sets().map_or_else(Vec::new, Directory::hubs);
        let parts = self.by_part.keys().copied();
        let mut hubs: Vec<HubId> = self.hubs().into_iter().chain(lines).chain(parts).collect();
        hubs.sort_unstable();
        hubs.dedup();
        hubs
    }

    /// The claims of a hub in a network, in no order that means anything.
    pub fn claims_in(&self, hub: &HubId, network: &NetworkKey) -> Vec<ClaimView> {
        match self.part_at(hub, network) {
            Some(part) => part.log.records().map(|no| self.view(part, no)).collect(),
            None => {
                let claims = self.claims_of(hub).into_iter();
                claims.filter(|claim| claim.network == *network).collect()
            }
        }
    }

    /// The networks of a hub that have a set of their own here.
    pub fn networks_held(&self, hub: &HubId) -> Vec<NetworkKey> {
        self.parts_of(hub)
            .map(|(network, _)| network.clone())
            .collect()
    }

    /// The hubs with a set of this network here.
    pub fn holding(&self, network: &NetworkKey) -> Vec<HubId> {
        let parts = self.by_part.iter();
        let holding = parts.filter(|(_, parts)| parts.contains_key(network));
        holding.map(|(hub, _)| *hub).collect()
    }

    /// The number of sets of single networks.
    pub fn parts(&self) -> usize {
        self.by_part.values().map(BTreeMap::len).sum()
    }

    /// All sets of a hub that are here.
    pub fn sets_of(&self, hub: &HubId) -> Vec<Set> {
        let set = |scope| Set { hub: *hub, scope };
        let whole = self.by_hub.get(hub).map(|_| set(Scope::All));
        let lines = self.lines.sets().and_then(|all| all.origin(hub));
        let lines = lines.map(|_| set(Scope::Networks));
        let parts = self
            .parts_of(hub)
            .map(|(network, _)| set(Scope::Of(network.clone())));
        whole.into_iter().chain(lines).chain(parts).collect()
    }

    /// The state of a set; `None` if it is not here. The networks of a whole set have a state once
    /// [`open_views`](Self::open_views) was called.
    pub fn set_state(&self, set: &Set) -> Option<OriginState> {
        match &set.scope {
            Scope::All => self.origin_state(&set.hub),
            Scope::Networks => self.lines.sets()?.origin_state(&set.hub),
            Scope::Of(network) => match self.part_at(&set.hub, network) {
                Some(part) => Some(part.state()),
                None => self.view_state(&set.hub, network),
            },
        }
    }

    fn view_state(&self, hub: &HubId, network: &NetworkKey) -> Option<OriginState> {
        let origin = self.origin(hub)?;
        let view = origin.views.as_ref()?.get(network);
        let mut state = origin.state();
        state.claims = view.map_or(0, super::views::View::live);
        state.seq = view.map_or(origin.seq, super::views::View::head);
        state.hash = 0;
        Some(state)
    }

    /// Below this number a set's retractions are forgotten: a subscriber with a lower one must start from an empty set.
    pub fn set_floor(&self, set: &Set) -> u64 {
        match &set.scope {
            Scope::All => self.floor(&set.hub),
            Scope::Networks => self.lines.sets().map_or(0, |all| all.floor(&set.hub)),
            Scope::Of(network) => match self.part_at(&set.hub, network) {
                Some(part) => part.log.floor(),
                None => self.origin(&set.hub).map_or(0, |origin| {
                    let view = origin.views.as_ref().and_then(|views| views.get(network));
                    view.map_or(origin.seq, super::views::View::floor)
                }),
            },
        }
    }

    /// The part of a set after `cursor`, of at most `budget` bytes as `size` measures them.
    pub fn set_part(
        &self,
        set: &Set,
        cursor: u64,
        budget: usize,
        size: impl Fn(&Entry) -> usize,
    ) -> Option<SetPart> {
        match &set.scope {
            Scope::All => self.part(&set.hub, cursor, budget, size),
            Scope::Networks => self.lines.sets()?.part(&set.hub, cursor, budget, size),
            Scope::Of(network) => {
                if let Some(origin) = self.part_at(&set.hub, network) {
                    let walk = origin.log.walk(cursor);
                    return Some(self.part_of(origin, origin.seq, walk, cursor, budget, size));
                }
                let origin = self.origin(&set.hub)?;
                let Some(view) = origin.views.as_ref()?.get(network) else {
                    return Some(SetPart::nothing(origin.seq));
                };
                Some(self.part_of(origin, view.head(), view.walk(cursor), cursor, budget, size))
            }
        }
    }

    /// Builds the views of a hub's whole set, in one pass over it. False if it has views already, or is not here.
    pub fn open_views(&mut self, hub: &HubId) -> bool {
        let Some(origin) = self.origin(hub).filter(|origin| origin.views.is_none()) else {
            return false;
        };
        let live = origin.log.records().map(|no| {
            let record = self.store.record(no);
            let seq = origin.log.seq_of(record.slot);
            (self.key_of(record.network), seq, no)
        });
        let views = Views::of(live, &origin.log);
        if let Some(origin) = self.origin_mut(hub) {
            origin.views = Some(views);
        }
        true
    }

    /// The hubs whose whole sets have views.
    pub fn viewed(&self) -> Vec<HubId> {
        let origins = self.origins.iter().flatten();
        let viewed = origins.filter(|origin| origin.views.is_some());
        viewed.map(|origin| origin.hub).collect()
    }

    /// The number of claims of this hub in a network, quiet ones too.
    pub fn own_count(&self, network: &NetworkKey) -> usize {
        self.network_named(network)
            .map_or(0, |network| network.own as usize)
    }

    /// The hubs in reach that list a network, and whose claims in it are not here.
    pub fn unseen_hubs(&self, network: &NetworkKey) -> Vec<HubId> {
        let is_unseen = |hub: &HubId| {
            let whole = self.part_at(hub, network).or_else(|| self.origin(hub));
            !whole.is_some_and(|set| set.complete)
        };
        self.lines.shown_in(network).filter(is_unseen).collect()
    }

    /// How many records of rooms this hub holds, and how many members of rooms it has.
    pub fn own_rooms(&self) -> (usize, usize) {
        let of_rooms = self.own.values().filter(|no| {
            let network = self.network_at(self.store.record(**no).network);
            network.is_some_and(|network| network.key.is_room())
        });
        of_rooms.fold((0, 0), |(rooms, members), no| {
            if !self.store.record(*no).quiet() {
                (rooms, members + 1)
            } else if self.is_room_record(*no) {
                (rooms + 1, members)
            } else {
                (rooms, members)
            }
        })
    }

    /// The networks in which this hub has claims, by name.
    pub fn own_networks(&self) -> Vec<NetworkKey> {
        let networks = self.networks.iter().flatten();
        let own = networks.filter(|network| network.own > 0);
        let mut own: Vec<NetworkKey> = own.map(|network| network.key.clone()).collect();
        own.sort_unstable();
        own
    }

    /// The networks of this hub whose lines say half or twice the present number of members; at most `most`.
    pub fn sizes_far_off(&self, most: usize) -> Vec<(NetworkKey, usize)> {
        let networks = self
            .networks
            .iter()
            .flatten()
            .filter(|network| network.own > 0);
        let off = networks.filter(|network| {
            let (is, said) = (network.own as usize, self.lines.own_size(&network.key));
            said.is_some_and(|said| is >= 2 * said || said >= 2 * is)
        });
        off.take(most)
            .map(|network| (network.key.clone(), network.own as usize))
            .collect()
    }

    /// Closes the views of a hub's whole set.
    pub fn close_views(&mut self, hub: &HubId) {
        if let Some(origin) = self.origin_mut(hub) {
            origin.views = None;
        }
    }

    /// Makes space for a set of this incarnation, and drops the set of an earlier one.
    pub fn begin_set(&mut self, set: &Set, incarnation: Incarnation) {
        match &set.scope {
            Scope::All => self.begin(set.hub, incarnation),
            Scope::Networks => {
                if let Some(all) = self.lines.sets_mut() {
                    all.begin(set.hub, incarnation);
                }
            }
            Scope::Of(network) => {
                if self
                    .set_state(set)
                    .is_some_and(|here| here.incarnation != incarnation)
                {
                    self.drop_set(set, LeaveReason::HubLost);
                }
                if self.set_no(&set.hub, Some(network)).is_none() {
                    self.add_part(set.hub, network, incarnation);
                }
            }
        }
    }

    /// Applies changes that continue a set, like [`apply`](Self::apply).
    pub fn apply_set(&mut self, now: Moment, set: &Set, entries: Vec<Entry>, to: u64) -> usize {
        match (&set.scope, self.set_no(&set.hub, set.scope.network())) {
            (Scope::Networks, _) => self
                .lines
                .sets_mut()
                .map_or(0, |all| all.apply(now, &set.hub, entries, to)),
            (_, Some(no)) => self.apply_to(now, no, entries, to),
            (_, None) => 0,
        }
    }

    /// A first set is complete.
    pub fn complete_set(&mut self, set: &Set, seq: u64) {
        match (&set.scope, self.set_no(&set.hub, set.scope.network())) {
            (Scope::Networks, _) => {
                if let Some(all) = self.lines.sets_mut() {
                    all.complete(&set.hub, seq);
                }
            }
            (_, Some(no)) => self.complete_at(no, seq),
            (_, None) => {}
        }
    }

    /// Replaces a set, in one step, by the one that `entries` build from an empty set.
    pub fn replace_set(&mut self, now: Moment, set: &Set, entries: Vec<Entry>, to: u64) {
        match (&set.scope, self.set_no(&set.hub, set.scope.network())) {
            (Scope::Networks, _) => {
                if let Some(all) = self.lines.sets_mut() {
                    all.replace(now, &set.hub, entries, to);
                }
            }
            (_, Some(no)) => self.replace_at(now, no, entries, to),
            (_, None) => {}
        }
    }

    /// Shows or hides a set.
    pub fn show_set(&mut self, set: &Set, visible: bool, reason: LeaveReason) {
        match (&set.scope, self.set_no(&set.hub, set.scope.network())) {
            (Scope::Networks, _) => {
                if let Some(all) = self.lines.sets_mut() {
                    all.set_visible(&set.hub, visible, reason);
                }
            }
            (_, Some(no)) => self.set_visible_at(no, visible, reason),
            (_, None) => {}
        }
    }

    /// Forgets a set. This hub's own sets stay.
    pub fn drop_set(&mut self, set: &Set, reason: LeaveReason) {
        match &set.scope {
            Scope::All => self.drop_origin(&set.hub, reason),
            Scope::Networks => {
                if let Some(all) = self.lines.sets_mut() {
                    all.drop_origin(&set.hub, reason);
                }
            }
            Scope::Of(network) => {
                if let Some(no) = self.unname_part(&set.hub, network) {
                    self.drop_at(no, reason);
                }
            }
        }
    }

    /// Forgets all sets of a hub.
    pub fn forget_hub(&mut self, hub: &HubId, reason: LeaveReason) {
        for set in self.sets_of(hub) {
            self.drop_set(&set, reason);
        }
    }

    /// Keeps only these networks of a hub's whole set, each as a set of its own that continues the whole one.
    pub fn narrow(&mut self, hub: &HubId, keep: impl Fn(&NetworkKey) -> bool) {
        let Some(whole) = self
            .by_hub
            .get(hub)
            .copied()
            .filter(|no| *no != self.own_no)
        else {
            return;
        };
        let Some(origin) = self.origin_at(whole) else {
            return;
        };
        let (state, records) = (origin.state(), origin.log.records().collect::<Vec<_>>());
        self.close_views(hub);
        let Some(origin) = self.origin_at(whole) else {
            return;
        };
        let floor = origin.log.floor();
        let gone: Vec<Tombstone> = origin.log.buried().cloned().collect();
        let unknown = origin.log.unknown.all();
        let unknown = unknown.map(|(seq, kept)| (seq, kept.clone())).collect();
        for no in records {
            let network = self.key_of(self.store.record(no).network);
            if !keep(&network) {
                self.remove(no, LeaveReason::HubLost);
                continue;
            }
            let seq = self
                .origin_at(whole)
                .map_or(0, |origin| origin.log.seq_of(self.store.record(no).slot));
            let part = self.part_like(*hub, &network, state);
            self.move_to(no, part, seq);
        }
        for tombstone in gone {
            if let Some(no) = self.set_no(hub, Some(&tombstone.network))
                && let Some(part) = self.origin_at_mut(no)
            {
                part.log.bury(tombstone, false);
            }
        }
        self.move_unknown(unknown, |all, network, standing| match standing {
            true if keep(network) => Some(all.part_like(*hub, network, state)),
            true => None,
            false => all.set_no(hub, Some(network)),
        });
        let parts: Vec<OriginNo> = self.parts_of(hub).map(|(_, no)| no).collect();
        for no in parts {
            if let Some(part) = self.origin_at_mut(no) {
                part.log.set_floor(floor);
                part.seq = part.seq.max(state.seq);
            }
        }
        self.by_hub.remove(hub);
        self.drop_at(whole, LeaveReason::HubLost);
    }

    /// Moves a claim into another set, under this number.
    fn move_to(&mut self, no: RecordNo, origin: OriginNo, seq: u64) {
        self.remove_from_log(no);
        self.store.record_mut(no).origin = origin;
        self.add_to_log(no, origin, seq);
    }

    fn part_like(&mut self, hub: HubId, network: &NetworkKey, state: OriginState) -> OriginNo {
        if let Some(no) = self.set_no(&hub, Some(network)) {
            return no;
        }
        let no = self.add_part(hub, network, state.incarnation);
        self.flip_to(no, state.visible);
        if let Some(part) = self.origin_at_mut(no) {
            part.seq = state.seq;
            part.complete = state.complete;
        }
        no
    }

    fn add_part(&mut self, hub: HubId, network: &NetworkKey, incarnation: Incarnation) -> OriginNo {
        let no = self.add_origin(hub, Some(network.clone()), incarnation);
        let parts = self.by_part.entry(hub).or_default();
        parts.insert(network.clone(), no);
        no
    }

    fn unname_part(&mut self, hub: &HubId, network: &NetworkKey) -> Option<OriginNo> {
        let parts = self.by_part.get_mut(hub)?;
        let no = parts.remove(network);
        if parts.is_empty() {
            self.by_part.remove(hub);
        }
        no
    }

    /// The highest number that a set of a single network of this hub has.
    pub fn parts_head(&self, hub: &HubId, incarnation: Incarnation) -> Option<u64> {
        let parts = self.parts_of(hub).filter_map(|(_, no)| self.origin_at(no));
        let parts = parts.filter(|part| part.incarnation == incarnation);
        parts.map(|part| part.seq).max()
    }

    /// Replaces a hub's sets of single networks by its whole set.
    pub fn widen(
        &mut self,
        now: Moment,
        hub: &HubId,
        incarnation: Incarnation,
        entries: Vec<Entry>,
        to: u64,
    ) {
        // A set that was not complete yet was not visible: its claims are inserted as new ones.
        for network in self.networks_held(hub) {
            let set = Set::of(*hub, &network);
            if self.set_state(&set).is_none_or(|state| !state.complete) {
                self.drop_set(&set, LeaveReason::HubLost);
            }
        }
        let parts: Vec<OriginNo> = self.parts_of(hub).map(|(_, no)| no).collect();
        let visible = parts.iter().any(|no| self.origin_visible(*no));
        let whole = self.origin_no_or_new(*hub, incarnation);
        self.flip_to(whole, visible);
        // The claims are inserted again under their own numbers.
        let mut place = 0;
        for part in parts {
            let records: Vec<RecordNo> = self
                .origin_at(part)
                .map_or_else(Vec::new, |origin| origin.log.records().collect());
            for no in records {
                place += 1;
                self.move_to(no, whole, place);
            }
        }
        for network in self.networks_held(hub) {
            self.drop_set(&Set::of(*hub, &network), LeaveReason::HubLost);
        }
        self.replace_at(now, whole, entries, to);
    }
}

impl SetPart {
    /// A part without entries.
    fn nothing(to: u64) -> Self {
        SetPart {
            entries: Vec::new(),
            to,
            last: true,
        }
    }
}
