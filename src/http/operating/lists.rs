//! `GET /admin/api/hubs`, `/networks` and `/peers`: the mesh in lists, to operators.

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

/// The hubs in reach, as they are seen from here and in their own words. They have two seconds to answer.
#[utoipa::path(
    get, path = "/admin/api/hubs", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("hub" = Option<String>, Query, description = "The beginning of an id."),
        ("region" = Option<String>, Query, description = "A region."),
    ),
    responses((status = 200, description = "A page of them, by their ids.", body = HubPage), Badly, Closed)
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
        ("dialect" = Option<String>, Query, description = "That of its clients."),
        ("network" = Option<String>, Query, description = "A part of its name."),
    ),
    responses((status = 200, description = "A page of them, by their dialects and names.", body = NetworkPage), Badly, Closed)
)]
pub(super) fn networks<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let _turn = app.turn(call.door).acquire().await;
        ok(&admin_api::networks(&app, &call.head.query)?)
    })
}

/// The peers of one network. With `details`, their hubs are asked whose they are, and have two seconds to answer.
#[utoipa::path(
    get, path = "/admin/api/peers", tag = "peers", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("network" = String, Query, description = "Its name.", min_length = 1, max_length = 128),
        ("dialect" = Option<String>, Query, description = "That of its clients: pigeon, unless given."),
        ("hub" = Option<String>, Query, description = "The beginning of the id of the hub that they are at."),
        ("details" = Option<String>, Query, description = "Anything: their addresses and subjects are shown."),
    ),
    responses((status = 200, description = "A page of them, by their ids.", body = PeerPage), Badly, Closed)
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
