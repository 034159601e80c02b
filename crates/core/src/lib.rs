//! The control plane, without IO: no sockets, no clock, no tokio, no randomness of its own.
//!
//! # Contract
//!
//! [`Core`] has one owner. It hands in what happened (`handle_*`, `join`, `update`, `leave`) with the present
//! time, which never goes back, and then drains [`Core::poll_output`] until it is empty. When
//! [`Core::poll_timeout`] has passed it calls [`Core::handle_timeout`]. Bytes for a link are *pulled* by
//! [`Core::poll_transmit`] when its socket has space; a slow link costs only a cursor. The same inputs at the same
//! times give the same outputs, to the byte.
//!
//! Two parts are shared with the data path: the [`Directory`] behind a read-write lock that only the core writes, and
//! the [`Exchange`] (signal windows) behind a mutex. Every call of the exchange, also by the core, leaves effects in it
//! that its caller must drain. Lock order: first the exchange, then the directory. The core holds neither when it
//! returns.
//!
//! # The parts
//!
//! [`Core`] is made of three parts that own the rest: `linkage` (the sockets), `routing` (the mesh beyond them) and
//! `presence` (this hub's peers). `links` chooses *the* link to a neighbour; `topology` learns the graph and the
//! routes; `dial` chooses the hubs to dial; `subscriptions` and `subscribers` transfer the [`directory`]; `interest`
//! and `narrowing` choose which part of it this hub needs; `contest` decides which claim holds an id; `rosters` decides
//! which peers are told, `rooms` keeps the rules of rooms, and `bans` those of bans; [`exchange`] carries signals. Each
//! is a state machine of its own that knows none of the others: only this module passes events between them.
//!
//! # The interface
//!
//! The public modules: the vocabulary ([`ids`], [`api`], [`reach`]), [`Core`] with its configuration, the two parts
//! that the data path shares ([`directory`], [`exchange`]), and the messages between hubs ([`frames`] as values,
//! [`wire`] as bytes). [`rng`] and [`mutants`] are for tests that drive a core.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod api;
mod bans;
mod clock;
mod closing_links;
mod contest;
mod counters;
mod dial;
pub mod directory;
mod dispatch;
pub mod exchange;
pub mod frames;
mod guarding;
mod guards;
mod hold_down;
pub mod ids;
mod interest;
mod kept;
mod later;
mod link_io;
mod linkage;
mod links;
mod local_peers;
pub mod mutants;
mod narrowing;
pub mod policy;
mod presence;
pub mod reach;
pub mod rng;
pub mod rooms;
mod rosters;
mod routing;
mod subscribers;
mod subscriptions;
#[cfg(test)]
mod tests;
mod topology;
pub mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use api::{Bye, Output, SharedRoutes};
use bans::Bans;
use contest::Contests;
use directory::{ClaimQuota, Directory};
use exchange::{Exchange, ExchangeConfig};
use guards::Guards;
use hold_down::{HoldDown, HoldDue};
use ids::{HubId, Incarnation, LeaveReason, LinkId, Moment, Now, stable_hash};
use interest::Interest;
use linkage::Linkage;
use mutants::Mutants;
use policy::Policies;
use presence::Presence;
use rooms::FollowedRooms;
use rosters::Rosters;
use routing::Routing;
use subscribers::Subscribers;
use subscriptions::Subscriptions;
use topology::Topology;

use crate::frames::{ControlFrame, Set, WIRE_LEVEL};

pub use bans::BansConfig;
pub use contest::ContestConfig;
pub use counters::{Counters, SentFrames};
pub use dial::{BootstrapStatus, DialConfig};
pub use interest::InterestConfig;
pub use kept::Kept;
pub use links::LinkConfig;
pub use rooms::RoomsConfig;
pub use topology::TopologyConfig;

/// A round of housekeeping checks one in this many of the origins.
const AUDIT_SHARES: u64 = 16;
/// The pause between two refills: each tells a few peers, whose neighbourhood has nearly all left, of more peers.
const REFILL_PAUSE: Duration = Duration::from_millis(10);
/// How long an origin's hidden claims are kept for its return.
const DROP_AFTER: Duration = Duration::from_secs(60);
/// How long a hub first stays out of the mesh when another hub uses its id; then twice as long each time.
const ABSENCE: Duration = Duration::from_secs(120);
/// The longest absence.
const MAX_ABSENCE: Duration = Duration::from_secs(30 * 60);
/// The least time between two ids that a hub draws: until then it stays away.
const RENAMED_EVERY: Duration = Duration::from_secs(60);
/// The least time between two alarms of one kind.
const ALARM_EVERY: Duration = Duration::from_secs(60);

