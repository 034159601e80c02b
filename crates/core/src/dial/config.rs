//! How a hub looks for links: all numbers of the dialler in one place.

use std::time::Duration;

use super::super::mutants::Mutants;

/// How a hub looks for links.
#[derive(Clone, Copy, Debug)]
pub struct DialConfig {
    /// Dial what other hubs advertise; otherwise only the bootstrap addresses.
    pub auto_connect: bool,
    /// Others can dial this hub.
    pub can_be_dialled: bool,
    /// In a mesh of at most this many hubs, this one included, all are dialled.
    pub full_mesh_up_to: usize,
    /// In a larger mesh, dial until this many links stand.
    pub degree: usize,
    /// The same for a hub that cannot be dialled.
    pub nat_links: usize,
    /// Past this many links, only hubs that have no other way into the mesh are accepted.
    pub accept_up_to: usize,
    /// Past this many links, no hub is accepted.
    pub accept_never_past: usize,
    /// The ceiling of the first back-off; each later one doubles.
    pub backoff_first: Duration,
    /// The highest ceiling.
    pub backoff_most: Duration,
    /// The lowest ceiling after a refusal, which stands until an operator acts.
    pub backoff_refused: Duration,
    /// A link that stood for this long resets the back-off.
    pub reset_after: Duration,
    /// The least time between two new dials.
    pub spacing: Duration,
    /// A dial without an answer for this long has failed.
    pub answer_within: Duration,
    /// How often an unreachable hub is tried, ± 50 %.
    pub retry_unreachable: Duration,
    /// Up to this many hubs that reach each other, each tries every unreachable hub that often; more of them share the
    /// work.
    pub share_retries_past: usize,
    /// The least time between two dials of unreachable hubs, while another can be reached.
    pub retry_spacing: Duration,
    /// When to dial a full hub again that is reachable, ± 50 %.
    pub retry_full: Duration,
    /// This many others are named to a hub that knows nobody, once there are `accept_up_to` links; 0 lets it in at
    /// once.
    pub introduce: usize,
    /// How long a hub that was sent on leaves us alone, ± 50 %: it tries the others first.
    pub introduce_rest: Duration,
    /// A hub that comes back this long after it was sent on was not helped, and is let in.
    pub introduce_again: Duration,
    /// How long it is remembered that a hub was sent on.
    pub introduce_memory: Duration,
    /// How long an address that led to ourselves is left alone.
    pub retry_self: Duration,
    /// How long the higher of two hubs leaves the dialling to the lower.
    pub yield_for: Duration,
    /// The least time between two links that are given up, see `Dialer::poll_drop`.
    pub drop_spacing: Duration,
    /// Known faults, for tests of the tests.
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
            introduce_memory: Duration::from_secs(30),
            retry_self: Duration::from_secs(30),
            yield_for: Duration::from_secs(1),
            drop_spacing: Duration::from_millis(25),
            mutants: Mutants::NONE,
        }
    }
}
