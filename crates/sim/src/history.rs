//! Random histories: acts of operators, clients and fate, drawn by weight, then peace, then the checks.

mod people;

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::checks;
use super::sessions::{SessionNo, Status};
use super::world::{HostNo, Newcomer, World, WorldConfig};
use hubmesh_core::CoreConfig;
use hubmesh_core::DialConfig;
use hubmesh_core::frames::{FOLLOWS_SINCE, PULLS_SINCE};
use hubmesh_core::ids::{PeerId, mix};
use hubmesh_core::mutants::Mutants;
use hubmesh_core::rng::Rng;

use people::{in_a_room, person};

/// The longest time, once a mesh is left in peace, until every wanted link is open and all checks hold.
const PEACE: Duration = Duration::from_secs(75);
/// When there was no news of links for this long, everything but missing links must be in order: the hold, the pacing
/// and the longest way there and back thrice, and what detecting a dead link takes.
const SETTLED: Duration = Duration::from_millis(3_500);

/// How long a room without a member stays.
const ROOM_IDLE: Duration = Duration::from_secs(8);

/// The result of a history.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed, to repeat it.
    pub seed: u64,
    /// The broken invariants, in order.
    pub faults: Vec<String>,
    /// A hash of all events.
    pub trace: u64,
    /// The time until there was peace, in microseconds.
    pub settled_after: u64,
    /// How many signals were sent, and how many arrived.
    pub signals: (usize, usize),
}

/// The parameters of a history.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The mutants to switch on in every core.
    pub mutants: Mutants,
    /// Print the events.
    pub verbose: bool,
    /// The number of hubs. If there is none, the seed decides: 3 to 27.
    pub hubs: Option<RangeInclusive<usize>>,
    /// The mesh is narrow, always or above a number of hubs that the seed decides.
    pub interest: bool,
    /// Some hubs may be of a version after this one, if the seed says so.
    pub later: bool,
}

/// Runs the history of this seed.
pub fn play(seed: u64, mutants: Mutants) -> Outcome {
    play_as(&Plan {
        seed,
        mutants,
        verbose: false,
        hubs: None,
        interest: false,
        later: true,
    })
}

/// Runs the history of this seed in a narrow mesh.
pub fn play_with_interest(seed: u64, mutants: Mutants) -> Outcome {
    play_as(&Plan {
        seed,
        mutants,
        verbose: false,
        hubs: None,
        interest: true,
        later: true,
    })
}

/// Runs a history.
pub fn play_as(plan: &Plan) -> Outcome {
    let mut history = History::new(plan);
    history.disturb();
    let settled_after = history.make_peace();
    outcome(plan.seed, &history.world, settled_after)
}

/// The result of the history in this world.
pub(super) fn outcome(seed: u64, world: &World, settled_after: u64) -> Outcome {
    let sent = &world.ledger.signals;
    Outcome {
        seed,
        faults: world.faults().to_vec(),
        trace: world.trace(),
        settled_after,
        signals: (
            sent.len(),
            sent.iter()
                .filter(|signal| signal.delivered.is_some())
                .count(),
        ),
    }
}

/// The kind of mesh of a history, drawn separately from its events.
struct Kind {
    hubs: Option<usize>,
    /// So few hubs behave as in a large mesh: few links each, newcomers are sent on, retries are shared.
    tight: bool,
    /// Some hubs use an earlier version, until a restart changes that.
    mixed: bool,
    /// Some of the networks are rooms.
    rooms: bool,
    /// The mesh is narrow above this number of hubs.
    full_hubs: Option<usize>,
    /// Some hubs are of the next version: the seed of their acts.
    later: Option<u64>,
}

impl Kind {
    fn draw(plan: &Plan) -> Self {
        let mut rng = Rng::new(mix(plan.seed ^ 0x6b69_6e64));
        let many = (rng.below(48) == 0).then_some(10..=27);
        let range = plan.hubs.clone().or(many);
        let hubs = range.map(|range| {
            let span = range.end() - range.start() + 1;
            range.start() + rng.below(span as u64) as usize
        });
        Kind {
            hubs,
            tight: rng.below(2) == 0,
            mixed: rng.below(3) == 0,
            full_hubs: plan.interest.then(|| match rng.below(2) {
                0 => 1,
                _ => 2 + rng.below(6) as usize,
            }),
            later: (rng.below(3) == 0 && plan.later).then(|| rng.next_u64()),
            // Behind all that was drawn before there were rooms.
            rooms: rng.below(2) == 0,
        }
    }

