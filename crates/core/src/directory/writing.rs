//! The writers of the directory: this hub's own claims, and other hubs' as neighbours tell of them.
//!
//! Called by the core alone, behind the write lock.

use hashbrown::HashMap;

use super::super::ids::{ClaimNo, HubId, Incarnation, LeaveReason, Moment, NetworkKey};
use super::log::{Log, Tombstone};
use super::store::{ClaimRecord, OriginNo, RecordNo};
use super::{ClaimQuota, ClaimView, Directory, IdChange, rising};
use crate::frames::{Change, Claim, Entry};

impl Directory {
    /// How much other hubs' claims may take up from now on.
    pub fn set_quota(&mut self, quota: ClaimQuota) {
        self.quota = quota;
    }

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
        self.remove(no, reason);
        let tombstone = Tombstone {
            seq,
            at: now,
            network,
            peer,
            claim,
            reason,
        };
        self.bury(self.own_no, tombstone);
        self.own_mut().seq = seq;
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
        let Some(network) = self.network_named(network) else {
            return Vec::new();
        };
        let mut own: Vec<ClaimNo> = network
            .members
            .iter()
            .map(|no| self.store.record(*no))
            .filter(|record| record.origin == self.own_no)
            .map(ClaimRecord::claim)
            .collect();
        own.sort_unstable();
        own
    }

    /// From now on every change is reported: signals of peers that this hub sends away may still wait for targets in
    /// any network.
    pub fn be_keen(&mut self) {
        self.all_of_interest = true;
    }

    /// This hub begins a new incarnation: its claims stay, under that.
    pub fn set_own_incarnation(&mut self, incarnation: Incarnation) {
        self.own_mut().incarnation = incarnation;
        if let Some(all) = self.lines.sets_mut() {
            all.set_own_incarnation(incarnation);
        }
    }

    /// This hub goes by another id from now on: the claims stay.
    pub fn set_own_id(&mut self, me: HubId, incarnation: Incarnation) {
        self.by_hub.remove(&self.me);
        self.me = me;
        self.by_hub.insert(me, self.own_no);
        if let Some(all) = self.lines.sets_mut() {
            all.set_own_id(me, incarnation);
        }
        let own = self.own_mut();
        own.hub = me;
        own.incarnation = incarnation;
    }

    /// Makes space for a hub's claims of this incarnation, dropping those of an earlier one.
    pub fn begin(&mut self, hub: HubId, incarnation: Incarnation) {
        if self
            .origin(&hub)
            .is_some_and(|origin| origin.incarnation != incarnation)
        {
            self.drop_origin(&hub, LeaveReason::HubLost);
        }
        self.origin_no_or_new(hub, incarnation);
    }

    /// Applies changes that follow what is here. Those at or below the present sequence number are skipped.
    /// Returns how many were new.
    pub fn apply(&mut self, now: Moment, hub: &HubId, entries: Vec<Entry>, to: u64) -> usize {
        match self.by_hub.get(hub).copied() {
            Some(no) => self.apply_to(now, no, entries, to),
            None => 0,
        }
    }

    pub(super) fn apply_to(
        &mut self,
        now: Moment,
        no: OriginNo,
        entries: Vec<Entry>,
        to: u64,
    ) -> usize {
        let of = self
            .origin_at(no)
            .and_then(|origin| origin.only_network.clone());
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
            if self.is_of_another(of.as_ref(), &entry.change) {
                self.left_out += 1;
                continue;
            }
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
                Change::Unknown(change) => self.put_unknown(now, no, seq, change),
            }
        }
        if let Some(origin) = self.origin_at_mut(no) {
            origin.seq = origin.seq.max(to).max(seq);
        }
        fresh
    }

    /// Whether a change is of another network than the set that it came with.
    fn is_of_another(&self, of: Option<&NetworkKey>, change: &Change) -> bool {
        let named = match change {
            Change::Claim(claim) => &claim.network,
            Change::Gone { network, .. } => network,
            Change::Unknown(change) => &change.network,
        };
        of.is_some_and(|of| of != named) && !self.mutants.any_network_in_a_part()
    }

    fn bury(&mut self, origin: OriginNo, tombstone: Tombstone) {
        let forget = self.mutants.tombstones_forgotten();
        let Some(origin) = self.origin_at_mut(origin) else {
            return;
        };
        if let Some(views) = &mut origin.views {
            views.bury(tombstone.clone(), origin.seq);
        }
        origin.log.bury(tombstone, forget);
    }

    pub(super) fn gone(&mut self, origin: OriginNo, tombstone: Tombstone) {
        let found = self.by_name.get(&tombstone.network).and_then(|network| {
            self.store.find(*network, &tombstone.peer).find(|no| {
                let record = self.store.record(*no);
                record.origin == origin && record.claim() == tombstone.claim
            })
        });
        if let Some(no) = found {
            self.remove(no, tombstone.reason);
        }
        self.bury(origin, tombstone);
    }

    /// A first set is whole: it may be shown, and knows of no retraction before `seq`.
    pub fn complete(&mut self, hub: &HubId, seq: u64) {
        if let Some(no) = self.by_hub.get(hub).copied() {
            self.complete_at(no, seq);
        }
    }

    pub(super) fn complete_at(&mut self, no: OriginNo, seq: u64) {
        if let Some(origin) = self.origin_at_mut(no) {
            origin.complete = true;
            origin.log.set_floor(seq);
        }
    }

    /// Replaces a hub's set, in one step, by the one that `entries` build from nothing.
    pub fn replace(&mut self, now: Moment, hub: &HubId, entries: Vec<Entry>, to: u64) {
        if let Some(no) = self.by_hub.get(hub).copied() {
            self.replace_at(now, no, entries, to);
        }
    }

    pub(super) fn replace_at(&mut self, now: Moment, no: OriginNo, entries: Vec<Entry>, to: u64) {
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        let hub = origin.hub;
        let had_views = origin.views.take().is_some();
        let entries = rising(entries);
        let mut keep: HashMap<ClaimNo, Claim> = HashMap::new();
        for entry in &entries {
            match &entry.change {
                Change::Claim(claim) => drop(keep.insert(claim.claim, claim.clone())),
                Change::Gone { claim, .. } => drop(keep.remove(claim)),
                Change::Unknown(_) => {}
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
            self.remove(record, LeaveReason::Closed);
        }
        if let Some(origin) = self.origin_at_mut(no) {
            // What stays is put again at its own sequence number: the log must be free for it.
            origin.seq = 0;
        }
        self.restart_log(no);
        self.apply_to(now, no, entries, to);
        self.complete_at(no, to);
        if had_views {
            self.open_views(&hub);
        }
    }

    /// Empties an origin's log, leaving its records to be put again.
    pub(super) fn restart_log(&mut self, no: OriginNo) {
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        let records: Vec<RecordNo> = origin.log.records().collect();
        self.let_unknown_go(no);
        if let Some(origin) = self.origin_at_mut(no) {
            origin.log = Log::default();
        }
        for record in records {
            self.store.record_mut(record).slot = u32::MAX;
        }
    }

    /// Shows or hides a hub's claims.
    pub fn set_visible(&mut self, hub: &HubId, visible: bool, reason: LeaveReason) {
        if let Some(no) = self.by_hub.get(hub).copied() {
            self.set_visible_at(no, visible, reason);
        }
    }

    pub(super) fn set_visible_at(&mut self, no: OriginNo, visible: bool, reason: LeaveReason) {
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
            .filter(|no| self.is_first_of_its_id(*no))
            .collect();
        let before: Vec<_> = affected.iter().map(|no| self.holder_by(*no)).collect();
        if !visible && no != self.own_no {
            self.note_hidden_rooms(no);
        }
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

    /// Whether this is the first of several claims of one id by one hub. It stands for all of them, so that a change of
    /// the id is told once.
    fn is_first_of_its_id(&self, no: RecordNo) -> bool {
        let record = self.store.record(no);
        let mut same = self.store.find(record.network, &record.peer);
        same.find(|other| self.store.record(*other).origin == record.origin) == Some(no)
    }

    /// As [`flip`](Self::flip), of a set that may be so already.
    pub(super) fn flip_to(&mut self, no: OriginNo, visible: bool) {
        if self
            .origin_at(no)
            .is_some_and(|origin| origin.visible != visible)
        {
            self.flip(no, visible);
        }
    }

    pub(super) fn flip(&mut self, no: OriginNo, visible: bool) {
        if let Some(origin) = self.origin_at_mut(no) {
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
        self.drop_at(no, reason);
        self.by_hub.remove(hub);
    }

    /// Forgets a set and all its claims, and takes it out of the tables that name it.
    pub(super) fn drop_at(&mut self, no: OriginNo, reason: LeaveReason) {
        self.set_visible_at(no, false, reason);
        let records: Vec<RecordNo> = self
            .origin_at(no)
            .map_or_else(Vec::new, |origin| origin.log.records().collect());
        for record in records {
            self.remove(record, reason);
        }
        self.let_unknown_go(no);
        self.origins[no as usize] = None;
        self.free_origins.push(no);
        self.hidden_origins = self.hidden_origins.saturating_sub(1);
    }

    /// What changed since this was last asked.
    pub fn take_changes(&mut self) -> Vec<IdChange> {
        std::mem::take(&mut self.changes)
    }

    /// Drops retractions that are too old to be of use to a subscriber.
    pub fn prune(&mut self, now: Moment) {
        for no in 0..self.origins.len() {
            self.prune_unknown(u32::try_from(no).unwrap_or(u32::MAX), now);
        }
        for origin in self.origins.iter_mut().flatten() {
            origin.log.prune(now);
            if let Some(views) = &mut origin.views {
                views.prune(now);
            }
        }
        if let Some(all) = self.lines.sets_mut() {
            all.prune(now);
        }
    }
}
