//! Who is in the mesh, and the way to each: link-state routing.
//!
//! Owns the newest link record of every hub, this hub's own record and life, the routes that follow, and per
//! link the set of records still to be sent. Knows nothing of sockets, of peers, or of which of several links
//! with a neighbour is chosen. The core tells it of neighbours and of what came by the links; it answers with
//! events, frames per link, and routes.
//!
//! Promises:
//! - Of each hub only the newest record is held, by (incarnation, number). Newer is flooded on to every link
//!   but the one it came by; older is answered with what is held.
//! - A record of our own is made at once if the last is `pacing` old, otherwise at that mark.
//! - A hub is reachable if a path of links leads to it that both ends list, each in its newest record.
//! - Of paths of equal cost the one with fewer hops is taken, then the one by the lowest neighbour id; so the
//!   same records give the same routes.
//! - A hub unreachable for `forget_after` is forgotten, but its life not for as long again: an earlier one is not taken
//!   in meanwhile. A life that lies too far above what is known of its hub never is.
//! - Nothing grows with what others send beyond `max_hubs` records, `max_lives` lives, and one set per link.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::api::SharedRoutes;
use super::ids::{HubId, Incarnation, LinkId, Moment};
use crate::mesh::frames::{DigestEntry, Frame, LinkRecord};
use crate::mesh::reach::Reach;
use lives::Lives;
use outbox::Outbox;
use own::Own;
use spf::Graph;

pub use config::{TopologyConfig, TopologyEvent};

mod config;
mod lives;
mod origin;
mod outbox;
mod own;
mod room;
mod routing;
mod spf;
#[cfg(test)]
mod tests;

#[derive(Debug)]
struct Neighbour {
    link: LinkId,
    incarnation: Incarnation,
    cost: u16,
    cost_set: Option<Moment>,
}

/// A record as it is held.
#[derive(Debug)]
struct Stored {
    record: LinkRecord,
    /// `None` while reachable.
    unreachable_since: Option<Moment>,
    /// It had been forgotten, and came back in the life that it was forgotten in.
    again: bool,
    /// The nearest hub that told us of these addresses.
    told_by: Option<Reach>,
}

/// The link-state database and what follows from it.
#[derive(Debug)]
pub struct Topology {
    me: HubId,
    config: TopologyConfig,
    own: Own,
    neighbours: BTreeMap<HubId, Neighbour>,
    records: BTreeMap<HubId, Stored>,
    lives: Lives,
    outboxes: BTreeMap<LinkId, Outbox>,
    graph: Graph,
    /// Hubs came or went since the graph was built.
    graph_stale: bool,
    spf_last: Option<Moment>,
    spf_due: Option<Moment>,
    forget_due: Option<Moment>,
    routes: SharedRoutes,
    refused: u64,
    /// A record was refused for want of room, and not asked for again.
    turned_away: bool,
    /// When others were last asked for what had been refused.
    asked_again: Option<Moment>,
    events: VecDeque<TopologyEvent>,
}

impl Topology {
    /// Links that spoke to us without being a neighbour's active link: past this many the oldest is dropped.
    const MAX_STRAYS: usize = 64;

    /// A hub without links. Its first record, which lists none, is there already.
    pub fn new(me: HubId, incarnation: Incarnation, mut config: TopologyConfig) -> Self {
        let graph = Graph::new(config.mutants);
        config
            .urls
            .retain(|url| url.len() <= LinkRecord::MAX_URL_BYTES);
        config.urls.truncate(LinkRecord::MAX_URLS);
        if config.region.len() > LinkRecord::MAX_REGION_BYTES {
            config.region.clear();
        }
        let mut topology = Topology {
            me,
            own: Own::new(incarnation),
            neighbours: BTreeMap::new(),
            records: BTreeMap::new(),
            lives: Lives::new(config.max_lives),
            config,
            outboxes: BTreeMap::new(),
            graph,
            graph_stale: true,
            spf_last: None,
            spf_due: None,
            forget_due: None,
            routes: Arc::default(),
            refused: 0,
            turned_away: false,
            asked_again: None,
            events: VecDeque::new(),
        };
        topology.own.number = 1;
        let record = topology.own_record();
        topology.put_own(record);
        topology
    }

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

    /// This hub is shutting down, and its record is to say so.
    pub fn set_draining(&mut self, now: Moment) {
        self.own.draining = true;
        self.want_record(now);
    }

