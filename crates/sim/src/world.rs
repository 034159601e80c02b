//! The world: machines, the network between them, clients, and the loop in which time passes.
//!
//! A script calls the acts of operators, clients or fate ([`World::kill`], [`World::join`], [`World::cut`]) and lets
//! time pass with [`World::run_for`]. Each broken promise is kept in [`World::faults`]; nothing panics over it.

mod bans;
mod clients;
mod driver;
mod fate;
mod later;
mod links;
mod looks;
mod rogue;
mod rooms;
mod told;
mod traffic;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::ids::{Boot, ConnNo, Side};
use super::ledger::Ledger;
use super::net::Conns;
use super::queue::{Event, Queue};
use super::sessions::{Session, SessionNo};

use hubmesh_core::frames::{FOLLOWS_SINCE, PULLS_SINCE};
use hubmesh_core::ids::{ClaimNo, HubId, Incarnation, LinkId, Moment, NetworkKey, Now, mix};
use hubmesh_core::mutants::Mutants;
use hubmesh_core::rng::Rng;
use hubmesh_core::{Core, CoreConfig};

pub use super::ids::HostNo;
pub use clients::Newcomer;
pub use rogue::Manners;
use rogue::Rogue;
use traffic::Arriving;
pub use traffic::{Sniffed, Totals};
use watch::Watch;

/// The Unix time at which worlds begin, in milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// The parameters of a world.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The one-way latency between two machines, in microseconds; drawn once per pair.
    pub latency: Range<u64>,
    /// The most by which a message is late, in microseconds.
    pub jitter: u64,
    /// Bytes per second of a pipe; `None` is no limit.
    pub bandwidth: Option<u64>,
    /// Bytes that a pipe accepts before any has arrived.
    pub window: usize,
    /// How long a link that has just written waits for more control messages to write, in microseconds: a busy
    /// hub writes what has gathered meanwhile, one at rest at once.
    pub gather: u64,
    /// The configuration of every core; identity, seed and addresses are set per machine.
    pub core: CoreConfig,
    /// Check the invariants of every instant, after every input.
    pub watch: bool,
    /// The mutants to switch on in every core.
    pub mutants: Mutants,
    /// Print the events.
    pub verbose: bool,
}

impl WorldConfig {
    /// A small world in which everything is checked.
    pub fn checked(seed: u64) -> Self {
        WorldConfig {
            seed,
            latency: 1_000..41_000,
            jitter: 2_000,
            bandwidth: None,
            window: 256 * 1024,
            gather: 0,
            core: CoreConfig::default(),
            watch: true,
            mutants: CoreConfig::default().mutants,
            verbose: false,
        }
    }
}

/// A machine and the hub that runs on it, if one does.
pub struct Host {
    /// The hub's id.
    pub id: HubId,
    /// The address at which it can be dialled.
    pub url: Option<String>,
    /// The machines of its bootstrap hubs.
    pub bootstrap: Vec<HostNo>,
    /// Whether its hub dials advertised addresses.
    pub auto_connect: bool,
    /// The highest version of the link protocol that its hub speaks. One that is below what records are asked for
    /// from on also does as the hubs of that version did; one below what single networks are taken from on knows of no
    /// interest. Changed while a hub runs, it counts at once.
    pub version: u16,
    /// Its hub is of the next version: it sends frames that the others do not know.
    pub later: bool,
    /// Its id is random: it draws another when another hub uses it.
    pub random_id: bool,
    /// The error of its wall clock, in milliseconds.
    pub skew_ms: i64,
    /// The machine is on: it refuses connections while no hub runs on it.
    pub(super) powered: bool,
    pub(super) boots: u32,
    pub(super) running: Option<Running>,
}

/// A hub that runs.
pub(super) struct Running {
    pub(super) boot: u32,
    pub(super) core: Core,
    pub(super) links: BTreeMap<LinkId, (ConnNo, Side)>,
    next_link: u64,
    next_claim: u64,
    timer: Option<u64>,
    pub(super) sessions: BTreeMap<ClaimNo, SessionNo>,
    /// The number of its clients that no session watches.
    pub(super) unwatched: usize,
    told: BTreeMap<NetworkKey, BTreeSet<ClaimNo>>,
}

/// A mesh in virtual time.
pub struct World {
    /// Its parameters.
    pub config: WorldConfig,
    pub(super) now: u64,
    queue: Queue,
    pub(super) rng: Rng,
    pub(super) hosts: Vec<Host>,
    by_url: BTreeMap<String, HostNo>,
    pub(super) conns: Conns,
    blocked: BTreeSet<(HostNo, HostNo)>,
    pub(super) sessions: Vec<Session>,
    pub(super) ledger: Ledger,
    watch: Watch,
    faults: Vec<String>,
    alarms: BTreeMap<&'static str, u64>,
    trace: u64,
    /// When a link last opened or closed, or a script last did something.
    disturbed_at: u64,
    totals: Totals,
    sniffed: Option<Sniffed>,
    arriving: Vec<Arriving>,
    /// The incarnation of each boot as of its last input.
    lives_told: BTreeMap<Boot, Incarnation>,
    spins: (u64, u32),
    /// Machines of rogues.
    rogues: BTreeMap<HostNo, Rogue>,
    promised: rooms::Promises,
    held_rooms: rooms::Held,
    ended_rooms: BTreeMap<NetworkKey, u64>,
    /// When two machines last parted because one of them was full.
    full_at: BTreeMap<[HostNo; 2], u64>,
    looks_ended: looks::LooksEnded,
    later: later::Messages,
}

