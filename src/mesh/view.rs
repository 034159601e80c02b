//! The mesh as operators see it: the answers of `/hubs`, `/stats`, `/hubstats` and `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use hubmesh_core::Core;
use hubmesh_core::directory::Directory;
use hubmesh_core::ids::{HubId, Moment, Now};
use hubmesh_core::reach::Reach;

use super::troubles::Troubles;

/// The mesh as this hub sees it.
#[derive(Clone, Debug)]
pub struct MeshView {
    /// This hub.
    pub hub_id: HubId,
    /// The mesh that it is in.
    pub namespace: String,
    /// The other hubs that can be reached, by id.
    pub hubs: Vec<HubView>,
    /// Networks with peers in them, mesh-wide.
    pub networks: usize,
    /// The bootstrap addresses.
    pub bootstrap: Vec<BootstrapView>,
    /// Peers of this hub.
    pub local_peers: usize,
    /// Peers of all hubs.
    pub peers: usize,
    /// Links that are up.
    pub links: usize,
}

impl MeshView {
    /// Whether there are other hubs, and the peers of all that can be reached are known.
    pub fn is_synced(&self) -> bool {
        !self.hubs.is_empty() && self.hubs.iter().all(|hub| hub.synced)
    }
}

/// One other hub.
#[derive(Clone, Debug)]
pub struct HubView {
    /// Its id.
    pub id: HubId,
    /// The address where it can be dialled.
    pub url: Option<String>,
    /// The region in which it runs.
    pub region: String,
    /// It has a link with this hub.
    pub direct: bool,
    /// The neighbour towards it.
    pub next_hop: Option<HubId>,
    /// Links to it.
    pub hops: u8,
    /// The cost of the path to it: a millisecond of round trip is 1, and each link 1 more.
    pub cost: u32,
    /// The reach of the nearest hub that told of it.
    pub told_by: Reach,
    /// The round-trip time, when direct.
    pub rtt: Option<Duration>,
    /// Its peers.
    pub peers: usize,
    /// All of its peers are known here.
    pub synced: bool,
    /// It is shutting down.
    pub draining: bool,
    /// When it was first reached, in Unix milliseconds.
    pub first_seen_ms: u64,
    /// When it was last reached, in Unix milliseconds.
    pub last_seen_ms: u64,
}

impl HubView {
    /// Its distance, for comparing.
    pub(super) fn distance(&self) -> (u32, u8, HubId) {
        (self.cost, self.hops, self.id)
    }
}

/// One bootstrap address.
#[derive(Clone, Debug)]
pub struct BootstrapView {
    /// The address.
    pub url: String,
    /// There is a link with the hub that it leads to.
    pub connected: bool,
    /// Why there is no link, as far as is known.
    pub problem: Option<String>,
    /// The hub that it leads to, once known.
    pub hub: Option<HubId>,
    /// When it was last dialled, in Unix milliseconds.
    pub last_attempt_ms: Option<u64>,
    /// Dials since the last success.
    pub attempt: u32,
}

/// When hubs were first and last reached.
#[derive(Debug, Default)]
pub struct Sightings(BTreeMap<HubId, (u64, u64)>);

/// How long a hub that was reached is remembered.
const REMEMBER_MS: u64 = 3_600_000;

impl Sightings {
    /// These hubs can be reached now.
    pub fn note(&mut self, hubs: &[HubId], wall_ms: u64) {
        for hub in hubs {
            self.0.entry(*hub).or_insert((wall_ms, wall_ms)).1 = wall_ms;
        }
        self.0
            .retain(|_, (_, last)| wall_ms.saturating_sub(*last) < REMEMBER_MS);
    }

    fn of(&self, hub: &HubId, wall_ms: u64) -> (u64, u64) {
        self.0.get(hub).copied().unwrap_or((wall_ms, wall_ms))
    }
}

/// The part of a view that only the driver knows; published whenever it changed.
#[derive(Debug, Default)]
pub(super) struct Published {
    hubs: Vec<HubView>,
    bootstrap: Vec<BootstrapView>,
    links: usize,
    contests: usize,
}

/// A link between two hubs that can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkView {
    /// The hub with the lower id.
    pub a: HubId,
    /// The hub with the higher id.
    pub b: HubId,
    /// The round trip in whole milliseconds, as one of the two hubs reports it.
    pub rtt_ms: u16,
}

impl Published {
    pub fn of(core: &Core, sightings: &Sightings, troubles: &Troubles, now: Now) -> Self {
        Published {
            hubs: hubs(core, sightings, now),
            bootstrap: bootstrap(core, troubles, now),
            links: core.links().neighbour_count(),
            contests: core.contested(),
        }
    }
}

