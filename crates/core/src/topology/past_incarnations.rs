//! The highest incarnation of each hub whose record was forgotten.
//!
//! Bounded: above its capacity, the oldest entry is dropped. Old entries are dropped too, because an incarnation that
//! no hub has may be made up, and must not keep its hub out for ever. Called by `Topology` alone.

use std::collections::BTreeMap;

use super::super::ids::{HubId, Incarnation, Moment};

/// Hub to highest incarnation, for at most `capacity` hubs.
#[derive(Debug)]
pub(super) struct PastIncarnations {
    capacity: usize,
    by_hub: BTreeMap<HubId, (Incarnation, u64)>,
    by_age: BTreeMap<u64, (Moment, HubId)>,
    /// Numbers the entries.
    count: u64,
}

impl PastIncarnations {
    pub(super) fn new(capacity: usize) -> Self {
        PastIncarnations {
            capacity,
            by_hub: BTreeMap::new(),
            by_age: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_hub.len()
    }

    pub(super) fn of(&self, hub: HubId) -> Option<Incarnation> {
        self.by_hub.get(&hub).map(|(incarnation, _)| *incarnation)
    }

    /// Remembers this incarnation, or a higher one that is remembered already, as the latest.
    pub(super) fn remember(&mut self, now: Moment, hub: HubId, incarnation: Incarnation) {
        let incarnation = self
            .take(hub)
            .map_or(incarnation, |known| known.max(incarnation));
        self.count += 1;
        self.by_hub.insert(hub, (incarnation, self.count));
        self.by_age.insert(self.count, (now, hub));
        while self.by_hub.len() > self.capacity {
            let Some((_, (_, oldest))) = self.by_age.pop_first() else {
                return;
            };
            self.by_hub.remove(&oldest);
        }
    }

    /// Forgets entries made before `then`.
    pub(super) fn expire(&mut self, then: Moment) {
        while let Some(oldest) = self.by_age.first_entry() {
            let (at, hub) = *oldest.get();
            if at > then {
                return;
            }
            oldest.remove();
            self.by_hub.remove(&hub);
        }
    }

    /// Removes and returns the entry of this hub.
    pub(super) fn take(&mut self, hub: HubId) -> Option<Incarnation> {
        let (incarnation, age) = self.by_hub.remove(&hub)?;
        self.by_age.remove(&age);
        Some(incarnation)
    }
}
