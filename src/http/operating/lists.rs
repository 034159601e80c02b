//! `GET /admin/api/hubs`, `/networks` and `/peers`: lists of what is in the mesh.

use std::sync::Arc;

use futures::future::BoxFuture;
use url::form_urlencoded;
use warp::reply::Response;

use super::super::admin_api::{self, HubPage, NetworkPage, PeerPage};
use super::super::endpoint::Call;
use super::super::paging::Paging;
use super::super::refusals::{Badly, Closed};
use super::super::{App, Backend};
use super::{answer, ok, who};

/// The hubs in reach, as the answering hub sees them, each with its own report. Each hub has two seconds to answer.
#[utoipa::path(
    get, path = "/admin/api/hubs", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("hub" = Option<String>, Query, description = "The beginning of a hub's id."),
        ("region" = Option<String>, Query, description = "A region."),
    ),
    responses((status = 200, description = "A page of hubs, sorted by id.", body = HubPage), Badly, Closed)
)]
pub(super) fn hubs<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        ok(&admin_api::hubs(&app, &call.head.query).await?)
    })
}

/// The networks of the mesh.
#[utoipa::path(
    get, path = "/admin/api/networks", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("dialect" = Option<String>, Query, description = "The dialect."),
        ("network" = Option<String>, Query, description = "A part of the name."),
    ),
    responses((status = 200, description = "A page of networks, sorted by dialect and name.", body = NetworkPage), Badly, Closed)
)]
pub(super) fn networks<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let _turn = app.turn(call.door).acquire().await;
        ok(&admin_api::networks(&app, &call.head.query)?)
    })
}

/// The peers of one network. In a mesh that is past `MESH_FULL_DIRECTORY_PEERS`, the hubs that have some are given two
/// seconds to tell of them. With `details`, each hub has two seconds to give their addresses and subjects.
#[utoipa::path(
    get, path = "/admin/api/peers", tag = "peers", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("network" = String, Query, description = "The network's name.", min_length = 1, max_length = 128),
        ("dialect" = Option<String>, Query, description = "The network's dialect. pigeon, unless given."),
        ("hub" = Option<String>, Query, description = "The beginning of the id of the peers' hub."),
        ("details" = Option<String>, Query, description = "With any value, addresses and subjects are shown."),
    ),
    responses((status = 200, description = "A page of peers, sorted by id.", body = PeerPage), Badly, Closed)
)]
pub(super) fn peers<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let asked = form_urlencoded::parse(call.head.query.as_bytes());
        let mut asked = asked.map(|(name, _)| name);
        match asked.any(|name| name == "details") {
            true => who::looks_at_persons(&app, &call)?,
            false => who::looks(&app, &call)?,
        }
        ok(&admin_api::peers(&app, call.door, &call.head.query).await?)
    })
}
