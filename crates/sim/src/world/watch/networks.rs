//! The invariants of every instant for sets of single networks: 2 to 6, of each hub and network.

use std::collections::{BTreeMap, BTreeSet};

use super::{HostNo, Seen, World, check_retracted, check_shown, set_hash};
use crate::ids::Boot;
use hubmesh_core::directory::{ClaimView, Directory};
use hubmesh_core::frames::Set;
use hubmesh_core::ids::{HubId, Incarnation, NetworkKey};

type Life = (HubId, Incarnation);

/// The claims of each author in each network, and the copies of each hub.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The numbers at which an author was checked.
    looks: BTreeMap<Life, BTreeSet<u64>>,
    /// From which of them on it had which set in a network.
    authored: BTreeMap<(Life, NetworkKey), BTreeMap<u64, u64>>,
    seen: BTreeMap<Boot, BTreeMap<HubId, BTreeMap<NetworkKey, Seen>>>,
}

impl Watch {
    pub(super) fn look(
        &mut self,
        world: &World,
        no: HostNo,
        (boot, me): (Boot, HubId),
        directory: &Directory,
        faults: &mut Vec<String>,
    ) {
        if world.config.core.interest.full_hubs > world.host_count() {
            return;
        }
        self.note_own(&me, directory);
        let in_parts = directory.hubs_with_parts();
        let whole = |hub: &HubId| directory.origin_state(hub).filter(|state| state.complete);
        let copies = self.seen.entry(boot).or_default();
        copies.retain(|hub, parts| {
            let Some(whole) = whole(hub) else {
                return in_parts.binary_search(hub).is_ok();
            };
            let newest = parts.values().filter_map(|seen| seen.version).max();
            if newest.is_some_and(|newest| newest > (whole.incarnation, whole.seq)) {
                faults.push(format!(
                    "3: host {no} went back from {newest:?} to {} for {hub:?} as a whole",
                    whole.seq
                ));
            }
            false
        });
        for hub in in_parts {
            if hub != me && world.is_honest_id(&hub) && whole(&hub).is_none() {
                self.look_at(world, no, (boot, hub), directory, faults);
            }
        }
    }

    fn note_own(&mut self, me: &HubId, directory: &Directory) {
        let Some(state) = directory.origin_state(me) else {
            return;
        };
        let life = (*me, state.incarnation);
        if !self.looks.entry(life).or_default().insert(state.seq) {
            return;
        }
        let mut networks: BTreeMap<NetworkKey, Vec<ClaimView>> = BTreeMap::new();
        for claim in directory.claims_of(me) {
            networks
                .entry(claim.network.clone())
                .or_default()
                .push(claim);
        }
        for (of, network) in self.authored.keys() {
            if *of == life {
                networks.entry(network.clone()).or_default();
            }
        }
        for (_, change) in directory.unknown_of(me) {
            networks.entry(change.network).or_default();
        }
        for (network, claims) in networks {
            let unknown = directory.unknown_in(me, &network);
            let history = self.authored.entry((life, network)).or_default();
            let hash = set_hash(&claims, &unknown);
            if history.values().next_back() != Some(&hash) {
                history.insert(state.seq, hash);
            }
        }
    }

    fn look_at(
        &mut self,
        world: &World,
        no: HostNo,
        (boot, hub): (Boot, HubId),
        directory: &Directory,
        faults: &mut Vec<String>,
    ) {
        let held = directory.networks_held(&hub);
        let copies = self.seen.entry(boot).or_default();
        let seen_of_hub = copies.entry(hub).or_default();
        seen_of_hub.retain(|network, _| held.binary_search(network).is_ok());
        for network in held {
            let Some(state) = directory.set_state(&Set::of(hub, &network)) else {
                continue;
            };
            if !state.complete {
                continue;
            }
            let seen = seen_of_hub.entry(network.clone()).or_default();
            check_shown(world, no, hub, &state, seen, faults);
            let version = (state.incarnation, state.seq);
            if seen.version == Some(version) {
                continue;
            }
            if seen.version.is_some_and(|before| before > version) {
                faults.push(format!(
                    "3: host {no} went back from {:?} to {version:?} for {network:?} of {hub:?}",
                    seen.version
                ));
            }
            let claims = directory.claims_in(&hub, &network);
            check_retracted(no, hub, &claims, version, seen, faults);
            seen.version = Some(version);
            let life = (hub, state.incarnation);
            let looks = self.looks.get(&life);
            let at = looks.and_then(|looks| looks.range(state.seq..).next());
            let history = self.authored.get(&(life, network.clone()));
            let until = at.copied().unwrap_or(u64::MAX);
            let truth = history.and_then(|history| history.range(..=until).next_back());
            let truth = truth.map_or(set_hash(&[], &[]), |(_, hash)| *hash);
            if truth != set_hash(&claims, &directory.unknown_in(&hub, &network)) {
                faults.push(format!(
                    "4: host {no} has {} claims of {hub:?} in {network:?} at {version:?}, which is not its author's set",
                    claims.len()
                ));
            }
        }
    }
}
