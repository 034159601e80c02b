//! The HTTP side of the hub: its paths, the checks before a WebSocket, the status pages.
//!
//! A TCP connection is accepted (`serve`), with TLS if the hub has a certificate (`tls`). The routes here answer its
//! request. A request for a WebSocket that is let in (`admit`, `upgrade`) is handed to the [`Backend`] as a socket.
//! Nothing in this folder knows the messages of peers or hubs on their sockets, and nothing outside it knows of hyper
//! or warp.
//!
//! Invariants: every answer that is an error has a JSON body `{"error"}`; every refused WebSocket is counted once;
//! every task that is started here is tracked, so that no task is left when [`App::wait`] returns.

mod accept_header;
mod admin;
mod admin_api;
mod admit;
mod api;
mod asked;
mod auth_token;
mod bind;
mod client_ip;
mod coordinator;
mod cors;
mod endpoint;
mod full;
mod guesses;
mod head;
mod ice_servers;
mod misrouted;
mod near;
mod openapi;
mod operate;
mod operating;
mod pages;
mod paging;
mod peerjs;
mod query;
mod rates;
mod ready;
mod refusals;
mod reply;
mod routes;
mod serve;
mod status;
#[cfg(feature = "trial-dialect")]
#[path = "../../tests/seam/pages.rs"]
mod trial;
mod unseen;
mod upgrade;
mod watched;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::api::{Room, RoomClaim};
use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use hubmesh_core::reach::Reach;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::reply::Response;

use crate::auth::{Gate, Grant};
use crate::config::{Config, IceUrl};
use crate::limits::{
    AddressSlot, ConnectRate, ConnectionLimits, ConnectionPermit, ConnectionSlots, FairSlots,
    HandshakeSlot, NoSlot, Pressure,
};
use crate::log::Seldom;
use crate::mesh::{HubReport, MeshView, Observed, RoomCounts, Sketches};
use crate::metrics::Metrics;
use crate::nat::OwnServers;
use crate::session::{NoVisit, Stay, Visitor};
use crate::tls::{self, Certificates, StepTurns, Stream, TlsDoor};

use admin::{Door, Operators};
pub use bind::{BindError, bind};
use full::Full;
use guesses::Guesses;
use head::Head;
use misrouted::Misrouted;
pub use operate::{Operate, Parties};
use pages::Pages;
use rates::{Meter, Tally};
use ready::Readiness;
use serve::accept;

/// The request of a peer that was let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpgradeRequest {
    /// Its dialect; `None` if its first text decides.
    pub dialect: Option<Dialect>,
    /// The network that it joins by connecting; `None` in a dialect whose clients announce themselves.
    pub network: Option<NetworkKey>,
    /// The id that it asked for.
    pub peer: Option<PeerId>,
    /// The peer's own address, also behind a trusted proxy.
    pub remote: IpAddr,
    /// The rights that its token grants.
    pub grant: Grant,
}

/// The permits that a peer holds.
pub struct Permits<B: Backend> {
    /// A permit among those of all peers.
    pub among_all: B::Permit,
    /// A permit among those of its dialect, if the dialect's connections are counted.
    pub of_dialect: Option<ConnectionPermit>,
    /// A slot among the clients that have not shown their token yet, if the peer is one of them.
    pub unproven: Option<AddressSlot>,
}

/// The part of `MAX_CONNECTIONS` that members of rooms without a connection may have.
const OF_VISITORS: usize = 4;

