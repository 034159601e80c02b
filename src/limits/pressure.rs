//! Whether the hub takes too much memory to let anybody in: `MEMORY_WARNING_THRESHOLD`, `MEMORY_CRITICAL_THRESHOLD`.
//!
//! Told how much it is, once a second, by `memory`; asked by code that lets clients in. Knows no room and no process.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::MemoryThresholds;

/// How much memory the hub takes, as its thresholds see it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Less than any threshold.
    Normal,
    /// Rooms without a member end, some at a time.
    Warning,
    /// All of them end, and nobody is let in.
    Critical,
}

impl Level {
    /// The word for it in answers.
    pub const fn label(self) -> &'static str {
        match self {
            Level::Normal => "normal",
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }
}

/// Percent of `MEMORY_CRITICAL_THRESHOLD` below which clients are let in again.
const LEFT_BELOW: u128 = 95;

/// The level that was found last.
#[derive(Debug)]
pub struct Pressure {
    thresholds: MemoryThresholds,
    level: AtomicU8,
}

impl Pressure {
    /// None, whatever it will be.
    pub fn new(thresholds: MemoryThresholds) -> Self {
        Pressure {
            thresholds,
            level: AtomicU8::new(Level::Normal as u8),
        }
    }

    /// The thresholds.
    pub fn thresholds(&self) -> MemoryThresholds {
        self.thresholds
    }

    /// So many bytes are resident: the level before and the level now. The highest level ends below 95 % of its
    /// threshold, so that it does not begin anew with each client that is let in.
    pub fn judge(&self, resident: u64) -> (Level, Level) {
        let before = self.level();
        let reached = |threshold: Option<u64>| threshold.is_some_and(|from| resident >= from);
        let is_left = |from: u64| u128::from(resident) * 100 < u128::from(from) * LEFT_BELOW;
        let stays = before == Level::Critical
            && self.thresholds.critical.is_some_and(|from| !is_left(from));
        let now = if stays || reached(self.thresholds.critical) {
            Level::Critical
        } else if reached(self.thresholds.warning) {
            Level::Warning
        } else {
            Level::Normal
        };
        self.level.store(now as u8, Ordering::Relaxed);
        (before, now)
    }

    /// The level that was found last.
    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Normal,
            1 => Level::Warning,
            _ => Level::Critical,
        }
    }

    /// Whether nobody is let in.
    pub fn is_critical(&self) -> bool {
        self.level() == Level::Critical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressure(warning: Option<u64>, critical: Option<u64>) -> Pressure {
        Pressure::new(MemoryThresholds { warning, critical })
    }

    #[test]
    fn the_level_follows_what_is_resident_up_and_down() {
        let both = pressure(Some(10), Some(20));
        for (resident, level) in [
            (9, Level::Normal),
            (10, Level::Warning),
            (20, Level::Critical),
            (19, Level::Critical),
            (18, Level::Warning),
            (19, Level::Warning),
            (25, Level::Critical),
            (3, Level::Normal),
        ] {
            let before = both.level();
            assert_eq!(both.judge(resident), (before, level), "{resident}");
            assert_eq!(both.is_critical(), level == Level::Critical);
        }
        assert_eq!(pressure(None, Some(20)).judge(19).1, Level::Normal);
        assert_eq!(pressure(Some(10), None).judge(u64::MAX).1, Level::Warning);
        assert_eq!(pressure(None, None).judge(u64::MAX).1, Level::Normal);
    }
}
