//! Who is where: every hub's claims, as far as this hub knows them, and the winner of each id.
//!
//! Each hub is the only author of its claims, so an [`Origin`]'s set here is always exactly what its author
//! had at one sequence number. The core writes (its own claims, and deltas from neighbours); the data path
//! only reads, behind one read lock. Nothing here knows of links, timers or sessions.
//!
//! - *Visible*: a claim counts only while its origin is visible, which the core decides from the topology.
//! - *Winner* of (network, id): the visible claim with the highest (clock, hub id). A pure function of what
//!   is visible, whatever the order of arrival.
//! - *Interest*: changes are reported only for networks in which this hub holds a claim of its own.

mod log;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;
use hashbrown::HashMap;

use super::exchange::{Found, Resolve, Vouch};
use super::ids::{
    ClaimNo, Hlc, HubId, Incarnation, LeaveReason, Moment, NetworkKey, PeerId, mix, stable_hash,
};
use super::mutants::Mutants;
use crate::mesh::frames::{Change, Claim, Entry};
use log::{Log, Step};
use store::{NO_MEMBER, NetworkNo, OriginNo, Record, RecordNo, Store};

pub use log::Tombstone;

/// The most networks with a name of their own.
const MAX_NETWORKS: usize = 4_000_000;

/// What one hub claims, as this hub has it.
#[derive(Debug)]
struct Origin {
    hub: HubId,
    incarnation: Incarnation,
    /// Every change up to this one is applied.
    seq: u64,
    /// A first set has arrived whole.
    complete: bool,
    visible: bool,
    log: Log,
    /// The wrapping sum of the claims' hashes, for audits.
    hash: u64,
}

#[derive(Debug)]
struct Network {
    key: NetworkKey,
    hash: u64,
    /// Shown records of any origin, visible or not, in no order.
    members: Vec<RecordNo>,
    /// All records, quiet ones too: the network goes with the last.
    records: u32,
    /// Records of this hub: there is interest while there are any.
    own: u32,
    /// The members by place, kept only while the network is large enough for it to be asked for.
    places: Option<BTreeSet<(u64, RecordNo)>>,
}

/// What others may see of the holder of an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The holding hub.
    pub hub: HubId,
    /// Its claim.
    pub claim: ClaimNo,
    /// What the peer shows of itself.
    pub data: Option<Bytes>,
}

/// How the holder of an id changed, in a network of interest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyChange {
    /// The network.
    pub network: NetworkKey,
    /// The id.
    pub peer: PeerId,
    /// The shown holder before; none if there was none, or a quiet one.
    pub before: Option<Shown>,
    /// The shown holder now.
    pub after: Option<Shown>,
    /// Somebody, shown or quiet, holds the id now, and another claim (or none) held it before.
    pub appeared: bool,
    /// This hub's claims that lost the id to another hub's by this change.
    pub lost: Vec<ClaimNo>,
    /// Why the one before is gone.
    pub reason: LeaveReason,
}

/// What is known of an origin's set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OriginState {
    /// The life that the claims belong to.
    pub incarnation: Incarnation,
    /// Every change up to this one is here.
    pub seq: u64,
    /// A first set has arrived whole.
    pub complete: bool,
    /// Its claims count.
    pub visible: bool,
    /// How many claims it has.
    pub claims: usize,
    /// The wrapping sum of their hashes.
    pub hash: u64,
}

/// One claim of a set, as tests and audits compare them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClaimView {
    /// Its network.
    pub network: NetworkKey,
    /// Its peer.
    pub peer: PeerId,
    /// Its number.
    pub claim: ClaimNo,
    /// Its sequence number.
    pub seq: u64,
    /// Its clock.
    pub hlc: Hlc,
    /// Whether it is hidden from other peers.
    pub quiet: bool,
    /// What it shows.
    pub data: Option<Bytes>,
}

/// A part of a set for a subscriber: the entries, and whether they reach the head.
#[derive(Debug)]
pub struct Part {
    /// In rising order.
    pub entries: Vec<Entry>,
    /// What the receiver has with them.
    pub to: u64,
    /// Nothing more is missing.
    pub last: bool,
}

/// The table of all claims.
#[derive(Debug)]
pub struct Directory {
    me: HubId,
    store: Store,
    networks: Vec<Option<Network>>,
    free_networks: Vec<NetworkNo>,
    by_name: HashMap<NetworkKey, NetworkNo>,
    origins: Vec<Option<Origin>>,
    by_hub: HashMap<HubId, OriginNo>,
    own: HashMap<ClaimNo, RecordNo>,
    own_no: OriginNo,
    changes: Vec<KeyChange>,
    /// From how many members on a network keeps them by place.
    large: usize,
    hidden_origins: usize,
    mutants: Mutants,
}

