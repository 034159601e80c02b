//! Known problems, each a script: the events, and the conditions that must hold after them.
//!
//! A script returns its world; `settle` has checked it. A fault that the script itself finds is an `Err` with a
//! sentence.

mod bans;
mod interest;
mod large;
mod later;
mod meeting;
mod partitions;
mod restarts;
mod rogues;
mod rooms;
mod routes;

use std::time::Duration;

use bytes::Bytes;

use super::checks;
use super::sessions::{SessionNo, Status};
use super::world::{HostNo, Newcomer, World, WorldConfig};
use hubmesh_core::mutants::Mutants;
use hubmesh_core::rng::Rng;

/// The result of a script.
pub type Ended = Result<World, String>;

/// A script, under its name. It is given the mutants to switch on in every core.
pub type Script = (&'static str, fn(Mutants) -> Ended);

/// The scripts that end within a quarter of a second each.
pub const QUICK: &[Script] = &[
    (
        "a link that one end alone believes in carries nothing",
        routes::one_sided_link,
    ),
    (
        "a parent that does not answer delays no change",
        routes::parent_that_does_not_answer,
    ),
    (
        "signals lost on the way are waited for by those behind them",
        routes::gap_on_the_way,
    ),
    (
        "signals never go back over the link that they came by",
        routes::way_back,
    ),
    (
        "senders are told of what a receiver has not read, also while links come and go",
        routes::left_unread,
    ),
    (
        "a link lost and back within the hold tells no client",
        flap_within_the_hold,
    ),
    (
        "two hubs that dial each other at once share one link",
        simultaneous_dial,
    ),
    ("a link that loses one way is replaced", one_way_loss),
    ("a half-open link is found out", half_open_link),
    (
        "a hub comes back with its clock back, ahead and equal",
        restarts::restart_with_another_clock,
    ),
    (
        "two restarts in one pacing window are two incarnations",
        restarts::two_restarts_in_one_window,
    ),
    (
        "a mesh split in three and healed is one",
        three_way_partition,
    ),
    ("a link that flaps at twice the pacing settles", flapping),
    ("a slow hub delays nobody else", slow_hub),
    (
        "two machines with one id notice and leave",
        restarts::cloned_hub,
    ),
    (
        "clones of a client do not fight for ever",
        restarts::cloned_client,
    ),
    (
        "a hub is back after its claims were dropped",
        restarts::back_after_its_claims_were_dropped,
    ),
    (
        "a star outlives the restart of its root",
        restarts::star_root_restarts,
    ),
    (
        "half of the hubs crash for good",
        restarts::permanent_crashes,
    ),
    (
        "a hub restarts ten times back to back",
        restarts::back_to_back_restarts,
    ),
    (
        "a change crosses each link of the tree once",
        copies_of_a_change,
    ),
    (
        "a peer that moves hubs within the hold does not leave",
        move_within_the_hold,
    ),
    (
        "split halves find each other without their bootstrap",
        halves_without_bootstrap,
    ),
    (
        "two hubs restarted while apart meet in their new incarnations",
        restarts::both_restarted_while_apart,
    ),
    ("random bytes hurt nobody", random_bytes),
    (
        "the bootstrap hub is linked again within seconds of a ten-minute absence",
        partitions::bootstrap_absent,
    ),
    (
        "rosters agree within three seconds of the end of a partition",
        partitions::busy_halves,
    ),
    (
        "newcomers at a full hub are sent on to hubs that live",
        meeting::newcomers_at_a_full_hub,
    ),
    (
        "a link that is given up at once is never listed",
        meeting::link_that_is_given_up_at_once,
    ),
    (
        "a hub that is left alone tries those that it knows itself",
        meeting::tried_by_whoever_is_left,
    ),
    (
        "records that a lost link left behind are found by comparing",
        meeting::records_left_behind,
    ),
    (
        "hubs of two versions are one mesh while they are replaced one by one",
        meeting::two_versions,
    ),
    (
        "a message with too many changes ends its link",
        rogues::long_message,
    ),
    (
        "a link has as many subscriptions as there can be hubs",
        rogues::subscriptions,
    ),
    (
        "hubs that nothing leads to do not go round for ever",
        rogues::nobodies,
    ),
    (
        "a crowd of made-up hubs keeps no newcomer out",
        rogues::crowd_of_nobodies,
    ),
    (
        "who was turned away is asked for when there is space",
        rogues::room_after_the_crowd,
    ),
    (
        "one hub has few links with another, however many it opens",
        rogues::links_of_one_hub,
    ),
    (
        "what is kept aside of a delta is bounded",
        rogues::kept_aside,
    ),
    (
        "a later incarnation in a signal ends no pair of hubs",
        rogues::later_life_in_a_signal,
    ),
    (
        "a number far ahead ends no pair of hubs",
        rogues::number_far_ahead,
    ),
    (
        "numbers that one hub skips are skipped for no other",
        rogues::numbers_skipped,
    ),
    (
        "the signals of as many hubs are numbered as there is space for",
        rogues::many_sources,
    ),
    (
        "few signals that come before their turn are kept",
        rogues::early_signals,
    ),
    (
        "a hub that is driven away draws a new id, and is back",
        rogues::new_id,
    ),
    (
        "an incarnation that no hub has is forgotten",
        rogues::forgotten_life,
    ),
    (
        "a ban outlives the hubs that held it",
        bans::outlives_its_hub,
    ),
    ("a lifted ban does not come back", bans::stays_lifted),
    (
        "bans are known to all hubs of a narrow mesh",
        bans::in_a_narrow_mesh,
    ),
    ("a ban that is over is forgotten", bans::is_over),
    (
        "a room outlives the hub that all its members were at",
        rooms::outlives_its_hub,
    ),
    (
        "a hub that drains hands its rooms on before it ends",
        rooms::handed_on,
    ),
    (
        "a room that both halves of a mesh have is one when they meet",
        rooms::in_both_halves,
    ),
    (
        "two hubs do not both leave an empty room to the other",
        rooms::left_to_each_other,
    ),
    (
        "a room is not lost to a hub that restarts at once",
        rooms::quick_restart,
    ),
    (
        "in a narrow mesh a room outlives one hub after the other",
        rooms::outlives_its_hubs_in_a_narrow_mesh,
    ),
    (
        "in a narrow mesh a room outlives its hub while another hub is about to let it go",
        rooms::lost_while_it_lingers,
    ),
    (
        "in a narrow mesh who comes back finds the room before another hub has taken it over",
        rooms::entered_between_its_hubs,
    ),
    (
        "in a narrow mesh hubs that drain hand their rooms on",
        rooms::handed_on_in_a_narrow_mesh,
    ),
    (
        "a room is guarded by the right hub as hubs come and go",
        rooms::guarded_as_hubs_come_and_go,
    ),
    (
        "a hub that lists many rooms is guarded in as many as a hub may have",
        rooms::many_guarded,
    ),
    (
        "a hub takes the networks that it has a peer in, and those that its neighbours take from it",
        interest::on_the_way,
    ),
    (
        "all and single networks take each other's place without a client's notice",
        interest::there_and_back,
    ),
    (
        "a network is of interest for five seconds after its last member left",
        interest::reload,
    ),
    (
        "a network is of interest while a signal waits in it",
        interest::waiting_signal,
    ),
    (
        "who comes to a network that is new to its hub finds its members there",
        interest::first_roster,
    ),
    (
        "joins wait once for a hub that does not answer",
        interest::tardy_hub,
    ),
    (
        "a network that somebody looks at is known for a while, and no hub is asked in vain",
        interest::looked_at,
    ),
    (
        "a set of one network has claims of no other",
        interest::another_network,
    ),
    (
        "a whole set waits until it is as far as the single ones",
        interest::whole_set_behind,
    ),
    (
        "a link follows as many networks as there is space for",
        interest::many_followed,
    ),
    (
        "two hubs of a later version understand each other over one of this",
        later::over_a_hub_of_this_version,
    ),
    (
        "what a hub does not know is refused at once and holds nothing up",
        later::refused_at_once,
    ),
    (
        "what hubs of a later version have beside claims is kept and passed on",
        later::items_over_a_hub_of_this_version,
    ),
];

/// The scripts that take seconds each: mutants are first tested with everything else.
pub const SLOW: &[Script] = &[
    (
        "a crash in the middle of a snapshot leaves no half of a set",
        restarts::crash_in_a_snapshot,
    ),
    (
        "a link stalled for long costs what was missed",
        stalled_link,
    ),
    ("a chain of two hundred hubs agrees", large::long_chain),
];

/// The scripts that take too long for every run of the tests.
pub const LARGE: &[Script] = &[
    ("two hundred hubs start at once", large::cold_start),
    (
        "two hundred hubs that were told of one alone start at once",
        large::cold_start_around_one,
    ),
    (
        "a thousand hubs start at once",
        large::cold_start_of_a_thousand,
    ),
    (
        "halves of a thousand hubs agree two seconds after their first link",
        large::halves_of_a_thousand,
    ),
];

fn ensure(holds: bool, what: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn who(no: usize) -> Newcomer {
    Newcomer::new("global", &format!("{no:040x}"), &format!("proof-{no}"))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits until everything holds, then sends signals between all clients.
fn settle(mut world: World, within: Duration) -> Ended {
    let mut last = Vec::new();
    let settled = world.run_until_true(Duration::from_millis(500), within, |world| {
        last = checks::quiet_faults(world);
        last.extend(checks::missing_links(world));
        last.is_empty()
    });
    ensure(settled, format!("not settled after {within:?}: {last:?}"))?;
    checks::probe_signals(&mut world, secs(2));
    let open = checks::open_signals(&world, secs(5));
    ensure(open.is_empty(), open.join("; "))?;
    ensure(world.faults().is_empty(), world.faults().join("; "))?;
    Ok(world)
}

fn checked(mutants: Mutants, seed: u64) -> WorldConfig {
    WorldConfig {
        mutants,
        ..WorldConfig::checked(seed)
    }
}

fn mesh(mutants: Mutants, seed: u64, hubs: usize) -> World {
    World::mesh(checked(mutants, seed), hubs)
}

/// One client at each hub.
fn people(world: &mut World) -> Vec<SessionNo> {
    (0..world.host_count())
        .map(|no| world.join(no, &who(no)))
        .collect()
}

fn ring(hubs: usize) -> Vec<(HostNo, HostNo)> {
    (0..hubs).map(|no| (no, (no + 1) % hubs)).collect()
}

fn chain(hubs: usize) -> Vec<(HostNo, HostNo)> {
    (1..hubs).map(|no| (no, no - 1)).collect()
}

fn simultaneous_dial(mutants: Mutants) -> Ended {
    let mut world = World::wired(checked(mutants, 1), 2, &[(0, 1), (1, 0)]);
    people(&mut world);
    settle(world, secs(10))
}

fn one_way_loss(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 2, 3), secs(15))?;
    people(&mut world);
    world.block(0, 1);
    world.run_for(secs(10));
    ensure(!world.linked(0, 1), "the link with one way still stands")?;
    world.heal();
    settle(world, secs(75))
}

fn half_open_link(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 3, 3), secs(15))?;
    people(&mut world);
    world.run_for(secs(1));
    world.cut_unnoticed(0, 1);
    settle(world, secs(75))
}

