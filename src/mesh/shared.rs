//! The state that links, dials and the driver share; makes links from dials and from inbound sockets.
//!
//! One for each hub. Knows only the input queue of the driver.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hubmesh_core::api::{DialFailure, LinkUp};
use hubmesh_core::ids::{DialId, HubId, Incarnation, LinkId};
use hubmesh_core::reach::Reach;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::advertised::Budget;
use super::control_intake::ControlIntake;
use super::handshake::{self, HandshakeError, Identity, Peered, Rejection, Socket};
use super::input::Input;
use super::link::{self, ConnectError, Destination};
use super::link_queue::LinkQueue;
use super::progress::Progress;
use super::questions::Questions;
use super::relays::Relays;
use super::router::Router;
use super::troubles::Trouble;
use super::view::Published;
use crate::config::Config;
use crate::limits::{AddressGroup, AddressSlot, AddressSlots, ConnectRate, HandshakeSlots};
use crate::metrics::Metrics;
use crate::tls::Trust;

/// The most inbound handshakes at once: each holds a socket for 5 s at most, and one message of 2 MiB at worst.
const HANDSHAKES: usize = 64;
/// The most inbound links and handshakes of one address: half as many as a hub accepts, so that one address alone
/// cannot keep other hubs out.
const LINKS_PER_ADDRESS: usize = 128;
/// The most warnings a minute about one address; its further faults are only counted.
const WARNINGS_A_MINUTE: NonZeroU32 = NonZeroU32::MIN;
/// When other hubs may dial again after this one's shutdown: about the time of a restart.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The state that links, dials and the driver share.
pub struct MeshContext {
    /// Whether there are links at all.
    enabled: bool,
    /// This hub's id was drawn at random, not configured: the hub may draw another id.
    pub(super) random_id: bool,
    pub(super) namespace: String,
    pub(super) router: Arc<Router>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) retry_after: Duration,
    control_out: (prometheus::IntCounter, prometheus::IntCounter),
    identity: Mutex<Identity>,
    published: Mutex<Arc<Published>>,
    pub(super) inputs: mpsc::Sender<Input>,
    control_intake: ControlIntake,
    pub(super) relays: Relays,
    pub(super) questions: Questions,
    handshake_slots: HandshakeSlots,
    /// Inbound links and handshakes by address.
    inbound: AddressSlots,
    /// Warnings about each address.
    warnings: ConnectRate,
    budget: Budget,
    trust: Trust,
    next_link: AtomicU64,
}

impl MeshContext {
    /// The shared state of a hub with this configuration, before there is any link.
    pub(super) fn new(
        config: &Config,
        incarnation: Incarnation,
        router: Arc<Router>,
        metrics: Arc<Metrics>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let settings = &config.mesh;
        MeshContext {
            enabled: config.is_hub,
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
            control_intake: ControlIntake::new(inputs.clone()),
            relays: Relays::new(config),
            questions: Questions::default(),
            inputs,
            handshake_slots: HandshakeSlots::new(HANDSHAKES),
            inbound: AddressSlots::default(),
            warnings: ConnectRate::new(WARNINGS_A_MINUTE),
            budget: Budget::default(),
            trust: Trust::default(),
            next_link: AtomicU64::new(1),
        }
    }

    /// The identity of this hub from now on.
    pub(super) fn set_identity(&self, hub: HubId, incarnation: Incarnation) {
        let mut identity = self.identity.lock();
        identity.hub = hub;
        identity.incarnation = incarnation;
    }

    pub(super) fn count_control_out(&self, bytes: usize) {
        self.control_out.0.inc();
        self.control_out.1.inc_by(bytes as u64);
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.lock())
    }

    pub(super) fn publish(&self, published: Published) {
        *self.published.lock() = Arc::new(published);
    }

    /// Whether a warning about this address is due: the faults of unknown clients must not fill the log.
    fn may_warn(&self, remote: SocketAddr) -> bool {
        self.warnings.check(AddressGroup::of(remote.ip())).is_ok()
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// One dial, to the end of the link that it makes. An advertised address is dialled only if the hubs that told of
    /// it may do so; without `told_by`, the address is the operator's.
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
                let queue = LinkQueue::over(progress);
                self.carry(peered, Some(dial), socket, queue, reach).await;
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
        // The driver stops only with the hub, and need not be told then.
        let _ = self.inputs.send(failed).await;
    }

    async fn carry(
        &self,
        peered: Peered,
        dialed: Option<DialId>,
        socket: impl Socket + 'static,
        queue: LinkQueue,
        reach: Reach,
    ) {
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let queue = Arc::new(queue);
        self.router.set_link(link, Some(Arc::clone(&queue)));
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
                queue: Arc::clone(&queue),
            })
            .await
            .is_ok()
        {
            // Made once for each link: log lines about its frames show where they came from.
            let span = tracing::debug_span!("link", link = link.0, hub = %peered.hub);
            link::carry(
                link,
                socket,
                queue,
                Arc::clone(&self.router),
                self.control_intake.clone(),
            )
            .instrument(span)
            .await;
        }
        self.router.set_link(link, None);
        let _ = self.inputs.send(Input::LinkDown { link }).await;
    }

    /// Runs one inbound link to its end; `progress` is that of its stream, and `reach` how near its other end is.
    pub(super) async fn accept(
        &self,
        mut socket: impl Socket + 'static,
        progress: Arc<Progress>,
        remote: SocketAddr,
        reach: Reach,
    ) {
        match self.greet(&mut socket, remote).await {
            Ok((peered, _inbound)) => {
                let queue = LinkQueue::over(progress);
                self.carry(peered, None, socket, queue, reach).await;
            }
            Err(error) => {
                self.metrics.handshakes_refused.inc(error.label());
                if is_for_operators(error) && self.may_warn(remote) {
                    tracing::warn!(%remote, reason = error.label(), %error, "hub not admitted");
                } else {
                    tracing::debug!(%remote, reason = error.label(), %error, "hub not admitted");
                }
            }
        }
    }

    /// The handshake of one inbound link, as long as it has a slot; and the slot among the links of its address.
    async fn greet(
        &self,
        socket: &mut impl Socket,
        remote: SocketAddr,
    ) -> Result<(Peered, AddressSlot), HandshakeError> {
        let group = AddressGroup::of(remote.ip());
        let allowed = |own, _| own < LINKS_PER_ADDRESS;
        let Some(inbound) = self.inbound.try_take(group, allowed) else {
            return Err(handshake::turn_away(socket, Rejection::Unavailable).await);
        };
        let slot = self.handshake_slots.enter(group, HANDSHAKES);
        if let Ok(slot) = slot
            && self.enabled
        {
            let me = self.identity();
            tokio::select! {
                done = handshake::accept(socket, &me, || slot.spoke()) => {
                    return done.map(|peered| (peered, inbound));
                }
                () = slot.lost() => {}
            }
        }
        Err(handshake::turn_away(socket, Rejection::Unavailable).await)
    }
}

/// Whether the other end is probably a hub of this mesh with a wrong setting: its operator has to act.
fn is_for_operators(error: HandshakeError) -> bool {
    use Rejection::{Namespace, Token, Version};
    let refused = matches!(error, HandshakeError::Refused(Token | Namespace | Version));
    refused || matches!(error, HandshakeError::RefusedByOther(_))
}
