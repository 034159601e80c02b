//! Narrow meshes: hubs exchange only the networks of interest.

use std::time::Duration;

use super::rogues::{beset, life};
use super::{Ended, chain, checked, ensure, secs, settle};
use crate::checks;
use crate::sessions::Status;
use crate::world::{HostNo, Newcomer, World, WorldConfig};
use hubmesh_core::Core;
use hubmesh_core::frames::{
    Change, Claim, ControlFrame, Delta, Entry, FOLLOWS_SINCE, PULLS_SINCE, Scope, Set,
};
use hubmesh_core::ids::{ClaimNo, Dialect, Hlc, Incarnation, Moment, NetworkKey, PeerId};
use hubmesh_core::mutants::Mutants;
use hubmesh_core::policy::Waiting;

const STEP: Duration = Duration::from_millis(10);

/// A mesh of more hubs than this is narrow.
pub(super) fn config(mutants: Mutants, seed: u64, full_hubs: usize) -> WorldConfig {
    let mut config = checked(mutants, seed);
    config.core.interest.full_hubs = full_hubs;
    config.core.interest.calm = secs(1);
    config
}

fn member(network: &str, name: &str) -> Newcomer {
    Newcomer::new(network, name, &format!("proof of {name}"))
}

fn key(network: &str) -> NetworkKey {
    Newcomer::new(network, "x", "").network
}

fn is_narrow(world: &World, no: HostNo) -> bool {
    world.core(no).is_some_and(Core::is_narrow)
}

/// The number of claims of one hub in a network, in another hub's directory.
fn claims(world: &mut World, at: HostNo, of: HostNo, network: &str) -> usize {
    let hub = world.host(of).id;
    let core = world.core(at);
    core.map_or(0, |core| {
        let claims = core.directory().read().claims_of(&hub);
        claims
            .iter()
            .filter(|claim| claim.network == key(network))
            .count()
    })
}

/// Whether a hub has another one's line of a network.
fn lists(world: &mut World, at: HostNo, of: HostNo, network: &str) -> bool {
    let hub = world.host(of).id;
    let core = world.core(at);
    core.is_some_and(|core| core.directory().read().lines().lists(&hub, &key(network)))
}

pub(super) fn on_the_way(mutants: Mutants) -> Ended {
    let mut world = World::wired(config(mutants, 61, 1), 5, &chain(5));
    world.run_for(secs(5));
    for name in ["a", "b"] {
        world.join(0, &member("near", name));
        world.join(0, &member("far", name));
    }
    let far = world.join(4, &member("far", "c"));
    world.run_for(secs(1));
    let near = world.join(2, &member("near", "c"));
    let mut world = settle(world, secs(20))?;
    let held = |world: &mut World, network| [1, 2, 3, 4].map(|at| claims(world, at, 0, network));
    ensure(
        held(&mut world, "far") == [2, 2, 2, 2] && held(&mut world, "near") == [2, 2, 0, 0],
        format!(
            "{:?} {:?}",
            held(&mut world, "far"),
            held(&mut world, "near")
        ),
    )?;
    world.leave(far);
    world.leave(near);
    world.run_for(secs(8));
    ensure(
        held(&mut world, "far") == [0; 4] && held(&mut world, "near") == [0; 4],
        format!(
            "kept for nobody: {:?} {:?}",
            held(&mut world, "far"),
            held(&mut world, "near")
        ),
    )?;
    settle(world, secs(20))
}

