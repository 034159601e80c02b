//! `GET /api/openapi.json` and `/api/info`: the description of the API for programs, as OpenAPI 3.1 and in short.
//!
//! The descriptions are derived from the handlers and the types that are served. This module describes `/api`, the
//! tokens, and the rooms of coordinator clients; `operating` describes `/admin/api`. Status pages and WebSockets are in
//! neither description.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http::{Method, StatusCode};
use serde::Serialize;
use utoipa::openapi::{OpenApi as Document, PathItem, path::Operation};
use utoipa::{OpenApi, ToSchema};
use warp::reply::Response;

use super::endpoint::{Call, Endpoint, Handler};
use super::{App, Backend, api, auth_token, coordinator, reply};
use crate::clock::unix_ms;

/// What is described beside the rooms of OctateCode's clients.
#[derive(OpenApi)]
#[openapi(
    paths(
        describe,
        info,
        auth_token::answer,
        coordinator::rooms,
        coordinator::peers
    ),
    // No handler names it: it is the body of refusals alone.
    components(schemas(reply::NoAnswer))
)]
struct Beside;

/// The description as it is served.
fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut document = api::document();
        document.merge(Beside::openapi());
        document
    })
}

fn text() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| reply::to_json(document())).clone()
}

/// The operations of a path, with their methods.
fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

struct Handlers<B>(std::marker::PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const DESCRIBE: &'static [(Method, Handler<B>)] = &[(Method::GET, describe)];
    const INFO: &'static [(Method, Handler<B>)] = &[(Method::GET, info)];
}

/// `/api/openapi.json` and `/api/info`.
pub(super) fn endpoints<B: Backend>() -> [Endpoint<B>; 2] {
    let all = [
        ("api/openapi.json", Handlers::<B>::DESCRIBE),
        ("api/info", Handlers::<B>::INFO),
    ];
    all.map(|(path, handlers)| Endpoint {
        path,
        most: 0,
        handlers,
    })
}

/// What a path answers.
#[derive(Debug, Serialize, ToSchema)]
struct EndpointInfo {
    path: String,
    method: String,
    description: String,
}