impl Directory {
    /// The directory of the hub `me`, empty. `seed` keeps the tables' hashes from being guessed; a network of
    /// more than `large` members also keeps them in order of place.
    pub fn new(
        me: HubId,
        incarnation: Incarnation,
        seed: u64,
        large: usize,
        mutants: Mutants,
    ) -> Self {
        let mut directory = Directory {
            me,
            store: Store::new(seed),
            networks: Vec::new(),
            free_networks: Vec::new(),
            by_name: HashMap::new(),
            origins: Vec::new(),
            by_hub: HashMap::new(),
            own: HashMap::new(),
            own_no: 0,
            changes: Vec::new(),
            large,
            hidden_origins: 0,
            mutants,
        };
        directory.own_no = directory.origin_no(me, incarnation);
        let own = directory.own_mut();
        own.complete = true;
        own.visible = true;
        directory
    }

    // ---- Reading -------------------------------------------------------------------------------------

    /// The network's number and the winner of the id in it.
    fn winner(&self, network: NetworkNo, peer: &PeerId) -> Option<RecordNo> {
        let mut found: Option<RecordNo> = None;
        for no in self.store.find(network, peer) {
            let record = self.store.record(no);
            if !self.origin_visible(record.origin) {
                continue;
            }
            if found.is_none_or(|best| self.rank(no) > self.rank(best)) {
                found = Some(no);
            }
        }
        found
    }

    fn rank(&self, no: RecordNo) -> (Hlc, HubId) {
        let record = self.store.record(no);
        (record.hlc, self.origin_hub(record.origin))
    }

    fn origin_visible(&self, no: OriginNo) -> bool {
        self.origin_at(no).is_some_and(|origin| origin.visible)
    }

    fn origin_hub(&self, no: OriginNo) -> HubId {
        self.origin_at(no).map_or(self.me, |origin| origin.hub)
    }

    fn origin_at(&self, no: OriginNo) -> Option<&Origin> {
        self.origins.get(no as usize)?.as_ref()
    }

    fn origin(&self, hub: &HubId) -> Option<&Origin> {
        self.origin_at(*self.by_hub.get(hub)?)
    }

    fn own_mut(&mut self) -> &mut Origin {
        let no = self.own_no as usize;
        self.origins[no]
            .as_mut()
            .unwrap_or_else(|| unreachable!("this hub's own set is never dropped"))
    }

    fn network_at(&self, no: NetworkNo) -> Option<&Network> {
        self.networks.get(no as usize)?.as_ref()
    }

    /// What is known of a hub's set; `None` if nothing is.
    pub fn origin_state(&self, hub: &HubId) -> Option<OriginState> {
        self.origin(hub).map(|origin| OriginState {
            incarnation: origin.incarnation,
            seq: origin.seq,
            complete: origin.complete,
            visible: origin.visible,
            claims: origin.log.live(),
            hash: origin.hash,
        })
    }

    /// The hubs of which there is a set, by id.
    pub fn hubs(&self) -> Vec<HubId> {
        let mut hubs: Vec<HubId> = self.by_hub.keys().copied().collect();
        hubs.sort_unstable();
        hubs
    }

    /// A hub's claims, in no order that means anything.
    pub fn claims_of(&self, hub: &HubId) -> Vec<ClaimView> {
        let Some(origin) = self.origin(hub) else {
            return Vec::new();
        };
        origin
            .log
            .records()
            .map(|no| self.view(origin, no))
            .collect()
    }

    fn view(&self, origin: &Origin, no: RecordNo) -> ClaimView {
        let record = self.store.record(no);
        ClaimView {
            network: self.key_of(record.network),
            peer: record.peer.clone(),
            claim: record.claim(),
            seq: origin.log.seq_of(record.slot),
            hlc: record.hlc,
            quiet: record.quiet(),
            data: record.data.as_deref().cloned(),
        }
    }

    fn key_of(&self, no: NetworkNo) -> NetworkKey {
        match self.network_at(no) {
            Some(network) => network.key.clone(),
            None => unreachable!("a record keeps its network"),
        }
    }

    /// Who holds the id now, whether shown or quiet, and its clock.
    pub fn holder(&self, network: &NetworkKey, peer: &PeerId) -> Option<(Found, Hlc)> {
        let network = *self.by_name.get(network)?;
        let no = self.winner(network, peer)?;
        Some((self.found(no), self.store.record(no).hlc))
    }

    fn found(&self, no: RecordNo) -> Found {
        let record = self.store.record(no);
        Found {
            hub: self.origin_hub(record.origin),
            claim: record.claim(),
            seq: self
                .origin_at(record.origin)
                .map_or(0, |origin| origin.log.seq_of(record.slot)),
        }
    }

