//! Checks how much data of other hubs a hub keeps, against its bounds.
//!
//! Called by the histories with a rogue after each of its actions. The numbers are those of the table of bounds in
//! MESH.md, as the world's cores are configured.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::{HostNo, World};
use hubmesh_core::Core;
use hubmesh_core::directory::{ClaimQuota, ClaimView};
use hubmesh_core::exchange::SIGNAL_COST;
use hubmesh_core::ids::{HubId, Moment};
use hubmesh_core::rooms::record_bytes;

/// The most subscriptions of one link.
const SUBSCRIPTIONS: usize = 4_096;
/// Three pings, a second apart, and one more second.
const SILENT: Duration = Duration::from_secs(4);
/// The most claims of one id by one hub.
const SAME: usize = 4;

/// The bounds that honest hubs exceed.
pub(super) fn broken(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    for no in (0..world.host_count()).filter(|no| !world.is_rogue(*no)) {
        for (what, is, most) in measures(world, no) {
            if is > most {
                faults.push(format!("host {no} keeps {is} {what}, {most} at most"));
            }
        }
        faults.extend(same_ids(world, no));
    }
    faults
}

/// The name of a bound, the present amount, and the highest allowed amount.
fn measures(world: &World, no: HostNo) -> Vec<(&'static str, usize, usize)> {
    let Some(core) = world.core(no) else {
        return Vec::new();
    };
    let kept = core.kept(Moment(world.now()));
    let config = &world.config.core;
    let all = |of_one: usize| of_one * ClaimQuota::ALL_HUBS_FACTOR;
    vec![
        ("link records", kept.records, config.topology.max_hubs),
        (
            "past incarnations",
            kept.past_incarnations,
            config.topology.max_past_incarnations,
        ),
        (
            "links with one hub",
            kept.links_with_one,
            Core::MAX_LINKS_PER_HUB,
        ),
        (
            "ms of a link without an answer",
            kept.unanswered_for.as_millis() as usize,
            SILENT.as_millis() as usize,
        ),
        ("subscriptions of a link", kept.subscriptions, SUBSCRIPTIONS),
        (
            "bytes kept aside",
            kept.staged_bytes,
            all(config.quota.bytes),
        ),
        ("claims of one hub", kept.of_one.claims, config.quota.claims),
        (
            "bytes of one hub's claims",
            kept.of_one.bytes,
            config.quota.bytes,
        ),
        (
            "claims of all others",
            kept.of_others.claims,
            all(config.quota.claims),
        ),
        (
            "bytes of all others' claims",
            kept.of_others.bytes,
            all(config.quota.bytes),
        ),
        (
            "sources of signals",
            kept.sources,
            config.exchange.receive_windows,
        ),
        (
            "bytes of early signals",
            kept.early_bytes,
            config.exchange.early_bytes.max(SIGNAL_COST),
        ),
        (
            "bytes of lost rooms",
            kept.lost_room_bytes,
            all(record_bytes(config.quota.bytes)),
        ),
    ]
}

/// Whether one hub has no more claims of one id than an honest one can have for a moment, and no two with one number.
fn same_ids(world: &World, no: HostNo) -> Option<String> {
    let core = world.core(no)?;
    let directory = core.directory().read();
    let others = directory.hubs();
    let others = others.iter().filter(|hub| !world.is_honest_id(hub));
    others
        .filter_map(|hub| crowd(*hub, &directory.claims_of(hub)))
        .map(|fault| format!("host {no} keeps {fault}"))
        .next()
}

fn crowd(hub: HubId, claims: &[ClaimView]) -> Option<String> {
    let mut ids = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for claim in claims {
        *ids.entry((&claim.network, &claim.peer)).or_insert(0) += 1;
        *numbers.entry(claim.seq).or_insert(0) += 1;
    }
    let most = ids.into_values().max().unwrap_or(0);
    if most > SAME {
        return Some(format!("{most} claims of one id by {hub:?}"));
    }
    let twice = numbers.into_iter().find(|(_, count)| *count > 1);
    twice.map(|(seq, count)| format!("{count} claims of {hub:?} at number {seq}"))
}
