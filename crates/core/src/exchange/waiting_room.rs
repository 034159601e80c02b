//! The waiting room: signals whose target is at no hub, each until its own deadline.
//!
//! Owns the bounds per sender, per target and in total. When a bound that many senders share is reached, a signal of
//! the sender with the most waiting signals is dropped, so that a few senders cannot fill it. Must not know the claims:
//! the exchange says when a target is there. Invariants: for one target, signals leave in the order in which they were
//! accepted, also those that were under way to another hub in between; each signal that leaves is returned.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::WantedId;
use crate::ids::{ClaimNo, Moment, NetworkKey, PeerId};

use super::PendingSignal;
use super::config::{ExchangeConfig, SIGNAL_COST};

#[derive(Debug)]
struct WaitingSignal {
    pending: PendingSignal,
    deadline: Moment,
}

/// The waiting room. Signals are known by their [`PendingSignal::order`].
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    held: BTreeMap<u64, WaitingSignal>,
    deadlines: BTreeSet<(Moment, u64)>,
    by_target: BTreeMap<TargetKey, Backlog>,
    by_source: BTreeMap<ClaimNo, Backlog>,
    bytes: usize,
}

/// The target of a signal, with its network.
type TargetKey = (NetworkKey, PeerId);

/// The signals of one sender, or for one target, that wait.
#[derive(Debug, Default)]
struct Backlog {
    orders: BTreeSet<u64>,
    bytes: usize,
}

/// A bound that a signal would exceed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WaitBound {
    Sender,
    TargetKey,
    All,
}

/// The result for a signal that should wait.
#[derive(Debug, Default)]
pub(super) struct EnterOutcome {
    /// The signal itself, if it may not wait.
    pub(super) refused: Option<PendingSignal>,
    /// The signals that were dropped for it.
    pub(super) evicted: Vec<PendingSignal>,
}

