//! The control plane, without IO: no sockets, no clock, no tokio, no randomness of its own.
//!
//! # Contract
//!
//! [`Core`] has one owner. It hands in what happened (`handle_*`, `join`, `update`, `leave`) with the present
//! time, which never goes back, and then drains [`Core::poll_output`] until it is empty. When
//! [`Core::poll_timeout`] has passed it calls [`Core::handle_timeout`]. Bytes for a link are *pulled* by
//! [`Core::poll_transmit`] when its socket can take them; what a slow link has not taken costs nothing but a
//! cursor. The same inputs at the same times give the same outputs, to the byte.
//!
//! Two parts are shared with the data path: the [`Directory`] behind a read-write lock that only the core
//! writes, and the [`Exchange`] (signal windows) behind a mutex. Whoever touches the exchange, the core
//! included, leaves effects in it that its caller must drain. Locks are taken in the order exchange,
//! directory, and the core holds neither when it returns.
//!
//! # The parts
//!
//! [`links`] decides which socket is *the* link to a neighbour; [`topology`] learns the graph and the ways;
//! [`dial`] chooses whom to dial; [`feeds`] and [`serving`] move the [`directory`]; [`contest`] decides who may
//! hold an id; [`rosters`] decides who is told; [`exchange`] carries signals. Each is a state machine of its own that
//! knows none of the others: this module alone passes their events on.

pub mod api;
mod clock;
pub mod contest;
mod counters;
pub mod dial;
pub mod directory;
pub mod exchange;
mod farewells;
mod feeds;
mod holds;
pub mod ids;
pub mod links;
pub mod mutants;
pub mod rng;
mod rosters;
mod serving;
#[cfg(test)]
mod tests;
pub mod topology;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};

use api::{Bye, DialFailure, Join, JoinRefusal, LinkUp, Output, Route, SharedRoutes};
use clock::Clock;
use contest::{Action, ContestConfig, Contests};
use dial::{DialConfig, Dialer};
use directory::{Directory, KeyChange};
use exchange::{Exchange, ExchangeConfig};
use farewells::Farewells;
use feeds::Feeds;
use holds::{Due, Holds};
use ids::{
    ClaimNo, DialId, HubId, Incarnation, LeaveReason, LinkId, Moment, NetworkKey, Now, PeerId,
    stable_hash,
};
use links::{LinkConfig, LinkEvent, Links};
use mutants::Mutants;
use rosters::Rosters;
use serving::Serving;
use topology::{Topology, TopologyConfig, TopologyEvent};

use super::frames::{Change, Claim, Delta, Frame};
use super::wire::{Decoder, Encoder};

pub use counters::{Counters, Sent};

/// How often a sixteenth of the origins is audited.
const AUDIT_EVERY: Duration = Duration::from_secs(30);
const AUDIT_SHARES: u64 = 16;
/// How long an origin's hidden claims are kept for its return.
const DROP_AFTER: Duration = Duration::from_secs(60);
/// How often an alarm of one kind is raised at most.
const ALARM_EVERY: Duration = Duration::from_secs(60);

/// What a core is made of.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This hub.
    pub me: HubId,
    /// Its life: a random nonce per boot.
    pub incarnation: Incarnation,
    /// What all choices "at random" are drawn from.
    pub seed: u64,
    /// Addresses to dial for ever.
    pub bootstrap: Vec<String>,
    /// How long an unreachable hub's peers stay visible.
    pub hold: Duration,
    /// The size from which a network's peers learn of a neighbourhood only; 0 for never.
    pub discovery_limit: usize,
    /// How contested ids are decided.
    pub contest: ContestConfig,
    /// Links.
    pub links: LinkConfig,
    /// The graph.
    pub topology: TopologyConfig,
    /// Dialling.
    pub dial: DialConfig,
    /// Signals.
    pub exchange: ExchangeConfig,
    /// Known faults, for tests of the tests.
    pub mutants: Mutants,
}

impl Default for CoreConfig {
    fn default() -> Self {
        CoreConfig {
            me: HubId([0; 20]),
            incarnation: Incarnation { epoch: 0, nonce: 0 },
            seed: 0,
            bootstrap: Vec::new(),
            hold: Duration::from_secs(2),
            discovery_limit: 1_000,
            contest: ContestConfig::default(),
            links: LinkConfig::default(),
            topology: TopologyConfig::default(),
            dial: DialConfig::default(),
            exchange: ExchangeConfig::default(),
            mutants: Mutants::NONE,
        }
    }
}

