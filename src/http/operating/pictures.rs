//! `GET /admin/api/topology`: hubs and links, for a picture. `GET /admin/api/history`: the counts of the last hour.

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

/// All hubs in reach. This hub is the first.
pub(super) fn hubs<B: Backend>(app: &App<B>) -> Vec<HubId> {
    let view = app.backend.view();
    let others = view.hubs.iter().map(|hub| hub.id);
    [view.hub_id].into_iter().chain(others).collect()
}

/// A hub's report with the signals and joins that wait there. These are null for hubs of earlier versions.
#[derive(Serialize, ToSchema)]
#[schema(as = FullCondition)]
struct Pictured {
    #[serde(flatten)]
    condition: ConditionRow,
    waiting: Option<u64>,
    contests: Option<u64>,
    /// The alarms since the hub's start.
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
    /// The round trip in milliseconds, as in the mesh's own graph.
    rtt_ms: u16,
}

/// Hubs and links.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopologyBody {
    timestamp: String,
    /// The id of the hub that answers.
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

/// All hubs and links in one answer.
#[utoipa::path(
    get, path = "/admin/api/topology", tag = "mesh", security(("operator" = []), ("login" = [])),
    responses((status = 200, description = "Hubs and links.", body = TopologyBody), Closed)
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
        // A hub may have come or gone while the hubs were asked.
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
    /// The ids of the hubs that answered.
    hubs: Vec<String>,
    not_answered: Vec<String>,
    #[serde(flatten)]
    columns: Columns,
}

/// The counts of each ten seconds of the last hour, for all hubs together or for some of them.
#[utoipa::path(
    get, path = "/admin/api/history", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(("hub" = Option<String>, Query, description = "The beginning of a hub's id.")),
    responses(
        (status = 200, description = "Columns of equal length. The oldest step is the first.", body = LastHour),
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
