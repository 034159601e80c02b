//! Random histories with a rogue hub: a hub that has the mesh token and breaks the rules.
//!
//! An honest mesh forms. A rogue links to it and sends arbitrary frames for a while, first in calm and then during the
//! events of ordinary histories. Then it is gone, and there must be peace. Which invariants must hold meanwhile depends
//! on the limits of the rogue's attacks, because nothing between hubs is signed:
//!
//! - **Always**: no frame of the rogue ends a hub, stops time, or makes a hub keep more than its bounds (`bounds`).
//! - **A stranger** is linked to one honest hub and sends anything, also in others' names, or is linked to many and speaks
//!   for itself and for made-up hubs; it announces no later incarnations of honest hubs. Then the invariants of every instant
//!   hold among honest hubs. In calm, no honest session ends, no honest client loses sight of another, no link between
//!   honest hubs closes, no incarnation changes, and signals between honest clients on a path without the rogue arrive
//!   within `ARRIVES`.
//! - **An impostor** does all of that and more: it links in others' names, announces incarnations that they do not have,
//!   and changes frames that it forwards. While it is there, the mesh may suffer. Once it is gone, and the hubs that it
//!   made leave are back, all invariants hold again; if it lied about a hub's claims, that ends with the hub's next start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::history::{self, Outcome};
use super::sessions::{SessionNo, Status};
use super::world::{HostNo, Manners, Newcomer, World, WorldConfig};
use super::{bounds, checks};
use hubmesh_core::directory::ClaimQuota;
use hubmesh_core::ids::{HubId, Incarnation, PeerId, mix};
use hubmesh_core::mutants::Mutants;

/// The longest time for a signal between honest clients in calm.
const ARRIVES: Duration = Duration::from_secs(2);
/// How long the honest mesh may take to form.
const FORMS: Duration = Duration::from_secs(60);
/// The longest time for which a rogue can keep a hub out of the mesh.
const AWAY: Duration = Duration::from_secs(40 * 60);

/// Plays the history with a rogue of this seed.
pub fn play(seed: u64, mutants: Mutants) -> Outcome {
    play_aloud(seed, mutants, false)
}

/// The same, printing what happens if asked to.
pub fn play_aloud(seed: u64, mutants: Mutants, verbose: bool) -> Outcome {
    let mut siege = Siege::new(seed, mutants, verbose);
    siege.form();
    siege.calm();
    siege.trouble();
    let settled_after = siege.make_peace();
    history::outcome(seed, &siege.world, settled_after)
}

struct Siege {
    world: World,
    rogue: HostNo,
    manners: Manners,
    /// The machines that it may link to.
    reach: Vec<HostNo>,
    sessions: Vec<SessionNo>,
    people: u64,
}

/// What is not to change in calm.
struct Calm {
    incarnations: BTreeMap<HostNo, Incarnation>,
    links: BTreeSet<(HostNo, HostNo)>,
}

