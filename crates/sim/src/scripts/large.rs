//! Meshes of many hubs: the invariants of every instant are not checked, only the final state.

use std::time::Duration;

use super::{Ended, chain, checked, ensure, people, secs, settle, who};
use crate::checks;
use crate::world::{HostNo, World, WorldConfig};
use hubmesh_core::mutants::Mutants;

fn unwatched(mutants: Mutants, seed: u64) -> WorldConfig {
    let mut config = checked(mutants, seed);
    config.watch = false;
    config
}

pub(super) fn long_chain(mutants: Mutants) -> Ended {
    let mut config = unwatched(mutants, 13);
    config.latency = 1_000..5_000;
    let mut world = World::wired(config, 200, &chain(200));
    people(&mut world);
    settle(world, secs(60))
}

/// The first hub, which accepts a few dozen links, and one other.
fn first_and_another(no: HostNo) -> Vec<HostNo> {
    vec![no / 2, 0]
}

pub(super) fn cold_start(mutants: Mutants) -> Ended {
    start_at_once(unwatched(mutants, 30), 200, first_and_another)
}

pub(super) fn cold_start_of_a_thousand(mutants: Mutants) -> Ended {
    start_at_once(unwatched(mutants, 31), 1_000, first_and_another)
}

pub(super) fn cold_start_around_one(mutants: Mutants) -> Ended {
    start_at_once(unwatched(mutants, 32), 200, |_| vec![0])
}

/// The bootstrap hubs of all hubs but the first are those that `bootstrap` returns for their number.
fn start_at_once(config: WorldConfig, hubs: usize, bootstrap: fn(HostNo) -> Vec<HostNo>) -> Ended {
    // Busy links collect messages like the daemon's: a message for each record would cost three times as much.
    let gather = 2_000;
    let mut world = World::new(WorldConfig { gather, ..config });
    for no in 0..hubs {
        world.add_host(true, if no == 0 { Vec::new() } else { bootstrap(no) });
    }
    (0..hubs).for_each(|no| world.boot(no));
    people(&mut world);
    let mut last = Vec::new();
    let settled = world.run_until_true(secs(1), secs(75), |world| {
        last = match checks::components(world).len() {
            1 => checks::quiet_faults(world),
            parts => vec![format!("the mesh is in {parts} parts")],
        };
        last.is_empty()
    });
    last.truncate(10);
    ensure(settled, format!("not settled after 75 s: {last:?}"))?;
    checks::probe_signals(&mut world, secs(2));
    ensure(world.faults().is_empty(), world.faults().join("; "))?;
    Ok(world)
}

pub(super) fn halves_of_a_thousand(mutants: Mutants) -> Ended {
    let mut world = cold_start_of_a_thousand(mutants)?;
    let halves: [Vec<HostNo>; 2] = [(0..500).collect(), (500..1_000).collect()];
    world.partition(&[&halves[0], &halves[1]]);
    world.run_for(secs(60));
    for no in [1, 999] {
        world.join(no, &who(2_000 + no));
    }
    world.heal();
    let step = Duration::from_millis(5);
    let met = world.run_until_true(step, secs(60), |world| {
        world.conns.values().any(|conn| {
            let [a, b] = [0, 1].map(|side| conn.ends[side].owner.host);
            conn.is_open() && (a < 500) != (b < 500)
        })
    });
    ensure(met, "the halves did not find each other")?;
    world.run_for(secs(2));
    let mut faults = checks::quiet_faults(&world);
    // For a while links open and close, and records are sent.
    faults.retain(|fault| fault.starts_with("1:") || fault.starts_with("17:"));
    faults.truncate(10);
    ensure(
        faults.is_empty(),
        format!("2 s after the first link: {faults:?}"),
    )?;
    Ok(world)
}