struct Codec {
    hub: HubId,
    encoder: Encoder,
    decoder: Decoder,
    queue: VecDeque<Frame>,
}

impl Codec {
    fn new(hub: HubId) -> Self {
        Codec {
            hub,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            queue: VecDeque::new(),
        }
    }
}

/// One hub's control plane.
pub struct Core {
    me: HubId,
    incarnation: Incarnation,
    hold: Duration,
    probe_within: Duration,
    directory: Arc<RwLock<Directory>>,
    exchange: Arc<Mutex<Exchange>>,
    clock: Clock,
    links: Links,
    topology: Topology,
    dialer: Dialer,
    feeds: Feeds,
    serving: Serving,
    contests: Contests,
    rosters: Rosters,
    codecs: BTreeMap<LinkId, Codec>,
    holds: Holds,
    farewells: Farewells,
    /// The routes that the feeds were last told of.
    routed: SharedRoutes,
    next_audit: Moment,
    audits: u64,
    alarms: BTreeMap<&'static str, Moment>,
    draining: bool,
    left: bool,
    outputs: VecDeque<Output>,
    counters: Counters,
    mutants: Mutants,
}

impl Core {
    /// A hub without links or peers.
    pub fn new(mut config: CoreConfig, now: Now) -> Self {
        let mutants = config.mutants;
        config.contest.hold = config.hold;
        config.topology.mutants = mutants;
        config.exchange.mutants = mutants;
        if mutants.incarnation_is_a_counter() {
            config.incarnation.nonce = 0;
        }
        let CoreConfig {
            me,
            incarnation,
            seed,
            ..
        } = config;
        let large = match config.discovery_limit {
            0 => usize::MAX,
            limit => limit,
        };
        let mut core = Core {
            me,
            incarnation,
            hold: config.hold,
            probe_within: config.contest.probe_within,
            directory: Arc::new(RwLock::new(Directory::new(
                me,
                incarnation,
                seed,
                large,
                mutants,
            ))),
            exchange: Arc::new(Mutex::new(Exchange::new(me, incarnation, config.exchange))),
            clock: Clock::default(),
            links: Links::new(me, config.links),
            topology: Topology::new(me, incarnation, config.topology),
            dialer: Dialer::new(me, seed, config.dial),
            feeds: Feeds::new(
                mutants.unsubscribe_early(),
                mutants.subscribe_without_cursor(),
            ),
            serving: Serving::default(),
            contests: Contests::new(me, config.contest),
            rosters: Rosters::new(config.discovery_limit),
            codecs: BTreeMap::new(),
            holds: Holds::default(),
            farewells: Farewells::default(),
            routed: SharedRoutes::default(),
            next_audit: now.at + AUDIT_EVERY,
            audits: 0,
            alarms: BTreeMap::new(),
            draining: false,
            left: false,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            mutants,
        };
        core.links.set_incarnation(incarnation);
        core.set_bootstrap(now, config.bootstrap);
        core
    }

    // ---- Looking in ---------------------------------------------------------------------------------

    /// All claims. Only the core writes.
    pub fn directory(&self) -> &Arc<RwLock<Directory>> {
        &self.directory
    }

    /// The signal windows.
    pub fn exchange(&self) -> &Arc<Mutex<Exchange>> {
        &self.exchange
    }

