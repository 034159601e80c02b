//! The link records that are still to be sent on one link.
//!
//! It has sets of hubs, and no copies of records: however long the link stalls, each hub's newest record is sent once,
//! and announced once. A digest, or the announcement of all records, is a cursor in the order of hub ids, so it takes
//! no memory either.
//!
//! A digest is sent in parts. Each part covers the hubs after the part before it, up to its own last entry; an empty
//! part covers all the rest and ends the digest. Called by `Topology` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::super::ids::{HubId, Moment};
use super::Stored;
use crate::frames::{DigestEntry, LinkRecord};

/// Bytes that a frame takes besides its entries, at most.
const FRAME_BYTES: usize = 16;
/// Bytes of a hub id, an incarnation and a number, at most.
const ENTRY_BYTES: usize = 20 + 5 + 10 + 10;

/// How many records are queued at a time when all are sent.
const ALL_AT_ONCE: usize = 256;
/// Bytes of a hub id in a request, at most.
const HUB_BYTES: usize = 21;

/// The kind of a summary. A later kind includes the earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Compare {
    /// None: it only greets.
    No,
    /// The other end answers if its own differ.
    Ask,
    /// These are the answer.
    Answer,
}

/// The position in sending all of our records: their lines, or the records themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cursor {
    Done,
    /// The hubs after this one are still to be sent.
    After(Option<HubId>),
}

/// The state of one link.
#[derive(Debug)]
pub(super) struct RecordQueue {
    /// The hub at its other end; `None` for a link on which frames arrived, but that is not chosen.
    pub(super) hub: Option<HubId>,
    /// The other end knows digests, and is sent every record.
    pub(super) floods: bool,
    /// The other end has greeted us on it.
    pub(super) greeted: bool,
    /// The link is gone, and another is not chosen yet.
    pub(super) closed: bool,
    /// Hubs to whose claims the other end subscribes here: it is sent their records unasked.
    pub(super) children: BTreeSet<HubId>,
    /// Records that have to be sent.
    pub(super) due: BTreeSet<HubId>,
    /// Records that will be announced to the other end later.
    later: BTreeSet<HubId>,
    pub(super) later_at: Option<Moment>,
    /// Records that will be announced now.
    words: BTreeSet<HubId>,
    /// Records that the other end will be asked for.
    pub(super) wants: BTreeSet<HubId>,
    /// A summary is due: whether it asks for all records, and its kind.
    summary: Option<(bool, Compare)>,
    /// When both ends next compare their records.
    pub(super) compare_at: Option<Moment>,
    /// How often they have compared since the greeting.
    pub(super) compared: u32,
    lines: Cursor,
    all: Cursor,
    /// When records last arrived on it.
    pub(super) told_at: Option<Moment>,
    /// The position of the other end's digest.
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

    /// Begins to send a line of each of our records.
    pub(super) fn start_lines(&mut self) {
        self.lines = Cursor::After(None);
    }

    /// Begins to send all of our records.
    pub(super) fn give_all(&mut self) {
        self.all = Cursor::After(None);
    }

    /// While all records are sent, queues more of them once the ones before are sent.
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

    /// Compares the records of the two ends.
    pub(super) fn compare(&mut self) {
        if self.floods {
            self.start_lines();
        } else {
            self.say(false, Compare::Ask);
        }
    }

    /// Queues a summary. If one is due already, the two are merged.
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

    /// Queues the record: it need not be announced.
    pub(super) fn give(&mut self, hub: HubId) {
        self.has(&hub);
        self.due.insert(hub);
    }

    /// Announces the record now.
    pub(super) fn tell(&mut self, hub: HubId) {
        if !self.due.contains(&hub) {
            self.later.remove(&hub);
            self.words.insert(hub);
        }
    }

    /// Announces the record with the next, at `at` if no time is set yet.
    pub(super) fn tell_later(&mut self, hub: HubId, at: Moment) {
        if !self.due.contains(&hub) && !self.words.contains(&hub) && self.later.insert(hub) {
            self.later_at.get_or_insert(at);
        }
    }

    /// Queues the announcements that are due.
    pub(super) fn ripen(&mut self, now: Moment) {
        if self.later_at.is_some_and(|at| at <= now) {
            self.later_at = None;
            self.words.append(&mut self.later);
        }
    }

    /// The other end subscribes to the claims of this hub: it is sent the record instead of an announcement.
    pub(super) fn adopt(&mut self, hub: HubId) {
        if self.later.contains(&hub) || self.words.contains(&hub) {
            self.give(hub);
        }
        self.children.insert(hub);
    }

    /// The announcements for one frame.
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

    /// The requests for one frame.
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

    /// Removes due records for one frame: as many as fit, but at least one if there is any.
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

/// How many entries of this size fit into a frame; at least one.
fn entries_that_fit(max_bytes: usize, each: usize) -> usize {
    (max_bytes.saturating_sub(FRAME_BYTES) / each).max(1)
}

/// The most bytes that a record can take in a frame.
pub(super) fn record_bytes(record: &LinkRecord) -> usize {
    let urls: usize = record.urls.iter().map(|url| url.len() + 2).sum();
    ENTRY_BYTES + 8 + urls + record.region.len() + record.neighbours.len() * 23
}
