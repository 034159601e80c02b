//! Groups failures of one sender's signals, so that the sender is told once of failures that belong together.
//!
//! A call is an offer and its candidates, and a client reports each failure to its application. Signals that waited for
//! their target fail together, at once; signals that fail one by one are grouped here. A run begins with the first
//! failure for a target, and again with each failure of an offer or an answer. Other failures for that target belong to
//! the run. The run ends after a time without failures: as long as a signal may wait for its target, and [`TRICKLE`]
//! more.
//!
//! Bounded: [`KEPT`] targets for each claim, 2 KiB, and nothing before the first failure. A sender with failures for
//! more targets is told more often than needed, never too rarely. Knows no dialect and no clock; used by the registry.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long after a failure its sender may send more of the same call: a client finds its candidates one by one.
const TRICKLE: Duration = Duration::from_secs(5);

/// The most runs of one sender: more targets than a client calls at once.
const KEPT: usize = 64;

/// A target, by a hash of its name, and the end of its run.
type Run = (u64, Instant);

/// The runs of one claim.
#[derive(Debug, Default)]
pub struct Runs(Mutex<Option<Box<[Option<Run>; KEPT]>>>);

impl Runs {
    /// Whether the present failure belongs to a failure that its sender was told of. If not, a run begins. A signal of
    /// the sender may now wait for its target for `wait`.
    pub fn goes_with_one(&self, target: u64, begins: bool, now: Instant, wait: Duration) -> bool {
        let mut runs = self.0.lock();
        let runs = runs.get_or_insert_with(|| Box::new([None; KEPT]));
        let its = |run: &&mut Option<Run>| run.is_some_and(|(name, _)| name == target);
        let slot = match runs.iter_mut().find(its) {
            Some(slot) => Some(slot),
            None => runs
                .iter_mut()
                .min_by_key(|run| run.map(|(_, until)| until)),
        };
        let Some(slot) = slot else { return false };
        let goes_on = slot.is_some_and(|(name, until)| name == target && until > now);
        *slot = Some((target, now + wait + TRICKLE));
        goes_on && !begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn told(runs: &Runs, target: u64, begins: bool, now: Instant) -> bool {
        !runs.goes_with_one(target, begins, now, WAIT)
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
    fn a_run_ends_when_nothing_more_of_it_can_fail() {
        let (runs, now) = (Runs::default(), Instant::now());
        let lasts = WAIT + TRICKLE;
        assert!(told(&runs, 1, false, now));
        let last = now + lasts - Duration::from_millis(1);
        assert!(
            !told(&runs, 1, false, last),
            "what waited from the first on"
        );
        let end = last + lasts;
        assert!(!told(&runs, 1, false, end - Duration::from_millis(1)));
        assert!(told(&runs, 1, false, end + lasts), "another");
    }

    #[test]
    fn forty_calls_at_once_are_forty_words_however_their_candidates_come() {
        let (runs, now) = (Runs::default(), Instant::now());
        let at = |n: u64| now + Duration::from_millis(n);
        let mut words = 0;
        for failure in 0..40 * 9 {
            let (peer, is_offer) = (failure % 40, failure < 40);
            words += u32::from(told(&runs, peer, is_offer, at(failure)));
        }
        assert_eq!(words, 40);
    }

    #[test]
    fn more_runs_than_are_kept_cost_words_and_lose_none() {
        let (runs, now) = (Runs::default(), Instant::now());
        let at = |n: u64| now + Duration::from_millis(n);
        for target in 0..=KEPT as u64 {
            assert!(told(&runs, target, true, at(target)));
        }
        assert!(!told(&runs, 1, false, at(99)), "the second is kept");
        assert!(told(&runs, 0, false, at(99)), "the first gave way");
    }
}
