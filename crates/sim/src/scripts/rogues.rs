//! A rogue hub with one kind of attack: random histories rarely make it, or need hours for it.

use std::time::Duration;

use bytes::Bytes;

use super::{Ended, checked, ensure, secs, settle, who};
use crate::sessions::Status;
use crate::world::{HostNo, Manners, World, WorldConfig};
use hubmesh_core::Kept;
use hubmesh_core::exchange::MAX_JUMP;
use hubmesh_core::frames::{
    AckFrame, Change, Claim, ControlFrame, DataFrame, Delta, Entry, FrameHead, LinkRecord,
    SignalBody, SignalFrame,
};
use hubmesh_core::ids::{ClaimNo, Hlc, HubId, Incarnation, LeaveReason, Moment, PeerId};
use hubmesh_core::mutants::Mutants;

/// An honest mesh of this many hubs, all linked, and a rogue that is linked to the first.
fn besieged(mutants: Mutants, seed: u64, honest: usize, max_hubs: usize) -> (World, HostNo) {
    let mut config = checked(mutants, seed);
    config.core.topology.max_hubs = max_hubs;
    beset(config, honest, &[0])
}

/// An honest mesh of this configuration, with a rogue that is linked to these hubs.
pub(super) fn beset(config: WorldConfig, honest: usize, linked: &[HostNo]) -> (World, HostNo) {
    let mut world = World::new(config);
    for no in 0..honest {
        let bootstrap = if no == 0 { Vec::new() } else { vec![0] };
        world.add_host(true, bootstrap);
        world.boot(no);
    }
    let rogue = world.add_host(false, linked.to_vec());
    world.host(rogue).auto_connect = false;
    world.make_rogue(rogue, Manners::default());
    world.run_for(secs(8));
    world.boot(rogue);
    world.run_for(secs(3));
    (world, rogue)
}

fn id(number: u64) -> HubId {
    let mut id = [0x77; 20];
    id[..8].copy_from_slice(&number.to_be_bytes());
    HubId(id)
}

pub(super) fn life(nonce: u64) -> Incarnation {
    Incarnation { epoch: 0, nonce }
}

fn record(hub: HubId, incarnation: Incarnation, number: u64, neighbours: &[HubId]) -> LinkRecord {
    let mut neighbours: Vec<(HubId, u16)> = neighbours.iter().map(|hub| (*hub, 1)).collect();
    neighbours.sort_unstable();
    LinkRecord {
        hub,
        incarnation,
        number,
        draining: false,
        urls: Vec::new(),
        region: String::new(),
        neighbours,
    }
}

