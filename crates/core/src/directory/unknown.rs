//! Changes of one origin that this version does not know, because a later version has more kinds. Their numbers are in
//! the same sequence as those of the claims.
//!
//! Each change concerns an *item* in a network. The last change of each item is kept, like the last form of a claim. A
//! change that says that its item is gone is kept as long as a retraction. If there is no space for the last change of
//! an item, this hub tells others that the item is gone. All changes are forwarded unchanged, so that two hubs of a
//! later version can exchange them over hubs of this one. No peer here is told of them, no audit includes them, and
//! they count towards the limits as claims and their data do. Called by the directory alone.

use std::collections::BTreeMap;

use super::super::ids::{HubId, Moment, NetworkKey};
use super::Directory;
use super::forgetting::must_forget_oldest;
use super::quota::Usage;
use super::store::OriginNo;
use crate::frames::UnknownChange;

/// A stored change.
#[derive(Clone, Debug)]
pub(super) struct KeptChange {
    pub change: UnknownChange,
    /// When it was received.
    pub at: Moment,
}

/// The bytes that an item uses beside its body and the name of its network: its entries in the maps of a log and of a
/// view.
const BESIDE: usize = 256;

impl KeptChange {
    fn uses(&self) -> Usage {
        let UnknownChange { network, body, .. } = &self.change;
        Usage {
            claims: 1,
            bytes: body.len() + network.as_str().len() + BESIDE,
            no_peers: 0,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Unknowns {
    by_seq: BTreeMap<u64, KeptChange>,
    /// The number of the last change of each item.
    by_item: BTreeMap<(NetworkKey, u64), u64>,
    /// The numbers of the changes that say that an item is gone, and when these were received.
    gone: BTreeMap<u64, Moment>,
}

impl Unknowns {
    pub fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    /// The changes above `seq`, by rising number.
    pub fn walk(&self, seq: u64) -> impl Iterator<Item = (u64, &UnknownChange)> {
        let above = self.by_seq.range(seq.saturating_add(1)..);
        above.map(|(seq, kept)| (*seq, &kept.change))
    }

    /// All changes.
    pub fn all(&self) -> impl Iterator<Item = (u64, &KeptChange)> {
        self.by_seq.iter().map(|(seq, kept)| (*seq, kept))
    }

    /// The last change of an item.
    pub fn last_of(&self, network: &NetworkKey, item: u64) -> Option<&KeptChange> {
        let seq = self.by_item.get(&(network.clone(), item))?;
        self.by_seq.get(seq)
    }

    /// Removes the last change of an item.
    pub fn take(&mut self, network: &NetworkKey, item: u64) -> Option<KeptChange> {
        let seq = self.by_item.remove(&(network.clone(), item))?;
        self.gone.remove(&seq);
        self.by_seq.remove(&seq)
    }

    /// Stores a change instead of the last one of its item. `seq` must be above every earlier one.
    pub fn keep(&mut self, seq: u64, kept: KeptChange) {
        let (network, item) = (kept.change.network.clone(), kept.change.item);
        self.take(&network, item);
        if kept.change.is_gone() {
            self.gone.insert(seq, kept.at);
        }
        self.by_item.insert((network, item), seq);
        self.by_seq.insert(seq, kept);
    }

    /// Forgets the oldest change that says that an item is gone, if it is too old, or if there are too many for `live`
    /// claims. To be called until it returns `None`.
    pub fn forget_past(&mut self, live: usize, now: Moment) -> Option<(u64, KeptChange)> {
        let (seq, at) = self.gone.first_key_value()?;
        if !must_forget_oldest(*at, self.gone.len(), live, now) {
            return None;
        }
        let seq = *seq;
        let UnknownChange { network, item, .. } = self.by_seq.get(&seq)?.change.clone();
        Some((seq, self.take(&network, item)?))
    }
}

impl Directory {
    /// Authors a change of an item that other hubs of this version do not know. Returns the sequence number.
    pub fn author_unknown(&mut self, now: Moment, change: UnknownChange) -> u64 {
        let seq = self.own_mut().seq + 1;
        self.put_unknown(now, self.own_no, seq, change);
        self.own_mut().seq = seq;
        seq
    }

    /// The changes of a hub that this version does not know, by rising number: those of its whole set, or those of its
    /// sets of single networks, by network name.
    pub fn unknown_of(&self, hub: &HubId) -> Vec<(u64, UnknownChange)> {
        let sets = self.by_hub.get(hub).copied().into_iter();
        let sets = sets.chain(self.parts_of(hub).map(|(_, no)| no));
        let origins = sets.filter_map(|no| self.origin_at(no));
        let all = origins.flat_map(|origin| origin.log.unknown.all());
        let standing = all.filter(|(_, kept)| !kept.change.is_gone());
        standing
            .map(|(seq, kept)| (seq, kept.change.clone()))
            .collect()
    }

    /// The unknown changes of a hub in one network.
    pub fn unknown_in(&self, hub: &HubId, network: &NetworkKey) -> Vec<(u64, UnknownChange)> {
        let all = self.unknown_of(hub).into_iter();
        all.filter(|(_, change)| change.network == *network)
            .collect()
    }

    /// Inserts a change instead of the last one of its item. If there is no space for it, a stored item counts as gone
    /// from now on: a subscriber that has its older form must not think that this is the present one. An item that is
    /// not stored, or is gone already, stays so, and no subscriber is told.
    pub(super) fn put_unknown(
        &mut self,
        now: Moment,
        no: OriginNo,
        seq: u64,
        change: UnknownChange,
    ) {
        let Some(origin) = self.origin_at(no) else {
            return;
        };
        let last = origin.log.unknown.last_of(&change.network, change.item);
        let stands = last.is_some_and(|last| !last.change.is_gone());
        let frees = last.map(KeptChange::uses).unwrap_or_default();
        self.use_less(no, frees);
        let mut kept = KeptChange { change, at: now };
        if !self.has_space(no, kept.uses()) {
            self.left_out += 1;
            if !stands {
                return self.use_more(no, frees);
            }
            kept.change = kept.change.gone();
            // The new change uses no more than the one it replaces, but the usage may be too high already.
            if !self.has_space(no, kept.uses()) {
                return self.drop_unknown(no, seq, &kept.change);
            }
        }
        let uses = kept.uses();
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        let before = origin.seq;
        if let Some(views) = &mut origin.views {
            views.keep_unknown(seq, kept.clone(), before);
        }
        origin.log.unknown.keep(seq, kept);
        self.use_more(no, uses);
        self.prune_unknown(no, now);
    }

    /// Forgets an item, and that it is gone: a subscriber that still has it must start from an empty set.
    fn drop_unknown(&mut self, no: OriginNo, seq: u64, change: &UnknownChange) {
        let UnknownChange { network, item, .. } = change;
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        origin.log.unknown.take(network, *item);
        if let Some(views) = &mut origin.views {
            views.drop_unknown(network, *item, seq);
        }
        origin.log.set_floor(seq);
    }

    fn has_space(&self, no: OriginNo, more: Usage) -> bool {
        if no == self.own_no {
            return true;
        }
        let hub = self.origin_hub(no);
        let of_hub = self.used_by.get(&hub).copied().unwrap_or_default();
        self.quota.allow(more, of_hub, self.used) || self.mutants.claims_without_end()
    }

    /// Forgets changes that say that items are gone, if they are too old or too many.
    pub(super) fn prune_unknown(&mut self, no: OriginNo, now: Moment) {
        loop {
            let Some(origin) = self.origin_at_mut(no) else {
                return;
            };
            let live = origin.log.live();
            let Some((seq, kept)) = origin.log.unknown.forget_past(live, now) else {
                return;
            };
            origin.log.set_floor(seq);
            self.use_less(no, kept.uses());
        }
    }

    /// A log is emptied or dropped: subtracts the usage of its unknown changes.
    pub(super) fn let_unknown_go(&mut self, no: OriginNo) {
        let Some(origin) = self.origin_at_mut(no) else {
            return;
        };
        let gone = std::mem::take(&mut origin.log.unknown);
        for (_, kept) in gone.all() {
            self.use_less(no, kept.uses());
        }
    }

    /// Moves the unknown changes of a whole set into the sets of those networks that are kept of it.
    pub(super) fn move_unknown(
        &mut self,
        kept: Vec<(u64, KeptChange)>,
        part: impl Fn(&mut Self, &NetworkKey, bool) -> Option<OriginNo>,
    ) {
        for (seq, kept) in kept {
            let standing = !kept.change.is_gone();
            let Some(no) = part(self, &kept.change.network, standing) else {
                continue;
            };
            let uses = kept.uses();
            if let Some(part) = self.origin_at_mut(no) {
                part.log.unknown.keep(seq, kept);
                self.use_more(no, uses);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{ClaimQuota, SetPart};
    use super::*;
    use crate::frames::{Change, Claim, Entry, Set};
    use crate::ids::{ClaimNo, Hlc, Incarnation, LeaveReason, PeerId};
    use crate::mutants::Mutants;

    const ME: HubId = HubId([1; 20]);
    const OTHER: HubId = HubId([2; 20]);
    const LIFE: Incarnation = Incarnation { epoch: 0, nonce: 1 };

    fn directory() -> Directory {
        let mut directory = Directory::new(ME, LIFE, 7, usize::MAX, Mutants::NONE);
        directory.begin(OTHER, LIFE);
        directory.complete(&OTHER, 0);
        directory
    }

    fn network(name: &str) -> NetworkKey {
        NetworkKey::from_wire(name).unwrap()
    }

    fn said(seq: u64, network_name: &str, item: u64, body: &'static [u8]) -> Entry {
        let tag = if body.is_empty() { 0x12 } else { 0x02 };
        let change = Change::Unknown(UnknownChange {
            tag,
            network: network(network_name),
            item,
            body: Bytes::from_static(body),
        });
        Entry { seq, change }
    }

    fn claim(seq: u64) -> Entry {
        let claim = Claim {
            network: network("pn"),
            peer: PeerId::new(&format!("peer {seq}")).unwrap(),
            claim: ClaimNo(seq),
            hlc: Hlc::from_wall(1),
            quiet: false,
            data: None,
        };
        let change = Change::Claim(claim);
        Entry { seq, change }
    }

    /// The usage of an item with a body of so many bytes.
    fn of(network_name: &str, body: usize) -> usize {
        network_name.len() + BESIDE + body
    }

    fn seqs(part: &SetPart) -> Vec<u64> {
        part.entries.iter().map(|entry| entry.seq).collect()
    }

    fn above(directory: &Directory, set: &Set, seq: u64) -> Vec<u64> {
        let part = directory.set_part(set, seq, usize::MAX, |_| 1).unwrap();
        seqs(&part)
    }

    #[test]
    fn the_last_change_of_each_item_is_passed_on_among_the_claims() {
        let mut directory = directory();
        let entries = vec![
            claim(1),
            said(2, "pn", 1, b"a"),
            said(3, "pn", 2, b"b"),
            claim(4),
            said(5, "pn", 1, b"c"),
            said(6, "pother", 1, b"d"),
            said(7, "pn", 2, b""),
        ];
        let applied = directory.apply(Moment(0), &OTHER, entries.clone(), 7);
        assert_eq!(applied, 7);
        let whole = Set::all(OTHER);
        assert_eq!(above(&directory, &whole, 0), [1, 4, 5, 6, 7]);
        assert_eq!(above(&directory, &whole, 5), [6, 7]);
        let part = directory.set_part(&whole, 4, usize::MAX, |_| 1).unwrap();
        assert_eq!(part.entries, entries[4..], "as they came");
        let standing = directory.unknown_of(&OTHER);
        let standing: Vec<u64> = standing.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(standing, [5, 6], "one is gone");
        assert_eq!(directory.peers_of(&OTHER), 0, "they are no peers");
        assert_eq!(directory.used().claims, 5);
        // No claim here has data, and an item uses more than its change has bytes.
        let bytes = of("pn", 1) + of("pn", 0) + of("pother", 1);
        assert_eq!(directory.used().bytes, bytes);
    }

    #[test]
    fn word_that_an_item_is_gone_is_forgotten_as_retractions_are() {
        let mut directory = directory();
        let entries = vec![said(1, "pn", 1, b"a"), said(2, "pn", 1, b"")];
        directory.apply(Moment(0), &OTHER, entries, 2);
        assert_eq!((directory.floor(&OTHER), directory.used().claims), (0, 1));
        directory.prune(Moment(61_000_000));
        assert_eq!((directory.floor(&OTHER), directory.used().claims), (2, 0));
        assert_eq!(above(&directory, &Set::all(OTHER), 0), [] as [u64; 0]);
    }

    #[test]
    fn a_network_s_items_are_served_with_it_from_a_whole_set_and_from_its_own() {
        let mut directory = directory();
        let entries = vec![claim(1), said(2, "pn", 1, b"a"), said(3, "pm", 1, b"b")];
        directory.apply(Moment(0), &OTHER, entries, 3);
        let (one, other) = (
            Set::of(OTHER, &network("pn")),
            Set::of(OTHER, &network("pm")),
        );
        directory.open_views(&OTHER);
        directory.apply(Moment(0), &OTHER, vec![said(4, "pm", 2, b"c")], 4);
        assert_eq!(above(&directory, &one, 0), [1, 2]);
        assert_eq!(above(&directory, &other, 0), [3, 4]);
        assert_eq!(directory.set_state(&other).unwrap().seq, 4);
        directory.narrow(&OTHER, |kept| *kept == network("pm"));
        assert_eq!(directory.set_state(&one), None);
        assert_eq!(above(&directory, &other, 3), [4]);
        assert_eq!(directory.used().claims, 2);
        let whole = vec![claim(1), said(2, "pn", 1, b"a"), said(5, "pm", 2, b"")];
        directory.widen(Moment(0), &OTHER, LIFE, whole, 5);
        assert_eq!(above(&directory, &Set::all(OTHER), 0), [1, 2, 5]);
        assert_eq!(directory.used().claims, 3);
        directory.forget_hub(&OTHER, LeaveReason::HubLost);
        assert_eq!(directory.used(), Usage::default());
    }

    #[test]
    fn what_finds_no_room_is_left_out_and_its_item_is_gone_for_who_has_an_older_form() {
        let mut directory = directory();
        directory.set_quota(ClaimQuota {
            claims: 10,
            bytes: of("pn", 5),
        });
        directory.apply(Moment(0), &OTHER, vec![said(1, "pn", 1, b"1234")], 1);
        directory.apply(Moment(0), &OTHER, vec![said(2, "pn", 2, b"12")], 2);
        assert_eq!(directory.left_out(), 1);
        assert_eq!(above(&directory, &Set::all(OTHER), 0), [1]);
        directory.open_views(&OTHER);
        let too_long = vec![said(3, "pn", 1, b"123456")];
        directory.apply(Moment(0), &OTHER, too_long, 3);
        assert_eq!(directory.left_out(), 2);
        let (whole, one) = (Set::all(OTHER), Set::of(OTHER, &network("pn")));
        for set in [whole, one] {
            let part = directory.set_part(&set, 1, usize::MAX, |_| 1).unwrap();
            assert_eq!(part.entries, [said(3, "pn", 1, b"")], "it is gone");
            assert_eq!(directory.set_floor(&set), 0, "nobody starts anew");
        }
        assert_eq!(directory.used().bytes, of("pn", 0));
        assert_eq!(directory.unknown_of(&OTHER), []);
    }

    #[test]
    fn nobody_starts_anew_for_what_was_never_kept() {
        let mut directory = directory();
        directory.set_quota(ClaimQuota {
            claims: 2,
            bytes: of("pn", 4),
        });
        directory.open_views(&OTHER);
        directory.apply(Moment(0), &OTHER, vec![claim(1)], 1);
        let sets = [Set::all(OTHER), Set::of(OTHER, &network("pn"))];
        // An item's small form and one that is too long, in turn, and others that are too long from the first.
        for seq in (2..100).step_by(3) {
            let entries = vec![
                said(seq, "pn", 1, b"1"),
                said(seq + 1, "pn", 1, b"12345"),
                said(seq + 2, "pn", seq, b"12345"),
            ];
            directory.apply(Moment(0), &OTHER, entries, seq + 2);
            assert_eq!(directory.used().claims, 2);
            for set in &sets {
                assert_eq!(above(&directory, set, 0), [1, seq + 1]);
                assert_eq!(directory.set_floor(set), 0);
            }
        }
        // And again what is gone already.
        directory.apply(Moment(0), &OTHER, vec![said(101, "pn", 1, b"12345")], 101);
        assert_eq!(above(&directory, &sets[0], 98), [99]);
    }

    #[test]
    fn where_not_even_a_mark_finds_room_who_has_the_item_starts_anew() {
        let mut directory = directory();
        directory.open_views(&OTHER);
        let entries = vec![claim(1), said(2, "pn", 1, b"1")];
        directory.apply(Moment(0), &OTHER, entries, 2);
        directory.set_quota(ClaimQuota {
            claims: 0,
            bytes: 0,
        });
        directory.apply(Moment(0), &OTHER, vec![said(3, "pn", 1, b"12")], 3);
        for set in [Set::all(OTHER), Set::of(OTHER, &network("pn"))] {
            assert_eq!(above(&directory, &set, 0), [1]);
            assert_eq!(directory.set_floor(&set), 3);
        }
        assert_eq!(directory.used().claims, 1);
    }

    #[test]
    fn what_this_hub_says_itself_has_numbers_among_its_claims() {
        let mut directory = directory();
        let Change::Claim(first) = claim(1).change else {
            panic!("it is one");
        };
        assert_eq!(directory.author(&first), 1);
        let Change::Unknown(item) = said(0, "pn", 4, b"x").change else {
            panic!("it is one");
        };
        assert_eq!(directory.author_unknown(Moment(0), item), 2);
        assert_eq!(above(&directory, &Set::all(ME), 0), [1, 2]);
    }
}
