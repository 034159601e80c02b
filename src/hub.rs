//! Puts the parts together: configuration in, a serving hub out, and its end in order.
//!
//! [`Hub::start`] binds everything or nothing. A [`RunningHub`] serves until it is drained (peers are sent away over
//! `DRAIN_MS`, other hubs are told) or stopped (everything ends where it stands). Several hubs may run in one process;
//! they share nothing. What the parts do is in their modules; here they only get each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::api::{BanId, BansFull, Room, RoomClaim};
use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use hubmesh_core::reach::Reach;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;

use crate::auth::Gate;
use crate::config::{Config, IceUrl};
use crate::http::{self, App, Backend, BindError, Operate, Parties, Permits, UpgradeRequest};
use crate::limits::{AddressGroup, ConnectionLimits, ConnectionPermit, NoSlot, Pressure};
use crate::memory;
use crate::mesh::{
    AwaitedIds, AwaitedQuery, Awaiting, HubReport, LinkView, Mesh, MeshView, Observed, Removal,
    RoomCounts, Sketches, Tally,
};
use crate::metrics::Metrics;
use crate::nat::{Bound, Nat, NatError, Port};
use crate::peers::port::MeshPort;
use crate::peers::registry::Registry;
use crate::session::{self, ConnectingPeer, NoVisit, Sessions, Stay, Visitor};
use crate::tls::{BadFile, Certificates, Stream};
use crate::unsent::Unsent;
use crate::watch::{Banned, Past, Watch, post_events};

