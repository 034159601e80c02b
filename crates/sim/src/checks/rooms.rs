//! 26 to 28, and 30: rooms, computed again from the authors' own claims and lines.

use std::collections::BTreeMap;

use super::{HostNo, World};
use hubmesh_core::Core;
use hubmesh_core::api::{RECORD, RoomRecord};
use hubmesh_core::directory::ClaimView;
use hubmesh_core::ids::{HubId, NetworkKey, mix, stable_hash};

/// The members and the records of one room, each with its hub.
#[derive(Default)]
struct Seen {
    members: Vec<(ClaimView, HubId)>,
    records: Vec<HubId>,
    /// Records of rooms that no client created, so their right content is unknown.
    made_up: usize,
}

fn rooms(world: &World, component: &[HostNo]) -> BTreeMap<NetworkKey, Seen> {
    let mut rooms: BTreeMap<NetworkKey, Seen> = BTreeMap::new();
    for no in component {
        let id = world.hosts[*no].id;
        let Some(core) = world.core(*no) else {
            continue;
        };
        let claims = core.directory().read().claims_of(&id).into_iter();
        for claim in claims.filter(|claim| claim.network.is_room()) {
            let seen = rooms.entry(claim.network.clone()).or_default();
            if claim.peer.to_string() == RECORD {
                seen.records.push(id);
                let record = claim.data.as_deref().and_then(RoomRecord::read);
                let is_real = record.is_some_and(|record| !record.about.is_empty());
                seen.made_up += usize::from(!is_real);
            } else if !claim.quiet {
                seen.members.push((claim, id));
            }
        }
    }
    rooms
}

/// 26, 27: a room with a member has one record, at the hub of its longest present member, and all its members were told
/// that this one is the host.
pub(super) fn one_host_each(world: &World, component: &[HostNo], faults: &mut Vec<String>) {
    for (network, seen) in rooms(world, component) {
        if seen.made_up > 0 {
            faults.push(format!(
                "26: {network:?} was entered, and nobody created it"
            ));
        }
        let rank = |(claim, hub): &&(ClaimView, HubId)| (claim.hlc, *hub, claim.claim);
        let Some((host, hub)) = seen.members.iter().min_by_key(rank) else {
            continue;
        };
        if seen.records != [*hub] {
            faults.push(format!(
                "26: the record of {network:?} is at {:?}, and its host at {hub:?}",
                seen.records
            ));
        }
        for no in component {
            let id = world.hosts[*no].id;
            if !seen.members.iter().any(|(_, hub)| *hub == id) {
                continue;
            }
            let told = world.core(*no).and_then(|core| core.host_told(&network));
            if told != Some(&host.peer) {
                faults.push(format!(
                    "27: the members of {network:?} at host {no} were told of {told:?}, and the host is {:?}",
                    host.peer
                ));
            }
        }
    }
}

/// 30: in a narrow mesh, a room that one hub alone lists is guarded by one hub, which is the first of the others in the
/// order of take-over. No other room is guarded.
pub(super) fn one_guardian_each(world: &World, component: &[HostNo], faults: &mut Vec<String>) {
    let cores: Vec<(HubId, HostNo, &Core)> = component
        .iter()
        .filter_map(|no| Some((world.hosts[*no].id, *no, world.core(*no)?)))
        .collect();
    if !cores.iter().all(|(_, _, core)| core.is_narrow()) {
        return;
    }
    let mut listed: BTreeMap<NetworkKey, Vec<HubId>> = BTreeMap::new();
    for (id, _, core) in &cores {
        let lines = core.directory().read().lines().of(id);
        for network in lines.into_iter().filter(NetworkKey::is_room) {
            listed.entry(network).or_default().push(*id);
        }
    }
    let drains = |id: &HubId, core: &Core| {
        let record = core.topology().record(*id);
        record.is_some_and(|record| record.draining)
    };
    for (network, hubs) in listed {
        let guard = |(id, no, _): &(HubId, HostNo, &Core)| {
            let name = stable_hash(network.as_str().as_bytes());
            ((mix(name ^ mix(stable_hash(&id.0))), *id), *no)
        };
        let others = cores
            .iter()
            .filter(|(id, _, core)| *id != hubs[0] && !drains(id, core));
        let first = others.map(guard).min().map(|(_, no)| no);
        let right: Vec<HostNo> = first.filter(|_| hubs.len() == 1).into_iter().collect();
        let guarding = cores
            .iter()
            .filter(|(_, _, core)| core.is_guarding(&network));
        let guarding: Vec<HostNo> = guarding.map(|(_, no, _)| *no).collect();
        if guarding != right {
            faults.push(format!(
                "30: {network:?} is guarded by {guarding:?}, and should be by {right:?}"
            ));
        }
    }
}

/// 28: rooms without a member. There must be none once their time is over.
pub fn left_over(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    for component in super::components(world) {
        let rooms = rooms(world, &component).into_iter();
        for (network, seen) in rooms.filter(|(_, seen)| seen.members.is_empty()) {
            faults.push(format!(
                "28: {network:?} is still at {:?}, and nobody is in it",
                seen.records
            ));
        }
    }
    faults
}
