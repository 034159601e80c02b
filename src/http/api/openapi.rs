//! `GET /api/openapi.json` and `/api/info`: `/api` described in OpenAPI 3.1, made of the handlers and types that serve
//! it, and a short form.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http::StatusCode;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, PathItem, path::Operation};
use utoipa::{Modify, OpenApi};
use warp::reply::Response;

use super::super::endpoint::Call;
use super::super::{App, Backend, reply};
use super::rooms::answer;
use super::shapes::{EndpointInfo, Info};
use super::{rooms, service};
use crate::clock::unix_ms;

/// How clients show tokens.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut Document) {
        let bearer = |what: &str| {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
            SecurityScheme::Http(scheme.description(Some(what)).build())
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", bearer("AUTH_TOKEN, or a JWT"));
        components.add_security_scheme("operator", bearer("ADMIN_TOKEN, else AUTH_TOKEN"));
    }
}

/// The description of `/api`.
#[derive(OpenApi)]
#[openapi(
    paths(
        describe, service::health, service::stats, info, service::cleanup, service::gc,
        rooms::list, rooms::create, rooms::details, rooms::stats, rooms::peers, rooms::join, rooms::leave,
    ),
    modifiers(&Tokens),
    info(title = "hubmesh", description = "Rooms of a mesh of signaling hubs, and the care of a hub.")
)]
struct Api;

/// The description as it is served.
fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(Api::openapi)
}

fn text() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| reply::to_json(document())).clone()
}

/// The operations of a path, with their methods.
fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let all = [("GET", &item.get), ("POST", &item.post)];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Whether this path, with `{}` for each name, is described.
pub(super) fn describes(path: &str) -> bool {
    let described = &document().paths.paths;
    described.keys().any(|known| {
        let bare = known.trim_start_matches('/').split('/');
        let bare = bare.map(|segment| {
            if segment.starts_with('{') {
                "{}"
            } else {
                segment
            }
        });
        bare.eq(path.split('/'))
    })
}

/// What `/api` offers, in short.
fn endpoints() -> Vec<EndpointInfo> {
    let mut all = Vec::new();
    for (path, item) in &document().paths.paths {
        for (method, operation) in operations(item) {
            all.push(EndpointInfo {
                path: path.clone(),
                method: method.to_owned(),
                description: operation.summary.clone().unwrap_or_default(),
            });
        }
    }
    all
}

/// This description.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "service",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = serde_json::Value))
)]
pub(super) fn describe<B: Backend>(_: Arc<App<B>>, _: Call) -> BoxFuture<'static, Response> {
    ready(reply::text(StatusCode::OK, reply::JSON, text())).boxed()
}

/// This server and its paths.
#[utoipa::path(
    get, path = "/api/info", tag = "service",
    responses((status = 200, description = "What it is.", body = Info))
)]
pub(super) fn info<B: Backend>(_: Arc<App<B>>, _: Call) -> BoxFuture<'static, Response> {
    answer(async {
        let info = Info {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            description: env!("CARGO_PKG_DESCRIPTION"),
            features: [
                "WebRTC signaling",
                "Rooms on all hubs of a mesh",
                "Handing a room on when its host leaves",
                "Ending rooms that nobody is in",
                "Memory guard",
            ],
            endpoints: endpoints(),
            openapi: "/api/openapi.json",
            timestamp: unix_ms(),
        };
        Ok(reply::json(StatusCode::OK, &info))
    })
}