/// The configuration of a core.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This hub.
    pub me: HubId,
    /// The id was drawn at random: if another hub with it makes this hub leave the mesh, the hub draws another.
    pub random_id: bool,
    /// Its incarnation: a random nonce per boot.
    pub incarnation: Incarnation,
    /// The seed of all random choices.
    pub seed: u64,
    /// Addresses that are dialled for ever.
    pub bootstrap: Vec<String>,
    /// How long an unreachable hub's peers stay visible.
    pub hold: Duration,
    /// How often old retractions are forgotten, a sixteenth of the origins is audited, and peers of networks that have
    /// become small are told of all members.
    pub housekeeping: Duration,
    /// In networks of at least this size a peer is told only of a neighbourhood. 0: never.
    pub discovery_limit: usize,
    /// The policies for the networks of each dialect.
    pub policies: Policies,
    /// When this hub subscribes to single networks of other hubs.
    pub interest: InterestConfig,
    /// The limits for the claims of other hubs.
    pub quota: ClaimQuota,
    /// The bounds on rooms. The bounds on the bytes of their records follow from `quota`, which all hubs have in
    /// common.
    pub rooms: RoomsConfig,
    /// The bounds on bans.
    pub bans: BansConfig,
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
    /// In simulations: this hub behaves like one of the next version.
    pub later: bool,
    /// Known bugs, for tests of the tests.
    pub mutants: Mutants,
}

impl Default for CoreConfig {
    fn default() -> Self {
        CoreConfig {
            me: HubId([0; 20]),
            random_id: false,
            incarnation: Incarnation { epoch: 0, nonce: 0 },
            seed: 0,
            bootstrap: Vec::new(),
            hold: Duration::from_secs(2),
            housekeeping: Duration::from_secs(30),
            discovery_limit: 1_000,
            policies: Policies::default(),
            interest: InterestConfig::default(),
            quota: ClaimQuota::default(),
            rooms: RoomsConfig::default(),
            bans: BansConfig::default(),
            contest: ContestConfig::default(),
            links: LinkConfig::default(),
            topology: TopologyConfig::default(),
            dial: DialConfig::default(),
            exchange: ExchangeConfig::default(),
            later: false,
            mutants: Mutants::NONE,
        }
    }
}

