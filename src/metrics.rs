//! What the hub counts, as Prometheus metrics in a registry of its own.
//!
//! [`Metrics`] has one typed handle for each series that changes while messages flow. The handles are resolved once at
//! start, so the data path never looks a label up. Rare events (a link that ends, an alarm) are counted by name. Names
//! carry their unit. Nothing here decides anything or knows of sockets; every part of the hub holds an `Arc<Metrics>`.
//!
//! Invariant: `connections_accepted − connections_closed (all reasons) = connections_open`, because only
//! [`Metrics::connection`] and the drop of what it returns move the three.

mod family;
mod maker;
mod operating;
mod process;
mod rooms;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hubmesh_core::api::SignalFailure;
use hubmesh_turn::Counters;
use prometheus::{Histogram, IntCounter, IntGauge, Registry, TextEncoder};

pub use family::{ByDialect, ByName, Family, Label};
pub use operating::Operating;
pub use process::{Usage, usage};
pub use rooms::RoomMetrics;

use maker::Maker;

use crate::dialect::words::{Received, Sent, words};

/// Words, in their order.
macro_rules! words_as_labels {
    ($($name:ty),+) => {
        $(impl Label for $name {
            const ALL: &'static [Self] = <$name>::ALL;

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn index(self) -> usize {
                self as usize
            }
        })+
    };
}

words_as_labels!(Received, Sent);

/// Declares an enum of labels: its variants, and the word that each has in the exposition.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($body:tt)+ }) => {
        words! { $(#[$doc])* $name { $($body)+ } }
        words_as_labels!($name);
    };
}

labels! {
    /// Where a signal went.
    Via {
        /// To a peer of this hub.
        Local = "local",
        /// To another hub.
        Remote = "remote",
        /// Signals that wait for a target that is not there yet.
        WaitingRoom = "waiting-room",
    }
}

labels! {
    /// Why a connection or a request was refused before it became a peer.
    Refusal {
        /// The `peerId` is missing or malformed.
        PeerId = "peer-id",
        /// The token is for another `peerId`.
        OtherPeer = "other-peer",
        /// The token names networks, and the client is in another one, or its dialect has no rooms.
        OtherRoom = "other-room",
        /// The token is for clients of another dialect.
        OtherDialect = "other-dialect",
        /// The token has no right to what was asked for.
        NoRight = "no-right",
        /// As many clients have yet to show their token as `MAX_UNPROVEN_CLIENTS` allows.
        Unproven = "unproven",
        /// The bearer token is missing or wrong, or a JWT is not valid.
        Unauthorized = "unauthorized",
        /// A client that is not an operator asked for an operators' page.
        Operator = "operator",
        /// Its address, its token's subject or its id is banned.
        Banned = "banned",
        /// The page's origin is not allowed.
        Origin = "origin",
        /// A hub that is neither on this machine nor in a private network, while the mesh has no token.
        OpenMesh = "open-mesh",
        /// As many peers as `MAX_CONNECTIONS` allows.
        Full = "full",
        /// As many peers of one address as `MAX_CONNECTIONS_PER_IP` allows.
        AddressFull = "address-full",
        /// As many requests of one address as `CONNECTS_PER_MINUTE_PER_IP` allows.
        AddressTooFast = "address-too-fast",
        /// As many peers are in the room as `MAX_PEERS_PER_ROOM` allows.
        RoomFull = "room-full",
        /// The address of a PeerJS client's WebSocket is incomplete or wrong.
        PeerJsQuery = "peerjs-query",
        /// The hub takes more memory than `MEMORY_CRITICAL_THRESHOLD`.
        Memory = "memory",
        /// The hub is shutting down.
        Draining = "draining",
        /// The request for a WebSocket is malformed.
        Handshake = "handshake",
        /// A client wanted a WebSocket, but its request arrived without the upgrade, or at a path without one.
        Misrouted = "misrouted",
        /// As many TCP connections as `MAX_HTTP_CONNECTIONS` allows.
        HttpFull = "http-full",
        /// The bytes are not a request, or its head is too long.
        BadRequest = "bad-request",
        /// A request's head, or the TLS handshake before it, did not arrive in time. Connections that were kept alive
        /// after an answer do not count.
        HeaderTimeout = "header-timeout",
        /// The bytes are not TLS, or client and hub do not agree on it. Clients that just went away do not count.
        TlsHandshake = "tls-handshake",
        /// A TLS handshake found `MAX_TLS_HANDSHAKES` taken, or gave way to another.
        TlsFull = "tls-full",
        /// The connection was not switched to a WebSocket in time.
        UpgradeTimeout = "upgrade-timeout",
    }
}

