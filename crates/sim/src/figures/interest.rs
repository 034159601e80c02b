//! The cost of a narrow mesh: hubs exchange only the networks of interest.
//!
//! Networks of fifty peers are spread over one to four consecutive hubs, like those of a region. All the hubs are
//! simulated, with as many peers as fit. Then the directory of one hub of the whole plan is filled, claim by claim and
//! line by line, and measured: its own peers, those in networks shared with them, the lines of all other hubs, and for
//! neighbours as many more sets as were counted in the simulated mesh.

use std::time::Duration;

use super::ways::Ways;
use super::{
    Meters, NETWORK, Plan, Section, first_and_another, is_known, of_links, person, quantile,
    seconds,
};
use crate::sessions::Status;
use crate::world::{HostNo, World};
use hubmesh_core::Core;
use hubmesh_core::directory::{ClaimQuota, Directory};
use hubmesh_core::frames::{Change, Claim, Entry, Set};
use hubmesh_core::ids::{
    ClaimNo, Hlc, HubId, Incarnation, LeaveReason, Moment, NetworkKey, PeerId, mix,
};
use hubmesh_core::mutants::Mutants;

/// The most lines that the hubs of the mesh have together: about 1 GB.
const MOST_LINES: usize = 6_000_000;
const TICK: Duration = Duration::from_micros(200);
/// The most hubs over which a network is spread.
const SPREAD: usize = 4;

/// The hubs at which a network has members, and the index of this one.
fn place(plan: Plan, no: usize) -> HostNo {
    let network = no / NETWORK;
    let first = mix(network as u64) as usize % plan.hubs;
    let spread = 1 + (mix(!(network as u64)) as usize % SPREAD).min(plan.hubs - 1);
    (first + no % spread) % plan.hubs
}

fn that_fits(plan: Plan) -> Plan {
    // Two and a half hubs a network on average.
    let lines_each = plan.hubs * 5 / 2;
    let networks = (MOST_LINES / lines_each.max(1)).max(1);
    Plan {
        peers: plan.peers.min(networks * NETWORK),
        ..plan
    }
}

pub(super) fn measure(plan: Plan, meters: Meters) -> Vec<Section> {
    let (played, transit) = mesh(that_fits(plan), meters);
    vec![played, one_hub(plan, transit, meters)]
}

fn mesh(plan: Plan, meters: Meters) -> (Section, f64) {
    let mut section = Section::new(
        format!(
            "the mesh: {} hubs, {} peers in networks of {NETWORK} on 1-{SPREAD} hubs, links of 2-82 ms, seed {}",
            plan.hubs, plan.peers, plan.seed
        ),
        meters,
    );
    let mut world = cold_start(plan, &mut section);
    let transit = population(&mut world, plan, meters, &mut section);
    joins(&mut world, plan, &mut section);
    first_joins(&mut world, plan, &mut section);
    background(&mut world, plan, &mut section);
    (section, transit)
}

fn cold_start(plan: Plan, section: &mut Section) -> World {
    let mut config = of_links(plan.seed);
    config.core.interest.full_hubs = config.core.interest.full_hubs.min(plan.hubs - 1);
    let mut world = World::new(config);
    for no in 0..plan.hubs {
        world.add_host(true, first_and_another(no));
    }
    (0..plan.hubs).for_each(|no| world.boot(no));
    let step = Duration::from_millis(50);
    let began = world.now();
    let narrow = world.run_until_true(step, Duration::from_secs(60), |world| {
        (0..plan.hubs).all(|no| world.core(no).is_some_and(Core::is_narrow))
    });
    let took = narrow.then(|| Duration::from_micros(world.now() - began));
    section.add(
        "cold start: every hub takes single networks after",
        seconds(took),
        "s",
    );
    world.run_for(Duration::from_secs(10));
    world
}

/// Lets all peers join; returns how many sets a hub has for its neighbours, for each that it has for itself.
fn population(world: &mut World, plan: Plan, meters: Meters, section: &mut Section) -> f64 {
    let (memory, clock) = ((meters.memory)(), (meters.cpu)());
    let _ = world.take_totals();
    let mut by_host = vec![Vec::new(); plan.hubs];
    for no in 0..plan.peers {
        by_host[place(plan, no)].push(no);
    }
    for (no, people) in by_host.iter().enumerate() {
        for some in people.chunks(200) {
            world.join_many_unwatched(no, some.iter().map(|no| person(*no)));
            world.run_for(Duration::from_millis(1));
        }
    }
    // Lines that were sent while networks grew are sent again, a bounded number in each round of housekeeping.
    let lines = plan.peers / NETWORK * SPREAD / plan.hubs;
    world.run_for(Duration::from_secs(30 * (2 + lines as u64 / 32)));
    section.add(
        "joins in bulk: CPU time per join",
        meters.cpu_since(clock) * 1e6 / plan.peers.max(1) as f64,
        "us",
    );
    let sent = world.take_totals().sent;
    section.add(
        "... bytes per join, lines and sets that are new included",
        sent.delta_bytes as f64 / plan.peers.max(1) as f64,
        "B",
    );
    let grown = (meters.memory)().saturating_sub(memory) as f64;
    section.add("... memory per hub", grown / plan.hubs as f64 / 1e6, "MB");
    let (mut own, mut transit, mut lines, mut claims) = (0_usize, 0_usize, 0_usize, 0_usize);
    for no in 0..plan.hubs {
        let Some(core) = world.core(no) else { continue };
        let directory = core.directory().read();
        lines += directory.lines().len();
        claims += directory.records();
        for hub in core.by_parts() {
            for network in directory.networks_held(hub) {
                match core.is_interested(&network) {
                    true => own += 1,
                    false => transit += 1,
                }
            }
        }
    }
    let per_hub = |sum: usize| sum as f64 / plan.hubs as f64;
    section.add("lines per hub", per_hub(lines), "");
    section.add("claims per hub, its own included", per_hub(claims), "");
    section.add(
        "sets of single networks per hub, of its own interest",
        per_hub(own),
        "",
    );
    section.add("... for its neighbours", per_hub(transit), "");
    transit as f64 / own.max(1) as f64
}