    fn shown(&self, no: RecordNo) -> Option<Shown> {
        let record = self.store.record(no);
        (!record.quiet()).then(|| Shown {
            hub: self.origin_hub(record.origin),
            claim: record.claim(),
            data: record.data.as_deref().cloned(),
        })
    }

    /// This hub's shown claims of an id.
    pub fn own_holders(&self, network: &NetworkKey, peer: &PeerId) -> Vec<ClaimNo> {
        let Some(network) = self.by_name.get(network) else {
            return Vec::new();
        };
        self.store
            .find(*network, peer)
            .map(|no| self.store.record(no))
            .filter(|record| record.origin == self.own_no && !record.quiet())
            .map(Record::claim)
            .collect()
    }

    /// What a peer shows of itself, if it is there and shown.
    pub fn shown_data(&self, network: &NetworkKey, peer: &PeerId) -> Option<Option<Bytes>> {
        let network = *self.by_name.get(network)?;
        let shown = self.shown(self.winner(network, peer)?)?;
        Some(shown.data)
    }

    /// How many shown claims a network has, contested and hidden ones included: an upper bound, at once.
    pub fn size(&self, network: &NetworkKey) -> usize {
        self.by_name
            .get(network)
            .and_then(|no| self.network_at(*no))
            .map_or(0, |network| network.members.len())
    }

    /// The shown peers of a network, each id once, `except` left out.
    pub fn members(&self, network: &NetworkKey, except: &PeerId) -> Vec<(PeerId, Option<Bytes>)> {
        let Some((no, network)) = self
            .by_name
            .get(network)
            .and_then(|no| Some((*no, self.network_at(*no)?)))
        else {
            return Vec::new();
        };
        network
            .members
            .iter()
            .filter(|member| self.is_winner(no, **member))
            .map(|member| self.store.record(*member))
            .filter(|record| record.peer != *except)
            .map(|record| (record.peer.clone(), record.data.as_deref().cloned()))
            .collect()
    }

    fn is_winner(&self, network: NetworkNo, no: RecordNo) -> bool {
        self.winner(network, &self.store.record(no).peer) == Some(no)
    }

    /// Up to `limit` shown peers of a large network: half of them nearest to `peer` by XOR of places, half
    /// spread by a hash of it. Every hub with the same directory answers the same.
    pub fn neighbourhood(&self, network: &NetworkKey, peer: &PeerId, limit: usize) -> Vec<PeerId> {
        let Some((no, places)) = self
            .by_name
            .get(network)
            .and_then(|no| Some((*no, self.network_at(*no)?.places.as_ref()?)))
        else {
            return self
                .members(network, peer)
                .into_iter()
                .map(|(peer, _)| peer)
                .take(limit)
                .collect();
        };
        let here = peer.place();
        let mut chosen = BTreeSet::new();
        self.take_nearest(no, places, here, peer, limit.div_ceil(2), &mut chosen);
        let mut point = mix(here);
        for _ in 0..2 * limit {
            if chosen.len() >= limit {
                break;
            }
            point = mix(point.wrapping_add(0x9e37_79b9_7f4a_7c15));
            let spread = places.range((point, 0)..).chain(places.iter()).take(4);
            if let Some(found) = spread.map(|(_, no)| *no).find(|candidate| {
                self.store.record(*candidate).peer != *peer && self.is_winner(no, *candidate)
            }) {
                chosen.insert(self.store.record(found).peer.clone());
            }
        }
        chosen.into_iter().collect()
    }

    /// The `count` members nearest to `here` by XOR: subtrees of the binary trie over the places, nearest
    /// first, each a contiguous range.
    fn take_nearest(
        &self,
        network: NetworkNo,
        places: &BTreeSet<(u64, RecordNo)>,
        here: u64,
        except: &PeerId,
        count: usize,
        chosen: &mut BTreeSet<PeerId>,
    ) {
        let accept = |no: RecordNo, chosen: &mut BTreeSet<PeerId>| {
            let peer = &self.store.record(no).peer;
            if peer != except && self.is_winner(network, no) {
                chosen.insert(peer.clone());
            }
        };
        for (_, no) in places.range((here, 0)..=(here, RecordNo::MAX)).take(count) {
            accept(*no, chosen);
        }
        for bit in 0..64 {
            // The places that share all bits above `bit` with `here` and differ in it.
            let low = (here ^ (1 << bit)) & !((1_u64 << bit) - 1);
            let high = low | ((1_u64 << bit) - 1);
            for (_, no) in places.range((low, 0)..=(high, RecordNo::MAX)) {
                if chosen.len() >= count {
                    return;
                }
                accept(*no, chosen);
            }
        }
    }

