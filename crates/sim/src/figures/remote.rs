//! Costs that depend on the number of peers: the memory of a remote peer, and the cost of learning all of them again.
//!
//! Three hubs next to each other. Two of them share the peers; the third has none of its own, starts when all are
//! there, and is then restarted: it has only remote peers.

use std::time::Duration;

use super::{Meters, Plan, Section, authored, person, seconds, until_shown};
use crate::world::{HostNo, World, WorldConfig};

const LEARNER: HostNo = 2;
const STEP: Duration = Duration::from_micros(500);
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn measure(plan: Plan, meters: Meters) -> Section {
    let mut section = Section::new(
        format!(
            "the peers: {} peers without data, {} in a network, on 2 hubs; a third learns all; links of 0.2 ms, seed {}",
            plan.peers,
            super::NETWORK,
            plan.seed
        ),
        meters,
    );
    let mut world = populate(plan);
    first_sight(&mut world, plan, meters, &mut section);
    again(&mut world, plan, meters, &mut section);
    section
}

fn populate(plan: Plan) -> World {
    let config = WorldConfig {
        latency: 90..110,
        jitter: 20,
        window: 1024 * 1024,
        watch: false,
        ..WorldConfig::checked(plan.seed)
    };
    let mut world = World::new(config);
    for no in 0..=LEARNER {
        world.add_host(true, if no == 0 { Vec::new() } else { vec![0] });
    }
    (0..LEARNER).for_each(|no| world.boot(no));
    world.run_for(Duration::from_secs(1));
    for (turn, first) in (0..plan.peers).step_by(1_000).enumerate() {
        let many = (first..plan.peers.min(first + 1_000)).map(person);
        world.join_many_unwatched(turn % LEARNER, many);
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(Duration::from_secs(1));
    world
}

/// Lets time pass until the third hub knows all peers; returns the time.
fn learn(world: &mut World) -> Option<Duration> {
    let sets: Vec<_> = (0..LEARNER).filter_map(|no| authored(world, no)).collect();
    until_shown(world, vec![LEARNER], &sets, STEP, LIMIT)
}

fn first_sight(world: &mut World, plan: Plan, meters: Meters, section: &mut Section) {
    let (memory, resident) = ((meters.memory)(), (meters.resident)());
    world.boot(LEARNER);
    let took = learn(world);
    world.run_for(Duration::from_secs(1));
    let per_peer = |bytes: usize, before: usize| {
        bytes.saturating_sub(before) as f64 / plan.peers.max(1) as f64
    };
    section.add("a new hub knows all peers after", seconds(took), "s");
    section.add_with_target(
        "memory per remote peer, allocated",
        per_peer((meters.memory)(), memory),
        "B",
        100.0,
    );
    section.add_with_target(
        "memory per remote peer, resident",
        per_peer((meters.resident)(), resident),
        "B",
        100.0,
    );
}

/// The hub's process ends, and another has to learn everything.
fn again(world: &mut World, plan: Plan, meters: Meters, section: &mut Section) {
    world.kill(LEARNER);
    world.run_for(Duration::from_secs(5));
    let _ = world.take_totals();
    let clock = (meters.cpu)();
    world.boot(LEARNER);
    let took = learn(world);
    let spent = meters.cpu_since(clock);
    section.add_with_target(
        "a restarted hub knows all peers again after",
        seconds(took),
        "s",
        1.0,
    );
    section.add_with_target(
        "... CPU time, all three hubs and the simulation",
        spent,
        "s",
        0.5,
    );
    section.add(
        "... CPU time per peer",
        spent * 1e6 / plan.peers.max(1) as f64,
        "us",
    );
    let sent = world.take_totals().sent;
    section.add("... bytes", sent.delta_bytes as f64 / 1e6, "MB");
    section.add_with_target(
        "... bytes per peer",
        sent.delta_bytes as f64 / plan.peers.max(1) as f64,
        "B",
        40.0,
    );
}
