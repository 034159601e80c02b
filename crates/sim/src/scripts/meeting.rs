//! How hubs meet: newcomers at a full hub, unreachable hubs, records that a lost link left behind, and hubs of two
//! versions in one mesh.

use std::time::Duration;

use super::{Ended, checked, ensure, people, secs, settle, who};
use crate::checks;
use crate::world::{HostNo, World, WorldConfig};
use hubmesh_core::frames::{FOLLOWS_SINCE, PULLS_SINCE};
use hubmesh_core::mutants::Mutants;

/// So few hubs behave as in a large mesh.
fn tight(mutants: Mutants, seed: u64) -> WorldConfig {
    let mut config = checked(mutants, seed);
    config.core.dial.full_mesh_up_to = 3;
    config.core.dial.degree = 2;
    config.core.dial.introduce = 2;
    config
}

/// Hub 0 takes three links, and has them; of the eleven others, four are dead.
fn full_hub(mutants: Mutants, seed: u64) -> Result<World, String> {
    let mut world = World::new(tight(mutants, seed));
    let others = world.config.core.dial.accept_up_to;
    for no in 0..12 {
        world.add_host(true, if no == 0 { Vec::new() } else { vec![0] });
        world.config.core.dial.accept_up_to = if no == 0 { 3 } else { others };
        world.boot(no);
    }
    let mut world = settle(world, secs(75))?;
    let apart: Vec<HostNo> = (1..12).filter(|no| !world.linked(0, *no)).collect();
    for no in apart.into_iter().take(4) {
        world.power_off(no);
    }
    world.run_for(secs(10));
    let links = neighbours(&world, 0).len();
    ensure(links >= 3, format!("hub 0 has {links} links"))?;
    Ok(world)
}

fn neighbours(world: &World, of: HostNo) -> Vec<HostNo> {
    let others = 0..world.host_count();
    others
        .filter(|no| *no != of && world.linked(*no, of))
        .collect()
}

pub(super) fn newcomers_at_a_full_hub(mutants: Mutants) -> Ended {
    let mut world = full_hub(mutants, 33)?;
    for _ in 0..4 {
        let newcomer = world.add_host(true, vec![0]);
        world.boot(newcomer);
        // Long before it may come back to hub 0.
        let introduced = world.run_until_true(Duration::from_millis(10), secs(1), |world| {
            neighbours(world, newcomer).iter().any(|no| *no != 0)
        });
        ensure(introduced, "a newcomer was sent on to nobody that lives")?;
        ensure(!world.linked(0, newcomer), "a full hub took a newcomer in")?;
    }
    settle(world, secs(75))
}

pub(super) fn link_that_is_given_up_at_once(mutants: Mutants) -> Ended {
    let mut world = full_hub(mutants, 34)?;
    let newcomer = world.add_host(true, vec![0]);
    world.boot(newcomer);
    let (me, full) = (world.hosts[newcomer].id, world.hosts[0].id);
    let mut listed = false;
    world.run_until_true(Duration::from_millis(1), secs(1), |world| {
        let core = world.core(newcomer);
        let record = core.and_then(|core| core.topology().record(me));
        let mut neighbours = record.iter().flat_map(|record| &record.neighbours);
        listed |= neighbours.any(|(hub, _)| *hub == full);
        listed
    });
    ensure(
        !listed,
        "a hub listed a link that its other end gave up at once",
    )?;
    settle(world, secs(75))
}

pub(super) fn tried_by_whoever_is_left(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 35);
    config.core.dial.share_retries_past = 1;
    let mut world = World::new(config);
    world.add_host(true, Vec::new());
    for _ in 1..11 {
        world.add_host(true, vec![0]);
    }
    let alone = world.add_host(false, vec![0]);
    (0..world.host_count()).for_each(|no| world.boot(no));
    let mut world = settle(world, secs(20))?;
    // No hub can dial it, and of the hubs that it knows only hub 1 is left.
    for no in (0..alone).filter(|no| *no != 1) {
        world.power_off(no);
    }
    world.partition(&[&[1], &[alone]]);
    world.run_for(secs(100));
    world.heal();
    let found = world.run_until_true(Duration::from_millis(100), secs(30), |world| {
        world.linked(1, alone)
    });
    ensure(found, "a hub that is left alone waited for others to try")?;
    settle(world, secs(75))
}

pub(super) fn records_left_behind(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 36);
    config.latency = 5_000..5_001;
    config.jitter = 0;
    // They have to find each other while the lost link still counts.
    config.core.dial.backoff_most = Duration::from_millis(500);
    config.core.dial.answer_within = Duration::from_millis(500);
    // Two chains, 0-1-2 and 3-4-5, that can be linked by 2-3 and by 1-4.
    let edges = [(1, 0), (2, 1), (4, 3), (5, 4), (3, 2), (4, 1)];
    let mut world = settle(World::wired(config, 6, &edges), secs(20))?;
    people(&mut world);
    world.run_for(secs(2));
    world.partition(&[&[0, 1, 2], &[3, 4, 5]]);
    world.run_for(secs(8));
    world.restart(0, 0);
    world.restart(5, 0);
    world.run_for(secs(8));
    // First 2 and 3 find each other; their messages are held up as soon as there are paths over their link.
    world.unblock(2, 3);
    world.unblock(3, 2);
    let found = world.run_until_true(Duration::from_millis(1), secs(60), |world| {
        reaches(world, 1, 4) && reaches(world, 4, 1)
    });
    ensure(found, "hubs 2 and 3 did not find each other")?;
    world.block(2, 3);
    world.block(3, 2);
    world.unblock(1, 4);
    world.unblock(4, 1);
    let found = world.run_until_true(Duration::from_millis(1), secs(2), |world| {
        world.linked(1, 4)
    });
    ensure(found, "hubs 1 and 4 did not find each other")?;
    world.run_for(secs(70));
    let faults = checks::quiet_faults(&world);
    ensure(
        faults.is_empty(),
        format!("the link of 1 and 4 told too little: {faults:?}"),
    )?;
    world.heal();
    settle(world, secs(75))
}

fn reaches(world: &World, from: HostNo, to: HostNo) -> bool {
    let core = world.core(from);
    core.is_some_and(|core| core.topology().is_reachable(world.hosts[to].id))
}

pub(super) fn two_versions(mutants: Mutants) -> Ended {
    let mut config = tight(mutants, 37);
    config.core.dial.accept_up_to = 3;
    let mut world = World::new(config);
    for no in 0..12 {
        world.add_host(true, if no == 0 { Vec::new() } else { vec![no / 2, 0] });
        world.host(no).version = [FOLLOWS_SINCE, PULLS_SINCE - 1][no % 2];
    }
    (0..12).for_each(|no| world.boot(no));
    people(&mut world);
    let mut world = settle(world, secs(75))?;
    // All old hubs are replaced, one by one, and then the first goes back to the old version.
    for no in [1, 3, 5, 7, 9, 11, 0] {
        let version = if no == 0 {
            PULLS_SINCE - 1
        } else {
            FOLLOWS_SINCE
        };
        world.kill(no);
        world.host(no).version = version;
        world.boot(no);
        world.join(no, &who(no));
        world.run_for(secs(4));
        let faults = checks::quiet_faults(&world);
        ensure(
            faults.is_empty(),
            format!("4 s after hub {no} changed: {faults:?}"),
        )?;
    }
    settle(world, secs(75))
}
