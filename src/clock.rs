//! The one place that reads the wall clock: for what peers and operators are shown, and for the mesh's stamps.
//! Deadlines never come from here.

use std::time::{SystemTime, UNIX_EPOCH};

/// The Unix time in milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
