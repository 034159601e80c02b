//! The waiting room: signals for a target that nobody holds, each until its own deadline.
//!
//! Owns the bounds per sender, per target and in all. Must not know who holds what: the exchange says when
//! a target is there. Invariants: for one target, signals leave in the order in which they were accepted,
//! also those that were under way to another hub in between; nothing leaves without being given back.

use std::collections::{BTreeMap, BTreeSet};

use crate::mesh::core::ids::{ClaimNo, Moment, NetworkKey, PeerId};

use super::Parcel;
use super::config::{ExchangeConfig, SIGNAL_COST};

#[derive(Debug)]
struct Held {
    parcel: Parcel,
    deadline: Moment,
}

/// The room. Signals are known by their [`Parcel::order`].
#[derive(Debug, Default)]
pub(super) struct Room {
    held: BTreeMap<u64, Held>,
    deadlines: BTreeSet<(Moment, u64)>,
    by_target: BTreeMap<(NetworkKey, PeerId), BTreeSet<u64>>,
    by_source: BTreeMap<ClaimNo, BTreeSet<u64>>,
    bytes: usize,
}

impl Room {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Lets the signal wait until `deadline`. One that a bound forbids is given back.
    pub(super) fn enter(
        &mut self,
        parcel: Parcel,
        deadline: Moment,
        config: &ExchangeConfig,
    ) -> Result<(), Parcel> {
        let key = target_of(&parcel);
        let of_sender = count(self.by_source.get(&parcel.source.claim));
        let of_target = count(self.by_target.get(&key));
        let bytes = self.bytes + cost(&parcel);
        if of_sender >= config.wait_per_sender
            || of_target >= config.wait_per_target
            || self.held.len() >= config.wait_total
            || bytes > config.wait_total_bytes
        {
            return Err(parcel);
        }
        let order = parcel.order;
        self.bytes = bytes;
        self.deadlines.insert((deadline, order));
        self.by_target.entry(key).or_default().insert(order);
        self.by_source
            .entry(parcel.source.claim)
            .or_default()
            .insert(order);
        self.held.insert(order, Held { parcel, deadline });
        Ok(())
    }

    /// Whether a signal of this claim waits for this target.
    pub(super) fn holds(&self, source: ClaimNo, network: &NetworkKey, target: &PeerId) -> bool {
        self.orders_for(network, target).any(|order| {
            self.held
                .get(order)
                .is_some_and(|held| held.parcel.source.claim == source)
        })
    }

    /// When the first that waits of this one's sender, for this one's target, expires.
    pub(super) fn deadline_of_first(&self, parcel: &Parcel) -> Option<Moment> {
        self.orders_for(&parcel.source.network, &parcel.target)
            .filter_map(|order| self.held.get(order))
            .find(|held| held.parcel.source.claim == parcel.source.claim)
            .map(|held| held.deadline)
    }

    fn orders_for(&self, network: &NetworkKey, target: &PeerId) -> impl Iterator<Item = &u64> {
        self.by_target
            .get(&(network.clone(), target.clone()))
            .into_iter()
            .flatten()
    }

    /// Takes all that wait for this target, but for those that `stays` keeps and, so that none is
    /// overtaken, what the same sender sent after one of these.
    pub(super) fn take_for(
        &mut self,
        network: &NetworkKey,
        target: &PeerId,
        stays: impl Fn(&Parcel) -> bool,
    ) -> Vec<Parcel> {
        let mut kept = BTreeSet::new();
        let mut leaving = Vec::new();
        for order in self.orders_for(network, target) {
            let Some(Held { parcel, .. }) = self.held.get(order) else {
                continue;
            };
            if kept.contains(&parcel.source.claim) || stays(parcel) {
                kept.insert(parcel.source.claim);
            } else {
                leaving.push(*order);
            }
        }
        leaving.iter().filter_map(|o| self.remove(*o)).collect()
    }

    /// The signal whose deadline passed first, if any has: its order, its network and its target.
    pub(super) fn overdue(&self, now: Moment) -> Option<(u64, NetworkKey, PeerId)> {
        let (deadline, order) = *self.deadlines.first()?;
        let parcel = &self.held.get(&order)?.parcel;
        (deadline <= now).then(|| (order, parcel.source.network.clone(), parcel.target.clone()))
    }

    /// When the next deadline passes.
    pub(super) fn first_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes one signal.
    pub(super) fn remove(&mut self, order: u64) -> Option<Parcel> {
        let Held { parcel, deadline } = self.held.remove(&order)?;
        self.bytes -= cost(&parcel);
        self.deadlines.remove(&(deadline, order));
        leave(&mut self.by_target, &target_of(&parcel), order);
        leave(&mut self.by_source, &parcel.source.claim, order);
        Some(parcel)
    }

    /// Forgets all of this claim.
    pub(super) fn forget_source(&mut self, source: ClaimNo) {
        for order in self.by_source.get(&source).cloned().unwrap_or_default() {
            self.remove(order);
        }
    }
}

fn target_of(parcel: &Parcel) -> (NetworkKey, PeerId) {
    (parcel.source.network.clone(), parcel.target.clone())
}

fn cost(parcel: &Parcel) -> usize {
    SIGNAL_COST + parcel.payload.len()
}

fn count(orders: Option<&BTreeSet<u64>>) -> usize {
    orders.map_or(0, BTreeSet::len)
}

fn leave<K: Ord>(index: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, order: u64) {
    if let Some(orders) = index.get_mut(key) {
        orders.remove(&order);
        if orders.is_empty() {
            index.remove(key);
        }
    }
}