    fn core(&self) -> CoreConfig {
        let mut core = CoreConfig::default();
        if self.tight {
            core.dial.full_mesh_up_to = 3;
            core.dial.degree = 2;
            core.dial.nat_links = 2;
            core.dial.accept_up_to = 3;
            core.dial.accept_never_past = 9;
            core.dial.introduce = 2;
            core.dial.share_retries_past = 4;
        }
        core.rooms.idle = ROOM_IDLE;
        if let Some(full_hubs) = self.full_hubs {
            core.interest.full_hubs = full_hubs;
            core.interest.calm = Duration::from_secs(1);
            // What a mesh at rest is waited for is longer.
            core.interest.linger = Duration::from_secs(2);
        }
        core
    }
}

struct History {
    world: World,
    people: Vec<Newcomer>,
    /// The sessions of each of them that may still be open.
    open: Vec<Vec<SessionNo>>,
    mixed: bool,
    interest: bool,
    /// What later hubs say comes from a chance of its own, so that all else is as it would be without them.
    later: Option<Rng>,
}

impl History {
    fn new(plan: &Plan) -> Self {
        let kind = Kind::draw(plan);
        let mut world = World::new(WorldConfig {
            mutants: plan.mutants,
            verbose: plan.verbose,
            core: kind.core(),
            ..WorldConfig::checked(mix(plan.seed))
        });
        world.start_sniffing();
        let few = 3 + world.rng.below(7) as usize;
        let hubs = kind.hubs.unwrap_or(few);
        let auto_connect = world.rng.below(3) > 0;
        if !auto_connect {
            // They have nowhere to go but to those that they were told of.
            world.config.core.dial.accept_never_past = DialConfig::default().accept_never_past;
        }
        for no in 0..hubs {
            let mut bootstrap: Vec<HostNo> = Vec::new();
            for _ in 0..no.min(1 + world.rng.below(2) as usize) {
                bootstrap.push(world.rng.below(no as u64) as usize);
            }
            bootstrap.dedup();
            // The first hubs can be dialled, so that the others have somewhere to go.
            let dialable = no < 2 || world.rng.below(5) > 0;
            bootstrap.retain(|to| world.host(*to).url.is_some());
            if bootstrap.is_empty() && no > 0 {
                bootstrap.push(0);
            }
            world.add_host(dialable, bootstrap);
            world.host(no).auto_connect = auto_connect;
            if kind.mixed && world.rng.below(2) == 0 {
                world.host(no).version = earlier(plan, &mut world.rng);
            }
            world.host(no).later = kind
                .later
                .is_some_and(|seed| mix(seed ^ no as u64).is_multiple_of(2));
        }
        let people: Vec<Newcomer> = (0..2 + 2 * hubs)
            .map(|no| match person(no, plan.interest, &mut world) {
                who if kind.rooms && no % 3 == 2 => in_a_room(no, who),
                who => who,
            })
            .collect();
        let open = vec![Vec::new(); people.len()];
        for no in 0..hubs {
            world.boot(no);
            if world.rng.below(2) == 0 {
                let pause = world.rng.below(400_000);
                world.run_for(Duration::from_micros(pause));
            }
        }
        History {
            world,
            people,
            open,
            mixed: kind.mixed,
            interest: plan.interest,
            later: kind.later.map(Rng::new),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.world.rng.below(n as u64) as usize
    }

    fn host(&mut self) -> HostNo {
        let count = self.world.host_count();
        self.below(count)
    }

    fn two_hosts(&mut self) -> (HostNo, HostNo) {
        let count = self.world.host_count();
        let a = self.host();
        (a, (a + 1 + self.below(count - 1)) % count)
    }

    fn disturb(&mut self) {
        let steps = 15 + self.below(40);
        for _ in 0..steps {
            if !self.world.faults().is_empty() {
                return;
            }
            self.step();
            self.say_what_is_later();
            let pause = match self.below(6) {
                0 => 0,
                1 => self.below(2_000),
                2 | 3 => self.below(150_000),
                4 => self.below(1_500_000),
                _ => self.below(5_000_000),
            };
            self.world.run_for(Duration::from_micros(pause as u64));
        }
    }

    /// A later hub sends a message or says something of an item, or none does.
    fn say_what_is_later(&mut self) {
        let Some(rng) = &mut self.later else { return };
        let count = self.world.host_count() as u64;
        let (no, to) = (rng.below(count) as usize, rng.below(count) as usize);
        let (what, item) = (rng.below(8), rng.below(4));
        let length = rng.below(64) as usize;
        if !self.world.is_up(no) || !self.world.is_later(no) {
            return;
        }
        if what < 3 {
            if to != no {
                self.world.send_later(no, to, what == 0);
            }
            return;
        }
        let Some(core) = self.world.core(no) else {
            return;
        };
        let networks = core.directory().read().own_networks();
        if let Some(network) = networks.get(length % networks.len().max(1)) {
            let body = (what > 3).then(|| Bytes::from(vec![item as u8; length]));
            self.world.say_item(no, network, item, body);
        }
    }

    fn step(&mut self) {
        match self.below(100) {
            0..=29 => self.join(),
            30..=39 => self.leave(),
            40..=44 => self.update(),
            45..=64 => self.signal(),
            65..=68 => self.crash(),
            69..=74 => self.boot_again(),
            75..=79 => self.restart(),
            80..=85 => self.cut(),
            86..=90 => self.block(),
            91..=93 => self.unblock(),
            94..=95 => self.split(),
            96 => self.flap(),
            97 => self.world.heal(),
            98 => self.jump_clock(),
            _ => self.stop(),
        }
    }

    fn join(&mut self) {
        let person = self.below(self.people.len());
        let no = self.host();
        if !self.world.is_up(no) {
            return;
        }
        // Some leave their old connection behind first, some are cut off, some never close it.
        let old = self.open[person].last().copied();
        match (self.below(3), old) {
            (0, Some(old)) => self.world.leave(old),
            (1, Some(old)) => self.world.go_silent(old),
            _ => {}
        }
        let mut who = self.people[person].clone();
        if self.below(8) == 0 {
            who.proof = Bytes::from_static(b"somebody else");
        }
        let session = self.world.join(no, &who);
        self.open[person].push(session);
    }

    fn session(&mut self) -> Option<SessionNo> {
        let all = self.open.iter().flatten().copied();
        let live: Vec<SessionNo> = all
            .filter(|session| self.world.hub_of(*session).is_some())
            .collect();
        (!live.is_empty()).then(|| live[self.below(live.len())])
    }

    fn leave(&mut self) {
        if let Some(session) = self.session() {
            self.world.leave(session);
        }
    }

    fn update(&mut self) {
        if let Some(session) = self.session() {
            let number = self.below(1000);
            let data = (number > 100).then(|| Bytes::from(format!("{{\"n\":{number}}}")));
            self.world.update(session, data);
        }
    }

    fn signal(&mut self) {
        let Some(from) = self.session() else { return };
        let network = self.world.session(from).network.clone();
        let mates: Vec<PeerId> = self
            .people
            .iter()
            .filter(|who| who.network == network)
            .map(|who| who.peer.clone())
            .collect();
        for _ in 0..1 + self.below(6) {
            let (target, wait) = (mates[self.below(mates.len())].clone(), self.below(2) == 0);
            self.world.signal(from, &target, wait);
        }
    }

    fn crash(&mut self) {
        let no = self.host();
        if self.below(2) == 0 {
            self.world.kill(no);
        } else if self.world.is_up(no) {
            self.world.power_off(no);
        }
    }

    fn boot_again(&mut self) {
        let count = self.world.host_count();
        let first = self.host();
        let down = (0..count)
            .map(|step| (first + step) % count)
            .find(|no| !self.world.is_up(*no));
        if let Some(no) = down {
            self.skew(no);
            self.install(no);
            self.world.boot(no);
        }
    }

    fn restart(&mut self) {
        let no = self.host();
        for _ in 0..1 + self.below(2) {
            self.skew(no);
            self.world.kill(no);
            self.install(no);
            let skew = self.world.host(no).skew_ms;
            self.world.restart(no, skew);
            let pause = self.below(120_000) as u64;
            self.world.run_for(Duration::from_micros(pause));
        }
    }

    fn skew(&mut self, no: HostNo) {
        let skew = match self.below(4) {
            0 => -3_600_000,
            1 => 3_600_000,
            2 => self.below(20_000) as i64 - 10_000,
            _ => 0,
        };
        self.world.host(no).skew_ms = skew;
    }

    /// A hub that is down comes back in this version or an earlier one.
    fn install(&mut self, no: HostNo) {
        if self.mixed {
            let version = match (self.below(2), self.interest) {
                (0, _) => FOLLOWS_SINCE,
                (_, false) => PULLS_SINCE - 1,
                // A mesh with a hub that knows of no interest takes everything; histories should often leave that
                // state.
                (_, true) => {
                    [FOLLOWS_SINCE, FOLLOWS_SINCE, PULLS_SINCE, PULLS_SINCE - 1][self.below(4)]
                }
            };
            self.world.host(no).version = version;
        }
    }

    fn jump_clock(&mut self) {
        let no = self.host();
        self.skew(no);
    }

    fn cut(&mut self) {
        let (a, b) = self.two_hosts();
        if self.below(3) == 0 {
            self.world.cut_unnoticed(a, b);
        } else {
            self.world.cut(a, b);
        }
    }

    fn block(&mut self) {
        let (a, b) = self.two_hosts();
        self.world.block(a, b);
        if self.below(2) == 0 {
            self.world.block(b, a);
        }
    }

    fn unblock(&mut self) {
        let (a, b) = self.two_hosts();
        self.world.unblock(a, b);
        self.world.unblock(b, a);
    }

    fn split(&mut self) {
        let count = self.world.host_count();
        let parts = 2 + self.below(2);
        let mut groups = vec![Vec::new(); parts];
        for no in 0..count {
            groups[self.below(parts)].push(no);
        }
        let groups: Vec<&[HostNo]> = groups.iter().map(Vec::as_slice).collect();
        self.world.partition(&groups);
    }

    /// A link comes and goes about twice per pacing.
    fn flap(&mut self) {
        let (a, b) = self.two_hosts();
        for _ in 0..6 {
            self.world.cut(a, b);
            self.world.run_for(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        let no = self.host();
        self.world.stop(no);
    }

    /// Heals everything, boots most of what is down, and waits until the checks hold. How long that took.
    fn make_peace(&mut self) -> u64 {
        self.world.log(|| "peace".to_owned());
        self.world.heal();
        for no in 0..self.world.host_count() {
            // Some crashes are for good; the first hub is what the others find each other by.
            if no == 0 || self.below(4) > 0 {
                self.world.boot(no);
            }
        }
        Peace::new(&mut self.world).make()
    }
}

/// What is waited for once nothing comes from outside any more.
pub(super) struct Peace<'a> {
    world: &'a mut World,
    /// The first signals of a pair of hubs may be lost.
    pub(super) probes_lost: bool,
}

impl<'a> Peace<'a> {
    pub(super) fn new(world: &'a mut World) -> Self {
        Peace {
            world,
            probes_lost: false,
        }
    }

    /// Waits until the checks hold. How long that took.
    pub(super) fn make(&mut self) -> u64 {
        let began = self.world.now();
        let mut last = Vec::new();
        let settled = self
            .world
            .run_until_true(Duration::from_secs(1), PEACE, |world| {
                if !world.faults().is_empty() {
                    return true;
                }
                let quiet = world.quiet_for() > SETTLED;
                let unsettled = lasting_faults(world);
                if quiet && world.quiet_for() > SETTLED && !unsettled.is_empty() {
                    unsettled.into_iter().for_each(|fault| world.fault(fault));
                    return true;
                }
                last = unsettled;
                last.extend(checks::missing_links(world));
                last.is_empty()
            });
        let took = self.world.now() - began;
        if !self.world.faults().is_empty() {
            return took;
        }
        if !settled {
            last.into_iter().for_each(|fault| {
                self.world
                    .fault(format!("after {PEACE:?} of peace: {fault}"))
            });
            return took;
        }
        self.finish();
        took
    }

    /// Signals between all that are there, the ends of all that were sent before, and once more everything.
    fn finish(&mut self) {
        self.world.run_for(Duration::from_secs(6));
        if self.probes_lost {
            checks::signal_around(self.world, Duration::from_secs(2));
        }
        checks::probe_signals(self.world, Duration::from_secs(2));
        let mut faults = checks::open_signals(self.world, Duration::from_secs(5));
        if self.world.quiet_for() > SETTLED {
            faults.extend(lasting_faults(self.world));
            // Rooms that were left last have had their time by then, and so have those that were taken over.
            if !self.probes_lost {
                (0..10).any(|_| self.run_for_idle_time() == 0);
                faults.extend(checks::left_over(self.world));
                faults.extend(self.world.broken_promises());
            }
        }
        let asking = self
            .world
            .sessions
            .iter()
            .filter(|session| session.status == Status::Asking);
        if asking.count() > 0 {
            faults.push("16: a join was neither accepted nor refused".to_owned());
        }
        faults.into_iter().for_each(|fault| self.world.fault(fault));
    }

    /// Waits for as long as a room without a member stays. How many rooms were taken over meanwhile: these stay longer.
    fn run_for_idle_time(&mut self) -> u64 {
        let before = self.world.rooms_taken_over();
        self.world.run_for(ROOM_IDLE);
        self.world.rooms_taken_over() - before
    }
}

/// How often a mesh is looked at, half a second apart, until nothing is broken.
const LOOKS: u32 = 4;

/// What is broken and stays so: a link's cost may have just changed, and the record that says so may be on its way. A room
/// that nobody is in ends by itself, and the news of that takes its time too. At the next look the same news of another
/// hub may be on its way.
fn lasting_faults(world: &mut World) -> Vec<String> {
    let mut faults = checks::quiet_faults(world);
    for _ in 1..LOOKS {
        if faults.is_empty() {
            break;
        }
        world.run_for(Duration::from_millis(500));
        while world.ended_a_room_within(SETTLED) {
            world.run_for(Duration::from_millis(500));
        }
        faults = checks::quiet_faults(world);
    }
    faults
}

/// A version before this one.
fn earlier(plan: &Plan, rng: &mut Rng) -> u16 {
    match plan.interest {
        true => PULLS_SINCE - rng.below(2) as u16,
        false => PULLS_SINCE - 1,
    }
}
