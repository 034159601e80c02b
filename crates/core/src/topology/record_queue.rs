//! The link records that are still to be sent on one link.
//!
//! It keeps sets of hubs, and no copies of records: however long the link stalls, each hub's newest record goes out
//! once, and so does word of it. A digest, or the announcement of all records, is a cursor in the order of hub ids, so
//! it takes no memory either.
//!
//! A digest travels in parts. Each part speaks for the hubs after the part before it, up to its own last
//! entry; an empty part speaks for all the rest and ends the digest. Called by `Topology` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::super::ids::{HubId, Moment};
use super::Stored;
use crate::frames::{DigestEntry, LinkRecord};

/// Bytes that a frame takes besides its entries, at most.
const FRAME_BYTES: usize = 16;
/// Bytes of a hub id, an incarnation and a number, at most.
const ENTRY_BYTES: usize = 20 + 5 + 10 + 10;

/// How many records are taken at a time when all are sent.
const ALL_AT_ONCE: usize = 256;
/// Bytes of a hub id in a request, at most.
const HUB_BYTES: usize = 21;

/// Whether a summary carries sums. A later kind includes the earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Compare {
    /// None: it only greets.
    No,
    /// The other end answers if its own differ.
    Ask,
    /// These are the answer.
    Answer,
}

/// How far we have sent all that we hold: the lines of the records, or the records themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cursor {
    Done,
    /// What comes after this hub is still to be sent.
    After(Option<HubId>),
}

/// The state of one link.
#[derive(Debug)]
pub(super) struct RecordQueue {
    /// The hub at its other end; `None` for a link that only spoke to us so far.
    pub(super) hub: Option<HubId>,
    /// The other end knows digests, and takes every record.
    pub(super) floods: bool,
    /// The other end has greeted us by it.
    pub(super) greeted: bool,
    /// The link is gone, and another is not chosen yet.
    pub(super) closed: bool,
    /// Hubs whose claims the other end takes from us: it is given their records unasked.
    pub(super) children: BTreeSet<HubId>,
    /// Records that have to be sent.
    pub(super) due: BTreeSet<HubId>,
    /// Records that the other end will hear of when it is time.
    later: BTreeSet<HubId>,
    pub(super) later_at: Option<Moment>,
    /// Records that it will hear of now.
    words: BTreeSet<HubId>,
    /// Records that it is asked for.
    pub(super) wants: BTreeSet<HubId>,
    /// A summary is due: whether it asks for all records, and what it compares.
    summary: Option<(bool, Compare)>,
    /// When both ends next compare what they hold.
    pub(super) compare_at: Option<Moment>,
    /// How often they have compared since the greeting.
    pub(super) compared: u32,
    lines: Cursor,
    all: Cursor,
    /// When records last came by it.
    pub(super) told_at: Option<Moment>,
    /// How far the other end's digest has come.
    pub(super) heard: Option<HubId>,
}

impl RecordQueue {
    pub(super) fn new(floods: bool) -> Self {
        RecordQueue {
            hub: None,
            floods,
            greeted: false,
            closed: false,
            children: BTreeSet::new(),
            due: BTreeSet::new(),
            later: BTreeSet::new(),
            later_at: None,
            words: BTreeSet::new(),
            wants: BTreeSet::new(),
            summary: None,
            compare_at: None,
            compared: 0,
            lines: Cursor::Done,
            all: Cursor::Done,
            told_at: None,
            heard: None,
        }
    }

    /// Begins to send a line of each record that we hold.
    pub(super) fn start_lines(&mut self) {
        self.lines = Cursor::After(None);
    }

    /// Begins to send all records that we hold.
    pub(super) fn give_all(&mut self) {
        self.all = Cursor::After(None);
    }