    /// How many peers are shown and visible, contested ones counted for each holder.
    pub fn peers(&self) -> usize {
        self.origins
            .iter()
            .flatten()
            .filter(|origin| origin.visible)
            .map(|origin| origin.log.live())
            .sum()
    }

    /// How many peers this hub holds.
    pub fn own_peers(&self) -> usize {
        self.own.len()
    }

    /// The networks and how many peers each shows.
    pub fn networks(&self) -> Vec<(NetworkKey, usize)> {
        let mut networks: Vec<(NetworkKey, usize)> = self
            .networks
            .iter()
            .flatten()
            .map(|network| (network.key.clone(), self.visible_members(network)))
            .filter(|(_, members)| *members > 0)
            .collect();
        networks.sort_unstable();
        networks
    }

    /// How many networks show a peer. Unlike [`networks`](Self::networks) it copies nothing.
    pub fn network_count(&self) -> usize {
        let visible = |no: &RecordNo| self.origin_visible(self.store.record(*no).origin);
        let networks = self.networks.iter().flatten();
        networks
            .filter(|network| match self.hidden_origins {
                0 => !network.members.is_empty(),
                _ => network.members.iter().any(visible),
            })
            .count()
    }

    fn visible_members(&self, network: &Network) -> usize {
        if self.hidden_origins == 0 {
            return network.members.len();
        }
        let visible = |no: &&RecordNo| self.origin_visible(self.store.record(**no).origin);
        network.members.iter().filter(visible).count()
    }

    /// How many records there are, of all hubs, visible or not.
    pub fn records(&self) -> usize {
        self.store.len()
    }

    /// The part of a hub's set after `cursor`, of at most `budget` bytes as `size` measures them.
    pub fn part(
        &self,
        hub: &HubId,
        cursor: u64,
        budget: usize,
        size: impl Fn(&Entry) -> usize,
    ) -> Option<Part> {
        let origin = self.origin(hub)?;
        let mut part = Part {
            entries: Vec::new(),
            to: origin.seq,
            last: true,
        };
        let mut used = 0;
        for step in origin.log.walk(cursor) {
            let entry = self.entry(origin, step);
            used += size(&entry);
            if used > budget && !part.entries.is_empty() {
                part.to = part.entries.last().map_or(cursor, |entry| entry.seq);
                part.last = false;
                break;
            }
            part.entries.push(entry);
        }
        Some(part)
    }

    fn entry(&self, origin: &Origin, step: Step<'_>) -> Entry {
        match step {
            Step::Live { seq, record } => {
                let view = self.view(origin, record);
                Entry {
                    seq,
                    change: Change::Claim(Claim {
                        network: view.network,
                        peer: view.peer,
                        claim: view.claim,
                        hlc: view.hlc,
                        quiet: view.quiet,
                        data: view.data,
                    }),
                }
            }
            Step::Gone(tombstone) => Entry {
                seq: tombstone.seq,
                change: Change::Gone {
                    network: tombstone.network.clone(),
                    peer: tombstone.peer.clone(),
                    claim: tombstone.claim,
                    reason: tombstone.reason,
                },
            },
        }
    }

    /// Below this sequence number a hub's retractions are forgotten: who has less must start anew.
    pub fn floor(&self, hub: &HubId) -> u64 {
        self.origin(hub).map_or(0, |origin| origin.log.floor())
    }

    // ---- Writing: this hub's own claims --------------------------------------------------------------

    /// Claims an id for this hub, or changes what its claim shows. Returns the sequence number.
    pub fn author(&mut self, claim: &Claim) -> u64 {
        let seq = self.own_mut().seq + 1;
        self.put(self.own_no, seq, claim);
        self.own_mut().seq = seq;
        seq
    }

    /// Takes a claim of this hub back. False if there is none of that number.
    pub fn retract(&mut self, now: Moment, claim: ClaimNo, reason: LeaveReason) -> bool {
        let Some(no) = self.own.get(&claim).copied() else {
            return false;
        };
        let record = self.store.record(no);
        let (network, peer) = (self.key_of(record.network), record.peer.clone());
        let seq = self.own_mut().seq + 1;
        self.take(no, reason);
        let forget = self.mutants.tombstones_forgotten();
        let own = self.own_mut();
        own.seq = seq;
        own.log.bury(
            Tombstone {
                seq,
                at: now,
                network,
                peer,
                claim,
                reason,
            },
            forget,
        );
        true
    }

    /// The sequence number of this hub's claim of that number; 0 if there is none.
    pub fn own_seq(&self, claim: ClaimNo) -> u64 {
        self.own.get(&claim).map_or(0, |no| self.found(*no).seq)
    }

