//! The claims themselves, packed: a record is 64 bytes, found by key through a table of 4-byte indexes.
//!
//! Owns the records and the key index; knows nothing of origins' sequences, of visibility or of winners. Called by
//! `directory` alone. Records are in chunks, so that the store grows without copying them.

use bytes::Bytes;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::super::ids::{ClaimNo, Hlc, PeerId};

/// The index of a record in the store.
pub(super) type RecordNo = u32;
/// The index of a network in the list of networks.
pub(super) type NetworkNo = u32;
/// The index of an origin in the list of origins.
pub(super) type OriginNo = u32;

const CHUNK: usize = 4096;
const QUIET: u64 = 1;

/// One claim. `claim` has the quiet flag in its lowest bit, which keeps the record at 64 bytes.
#[derive(Debug)]
pub(super) struct ClaimRecord {
    pub peer: PeerId,
    pub hlc: Hlc,
    pub data: Option<Box<Bytes>>,
    claim: u64,
    pub network: NetworkNo,
    pub origin: OriginNo,
    /// Its index in the origin's log.
    pub slot: u32,
    /// Its index in the network's member list; only shown records have one.
    pub member: u32,
}

/// Not in a member list.
pub(super) const NO_MEMBER: u32 = u32::MAX;

impl ClaimRecord {
    pub fn new(peer: PeerId, network: NetworkNo, origin: OriginNo, claim: ClaimNo) -> Self {
        ClaimRecord {
            peer,
            hlc: Hlc::default(),
            data: None,
            claim: claim.0 << 1,
            network,
            origin,
            slot: u32::MAX,
            member: NO_MEMBER,
        }
    }

    pub fn claim(&self) -> ClaimNo {
        ClaimNo(self.claim >> 1)
    }

    pub fn quiet(&self) -> bool {
        self.claim & QUIET != 0
    }

    pub fn set_quiet(&mut self, quiet: bool) {
        self.claim = (self.claim & !QUIET) | u64::from(quiet);
    }
}

#[derive(Debug)]
pub(super) struct Store {
    chunks: Vec<Vec<ClaimRecord>>,
    free: Vec<RecordNo>,
    index: HashTable<RecordNo>,
    hasher: SeedableRandomState,
}

impl Store {
    pub fn new(seed: u64) -> Self {
        Store {
            chunks: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: SeedableRandomState::with_seed(seed, foldhash::SharedSeed::global_fixed()),
        }
    }

    pub fn record(&self, no: RecordNo) -> &ClaimRecord {
        &self.chunks[no as usize / CHUNK][no as usize % CHUNK]
    }

    pub fn record_mut(&mut self, no: RecordNo) -> &mut ClaimRecord {
        &mut self.chunks[no as usize / CHUNK][no as usize % CHUNK]
    }

    fn hash(hasher: &SeedableRandomState, network: NetworkNo, peer: &PeerId) -> u64 {
        hasher.hash_one((network, peer))
    }

    /// Every record of this key: one, except for contested ids.
    pub fn find<'a>(
        &'a self,
        network: NetworkNo,
        peer: &'a PeerId,
    ) -> impl Iterator<Item = RecordNo> + 'a {
        let hash = Self::hash(&self.hasher, network, peer);
        self.index.iter_hash(hash).copied().filter(move |no| {
            let record = self.record(*no);
            record.network == network && record.peer == *peer
        })
    }

    /// Every record of a network, quiet or not, in no order. Reads the whole store.
    pub fn of_network(&self, network: NetworkNo) -> impl Iterator<Item = &ClaimRecord> {
        let all = self.index.iter().map(|no| self.record(*no));
        all.filter(move |record| record.network == network)
    }

    pub fn insert(&mut self, record: ClaimRecord) -> RecordNo {
        let hash = Self::hash(&self.hasher, record.network, &record.peer);
        let no = self.place(record);
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.index.insert_unique(hash, no, |no| {
            let record = &chunks[*no as usize / CHUNK][*no as usize % CHUNK];
            Self::hash(hasher, record.network, &record.peer)
        });
        no
    }

    fn place(&mut self, record: ClaimRecord) -> RecordNo {
        if let Some(no) = self.free.pop() {
            *self.record_mut(no) = record;
            return no;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk grows as needed: most hubs never fill it.
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(record);
        u32::try_from(last * CHUNK + self.chunks[last].len() - 1).unwrap_or(u32::MAX)
    }

    /// Removes the record. Its number may be used for another at once.
    pub fn remove(&mut self, no: RecordNo) {
        let record = self.record(no);
        let hash = Self::hash(&self.hasher, record.network, &record.peer);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == no) {
            entry.remove();
        }
        let record = self.record_mut(no);
        record.data = None;
        record.peer = PeerId::Hex([0; 20]);
        self.free.push(no);
        self.give_back();
    }

    /// An empty store gives its memory back: a hub that lost its mesh does not need it.
    fn give_back(&mut self) {
        let placed = self.chunks.iter().map(Vec::len).sum::<usize>();
        if placed > CHUNK && self.free.len() == placed {
            self.chunks = Vec::new();
            self.free = Vec::new();
            self.index = HashTable::new();
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_64_bytes() {
        assert_eq!(size_of::<ClaimRecord>(), 64);
    }

    #[test]
    fn what_was_inserted_is_found_until_it_is_removed() {
        let mut store = Store::new(7);
        let peers: Vec<PeerId> = (0..10_000)
            .map(|n| PeerId::Text(format!("peer {n}").into()))
            .collect();
        let numbers: Vec<RecordNo> = peers
            .iter()
            .map(|peer| store.insert(ClaimRecord::new(peer.clone(), 3, 0, ClaimNo(1))))
            .collect();
        for (peer, no) in peers.iter().zip(&numbers) {
            assert_eq!(store.find(3, peer).collect::<Vec<_>>(), [*no]);
            assert_eq!(store.find(4, peer).count(), 0);
        }
        for no in &numbers {
            store.remove(*no);
        }
        assert_eq!(store.len(), 0);
        assert_eq!(store.find(3, &peers[0]).count(), 0);
    }
}
