//! The mesh, for the rest of the hub: a cheap handle to the driver and to the data path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::api::{Join, Room, RoomClaim, Signal, SignalFailure, Source, Unread};
use hubmesh_core::directory::ClaimQuota;
use hubmesh_core::exchange::ExchangeConfig;
use hubmesh_core::ids::{
    ClaimNo, HubId, Incarnation, LeaveReason, Moment, NetworkKey, Now, PeerId, SignalKind,
};
use hubmesh_core::policy::Policies;
use hubmesh_core::reach::Reach;
use hubmesh_core::rooms;
use hubmesh_core::{
    BansConfig, ContestConfig, Core, CoreConfig, DialConfig, InterestConfig, TopologyConfig,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::address::endpoint;
use super::answering;
use super::conditions::{self, Conditions, HubReport, OwnCondition};
use super::dns;
use super::driver::Driver;
use super::handshake::Socket;
use super::input::Input;
use super::inquiry;
use super::progress::Progress;
use super::router::Router;
use super::shared::MeshContext;
use super::view::MeshView;
use crate::clock::unix_ms;
use crate::config::{BootstrapHub, Config, DuplicatePeer, IceUrl, MeshSettings};
use crate::metrics::Metrics;
use crate::peers::port::MeshPort;
use crate::peers::registry::Registry;

/// How many inputs may wait for the driver before the next caller waits too.
const QUEUE: usize = 4096;
/// The signals that have waited for a peer may fill this part of its mailbox: less than the quarter that one sender may
/// fill.
const WAITING_SHARE_OF_OUTBOX: usize = 5;
/// How many of the longest messages may wait in total: otherwise one sender could leave other senders no space.
const LONGEST_WAITING: usize = 4;

/// The time between two checks of a hub that shuts down whether signals are still on their way: longer than
/// acknowledgements are delayed.
const SETTLE_LOOK: Duration = Duration::from_millis(50);

/// A handle to the mesh.
#[derive(Clone)]
pub struct Mesh {
    pub(super) shared: Arc<MeshContext>,
    next_claim: Arc<AtomicU64>,
    policies: Policies,
    own_condition: Arc<OwnCondition>,
    discovery_limit: usize,
}

impl Mesh {
    /// Starts the driver on the present runtime.
    pub fn start(config: &Config, registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        let (inputs, receiver) = mpsc::channel(QUEUE);
        let incarnation = Incarnation {
            epoch: 0,
            nonce: rand::random(),
        };
        let settings = &config.mesh;
        let (statics, names) = if config.is_hub {
            split(settings)
        } else {
            Default::default()
        };
        let now = Now {
            at: Moment(0),
            wall_ms: unix_ms(),
        };
        let core = Core::new(core_config(config, incarnation, statics.clone()), now);
        let (inquiries, read) = mpsc::channel(inquiry::WAITING);
        let (asked, answering) = mpsc::channel(answering::WAITING);
        let router = Arc::new(Router::new(
            Arc::clone(core.directory()),
            Arc::clone(core.exchange()),
            registry,
            Arc::clone(&metrics),
            [inquiries, asked],
        ));
        let shared = Arc::new(MeshContext::new(
            config,
            incarnation,
            router,
            Arc::clone(&metrics),
            inputs.clone(),
        ));
        let own_condition = Arc::new(OwnCondition::new(metrics, config.max_connections));
        let conditions = Conditions::new(Arc::clone(&own_condition));
        tokio::spawn(Driver::new(core, Arc::clone(&shared), conditions, receiver).run());
        tokio::spawn(inquiry::follow(Arc::clone(&shared), read));
        tokio::spawn(answering::follow(Arc::clone(&shared), answering));
        if !names.is_empty() {
            tokio::spawn(dns::follow(names, statics, inputs));
        }
        Mesh {
            shared,
            next_claim: Arc::new(AtomicU64::new(1)),
            policies: config.policies,
            own_condition,
            discovery_limit: config.mesh.discovery_limit,
        }
    }

    /// Runs one inbound link to its end; `progress` is that of its stream, and `reach` says how near its other end is.
    pub async fn accept(
        &self,
        socket: impl Socket + 'static,
        progress: Arc<Progress>,
        remote: SocketAddr,
        reach: Reach,
    ) {
        self.shared.accept(socket, progress, remote, reach).await;
    }

    /// The mesh, as operators see it.
    pub fn view(&self) -> MeshView {
        let shared = &self.shared;
        MeshView::of(
            shared.identity().hub,
            &shared.namespace,
            &shared.published(),
            &shared.router.directory().read(),
        )
    }

    /// Whether the driver still runs.
    pub fn is_running(&self) -> bool {
        !self.shared.inputs.is_closed()
    }

    /// From now on, names the STUN and TURN servers of `own` as this hub's to other hubs that ask. To be called once.
    pub fn offer(&self, own: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.shared.relays.offer(Box::new(own));
    }

    /// The STUN and TURN servers of the nearest other hubs, the nearest first.
    pub fn servers_nearby(&self) -> Vec<IceUrl> {
        let shared = &self.shared;
        shared.relays.nearby(shared.published().hubs())
    }

    /// The state of this hub, and of the other hubs that answer within this time.
    pub async fn conditions(&self, within: Duration) -> Vec<HubReport> {
        let mut all = vec![HubReport {
            hub: self.shared.identity().hub,
            condition: self.own_condition.look(),
            clock_ahead_ms: 0,
        }];
        let (answers, answered) = conditions::channel();
        self.send(Input::AskHubs(answers)).await;
        all.extend(conditions::gather(answered, within).await);
        all
    }

    /// The hub of the peer with this id, if it is known here.
    pub fn hub_of(&self, network: &NetworkKey, peer: &PeerId) -> Option<HubId> {
        self.holder(network, peer).map(|(hub, _)| hub)
    }

    /// The networks with peers in them by name, mesh-wide, each with its number of peers. Takes time in proportion to
    /// their number.
    pub fn networks(&self) -> Vec<(NetworkKey, usize)> {
        self.shared.router.directory().read().networks()
    }

    /// The ids in a network, mesh-wide, at most `most` of them, in an arbitrary order.
    pub fn ids(&self, network: &NetworkKey, most: usize) -> Vec<PeerId> {
        self.shared.router.directory().read().ids(network, most)
    }

    /// The rooms, with or without members, mesh-wide, by name. Takes time in proportion to their number.
    pub fn rooms(&self) -> Vec<NetworkKey> {
        self.shared.router.directory().read().rooms()
    }

    /// The members that a network shows, the longest present first.
    pub fn by_seniority(&self, network: &NetworkKey) -> Vec<RoomClaim> {
        let directory = self.shared.router.directory().read();
        directory.by_seniority(network)
    }

    /// Ends rooms without a member that this hub keeps, at most `most` of them; returns the number that it kept, and
    /// the number that has ended.
    pub async fn end_empty_rooms(&self, most: usize) -> (usize, usize) {
        let (ended, count) = oneshot::channel();
        self.send(Input::EndEmptyRooms { most, ended }).await;
        // An error means that the driver has ended.
        count.await.unwrap_or_default()
    }

    /// Whether a network has space for this id as one more member, as far as is known here.
    pub fn has_capacity(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let directory = self.shared.router.directory().read();
        let capacity = network.capacity(&self.policies);
        capacity.is_none_or(|most| directory.has_capacity(network, peer, most))
    }

    /// Tells the other hubs that this hub is shutting down, and accepts no more peers.
    pub async fn drain(&self) {
        self.send(Input::Drain).await;
    }

    /// Returns when all signals that were accepted at this hub have arrived or failed. While peers join and leave, it
    /// may never return.
    pub async fn settled(&self) {
        let mut looks = 0;
        // One check is not enough: another hub may have sent signals before it knew that their target had left, and
        // these still have to arrive.
        while looks < 2 {
            looks = if self.shared.router.is_settled() {
                looks + 1
            } else {
                0
            };
            sleep(SETTLE_LOOK).await;
        }
    }

    /// Closes the links to the other hubs; within about a second.
    pub async fn stop(&self) {
        let (asker, answer) = oneshot::channel();
        self.send(Input::Stop(asker)).await;
        // An error means that the driver has stopped already.
        let _ = answer.await;
    }

    pub(super) async fn send(&self, input: Input) {
        // The driver ends with the hub, so an error needs no action.
        let _ = self.shared.inputs.send(input).await;
    }
}

impl MeshPort for Mesh {
    fn next_claim(&self) -> ClaimNo {
        ClaimNo(self.next_claim.fetch_add(1, Ordering::Relaxed))
    }

    fn told_in(&self, network: &NetworkKey) -> usize {
        if !network.tells_of_peers() {
            return 0;
        }
        self.members_of(network).min(self.discovery_limit)
    }

    fn members_of(&self, network: &NetworkKey) -> usize {
        self.shared.router.directory().read().size(network)
    }

    fn others(&self, network: &NetworkKey, peer: &PeerId) -> Vec<(PeerId, Option<Bytes>)> {
        let directory = self.shared.router.directory().read();
        let limit = self.discovery_limit;
        if limit == 0 || directory.size(network) <= limit {
            return directory.members(network, peer);
        }
        let near = directory.neighbourhood(network, peer, limit).into_iter();
        near.filter_map(|other| {
            let data = directory.shown_data(network, &other)?;
            Some((other, data))
        })
        .collect()
    }

    fn room(&self, network: &NetworkKey) -> Option<Room> {
        rooms::room(&self.shared.router.directory().read(), network)
    }

    async fn join(&self, join: Join) {
        self.send(Input::Join(join)).await;
    }

    async fn update(&self, claim: ClaimNo, data: Option<Bytes>, quiet: bool) {
        self.send(Input::Update { claim, data, quiet }).await;
    }

    async fn leave(&self, claim: ClaimNo, reason: LeaveReason) {
        self.send(Input::Leave { claim, reason }).await;
    }

    fn leave_now(&self, claim: ClaimNo, reason: LeaveReason) {
        use mpsc::error::TrySendError;
        if let Err(TrySendError::Full(input)) =
            self.shared.inputs.try_send(Input::Leave { claim, reason })
        {
            let inputs = self.shared.inputs.clone();
            tokio::spawn(async move {
                // The driver ends with the hub.
                let _ = inputs.send(input).await;
            });
        }
    }

    async fn probe_result(&self, _claim: ClaimNo, token: u64, alive: bool) {
        self.send(Input::ProbeResult { token, alive }).await;
    }

    fn signal(&self, signal: Signal<'_>) -> Result<(), SignalFailure> {
        self.shared.router.signal(signal)
    }

    fn publish(
        &self,
        source: &Source,
        kind: SignalKind,
        payload: Bytes,
        echo: bool,
    ) -> Result<(), SignalFailure> {
        self.shared.router.publish(source, kind, payload, echo)
    }

    fn return_unread(&self, target: &PeerId, unread: &[Unread]) {
        self.shared.router.return_unread(target, unread);
    }
}

/// Addresses to dial, and names to look up.
fn split(settings: &MeshSettings) -> (Vec<String>, Vec<(String, u16)>) {
    let mut statics = Vec::new();
    let mut names = Vec::new();
    for entry in &settings.bootstrap {
        match entry {
            BootstrapHub::Url(url) => statics.push(endpoint(url)),
            BootstrapHub::Dns { host, port } => names.push((host.clone(), *port)),
        }
    }
    (statics, names)
}

fn core_config(config: &Config, incarnation: Incarnation, bootstrap: Vec<String>) -> CoreConfig {
    let mesh = &config.mesh;
    let urls: Vec<String> = mesh.public_url.iter().map(endpoint).collect();
    let replace = mesh.duplicate_peer == DuplicatePeer::Replace;
    CoreConfig {
        me: mesh.hub_id,
        random_id: mesh.random_id,
        incarnation,
        seed: rand::random(),
        bootstrap,
        hold: mesh.hold,
        housekeeping: config.cleanup_interval,
        discovery_limit: mesh.discovery_limit,
        policies: config.policies,
        rooms: config.rooms,
        bans: BansConfig {
            most: config.admin.max_bans,
        },
        quota: ClaimQuota {
            claims: mesh.claims_per_hub,
            bytes: mesh.data_per_hub,
        },
        interest: InterestConfig {
            full_peers: mesh.full_directory_peers,
            ..InterestConfig::default()
        },
        contest: ContestConfig {
            replace,
            ..ContestConfig::default()
        },
        dial: DialConfig {
            auto_connect: mesh.auto_connect && config.is_hub,
            can_be_dialled: !urls.is_empty(),
            ..DialConfig::default()
        },
        topology: TopologyConfig {
            urls,
            region: mesh.region.clone(),
            ..TopologyConfig::default()
        },
        exchange: ExchangeConfig {
            hold: mesh.hold,
            wait: mesh.wait.time,
            wait_per_sender: mesh.wait.per_sender,
            wait_per_target: mesh.wait.per_target,
            wait_total: mesh.wait.total,
            // A mailbox has space for four of the longest messages, so one of them may wait as well.
            wait_backlog_bytes: (config.peer.outbox_bytes / WAITING_SHARE_OF_OUTBOX)
                .max(config.peer.max_message_bytes),
            wait_total_bytes: ExchangeConfig::default()
                .wait_total_bytes
                .max(LONGEST_WAITING * config.peer.max_message_bytes),
            ..ExchangeConfig::default()
        },
        ..CoreConfig::default()
    }
}
