//! The mesh as the rest of the hub holds it: a cheap handle to the driver and to the data path.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::api::{DialFailure, Join, LinkUp, SignalFailure, Source, Unread};
use hubmesh_core::directory::Shares;
use hubmesh_core::exchange::ExchangeConfig;
use hubmesh_core::ids::{
    ClaimNo, DialId, Dialect, HubId, Incarnation, LeaveReason, LinkId, Moment, NetworkKey, Now,
    PeerId, SignalKind,
};
use hubmesh_core::reach::Reach;
use hubmesh_core::{ContestConfig, Core, CoreConfig, DialConfig, TopologyConfig};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::address::endpoint;
use super::advertised::Budget;
use super::control_intake::ControlIntake;
use super::driver::{Driver, Input};
use super::handshake::{self, HandshakeError, Identity, Peered, Rejection, Socket};
use super::link::{ConnectError, Destination};
use super::outbox::Outbox;
use super::progress::Progress;
use super::router::Router;
use super::troubles::Trouble;
use super::trust::Trust;
use super::view::{MeshView, Published};
use super::{dns, link};
use crate::clock::unix_ms;
use crate::config::{BootstrapHub, Config, DuplicatePeer, MeshSettings};
use crate::limits::{ConnectRate, Doorway, Origin, Place, Places};
use crate::metrics::Metrics;
use crate::peers::port::MeshPort;
use crate::peers::registry::Registry;

/// How many inputs may wait for the driver before whoever brings more has to wait too.
const QUEUE: usize = 4096;
/// Which part of an outbox what has waited for its peer may fill: less than the quarter that a sender alone may have there.
const WAITING_SHARE_OF_OUTBOX: usize = 5;
/// How many of the longest messages may wait in all, or whoever sends one would leave others no room.
const LONGEST_WAITING: usize = 4;

/// The most inbound handshakes at once: each holds a socket for 5 s at most, and one message of 2 MiB at worst.
const HANDSHAKES: usize = 64;
/// The most inbound links and handshakes of one address: half of what a hub accepts, so that no address alone keeps
/// others out.
const LINKS_PER_ADDRESS: usize = 128;
/// How many warnings a minute one address may cause; the rest of what it does wrong is counted.
const WARNINGS_A_MINUTE: NonZeroU32 = NonZeroU32::MIN;
/// When other hubs may dial again after this one's shutdown: a restart takes about that long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often a hub that ends looks whether signals are still on their way: longer than acknowledgements are kept back.
const SETTLE_LOOK: Duration = Duration::from_millis(50);

/// What links, dials and the driver share.
pub struct Shared {
    /// Nobody chose this hub's id: it may draw another.
    pub(super) random_id: bool,
    pub(super) namespace: String,
    pub(super) router: Arc<Router>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) retry_after: Duration,
    control_out: (prometheus::IntCounter, prometheus::IntCounter),
    identity: Mutex<Identity>,
    published: Mutex<Arc<Published>>,
    inputs: mpsc::Sender<Input>,
    control_intake: ControlIntake,
    doorway: Doorway,
    /// Inbound links and handshakes by address.
    inbound: Places,
    /// Warnings about each address.
    warnings: ConnectRate,
    budget: Budget,
    trust: Trust,
    next_link: AtomicU64,
}

impl Shared {
    /// Who this hub says to be from now on.
    pub(super) fn set_identity(&self, hub: HubId, incarnation: Incarnation) {
        let mut identity = self.identity.lock();
        identity.hub = hub;
        identity.incarnation = incarnation;
    }

    pub(super) fn count_control_out(&self, bytes: usize) {
        self.control_out.0.inc();
        self.control_out.1.inc_by(bytes as u64);
    }

    pub(super) fn publish(&self, published: Published) {
        *self.published.lock() = Arc::new(published);
    }

    /// Whether a warning about this address is due: what strangers do wrong must not fill the log.
    fn may_warn(&self, remote: SocketAddr) -> bool {
        self.warnings.check(Origin::of(remote.ip())).is_ok()
    }

    fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// One dial, to the end of the link that it makes. What hubs told of is dialled if such as those may tell of it;
    /// without `told_by`, the address is the operator's.
    pub(super) async fn dial(self: Arc<Self>, dial: DialId, url: String, told_by: Option<Reach>) {
        let destination = match told_by {
            None => Destination::Configured(&url),
            Some(told_by) => Destination::Advertised {
                url: &url,
                told_by,
                budget: &self.budget,
            },
        };
        let (mut socket, progress, reach) = match link::connect(destination, &self.trust).await {
            Ok(connected) => connected,
            Err(error) => {
                let why = match error {
                    ConnectError::Forbidden(_) => DialFailure::Refused,
                    _ => DialFailure::Unreachable,
                };
                let trouble = Trouble {
                    label: error.label(),
                    cause: error.to_string(),
                    stands: error.is_an_operators(),
                };
                return self.dial_failed(dial, why, trouble).await;
            }
        };
        match handshake::dial(&mut socket, &self.identity(), dial.0).await {
            Ok(peered) => {
                let outbox = Outbox::over(progress);
                self.carry(peered, Some(dial), socket, outbox, reach).await;
            }
            Err(error) => {
                let stands = error.is_an_operators();
                let trouble = Trouble {
                    label: error.label(),
                    cause: error.to_string(),
                    stands,
                };
                let why = match stands {
                    true => DialFailure::Refused,
                    false => DialFailure::Unreachable,
                };
                self.dial_failed(dial, why, trouble).await;
            }
        }
    }

