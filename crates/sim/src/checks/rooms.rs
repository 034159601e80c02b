//! 26 to 28: rooms, computed again from the authors' own claims.

use std::collections::BTreeMap;

use super::{HostNo, World};
use hubmesh_core::api::{RECORD, RoomRecord};
use hubmesh_core::directory::ClaimView;
use hubmesh_core::ids::{HubId, NetworkKey};

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