labels! {
    /// Why a connection of STUN and TURN was refused, or closed before it had a relay.
    TurnRefusal {
        /// As many as `TURN_MAX_CONNECTIONS` allows.
        Full = "full",
        /// As many of one address as are left for all others.
        AddressFull = "address-full",
        /// A TLS handshake found `MAX_TLS_HANDSHAKES` taken, or gave way to another.
        TlsFull = "tls-full",
        /// The bytes are not TLS, or client and hub do not agree on it.
        TlsHandshake = "tls-handshake",
        /// No TLS, or no relay, within `HEADER_TIMEOUT_MS`.
        Late = "late",
        /// The bytes are neither STUN nor TURN, or longer than a packet may be.
        Malformed = "malformed",
    }
}

labels! {
    /// What became of a request for a token.
    Minting {
        /// It was made.
        Made = "made",
        /// The asker may have no token, or none that is so wide.
        Refused = "refused",
        /// The request cannot be read.
        Malformed = "malformed",
        /// The hub has nothing to sign with.
        Unable = "unable",
    }
}

labels! {
    /// What became of new files for TLS.
    Reload {
        /// New connections get them.
        Ok = "ok",
        /// They cannot be used; the files before them stay in force.
        Failed = "failed",
    }
}

/// `SignalFailure` in the order of its series.
impl Label for SignalFailure {
    const ALL: &'static [Self] = &[
        SignalFailure::NoSuchPeer,
        SignalFailure::NoRoute,
        SignalFailure::Overload,
        SignalFailure::Unknown,
    ];

    fn word(self) -> &'static str {
        self.as_str()
    }

    fn index(self) -> usize {
        match self {
            SignalFailure::NoSuchPeer => 0,
            SignalFailure::NoRoute => 1,
            SignalFailure::Overload => 2,
            SignalFailure::Unknown => 3,
        }
    }
}

/// The two directions of a link between hubs.
pub struct LinkTraffic {
    /// Frames, by kind.
    pub frames: ByName,
    /// Bytes with their WebSocket payload, by kind.
    pub bytes: ByName,
}