pub(super) fn there_and_back(mutants: Mutants) -> Ended {
    let mut world = World::wired(config(mutants, 62, 1), 5, &chain(5));
    world.run_for(secs(3));
    let names = ["a", "b", "c", "d"];
    let sessions: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, no)| world.join(no, &member("club", name)))
        .collect();
    world.join(0, &member("else", "e"));
    let mut world = settle(world, secs(20))?;
    let told = |world: &World| {
        sessions
            .iter()
            .map(|no| world.session(*no).told)
            .sum::<u64>()
    };
    let before = told(&world);
    for version in [PULLS_SINCE, FOLLOWS_SINCE, PULLS_SINCE, FOLLOWS_SINCE] {
        // The last hub comes back in another version.
        world.kill(4);
        world.host(4).version = version;
        world.boot(4);
        world.run_for(secs(6));
        let narrow = version == FOLLOWS_SINCE;
        let all = (0..5).all(|no| is_narrow(&world, no) == narrow);
        ensure(
            all,
            format!("not all hubs take single networks: {narrow} is expected"),
        )?;
        let faults = checks::quiet_faults(&world);
        ensure(
            faults.is_empty(),
            format!("with link protocol {version}: {faults:?}"),
        )?;
        let others = claims(&mut world, 4, 0, "else");
        ensure(
            others == usize::from(!narrow),
            format!("the last hub has {others} claims of a network that it is not in"),
        )?;
    }
    let heard = told(&world) - before;
    ensure(
        heard == 0,
        format!("clients heard of {heard} changes, and there were none"),
    )?;
    settle(world, secs(30))
}

pub(super) fn reload(mutants: Mutants) -> Ended {
    let mut world = World::wired(config(mutants, 63, 1), 3, &chain(3));
    world.run_for(secs(3));
    world.join(2, &member("club", "a"));
    let who = member("club", "b");
    let session = world.join(0, &who);
    world.run_for(secs(2));
    world.leave(session);
    world.run_for(secs(4));
    ensure(
        claims(&mut world, 0, 2, "club") == 1,
        "the members of a network were let go while its own might come back",
    )?;
    let session = world.join(0, &who);
    ensure(
        world.session(session).status == Status::Live && world.session(session).roster.len() == 1,
        "who came back had to wait, or knows nobody",
    )?;
    world.leave(session);
    world.run_for(secs(6));
    ensure(
        claims(&mut world, 0, 2, "club") == 0,
        "the members of a network are kept for nobody",
    )?;
    settle(world, secs(20))
}

pub(super) fn waiting_signal(mutants: Mutants) -> Ended {
    let mut config = config(mutants, 64, 1);
    config.core.policies.of_mut(Dialect::PeerJs).waiting = Waiting::Together(secs(12));
    let mut world = World::wired(config, 3, &chain(3));
    world.run_for(secs(3));
    // Signals that clients of realms leave behind are still delivered to their target.
    let realm = NetworkKey::new(Dialect::PeerJs, "realm").map_err(|_| "no realm".to_owned())?;
    let of_realm = |name: &str| Newcomer {
        network: realm.clone(),
        ..member("realm", name)
    };
    let session = world.join(0, &of_realm("a"));
    world.run_for(secs(1));
    let target = of_realm("b");
    let signal = world
        .signal(session, &target.peer, true)
        .ok_or("not sent")?;
    world.leave(session);
    world.run_for(secs(9));
    world.join(2, &target);
    world.run_for(secs(4));
    ensure(
        world.was_delivered(signal),
        "a signal that waited did not arrive",
    )?;
    world.run_for(secs(8));
    ensure(
        world
            .core(0)
            .is_some_and(|core| !core.is_interested(&realm)),
        "the network of a signal that has arrived is of interest still",
    )?;
    settle(world, secs(20))
}

pub(super) fn first_roster(mutants: Mutants) -> Ended {
    let mut world = World::wired(config(mutants, 65, 1), 4, &chain(4));
    world.run_for(secs(3));
    world.join(3, &member("club", "a"));
    world.run_for(secs(1));
    let session = world.join(0, &member("club", "b"));
    let live = |world: &mut World| world.session(session).status == Status::Live;
    ensure(
        world.run_until_true(STEP, secs(1), live),
        "it was not accepted",
    )?;
    ensure(
        world.session(session).roster.len() == 1 && world.session(session).told == 0,
        "who came first to a network here was shown nobody",
    )?;
    // A contest finds the holder, too.
    let clone = world.join(1, &Newcomer::new("club", "a", "another"));
    world.run_for(secs(3));
    ensure(
        world.session(clone).status == Status::Refused,
        "somebody else has the id of a peer that lives",
    )?;
    settle(world, secs(20))
}

