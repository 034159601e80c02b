//! Routes that change: while links open and close, signals and claims arrive, and in order.
//!
//! Every link takes 5 ms, so that the shortest path is known in advance and there is always something on it.

use std::time::Duration;

use super::{Ended, checked, ensure, people, ring, secs, settle, who};
use crate::world::{HostNo, World, WorldConfig};
use hubmesh_core::exchange::counted;
use hubmesh_core::mutants::Mutants;

/// A link's latency is five of these.
const STEP: Duration = Duration::from_millis(1);

fn steady(mutants: Mutants, seed: u64) -> WorldConfig {
    let mut config = checked(mutants, seed);
    config.latency = 5_000..5_001;
    config.jitter = 0;
    config
}

/// Three hubs, linked by all `edges` except the last, whose ends cannot reach each other yet.
fn triangle_without_a_side(config: WorldConfig, edges: &[(HostNo, HostNo)]) -> World {
    let mut world = World::wired(config, 3, edges);
    let apart = edges.last().copied().unwrap_or_default();
    world.partition(&[&[apart.0], &[apart.1]]);
    world
}

pub(super) fn one_sided_link(mutants: Mutants) -> Ended {
    let edges = [(1, 0), (2, 0), (2, 1)];
    let mut world = triangle_without_a_side(steady(mutants, 24), &edges);
    let sessions = people(&mut world);
    world.run_for(secs(3));
    world.heal();
    // The last message of the handshake is lost: the dialled hub has a link, the dialler none.
    let dialled = world.run_until_true(STEP, secs(60), |world| half_linked(world, 2, 1));
    ensure(dialled, "hub 2 did not dial hub 1")?;
    world.block(1, 2);
    world.run_for(Duration::from_millis(200));
    let target = who(2).peer;
    let signal = world.signal(sessions[1], &target, false);
    world.run_for(Duration::from_millis(200));
    ensure(
        signal.is_some_and(|signal| world.was_delivered(signal)),
        "a signal took the link that one end alone has",
    )?;
    world.heal();
    settle(world, secs(75))
}

fn half_linked(world: &World, dialler: HostNo, dialled: HostNo) -> bool {
    let conns = world.conns_between(dialler, dialled).into_iter();
    conns.filter_map(|no| world.conns.get(no)).any(|conn| {
        let [caller, callee] = &conn.ends;
        caller.open_link().is_none() && callee.open_link().is_some()
    })
}

pub(super) fn parent_that_does_not_answer(mutants: Mutants) -> Ended {
    let edges = [(1, 0), (2, 1), (2, 0)];
    let mut world = triangle_without_a_side(steady(mutants, 25), &edges);
    let sessions = people(&mut world);
    world.run_for(secs(3));
    world.heal();
    let switched = world.run_until_true(STEP, secs(60), |world| next_hub(world, 2, 0) == Some(0));
    ensure(switched, "hub 2 found no shorter way to hub 0")?;
    // Hub 2 has just asked hub 0 itself for its claims, and gets no answer. Hub 1 still sends them.
    world.block(0, 2);
    let newcomer = who(100);
    world.join(0, &newcomer);
    world.run_for(Duration::from_millis(200));
    ensure(
        world
            .session(sessions[2])
            .roster
            .contains_key(&newcomer.peer),
        "a join waited for a parent that does not answer",
    )?;
    world.heal();
    settle(world, secs(75))
}

/// The machine that is the first on the path from one to another.
fn next_hub(world: &World, from: HostNo, to: HostNo) -> Option<HostNo> {
    let routes = world.core(from)?.topology().routes();
    let neighbour = routes.by_hub.get(&world.hosts[to].id)?.hop.neighbour;
    world.hosts.iter().position(|host| host.id == neighbour)
}

pub(super) fn gap_on_the_way(mutants: Mutants) -> Ended {
    // The hub in the middle finds another path at once; the source keeps its next hop, and notices nothing.
    let edges = [(1, 0), (2, 1), (3, 1), (3, 2)];
    let world = settle(World::wired(steady(mutants, 26), 4, &edges), secs(15))?;
    stream_through_a_cut(world, counted::EARLY)
}

pub(super) fn way_back(mutants: Mutants) -> Ended {
    // The path round the ring is longer, so what is on its way to the cut would have to turn back.
    let world = settle(World::wired(steady(mutants, 27), 5, &ring(5)), secs(15))?;
    stream_through_a_cut(world, counted::NO_WAY_ON)
}

/// A client of hub 0 sends a signal per millisecond to one of hub 2, and the link of hubs 1 and 2 is cut meanwhile. All
/// of them arrive, and the exchanges have the expected counters.
fn stream_through_a_cut(mut world: World, expected: &str) -> Ended {
    let sessions = people(&mut world);
    world.run_for(secs(1));
    let _ = world.take_totals();
    let mut sent: Vec<Option<usize>> = Vec::new();
    for no in 0..200 {
        if no == 100 {
            world.cut(1, 2);
        }
        sent.push(world.signal(sessions[0], &who(2).peer, false));
        world.run_for(STEP);
    }
    world.run_for(secs(5));
    let lost = sent
        .iter()
        .filter(|signal| !signal.is_some_and(|signal| world.was_delivered(signal)))
        .count();
    ensure(world.faults().is_empty(), world.faults().join("; "))?;
    ensure(lost == 0, format!("{lost} of 200 signals did not arrive"))?;
    ensure(
        world.take_totals().counted.contains_key(expected),
        format!("no signal was counted as {expected}: the cut was at another place"),
    )?;
    settle(world, secs(75))
}

/// Clients of two hubs signal to one of a third, which does not read and leaves while their link is lost.
pub(super) fn left_unread(mutants: Mutants) -> Ended {
    let config = steady(mutants, 28);
    let mut world = settle(World::wired(config, 3, &[(1, 0), (2, 1)]), secs(15))?;
    let sessions = people(&mut world);
    world.run_for(secs(1));
    world.stop_reading(sessions[2]);
    for no in 0..50 {
        world.signal(sessions[no % 2], &who(2).peer, false);
        world.run_for(STEP);
    }
    world.cut(1, 2);
    world.leave(sessions[2]);
    world.run_for(secs(10));
    settle(world, secs(75))
}