fn three_way_partition(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 7, 9), secs(20))?;
    let sessions = people(&mut world);
    world.run_for(secs(1));
    world.partition(&[&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]]);
    world.run_for(secs(10));
    for no in 0..9 {
        world.join(no, &who(100 + no));
    }
    // One client goes to each part: three hubs hold its id when they meet again.
    for no in [1, 4, 7] {
        world.join(no, &who(50));
    }
    world.leave(sessions[8]);
    world.run_for(secs(20));
    world.heal();
    settle(world, secs(75))
}

fn flapping(mutants: Mutants) -> Ended {
    let mut world = settle(World::wired(checked(mutants, 8), 5, &ring(5)), secs(15))?;
    people(&mut world);
    for _ in 0..100 {
        world.cut(0, 1);
        world.run_for(Duration::from_millis(50));
    }
    settle(world, secs(75))
}

fn slow_hub(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 9, 4), secs(15))?;
    people(&mut world);
    world.run_for(secs(2));
    for no in 0..3 {
        world.throttle(no, 3, Some(2_000));
    }
    for no in 0..400 {
        world.join_unwatched(0, &who(1_000 + no));
    }
    world.run_for(Duration::from_millis(300));
    for no in [1, 2] {
        let peers = world
            .core(no)
            .map_or(0, |core| core.directory().read().peers());
        ensure(
            peers == 404,
            format!("hub {no} knows {peers} of 404 while another is slow"),
        )?;
    }
    for no in 0..3 {
        world.throttle(no, 3, None);
    }
    settle(world, secs(75))
}

