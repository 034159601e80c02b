//! The neighbours: the link on which to send to each, and its cost.
//!
//! A link is listed once a frame of its other end has arrived on it. So a link that is closed again at once, because
//! there are enough links or another one to the same hub, costs no hub a record. A hub of protocol 1 lists its links at
//! once, and we do the same for links with it.

use std::time::Duration;

use super::super::ids::{HubId, Incarnation, LinkId, Moment};
use super::Topology;
use crate::frames::PULLS_SINCE;

#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) link: LinkId,
    pub(super) incarnation: Incarnation,
    pub(super) cost: u16,
    cost_set: Option<Moment>,
    /// The round-trip time for which the cost was set: the first measured one, or the one that a remembered cost
    /// represents.
    rtt: Option<Duration>,
    /// Its hub also considers us a neighbour.
    pub(super) confirmed: bool,
}

impl Topology {
    /// A link is up, which uses this version of the link protocol once it is chosen. To be called before any other call
    /// about the link.
    pub fn on_link_up(&mut self, link: LinkId, version: u16) {
        if version < PULLS_SINCE {
            self.flooded.insert(link);
        }
    }

    /// A neighbour is there, or its new incarnation is: `link` is the one on which to send. Queues a greeting.
    pub fn on_neighbour_up(
        &mut self,
        now: Moment,
        hub: HubId,
        incarnation: Incarnation,
        link: LinkId,
    ) {
        self.drop_record_queues(hub, Some(link));
        let remembered = self.records.get(&hub).and_then(|stored| stored.cost);
        let neighbour = Neighbour {
            link,
            incarnation,
            cost: remembered.unwrap_or(1),
            cost_set: None,
            rtt: remembered.map(|cost| self.config.rtt_step * u32::from(cost.saturating_sub(1))),
            confirmed: false,
        };
        let again = self.neighbours.insert(hub, neighbour).is_some();
        self.meet(now, hub, link);
        if again {
            // The state of the links of its former incarnation no longer counts.
            self.run_spf(now);
        }
    }

    /// Another link is the one on which to send to this neighbour. Queues a greeting.
    pub fn on_neighbour_switched(&mut self, now: Moment, hub: HubId, link: LinkId) {
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        let before = std::mem::replace(&mut neighbour.link, link);
        // The queue of the old link is kept while it is open: it may be chosen again.
        if self
            .record_queues
            .get(&before)
            .is_some_and(|old| old.closed)
        {
            self.drop_record_queue(before);
        }
        self.meet(now, hub, link);
        self.run_spf(now);
    }

    /// A neighbour is gone.
    pub fn on_neighbour_down(&mut self, now: Moment, hub: HubId) {
        self.drop_record_queues(hub, None);
        // A link that was never listed is on no path, and no hub has heard of it.
        if self.neighbours.remove(&hub).is_some() && self.lists(hub) {
            self.want_record(now);
            self.run_spf(now);
        }
    }

    /// A link is closed: drops its state. If it was a neighbour's active link, another call says that another one is
    /// chosen, or that the neighbour is gone.
    pub fn on_link_closed(&mut self, link: LinkId) {
        self.flooded.remove(&link);
        if self.neighbours.values().all(|n| n.link != link) {
            self.drop_record_queue(link);
        } else if let Some(queue) = self.record_queues.get_mut(&link) {
            queue.closed = true;
        }
    }

    /// Starts to use a link with a neighbour.
    fn meet(&mut self, now: Moment, hub: HubId, link: LinkId) {
        let hasty = self.config.mutants.unconfirmed_link_listed();
        let queue = self.record_queue(link);
        queue.hub = Some(hub);
        if queue.floods {
            queue.start_lines();
        } else {
            self.greet(now, link);
        }
        let queue = self.record_queue(link);
        if queue.floods || queue.greeted || hasty {
            self.confirm(now, link);
        }
    }

    /// The other end of this link has greeted us, though perhaps by a link that is not chosen yet.
    pub(super) fn on_greeted(&mut self, now: Moment, link: LinkId) {
        self.record_queue(link).greeted = true;
        self.confirm(now, link);
    }

    fn confirm(&mut self, now: Moment, link: LinkId) {
        let news = self
            .neighbours
            .iter_mut()
            .find(|(_, neighbour)| neighbour.link == link && !neighbour.confirmed);
        let Some((hub, neighbour)) = news else { return };
        neighbour.confirmed = true;
        let hub = *hub;
        if self.lists(hub) {
            // It was lost, and is back before we could say so: no announcement is needed, but there are paths over it
            // again.
            self.run_spf(now);
        }
        // A run of the shortest paths that is due may find another path, and otherwise asks for the record.
        if self.is_reachable(hub) || self.spf_due.is_some() {
            self.want_record_in_a_while(now);
        } else {
            self.want_record_of_needed_link(now);
        }
    }

    /// Drops the state of all links with a hub except this one.
    fn drop_record_queues(&mut self, hub: HubId, but: Option<LinkId>) {
        let gone: Vec<LinkId> = self
            .record_queues
            .iter()
            .filter(|(link, queue)| queue.hub == Some(hub) && Some(**link) != but)
            .map(|(link, _)| *link)
            .collect();
        for link in gone {
            self.drop_record_queue(link);
        }
    }

    pub(super) fn drop_record_queue(&mut self, link: LinkId) {
        if self.record_queues.remove(&link).is_some() {
            self.pulls.on_link_gone(link);
            self.ask_another_for_all(link);
        }
    }

    /// The round-trip time to a neighbour was measured. A new cost is set at most every `cost_every`, and only if the
    /// round trip differs by `rtt_differs` and a quarter from the one for which the cost was set: costs have small
    /// steps, so that paths are short, and would otherwise change with every measurement.
    pub fn on_rtt(&mut self, now: Moment, hub: HubId, rtt: Duration) {
        let step = self.config.rtt_step;
        let cost = rtt.as_micros() / step.as_micros().max(1);
        let cost = u16::try_from(1 + cost).unwrap_or(u16::MAX);
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        let every = self.config.cost_every;
        let rested = neighbour.cost_set.is_none_or(|set| set + every <= now);
        let least = self.config.rtt_differs;
        let differs = neighbour
            .rtt
            .is_none_or(|set| rtt.abs_diff(set) > least.max(set / 4));
        let changes = rested && differs && cost != neighbour.cost;
        if changes {
            neighbour.cost = cost;
            neighbour.cost_set = Some(now);
        }
        if changes || neighbour.rtt.is_none() {
            neighbour.rtt = Some(rtt);
        }
        let cost = Some(neighbour.cost);
        if let Some(stored) = self.records.get_mut(&hub) {
            stored.cost = cost;
        }
        if changes {
            self.want_record_in_a_while(now);
        }
    }
}
