//! The neighbours: who they are, by which link each is sent to, and what the link to each costs.

use std::time::Duration;

use super::super::ids::{HubId, Incarnation, LinkId, Moment};
use super::Topology;

#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) link: LinkId,
    pub(super) incarnation: Incarnation,
    pub(super) cost: u16,
    cost_set: Option<Moment>,
}

impl Topology {
    /// A neighbour is there, or its new life is: `link` is the one to send by. A digest goes out on it.
    pub fn on_neighbour_up(
        &mut self,
        now: Moment,
        hub: HubId,
        incarnation: Incarnation,
        link: LinkId,
    ) {
        self.outboxes
            .retain(|id, outbox| *id == link || outbox.hub != Some(hub));
        self.outbox(link).start_digest(hub);
        let neighbour = Neighbour {
            link,
            incarnation,
            cost: 1,
            cost_set: None,
        };
        self.neighbours.insert(hub, neighbour);
        self.own_links_changed(now);
    }

    /// Another link is the one to send to this neighbour by. A digest goes out on it.
    pub fn on_neighbour_switched(&mut self, now: Moment, hub: HubId, link: LinkId) {
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        neighbour.link = link;
        // What the old link had still to say is kept until the neighbour is gone: it may be chosen again.
        self.outbox(link).start_digest(hub);
        self.run_spf(now);
    }

    /// A neighbour is gone.
    pub fn on_neighbour_down(&mut self, now: Moment, hub: HubId) {
        self.outboxes.retain(|_, outbox| outbox.hub != Some(hub));
        if self.neighbours.remove(&hub).is_some() {
            self.own_links_changed(now);
        }
    }

    /// A link that is not, or no longer, a neighbour's active one is closed: what was kept for it is dropped.
    pub fn on_link_closed(&mut self, link: LinkId) {
        if self.neighbours.values().all(|n| n.link != link) {
            self.outboxes.remove(&link);
        }
    }

    /// The round-trip time to a neighbour was measured.
    pub fn on_rtt(&mut self, now: Moment, hub: HubId, rtt: Duration) {
        let step = self.config.rtt_step.as_micros().max(1);
        let cost = u16::try_from(1 + rtt.as_micros() / step).unwrap_or(u16::MAX);
        let every = self.config.cost_every;
        let Some(neighbour) = self.neighbours.get_mut(&hub) else {
            return;
        };
        let rested = neighbour.cost_set.is_none_or(|set| set + every <= now);
        let differs = u32::from(cost.abs_diff(neighbour.cost)) * 4 > u32::from(neighbour.cost);
        if rested && differs {
            neighbour.cost = cost;
            neighbour.cost_set = Some(now);
            self.want_record(now);
            self.want_spf(now);
            self.run_due_spf(now);
        }
    }
}