/// The part of the hub that serves the sockets, and knows the facts for the status pages.
pub trait Backend: Operate + Sized + 'static {
    /// A slot for one peer; given back when it is dropped.
    type Permit: Send + 'static;

    /// A slot for one more peer from this address.
    fn try_admit(&self, from: IpAddr) -> Result<Self::Permit, NoSlot>;

    /// Serves one peer to its end. `ahead` is the bytes that the peer sent after its request before the switch.
    fn peer(
        &self,
        socket: Stream,
        ahead: Bytes,
        request: UpgradeRequest,
        permit: Permits<Self>,
    ) -> impl Future<Output = ()> + Send;

    /// Tells a client on its socket why it is refused, and closes.
    fn turn_away(
        &self,
        socket: Stream,
        ahead: Bytes,
        dialect: Dialect,
        why: &str,
    ) -> impl Future<Output = ()> + Send;

    /// Serves one inbound link from another hub to its end; `reach` is how near the other hub is, as far as is known.
    fn hub(
        &self,
        socket: WebSocketStream<Observed<Stream>>,
        remote: SocketAddr,
        reach: Reach,
    ) -> impl Future<Output = ()> + Send;

    /// The mesh as this hub sees it now. Cheap, because health checks ask for it often.
    fn view(&self) -> MeshView;

    /// The STUN and TURN servers of the nearest other hubs, the nearest first.
    fn servers_nearby(&self) -> Vec<IceUrl>;

    /// The networks of the whole mesh, each with its number of peers.
    fn networks(&self) -> Vec<(NetworkKey, usize)>;

    /// Whether the parts that serve the peers still run. If not, the hub has to be restarted.
    fn is_running(&self) -> bool;

    /// The ids in a network, mesh-wide, `most` of them at most.
    fn ids(&self, network: &NetworkKey, most: usize) -> Vec<PeerId>;

    /// The state of this hub, and of the hubs that answer within this time.
    fn conditions(&self, within: Duration) -> impl Future<Output = Vec<HubReport>> + Send;

    /// The rooms of the mesh, with members or without, by name.
    fn rooms(&self) -> Vec<NetworkKey>;

    /// Whether this hub knows of other hubs' networks only those that concern its own peers.
    fn is_narrow(&self) -> bool;

    /// The hubs that have members in a network which are not known here.
    fn unseen_hubs(&self, network: &NetworkKey) -> Vec<HubId>;

    /// The hubs in reach of which it is not known yet in which networks they have members; none if [`Self::is_narrow`]
    /// is false.
    fn unlisted_hubs(&self) -> Vec<HubId>;

    /// Has the members of a network known here for a few seconds, as far as other hubs answer in time. False if there is
    /// no hub to wait for, and nothing becomes known.
    fn look(&self, network: &NetworkKey) -> impl Future<Output = bool> + Send;

    /// Networks that are not known here in short, with so many ids of each at most. None of the hubs to avoid is asked.
    fn sketches(
        &self,
        networks: &[NetworkKey],
        ids: usize,
        avoided: &BTreeSet<HubId>,
        within: Duration,
    ) -> impl Future<Output = Sketches> + Send;

    /// How many rooms each hub has that answers within this time.
    fn room_counts(
        &self,
        within: Duration,
    ) -> impl Future<Output = BTreeMap<HubId, RoomCounts>> + Send;

    /// A room, as this hub knows it.
    fn room(&self, network: &NetworkKey) -> Option<Room>;

    /// The members that a network shows, the longest present first.
    fn by_seniority(&self, network: &NetworkKey) -> Vec<RoomClaim>;

    /// Keeps a user in a room without a connection. Returns a future to run for as long as the user stays, unless the
    /// user is in the room already.
    fn visit(
        &self,
        visitor: Visitor,
        permit: Self::Permit,
    ) -> impl Future<Output = Result<Option<Stay>, NoVisit>> + Send;

    /// Prolongs the visit of a user at this hub, with a token that expires then; false if there is no such visit.
    fn renew_visit(&self, network: &NetworkKey, peer: &PeerId, expires_ms: Option<u64>) -> bool;

    /// Ends the visit of a user at this hub, and returns when the mesh knows; false if there was no visit.
    fn end_visit(&self, network: &NetworkKey, peer: &PeerId) -> impl Future<Output = bool> + Send;

    /// Asks the hub of a user whether it joined over HTTP and has no connection. False without an answer in time.
    fn is_visitor(
        &self,
        network: &NetworkKey,
        peer: &PeerId,
        within: Duration,
    ) -> impl Future<Output = bool> + Send;

    /// Ends the visit of a user at another hub, and returns when the mesh knows.
    fn end_visit_elsewhere(
        &self,
        visitor: Visitor,
    ) -> impl Future<Output = Result<(), NoVisit>> + Send;

    /// Ends rooms without a member that this hub keeps, at most `most` of them. Returns the number that it kept, and
    /// the number that has ended.
    fn end_empty_rooms(&self, most: usize) -> impl Future<Output = (usize, usize)> + Send;

    /// Whether the hub uses too much memory to let any client in.
    fn pressure(&self) -> &Pressure;

    /// The hub of the peer with this id.
    fn hub_of(&self, network: &NetworkKey, peer: &PeerId) -> Option<HubId>;

    /// Whether a network can take this id as one more member. If several peers join at the same time, the mesh decides.
    fn has_capacity(&self, network: &NetworkKey, peer: &PeerId) -> bool;
}

