//! Costs that depend on the number of hubs: joins and leaves across the mesh, traffic of its links, restarts.
//!
//! One world of hubs with links of 2 to 82 ms there and back, measured in the order of the functions below;
//! each leaves the mesh at rest for the next.

use std::time::Duration;

use super::ways::Ways;
use super::{
    Claims, Meters, Plan, Section, authored, first_and_another, known, of_links, person, quantile,
    seconds, split, until_shown,
};
use crate::checks;
use crate::world::{HostNo, World, WorldConfig};
use hubmesh_core::CoreConfig;

const TICK: Duration = Duration::from_micros(100);

pub(super) fn measure(plan: Plan, meters: Meters) -> Section {
    let mut section = Section::new(
        format!(
            "the mesh: {} hubs, {} peers on all of them, links of 2-82 ms that gather for 2 ms when busy, seed {}",
            plan.hubs, plan.peers, plan.seed
        ),
        meters,
    );
    let mut world = cold_start(plan, meters, &mut section);
    let mut claims = population(&mut world, plan, meters, &mut section);
    joins(&mut world, plan, &mut section);
    idle(&mut world, &mut section);
    let (restarted, killed) = (plan.hubs / 3, plan.hubs / 2);
    restart(&mut world, plan, restarted, meters, &mut section);
    kill(&mut world, plan, killed, &mut section);
    // Their clients were lost with them.
    claims[restarted].clear();
    claims[killed].clear();
    split::measure(&mut world, plan, claims, meters, &mut section);
    power_off(&mut world, plan, plan.hubs - 1, &mut section);
    section
}

fn reach_all(world: &World, plan: Plan) -> bool {
    (0..plan.hubs).all(|no| {
        world
            .core(no)
            .is_some_and(|core| core.topology().routes().by_hub.len() + 1 == plan.hubs)
    })
}

fn cold_start(plan: Plan, meters: Meters, section: &mut Section) -> World {
    let mut config = WorldConfig {
        core: CoreConfig::default(),
        ..of_links(plan.seed)
    };
    config.core.interest.full_hubs = usize::MAX;
    let (memory, clock) = ((meters.memory)(), (meters.cpu)());
    let mut world = World::new(config);
    for no in 0..plan.hubs {
        world.add_host(true, first_and_another(no));
    }
    (0..plan.hubs).for_each(|no| world.boot(no));
    let began = world.now();
    let step = Duration::from_millis(50);
    let limit = Duration::from_secs(300);
    let all = world.run_until_true(step, limit, |world| reach_all(world, plan));
    let took = all.then(|| Duration::from_micros(world.now() - began));
    section.add(
        "cold start: every hub reaches every other after",
        seconds(took),
        "s",
    );
    world.run_for(Duration::from_secs(10));
    let per_hub = world.take_totals().control_bytes as f64 / plan.hubs as f64;
    section.add(
        "... bytes sent per hub, 10 s more included",
        per_hub / 1e3,
        "kB",
    );
    section.add("... CPU time, all hubs", meters.cpu_since(clock), "s");
    let grown = (meters.memory)().saturating_sub(memory) as f64;
    section.add(
        "... memory per hub and hub known to it",
        grown / (plan.hubs * plan.hubs) as f64,
        "B",
    );
    section.add("links per hub", Ways::of(&world).degree(), "");
    world
}

fn population(world: &mut World, plan: Plan, meters: Meters, section: &mut Section) -> Claims {
    let (memory, clock, joined_at) = ((meters.memory)(), (meters.cpu)(), world.now());
    let _ = world.take_totals();
    let mut claims = vec![Vec::new(); plan.hubs];
    let each = plan.peers.div_ceil(plan.hubs).clamp(1, 100);
    for (turn, first) in (0..plan.peers).step_by(each).enumerate() {
        let many = (first..plan.peers.min(first + each)).map(person);
        let no = turn % plan.hubs;
        claims[no].extend(world.join_many_unwatched(no, many));
        world.run_for(Duration::from_micros(20 * each as u64));
    }
    let step = Duration::from_millis(10);
    let limit = Duration::from_secs(120);
    let all = world.run_until_true(step, limit, |world| {
        (0..plan.hubs).all(|no| known(world, no) == plan.peers)
    });
    let took = all.then(|| Duration::from_micros(world.now() - joined_at));
    world.run_for(Duration::from_secs(1));
    let grown = (meters.memory)().saturating_sub(memory) as f64;
    let records = (plan.peers * plan.hubs).max(1) as f64;
    section.add(
        "joins in bulk: every hub knows every peer after",
        seconds(took),
        "s",
    );
    section.add(
        "... CPU time per join and hub",
        meters.cpu_since(clock) * 1e6 / records,
        "us",
    );
    section.add("... memory per peer and hub", grown / records, "B");
    let crossings = (plan.peers * (plan.hubs - 1)).max(1) as f64;
    let sent = world.take_totals().sent;
    section.add_with_target(
        "bytes per join and hub, in bulk",
        sent.delta_bytes as f64 / crossings,
        "B",
        40.0,
    );
    claims
}

