//! What of the link records is still to be said on one link.
//!
//! A set of hubs, never a queue of records: however long the link stalls, each hub's newest record goes out
//! once. A digest is a cursor through the records in the order of hub ids, so it takes no memory either.
//!
//! A digest travels in parts. Each part speaks for the hubs after the part before it, up to its own last
//! entry; an empty part speaks for all the rest and ends the digest. Called by `Topology` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::super::ids::HubId;
use super::Stored;
use crate::mesh::frames::{DigestEntry, LinkRecord};

/// Bytes that a frame takes besides its entries, at most.
const FRAME_BYTES: usize = 16;
/// Bytes of a hub id, an incarnation and a number, at most.
const ENTRY_BYTES: usize = 20 + 5 + 10 + 10;

/// Where the digest that we send stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Digest {
    Done,
    /// What comes after this hub is still to be sent.
    After(Option<HubId>),
}

/// The state of one link.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The hub at its other end; `None` for a link that only spoke to us so far.
    pub(super) hub: Option<HubId>,
    pub(super) due: BTreeSet<HubId>,
    digest: Digest,
    /// Up to where the other end's digest has come.
    pub(super) heard: Option<HubId>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Outbox {
            hub: None,
            due: BTreeSet::new(),
            digest: Digest::Done,
            heard: None,
        }
    }

    pub(super) fn start_digest(&mut self, hub: HubId) {
        self.hub = Some(hub);
        self.digest = Digest::After(None);
    }

    pub(super) fn has_pending(&self) -> bool {
        self.digest != Digest::Done || !self.due.is_empty()
    }

    /// The next part of the digest, of at most `max_bytes` but at least one entry; empty as the last.
    pub(super) fn next_digest(
        &mut self,
        records: &BTreeMap<HubId, Stored>,
        max_bytes: usize,
    ) -> Option<Vec<DigestEntry>> {
        let Digest::After(after) = self.digest else {
            return None;
        };
        let room = (max_bytes.saturating_sub(FRAME_BYTES) / ENTRY_BYTES).max(1);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let part: Vec<DigestEntry> = records
            .range((start, Bound::Unbounded))
            .take(room)
            .map(|(_, stored)| stored.record.digest())
            .collect();
        self.digest = match part.last() {
            Some(entry) => Digest::After(Some(entry.hub)),
            None => Digest::Done,
        };
        Some(part)
    }

    /// Takes due records for one frame: as many as fit, but at least one if there is any.
    pub(super) fn next_records(
        &mut self,
        find: impl Fn(HubId) -> Option<LinkRecord>,
        max_bytes: usize,
    ) -> Vec<LinkRecord> {
        let mut room = max_bytes.saturating_sub(FRAME_BYTES);
        let mut records = Vec::new();
        while let Some(hub) = self.due.pop_first() {
            let Some(record) = find(hub) else {
                continue;
            };
            let size = record_bytes(&record);
            if size > room && !records.is_empty() {
                self.due.insert(hub);
                break;
            }
            room = room.saturating_sub(size);
            records.push(record);
        }
        records
    }
}

/// The most bytes that a record can take in a frame.
pub(super) fn record_bytes(record: &LinkRecord) -> usize {
    let urls: usize = record.urls.iter().map(|url| url.len() + 2).sum();
    ENTRY_BYTES + 8 + urls + record.region.len() + record.neighbours.len() * 23
}
