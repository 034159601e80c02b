//! Whether the holders of contested ids are alive.
//!
//! However many want an id, its holder is asked once: whoever comes while the question is open waits for the same
//! answer, and for a moment after a holder has shown itself alive nobody asks it again. So what a holder is asked costs
//! it the same, however often strangers name its id. Holds what waits for an answer and knows nothing of ids.
//!
//! Invariants: one question is open for each claim; each asker gets one answer.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;

use super::super::ids::{ClaimNo, HubId, Moment};

/// For how long after a sign of life a holder is taken to be alive.
const FRESH: Duration = Duration::from_secs(1);
/// The most contests of one other hub that wait for the same answer: twice as many as a hub lets newcomers contest one
/// id, because it withdraws contests without saying so.
pub(super) const MAX_ASKERS_OF_HUB: usize = 32;

/// One that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A join of this hub's own, by its token.
    Local { token: u64 },
    /// A contest of another hub, by its token.
    Hub { hub: HubId, token: u64 },
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The claim's peer is to be probed, under this token.
    Probe(u64),
    /// It is being probed.
    Joined,
    /// It has shown itself alive just now.
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

    /// A hub asks about a holder. `token` is a new one, higher than all before.
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

    /// The question with this token has its answer. A holder that is alive need not say so again for a moment; of a
    /// newcomer, which holds nothing yet, that is not remembered.
    pub(super) fn answer(&mut self, now: Moment, token: u64, alive: bool) -> Option<Probe> {
        let probe = self.open.remove(&token)?;
        self.by_claim.remove(&probe.claim);
        if alive {
            self.alive.insert(probe.claim, now);
        }
        Some(probe)
    }

    /// A newcomer holds the id from now on: that it was alive before counts no longer.
    pub(super) fn on_claimed(&mut self, claim: ClaimNo) {
        self.alive.remove(&claim);
    }

    /// The claim is no more; the question about it, if one was open.
    pub(super) fn on_gone(&mut self, claim: ClaimNo) -> Option<Probe> {
        self.alive.remove(&claim);
        let token = self.by_claim.remove(&claim)?;
        self.open.remove(&token)
    }

    /// The next question that has waited long enough.
    pub(super) fn next_overdue(&self, now: Moment) -> Option<u64> {
        // Deadlines rise with the tokens, since every wait is equally long.
        let (token, probe) = self.open.first_key_value()?;
        (probe.deadline <= now).then_some(*token)
    }

    /// Forgets signs of life that are old.
    pub(super) fn forget(&mut self, now: Moment) {
        self.alive.retain(|_, at| now - *at < FRESH);
    }

    /// When a question next has waited long enough.
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
