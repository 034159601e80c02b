//! In which networks each hub has members: all that this hub knows of networks that are not of interest.
//!
//! A *line* says that a hub has members in a network, and approximately how many. A hub's lines are a set like its
//! claims, and only that hub authors them. So they are kept in a directory of their own: each line is a claim of one
//! fixed id, with the number of members in the place of the claim's clock.

use std::sync::LazyLock;

use super::super::ids::{
    ClaimNo, Hlc, HubId, Incarnation, LeaveReason, Moment, NetworkKey, PeerId,
};
use super::super::mutants::Mutants;
use super::Directory;
use super::quota::ClaimQuota;
use super::store::ClaimRecord;
use crate::frames::Claim;

/// The id of every line.
static LINE_ID: LazyLock<PeerId> = LazyLock::new(|| PeerId::Text("n".into()));

/// All lines; `None` while every hub exchanges whole sets.
#[derive(Debug, Default)]
pub struct Lines {
    all: Option<Box<Directory>>,
    /// The numbers that lines of this hub have used.
    given: u64,
}

impl Lines {
    /// Starts to keep lines, if it does not already. The numbers of this hub's own lines continue above `after`.
    pub(super) fn open(
        &mut self,
        me: HubId,
        incarnation: Incarnation,
        after: u64,
        quota: ClaimQuota,
        mutants: Mutants,
    ) {
        if self.all.is_some() {
            return;
        }
        let mut all = Directory::new(me, incarnation, after, usize::MAX, mutants);
        all.set_quota(quota);
        all.touched = Some(Vec::new());
        let own = all.own_mut();
        own.seq = after;
        own.log.set_floor(after);
        self.given = after;
        self.all = Some(Box::new(all));
    }

    /// The sets themselves.
    pub fn sets(&self) -> Option<&Directory> {
        self.all.as_deref()
    }

    /// The sets themselves.
    pub fn sets_mut(&mut self) -> Option<&mut Directory> {
        self.all.as_deref_mut()
    }

    /// Sets how many members this hub has in a network.
    pub fn author(&mut self, network: &NetworkKey, size: usize) {
        let Some(all) = self.all.as_deref_mut() else {
            return;
        };
        let old = all.own_line(network);
        let claim = old.map_or_else(
            || {
                self.given += 1;
                ClaimNo(self.given)
            },
            |(claim, _)| claim,
        );
        all.author(&Claim {
            network: network.clone(),
            peer: LINE_ID.clone(),
            claim,
            hlc: Hlc::from_wall(size as u64),
            quiet: true,
            data: None,
        });
    }

    /// Removes this hub's line of a network. False if there was none.
    pub fn retract(&mut self, now: Moment, network: &NetworkKey) -> bool {
        let Some(all) = self.all.as_deref_mut() else {
            return false;
        };
        let old = all.own_line(network);
        old.is_some_and(|(claim, _)| all.retract(now, claim, LeaveReason::Closed))
    }

    /// The number in this hub's line of a network.
    pub fn own_size(&self, network: &NetworkKey) -> Option<usize> {
        let (_, size) = self.sets()?.own_line(network)?;
        Some(size)
    }

    /// Whether a hub has a line of this network.
    pub fn lists(&self, hub: &HubId, network: &NetworkKey) -> bool {
        self.sets()
            .is_some_and(|all| all.listing(network).any(|other| other == *hub))
    }

    /// The hubs that have a line of this network.
    pub fn hubs_in(&self, network: &NetworkKey) -> Vec<HubId> {
        self.sets()
            .map_or_else(Vec::new, |all| all.listing(network).collect())
    }

    /// The networks of which a hub has lines.
    pub fn of(&self, hub: &HubId) -> Vec<NetworkKey> {
        let lines = self.sets().into_iter().flat_map(|all| all.lines_of(hub));
        lines.map(|(network, _)| network).collect()
    }

    /// Whether all lines of a hub's present incarnation are here.
    pub fn is_whole(&self, hub: &HubId) -> bool {
        let state = self.sets().and_then(|all| all.origin_state(hub));
        state.is_some_and(|state| state.complete)
    }

    /// The networks of which any hub has a line.
    pub(super) fn networks(&self) -> impl Iterator<Item = &NetworkKey> {
        self.sets().into_iter().flat_map(|all| all.by_name.keys())
    }

    /// Whether another hub in reach has a line of a network.
    pub(super) fn is_shown(&self, network: &NetworkKey) -> bool {
        self.shown_in(network).next().is_some()
    }

