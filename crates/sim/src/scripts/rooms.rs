//! Rooms whose hubs end, drain, restart, or are apart for a while.

use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::Core;
use hubmesh_core::api::{RECORD, RoomAsk, RoomRecord};
use hubmesh_core::frames::{Change, Claim, ControlFrame, Delta, Entry, Scope};
use hubmesh_core::ids::{ClaimNo, Dialect, Hlc, NetworkKey, PeerId};
use hubmesh_core::mutants::Mutants;

use super::rogues::{beset, life};
use super::{Ended, ensure, interest, mesh, secs, settle};
use crate::sessions::{SessionNo, Status};
use crate::world::{HostNo, Newcomer, World};

const ABOUT: &[u8] = b"what is kept";

fn create(world: &mut World, at: HostNo, peer: &str) -> SessionNo {
    let ask = RoomAsk::Create(Bytes::from_static(ABOUT));
    world.join(at, &Newcomer::of_room("red", peer, ask))
}

fn enter(world: &mut World, at: HostNo, peer: &str) -> SessionNo {
    world.join(at, &Newcomer::of_room("red", peer, RoomAsk::Enter))
}

/// A narrow mesh of this many hubs.
fn narrow(mutants: Mutants, seed: u64, hubs: usize) -> Ended {
    settle(
        World::mesh(interest::config(mutants, seed, 1), hubs),
        secs(15),
    )
}

/// The hub that holds the record, by the claims of each hub itself, with what is kept.
fn author(world: &World) -> Result<HostNo, String> {
    let of_one = |no| {
        let seen = records(world, no).into_iter();
        seen.filter(move |(of, _)| *of == no)
    };
    let held: Vec<(HostNo, RoomRecord)> = (0..world.host_count()).flat_map(of_one).collect();
    let [(holder, record)] = held.as_slice() else {
        return Err(format!("held by {held:?}"));
    };
    ensure(record.about == ABOUT, format!("{record:?} is kept"))?;
    Ok(*holder)
}

/// The records of the room as one hub shows them, and whose they are.
fn records(world: &World, at: HostNo) -> Vec<(HostNo, RoomRecord)> {
    let network = NetworkKey::new(Dialect::Rooms, "red").expect("a name of a room");
    let Some(core) = world.core(at) else {
        return Vec::new();
    };
    let directory = core.directory().read();
    let hubs = 0..world.host_count();
    let of_hub = |no: HostNo| {
        let claims = directory
            .claims_in(&world.hosts[no].id, &network)
            .into_iter();
        let records = claims.filter(|claim| claim.peer.to_string() == RECORD);
        records.filter_map(move |claim| Some((no, RoomRecord::read(claim.data.as_deref()?)?)))
    };
    let shown = hubs.filter(|no| directory.is_shown_of(&world.hosts[*no].id));
    shown.flat_map(of_hub).collect()
}

/// The hub that holds the record, which is to be one, the same for all these hubs, with what is kept.
fn holder(world: &World, hubs: &[HostNo]) -> Result<HostNo, String> {
    let mut holders = Vec::new();
    for no in hubs {
        let seen = records(world, *no);
        let [(holder, record)] = seen.as_slice() else {
            return Err(format!("hub {no} sees the records {seen:?}"));
        };
        ensure(record.about == ABOUT, format!("{record:?} is kept"))?;
        holders.push(*holder);
    }
    holders.dedup();
    ensure(holders.len() == 1, format!("held by {holders:?}"))?;
    Ok(holders[0])
}

/// All members are at one hub, which ends by itself. They come back at others.
pub(super) fn outlives_its_hub(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 91, 4), secs(15))?;
    create(&mut world, 1, "ada");
    enter(&mut world, 1, "bob");
    world.run_for(secs(1));
    ensure(holder(&world, &[0, 1, 2, 3])? == 1, "held elsewhere")?;
    world.kill(1);
    world.run_for(secs(6));
    let first = holder(&world, &[0, 2, 3])?;
    // Whoever took it over ends as well.
    world.power_off(first);
    world.run_for(secs(9));
    let left: Vec<HostNo> = [0, 2, 3].into_iter().filter(|no| *no != first).collect();
    holder(&world, &left)?;
    let back = enter(&mut world, left[0], "bob");
    world.run_for(secs(1));
    ensure(world.session(back).status == Status::Live, "not let in")?;
    ensure(holder(&world, &left)? == left[0], "not at the host's hub")?;
    world.boot(1);
    world.boot(first);
    settle(world, secs(75))
}

/// The record is at another hub before the one that drains is gone.
pub(super) fn handed_on(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 92, 4), secs(15))?;
    let ada = create(&mut world, 1, "ada");
    world.run_for(secs(1));
    world.drain(1);
    world.run_for(secs(1));
    let seen = records(&world, 0);
    ensure(seen.len() == 2, format!("{seen:?} while its host is there"))?;
    world.leave(ada);
    world.run_for(secs(1));
    let next = holder(&world, &[0, 1, 2, 3])?;
    ensure(next != 1, "still at the hub that drains")?;
    world.stop(1);
    world.run_for(secs(5));
    ensure(holder(&world, &[0, 2, 3])? == next, "handed on again")?;
    settle(world, secs(75))
}