    /// A part of the digest of the hub at the other end of `link`: what it lacks is to be sent.
    pub fn handle_digest(&mut self, _now: Moment, link: LinkId, entries: &[DigestEntry]) {
        self.outbox(link);
        let Some(outbox) = self.outboxes.get_mut(&link) else {
            return;
        };
        let start = outbox.heard.map_or(Bound::Unbounded, Bound::Excluded);
        let first_ok = match (outbox.heard, entries.first()) {
            (Some(heard), Some(first)) => heard < first.hub,
            _ => true,
        };
        if !first_ok || !entries.is_sorted_by(|a, b| a.hub < b.hub) {
            outbox.heard = None;
            self.refused += 1;
            return;
        }
        outbox.heard = entries.last().map(|entry| entry.hub);
        let end = outbox.heard.map_or(Bound::Unbounded, Bound::Included);
        let mut theirs = entries.iter().peekable();
        for (hub, stored) in self.records.range((start, end)) {
            while theirs.next_if(|entry| entry.hub < *hub).is_some() {}
            let held = theirs
                .next_if(|entry| entry.hub == *hub)
                .map(|entry| (entry.incarnation, entry.number));
            if held < Some(stored.record.version()) {
                outbox.due.insert(*hub);
            } else {
                outbox.due.remove(hub);
            }
        }
    }

    /// Records that came by `link`.
    pub fn handle_records(&mut self, now: Moment, link: LinkId, records: Vec<LinkRecord>) {
        self.expire_lives(now);
        for record in records {
            if !is_sound(&record) || !self.can_live(record.hub, record.incarnation) {
                self.refused += 1;
            } else if record.hub == self.me {
                self.hear_of_self(now, link, &record);
            } else {
                self.hear(now, link, record);
            }
        }
        self.run_due_spf(now);
    }

    /// Records of these versions came by a link whose other end is so near.
    pub fn note_tellers(&mut self, said: &[(HubId, (Incarnation, u64))], reach: Reach) {
        for (hub, version) in said {
            if let Some(stored) = self.records.get_mut(hub)
                && stored.record.version() == *version
            {
                let nearest = stored.told_by.map_or(reach, |known| known.min(reach));
                stored.told_by = Some(nearest);
            }
        }
    }

    /// How near the nearest hub is that told us of this one's present addresses.
    pub fn told_by(&self, hub: HubId) -> Reach {
        let told_by = self.records.get(&hub).and_then(|stored| stored.told_by);
        told_by.unwrap_or(Reach::Global)
    }

    /// Somebody knows this life of us: if it is higher than ours, ours is raised above it.
    pub fn on_stale(&mut self, now: Moment, known: Incarnation) {
        if known > self.own.incarnation && self.can_live(self.me, known) {
            self.bump(now, known);
        }
    }

    /// Whether a hub can live this life, as far as is known of its past ones. Otherwise one made-up life at the highest
    /// epoch would keep the hub out for good, because nothing is above it.
    pub fn can_live(&self, hub: HubId, life: Incarnation) -> bool {
        let known = match hub == self.me {
            true => self.own.incarnation.epoch,
            false => self.known(hub).map_or(0, |known| known.epoch),
        };
        life.epoch <= known.saturating_add(self.config.max_epoch_jump)
    }

    /// The clash with another hub of our id is over, as far as we know: we may rise again.
    pub fn forget_clash(&mut self) {
        self.own.forget_clash();
    }

    fn expire_lives(&mut self, now: Moment) {
        let age = u64::try_from(self.config.forget_after.as_micros()).unwrap_or(u64::MAX);
        if let Some(then) = now.0.checked_sub(age) {
            self.lives.expire(Moment(then));
        }
    }

    /// The next frame of topology for this link, of about `max_bytes` at most but never less than one entry.
    pub fn poll_transmit(&mut self, link: LinkId, max_bytes: usize) -> Option<Frame> {
        let Topology {
            outboxes,
            records,
            lives,
            ..
        } = self;
        let outbox = outboxes.get_mut(&link)?;
        if let Some(part) = outbox.next_digest(records, max_bytes) {
            return Some(Frame::Digest(part));
        }
        let find = |hub: HubId| match records.get(&hub) {
            Some(stored) => Some(stored.record.clone()),
            None => Some(epitaph(hub, lives.of(hub)?)),
        };
        let due = outbox.next_records(find, max_bytes);
        (!due.is_empty()).then_some(Frame::Records(due))
    }

    /// Whether there is something to say on this link.
    pub fn has_pending(&self, link: LinkId) -> bool {
        self.outboxes.get(&link).is_some_and(Outbox::has_pending)
    }