/// Single joins to networks in which their hubs already have members, one at a time in a mesh at rest.
fn joins(world: &mut World, plan: Plan, section: &mut Section) {
    let rounds = 100;
    let (mut times, mut interested) = (Vec::new(), 0);
    let _ = world.take_totals();
    for round in 0..rounds {
        let first = round * 37 * NETWORK % plan.peers / NETWORK * NETWORK;
        let mut who = person(plan.peers + round);
        who.network = person(first).network;
        let at = place(plan, first);
        let has_members = |no: &HostNo| {
            let core = world.core(*no);
            core.is_some_and(|core| core.is_interested(&who.network))
        };
        let mut hosts: Vec<HostNo> = (0..plan.hubs).filter(has_members).collect();
        interested += hosts.len().saturating_sub(1);
        let began = world.now();
        world.join_unwatched(at, &who);
        world.run_until_true(TICK, Duration::from_secs(1), |world| {
            hosts.retain(|no| !is_known(world, *no, &who));
            hosts.is_empty()
        });
        times.push((world.now() - began) as f64 / 1e3);
        world.run_for(Duration::from_millis(20));
    }
    let sent = world.take_totals().sent;
    section.add(
        "a join is at the last hub with an interest, p50",
        quantile(&mut times, 0.5),
        "ms",
    );
    section.add("... p99", quantile(&mut times, 0.99), "ms");
    let interested = interested.max(1) as f64;
    section.add(
        "hubs with an interest in a join, beside its own",
        interested / rounds as f64,
        "",
    );
    section.add(
        "... links that it crosses",
        sent.changes as f64 / rounds as f64,
        "",
    );
    section.add(
        "bytes per join and link crossed",
        sent.delta_bytes as f64 / sent.changes.max(1) as f64,
        "B",
    );
    section.add_with_target(
        "bytes per join and hub with an interest",
        sent.delta_bytes as f64 / interested,
        "B",
        40.0,
    );
}

/// Joins to networks that are new to their hubs, each with an immediate signal to a peer there.
fn first_joins(world: &mut World, plan: Plan, section: &mut Section) {
    let (mut accepted, mut delivered) = (Vec::new(), Vec::new());
    let ways = Ways::of(world);
    let mut trips = Vec::new();
    let _ = world.take_totals();
    let rounds = 40;
    for round in 0..rounds {
        let first = round * 91 * NETWORK % plan.peers / NETWORK * NETWORK;
        let at = (place(plan, first) + plan.hubs / 2 + round) % plan.hubs;
        let mut target = person(plan.peers + 1_000 + round);
        target.network = person(first).network;
        let mut who = person(plan.peers + 2_000 + round);
        who.network = person(first).network;
        let there = world.join(place(plan, first), &target);
        world.run_for(Duration::from_secs(1));
        let began = world.now();
        let session = world.join(at, &who);
        let live = |world: &mut World| world.session(session).status == Status::Live;
        world.run_until_true(TICK, Duration::from_secs(3), live);
        accepted.push((world.now() - began) as f64 / 1e3);
        if let Some(signal) = world.signal(session, &target.peer, true) {
            world.run_until_true(TICK, Duration::from_secs(3), |world| {
                world.was_delivered(signal)
            });
        }
        delivered.push((world.now() - began) as f64 / 1e3);
        trips.push(2.0 * ways.farthest(at) as f64 / 1e3);
        world.leave(session);
        world.leave(there);
        world.run_for(Duration::from_millis(100));
    }
    let sent = world.take_totals().sent;
    section.add(
        "a join to a network that is new to its hub, p50",
        quantile(&mut accepted, 0.5),
        "ms",
    );
    section.add("... p99", quantile(&mut accepted, 0.99), "ms");
    section.add(
        "... and a signal to somebody there has arrived, p99",
        quantile(&mut delivered, 0.99),
        "ms",
    );
    section.add(
        "there and back to the farthest hub, p50",
        quantile(&mut trips, 0.5),
        "ms",
    );
    let bytes = sent.delta_bytes + sent.follow_bytes;
    section.add(
        "bytes of such a join, its peers' sets and the word to all included",
        bytes as f64 / rounds as f64 / 1e3,
        "kB",
    );
}

