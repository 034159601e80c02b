//! How the control plane grows with the number of hubs: a cold start, a mesh at rest, a restart, a hub that dies, a
//! split. There are no peers except a few that join one at a time.
//!
//! Each figure covers all frames until no frame of the topology was sent for five seconds. Called by `mesh-sim scale`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ways::Ways;
use super::{Meters, Section, first_and_another, is_known, of_links, person, quantile, seconds};
use crate::checks;
use crate::world::{HostNo, Newcomer, World};
use hubmesh_core::Core;
use hubmesh_core::frames::{FOLLOWS_SINCE, PULLS_SINCE};
use hubmesh_core::ids::HubId;

/// The bootstrap hubs of each hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstraps {
    /// For all: only the first hub.
    One,
    /// For each: the first hub, and one other: a tree.
    Tree,
}

/// The size of the measured mesh.
#[derive(Clone, Copy, Debug)]
pub struct ScalePlan {
    /// The number of hubs: at least four.
    pub hubs: usize,
    /// Their bootstrap hubs.
    pub bootstraps: Bootstraps,
    /// All use the version of the link protocol before this one.
    pub before: bool,
    /// The seed of all random numbers.
    pub seed: u64,
}

/// There is peace when no frame of the topology was sent for this long.
const STILL: Duration = Duration::from_secs(5);
/// The longest wait for peace.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the halves are apart.
const APART: Duration = Duration::from_secs(60);

/// Runs the plan.
pub fn measure(plan: ScalePlan, meters: Meters) -> Section {
    let told = match plan.bootstraps {
        Bootstraps::One => "of one hub alone",
        Bootstraps::Tree => "of one hub and one other",
    };
    let version = if plan.before {
        PULLS_SINCE - 1
    } else {
        FOLLOWS_SINCE
    };
    let mut section = Section::new(
        format!(
            "{} hubs that were told {told}, link protocol {version}, links of 2-82 ms, seed {}",
            plan.hubs, plan.seed
        ),
        meters,
    );
    let mut world = world(plan, version);
    cold_start(&mut world, plan, meters, &mut section);
    joins(&mut world, plan, &mut section);
    rest(&mut world, &mut section);
    restart(&mut world, plan.hubs / 3, meters, &mut section);
    kill(&mut world, plan.hubs / 2, meters, &mut section);
    split(&mut world, plan, meters, &mut section);
    let faults = checks::quiet_faults(&world).len();
    section.add_with_target("invariants broken at the end", faults as f64, "", 0.0);
    section
}

fn world(plan: ScalePlan, version: u16) -> World {
    let mut world = World::new(of_links(plan.seed));
    for no in 0..plan.hubs {
        let told = match plan.bootstraps {
            Bootstraps::One if no > 0 => vec![0],
            Bootstraps::One => Vec::new(),
            Bootstraps::Tree => first_and_another(no),
        };
        world.add_host(true, told);
        world.host(no).version = version;
    }
    world
}

/// The counters of a core.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    records: u64,
    own: u64,
    runs: u64,
}

/// The counters of each boot of a machine's hub: a hub that starts again counts from zero.
#[derive(Clone, Default, PartialEq, Eq)]
struct Counts(BTreeMap<(HostNo, u32), Counted>);

impl Counts {
    fn of(world: &World) -> Self {
        let counted = (0..world.host_count()).filter_map(|no| {
            let boot = world.boot_of(no)?;
            let counters = world.core(no)?.counters();
            let counted = Counted {
                records: counters.records,
                own: counters.records_own,
                runs: counters.spf_runs,
            };
            Some(((no, boot.boot), counted))
        });
        Counts(counted.collect())
    }

    /// The counters since then, of all running hubs together.
    fn since(&self, before: &Counts) -> Counted {
        let mut all = Counted::default();
        for (boot, now) in &self.0 {
            let then = before.0.get(boot).copied().unwrap_or_default();
            all.records += now.records - then.records;
            all.own += now.own - then.own;
            all.runs += now.runs - then.runs;
        }
        all
    }
}

fn live(world: &World) -> Vec<HostNo> {
    let all = 0..world.host_count();
    all.filter(|no| world.is_up(*no)).collect()
}

/// Whether every hub reaches every other.
fn is_whole(world: &World) -> bool {
    let live = live(world);
    let reached = |no: &HostNo| {
        let core = world.core(*no);
        core.map(|core| core.topology().routes().by_hub.len() + 1)
    };
    live.iter().all(|no| reached(no) == Some(live.len()))
}

