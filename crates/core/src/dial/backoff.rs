//! When an address may be dialled again.

use std::time::Duration;

use super::super::api::DialFailure;
use super::super::ids::Moment;
use super::super::rng::Rng;
use super::DialConfig;

/// Failures in a row, and the wait after them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    /// How many dials in a row made no link.
    failed: u32,
    /// How many links in a row did not last.
    lost: u32,
    next: Moment,
    /// The other end asked for a pause.
    rest: Moment,
    /// The other end is full and asked for a pause: it holds as long as that hub can be reached.
    full: Moment,
}

impl Backoff {
    pub(super) fn from(next: Moment) -> Self {
        Backoff {
            next,
            ..Backoff::default()
        }
    }

    /// Both together.
    pub(super) fn attempt(&self) -> u32 {
        self.failed.saturating_add(self.lost)
    }

    /// When to dial.
    pub(super) fn due(&self) -> Moment {
        self.next.max(self.rests_until())
    }

    /// The end of the pause that the other end asked for.
    pub(super) fn rests_until(&self) -> Moment {
        self.rest.max(self.full)
    }

    /// The ceiling of the next wait.
    pub(super) fn ceiling(&self, config: &DialConfig) -> Duration {
        let doubled = config
            .backoff_first
            .saturating_mul(1_u32.checked_shl(self.attempt()).unwrap_or(u32::MAX));
        doubled.min(config.backoff_most)
    }

    /// Waits a random part of the ceiling, and doubles the ceiling for the next time.
    pub(super) fn fail(&mut self, now: Moment, config: &DialConfig, rng: &mut Rng) {
        self.on_failure(now, DialFailure::Unreachable, config, rng);
    }

    /// As above, for a dial that made no link.
    pub(super) fn on_failure(
        &mut self,
        now: Moment,
        why: DialFailure,
        config: &DialConfig,
        rng: &mut Rng,
    ) {
        let ceiling = match why {
            DialFailure::Unreachable => self.ceiling(config),
            DialFailure::Refused => self.ceiling(config).max(config.backoff_refused),
        };
        self.fail_for(now, ceiling.mul_f64(rng.unit()));
    }

    /// Ends the wait at this time at the latest.
    pub(super) fn wait_at_most(&mut self, until: Moment) {
        self.next = self.next.min(until);
    }

    /// Waits this long, and counts a failure.
    pub(super) fn fail_for(&mut self, now: Moment, wait: Duration) {
        self.next = now + wait;
        self.failed = self.failed.saturating_add(1);
    }

    /// The address answered: how often it did not says nothing any more. Links that did not last still count, so that an
    /// address that answers and fails by turns is dialled less and less often.
    pub(super) fn answered(&mut self) {
        self.failed = 0;
    }

    /// Resets everything: dial at once, and wait little after the next failure.
    pub(super) fn reset(&mut self) {
        *self = Backoff::default();
    }

    /// A link was lost: one that lasted resets the ceiling. A pause that the other end asked for still holds.
    pub(super) fn lose(&mut self, now: Moment, lasted: bool, config: &DialConfig, rng: &mut Rng) {
        if lasted {
            (self.failed, self.lost) = (0, 0);
        }
        self.next = now + self.ceiling(config).mul_f64(rng.unit());
        self.lost = self.lost.saturating_add(1);
    }

    /// If there was no failure before, the time to dial is `at`. After one, the drawn time holds.
    pub(super) fn start_at(&mut self, at: Moment) {
        if self.attempt() == 0 {
            self.next = at;
        }
    }

    /// No dial before `until`, until this is called with another time (one in the past, if the hub went out of reach).
    pub(super) fn rest_while_reachable(&mut self, until: Moment) {
        self.full = until;
    }

    /// No dial before `until`, whatever else happens except a [`Backoff::reset`].
    pub(super) fn rest(&mut self, until: Moment) {
        self.rest = self.rest.max(until);
    }
}
