//! The waiting room: signals for a target that nobody holds, each until its own deadline.
//!
//! Owns the bounds per sender, per target and in all; where one that many share is reached, whoever has the most
//! waiting gives way, so that few cannot keep it to themselves. Must not know who holds what: the exchange says when
//! a target is there. Invariants: for one target, signals leave in the order in which they were accepted,
//! also those that were under way to another hub in between; nothing leaves without being given back.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClaimNo, Moment, NetworkKey, PeerId};

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
    by_target: BTreeMap<Target, Line>,
    by_source: BTreeMap<ClaimNo, Line>,
    bytes: usize,
}

/// Whom a signal is for.
type Target = (NetworkKey, PeerId);

/// What waits of one sender, or for one target.
#[derive(Debug, Default)]
struct Line {
    orders: BTreeSet<u64>,
    bytes: usize,
}

/// A bound that a signal would exceed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound {
    Sender,
    Target,
    All,
}

/// What became of a signal that was to wait.
#[derive(Debug, Default)]
pub(super) struct Entered {
    /// The signal itself, if it may not.
    pub(super) refused: Option<Parcel>,
    /// Those that gave way.
    pub(super) evicted: Vec<Parcel>,
}

impl Room {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Lets the signal wait until `deadline`, unless a bound forbids it.
    pub(super) fn enter(
        &mut self,
        parcel: Parcel,
        deadline: Moment,
        config: &ExchangeConfig,
    ) -> Entered {
        let mut entered = Entered::default();
        let target = target_of(&parcel);
        while let Some(bound) = self.exceeded(&parcel, &target, config) {
            let Some(order) = self.of_the_greediest(bound, parcel.source.claim, &target) else {
                entered.refused = Some(parcel);
                return entered;
            };
            entered.evicted.extend(self.remove(order));
        }
        let order = parcel.order;
        let cost = cost(&parcel);
        self.bytes += cost;
        self.deadlines.insert((deadline, order));
        let for_target = self.by_target.entry(target).or_default();
        for_target.add(order, cost);
        let of_source = self.by_source.entry(parcel.source.claim).or_default();
        of_source.add(order, cost);
        self.held.insert(order, Held { parcel, deadline });
        entered
    }

    fn exceeded(&self, parcel: &Parcel, target: &Target, config: &ExchangeConfig) -> Option<Bound> {
        let cost = cost(parcel);
        let full = |line: Option<&Line>, most: usize| {
            line.is_some_and(|line| {
                line.orders.len() >= most || line.bytes + cost > config.wait_line_bytes
            })
        };
        if full(
            self.by_source.get(&parcel.source.claim),
            config.wait_per_sender,
        ) {
            return Some(Bound::Sender);
        }
        if full(self.by_target.get(target), config.wait_per_target) {
            return Some(Bound::Target);
        }
        let all =
            self.held.len() >= config.wait_total || self.bytes + cost > config.wait_total_bytes;
        all.then_some(Bound::All)
    }

    /// The last signal of whoever has the most of those that share the bound; none if the sender
    /// `me` has as many.
    fn of_the_greediest(&self, bound: Bound, me: ClaimNo, target: &Target) -> Option<u64> {
        let shares: BTreeMap<ClaimNo, (usize, u64)> = match bound {
            Bound::Sender => return None,
            Bound::Target => {
                let line = self.by_target.get(target)?;
                let held = line
                    .orders
                    .iter()
                    .filter_map(|o| self.held.get(o).map(|h| (*o, h)));
                let mut shares = BTreeMap::new();
                for (order, held) in held {
                    let share = shares.entry(held.parcel.source.claim).or_insert((0, order));
                    *share = (share.0 + 1, order);
                }
                shares
            }
            Bound::All => {
                let last = |line: &Line| line.orders.last().map(|last| (line.orders.len(), *last));
                let lines = self.by_source.iter();
                lines
                    .filter_map(|(claim, line)| Some((*claim, last(line)?)))
                    .collect()
            }
        };
        let mine = shares.get(&me).map_or(0, |(count, _)| *count);
        let (most, order) = shares.values().max_by_key(|(count, _)| *count)?;
        (*most > mine + 1).then_some(*order)
    }

    /// Whether a signal waits for anybody in this network.
    pub(super) fn waits_in(&self, network: &NetworkKey) -> bool {
        let mut targets = self.by_target.keys();
        targets.any(|(of, _)| of == network)
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
            .flat_map(|line| &line.orders)
    }

    /// Takes all that one sender has waiting for one target.
    pub(super) fn take_of(
        &mut self,
        source: ClaimNo,
        network: &NetworkKey,
        target: &PeerId,
    ) -> Vec<Parcel> {
        let its = |order: &&u64| {
            let held = self.held.get(*order);
            held.is_some_and(|held| held.parcel.source.claim == source)
        };
        let orders: Vec<u64> = self
            .orders_for(network, target)
            .filter(its)
            .copied()
            .collect();
        orders.into_iter().filter_map(|o| self.remove(o)).collect()
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
        let cost = cost(&parcel);
        self.bytes -= cost;
        self.deadlines.remove(&(deadline, order));
        leave(&mut self.by_target, &target_of(&parcel), order, cost);
        leave(&mut self.by_source, &parcel.source.claim, order, cost);
        Some(parcel)
    }

    /// Forgets all of this claim.
    pub(super) fn forget_source(&mut self, source: ClaimNo) {
        let orders = self.by_source.get(&source).map(|line| line.orders.clone());
        for order in orders.unwrap_or_default() {
            self.remove(order);
        }
    }
}

fn target_of(parcel: &Parcel) -> Target {
    (parcel.source.network.clone(), parcel.target.clone())
}

fn cost(parcel: &Parcel) -> usize {
    SIGNAL_COST + parcel.payload.len()
}

impl Line {
    fn add(&mut self, order: u64, cost: usize) {
        self.orders.insert(order);
        self.bytes += cost;
    }
}

fn leave<K: Ord>(index: &mut BTreeMap<K, Line>, key: &K, order: u64, cost: usize) {
    if let Some(line) = index.get_mut(key) {
        line.orders.remove(&order);
        line.bytes -= cost;
        if line.orders.is_empty() {
            index.remove(key);
        }
    }
}
