//! This hub's own record, and its incarnation.

use super::super::ids::{HubId, Incarnation, LinkId, Moment};
use super::own::{Bump, OwnRecord};
use super::{Stored, Topology, TopologyEvent};
use crate::frames::LinkRecord;

impl Topology {
    pub(super) fn want_record(&mut self, now: Moment) {
        self.own.want();
        self.make_due_record(now);
    }

    /// Like [`Topology::want_record`], for the only link to a hub.
    pub(super) fn want_record_of_needed_link(&mut self, now: Moment) {
        self.own.want_needed(now);
        self.make_due_record(now);
    }

    /// Like [`Topology::want_record`], for a change that cuts no hub off.
    pub(super) fn want_record_in_a_while(&mut self, now: Moment) {
        self.own.want_in_a_while(now);
        self.make_due_record(now);
    }

    /// The neighbours that our last record lists, with the costs that it gives.
    pub(super) fn listed(&self) -> &[(HubId, u16)] {
        let own = self.records.get(&self.me);
        own.map_or(&[], |stored| &stored.record.neighbours)
    }

    /// Whether our last record lists this neighbour.
    pub(super) fn lists(&self, hub: HubId) -> bool {
        let place = self.listed().binary_search_by_key(&hub, |(hub, _)| *hub);
        place.is_ok()
    }

    /// A link that waits to be listed is needed after all: its hub went out of reach on other paths.
    pub(super) fn list_what_is_needed(&mut self, now: Moment) {
        if self.needs_a_link() {
            self.want_record_of_needed_link(now);
        }
    }

    /// Whether a link that is not listed yet is the only one to its hub.
    fn needs_a_link(&self) -> bool {
        self.neighbours.iter().any(|(hub, neighbour)| {
            neighbour.confirmed && !self.is_reachable(*hub) && !self.lists(*hub)
        })
    }

    pub(super) fn make_due_record(&mut self, now: Moment) {
        if !self.own.is_due(now, &self.config) {
            return;
        }
        if self.own.is_for_needed_link() && !self.needs_a_link() {
            self.own.need_no_link();
            if !self.own.is_due(now, &self.config) {
                return;
            }
        }
        let mut record = self.own_record();
        let same = self
            .records
            .get(&self.me)
            .is_some_and(|stored| stored.record == record);
        if same {
            return self.own.rest();
        }
        record.number = self.own.originate(now, &self.config);
        self.tally.originated += 1;
        self.put_own(record);
        self.flood(now, self.me, None);
        self.run_spf(now);
    }

    /// Our record as it would be now, with the number of our last one.
    pub(super) fn own_record(&self) -> LinkRecord {
        LinkRecord {
            hub: self.me,
            incarnation: self.own.incarnation,
            number: self.own.number,
            draining: self.own.draining,
            urls: self.config.urls.clone(),
            region: self.own_region(),
            neighbours: self
                .neighbours
                .iter()
                .filter(|(_, neighbour)| neighbour.confirmed)
                .take(LinkRecord::MAX_NEIGHBOURS)
                .map(|(hub, neighbour)| (*hub, neighbour.cost))
                .collect(),
        }
    }

    fn own_region(&self) -> String {
        let region = &self.config.region;
        match self.asks_for_interest {
            Some(asks) => LinkRecord::marked_region(region, self.config.level, asks),
            None => region.clone(),
        }
    }

    /// Whether this hub asks for interest; `None` if it does not know of it.
    pub fn set_interest(&mut self, now: Moment, asks: Option<bool>) {
        if self.asks_for_interest != asks {
            self.asks_for_interest = asks;
            self.want_record_in_a_while(now);
        }
    }

    pub(super) fn put_own(&mut self, record: LinkRecord) {
        if !self.graph_stale {
            self.graph.replace(&record);
        }
        let stored = Stored {
            told_by: None,
            record,
            unreachable_since: None,
            again: false,
            cost: None,
            path_cost: None,
        };
        self.records.insert(self.me, stored);
    }

    /// This hub has another id from now on, in a first incarnation. It must have no neighbour.
    pub fn set_id(&mut self, now: Moment, me: HubId, incarnation: Incarnation) {
        self.records.remove(&self.me);
        self.me = me;
        let draining = self.own.draining;
        self.own = OwnRecord::new(incarnation);
        self.own.draining = draining;
        self.own.number = 1;
        let record = self.own_record();
        self.put_own(record);
        self.graph_stale = true;
        self.run_spf(now);
    }

    pub(super) fn bump(&mut self, now: Moment, known: Incarnation) {
        let (max, window) = (self.config.max_bumps, self.config.bump_window);
        match self.own.bump(now, known, max, window) {
            Bump::Raised(incarnation) => {
                self.events
                    .push_back(TopologyEvent::OwnIncarnation(incarnation));
                self.want_record(now);
            }
            Bump::Clash => self.events.push_back(TopologyEvent::IdentityClash),
            Bump::Known => {}
        }
    }

    pub(super) fn hear_of_self(&mut self, now: Moment, link: LinkId, record: &LinkRecord) {
        let own = (self.own.incarnation, self.own.number);
        if record.version() > own {
            self.bump(now, record.incarnation);
        } else if self.own.number > 0 {
            // Before the first record of an incarnation there is nothing to answer with; it is sent to all when it is
            // made.
            self.answer(link, self.me, record.version() < own);
        }
    }
}