    /// The graph.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The links.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Who is dialled.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// The life that this hub says it lives; part of every handshake.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether another machine with this hub's id made it leave.
    pub fn has_left(&self) -> bool {
        self.left
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Joins that wait for a verdict.
    pub fn contested(&self) -> usize {
        self.contests.pending()
    }

    /// The link that a hub's claims come by.
    pub fn parent(&self, origin: &HubId) -> Option<LinkId> {
        self.feeds.parent(origin)
    }

    // ---- Links --------------------------------------------------------------------------------------

    /// A handshake is done.
    pub fn handle_link_up(&mut self, now: Now, up: LinkUp) {
        if self.left {
            return self.close(up.link, Bye::IdentityClash);
        }
        if up.dialed.is_none() && !self.dialer.may_accept(now.at, up.hub) {
            return self.close(up.link, Bye::Full);
        }
        self.codecs.insert(up.link, Codec::new(up.hub));
        self.links
            .on_up_knowing(now.at, &up, self.topology.known(up.hub));
        self.dialer.on_neighbour_up(now.at, up.hub, up.dialed);
        if self.links.link_to(up.hub).is_none() {
            // Refused at once: what the dialler takes for a neighbour is none.
            self.dialer.on_neighbour_down(now.at, up.hub);
        }
        self.settle(now);
    }

    /// The socket is gone.
    pub fn handle_link_down(&mut self, now: Now, link: LinkId) {
        self.links.on_down(now.at, link);
        self.forget_link(link);
        self.settle(now);
    }

    /// A control message came by a link. One that cannot be read closes the link.
    pub fn handle_message(&mut self, now: Now, link: LinkId, message: &Bytes) {
        let Some(codec) = self.codecs.get_mut(&link) else {
            return;
        };
        self.links.on_heard(now.at, link);
        match codec.decoder.decode(message) {
            Ok(frames) if self.farewells.contains(link) => {
                self.handle_last_words(now, link, frames)
            }
            Ok(frames) => {
                for frame in frames {
                    self.handle_frame(now, link, frame);
                }
            }
            Err(_) => self.drop_link(now, link, Bye::BadFrame),
        }
        self.settle(now);
    }

    /// Says why the link is over, and leaves it open for the other end's word.
    fn say_farewell(&mut self, now: Now, link: LinkId, bye: Bye) {
        self.serving.on_link_down(link);
        self.feeds.on_link_down(link);
        self.topology.on_link_closed(link);
        if let Some(codec) = self.codecs.get_mut(&link) {
            codec.queue.clear();
            codec.queue.push_back(Frame::Bye(bye));
            self.farewells.begin(now.at, link, bye);
        }
    }

    /// Of a link that is over, only why it is over for the other end counts.
    fn handle_last_words(&mut self, now: Now, link: LinkId, frames: Vec<Frame>) {
        for frame in frames {
            let Frame::Bye(said) = frame else { continue };
            let echo = self.farewells.said(link) == Some(said);
            if let Bye::StaleIncarnation { known } = said
                && !echo
            {
                self.topology.on_stale(now.at, known);
            }
            self.end_farewell(link);
        }
    }

    fn end_farewell(&mut self, link: LinkId) {
        if let Some(bye) = self.farewells.end(link) {
            self.forget_link(link);
            self.close(link, bye);
        }
    }

    /// A data message came by a link: a sign of life.
    pub fn handle_heard(&mut self, now: Now, link: LinkId) {
        self.links.on_heard(now.at, link);
    }

    /// The driver has to give a link up: its outbox overflowed, or its data messages cannot be read.
    pub fn drop_link(&mut self, now: Now, link: LinkId, bye: Bye) {
        if self.codecs.contains_key(&link) {
            self.links.on_down(now.at, link);
            self.forget_link(link);
            self.close(link, bye);
            self.settle(now);
        }
    }

    fn handle_frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        match frame {
            Frame::Ping { token } => self.links.on_ping(link, token),
            Frame::Pong { token } => self.links.on_pong(now.at, link, token),
            Frame::Bye(bye) => self.handle_bye(now, link, bye),
            Frame::Digest(entries) => self.topology.handle_digest(now.at, link, &entries),
            Frame::Records(records) => {
                self.counters.records += records.len() as u64;
                self.topology.handle_records(now.at, link, records);
            }
            Frame::Subscribe {
                origin,
                incarnation,
                seq,
            } => {
                self.serving.on_subscribe(link, origin, incarnation, seq);
            }
            Frame::Unsubscribe { origin } => self.serving.on_unsubscribe(link, &origin),
            Frame::Delta(delta) => self.handle_delta(now, link, delta),
            Frame::Audit {
                origin,
                incarnation,
                seq,
                hash,
            } => {
                self.handle_audit(now, origin, incarnation, seq, hash);
            }
            // Signals travel in messages of their own, which do not come this way; newer kinds are skipped.
            Frame::Signal(_) | Frame::Ack(_) | Frame::Unknown { .. } => {}
        }
    }

    fn handle_bye(&mut self, now: Now, link: LinkId, bye: Bye) {
        if let Bye::StaleIncarnation { known } = bye {
            self.farewells.tell(link);
            self.topology.on_stale(now.at, known);
        }
        self.links.on_bye(now.at, link, bye);
    }

