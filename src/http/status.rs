//! The status pages: the hub's report on itself and the mesh, as JSON or as Prometheus metrics.
//!
//! Clients and dashboards of the original server read these shapes, so fields are added, and none is removed.
//! `timestamp` is RFC 3339, other times are Unix milliseconds; spans are milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use hubmesh_core::ids::{Dialect, NetworkKey};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use warp::reply::Response;

use super::accept_header::wants_exposition;
use super::rates::Tally;
use super::{App, Backend, Head, PageName, reply};
use crate::log::timestamp;
use crate::mesh::{BootstrapView, HubView, MeshView};
use crate::nat::OwnServers;

impl<B: Backend> App<B> {
    /// Since the hub's start.
    pub(super) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The number of messages from peers so far, and of errors that were sent to them.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            at: Instant::now(),
            messages: self.metrics.messages_received.total(),
            errors: self.metrics.complaints.total(),
        }
    }

    /// This hub's id, if it is a hub.
    pub(super) fn own_id(&self, view: &MeshView) -> Option<String> {
        self.config.is_hub.then(|| view.hub_id.to_string())
    }
}

fn connected(bootstrap: &[BootstrapView]) -> usize {
    bootstrap.iter().filter(|hub| hub.connected).count()
}

/// Where the documentation of the clients is.
pub(super) const WEBSITE: &str = "https://peerjs.com/";

/// `GET /`: the description of this server, and links to other pages.
pub(super) fn description<B: Backend>(app: &App<B>, head: &Head) -> Response {
    let mut endpoints = BTreeMap::from([
        ("peer", "/ws?peerId=<40 hex digits>"),
        ("health", "/health"),
        ("live", "/live"),
        ("ready", "/ready"),
    ]);
    if app.config.is_hub {
        endpoints.insert("mesh", "/mesh");
    }
    if app.has_ice_servers() {
        endpoints.insert("iceServers", "/ice-servers?peerId=<id>");
    }
    if head.is_operator {
        endpoints.extend(OF_OPERATORS);
    }
    describe(app, &endpoints)
}

/// Whether the page at this path shows the mesh, and so is only for operators if these are told apart.
pub(super) fn is_of_operators(path: &str) -> bool {
    OF_OPERATORS.iter().any(|(name, _)| *name == path)
}

/// The pages that show the mesh.
const OF_OPERATORS: [(&str, &str); 4] = [
    ("metrics", "/metrics"),
    ("hubs", "/hubs"),
    ("stats", "/stats"),
    ("hubstats", "/hubstats"),
];

/// `GET /` at the operators' door.
pub(super) fn operators_description<B: Backend>(app: &Arc<App<B>>, _: Head) -> Response {
    let mut endpoints = BTreeMap::from(OF_OPERATORS);
    endpoints.extend([
        ("health", "/health"),
        ("live", "/live"),
        ("ready", "/ready"),
    ]);
    describe(app, &endpoints)
}

fn describe<B: Backend>(app: &App<B>, endpoints: &BTreeMap<&str, &str>) -> Response {
    let body = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "website": WEBSITE,
        "isHub": app.config.is_hub,
        "endpoints": endpoints,
    });
    reply::json(StatusCode::OK, &body)
}

/// The answer of `/health`. A hub whose own STUN and TURN have failed still lets peers in, so it must stay in service.
fn condition(draining: bool, turn_failed: bool) -> (StatusCode, &'static str) {
    match (draining, turn_failed) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, true) => (StatusCode::OK, "degraded"),
        (false, false) => (StatusCode::OK, "healthy"),
    }
}

