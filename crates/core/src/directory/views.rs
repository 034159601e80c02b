//! One hub's claims by network, for subscribers of some of its networks only.
//!
//! A view is for one network what the log is for the whole set: the live claims in the order of their numbers, the
//! retractions among them, and the number below which retractions are forgotten. All views of a set are made in one
//! pass when the first is asked for, and updated with each change. So their cost does not depend on how often other
//! hubs ask.
//!
//! A network without a view has no claims and no recent retractions: its head and its floor are those of the whole set.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

use super::super::ids::{Moment, NetworkKey};
use super::forgetting::must_forget_oldest;
use super::log::{Log, Step, Tombstone, merged};
use super::store::RecordNo;
use super::unknown::{KeptChange, Unknowns};

/// The claims of one hub in one network.
#[derive(Debug, Default)]
pub(super) struct View {
    live: BTreeMap<u64, RecordNo>,
    gone: VecDeque<Tombstone>,
    /// The last change.
    head: u64,
    /// The highest number up to which retractions may be forgotten.
    floor: u64,
    unknown: Unknowns,
}

/// All views of one hub.
#[derive(Debug, Default)]
pub(super) struct Views {
    by_network: HashMap<NetworkKey, View>,
}

impl View {
    pub fn head(&self) -> u64 {
        self.head
    }

    pub fn floor(&self) -> u64 {
        self.floor
    }

    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Live claims and retractions above `seq`, by rising number.
    pub fn walk(&self, seq: u64) -> impl Iterator<Item = Step<'_>> {
        let live = self.live.range(seq.saturating_add(1)..);
        let live = live.map(|(seq, no)| (*seq, *no));
        merged(live, &self.gone, &self.unknown, seq)
    }

    fn bury(&mut self, tombstone: Tombstone) {
        self.head = self.head.max(tombstone.seq);
        let now = tombstone.at;
        self.gone.push_back(tombstone);
        self.prune(now);
    }

    fn prune(&mut self, now: Moment) {
        while let Some(oldest) = self.gone.front() {
            if !must_forget_oldest(oldest.at, self.gone.len(), self.live.len(), now) {
                break;
            }
            self.floor = self.floor.max(oldest.seq);
            self.gone.pop_front();
        }
        while let Some((seq, _)) = self.unknown.forget_past(self.live.len(), now) {
            self.floor = self.floor.max(seq);
        }
    }
}

impl Views {
    /// The views of a set with these live claims and this log.
    pub fn of(live: impl Iterator<Item = (NetworkKey, u64, RecordNo)>, log: &Log) -> Self {
        let mut views = Views::default();
        let floor = log.floor();
        for (network, seq, no) in live {
            views.put(&network, seq, no, floor);
        }
        for tombstone in log.buried() {
            let view = views.view_mut(&tombstone.network, floor);
            view.head = view.head.max(tombstone.seq);
            view.gone.push_back(tombstone.clone());
        }
        for (seq, kept) in log.unknown.all() {
            let view = views.view_mut(&kept.change.network, floor);
            view.head = view.head.max(seq);
            view.unknown.keep(seq, kept.clone());
        }
        views
    }

    pub fn get(&self, network: &NetworkKey) -> Option<&View> {
        self.by_network.get(network)
    }

    fn view_mut(&mut self, network: &NetworkKey, floor: u64) -> &mut View {
        if !self.by_network.contains_key(network) {
            let view = View {
                floor,
                ..View::default()
            };
            self.by_network.insert(network.clone(), view);
        }
        self.by_network.entry_ref(network).or_default()
    }

    /// A claim was inserted or changed, under this number. All changes before it are those up to `before`.
    pub fn put(&mut self, network: &NetworkKey, seq: u64, no: RecordNo, before: u64) {
        let view = self.view_mut(network, before);
        view.live.insert(seq, no);
        view.head = view.head.max(seq);
    }

    /// Removes the entry with this number.
    pub fn take(&mut self, network: &NetworkKey, seq: u64) {
        if let Some(view) = self.by_network.get_mut(network) {
            view.live.remove(&seq);
        }
    }

    /// A claim was retracted.
    pub fn bury(&mut self, tombstone: Tombstone, before: u64) {
        let network = tombstone.network.clone();
        self.view_mut(&network, before).bury(tombstone);
    }

    /// Keeps a change that this version does not know, instead of the last one of its item.
    pub fn keep_unknown(&mut self, seq: u64, kept: KeptChange, before: u64) {
        let network = kept.change.network.clone();
        let view = self.view_mut(&network, before);
        view.head = view.head.max(seq);
        let now = kept.at;
        view.unknown.keep(seq, kept);
        view.prune(now);
    }

    /// The last change of an item was not kept, and it has no other.
    pub fn drop_unknown(&mut self, network: &NetworkKey, item: u64, seq: u64) {
        if let Some(view) = self.by_network.get_mut(network) {
            view.unknown.take(network, item);
            view.floor = view.floor.max(seq);
        }
    }

    /// Forgets old retractions, and networks without claims.
    pub fn prune(&mut self, now: Moment) {
        self.by_network.retain(|_, view| {
            view.prune(now);
            !view.live.is_empty() || !view.gone.is_empty() || !view.unknown.is_empty()
        });
    }
}