impl World {
    /// An empty world.
    pub fn new(config: WorldConfig) -> Self {
        World {
            rng: Rng::new(mix(config.seed ^ 0x51d)),
            config,
            now: 1_000_000,
            queue: Queue::default(),
            hosts: Vec::new(),
            by_url: BTreeMap::new(),
            conns: Conns::default(),
            blocked: BTreeSet::new(),
            sessions: Vec::new(),
            ledger: Ledger::default(),
            watch: Watch::default(),
            faults: Vec::new(),
            alarms: BTreeMap::new(),
            trace: 0,
            disturbed_at: 0,
            totals: Totals::default(),
            sniffed: None,
            arriving: Vec::new(),
            lives_told: BTreeMap::new(),
            spins: (0, 0),
            rogues: BTreeMap::new(),
            promised: rooms::Promises::new(),
            held_rooms: rooms::Held::new(),
            ended_rooms: BTreeMap::new(),
            full_at: BTreeMap::new(),
            looks_ended: looks::LooksEnded::new(),
            later: later::Messages::default(),
        }
    }

    /// A world of `hubs` machines with addresses, each told to dial the first, all of them booted.
    pub fn mesh(config: WorldConfig, hubs: usize) -> Self {
        let mut world = World::new(config);
        for no in 0..hubs {
            let bootstrap = if no == 0 { Vec::new() } else { vec![0] };
            world.add_host(true, bootstrap);
        }
        for no in 0..hubs {
            world.boot(no);
        }
        world
    }

    /// A world of machines that are linked only by these `edges`.
    pub fn wired(config: WorldConfig, hubs: usize, edges: &[(HostNo, HostNo)]) -> Self {
        let mut world = World::new(config);
        for no in 0..hubs {
            let to = edges
                .iter()
                .filter(|(from, _)| *from == no)
                .map(|(_, to)| *to);
            world.add_host(true, to.collect());
            world.hosts[no].auto_connect = false;
        }
        for no in 0..hubs {
            world.boot(no);
        }
        world
    }

    /// A new machine, switched on, without a hub yet.
    pub fn add_host(&mut self, dialable: bool, bootstrap: Vec<HostNo>) -> HostNo {
        let no = self.hosts.len();
        let id = self.draw_id();
        let url = dialable.then(|| format!("ws://host-{no}.example/mesh"));
        if let Some(url) = &url {
            self.by_url.insert(url.clone(), no);
        }
        self.hosts.push(Host {
            id,
            url,
            bootstrap,
            auto_connect: true,
            version: FOLLOWS_SINCE,
            later: false,
            random_id: false,
            skew_ms: 0,
            powered: true,
            boots: 0,
            running: None,
        });
        no
    }

    fn draw_id(&mut self) -> HubId {
        let mut id = [0; 20];
        for chunk in id.chunks_mut(8) {
            let bytes = self.rng.next_u64().to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        HubId(id)
    }

    /// The machine.
    pub fn host(&mut self, no: HostNo) -> &mut Host {
        &mut self.hosts[no]
    }

    /// How many machines there are.
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// Virtual time, in microseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The broken promises so far.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// How often each alarm was raised.
    pub fn alarms(&self) -> &BTreeMap<&'static str, u64> {
        &self.alarms
    }

    /// A hash of all events.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// The core of a machine's hub.
    pub fn core(&self, no: HostNo) -> Option<&Core> {
        self.hosts[no].running.as_ref().map(|running| &running.core)
    }

    /// Whether a hub runs there.
    pub fn is_up(&self, no: HostNo) -> bool {
        self.hosts[no].running.is_some()
    }

    /// The session.
    pub fn session(&self, no: SessionNo) -> &Session {
        &self.sessions[no]
    }

    /// The time since the last act of a script and since a link last opened or closed.
    pub fn quiet_for(&self) -> Duration {
        Duration::from_micros(self.now - self.disturbed_at)
    }

    pub(super) fn fault(&mut self, text: String) {
        self.log(|| format!("FAULT {text}"));
        if self.faults.len() < 20 {
            self.faults
                .push(format!("t={:.6}s {text}", self.now as f64 / 1e6));
        }
    }

    fn note(&mut self, result: Result<(), String>) {
        if let Err(text) = result {
            self.fault(text);
        }
    }

    fn disturb(&mut self) {
        self.disturbed_at = self.now;
    }