/// `GET /health`: 200 while peers are let in, 503 while the hub shuts down. Only operators learn the number of peers,
/// if operators are told apart.
pub(super) fn health<B: Backend>(app: &Arc<App<B>>, head: Head) -> Response {
    let turn = app.own_servers.get().map(OwnServers::are_served);
    let (code, status) = condition(app.is_draining(), turn == Some(false));
    let mut body = json!({
        "status": status,
        "timestamp": timestamp(),
        "uptime": app.uptime_ms(),
        "isHub": app.config.is_hub,
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let (Some(served), Some(fields)) = (turn, body.as_object_mut()) {
        fields.insert(
            "turn".into(),
            if served { "served" } else { "failed" }.into(),
        );
    }
    if let (true, Some(fields)) = (head.is_operator, body.as_object_mut()) {
        let view = app.backend.view();
        let counts = [
            ("peers", view.peers),
            ("hubs", view.hubs.len()),
            ("networks", view.networks),
        ];
        fields.insert("connections".into(), app.metrics.connections_open().into());
        fields.extend(counts.map(|(name, count)| (name.to_owned(), count.into())));
    }
    reply::json(code, &body)
}

/// `GET /metrics`: the Prometheus text for clients that ask for it, JSON for all others.
pub(super) fn metrics<B: Backend>(app: &Arc<App<B>>, head: Head) -> Response {
    let response = if wants_exposition(&head.headers) {
        refresh_gauges(app);
        let text = app.metrics.exposition();
        reply::text(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        )
    } else {
        let make = || reply::to_json(&metrics_json(app));
        let text = app.pages.get(PageName::Metrics, make);
        reply::text(StatusCode::OK, reply::JSON, text)
    };
    reply::by_accept(response)
}

/// Counting the directory's networks takes a moment, so its gauges are set only when a client reads them.
fn refresh_gauges<B: Backend>(app: &App<B>) {
    let view = app.backend.view();
    let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    app.metrics.directory_peers.set(gauge(view.peers));
    app.metrics.directory_networks.set(gauge(view.networks));
    app.metrics.directory_hubs.set(gauge(view.hubs.len()));
}

fn metrics_json<B: Backend>(app: &App<B>) -> serde_json::Value {
    let view = app.backend.view();
    let named = app.backend.networks();
    let networks: BTreeMap<&str, usize> = named
        .iter()
        .filter(|(network, _)| network.dialect() == Some(Dialect::Pigeon))
        .map(|(network, peers)| (network.name(), *peers))
        .collect();
    let dialects = by_dialect(&named);
    let rooms = dialects.get(Dialect::PeerJsRoomMode.label()).copied();
    let rooms = rooms.unwrap_or_default();
    let rates = app.meter.lock().read(app.tally());
    let metrics = &app.metrics;
    let region = Some(&app.config.mesh.region).filter(|region| !region.is_empty());
    json!({
        "timestamp": timestamp(),
        "uptime_ms": app.uptime_ms(),
        "server": {
            "is_hub": app.config.is_hub,
            "namespace": view.namespace,
            "region": region,
            "app_name": app.config.app_name,
        },
        "connections": {
            "active": metrics.connections_open(),
            "max": app.config.max_connections,
            "accepted": metrics.connections_accepted(),
            "closed": metrics.connections_closed(),
        },
        "peers": { "total": view.peers, "local": view.local_peers, "networks": networks },
        "hubs": { "discovered": view.hubs.len(), "bootstrap_connected": connected(&view.bootstrap) },
        "messages": {
            "received": metrics.messages_received.total(),
            "sent": metrics.messages_sent.total(),
            "signals_routed": metrics.signals_routed.total(),
            "signals_failed": metrics.signals_failed.total(),
            "rate_limited": metrics.rate_limited.get(),
        },
        "dialects": dialects,
        // As the original server of the room mode reports itself.
        "metrics": {
            "activeRooms": rooms.networks,
            "activePeers": rooms.peers,
            "messagesPerSecond": rates.messages_per_second,
            "errorRate": rates.error_rate,
        },
    })
}

/// The numbers of one dialect in the whole mesh.
#[derive(Clone, Copy, Default, Serialize)]
struct DialectCounts {
    networks: usize,
    peers: usize,
}

/// Names of realms and rooms are not shown: a client that knows the name of a room may enter it.
fn by_dialect(networks: &[(NetworkKey, usize)]) -> BTreeMap<&'static str, DialectCounts> {
    let mut all: BTreeMap<_, DialectCounts> = Dialect::ALL
        .iter()
        .map(|dialect| (dialect.label(), DialectCounts::default()))
        .collect();
    for (network, peers) in networks {
        let label = network.dialect().map_or("unknown", Dialect::label);
        let counts = all.entry(label).or_default();
        counts.networks += 1;
        counts.peers += peers;
    }
    all
}

/// Another hub, as the pages show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HubEntry<'v> {
    peer_id: String,
    registered_at: u64,
    last_activity: u64,
    network_name: &'v str,
    url: Option<&'v str>,
    region: &'v str,
    direct: bool,
    next_hop: Option<String>,
    hops: u8,
    rtt_ms: Option<f64>,
    peers: usize,
    draining: bool,
}

