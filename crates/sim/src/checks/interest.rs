//! 1, in a narrow mesh: each hub has of the others the lines of their networks, the members of every network of
//! interest, and nothing that no hub needs.

use std::collections::BTreeSet;

use super::{HostNo, World};
use hubmesh_core::Core;
use hubmesh_core::directory::ClaimView;
use hubmesh_core::frames::Set;
use hubmesh_core::ids::{HubId, NetworkKey};

/// The broken invariants.
pub(super) fn same_networks(world: &World, component: &[HostNo], faults: &mut Vec<String>) {
    let narrow = |no: &&HostNo| world.core(**no).is_some_and(Core::is_narrow);
    let narrow = component.iter().filter(narrow).count();
    if narrow > 0 && narrow < component.len() {
        faults.push(format!(
            "1: {narrow} of {} hubs take single networks, and the others all",
            component.len()
        ));
    }
    for no in component {
        let Some(core) = world.core(*no) else {
            continue;
        };
        let near = |hub: &HubId| component.iter().any(|other| world.hosts[*other].id == *hub);
        if !core.is_narrow() && core.by_parts().any(near) {
            faults.push(format!("1: host {no} is to take all claims, and does not"));
        }
        for other in component.iter().filter(|other| *other != no) {
            let id = world.hosts[*other].id;
            if let (true, Some(author)) =
                (core.by_parts().any(|hub| *hub == id), world.core(*other))
            {
                faults.extend(differs(*no, core, &id, author));
            }
        }
    }
}

/// The differences between one hub's copy and its author's set.
fn differs(no: HostNo, core: &Core, id: &HubId, author: &Core) -> Option<String> {
    let (here, there) = (core.directory().read(), author.directory().read());
    let networks = |lines: Vec<NetworkKey>| lines.into_iter().collect::<BTreeSet<_>>();
    let (ours, theirs) = (
        networks(here.lines().of(id)),
        networks(there.lines().of(id)),
    );
    if ours != theirs {
        return Some(format!(
            "1: host {no} has {ours:?} as networks of {id:?}, which says {theirs:?}"
        ));
    }
    let missing = there
        .own_networks()
        .into_iter()
        .find(|network| !theirs.contains(network));
    if let Some(network) = missing {
        return Some(format!("1: {id:?} is in {network:?} and does not say so"));
    }
    let unneeded = here
        .networks_held(id)
        .into_iter()
        .find(|network| !core.has_use_for(&Set::of(*id, network)));
    if let Some(network) = unneeded {
        return Some(format!(
            "23: host {no} keeps {network:?} of {id:?} for nobody"
        ));
    }
    let mut interests = theirs.iter().filter(|network| core.is_interested(network));
    interests.find_map(|network| {
        let sorted = |mut claims: Vec<ClaimView>| {
            claims.sort_unstable();
            claims
        };
        let ours = sorted(here.claims_in(id, network));
        let theirs = sorted(there.claims_in(id, network));
        let set = Set::of(*id, network);
        let shown = here.set_state(&set).is_some_and(|state| state.complete && state.visible);
        (ours != theirs || !shown).then(|| {
            format!(
                "1: host {no} has {} claims of {id:?} in {network:?} (shown: {shown}), which has {}",
                ours.len(),
                theirs.len()
            )
        })
    })
}
