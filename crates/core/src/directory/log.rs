//! One origin's claims in the order of their sequence numbers, and its recent retractions.
//!
//! A subscriber that catches up reads the log: from any sequence number on, the log gives the live claims and the
//! retractions, merged. A change that a later one has replaced is not kept: a claim that changed is only at its newest
//! number. Below [`Log::floor`] retractions are forgotten; a reader whose number is lower has to start from an empty
//! set.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::super::ids::{ClaimNo, LeaveReason, Moment, NetworkKey, PeerId};
use super::forgetting::must_forget_oldest;
use super::store::RecordNo;
use super::unknown::Unknowns;
use crate::frames::UnknownChange;

const HOLE: RecordNo = RecordNo::MAX;

/// A retraction.
#[derive(Clone, Debug, PartialEq)]
pub struct Tombstone {
    /// The number of the change.
    pub seq: u64,
    /// When it was made.
    pub at: Moment,
    /// The network that the peer was in.
    pub network: NetworkKey,
    /// The peer that had the claim.
    pub peer: PeerId,
    /// The claim that is over.
    pub claim: ClaimNo,
    /// Why it is over.
    pub reason: LeaveReason,
}

/// The place of a live claim: 8 bytes, with the sequence number counted from the log's base.
#[derive(Clone, Copy, Debug)]
struct Slot {
    offset: u32,
    record: RecordNo,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    base: u64,
    slots: Vec<Slot>,
    live: usize,
    /// The number of claims that were pushed since slots were last moved.
    pushed: usize,
    tombstones: VecDeque<Tombstone>,
    /// The numbers of the tombstones by their claims; if a claim has several, the newest.
    buried: HashMap<ClaimNo, u64, foldhash::fast::RandomState>,
    /// The highest sequence number up to which retractions may be forgotten.
    floor: u64,
    /// Changes that this version does not know; they have numbers of their own among the claims'.
    pub unknown: Unknowns,
}

/// One step of reading the log.
pub(super) enum Step<'a> {
    Live { seq: u64, record: RecordNo },
    Gone(&'a Tombstone),
    Unknown { seq: u64, change: &'a UnknownChange },
}

impl Step<'_> {
    fn seq(&self) -> u64 {
        match self {
            Step::Live { seq, .. } | Step::Unknown { seq, .. } => *seq,
            Step::Gone(tombstone) => tombstone.seq,
        }
    }
}

/// Live claims, the retractions above `seq`, and unknown changes, by rising number.
pub(super) fn merged<'a>(
    live: impl Iterator<Item = (u64, RecordNo)>,
    tombstones: &'a VecDeque<Tombstone>,
    unknown: &'a Unknowns,
    seq: u64,
) -> impl Iterator<Item = Step<'a>> {
    let live = live.map(|(seq, record)| Step::Live { seq, record });
    let buried = tombstones.partition_point(|tombstone| tombstone.seq <= seq);
    let gone = tombstones.range(buried..).map(Step::Gone);
    let unknown = unknown.walk(seq);
    let unknown = unknown.map(|(seq, change)| Step::Unknown { seq, change });
    by_number(by_number(live, gone), unknown)
}

/// Merges two sequences of steps.
fn by_number<'a>(
    a: impl Iterator<Item = Step<'a>>,
    b: impl Iterator<Item = Step<'a>>,
) -> impl Iterator<Item = Step<'a>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(first), Some(second)) if second.seq() < first.seq() => b.next(),
        (Some(_), _) => a.next(),
        (None, _) => b.next(),
    })
}

impl Log {
    /// The retractions, by rising number.
    pub fn buried(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.iter()
    }

    pub fn live(&self) -> usize {
        self.live
    }

    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// A set that was received whole, up to `seq`, has no earlier retractions.
    pub fn set_floor(&mut self, seq: u64) {
        self.floor = self.floor.max(seq);
    }

    /// Whether a claim of this number can be pushed: the number is less than 2^32 above the oldest. May move slots to
    /// make that true; how often is in proportion to the number of pushes, however the numbers jump.
    pub fn reaches(&mut self, seq: u64, moved: impl FnMut(RecordNo, u32)) -> bool {
        let far = |log: &Log| seq - log.base.min(seq) > u64::from(u32::MAX);
        if self.live > 0 && far(self) && self.pushed >= self.live / 2 {
            self.compact(moved);
        }
        self.live == 0 || !far(self)
    }

