//! Hubs of the next version, with hubs of this version between them.

use bytes::Bytes;

use super::{Ended, HostNo, World, checked, checks, ensure, people, secs, settle, who};
use hubmesh_core::frames::PULLS_SINCE;
use hubmesh_core::ids::NetworkKey;
use hubmesh_core::mutants::Mutants;

/// A chain of hubs, of which these are later ones; a client at each.
fn line(mutants: Mutants, seed: u64, later: &[bool]) -> Ended {
    let mut world = World::new(checked(mutants, seed));
    for (no, later) in later.iter().enumerate() {
        world.add_host(true, no.checked_sub(1).into_iter().collect());
        world.host(no).auto_connect = false;
        world.host(no).later = *later;
    }
    (0..later.len()).for_each(|no| world.boot(no));
    let mut world = settle(world, secs(15))?;
    people(&mut world);
    world.run_for(secs(1));
    Ok(world)
}

fn network() -> NetworkKey {
    who(0).network
}

/// The number of items of another hub, at one hub.
fn items(world: &World, at: HostNo, of: HostNo) -> usize {
    let known =
        |at: &hubmesh_core::Core| at.directory().read().unknown_of(&world.hosts[of].id).len();
    world.core(at).map_or(0, known)
}

/// Two later hubs exchange messages over a hub that does not know them.
pub(super) fn over_a_hub_of_this_version(mutants: Mutants) -> Ended {
    let mut world = line(mutants, 71, &[true, false, true])?;
    let began = world.now();
    for (no, to) in [(0, 2), (2, 0)] {
        let sent = world.send_later(no, to, false);
        ensure(sent, format!("host {no} does not see that host {to} knows"))?;
    }
    ensure(
        !world.send_later(0, 1, false),
        "host 0 sends host 1 what that does not know",
    )?;
    world.run_for(secs(1));
    let unheard = world.unheard_later(began);
    ensure(unheard.is_empty(), unheard.join("; "))?;
    settle(world, secs(15))
}

/// A message that its destination does not know ends at once, and delays nothing after it.
pub(super) fn refused_at_once(mutants: Mutants) -> Ended {
    let mut world = line(mutants, 72, &[true, false])?;
    let began = world.now();
    world.send_later(0, 1, true);
    world.run_for(secs(1));
    let unheard = world.unheard_later(began);
    ensure(unheard.is_empty(), unheard.join("; "))?;
    checks::probe_signals(&mut world, secs(1));
    settle(world, secs(15))
}

/// Hubs that do not know items keep and forward them, also to hubs that start later, until the items are gone. No hub
/// makes any while a hub is in reach that would not forward them.
pub(super) fn items_over_a_hub_of_this_version(mutants: Mutants) -> Ended {
    let mut world = line(mutants, 73, &[true, false, true])?;
    for item in 0..3 {
        let body = Some(Bytes::from(vec![b'x'; 10 * item as usize]));
        ensure(world.say_item(0, &network(), item, body), "nothing is said")?;
    }
    world.say_item(0, &network(), 1, None);
    world.run_for(secs(1));
    for at in 1..3 {
        let known = items(&world, at, 0);
        ensure(known == 2, format!("host {at} knows {known} items of 2"))?;
    }
    // A hub that starts later is sent all items, and one that was away for a moment the items that it missed.
    world.restart(2, 0);
    world.cut(0, 1);
    world.say_item(0, &network(), 0, None);
    world.run_for(secs(20));
    for at in 1..3 {
        let known = items(&world, at, 0);
        ensure(known == 1, format!("host {at} knows {known} items of 1"))?;
    }
    world.kill(1);
    world.host(1).version = PULLS_SINCE - 1;
    world.boot(1);
    world.run_for(secs(20));
    ensure(
        !world.say_item(0, &network(), 5, Some(Bytes::new())),
        "an item is made that a hub of an earlier version hides",
    )?;
    ensure(
        !world.send_later(0, 2, false),
        "a message is sent that a hub of an earlier version drops",
    )?;
    settle(world, secs(75))
}
