//! How many bytes a second may pass: a bucket that fills with time.

use std::time::{Duration, Instant};

/// Nanoseconds.
const SECOND: u128 = 1_000_000_000;

/// Bytes that may pass, at most as many as in one second.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Bytes a second; `None`: no limit.
    rate: Option<u64>,
    level: u64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: Option<u64>, now: Instant) -> Self {
        Bucket {
            rate,
            level: rate.unwrap_or_default(),
            at: now,
        }
    }

    /// An empty bucket that fills from now on.
    pub(crate) fn empty(rate: Option<u64>, now: Instant) -> Self {
        Bucket {
            rate,
            level: 0,
            at: now,
        }
    }

    /// Whether this many bytes may pass now; if so, they are counted.
    pub(crate) fn has(&mut self, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let bytes = bytes as u64;
        // Set each time, or a pause would count twice: as a full bucket, and as time since it was last filled.
        self.fill(rate, now);
        let passes = self.level >= bytes;
        if passes {
            self.level -= bytes;
        }
        passes
    }

    /// Gives back the bytes of a datagram that did not pass after all.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let full = self.rate.unwrap_or_default();
        self.level = self.level.saturating_add(bytes as u64).min(full);
    }

    fn fill(&mut self, rate: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        if passed >= Duration::from_secs(1) {
            (self.level, self.at) = (rate, now);
            return;
        }
        let per_second = u128::from(rate).max(1);
        let more = per_second * passed.as_nanos() / SECOND;
        // A time that is worth less than a byte is kept, or it would be lost again and again.
        self.at += Duration::from_nanos((more * SECOND).div_ceil(per_second) as u64);
        self.level = self.level.saturating_add(more as u64).min(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_passes_as_the_rate_says() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(10_000), start);
        let mut passed = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            if bucket.has(100, now) {
                passed += 100;
            }
        }
        // One second's worth at once, and ten seconds of time.
        assert!((108_000..=110_000).contains(&passed), "{passed}");
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let now = Instant::now();
        let mut bucket = Bucket::new(None, now);
        assert!((0..1000).all(|_| bucket.has(65_535, now)));
    }
}
