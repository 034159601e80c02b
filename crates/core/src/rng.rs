//! The core's only source of random numbers: a seeded generator (SplitMix64).
//!
//! The same seed gives the same sequence on every machine and in every version, so that a simulated history can be
//! repeated. Not for secrets: a few values reveal the rest.

use std::time::Duration;

use super::ids::mix;

/// A sequence of numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Rng { state: seed }
    }

    /// The next number; all 2^64 are equally likely.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The upper half of a 128-bit product: its bias is below n / 2^64.
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number from 0 up to but without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `span`, more or less up to `share` of it; `share` is limited to 0 to 1.
    pub fn jitter(&mut self, span: Duration, share: f64) -> Duration {
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        };
        span.mul_f64(1.0 - share + 2.0 * share * self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // The published first value of SplitMix64 for seed 0.
        assert_eq!(Rng::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_both_halves() {
        let mut rng = Rng::new(1);
        let draws: Vec<u64> = (0..1_000).map(|_| rng.below(10)).collect();
        assert!(draws.iter().all(|n| *n < 10));
        assert!((0..10).all(|n| draws.contains(&n)));
        assert_eq!(rng.below(0), 0);
        assert!(
            (0..1_000)
                .map(|_| rng.unit())
                .all(|x| (0.0..1.0).contains(&x))
        );
    }

    #[test]
    fn jitter_keeps_to_its_share() {
        let mut rng = Rng::new(2);
        let span = Duration::from_secs(10);
        for _ in 0..1_000 {
            let drawn = rng.jitter(span, 0.5);
            assert!(drawn >= span / 2 && drawn <= span * 3 / 2);
        }
        assert_eq!(rng.jitter(span, 0.0), span);
        assert_eq!(rng.jitter(span, f64::NAN), span);
    }
}