    /// Makes the record that is due, runs the shortest paths that are due, forgets what is too old.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.make_due_record(now);
        self.expire_lives(now);
        self.forget(now);
        self.ask_for_turned_away(now);
        self.run_due_spf(now);
    }

    /// When [`Topology::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        [
            self.own.due(self.config.pacing),
            self.spf_due,
            self.forget_due,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next thing that changed.
    pub fn poll_event(&mut self) -> Option<TopologyEvent> {
        self.events.pop_front()
    }

    /// The ways to all reachable hubs. The same `Arc` until [`TopologyEvent::RoutesChanged`].
    pub fn routes(&self) -> SharedRoutes {
        Arc::clone(&self.routes)
    }

    /// The link to send to this hub by; also the link to its parent in the tree of what this hub authors.
    pub fn next_hop(&self, hub: HubId) -> Option<LinkId> {
        self.routes.by_hub.get(&hub).map(|route| route.hop.link)
    }

    /// The newest record of this hub (also our own).
    pub fn record(&self, hub: HubId) -> Option<&LinkRecord> {
        self.records.get(&hub).map(|stored| &stored.record)
    }

    /// All records, our own included, in the order of hub ids.
    pub fn records(&self) -> impl Iterator<Item = &LinkRecord> + '_ {
        self.records.values().map(|stored| &stored.record)
    }

    /// The highest life of this hub that a record told of, also after the record was forgotten.
    pub fn known(&self, hub: HubId) -> Option<Incarnation> {
        match self.records.get(&hub) {
            Some(stored) => Some(stored.record.incarnation),
            None => self.lives.of(hub),
        }
    }

    /// How many forgotten hubs' lives are remembered.
    pub fn lives(&self) -> usize {
        self.lives.len()
    }

    /// Whether a path leads to this hub. True of ourselves.
    pub fn is_reachable(&self, hub: HubId) -> bool {
        hub == self.me || self.routes.by_hub.contains_key(&hub)
    }

    /// The life that this hub lives now.
    pub fn incarnation(&self) -> Incarnation {
        self.own.incarnation
    }

    /// How many records and digests were refused as malformed, or for want of room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn outbox(&mut self, link: LinkId) -> &mut Outbox {
        if !self.outboxes.contains_key(&link) {
            let mut strays = self
                .outboxes
                .iter()
                .filter(|(_, outbox)| outbox.hub.is_none())
                .map(|(id, _)| *id);
            if let Some(oldest) = strays.next()
                && strays.count() + 1 >= Self::MAX_STRAYS
            {
                self.outboxes.remove(&oldest);
            }
        }
        self.outboxes.entry(link).or_insert_with(Outbox::new)
    }

    fn hear(&mut self, now: Moment, link: LinkId, record: LinkRecord) {
        let hub = record.hub;
        if let Some(stored) = self.records.get(&hub) {
            let held = stored.record.version();
            if record.version() <= held {
                return self.answer(link, hub, record.version() < held);
            }
        } else {
            if self
                .lives
                .of(hub)
                .is_some_and(|life| record.incarnation < life)
            {
                return self.answer(link, hub, true);
            }
            if !self.make_room(now, &record) {
                self.refused += 1;
                self.turned_away = true;
                return;
            }
        }
        self.store(now, record);
        self.flood(hub, Some(link));
    }

    /// The other end of `link` has a record that is not newer than ours: an older one is answered.
    fn answer(&mut self, link: LinkId, hub: HubId, older: bool) {
        let outbox = self.outbox(link);
        if older {
            outbox.due.insert(hub);
        } else {
            outbox.due.remove(&hub);
        }
    }

    fn flood(&mut self, hub: HubId, from: Option<LinkId>) {
        for (link, outbox) in &mut self.outboxes {
            if Some(*link) == from {
                outbox.due.remove(&hub);
            } else {
                outbox.due.insert(hub);
            }
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
                if old.neighbours != new.neighbours || old.incarnation != new.incarnation {
                    if !self.graph_stale {
                        self.graph.replace(new);
                    }
                    self.want_spf(now);
                }
            }
            None => self.store_new(now, record),
        }
    }

    fn store_new(&mut self, now: Moment, record: LinkRecord) {
        let hub = record.hub;
        let again = self.lives.take(hub) == Some(record.incarnation);
        let stored = Stored {
            record,
            unreachable_since: Some(now),
            again,
            told_by: None,
        };
        let forget = self.forget_mark(&stored);
        self.forget_due = self.forget_due.into_iter().chain(forget).min();
        self.records.insert(hub, stored);
        self.graph_stale = true;
        self.events.push_back(TopologyEvent::Learned { hub });
        self.want_spf(now);
    }

    fn drop_record(&mut self, now: Moment, hub: HubId) {
        let Some(stored) = self.records.remove(&hub) else {
            return;
        };
        self.lives.remember(now, hub, stored.record.incarnation);
        for outbox in self.outboxes.values_mut() {
            outbox.due.remove(&hub);
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

    fn forget(&mut self, now: Moment) {
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

/// Whether a record keeps to the bounds and order that records have.
fn is_sound(record: &LinkRecord) -> bool {
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

/// All that is left of a forgotten hub: the life that it has to rise above to be heard again.
fn epitaph(hub: HubId, incarnation: Incarnation) -> LinkRecord {
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
