//! The invariants that must hold at every instant, checked after every input to a core.

mod networks;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{HostNo, World};
use crate::ids::Boot;
use hubmesh_core::Core;
use hubmesh_core::directory::{ClaimView, OriginState};
use hubmesh_core::frames::UnknownChange;
use hubmesh_core::ids::{ClaimNo, HubId, Incarnation, mix, stable_hash};

/// A hub's set at one sequence number, as a hash: its claims, and its changes that this version does not know.
fn set_hash(claims: &[ClaimView], unknown: &[(u64, UnknownChange)]) -> u64 {
    let items = unknown.iter().fold(0, |sum: u64, (seq, change)| {
        let mut hash = stable_hash(change.network.as_str().as_bytes());
        for number in [*seq, change.item, u64::from(change.tag)] {
            hash = mix(hash ^ mix(number));
        }
        sum.wrapping_add(mix(hash ^ stable_hash(&change.body)))
    });
    claims.iter().fold(items, |sum, claim| {
        let mut hash = stable_hash(claim.network.as_str().as_bytes());
        hash = mix(hash ^ stable_hash(claim.peer.to_string().as_bytes()));
        for number in [
            claim.claim.0,
            claim.seq,
            claim.hlc.0,
            u64::from(claim.quiet),
        ] {
            hash = mix(hash ^ mix(number));
        }
        let data = claim.data.as_ref().map_or(1, |data| stable_hash(data));
        sum.wrapping_add(mix(hash ^ data))
    })
}

/// The latest time at which the shortest paths are computed after a change of a link record: in meshes of the watched
/// size, the spacing of the runs is a tenth of this.
const RUN_WITHIN: u64 = 100_000;

/// One machine's copy of one origin's set, at the last check.
#[derive(Debug, Default)]
struct Seen {
    version: Option<(Incarnation, u64)>,
    claims: BTreeSet<ClaimNo>,
    gone: BTreeSet<ClaimNo>,
    lost_at: Option<u64>,
    /// Whether its claims were shown at the last check, and of which incarnation they were.
    shown: Option<Incarnation>,
}

/// The observations.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The set of each author at each of its sequence numbers.
    authored: BTreeMap<(HubId, Incarnation, u64), u64>,
    incarnations: BTreeMap<(HubId, Incarnation), Boot>,
    /// The copies of each machine.
    seen: BTreeMap<Boot, HashMap<HubId, Seen>>,
    /// The sets of single networks of each author.
    networks: networks::Watch,
    /// Since when a machine uses a link to a hub that does not list it.
    unlisted: BTreeMap<(Boot, HubId), u64>,
}

impl Watch {
    /// Checks one machine after an input to it. Returns the broken invariants.
    pub(super) fn look(&mut self, world: &World, no: HostNo) -> Vec<String> {
        let mut faults = Vec::new();
        let (Some(boot), Some(core)) = (world.boot_of(no), world.core(no)) else {
            return faults;
        };
        let me = world.hosts[no].id;
        self.check_life(boot, me, core.incarnation(), &mut faults);
        self.check_listed(world, boot, core, &mut faults);
        let directory = core.directory().read();
        let copies = self.seen.entry(boot).or_default();
        // How many of the copies are of hubs that the machine still knows.
        let mut kept = 0;
        for (hub, state) in directory.origin_states() {
            if !state.complete || !world.is_honest_id(&hub) {
                kept += usize::from(copies.contains_key(&hub));
                continue;
            }
            kept += 1;
            let seen = copies.entry(hub).or_default();
            if hub != me {
                check_shown(world, no, hub, &state, seen, &mut faults);
            }
            let version = (state.incarnation, state.seq);
            if seen.version == Some(version) {
                continue;
            }
            if seen.version.is_some_and(|before| before > version) {
                faults.push(format!(
                    "3: host {no} went back from {:?} to {version:?} for {hub:?}",
                    seen.version
                ));
            }
            let claims = directory.claims_of(&hub);
            check_retracted(no, hub, &claims, version, seen, &mut faults);
            seen.version = Some(version);
            let key = (hub, state.incarnation, state.seq);
            let hash = set_hash(&claims, &directory.unknown_of(&hub));
            if hub == me {
                self.authored.insert(key, hash);
            } else if self.authored.get(&key) != Some(&hash) {
                let known = self.authored.contains_key(&key);
                faults.push(format!(
                    "{}: host {no} has {} claims of {hub:?} at {:?} {}, which is not its author's set (known: {known})",
                    if known { 4 } else { 2 },
                    claims.len(),
                    state.incarnation,
                    state.seq,
                ));
            }
        }
        if kept < copies.len() {
            copies.retain(|hub, _| directory.origin_state(hub).is_some());
        }
        let me = (boot, me);
        self.networks.look(world, no, me, &directory, &mut faults);
        // The sets come in no order.
        faults.sort_unstable();
        faults
    }

