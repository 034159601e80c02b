//! The rates of messages and errors, from counters that only grow.
//!
//! A [`Meter`] keeps two earlier readings and compares the newest with the older one that is at least [`SPAN`] old, so
//! that a rate neither jumps with every request nor averages over hours. Knows no metrics; the status page
//! reads it.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest span of a rate, once the hub has run for as long.
const SPAN: Duration = Duration::from_secs(10);

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) at: Instant,
    pub(super) messages: u64,
    pub(super) errors: u64,
}

/// The rates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Rates {
    pub(super) messages_per_second: f64,
    /// Errors per message, 0 without messages.
    pub(super) error_rate: f64,
}

/// Readings of counters.
#[derive(Debug)]
pub(super) struct Meter {
    older: Tally,
    newer: Tally,
}

impl Meter {
    /// A meter whose rates count from this reading.
    pub(super) fn new(first: Tally) -> Self {
        Meter {
            older: first,
            newer: first,
        }
    }

    /// The rates up to now.
    pub(super) fn read(&mut self, now: Tally) -> Rates {
        if now.at.duration_since(self.newer.at) >= SPAN {
            self.older = std::mem::replace(&mut self.newer, now);
        }
        let elapsed = now.at.duration_since(self.older.at).as_secs_f64();
        let messages = gained(now.messages, self.older.messages);
        let errors = gained(now.errors, self.older.errors);
        Rates {
            messages_per_second: if elapsed > 0.0 {
                messages / elapsed
            } else {
                0.0
            },
            error_rate: if messages > 0.0 {
                errors / messages
            } else {
                0.0
            },
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts between two readings stay far below 2^53"
)]
fn gained(now: u64, before: u64) -> f64 {
    now.saturating_sub(before) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds_and_not_of_all_time() {
        let start = Instant::now();
        let tally = |seconds, messages, errors| Tally {
            at: start + Duration::from_secs(seconds),
            messages,
            errors,
        };
        let mut meter = Meter::new(tally(0, 0, 0));
        let at_once = meter.read(tally(0, 0, 0));
        assert_eq!(
            (at_once.messages_per_second, at_once.error_rate),
            (0.0, 0.0)
        );
        let busy = meter.read(tally(10, 1_000, 10));
        assert_eq!((busy.messages_per_second, busy.error_rate), (100.0, 0.01));
        for seconds in 2..=4 {
            meter.read(tally(10 * seconds, 1_000, 10));
        }
        let idle = meter.read(tally(41, 1_000, 10));
        assert_eq!((idle.messages_per_second, idle.error_rate), (0.0, 0.0));
    }
}