    fn handle_delta(&mut self, now: Now, link: LinkId, delta: Delta) {
        let origin = delta.origin;
        if origin == self.me {
            return;
        }
        // Records of the same message may have changed who is reachable: a hub whose hold has not begun yet
        // would be hidden, and come back a moment later.
        self.heed_topology(now);
        self.observe(now, &delta);
        let applied = self
            .feeds
            .handle_delta(now.at, &mut self.directory.write(), link, delta);
        self.counters.changes += applied.fresh as u64;
        self.counters.repeated += applied.repeated as u64;
        self.counters.resyncs += u64::from(applied.resync && applied.advanced);
        if applied.gap {
            self.counters.gaps += 1;
            self.alarm(now, "delta-gap", || {
                format!("hub {origin} sent changes that do not follow")
            });
        }
        if applied.advanced {
            self.serving.on_advance(&origin);
            self.show(origin, LeaveReason::HubLost);
        }
    }

    fn observe(&mut self, now: Now, delta: &Delta) {
        let newest = delta
            .entries
            .iter()
            .filter_map(|entry| match &entry.change {
                Change::Claim(claim) => Some(claim.hlc),
                _ => None,
            });
        let Some(newest) = newest.max() else { return };
        if !self.clock.observe(now.wall_ms, newest) {
            let origin = delta.origin;
            self.alarm(now, "clock-ahead", || {
                format!("the clock of hub {origin} is over 10 s ahead")
            });
        }
    }

    fn handle_audit(
        &mut self,
        now: Now,
        origin: HubId,
        incarnation: Incarnation,
        seq: u64,
        hash: u64,
    ) {
        let Some(here) = self.directory.read().origin_state(&origin) else {
            return;
        };
        let same = here.complete && here.incarnation == incarnation && here.seq == seq;
        if same && here.hash != hash {
            self.alarm(now, "audit-mismatch", || {
                format!("the claims of hub {origin} differ from our neighbour's")
            });
        }
    }

    /// Forgets what belongs to a link, the table of links aside.
    fn forget_link(&mut self, link: LinkId) {
        self.codecs.remove(&link);
        self.farewells.end(link);
        self.serving.on_link_down(link);
        self.feeds.on_link_down(link);
        self.topology.on_link_closed(link);
    }

    fn close(&mut self, link: LinkId, bye: Bye) {
        self.outputs.push_back(Output::Close { link, bye });
    }

    /// The next control message for a link, of about `max` bytes at most, but for single frames that are
    /// longer. Link control goes first, then topology, then the directory.
    pub fn poll_transmit(&mut self, link: LinkId, max: usize) -> Option<Bytes> {
        let mut message = BytesMut::new();
        while message.len() < max {
            let Some(frame) = self.next_frame(link, max - message.len()) else {
                break;
            };
            let codec = self.codecs.get_mut(&link)?;
            let before = message.len();
            codec.encoder.encode(&frame, &mut message);
            self.counters.sent.count(&frame, message.len() - before);
        }
        (!message.is_empty()).then(|| message.freeze())
    }

    fn next_frame(&mut self, link: LinkId, budget: usize) -> Option<Frame> {
        if !self.codecs.contains_key(&link) {
            return None;
        }
        if let Some(frame) = self.links.poll_control(link) {
            return Some(frame);
        }
        if let Some(frame) = self.topology.poll_transmit(link, budget) {
            return Some(frame);
        }
        if let Some(frame) = self
            .codecs
            .get_mut(&link)
            .and_then(|codec| codec.queue.pop_front())
        {
            return Some(frame);
        }
        self.serving
            .poll_delta(&self.directory.read(), link, budget)
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) may have something for this link.
    pub fn has_pending(&self, link: LinkId) -> bool {
        let queued = self
            .codecs
            .get(&link)
            .is_some_and(|codec| !codec.queue.is_empty());
        queued
            || self.links.has_control(link)
            || self.topology.has_pending(link)
            || self.serving.has_pending(link)
    }

    // ---- Dialling -----------------------------------------------------------------------------------

    /// The addresses to dial for ever; called again when DNS answers otherwise.
    pub fn set_bootstrap(&mut self, now: Now, urls: Vec<String>) {
        self.dialer.set_bootstrap(now.at, urls);
        self.settle(now);
    }

    /// A dial made no link.
    pub fn handle_dial_failed(&mut self, now: Now, dial: DialId, why: DialFailure) {
        self.dialer.on_dial_failed(now.at, dial, why);
        self.settle(now);
    }

    // ---- Local peers --------------------------------------------------------------------------------