/// Single joins, one at a time in a mesh at rest.
fn joins(world: &mut World, plan: Plan, section: &mut Section) {
    let rounds = if plan.hubs > 200 { 50 } else { 200 };
    let ways = Ways::of(world);
    let (mut times, mut shortest) = (Vec::new(), Vec::new());
    let _ = world.take_totals();
    for round in 0..rounds {
        let at = round * 7 % plan.hubs;
        world.join_unwatched(at, &person(plan.peers + round));
        let version = authored(world, at);
        let hosts = (0..plan.hubs).collect();
        let limit = Duration::from_secs(1);
        let took = until_shown(world, hosts, version.as_slice(), TICK, limit);
        times.push(seconds(took) * 1e3);
        shortest.push(ways.farthest(at) as f64 / 1e3);
        world.run_for(Duration::from_millis(20));
    }
    let sent = world.take_totals().sent;
    let target = if plan.hubs > 100 { 60.0 } else { 35.0 };
    section.add("join on the last hub, p50", quantile(&mut times, 0.5), "ms");
    section.add("... shortest way, p50", quantile(&mut shortest, 0.5), "ms");
    section.add_with_target(
        "join on the last hub, p99",
        quantile(&mut times, 0.99),
        "ms",
        target,
    );
    section.add("... shortest way, p99", quantile(&mut shortest, 0.99), "ms");
    let crossings = (rounds * (plan.hubs - 1)).max(1) as f64;
    section.add_with_target(
        "bytes per join and hub, one at a time",
        sent.delta_bytes as f64 / crossings,
        "B",
        40.0,
    );
    section.add_with_target(
        "copies of a change",
        sent.changes as f64 / rounds as f64,
        "",
        (plan.hubs - 1) as f64,
    );
}

fn idle(world: &mut World, section: &mut Section) {
    let totals = world.take_totals_over(Duration::from_secs(10));
    let links = Ways::of(world).count().max(1);
    let rate = (totals.control_bytes + totals.data_bytes) as f64 / 10.0 / links as f64;
    section.add_with_target("idle traffic per link, both ways", rate, "B/s", 100.0);
}

/// A hub's process ends, and another starts at once.
fn restart(world: &mut World, plan: Plan, no: HostNo, meters: Meters, section: &mut Section) {
    let sets: Vec<_> = (0..plan.hubs)
        .filter(|other| *other != no)
        .filter_map(|other| authored(world, other))
        .filter(|version| version.seq > 0)
        .collect();
    let _ = world.take_totals();
    let clock = (meters.cpu)();
    world.restart(no, 0);
    let limit = Duration::from_secs(60);
    let took = until_shown(world, vec![no], &sets, Duration::from_millis(1), limit);
    section.add(
        "a restarted hub knows everybody again after",
        seconds(took),
        "s",
    );
    world.run_for(Duration::from_secs(10));
    let sent = world.take_totals().sent;
    let per_hub = sent.topology_bytes as f64 / plan.hubs as f64 / 1e3;
    let name = "... link records, and words about them, sent per hub";
    let target = (plan.hubs <= 100).then_some(20.0);
    section.push(name, per_hub, "kB", target);
    section.add(
        "... CPU time, all hubs, 10 s more included",
        meters.cpu_since(clock),
        "s",
    );
}

/// How long other hubs show the peers of this machine.
fn until_hidden(world: &mut World, plan: Plan, no: HostNo) -> f64 {
    let id = world.hosts[no].id;
    let mut others: Vec<HostNo> = (0..plan.hubs).filter(|other| *other != no).collect();
    let began = world.now();
    let step = Duration::from_millis(5);
    let gone = world.run_until_true(step, Duration::from_secs(20), |world| {
        others.retain(|other| {
            let state = world
                .core(*other)
                .and_then(|core| core.directory().read().origin_state(&id));
            state.is_some_and(|state| state.visible)
        });
        others.is_empty()
    });
    seconds(gone.then(|| Duration::from_micros(world.now() - began)))
}

fn kill(world: &mut World, plan: Plan, no: HostNo, section: &mut Section) {
    world.run_for(Duration::from_secs(5));
    world.kill(no);
    let took = until_hidden(world, plan, no);
    section.add_with_target("leaves after a hub's process is killed", took, "s", 5.5);
    world.boot(no);
    world.run_for(Duration::from_secs(15));
}

fn power_off(world: &mut World, plan: Plan, no: HostNo, section: &mut Section) {
    world.run_for(Duration::from_secs(15));
    world.power_off(no);
    let took = until_hidden(world, plan, no);
    section.add_with_target("leaves after a machine lost power", took, "s", 5.5);
    let parts = checks::components(world).len();
    section.add_with_target("parts of the mesh that are left", parts as f64, "", 1.0);
}