    /// This hub's claim of that number.
    pub fn own_claim(&self, claim: ClaimNo) -> Option<ClaimView> {
        let no = *self.own.get(&claim)?;
        Some(self.view(self.origin_at(self.own_no)?, no))
    }

    /// This hub's shown claims in a network.
    pub fn own_members(&self, network: &NetworkKey) -> Vec<ClaimNo> {
        let Some(network) = self
            .by_name
            .get(network)
            .and_then(|no| self.network_at(*no))
        else {
            return Vec::new();
        };
        let mut own: Vec<ClaimNo> = network
            .members
            .iter()
            .map(|no| self.store.record(*no))
            .filter(|record| record.origin == self.own_no)
            .map(Record::claim)
            .collect();
        own.sort_unstable();
        own
    }

    /// This hub begins a new life: the claims stay, under the new incarnation.
    pub fn set_own_incarnation(&mut self, incarnation: Incarnation) {
        self.own_mut().incarnation = incarnation;
    }

    // ---- Writing: what neighbours told ---------------------------------------------------------------

    /// Makes room for a hub's claims of this life, dropping those of an earlier one.
    pub fn begin(&mut self, hub: HubId, incarnation: Incarnation) {
        if self
            .origin(&hub)
            .is_some_and(|origin| origin.incarnation != incarnation)
        {
            self.drop_origin(&hub, LeaveReason::HubLost);
        }
        self.origin_no(hub, incarnation);
    }

    /// Applies changes that follow what is here. Those at or below the present sequence number are skipped.
    /// Returns how many were new.
    pub fn apply(&mut self, now: Moment, hub: &HubId, entries: Vec<Entry>, to: u64) -> usize {
        let Some(no) = self.by_hub.get(hub).copied() else {
            return 0;
        };
        let Some(mut seq) = self.origin_at(no).map(|origin| origin.seq) else {
            return 0;
        };
        let mut fresh = 0;
        for entry in entries {
            if entry.seq <= seq {
                continue;
            }
            seq = entry.seq;
            fresh += 1;
            match entry.change {
                Change::Claim(claim) => self.put(no, seq, &claim),
                Change::Gone {
                    network,
                    peer,
                    claim,
                    reason,
                } => {
                    let tombstone = Tombstone {
                        seq,
                        at: now,
                        network,
                        peer,
                        claim,
                        reason,
                    };
                    self.gone(no, tombstone);
                }
                Change::Unknown => {}
            }
        }
        if let Some(origin) = self.origins.get_mut(no as usize).and_then(Option::as_mut) {
            origin.seq = origin.seq.max(to).max(seq);
        }
        fresh
    }

    fn gone(&mut self, origin: OriginNo, tombstone: Tombstone) {
        let found = self.by_name.get(&tombstone.network).and_then(|network| {
            self.store.find(*network, &tombstone.peer).find(|no| {
                let record = self.store.record(*no);
                record.origin == origin && record.claim() == tombstone.claim
            })
        });
        if let Some(no) = found {
            self.take(no, tombstone.reason);
        }
        let forget = self.mutants.tombstones_forgotten();
        if let Some(origin) = self
            .origins
            .get_mut(origin as usize)
            .and_then(Option::as_mut)
        {
            origin.log.bury(tombstone, forget);
        }
    }

    /// A first set is whole: it may be shown, and knows of no retraction before `seq`.
    pub fn complete(&mut self, hub: &HubId, seq: u64) {
        if let Some(origin) = self.origin_mut(hub) {
            origin.complete = true;
            origin.log.set_floor(seq);
        }
    }

    /// Replaces a hub's set, in one step, by the one that `entries` build from nothing.
    pub fn replace(&mut self, now: Moment, hub: &HubId, entries: Vec<Entry>, to: u64) {
        let Some(no) = self.by_hub.get(hub).copied() else {
            return;
        };
        let entries = rising(entries);
        let mut keep: HashMap<ClaimNo, Claim> = HashMap::new();
        for entry in &entries {
            match &entry.change {
                Change::Claim(claim) => drop(keep.insert(claim.claim, claim.clone())),
                Change::Gone { claim, .. } => drop(keep.remove(claim)),
                Change::Unknown => {}
            }
        }
        let stale: Vec<RecordNo> = self.origin_at(no).map_or_else(Vec::new, |origin| {
            // A record that stays must be one that is put again: else no log would have it.
            let kept = |no: &RecordNo| {
                let record = self.store.record(*no);
                keep.get(&record.claim()).is_some_and(|claim| {
                    claim.peer == record.peer && claim.network == self.key_of(record.network)
                })
            };
            origin.log.records().filter(|no| !kept(no)).collect()
        });
        for record in stale {
            self.take(record, LeaveReason::Closed);
        }
        if let Some(origin) = self.origin_mut(hub) {
            // What stays is put again at its own sequence number: the log must be free for it.
            origin.seq = 0;
        }
        self.restart_log(no);
        self.apply(now, hub, entries, to);
        self.complete(hub, to);
    }

