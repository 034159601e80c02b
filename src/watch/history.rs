//! The counts of the last hour, in steps of ten seconds.
//!
//! A step is the difference of two readings of metrics, so the data path does not count anything for it. Steps begin at
//! multiples of ten seconds of the wall clock, so that the steps of several hubs can be added up. Knows no hub except this
//! one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use utoipa::ToSchema;

use crate::clock::unix_ms;
use crate::metrics::{Label, Metrics, Refusal};

/// The length of a step, in milliseconds.
pub(crate) const STEP_MS: u64 = 10_000;
/// The number of steps that are kept.
const STEPS: usize = 360;
/// The most reasons that are accepted from another hub, and the longest reason in bytes.
const MAX_REASONS: usize = 64;
const MAX_REASON_BYTES: usize = 64;
/// The reasons for which joins of connected peers are refused.
const OF_JOINS: [&str; 8] = [
    "id-taken",
    "takeover-limit",
    "room-full",
    "room-exists",
    "no-such-room",
    "too-many-rooms",
    "banned",
    "too-many-rooms-of-address",
];

/// The counts of one step.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Step {
    /// The start of the step, in steps since 1970.
    number: u64,
    joins: u64,
    leaves: u64,
    signals: u64,
    failures: u64,
    /// Each reason's index in `reasons`, with its count.
    refusals: Vec<(u8, u64)>,
}

/// The steps of one hub, for an hour at most.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Past {
    reasons: Vec<String>,
    steps: Vec<Step>,
}

/// A reading of the metrics.
#[derive(Clone, Default)]
struct Count {
    joins: u64,
    leaves: u64,
    signals: u64,
    failures: u64,
    refusals: Vec<u64>,
}

#[derive(Default)]
struct State {
    seen: Count,
    steps: VecDeque<Step>,
}

/// The last hour of this hub.
pub struct History {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

impl History {
    /// A history without steps.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        History {
            metrics,
            state: Mutex::default(),
        }
    }

    /// Reads the metrics at the end of each step. Never ends.
    pub async fn follow(&self) {
        self.state.lock().seen = self.count();
        loop {
            let into = unix_ms() % STEP_MS;
            sleep(Duration::from_millis(STEP_MS - into)).await;
            // The clock may be changed, and a sleep may end a moment early.
            self.look((unix_ms() + STEP_MS / 2) / STEP_MS - 1);
        }
    }

    fn count(&self) -> Count {
        let metrics = &self.metrics;
        let refused = Refusal::ALL.iter();
        let refused = refused.map(|reason| metrics.refusals.of(*reason).get());
        let joins = OF_JOINS.iter();
        let joins = joins.map(|label| metrics.operating.joins_refused.handle(label).get());
        Count {
            joins: metrics.operating.joins.get(),
            leaves: metrics.operating.leaves.get(),
            signals: metrics.signals_routed.total(),
            failures: metrics.signals_failed.total(),
            refusals: refused.chain(joins).collect(),
        }
    }

    /// Adds the step of this number, which is over.
    fn look(&self, number: u64) {
        let now = self.count();
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.seen, now.clone());
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let refusals = now.refusals.iter().zip(&before.refusals).zip(0..);
        let refusals = refusals
            .map(|((now, before), reason)| (reason, since(*now, *before)))
            .filter(|(_, count)| *count > 0);
        let step = Step {
            number,
            joins: since(now.joins, before.joins),
            leaves: since(now.leaves, before.leaves),
            signals: since(now.signals, before.signals),
            failures: since(now.failures, before.failures),
            refusals: refusals.collect(),
        };
        if state.steps.len() == STEPS {
            state.steps.pop_front();
        }
        state.steps.push_back(step);
    }

    /// The steps of this hub.
    pub fn past(&self) -> Past {
        let reasons = Refusal::ALL.iter().map(|reason| reason.word());
        Past {
            reasons: reasons.chain(OF_JOINS).map(str::to_owned).collect(),
            steps: self.state.lock().steps.iter().cloned().collect(),
        }
    }
}