    /// While all records go out, takes more of them once the ones before are sent.
    pub(super) fn take_more(&mut self, records: &BTreeMap<HubId, Stored>) {
        let Cursor::After(after) = self.all else {
            return;
        };
        if !self.due.is_empty() {
            return;
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let more = records.range((start, Bound::Unbounded));
        self.due.extend(more.take(ALL_AT_ONCE).map(|(hub, _)| *hub));
        self.all = match self.due.last() {
            Some(last) => Cursor::After(Some(*last)),
            None => Cursor::Done,
        };
    }

    /// Compares what the two ends hold.
    pub(super) fn compare(&mut self) {
        if self.floods {
            self.start_lines();
        } else {
            self.say(false, Compare::Ask);
        }
    }

    /// A summary goes out. If one is due already, it carries this too.
    pub(super) fn say(&mut self, wants_all: bool, compare: Compare) {
        let (all, most) = self.summary.unwrap_or((false, Compare::No));
        self.summary = Some((all || wants_all, most.max(compare)));
    }

    pub(super) fn next_summary(&mut self) -> Option<(bool, Compare)> {
        self.summary.take()
    }

    pub(super) fn has_pending(&self) -> bool {
        self.lines != Cursor::Done
            || self.all != Cursor::Done
            || self.summary.is_some()
            || [&self.due, &self.words, &self.wants]
                .iter()
                .any(|set| !set.is_empty())
    }

    /// The other end has this record, or a newer one.
    pub(super) fn has(&mut self, hub: &HubId) {
        self.due.remove(hub);
        self.later.remove(hub);
        self.words.remove(hub);
    }

    /// The record is gone.
    pub(super) fn forget(&mut self, hub: &HubId) {
        self.has(hub);
        self.children.remove(hub);
    }

    /// The record goes out: there is no need for word of it.
    pub(super) fn give(&mut self, hub: HubId) {
        self.has(&hub);
        self.due.insert(hub);
    }

    /// Word of the record goes out now.
    pub(super) fn tell(&mut self, hub: HubId) {
        if !self.due.contains(&hub) {
            self.later.remove(&hub);
            self.words.insert(hub);
        }
    }

    /// Word of the record goes out with the next, at `at` if no time is set yet.
    pub(super) fn tell_later(&mut self, hub: HubId, at: Moment) {
        if !self.due.contains(&hub) && !self.words.contains(&hub) && self.later.insert(hub) {
            self.later_at.get_or_insert(at);
        }
    }

    /// Word that has waited long enough goes out now.
    pub(super) fn ripen(&mut self, now: Moment) {
        if self.later_at.is_some_and(|at| at <= now) {
            self.later_at = None;
            self.words.append(&mut self.later);
        }
    }

    /// The other end takes the claims of this hub from us: instead of word it is sent the record.
    pub(super) fn adopt(&mut self, hub: HubId) {
        if self.later.contains(&hub) || self.words.contains(&hub) {
            self.give(hub);
        }
        self.children.insert(hub);
    }

    /// Word for one frame.
    pub(super) fn next_words(
        &mut self,
        find: impl Fn(HubId) -> Option<DigestEntry>,
        max_bytes: usize,
    ) -> Vec<DigestEntry> {
        let mut words = Vec::new();
        while words.len() < entries_that_fit(max_bytes, ENTRY_BYTES)
            && let Some(hub) = self.words.pop_first()
        {
            words.extend(find(hub));
        }
        words
    }

    /// Requests for one frame.
    pub(super) fn next_wants(&mut self, max_bytes: usize) -> Vec<HubId> {
        let mut hubs = Vec::new();
        while hubs.len() < entries_that_fit(max_bytes, HUB_BYTES)
            && let Some(hub) = self.wants.pop_first()
        {
            hubs.push(hub);
        }
        hubs
    }

    /// The next part of the lines of all records, of at most `max_bytes` but at least one entry; empty as the last.
    pub(super) fn next_lines(
        &mut self,
        records: &BTreeMap<HubId, Stored>,
        max_bytes: usize,
    ) -> Option<Vec<DigestEntry>> {
        let Cursor::After(after) = self.lines else {
            return None;
        };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let part: Vec<DigestEntry> = records
            .range((start, Bound::Unbounded))
            .take(entries_that_fit(max_bytes, ENTRY_BYTES))
            .map(|(_, stored)| stored.record.digest())
            .collect();
        self.lines = match part.last() {
            Some(entry) => Cursor::After(Some(entry.hub)),
            None => Cursor::Done,
        };
        Some(part)
    }

    /// Takes due records for one frame: as many as fit, but at least one if there is any.
    pub(super) fn next_records(
        &mut self,
        find: impl Fn(HubId) -> Option<LinkRecord>,
        max_bytes: usize,
    ) -> Vec<LinkRecord> {
        let mut space = max_bytes.saturating_sub(FRAME_BYTES);
        let mut records = Vec::new();
        while let Some(hub) = self.due.pop_first() {
            let Some(record) = find(hub) else {
                continue;
            };
            self.later.remove(&hub);
            self.words.remove(&hub);
            let size = record_bytes(&record);
            if size > space && !records.is_empty() {
                self.due.insert(hub);
                break;
            }
            space = space.saturating_sub(size);
            records.push(record);
        }
        records
    }
}

/// How many entries of this size fit into a frame: one at least.
fn entries_that_fit(max_bytes: usize, each: usize) -> usize {
    (max_bytes.saturating_sub(FRAME_BYTES) / each).max(1)
}

/// The most bytes that a record can take in a frame.
pub(super) fn record_bytes(record: &LinkRecord) -> usize {
    let urls: usize = record.urls.iter().map(|url| url.len() + 2).sum();
    ENTRY_BYTES + 8 + urls + record.region.len() + record.neighbours.len() * 23
}