    /// Pushes a record to the end. `seq` must be above every earlier one. If other records are moved to other slots, to
    /// make space, `moved` is called for each.
    pub fn push(&mut self, seq: u64, record: RecordNo, moved: impl FnMut(RecordNo, u32)) -> u32 {
        if self.slots.len() > 2 * self.live + 64 || seq - self.base > u64::from(u32::MAX) {
            self.compact(moved);
        }
        if self.slots.is_empty() {
            self.base = seq;
        }
        self.pushed += 1;
        self.slots.push(Slot {
            offset: u32::try_from(seq - self.base).unwrap_or(u32::MAX),
            record,
        });
        self.live += 1;
        u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
    }

    pub fn vacate(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize)
            && slot.record != HOLE
        {
            slot.record = HOLE;
            self.live -= 1;
        }
    }

    pub fn seq_of(&self, slot: u32) -> u64 {
        self.slots
            .get(slot as usize)
            .map_or(0, |slot| self.base + u64::from(slot.offset))
    }

    fn compact(&mut self, mut moved: impl FnMut(RecordNo, u32)) {
        self.pushed = 0;
        self.slots.retain(|slot| slot.record != HOLE);
        let first = self.slots.first().map_or(0, |slot| slot.offset);
        self.base += u64::from(first);
        for (place, slot) in self.slots.iter_mut().enumerate() {
            slot.offset -= first;
            moved(slot.record, u32::try_from(place).unwrap_or(u32::MAX));
        }
        if self.slots.capacity() > 4 * self.slots.len() + 64 {
            self.slots.shrink_to(2 * self.slots.len());
        }
    }

    pub fn bury(&mut self, tombstone: Tombstone, forget_early: bool) {
        let now = tombstone.at;
        self.buried.insert(tombstone.claim, tombstone.seq);
        self.tombstones.push_back(tombstone);
        self.prune(now);
        if forget_early {
            // A mutant: forgets a retraction without raising the floor.
            self.forget_oldest();
        }
    }

    /// Forgets retractions that are too old or too many (`forgetting`).
    pub fn prune(&mut self, now: Moment) {
        while let Some(oldest) = self.tombstones.front() {
            if !must_forget_oldest(oldest.at, self.tombstones.len(), self.live, now) {
                break;
            }
            self.floor = self.floor.max(oldest.seq);
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(Tombstone { seq, claim, .. }) = self.tombstones.pop_front() else {
            return;
        };
        if self.buried.get(&claim) == Some(&seq) {
            self.buried.remove(&claim);
        }
        if self.tombstones.is_empty() {
            self.buried = HashMap::default();
        }
    }

    /// Live claims and retractions above `seq`, by rising sequence number.
    pub fn walk(&self, seq: u64) -> impl Iterator<Item = Step<'_>> {
        let first = self
            .slots
            .partition_point(|slot| self.base + u64::from(slot.offset) <= seq);
        let live = self.slots[first..]
            .iter()
            .filter(|slot| slot.record != HOLE)
            .map(|slot| (self.base + u64::from(slot.offset), slot.record));
        merged(live, &self.tombstones, &self.unknown, seq)
    }

    /// Whether this claim was retracted recently. Costs the same however many were: other hubs can make this hub ask.
    pub fn remembers(&self, network: &NetworkKey, peer: &PeerId, claim: ClaimNo) -> bool {
        let Some(seq) = self.buried.get(&claim) else {
            return false;
        };
        let place = self.tombstones.partition_point(|buried| buried.seq < *seq);
        let newest = self.tombstones.get(place);
        newest.is_some_and(|buried| buried.network == *network && buried.peer == *peer)
    }

    /// All live records, in order.
    pub fn records(&self) -> impl Iterator<Item = RecordNo> + '_ {
        self.slots
            .iter()
            .map(|slot| slot.record)
            .filter(|record| *record != HOLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tombstone(seq: u64, at: u64) -> Tombstone {
        Tombstone {
            seq,
            at: Moment(at),
            network: NetworkKey::from_wire("pglobal").unwrap(),
            peer: PeerId::new("x").unwrap(),
            claim: ClaimNo(seq),
            reason: LeaveReason::Closed,
        }
    }

    fn seqs(log: &Log, above: u64) -> Vec<u64> {
        log.walk(above)
            .map(|step| match step {
                Step::Live { seq, .. } => seq,
                Step::Gone(tombstone) => tombstone.seq,
                Step::Unknown { seq, .. } => seq,
            })
            .collect()
    }

    #[test]
    fn a_walk_merges_claims_and_retractions_in_order() {
        let mut log = Log::default();
        let one = log.push(1, 10, |_, _| {});
        log.push(2, 11, |_, _| {});
        log.vacate(one);
        log.bury(tombstone(3, 0), false);
        log.push(4, 12, |_, _| {});
        assert_eq!(seqs(&log, 0), [2, 3, 4]);
        assert_eq!(seqs(&log, 2), [3, 4]);
        assert_eq!(seqs(&log, 4), [] as [u64; 0]);
    }

    #[test]
    fn numbers_that_jump_far_cost_no_more_than_others() {
        let mut log = Log::default();
        let mut moves = 0_u64;
        for seq in 1..=10_000 {
            log.push(seq, u32::try_from(seq).unwrap(), |_, _| moves += 1);
        }
        for far in 0..10_000_u64 {
            let seq = (1 << 40) + far;
            if log.reaches(seq, |_, _| moves += 1) {
                log.push(seq, 0, |_, _| moves += 1);
            }
        }
        assert!(moves <= 40_000, "{moves} slots were moved");
        assert_eq!(seqs(&log, 0).len(), 10_000, "what is too far is left out");
        assert!(seqs(&log, 0).is_sorted());
    }

    #[test]
    fn a_log_that_lost_its_oldest_claims_reaches_on() {
        let mut log = Log::default();
        let old = log.push(1, 1, |_, _| {});
        log.push(1 << 31, 2, |_, _| {});
        log.vacate(old);
        assert!(log.reaches((1 << 32) + 5, |_, _| {}));
        log.push((1 << 32) + 5, 3, |_, _| {});
        assert_eq!(seqs(&log, 0), [1 << 31, (1 << 32) + 5]);
    }

    #[test]
    fn compaction_keeps_order_and_reports_the_moved() {
        let mut log = Log::default();
        let mut slots = std::collections::HashMap::new();
        for seq in 1..=1000_u64 {
            let record = u32::try_from(seq).unwrap();
            let mut moves = Vec::new();
            let slot = log.push(seq, record, |record, slot| moves.push((record, slot)));
            slots.insert(record, slot);
            slots.extend(moves);
            if seq % 10 != 0 {
                log.vacate(slots[&record]);
            }
        }
        assert_eq!(log.live(), 100);
        assert!(log.slots.len() < 400, "{}", log.slots.len());
        assert_eq!(
            seqs(&log, 0),
            (1..=100).map(|n| n * 10).collect::<Vec<u64>>()
        );
        for (record, slot) in slots.iter().filter(|(record, _)| **record % 10 == 0) {
            assert_eq!(log.seq_of(*slot), u64::from(*record));
        }
    }

    #[test]
    fn a_retraction_is_remembered_by_its_claim_as_long_as_it_is_kept() {
        let mut log = Log::default();
        for seq in 1..=5000 {
            // Like a hub that uses its numbers twice.
            let claim = ClaimNo(seq % 700);
            log.bury(
                Tombstone {
                    claim,
                    ..tombstone(seq, seq)
                },
                seq % 7 == 0,
            );
        }
        let Tombstone { network, peer, .. } = tombstone(1, 1);
        for claim in (0..1000).map(ClaimNo) {
            let kept = log.tombstones.iter().any(|buried| buried.claim == claim);
            assert_eq!(log.remembers(&network, &peer, claim), kept, "{claim:?}");
        }
        assert!(log.buried.len() <= log.tombstones.len());
        let another = PeerId::new("y").unwrap();
        assert!(!log.remembers(&network, &another, ClaimNo(4999 % 700)));
        log.prune(Moment(61_000_000 + 5000));
        assert_eq!(log.buried.capacity(), 0, "no memory is kept");
    }

    #[test]
    fn forgetting_a_retraction_raises_the_floor() {
        let mut log = Log::default();
        for seq in 1..=1030 {
            log.bury(tombstone(seq, seq), false);
        }
        assert_eq!(log.floor(), 6);
        log.prune(Moment(61_000_000 + 1030));
        assert_eq!(log.floor(), 1030);
    }
}