/// Since this began: when all hubs reached all, and when the last frame was sent.
struct Peace {
    whole: Option<Duration>,
    still: Option<Duration>,
}

/// Lets time pass until there is peace.
fn make_peace(world: &mut World) -> Peace {
    let began = world.now();
    let since = |now: u64| Duration::from_micros(now - began);
    let said = |world: &World| {
        let open = world.conns.values().filter(|conn| conn.is_open());
        let own = Counts::of(world).since(&Counts::default()).own;
        (own, open.count())
    };
    let mut whole = None;
    let mut last = (said(world), began);
    let step = Duration::from_millis(50);
    let still = world.run_until_true(step, PATIENCE, |world| {
        let now = world.now();
        if whole.is_none() && is_whole(world) {
            whole = Some(since(now));
        }
        let said = said(world);
        if said != last.0 {
            last = (said, now);
        }
        whole.is_some() && Duration::from_micros(now - last.1) >= STILL
    });
    Peace {
        whole,
        still: still.then(|| since(last.1)),
    }
}

/// The cost of the events between two moments.
struct Costs {
    cpu: Duration,
    before: Counts,
}

impl Costs {
    fn begin(world: &mut World, meters: Meters) -> Self {
        let _ = world.take_totals();
        Costs {
            cpu: (meters.cpu)(),
            before: Counts::of(world),
        }
    }

    /// `most` are the targets: received records, and kilobytes of frames about records, per hub.
    fn end(self, world: &mut World, most: (Option<f64>, Option<f64>), section: &mut Section) {
        let counted = Counts::of(world).since(&self.before);
        let totals = world.take_totals();
        let hubs = live(world).len().max(1) as f64;
        let per_hub = |counted: u64| counted as f64 / hubs;
        let records = per_hub(counted.records);
        let bytes = totals.sent.topology_bytes as f64 / hubs / 1e3;
        section.push(
            "... link records that came in, per hub",
            records,
            "",
            most.0,
        );
        section.push(
            "... sent of them and about them, per hub",
            bytes,
            "kB",
            most.1,
        );
        let own = per_hub(counted.own);
        section.add("... records of its own that a hub made", own, "");
        let sent = totals.by_host.values();
        let most_sent = sent.clone().copied().max().unwrap_or(0) as f64;
        let mean = sent.sum::<u64>() as f64 / hubs;
        section.add("... bytes sent per hub, all control", mean / 1e3, "kB");
        section.add_with_target(
            "... the busiest hub, by the mean",
            most_sent / mean,
            "",
            20.0,
        );
        let runs = per_hub(counted.runs);
        section.add("... runs of the shortest paths, per hub", runs, "");
        section.add(
            "... CPU time, all hubs",
            section.meters.cpu_since(self.cpu),
            "s",
        );
    }
}

fn cold_start(world: &mut World, plan: ScalePlan, meters: Meters, section: &mut Section) {
    let memory = (meters.memory)();
    let costs = Costs::begin(world, meters);
    (0..plan.hubs).for_each(|no| world.boot(no));
    let peace = make_peace(world);
    section.add("cold start: all reach all after", seconds(peace.whole), "s");
    section.add_with_target("... peace after", seconds(peace.still), "s", 3.0);
    costs.end(world, (Some(4_000.0), Some(700.0)), section);
    let grown = (meters.memory)().saturating_sub(memory) as f64;
    let known = (plan.hubs * plan.hubs) as f64;
    section.add("... memory per hub and hub known to it", grown / known, "B");
    section.add("... links per hub", Ways::of(world).degree(), "");
}

/// Joins to a network in which every hub has a member: other hubs of a large mesh are not told of a join.
fn joins(world: &mut World, plan: ScalePlan, section: &mut Section) {
    let network = person(0).network;
    let member = |no: usize| Newcomer {
        network: network.clone(),
        ..person(no)
    };
    for no in 0..plan.hubs {
        world.join_unwatched(no, &member(no));
    }
    world.run_for(Duration::from_secs(5));
    let ways = Ways::of(world);
    let (mut times, mut shortest) = (Vec::new(), Vec::new());
    for round in 0..60 {
        let at = round * 7 % plan.hubs;
        let who = member(plan.hubs + round);
        let (began, mut waiting) = (world.now(), live(world));
        world.join_unwatched(at, &who);
        let (step, limit) = (Duration::from_micros(200), Duration::from_secs(1));
        let shown = world.run_until_true(step, limit, |world| {
            waiting.retain(|no| !is_known(world, *no, &who));
            waiting.is_empty()
        });
        let took = shown.then(|| Duration::from_micros(world.now() - began));
        times.push(seconds(took) * 1e3);
        shortest.push(ways.farthest(at) as f64 / 1e3);
        world.run_for(Duration::from_millis(20));
    }
    section.add("join on the last hub, p50", quantile(&mut times, 0.5), "ms");
    let best = quantile(&mut shortest, 0.99);
    let p99 = quantile(&mut times, 0.99);
    let target = (112.0 * best).round() / 100.0;
    section.add_with_target("join on the last hub, p99", p99, "ms", target);
    section.add("... shortest way, p99", best, "ms");
}

