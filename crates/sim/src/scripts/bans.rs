//! Bans that operators place and lift while hubs come and go.

use hubmesh_core::ids::NetworkKey;
use hubmesh_core::mutants::Mutants;

use super::{Ended, chain, checked, ensure, mesh, people, secs, settle};
use crate::world::{HostNo, World};

const HOUR: u64 = 3_600;

fn know(world: &World, hubs: &[HostNo], bans: &[u8]) -> Result<(), String> {
    for no in hubs {
        let known = world.bans(*no);
        ensure(
            known == bans,
            format!("hub {no} goes by {known:?}, not by {bans:?}"),
        )?;
    }
    Ok(())
}

/// The number of claims that hold bans, in one hub's directory.
fn held(world: &World, at: HostNo) -> usize {
    let core = world.core(at);
    core.map_or(0, |core| {
        let directory = core.directory().read();
        let all = directory.hubs().into_iter();
        let claims = all.flat_map(|hub| directory.claims_of(&hub));
        let of_bans = |network: &NetworkKey| network.is_of_bans();
        claims.filter(|claim| of_bans(&claim.network)).count()
    })
}

/// A ban outlives each hub that held it, and is known to a hub that starts later.
pub(super) fn outlives_its_hub(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 81, 4), secs(15))?;
    people(&mut world);
    ensure(world.place_ban(0, 1, HOUR), "no place for a ban")?;
    world.run_for(secs(1));
    know(&world, &[0, 1, 2, 3], &[1])?;
    for no in [0, 1, 2] {
        world.kill(no);
        world.run_for(secs(9));
        world.boot(no);
        world.run_for(secs(6));
        know(&world, &[0, 1, 2, 3], &[1])?;
        ensure(
            held(&world, 3) == 1,
            format!("{} hubs hold it", held(&world, 3)),
        )?;
    }
    settle(world, secs(75))
}

/// A lifted ban does not come back from a part of the mesh that was away, whichever hub there holds it.
pub(super) fn stays_lifted(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 82, 4), secs(15))?;
    for number in [1, 2] {
        world.place_ban(usize::from(number) - 1, number, HOUR);
    }
    world.run_for(secs(2));
    know(&world, &[0, 1, 2, 3], &[1, 2])?;
    world.partition(&[&[0, 1], &[2, 3]]);
    // Both parts have adopted what the other one held.
    world.run_for(secs(15));
    ensure(world.lift_ban(0, 1), "it was not there to be lifted")?;
    ensure(world.lift_ban(3, 2), "it was not there to be lifted")?;
    world.run_for(secs(2));
    know(&world, &[0, 1], &[2])?;
    know(&world, &[2, 3], &[1])?;
    world.heal();
    world.run_for(secs(30));
    know(&world, &[0, 1, 2, 3], &[])?;
    // Nor after a restart of all but one, one after the other.
    for no in [0, 1, 2] {
        world.restart(no, 0);
        world.run_for(secs(9));
        know(&world, &[0, 1, 2, 3], &[])?;
    }
    settle(world, secs(75))
}

/// In a narrow mesh every hub still obeys the bans of all.
pub(super) fn in_a_narrow_mesh(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 83);
    config.core.interest.full_hubs = 1;
    config.core.interest.calm = secs(1);
    let mut world = World::wired(config, 5, &chain(5));
    world.run_for(secs(5));
    world.place_ban(0, 1, HOUR);
    world.run_for(secs(3));
    know(&world, &[0, 1, 2, 3, 4], &[1])?;
    // One of the chain's end, gone: the others hold it.
    world.kill(0);
    world.run_for(secs(12));
    know(&world, &[1, 2, 3, 4], &[1])?;
    world.boot(0);
    world.run_for(secs(8));
    know(&world, &[0, 1, 2, 3, 4], &[1])?;
    world.lift_ban(4, 1);
    world.run_for(secs(3));
    know(&world, &[0, 1, 2, 3, 4], &[])?;
    settle(world, secs(75))
}

/// A ban ends by the clock of each hub, and no hub keeps any of it then.
pub(super) fn is_over(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 84, 3), secs(15))?;
    world.place_ban(1, 1, 20);
    world.run_for(secs(10));
    know(&world, &[0, 1, 2], &[1])?;
    world.run_for(secs(15));
    know(&world, &[0, 1, 2], &[])?;
    ensure(held(&world, 0) == 0, "it is still held")?;
    settle(world, secs(75))
}
