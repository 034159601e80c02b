//! The memory of the process: how much it is, what is done when it is too much, and what is given back to the system.
//!
//! Off unless a threshold is set. From `MEMORY_WARNING_THRESHOLD` on, rooms without a member end, a part of them at each look;
//! from `MEMORY_CRITICAL_THRESHOLD` on all of them, and nobody is let in until it is below again ([`Pressure`], which others
//! ask). Members of rooms notice nothing. Started by `hub`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::{Level, Pressure};
use crate::metrics::{self, Metrics};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);
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
        if ended > 0 || now > before || now == Level::Critical {
            give_back().await;
        }
    }
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
