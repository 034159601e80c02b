//! Finds out whether the holders of contested ids are alive.
//!
//! A holder is asked once, however many newcomers want its id: newcomers that come while the question is open wait for
//! the same answer. For a moment after a sign of life, the holder is not asked again. So the questions cost the holder
//! the same, however often strangers name its id. Keeps the open questions, and knows nothing of ids.
//!
//! Invariants: one question is open for each claim; each asker gets one answer.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;

use super::super::ids::{ClaimNo, HubId, Moment};

/// For how long after a sign of life a holder is taken to be alive.
const FRESH: Duration = Duration::from_secs(1);
/// The most contests of one other hub that wait for the same answer: twice the number of newcomers that a hub lets
/// contest one id, because it withdraws contests without a message.
pub(super) const MAX_ASKERS_OF_HUB: usize = 32;

/// A join or contest that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A join of this hub's own, by its token.
    Local { token: u64 },
    /// A contest of another hub, by its token.
    Hub { hub: HubId, token: u64 },
}

/// The result of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The claim's peer has to be probed, under this token.
    Probe(u64),
    /// The peer is already being probed.
    Joined,
    /// The peer has shown a sign of life just now.
    Alive,
    /// The asker's hub has asked too often.
    TooMany,
}

/// One open question.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) claim: ClaimNo,
    pub(super) askers: Vec<Asker>,
    deadline: Moment,
}

/// All open questions.
#[derive(Debug)]
pub(super) struct Probes {
    within: Duration,
    open: BTreeMap<u64, Probe>,
    by_claim: HashMap<ClaimNo, u64>,
    alive: HashMap<ClaimNo, Moment>,
}

impl Probes {
    /// No questions yet; each will be open for `within`.
    pub(super) fn new(within: Duration) -> Self {
        Probes {
            within,
            open: BTreeMap::new(),
            by_claim: HashMap::new(),
            alive: HashMap::new(),
        }
    }

    /// A join or contest asks about a holder. `token` is a new one, higher than all before.
    pub(super) fn ask(&mut self, now: Moment, claim: ClaimNo, asker: Asker, token: u64) -> Asked {
        if self.alive.get(&claim).is_some_and(|at| now - *at < FRESH) {
            return Asked::Alive;
        }
        let open = self.by_claim.get(&claim);
        if let Some(probe) = open.and_then(|open| self.open.get_mut(open)) {
            return probe.join(asker);
        }
        let probe = Probe {
            claim,
            askers: vec![asker],
            deadline: now + self.within,
        };
        self.open.insert(token, probe);
        self.by_claim.insert(claim, token);
        Asked::Probe(token)
    }

    /// The question with this token has its answer. A living holder is not asked again for a moment. A newcomer, which
    /// holds nothing yet, gets no such pause.
    pub(super) fn answer(&mut self, now: Moment, token: u64, alive: bool) -> Option<Probe> {
        let probe = self.open.remove(&token)?;
        self.by_claim.remove(&probe.claim);
        if alive {
            self.alive.insert(probe.claim, now);
        }
        Some(probe)
    }

    /// A newcomer holds the id from now on: earlier signs of life no longer count.
    pub(super) fn on_claimed(&mut self, claim: ClaimNo) {
        self.alive.remove(&claim);
    }

    /// The claim is over; returns the question about it, if one was open.
    pub(super) fn on_gone(&mut self, claim: ClaimNo) -> Option<Probe> {
        self.alive.remove(&claim);
        let token = self.by_claim.remove(&claim)?;
        self.open.remove(&token)
    }

    /// The next question whose time is over.
    pub(super) fn next_overdue(&self, now: Moment) -> Option<u64> {
        // Deadlines rise with the tokens, since every wait is equally long.
        let (token, probe) = self.open.first_key_value()?;
        (probe.deadline <= now).then_some(*token)
    }

    /// Forgets signs of life that are old.
    pub(super) fn forget(&mut self, now: Moment) {
        self.alive.retain(|_, at| now - *at < FRESH);
    }

    /// When the time of the next question is over.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.open.values().next().map(|probe| probe.deadline)
    }
}

impl Probe {
    fn join(&mut self, asker: Asker) -> Asked {
        if let Asker::Hub { hub: asking, .. } = asker {
            let of_hub = |asker: &&Asker| matches!(asker, Asker::Hub { hub, .. } if *hub == asking);
            if self.askers.iter().filter(of_hub).count() >= MAX_ASKERS_OF_HUB {
                return Asked::TooMany;
            }
        }
        self.askers.push(asker);
        Asked::Joined
    }
}
