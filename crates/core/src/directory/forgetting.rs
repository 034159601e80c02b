//! When retractions are forgotten: when they are too old, or too many.

use std::time::Duration;

use super::super::ids::Moment;

/// How many retractions are kept at most, unless a sixteenth of the live claims is more.
const TOMBSTONES: usize = 1024;
/// How long a retraction is kept at most.
const TOMBSTONE_AGE: Duration = Duration::from_secs(60);

/// Whether the oldest of `kept` retractions is to be forgotten: it was made at this moment, and there are `live` claims
/// beside them.
pub(super) fn is_past(oldest: Moment, kept: usize, live: usize, now: Moment) -> bool {
    kept > TOMBSTONES.max(live / 16) || now - oldest > TOMBSTONE_AGE
}
