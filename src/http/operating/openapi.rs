//! `GET /admin/api/openapi.json`: the OpenAPI 3.1 description of `/admin/api`, made of the handlers and of their types.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::StatusCode;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use warp::reply::Response;

use super::super::endpoint::Call;
use super::super::refusals::Closed;
use super::super::{App, Backend, reply};
use super::{acts, answer, awaited, bans, events, lists, login, pictures, who};

/// The ways in which a client shows that it is an operator.
struct OperatorSchemes;

impl Modify for OperatorSchemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some("ADMIN_TOKEN")).build();
        components.add_security_scheme("operator", SecurityScheme::Http(bearer));
        let what = "The cookie of a login. A request that changes something also needs the header X-Hubmesh-Admin: 1.";
        let cookie = ApiKeyValue::with_description(login::NAME, what);
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(cookie));
        components.add_security_scheme("login", cookie);
    }
}

/// The description of `/admin/api`.
#[derive(OpenApi)]
#[openapi(
    paths(
        describe, lists::hubs, lists::networks, lists::peers, acts::remove_named, acts::remove, pictures::topology,
        pictures::history, awaited::waiting, awaited::contests, bans::list, bans::place, bans::lift, events::listen,
        login::session, login::login, login::logout,
    ),
    modifiers(&OperatorSchemes),
    info(
        title = "hubmesh, for operators",
        description = "Data about a mesh of signaling hubs and actions on it, for operators. Every hub answers for the whole \
                       mesh. Without ADMIN_TOKEN, every client that reaches ADMIN_ADDR by an address, or by a name without a \
                       dot, is an operator; its changes need the header X-Hubmesh-Admin: 1. With neither setting, \
                       the hub's own machine may read a part of the data."
    )
)]
struct AdminApi;

/// The description.
pub(in super::super) fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(AdminApi::openapi)
}

fn text() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| reply::to_json(document())).clone()
}

/// Gives this description.
#[utoipa::path(
    get, path = "/admin/api/openapi.json", tag = "service", security(("operator" = []), ("login" = [])),
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = serde_json::Value), Closed)
)]
pub(super) fn describe<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        Ok(reply::text(StatusCode::OK, reply::JSON, text()))
    })
}
