//! When retractions (`Tombstone`s) are forgotten: when they are too old, or too many.
//!
//! A subscriber whose cursor is older than a forgotten retraction gets the whole set again instead of a delta. So smaller
//! bounds cost traffic after a cut, larger ones cost memory. No other number depends on them.

use std::time::Duration;

use super::super::ids::Moment;

/// At most this many retractions are kept, or one for every 16 live claims if that is more.
const TOMBSTONES: usize = 1024;
/// The longest time for which a retraction is kept.
const TOMBSTONE_AGE: Duration = Duration::from_secs(60);

/// Whether the oldest retraction has to be forgotten. `oldest` is when it was made, `kept` how many retractions there are,
/// `live` how many claims.
pub(super) fn must_forget_oldest(oldest: Moment, kept: usize, live: usize, now: Moment) -> bool {
    kept > TOMBSTONES.max(live / 16) || now - oldest > TOMBSTONE_AGE
}