pub(super) fn long_message(mutants: Mutants) -> Ended {
    let (mut world, rogue) = besieged(mutants, 40, 2, 64);
    let me = world.host(rogue).id;
    let gone = |seq| Entry {
        seq,
        change: Change::Gone {
            network: who(0).network,
            peer: PeerId::Text("nobody".into()),
            claim: ClaimNo(seq),
            reason: LeaveReason::Closed,
        },
    };
    let delta = Delta {
        origin: me,
        incarnation: life(1),
        from: 0,
        reset: false,
        last: true,
        to: 8_193,
        entries: (1..=8_193).map(gone).collect(),
    };
    ensure(world.linked(rogue, 0), "the rogue has no link")?;
    world.rogue_sends(rogue, 0, [ControlFrame::Delta(delta)]);
    let step = Duration::from_millis(1);
    let closed = world.run_until_true(step, secs(1), |world| !world.linked(rogue, 0));
    ensure(
        closed,
        "a message with more changes than may be was worked through",
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn subscriptions(mutants: Mutants) -> Ended {
    let (mut world, rogue) = besieged(mutants, 41, 2, 64);
    for part in 0..6 {
        let frames: Vec<ControlFrame> = (0..1_000)
            .map(|no| ControlFrame::Subscribe {
                origin: id(part * 1_000 + no),
                incarnation: life(1),
                seq: 0,
            })
            .collect();
        world.rogue_sends(rogue, 0, frames.clone());
    }
    world.run_for(secs(1));
    let now = Moment(world.now());
    let most = world.core(0).map_or(0, |core| core.kept(now).subscriptions);
    ensure(most <= 4_096, format!("a link has {most} subscriptions"))?;
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn forgotten_life(mutants: Mutants) -> Ended {
    let (mut world, rogue) = besieged(mutants, 42, 2, 64);
    let made_up = Incarnation {
        epoch: 60_000,
        nonce: 9,
    };
    let records = vec![record(id(1), made_up, 1, &[])];
    world.rogue_sends(rogue, 0, [ControlFrame::Records(records)]);
    world.run_for(secs(1));
    let knows = |world: &World| {
        let known = world.core(1).map(|core| core.topology().known(id(1)));
        known.flatten().is_some()
    };
    ensure(knows(&world), "the record did not spread")?;
    world.kill(rogue);
    world.run_for(secs(31 * 60));
    ensure(
        !knows(&world),
        "an incarnation that no hub has is remembered for good",
    )?;
    settle(world, secs(75))
}

/// Made-up hubs with a path to them, as many as there is space for.
fn fill(world: &mut World, rogue: HostNo, made_up: u64) {
    let me = world.host(rogue).id;
    let first = world.host(0).id;
    let nonce = world.core(rogue).map_or(0, |core| core.incarnation().nonce);
    let mut listed: Vec<HubId> = (0..made_up).map(id).collect();
    let mut records: Vec<LinkRecord> = listed
        .iter()
        .map(|hub| record(*hub, life(1), 1, &[me]))
        .collect();
    listed.push(first);
    records.push(record(me, life(nonce), 1_000, &listed));
    world.rogue_sends(rogue, 0, [ControlFrame::Records(records)]);
    world.run_for(secs(2));
}

/// However many hubs a rogue makes up, an honest newcomer finds the others, and they find it.
pub(super) fn crowd_of_nobodies(mutants: Mutants) -> Ended {
    let (mut world, rogue) = besieged(mutants, 43, 3, 40);
    let here = world.join(1, &who(1));
    fill(&mut world, rogue, 60);
    let records = kept(&world, 1).records;
    ensure(
        records == 40,
        format!("{records} records where there is space for 40"),
    )?;
    let newcomer = world.add_host(true, vec![1]);
    world.boot(newcomer);
    world.run_for(secs(10));
    let there = world.join(newcomer, &who(2));
    world.run_for(secs(2));
    let sees = |world: &World, one, other| {
        let peer = &world.session(other).peer;
        world.session(one).roster.contains_key(peer)
    };
    ensure(
        sees(&world, here, there) && sees(&world, there, here),
        "a newcomer and a peer of another hub do not see each other",
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}

/// Hubs that the made-up ones kept out are asked for when those are gone.
pub(super) fn room_after_the_crowd(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 44);
    config.core.topology.max_hubs = 12;
    // A row: 0, 1, 2, with the rogue at 0, so that 2 is no neighbour of 0.
    let mut world = World::wired(config, 2, &[(1, 0)]);
    let rogue = world.add_host(false, vec![0]);
    world.host(rogue).auto_connect = false;
    world.make_rogue(rogue, Manners::default());
    world.boot(rogue);
    world.run_for(secs(3));
    fill(&mut world, rogue, 30);
    let late = world.add_host(true, vec![1]);
    world.host(late).auto_connect = false;
    world.boot(late);
    world.run_for(secs(5));
    world.kill(rogue);
    world.run_for(secs(20));
    let hub = world.host(late).id;
    ensure(
        world
            .core(0)
            .is_some_and(|core| core.topology().is_reachable(hub)),
        "a hub that there was no space for is never asked for again",
    )?;
    settle(world, secs(75))
}

/// More made-up hubs without a path than there is space for, some announced to one hub and some to another.
pub(super) fn nobodies(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 45);
    config.core.topology.max_hubs = 20;
    let (mut world, rogue) = beset(config, 3, &[0, 1, 2]);
    for (to, first) in [(0, 0), (1, 40), (2, 80)] {
        let nobodies = (first..first + 40).map(|no| record(id(no), life(1), 1, &[]));
        world.rogue_sends(rogue, to, [ControlFrame::Records(nobodies.collect())]);
    }
    let mut records = 0;
    // There would be too many: a second of the run would take minutes.
    for _ in 0..200 {
        records += world
            .take_totals_over(Duration::from_millis(5))
            .sent
            .records;
        ensure(
            records < 3_000,
            format!("{records} records about hubs that nothing leads to"),
        )?;
    }
    world.kill(rogue);
    world.run_for(secs(5));
    settle(world, secs(75))
}

/// A hub with a random id draws another when a rogue makes it leave the mesh, and no client notices.
pub(super) fn new_id(mutants: Mutants) -> Ended {
    let (mut world, rogue) = besieged(mutants, 46, 3, 64);
    world.host(0).random_id = true;
    // The others have to dial it.
    world.host(0).auto_connect = false;
    world.restart(0, 0);
    world.run_for(secs(20));
    let (here, there) = (world.join(0, &who(0)), world.join(1, &who(1)));
    world.run_for(secs(2));
    let old = world.host(0).id;
    let epoch = |world: &World| world.core(0).map_or(0, |core| core.incarnation().epoch);
    for round in 0..4 {
        let known = Incarnation {
            epoch: epoch(&world) + 1,
            nonce: round,
        };
        let bye = ControlFrame::Records(vec![record(old, known, 1, &[])]);
        world.rogue_sends(rogue, 0, [bye]);
        world.run_for(Duration::from_millis(500));
    }
    ensure(world.host(0).id != old, "the hub has its old id")?;
    world.kill(rogue);
    world.run_for(secs(2));
    ensure(
        world.linked(0, 1) && world.linked(0, 2),
        "the hub is not back within two seconds",
    )?;
    for session in [here, there] {
        let status = world.session(session).status;
        ensure(status == Status::Live, "a client was sent away")?;
    }
    settle(world, secs(75))
}

fn incarnation_of(world: &World, no: HostNo) -> Incarnation {
    world.core(no).map_or(life(0), |core| core.incarnation())
}

fn kept(world: &World, no: HostNo) -> Kept {
    let now = Moment(world.now());
    world
        .core(no)
        .map_or_else(Kept::default, |core| core.kept(now))
}

pub(super) fn links_of_one_hub(mutants: Mutants) -> Ended {
    let (mut world, rogue) = besieged(mutants, 47, 2, 64);
    let face = (world.host(rogue).id, incarnation_of(&world, rogue));
    for _ in 0..12 {
        world.open_raw_link_as(rogue, 0, face, false);
    }
    let links = kept(&world, 0).links_with_one;
    ensure(links <= 4, format!("{links} links with one hub"))?;
    world.run_for(secs(5));
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn kept_aside(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 48);
    config.core.quota.bytes = 32 * 1024;
    let (mut world, rogue) = beset(config, 2, &[0]);
    let (origin, incarnation) = (world.host(rogue).id, incarnation_of(&world, rogue));
    for seq in 1..40 {
        let claim = Claim {
            network: who(0).network,
            peer: PeerId::Text(format!("rogue-{seq}").into()),
            claim: ClaimNo(seq),
            hlc: Hlc::from_wall(1),
            quiet: false,
            data: Some(Bytes::from(vec![b'x'; 9_000])),
        };
        let delta = Delta {
            origin,
            incarnation,
            from: seq - 1,
            reset: false,
            last: false,
            to: seq,
            entries: vec![Entry {
                seq,
                change: Change::Claim(claim),
            }],
        };
        world.rogue_sends(rogue, 0, [ControlFrame::Delta(delta)]);
        world.run_for(Duration::from_millis(100));
        let aside = kept(&world, 0).staged_bytes;
        ensure(
            aside <= 4 * 32 * 1024,
            format!("{aside} bytes are kept aside"),
        )?;
    }
    world.kill(rogue);
    settle(world, secs(75))
}

/// A signal between hubs, as a rogue can write it.
fn forged(world: &mut World, from: (HubId, Incarnation), to: HostNo, seq: u64) -> SignalFrame {
    SignalFrame {
        head: FrameHead {
            ttl: 5,
            source: from.0,
            source_incarnation: from.1,
            dest: world.host(to).id,
            dest_incarnation: incarnation_of(world, to),
        },
        seq,
        base: seq,
        body: SignalBody::Hub {
            payload: Bytes::from_static(b"nonsense"),
        },
    }
}

/// The forged signals of a rogue in the name of hub 1 do not keep signals of that hub's peers from hub 0 for ever.
fn after_forgery(
    mutants: Mutants,
    seed: u64,
    forge: impl Fn(&mut World, (HubId, Incarnation)) -> SignalFrame,
) -> Ended {
    let mut config = checked(mutants, seed);
    // No path through the rogue is as short as the link between the two.
    config.latency = 5_000..5_001;
    let (mut world, rogue) = beset(config, 2, &[0, 1]);
    let (_, from) = (world.join(0, &who(0)), world.join(1, &who(1)));
    world.run_for(secs(1));
    let pair = (world.host(1).id, incarnation_of(&world, 1));
    let frame = forge(&mut world, pair);
    world.rogue_sends(rogue, 0, [DataFrame::Signal(frame)]);
    let mut last = None;
    for _ in 0..3 {
        world.run_for(Duration::from_millis(400));
        last = world.signal(from, &who(0).peer, false);
    }
    world.run_for(Duration::from_millis(400));
    ensure(
        last.is_some_and(|signal| world.was_delivered(signal)),
        "one forged frame keeps two hubs apart",
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn later_life_in_a_signal(mutants: Mutants) -> Ended {
    after_forgery(mutants, 49, |world, (hub, life)| {
        let later = Incarnation {
            epoch: life.epoch + 1,
            ..life
        };
        forged(world, (hub, later), 0, 1)
    })
}

pub(super) fn number_far_ahead(mutants: Mutants) -> Ended {
    after_forgery(mutants, 50, |world, pair| {
        forged(world, pair, 0, u64::MAX - 1)
    })
}

/// A rogue acknowledges signals that hub 0 never sent. Hubs to which hub 0 has nothing under way still get its later
/// signals.
pub(super) fn numbers_skipped(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 53);
    config.core.exchange.send_windows = 1;
    let (mut world, rogue) = beset(config, 2, &[0]);
    let from = world.join(0, &who(0));
    let (there, lure) = (world.join(1, &who(1)), world.join(rogue, &who(2)));
    world.run_for(secs(1));
    world.signal(from, &who(2).peer, false);
    let lies = AckFrame {
        head: FrameHead {
            ttl: 5,
            source: world.host(rogue).id,
            source_incarnation: incarnation_of(&world, rogue),
            dest: world.host(0).id,
            dest_incarnation: incarnation_of(&world, 0),
        },
        upto: MAX_JUMP + 1,
        refused: Vec::new(),
    };
    world.rogue_sends(rogue, 0, [DataFrame::Ack(lies)]);
    world.leave(lure);
    world.run_for(secs(1));
    let signal = world.signal(from, &who(1).peer, false);
    world.run_for(secs(1));
    ensure(
        signal.is_some_and(|signal| world.was_delivered(signal)),
        "what one hub skips keeps signals from another",
    )?;
    world.leave(there);
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn many_sources(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 51);
    config.core.exchange.receive_windows = 4;
    let (mut world, rogue) = beset(config, 2, &[0]);
    fill(&mut world, rogue, 12);
    for hub in 0..12 {
        let frame = forged(&mut world, (id(hub), life(1)), 0, 1);
        world.rogue_sends(rogue, 0, [DataFrame::Signal(frame)]);
    }
    world.run_for(secs(1));
    let sources = kept(&world, 0).sources;
    ensure(
        sources == 4,
        format!("the signals of {sources} hubs are numbered, where there is space for 4"),
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}

pub(super) fn early_signals(mutants: Mutants) -> Ended {
    let mut config = checked(mutants, 52);
    config.core.exchange.early_bytes = 4 * 1024;
    let (mut world, rogue) = beset(config, 2, &[0]);
    let from = (world.host(rogue).id, incarnation_of(&world, rogue));
    for seq in 2..60 {
        let frame = SignalFrame {
            base: 1,
            ..forged(&mut world, from, 0, seq)
        };
        world.rogue_sends(rogue, 0, [DataFrame::Signal(frame)]);
    }
    world.run_for(secs(1));
    let early = kept(&world, 0).early_bytes;
    ensure(
        (1..=4 * 1024).contains(&early),
        format!("{early} bytes of signals before their turn"),
    )?;
    world.kill(rogue);
    settle(world, secs(75))
}