    /// Empties an origin's log, leaving its records to be put again.
    fn restart_log(&mut self, no: OriginNo) {
        let Some(origin) = self.origins.get_mut(no as usize).and_then(Option::as_mut) else {
            return;
        };
        let records: Vec<RecordNo> = origin.log.records().collect();
        origin.log = Log::default();
        for record in records {
            self.store.record_mut(record).slot = u32::MAX;
        }
    }

    /// Shows or hides a hub's claims.
    pub fn set_visible(&mut self, hub: &HubId, visible: bool, reason: LeaveReason) {
        let Some(no) = self.by_hub.get(hub).copied() else {
            return;
        };
        let Some(origin) = self.origin_at(no) else {
            return;
        };
        if origin.visible == visible {
            return;
        }
        let affected: Vec<RecordNo> = origin
            .log
            .records()
            .filter(|no| self.of_interest(self.store.record(*no).network))
            .collect();
        let before: Vec<_> = affected.iter().map(|no| self.winner_of(*no)).collect();
        self.flip(no, visible);
        if self.mutants.winner_not_recomputed() {
            return;
        }
        for (record, before) in affected.into_iter().zip(before) {
            let record = self.store.record(record);
            let (network, peer) = (record.network, record.peer.clone());
            self.report(network, &peer, before, reason);
        }
    }

    fn flip(&mut self, no: OriginNo, visible: bool) {
        if let Some(origin) = self.origins.get_mut(no as usize).and_then(Option::as_mut) {
            origin.visible = visible;
            if visible {
                self.hidden_origins = self.hidden_origins.saturating_sub(1);
            } else {
                self.hidden_origins += 1;
            }
        }
    }

    /// Forgets a hub and all its claims.
    pub fn drop_origin(&mut self, hub: &HubId, reason: LeaveReason) {
        let Some(no) = self.by_hub.get(hub).copied() else {
            return;
        };
        if no == self.own_no {
            return;
        }
        self.set_visible(hub, false, reason);
        let records: Vec<RecordNo> = self
            .origin_at(no)
            .map_or_else(Vec::new, |origin| origin.log.records().collect());
        for record in records {
            self.take(record, reason);
        }
        self.origins[no as usize] = None;
        self.by_hub.remove(hub);
        self.hidden_origins = self.hidden_origins.saturating_sub(1);
    }

    /// What changed since this was last asked.
    pub fn take_changes(&mut self) -> Vec<KeyChange> {
        std::mem::take(&mut self.changes)
    }

    /// Drops retractions that are too old to be of use to a subscriber.
    pub fn prune(&mut self, now: Moment) {
        for origin in self.origins.iter_mut().flatten() {
            origin.log.prune(now);
        }
    }

    // ---- Records ------------------------------------------------------------------------------------

    fn origin_mut(&mut self, hub: &HubId) -> Option<&mut Origin> {
        let no = *self.by_hub.get(hub)?;
        self.origins.get_mut(no as usize)?.as_mut()
    }

