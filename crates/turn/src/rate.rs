//! How many bytes a second may pass: a bucket that fills with time.

use std::time::{Duration, Instant};

/// Bytes that may pass, at most as many as in one second.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Bytes a second; `None`: as many as come.
    rate: Option<u64>,
    level: u64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Option<u64>, now: Instant) -> Self {
        Bucket {
            rate,
            level: rate.unwrap_or_default(),
            at: now,
        }
    }

    /// Whether so many bytes may pass now; if so, they have.
    pub(crate) fn has(&mut self, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let bytes = bytes as u64;
        if self.level < bytes {
            self.fill(rate, now);
        }
        let passes = self.level >= bytes;
        if passes {
            self.level -= bytes;
        }
        passes
    }

    /// Gives back what did not pass after all.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let full = self.rate.unwrap_or_default();
        self.level = self.level.saturating_add(bytes as u64).min(full);
    }

    fn fill(&mut self, rate: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        let passed = passed.min(Duration::from_secs(1)).as_micros() as u64;
        let more = rate.saturating_mul(passed) / 1_000_000;
        // Or what is less than a byte would be lost time and again.
        if more > 0 {
            self.level = self.level.saturating_add(more).min(rate);
            self.at = now;
        }
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