    /// 10: a hub on a path lists the link, from the next run of the shortest paths on.
    fn check_listed(&mut self, world: &World, boot: Boot, core: &Core, faults: &mut Vec<String>) {
        let me = world.hosts[boot.host].id;
        let routes = core.topology().routes();
        let mut hops: Vec<HubId> = Vec::new();
        for route in routes.by_hub.values() {
            if !hops.contains(&route.hop.neighbour) {
                hops.push(route.hop.neighbour);
            }
        }
        let hops = hops.into_iter().filter(|hub| !lists(core, *hub, me));
        let unlisted: BTreeSet<HubId> = hops.collect();
        self.unlisted
            .retain(|(by, hub), _| *by != boot || unlisted.contains(hub));
        for hub in unlisted {
            let since = *self.unlisted.entry((boot, hub)).or_insert(world.now);
            if world.now > since + RUN_WITHIN {
                faults.push(format!(
                    "10: host {} uses a link that {hub:?} has not listed since {since} us",
                    boot.host
                ));
            }
        }
    }

    fn check_life(
        &mut self,
        boot: Boot,
        me: HubId,
        incarnation: Incarnation,
        faults: &mut Vec<String>,
    ) {
        let first = self.incarnations.entry((me, incarnation)).or_insert(boot);
        if *first != boot {
            faults.push(format!("12: {boot:?} has the incarnation of {first:?}"));
            *first = boot;
        }
    }
}

/// Whether `hub` lists a link to `other`, as far as the core has heard.
fn lists(core: &Core, hub: HubId, other: HubId) -> bool {
    core.topology()
        .record(hub)
        .is_some_and(|record| record.neighbours.iter().any(|(listed, _)| *listed == other))
}

/// A claim that its author retracted does not come back.
fn check_retracted(
    no: HostNo,
    hub: HubId,
    claims: &[ClaimView],
    version: (Incarnation, u64),
    seen: &mut Seen,
    faults: &mut Vec<String>,
) {
    let present: BTreeSet<ClaimNo> = claims.iter().map(|claim| claim.claim).collect();
    if seen
        .version
        .is_none_or(|(before, _)| before.nonce != version.0.nonce)
    {
        seen.gone.clear();
    } else {
        seen.gone.extend(seen.claims.difference(&present));
    }
    if let Some(back) = present.intersection(&seen.gone).next() {
        faults.push(format!(
            "6: at host {no}, {back:?} of {hub:?} is back after its retraction"
        ));
    }
    seen.claims = present;
}

/// Shown claims belong to the incarnation in the link record, of a hub that was reachable within the hold.
fn check_shown(
    world: &World,
    no: HostNo,
    hub: HubId,
    state: &OriginState,
    seen: &mut Seen,
    faults: &mut Vec<String>,
) {
    let Some(core) = world.core(no) else { return };
    let hold = world.config.core.hold.as_micros() as u64;
    if core.topology().is_reachable(hub) {
        seen.lost_at = None;
    } else {
        let lost_at = *seen.lost_at.get_or_insert(world.now);
        if state.visible && world.now > lost_at + hold {
            faults.push(format!(
                "5: host {no} shows {hub:?}, gone since {lost_at} us"
            ));
        }
    }
    let record = core.topology().record(hub);
    let recorded = record.map(|record| record.incarnation);
    let same_life = recorded == Some(state.incarnation);
    let held = seen
        .lost_at
        .is_some_and(|lost_at| world.now < lost_at + hold);
    if held && same_life && !state.visible && seen.shown == Some(state.incarnation) {
        faults.push(format!(
            "19: host {no} hides {hub:?} before the hold is over"
        ));
    }
    seen.shown = state.visible.then_some(state.incarnation);
    if state.visible && !same_life {
        faults.push(format!(
            "5: host {no} shows an incarnation of {hub:?} that is not in its link record"
        ));
    }
}
