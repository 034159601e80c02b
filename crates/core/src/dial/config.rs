//! How a hub looks for links: all numbers of the dialler.
//!
//! Relations that have to hold ([`DialConfig::default`] is tested for them):
//! - `nat_links` ≤ `degree` ≤ `accept_up_to` ≤ `accept_never_past`: a hub that dials until it has `degree` links must not be
//!   full before it has them.
//! - `backoff_first` ≤ `backoff_refused` ≤ `backoff_most`: each is a ceiling, and the last is the highest.
//! - `introduce_again` ≤ `introduce_rest` / 2: the dialling hub waits `introduce_rest` ± 50 %, and has to be accepted when it
//!   comes back.
//! - `introduce_memory` > 1.5 × `introduce_rest` and > 2 × `backoff_most`: else the hub that sent it on has forgotten that it
//!   did, and sends it on again. The back-off of a hub whose links did not last is as long as that, and the next link may be
//!   lost because the dialling hub has to raise its incarnation.

use std::time::Duration;

use super::super::mutants::Mutants;

/// How a hub looks for links.
#[derive(Clone, Copy, Debug)]
pub struct DialConfig {
    /// Dial what other hubs advertise; otherwise only the bootstrap addresses.
    pub auto_connect: bool,
    /// Other hubs can dial this hub.
    pub can_be_dialled: bool,
    /// In a mesh of at most this many hubs, this one included, a hub dials all others.
    pub full_mesh_up_to: usize,
    /// In a larger mesh, a hub dials until it has this many links.
    pub degree: usize,
    /// A hub that cannot be dialled dials until it has this many links.
    pub nat_links: usize,
    /// A hub with this many links accepts only hubs that have no other way into the mesh.
    pub accept_up_to: usize,
    /// A hub with this many links accepts no hub.
    pub accept_never_past: usize,
    /// A back-off is a random time up to a ceiling. This is the first ceiling; it doubles with each failure.
    pub backoff_first: Duration,
    /// The highest ceiling.
    pub backoff_most: Duration,
    /// The lowest ceiling after a refusal. A refusal lasts until an operator acts, so there is no hurry.
    pub backoff_refused: Duration,
    /// A link that was open for this long resets the back-off.
    pub reset_after: Duration,
    /// The least time between two new dials.
    pub spacing: Duration,
    /// A dial without an answer for this long has failed.
    pub answer_within: Duration,
    /// The time between two dials of an unreachable hub, ± 50 %.
    pub retry_unreachable: Duration,
    /// If at most this many hubs reach each other, each of them dials every unreachable hub at that rate. If they are more,
    /// they share the work: each dials less often.
    pub share_retries_past: usize,
    /// The least time between any two dials of unreachable hubs, while at least one other hub can be reached.
    pub retry_spacing: Duration,
    /// The time before a hub is dialled again that refused because it was full, if it is reachable, ± 50 %.
    pub retry_full: Duration,
    /// When this hub has `accept_up_to` links and a hub without any other contact dials it, this hub refuses and names this
    /// many others. 0: it accepts instead.
    pub introduce: usize,
    /// After another hub has sent this hub on: how long this hub waits before it dials that one again, ± 50 %. Meanwhile it
    /// dials the hubs that were named.
    pub introduce_rest: Duration,
    /// A hub that dials again at least this long after this hub sent it on has found no other way in: it is accepted.
    pub introduce_again: Duration,
    /// How long this hub remembers which hubs it sent on.
    pub introduce_memory: Duration,
    /// The time before an address is dialled again that led to this hub itself.
    pub retry_self: Duration,
    /// How long the hub with the higher id of two waits for the other to dial first.
    pub yield_for: Duration,
    /// The least time between two links that this hub closes because it has too many, see `Dialer::poll_drop`.
    pub drop_spacing: Duration,
    /// The rest after a round of these in which no link came or ended. One that does cuts it short.
    pub drop_rest: Duration,
    /// Known bugs, for tests of the tests.
    pub mutants: Mutants,
}

impl Default for DialConfig {
    fn default() -> Self {
        DialConfig {
            auto_connect: true,
            can_be_dialled: true,
            full_mesh_up_to: 16,
            degree: 8,
            nat_links: 3,
            accept_up_to: 32,
            accept_never_past: 256,
            backoff_first: Duration::from_millis(250),
            backoff_most: Duration::from_secs(30),
            backoff_refused: Duration::from_secs(5),
            reset_after: Duration::from_secs(30),
            spacing: Duration::from_millis(50),
            answer_within: Duration::from_secs(10),
            retry_unreachable: Duration::from_secs(15),
            share_retries_past: 64,
            retry_spacing: Duration::from_millis(500),
            retry_full: Duration::from_secs(120),
            introduce: 12,
            introduce_rest: Duration::from_secs(2),
            introduce_again: Duration::from_secs(1),
            introduce_memory: Duration::from_secs(75),
            retry_self: Duration::from_secs(30),
            yield_for: Duration::from_secs(1),
            drop_spacing: Duration::from_millis(25),
            drop_rest: Duration::from_secs(2),
            mutants: Mutants::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relations_between_the_numbers_hold() {
        let config = DialConfig::default();
        let links = [
            config.nat_links,
            config.degree,
            config.accept_up_to,
            config.accept_never_past,
        ];
        assert!(links.is_sorted(), "{links:?}");
        let ceilings = [
            config.backoff_first,
            config.backoff_refused,
            config.backoff_most,
        ];
        assert!(ceilings.is_sorted(), "{ceilings:?}");
        assert!(config.introduce_again <= config.introduce_rest / 2);
        assert!(config.introduce_memory > config.introduce_rest * 3 / 2);
        assert!(config.introduce_memory > config.backoff_most * 2);
    }
}
