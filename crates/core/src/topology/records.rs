//! The stored records: how one is accepted, and when one is forgotten.

use super::super::ids::{HubId, Incarnation, LinkId, Moment};
use super::{Topology, TopologyEvent};
use crate::frames::LinkRecord;
use crate::reach::Reach;

/// A stored record.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) record: LinkRecord,
    /// `None` while reachable.
    pub(super) unreachable_since: Option<Moment>,
    /// It had been forgotten, and came back in the same incarnation.
    pub(super) again: bool,
    /// The nearest hub that sent us these addresses.
    pub(super) told_by: Option<Reach>,
    /// The last cost of the link to it, while it was a neighbour.
    pub(super) cost: Option<u16>,
    /// The cost of the path to it, while there is one.
    pub(super) path_cost: Option<u32>,
}

impl Stored {
    pub(super) fn note_teller(&mut self, reach: Reach) {
        self.told_by = Some(self.told_by.map_or(reach, |known| known.min(reach)));
    }
}

impl Topology {
    pub(super) fn hear(&mut self, now: Moment, link: LinkId, record: LinkRecord) {
        let hub = record.hub;
        if let Some(stored) = self.records.get(&hub) {
            let held = stored.record.version();
            if record.version() <= held {
                return self.answer(link, hub, record.version() < held);
            }
        } else {
            if self
                .past_incarnations
                .of(hub)
                .is_some_and(|incarnation| record.incarnation < incarnation)
            {
                return self.answer(link, hub, true);
            }
            if !self.make_space(now, &record) {
                self.refused += 1;
                self.turned_away = true;
                return;
            }
        }
        self.tally.fresh += 1;
        let told_by = self.pulls.on_record(hub, record.version());
        self.store(now, record);
        if let (Some(reach), Some(stored)) = (told_by, self.records.get_mut(&hub)) {
            stored.note_teller(reach);
        }
        self.flood(now, hub, Some(link));
    }

    /// The other end of `link` has a record that is not newer than ours: answers an older one.
    pub(super) fn answer(&mut self, link: LinkId, hub: HubId, older: bool) {
        let queue = self.record_queue(link);
        if older {
            queue.due.insert(hub);
        } else {
            queue.has(&hub);
        }
    }

    fn store(&mut self, now: Moment, record: LinkRecord) {
        let hub = record.hub;
        let incarnation = record.incarnation;
        if self.known(hub).is_some_and(|known| known < incarnation) {
            self.events
                .push_back(TopologyEvent::IncarnationChanged { hub, incarnation });
        }
        match self.records.get_mut(&hub) {
            Some(stored) => {
                let old = std::mem::replace(&mut stored.record, record);
                let new = &stored.record;
                if old.urls != new.urls {
                    stored.told_by = None;
                }
                if old.urls != new.urls || old.draining != new.draining {
                    self.events.push_back(TopologyEvent::Learned { hub });
                }
                if old.asks_for_interest() != new.asks_for_interest() {
                    self.events.push_back(TopologyEvent::MindChanged);
                }
                if old.neighbours != new.neighbours || old.incarnation != new.incarnation {
                    // In a mesh that starts, most records list links that the other ends do not list yet.
                    let matters = self.graph_stale || self.graph.replace(new);
                    if matters || old.incarnation != new.incarnation {
                        self.want_spf(now);
                    }
                }
            }
            None => self.store_new(now, record),
        }
    }

    fn store_new(&mut self, now: Moment, record: LinkRecord) {
        let hub = record.hub;
        let again = self.past_incarnations.take(hub) == Some(record.incarnation);
        let stored = Stored {
            record,
            unreachable_since: Some(now),
            again,
            told_by: None,
            cost: None,
            path_cost: None,
        };
        let forget = self.forget_mark(&stored);
        self.forget_due = self.forget_due.into_iter().chain(forget).min();
        self.records.insert(hub, stored);
        self.graph_stale = true;
        self.events.push_back(TopologyEvent::Learned { hub });
        self.want_spf(now);
    }

    pub(super) fn drop_record(&mut self, now: Moment, hub: HubId) {
        let Some(stored) = self.records.remove(&hub) else {
            return;
        };
        self.past_incarnations
            .remember(now, hub, stored.record.incarnation);
        for queue in self.record_queues.values_mut() {
            queue.forget(&hub);
        }
        self.graph_stale = true;
        self.events.push_back(TopologyEvent::Forgotten { hub });
    }

    fn forget_mark(&self, stored: &Stored) -> Option<Moment> {
        let span = if stored.again {
            self.config.forget_again_after
        } else {
            self.config.forget_after
        };
        Some(stored.unreachable_since? + span)
    }

    pub(super) fn forget(&mut self, now: Moment) {
        if self.forget_due.is_none_or(|due| due > now) {
            return;
        }
        let old: Vec<HubId> = self
            .records
            .iter()
            .filter(|(_, stored)| self.forget_mark(stored).is_some_and(|mark| mark <= now))
            .map(|(hub, _)| *hub)
            .collect();
        for hub in old {
            self.drop_record(now, hub);
        }
        self.forget_due = self.next_forget();
    }

    pub(super) fn next_forget(&self) -> Option<Moment> {
        self.records
            .values()
            .filter_map(|stored| self.forget_mark(stored))
            .min()
    }
}

/// Whether a record obeys the bounds and the order of records.
pub(super) fn is_sound(record: &LinkRecord) -> bool {
    record.urls.len() <= LinkRecord::MAX_URLS
        && record
            .urls
            .iter()
            .all(|url| url.len() <= LinkRecord::MAX_URL_BYTES)
        && record.region.len() <= LinkRecord::MAX_REGION_BYTES
        && record.neighbours.len() <= LinkRecord::MAX_NEIGHBOURS
        && record.neighbours.is_sorted_by(|a, b| a.0 < b.0)
        && record.neighbours.iter().all(|(hub, _)| *hub != record.hub)
}

/// The record that represents a forgotten hub: it has only the incarnation above which the hub must rise to be accepted
/// again.
pub(super) fn forgotten_record(hub: HubId, incarnation: Incarnation) -> LinkRecord {
    LinkRecord {
        hub,
        incarnation,
        number: 0,
        draining: false,
        urls: Vec::new(),
        region: String::new(),
        neighbours: Vec::new(),
    }
}