/// One hub's control plane.
pub struct Core {
    me: HubId,
    incarnation: Incarnation,
    hold: Duration,
    housekeeping: Duration,
    probe_within: Duration,
    directory: Arc<RwLock<Directory>>,
    exchange: Arc<Mutex<Exchange>>,
    linkage: Linkage,
    routing: Routing,
    presence: Presence,
    next_audit: Moment,
    audits: u64,
    alarms: BTreeMap<&'static str, Moment>,
    draining: bool,
    left: bool,
    /// When it comes back, and how often it has left.
    back: Option<Moment>,
    absences: u32,
    random_id: bool,
    /// When it last drew another id.
    renamed: Option<Moment>,
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
        config.topology.knows_interest = config.interest.known;
        config.dial.mutants = mutants;
        config.exchange.mutants = mutants;
        config.exchange.policies = config.policies;
        config.links.mutants = mutants;
        if config.later {
            config.topology.level = WIRE_LEVEL + 1;
            config.exchange.level = WIRE_LEVEL + 1;
        }
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
        let directory = Directory::new(me, incarnation, seed, large, mutants);
        let directory = Arc::new(RwLock::new(directory));
        let probe_within = config.contest.probe_within;
        let routing = Routing {
            me,
            directory: Arc::clone(&directory),
            topology: Topology::new(me, incarnation, config.topology),
            hold_down: HoldDown::default(),
            routed: SharedRoutes::default(),
            subscriptions: Subscriptions::new(
                config
                    .quota
                    .bytes
                    .saturating_mul(ClaimQuota::ALL_HUBS_FACTOR),
                mutants,
            ),
            subscribers: Subscribers::new(mutants),
            interest: Interest::new(config.interest),
            guards: Guards::new(config.rooms.most, mutants),
            mutants,
        };
        let mut core = Core {
            me,
            incarnation,
            hold: config.hold,
            housekeeping: config.housekeeping,
            probe_within,
            directory,
            exchange: Arc::new(Mutex::new(Exchange::new(me, incarnation, config.exchange))),
            linkage: Linkage::new(me, seed, config.links, config.dial),
            routing,
            presence: Presence::new(
                Contests::new(me, config.contest),
                Rosters::new(config.discovery_limit),
                FollowedRooms::new(config.rooms, config.quota.bytes),
                Bans::new(config.bans),
                config.policies,
            ),
            next_audit: now.at + config.housekeeping,
            audits: 0,
            alarms: BTreeMap::new(),
            draining: false,
            left: false,
            back: None,
            absences: 0,
            random_id: config.random_id,
            renamed: None,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            mutants,
        };
        core.directory.write().set_quota(config.quota);
        core.linkage.links.set_incarnation(incarnation);
        core.set_bootstrap(now, config.bootstrap);
        core
    }

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
        &self.routing.topology
    }

    /// The links.
    pub fn links(&self) -> &links::Links {
        &self.linkage.links
    }

    /// The dialler.
    pub fn dialer(&self) -> &dial::Dialer {
        &self.linkage.dialer
    }

    /// The id of this hub.
    pub fn id(&self) -> HubId {
        self.me
    }

    /// The incarnation of this hub; part of every handshake.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether another machine with this hub's id made it leave.
    pub fn has_left(&self) -> bool {
        self.left
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        let tally = self.routing.topology.tally();
        Counters {
            records_fresh: tally.fresh,
            records_own: tally.originated,
            spf_runs: tally.spf_runs,
            differed: tally.differed,
            ..self.counters
        }
    }

    /// The ids for which joins wait for a verdict, in the order of their networks.
    pub fn contested_ids(&self) -> impl Iterator<Item = api::WantedId<'_>> {
        self.presence.contests.contested()
    }

    /// Joins that wait for a verdict.
    pub fn contested(&self) -> usize {
        self.presence.contests.pending()
    }

    /// The link on which a hub's claims arrive.
    pub fn parent(&self, origin: &HubId) -> Option<LinkId> {
        self.routing.subscriptions.parent(origin)
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.back.is_some_and(|back| back <= now.at) {
            self.come_back(now);
        }
        self.linkage.links.handle_timeout(now.at);
        self.routing.topology.handle_timeout(now.at);
        self.linkage.dialer.handle_timeout(now.at);
        self.shed_link(now);
        while let Some(link) = self.linkage.closing_links.due(now.at) {
            self.finish_closing(link);
        }
        self.presence
            .contests
            .handle_timeout(now.at, &self.directory.read());
        for due in self.routing.hold_down.take_due(now.at) {
            match due {
                HoldDue::Hide(hub) => self.routing.show(hub, LeaveReason::HubLost),
                HoldDue::Drop(hub) => {
                    self.routing.forget_sets(hub);
                    self.rest_if_whole(now);
                }
            }
        }
        self.handle_interest_timeout(now);
        self.end_idle_rooms(now);
        self.take_lost_rooms_over(now);
        self.review_unsure_rooms(now);
        self.handle_bans_timeout(now);
        if self.next_audit <= now.at {
            self.next_audit = now.at + self.housekeeping;
            self.housekeep(now);
        }
        self.exchange
            .lock()
            .handle_timeout(now.at, &*self.directory.read());
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called next. It includes the exchange's present
    /// deadlines; a caller that gives the exchange an earlier one has to consider that itself.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let parts = [
            self.linkage.poll_timeout(),
            self.routing.poll_timeout(),
            self.presence.poll_timeout(),
            self.exchange.lock().poll_timeout(),
            Some(self.next_audit),
            self.back,
        ];
        parts.into_iter().flatten().min()
    }

    /// Closes a link that is not needed, if there are more than wanted.
    fn shed_link(&mut self, now: Now) {
        let Linkage { links, dialer, .. } = &mut self.linkage;
        let Some(hub) = dialer.poll_drop(now.at) else {
            return;
        };
        if let Some(link) = links.link_to(hub)
            && self
                .routing
                .topology
                .may_close(hub, dialer.lets_nobody_in())
        {
            links.close_link(now.at, link, Bye::Full);
        }
    }

    fn housekeep(&mut self, now: Now) {
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
            for link in self.routing.subscribers.children(&Set::all(origin)) {
                let OriginAudit {
                    incarnation,
                    seq,
                    hash,
                } = here.into();
                let audit = ControlFrame::Audit {
                    origin,
                    incarnation,
                    seq,
                    hash,
                };
                self.linkage.say(link, audit);
            }
        }
        drop(directory);
        self.routing.keep_interest(now);
        // A peer that is told of a network that became small must get the notices of earlier changes first.
        self.pass_changes_on(now);
        let mut directory = self.directory.write();
        directory.prune(now.at);
        self.outputs
            .extend(self.presence.rosters.shrink(&directory));
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