impl Published {
    /// The other hubs that can be reached, by id.
    pub(super) fn hubs(&self) -> &[HubView] {
        &self.hubs
    }

    /// Joins whose id was contested then.
    pub(super) fn contests(&self) -> usize {
        self.contests
    }

    /// The reach of the nearest hub that told of this one.
    pub(super) fn told_by(&self, hub: HubId) -> Reach {
        let found = self.hubs.iter().find(|view| view.id == hub);
        found.map_or(Reach::Global, |view| view.told_by)
    }
}

impl MeshView {
    /// The published view, with the present data of the directory.
    pub(super) fn of(
        me: HubId,
        namespace: &str,
        published: &Published,
        directory: &Directory,
    ) -> Self {
        let hubs = published.hubs.iter().cloned().map(|hub| HubView {
            peers: directory.peers_of(&hub.id),
            synced: directory.is_shown_of(&hub.id),
            ..hub
        });
        MeshView {
            hub_id: me,
            namespace: namespace.to_owned(),
            hubs: hubs.collect(),
            networks: directory.network_count(),
            bootstrap: published.bootstrap.clone(),
            local_peers: directory.own_peers(),
            peers: directory.peers(),
            links: published.links,
        }
    }
}

fn hubs(core: &Core, sightings: &Sightings, now: Now) -> Vec<HubView> {
    let routes = core.topology().routes();
    let reachable = core.topology().records().filter_map(|record| {
        let route = routes.by_hub.get(&record.hub)?;
        let (first_seen_ms, last_seen_ms) = sightings.of(&record.hub, now.wall_ms);
        Some(HubView {
            id: record.hub,
            url: record.urls.first().cloned(),
            region: record.place().to_owned(),
            direct: core.links().link_to(record.hub).is_some(),
            next_hop: Some(route.hop.neighbour),
            hops: route.hop.hops,
            cost: core.topology().path_cost(record.hub).unwrap_or(u32::MAX),
            told_by: core.topology().told_by(record.hub),
            rtt: core.links().rtt(record.hub),
            peers: 0,
            synced: false,
            draining: record.draining,
            first_seen_ms,
            last_seen_ms,
        })
    });
    reachable.collect()
}

/// The links of which both ends can be reached from here, each once. Looks at the records of all hubs.
pub(super) fn graph(core: &Core) -> Vec<LinkView> {
    let (routes, me) = (core.topology().routes(), core.id());
    let is_near = |hub: &HubId| *hub == me || routes.by_hub.contains_key(hub);
    let mut graph = BTreeMap::new();
    for record in core.topology().records() {
        let ends = record.neighbours.iter();
        for (other, cost) in ends.filter(|(other, _)| is_near(other) && is_near(&record.hub)) {
            let ends = (record.hub.min(*other), record.hub.max(*other));
            // A link costs one more than its round trip.
            let told = cost.saturating_sub(1);
            let rtt_ms = graph.entry(ends).or_insert(told);
            *rtt_ms = told.min(*rtt_ms);
        }
    }
    let links = graph.into_iter();
    links
        .map(|((a, b), rtt_ms)| LinkView { a, b, rtt_ms })
        .collect()
}

/// The problem of an address that leads to the hub that dials it.
pub(super) const ITSELF: &str = "it leads to this hub itself";

/// The addresses that are dialled, and the names without an address.
fn bootstrap(core: &Core, troubles: &Troubles, now: Now) -> Vec<BootstrapView> {
    let wall = |at: Moment| {
        let ago = u64::try_from((now.at - at).as_millis()).unwrap_or(u64::MAX);
        now.wall_ms.saturating_sub(ago)
    };
    let status = core
        .dialer()
        .bootstrap_status()
        .map(|status| BootstrapView {
            url: status.url.to_owned(),
            connected: status.connected.is_some(),
            problem: match status.connected {
                Some(_) => None,
                None if status.ourselves => Some(ITSELF.to_owned()),
                None => troubles.cause(status.url).map(str::to_owned),
            },
            hub: status.connected,
            last_attempt_ms: status.last_attempt.map(wall),
            attempt: status.attempt,
        });
    let names = troubles.of_kind("dns+ws://").map(|case| BootstrapView {
        url: case.address.to_owned(),
        connected: false,
        problem: Some(case.cause.to_owned()),
        hub: None,
        last_attempt_ms: Some(wall(case.last)),
        attempt: case.failures,
    });
    status.chain(names).collect()
}
