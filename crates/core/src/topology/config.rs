//! The configuration of the topology, and its events.

use std::time::Duration;

use super::super::ids::{HubId, Incarnation};
use super::super::mutants::Mutants;
use crate::frames::WIRE_LEVEL;

/// The configuration of the topology, and the fields of this hub's record.
#[derive(Clone, Debug)]
pub struct TopologyConfig {
    /// The addresses where this hub can be dialled; empty if it cannot be. Cut to
    /// [`crate::frames::LinkRecord::MAX_URLS`].
    pub urls: Vec<String>,
    /// Its location, for operators; left out if longer than [`crate::frames::LinkRecord::MAX_REGION_BYTES`].
    pub region: String,
    /// The least time between two records of our own, after a pause.
    pub pacing: Duration,
    /// The longest such time: each record that follows another doubles it.
    pub pacing_most: Duration,
    /// How long a change that cuts no hub off waits for more of its kind: a further link, another cost.
    pub settle: Duration,
    /// The longest that such a change waits.
    pub settle_most: Duration,
    /// How long the announcement of a record waits, so that it need not be sent to a neighbour that has the record from
    /// elsewhere by then. Up to twice this, so that the two ends of a link differ.
    pub announce_after: Duration,
    /// After this long without the record, another neighbour is asked that has it.
    pub ask_again_after: Duration,
    /// How long a new neighbour has to become reachable by other paths, before all records are announced to it. The two
    /// ends first compare their records after four to eight times as long.
    pub compare_after: Duration,
    /// How often the two ends of a link compare their records, ± 50 %.
    pub compare_every: Duration,
    /// How long an unreachable hub is remembered, and then its incarnation for as long again.
    pub forget_after: Duration,
    /// How long an unreachable hub is remembered that had been forgotten, and that an old copy of its record brought
    /// back.
    pub forget_again_after: Duration,
    /// The round-trip time that adds 1 to a link's cost.
    pub rtt_step: Duration,
    /// A round trip that differs by no more than this, or by no more than a quarter, changes no cost.
    pub rtt_differs: Duration,
    /// The least time between two changes of a link's cost.
    pub cost_every: Duration,
    /// The least time between two shortest-path runs that changes elsewhere cause.
    pub spf_every: Duration,
    /// What each known hub adds to that time.
    pub spf_every_per_hub: Duration,
    /// The most hubs with a record, this one included.
    pub max_hubs: usize,
    /// The least time between two requests for records that were refused because there was no space.
    pub ask_again_every: Duration,
    /// The most forgotten hubs whose incarnation is remembered.
    pub max_past_incarnations: usize,
    /// How far the epoch of an incarnation may be above the last known one of its hub, or above 0. A hub's epoch rises
    /// by one each time that it restarts before it was forgotten.
    pub max_epoch_jump: u32,
    /// How often this hub's epoch may be raised within `bump_window`.
    pub max_bumps: usize,
    /// See `max_bumps`.
    pub bump_window: Duration,
    /// Says in its record that this hub can subscribe to single networks of others' claims.
    pub knows_interest: bool,
    /// The wire level in this hub's record: [`WIRE_LEVEL`], except for simulated hubs of later versions.
    pub level: u8,
    /// Known bugs, for tests of the tests.
    pub mutants: Mutants,
}

impl Default for TopologyConfig {
    fn default() -> Self {
        TopologyConfig {
            urls: Vec::new(),
            region: String::new(),
            pacing: Duration::from_millis(100),
            pacing_most: Duration::from_secs(1),
            settle: Duration::from_millis(500),
            settle_most: Duration::from_millis(1_500),
            announce_after: Duration::from_millis(50),
            ask_again_after: Duration::from_millis(300),
            compare_after: Duration::from_millis(200),
            compare_every: Duration::from_secs(30),
            forget_after: Duration::from_secs(15 * 60),
            forget_again_after: Duration::from_secs(60),
            rtt_step: Duration::from_millis(1),
            rtt_differs: Duration::from_millis(5),
            cost_every: Duration::from_secs(60),
            spf_every: Duration::from_millis(10),
            spf_every_per_hub: Duration::from_micros(100),
            max_hubs: 4_096,
            ask_again_every: Duration::from_secs(5),
            max_past_incarnations: 4_096,
            max_epoch_jump: 1 << 16,
            max_bumps: 3,
            bump_window: Duration::from_secs(60),
            knows_interest: false,
            level: WIRE_LEVEL,
            mutants: Mutants::NONE,
        }
    }
}

/// An event of the topology.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopologyEvent {
    /// There is a path to this hub now.
    Reachable {
        /// The hub.
        hub: HubId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// There is no path to this hub any more.
    Unreachable {
        /// The hub.
        hub: HubId,
    },
    /// A hub that was known before has a later incarnation (or a raised epoch) in its record.
    IncarnationChanged {
        /// The hub.
        hub: HubId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// The hub is new, or its addresses or its draining flag are: read [`super::Topology::record`].
    Learned {
        /// The hub.
        hub: HubId,
    },
    /// A hub that was known before has changed its statement about interest (asks for it, no longer asks, or knows of
    /// it now): see [`crate::frames::LinkRecord::asks_for_interest`].
    MindChanged,
    /// The hub was unreachable for so long that its record is dropped.
    Forgotten {
        /// The hub.
        hub: HubId,
    },
    /// [`super::Topology::routes`] returns new routes.
    RoutesChanged,
    /// This hub has this incarnation from now on.
    OwnIncarnation(Incarnation),
    /// Another live machine uses this hub's id. Reported once.
    IdentityClash,
}