/// All counters of the hub.
pub struct Metrics {
    registry: Registry,
    connections_accepted: IntCounter,
    connections_closed: ByName,
    connections_open: IntGauge,
    /// TCP connections that are being served, as HTTP or on their way to a WebSocket.
    pub http_connections_open: IntGauge,
    /// Requests answered, by status class.
    pub http_responses: ByName,
    /// Answers of `/ice-servers` with servers in them.
    pub ice_servers: IntCounter,
    /// Connections and requests refused.
    pub refusals: Family<Refusal>,
    /// Requests for a token.
    pub tokens: Family<Minting>,
    /// Answers of other hubs about their STUN and TURN servers, by what became of them.
    pub ice_answers: ByName,
    /// Connections of STUN and TURN refused.
    pub turn_refusals: Family<TurnRefusal>,
    /// Errors of the listening socket, such as a lack of file descriptors.
    pub accept_errors: IntCounter,
    /// Changes of the certificate's files.
    pub tls_reloads: Family<Reload>,
    /// Messages from peers.
    pub messages_received: ByDialect<Received>,
    /// Messages to peers.
    pub messages_sent: ByDialect<Sent>,
    /// Bytes of messages from peers.
    pub bytes_received: IntCounter,
    /// Bytes of messages to peers.
    pub bytes_sent: IntCounter,
    /// Signals that were handed on: to their target, or towards its hub.
    pub signals_routed: Family<Via>,
    /// Signals whose sender was told that they failed.
    pub signals_failed: Family<SignalFailure>,
    /// Signals that wait for their target to appear.
    pub signals_waiting: IntGauge,
    /// From reading a signal to handing it on, in seconds.
    pub route_seconds: Histogram,
    /// Messages that came too fast; they were refused or made to wait.
    pub rate_limited: IntCounter,
    /// Peers closed because their outbox was full.
    pub outbox_overflows: IntCounter,
    /// Announcements accepted.
    pub announcements: IntCounter,
    /// Connections refused because a living peer holds their id.
    pub duplicates: IntCounter,
    /// Joins that waited because joins of their address cause more notices than `NOTICES_PER_SEC_PER_IP` allows.
    pub joins_delayed: IntCounter,
    /// Connections that took an id over from an older one.
    pub takeovers: IntCounter,
    /// Messages that named another sender than their own, and announcements as a hub. They were refused.
    pub forged: IntCounter,
    /// Errors that peers were told, by code.
    pub complaints: ByName,
    /// Links to other hubs that came up.
    pub links_up: IntCounter,
    /// Links to other hubs that ended, by reason.
    pub links_down: ByName,
    /// Links to other hubs that stand; several may lead to one hub.
    pub links_open: IntGauge,
    /// Dials that made no link, by reason.
    pub dials_failed: ByName,
    /// Round trips to direct neighbours, in seconds.
    pub link_rtt_seconds: Histogram,
    /// From other hubs.
    pub mesh_received: LinkTraffic,
    /// To other hubs.
    pub mesh_sent: LinkTraffic,
    /// Peers known, local and remote.
    pub directory_peers: IntGauge,
    /// Networks known.
    pub directory_networks: IntGauge,
    /// Other hubs that can be reached.
    pub directory_hubs: IntGauge,
    /// 1 while this hub takes only the networks of interest from other hubs, 0 while it takes all.
    pub mesh_narrow: IntGauge,
    /// Networks of interest, while it takes only these.
    pub mesh_interests: IntGauge,
    /// Lines that tell which hub has peers in which network.
    pub mesh_lines: IntGauge,
    /// How often this hub changed between the two.
    pub mesh_turns: IntCounter,
    /// Rooms, and the memory that ends them.
    pub rooms: RoomMetrics,
    /// How often a hub's part of the directory was requested again.
    pub resyncs: IntCounter,
    /// Changes of other hubs' peers that were new here.
    pub mesh_changes: IntCounter,
    /// Changes of other hubs' peers that were here already.
    pub mesh_repeated: IntCounter,
    /// Links that were refused, by reason.
    pub handshakes_refused: ByName,
    /// What happened to signals between hubs besides their delivery, by kind.
    pub exchange_events: ByName,
    /// What an operator should look at, by name.
    pub alarms: ByName,
    /// What operators see and do.
    pub operating: Operating,
}

/// Up to 1 ms in fine steps, since a hand-over takes microseconds.
const ROUTE_BUCKETS: &[f64] = &[
    2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2, 1e-1, 1.0,
];
/// From one rack to the other side of the planet.
const RTT_BUCKETS: &[f64] = &[
    2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1, 1.0, 3.0,
];