    /// Notes a line for the person who repeats a history.
    pub(super) fn log(&self, text: impl FnOnce() -> String) {
        if self.config.verbose {
            println!("{:>12.6}s {}", self.now as f64 / 1e6, text());
        }
    }

    fn mark(&mut self, what: u64) {
        self.trace = mix(self.trace ^ mix(what ^ self.now.rotate_left(20)));
    }

    /// The readings of a machine's clocks.
    pub(super) fn clocks(&self, no: HostNo) -> Now {
        let wall = (EPOCH_MS + self.now / 1000) as i64 + self.hosts[no].skew_ms;
        Now {
            at: Moment(self.now),
            wall_ms: wall.max(0) as u64,
        }
    }

    /// Starts a hub; a running one is left alone.
    pub fn boot(&mut self, no: HostNo) {
        if self.hosts[no].running.is_some() {
            return;
        }
        self.disturb();
        self.mark(1 << 56 | no as u64);
        let (nonce, seed) = (self.rng.next_u64(), self.rng.next_u64());
        let counter = self.config.mutants.incarnation_is_a_counter();
        let incarnation = Incarnation {
            epoch: 0,
            nonce: if counter { 0 } else { nonce },
        };
        let config = self.core_config(no, incarnation, seed);
        let now = self.clocks(no);
        let host = &mut self.hosts[no];
        host.powered = true;
        host.boots += 1;
        host.running = Some(Running {
            boot: host.boots,
            core: Core::new(config, now),
            links: BTreeMap::new(),
            next_link: 0,
            next_claim: 0,
            timer: None,
            sessions: BTreeMap::new(),
            unwatched: 0,
            told: BTreeMap::new(),
        });
        self.log(|| {
            format!(
                "host {no} boots as {:?} living {incarnation:?}",
                self.hosts[no].id
            )
        });
        self.settle(no);
    }

    fn core_config(&self, no: HostNo, incarnation: Incarnation, seed: u64) -> CoreConfig {
        let host = &self.hosts[no];
        let mut config = CoreConfig {
            me: host.id,
            random_id: host.random_id,
            incarnation,
            seed,
            bootstrap: host
                .bootstrap
                .iter()
                .filter_map(|to| self.hosts[*to].url.clone())
                .collect(),
            mutants: self.config.mutants,
            later: host.later,
            ..self.config.core.clone()
        };
        config.topology.urls = host.url.iter().cloned().collect();
        config.dial.auto_connect = host.auto_connect;
        config.dial.can_be_dialled = host.url.is_some();
        config.interest.known = host.version >= FOLLOWS_SINCE;
        if host.version < PULLS_SINCE {
            do_as_before(&mut config);
        }
        if self.is_rogue(no) {
            // What others make of its lies does not drive it away.
            config.topology.max_bumps = usize::MAX;
        }
        config
    }

    pub(super) fn boot_of(&self, no: HostNo) -> Option<Boot> {
        self.hosts[no].running.as_ref().map(|running| Boot {
            host: no,
            boot: running.boot,
        })
    }

    pub(super) fn is(&self, boot: Boot) -> bool {
        self.boot_of(boot.host) == Some(boot)
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now + u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.run_until(until);
    }

    pub(super) fn run_until(&mut self, until: u64) {
        while let Some((at, event)) = self.queue.pop_until(until) {
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    /// Lets time pass until `done`, checked every `step`; false if `limit` passed first.
    pub fn run_until_true(
        &mut self,
        step: Duration,
        limit: Duration,
        mut done: impl FnMut(&mut World) -> bool,
    ) -> bool {
        let mut passed = Duration::ZERO;
        while passed < limit {
            if done(self) {
                return true;
            }
            self.run_for(step);
            passed += step;
        }
        done(self)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer(boot) => self.on_timer(boot),
            Event::Arrive { conn, from } => self.on_arrival(conn, from),
            Event::Lost { conn, side } => self.on_lost(conn, side),
            Event::Dialed { by, dial, target } => self.on_dialed(by, dial, &target),
            Event::HandshakeDone { conn, dial } => self.on_handshake_done(conn, dial),
            Event::DialFailed { by, dial } => self.on_dial_failed(by, dial),
            Event::Probed {
                host,
                claim,
                token,
                alive,
            } => self.on_probed(host, claim, token, alive),
            Event::Garbage { conn, from, bytes } => self.on_garbage(conn, from, &bytes),
            Event::Gathered { conn, side } => self.on_gathered(conn, side),
        }
    }
}

/// What hubs of protocol 1 did otherwise, beside speaking it: each change of a link was said at once, newcomers were
/// let in, and each hub tried each that was out of reach.
fn do_as_before(config: &mut CoreConfig) {
    config.topology.pacing_most = config.topology.pacing;
    config.topology.settle = Duration::ZERO;
    config.topology.settle_most = Duration::ZERO;
    config.dial.introduce = 0;
    config.dial.share_retries_past = usize::MAX;
    config.dial.retry_spacing = Duration::ZERO;
}
