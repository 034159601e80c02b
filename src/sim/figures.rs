//! The figures that an operator compares, measured in worlds of a given size. Times are virtual unless a name
//! says otherwise; bytes include WebSocket headers.

use std::time::Duration;

use super::checks;
use super::world::{HostNo, Newcomer, World, WorldConfig};
use crate::mesh::core::CoreConfig;
use crate::mesh::core::ids::mix;

/// A figure, beside what it should be.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value, with its unit.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The most that it should be, if there is a target.
    pub target: Option<f64>,
}

fn figure(name: &str, value: f64, unit: &'static str, target: Option<f64>) -> Figure {
    Figure {
        name: name.to_owned(),
        value,
        unit,
        target,
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many hubs.
    pub hubs: usize,
    /// How many peers in all; every hub keeps all of them.
    pub peers: usize,
    /// What all chance comes from.
    pub seed: u64,
}

fn person(no: usize, network: usize) -> Newcomer {
    let (high, low) = (mix(no as u64), mix(!(no as u64)));
    let id = format!("{high:016x}{low:016x}{:08x}", no as u32);
    Newcomer::new(&format!("room-{network}"), &id, "")
}

/// What only the process that runs a plan can tell.
#[derive(Clone, Copy)]
pub struct Meters {
    /// Bytes allocated.
    pub memory: fn() -> usize,
    /// CPU time spent.
    pub cpu: fn() -> Duration,
}

/// Runs the plan.
pub fn measure(plan: Plan, meters: Meters) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut world = cold_start(plan, &mut figures);
    population(&mut world, plan, meters, &mut figures);
    joins(&mut world, plan, &mut figures);
    idle(&mut world, &mut figures);
    restart(&mut world, plan, meters, &mut figures);
    kill(&mut world, plan, &mut figures);
    figures
}

fn cold_start(plan: Plan, figures: &mut Vec<Figure>) -> World {
    let config = WorldConfig {
        latency: 1_000..41_000,
        jitter: 500,
        window: 1024 * 1024,
        watch: false,
        core: CoreConfig::default(),
        ..WorldConfig::checked(plan.seed)
    };
    let mut world = World::new(config);
    for no in 0..plan.hubs {
        world.add_host(true, if no == 0 { Vec::new() } else { vec![no / 2, 0] });
    }
    (0..plan.hubs).for_each(|no| world.boot(no));
    let began = world.now();
    let everybody = plan.hubs - 1;
    world.run_until_true(
        Duration::from_millis(100),
        Duration::from_secs(300),
        |world| {
            (0..plan.hubs).all(|no| {
                world
                    .core(no)
                    .is_some_and(|core| core.topology().routes().by_hub.len() == everybody)
            })
        },
    );
    let took = (world.now() - began) as f64 / 1e6;
    figures.push(figure(
        "cold start until every hub reaches every other",
        took,
        "s",
        None,
    ));
    world.run_for(Duration::from_secs(30));
    let totals = world.take_totals();
    let per_hub = totals.control_bytes as f64 / plan.hubs as f64;
    figures.push(figure(
        "control bytes per hub in the cold start and 30 s after",
        per_hub,
        "B",
        None,
    ));
    let links = world.conns.values().filter(|conn| conn.is_open()).count();
    figures.push(figure(
        "links per hub",
        2.0 * links as f64 / plan.hubs as f64,
        "",
        None,
    ));
    world
}

fn known(world: &World, no: HostNo) -> usize {
    world
        .core(no)
        .map_or(0, |core| core.directory().read().peers())
}

fn population(world: &mut World, plan: Plan, meters: Meters, figures: &mut Vec<Figure>) {
    let before = (meters.memory)();
    let (clock, joined_at) = ((meters.cpu)(), world.now());
    for no in 0..plan.peers {
        world.join_unwatched(no % plan.hubs, &person(no, no / 50));
        if no % 1_000 == 999 {
            world.run_for(Duration::from_millis(20));
        }
    }
    let all = world.run_until_true(
        Duration::from_millis(50),
        Duration::from_secs(120),
        |world| (0..plan.hubs).all(|no| known(world, no) == plan.peers),
    );
    world.run_for(Duration::from_secs(1));
    let grown = (meters.memory)().saturating_sub(before) as f64;
    let remote = (plan.peers * plan.hubs.saturating_sub(1)) as f64 + plan.peers as f64;
    let spent = ((meters.cpu)() - clock).as_secs_f64();
    figures.push(figure(
        "every hub knows every peer",
        f64::from(u8::from(all)),
        "",
        Some(1.0),
    ));
    figures.push(figure(
        "peers joined and known everywhere within",
        (world.now() - joined_at) as f64 / 1e6,
        "s",
        None,
    ));
    figures.push(figure(
        "bytes of state per peer and hub (allocator)",
        grown / remote.max(1.0),
        "B",
        Some(100.0),
    ));
    figures.push(figure(
        "real CPU time per claim applied",
        spent * 1e6 / remote.max(1.0),
        "us",
        None,
    ));
    let totals = world.take_totals();
    let crossings = (plan.peers * (plan.hubs - 1)).max(1) as f64;
    figures.push(figure(
        "bytes per join and hub, in bulk",
        totals.control_bytes as f64 / crossings,
        "B",
        Some(40.0),
    ));
}