    fn origin_no(&mut self, hub: HubId, incarnation: Incarnation) -> OriginNo {
        if let Some(no) = self.by_hub.get(&hub) {
            return *no;
        }
        let origin = Origin {
            hub,
            incarnation,
            seq: 0,
            complete: false,
            visible: false,
            log: Log::default(),
            hash: 0,
        };
        let place = self
            .origins
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.origins.len());
        if place == self.origins.len() {
            self.origins.push(None);
        }
        self.origins[place] = Some(origin);
        if hub != self.me {
            self.hidden_origins += 1;
        }
        let no = u32::try_from(place).unwrap_or(u32::MAX);
        self.by_hub.insert(hub, no);
        no
    }

    fn network_no(&mut self, key: &NetworkKey) -> Option<NetworkNo> {
        if let Some(no) = self.by_name.get(key) {
            return Some(*no);
        }
        if self.by_name.len() >= MAX_NETWORKS {
            return None;
        }
        let no = self.free_networks.pop().unwrap_or_else(|| {
            self.networks.push(None);
            u32::try_from(self.networks.len() - 1).unwrap_or(u32::MAX)
        });
        self.networks[no as usize] = Some(Network {
            key: key.clone(),
            hash: stable_hash(key.as_str().as_bytes()),
            members: Vec::new(),
            records: 0,
            own: 0,
            places: None,
        });
        self.by_name.insert(key.clone(), no);
        Some(no)
    }

    fn of_interest(&self, network: NetworkNo) -> bool {
        self.network_at(network)
            .is_some_and(|network| network.own > 0)
    }

    fn winner_of(&self, no: RecordNo) -> Option<Held> {
        let record = self.store.record(no);
        self.held(record.network, &record.peer)
    }

    fn held(&self, network: NetworkNo, peer: &PeerId) -> Option<Held> {
        self.winner(network, peer).map(|no| Held {
            hub: self.origin_hub(self.store.record(no).origin),
            claim: self.store.record(no).claim(),
            shown: self.shown(no),
        })
    }

    /// Puts a claim in, or in place of the same origin's older form of it.
    fn put(&mut self, origin: OriginNo, seq: u64, claim: &Claim) {
        let Some(network) = self.network_no(&claim.network) else {
            return;
        };
        let own = origin == self.own_no;
        let interest = own || self.of_interest(network);
        let before = if interest {
            self.held(network, &claim.peer)
        } else {
            None
        };
        let existing = self.store.find(network, &claim.peer).find(|no| {
            let record = self.store.record(*no);
            record.origin == origin && record.claim() == claim.claim
        });
        let no = match existing {
            Some(no) => {
                self.unlog(no);
                no
            }
            None => self.place(origin, network, claim),
        };
        self.fill(no, claim);
        self.enlog(no, origin, seq);
        self.set_member(no, !claim.quiet);
        if interest {
            self.report(network, &claim.peer, before, LeaveReason::Closed);
        }
    }

    fn place(&mut self, origin: OriginNo, network: NetworkNo, claim: &Claim) -> RecordNo {
        let no = self.store.insert(Record::new(
            claim.peer.clone(),
            network,
            origin,
            claim.claim,
        ));
        if let Some(network) = self.networks[network as usize].as_mut() {
            network.records += 1;
            network.own += u32::from(origin == self.own_no);
        }
        if origin == self.own_no {
            self.own.insert(claim.claim, no);
        }
        no
    }

    fn fill(&mut self, no: RecordNo, claim: &Claim) {
        let record = self.store.record_mut(no);
        record.hlc = claim.hlc;
        record.set_quiet(claim.quiet);
        record.data = claim.data.clone().map(Box::new);
    }

    fn hash_of(&self, no: RecordNo) -> u64 {
        let record = self.store.record(no);
        let network = self
            .network_at(record.network)
            .map_or(0, |network| network.hash);
        let data = record.data.as_ref().map_or(0, |data| stable_hash(data));
        let identity = mix(network ^ record.peer.place().rotate_left(17)) ^ mix(record.hlc.0);
        mix(identity ^ mix(record.claim().0) ^ data ^ u64::from(record.quiet()))
    }

    fn enlog(&mut self, no: RecordNo, origin: OriginNo, seq: u64) {
        let hash = self.hash_of(no);
        let Some(origin) = self
            .origins
            .get_mut(origin as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        origin.hash = origin.hash.wrapping_add(hash);
        let store = &mut self.store;
        let slot = origin
            .log
            .push(seq, no, |moved, slot| store.record_mut(moved).slot = slot);
        store.record_mut(no).slot = slot;
    }

    fn unlog(&mut self, no: RecordNo) {
        let hash = self.hash_of(no);
        let record = self.store.record(no);
        let (origin, slot) = (record.origin, record.slot);
        if let Some(origin) = self
            .origins
            .get_mut(origin as usize)
            .and_then(Option::as_mut)
        {
            origin.hash = origin.hash.wrapping_sub(hash);
            origin.log.vacate(slot);
        }
    }

    fn set_member(&mut self, no: RecordNo, shown: bool) {
        let record = self.store.record(no);
        let (place, network) = (record.peer.place(), record.network);
        let member = record.member;
        if shown == (member != NO_MEMBER) {
            return;
        }
        let large = self.large;
        let Some(network) = self.networks[network as usize].as_mut() else {
            return;
        };
        if shown {
            self.store.record_mut(no).member =
                u32::try_from(network.members.len()).unwrap_or(NO_MEMBER);
            network.members.push(no);
            if let Some(places) = &mut network.places {
                places.insert((place, no));
            } else if network.members.len() > large {
                let placed = |no: &RecordNo| (self.store.record(*no).peer.place(), *no);
                network.places = Some(network.members.iter().map(placed).collect());
            }
            return;
        }
        network.members.swap_remove(member as usize);
        if let Some(swapped) = network.members.get(member as usize) {
            self.store.record_mut(*swapped).member = member;
        }
        self.store.record_mut(no).member = NO_MEMBER;
        if let Some(places) = &mut network.places {
            places.remove(&(place, no));
            if network.members.len() < large / 2 {
                network.places = None;
            }
        }
        if network.members.capacity() > 4 * network.members.len() + 16 {
            network.members.shrink_to(2 * network.members.len());
        }
    }

    /// Takes a record out, wherever it stands.
    fn take(&mut self, no: RecordNo, reason: LeaveReason) {
        let record = self.store.record(no);
        let (network, origin, claim) = (record.network, record.origin, record.claim());
        let peer = record.peer.clone();
        let interest = self.of_interest(network);
        let before = if interest {
            self.held(network, &peer)
        } else {
            None
        };
        self.unlog(no);
        self.set_member(no, false);
        self.store.remove(no);
        if origin == self.own_no {
            self.own.remove(&claim);
        }
        if interest {
            self.report(network, &peer, before, reason);
        }
        self.leave_network(network, origin);
    }

    fn leave_network(&mut self, no: NetworkNo, origin: OriginNo) {
        let own = origin == self.own_no;
        let Some(network) = self.networks[no as usize].as_mut() else {
            return;
        };
        network.records -= 1;
        network.own -= u32::from(own);
        if network.records == 0 {
            let key = network.key.clone();
            self.by_name.remove(&key);
            self.networks[no as usize] = None;
            self.free_networks.push(no);
        }
    }

    /// Compares the holder of an id with the one before, and notes what others must hear of it.
    fn report(
        &mut self,
        network: NetworkNo,
        peer: &PeerId,
        before: Option<Held>,
        reason: LeaveReason,
    ) {
        if self.mutants.receiver_deletes_loser() {
            self.delete_losers(network, peer);
        }
        let after = self.held(network, peer);
        let lost = self.lost(network, peer, after.as_ref());
        if before == after && lost.is_empty() {
            return;
        }
        let appeared = after.as_ref().is_some_and(|after| {
            before
                .as_ref()
                .is_none_or(|before| (before.hub, before.claim) != (after.hub, after.claim))
        });
        self.changes.push(KeyChange {
            network: self.key_of(network),
            peer: peer.clone(),
            before: before.and_then(|held| held.shown),
            after: after.and_then(|held| held.shown),
            appeared,
            lost,
            reason,
        });
    }

    /// A mutant's deed: another hub's claim is dropped because it lost.
    fn delete_losers(&mut self, network: NetworkNo, peer: &PeerId) {
        let Some(winner) = self.winner(network, peer) else {
            return;
        };
        let losers: Vec<RecordNo> = self
            .store
            .find(network, peer)
            .filter(|no| *no != winner && self.store.record(*no).origin != self.own_no)
            .collect();
        for no in losers {
            let origin = self.store.record(no).origin;
            self.unlog(no);
            self.set_member(no, false);
            self.store.remove(no);
            self.leave_network(network, origin);
        }
    }

    fn lost(&self, network: NetworkNo, peer: &PeerId, winner: Option<&Held>) -> Vec<ClaimNo> {
        let Some(winner) = winner else {
            return Vec::new();
        };
        self.store
            .find(network, peer)
            .map(|no| self.store.record(no))
            .filter(|record| record.origin == self.own_no)
            .map(Record::claim)
            .filter(|claim| (self.me, *claim) != (winner.hub, winner.claim))
            .collect()
    }
}