/// All five hubs agree that the first holds the record.
fn settle_at_its_host(world: World) -> Ended {
    let world = settle(world, secs(75))?;
    let all = [0, 1, 2, 3, 4];
    ensure(holder(&world, &all)? == 0, "not at its host's hub")?;
    Ok(world)
}

/// The half without its hub has the room too, and somebody enters it there. Once they meet it is one, of all.
pub(super) fn in_both_halves(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 93, 5), secs(15))?;
    let ada = create(&mut world, 0, "ada");
    world.run_for(secs(1));
    world.partition(&[&[0, 1], &[2, 3, 4]]);
    world.run_for(secs(20));
    ensure(holder(&world, &[0, 1])? == 0, "ada's hub lost it")?;
    let there = holder(&world, &[2, 3, 4])?;
    ensure(there >= 2, "nobody took it over")?;
    world.heal();
    let mut world = settle_at_its_host(world)?;
    world.partition(&[&[0, 1], &[2, 3, 4]]);
    world.run_for(secs(20));
    let bob = enter(&mut world, 3, "bob");
    world.run_for(secs(1));
    ensure(holder(&world, &[2, 3, 4])? == 3, "not at bob's hub")?;
    world.heal();
    let mut world = settle_at_its_host(world)?;
    for session in [ada, bob] {
        ensure(world.session(session).status == Status::Live, "sent away")?;
    }
    world.run_for(secs(1));
    Ok(world)
}

/// It is back before the others would have hidden what it showed.
pub(super) fn quick_restart(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 94, 3), secs(15))?;
    create(&mut world, 2, "ada");
    world.run_for(secs(1));
    world.restart(2, 0);
    world.run_for(Duration::from_millis(300));
    let ada = enter(&mut world, 0, "ada");
    world.run_for(secs(6));
    ensure(world.session(ada).status == Status::Live, "not let in")?;
    ensure(holder(&world, &[0, 1, 2])? == 0, "not at its host's hub")?;
    settle(world, secs(75))
}

/// Its last member leaves while the hub that had the record before gives it up: whenever that is.
pub(super) fn left_to_each_other(mutants: Mutants) -> Ended {
    let mut world = settle(mesh(mutants, 95, 3), secs(15))?;
    let first = create(&mut world, 0, "ada");
    world.run_for(secs(1));
    world.leave(first);
    for pause in 0..60 {
        for (one, other) in [(0, 1), (1, 0)] {
            let ada = enter(&mut world, one, "ada");
            world.run_for(secs(1));
            let bob = enter(&mut world, other, "bob");
            world.run_for(secs(1));
            world.leave(ada);
            world.run_for(Duration::from_millis(2 * pause));
            world.leave(bob);
            world.run_for(secs(3));
            holder(&world, &[0, 1, 2]).map_err(|why| format!("after {pause} pauses: {why}"))?;
        }
    }
    settle(world, secs(75))
}

/// The hubs know of the others' rooms the names alone. Each hub that holds the record ends, one after the other.
pub(super) fn outlives_its_hubs_in_a_narrow_mesh(mutants: Mutants) -> Ended {
    let mut world = narrow(mutants, 96, 7)?;
    create(&mut world, 1, "ada");
    enter(&mut world, 1, "bob");
    world.run_for(secs(1));
    let (mut holder, mut left) = (author(&world)?, 7);
    ensure(holder == 1, "held elsewhere")?;
    for round in 0..4 {
        match round % 2 {
            0 => world.kill(holder),
            _ => world.power_off(holder),
        }
        left -= 1;
        // Three seconds of silence, and two of hold.
        world.run_for(Duration::from_millis(5_600));
        holder = author(&world).map_err(|why| format!("{left} hubs are left: {why}"))?;
    }
    let hubs: Vec<HostNo> = (0..7).filter(|no| world.is_up(*no)).collect();
    let other = hubs.into_iter().find(|no| *no != holder).ok_or("no hub")?;
    let bob = enter(&mut world, other, "bob");
    world.run_for(secs(1));
    ensure(world.session(bob).status == Status::Live, "not let in")?;
    ensure(author(&world)? == other, "not at the host's hub")?;
    (0..7).for_each(|no| world.boot(no));
    settle(world, secs(75))
}

/// The hub of the last member ends while another one, which a member has left, would let the room go.
pub(super) fn lost_while_it_lingers(mutants: Mutants) -> Ended {
    let mut world = narrow(mutants, 101, 5)?;
    create(&mut world, 1, "ada");
    world.run_for(secs(1));
    let bob = enter(&mut world, 2, "bob");
    world.run_for(secs(1));
    world.leave(bob);
    world.run_for(Duration::from_millis(4_500));
    world.kill(1);
    world.run_for(secs(4));
    let next = author(&world)?;
    ensure(
        next == 2,
        format!("taken over by host {next}, which had no record"),
    )?;
    world.boot(1);
    settle(world, secs(75))
}

