//! Inserts and removes one record (a claim, as the store has it) in all tables: the store, the log of its origin, the
//! members of its network, and this hub's own claims. Reports the change to the id.
//!
//! Order rules:
//! - The holder before a change is read before any table changes; [`Directory::report`] compares it with the holder after.
//! - [`Directory::remove_from_log`] comes before a record's content changes, [`Directory::add_to_log`] after: both compute
//!   hash and usage from the content of that moment, and what one adds the other has to subtract.
//! - [`Directory::drop_from_network`] comes last, once for each record that [`Directory::insert_record`] inserted: it may
//!   free the network, and everything before it looks the network up.

use super::super::ids::{
    ClaimNo, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, mix, stable_hash,
};
use super::log::Log;
use super::quota::Usage;
use super::store::{ClaimRecord, NO_MEMBER, NetworkNo, OriginNo, RecordNo};
use super::{Directory, IdChange, IdHolder, MAX_NETWORKS, MAX_SAME, Network, OriginSet};
use crate::frames::Claim;

impl Directory {
    pub(super) fn origin_mut(&mut self, hub: &HubId) -> Option<&mut OriginSet> {
        self.origin_at_mut(*self.by_hub.get(hub)?)
    }

    pub(super) fn origin_at_mut(&mut self, no: OriginNo) -> Option<&mut OriginSet> {
        self.origins.get_mut(no as usize)?.as_mut()
    }

    /// The number of a hub's whole set. Creates the set if there is none.
    pub(super) fn origin_no_or_new(&mut self, hub: HubId, incarnation: Incarnation) -> OriginNo {
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
        only_network: Option<NetworkKey>,
        incarnation: Incarnation,
    ) -> OriginNo {
        let origin = OriginSet {
            hub,
            only_network,
            incarnation,
            seq: 0,
            complete: false,
            visible: false,
            log: Log::default(),
            hash: 0,
            used: Usage::default(),
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

    /// The number of a network. Creates the network if there is none; `None` if there are too many.
    pub(super) fn network_no_or_new(&mut self, key: &NetworkKey) -> Option<NetworkNo> {
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
            positions: None,
        });
        self.by_name.insert(key.clone(), no);
        Some(no)
    }

    /// Whether changes in this network are reported.
    pub(super) fn of_interest(&self, network: NetworkNo) -> bool {
        let own = |network: &Network| network.own > 0 || network.key.is_of_bans();
        self.all_of_interest || self.network_at(network).is_some_and(own)
    }

    /// The holder of the id that this record claims.
    pub(super) fn holder_by(&self, no: RecordNo) -> Option<IdHolder> {
        let record = self.store.record(no);
        self.id_holder(record.network, &record.peer)
    }

    /// The holder of an id: the winner among its records.
    pub(super) fn id_holder(&self, network: NetworkNo, peer: &PeerId) -> Option<IdHolder> {
        self.winner(network, peer).map(|no| IdHolder {
            hub: self.origin_hub(self.store.record(no).origin),
            claim: self.store.record(no).claim(),
            shown: self.shown(no),
        })
    }

    /// Inserts a claim. If its origin already has an older form of it, replaces that.
    pub(super) fn put(&mut self, origin: OriginNo, seq: u64, claim: &Claim) {
        let Some(network) = self.network_no_or_new(&claim.network) else {
            return;
        };
        let own = origin == self.own_no;
        let interest = own || self.of_interest(network);
        let before = if interest {
            self.id_holder(network, &claim.peer)
        } else {
            None
        };
        let existing = self.store.find(network, &claim.peer).find(|no| {
            let record = self.store.record(*no);
            record.origin == origin && record.claim() == claim.claim
        });
        if !own && !self.may_insert(origin, seq, network, claim, existing) {
            self.left_out += 1;
            // The origin has replaced the older form, so that is no longer true. While a whole set is replaced, the new log
            // does not have the older form either.
            if let Some(no) = existing {
                self.remove(no, LeaveReason::Closed);
            }
            return self.free_network_if_unused(network);
        }
        let no = match existing {
            Some(no) => {
                self.remove_from_log(no);
                no
            }
            None => self.insert_record(origin, network, claim),
        };
        self.note_touched(network);
        self.fill(no, claim);
        self.add_to_log(no, origin, seq);
        self.set_member(no, !claim.quiet);
        self.note_shown_room(no);
        if interest {
            self.report(network, &claim.peer, before, LeaveReason::Closed);
        }
    }