fn copies_of_a_change(mutants: Mutants) -> Ended {
    let mut world = World::new(checked(mutants, 17));
    world.start_sniffing();
    for no in 0..10 {
        world.add_host(true, if no == 0 { Vec::new() } else { vec![0] });
    }
    (0..10).for_each(|no| world.boot(no));
    let mut world = settle(world, secs(20))?;
    world.run_for(secs(75));
    let _ = world.take_sniffed();
    people(&mut world);
    world.run_for(secs(1));
    let seen = world.take_sniffed().changes;
    ensure(
        seen.len() == 10,
        format!("{} changes were seen, not 10", seen.len()),
    )?;
    for (change, copies) in seen {
        ensure(copies == 9, format!("{change:?} crossed {copies} links"))?;
    }
    Ok(world)
}

fn told(world: &World, sessions: &[SessionNo]) -> u64 {
    sessions
        .iter()
        .map(|session| world.session(*session).told)
        .sum()
}

fn flap_within_the_hold(mutants: Mutants) -> Ended {
    let mut world = settle(World::wired(checked(mutants, 18), 2, &[(1, 0)]), secs(10))?;
    let sessions = people(&mut world);
    world.run_for(secs(35));
    let before = told(&world, &sessions);
    world.cut(0, 1);
    world.run_for(secs(10));
    ensure(world.linked(0, 1), "the link did not come back")?;
    ensure(
        told(&world, &sessions) == before,
        "a client was told of a link's loss",
    )?;
    settle(world, secs(30))
}