    /// The other hubs in reach that have a line of a network.
    pub(super) fn shown_in(&self, network: &NetworkKey) -> impl Iterator<Item = HubId> {
        self.sets().into_iter().flat_map(|all| {
            let is_visible = |hub: &HubId| all.origin(hub).is_some_and(|origin| origin.visible);
            let others = all.listing(network).filter(|hub| *hub != all.me);
            others.filter(is_visible)
        })
    }

    /// The only hub that has a visible line of a network, be it this one; `None` if there is none, or another.
    pub(in super::super) fn only_shown_in(&self, network: &NetworkKey) -> Option<HubId> {
        let all = self.sets()?;
        let origins = all.lines_in(network).map(|line| line.origin);
        let mut shown = origins.filter(|no| all.origin_visible(*no));
        let first = shown.next()?;
        shown
            .all(|other| other == first)
            .then(|| all.origin_hub(first))
    }

    /// The rooms among so many networks, from a place in the table on; and the place to go on from, if there are more.
    pub(in super::super) fn rooms_from(
        &self,
        from: usize,
        most: usize,
    ) -> (Vec<NetworkKey>, Option<usize>) {
        let networks = self.sets().map_or(&[][..], |all| &all.networks);
        let end = from.saturating_add(most);
        let part = networks.iter().take(end).skip(from).flatten();
        let rooms = part.map(|network| &network.key).filter(|key| key.is_room());
        (
            rooms.cloned().collect(),
            (end < networks.len()).then_some(end),
        )
    }

    /// The number of lines, of all hubs.
    pub fn len(&self) -> usize {
        self.sets().map_or(0, Directory::records)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every visible line of other hubs, with its number of members.
    pub(super) fn all(&self) -> impl Iterator<Item = (HubId, NetworkKey, usize)> {
        let hubs = self.sets().into_iter().flat_map(|all| all.by_hub.keys());
        hubs.flat_map(|hub| {
            let lines = self.sets().into_iter().flat_map(|all| all.shown_lines(hub));
            lines.map(|(network, size)| (*hub, network, size))
        })
    }

    /// The number of members of a hub, by its lines.
    pub(super) fn size_of(&self, hub: &HubId) -> usize {
        self.sets().map_or(0, |all| all.size_of_lines(hub))
    }

    /// The number of members of each other hub.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (HubId, usize)> {
        let hubs = self.sets().into_iter().flat_map(|all| all.by_hub.keys());
        hubs.map(|hub| (*hub, self.size_of(hub)))
    }

    /// The networks of which a line was added or removed since the last call.
    pub fn take_touched(&mut self) -> Vec<NetworkKey> {
        let touched = self.sets_mut().and_then(|all| all.touched.as_mut());
        touched.map(std::mem::take).unwrap_or_default()
    }
}

impl Directory {
    /// The lines of a network, one of each hub that has one.
    fn lines_in(&self, network: &NetworkKey) -> impl Iterator<Item = &ClaimRecord> {
        let network = self.by_name.get(network).copied().into_iter();
        let lines = network.flat_map(|network| self.store.find(network, &LINE_ID));
        lines.map(|no| self.store.record(no))
    }

    fn own_line(&self, network: &NetworkKey) -> Option<(ClaimNo, usize)> {
        let mut lines = self.lines_in(network);
        let own = lines.find(|line| line.origin == self.own_no)?;
        Some((own.claim(), usize::try_from(own.hlc.wall_ms()).unwrap_or(0)))
    }

    fn listing(&self, network: &NetworkKey) -> impl Iterator<Item = HubId> {
        self.lines_in(network)
            .map(|line| self.origin_hub(line.origin))
    }

    fn shown_lines(&self, hub: &HubId) -> impl Iterator<Item = (NetworkKey, usize)> {
        let shown = self
            .origin(hub)
            .is_some_and(|origin| origin.visible && origin.hub != self.me);
        shown.then(|| self.lines_of(hub)).into_iter().flatten()
    }

    fn size_of_lines(&self, hub: &HubId) -> usize {
        let shown = self
            .origin(hub)
            .filter(|origin| origin.visible && origin.hub != self.me);
        let records = shown.into_iter().flat_map(|origin| origin.log.records());
        let sizes = records.map(|no| self.store.record(no).hlc.wall_ms());
        sizes.map(|size| usize::try_from(size).unwrap_or(0)).sum()
    }

    fn lines_of(&self, hub: &HubId) -> impl Iterator<Item = (NetworkKey, usize)> {
        let origin = self.origin(hub);
        let records = origin.into_iter().flat_map(|origin| origin.log.records());
        records.map(|no| {
            let record = self.store.record(no);
            let size = usize::try_from(record.hlc.wall_ms()).unwrap_or(0);
            (self.key_of(record.network), size)
        })
    }
}