    async fn dial_failed(&self, dial: DialId, why: DialFailure, trouble: Trouble) {
        self.metrics.dials_failed.inc(trouble.label);
        let failed = Input::DialFailed { dial, why, trouble };
        // The driver is gone when the hub is: nobody is left to tell.
        let _ = self.inputs.send(failed).await;
    }

    async fn carry(
        &self,
        peered: Peered,
        dialed: Option<DialId>,
        socket: impl Socket + 'static,
        outbox: Outbox,
        reach: Reach,
    ) {
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(outbox);
        self.router.set_link(link, Some(Arc::clone(&outbox)));
        let up = LinkUp {
            link,
            hub: peered.hub,
            incarnation: peered.incarnation,
            dialed,
            dial_number: peered.dial_number,
            version: peered.version,
        };
        if peered.hub == peered.me {
            tracing::debug!(link = link.0, "a link leads to this hub itself");
        } else {
            tracing::info!(link = link.0, hub = %peered.hub, dialed = dialed.is_some(), "link up");
        }
        if self
            .inputs
            .send(Input::LinkUp {
                me: peered.me,
                up,
                reach,
                outbox: Arc::clone(&outbox),
            })
            .await
            .is_ok()
        {
            link::carry(
                link,
                socket,
                outbox,
                Arc::clone(&self.router),
                self.control_intake.clone(),
            )
            .await;
        }
        self.router.set_link(link, None);
        let _ = self.inputs.send(Input::LinkDown { link }).await;
    }
}

