//! Answers: JSON, text, and errors that are JSON too.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

/// A request that is answered already.
pub(super) type Answered = Box<Response>;

/// The methods that pages answer, as `Allow` lists them.
pub(super) const METHODS: &str = "GET, HEAD, OPTIONS";

/// The type of JSON.
pub(super) const JSON: &str = "application/json";

/// This value as JSON. No browser or proxy may cache a status page.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    text(status, JSON, to_json(value))
}

/// The bytes of `value` as JSON.
pub(super) fn to_json(value: &impl Serialize) -> Bytes {
    // These values are our own structs with text keys, which always serialize.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// This text.
pub(super) fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why a request was not carried out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorBody<'a> {
    /// In words.
    pub(super) error: &'a str,
}

/// Why a request about a network of other hubs cannot be answered now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NoAnswer {
    /// In words.
    pub(super) error: &'static str,
    /// The ids of hubs that would know and did not answer in time. Left out if that is not the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) not_answered: Vec<String>,
}

/// An error, as `{"error"}`.
pub(super) fn error(status: StatusCode, why: &str) -> Response {
    json(status, &ErrorBody { error: why })
}

/// The answer for a path without a page.
pub(super) fn nothing_here() -> Response {
    error(StatusCode::NOT_FOUND, "there is nothing here")
}

/// The request does not show a token that it needs.
pub(super) fn unauthorized(why: &str) -> Response {
    let mut response = error(StatusCode::UNAUTHORIZED, why);
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

/// An error that passes: the client may ask again in this many seconds.
pub(super) fn retry_later(why: &str, seconds: u64) -> Response {
    after(seconds, error(StatusCode::SERVICE_UNAVAILABLE, why))
}

/// The client asks for too much; it may ask again in this many seconds.
pub(super) fn too_many(why: &str, seconds: u64) -> Response {
    after(seconds, error(StatusCode::TOO_MANY_REQUESTS, why))
}

/// Has the client come back in this many seconds.
pub(super) fn after(seconds: u64, mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Says that the answer depends on what the client accepts.
pub(super) fn by_accept(mut response: Response) -> Response {
    let vary = HeaderValue::from_static("Accept");
    response.headers_mut().append(VARY, vary);
    response
}

/// The answer to `OPTIONS` on a path that answers these methods and that no other origin may use.
pub(super) fn options(methods: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    allow(&mut response, methods);
    response
}

/// The path exists, but answers only these methods.
pub(super) fn method_not_allowed(methods: &str) -> Response {
    let why = format!("only these methods are answered here: {methods}");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &why);
    allow(&mut response, methods);
    response
}

fn allow(response: &mut Response, methods: &str) {
    // Names of methods are valid in a header.
    if let Ok(methods) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
}