pub(super) fn tardy_hub(mutants: Mutants) -> Ended {
    let mut world = World::wired(config(mutants, 66, 1), 3, &[(1, 0), (2, 0)]);
    world.run_for(secs(3));
    for network in ["one", "two"] {
        world.join(1, &member(network, "a"));
    }
    world.run_for(secs(1));
    world.power_off(1);
    let joins_within = |world: &mut World, network, within| {
        let session = world.join(0, &member(network, "b"));
        let live = |world: &mut World| world.session(session).status == Status::Live;
        world.run_until_true(STEP, within, live)
    };
    ensure(
        joins_within(&mut world, "one", Duration::from_millis(2_050)),
        "a join waits for longer than two seconds",
    )?;
    ensure(
        joins_within(&mut world, "two", Duration::from_millis(50)),
        "a join waits for a hub that let another one wait in vain",
    )?;
    world.boot(1);
    settle(world, secs(75))
}

pub(super) fn looked_at(mutants: Mutants) -> Ended {
    let mut world = World::wired(config(mutants, 67, 1), 3, &chain(3));
    world.run_for(secs(3));
    for name in ["a", "b"] {
        world.join(0, &member("far", name));
    }
    world.run_for(secs(1));
    let (far, none) = (key("far"), key("none"));
    world.look_at(2, &none);
    ensure(
        world.looks_ended(2, &none) == 1
            && !world.core(2).is_some_and(|core| core.is_interested(&none)),
        "a look waits for a network that no hub lists",
    )?;
    world.look_at(2, &far);
    let is_seen = |world: &mut World| world.looks_ended(2, &far) == 1;
    ensure(
        world.run_until_true(STEP, secs(1), is_seen) && claims(&mut world, 2, 0, "far") == 2,
        "a look ends before the members are known",
    )?;
    // Another hub comes to have members in it while it is still of interest: its line is there before its members.
    let third = world.join(1, &member("far", "c"));
    let is_listed = |world: &mut World| lists(world, 2, 1, "far");
    ensure(
        world.run_until_true(Duration::from_micros(100), secs(1), is_listed)
            && claims(&mut world, 2, 1, "far") == 0,
        "the members are there as soon as the line",
    )?;
    world.look_at(2, &far);
    let is_seen = |world: &mut World| world.looks_ended(2, &far) == 2;
    ensure(
        !is_seen(&mut world)
            && world.run_until_true(STEP, secs(1), is_seen)
            && claims(&mut world, 2, 1, "far") == 1,
        "a look at a network of interest does not wait for members that are on their way",
    )?;
    world.leave(third);
    // The wait is two seconds at most, and the interest ends five seconds later; that of the other hub ends as soon.
    world.run_for(secs(10));
    ensure(
        claims(&mut world, 2, 0, "far") == 0,
        "a network is kept that nobody looks at any more",
    )?;
    // The line of a network stays for a while after its last member left.
    let gone = key("gone");
    let last = world.join(1, &member("gone", "d"));
    world.run_for(secs(1));
    world.leave(last);
    world.run_for(secs(1));
    let lacks = |world: &mut World| {
        let core = world.core(2);
        core.is_some_and(|core| !core.directory().read().unseen_hubs(&gone).is_empty())
    };
    ensure(
        lists(&mut world, 2, 1, "gone") && lacks(&mut world),
        "the line is gone as soon as the member",
    )?;
    world.look_at(2, &gone);
    let is_seen = |world: &mut World| world.looks_ended(2, &gone) == 1;
    ensure(
        world.run_until_true(STEP, secs(1), is_seen) && !lacks(&mut world),
        "a hub that has no member any more does not say so",
    )?;
    world.run_for(secs(8));
    world.power_off(0);
    world.look_at(2, &far);
    let is_over = |world: &mut World| world.looks_ended(2, &far) == 3;
    ensure(
        !world.run_until_true(STEP, Duration::from_millis(1_900), is_over),
        "a look does not wait for a hub that may answer",
    )?;
    ensure(
        world.run_until_true(STEP, Duration::from_millis(200), is_over),
        "a look waits for longer than two seconds",
    )?;
    world.boot(0);
    settle(world, secs(75))
}