/// Its members come back at once to hubs that know nothing of the room, before another hub has taken it over.
pub(super) fn entered_between_its_hubs(mutants: Mutants) -> Ended {
    let mut world = narrow(mutants, 97, 6)?;
    create(&mut world, 1, "ada");
    world.run_for(secs(1));
    let network = Newcomer::of_room("red", "x", RoomAsk::Enter).network;
    let is_guarding = |no: &HostNo| {
        let core = world.core(*no);
        core.is_some_and(|core| core.is_guarding(&network))
    };
    let (guardians, others): (Vec<HostNo>, _) = [0, 2, 3, 4, 5].into_iter().partition(is_guarding);
    ensure(guardians.len() == 1, format!("guarded by {guardians:?}"))?;
    world.kill(1);
    for pause in [0, 300, 1_200] {
        world.run_for(Duration::from_millis(pause));
        for no in &others {
            let no = *no;
            enter(&mut world, no, &format!("{no} after {pause}"));
        }
    }
    world.run_for(secs(5));
    for session in world.sessions.iter().skip(1) {
        ensure(
            session.status == Status::Live,
            format!("{:?} was not let in", session.peer),
        )?;
    }
    author(&world)?;
    // A room that is lost for good is waited for no longer than that.
    let nobody = world.join(2, &Newcomer::of_room("none", "ada", RoomAsk::Enter));
    world.run_for(Duration::from_millis(50));
    ensure(
        world.session(nobody).status == Status::Refused,
        "a room from nowhere",
    )?;
    settle(world, secs(75))
}

/// The record goes from the hub that drains to its guardian, and when that one drains too, to the next one.
pub(super) fn handed_on_in_a_narrow_mesh(mutants: Mutants) -> Ended {
    let mut world = narrow(mutants, 98, 6)?;
    let ada = create(&mut world, 1, "ada");
    world.run_for(secs(1));
    world.leave(ada);
    world.run_for(secs(1));
    let mut holder = author(&world)?;
    ensure(holder == 1, "held elsewhere")?;
    for _ in 0..3 {
        let before = holder;
        world.drain(before);
        world.run_for(secs(1));
        holder = author(&world)?;
        ensure(holder != before, "still at the hub that drains")?;
        world.stop(before);
        world.run_for(secs(9));
        ensure(author(&world)? == holder, "handed on again")?;
    }
    settle(world, secs(75))
}

/// A mesh grows, is narrow from then on, and full again: the room has a guardian whenever it needs one.
pub(super) fn guarded_as_hubs_come_and_go(mutants: Mutants) -> Ended {
    let mut world = settle(World::mesh(interest::config(mutants, 99, 4), 4), secs(15))?;
    create(&mut world, 1, "ada");
    world.run_for(secs(1));
    for _ in 0..6 {
        let no = world.add_host(true, vec![0]);
        world.boot(no);
        world = settle(world, secs(20))?;
    }
    for no in [9, 8, 0, 2] {
        world.power_off(no);
        world = settle(world, secs(30))?;
    }
    world.power_off(1);
    world.run_for(secs(6));
    author(&world)?;
    settle(world, secs(75))
}

/// A hub that lists any number of rooms is guarded in as many as it might have.
pub(super) fn many_guarded(mutants: Mutants) -> Ended {
    let mut config = interest::config(mutants, 100, 1);
    config.core.rooms.most = 30;
    let (mut world, rogue) = beset(config, 2, &[0, 1]);
    let incarnation = world.core(rogue).map_or(life(1), Core::incarnation);
    let line = |no: u64| Claim {
        network: Newcomer::of_room(&format!("room {no}"), "x", RoomAsk::Enter).network,
        peer: PeerId::Text("n".into()),
        claim: ClaimNo(no),
        hlc: Hlc::from_wall(1),
        quiet: true,
        data: None,
    };
    let lines = Delta {
        origin: world.host(rogue).id,
        incarnation,
        from: 0,
        reset: true,
        last: true,
        to: 2_000,
        entries: (1_001..=2_000)
            .map(|seq| Entry {
                seq,
                change: Change::Claim(line(seq)),
            })
            .collect(),
    };
    for no in [0, 1] {
        let frame = ControlFrame::Changes(Scope::Networks, lines.clone());
        world.rogue_sends(rogue, no, [frame]);
    }
    world.run_for(secs(2));
    for no in [0, 1] {
        let guarded = world.core(no).map_or(0, Core::guarded);
        ensure(
            guarded == 2 * 30 / 3 + 32,
            format!("hub {no} guards {guarded} rooms of a rogue"),
        )?;
    }
    world.kill(rogue);
    let mut world = settle(world, secs(75))?;
    world.run_for(secs(5));
    let guarded = [0, 1].map(|no| world.core(no).map_or(0, Core::guarded));
    ensure(
        guarded == [0, 0],
        format!("{guarded:?} are guarded for ever"),
    )?;
    Ok(world)
}
