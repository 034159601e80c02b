//! Queries of the directory: holders, members, neighbourhoods, and parts of a set for a subscriber.
//!
//! Changes nothing; the data path calls it behind the read lock.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::exchange::Found;
use super::super::ids::{ClaimNo, Hlc, HubId, Incarnation, NetworkKey, PeerId, mix};
use super::log::Step;
use super::quota::Usage;
use super::store::{ClaimRecord, NetworkNo, OriginNo, RecordNo};
use super::{ClaimView, Directory, Network, OriginSet, OriginState, SetPart, Shown};
use crate::frames::{Change, Claim, Entry};

impl Directory {
    /// The network's number and the winner of the id in it.
    pub(super) fn winner(&self, network: NetworkNo, peer: &PeerId) -> Option<RecordNo> {
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

    /// The order of claims: the winner is the highest. The claim's number decides only among claims of one hub with one
    /// clock. No honest hub makes two of these, but without the number the order in the table would decide, and change
    /// as other claims are inserted and removed.
    pub(super) fn rank(&self, no: RecordNo) -> (Hlc, HubId, ClaimNo) {
        let record = self.store.record(no);
        (record.hlc, self.origin_hub(record.origin), record.claim())
    }

    pub(super) fn origin_visible(&self, no: OriginNo) -> bool {
        self.origin_at(no).is_some_and(|origin| origin.visible)
    }

    pub(super) fn origin_hub(&self, no: OriginNo) -> HubId {
        self.origin_at(no).map_or(self.me, |origin| origin.hub)
    }

    pub(super) fn origin_at(&self, no: OriginNo) -> Option<&OriginSet> {
        self.origins.get(no as usize)?.as_ref()
    }

    pub(super) fn origin(&self, hub: &HubId) -> Option<&OriginSet> {
        self.origin_at(*self.by_hub.get(hub)?)
    }

    /// The set that has a hub's claims in this network.
    pub(super) fn origin_in(&self, hub: &HubId, network: &NetworkKey) -> Option<&OriginSet> {
        self.part_at(hub, network).or_else(|| self.origin(hub))
    }

    /// The set of this network alone.
    pub(super) fn part_at(&self, hub: &HubId, network: &NetworkKey) -> Option<&OriginSet> {
        self.origin_at(self.set_no(hub, Some(network))?)
    }

    pub(super) fn network_named(&self, network: &NetworkKey) -> Option<&Network> {
        self.network_at(*self.by_name.get(network)?)
    }

    pub(super) fn own_mut(&mut self) -> &mut OriginSet {
        let no = self.own_no as usize;
        self.origins[no]
            .as_mut()
            .unwrap_or_else(|| unreachable!("this hub's own set is never dropped"))
    }

    pub(super) fn network_at(&self, no: NetworkNo) -> Option<&Network> {
        self.networks.get(no as usize)?.as_ref()
    }

    /// The hub whose directory this is.
    pub fn me(&self) -> HubId {
        self.me
    }

    /// The state of a hub's set; `None` if it is not here.
    pub fn origin_state(&self, hub: &HubId) -> Option<OriginState> {
        self.origin(hub).map(OriginSet::state)
    }

    /// The state of each hub's whole set that is here, in no meaningful order.
    pub fn origin_states(&self) -> impl Iterator<Item = (HubId, OriginState)> {
        let origins = self.by_hub.iter();
        origins.filter_map(|(hub, no)| Some((*hub, self.origin_at(*no)?.state())))
    }

    /// The hubs whose whole set is here, by id.
    pub fn hubs(&self) -> Vec<HubId> {
        let mut hubs: Vec<HubId> = self.by_hub.keys().copied().collect();
        hubs.sort_unstable();
        hubs
    }

    /// A hub's claims, in no order that means anything.
    pub fn claims_of(&self, hub: &HubId) -> Vec<ClaimView> {
        let sets = self.by_hub.get(hub).copied().into_iter();
        let sets = sets.chain(self.parts_of(hub).map(|(_, no)| no));
        let origins = sets.filter_map(|no| self.origin_at(no));
        let claims = origins.flat_map(|origin| {
            let records = origin.log.records();
            records.map(move |no| self.view(origin, no))
        });
        claims.collect()
    }

    pub(super) fn view(&self, origin: &OriginSet, no: RecordNo) -> ClaimView {
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

    pub(super) fn key_of(&self, no: NetworkNo) -> NetworkKey {
        match self.network_at(no) {
            Some(network) => network.key.clone(),
            None => unreachable!("a record keeps its network"),
        }
    }

    /// The claim that holds the id now, shown or quiet, and its clock.
    pub fn holder(&self, network: &NetworkKey, peer: &PeerId) -> Option<(Found, Hlc)> {
        let network = *self.by_name.get(network)?;
        let no = self.winner(network, peer)?;
        Some((self.found(no), self.store.record(no).hlc))
    }

    pub(super) fn found(&self, no: RecordNo) -> Found {
        let record = self.store.record(no);
        Found {
            hub: self.origin_hub(record.origin),
            claim: record.claim(),
            seq: self
                .origin_at(record.origin)
                .map_or(0, |origin| origin.log.seq_of(record.slot)),
        }
    }

    pub(super) fn shown(&self, no: RecordNo) -> Option<Shown> {
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
            .map(ClaimRecord::claim)
            .collect()
    }

    /// The data of a peer, if it is there and shown.
    pub fn shown_data(&self, network: &NetworkKey, peer: &PeerId) -> Option<Option<Bytes>> {
        let network = *self.by_name.get(network)?;
        let shown = self.shown(self.winner(network, peer)?)?;
        Some(shown.data)
    }

    /// The number of shown claims of a network, contested and hidden ones included: an upper bound that costs nothing.
    pub fn size(&self, network: &NetworkKey) -> usize {
        self.network_named(network)
            .map_or(0, |network| network.members.len())
    }

    /// The number of shown claims of a network at hubs that can be reached, contested ones included.
    pub fn reachable(&self, network: &NetworkKey) -> usize {
        self.network_named(network)
            .map_or(0, |network| self.visible_members(network))
    }

    /// The shown peers of a network, each id once, without `except`.
    pub fn members(&self, network: &NetworkKey, except: &PeerId) -> Vec<(PeerId, Option<Bytes>)> {
        self.shown_winners(network)
            .map(|member| self.store.record(member))
            .filter(|record| record.peer != *except)
            .map(|record| (record.peer.clone(), record.data.as_deref().cloned()))
            .collect()
    }

    /// Whether a network of at most `most` members has space for this id: it has fewer others than that.
    pub fn has_capacity(&self, network: &NetworkKey, peer: &PeerId, most: usize) -> bool {
        self.size(network) < most || self.members(network, peer).len() < most
    }

    /// The other hubs in reach that show a peer in this network, each once, in no meaningful order.
    pub fn hubs_in(&self, network: &NetworkKey) -> Vec<HubId> {
        let Some(network) = self.network_named(network) else {
            return Vec::new();
        };
        let mut origins = BTreeSet::new();
        for member in &network.members {
            let origin = self.store.record(*member).origin;
            if origin != self.own_no && self.origin_visible(origin) {
                origins.insert(origin);
            }
        }
        origins.into_iter().map(|no| self.origin_hub(no)).collect()
    }

    /// The shown ids of a network, `most` of them at most.
    pub fn ids(&self, network: &NetworkKey, most: usize) -> Vec<PeerId> {
        self.shown_winners(network)
            .take(most)
            .map(|member| self.store.record(member).peer.clone())
            .collect()
    }

    /// This hub's claims that joined a network after `most` others, by (clock, hub id). The others are counted once,
    /// and not sorted: other hubs can make them many.
    pub fn own_excess_members(&self, network: &NetworkKey, most: usize) -> Vec<ClaimNo> {
        let is_own = |no: &RecordNo| self.store.record(*no).origin == self.own_no;
        let mut own: Vec<_> = self
            .own_in(network)
            .map(|no| (self.rank(no), 0_usize, self.store.record(no).claim()))
            .collect();
        own.sort_unstable();
        for other in self.shown_winners(network).filter(|no| !is_own(no)) {
            let rank = self.rank(other);
            let after = own.partition_point(|(own, ..)| *own < rank);
            // The next of our own claims after it counts it; counts are summed up below.
            if let Some((_, before, _)) = own.get_mut(after) {
                *before += 1;
            }
        }
        let mut before = 0;
        let late = own
            .into_iter()
            .zip(0..)
            .filter_map(|((_, more, claim), own_before)| {
                before += more;
                (before + own_before >= most).then_some(claim)
            });
        late.collect()
    }

    /// This hub's claims that a network shows, in no order.
    fn own_in(&self, network: &NetworkKey) -> impl Iterator<Item = RecordNo> {
        let winners = self.shown_winners(network);
        winners.filter(|no| self.store.record(*no).origin == self.own_no)
    }

    /// The records that a network shows, one for each id, in no order.
    pub(super) fn shown_winners(&self, network: &NetworkKey) -> impl Iterator<Item = RecordNo> {
        let known = self.by_name.get(network);
        let known = known.and_then(|no| Some((*no, self.network_at(*no)?)));
        known.into_iter().flat_map(move |(no, network)| {
            let winners = network.members.iter().copied();
            winners.filter(move |member| self.is_winner(no, *member))
        })
    }

    pub(super) fn is_winner(&self, network: NetworkNo, no: RecordNo) -> bool {
        self.winner(network, &self.store.record(no).peer) == Some(no)
    }

    /// Up to `limit` shown peers of a large network: half of them nearest to `peer` by XOR of the hashes of their ids,
    /// half spread by a hash of it. Every hub with the same directory answers the same.
    pub fn neighbourhood(&self, network: &NetworkKey, peer: &PeerId, limit: usize) -> Vec<PeerId> {
        let Some((no, places)) = self
            .by_name
            .get(network)
            .and_then(|no| Some((*no, self.network_at(*no)?.positions.as_ref()?)))
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
    pub(super) fn take_nearest(
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

    /// The number of shown and visible peers; contested ones count for each holder.
    pub fn peers(&self) -> usize {
        let whole = self.by_hub.values().filter_map(|no| self.origin_at(*no));
        let whole = whole.filter(|origin| origin.visible);
        let elsewhere = self
            .lines
            .sizes()
            .filter(|(hub, _)| !self.by_hub.contains_key(hub));
        whole.map(OriginSet::peers).sum::<usize>() + elsewhere.map(|(_, size)| size).sum::<usize>()
    }

    /// The number of peers of a hub that are visible; within a quarter, if only the lines of its networks are known.
    pub fn peers_of(&self, hub: &HubId) -> usize {
        match self.origin(hub) {
            Some(origin) if origin.visible => origin.peers(),
            Some(_) => 0,
            None => self.lines.size_of(hub),
        }
    }

    /// Whether claims of this incarnation of a hub are here, all of them or those of some networks.
    pub(crate) fn keeps_claims_of(&self, hub: &HubId, incarnation: Incarnation) -> bool {
        let states = self.sets_of(hub).into_iter();
        let mut states = states.filter_map(|set| self.set_state(&set));
        states.any(|state| state.complete && state.incarnation == incarnation)
    }

    /// Whether this hub knows a hub's peers and shows them: all of them, or the lines of its networks.
    pub fn is_shown_of(&self, hub: &HubId) -> bool {
        let lines = self.lines.sets().and_then(|all| all.origin(hub));
        let known = self.origin(hub).or(lines);
        known.is_some_and(|origin| origin.visible)
    }

    /// The number of peers at this hub.
    pub fn own_peers(&self) -> usize {
        let own = self.origin_at(self.own_no);
        let no_peers = own.map_or(0, |own| own.used.no_peers);
        self.own.len().saturating_sub(no_peers)
    }

    /// The networks, each with its number of shown peers.
    pub fn networks(&self) -> Vec<(NetworkKey, usize)> {
        let here = self.networks.iter().flatten();
        let here = here.map(|network| (network.key.clone(), self.visible_members(network)));
        let mut networks: BTreeMap<NetworkKey, usize> =
            here.filter(|(_, members)| *members > 0).collect();
        for (hub, network, size) in self.lines.all() {
            if self.set_no(&hub, None).is_none() && self.set_no(&hub, Some(&network)).is_none() {
                *networks.entry(network).or_default() += size;
            }
        }
        networks.into_iter().collect()
    }

    /// The number of networks that show a peer. Unlike [`networks`](Self::networks) it copies nothing.
    pub fn network_count(&self) -> usize {
        let networks = self.networks.iter().flatten();
        let here = networks.filter(|network| self.is_shown(network)).count();
        here + self.lines.networks().filter(|key| !self.shows(key)).count()
    }

    /// Whether any peer is visible in a network here.
    pub(super) fn shows(&self, network: &NetworkKey) -> bool {
        self.network_named(network)
            .is_some_and(|network| self.is_shown(network))
    }

    fn is_shown(&self, network: &Network) -> bool {
        let visible = |no: &RecordNo| self.origin_visible(self.store.record(*no).origin);
        match self.hidden_origins {
            0 => !network.members.is_empty(),
            _ => network.members.iter().any(visible),
        }
    }

    pub(super) fn visible_members(&self, network: &Network) -> usize {
        if self.hidden_origins == 0 {
            return network.members.len();
        }
        let visible = |no: &&RecordNo| self.origin_visible(self.store.record(**no).origin);
        network.members.iter().filter(visible).count()
    }

    /// The usage of the claims of all other hubs.
    pub fn used(&self) -> Usage {
        self.used
    }

    /// The most claims, and the most bytes of data, of any other hub.
    pub fn most_used(&self) -> Usage {
        self.used_by
            .values()
            .fold(Usage::default(), |most, used| Usage {
                claims: most.claims.max(used.claims),
                bytes: most.bytes.max(used.bytes),
                no_peers: most.no_peers.max(used.no_peers),
            })
    }

    /// How many claims of other hubs were refused: there was no space for them, or no honest hub makes such claims.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The number of records, of all hubs, visible or not.
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
    ) -> Option<SetPart> {
        let origin = self.origin(hub)?;
        Some(self.part_of(
            origin,
            origin.seq,
            origin.log.walk(cursor),
            cursor,
            budget,
            size,
        ))
    }

    /// As many steps from `cursor` to `head` as the budget allows.
    pub(super) fn part_of<'a>(
        &self,
        origin: &OriginSet,
        head: u64,
        walk: impl Iterator<Item = Step<'a>>,
        cursor: u64,
        budget: usize,
        size: impl Fn(&Entry) -> usize,
    ) -> SetPart {
        let mut part = SetPart {
            entries: Vec::new(),
            to: head,
            last: true,
        };
        let mut used = 0;
        for step in walk {
            if matches!(step, Step::Unknown { .. })
                && origin.hub != self.me
                && self.mutants.unknown_change_not_passed_on()
            {
                continue;
            }
            let entry = self.entry(origin, step);
            used += size(&entry);
            if used > budget && !part.entries.is_empty() {
                part.to = part.entries.last().map_or(cursor, |entry| entry.seq);
                part.last = false;
                break;
            }
            part.entries.push(entry);
        }
        part
    }

    pub(super) fn entry(&self, origin: &OriginSet, step: Step<'_>) -> Entry {
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
            Step::Unknown { seq, change } => Entry {
                seq,
                change: Change::Unknown(change.clone()),
            },
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

    /// Below this sequence number a hub's retractions are forgotten: a subscriber with a lower one must start from an
    /// empty set.
    pub fn floor(&self, hub: &HubId) -> u64 {
        self.origin(hub).map_or(0, |origin| origin.log.floor())
    }
}