    /// Whether another hub's claim may be inserted: there is space for it, its number is close enough to the others in its
    /// origin's log, and the origin has fewer than `MAX_SAME` claims to this id. An honest hub has at most two, and only for
    /// a moment: it retracts the older one at once.
    ///
    /// Moves slots of the log when the log needs space for the number ([`Log::reaches`]).
    fn may_insert(
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
        // The data of a replaced claim is counted as well as the new data. So the limit is too strict by at most the data
        // of one claim.
        let more = Usage {
            claims: usize::from(existing.is_none()),
            bytes: claim.data.as_ref().map_or(0, |data| data.len()),
            no_peers: 0,
        };
        let of_hub = self.used_by.get(&known.hub).copied().unwrap_or_default();
        let fits = self.quota.allow(more, of_hub, self.used);
        if !fits && !self.mutants.claims_without_end() {
            return false;
        }
        let store = &mut self.store;
        let on_move = |record, slot| store.record_mut(record).slot = slot;
        known.log.reaches(seq, on_move) || self.mutants.numbers_that_reach_too_far()
    }

    /// Frees a network that was created only for a claim that was then refused.
    fn free_network_if_unused(&mut self, no: NetworkNo) {
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

    /// Inserts a record without content: into the store, its network's count, and this hub's own claims.
    pub(super) fn insert_record(
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

    /// Sets the content of a record. It must not be in a log.
    pub(super) fn fill(&mut self, no: RecordNo, claim: &Claim) {
        let record = self.store.record_mut(no);
        record.hlc = claim.hlc;
        record.set_quiet(claim.quiet);
        record.data = claim.data.clone().map(Box::new);
    }

    fn usage_of(&self, no: RecordNo) -> Usage {
        let record = self.store.record(no);
        let network = self.network_at(record.network);
        let is_no_peer = network.is_some_and(|network| {
            network.key.is_of_bans() || (network.key.is_room() && self.is_room_record(no))
        });
        Usage {
            claims: 1,
            bytes: record.data.as_ref().map_or(0, |data| data.len()),
            no_peers: usize::from(is_no_peer),
        }
    }

    /// The hash of one claim. Hubs compare sums of these hashes (`ControlFrame::Audit`), so this is part of the wire format:
    /// every hub has to compute the same.
    pub(super) fn hash_of(&self, no: RecordNo) -> u64 {
        let record = self.store.record(no);
        let network = self
            .network_at(record.network)
            .map_or(0, |network| network.hash);
        let data = record.data.as_ref().map_or(0, |data| stable_hash(data));
        let identity = mix(network ^ record.peer.place().rotate_left(17)) ^ mix(record.hlc.0);
        mix(identity ^ mix(record.claim().0) ^ data ^ u64::from(record.quiet()))
    }

    /// Adds to the usage of an origin.
    pub(super) fn use_more(&mut self, no: OriginNo, used: Usage) {
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

    /// Subtracts from the usage of an origin.
    pub(super) fn use_less(&mut self, no: OriginNo, used: Usage) {
        let own = no == self.own_no;
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        origin.used.subtract(used);
        let hub = origin.hub;
        if own {
            return;
        }
        self.used.subtract(used);
        if let Some(of_hub) = self.used_by.get_mut(&hub) {
            of_hub.subtract(used);
            if *of_hub == Usage::default() {
                self.used_by.remove(&hub);
            }
        }
    }

    /// Adds a record to its origin's log, views, hash and usage. Called after its content is set.
    pub(super) fn add_to_log(&mut self, no: RecordNo, origin: OriginNo, seq: u64) {
        let hash = self.hash_of(no);
        let used = self.usage_of(no);
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

    /// Removes a record from its origin's log, views, hash and usage. Called while its content is still the one that was
    /// added.
    pub(super) fn remove_from_log(&mut self, no: RecordNo) {
        let hash = self.hash_of(no);
        let used = self.usage_of(no);
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

    /// Makes a record one of its network's shown members, or no longer. Keeps two things true: `record.member` is the index
    /// in `network.members`, and `network.positions` has the same records.
    pub(super) fn set_member(&mut self, no: RecordNo, is_shown: bool) {
        let record = self.store.record(no);
        let (position, network) = (record.peer.place(), record.network);
        let member = record.member;
        if is_shown == (member != NO_MEMBER) {
            return;
        }
        let large_from = self.large_from;
        let Some(network) = self.networks[network as usize].as_mut() else {
            return;
        };
        if is_shown {
            self.store.record_mut(no).member =
                u32::try_from(network.members.len()).unwrap_or(NO_MEMBER);
            network.members.push(no);
            if let Some(positions) = &mut network.positions {
                positions.insert((position, no));
            } else if network.members.len() > large_from && network.key.tells_of_peers() {
                let with_position = |no: &RecordNo| (self.store.record(*no).peer.place(), *no);
                network.positions = Some(network.members.iter().map(with_position).collect());
            }
            return;
        }
        network.members.swap_remove(member as usize);
        if let Some(swapped) = network.members.get(member as usize) {
            self.store.record_mut(*swapped).member = member;
        }
        self.store.record_mut(no).member = NO_MEMBER;
        if let Some(positions) = &mut network.positions {
            positions.remove(&(position, no));
            // Half of the bound, so that a network at the bound does not build them again and again.
            if network.members.len() < large_from / 2 {
                network.positions = None;
            }
        }
        // A network that has shrunk a lot gives memory back; the margin keeps small ones from reallocating each time.
        if network.members.capacity() > 4 * network.members.len() + 16 {
            network.members.shrink_to(2 * network.members.len());
        }
    }

    /// Removes a record from all tables, and reports the change to its id.
    pub(super) fn remove(&mut self, no: RecordNo, reason: LeaveReason) {
        if reason == LeaveReason::Superseded {
            self.note_handed_on(no);
        }
        let record = self.store.record(no);
        let (network, origin, claim) = (record.network, record.origin, record.claim());
        let peer = record.peer.clone();
        let interest = self.of_interest(network);
        let before = if interest {
            self.id_holder(network, &peer)
        } else {
            None
        };
        self.note_touched(network);
        self.remove_from_log(no);
        self.set_member(no, false);
        self.store.remove(no);
        if origin == self.own_no {
            self.own.remove(&claim);
        }
        if interest {
            self.report(network, &peer, before, reason);
        }
        self.drop_from_network(network, origin);
    }

    /// Notes that claims of this network changed, if a caller collects such networks.
    fn note_touched(&mut self, network: NetworkNo) {
        let key = self.networks.get(network as usize).and_then(Option::as_ref);
        if let (Some(touched), Some(network)) = (&mut self.touched, key) {
            touched.push(network.key.clone());
        }
    }

    /// Counts a removed record out of its network. Frees the network with its last record.
    pub(super) fn drop_from_network(&mut self, no: NetworkNo, origin: OriginNo) {
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

    /// Compares the holder of an id with the one before, and adds an [`IdChange`] if the change concerns other parts.
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
        let after = self.id_holder(network, peer);
        let lost = self.own_losers(network, peer, after.as_ref());
        // Rooms and bans depend on every claim that holds their record, not only on the winner. So each such change is
        // reported.
        let network_of_id = self.network_at(network);
        let is_ban = network_of_id.is_some_and(|network| network.key.is_of_bans());
        let is_ban_or_room_record = is_ban || *peer == super::super::api::record_id();
        if before == after && lost.is_empty() && !is_ban_or_room_record {
            return;
        }
        // Another claim than before holds the id, or its first one.
        let appeared = after.as_ref().is_some_and(|after| {
            before
                .as_ref()
                .is_none_or(|before| (before.hub, before.claim) != (after.hub, after.claim))
        });
        self.changes.push(IdChange {
            network: self.key_of(network),
            peer: peer.clone(),
            before: before.and_then(|holder| holder.shown),
            after: after.and_then(|holder| holder.shown),
            appeared,
            lost,
            reason,
        });
    }

    /// The act of a mutant: removes other hubs' claims because they lost.
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
            self.remove_from_log(no);
            self.set_member(no, false);
            self.store.remove(no);
            self.drop_from_network(network, origin);
        }
    }

    /// Our own claims to this id that did not win.
    pub(super) fn own_losers(
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
