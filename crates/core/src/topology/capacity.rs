//! Which records are kept: their number is bounded, and a new one may replace another.
//!
//! A record for which there is no space is refused, and asked for again when there may be space. An unreachable hub
//! never replaces another unreachable hub: the two would circulate in the mesh for ever, because each hub that has
//! dropped one takes it for new.

use super::super::ids::{HubId, Moment};
use super::Topology;
use crate::frames::LinkRecord;

impl Topology {
    /// Makes space for the record of one more hub to which there would be a path: the hub that has been unreachable for
    /// the longest is dropped. For a neighbour there is always space, because a hub that is not a neighbour is dropped:
    /// made-up hubs cannot keep a neighbour out.
    pub(super) fn make_space(&mut self, now: Moment, newcomer: &LinkRecord) -> bool {
        let mutants = self.config.mutants;
        if self.records.len() < self.config.max_hubs || mutants.records_without_end() {
            return true;
        }
        let is_neighbour = self.neighbours.contains_key(&newcomer.hub);
        let is_neighbour = is_neighbour && !mutants.no_place_for_neighbours();
        let is_better = is_neighbour || self.is_linked_in(newcomer);
        let loser = match self.longest_unreachable() {
            Some(hub) if is_better => Some(hub),
            None if is_neighbour => self.farthest(),
            _ => None,
        };
        if let Some(hub) = loser {
            self.drop_record(now, hub);
        }
        loser.is_some()
    }

    fn longest_unreachable(&self) -> Option<HubId> {
        let others = self.records.iter();
        let others = others.filter(|(hub, _)| !self.neighbours.contains_key(*hub));
        let unreachable = others.filter_map(|(hub, held)| Some((held.unreachable_since?, *hub)));
        unreachable.min().map(|(_, hub)| hub)
    }

    /// Whether the hub and a reachable one list each other.
    fn is_linked_in(&self, newcomer: &LinkRecord) -> bool {
        newcomer.neighbours.iter().any(|(hub, _)| {
            let reachable = self.is_reachable(*hub);
            reachable
                && self
                    .record(*hub)
                    .is_some_and(|held| lists(held, newcomer.hub))
        })
    }

    /// The hub that is the most links away and not a neighbour.
    fn farthest(&self) -> Option<HubId> {
        let others = self.records.keys().filter(|hub| **hub != self.me);
        let far = others.filter(|hub| !self.neighbours.contains_key(*hub));
        far.copied().max_by_key(|hub| {
            let route = self.routes.by_hub.get(hub);
            (route.map_or(u8::MAX, |route| route.hop.hops), *hub)
        })
    }

    /// Asks all neighbours again for missing records, once there may be space for records that were refused. It does
    /// not ask again at once, because there may be no space for their records.
    pub(super) fn ask_for_turned_away(&mut self, now: Moment) {
        let has_space =
            self.records.len() < self.config.max_hubs || self.longest_unreachable().is_some();
        let every = self.config.ask_again_every;
        let rested = self.asked_again.is_none_or(|asked| asked + every <= now);
        let never = self.config.mutants.turned_away_for_good();
        if !self.turned_away || !rested || !has_space || never {
            return;
        }
        self.turned_away = false;
        self.asked_again = Some(now);
        let neighbours = self.neighbours.values();
        for link in neighbours.map(|n| n.link).collect::<Vec<_>>() {
            self.record_queue(link).compare();
        }
    }
}

fn lists(record: &LinkRecord, other: HubId) -> bool {
    let neighbours = &record.neighbours;
    neighbours
        .binary_search_by_key(&other, |(hub, _)| *hub)
        .is_ok()
}
