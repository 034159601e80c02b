//! A mesh split in two for a minute while both sides change, and joined again.

use std::time::Duration;

use super::{Claims, Meters, Plan, Section, authored, person, seconds, until_shown};
use crate::world::{HostNo, World};

/// The number of changes on each side while the mesh is split.
const CHANGES: usize = 10_000;
/// How long the mesh is split.
const APART: Duration = Duration::from_secs(60);
/// The number of steps in which the changes are made.
const STEPS: usize = 50;

pub(super) fn measure(
    world: &mut World,
    plan: Plan,
    mut claims: Claims,
    meters: Meters,
    section: &mut Section,
) {
    let half = plan.hubs / 2;
    let sides: [Vec<HostNo>; 2] = [(0..half).collect(), (half..plan.hubs).collect()];
    let clock = (meters.cpu)();
    world.partition(&[&sides[0], &sides[1]]);
    let began = world.now();
    let mut newcomer = 2 * plan.peers + 1_000_000;
    for _ in 0..STEPS {
        for side in &sides {
            let part = CHANGES / STEPS;
            change(world, side, &mut claims, part, &mut newcomer);
        }
        world.run_for(APART / STEPS as u32);
    }
    debug_assert!(world.now() - began >= APART.as_micros() as u64);
    section.add(
        "split for 60 s: CPU time, all hubs",
        meters.cpu_since(clock),
        "s",
    );
    heal(world, plan, half, meters, section);
}

/// Half of the changes are leaves, as long as there are peers to leave; the others are joins. The peers are unwatched: they
/// are claims without clients, so that nothing is sent to them.
fn change(
    world: &mut World,
    side: &[HostNo],
    claims: &mut Claims,
    count: usize,
    newcomer: &mut usize,
) {
    let each = count.div_ceil(side.len().max(1)).max(2);
    let mut remaining = count;
    let start = *newcomer;
    for turn in 0..side.len() {
        let no = side[(start + turn) % side.len()];
        let part = each.min(remaining);
        let there = &mut claims[no];
        let leaving = there.split_off(there.len() - (part / 2).min(there.len()));
        world.leave_many_unwatched(no, &leaving);
        let joining = part - leaving.len();
        world.join_many_unwatched(no, (*newcomer..*newcomer + joining).map(person));
        *newcomer += joining;
        remaining -= part;
    }
}

fn heal(world: &mut World, plan: Plan, half: usize, meters: Meters, section: &mut Section) {
    let sets: Vec<_> = (0..plan.hubs)
        .filter_map(|no| authored(world, no))
        .filter(|version| version.seq > 0)
        .collect();
    let _ = world.take_totals();
    let (clock, healed) = ((meters.cpu)(), world.now());
    world.heal();
    let limit = Duration::from_secs(60);
    let linked = world.run_until_true(Duration::from_millis(5), limit, |world| {
        world.conns.values().any(|conn| {
            let (a, b) = (conn.ends[0].owner.host, conn.ends[1].owner.host);
            conn.is_open() && (a < half) != (b < half)
        })
    });
    let first = linked.then(|| Duration::from_micros(world.now() - healed));
    section.add("... first link after the healing", seconds(first), "s");
    let hosts = (0..plan.hubs).collect();
    let agreed = until_shown(world, hosts, &sets, Duration::from_millis(5), limit);
    section.add_with_target(
        "... all agree after the first link",
        seconds(agreed),
        "s",
        2.0,
    );
    let sent = world.take_totals().sent;
    // Each side makes `CHANGES` changes, and each change has to reach every hub of the other side. The two sides together
    // have `plan.hubs` hubs.
    let needed = (CHANGES * plan.hubs).max(1) as f64;
    section.add_with_target(
        "... bytes of deltas per change and hub that lacked it",
        sent.delta_bytes as f64 / needed,
        "B",
        40.0,
    );
    section.add_with_target(
        "... copies sent of each change that was lacked",
        sent.changes as f64 / needed,
        "",
        1.0,
    );
    let topology = sent.topology_bytes as f64 / plan.hubs as f64 / 1e3;
    section.add(
        "... link records, and words about them, sent per hub",
        topology,
        "kB",
    );
    section.add("... CPU time, all hubs", meters.cpu_since(clock), "s");
}
