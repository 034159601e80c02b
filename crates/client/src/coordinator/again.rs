//! The pauses between retries, and which failures are temporary. A hub that could not be reached, or had no space, is
//! asked again: each pause may be longer than the one before, and is partly random, so that not all peers ask at once.
//! Pure.

use std::time::Duration;

use http::StatusCode;
use rand::RngExt as _;

use crate::ConnectError;

/// The longest pause before the first retry. This bound grows by as much with each further retry.
const STEP: Duration = Duration::from_millis(500);
/// The longest pause before any retry.
const LONGEST: Duration = Duration::from_secs(30);

/// The pause before the first, second or third retry. Up to half of it is random, so that peers that lost their hub
/// together do not come back together.
pub(super) fn pause(retry: u32) -> Duration {
    let longest = (STEP * retry.clamp(1, 1000)).min(LONGEST);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// Whether a hub that answers with this status may answer with another one later: it is full, restarts, or has been asked
/// too often.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}

/// Whether a connection that failed for this reason may succeed later.
pub(super) fn is_temporary_failure(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } => true,
        ConnectError::Refused { status, .. } => is_temporary(*status),
        ConnectError::BadToken => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_bound() {
        for (retry, longest) in [
            (0, 500),
            (1, 500),
            (3, 1500),
            (60, 30_000),
            (u32::MAX, 30_000),
        ] {
            let longest = Duration::from_millis(longest);
            for _ in 0..20 {
                let pause = pause(retry);
                assert!(
                    longest / 2 <= pause && pause <= longest,
                    "{retry}: {pause:?}"
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
            assert_eq!(is_temporary(status(code)), expected, "{code}");
        }
    }
}
