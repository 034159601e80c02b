//! Parts of a mesh that are split and joined again.

use std::time::Duration;

use super::{Ended, ensure, mesh, people, secs, settle, who};
use crate::checks;
use crate::world::World;
use hubmesh_core::mutants::Mutants;

const STEP: Duration = Duration::from_millis(100);

fn is_one(world: &mut World) -> bool {
    checks::components(world).len() == 1
}

pub(super) fn bootstrap_absent(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 28, 6), secs(20))?;
    people(&mut world);
    world.run_for(secs(1));
    world.power_off(0);
    world.run_for(secs(600));
    ensure(is_one(&mut world), "the others fell apart")?;
    world.boot(0);
    world.join(0, &who(0));
    ensure(
        world.run_until_true(STEP, secs(10), is_one),
        "nobody is linked to the bootstrap hub 10 s after its return",
    )?;
    settle(world, secs(75))
}

pub(super) fn busy_halves(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 29, 6), secs(20))?;
    let sessions: Vec<_> = (0..18).map(|no| world.join(no % 6, &who(no))).collect();
    world.run_for(secs(2));
    world.partition(&[&[0, 1, 2], &[3, 4, 5]]);
    world.run_for(secs(5));
    for side in [0, 3] {
        for no in 0..3 {
            world.join(side + no, &who(100 + side + no));
            world.leave(sessions[side + no]);
            // Some move to the next hub of their half, some to the other half.
            world.join(side + (no + 1) % 3, &who(6 + side + no));
            world.join((side + 3) % 6 + no, &who(12 + side + no));
        }
        world.run_for(secs(5));
    }
    world.heal();
    ensure(
        world.run_until_true(STEP, secs(60), is_one),
        "the halves are apart 60 s after the partition healed",
    )?;
    world.run_for(secs(3));
    let mut faults = checks::quiet_faults(&world);
    faults.retain(|fault| ["16:", "17:", "18:"].iter().any(|no| fault.starts_with(no)));
    ensure(
        faults.is_empty(),
        format!("3 s after the first link: {faults:?}"),
    )?;
    settle(world, secs(75))
}