/// Single joins, one at a time in a mesh at rest.
fn joins(world: &mut World, plan: Plan, figures: &mut Vec<Figure>) {
    let rounds = if plan.hubs > 200 { 20 } else { 100 };
    let mut times = Vec::new();
    let mut bytes = 0;
    let mut messages = 0;
    world.run_for(Duration::from_secs(2));
    for round in 0..rounds {
        let idle = world.take_totals_over(Duration::from_millis(120));
        let before: Vec<usize> = (0..plan.hubs).map(|no| known(world, no)).collect();
        let began = world.now();
        world.join_unwatched(round * 7 % plan.hubs, &person(plan.peers + round, round));
        let seen = world.run_until_true(
            Duration::from_millis(1),
            Duration::from_millis(120),
            |world| (0..plan.hubs).all(|no| known(world, no) > before[no]),
        );
        if seen {
            times.push((world.now() - began) as f64 / 1e3);
        }
        let rest = Duration::from_micros(120_000_u64.saturating_sub(world.now() - began));
        world.run_for(rest);
        let totals = world.take_totals();
        bytes += totals.control_bytes.saturating_sub(idle.control_bytes);
        messages += totals
            .control_messages
            .saturating_sub(idle.control_messages);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        times
            .get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    };
    let target = if plan.hubs > 100 { 60.0 } else { 35.0 };
    figures.push(figure("a join on the last hub, p50", at(0.5), "ms", None));
    figures.push(figure(
        "a join on the last hub, p99",
        at(0.99),
        "ms",
        Some(target),
    ));
    let crossings = (rounds * (plan.hubs - 1)).max(1) as f64;
    figures.push(figure(
        "bytes per join and hub, one at a time",
        bytes as f64 / crossings,
        "B",
        Some(40.0),
    ));
    figures.push(figure(
        "messages per join",
        messages as f64 / rounds as f64,
        "",
        Some((plan.hubs - 1) as f64),
    ));
}

fn idle(world: &mut World, figures: &mut Vec<Figure>) {
    let totals = world.take_totals_over(Duration::from_secs(10));
    let links = world
        .conns
        .values()
        .filter(|conn| conn.is_open())
        .count()
        .max(1);
    let rate = (totals.control_bytes + totals.data_bytes) as f64 / 10.0 / links as f64;
    figures.push(figure(
        "idle traffic per link, both ways",
        rate,
        "B/s",
        Some(100.0),
    ));
}

fn restart(world: &mut World, plan: Plan, meters: Meters, figures: &mut Vec<Figure>) {
    let no = plan.hubs / 2;
    let kept = (0..plan.hubs)
        .find(|other| *other != no)
        .map_or(0, |other| {
            let id = world.hosts[no].id;
            let directory = world.core(other).map(|core| core.directory().clone());
            directory.map_or(0, |directory| {
                let directory = directory.read();
                directory.peers() - directory.origin_state(&id).map_or(0, |state| state.claims)
            })
        });
    let _ = world.take_totals();
    let (clock, began) = ((meters.cpu)(), world.now());
    world.restart(no, 0);
    let back = world.run_until_true(
        Duration::from_millis(10),
        Duration::from_secs(60),
        |world| known(world, no) >= kept,
    );
    let spent = ((meters.cpu)() - clock).as_secs_f64();
    let totals = world.take_totals();
    figures.push(figure(
        "a restarted hub knows all again",
        f64::from(u8::from(back)),
        "",
        Some(1.0),
    ));
    figures.push(figure(
        "... after",
        (world.now() - began) as f64 / 1e6,
        "s",
        Some(1.0),
    ));
    figures.push(figure(
        "... real CPU time, the whole mesh",
        spent,
        "s",
        Some(0.5),
    ));
    figures.push(figure(
        "... control bytes, the whole mesh",
        totals.control_bytes as f64,
        "B",
        None,
    ));
}

/// How long the peers of a killed machine are shown elsewhere.
fn kill(world: &mut World, plan: Plan, figures: &mut Vec<Figure>) {
    world.run_for(Duration::from_secs(15));
    let no = plan.hubs - 1;
    let others: Vec<HostNo> = (0..plan.hubs).filter(|other| *other != no).collect();
    let id = world.hosts[no].id;
    let began = world.now();
    world.power_off(no);
    let gone = world.run_until_true(
        Duration::from_millis(20),
        Duration::from_secs(20),
        |world| {
            others.iter().all(|other| {
                let directory = world
                    .core(*other)
                    .map(|core| core.directory().read().origin_state(&id));
                !directory.flatten().is_some_and(|state| state.visible)
            })
        },
    );
    let took = if gone {
        (world.now() - began) as f64 / 1e6
    } else {
        f64::INFINITY
    };
    figures.push(figure(
        "leaves after a machine lost power",
        took,
        "s",
        Some(5.5),
    ));
    let apart = checks::components(world).len();
    figures.push(figure(
        "parts of the mesh that are left",
        apart as f64,
        "",
        Some(1.0),
    ));
}