impl<'v> HubEntry<'v> {
    fn new(hub: &'v HubView, namespace: &'v str) -> Self {
        HubEntry {
            peer_id: hub.id.to_string(),
            registered_at: hub.first_seen_ms,
            last_activity: hub.last_seen_ms,
            network_name: namespace,
            url: hub.url.as_deref(),
            region: &hub.region,
            direct: hub.direct,
            next_hop: hub.next_hop.map(|next| next.to_string()),
            hops: hub.hops,
            rtt_ms: hub.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            peers: hub.peers,
            draining: hub.draining,
        }
    }

    fn all(view: &'v MeshView) -> Vec<Self> {
        view.hubs
            .iter()
            .map(|hub| HubEntry::new(hub, &view.namespace))
            .collect()
    }
}

/// `GET /hubs`: the other hubs that can be reached.
pub(super) fn hubs<B: Backend>(app: &Arc<App<B>>, _: Head) -> Response {
    let text = app.pages.get(PageName::Hubs, || {
        let view = app.backend.view();
        reply::to_json(&json!({
            "timestamp": timestamp(),
            "totalHubs": view.hubs.len(),
            "hubs": HubEntry::all(&view),
        }))
    });
    reply::text(StatusCode::OK, reply::JSON, text)
}

/// `GET /stats`: this hub in numbers.
pub(super) fn stats<B: Backend>(app: &Arc<App<B>>, _: Head) -> Response {
    let view = app.backend.view();
    let port = app.bound.get().map_or(app.config.port, |addr| addr.port());
    let body = json!({
        "isRunning": !app.is_draining(),
        "isHub": app.config.is_hub,
        "hubPeerId": app.own_id(&view),
        "hubMeshNamespace": view.namespace,
        "connections": app.metrics.connections_open(),
        "peers": view.peers,
        "hubs": view.hubs.len(),
        "networks": view.networks,
        "bootstrapHubs": { "total": view.bootstrap.len(), "connected": connected(&view.bootstrap) },
        "maxConnections": app.config.max_connections,
        "uptime": app.uptime_ms(),
        "host": app.config.host,
        "port": port,
    });
    reply::json(StatusCode::OK, &body)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BootstrapEntry<'v> {
    uri: &'v str,
    connected: bool,
    problem: Option<&'v str>,
    hub: Option<String>,
    last_attempt: Option<u64>,
    attempt_number: u32,
}

/// `GET /hubstats`: the other hubs, and the state of the dials to `BOOTSTRAP_HUBS`.
pub(super) fn hubstats<B: Backend>(app: &Arc<App<B>>, _: Head) -> Response {
    let make = || reply::to_json(&hubstats_json(&app.backend.view()));
    let text = app.pages.get(PageName::HubStats, make);
    reply::text(StatusCode::OK, reply::JSON, text)
}

fn hubstats_json(view: &MeshView) -> serde_json::Value {
    let bootstrap: Vec<BootstrapEntry<'_>> = view
        .bootstrap
        .iter()
        .map(|hub| BootstrapEntry {
            uri: &hub.url,
            connected: hub.connected,
            problem: hub.problem.as_deref(),
            hub: hub.hub.map(|id| id.to_string()),
            last_attempt: hub.last_attempt_ms,
            attempt_number: hub.attempt,
        })
        .collect();
    json!({
        "totalHubs": view.hubs.len(),
        "connectedHubs": view.hubs.iter().filter(|hub| hub.direct).count(),
        "hubs": HubEntry::all(view),
        "bootstrapHubs": bootstrap,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_whose_relays_have_failed_says_so_and_stays_in_service() {
        assert_eq!(condition(false, false), (StatusCode::OK, "healthy"));
        assert_eq!(condition(false, true), (StatusCode::OK, "degraded"));
        let draining = (StatusCode::SERVICE_UNAVAILABLE, "draining");
        assert_eq!(condition(true, true), draining);
    }
}
