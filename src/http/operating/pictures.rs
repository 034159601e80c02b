//! The mesh as a picture, and its last hour.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;
use hubmesh_core::ids::HubId;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use super::super::admin_api::{self, ANSWERS_WITHIN, ConditionRow, HubRow};
use super::super::endpoint::Call;
use super::super::paging::Query;
use super::super::refusals::{Badly, Closed};
use super::super::reply::ErrorBody;
use super::super::{App, Backend};
use super::{answer, ok, refused, who};
use crate::log::timestamp;
use crate::mesh::LinkView;
use crate::watch::{Columns, Past};

/// All hubs in reach, this one first.
pub(super) fn hubs<B: Backend>(app: &App<B>) -> Vec<HubId> {
    let view = app.backend.view();
    let others = view.hubs.iter().map(|hub| hub.id);
    [view.hub_id].into_iter().chain(others).collect()
}

/// How a hub is, and what waits there. What a hub of an earlier version does not say is null.
#[derive(Serialize, ToSchema)]
#[schema(as = FullCondition)]
struct Pictured {
    #[serde(flatten)]
    condition: ConditionRow,
    waiting: Option<u64>,
    contests: Option<u64>,
    /// Since its start.
    alarms: Option<u64>,
}

/// A link between two hubs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Link)]
struct LinkRow {
    /// The hub with the lower id.
    a: String,
    b: String,
    /// There and back, as the mesh's own graph has it.
    rtt_ms: u16,
}

/// Hubs and links.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopologyBody {
    timestamp: String,
    /// The hub that answers.
    hub: String,
    hubs: Vec<HubRow<Pictured>>,
    links: Vec<LinkRow>,
    not_answered: Vec<String>,
}

impl LinkRow {
    fn new(link: LinkView) -> Self {
        let LinkView { a, b, rtt_ms } = link;
        LinkRow {
            a: a.to_string(),
            b: b.to_string(),
            rtt_ms,
        }
    }
}

/// Hubs and links, all at once.
#[utoipa::path(
    get, path = "/admin/api/topology", tag = "mesh", security(("operator" = []), ("login" = [])),
    responses((status = 200, description = "The picture.", body = TopologyBody), Closed)
)]
pub(super) fn topology<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let (rows, tallies) = futures::join!(
            admin_api::all_hubs(&app),
            app.backend.tallies(ANSWERS_WITHIN)
        );
        let shown: BTreeSet<HubId> = rows.iter().map(|(id, _)| *id).collect();
        let silent = rows.iter().filter(|(_, row)| row.condition.is_none());
        let not_answered = silent.map(|(id, _)| id.to_string()).collect();
        let hubs = rows.into_iter().map(|(id, mut row)| {
            let tally = tallies.get(&id);
            let condition = row.condition.take().map(|condition| Pictured {
                condition,
                waiting: tally.map(|tally| tally.waiting),
                contests: tally.map(|tally| tally.contests),
                alarms: tally.map(|tally| tally.alarms),
            });
            row.with(condition)
        });
        let links = app.backend.links().await.into_iter();
        // A hub may have come or gone while the others were asked.
        let links = links.filter(|link| shown.contains(&link.a) && shown.contains(&link.b));
        ok(&TopologyBody {
            timestamp: timestamp(),
            hub: app.backend.view().hub_id.to_string(),
            hubs: hubs.collect(),
            links: links.map(LinkRow::new).collect(),
            not_answered,
        })
    })
}

/// The last hour of the hubs that answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastHour {
    timestamp: String,
    /// Those that answered.
    hubs: Vec<String>,
    not_answered: Vec<String>,
    #[serde(flatten)]
    columns: Columns,
}

/// What happened in each ten seconds of the last hour, of all hubs together or of some.
#[utoipa::path(
    get, path = "/admin/api/history", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(("hub" = Option<String>, Query, description = "The beginning of an id.")),
    responses(
        (status = 200, description = "Columns of one length, the oldest first.", body = LastHour),
        Badly, Closed,
        (
            status = 404, body = ErrorBody<'static>,
            description = "There is no such hub, or operators have a listener of their own."
        )
    )
)]
pub(super) fn history<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let query = Query::read(&call.head.query, &["hub"])?;
        let mut hubs = hubs(&app);
        hubs.retain(|hub| query.wants_hub(hub));
        if hubs.is_empty() {
            return refused(StatusCode::NOT_FOUND, &"there is no such hub in reach");
        }
        let mut past = app.backend.past(ANSWERS_WITHIN).await;
        past.retain(|hub, _| query.wants_hub(hub));
        ok(&LastHour {
            timestamp: timestamp(),
            hubs: past.keys().map(ToString::to_string).collect(),
            not_answered: admin_api::silent(&hubs, &past),
            columns: Past::sum(past.values()),
        })
    })
}
