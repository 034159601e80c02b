//! How many inbound links may be in their handshake at once, in all and from one source.
//!
//! Whoever is in a handshake has not shown the mesh token yet, and may take seconds over it. Half of the places
//! are for whoever comes first, so that a mesh of many hubs behind one address starts at once; of the other half
//! no source gets more than a few, so that no stranger can keep the hubs out alone. Knows addresses but no
//! sockets. Called by `handle`, once for each inbound link.

use std::net::IpAddr;

use crate::limits::{ByOrigin, Origin, Place, Places};

/// The most at once: each holds a socket for 5 s at most, and one message of 2 MiB at worst.
const PLACES: usize = 64;
/// The most of one source once half of the places are taken.
const PER_SOURCE: usize = 8;

/// The places, and who has them.
#[derive(Default)]
pub(super) struct Doorway(Places);

impl Doorway {
    /// A place, if there is one for this address.
    pub(super) fn enter(&self, from: IpAddr) -> Option<Place> {
        self.0.try_take(Origin::of(from), |own, all: &ByOrigin| {
            let taken: usize = all.values().sum();
            taken < PLACES && (taken < PLACES / 2 || own < PER_SOURCE)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(doorway: &Doorway, from: &str, times: usize) -> Vec<Place> {
        let from: IpAddr = from.parse().unwrap();
        (0..times).filter_map(|_| doorway.enter(from)).collect()
    }

    #[test]
    fn one_source_gets_half_of_the_places_and_leaves_the_others_some() {
        let doorway = Doorway::default();
        let first = enter(&doorway, "192.0.2.1", 100);
        assert_eq!(first.len(), 32);
        let second = enter(&doorway, "192.0.2.2", 100);
        assert_eq!(second.len(), 8);
        let others: Vec<_> = (3..100)
            .flat_map(|host| enter(&doorway, &format!("192.0.2.{host}"), 1))
            .collect();
        assert_eq!(others.len(), 24);
    }

    #[test]
    fn a_place_is_free_again_when_its_handshake_is_over() {
        let doorway = Doorway::default();
        for _ in 0..100 {
            assert_eq!(enter(&doorway, "::1", 100).len(), 32);
        }
        assert!(doorway.0.is_empty());
    }

    #[test]
    fn the_addresses_of_one_site_are_one_source() {
        let doorway = Doorway::default();
        let _first = enter(&doorway, "2001:db8:0:1::1", 30);
        let _mapped = enter(&doorway, "::ffff:192.0.2.1", 2);
        assert!(enter(&doorway, "2001:db8:0:1:2:3:4:5", 1).is_empty());
        assert_eq!(enter(&doorway, "2001:db8:0:2::1", 10).len(), 8);
        assert_eq!(enter(&doorway, "192.0.2.1", 10).len(), 6);
    }
}
