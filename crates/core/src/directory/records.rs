//! The records' bookkeeping: putting one in and taking one out of the store, its origin's log, its network's
//! members and this hub's own claims, all at once; and noting what others must hear of it.

use super::super::ids::{
    ClaimNo, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, mix, stable_hash,
};
use super::log::Log;
use super::quota::Used;
use super::store::{ClaimRecord, NO_MEMBER, NetworkNo, OriginNo, RecordNo};
use super::{Directory, IdHolder, KeyChange, MAX_NETWORKS, MAX_SAME, Network, OriginSet};
use crate::frames::Claim;

impl Directory {
    pub(super) fn origin_mut(&mut self, hub: &HubId) -> Option<&mut OriginSet> {
        self.origin_at_mut(*self.by_hub.get(hub)?)
    }

    pub(super) fn origin_at_mut(&mut self, no: OriginNo) -> Option<&mut OriginSet> {
        self.origins.get_mut(no as usize)?.as_mut()
    }

    pub(super) fn origin_no(&mut self, hub: HubId, incarnation: Incarnation) -> OriginNo {
        if let Some(no) = self.by_hub.get(&hub) {
            return *no;
        }
        let no = self.add_origin(hub, None, incarnation);
        self.by_hub.insert(hub, no);
        no
    }

    pub(super) fn add_origin(
        &mut self,
        hub: HubId,
        of: Option<NetworkKey>,
        incarnation: Incarnation,
    ) -> OriginNo {
        let origin = OriginSet {
            hub,
            of,
            incarnation,
            seq: 0,
            complete: false,
            visible: false,
            log: Log::default(),
            hash: 0,
            used: Used::default(),
            views: None,
        };
        if hub != self.me {
            self.hidden_origins += 1;
        }
        let no = self.free_origins.pop().unwrap_or_else(|| {
            self.origins.push(None);
            u32::try_from(self.origins.len() - 1).unwrap_or(u32::MAX)
        });
        self.origins[no as usize] = Some(origin);
        no
    }

