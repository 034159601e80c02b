//! The data path: from a session, or from a link, straight to the target's mailbox or to the next link's
//! queue.
//!
//! Reads the directory behind its read lock, calls the exchange (signal windows and the waiting room) behind a short
//! mutex, and hands over to the registry or to a link's queue. No other task takes part and nothing here waits. Called
//! from any thread: by sessions, by links, and by the driver when the control plane has changed the exchange. Work that
//! only the driver can do goes to it in [`ToDriver`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use hubmesh_core::api::{Delivery, Publication, Sender, Signal, SignalFailure, Source, Unread};
use hubmesh_core::directory::Directory;
use hubmesh_core::exchange::{Effect, Exchange, Found, Resolve, Sent, Vouch, counted};
use hubmesh_core::frames::{DataFrame, RefusedWhy};
use hubmesh_core::ids::{ClaimNo, HubId, LinkId, Moment, NetworkKey, PeerId, SignalKind};
use hubmesh_core::wire::{self, WireError};
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::awaited::{AwaitedIds, AwaitedQuery};
use super::link_queue::{LinkQueue, Pushed};
use super::steps::{self, Passage};
use super::tagged;
use crate::metrics::{LinkTraffic, Metrics, Via};
use crate::peers::registry::Registry;

/// The data that the data path leaves for the driver.
#[derive(Debug, Default)]
pub struct ToDriver {
    handoff: Mutex<Handoff>,
    /// Woken when data was left, a deadline was set earlier, or a link's writer removed the control message.
    pub wake: Notify,
}

/// The data that was left since the driver last collected it.
#[derive(Debug, Default)]
pub struct Handoff {
    /// Messages of other hubs' control planes.
    pub hub_messages: Vec<(HubId, Bytes)>,
    /// Tokens of messages to other hubs that failed.
    pub failed_tokens: Vec<u64>,
    /// The last hub that a signal named as its source, although that hub does not have the sender.
    pub forged: Option<HubId>,
}

impl ToDriver {
    /// Leaves data and wakes the driver.
    pub fn hand_off(&self, put: impl FnOnce(&mut Handoff)) {
        put(&mut self.handoff.lock());
        self.wake.notify_one();
    }

    /// Removes all data.
    pub fn take(&self) -> Handoff {
        std::mem::take(&mut self.handoff.lock())
    }
}

/// The frame that the exchange was given, to which its effects may refer.
#[derive(Clone, Copy)]
struct Came {
    by: LinkId,
    /// The signal in the frame, while the log shows steps.
    passage: Option<Passage>,
}

/// Frames and bytes of one class, resolved once.
struct Traffic {
    frames: prometheus::IntCounter,
    bytes: prometheus::IntCounter,
}

impl Traffic {
    fn new(traffic: &LinkTraffic, kind: &'static str) -> Self {
        Traffic {
            frames: traffic.frames.handle(kind),
            bytes: traffic.bytes.handle(kind),
        }
    }

    fn count(&self, frames: usize, bytes: usize) {
        self.frames.inc_by(frames as u64);
        self.bytes.inc_by(bytes as u64);
    }
}

/// The mesh, for the data path.
pub struct Router {
    started: Instant,
    directory: Arc<RwLock<Directory>>,
    exchange: Arc<Mutex<Exchange>>,
    registry: Arc<Registry>,
    links: RwLock<HashMap<LinkId, Arc<LinkQueue>>>,
    metrics: Arc<Metrics>,
    data_in: Traffic,
    control_in: Traffic,
    data_out: prometheus::IntCounter,
    /// How many signals wait for their target: if 0, local signals need not go through the exchange.
    waiting: AtomicUsize,
    /// The deadline, in microseconds, at which the driver will wake up.
    armed: AtomicU64,
    /// The data that is left for the driver.
    pub to_driver: ToDriver,
    /// The messages of hubs about their STUN and TURN servers.
    relays: mpsc::Sender<(HubId, Bytes)>,
    /// The messages of hubs for their operators.
    operators: mpsc::Sender<(HubId, Bytes)>,
}

/// The directory, locked anew for each answer: for callers that seldom need an answer.
struct Live<'a>(&'a RwLock<Directory>);

impl Resolve for Live<'_> {
    fn resolve(&self, network: &NetworkKey, peer: &PeerId) -> Option<Found> {
        self.0.read().resolve(network, peer)
    }

    fn vouches(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
        seq: u64,
    ) -> Vouch {
        self.0.read().vouches(hub, network, peer, claim, seq)
    }

    fn left_lately(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
    ) -> bool {
        self.0.read().left_lately(hub, network, peer, claim)
    }

    fn network_of(&self, claim: ClaimNo) -> Option<NetworkKey> {
        self.0.read().network_of(claim)
    }
}