/// The state of the HTTP side, shared by all connections.
pub struct App<B> {
    backend: B,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    gate: Gate,
    operators: Operators,
    logins: operating::Logins,
    guesses: Guesses,
    asked: admin_api::Asked,
    unseen: unseen::Unseen,
    connect_rate: Option<ConnectRate>,
    /// How fast an address may change rooms.
    change_rate: Option<ConnectRate>,
    /// The slots of PeerJS clients.
    peerjs_slots: ConnectionSlots,
    http_slots: FairSlots,
    /// The slots of clients that have not shown their token yet.
    unproven: FairSlots,
    /// The slots of the operators' door, so that a crowd at the public one cannot block it.
    admin_slots: FairSlots,
    /// The slots of members of rooms without a connection. They need a bound, because a client can create them at no
    /// lasting cost.
    visitor_slots: FairSlots,
    tls_door: TlsDoor,
    /// The turns of TLS handshakes: only a few take the costly step at a time.
    tls_turns: StepTurns,
    /// The turn of pages, which are made one at a time: a client that asks for many pages waits, and peers do not.
    page_turn: Semaphore,
    admin_turn: Semaphore,
    pages: Pages<PageName>,
    accept_failures: Seldom,
    full: Full,
    misrouted: Misrouted,
    meter: Mutex<Meter>,
    readiness: Readiness,
    draining: AtomicBool,
    started: Instant,
    bound: OnceLock<SocketAddr>,
    /// This hub's own STUN and TURN.
    own_servers: OnceLock<OwnServers>,
    /// One task for each peer.
    peers: TaskTracker,
    /// The listeners, TCP connections that are no WebSockets, and inbound links.
    tasks: TaskTracker,
    /// Ends the accepting of TCP connections, and closes idle HTTP connections.
    closing: CancellationToken,
    /// Ends every task at once.
    killed: CancellationToken,
}

