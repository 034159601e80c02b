//! Finds records that one end of a link lacks.
//!
//! Each end greets the other with a summary. A hub that knows no other yet asks for all records in it, and asks again
//! until a neighbour has sent them. If the other end can be reached on this link alone, the link joins two parts that
//! may have different records: both ends announce all of theirs. A moment later, and then from time to time, the lower
//! id of the two sends the sums of its records by shares of the hubs. If a sum differs, both announce the records of
//! that share. This finds records that were lost with a link, and all other differences.
//!
//! Only reachable hubs are in the sums: one end may have forgotten others that the other end has not.

use super::super::ids::{HubId, LinkId, Moment, mix, stable_hash};
use super::Topology;
use super::flooding::earliest;
use super::record_queue::Compare;
use crate::frames::{ControlFrame, LinkRecord, Summary};

/// The progress of a hub that knows no other, in learning all records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// No neighbour was asked.
    Alone,
    /// The neighbour at the other end was asked for all records.
    Asked(LinkId),
    /// A neighbour sent all records.
    Told,
}

fn share(hub: &HubId) -> usize {
    stable_hash(&hub.0) as usize % Summary::SHARES
}

impl Topology {
    /// Greets the other end of a link.
    pub(super) fn greet(&mut self, now: Moment, link: LinkId) {
        let wants_all = self.start == Start::Alone;
        if wants_all {
            self.start = Start::Asked(link);
        }
        let at = now + self.config.compare_after;
        let queue = self.record_queue(link);
        queue.say(wants_all, Compare::No);
        queue.compared = 0;
        queue.compare_at = Some(at);
        self.compare_due = earliest(self.compare_due, Some(at));
    }

    /// Records arrived on `link`. A hub that sends us on also sends some, without a greeting: these are not all.
    pub(super) fn on_told(&mut self, link: LinkId) {
        let greeted = || {
            self.record_queues
                .get(&link)
                .is_some_and(|queue| queue.greeted)
        };
        if self.start == Start::Asked(link) && greeted() {
            self.start = Start::Told;
        }
    }

    /// A link is gone: if all records were asked for on it, another neighbour is asked.
    pub(super) fn ask_another_for_all(&mut self, gone: LinkId) {
        if self.start != Start::Asked(gone) {
            return;
        }
        let mut rest = self.record_queues.iter_mut();
        let other = rest.find(|(_, queue)| queue.hub.is_some() && !queue.floods && !queue.closed);
        self.start = other.map_or(Start::Alone, |(link, queue)| {
            queue.say(true, Compare::No);
            Start::Asked(*link)
        });
    }

    /// The other end greets us, or compares its records with ours.
    pub fn handle_summary(&mut self, now: Moment, link: LinkId, summary: &Summary) {
        self.on_greeted(now, link);
        if summary.wants_all {
            self.record_queue(link).give_all();
        }
        if summary.sums.len() == Summary::SHARES {
            self.compare(link, summary);
        }
    }

    fn compare(&mut self, link: LinkId, theirs: &Summary) {
        let ours = self.sums();
        if ours == theirs.sums {
            return;
        }
        let differs = |hub: &HubId| ours.get(share(hub)) != theirs.sums.get(share(hub));
        let hubs: Vec<HubId> = self.in_reach().map(|record| record.hub).collect();
        let queue = self.record_queue(link);
        for hub in hubs.into_iter().filter(differs) {
            queue.tell(hub);
        }
        if !theirs.is_answer {
            queue.say(false, Compare::Answer);
        }
        self.tally.differed += 1;
    }

    fn in_reach(&self) -> impl Iterator<Item = &LinkRecord> {
        let stored = self.records.values();
        stored
            .filter(|stored| stored.unreachable_since.is_none())
            .map(|stored| &stored.record)
    }

    fn sums(&self) -> Vec<u32> {
        let blind = self.config.mutants.summary_blind();
        let mut sums = vec![0_u32; Summary::SHARES];
        for record in self.in_reach() {
            let (incarnation, number) = record.version();
            let version = mix(incarnation.nonce ^ mix(u64::from(incarnation.epoch) ^ mix(number)));
            let version = if blind { 0 } else { version };
            let hash = mix(stable_hash(&record.hub.0) ^ version);
            if let Some(sum) = sums.get_mut(share(&record.hub)) {
                *sum = sum.wrapping_add(hash as u32);
            }
        }
        sums
    }

    /// The summary that is due on a link.
    pub(super) fn summary(&self, wants_all: bool, compare: Compare) -> ControlFrame {
        let sums = if compare == Compare::No {
            Vec::new()
        } else {
            self.sums()
        };
        ControlFrame::Summary(Summary {
            wants_all,
            is_answer: compare == Compare::Answer,
            sums,
        })
    }

    /// Does everything that is due on links.
    pub(super) fn compare_due_links(&mut self, now: Moment) {
        if self.compare_due.is_none_or(|due| due > now) {
            return;
        }
        let due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        let links: Vec<(LinkId, Option<HubId>)> = self
            .record_queues
            .iter()
            .filter(|(_, queue)| due(queue.compare_at))
            .map(|(link, queue)| (*link, queue.hub))
            .collect();
        for (link, hub) in links {
            let next = hub.map(|hub| self.compare_link(now, link, hub));
            self.record_queue(link).compare_at = next;
        }
        let due = self
            .record_queues
            .values()
            .filter_map(|queue| queue.compare_at);
        self.compare_due = due.min();
    }

    /// Does everything that is due on this link, and returns the time of the next comparison.
    fn compare_link(&mut self, now: Moment, link: LinkId, hub: HubId) -> Moment {
        let first = self.record_queue(link).compared == 0;
        let joins_two_parts = first && !self.is_redundant(hub);
        let asks = self.me < hub;
        // A neighbour that was asked for all is not asked again.
        let told = [Start::Told, Start::Asked(link)].contains(&self.start);
        let (after, every) = (self.config.compare_after, self.config.compare_every);
        let queue = self.record_queue(link);
        let part = (mix(link.0 ^ mix(u64::from(queue.compared))) % 1_000) as u32;
        queue.compared = queue.compared.wrapping_add(1).max(1);
        if !first {
            if asks {
                queue.say(false, Compare::Ask);
            }
            return now + every / 2 + every * part / 1_000;
        }
        if joins_two_parts {
            queue.start_lines();
        }
        if !told {
            queue.say(true, Compare::No);
        }
        now + after * 4 + after * part / 250
    }

    /// Hubs that were out of reach came back: their side may have other records than we do. Compares with all
    /// neighbours soon.
    pub(super) fn compare_soon(&mut self, now: Moment) {
        let after = self.config.compare_after;
        for (link, queue) in &mut self.record_queues {
            if queue.compared == 0 {
                continue;
            }
            let part = (mix(link.0 ^ mix(now.0)) % 1_000) as u32;
            let at = Some(now + after + after * part / 1_000);
            queue.compare_at = earliest(queue.compare_at, at);
            self.compare_due = earliest(self.compare_due, at);
        }
    }
}
