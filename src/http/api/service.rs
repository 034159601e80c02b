//! The hub itself over HTTP, in the words of OctateCode's server: its state, its counters, and its care.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;
use hubmesh_core::ids::{Dialect, HubId};
use warp::reply::Response;

use super::super::endpoint::Call;
use super::super::refusals::{Elsewhere, Unmaintained, Unseen};
use super::super::{App, Backend, admin_api, reply};
use super::rooms::answer;
use super::shapes::{
    ApiHealth, ApiStats, Cleaned, CpuStats, GivenBack, HubStats, Memory, Operations, PEER_TO_PEER,
    ServerStats, Thresholds,
};
use crate::clock::unix_ms;
use crate::memory;
use crate::mesh::RoomCounts;
use crate::metrics;

/// A MiB.
const MIB: u64 = 1 << 20;

impl<B: Backend> App<B> {
    fn memory(&self) -> Option<Memory> {
        let resident = memory::resident()?;
        Some(Memory {
            rss: resident.div_ceil(MIB),
            rss_bytes: resident,
            state: self.backend.pressure().level().label(),
        })
    }
}

/// Whether the hub accepts clients: for load balancers.
#[utoipa::path(
    get, path = "/api/health", tag = "service",
    responses(
        (status = 200, description = "It does.", body = ApiHealth),
        (status = 503, description = "It shuts down.", body = ApiHealth)
    )
)]
pub(super) fn health<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let (status, word) = match app.is_draining() {
            true => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            false => (StatusCode::OK, "ok"),
        };
        let is_operator = app.may_look_quietly(&call);
        let health = ApiHealth {
            status: word,
            timestamp: unix_ms(),
            uptime: app.uptime_ms(),
            version: env!("CARGO_PKG_VERSION"),
            memory: is_operator.then(|| app.memory()).flatten(),
        };
        Ok(reply::json(status, &health))
    })
}

/// How many rooms there are and how many members they have, as far as this hub knows.
fn rooms_known<B: Backend>(app: &App<B>) -> (usize, usize) {
    let networks = app.backend.networks().into_iter();
    let of_rooms = networks.filter(|(network, _)| network.dialect() == Some(Dialect::Rooms));
    let members = of_rooms.map(|(_, count)| count).sum();
    (app.backend.rooms().len(), members)
}

/// The same as the hubs count them that answered.
fn sums(counts: &BTreeMap<HubId, RoomCounts>) -> (usize, usize) {
    let sum = |count: fn(&RoomCounts) -> u64| {
        let sum = counts.values().map(count).fold(0, u64::saturating_add);
        usize::try_from(sum).unwrap_or(usize::MAX)
    };
    (sum(|one| one.rooms), sum(|one| one.members))
}

/// The counters of the mesh and of the hub that answers. Other hubs have two seconds to report.
#[utoipa::path(
    get, path = "/api/stats", tag = "service", security((), ("operator" = [])),
    responses((status = 200, description = "The counts.", body = ApiStats), Unseen, Elsewhere)
)]
pub(super) fn stats<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        app.may_look(&call)?;
        // Taken before they are asked, so that a hub that is lost meanwhile is named.
        let view = app.backend.view();
        let counts = async {
            match app.backend.is_narrow() {
                true => Some(app.room_counts().await),
                false => None,
            }
        };
        let (reports, counts) = tokio::join!(admin_api::conditions(&app), counts);
        let answered: BTreeSet<_> = reports.iter().map(|report| report.hub).collect();
        let has_counted = |hub| counts.as_ref().is_none_or(|all| all.contains_key(hub));
        let has_answered = |hub| answered.contains(hub) && has_counted(hub);
        let silent = view.hubs.iter().filter(|hub| !has_answered(&hub.id));
        let not_answered = silent.map(|hub| hub.id.to_string()).collect();
        let hubs = reports.iter().map(|report| HubStats {
            id: report.hub.to_string(),
            version: report.condition.version.clone(),
            uptime: report.condition.uptime_ms,
            connections: report.condition.connections,
            memory_bytes: report.condition.memory_bytes,
        });
        let thresholds = app.backend.pressure().thresholds();
        let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes / MIB);
        let _turn = app.turn(call.door).acquire().await;
        let (active_rooms, total_connections) =
            counts.map_or_else(|| rooms_known(&app), |counts| sums(&counts));
        let stats = ApiStats {
            server: ServerStats {
                uptime: app.uptime_ms(),
                active_rooms,
                total_connections,
                connected_clients: reports.iter().map(|one| one.condition.connections).sum(),
            },
            memory: app.memory(),
            thresholds: Thresholds {
                warning: mib(thresholds.warning),
                critical: mib(thresholds.critical),
            },
            cpu: CpuStats {
                // Whole microseconds.
                total: (metrics::usage().unwrap_or_default().cpu_seconds * 1e6) as u64,
            },
            operations: Operations {
                total: 0,
                per_second: 0,
                note: PEER_TO_PEER,
            },
            hubs: hubs.collect(),
            not_answered,
            timestamp: unix_ms(),
        };
        Ok(reply::json(StatusCode::OK, &stats))
    })
}

/// Ends the rooms without a member of the hub that answers, before their time is over.
#[utoipa::path(
    post, path = "/api/maintenance/cleanup", tag = "maintenance", security((), ("operator" = [])),
    responses(
        (status = 200, description = "How many there were, and how many ended.", body = Cleaned),
        Unmaintained, Elsewhere
    )
)]
pub(super) fn cleanup<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        app.may_maintain(&call)?;
        let (before, cleaned) = app.backend.end_empty_rooms(usize::MAX).await;
        let done = Cleaned {
            message: "Cleanup completed",
            before,
            after: before.saturating_sub(cleaned),
            cleaned,
            timestamp: unix_ms(),
        };
        Ok(reply::json(StatusCode::OK, &done))
    })
}

/// Gives memory that the hub has freed back to the system.
#[utoipa::path(
    post, path = "/api/maintenance/gc", tag = "maintenance", security((), ("operator" = [])),
    responses(
        (status = 200, description = "The resident memory before and after.", body = GivenBack),
        Unmaintained, Elsewhere
    )
)]
pub(super) fn gc<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        app.may_maintain(&call)?;
        let _turn = app.turn(call.door).acquire().await;
        let before = app.memory();
        memory::give_back().await;
        let after = app.memory();
        let bytes = |memory: &Option<Memory>| memory.as_ref().map_or(0, |memory| memory.rss_bytes);
        let done = GivenBack {
            message: "Freed memory was given back to the system",
            freed: bytes(&before).saturating_sub(bytes(&after)),
            before,
            after,
            timestamp: unix_ms(),
        };
        Ok(reply::json(StatusCode::OK, &done))
    })
}
