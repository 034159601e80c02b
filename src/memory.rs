//! The memory of the process: how much it is, what is done when it is too much, and what is given back to the system.
//!
//! Off unless a threshold is set. From `MEMORY_WARNING_THRESHOLD` on, rooms without a member end, a part of them at each look;
//! from `MEMORY_CRITICAL_THRESHOLD` on all of them, and nobody is let in until it is below again ([`Pressure`], which others
//! ask). Members of rooms notice nothing. Started by `hub`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::limits::{Level, Pressure};
use crate::metrics::{self, Metrics};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often freed memory is given back at least while nobody is let in: each time costs.
const GIVEN_BACK_EVERY: Duration = Duration::from_secs(30);
/// At a warning, one of so many rooms without a member ends at each look, and this many at least.
const OF_ALL: usize = 4;
const AT_LEAST: usize = 64;

/// Resident bytes; `None` where the system does not tell.
pub fn resident() -> Option<u64> {
    // Whole bytes.
    metrics::usage().map(|usage| usage.resident_bytes as u64)
}

/// Has the allocator give back to the system what it keeps of freed memory. Takes milliseconds for each hundred MiB.
pub async fn give_back() {
    // It fails where the runtime ends, and then nothing is left to be done.
    let _ = spawn_blocking(trim).await;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: it takes a number, touches nothing but the allocator's own state, and locks that.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators give back what they can by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// Looks at the memory for as long as the hub lives. `end_rooms` ends so many rooms without a member at most, and says how
/// many ended.
pub(crate) async fn watch<F>(
    pressure: Arc<Pressure>,
    metrics: Arc<Metrics>,
    end_rooms: impl Fn(usize) -> F,
) where
    F: Future<Output = usize>,
{
    if !pressure.thresholds().are_set() {
        return;
    }
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut given_back = Instant::now();
    loop {
        looks.tick().await;
        let Some(resident) = resident() else {
            continue;
        };
        let (before, now) = pressure.judge(resident);
        metrics.rooms.memory_pressure.set(now as i64);
        tell(before, now, resident);
        let empty = usize::try_from(metrics.rooms.empty.get()).unwrap_or(0);
        let ended = match now {
            Level::Normal => continue,
            Level::Warning => end_rooms((empty / OF_ALL).max(AT_LEAST)).await,
            Level::Critical => end_rooms(usize::MAX).await,
        };
        metrics.rooms.shed.inc_by(ended as u64);
        // What was freed meanwhile, by whomever, counts no more once the system has it.
        if is_to_give_back((before, now), ended, given_back.elapsed()) {
            give_back().await;
            given_back = Instant::now();
        }
    }
}

/// Whether freed memory is given back, at a look at which so many rooms ended.
fn is_to_give_back((before, now): (Level, Level), ended: usize, since_last: Duration) -> bool {
    let is_critical = now == Level::Critical;
    let is_new = is_critical && before != now;
    ended > 0 || is_new || (is_critical && since_last >= GIVEN_BACK_EVERY)
}

fn tell(before: Level, now: Level, resident: u64) {
    let (level, resident_bytes) = (now.label(), resident);
    match (before, now) {
        (before, now) if before == now => {}
        (_, Level::Normal) => tracing::info!(
            level,
            resident_bytes,
            "the hub's memory is below its thresholds"
        ),
        (_, Level::Warning) => tracing::warn!(
            level,
            resident_bytes,
            "the hub takes more memory than MEMORY_WARNING_THRESHOLD: rooms without a member end"
        ),
        (_, Level::Critical) => tracing::error!(
            level,
            resident_bytes,
            "the hub takes more memory than MEMORY_CRITICAL_THRESHOLD: it lets nobody in"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_it_is_short_or_something_ended_and_else_seldom() {
        let (soon, late) = (Duration::from_secs(1), GIVEN_BACK_EVERY);
        let (warning, critical) = (Level::Warning, Level::Critical);
        for (levels, ended, since, is_due) in [
            ((warning, critical), 0, soon, true),
            ((critical, critical), 0, soon, false),
            ((critical, critical), 1, soon, true),
            ((critical, critical), 0, late, true),
            ((warning, warning), 0, late, false),
            ((warning, warning), 1, soon, true),
            ((Level::Normal, warning), 0, soon, false),
        ] {
            let found = is_to_give_back(levels, ended, since);
            assert_eq!(found, is_due, "{levels:?} {ended} {since:?}");
        }
    }
}
