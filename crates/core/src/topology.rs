//! Which hubs are in the mesh, and the route to each: link-state routing.
//!
//! Owns the newest link record of every hub, this hub's own record and incarnation, the routes that follow, and per
//! link the set of records still to be sent. Knows nothing of sockets, of peers, or of the choice between several links
//! with a neighbour. The core reports neighbours and the frames for this part; it answers with events, frames per link,
//! and routes.
//!
//! Promises:
//! - Of each hub only the newest record is kept, by (incarnation, number). A newer one is sent on over every link
//!   except the one on which it arrived: the record itself, or an announcement of its number. An older one is answered
//!   with the kept record, an announcement of a newer one with a request.
//! - A record of our own that cuts a hub off, or lists the only link to one, is made at once if the last record is old
//!   enough, otherwise as soon as it is. Changes that can wait are sent once no more of their kind happen.
//! - A link is listed once a frame of its other end has arrived on it.
//! - A hub is reachable if there is a path to it of links that both ends list, each in its newest record.
//! - Of paths of equal cost the one with fewer hops is chosen, then the one by the lowest neighbour id. So the same
//!   records give the same routes.
//! - A hub that is unreachable for `forget_after` is forgotten. Its incarnation is remembered for as long again:
//!   meanwhile a record of an earlier one is not accepted. An incarnation too far above the known one of its hub is
//!   never accepted.
//! - Memory is bounded, whatever others send: `max_hubs` records and as many questions, `max_past_incarnations`
//!   incarnations, and a few sets of these for each link.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::api::SharedRoutes;
use super::ids::{HubId, Incarnation, LinkId, Moment};
use crate::frames::{ControlFrame, DigestEntry, LinkRecord};
use crate::reach::Reach;
use comparing::Start;
use flooding::Root;
use neighbours::Neighbour;
use own::OwnRecord;
use past_incarnations::PastIncarnations;
use pulling::Pulls;
use record_queue::RecordQueue;
use records::{Stored, forgotten_record, is_sound};
use spf::Graph;

pub use config::{TopologyConfig, TopologyEvent};

mod capacity;
mod comparing;
mod config;
mod flooding;
mod neighbours;
mod origin;
mod own;
mod past_incarnations;
mod pulling;
mod record_queue;
mod records;
mod routing;
mod spf;
#[cfg(test)]
mod tests;

/// The link-state database and the results computed from it.
#[derive(Debug)]
pub struct Topology {
    me: HubId,
    config: TopologyConfig,
    own: OwnRecord,
    neighbours: BTreeMap<HubId, Neighbour>,
    records: BTreeMap<HubId, Stored>,
    past_incarnations: PastIncarnations,
    /// Links whose other end does not ask for announced records.
    flooded: BTreeSet<LinkId>,
    record_queues: BTreeMap<LinkId, RecordQueue>,
    pulls: Pulls,
    words_due: Option<Moment>,
    compare_due: Option<Moment>,
    start: Start,
    root: Root,
    graph: Graph,
    /// Hubs were added or removed since the graph was built.
    graph_stale: bool,
    spf_last: Option<Moment>,
    spf_due: Option<Moment>,
    forget_due: Option<Moment>,
    routes: SharedRoutes,
    refused: u64,
    /// A record was refused for lack of space, and not asked for again.
    turned_away: bool,
    /// When other hubs were last asked for refused records.
    asked_again: Option<Moment>,
    tally: TopologyTally,
    /// Whether this hub asks for interest; `None` if it does not know of it.
    asks_for_interest: Option<bool>,
    events: VecDeque<TopologyEvent>,
}

/// Counters of the topology since its start, for figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopologyTally {
    /// Records of others that were newer than the known one.
    pub fresh: u64,
    /// Records of this hub's own.
    pub originated: u64,
    /// Runs of the shortest paths.
    pub spf_runs: u64,
    /// Summaries of neighbours that differed from ours.
    pub differed: u64,
}

impl Topology {
    /// Links on which frames arrived but that are not a neighbour's active link: if there are more, the oldest is
    /// dropped.
    const MAX_STRAYS: usize = 64;

    /// A hub without links. It already has its first record, which lists none.
    pub fn new(me: HubId, incarnation: Incarnation, mut config: TopologyConfig) -> Self {
        let graph = Graph::new(config.mutants);
        config
            .urls
            .retain(|url| url.len() <= LinkRecord::MAX_URL_BYTES);
        config.urls.truncate(LinkRecord::MAX_URLS);
        if config.region.len() > LinkRecord::MAX_REGION_BYTES {
            config.region.clear();
        }
        let asks_for_interest = config.knows_interest.then_some(false);
        let mut topology = Topology {
            me,
            own: OwnRecord::new(incarnation),
            neighbours: BTreeMap::new(),
            records: BTreeMap::new(),
            past_incarnations: PastIncarnations::new(config.max_past_incarnations),
            config,
            flooded: BTreeSet::new(),
            record_queues: BTreeMap::new(),
            pulls: Pulls::default(),
            words_due: None,
            compare_due: None,
            start: Start::Alone,
            root: Root {
                hub: me,
                link: None,
            },
            graph,
            graph_stale: true,
            spf_last: None,
            spf_due: None,
            forget_due: None,
            routes: Arc::default(),
            refused: 0,
            turned_away: false,
            asked_again: None,
            tally: TopologyTally::default(),
            asks_for_interest,
            events: VecDeque::new(),
        };
        topology.own.number = 1;
        let record = topology.own_record();
        topology.put_own(record);
        topology
    }

