//! The headers that let pages of other origins read the answers.
//!
//! With `CORS_ORIGIN=*` every answer allows any origin. With a list, an answer names the request's origin if it is in
//! the list, and says that it depends on it. A preflight is granted for any headers, because pages add headers that a
//! hub does not know (tracing libraries do), and a hub reads only those that it knows.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue};
use warp::reply::Response;

use super::reply;
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

/// Whether an `OPTIONS` is a browser's preflight; any other is a health check.
pub(super) fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to `OPTIONS`, on a path that answers these methods.
pub(super) fn preflight(asked: &HeaderMap, methods: &str, allowed: &CorsOrigins) -> Response {
    let mut response = reply::options(methods);
    let headers = response.headers_mut();
    if let Ok(methods) = HeaderValue::from_str(methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers.append(
        VARY,
        HeaderValue::from_static("Access-Control-Request-Headers"),
    );
    if allowed.allows(asked.get(ORIGIN)) {
        let wanted = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS);
        for names in wanted.iter().filter(|names| !names.is_empty()) {
            headers.append(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
    }
    response
}
