//! The configuration of the table of links, and its events.

use std::time::Duration;

use super::super::api::Bye;
use super::super::ids::{HubId, Incarnation, LinkId, Moment};
use super::super::mutants::Mutants;

/// The configuration of links.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// How often each link is pinged.
    pub ping_every: Duration,
    /// A link is closed after this long without any frame, or if none of its first three pings was answered.
    pub dead_after: Duration,
    /// How long the older link has to answer once a rival has arrived.
    pub rival_probe: Duration,
    /// Known bugs, for tests of the tests.
    pub mutants: Mutants,
}

impl Default for LinkConfig {
    fn default() -> Self {
        LinkConfig {
            ping_every: Duration::from_secs(1),
            dead_after: Duration::from_secs(3),
            rival_probe: Duration::from_secs(1),
            mutants: Mutants::NONE,
        }
    }
}

/// An event of the table of links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    /// There is a link with this hub now; or this is its new incarnation, and the links of the old one are gone.
    NeighbourUp {
        /// The neighbour.
        hub: HubId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The active link.
        link: LinkId,
    },
    /// Another link with this neighbour is active now.
    NeighbourSwitched {
        /// The neighbour.
        hub: HubId,
        /// The active link.
        link: LinkId,
    },
    /// The last link with this hub is gone.
    NeighbourDown {
        /// The neighbour.
        hub: HubId,
    },
    /// This link is forgotten here: tell the other end and close it.
    Close {
        /// The link.
        link: LinkId,
        /// The reason for the other end.
        bye: Bye,
    },
    /// The active link's smoothed round-trip time, measured anew.
    RttMeasured {
        /// The neighbour.
        hub: HubId,
        /// The time there and back.
        rtt: Duration,
    },
    /// A machine that is not this process uses this hub's id: an alarm. Its link is closed.
    IdentityClash {
        /// The incarnation that it claims.
        incarnation: Incarnation,
    },
}

/// An open link, for operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkView {
    /// The link.
    pub link: LinkId,
    /// The hub at its other end.
    pub hub: HubId,
    /// It is the link on which frames to that hub are sent.
    pub active: bool,
    /// We dialled it.
    pub outgoing: bool,
    /// When it was opened.
    pub since: Moment,
    /// Its smoothed round-trip time, once measured.
    pub rtt: Option<Duration>,
}
