//! The ports of relays: which are taken, and a random one for the next.

use std::ops::RangeInclusive;

use rand::RngExt;
use rand::rngs::StdRng;

/// Ports that are free, in no order.
pub(crate) struct Ports {
    free: Vec<u16>,
    rng: StdRng,
}

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>, rng: StdRng) -> Self {
        Ports {
            free: range.filter(|port| *port > 0).collect(),
            rng,
        }
    }

    /// A port that cannot be guessed, and an even one on request; taken until it is given back.
    pub(crate) fn take(&mut self, even: bool) -> Option<u16> {
        let start = match self.free.len() {
            0 => return None,
            free => self.rng.random_range(0..free),
        };
        let mut places = (start..self.free.len()).chain(0..start);
        let fits = |place: &usize| {
            let port = self.free.get(*place);
            port.is_some_and(|port| !even || port.is_multiple_of(2))
        };
        places.find(fits).map(|place| self.free.swap_remove(place))
    }

    pub(crate) fn give_back(&mut self, port: u16) {
        self.free.push(port);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_port_is_given_out_once_and_even_ones_where_asked() {
        let mut ports = Ports::new(100..=109, StdRng::from_seed([1; 32]));
        let even: Vec<u16> = std::iter::from_fn(|| ports.take(true)).collect();
        assert!(even.len() == 5 && even.iter().all(|port| port % 2 == 0));
        let mut rest: Vec<u16> = std::iter::from_fn(|| ports.take(false)).collect();
        rest.sort_unstable();
        assert_eq!(rest, [101, 103, 105, 107, 109]);
        ports.give_back(104);
        assert_eq!(ports.take(false), Some(104));
    }
}
