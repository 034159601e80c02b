//! The invariants that must hold when a mesh has been left in peace, by their numbers in MESH.md.
//!
//! Each check reads cores from outside and computes the right result itself: the authors' own sets are the truth, the
//! open connections are the graph.

mod interest;
mod rooms;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

pub use rooms::left_over;

use super::sessions::{SessionNo, Status};
use super::world::{HostNo, World};
use hubmesh_core::Core;
use hubmesh_core::directory::ClaimView;
use hubmesh_core::ids::{Hlc, HubId, NetworkKey, PeerId};

/// The holder of an id, by the winner rule.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Holder {
    rank: (Hlc, HubId),
    quiet: bool,
    data: Option<Bytes>,
}

type Holders = BTreeMap<(NetworkKey, PeerId), Holder>;

/// Hubs that can reach each other over open links.
pub fn components(world: &World) -> Vec<Vec<HostNo>> {
    let mut component: BTreeMap<HostNo, HostNo> = (0..world.hosts.len())
        .filter(|no| world.core(*no).is_some_and(|core| !core.has_left()))
        .map(|no| (no, no))
        .collect();
    loop {
        let mut changed = false;
        for conn in world.conns.values().filter(|conn| conn.is_open()) {
            let (a, b) = (conn.ends[0].owner, conn.ends[1].owner);
            if !world.is(a) || !world.is(b) {
                continue;
            }
            let (Some(ca), Some(cb)) = (
                component.get(&a.host).copied(),
                component.get(&b.host).copied(),
            ) else {
                continue;
            };
            if ca != cb {
                component.insert(a.host, ca.min(cb));
                component.insert(b.host, ca.min(cb));
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let mut groups: BTreeMap<HostNo, Vec<HostNo>> = BTreeMap::new();
    for (no, root) in component {
        groups.entry(root).or_default().push(no);
    }
    groups.into_values().collect()
}

/// The broken invariants in a mesh that has been quiet for long enough.
pub fn quiet_faults(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    for component in components(world) {
        same_sets(world, &component, &mut faults);
        interest::same_networks(world, &component, &mut faults);
        authors_hold_what_they_claim(world, &component, &mut faults);
        spanning_trees(world, &component, &mut faults);
        same_records(world, &component, &mut faults);
        let holders = winners(world, &component, &mut faults);
        same_winners(world, &component, &holders, &mut faults);
        rosters(world, &component, &holders, &mut faults);
        rooms::one_host_each(world, &component, &mut faults);
        rooms::one_guardian_each(world, &component, &mut faults);
    }
    one_link_per_pair(world, &mut faults);
    faults
}

/// 1: every hub shows exactly the claims that the hubs of its component have.
fn same_sets(world: &World, component: &[HostNo], faults: &mut Vec<String>) {
    for no in component {
        let Some(core) = world.core(*no) else {
            continue;
        };
        let directory = core.directory().read();
        for other in component {
            let Some(author) = world.core(*other) else {
                continue;
            };
            let id = world.hosts[*other].id;
            if core.by_parts().any(|hub| *hub == id) {
                continue;
            }
            let theirs = author.directory().read().origin_state(&id);
            let ours = directory.origin_state(&id);
            let same = match (theirs, ours) {
                (Some(theirs), Some(ours)) => {
                    (theirs.incarnation, theirs.seq, theirs.claims)
                        == (ours.incarnation, ours.seq, ours.claims)
                        && ours.complete
                        && ours.visible
                }
                (Some(theirs), None) => theirs.seq == 0,
                _ => false,
            };
            if !same {
                faults.push(format!(
                    "1: host {no} has {ours:?} of host {other}, which has {theirs:?}"
                ));
            }
        }
        let members: BTreeSet<HubId> = component
            .iter()
            .map(|other| world.hosts[*other].id)
            .collect();
        for hub in directory.all_hubs() {
            let mut sets = directory.sets_of(&hub).into_iter();
            let visible = |set| directory.set_state(&set).is_some_and(|state| state.visible);
            if !members.contains(&hub) && sets.any(visible) {
                faults.push(format!("1: host {no} shows {hub:?}, which it cannot reach"));
            }
        }
    }
}

/// 2: every claim of a hub belongs to a client that exists, and every existing client has one.
fn authors_hold_what_they_claim(world: &World, component: &[HostNo], faults: &mut Vec<String>) {
    for no in component {
        let (Some(core), Some(running)) = (world.core(*no), world.hosts[*no].running.as_ref())
        else {
            continue;
        };
        let claims = core.directory().read().claims_of(&world.hosts[*no].id);
        let live = |session: &SessionNo| world.sessions[*session].status == Status::Live;
        let expected = running
            .sessions
            .values()
            .filter(|session| live(session))
            .count();
        let held = claims
            .iter()
            .filter(|claim| is_of_its_session(world, *no, claim))
            .count();
        // Claims that hold the records of rooms, and bans, belong to no peer.
        let own = running.unwatched + core.rooms_held() + core.bans_held();
        if (held, claims.len()) != (expected, expected + own) {
            faults.push(format!(
                "2: host {no} claims {}, of which {held} are right, and holds {expected}",
                claims.len()
            ));
        }
    }
}

fn is_of_its_session(world: &World, no: HostNo, claim: &ClaimView) -> bool {
    let Some(running) = world.hosts[no].running.as_ref() else {
        return false;
    };
    running
        .sessions
        .get(&claim.claim)
        .map(|session| &world.sessions[*session])
        .is_some_and(|session| {
            session.network == claim.network
                && session.peer == claim.peer
                && session.quiet == claim.quiet
                && session.data == claim.data
        })
}

/// 9: the parents of an origin lead to it from every hub.
fn spanning_trees(world: &World, component: &[HostNo], faults: &mut Vec<String>) {
    for origin in component {
        let id = world.hosts[*origin].id;
        let mut leads_there = BTreeSet::from([*origin]);
        for start in component {
            let mut way = vec![*start];
            while let Some(at) = way.last().copied()
                && !leads_there.contains(&at)
                && way.len() <= component.len()
                && let Some(next) = parent(world, at, &id)
            {
                way.push(next);
            }
            let end = way.last().copied().unwrap_or(*start);
            if leads_there.contains(&end) {
                leads_there.extend(way);
            } else {
                faults.push(format!(
                    "9: the parents of host {start} for host {origin} end at host {end}"
                ));
            }
        }
    }
}

fn parent(world: &World, no: HostNo, origin: &HubId) -> Option<HostNo> {
    let running = world.hosts[no].running.as_ref()?;
    let link = running.core.parent(origin)?;
    let (conn, side) = running.links.get(&link)?;
    Some(world.conns.get(*conn)?.ends[1 - side].owner.host)
}

/// 10: the newest records are everywhere, and both ends list each link that is used.
fn same_records(world: &World, component: &[HostNo], faults: &mut Vec<String>) {
    for no in component {
        let Some(core) = world.core(*no) else {
            continue;
        };
        for other in component {
            let id = world.hosts[*other].id;
            let own = world
                .core(*other)
                .and_then(|core| core.topology().record(id));
            if core.topology().record(id) != own {
                faults.push(format!(
                    "10: host {no} has an old link record of host {other}"
                ));
            }
        }
        let me = world.hosts[*no].id;
        let lists = |hub: HubId, neighbour: HubId| {
            core.topology().record(hub).is_some_and(|record| {
                record
                    .neighbours
                    .iter()
                    .any(|(listed, _)| *listed == neighbour)
            })
        };
        for link in core.links().iter().filter(|link| link.active) {
            if !lists(me, link.hub) || !lists(link.hub, me) {
                faults.push(format!(
                    "10: host {no} uses a link with {:?} that is not listed by both",
                    link.hub
                ));
            }
        }
    }
}

/// 11: two hubs share one link, and both agree which.
fn one_link_per_pair(world: &World, faults: &mut Vec<String>) {
    let mut pairs: BTreeMap<(HostNo, HostNo), usize> = BTreeMap::new();
    for conn in world.conns.values() {
        let [a, b] = &conn.ends;
        let here = [a, b].map(|end| end.open_link().is_some() && world.is(end.owner));
        match here {
            [true, true] => {
                let (a, b) = (a.owner.host, b.owner.host);
                *pairs.entry((a.min(b), a.max(b))).or_default() += 1;
            }
            [false, false] => {}
            _ => faults.push(format!(
                "11: a link of {:?} and {:?} stands at one end alone",
                a.owner, b.owner
            )),
        }
    }
    for ((a, b), links) in pairs.into_iter().filter(|(_, links)| *links > 1) {
        faults.push(format!("11: hosts {a} and {b} share {links} links"));
    }
}

/// 11: pairs that want a link and could have one, but have none. Must be empty after a minute of peace.
pub fn missing_links(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let up: Vec<HostNo> = (0..world.hosts.len())
        .filter(|no| world.core(*no).is_some_and(|core| !core.has_left()))
        .collect();
    let small = up.len() <= world.config.core.dial.full_mesh_up_to;
    let groups = components(world);
    for (at, a) in up.iter().enumerate() {
        for b in &up[at + 1..] {
            let (ha, hb) = (&world.hosts[*a], &world.hosts[*b]);
            // In a large mesh an address rests while its hub is reachable. In any, that of a full hub does for a while.
            if together(&groups, *a, *b) && (!small || world.rests_as_full(*a, *b)) {
                continue;
            }
            let told = (ha.bootstrap.contains(b) && hb.url.is_some())
                || (hb.bootstrap.contains(a) && ha.url.is_some());
            let learned = small
                && together(&groups, *a, *b)
                && ((ha.auto_connect && hb.url.is_some()) || (hb.auto_connect && ha.url.is_some()));
            if (told || learned) && !world.linked(*a, *b) {
                faults.push(format!("11: hosts {a} and {b} want a link and have none"));
            }
        }
    }
    faults
}

/// 16: one claim per id is left, the one that wins.
fn winners(world: &World, component: &[HostNo], faults: &mut Vec<String>) -> Holders {
    let mut holders = Holders::new();
    for no in component {
        let Some(core) = world.core(*no) else {
            continue;
        };
        let id = world.hosts[*no].id;
        for claim in core.directory().read().claims_of(&id) {
            let holder = Holder {
                rank: (claim.hlc, id),
                quiet: claim.quiet,
                data: claim.data,
            };
            let key = (claim.network, claim.peer);
            if let Some(other) = holders.get(&key) {
                faults.push(format!(
                    "16: {key:?} is held at {:?} and at {:?}",
                    other.rank.1, id
                ));
                if other.rank > holder.rank {
                    continue;
                }
            }
            holders.insert(key, holder);
        }
    }
    holders
}

/// 16, 17: all hubs name the winner, whatever the order in which they heard of the claims.
fn same_winners(world: &World, component: &[HostNo], holders: &Holders, faults: &mut Vec<String>) {
    for no in component {
        let Some(core) = world.core(*no) else {
            continue;
        };
        let directory = core.directory().read();
        for ((network, peer), holder) in holders {
            if core.is_narrow() && !core.is_interested(network) {
                continue;
            }
            let named = directory
                .holder(network, peer)
                .map(|(found, hlc)| (hlc, found.hub));
            if named != Some(holder.rank) {
                faults.push(format!(
                    "17: host {no} names {named:?} for {peer:?}, which {:?} holds",
                    holder.rank
                ));
            }
        }
    }
}

/// 18: the notices that a client was sent add up to the present members.
fn rosters(world: &World, component: &[HostNo], holders: &Holders, faults: &mut Vec<String>) {
    for session in &world.sessions {
        let here = session.status == Status::Live
            && world.is(session.at)
            && component.contains(&session.at.host);
        if !here || session.quiet {
            continue;
        }
        let expected: BTreeMap<PeerId, Option<Bytes>> = holders
            .iter()
            .filter(|((network, peer), holder)| {
                *network == session.network && *peer != session.peer && !holder.quiet
            })
            .map(|((_, peer), holder)| (peer.clone(), holder.data.clone()))
            .collect();
        let limit = world.config.core.discovery_limit;
        if (limit == 0 || expected.len() < limit) && session.roster != expected {
            let known: Vec<&PeerId> = session.roster.keys().collect();
            let there: Vec<&PeerId> = expected.keys().collect();
            faults.push(format!(
                "18: {:?} at host {} knows {known:?}, there are {there:?}",
                session.peer, session.at.host
            ));
        }
    }
}

/// 14: signals that have neither arrived nor failed, although nothing was disturbed for `span`.
pub fn open_signals(world: &World, span: Duration) -> Vec<String> {
    let before = world.now.saturating_sub(span.as_micros() as u64);
    let tell = |no, sent_at| format!("14: signal {no}, sent at {sent_at} us, has no end");
    let open = world.ledger.open(before);
    let open = open.map(|(no, signal)| tell(no, signal.sent_at));
    open.chain(world.open_later(before)).collect()
}

/// Each later hub sends a message to all hubs that it reaches, including those that do not know its variant.
fn send_later_around(world: &mut World) {
    let hosts = 0..world.host_count();
    for no in hosts
        .clone()
        .filter(|no| world.is_later(*no))
        .collect::<Vec<_>>()
    {
        for to in hosts.clone() {
            let hub = world.hosts[to].id;
            let reached = |core: &Core| core.topology().is_reachable(hub);
            if to != no && world.core(no).is_some_and(reached) {
                world.send_later(no, to, true);
            }
        }
    }
}

/// Every live client sends to another. Returns the signals and the receiving sessions, after this time.
pub fn signal_around(world: &mut World, within: Duration) -> Vec<(usize, SessionNo)> {
    let live: Vec<SessionNo> = (0..world.sessions.len())
        .filter(|no| world.sessions[*no].status == Status::Live && world.hub_of(*no).is_some())
        .collect();
    let groups = components(world);
    let mut sent = Vec::new();
    for from in &live {
        let mates: Vec<SessionNo> = live
            .iter()
            .copied()
            .filter(|to| to != from && world.sessions[*to].network == world.sessions[*from].network)
            .filter(|to| {
                let (from, to) = (&world.sessions[*from], &world.sessions[*to]);
                together(&groups, from.at.host, to.at.host)
            })
            .collect();
        if mates.is_empty() {
            continue;
        }
        let to = mates[world.rng.below(mates.len() as u64) as usize];
        let target = world.sessions[to].peer.clone();
        sent.extend(
            world
                .signal(*from, &target, false)
                .map(|signal| (signal, to)),
        );
    }
    world.run_for(within);
    sent
}

/// 13, 14: every live client sends to another; each signal arrives, and passes no hub twice. Before that, later hubs
/// send unknown variants: these delay nothing, and each has the result that it should have.
pub fn probe_signals(world: &mut World, within: Duration) {
    let began = world.now;
    // Before all that is sent: a source that sends a message again must be known to have sent it twice.
    let _ = world.take_sniffed();
    send_later_around(world);
    let sent = signal_around(world, within);
    for fault in world.unheard_later(began) {
        world.fault(fault);
    }
    for (signal, to) in sent {
        let state = &world.ledger.signals[signal];
        if state.delivered.map(|(to, _)| to) != Some(to) {
            let text = format!("14: signal {signal} to a peer that is there: {state:?}");
            world.fault(text);
        }
    }
    for (key, path) in world.take_sniffed().paths {
        if let Some(no) = path.passed_twice() {
            world.fault(format!("13: signal {key:?} passed host {no} twice"));
        }
    }
}

fn together(groups: &[Vec<HostNo>], a: HostNo, b: HostNo) -> bool {
    groups
        .iter()
        .any(|group| group.contains(&a) && group.contains(&b))
}
