//! The hub's hybrid logical clock, which stamps its claims.

use super::ids::Hlc;

/// The longest time by which another hub's clock may move ours ahead.
const MAX_DRIFT_MS: u64 = 10_000;

/// Makes stamps that rise, and that follow the stamps of others while these are plausible.
#[derive(Debug, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// A stamp above `above`. It is also above every stamp drawn before, unless `above` was implausibly far ahead:
    /// causality for one id goes before the order of all.
    pub fn draw(&mut self, wall_ms: u64, above: Option<Hlc>) -> Hlc {
        let own = self.last.next().max(Hlc::from_wall(wall_ms));
        self.last = own;
        match above {
            Some(above) if above >= own => {
                let drawn = above.next();
                if self.observe(wall_ms, drawn) {
                    drawn
                } else {
                    drawn.max(own)
                }
            }
            _ => own,
        }
    }

    /// Follows another hub's stamp. False, and not followed, if it is more than 10 s ahead.
    pub fn observe(&mut self, wall_ms: u64, seen: Hlc) -> bool {
        if seen.wall_ms() > wall_ms.saturating_add(MAX_DRIFT_MS) {
            return false;
        }
        self.last = self.last.max(seen);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_when_the_wall_clock_goes_back() {
        let mut clock = Clock::default();
        let first = clock.draw(5_000, None);
        let second = clock.draw(1_000, None);
        assert!(second > first);
    }

    #[test]
    fn a_stamp_is_above_the_one_that_it_must_beat() {
        let mut clock = Clock::default();
        let ahead = Hlc::from_wall(9_000_000);
        assert!(clock.draw(1_000, Some(ahead)) > ahead);
        assert_eq!(
            clock.draw(1_000, None).wall_ms(),
            1_000,
            "the clock itself is not dragged along"
        );
    }

    #[test]
    fn a_plausible_stamp_is_followed() {
        let mut clock = Clock::default();
        assert!(clock.observe(1_000, Hlc::from_wall(5_000)));
        assert!(clock.draw(1_000, None) > Hlc::from_wall(5_000));
        assert!(!clock.observe(1_000, Hlc::from_wall(50_000)));
    }
}
