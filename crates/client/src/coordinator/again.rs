//! When to ask a hub again that could not be reached, or had no space: later each time, and at random times, so that
//! not all peers ask at once. Pure.

use std::time::Duration;

use http::StatusCode;
use rand::RngExt as _;

use crate::ConnectError;

/// The shortest pause before the first time; each is longer than the last by this much.
const STEP: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// Before the first, second, third time: half of it is random, so that peers that a hub lost together come back apart.
pub(super) fn pause(time: u32) -> Duration {
    let longest = (STEP * time.clamp(1, 1000)).min(LONGEST);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// Whether a hub with this answer may give another one later: it is full, restarts, or has been asked too often.
pub(super) fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}

/// Whether a connection that failed for this reason may succeed later.
pub(super) fn may_be_made(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } => true,
        ConnectError::Refused { status, .. } => passes(*status),
        ConnectError::BadToken => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_bound() {
        for (time, longest) in [
            (0, 500),
            (1, 500),
            (3, 1500),
            (60, 30_000),
            (u32::MAX, 30_000),
        ] {
            let longest = Duration::from_millis(longest);
            for _ in 0..20 {
                let pause = pause(time);
                assert!(
                    longest / 2 <= pause && pause <= longest,
                    "{time}: {pause:?}"
                );
            }
        }
    }

    #[test]
    fn a_hub_that_is_full_or_restarts_is_asked_again_and_one_that_refuses_is_not() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        for (code, expected) in [
            (429, true),
            (503, true),
            (502, true),
            (401, false),
            (409, false),
        ] {
            assert_eq!(passes(status(code)), expected, "{code}");
        }
    }
}