/// The hub cannot start. Nothing is bound and nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen at its address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It cannot listen at `SIGNALING_PORT`.
    #[error("SIGNALING_PORT, which is PORT here: {0}")]
    BindSignaling(#[source] BindError),
    /// It cannot listen at `ADMIN_ADDR`.
    #[error("ADMIN_ADDR, of which HOST and PORT are the parts here: {0}")]
    BindAdmin(#[source] BindError),
    /// The files of `TLS_CERT` and `TLS_KEY` cannot be used.
    #[error("the configuration cannot be used:\n  {0}")]
    Tls(#[from] BadFile),
    /// STUN or TURN cannot be served.
    #[error(transparent)]
    Nat(#[from] NatError),
}

/// How long peers that were told to leave, and answers under way, may take before they are cut off.
const GRACE: Duration = Duration::from_secs(5);

/// Starts hubs.
pub struct Hub;

impl Hub {
    /// Starts a hub: binds, links to other hubs, lets peers in.
    pub async fn start(config: Config) -> Result<RunningHub, StartError> {
        let metrics = Metrics::new();
        let certificates = match config.tls.clone() {
            Some(files) => Some(Certificates::load(files, Arc::clone(&metrics)).await?),
            None => None,
        };
        let mut listeners = http::bind(&config.host, config.port).await?;
        if let Some(port) = config.signaling_port {
            let second = http::bind(&config.host, port).await;
            listeners.extend(second.map_err(StartError::BindSignaling)?);
        }
        let for_operators = match &config.admin.addr {
            Some(addr) => http::bind(&addr.host, addr.port)
                .await
                .map_err(StartError::BindAdmin)?,
            None => Vec::new(),
        };
        let (addrs, admin_addrs) = (addresses(&listeners), addresses(&for_operators));
        let hosts: Vec<IpAddr> = addrs.iter().map(SocketAddr::ip).collect();
        let bound = Nat::bind(&config, &hosts)?;
        let config = Arc::new(config);
        let watch = Watch::new(config.mesh.hub_id, &config.admin, &metrics);
        let watched = Registry::watched(Arc::clone(&metrics), config.policies, Arc::clone(&watch));
        let registry = Arc::new(watched);
        let mesh = Mesh::start(&config, Arc::clone(&registry), Arc::clone(&metrics));
        let pressure = Arc::new(Pressure::new(config.memory));
        let connections = ConnectionLimits {
            connections: config.max_connections,
            per_address: config.max_connections_per_ip,
        };
        let sessions = Sessions::new(
            mesh.clone(),
            registry,
            Arc::clone(&metrics),
            Gate::new(config.auth_token.as_ref(), config.jwt.as_ref()),
            config.peer.clone(),
            config.policies,
            (connections, Arc::clone(&pressure)),
        );
        let parts = Parts {
            sessions,
            mesh,
            watch,
            pressure,
        };
        let app = App::new(parts, Arc::clone(&config), Arc::clone(&metrics));
        let nat_ports = bound.as_ref().map_or_else(Vec::new, Bound::listening);
        let nat = bound.map(|bound| bound.start(&config, certificates.clone(), &metrics));
        let nat = nat.transpose()?;
        if let Some(nat) = &nat {
            let own = nat.own();
            metrics.show_turn(&own.counters, own.most, &own.serving);
            let told = nat.own().clone();
            app.backend().mesh.offer(move || told.for_other_hubs());
            app.offer(nat.own().clone());
        }
        app.serve(listeners, certificates.as_ref());
        app.serve_operators(for_operators, certificates.as_ref());
        let housekeeping = tokio::spawn(housekeep(
            Arc::clone(&app),
            Arc::clone(&metrics),
            certificates.clone(),
            config.cleanup_interval,
        ));
        Ok(RunningHub {
            app,
            certificates,
            addrs,
            admin_addrs,
            nat,
            nat_ports,
            config,
            metrics,
            housekeeping,
        })
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    let all = listeners.iter().map(TcpListener::local_addr);
    all.filter_map(Result::ok).collect()
}

/// Does the regular work.
async fn housekeep(
    app: Arc<App<Parts>>,
    metrics: Arc<Metrics>,
    certificates: Option<Arc<Certificates>>,
    every: Duration,
) {
    let follow = async {
        if let Some(certificates) = certificates {
            certificates.follow(every).await;
        }
    };
    let parts = app.backend();
    let end_rooms = async |most| parts.mesh.end_empty_rooms(most).await.1;
    let guard = memory::watch(Arc::clone(&parts.pressure), metrics, end_rooms);
    tokio::join!(tidy_up(&app, every), watch(&app), follow, guard);
}

/// The regular work for operators; it is done even if no operator looks.
async fn watch(app: &App<Parts>) {
    let Parts {
        sessions, watch, ..
    } = app.backend();
    let enforce = async {
        loop {
            watch.bans.changed().await;
            sessions.enforce_bans();
        }
    };
    let post = async {
        if let Some(webhook) = &app.config().admin.webhook {
            post_events(&watch.events, webhook, app.metrics()).await;
        }
    };
    tokio::join!(watch.history.follow(), enforce, post);
}

/// Forgets addresses that have not come back for a while.
async fn tidy_up(app: &App<Parts>, every: Duration) {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        app.forget_idle_addresses();
        app.backend().sessions.forget_idle_addresses();
    }
}

/// A hub that serves. Dropping it stops it at once.
pub struct RunningHub {
    app: Arc<App<Parts>>,
    certificates: Option<Arc<Certificates>>,
    addrs: Vec<SocketAddr>,
    admin_addrs: Vec<SocketAddr>,
    nat: Option<Nat>,
    nat_ports: Vec<Port>,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    housekeeping: JoinHandle<()>,
}

impl RunningHub {
    /// The address that it listens on; the first one, if `localhost` is two.
    pub fn addr(&self) -> SocketAddr {
        // Binding succeeded, so there is one.
        self.addrs
            .first()
            .copied()
            .unwrap_or(([127, 0, 0, 1], self.config.port).into())
    }

    /// All addresses that it listens on.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The addresses of `ADMIN_ADDR`; none if that is unset.
    pub fn admin_addrs(&self) -> &[SocketAddr] {
        &self.admin_addrs
    }

    /// Where it serves STUN and TURN.
    pub fn nat_ports(&self) -> &[Port] {
        &self.nat_ports
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Makes it look at the files of `TLS_CERT` and `TLS_KEY` now; they are also looked at every `CLEANUP_INTERVAL_MS`.
    /// Without them, nothing happens.
    pub fn reload_certificates(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.look_again();
        }
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Its mesh.
    pub fn mesh(&self) -> &Mesh {
        &self.app.backend().mesh
    }

    /// Tells `/ready`, and if a client asks there, waits for `DRAIN_PAUSE_MS`. Then takes no more peers in, tells the
    /// other hubs, sends the peers away evenly over `DRAIN_MS`, and ends. Relays have all of `DRAIN_MS` to be given up.
    /// That takes `DRAIN_MS` and at most ten seconds more; without peers and relays, next to no time.
    pub async fn drain(mut self) {
        self.app.leave();
        if self.app.is_watched() {
            sleep(self.config.drain_pause).await;
        }
        let parts = self.app.backend();
        self.app.drain();
        if let Some(nat) = &self.nat {
            nat.drain();
        }
        let drained = Instant::now() + self.config.drain;
        parts.mesh.drain().await;
        // Also without peers: a client that is still on its way from the 101 is sent away when it arrives.
        parts.sessions.drain(self.config.drain).await;
        if let Some(nat) = &self.nat {
            // Relayed connections need their hub also when its peers have gone, or never came here.
            let _ = timeout_at(drained, nat.relays_gone()).await;
        }
        let grace = Instant::now() + GRACE;
        if timeout_at(grace, self.app.peers_gone()).await.is_err() {
            tracing::warn!(
                peers = parts.sessions.open(),
                "peers did not leave in time and are cut off"
            );
        }
        if timeout_at(grace, parts.mesh.settled()).await.is_err() {
            tracing::warn!("signals that still wait for their target are dropped");
        }
        parts.mesh.stop().await;
        if let Some(nat) = self.nat.take() {
            nat.stop().await;
        }
        self.app.close();
        if timeout(GRACE, self.app.wait()).await.is_err() {
            self.stop().await;
        }
    }

    /// Ends everything at once: peers see their connections break, and links to other hubs are closed.
    pub async fn stop(mut self) {
        self.app.kill();
        if let Some(nat) = self.nat.take() {
            nat.stop().await;
        }
        self.app.backend().mesh.stop().await;
        self.app.wait().await;
    }
}

impl Drop for RunningHub {
    fn drop(&mut self) {
        self.housekeeping.abort();
        self.app.kill();
        // If the runtime is gone, so is the mesh's task.
        if let Ok(runtime) = Handle::try_current() {
            let mesh = self.mesh().clone();
            runtime.spawn(async move { mesh.stop().await });
        }
    }
}

/// The parts that connections are handed to.
pub(crate) struct Parts {
    sessions: Sessions<Mesh>,
    mesh: Mesh,
    watch: Arc<Watch>,
    pressure: Arc<Pressure>,
}

impl Operate for Parts {
    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    async fn links(&self) -> Vec<LinkView> {
        self.mesh.links().await
    }

    fn holder(&self, network: &NetworkKey, peer: &PeerId) -> Option<(HubId, u64)> {
        self.mesh.holder(network, peer)
    }

    async fn parties(
        &self,
        network: &NetworkKey,
        peers: &[(PeerId, HubId)],
        within: Duration,
    ) -> Parties {
        self.mesh.parties(network, peers, within).await
    }

    async fn past(&self, within: Duration) -> BTreeMap<HubId, Past> {
        self.mesh.past(within).await
    }

    async fn tallies(&self, within: Duration) -> BTreeMap<HubId, Tally> {
        self.mesh.tallies(within).await
    }

    async fn awaited(
        &self,
        what: Awaiting,
        wanted: AwaitedQuery,
        within: Duration,
    ) -> BTreeMap<HubId, AwaitedIds> {
        self.mesh.awaited(what, wanted, within).await
    }

    async fn remove(&self, network: &NetworkKey, peer: &PeerId, within: Duration) -> Removal {
        self.mesh.remove(network, peer, within).await
    }

    async fn place_ban(&self, ban: &Banned) -> Result<usize, BansFull> {
        self.mesh.place_ban(ban.to_ban()).await?;
        Ok(self.sessions.enforce_bans())
    }

    async fn lift_ban(&self, ban: BanId) -> bool {
        self.mesh.lift_ban(ban).await
    }
}

impl Backend for Parts {
    type Permit = ConnectionPermit;

    fn try_admit(&self, from: IpAddr) -> Result<ConnectionPermit, NoSlot> {
        self.sessions.try_admit(from)
    }

    fn peer(
        &self,
        socket: Stream,
        ahead: Bytes,
        request: UpgradeRequest,
        permits: Permits<Self>,
    ) -> impl Future<Output = ()> + Send {
        let Permits {
            among_all,
            of_dialect,
            unproven,
        } = permits;
        let connecting = ConnectingPeer {
            address: request.remote,
            dialect: request.dialect,
            peer: request.peer,
            grant: Box::new(request.grant),
            network: request.network,
            unproven: unproven.map(Box::new),
        };
        socket.bound_unsent(Unsent::OfPeer);
        let from = AddressGroup::of(request.remote);
        // Not an async function: its future would keep the request for as long as the peer is connected.
        let permits = (among_all, of_dialect);
        self.sessions
            .serve(socket, ahead, connecting, from, permits)
    }

    async fn turn_away(&self, socket: Stream, ahead: Bytes, dialect: Dialect, why: &str) {
        session::turn_away(socket, &ahead, dialect, why).await;
    }

    async fn hub(
        &self,
        socket: WebSocketStream<Observed<Stream>>,
        remote: SocketAddr,
        reach: Reach,
    ) {
        let progress = Arc::clone(socket.get_ref().progress());
        self.mesh.accept(socket, progress, remote, reach).await;
    }

    fn view(&self) -> MeshView {
        self.mesh.view()
    }

    fn is_running(&self) -> bool {
        self.mesh.is_running()
    }

    fn servers_nearby(&self) -> Vec<IceUrl> {
        self.mesh.servers_nearby()
    }

    fn networks(&self) -> Vec<(NetworkKey, usize)> {
        self.mesh.networks()
    }

    fn ids(&self, network: &NetworkKey, most: usize) -> Vec<PeerId> {
        self.mesh.ids(network, most)
    }

    async fn conditions(&self, within: Duration) -> Vec<HubReport> {
        self.mesh.conditions(within).await
    }

    fn hub_of(&self, network: &NetworkKey, peer: &PeerId) -> Option<HubId> {
        self.mesh.hub_of(network, peer)
    }

    fn has_capacity(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        self.mesh.has_capacity(network, peer)
    }

    fn rooms(&self) -> Vec<NetworkKey> {
        self.mesh.rooms()
    }

    fn is_narrow(&self) -> bool {
        self.mesh.is_narrow()
    }

    fn unseen_hubs(&self, network: &NetworkKey) -> Vec<HubId> {
        self.mesh.unseen_hubs(network)
    }

    fn unlisted_hubs(&self) -> Vec<HubId> {
        self.mesh.unlisted_hubs()
    }

    async fn look(&self, network: &NetworkKey) -> bool {
        self.mesh.look(network).await
    }

    async fn sketches(
        &self,
        networks: &[NetworkKey],
        ids: usize,
        avoided: &BTreeSet<HubId>,
        within: Duration,
    ) -> Sketches {
        self.mesh.sketches(networks, ids, avoided, within).await
    }

    async fn room_counts(&self, within: Duration) -> BTreeMap<HubId, RoomCounts> {
        self.mesh.room_counts(within).await
    }

    fn room(&self, network: &NetworkKey) -> Option<Room> {
        self.mesh.room(network)
    }

    fn by_seniority(&self, network: &NetworkKey) -> Vec<RoomClaim> {
        self.mesh.by_seniority(network)
    }

    async fn visit(
        &self,
        visitor: Visitor,
        permit: ConnectionPermit,
    ) -> Result<Option<Stay>, NoVisit> {
        self.sessions.visit(visitor, permit).await
    }

    fn renew_visit(&self, network: &NetworkKey, peer: &PeerId, expires_ms: Option<u64>) -> bool {
        self.sessions.renew_visit(network, peer, expires_ms)
    }

    async fn end_visit(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let was_there = self.sessions.end_visit(network, peer).await;
        if was_there {
            // What the mesh was told before is done when this is.
            self.mesh.end_empty_rooms(0).await;
        }
        was_there
    }

    async fn is_visitor(&self, network: &NetworkKey, peer: &PeerId, within: Duration) -> bool {
        self.mesh.is_visitor(network, peer, within).await
    }

    async fn end_visit_elsewhere(&self, visitor: Visitor) -> Result<(), NoVisit> {
        self.sessions.end_visit_elsewhere(visitor).await?;
        // As above.
        self.mesh.end_empty_rooms(0).await;
        Ok(())
    }

    async fn end_empty_rooms(&self, most: usize) -> (usize, usize) {
        self.mesh.end_empty_rooms(most).await
    }

    fn pressure(&self) -> &Pressure {
        &self.pressure
    }
}
