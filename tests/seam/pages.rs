//! The HTTP side of the tests' own dialect: it answers with the members of a topic, and with the JSON that was posted.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use hubmesh_core::ids::{Dialect, NetworkKey};
use serde_json::{Value, json};
use warp::reply::Response;

use super::endpoint::{Call, Endpoint, Handler};
use super::{App, Backend, reply};

/// The most bytes that are read of a body.
const MOST: u64 = 100;

/// The endpoint `/trial/topics/{}`.
pub(super) fn endpoint<B: Backend>() -> Endpoint<B> {
    Endpoint {
        path: "trial/topics/{}",
        most: MOST,
        handlers: Handlers::<B>::ALL,
    }
}

struct Handlers<B>(std::marker::PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const ALL: &'static [(Method, Handler<B>)] = &[(Method::GET, look), (Method::POST, say)];
}

fn ids<B: Backend>(app: &App<B>, call: &Call) -> Vec<String> {
    let topic = call.names.first().map_or("", String::as_str);
    let network = NetworkKey::new(Dialect::Trial, topic);
    let ids = network.map(|network| app.backend().ids(&network, 10));
    let ids = ids.unwrap_or_default();
    ids.iter().map(ToString::to_string).collect()
}

fn look<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move { reply::json(StatusCode::OK, &json!({"ids": ids(&app, &call)})) }.boxed()
}

fn say<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move {
        // This stands for anything that an endpoint may wait for.
        tokio::task::yield_now().await;
        match serde_json::from_slice::<Value>(&call.body) {
            Ok(said) => {
                let answer = json!({"ids": ids(&app, &call), "said": said});
                reply::json(StatusCode::OK, &answer)
            }
            Err(_) => reply::error(StatusCode::BAD_REQUEST, "the body is not JSON"),
        }
    }
    .boxed()
}
