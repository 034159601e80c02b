//! The mesh as it is seen from this hub, for the status pages and the gauges.
use std::time::Duration;

use super::core::ids::HubId;

/// The mesh as it is seen from this hub.
#[derive(Clone, Debug)]
pub struct MeshView {
    /// This hub.
    pub hub_id: HubId,
    /// The mesh it belongs to.
    pub namespace: String,
    /// The other hubs that can be reached.
    pub hubs: Vec<HubView>,
    /// The networks, and how many peers each has.
    pub networks: Vec<(String, usize)>,
    /// The hubs to link to whatever happens.
    pub bootstrap: Vec<BootstrapView>,
    /// Peers on this hub.
    pub local_peers: usize,
    /// Peers on all hubs.
    pub peers: usize,
}

/// Another hub.
#[derive(Clone, Debug)]
pub struct HubView {
    /// Its id.
    pub id: HubId,
    /// What it advertises.
    pub url: Option<String>,
    /// Where it runs.
    pub region: String,
    /// Whether there is a link to it.
    pub direct: bool,
    /// The neighbour on the way.
    pub next_hop: Option<HubId>,
    /// Links on the way.
    pub hops: u8,
    /// Round trip, if it is a neighbour.
    pub rtt: Option<Duration>,
    /// Its peers.
    pub peers: usize,
    /// Since when it is known, Unix ms.
    pub first_seen_ms: u64,
    /// When it was last heard of, Unix ms.
    pub last_seen_ms: u64,
    /// Whether it is shutting down.
    pub draining: bool,
}

/// One entry of `BOOTSTRAP_HUBS`.
#[derive(Clone, Debug)]
pub struct BootstrapView {
    /// The entry.
    pub url: String,
    /// Whether a link to it stands.
    pub connected: bool,
    /// Who answered.
    pub hub: Option<HubId>,
    /// When it was last dialled, Unix ms.
    pub last_attempt_ms: Option<u64>,
    /// Dials since the last link.
    pub attempt: u32,
}
