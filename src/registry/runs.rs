//! Which failures of one sender's signals belong together, so that it is told of them once.
//!
//! A call is an offer and its candidates, and a client reports each word of failure to its application. What waited for
//! its target fails together, at once; what fails as it comes is gathered here. A run begins with the first failure
//! for a target, and anew with each that is for a call or its answer; what else fails for that target within [`LASTS`]
//! goes with it.
//!
//! Bounded: [`KEPT`] targets for each claim, and nothing before the first failure. Who fails with more targets than
//! that in turn hears more words than needed, and never fewer. Knows no dialect and no clock; used by the registry.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a run lasts: as long as a signal waits for its target by default.
const LASTS: Duration = Duration::from_secs(5);

/// How many runs of one sender are told apart.
const KEPT: usize = 8;

/// A target, by a hash of its name, and the end of its run.
type Run = (u64, Instant);

/// The runs of one claim.
#[derive(Debug, Default)]
pub struct Runs(Mutex<Option<Box<[Option<Run>; KEPT]>>>);

impl Runs {
    /// Whether the failure that happens now goes with one that its sender was told of. If not, a run begins.
    pub fn goes_with_one(&self, target: u64, begins: bool, now: Instant) -> bool {
        let mut runs = self.0.lock();
        let runs = runs.get_or_insert_default();
        let its = |run: &&mut Option<Run>| run.is_some_and(|(name, _)| name == target);
        let slot = match runs.iter_mut().find(its) {
            Some(Some((_, until))) if *until > now && !begins => return true,
            Some(slot) => Some(slot),
            None => runs
                .iter_mut()
                .min_by_key(|run| run.map(|(_, until)| until)),
        };
        if let Some(slot) = slot {
            *slot = Some((target, now + LASTS));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(runs: &Runs, target: u64, begins: bool, now: Instant) -> bool {
        !runs.goes_with_one(target, begins, now)
    }

    #[test]
    fn a_call_and_what_follows_it_is_one_run_and_the_next_call_another() {
        let (runs, now) = (Runs::default(), Instant::now());
        assert!(told(&runs, 1, true, now));
        for _ in 0..8 {
            assert!(!told(&runs, 1, false, now));
        }
        assert!(told(&runs, 2, false, now), "another target");
        assert!(!told(&runs, 1, false, now), "the first goes on beside it");
        assert!(told(&runs, 1, true, now), "another call");
        assert!(!told(&runs, 1, false, now));
    }

    #[test]
    fn a_run_ends_in_time() {
        let (runs, now) = (Runs::default(), Instant::now());
        assert!(told(&runs, 1, false, now));
        let last = now + LASTS - Duration::from_millis(1);
        assert!(!told(&runs, 1, false, last));
        assert!(told(&runs, 1, false, now + LASTS));
        assert!(!told(&runs, 1, false, now + LASTS));
    }

    #[test]
    fn more_runs_than_are_kept_cost_words_and_lose_none() {
        let (runs, now) = (Runs::default(), Instant::now());
        let at = |n: u64| now + Duration::from_millis(n);
        for target in 0..=KEPT as u64 {
            assert!(told(&runs, target, true, at(target)));
        }
        assert!(!told(&runs, 1, false, at(20)), "the second is kept");
        assert!(told(&runs, 0, false, at(20)), "the first gave way");
    }
}