    /// This hub is shutting down; its record has to say so.
    pub fn set_draining(&mut self, now: Moment) {
        self.own.draining = true;
        self.want_record(now);
    }

    /// A part of the digest of the hub at the other end of `link`: the records that it lacks will be sent.
    pub fn handle_digest(&mut self, now: Moment, link: LinkId, entries: &[DigestEntry]) {
        self.on_greeted(now, link);
        let Some(queue) = self.record_queues.get_mut(&link) else {
            return;
        };
        let start = queue.heard.map_or(Bound::Unbounded, Bound::Excluded);
        let first_ok = match (queue.heard, entries.first()) {
            (Some(heard), Some(first)) => heard < first.hub,
            _ => true,
        };
        if !first_ok || !entries.is_sorted_by(|a, b| a.hub < b.hub) {
            queue.heard = None;
            self.refused += 1;
            return;
        }
        queue.heard = entries.last().map(|entry| entry.hub);
        let end = queue.heard.map_or(Bound::Unbounded, Bound::Included);
        let mut theirs = entries.iter().peekable();
        for (hub, stored) in self.records.range((start, end)) {
            while theirs.next_if(|entry| entry.hub < *hub).is_some() {}
            let held = theirs
                .next_if(|entry| entry.hub == *hub)
                .map(|entry| (entry.incarnation, entry.number));
            if held < Some(stored.record.version()) {
                queue.due.insert(*hub);
            } else {
                queue.due.remove(hub);
            }
        }
    }

    /// Records arrived on `link`.
    pub fn handle_records(&mut self, now: Moment, link: LinkId, records: Vec<LinkRecord>) {
        self.expire_past_incarnations(now);
        self.on_told(link);
        if let Some(queue) = self.record_queues.get_mut(&link) {
            queue.told_at = Some(now);
        }
        for record in records {
            if !is_sound(&record) || !self.is_plausible(record.hub, record.incarnation) {
                self.refused += 1;
            } else if record.hub == self.me {
                self.hear_of_self(now, link, &record);
            } else {
                self.hear(now, link, record);
            }
        }
        self.run_due_spf(now);
    }

    /// Records of these versions arrived on a link whose other end is at this reach.
    pub fn note_tellers(&mut self, said: &[(HubId, (Incarnation, u64))], reach: Reach) {
        for (hub, version) in said {
            if let Some(stored) = self.records.get_mut(hub)
                && stored.record.version() == *version
            {
                stored.note_teller(reach);
            } else {
                self.pulls.note_teller(*hub, *version, reach);
            }
        }
    }

    /// The cost of the path to a hub, by the last run; `None` if there is no path.
    pub fn path_cost(&self, hub: HubId) -> Option<u32> {
        self.records.get(&hub)?.path_cost
    }

    /// The reach of the nearest hub that sent us this hub's present addresses.
    pub fn told_by(&self, hub: HubId) -> Reach {
        let told_by = self.records.get(&hub).and_then(|stored| stored.told_by);
        told_by.unwrap_or(Reach::Global)
    }

    /// Another hub knows this incarnation of us: if it is higher than ours, ours is raised above it.
    pub fn on_stale(&mut self, now: Moment, known: Incarnation) {
        if known > self.own.incarnation && self.is_plausible(self.me, known) {
            self.bump(now, known);
        }
    }

    /// Whether a hub can have this incarnation, as far as its past ones are known. Otherwise one made-up incarnation
    /// with the highest epoch would keep the hub out for ever, because none is above it.
    pub fn is_plausible(&self, hub: HubId, incarnation: Incarnation) -> bool {
        let known = match hub == self.me {
            true => self.own.incarnation.epoch,
            false => self.known(hub).map_or(0, |known| known.epoch),
        };
        let near = incarnation.epoch <= known.saturating_add(self.config.max_epoch_jump);
        near || self.config.mutants.any_epoch_believed()
    }

    /// The clash with another hub of our id is over, as far as we know: the epoch may be raised again.
    pub fn forget_clash(&mut self) {
        self.own.forget_clash();
    }

    fn expire_past_incarnations(&mut self, now: Moment) {
        if self.config.mutants.lives_for_ever() {
            return;
        }
        let age = u64::try_from(self.config.forget_after.as_micros()).unwrap_or(u64::MAX);
        if let Some(then) = now.0.checked_sub(age) {
            self.past_incarnations.expire(Moment(then));
        }
    }

