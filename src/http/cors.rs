//! What browsers must be told so that pages of other origins may read the answers.
//!
//! With `CORS_ORIGIN=*` every answer allows any origin; with a list, an answer names the request's origin if it is
//! in the list, and says that it depends on it.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, VARY,
};
use http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::reply::METHODS;
use crate::config::CorsOrigins;

/// Adds the headers that go on every answer.
pub(super) fn decorate(
    response: &mut Response,
    allowed: &CorsOrigins,
    origin: Option<&HeaderValue>,
) {
    let headers = response.headers_mut();
    match allowed {
        CorsOrigins::Any => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        CorsOrigins::Only(_) => {
            headers.append(VARY, HeaderValue::from_static("Origin"));
            if let Some(origin) = origin.filter(|origin| allowed.allows(Some(origin))) {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
    }
}

/// The answer to `OPTIONS`, on any path.
pub(super) fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(METHODS),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