/// A handle to the mesh.
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
    next_claim: Arc<AtomicU64>,
    room_limit: usize,
    discovery_limit: usize,
    enabled: bool,
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
        let router = Arc::new(Router::new(
            Arc::clone(core.directory()),
            Arc::clone(core.exchange()),
            registry,
            Arc::clone(&metrics),
        ));
        let shared = Arc::new(Shared {
            random_id: settings.random_id,
            namespace: settings.namespace.clone(),
            router,
            retry_after: RETRY_AFTER,
            control_out: (
                metrics.mesh_sent.frames.handle("control"),
                metrics.mesh_sent.bytes.handle("control"),
            ),
            metrics,
            identity: Mutex::new(Identity {
                hub: settings.hub_id,
                incarnation,
                namespace: settings.namespace.clone(),
                token: settings
                    .token
                    .as_ref()
                    .map(|token| token.expose().to_owned())
                    .unwrap_or_default(),
            }),
            published: Mutex::default(),
            inputs: inputs.clone(),
            control_intake: ControlIntake::new(inputs.clone()),
            doorway: Doorway::new(HANDSHAKES),
            inbound: Places::default(),
            warnings: ConnectRate::new(WARNINGS_A_MINUTE),
            budget: Budget::default(),
            trust: Trust::default(),
            next_link: AtomicU64::new(1),
        });
        tokio::spawn(Driver::new(core, Arc::clone(&shared), receiver).run());
        if !names.is_empty() {
            tokio::spawn(dns::follow(names, statics, inputs));
        }
        Mesh {
            shared,
            next_claim: Arc::new(AtomicU64::new(1)),
            room_limit: config.peerjs.room_limit,
            discovery_limit: config.mesh.discovery_limit,
            enabled: config.is_hub,
        }
    }

    /// Runs one inbound link to its end; `progress` is that of its stream, and `reach` how near its other end is.
    pub async fn accept(
        &self,
        mut socket: impl Socket + 'static,
        progress: Arc<Progress>,
        remote: SocketAddr,
        reach: Reach,
    ) {
        match self.greet(&mut socket, remote).await {
            Ok((peered, _inbound)) => {
                let outbox = Outbox::over(progress);
                self.shared.carry(peered, None, socket, outbox, reach).await;
            }
            Err(error) => {
                self.shared.metrics.handshakes_refused.inc(error.label());
                if is_for_operators(error) && self.shared.may_warn(remote) {
                    tracing::warn!(%remote, reason = error.label(), %error, "hub not admitted");
                } else {
                    tracing::debug!(%remote, reason = error.label(), %error, "hub not admitted");
                }
            }
        }
    }

    /// The handshake of one inbound link, as long as it has a place; and the place among the links of its address.
    async fn greet(
        &self,
        socket: &mut impl Socket,
        remote: SocketAddr,
    ) -> Result<(Peered, Place), HandshakeError> {
        let origin = Origin::of(remote.ip());
        let allowed = |own, _| own < LINKS_PER_ADDRESS;
        let Some(inbound) = self.shared.inbound.try_take(origin, allowed) else {
            return Err(handshake::turn_away(socket, Rejection::Unavailable).await);
        };
        let place = self.shared.doorway.enter(origin, HANDSHAKES);
        if let Ok(place) = place
            && self.enabled
        {
            let me = self.shared.identity();
            tokio::select! {
                done = handshake::accept(socket, &me, || place.spoke()) => {
                    return done.map(|peered| (peered, inbound));
                }
                () = place.lost() => {}
            }
        }
        Err(handshake::turn_away(socket, Rejection::Unavailable).await)
    }

    /// What operators see of the mesh.
    pub fn view(&self) -> MeshView {
        let shared = &self.shared;
        let published = Arc::clone(&shared.published.lock());
        MeshView::of(
            shared.identity().hub,
            &shared.namespace,
            &published,
            &shared.router.directory().read(),
        )
    }

    /// The networks with peers in them by name, and how many each has, mesh-wide. As long as they are many.
    pub fn networks(&self) -> Vec<(NetworkKey, usize)> {
        self.shared.router.directory().read().networks()
    }

    /// The ids in a network, mesh-wide, `most` of them at most, in no order that means anything.
    pub fn ids(&self, network: &NetworkKey, most: usize) -> Vec<PeerId> {
        self.shared.router.directory().read().ids(network, most)
    }

    /// Whether a network has a place for this id, as far as is known here.
    pub fn has_place(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let directory = self.shared.router.directory().read();
        directory.has_place(network, peer, self.room_limit)
    }

    /// Tells the other hubs that this one is shutting down, and takes no more peers.
    pub async fn drain(&self) {
        self.send(Input::Drain).await;
    }

    /// Returns when all signals that peers left here, or sent here, have arrived or failed; while peers come and go,
    /// that may be never.
    pub async fn settled(&self) {
        let mut looks = 0;
        // Once is not enough: what another hub sent before it knew that its target left is still to come.
        while looks < 2 {
            looks = if self.shared.router.is_settled() {
                looks + 1
            } else {
                0
            };
            sleep(SETTLE_LOOK).await;
        }
    }

    /// Parts from the other hubs; within about a second.
    pub async fn stop(&self) {
        let (asker, answer) = oneshot::channel();
        self.send(Input::Stop(asker)).await;
        // An error means that it has stopped already.
        let _ = answer.await;
    }

    async fn send(&self, input: Input) {
        // The driver is gone when the hub is: nothing is left to be done.
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
        let size = self.shared.router.directory().read().size(network);
        size.min(self.discovery_limit)
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
                // The driver is gone when the hub is.
                let _ = inputs.send(input).await;
            });
        }
    }

    async fn probe_result(&self, _claim: ClaimNo, token: u64, alive: bool) {
        self.send(Input::ProbeResult { token, alive }).await;
    }

    fn signal(
        &self,
        source: &Source,
        target: &PeerId,
        kind: SignalKind,
        payload: Bytes,
        wait: bool,
    ) -> Result<(), SignalFailure> {
        let router = &self.shared.router;
        router.signal(source, target, kind, payload, wait)
    }

    fn return_unread(&self, target: &PeerId, unread: &[Unread]) {
        self.shared.router.return_unread(target, unread);
    }
}

/// Whether this is what a hub of ours with a wrong setting looks like: its operator has to act.
fn is_for_operators(error: HandshakeError) -> bool {
    use Rejection::{Namespace, Token, Version};
    let refused = matches!(error, HandshakeError::Refused(Token | Namespace | Version));
    refused || matches!(error, HandshakeError::RefusedByOther(_))
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
        room_limit: config.peerjs.room_limit,
        shares: Shares {
            claims: mesh.claims_per_hub,
            bytes: mesh.data_per_hub,
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
            wait_together: [Dialect::PeerJs, Dialect::PeerJsRooms]
                .map(|dialect| (dialect, config.peerjs.expire))
                .to_vec(),
            wait_per_sender: mesh.wait.per_sender,
            wait_per_target: mesh.wait.per_target,
            wait_total: mesh.wait.total,
            // An outbox has room for four of the longest messages, so one of them may wait as well.
            wait_line_bytes: (config.peer.outbox_bytes / WAITING_SHARE_OF_OUTBOX)
                .max(config.peer.max_message_bytes),
            wait_total_bytes: ExchangeConfig::default()
                .wait_total_bytes
                .max(LONGEST_WAITING * config.peer.max_message_bytes),
            ..ExchangeConfig::default()
        },
        ..CoreConfig::default()
    }
}