    /// The next frame of topology for this link, of about `max_bytes` at most but with at least one entry.
    pub fn poll_transmit(&mut self, link: LinkId, max_bytes: usize) -> Option<ControlFrame> {
        let summary = self.record_queues.get_mut(&link)?.next_summary();
        if let Some((wants_all, compare)) = summary {
            return Some(self.summary(wants_all, compare));
        }
        let Topology {
            record_queues,
            records,
            past_incarnations,
            ..
        } = self;
        let queue = record_queues.get_mut(&link)?;
        if !queue.wants.is_empty() {
            return Some(ControlFrame::Want(queue.next_wants(max_bytes)));
        }
        if let Some(part) = queue.next_lines(records, max_bytes) {
            if queue.floods {
                return Some(ControlFrame::Digest(part));
            }
            if !part.is_empty() {
                return Some(ControlFrame::Announce(part));
            }
        }
        let find = |hub: HubId| match records.get(&hub) {
            Some(stored) => Some(stored.record.clone()),
            None => Some(forgotten_record(hub, past_incarnations.of(hub)?)),
        };
        queue.take_more(records);
        let due = queue.next_records(find, max_bytes);
        if !due.is_empty() {
            return Some(ControlFrame::Records(due));
        }
        let line = |hub: HubId| records.get(&hub).map(|stored| stored.record.digest());
        let words = queue.next_words(line, max_bytes);
        (!words.is_empty()).then_some(ControlFrame::Announce(words))
    }

    /// Whether there is a frame for this link.
    pub fn has_pending(&self, link: LinkId) -> bool {
        self.record_queues
            .get(&link)
            .is_some_and(RecordQueue::has_pending)
    }

    /// Does everything that is due: makes our record, announces records, asks again, compares, computes the shortest
    /// paths, and forgets old records.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.make_due_record(now);
        self.give_due_words(now);
        self.ask_again(now);
        self.compare_due_links(now);
        self.expire_past_incarnations(now);
        self.forget(now);
        self.ask_for_turned_away(now);
        self.run_due_spf(now);
    }

    /// When [`Topology::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        [
            self.own.due(&self.config),
            self.words_due,
            self.pulls.due,
            self.compare_due,
            self.spf_due,
            self.forget_due,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<TopologyEvent> {
        self.events.pop_front()
    }

    /// The routes to all reachable hubs. The same `Arc` until [`TopologyEvent::RoutesChanged`].
    pub fn routes(&self) -> SharedRoutes {
        Arc::clone(&self.routes)
    }

    /// The link on which to send to this hub; also the link to its parent in the tree of its claims and records.
    pub fn next_hop(&self, hub: HubId) -> Option<LinkId> {
        self.routes.by_hub.get(&hub).map(|route| route.hop.link)
    }

    /// The newest record of this hub (also of this hub itself).
    pub fn record(&self, hub: HubId) -> Option<&LinkRecord> {
        self.records.get(&hub).map(|stored| &stored.record)
    }

    /// All records, our own included, in the order of hub ids.
    pub fn records(&self) -> impl Iterator<Item = &LinkRecord> + '_ {
        self.records.values().map(|stored| &stored.record)
    }

    /// The highest incarnation of this hub that a record had, even if the record was forgotten.
    pub fn known(&self, hub: HubId) -> Option<Incarnation> {
        match self.records.get(&hub) {
            Some(stored) => Some(stored.record.incarnation),
            None => self.past_incarnations.of(hub),
        }
    }

    /// How many forgotten hubs' incarnations are remembered.
    pub fn past_incarnations(&self) -> usize {
        self.past_incarnations.len()
    }

    /// Whether there is a path to this hub. True of this hub itself.
    pub fn is_reachable(&self, hub: HubId) -> bool {
        hub == self.me || self.routes.by_hub.contains_key(&hub)
    }

    /// The present incarnation of this hub.
    pub fn incarnation(&self) -> Incarnation {
        self.own.incarnation
    }

    /// The counters.
    pub fn tally(&self) -> TopologyTally {
        self.tally
    }

    /// How many records, announcements and digests were refused as malformed, or because there was no space.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn record_queue(&mut self, link: LinkId) -> &mut RecordQueue {
        if !self.record_queues.contains_key(&link) {
            let mut strays = self
                .record_queues
                .iter()
                .filter(|(_, queue)| queue.hub.is_none())
                .map(|(id, _)| *id);
            if let Some(oldest) = strays.next()
                && strays.count() + 1 >= Self::MAX_STRAYS
            {
                self.drop_record_queue(oldest);
            }
        }
        let floods = self.flooded.contains(&link);
        self.record_queues
            .entry(link)
            .or_insert_with(|| RecordQueue::new(floods))
    }
}
