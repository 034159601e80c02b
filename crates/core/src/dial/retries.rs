//! How often unreachable hubs are dialled.
//!
//! All hubs that reach each other would dial an unreachable hub at the same time. So when there are more than
//! `share_retries_past` of them, each dials it less often, in proportion to their number. The wait is drawn between
//! half the interval and the bound that gives the right mean: so the first dial comes equally soon, whether the hubs
//! are many or few.

use std::time::Duration;

use super::super::ids::{HubId, Moment};
use super::Dialer;
use super::known::Known;

impl Dialer {
    /// How long to wait for the next dial of an unreachable hub.
    pub(super) fn retry_wait(&mut self) -> Duration {
        self.drawn_among = self.drawn_among.max(self.sharing());
        let drawn = self.rng.unit();
        self.wait_of(drawn)
    }

    /// The mesh became smaller. Once half of the hubs that shared the work are lost, waits that are longer than any
    /// that would be drawn now are drawn again.
    pub(super) fn draw_again(&mut self, now: Moment) {
        if self.sharing() * 2 > self.drawn_among {
            return;
        }
        self.drawn_among = self.sharing();
        let longest = now + self.wait_of(1.0);
        let too_long = |known: &Known| !known.reachable && known.backoff.due() > longest;
        let hubs = self.hubs.iter().filter(|(_, known)| too_long(known));
        let hubs: Vec<HubId> = hubs.map(|(hub, _)| *hub).collect();
        for hub in hubs {
            let until = now + self.retry_wait();
            if let Some(known) = self.hubs.get_mut(&hub) {
                known.backoff.wait_at_most(until);
            }
        }
    }

    /// The wait for a number drawn from 0 to 1.
    fn wait_of(&self, drawn: f64) -> Duration {
        let shared = self.sharing() as f64 / self.config.share_retries_past.max(1) as f64;
        let spread = 2.0 * shared.max(1.0) - 1.0;
        let interval = self.config.retry_unreachable;
        interval / 2 + interval.mul_f64(spread * drawn)
    }

    /// How many hubs share the work: those that reach each other, this one included.
    fn sharing(&self) -> usize {
        if self.config.mutants.retries_shared_with_nobody() {
            return self.hubs.len() + 1;
        }
        self.reachable + 1
    }

    /// When a hub may be dialled. Dials of unreachable hubs are spaced, so that the loss of half a mesh does not keep
    /// the other half busy. A hub that reaches no other begins at once with hubs that it has not dialled yet: it was
    /// sent on to them.
    pub(super) fn due(&self, known: &Known) -> Moment {
        let due = known.backoff.due();
        if known.reachable {
            due
        } else if self.reachable > 0 {
            due.max(self.retry_spaced)
        } else if known.backoff.attempt() == 0 && self.config.introduce > 0 {
            known.backoff.rests_until()
        } else {
            due
        }
    }
}