/// What this server is.
#[derive(Debug, Serialize, ToSchema)]
struct Info {
    name: &'static str,
    version: &'static str,
    description: &'static str,
    features: [&'static str; 5],
    endpoints: Vec<EndpointInfo>,
    /// Where all of this is described for programs.
    openapi: &'static str,
    timestamp: u64,
}

/// What is answered, in short.
fn in_short() -> Vec<EndpointInfo> {
    let mut all = Vec::new();
    for (path, item) in &document().paths.paths {
        for (method, operation) in operations(item) {
            all.push(EndpointInfo {
                path: path.clone(),
                method: method.to_string(),
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
fn describe<B: Backend>(_: Arc<App<B>>, _: Call) -> BoxFuture<'static, Response> {
    ready(reply::text(StatusCode::OK, reply::JSON, text())).boxed()
}

/// What this server is, and what it answers.
#[utoipa::path(
    get, path = "/api/info", tag = "service",
    responses((status = 200, description = "What it is.", body = Info))
)]
fn info<B: Backend>(_: Arc<App<B>>, _: Call) -> BoxFuture<'static, Response> {
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
        endpoints: in_short(),
        openapi: "/api/openapi.json",
        timestamp: unix_ms(),
    };
    ready(reply::json(StatusCode::OK, &info)).boxed()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::super::admin::Door;
    use super::super::{operating, routes};
    use super::*;
    use crate::config::Config;
    use crate::hub::Parts;

    /// Paths as endpoints have them, with `{}` for each name, and the methods of each.
    fn described() -> BTreeMap<String, Vec<Method>> {
        let all = [document(), operating::openapi::document()];
        let items = all.into_iter().flat_map(|document| &document.paths.paths);
        let bare = |segment: &'static str| match segment.starts_with('{') {
            true => "{}",
            false => segment,
        };
        let described = items.map(|(path, item)| {
            let path = path.trim_start_matches('/').split('/').map(bare);
            let methods = operations(item).map(|(method, _)| method);
            (path.collect::<Vec<_>>().join("/"), methods.collect())
        });
        described.collect()
    }

    #[test]
    fn what_is_answered_is_described_and_what_is_described_is_answered() {
        let config = Config::from_vars::<&str, &str>([]).expect("settings");
        let all = routes::endpoints::<Parts>(&config, Door::Admin);
        let served: BTreeMap<String, Vec<Method>> = all
            .iter()
            .map(|endpoint| {
                let methods = endpoint.handlers.iter().map(|(method, _)| method.clone());
                (endpoint.path.to_owned(), methods.collect())
            })
            .collect();
        assert_eq!(served.len(), all.len(), "each path once");
        assert_eq!(served, described());
    }

    #[test]
    fn what_operators_alone_may_ask_for_where_they_are_told_apart_says_so() {
        let document = serde_json::to_value(document()).expect("JSON");
        for (method, path) in [
            ("get", "/rooms"),
            ("get", "/api/rooms"),
            ("get", "/api/stats"),
            ("post", "/api/rooms"),
            ("post", "/api/rooms/{roomId}/join"),
            ("post", "/api/rooms/{roomId}/leave"),
            ("post", "/api/maintenance/cleanup"),
            ("post", "/api/maintenance/gc"),
        ] {
            let operation = &document["paths"][path][method];
            let elsewhere = operation["responses"]["404"]["description"].as_str();
            let elsewhere = elsewhere.expect("404 is described");
            assert!(elsewhere.contains("a listener of their own"), "{path}");
            let security = operation["security"].as_array().expect("a list");
            let operator = serde_json::json!({ "operator": [] });
            assert!(security.contains(&operator), "{path}");
        }
    }

    /// The references in a part of a description.
    fn references(part: &Value, found: &mut Vec<String>) {
        match part {
            Value::Object(members) => {
                let to = members.get("$ref").and_then(Value::as_str);
                found.extend(to.map(str::to_owned));
                members.values().for_each(|part| references(part, found));
            }
            Value::Array(items) => items.iter().for_each(|part| references(part, found)),
            _ => {}
        }
    }

    #[test]
    fn what_a_description_refers_to_is_in_it() {
        for document in [document(), operating::openapi::document()] {
            let document = serde_json::to_value(document).expect("JSON");
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(found.len() > 10);
            for to in found {
                let pointer = to.strip_prefix('#').expect("in this document");
                assert!(document.pointer(pointer).is_some(), "{to}");
            }
        }
    }

    #[test]
    fn an_answer_that_may_name_silent_hubs_is_described_so() {
        let document = serde_json::to_value(document()).expect("JSON");
        for (method, path) in [
            ("get", "/rooms"),
            ("get", "/rooms/{roomId}/peers"),
            ("get", "/api/rooms"),
            ("get", "/api/rooms/{roomId}"),
            ("get", "/api/rooms/{roomId}/stats"),
            ("get", "/api/rooms/{roomId}/peers"),
            ("post", "/api/rooms"),
            ("post", "/api/rooms/{roomId}/join"),
            ("post", "/api/rooms/{roomId}/leave"),
        ] {
            let responses = &document["paths"][path][method]["responses"];
            let schema = &responses["503"]["content"]["application/json"]["schema"];
            assert_eq!(schema["$ref"], "#/components/schemas/NoAnswer", "{path}");
            for status in ["429", "503"] {
                let described = responses[status]["description"].as_str();
                assert!(
                    described.is_some_and(|text| text.contains("`Retry-After`")),
                    "{method} {path}: {status}"
                );
            }
        }
        let body = &document["components"]["schemas"]["NoAnswer"];
        assert_eq!(body["required"], serde_json::json!(["error"]));
    }

    #[test]
    fn what_else_is_not_there_is_described_beside_the_other_listener() {
        let document = serde_json::to_value(operating::openapi::document()).expect("JSON");
        for (method, path, what) in [
            ("delete", "/admin/api/peers", "no such peer"),
            (
                "delete",
                "/admin/api/peers/{dialect}/{network}/{id}",
                "no such peer",
            ),
            ("delete", "/admin/api/bans/{ban}", "no such ban"),
            ("get", "/admin/api/history", "no such hub"),
            ("post", "/admin/api/login", "no `ADMIN_TOKEN`"),
        ] {
            let responses = &document["paths"][path][method]["responses"];
            let described = responses["404"]["description"].as_str();
            let described = described.expect("404 is described");
            assert!(described.contains(what), "{path}: {described}");
        }
    }
}