impl WaitingRoom {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The targets that signals wait for, in order.
    pub(super) fn targets(&self) -> impl Iterator<Item = WantedId<'_>> {
        self.by_target
            .iter()
            .filter_map(|((network, peer), backlog)| {
                let held = backlog.orders.iter().filter_map(|o| self.held.get(o));
                let since = held.filter_map(|waiting| waiting.pending.waits_since);
                Some(WantedId {
                    network,
                    peer,
                    count: backlog.orders.len(),
                    since: since.min()?,
                })
            })
    }

    /// Lets the signal wait until `deadline`, unless a bound forbids it.
    pub(super) fn enter(
        &mut self,
        mut pending: PendingSignal,
        now: Moment,
        deadline: Moment,
        config: &ExchangeConfig,
    ) -> EnterOutcome {
        let mut entered = EnterOutcome::default();
        let target = target_of(&pending);
        while let Some(bound) = self.exceeded(&pending, &target, config) {
            let Some(order) = self.last_of_largest_share(bound, pending.source.claim, &target)
            else {
                entered.refused = Some(pending);
                return entered;
            };
            entered.evicted.extend(self.remove(order));
        }
        let order = pending.order;
        let cost = cost(&pending);
        self.bytes += cost;
        self.deadlines.insert((deadline, order));
        let for_target = self.by_target.entry(target).or_default();
        for_target.add(order, cost);
        let of_source = self.by_source.entry(pending.source.claim).or_default();
        of_source.add(order, cost);
        pending.waits_since.get_or_insert(now);
        self.held.insert(order, WaitingSignal { pending, deadline });
        entered
    }

    fn exceeded(
        &self,
        pending: &PendingSignal,
        target: &TargetKey,
        config: &ExchangeConfig,
    ) -> Option<WaitBound> {
        let cost = cost(pending);
        let full = |backlog: Option<&Backlog>, most: usize| {
            backlog.is_some_and(|backlog| {
                backlog.orders.len() >= most || backlog.bytes + cost > config.wait_backlog_bytes
            })
        };
        if full(
            self.by_source.get(&pending.source.claim),
            config.wait_per_sender,
        ) {
            return Some(WaitBound::Sender);
        }
        if full(self.by_target.get(target), config.wait_per_target) {
            return Some(WaitBound::TargetKey);
        }
        let all =
            self.held.len() >= config.wait_total || self.bytes + cost > config.wait_total_bytes;
        all.then_some(WaitBound::All)
    }

    /// The last signal of the sender with the most waiting signals, among those that share the bound; `None` if `me`
    /// has as many.
    fn last_of_largest_share(
        &self,
        bound: WaitBound,
        me: ClaimNo,
        target: &TargetKey,
    ) -> Option<u64> {
        let shares: BTreeMap<ClaimNo, (usize, u64)> = match bound {
            WaitBound::Sender => return None,
            WaitBound::TargetKey => {
                let backlog = self.by_target.get(target)?;
                let held = backlog
                    .orders
                    .iter()
                    .filter_map(|o| self.held.get(o).map(|h| (*o, h)));
                let mut shares = BTreeMap::new();
                for (order, held) in held {
                    let share = shares
                        .entry(held.pending.source.claim)
                        .or_insert((0, order));
                    *share = (share.0 + 1, order);
                }
                shares
            }
            WaitBound::All => {
                let last = |backlog: &Backlog| {
                    backlog
                        .orders
                        .last()
                        .map(|last| (backlog.orders.len(), *last))
                };
                let backlogs = self.by_source.iter();
                backlogs
                    .filter_map(|(claim, backlog)| Some((*claim, last(backlog)?)))
                    .collect()
            }
        };
        let mine = shares.get(&me).map_or(0, |(count, _)| *count);
        let (most, order) = shares.values().max_by_key(|(count, _)| *count)?;
        (*most > mine + 1).then_some(*order)
    }

    /// Whether a signal waits for any target in this network.
    pub(super) fn waits_in(&self, network: &NetworkKey) -> bool {
        let mut targets = self.by_target.keys();
        targets.any(|(of, _)| of == network)
    }

    /// Whether a signal of this claim waits for this target.
    pub(super) fn has_waiting(
        &self,
        source: ClaimNo,
        network: &NetworkKey,
        target: &PeerId,
    ) -> bool {
        self.orders_for(network, target).any(|order| {
            self.held
                .get(order)
                .is_some_and(|held| held.pending.source.claim == source)
        })
    }

    /// When the first waiting signal of this one's sender to this one's target expires.
    pub(super) fn deadline_of_first(&self, pending: &PendingSignal) -> Option<Moment> {
        self.orders_for(&pending.source.network, &pending.target)
            .filter_map(|order| self.held.get(order))
            .find(|held| held.pending.source.claim == pending.source.claim)
            .map(|held| held.deadline)
    }

    fn orders_for(&self, network: &NetworkKey, target: &PeerId) -> impl Iterator<Item = &u64> {
        self.by_target
            .get(&(network.clone(), target.clone()))
            .into_iter()
            .flat_map(|backlog| &backlog.orders)
    }

    /// Removes all signals of one sender that wait for one target.
    pub(super) fn take_of(
        &mut self,
        source: ClaimNo,
        network: &NetworkKey,
        target: &PeerId,
    ) -> Vec<PendingSignal> {
        let its = |order: &&u64| {
            let held = self.held.get(*order);
            held.is_some_and(|held| held.pending.source.claim == source)
        };
        let orders: Vec<u64> = self
            .orders_for(network, target)
            .filter(its)
            .copied()
            .collect();
        orders.into_iter().filter_map(|o| self.remove(o)).collect()
    }

    /// Removes all signals that wait for this target, except those that `stays` keeps and later ones of the same
    /// sender, so that none is overtaken.
    pub(super) fn take_for(
        &mut self,
        network: &NetworkKey,
        target: &PeerId,
        stays: impl Fn(&PendingSignal) -> bool,
    ) -> Vec<PendingSignal> {
        let mut kept = BTreeSet::new();
        let mut leaving = Vec::new();
        for order in self.orders_for(network, target) {
            let Some(WaitingSignal { pending, .. }) = self.held.get(order) else {
                continue;
            };
            if kept.contains(&pending.source.claim) || stays(pending) {
                kept.insert(pending.source.claim);
            } else {
                leaving.push(*order);
            }
        }
        leaving.iter().filter_map(|o| self.remove(*o)).collect()
    }

    /// The signal whose deadline passed first, if any has: its order, its network and its target.
    pub(super) fn overdue(&self, now: Moment) -> Option<(u64, NetworkKey, PeerId)> {
        let (deadline, order) = *self.deadlines.first()?;
        let pending = &self.held.get(&order)?.pending;
        (deadline <= now).then(|| {
            (
                order,
                pending.source.network.clone(),
                pending.target.clone(),
            )
        })
    }

    /// When the next deadline passes.
    pub(super) fn first_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Removes one signal.
    pub(super) fn remove(&mut self, order: u64) -> Option<PendingSignal> {
        let WaitingSignal { pending, deadline } = self.held.remove(&order)?;
        let cost = cost(&pending);
        self.bytes -= cost;
        self.deadlines.remove(&(deadline, order));
        leave(&mut self.by_target, &target_of(&pending), order, cost);
        leave(&mut self.by_source, &pending.source.claim, order, cost);
        Some(pending)
    }

    /// Forgets all signals of this claim.
    pub(super) fn forget_source(&mut self, source: ClaimNo) {
        let orders = self
            .by_source
            .get(&source)
            .map(|backlog| backlog.orders.clone());
        for order in orders.unwrap_or_default() {
            self.remove(order);
        }
    }
}

fn target_of(pending: &PendingSignal) -> TargetKey {
    (pending.source.network.clone(), pending.target.clone())
}

fn cost(pending: &PendingSignal) -> usize {
    SIGNAL_COST + pending.payload.len()
}

impl Backlog {
    fn add(&mut self, order: u64, cost: usize) {
        self.orders.insert(order);
        self.bytes += cost;
    }
}

fn leave<K: Ord>(index: &mut BTreeMap<K, Backlog>, key: &K, order: u64, cost: usize) {
    if let Some(backlog) = index.get_mut(key) {
        backlog.orders.remove(&order);
        backlog.bytes -= cost;
        if backlog.orders.is_empty() {
            index.remove(key);
        }
    }
}