impl Metrics {
    /// All at zero, in a new registry.
    #[allow(
        clippy::too_many_lines,
        reason = "one line a metric; a split would only scatter the list"
    )]
    pub fn new() -> Arc<Self> {
        let r = Maker {
            registry: Registry::new(),
        };
        r.build_info();
        r.add(process::ProcessCollector::new());
        Arc::new(Metrics {
            connections_accepted: r.counter("connections_accepted_total", "Peers let in."),
            connections_closed: r.by_name(
                "connections_closed_total",
                "Peers gone, by reason.",
                "reason",
            ),
            connections_open: r.gauge("connections_open", "Peers connected to this hub."),
            http_connections_open: r.gauge(
                "http_connections_open",
                "TCP connections that are served as HTTP or on their way to a WebSocket.",
            ),
            http_responses: r.by_name(
                "http_responses_total",
                "Requests answered, by status class.",
                "class",
            ),
            ice_servers: r.counter(
                "ice_servers_total",
                "Clients that were told of STUN and TURN servers.",
            ),
            refusals: r.family(
                "refusals_total",
                "Connections and requests refused.",
                "reason",
            ),
            tokens: r.family(
                "tokens_total",
                "Requests for a token, by what became of them.",
                "result",
            ),
            ice_answers: r.by_name(
                "mesh_ice_answers_total",
                "Answers of other hubs about their STUN and TURN servers, by what became of them.",
                "result",
            ),
            turn_refusals: r.family(
                "turn_connections_refused_total",
                "Connections of STUN and TURN refused, or closed before they had a relay.",
                "reason",
            ),
            accept_errors: r.counter("accept_errors_total", "Errors of the listening socket."),
            tls_reloads: r.family(
                "tls_reloads_total",
                "Changes of the files of TLS_CERT and TLS_KEY, by whether they could be used.",
                "result",
            ),
            messages_received: r.by_dialect("messages_received_total", "Messages from peers."),
            messages_sent: r.by_dialect("messages_sent_total", "Messages to peers."),
            bytes_received: r.counter(
                "message_received_bytes_total",
                "Bytes of messages from peers.",
            ),
            bytes_sent: r.counter("message_sent_bytes_total", "Bytes of messages to peers."),
            signals_routed: r.family("signals_routed_total", "Signals handed on.", "via"),
            signals_failed: r.family("signals_failed_total", "Signals that failed.", "reason"),
            signals_waiting: r.gauge("signals_waiting", "Signals that wait for their target."),
            route_seconds: r.histogram(
                "route_seconds",
                "From reading a signal to handing it on.",
                ROUTE_BUCKETS,
            ),
            rate_limited: r.counter(
                "rate_limited_total",
                "Messages that came too fast: refused, or made to wait.",
            ),
            outbox_overflows: r
                .counter("outbox_overflows_total", "Peers closed for a full outbox."),
            announcements: r.counter("announcements_total", "Announcements accepted."),
            joins_delayed: r.counter(
                "joins_delayed_total",
                "Joins that waited for their turn among those of their address.",
            ),
            duplicates: r.counter("duplicates_total", "Connections refused for an id in use."),
            takeovers: r.counter("takeovers_total", "Connections that took an id over."),
            forged: r.counter(
                "forged_total",
                "Messages that named a sender other than theirs, or said to be of a hub.",
            ),
            complaints: r.by_name(
                "complaints_total",
                "What peers were told to have done wrong, by code.",
                "code",
            ),
            links_up: r.counter("mesh_links_up_total", "Links to other hubs that came up."),
            links_down: r.by_name(
                "mesh_links_down_total",
                "Links to other hubs that ended, by reason.",
                "reason",
            ),
            links_open: r.gauge("mesh_links_open", "Links to other hubs that stand."),
            dials_failed: r.by_name(
                "mesh_dials_failed_total",
                "Dials that made no link, by reason.",
                "reason",
            ),
            link_rtt_seconds: r.histogram(
                "mesh_link_rtt_seconds",
                "Round trips to neighbours.",
                RTT_BUCKETS,
            ),
            mesh_received: LinkTraffic {
                frames: r.by_name(
                    "mesh_received_frames_total",
                    "Frames from other hubs.",
                    "kind",
                ),
                bytes: r.by_name(
                    "mesh_received_bytes_total",
                    "Bytes from other hubs.",
                    "kind",
                ),
            },
            mesh_sent: LinkTraffic {
                frames: r.by_name("mesh_sent_frames_total", "Frames to other hubs.", "kind"),
                bytes: r.by_name("mesh_sent_bytes_total", "Bytes to other hubs.", "kind"),
            },
            directory_peers: r.gauge("directory_peers", "Peers known, local and remote."),
            directory_networks: r.gauge("directory_networks", "Networks known."),
            directory_hubs: r.gauge("directory_hubs", "Other hubs that can be reached."),
            mesh_narrow: r.gauge(
                "mesh_narrow",
                "1 while this hub keeps of other hubs' peers those in networks of interest alone.",
            ),
            mesh_interests: r.gauge(
                "mesh_interests",
                "Networks of interest, while there are others.",
            ),
            mesh_lines: r.gauge(
                "mesh_lines",
                "Lines that tell which hub has peers in which network.",
            ),
            mesh_turns: r.counter(
                "mesh_turns_total",
                "Times that this hub went from all peers to those of interest, or back.",
            ),
            rooms: RoomMetrics::new(&r),
            resyncs: r.counter(
                "mesh_resyncs_total",
                "Parts of the directory that were asked for again.",
            ),
            mesh_changes: r.counter(
                "mesh_changes_total",
                "Changes of other hubs' peers that were new here.",
            ),
            mesh_repeated: r.counter(
                "mesh_repeated_changes_total",
                "Changes of other hubs' peers that were here already.",
            ),
            handshakes_refused: r.by_name(
                "mesh_handshakes_refused_total",
                "Inbound links that were not let in, by reason.",
                "reason",
            ),
            exchange_events: r.by_name(
                "mesh_signal_events_total",
                "What happened to signals between hubs besides their delivery.",
                "event",
            ),
            alarms: r.by_name(
                "alarms_total",
                "What an operator should look at, by name.",
                "alarm",
            ),
            operating: Operating::new(&r),
            registry: r.registry,
        })
    }

    /// Shows what this hub's own STUN and TURN count; once.
    pub fn show_turn(&self, counters: &Arc<Counters>, most: usize, serving: &Arc<AtomicBool>) {
        let (counters, serving) = (Arc::clone(counters), Arc::clone(serving));
        let collector = turn::TurnCollector::new(counters, most, serving);
        Maker::must(self.registry.register(Box::new(collector)));
    }

    /// Counts a peer that was let in, until what is returned is closed or dropped.
    pub fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections_accepted.inc();
        self.connections_open.inc();
        OpenConnection {
            metrics: Arc::clone(self),
            closed: AtomicBool::new(false),
        }
    }

    /// Peers connected to this hub.
    pub fn connections_open(&self) -> u64 {
        u64::try_from(self.connections_open.get()).unwrap_or(0)
    }

    /// Peers ever let in.
    pub fn connections_accepted(&self) -> u64 {
        self.connections_accepted.get()
    }

    /// Peers that left, whatever the reason.
    pub fn connections_closed(&self) -> u64 {
        self.connections_closed.total()
    }

    /// The Prometheus text exposition, version 0.0.4.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        // Only families that mix kinds or have no name cannot be encoded, and none of these do.
        let _ = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}

/// A peer that counts as connected. Counted as closed exactly once: with a reason, or as `dropped`.
pub struct OpenConnection {
    metrics: Arc<Metrics>,
    closed: AtomicBool,
}

impl OpenConnection {
    /// The peer is gone, for this reason.
    pub fn close(&self, reason: &'static str) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.metrics.connections_closed.inc(reason);
            self.metrics.connections_open.dec();
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.close("dropped");
    }
}

#[cfg(test)]
mod tests;
