//! The picture of the mesh, its last hour, and what waits in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;
use hubmesh_core::ids::HubId;
use serde_json::{Value, json};
use warp::reply::Response;

use super::super::admin_api::{self, ANSWERS_WITHIN};
use super::super::endpoint::Call;
use super::super::paging::Query;
use super::super::{App, Backend, reply};
use super::bad;
use crate::log::timestamp;
use crate::mesh::{LinkView, Tally};
use crate::watch::Past;

/// All hubs in reach, this one first.
fn hubs<B: Backend>(app: &App<B>) -> Vec<HubId> {
    let view = app.backend.view();
    let others = view.hubs.iter().map(|hub| hub.id);
    [view.hub_id].into_iter().chain(others).collect()
}

/// The hubs among these that did not answer.
fn silent<T>(hubs: &[HubId], answers: &BTreeMap<HubId, T>) -> Vec<String> {
    let silent = hubs.iter().filter(|hub| !answers.contains_key(hub));
    silent.map(ToString::to_string).collect()
}

/// Hubs and links.
pub(super) async fn topology<B: Backend>(app: &Arc<App<B>>) -> Response {
    let (rows, tallies) = futures::join!(
        admin_api::all_hubs(app),
        app.backend.tallies(ANSWERS_WITHIN)
    );
    let me = app.backend.view().hub_id;
    let mut not_answered = Vec::new();
    let mut shown = BTreeSet::new();
    let hubs = rows.into_iter().map(|(id, row)| {
        let mut row = json!(row);
        shown.insert(id);
        if row["condition"].is_null() {
            not_answered.push(id.to_string());
        } else {
            let tally = tallies.get(&id);
            row["condition"]["waiting"] = json!(tally.map(|tally| tally.waiting));
            row["condition"]["contests"] = json!(tally.map(|tally| tally.contests));
            row["condition"]["alarms"] = json!(tally.map(|tally| tally.alarms));
        }
        row
    });
    let hubs: Vec<Value> = hubs.collect();
    let links = app.backend.links().into_iter();
    // A hub may have come or gone while the others were asked.
    let links = links.filter(|link| shown.contains(&link.a) && shown.contains(&link.b));
    let links: Vec<Value> = links.map(link_row).collect();
    let body = json!({
        "timestamp": timestamp(),
        "hub": me.to_string(),
        "hubs": hubs,
        "links": links,
        "notAnswered": not_answered,
    });
    reply::json(StatusCode::OK, &body)
}

fn link_row(link: LinkView) -> Value {
    let LinkView { a, b, rtt_ms } = link;
    json!({ "a": a.to_string(), "b": b.to_string(), "rttMs": rtt_ms })
}

/// The last hour.
pub(super) async fn history<B: Backend>(app: &Arc<App<B>>, call: &Call) -> Response {
    let query = match Query::read(&call.head.query, &["hub"]) {
        Ok(query) => query,
        Err(why) => return bad(&why),
    };
    let wanted = |hub: &HubId| {
        let only = query.filter("hub");
        only.is_none_or(|only| hub.to_string().starts_with(only))
    };
    let hubs: Vec<HubId> = hubs(app).into_iter().filter(wanted).collect();
    if hubs.is_empty() {
        return reply::error(StatusCode::NOT_FOUND, "there is no such hub in reach");
    }
    let mut past = app.backend.past(ANSWERS_WITHIN).await;
    past.retain(|hub, _| wanted(hub));
    let mut body = json!(Past::sum(past.values()));
    body["timestamp"] = json!(timestamp());
    body["notAnswered"] = json!(silent(&hubs, &past));
    let told = past.keys().map(ToString::to_string);
    body["hubs"] = json!(told.collect::<Vec<_>>());
    reply::json(StatusCode::OK, &body)
}

/// Signals that wait for a target that is at no hub yet.
pub(super) async fn waiting<B: Backend>(app: &Arc<App<B>>) -> Response {
    tallied(app, "waiting", |tally| tally.waiting).await
}

/// Joins whose id is contested.
pub(super) async fn contests<B: Backend>(app: &Arc<App<B>>) -> Response {
    tallied(app, "contests", |tally| tally.contests).await
}

async fn tallied<B: Backend>(
    app: &Arc<App<B>>,
    what: &'static str,
    of: fn(&Tally) -> u64,
) -> Response {
    let hubs = hubs(app);
    let tallies = app.backend.tallies(ANSWERS_WITHIN).await;
    let rows = tallies
        .iter()
        .map(|(hub, tally)| json!({ "hub": hub.to_string(), what: of(tally) }));
    let body = json!({
        "timestamp": timestamp(),
        "hubs": rows.collect::<Vec<_>>(),
        "notAnswered": silent(&hubs, &tallies),
        "total": tallies.values().map(of).sum::<u64>(),
    });
    reply::json(StatusCode::OK, &body)
}
