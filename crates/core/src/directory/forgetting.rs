//! When it is forgotten that something is gone: too old, or too much of it.

use std::time::Duration;

use super::super::ids::Moment;

/// How many retractions are kept at most, unless a sixteenth of the live claims is more.
const TOMBSTONES: usize = 1024;
/// How long a retraction is kept at most.
const TOMBSTONE_AGE: Duration = Duration::from_secs(60);

/// Whether the oldest of so many retractions, of this moment, beside so many live claims, is to be forgotten.
pub(super) fn is_past(oldest: Moment, kept: usize, live: usize, now: Moment) -> bool {
    kept > TOMBSTONES.max(live / 16) || now - oldest > TOMBSTONE_AGE
}
