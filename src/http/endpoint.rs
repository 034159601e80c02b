//! Endpoints that take their time: a path with names in it, a bounded body, an answer that may be waited for.
//!
//! Status pages are made at once and answer GET alone; what a program asks for by other methods comes in here. A body has
//! to say how long it is, and what is too long is not read. How long it may take to come is bounded by the connection
//! (`serve`). Knows no endpoint by name.
#![allow(
    dead_code,
    reason = "builds for tests use it, and the dialects that come next"
)]

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reject::{PayloadTooLarge, Rejection};
use warp::reply::Response;
use warp::{Filter, path};

use super::{App, Backend, Head, head, reply};

/// One request.
pub(super) struct Call {
    /// Its head.
    pub(super) head: Head,
    /// What stands in its path where the endpoint's has `{}`, in order, as it was sent.
    pub(super) names: Vec<String>,
    /// Its body; empty where there is none.
    pub(super) body: Bytes,
}

/// Answers one request.
pub(super) type Handler<B> = fn(Arc<App<B>>, Call) -> BoxFuture<'static, Response>;

/// A path, and who answers there.
pub(super) struct Endpoint<B: 'static> {
    /// Its segments without a slash in front; `{}` is any one segment.
    pub(super) path: &'static str,
    /// The longest body, in bytes.
    pub(super) most: u64,
    /// Who answers which method; that of GET answers HEAD too.
    pub(super) handlers: &'static [(Method, Handler<B>)],
}

/// The route of an endpoint. Requests for other paths are rejected; all others get an answer.
pub(super) fn route<B: Backend>(
    app: &Arc<App<B>>,
    endpoint: Endpoint<B>,
) -> BoxedFilter<(Response,)> {
    let app = Arc::clone(app);
    let handlers = endpoint.handlers;
    names_in(endpoint.path)
        .and(head())
        .and(body(endpoint.most))
        .then(move |names, head: Head, body| answer(Arc::clone(&app), handlers, names, head, body))
        .boxed()
}

async fn answer<B: Backend>(
    app: Arc<App<B>>,
    handlers: &'static [(Method, Handler<B>)],
    names: Vec<String>,
    head: Head,
    body: Result<Bytes, StatusCode>,
) -> Response {
    let method = match head.method {
        Method::HEAD => &Method::GET,
        ref other => other,
    };
    let Some((method, handler)) = handlers.iter().find(|(own, _)| own == method) else {
        return not_among(handlers);
    };
    let body = match body {
        Ok(body) => body,
        // Nobody sends a body with these, or says how long it is.
        Err(_) if *method == Method::GET => Bytes::new(),
        Err(status) => return reply::error(status, why(status)),
    };
    handler(app, Call { head, names, body }).await
}

/// Matches a path, and takes the names out of it.
fn names_in(pattern: &'static str) -> BoxedFilter<(Vec<String>,)> {
    let start = warp::any().map(Vec::new).boxed();
    let all = pattern
        .split('/')
        .fold(start, |before, segment| match segment {
            "{}" => before
                .and(path::param::<String>())
                .map(|mut names: Vec<String>, name| {
                    names.push(name);
                    names
                })
                .boxed(),
            segment => before.and(path(segment)).boxed(),
        });
    all.and(path::end()).boxed()
}

/// The body of a request, or why it is not read.
fn body(
    most: u64,
) -> impl Filter<Extract = (Result<Bytes, StatusCode>,), Error = Infallible> + Clone {
    let read = warp::body::content_length_limit(most).and(warp::body::bytes());
    read.map(Ok).or_else(|refused: Rejection| async move {
        let status = if refused.find::<PayloadTooLarge>().is_some() {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::LENGTH_REQUIRED
        };
        Ok::<_, Infallible>((Err(status),))
    })
}

fn why(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too long",
        _ => "a body has to say how long it is, and to come whole",
    }
}

fn not_among<B>(handlers: &[(Method, Handler<B>)]) -> Response {
    let methods: Vec<&str> = handlers.iter().map(|(method, _)| method.as_str()).collect();
    let methods = methods.join(", ");
    let why = format!("only these methods are answered here: {methods}");
    let mut response = reply::error(StatusCode::METHOD_NOT_ALLOWED, &why);
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}