fn background(world: &mut World, plan: Plan, section: &mut Section) {
    world.run_for(Duration::from_secs(10));
    let span = Duration::from_secs(60);
    let sent = world.take_totals_over(span).sent;
    let rate = (sent.delta_bytes + sent.follow_bytes) as f64 / 60.0 / plan.hubs as f64;
    section.add_with_target("lines and sets at rest, per hub", rate, "B/s", 1.0);
}

/// The directory of one hub in the whole plan.
fn one_hub(plan: Plan, transit: f64, meters: Meters) -> Section {
    let mut section = Section::new(
        format!(
            "one of {} hubs with {} peers: its directory, filled with all that it holds, and {transit:.2} sets for neighbours for each of its own",
            plan.hubs, plan.peers
        ),
        meters,
    );
    let me = plan.hubs / 2;
    let networks = plan.peers / NETWORK;
    let memory = (meters.memory)();
    let life = Incarnation { epoch: 0, nonce: 1 };
    let mut directory = Directory::new(id(me), life, plan.seed, 1_000, Mutants::default());
    directory.set_quota(ClaimQuota {
        claims: 10_000_000,
        ..ClaimQuota::default()
    });
    directory.open_lines();
    let mut numbers = vec![0_u64; plan.hubs];
    let mut owed = 0.0;
    for network in 0..networks {
        let people = network * NETWORK..(network + 1) * NETWORK;
        let mut by_host: Vec<(HostNo, Vec<usize>)> = Vec::new();
        for no in people {
            let at = place(plan, no);
            match by_host.iter_mut().find(|(host, _)| *host == at) {
                Some((_, members)) => members.push(no),
                None => by_host.push((at, vec![no])),
            }
        }
        let ours = by_host.iter().any(|(host, _)| *host == me);
        for (host, members) in by_host {
            numbers[host] += 1;
            let key = person(members[0]).network;
            if host == me {
                own(&mut directory, &key, &members);
                continue;
            }
            line(&mut directory, host, numbers[host], &key, members.len());
            // The sets for neighbours are spread over all networks alike.
            if ours {
                owed += transit;
            }
            if ours || owed >= 1.0 {
                owed -= if ours { 0.0 } else { 1.0 };
                part(&mut directory, host, &key, &members);
            }
        }
    }
    directory.open_views(&id(me));
    let grown = (meters.memory)().saturating_sub(memory) as f64;
    section.add("networks", networks as f64, "");
    section.add("lines", directory.lines().len() as f64, "");
    section.add("its own peers", directory.own_peers() as f64, "");
    section.add("claims, its own included", directory.records() as f64, "");
    section.add("sets of single networks", directory.parts() as f64, "");
    section.add_with_target("memory of the directory", grown / 1e6, "MB", 150.0);
    section
}

fn id(no: HostNo) -> HubId {
    let mut id = [0; 20];
    for (chunk, salt) in id.chunks_mut(8).zip(1..) {
        let bytes = mix(no as u64 ^ mix(salt)).to_be_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    HubId(id)
}

fn claim(no: usize) -> Claim {
    let who = person(no);
    Claim {
        network: who.network,
        peer: who.peer,
        claim: ClaimNo(no as u64),
        hlc: Hlc::from_wall(1_800_000_000_000 + no as u64),
        quiet: false,
        data: None,
    }
}

fn own(directory: &mut Directory, network: &NetworkKey, members: &[usize]) {
    for no in members {
        directory.author(&claim(*no));
    }
    directory.lines_mut().author(network, members.len());
    // No peer is told here.
    let _ = directory.take_changes();
}

/// Receives a set from the start, as from a neighbour.
fn fill(directory: &mut Directory, set: &Set, entries: Vec<Entry>) {
    let to = entries.last().map_or(0, |entry| entry.seq);
    directory.begin_set(set, Incarnation { epoch: 0, nonce: 1 });
    directory.apply_set(Moment(0), set, entries, to);
    directory.complete_set(set, to);
    directory.show_set(set, true, LeaveReason::HubLost);
    let _ = directory.take_changes();
    let _ = directory.lines_mut().take_touched();
}

fn line(directory: &mut Directory, host: HostNo, number: u64, network: &NetworkKey, size: usize) {
    let set = Set::networks(id(host));
    let change = Change::Claim(Claim {
        network: network.clone(),
        peer: PeerId::Text("n".into()),
        claim: ClaimNo(number),
        hlc: Hlc::from_wall(size as u64),
        quiet: true,
        data: None,
    });
    fill(
        directory,
        &set,
        vec![Entry {
            seq: number,
            change,
        }],
    );
}

fn part(directory: &mut Directory, host: HostNo, network: &NetworkKey, members: &[usize]) {
    let set = Set::of(id(host), network);
    let entries = members.iter().zip(1..).map(|(no, seq)| Entry {
        seq,
        change: Change::Claim(claim(*no)),
    });
    fill(directory, &set, entries.collect());
}