    /// A local peer wants to be in a network. Answered by `Accepted` or `Refused`, now or when up
    /// to three contests are over: each takes the longer of a probe and the hold, and 1.5 s, at most.
    pub fn join(&mut self, now: Now, join: Join) {
        if self.draining {
            let (claim, why) = (join.claim, JoinRefusal::Draining);
            return self.outputs.push_back(Output::Refused { claim, why });
        }
        self.contests.begin(now.at, &self.directory.read(), join);
        self.settle(now);
    }

    /// A local peer shows something else of itself, or is no longer quiet.
    pub fn update(&mut self, now: Now, claim: ClaimNo, data: Option<Bytes>, quiet: bool) {
        if self.contests.update_pending(claim, data.clone(), quiet) {
            return;
        }
        let Some(view) = self.directory.read().own_claim(claim) else {
            return;
        };
        let claim = Claim {
            network: view.network,
            peer: view.peer,
            claim,
            hlc: view.hlc,
            quiet,
            data,
        };
        self.author(now, &claim, view.quiet && !quiet);
    }

    /// A local peer is gone, or leaves its network.
    pub fn leave(&mut self, now: Now, claim: ClaimNo, reason: LeaveReason) {
        self.retract(now, claim, reason);
        self.settle(now);
    }

    /// The answer to [`Output::Probe`].
    pub fn handle_probe_result(&mut self, now: Now, token: u64, alive: bool) {
        self.contests.on_probe_result(token, alive);
        self.settle(now);
    }

    /// A message of another hub's control plane came through the exchange.
    pub fn handle_hub_message(&mut self, now: Now, from: HubId, payload: &[u8]) {
        self.contests
            .on_message(now.at, &self.directory.read(), from, payload);
        self.settle(now);
    }

    /// A message to another hub's control plane did not arrive, as far as is known.
    pub fn handle_hub_message_failed(&mut self, now: Now, token: u64) {
        self.contests
            .on_message_failed(&self.directory.read(), token);
        self.settle(now);
    }