impl<B: Backend> App<B> {
    /// An HTTP side that is ready to serve.
    pub fn new(backend: B, config: Arc<Config>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(App {
            backend,
            gate: Gate::new(config.auth_token.as_ref(), config.jwt.as_ref()),
            operators: Operators::new(&config.admin),
            logins: operating::Logins::new(&config.admin),
            guesses: Guesses::new(&config.admin),
            asked: admin_api::Asked::default(),
            unseen: unseen::Unseen::new(&config.trusted_proxies),
            connect_rate: config.connects_per_minute_per_ip.map(ConnectRate::new),
            change_rate: ConnectRate::per_second(config.peer.rate_per_sec, config.peer.rate_burst),
            peerjs_slots: ConnectionSlots::new(ConnectionLimits {
                connections: config.peerjs.concurrent_limit,
                per_address: None,
            }),
            http_slots: FairSlots::new(config.max_http_connections, config.trusted_proxies.clone()),
            unproven: FairSlots::new(config.max_unproven_clients, config.trusted_proxies.clone()),
            admin_slots: FairSlots::new(
                config.max_http_connections,
                config.trusted_proxies.clone(),
            ),
            visitor_slots: FairSlots::new(
                config.max_connections.div_ceil(OF_VISITORS),
                config.trusted_proxies.clone(),
            ),
            tls_door: TlsDoor::new(&config),
            tls_turns: StepTurns::of(config.worker_threads * tls::ANSWERED_AT_ONCE),
            page_turn: Semaphore::new(1),
            admin_turn: Semaphore::new(1),
            pages: Pages::new(),
            accept_failures: Seldom::default(),
            full: Full::new(&config),
            misrouted: Misrouted::default(),
            meter: Mutex::new(Meter::new(Tally {
                at: Instant::now(),
                messages: 0,
                errors: 0,
            })),
            readiness: Readiness::default(),
            draining: AtomicBool::new(false),
            started: Instant::now(),
            bound: OnceLock::new(),
            own_servers: OnceLock::new(),
            peers: TaskTracker::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            killed: CancellationToken::new(),
            config,
            metrics,
        })
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Accepts connections on these sockets from now on, until [`close`](Self::close) or [`kill`](Self::kill); they
    /// speak TLS if there are certificates.
    pub fn serve(
        self: &Arc<Self>,
        listeners: Vec<TcpListener>,
        certificates: Option<&Arc<Certificates>>,
    ) {
        for listener in listeners {
            if let Ok(addr) = listener.local_addr() {
                // Only the first address is kept: a second listener has the same port (::1 beside 127.0.0.1), or that
                // of SIGNALING_PORT.
                let _ = self.bound.set(addr);
            }
            self.listen(listener, certificates, Door::Public);
        }
    }

    /// Accepts connections at the operators' door, which lets in neither peers nor hubs.
    pub fn serve_operators(
        self: &Arc<Self>,
        listeners: Vec<TcpListener>,
        certificates: Option<&Arc<Certificates>>,
    ) {
        for listener in listeners {
            self.listen(listener, certificates, Door::Admin);
        }
    }

    fn listen(
        self: &Arc<Self>,
        listener: TcpListener,
        certificates: Option<&Arc<Certificates>>,
        door: Door,
    ) {
        let accepting = accept(listener, Arc::clone(self), certificates.cloned(), door);
        self.tasks.spawn(accepting);
    }

    /// Tells clients of this hub's own STUN and TURN from now on; once.
    pub fn offer(&self, own: OwnServers) {
        // A hub has them once, so the cell is never set twice.
        let _ = self.own_servers.set(own);
    }

    /// Whether clients are told of any STUN and TURN servers.
    fn has_ice_servers(&self) -> bool {
        let nat = &self.config.nat;
        let elsewhere = !nat.urls.is_empty() || nat.names_others(self.config.is_hub);
        elsewhere || self.own_servers.get().is_some()
    }

    /// From now on no peer is let in, and `/health` says that the hub is draining.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Accepts no further TCP connection, and ends those that are not WebSockets once they have their answer.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Ends every task at once.
    pub fn kill(&self) {
        self.closing.cancel();
        self.killed.cancel();
    }

    /// Waits until the task of every peer has ended.
    pub async fn peers_gone(&self) {
        self.peers.close();
        self.peers.wait().await;
    }

    /// Waits until no task of the HTTP side is left. Call [`close`](Self::close) or [`kill`](Self::kill) first.
    pub async fn wait(&self) {
        self.peers_gone().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Frees the memory of addresses that have not asked for a WebSocket lately.
    pub fn forget_idle_addresses(&self) {
        self.guesses.forget_idle();
        let rates = [&self.connect_rate, &self.change_rate];
        rates
            .into_iter()
            .flatten()
            .for_each(ConnectRate::forget_idle);
    }

    /// The dialect of PeerJS clients here.
    fn peerjs_dialect(&self) -> Dialect {
        match self.config.peerjs.rooms {
            true => Dialect::PeerJsRoomMode,
            false => Dialect::PeerJs,
        }
    }

    /// A slot among all peers.
    fn try_admit(&self, from: IpAddr) -> Result<B::Permit, NoSlot> {
        self.full.peers.watch(self.backend.try_admit(from))
    }

    /// A slot for a TLS handshake, if one is free.
    fn enter_tls(&self, from: IpAddr) -> Result<HandshakeSlot, NoSlot> {
        self.full.tls.watch(self.tls_door.enter(from))
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The answer of a hub that shuts down to a proxy that would send it clients.
    fn draining_response(&self) -> Response {
        let seconds = self.config.drain.as_secs().max(1);
        reply::retry_later("the hub is shutting down", seconds)
    }
}

/// The pages that grow with the mesh.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum PageName {
    Metrics,
    Hubs,
    HubStats,
    /// The ids of the realm with this key.
    Ids(String),
}
