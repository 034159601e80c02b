//! The joins that wait for a verdict, bounded.
//!
//! Their number is bounded in total, for each id and for each address. When no more may wait for an id, the address
//! that has the most of them loses its latest join to a newcomer from elsewhere, so that no address can keep others out
//! by asking often. Decides nothing else.
//!
//! Invariants: a join waits once; the indices name exactly those that wait.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::super::api::{Join, JoinRefusal, WantedId};
use super::super::exchange::Found;
use super::super::ids::{ClaimNo, Moment, NetworkKey, PeerId};
use crate::reach::AddressGroup;

/// The most joins that wait at once: 100,000, about 40 MB.
const MAX_PENDING: usize = 100_000;
/// The most joins that wait for one id.
pub(super) const MAX_FOR_ID: usize = 16;
/// The most joins that wait from one address.
const MAX_OF_ADDRESS: usize = 1_024;

/// A contested id, with its network.
pub(super) type ContestedId = (NetworkKey, PeerId);

/// A newcomer that wants an id which is not free.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) join: Join,
    /// The refusal that it gets if it does not get the id.
    pub(super) refusal: JoinRefusal,
    pub(super) attempt: Attempt,
}

/// How a newcomer has fared so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// When it asked.
    pub(super) since: Moment,
    /// How often it was contested again because the holder changed meanwhile.
    pub(super) tries: u8,
}

/// The event for which a join waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// A verdict on this holder.
    Against(Found),
    /// A sign of life of its own client: the holder was found to be dead or gone, or there was none.
    Proving(Option<Found>),
}

/// A join that waits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) contender: Contender,
    pub(super) stage: Stage,
    pub(super) deadline: Moment,
}

/// No more joins may wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyContests;

/// All joins that wait, by token.
#[derive(Debug, Default)]
pub(super) struct PendingJoins {
    all: BTreeMap<u64, Pending>,
    by_claim: HashMap<ClaimNo, u64>,
    /// The oldest first.
    by_id: BTreeMap<ContestedId, Vec<u64>>,
    by_address: HashMap<AddressGroup, usize>,
}

impl PendingJoins {
    /// Adds a join. Its token is higher than all before, and its deadline no earlier than theirs.
    pub(super) fn insert(&mut self, token: u64, pending: Pending) {
        let join = &pending.contender.join;
        self.by_claim.insert(join.claim, token);
        self.by_id.entry(id_of(join)).or_default().push(token);
        *self.by_address.entry(join.address).or_default() += 1;
        self.all.insert(token, pending);
    }

    /// Removes a join.
    pub(super) fn remove(&mut self, token: u64) -> Option<Pending> {
        let pending = self.all.remove(&token)?;
        let join = &pending.contender.join;
        self.by_claim.remove(&join.claim);
        let id = id_of(join);
        if let Some(rivals) = self.by_id.get_mut(&id) {
            rivals.retain(|rival| *rival != token);
            if rivals.is_empty() {
                self.by_id.remove(&id);
            }
        }
        if let Some(count) = self.by_address.get_mut(&join.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&join.address);
            }
        }
        Some(pending)
    }

    /// The event for which the join with this token waits.
    pub(super) fn stage(&self, token: u64) -> Option<Stage> {
        Some(self.all.get(&token)?.stage)
    }

    /// The token of this claim's join, if it waits.
    pub(super) fn token_of(&self, claim: ClaimNo) -> Option<u64> {
        self.by_claim.get(&claim).copied()
    }

    /// This claim's join, if it waits.
    pub(super) fn join_mut(&mut self, claim: ClaimNo) -> Option<&mut Join> {
        let pending = self.all.get_mut(self.by_claim.get(&claim)?)?;
        Some(&mut pending.contender.join)
    }

    /// Whether a join waits for an id in this network.
    pub(super) fn wants(&self, network: &NetworkKey) -> bool {
        self.by_id.keys().any(|(wanted, _)| wanted == network)
    }

    /// Whether a join already waits for the id that this join asks for.
    pub(super) fn contains_rival_of(&self, join: &Join) -> bool {
        // Almost no id is contested; then no key is built.
        !self.by_id.is_empty() && self.by_id.contains_key(&id_of(join))
    }

    /// Makes space for one more join. Returns the join that was dropped for it, if any.
    pub(super) fn make_space(&mut self, join: &Join) -> Result<Option<Pending>, TooManyContests> {
        let own = self.by_address.get(&join.address).copied().unwrap_or(0);
        if self.all.len() >= MAX_PENDING || own >= MAX_OF_ADDRESS {
            return Err(TooManyContests);
        }
        let rivals = self.by_id.get(&id_of(join)).map_or(&[][..], Vec::as_slice);
        if rivals.len() < MAX_FOR_ID {
            return Ok(None);
        }
        let count = |from: Option<AddressGroup>| {
            let theirs = rivals.iter().filter(|rival| self.address(rival) == from);
            theirs.count()
        };
        // Of addresses with equally many joins, the latest join.
        let loudest = rivals.iter().max_by_key(|rival| count(self.address(rival)));
        let fair = count(Some(join.address)) + 1;
        let loudest = loudest.filter(|rival| count(self.address(rival)) > fair);
        match loudest.copied() {
            Some(rival) => Ok(self.remove(rival)),
            None => Err(TooManyContests),
        }
    }

    fn address(&self, token: &u64) -> Option<AddressGroup> {
        Some(self.all.get(token)?.contender.join.address)
    }

    /// The next join whose deadline has passed.
    pub(super) fn next_overdue(&self, now: Moment) -> Option<u64> {
        let (token, pending) = self.all.first_key_value()?;
        (pending.deadline <= now).then_some(*token)
    }

    /// The next deadline.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.all.values().next().map(|pending| pending.deadline)
    }

    /// The contested ids, each with its number of joins and when the first of them asked.
    pub(super) fn ids(&self) -> impl Iterator<Item = WantedId<'_>> {
        self.by_id.iter().filter_map(|((network, peer), rivals)| {
            let waiting = rivals.iter().filter_map(|rival| self.all.get(rival));
            let since = waiting.map(|pending| pending.contender.attempt.since);
            Some(WantedId {
                network,
                peer,
                count: rivals.len(),
                since: since.min()?,
            })
        })
    }

    /// The number of waiting joins.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

/// The contested id of this join.
pub(super) fn id_of(join: &Join) -> ContestedId {
    (join.network.clone(), join.peer.clone())
}
