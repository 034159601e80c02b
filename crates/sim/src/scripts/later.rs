//! Hubs of the version after this one, over hubs of this one.

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

/// How many items of another hub are known at one.
fn items(world: &World, at: HostNo, of: HostNo) -> usize {
    let known =
        |at: &hubmesh_core::Core| at.directory().read().unknown_of(&world.hosts[of].id).len();
    world.core(at).map_or(0, known)
}

/// Two later hubs reach each other over one that does not know what they say.
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

/// What its destination does not know ends at once, and holds up nothing that follows.
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

/// Items are kept and passed on by hubs that do not know them, also to hubs that come later, until they are gone; no
/// hub makes any while a hub is in reach that would keep them from others.
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
    // One that comes later is told all, and one that was away for a moment what it missed.
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