/// The token of messages whose failure no part wants to know. Contests count theirs from 0.
const NOBODY_S: u64 = u64::MAX;

impl Router {
    /// A router without links.
    pub fn new(
        directory: Arc<RwLock<Directory>>,
        exchange: Arc<Mutex<Exchange>>,
        registry: Arc<Registry>,
        metrics: Arc<Metrics>,
        [relays, operators]: [mpsc::Sender<(HubId, Bytes)>; 2],
    ) -> Self {
        Router {
            started: Instant::now(),
            directory,
            exchange,
            registry,
            links: RwLock::default(),
            data_in: Traffic::new(&metrics.mesh_received, "data"),
            control_in: Traffic::new(&metrics.mesh_received, "control"),
            data_out: metrics.mesh_sent.frames.handle("data"),
            metrics,
            waiting: AtomicUsize::new(0),
            armed: AtomicU64::new(u64::MAX),
            to_driver: ToDriver::default(),
            relays,
            operators,
        }
    }

    /// The time as the core is told it.
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When a moment is.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.started + (moment - Moment(0))
    }

    /// The driver sleeps until this moment; an earlier deadline has to wake it.
    pub fn arm(&self, deadline: Moment) {
        self.armed.store(deadline.0, Ordering::Release);
    }

    /// The directory, to read.
    pub fn directory(&self) -> &RwLock<Directory> {
        &self.directory
    }

    /// This hub's id in the mesh.
    fn me(&self) -> HubId {
        self.directory.read().me()
    }

    /// The local peers.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// A link has come up, or has ended.
    pub fn set_link(&self, link: LinkId, queue: Option<Arc<LinkQueue>>) {
        let mut links = self.links.write();
        match queue {
            Some(queue) => drop(links.insert(link, queue)),
            None => drop(links.remove(&link)),
        }
    }

    /// Every link, in the order of opening.
    pub fn links(&self) -> Vec<(LinkId, Arc<LinkQueue>)> {
        let mut links: Vec<_> = self
            .links
            .read()
            .iter()
            .map(|(link, queue)| (*link, Arc::clone(queue)))
            .collect();
        links.sort_unstable_by_key(|(link, _)| *link);
        links
    }

    /// Sends a signal of a local peer. The sender has to be told of an error at once; the registry tells it of later
    /// failures.
    pub fn signal(&self, signal: Signal<'_>) -> Result<(), SignalFailure> {
        let (source, target) = (signal.source, signal.target);
        steps::accepted(source, target, signal.kind);
        let sent = self.route(signal);
        sent.inspect_err(|why| steps::refused(source, target, *why))
    }

    fn route(&self, signal: Signal<'_>) -> Result<(), SignalFailure> {
        let (from_seq, found) = {
            let directory = self.directory.read();
            let found = match self.waiting.load(Ordering::Acquire) {
                0 => directory.resolve(&signal.source.network, signal.target),
                // The signal must not overtake signals that wait: the exchange checks this.
                _ => None,
            };
            if let Some(found) = found.filter(|found| found.hub == directory.me()) {
                drop(directory);
                return self.deliver_here(signal, found.claim);
            }
            (directory.own_seq(signal.source.claim), found)
        };
        self.exchange(signal, from_seq, found)
    }

    fn deliver_here(&self, signal: Signal<'_>, to: ClaimNo) -> Result<(), SignalFailure> {
        let Signal { source, wait, .. } = signal;
        let delivery = Delivery {
            to,
            network: source.network.clone(),
            from: source.peer.clone(),
            sender: Sender::Here(source.claim),
            target: signal.target.clone(),
            kind: signal.kind,
            payload: signal.payload,
        };
        match self.registry.deliver_local(&delivery) {
            Ok(()) => {
                steps::delivered(|| self.me(), &delivery);
                self.metrics.signals_routed.inc(Via::Local);
                Ok(())
            }
            Err(RefusedWhy::Overload) => Err(SignalFailure::Overload),
            Err(RefusedWhy::NotHere) if wait => self.wait_for_another(source, delivery),
            Err(RefusedWhy::NotHere | RefusedWhy::Forged | RefusedWhy::NotUnderstood) => {
                Err(SignalFailure::NoSuchPeer)
            }
        }
    }

    /// The claim still exists, but its peer has left: another peer may get the id.
    fn wait_for_another(&self, source: &Source, delivery: Delivery) -> Result<(), SignalFailure> {
        let now = self.now();
        let target = delivery.target.clone();
        let mut exchange = self.exchange.lock();
        {
            let directory = self.directory.read();
            let seq = directory.own_seq(source.claim);
            exchange.wait_for_another(now, &*directory, source, seq, delivery)?;
        }
        steps::waits(source, &target);
        self.metrics.signals_routed.inc(Via::WaitingRoom);
        self.drain(&mut exchange);
        Ok(())
    }

    /// Hands a signal to the exchange, with the claim that holds its target if that was looked up.
    fn exchange(
        &self,
        signal: Signal<'_>,
        from_seq: u64,
        found: Option<Found>,
    ) -> Result<(), SignalFailure> {
        let now = self.now();
        // A payload may be kept for seconds. It must not keep the whole block in memory in which it was read, which
        // frames that were read together share.
        let payload = Bytes::copy_from_slice(&signal.payload);
        let signal = Signal { payload, ..signal };
        let mut exchange = self.exchange.lock();
        self.look_at_links(&mut exchange);
        let sent = exchange.send(now, &Live(&self.directory), signal.clone(), from_seq, found)?;
        if sent == Sent::Waiting {
            steps::waits(signal.source, signal.target);
        }
        match sent {
            Sent::Local(claim) => {
                self.drain(&mut exchange);
                drop(exchange);
                return self.deliver_here(signal, claim);
            }
            Sent::Window => self.metrics.signals_routed.inc(Via::Remote),
            Sent::Waiting => self.metrics.signals_routed.inc(Via::WaitingRoom),
        }
        self.drain(&mut exchange);
        Ok(())
    }

    /// The targets that signals of this hub wait for.
    pub fn awaited(&self, wanted: &AwaitedQuery) -> AwaitedIds {
        let now = self.now();
        AwaitedIds::of(wanted, now, self.exchange.lock().awaited())
    }

    /// Sends another hub a message whose failure no part wants to know.
    pub fn tell_hub(&self, to: HubId, payload: Bytes) {
        let now = self.now();
        let mut exchange = self.exchange.lock();
        exchange.send_hub_message(now, to, payload, NOBODY_S);
        self.drain(&mut exchange);
    }

    /// Sends a local peer's publication to the members of its network, at this hub and others, each once and in order
    /// with the signals of that peer. The sender has to be told of an error at once: not all members got it.
    pub fn publish(
        &self,
        source: &Source,
        kind: SignalKind,
        payload: Bytes,
        echo: bool,
    ) -> Result<(), SignalFailure> {
        let (hubs, members) = {
            let directory = self.directory.read();
            let network = &source.network;
            (directory.hubs_in(network), directory.reachable(network))
        };
        steps::published(source, hubs.len());
        let mut elsewhere = Ok(());
        if !hubs.is_empty() || self.waiting.load(Ordering::Acquire) > 0 {
            let now = self.now();
            let mut exchange = self.exchange.lock();
            self.look_at_links(&mut exchange);
            let seq = self.directory.read().own_seq(source.claim);
            elsewhere = exchange.publish(now, source, seq, kind, &payload, &hubs);
            self.drain(&mut exchange);
        }
        let publication = Publication {
            network: source.network.clone(),
            from: source.peer.clone(),
            sender: Sender::Here(source.claim),
            kind,
            payload,
        };
        let except = Some(source.claim).filter(|_| !echo);
        let here = self.registry.publish_local(&publication, members, except);
        let routed = &self.metrics.signals_routed;
        routed.inc(if hubs.is_empty() {
            Via::Local
        } else {
            Via::Remote
        });
        elsewhere.and(here.map_err(|why| match why {
            RefusedWhy::Overload => SignalFailure::Overload,
            RefusedWhy::NotHere | RefusedWhy::Forged | RefusedWhy::NotUnderstood => {
                SignalFailure::NoSuchPeer
            }
        }))
    }

    /// A local peer with this id has left signals of other hubs' peers unread: tells the senders' hubs.
    pub fn return_unread(&self, target: &PeerId, unread: &[Unread]) {
        let now = self.now();
        let mut exchange = self.exchange.lock();
        exchange.return_unread(now, target, unread);
        self.drain(&mut exchange);
    }

    /// Handles a data message of a link. If it cannot be read, the caller closes the link.
    pub fn handle_data(&self, link: LinkId, message: &Bytes) -> Result<(), WireError> {
        let frames = wire::split_data(message)?;
        self.data_in.count(frames.len(), message.len());
        let now = self.now();
        let mut exchange = self.exchange.lock();
        for frame in frames {
            let shown = steps::read(&frame);
            let came = Came {
                by: link,
                passage: shown.as_ref().and_then(Passage::of),
            };
            steps::acknowledged(|| self.me(), shown.as_ref());
            exchange.handle(now, &*self.directory.read(), frame, link);
            self.drain_after(&mut exchange, Some(came));
            // A message holds hundreds of frames: sessions that wait to send are let in between two of them.
            MutexGuard::bump(&mut exchange);
        }
        Ok(())
    }

    /// Counts a control message that arrived on a link.
    pub fn count_control(&self, message: &Bytes) {
        self.control_in.count(1, message.len());
    }

    /// Whether all signals that were accepted here have arrived or failed.
    pub fn is_settled(&self) -> bool {
        self.exchange.lock().is_settled()
    }

    /// Carries out the effects that were left in the exchange, if any.
    pub fn drain_exchange(&self) {
        let mut exchange = self.exchange.lock();
        self.look_at_links(&mut exchange);
        self.drain(&mut exchange);
    }

    /// Tells the exchange of links that are no longer backed up. Mostly there are none.
    fn look_at_links(&self, exchange: &mut Exchange) {
        if exchange.has_backed_up() {
            let links = self.links.read();
            let still = |link: &LinkId| links.get(link).is_some_and(|queue| queue.is_backed_up());
            exchange.retain_backed_up(still);
        }
    }

    fn drain(&self, exchange: &mut Exchange) {
        self.drain_after(exchange, None);
    }

    /// Carries out the effects of the present frame.
    fn drain_after(&self, exchange: &mut Exchange, came: Option<Came>) {
        while let Some(effect) = exchange.poll_effect() {
            match effect {
                Effect::Link { link, frame } => {
                    self.to_link(exchange, link, &frame, came);
                }
                Effect::Deliver(delivery) => {
                    let delivered = self.registry.deliver(&delivery);
                    if delivered.is_ok() {
                        steps::delivered(|| self.me(), &delivery);
                    }
                    exchange.settle(delivered);
                }
                Effect::HubMessage { from, payload } if tagged::is(tagged::RELAYS, &payload) => {
                    // If this message is lost, the hub asks again.
                    let _ = self.relays.try_send((from, payload));
                }
                Effect::HubMessage { from, payload } if tagged::is(tagged::OPERATORS, &payload) => {
                    // If this message is lost, the asker waits until its time limit.
                    let _ = self.operators.try_send((from, payload));
                }
                Effect::HubMessageFailed { token, .. } if token == NOBODY_S => {}
                Effect::Publish(publication) => {
                    let members = self.directory.read().reachable(&publication.network);
                    let handed_out = self.registry.publish(&publication, members);
                    if handed_out.is_ok() {
                        steps::handed_out(|| self.me(), &publication);
                    }
                    exchange.settle(handed_out);
                }
                Effect::Unpublished(unpublished) => self.registry.unpublished(&unpublished),
                Effect::HubMessage { from, payload } => {
                    self.to_driver
                        .hand_off(|handoff| handoff.hub_messages.push((from, payload)));
                }
                Effect::HubMessageFailed { token, .. } => {
                    self.to_driver
                        .hand_off(|handoff| handoff.failed_tokens.push(token));
                }
                Effect::Failed(failed) => {
                    steps::failed(&failed);
                    self.registry.failed(failed);
                }
                Effect::Returned(failed) => {
                    steps::failed(&failed);
                    self.registry.returned(failed);
                }
                Effect::Forged { source } => {
                    self.to_driver
                        .hand_off(|handoff| handoff.forged = Some(source));
                }
                Effect::Counted(label) => {
                    if let Some(passage) = came.and_then(|came| came.passage) {
                        steps::counted(passage, label);
                    }
                    self.metrics.exchange_events.inc(label);
                }
            }
        }
        let waiting = exchange.waiting();
        if self.waiting.swap(waiting, Ordering::AcqRel) != waiting {
            self.metrics
                .signals_waiting
                .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
        if exchange
            .poll_timeout()
            .is_some_and(|due| due.0 < self.armed.load(Ordering::Acquire))
        {
            self.to_driver.wake.notify_one();
        }
    }

    fn to_link(
        &self,
        exchange: &mut Exchange,
        link: LinkId,
        frame: &DataFrame,
        came: Option<Came>,
    ) {
        let links = self.links.read();
        // A link that has ended sends nothing: the window sends the frame again by the next route.
        let Some(queue) = links.get(&link) else {
            return;
        };
        let is_own = exchange.is_own(frame);
        let for_other = came.filter(|_| !is_own).map(|came| came.by);
        let pushed = queue.push_data(frame, for_other);
        if pushed == Pushed::Dropped {
            if let Some(passage) = Passage::of(frame) {
                steps::counted(passage, counted::LINK_FULL);
            }
            exchange.on_dropped(frame);
            return self.metrics.exchange_events.inc(counted::LINK_FULL);
        }
        steps::sent(frame, is_own, link);
        self.data_out.inc();
        if pushed == Pushed::BackedUp {
            exchange.set_backed_up(link);
        }
    }
}