/// The entries that will be applied: whatever does not rise is skipped.
fn rising(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seq = 0;
    entries.retain(|entry| {
        let rises = entry.seq > seq;
        seq = seq.max(entry.seq);
        rises
    });
    entries
}

/// Who holds an id.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    hub: HubId,
    claim: ClaimNo,
    shown: Option<Shown>,
}

impl Resolve for Directory {
    fn resolve(&self, network: &NetworkKey, peer: &PeerId) -> Option<Found> {
        let network = *self.by_name.get(network)?;
        self.winner(network, peer).map(|no| self.found(no))
    }

    fn vouches(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
        seq: u64,
    ) -> Vouch {
        let Some(origin) = self.origin(hub) else {
            return Vouch::NotYet;
        };
        let held = self.by_name.get(network).is_some_and(|network| {
            self.store.find(*network, peer).any(|no| {
                let record = self.store.record(no);
                record.claim() == claim && self.origin_hub(record.origin) == *hub
            })
        });
        if held {
            Vouch::Holds
        } else if origin.seq < seq || !origin.complete {
            Vouch::NotYet
        } else {
            Vouch::Gone
        }
    }

    fn left_lately(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
    ) -> bool {
        self.origin(hub)
            .is_some_and(|origin| origin.log.remembers(network, peer, claim))
    }
}