impl Siege {
    fn new(seed: u64, mutants: Mutants, verbose: bool) -> Self {
        let mut config = WorldConfig {
            mutants,
            verbose,
            ..WorldConfig::checked(mix(seed ^ 0x0a75_6547))
        };
        small_bounds(&mut config);
        let mut world = World::new(config);
        world.start_sniffing();
        let honest = 3 + world.rng.below(4) as usize;
        for no in 0..honest {
            let bootstrap = if no == 0 { Vec::new() } else { vec![0] };
            world.add_host(true, bootstrap);
            world.host(no).random_id = world.rng.below(2) == 0;
        }
        let impostor = world.rng.below(3) == 0;
        let leaf = world.rng.below(2) == 0;
        let manners = Manners {
            in_names: leaf || impostor,
            impostor,
            thief: impostor,
        };
        let reach: Vec<HostNo> = match leaf {
            true => vec![world.rng.below(honest as u64) as usize],
            false => (0..honest).collect(),
        };
        let rogue = world.add_host(false, reach.clone());
        world.host(rogue).auto_connect = !leaf;
        world.make_rogue(rogue, manners);
        world.config.watch = !impostor;
        for no in 0..honest {
            world.boot(no);
        }
        Siege {
            world,
            rogue,
            manners,
            reach,
            sessions: Vec::new(),
            people: 0,
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.world.rng.below(n as u64) as usize
    }

    fn honest(&mut self) -> HostNo {
        self.below(self.rogue)
    }

    fn fault(&mut self, text: String) {
        self.world.fault(text);
    }

    fn is_broken(&self) -> bool {
        !self.world.faults().is_empty()
    }

    /// The honest hubs link to each other, and clients join them.
    fn form(&mut self) {
        let formed = self
            .world
            .run_until_true(Duration::from_secs(1), FORMS, |world| {
                checks::missing_links(world).is_empty()
            });
        if !formed {
            return self.fault("11: the honest mesh did not form".to_owned());
        }
        for no in 0..self.rogue {
            for _ in 0..1 + self.below(2) {
                self.join(no);
            }
        }
        self.world.run_for(Duration::from_secs(2));
    }

    fn join(&mut self, no: HostNo) {
        self.people += 1;
        let number = self.people;
        let network = if self.below(3) == 0 {
            "games"
        } else {
            "global"
        };
        let peer = match self.below(2) {
            0 => format!("person-{number}"),
            _ => format!("{:040x}", mix(number)),
        };
        let mut who = Newcomer::new(network, &peer, &format!("proof-{number}"));
        if self.below(3) == 0 {
            who.data = Some(Bytes::from(format!("{{\"n\":{number}}}")));
        }
        let session = self.world.join(no, &who);
        self.sessions.push(session);
    }

    /// The rogue does something.
    fn mischief(&mut self) {
        match self.below(20) {
            0 => {
                let at = self.below(self.reach.len());
                let to = self.reach[at];
                for _ in 0..1 + self.below(6) {
                    self.world.open_raw_link(self.rogue, to);
                }
            }
            1 => self.world.drop_raw_link(self.rogue),
            _ => {
                for _ in 0..1 + self.below(3) {
                    self.world.rogue_speaks(self.rogue);
                }
            }
        }
    }

    fn pause(&mut self) {
        let pause = match self.below(8) {
            0..=2 => 0,
            3 | 4 => self.below(20_000),
            5 | 6 => self.below(300_000),
            _ => self.below(2_000_000),
        };
        self.world.run_for(Duration::from_micros(pause as u64));
        for fault in bounds::broken(&self.world) {
            self.fault(format!("23: {fault}"));
        }
    }

    /// The rogue alone does anything; honest clients send signals.
    fn calm(&mut self) {
        if self.is_broken() {
            return;
        }
        let calm = Calm {
            incarnations: self.incarnations(),
            links: self.links(),
        };
        self.world.boot(self.rogue);
        self.world.run_for(Duration::from_secs(1));
        let mut sent = Vec::new();
        for _ in 0..30 + self.below(60) {
            self.mischief();
            if self.below(4) == 0 {
                sent.extend(self.signal());
            }
            self.pause();
            if !self.manners.impostor {
                self.check_calm(&calm);
            }
            if self.is_broken() {
                return;
            }
        }
        self.world.run_for(ARRIVES);
        if !self.manners.impostor {
            self.check_arrivals(sent);
        }
    }

    fn incarnations(&self) -> BTreeMap<HostNo, Incarnation> {
        (0..self.rogue)
            .filter_map(|no| Some((no, self.world.core(no)?.incarnation())))
            .collect()
    }

    fn links(&self) -> BTreeSet<(HostNo, HostNo)> {
        let pairs = (0..self.rogue).flat_map(|a| (0..a).map(move |b| (a, b)));
        pairs.filter(|(a, b)| self.world.linked(*a, *b)).collect()
    }

    fn check_calm(&mut self, before: &Calm) {
        let mut faults = Vec::new();
        if self.incarnations() != before.incarnations {
            faults.push("12: an honest hub has another incarnation".to_owned());
        }
        if self.links() != before.links {
            faults.push(format!(
                "11: of the links {:?} are left {:?}",
                before.links,
                self.links()
            ));
        }
        let live = |no: &SessionNo| self.world.session(*no).status == Status::Live;
        for ended in self.sessions.iter().filter(|no| !live(no)) {
            faults.push(format!("16: session {ended} ended"));
        }
        faults.extend(self.unseen());
        faults.into_iter().for_each(|fault| self.fault(fault));
    }

    /// Honest clients that another honest one of their network does not see as they are.
    fn unseen(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (reader, other) in self.mates() {
            let (reader, other) = (self.world.session(reader), self.world.session(other));
            if reader.roster.get(&other.peer) != Some(&other.data) {
                faults.push(format!(
                    "18: {:?} does not see {:?}",
                    reader.peer, other.peer
                ));
            }
        }
        faults
    }

    /// All pairs of honest clients in one network.
    fn mates(&self) -> Vec<(SessionNo, SessionNo)> {
        let all = self.sessions.iter().copied();
        let pairs = all.flat_map(|a| self.sessions.iter().map(move |b| (a, *b)));
        pairs
            .filter(|(a, b)| {
                let (one, other) = (self.world.session(*a), self.world.session(*b));
                let live = one.status == Status::Live && other.status == Status::Live;
                live && a != b && one.network == other.network
            })
            .collect()
    }

    /// An honest client signals another; gives the signal and both if the way is clear of the rogue.
    fn signal(&mut self) -> Option<(usize, HostNo, HostNo)> {
        let mates = self.mates();
        let (from, to) = *mates.get(self.below(mates.len()))?;
        let target: PeerId = self.world.session(to).peer.clone();
        let (a, b) = (self.world.hub_of(from)?, self.world.hub_of(to)?);
        let clear = self.is_clear(a, b) && self.is_clear(b, a);
        let signal = self.world.signal(from, &target, false)?;
        clear.then_some((signal, a, b))
    }

    /// Whether the path from one honest hub to another leads through honest ones alone, by the routes of each.
    fn is_clear(&self, from: HostNo, to: HostNo) -> bool {
        let hubs: BTreeMap<HubId, HostNo> = (0..self.rogue)
            .map(|no| (self.world.hosts[no].id, no))
            .collect();
        let dest = self.world.hosts[to].id;
        let mut at = from;
        for _ in 0..self.rogue {
            if at == to {
                return true;
            }
            let Some(core) = self.world.core(at) else {
                return false;
            };
            let routes = core.topology().routes();
            let Some(next) = routes.by_hub.get(&dest).map(|route| route.hop.neighbour) else {
                return false;
            };
            let Some(no) = hubs.get(&next) else {
                return false;
            };
            at = *no;
        }
        at == to
    }

    /// Signals whose path was and is clear of the rogue have arrived.
    fn check_arrivals(&mut self, sent: Vec<(usize, HostNo, HostNo)>) {
        for (signal, a, b) in sent {
            let clear = self.is_clear(a, b) && self.is_clear(b, a);
            if clear && !self.world.was_delivered(signal) {
                self.fault(format!(
                    "14: signal {signal} from host {a} to {b} did not arrive"
                ));
            }
        }
    }

    /// The rogue goes on, and so does life.
    fn trouble(&mut self) {
        for _ in 0..self.below(30) {
            if self.is_broken() {
                return;
            }
            match self.below(12) {
                0..=4 => self.mischief(),
                5 | 6 => drop(self.signal()),
                7 => {
                    let no = self.honest();
                    if self.world.is_up(no) {
                        self.join(no);
                    }
                }
                8 => {
                    let at = self.below(self.sessions.len());
                    let session = self.sessions[at];
                    self.world.leave(session);
                }
                9 => {
                    let (a, b) = (self.honest(), self.honest());
                    self.world.cut(a, b);
                }
                10 => {
                    let no = self.honest();
                    self.world.restart(no, 0);
                }
                _ => {
                    let no = self.honest();
                    self.world.power_off(no);
                    self.pause();
                    self.world.boot(no);
                }
            }
            self.pause();
        }
    }

    /// The rogue is gone; everything is to hold again. How long that took.
    fn make_peace(&mut self) -> u64 {
        if self.is_broken() {
            return 0;
        }
        self.world.log(|| "the rogue is gone".to_owned());
        self.world.kill(self.rogue);
        if self.manners.impostor {
            self.forget_lies();
        }
        let mut peace = history::Peace::new(&mut self.world);
        peace.probes_lost = self.manners.impostor;
        peace.make()
    }

    /// Hubs that were driven away come back, and all start again, since a lie about a hub's claims ends with its
    /// incarnation.
    fn forget_lies(&mut self) {
        let back = self
            .world
            .run_until_true(Duration::from_secs(5), AWAY, |world| {
                let cores = (0..world.host_count()).filter_map(|no| world.core(no));
                cores.into_iter().all(|core| !core.has_left())
            });
        if !back {
            self.fault(format!("12: a hub is still away after {AWAY:?}"));
        }
        for no in 0..self.rogue {
            self.world.restart(no, 0);
        }
    }
}

/// Bounds that a short history reaches.
fn small_bounds(config: &mut WorldConfig) {
    let core = &mut config.core;
    core.topology.max_hubs = 48;
    core.topology.max_past_incarnations = 48;
    core.quota = ClaimQuota {
        claims: 60,
        bytes: 32 * 1024,
    };
    core.exchange.receive_windows = 16;
    core.exchange.early_bytes = 4 * 1024;
}