/// The added counts of several hubs, in columns of equal length.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Columns {
    /// The length of a step, in milliseconds.
    pub step_ms: u64,
    /// The start of each step, in Unix milliseconds.
    pub t: Vec<u64>,
    /// Joins of networks.
    pub joins: Vec<u64>,
    /// Leaves of networks.
    pub leaves: Vec<u64>,
    /// Signals that were delivered or sent on.
    pub signals: Vec<u64>,
    /// Signals that failed.
    pub failures: Vec<u64>,
    /// A column of refusals for each reason.
    pub refusals: BTreeMap<String, Vec<u64>>,
}

impl Past {
    /// Whether a hub of this version could have sent this.
    pub(crate) fn is_bounded(&self) -> bool {
        let short = |reason: &String| reason.len() <= MAX_REASON_BYTES;
        self.steps.len() <= STEPS
            && self.reasons.len() <= MAX_REASONS
            && self.reasons.iter().all(short)
    }

    /// Adds up the steps of these hubs.
    pub(crate) fn sum<'a>(all: impl IntoIterator<Item = &'a Past>) -> Columns {
        let mut by_number: BTreeMap<u64, (Step, BTreeMap<&str, u64>)> = BTreeMap::new();
        for past in all {
            for step in &past.steps {
                let (sum, refusals) = by_number.entry(step.number).or_default();
                sum.joins = sum.joins.saturating_add(step.joins);
                sum.leaves = sum.leaves.saturating_add(step.leaves);
                sum.signals = sum.signals.saturating_add(step.signals);
                sum.failures = sum.failures.saturating_add(step.failures);
                for (reason, count) in &step.refusals {
                    if let Some(reason) = past.reasons.get(usize::from(*reason)) {
                        let sum = refusals.entry(reason.as_str()).or_default();
                        *sum = sum.saturating_add(*count);
                    }
                }
            }
        }
        // Clocks differ, so several hubs together may have more steps than one.
        let skip = by_number.len().saturating_sub(STEPS);
        let steps: Vec<_> = by_number.into_iter().skip(skip).collect();
        let mut columns = Columns {
            step_ms: STEP_MS,
            ..Columns::default()
        };
        for (at, (number, (step, refusals))) in steps.iter().enumerate() {
            columns.t.push(number.saturating_mul(STEP_MS));
            columns.joins.push(step.joins);
            columns.leaves.push(step.leaves);
            columns.signals.push(step.signals);
            columns.failures.push(step.failures);
            for (reason, count) in refusals {
                let column = columns.refusals.entry((*reason).to_owned());
                let column = column.or_insert_with(|| vec![0; steps.len()]);
                if let Some(cell) = column.get_mut(at) {
                    *cell = *count;
                }
            }
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_the_counts_since_the_step_before() {
        let metrics = Metrics::new();
        let history = History::new(Arc::clone(&metrics));
        metrics.refusals.inc(Refusal::Full);
        history.look(5);
        metrics.operating.joins.inc_by(3);
        metrics.refusals.inc(Refusal::Full);
        metrics.operating.joins_refused.inc("banned");
        history.look(6);
        history.look(7);
        let columns = Past::sum([&history.past()]);
        assert_eq!(columns.t, [50_000, 60_000, 70_000]);
        assert_eq!(columns.joins, [0, 3, 0]);
        assert_eq!(columns.refusals["full"], [0, 1, 0]);
        assert_eq!(columns.refusals["banned"], [0, 1, 0]);
        assert_eq!(columns.refusals.len(), 2, "only what occurred");
    }

    #[test]
    fn no_more_than_an_hour_is_kept() {
        let history = History::new(Metrics::new());
        for number in 0..1_000 {
            history.look(number);
        }
        let past = history.past();
        assert!(past.is_bounded());
        let columns = Past::sum([&past]);
        assert_eq!((columns.t.len(), columns.t[0]), (STEPS, 6_400_000));
    }

    #[test]
    fn hubs_are_added_up_by_the_clock() {
        let past = |number: u64, joins: u64| Past {
            reasons: vec!["full".into()],
            steps: vec![Step {
                number,
                joins,
                refusals: vec![(0, 1), (9, 7)],
                ..Step::default()
            }],
        };
        let columns = Past::sum([&past(1, 2), &past(1, 3), &past(2, 4)]);
        assert_eq!(
            (columns.t, columns.joins),
            (vec![10_000, 20_000], vec![5, 4])
        );
        assert_eq!(columns.refusals["full"], [2, 1]);
    }
}