/// A rogue that says that it has members in a network of interest, so that hubs subscribe to it; with its incarnation.
fn listed(mutants: Mutants, seed: u64) -> (World, HostNo, Incarnation) {
    let (mut world, rogue) = beset(config(mutants, seed, 1), 2, &[0]);
    let incarnation = world.core(rogue).map_or(life(1), Core::incarnation);
    world.join(0, &member("club", "a"));
    let lines = delta(&mut world, rogue, incarnation, 1_000, ("club", "n"));
    world.rogue_sends(rogue, 0, [ControlFrame::Changes(Scope::Networks, lines)]);
    world.run_for(secs(1));
    (world, rogue, incarnation)
}

/// A delta with one claim, which replaces everything before.
fn delta(
    world: &mut World,
    rogue: HostNo,
    incarnation: Incarnation,
    seq: u64,
    (network, peer): (&str, &str),
) -> Delta {
    let claim = Claim {
        network: key(network),
        peer: PeerId::Text(peer.into()),
        claim: ClaimNo(seq),
        hlc: Hlc::from_wall(1),
        quiet: true,
        data: None,
    };
    Delta {
        origin: world.host(rogue).id,
        incarnation,
        from: 0,
        reset: true,
        last: true,
        to: seq,
        entries: vec![Entry {
            seq,
            change: Change::Claim(claim),
        }],
    }
}

pub(super) fn another_network(mutants: Mutants) -> Ended {
    let (mut world, rogue, incarnation) = listed(mutants, 67);
    for (seq, network) in [(1_001, "other"), (1_002, "club")] {
        let part = delta(&mut world, rogue, incarnation, seq, (network, "rogue-n"));
        world.rogue_sends(
            rogue,
            0,
            [ControlFrame::Changes(Scope::Of(key("club")), part)],
        );
        world.run_for(secs(1));
        ensure(
            claims(&mut world, 0, rogue, "other") == 0,
            "a claim came with the set of another network",
        )?;
    }
    ensure(
        claims(&mut world, 0, rogue, "club") == 1,
        "the network was not followed",
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn whole_set_behind(mutants: Mutants) -> Ended {
    let (mut world, rogue, incarnation) = listed(mutants, 69);
    let part = delta(&mut world, rogue, incarnation, 1_001, ("club", "rogue-n"));
    world.rogue_sends(
        rogue,
        0,
        [ControlFrame::Changes(Scope::Of(key("club")), part)],
    );
    // With a hub that knows of no interest, all exchange whole sets again, and of the rogue there is less than was
    // known.
    let old = world.add_host(true, vec![0]);
    world.host(old).version = PULLS_SINCE;
    world.boot(old);
    world.run_for(secs(5));
    ensure(!is_narrow(&world, 0), "the mesh takes single networks")?;
    ensure(
        claims(&mut world, 0, rogue, "club") == 1,
        "a whole set took the place of a later one of a single network",
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn many_followed(mutants: Mutants) -> Ended {
    let (mut world, rogue) = beset(config(mutants, 68, 1), 2, &[0]);
    let hub = world.host(1).id;
    for part in 0..70 {
        let frames: Vec<ControlFrame> = (0..1_000)
            .map(|no| ControlFrame::Follow {
                set: Set::of(hub, &key(&format!("n{}", part * 1_000 + no))),
                incarnation: life(1),
                seq: 0,
            })
            .collect();
        world.rogue_sends(rogue, 0, frames.clone());
    }
    world.run_for(secs(2));
    let now = Moment(world.now());
    let most = world.core(0).map_or(0, |core| core.kept(now).followed);
    ensure(
        (1..=65_536).contains(&most),
        format!("a link follows {most} networks"),
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}
