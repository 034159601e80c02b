//! Hubs and clients that crash, restart, or exist twice.

use std::time::Duration;

use hubmesh_core::mutants::Mutants;

use super::{Ended, chain, checked, ensure, mesh, people, secs, settle, who};
use crate::sessions::Status;
use crate::world::{HostNo, Newcomer, World};

pub(super) fn crash_in_a_snapshot(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 4);
    config.bandwidth = Some(80_000);
    config.watch = false;
    let mut world = World::wired(config, 3, &chain(3));
    for no in 0..2_000 {
        world.join_unwatched(0, &who(no));
    }
    world.config.watch = true;
    let reader = world.join(2, &who(9_999));
    world.run_for(Duration::from_millis(600));
    let known = |world: &World| {
        world
            .core(1)
            .map_or(0, |core| core.directory().read().peers())
    };
    ensure(
        known(&world) < 2_000,
        "the snapshot was over before the crash",
    )?;
    world.restart(0, 0);
    world.run_for(secs(12));
    ensure(
        world.session(reader).roster.is_empty(),
        "clients of the first incarnation are still shown",
    )?;
    settle(world, secs(60))
}

pub(super) fn restart_with_another_clock(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 5, 4), secs(15))?;
    people(&mut world);
    for skew_ms in [-3_600_000, 3_600_000, 0] {
        // After the window in which an id may change hands only a few times.
        world.run_for(secs(31));
        world.restart(1, skew_ms);
        world.join(1, &who(1));
        world.run_for(secs(3));
        // The client of the hub with the wrong clock moves, and must win at its new hub.
        let moved = world.join(2, &who(1));
        world.run_for(secs(4));
        ensure(
            world.session(moved).status == Status::Live,
            "a client lost its id to a clock",
        )?;
    }
    settle(world, secs(75))
}

pub(super) fn two_restarts_in_one_window(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 6, 4), secs(15))?;
    people(&mut world);
    world.run_for(secs(1));
    world.restart(2, 0);
    world.run_for(Duration::from_millis(40));
    world.restart(2, 0);
    world.join(2, &who(2));
    settle(world, secs(75))
}

pub(super) fn cloned_hub(mutants: Mutants) -> Ended {
    let mut world = World::new(checked(mutants, 10));
    let first = world.add_host(true, Vec::new());
    let second = world.add_host(true, vec![first]);
    let clone = world.add_host(true, vec![first, second]);
    world.host(clone).id = world.host(second).id;
    for no in [first, second, clone] {
        world.boot(no);
    }
    world.run_for(secs(90));
    let left = [second, clone]
        .iter()
        .filter(|no| world.core(**no).is_some_and(|core| core.has_left()))
        .count();
    ensure(left > 0, "nobody left the mesh")?;
    ensure(
        world.alarms().contains_key("identity-clash"),
        "nobody said so",
    )?;
    ensure(
        !world.core(first).is_some_and(|core| core.has_left()),
        "a bystander left the mesh",
    )?;
    Ok(world)
}

pub(super) fn cloned_client(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 11, 3), secs(15))?;
    let twin = Newcomer::new("global", "twin", "shared-proof");
    let mut accepted = 0;
    for round in 0..40 {
        let session = world.join(round % 3, &twin);
        world.run_for(Duration::from_millis(200));
        accepted += usize::from(world.session(session).status == Status::Live);
    }
    ensure(
        accepted < 20,
        format!("the id changed hands {accepted} times in 8 s"),
    )?;
    settle(world, secs(75))
}

pub(super) fn back_after_its_claims_were_dropped(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 12, 3), secs(15))?;
    people(&mut world);
    world.run_for(secs(1));
    world.partition(&[&[0, 1], &[2]]);
    world.run_for(secs(90));
    let dropped = world
        .core(0)
        .is_some_and(|core| core.directory().read().hubs().len() == 2);
    ensure(
        dropped,
        "the claims of an unreachable hub are kept for ever",
    )?;
    world.heal();
    settle(world, secs(75))
}

pub(super) fn star_root_restarts(mutants: Mutants) -> Ended {
    let edges: Vec<(HostNo, HostNo)> = (1..8).map(|no| (no, 0)).collect();
    let mut world = settle(World::wired(checked(mutants, 14), 8, &edges), secs(15))?;
    people(&mut world);
    world.run_for(secs(1));
    world.power_off(0);
    world.run_for(secs(8));
    world.boot(0);
    world.join(0, &who(0));
    settle(world, secs(75))
}

pub(super) fn permanent_crashes(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 15, 8), secs(20))?;
    people(&mut world);
    world.run_for(secs(1));
    for no in [1, 3, 5] {
        world.power_off(no);
    }
    world.kill(7);
    world.run_for(Duration::from_millis(5_500));
    let ghosts = world
        .core(0)
        .map_or(0, |core| core.directory().read().peers());
    ensure(
        ghosts == 4,
        format!("{ghosts} of 4 peers are shown 5.5 s after the crashes"),
    )?;
    settle(world, secs(75))
}

pub(super) fn back_to_back_restarts(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 16, 4), secs(15))?;
    people(&mut world);
    for _ in 0..10 {
        world.restart(1, 0);
        world.run_for(Duration::from_millis(30));
    }
    world.join(1, &who(1));
    settle(world, secs(75))
}

pub(super) fn both_restarted_while_apart(mutants: Mutants) -> Ended {
    let mut world = settle(World::wired(checked(mutants, 22), 2, &[(1, 0)]), secs(15))?;
    people(&mut world);
    for _ in 0..4 {
        world.partition(&[&[0], &[1]]);
        world.restart(0, 0);
        world.restart(1, 0);
        world.run_for(secs(10));
        world.heal();
        world = settle(world, secs(75))?;
    }
    Ok(world)
}