    /// Tells the hubs that this one is shutting down; it takes no more peers.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        self.topology.set_draining(now.at);
        self.settle(now);
    }

    /// Says goodbye on every link: the last thing before the end.
    pub fn part(&mut self, now: Now, retry_after: Duration) {
        let links: Vec<LinkId> = self.codecs.keys().copied().collect();
        for link in links {
            self.drop_link(now, link, Bye::Draining { retry_after });
        }
    }

    fn claim(&mut self, now: Now, claim: ClaimNo) {
        let Some(join) = self.contests.take_ready(claim) else {
            return;
        };
        let Join {
            network,
            peer,
            data,
            quiet,
            ..
        } = join;
        let above = self.directory.read().holder(&network, &peer);
        if above.is_some() {
            self.counters.takeovers += 1;
            self.contests.note_takeover(now.at, &network, &peer);
        }
        let hlc = self.clock.draw(now.wall_ms, above.map(|(_, hlc)| hlc));
        self.author(
            now,
            &Claim {
                network,
                peer,
                claim,
                hlc,
                quiet,
                data,
            },
            true,
        );
    }

    fn author(&mut self, now: Now, claim: &Claim, admits: bool) {
        self.pass_changes_on(now);
        let roster = {
            let mut directory = self.directory.write();
            directory.author(claim);
            match (admits, claim.quiet) {
                (true, false) => {
                    self.rosters
                        .admit(&directory, &claim.network, &claim.peer, claim.claim)
                }
                _ => Vec::new(),
            }
        };
        if admits {
            self.outputs.push_back(Output::Accepted {
                claim: claim.claim,
                roster,
            });
        }
        self.serving.on_advance(&self.me);
        self.settle(now);
    }

    fn retract(&mut self, now: Now, claim: ClaimNo, reason: LeaveReason) {
        self.contests.on_gone(claim);
        let network = self
            .directory
            .read()
            .own_claim(claim)
            .map(|view| view.network);
        if self.directory.write().retract(now.at, claim, reason) {
            self.serving.on_advance(&self.me);
        }
        if let Some(network) = network {
            self.rosters.forget(&network, claim);
        }
        self.exchange.lock().on_source_gone(claim);
    }

    fn supersede(&mut self, now: Now, claim: ClaimNo) {
        self.retract(now, claim, LeaveReason::Superseded);
        self.outputs.push_back(Output::Superseded { claim });
    }

    // ---- Time ---------------------------------------------------------------------------------------

    /// What was due by `now` is done.
    pub fn handle_timeout(&mut self, now: Now) {
        self.links.handle_timeout(now.at);
        self.topology.handle_timeout(now.at);
        self.dialer.handle_timeout(now.at);
        self.shed_link(now);
        while let Some(link) = self.farewells.due(now.at) {
            self.end_farewell(link);
        }
        self.contests.handle_timeout(now.at, &self.directory.read());
        for due in self.holds.take_due(now.at) {
            match due {
                Due::Hide(hub) => self.show(hub, LeaveReason::HubLost),
                Due::Drop(hub) => self
                    .directory
                    .write()
                    .drop_origin(&hub, LeaveReason::HubLost),
            }
        }
        if self.next_audit <= now.at {
            self.next_audit = now.at + AUDIT_EVERY;
            self.housekeeping(now);
        }
        self.exchange
            .lock()
            .handle_timeout(now.at, &*self.directory.read());
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next needed. The exchange's own deadlines are part of
    /// it as they are now; whoever gives the exchange an earlier one sees to it itself.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let parts = [
            self.links.poll_timeout(),
            self.topology.poll_timeout(),
            self.dialer.poll_timeout(),
            self.dialer.drop_timeout(),
            self.contests.poll_timeout(),
            self.holds.poll_timeout(),
            self.farewells.poll_timeout(),
            self.exchange.lock().poll_timeout(),
            Some(self.next_audit),
        ];
        parts.into_iter().flatten().min()
    }

    /// With more links than wanted, parts from a neighbour that can be done without.
    fn shed_link(&mut self, now: Now) {
        let Some(hub) = self.dialer.poll_drop(now.at) else {
            return;
        };
        if let Some(link) = self.links.link_to(hub)
            && self.topology.is_redundant(hub)
        {
            self.links.close_link(now.at, link, Bye::Full);
        }
    }

    fn housekeeping(&mut self, now: Now) {
        self.audits += 1;
        let share = self.audits % AUDIT_SHARES;
        let directory = self.directory.read();
        for origin in directory.hubs() {
            if stable_hash(&origin.0) % AUDIT_SHARES != share {
                continue;
            }
            let Some(here) = directory.origin_state(&origin).filter(|here| here.complete) else {
                continue;
            };
            for link in self.serving.children(&origin) {
                if let Some(codec) = self.codecs.get_mut(&link) {
                    let OriginAudit {
                        incarnation,
                        seq,
                        hash,
                    } = here.into();
                    codec.queue.push_back(Frame::Audit {
                        origin,
                        incarnation,
                        seq,
                        hash,
                    });
                }
            }
        }
        drop(directory);
        // Who learns of a network that became small must not hear of what came before that only afterwards.
        self.pass_changes_on(now);
        let mut directory = self.directory.write();
        directory.prune(now.at);
        self.outputs.extend(self.rosters.shrink(&directory));
    }

    // ---- Passing events on --------------------------------------------------------------------------

    /// The next thing to do; drained after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Carries the parts' events to each other until none is left.
    fn settle(&mut self, now: Now) {
        loop {
            if let Some(event) = self.links.poll_event() {
                self.on_link_event(now, event);
            } else if let Some(event) = self.topology.poll_event() {
                self.on_topology_event(now, event);
            } else if let Some(action) = self.next_action(now) {
                self.on_action(now, action);
            } else if !self.pass_changes_on(now) {
                break;
            }
        }
        while let Some((dial, target)) = self.dialer.poll_dial() {
            self.outputs.push_back(Output::Dial { dial, target });
        }
        for (link, frame) in self.feeds.take_frames() {
            if let Some(codec) = self.codecs.get_mut(&link) {
                codec.queue.push_back(frame);
            }
        }
    }

    fn next_action(&mut self, now: Now) -> Option<Action> {
        self.contests.settle(now.at, &self.directory.read());
        self.contests.poll_action()
    }

    fn on_action(&mut self, now: Now, action: Action) {
        match action {
            Action::Claim(claim) => self.claim(now, claim),
            Action::Refuse { claim, why } => self.outputs.push_back(Output::Refused { claim, why }),
            Action::Probe { claim, token } => {
                let within = self.probe_within;
                self.outputs.push_back(Output::Probe {
                    claim,
                    token,
                    within,
                });
            }
            Action::Send { to, payload, token } => {
                self.exchange
                    .lock()
                    .send_hub_message(now.at, to, payload, token);
            }
            Action::Expel(claim) => self.supersede(now, claim),
        }
    }

    fn on_link_event(&mut self, now: Now, event: LinkEvent) {
        match event {
            LinkEvent::NeighbourUp {
                hub,
                incarnation,
                link,
            } => {
                self.topology
                    .on_neighbour_up(now.at, hub, incarnation, link);
            }
            LinkEvent::NeighbourSwitched { hub, link } => {
                self.topology.on_neighbour_switched(now.at, hub, link)
            }
            LinkEvent::NeighbourDown { hub } => {
                self.topology.on_neighbour_down(now.at, hub);
                self.dialer.on_neighbour_down(now.at, hub);
            }
            LinkEvent::Close { link, bye } => {
                if let Some(codec) = self.codecs.get(&link) {
                    self.dialer.on_bye(now.at, codec.hub, bye);
                }
                match bye {
                    Bye::StaleIncarnation { .. } if !self.farewells.was_told(link) => {
                        self.say_farewell(now, link, bye);
                    }
                    _ => {
                        self.forget_link(link);
                        self.close(link, bye);
                    }
                }
            }
            LinkEvent::RttMeasured { hub, rtt } => {
                self.topology.on_rtt(now.at, hub, rtt);
                self.dialer.on_rtt(hub, rtt);
            }
            LinkEvent::IdentityClash { incarnation } => {
                self.alarm(now, "identity-clash", || {
                    format!("another machine uses this hub's id, as {incarnation:?}")
                });
                self.topology.on_stale(now.at, incarnation);
            }
        }
    }

    fn heed_topology(&mut self, now: Now) {
        while let Some(event) = self.topology.poll_event() {
            self.on_topology_event(now, event);
        }
    }

    fn on_topology_event(&mut self, now: Now, event: TopologyEvent) {
        match event {
            // Lost again before it was noticed: its hold goes on. Ended here, it would hide the hub.
            TopologyEvent::Reachable { hub, .. } if !self.topology.is_reachable(hub) => {}
            TopologyEvent::Reachable { hub, .. } => {
                self.holds.clear(&hub);
                self.dialer.on_reachable(now.at, hub);
                self.show(hub, LeaveReason::HubLost);
            }
            TopologyEvent::Unreachable { hub } => {
                self.dialer.on_unreachable(now.at, hub);
                let hold = if self.mutants.no_hold_down() {
                    Duration::ZERO
                } else {
                    self.hold
                };
                self.holds
                    .start(hub, now.at + hold, now.at + hold.max(DROP_AFTER));
            }
            TopologyEvent::IncarnationChanged { hub, incarnation } => {
                self.feeds.on_life(hub, incarnation);
                let stale = self
                    .directory
                    .read()
                    .origin_state(&hub)
                    .is_some_and(|here| here.incarnation < incarnation);
                if stale {
                    self.directory
                        .write()
                        .drop_origin(&hub, LeaveReason::HubLost);
                }
                self.links.on_incarnation(hub, incarnation);
                self.show(hub, LeaveReason::HubLost);
            }
            TopologyEvent::Learned { hub } => {
                if let Some(record) = self.topology.record(hub) {
                    self.dialer
                        .on_learned(now.at, hub, &record.urls, record.draining);
                }
            }
            TopologyEvent::Forgotten { hub } => {
                self.holds.clear(&hub);
                self.dialer.on_forgotten(hub);
                self.directory
                    .write()
                    .drop_origin(&hub, LeaveReason::HubLost);
            }
            TopologyEvent::RoutesChanged => self.on_routes_changed(now),
            TopologyEvent::OwnIncarnation(incarnation) => self.begin_life(now, incarnation),
            TopologyEvent::IdentityClash => self.leave_mesh(now),
        }
    }

    /// Tells the feeds of those routes alone that are not what they were: in a large mesh most runs change few.
    fn on_routes_changed(&mut self, now: Now) {
        let routes = self.topology.routes();
        let before = std::mem::replace(&mut self.routed, Arc::clone(&routes));
        let mut lost: Vec<HubId> = before
            .by_hub
            .keys()
            .filter(|hub| !routes.by_hub.contains_key(*hub))
            .copied()
            .collect();
        lost.sort_unstable();
        for hub in lost {
            self.feeds.on_route_lost(hub);
        }
        let way = |route: &Route| (route.hop.link, route.incarnation);
        let mut moved: Vec<(HubId, Route)> = routes
            .by_hub
            .iter()
            .filter(|(hub, route)| before.by_hub.get(*hub).map(way) != Some(way(route)))
            .map(|(hub, route)| (*hub, *route))
            .collect();
        moved.sort_unstable_by_key(|(hub, _)| *hub);
        {
            let directory = self.directory.read();
            for (hub, route) in moved {
                self.feeds
                    .on_route(&directory, hub, route.incarnation, route.hop.link);
            }
        }
        self.exchange.lock().set_routes(now.at, routes);
    }

    fn begin_life(&mut self, now: Now, incarnation: Incarnation) {
        self.incarnation = incarnation;
        self.links.set_incarnation(incarnation);
        self.directory.write().set_own_incarnation(incarnation);
        self.exchange.lock().set_incarnation(now.at, incarnation);
        self.serving.on_advance(&self.me);
        self.alarm(now, "new-incarnation", || {
            format!("the mesh knew a later life of this hub: it goes on as {incarnation:?}")
        });
    }

    fn leave_mesh(&mut self, now: Now) {
        if self.left {
            return;
        }
        self.left = true;
        let me = self.me;
        self.alarm(now, "left-mesh", || {
            format!("another live machine has hub id {me}: this one leaves the mesh; give each its own HUB_ID")
        });
        self.dialer.stop();
        let links: Vec<LinkId> = self.codecs.keys().copied().collect();
        for link in links {
            self.links.on_down(now.at, link);
            self.forget_link(link);
            self.close(link, Bye::IdentityClash);
        }
        self.outputs.push_back(Output::LeftMesh);
    }

    /// Makes a hub's claims visible or not, as its reachability and its life say.
    fn show(&mut self, hub: HubId, reason: LeaveReason) {
        let Some(here) = self.directory.read().origin_state(&hub) else {
            return;
        };
        let lives = self
            .topology
            .record(hub)
            .is_some_and(|record| record.incarnation == here.incarnation);
        let near = self.topology.is_reachable(hub) || self.holds.holds(&hub);
        let visible = here.complete && lives && near;
        if here.visible != visible {
            self.directory.write().set_visible(&hub, visible, reason);
        }
    }

    /// Tells peers, the waiting room and the losers of ids of what changed. False if nothing did.
    fn pass_changes_on(&mut self, now: Now) -> bool {
        let changes = self.directory.write().take_changes();
        if changes.is_empty() {
            return false;
        }
        for (at, change) in changes.iter().enumerate() {
            self.pass_change_on(now, change, &changes[at..]);
        }
        true
    }

    fn pass_change_on(&mut self, now: Now, change: &KeyChange, rest: &[KeyChange]) {
        {
            let directory = self.directory.read();
            if let Some(output) = self.rosters.on_change(&directory, change, rest) {
                self.outputs.push_back(output);
            }
        }
        if change.appeared {
            let mut exchange = self.exchange.lock();
            exchange.on_appeared(
                now.at,
                &*self.directory.read(),
                &change.network,
                &change.peer,
            );
        }
        for claim in &change.lost {
            if self.directory.read().own_claim(*claim).is_none() {
                continue;
            }
            // One that this hub's own newcomer made was noted when it claimed the id.
            if self.is_held_elsewhere(&change.network, &change.peer) {
                self.contests
                    .note_takeover(now.at, &change.network, &change.peer);
            }
            self.supersede(now, *claim);
        }
    }

    fn is_held_elsewhere(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let holder = self.directory.read().holder(network, peer);
        holder.is_some_and(|(found, _)| found.hub != self.me)
    }

    fn alarm(&mut self, now: Now, label: &'static str, text: impl FnOnce() -> String) {
        let due = self
            .alarms
            .get(label)
            .is_none_or(|last| now.at - *last >= ALARM_EVERY);
        if due {
            self.alarms.insert(label, now.at);
            self.outputs.push_back(Output::Alarm {
                label,
                text: text(),
            });
        }
    }
}

struct OriginAudit {
    incarnation: Incarnation,
    seq: u64,
    hash: u64,
}

impl From<directory::OriginState> for OriginAudit {
    fn from(state: directory::OriginState) -> Self {
        OriginAudit {
            incarnation: state.incarnation,
            seq: state.seq,
            hash: state.hash,
        }
    }
}