    pub(super) fn network_no(&mut self, key: &NetworkKey) -> Option<NetworkNo> {
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

    pub(super) fn of_interest(&self, network: NetworkNo) -> bool {
        let own = |network: &Network| network.own > 0 || network.key.is_of_bans();
        self.keen || self.network_at(network).is_some_and(own)
    }

    pub(super) fn winner_of(&self, no: RecordNo) -> Option<IdHolder> {
        let record = self.store.record(no);
        self.held(record.network, &record.peer)
    }

    pub(super) fn held(&self, network: NetworkNo, peer: &PeerId) -> Option<IdHolder> {
        self.winner(network, peer).map(|no| IdHolder {
            hub: self.origin_hub(self.store.record(no).origin),
            claim: self.store.record(no).claim(),
            shown: self.shown(no),
        })
    }

    /// Puts a claim in, or in place of the same origin's older form of it.
    pub(super) fn put(&mut self, origin: OriginNo, seq: u64, claim: &Claim) {
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
        if !own && !self.takes(origin, seq, network, claim, existing) {
            self.left_out += 1;
            // Its older form is gone, and in no log if the whole set is being replaced.
            if let Some(no) = existing {
                self.take(no, LeaveReason::Closed);
            }
            return self.leave_unless_used(network);
        }
        let no = match existing {
            Some(no) => {
                self.unlog(no);
                no
            }
            None => self.place(origin, network, claim),
        };
        self.note_touched(network);
        self.fill(no, claim);
        self.enlog(no, origin, seq);
        self.set_member(no, !claim.quiet);
        if interest {
            self.report(network, &claim.peer, before, LeaveReason::Closed);
        }
    }

    /// Whether there is space for another hub's claim, and it is one that an honest hub could have made: no further
    /// from its others than a log reaches, and not the fifth of one id. A hub retracts the older of its own claims of
    /// an id at once, so it has two for a moment at most.
    fn takes(
        &mut self,
        origin: OriginNo,
        seq: u64,
        network: NetworkNo,
        claim: &Claim,
        existing: Option<RecordNo>,
    ) -> bool {
        let peer = &claim.peer;
        let of_origin = |no: &RecordNo| self.store.record(*no).origin == origin;
        let same = self.store.find(network, peer).filter(of_origin).count();
        if existing.is_none() && same >= MAX_SAME && !self.mutants.one_id_many_times() {
            return false;
        }
        let known = self.origins.get_mut(origin as usize);
        let Some(known) = known.and_then(Option::as_mut) else {
            return false;
        };
        // A claim that replaces its older form counts in full beside it: this errs on the safe side, by one claim.
        let more = Used {
            claims: usize::from(existing.is_none()),
            bytes: claim.data.as_ref().map_or(0, |data| data.len()),
            bans: 0,
        };
        let of_hub = self.used_by.get(&known.hub).copied().unwrap_or_default();
        let fits = self.quota.allow(more, of_hub, self.used);
        if !fits && !self.mutants.claims_without_end() {
            return false;
        }
        let store = &mut self.store;
        let moved = |moved, slot| store.record_mut(moved).slot = slot;
        known.log.reaches(seq, moved) || self.mutants.numbers_that_reach_too_far()
    }

    /// A network that was named for a claim which was left out goes again, if nobody else is in it.
    fn leave_unless_used(&mut self, no: NetworkNo) {
        if self
            .network_at(no)
            .is_some_and(|network| network.records == 0)
        {
            self.free_network(no);
        }
    }

    fn free_network(&mut self, no: NetworkNo) {
        if let Some(network) = self.networks.get_mut(no as usize).and_then(Option::take) {
            self.by_name.remove(&network.key);
            self.free_networks.push(no);
        }
    }

    pub(super) fn place(
        &mut self,
        origin: OriginNo,
        network: NetworkNo,
        claim: &Claim,
    ) -> RecordNo {
        let no = self.store.insert(ClaimRecord::new(
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

    pub(super) fn fill(&mut self, no: RecordNo, claim: &Claim) {
        let record = self.store.record_mut(no);
        record.hlc = claim.hlc;
        record.set_quiet(claim.quiet);
        record.data = claim.data.clone().map(Box::new);
    }

    fn use_of(&self, no: RecordNo) -> Used {
        let record = self.store.record(no);
        let network = self.network_at(record.network);
        let of_bans = network.is_some_and(|network| network.key.is_of_bans());
        Used {
            claims: 1,
            bytes: record.data.as_ref().map_or(0, |data| data.len()),
            bans: usize::from(of_bans),
        }
    }

    pub(super) fn hash_of(&self, no: RecordNo) -> u64 {
        let record = self.store.record(no);
        let network = self
            .network_at(record.network)
            .map_or(0, |network| network.hash);
        let data = record.data.as_ref().map_or(0, |data| stable_hash(data));
        let identity = mix(network ^ record.peer.place().rotate_left(17)) ^ mix(record.hlc.0);
        mix(identity ^ mix(record.claim().0) ^ data ^ u64::from(record.quiet()))
    }

    /// An origin takes up more.
    pub(super) fn use_more(&mut self, no: OriginNo, used: Used) {
        let own = no == self.own_no;
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        origin.used.add(used);
        let hub = origin.hub;
        if !own {
            self.used.add(used);
            self.used_by.entry(hub).or_default().add(used);
        }
    }

    /// An origin takes up less.
    pub(super) fn use_less(&mut self, no: OriginNo, used: Used) {
        let own = no == self.own_no;
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        origin.used.take(used);
        let hub = origin.hub;
        if own {
            return;
        }
        self.used.take(used);
        if let Some(of_hub) = self.used_by.get_mut(&hub) {
            of_hub.take(used);
            if *of_hub == Used::default() {
                self.used_by.remove(&hub);
            }
        }
    }

    pub(super) fn enlog(&mut self, no: RecordNo, origin: OriginNo, seq: u64) {
        let hash = self.hash_of(no);
        let used = self.use_of(no);
        self.use_more(origin, used);
        let Some(origin) = self
            .origins
            .get_mut(origin as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        origin.hash = origin.hash.wrapping_add(hash);
        if let Some(views) = &mut origin.views
            && let Some(network) = self
                .networks
                .get(self.store.record(no).network as usize)
                .and_then(Option::as_ref)
        {
            views.put(&network.key, seq, no, origin.seq);
        }
        let store = &mut self.store;
        let slot = origin
            .log
            .push(seq, no, |moved, slot| store.record_mut(moved).slot = slot);
        store.record_mut(no).slot = slot;
    }

    pub(super) fn unlog(&mut self, no: RecordNo) {
        let hash = self.hash_of(no);
        let used = self.use_of(no);
        let record = self.store.record(no);
        let (origin, slot, network) = (record.origin, record.slot, record.network);
        self.use_less(origin, used);
        let Some(origin) = self
            .origins
            .get_mut(origin as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        if let Some(views) = &mut origin.views
            && let Some(network) = self.networks.get(network as usize).and_then(Option::as_ref)
        {
            views.take(&network.key, origin.log.seq_of(slot));
        }
        origin.hash = origin.hash.wrapping_sub(hash);
        origin.log.vacate(slot);
    }

    pub(super) fn set_member(&mut self, no: RecordNo, shown: bool) {
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
            } else if network.members.len() > large && network.key.tells_of_peers() {
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
    pub(super) fn take(&mut self, no: RecordNo, reason: LeaveReason) {
        let record = self.store.record(no);
        let (network, origin, claim) = (record.network, record.origin, record.claim());
        let peer = record.peer.clone();
        let interest = self.of_interest(network);
        let before = if interest {
            self.held(network, &peer)
        } else {
            None
        };
        self.note_touched(network);
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

    fn note_touched(&mut self, network: NetworkNo) {
        let key = self.networks.get(network as usize).and_then(Option::as_ref);
        if let (Some(touched), Some(network)) = (&mut self.touched, key) {
            touched.push(network.key.clone());
        }
    }

    pub(super) fn leave_network(&mut self, no: NetworkNo, origin: OriginNo) {
        let own = origin == self.own_no;
        let Some(network) = self.networks[no as usize].as_mut() else {
            return;
        };
        network.records -= 1;
        network.own -= u32::from(own);
        if network.records == 0 {
            self.free_network(no);
        }
    }

    /// Compares the holder of an id with the one before, and notes what others must hear of it.
    pub(super) fn report(
        &mut self,
        network: NetworkNo,
        peer: &PeerId,
        before: Option<IdHolder>,
        reason: LeaveReason,
    ) {
        if self.mutants.receiver_deletes_loser() {
            self.delete_losers(network, peer);
        }
        let after = self.held(network, peer);
        let lost = self.lost(network, peer, after.as_ref());
        // What becomes of a room hangs on each of the claims that hold its record, not on the winner alone, and what becomes
        // of a ban as well.
        let of_bans = self.network_at(network);
        let of_bans = of_bans.is_some_and(|network| network.key.is_of_bans());
        let is_record = of_bans || *peer == super::super::api::record_id();
        if before == after && lost.is_empty() && !is_record {
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
    pub(super) fn delete_losers(&mut self, network: NetworkNo, peer: &PeerId) {
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

    pub(super) fn lost(
        &self,
        network: NetworkNo,
        peer: &PeerId,
        winner: Option<&IdHolder>,
    ) -> Vec<ClaimNo> {
        let Some(winner) = winner else {
            return Vec::new();
        };
        self.store
            .find(network, peer)
            .map(|no| self.store.record(no))
            .filter(|record| record.origin == self.own_no)
            .map(ClaimRecord::claim)
            .filter(|claim| (self.me, *claim) != (winner.hub, winner.claim))
            .collect()
    }
}