fn move_within_the_hold(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 19, 4), secs(15))?;
    let sessions = people(&mut world);
    world.run_for(secs(2));
    // The socket to its old hub is dead, and the hub has not noticed yet.
    world.go_silent(sessions[1]);
    world.join(2, &who(1));
    world.run_for(secs(5));
    let leaves: u64 = [0, 2, 3]
        .iter()
        .map(|no| world.session(sessions[*no]).leaves)
        .sum();
    ensure(
        leaves == 0,
        format!("{leaves} clients were told of a leave"),
    )?;
    ensure(
        world.session(sessions[1]).status == Status::Superseded,
        "the old connection was not told",
    )?;
    settle(world, secs(30))
}

fn halves_without_bootstrap(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 20, 7), secs(20))?;
    people(&mut world);
    world.run_for(secs(1));
    world.partition(&[&[0, 1, 2, 3], &[4, 5, 6]]);
    world.run_for(secs(30));
    world.kill(0);
    world.run_for(secs(10));
    world.heal();
    let met = world.run_until_true(secs(1), secs(60), |world| {
        checks::components(world).len() == 1
    });
    ensure(met, "the halves are apart 60 s after the partition healed")?;
    settle(world, secs(75))
}

fn stalled_link(mutants: Mutants) -> Ended {
    // Looking at whole sets after each of its many changes would take longer than all other scripts.
    let mut config = checked(mutants, 21);
    config.watch = false;
    let mut world = settle(World::wired(config, 3, &chain(3)), secs(15))?;
    for no in 0..2_000 {
        world.join_unwatched(0, &who(no));
    }
    world.run_for(secs(5));
    world.block(1, 2);
    world.block(2, 1);
    // The same few clients come and go: a cursor coalesces what a queue would keep.
    for round in 0..45 {
        for no in 0..20 {
            let claim = world.join_unwatched(0, &who(5_000 + no));
            world.run_for(secs(1) / 20);
            if round < 44 {
                world.leave_unwatched(0, claim);
            }
        }
    }
    let _ = world.take_totals();
    world.heal();
    let mut world = settle(world, secs(75))?;
    let bytes = world.take_totals().control_bytes;
    ensure(
        bytes < 45_000,
        format!("{bytes} bytes for 20 new claims and 880 retractions"),
    )?;
    Ok(world)
}

fn random_bytes(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 23, 3), secs(15))?;
    people(&mut world);
    let mut rng = Rng::new(23);
    for round in 0..500 {
        let length = rng.below(200) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
        if let [first, second, rest @ ..] = bytes.as_mut_slice()
            && rest.len() < 128
            && round % 2 == 0
        {
            // A whole frame of a known kind: what is in it is read.
            *first = rest.len() as u8;
            *second = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x41, 0x42][rng.below(14) as usize];
        }
        world.inject(0, 1, &Bytes::from(bytes));
        world.run_for(Duration::from_millis(rng.below(400)));
    }
    // Hub 0 may have forged anything of its own; what hub 2 says is as hub 2 says it.
    let id = world.host(2).id;
    let claims = world
        .core(1)
        .map_or(0, |core| core.directory().read().claims_of(&id).len());
    ensure(claims == 1, format!("hub 1 has {claims} claims of hub 2"))?;
    ensure(world.is_up(1), "hub 1 is down")?;
    Ok(world)
}
