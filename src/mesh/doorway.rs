//! How many inbound links may be in their handshake at once, and who gives way when there is no place left.
//!
//! Whoever is in a handshake has not shown the mesh token yet, and may take seconds over it. Anybody may take a place
//! that is free, so that a mesh of many hubs behind one address starts at once. When none is, the source that has the
//! most loses its oldest handshake in which nothing was said yet, or its oldest of all if the newcomer's source has
//! fewer by two at least. So whoever holds many places without a word keeps nobody out, and a source never costs
//! another a place that the other has a right to. Knows addresses but no sockets. Called by `handle`, once for each
//! inbound link.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::limits::{ByOrigin, Origin};

/// The most at once: each holds a socket for 5 s at most, and one message of 2 MiB at worst.
const PLACES: usize = 64;

/// The places, and who has them.
#[derive(Clone, Default)]
pub(super) struct Doorway(Arc<Mutex<Entered>>);

#[derive(Default)]
struct Entered {
    /// The number of the last who entered.
    last: u64,
    /// The oldest first.
    places: BTreeMap<u64, Entry>,
}

struct Entry {
    origin: Origin,
    spoke: bool,
    over: CancellationToken,
}

/// A place; free again when dropped.
pub(super) struct Place {
    doorway: Doorway,
    number: u64,
    over: CancellationToken,
}

impl Doorway {
    /// A place, if there is one for this address. Somebody else may have to give way.
    pub(super) fn enter(&self, from: IpAddr) -> Option<Place> {
        let mut entered = self.0.lock();
        let origin = Origin::of(from);
        if entered.places.len() >= PLACES {
            let loser = entered.gives_way(origin)?;
            entered.places.remove(&loser)?.over.cancel();
        }
        entered.last += 1;
        let number = entered.last;
        let over = CancellationToken::new();
        let entry = Entry {
            origin,
            spoke: false,
            over: over.clone(),
        };
        entered.places.insert(number, entry);
        Some(Place {
            doorway: self.clone(),
            number,
            over,
        })
    }
}

impl Entered {
    /// Whose place a newcomer from there gets.
    fn gives_way(&self, newcomer: Origin) -> Option<u64> {
        let mut many = ByOrigin::new();
        for entry in self.places.values() {
            *many.entry(entry.origin).or_default() += 1;
        }
        let most = many.values().copied().max()?;
        let own = many.get(&newcomer).copied().unwrap_or(0);
        let has_most = |entry: &Entry| many.get(&entry.origin) == Some(&most);
        let mut of_the_largest = self.places.iter().filter(|(_, entry)| has_most(entry));
        let silent = of_the_largest.clone().find(|(_, entry)| !entry.spoke);
        let any = silent.or_else(|| of_the_largest.next().filter(|_| own + 2 <= most));
        any.map(|(number, _)| *number)
    }
}

impl Place {
    /// Whoever has it said something that may be a hub's.
    pub(super) fn spoke(&self) {
        if let Some(entry) = self.doorway.0.lock().places.get_mut(&self.number) {
            entry.spoke = true;
        }
    }

    /// Waits until somebody else has it.
    pub(super) async fn lost(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doorway.0.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(doorway: &Doorway, from: &str, times: usize) -> Vec<Place> {
        let from: IpAddr = from.parse().unwrap();
        (0..times).filter_map(|_| doorway.enter(from)).collect()
    }

    fn lost(places: &[Place]) -> usize {
        places
            .iter()
            .filter(|place| place.over.is_cancelled())
            .count()
    }

    #[test]
    fn the_oldest_silent_handshake_of_who_has_the_most_gives_way() {
        let doorway = Doorway::default();
        let strangers = enter(&doorway, "192.0.2.1", 64);
        assert_eq!((strangers.len(), lost(&strangers)), (64, 0));
        let hubs: Vec<_> = (2..12)
            .flat_map(|host| enter(&doorway, &format!("192.0.2.{host}"), 1))
            .collect();
        assert_eq!((hubs.len(), lost(&hubs)), (10, 0));
        let given_way: Vec<bool> = strangers
            .iter()
            .map(|place| place.over.is_cancelled())
            .collect();
        assert!(given_way[..10].iter().all(|lost| *lost) && lost(&strangers) == 10);
        let more = enter(&doorway, "192.0.2.1", 1_000);
        assert_eq!(
            (more.len(), lost(&hubs)),
            (1_000, 0),
            "a flood costs itself alone"
        );
    }

    #[test]
    fn who_speaks_gives_way_only_to_sources_that_have_fewer() {
        let doorway = Doorway::default();
        let hubs = enter(&doorway, "192.0.2.1", 64);
        hubs.iter().for_each(Place::spoke);
        assert!(
            enter(&doorway, "192.0.2.1", 1).is_empty(),
            "they are all at it"
        );
        let other = enter(&doorway, "192.0.2.2", 1);
        assert_eq!((other.len(), lost(&hubs)), (1, 1));
    }

    #[test]
    fn many_strangers_share_what_there_is() {
        let doorway = Doorway::default();
        let strangers: Vec<_> = (1..=5)
            .flat_map(|host| enter(&doorway, &format!("192.0.2.{host}"), 40))
            .collect();
        strangers.iter().for_each(Place::spoke);
        let hub = enter(&doorway, "198.51.100.1", 1);
        assert_eq!(hub.len(), 1);
        for host in 1..=5 {
            let _again = enter(&doorway, &format!("192.0.2.{host}"), 40);
        }
        assert_eq!(lost(&hub), 0);
    }

    #[test]
    fn a_place_is_free_again_when_its_handshake_is_over() {
        let doorway = Doorway::default();
        for _ in 0..100 {
            let places = enter(&doorway, "::1", 64);
            assert_eq!((places.len(), lost(&places)), (64, 0));
        }
        assert!(doorway.0.lock().places.is_empty());
    }

    #[test]
    fn the_addresses_of_one_site_are_one_source() {
        let doorway = Doorway::default();
        let site = enter(&doorway, "2001:db8:0:1::1", 40);
        let other = enter(&doorway, "2001:db8:0:2::1", 24);
        let same = enter(&doorway, "2001:db8:0:1:2:3:4:5", 1);
        assert_eq!((same.len(), lost(&site), lost(&other)), (1, 1, 0));
        let mapped = enter(&doorway, "::ffff:192.0.2.1", 2);
        let plain = enter(&doorway, "192.0.2.1", 2);
        assert_eq!((lost(&mapped), lost(&plain)), (0, 0));
    }
}