fn rest(world: &mut World, section: &mut Section) {
    let span = Duration::from_secs(30);
    let totals = world.take_totals_over(span);
    let links = Ways::of(world).count().max(1) as f64;
    let rate = (totals.control_bytes + totals.data_bytes) as f64 / span.as_secs_f64() / links;
    section.add_with_target("at rest: traffic per link, both ways", rate, "B/s", 100.0);
}

fn restart(world: &mut World, no: HostNo, meters: Meters, section: &mut Section) {
    let costs = Costs::begin(world, meters);
    world.restart(no, 0);
    let peace = make_peace(world);
    section.add(
        "restart of a hub: all reach all after",
        seconds(peace.whole),
        "s",
    );
    section.add("... peace after", seconds(peace.still), "s");
    costs.end(world, (None, Some(5.0)), section);
}

fn kill(world: &mut World, no: HostNo, meters: Meters, section: &mut Section) {
    let costs = Costs::begin(world, meters);
    let gone = world.hosts[no].id;
    let began = world.now();
    world.kill(no);
    let step = Duration::from_millis(5);
    let hidden = world.run_until_true(step, Duration::from_secs(20), |world| {
        live(world).iter().all(|no| !reaches(world, *no, gone))
    });
    let took = hidden.then(|| Duration::from_micros(world.now() - began));
    section.add("a hub dies: nobody reaches it after", seconds(took), "s");
    make_peace(world);
    costs.end(world, (None, None), section);
}

fn reaches(world: &World, no: HostNo, hub: HubId) -> bool {
    let core = world.core(no);
    core.is_some_and(|core| core.topology().is_reachable(hub))
}

/// Two halves that cannot reach each other for a minute, each with a newcomer that the other half does not know.
fn split(world: &mut World, plan: ScalePlan, meters: Meters, section: &mut Section) {
    let half = plan.hubs / 2;
    let sides: [Vec<HostNo>; 2] = [(0..half).collect(), (half..plan.hubs).collect()];
    world.partition(&[&sides[0], &sides[1]]);
    world.run_for(APART);
    // In the network of the joins above: the other hubs of a large mesh are told of no other network.
    let network = person(0).network;
    let newcomers = [0, 1].map(|no| Newcomer {
        network: network.clone(),
        ..person(2 * plan.hubs + no)
    });
    for (at, who) in [0, plan.hubs - 1].into_iter().zip(&newcomers) {
        world.join_unwatched(at, who);
    }
    let costs = Costs::begin(world, meters);
    let healed = world.now();
    world.heal();
    let (step, limit) = (Duration::from_millis(5), Duration::from_secs(60));
    let linked = world.run_until_true(step, limit, |world| {
        world.conns.values().any(|conn| {
            let (a, b) = (conn.ends[0].owner.host, conn.ends[1].owner.host);
            conn.is_open() && (a < half) != (b < half)
        })
    });
    let first = linked.then(|| Duration::from_micros(world.now() - healed));
    section.add(
        "halves apart for 60 s: first link after",
        seconds(first),
        "s",
    );
    let linked_at = world.now();
    // A hub that started anew has no member in a network, and a large mesh tells it of none.
    let takes_it = |core: &Core| !core.is_narrow() || core.is_interested(&network);
    let mut waiting = live(world);
    waiting.retain(|no| world.core(*no).is_some_and(takes_it));
    let agreed = world.run_until_true(step, limit, |world| {
        waiting.retain(|no| !newcomers.iter().all(|who| is_known(world, *no, who)));
        waiting.is_empty() && is_whole(world)
    });
    let took = agreed.then(|| Duration::from_micros(world.now() - linked_at));
    section.add_with_target(
        "... all agree after the first link",
        seconds(took),
        "s",
        2.0,
    );
    make_peace(world);
    costs.end(world, (None, None), section);
}
