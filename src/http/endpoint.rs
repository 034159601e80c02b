//! Endpoints whose answers may take time: a path with names in it, a bounded body, an asynchronous answer.
//!
//! Status pages are made at once and answer only GET; requests with other methods are handled here. A body has to
//! declare its length, and a body that is too long is not read. The connection bounds the time in which the body has to
//! arrive (`serve`). Knows no endpoint by name.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use warp::filters::BoxedFilter;
use warp::reject::{PayloadTooLarge, Rejection};
use warp::reply::Response;
use warp::{Filter, path};

use super::admin::Door;
use super::head::head;
use super::{App, Backend, Head, reply};

/// One request.
pub(super) struct Call {
    /// The door at which it arrived.
    pub(super) door: Door,
    /// Its head.
    pub(super) head: Head,
    /// The parts of its path in the places of the endpoint's `{}`, in order, as they were sent.
    pub(super) names: Vec<String>,
    /// Its body; empty if there is none.
    pub(super) body: Bytes,
}

impl Call {
    /// The first name in its path, as it was sent.
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The same name, decoded.
    pub(super) fn decoded_name(&self) -> String {
        percent_decode_str(self.name())
            .decode_utf8_lossy()
            .into_owned()
    }

    /// Whether it says that its body is JSON.
    pub(super) fn is_json(&self) -> bool {
        let told = self.head.headers.get(CONTENT_TYPE);
        let told = told.and_then(|told| told.to_str().ok());
        let essence = told.and_then(|told| told.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(reply::JSON))
    }
}

/// Answers one request.
pub(super) type Handler<B> = fn(Arc<App<B>>, Call) -> BoxFuture<'static, Response>;

/// A path and its handlers.
pub(super) struct Endpoint<B: 'static> {
    /// Its segments without a slash in front; `{}` is any one segment.
    pub(super) path: &'static str,
    /// The longest body, in bytes.
    pub(super) most: u64,
    /// The handlers by method; that of GET answers HEAD too.
    pub(super) handlers: &'static [(Method, Handler<B>)],
}

impl<B> Endpoint<B> {
    /// Whether this path, with its slash in front, is the endpoint's.
    pub(super) fn is_at(&self, path: &str) -> bool {
        let mut asked = path.trim_start_matches('/').split('/');
        let mut own = self.path.split('/');
        let fits = own.by_ref().all(|segment| {
            let named = asked.next().filter(|name| !name.is_empty());
            named.is_some_and(|name| segment == "{}" || segment == name)
        });
        fits && asked.next().is_none()
    }

    /// The methods that are answered, as `Allow` lists them.
    pub(super) fn methods(&self) -> String {
        let own = self.handlers.iter().map(|(method, _)| match *method {
            Method::GET => "GET, HEAD",
            ref other => other.as_str(),
        });
        let all: Vec<&str> = own.chain(["OPTIONS"]).collect();
        all.join(", ")
    }

    /// The handler of this method, and the body that is read for it; or the answer in their place.
    fn handler(
        &self,
        head: &Head,
        body: Result<Bytes, StatusCode>,
    ) -> Result<(Handler<B>, Bytes), Box<Response>> {
        let method = match head.method {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let Some((_, handler)) = self.handlers.iter().find(|(own, _)| own == method) else {
            return Err(Box::new(reply::method_not_allowed(&self.methods())));
        };
        match body {
            Ok(body) => Ok((*handler, body)),
            // Clients send no body with these methods, and declare no length.
            Err(_) if *method == Method::GET => Ok((*handler, Bytes::new())),
            // A request that declares no body has none (RFC 9112, section 6.3).
            Err(StatusCode::LENGTH_REQUIRED) if !head.headers.contains_key(TRANSFER_ENCODING) => {
                Ok((*handler, Bytes::new()))
            }
            Err(status) => Err(Box::new(reply::error(status, why(status)))),
        }
    }
}

/// The route of an endpoint. Requests for other paths are rejected; all others get an answer.
pub(super) fn route<B: Backend>(
    app: &Arc<App<B>>,
    door: Door,
    endpoint: Endpoint<B>,
) -> BoxedFilter<(Response,)> {
    let app = Arc::clone(app);
    let endpoint = Arc::new(endpoint);
    names_in(endpoint.path)
        .and(head())
        .and(body(endpoint.most))
        .then(move |names, head: Head, body| {
            let (app, endpoint) = (Arc::clone(&app), Arc::clone(&endpoint));
            async move {
                let (handler, body) = match endpoint.handler(&head, body) {
                    Ok(found) => found,
                    Err(refused) => return *refused,
                };
                let call = Call {
                    door,
                    head,
                    names,
                    body,
                };
                handler(app, call).await
            }
        })
        .boxed()
}

/// Matches a path, and extracts its names.
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

/// The body of a request, or the reason why it is not read.
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
        _ => "a body has to declare its length, and to arrive whole",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_paths_with_as_many_segments_and_any_names() {
        let endpoint = |path| Endpoint::<()> {
            path,
            most: 0,
            handlers: &[],
        };
        for (pattern, path, fits) in [
            ("api/rooms/{}", "/api/rooms/a", true),
            ("api/rooms/{}", "/api/rooms/a%2Fb", true),
            ("api/rooms/{}", "/api/rooms", false),
            ("api/rooms/{}", "/api/rooms/", false),
            ("api/rooms/{}", "/api/rooms/a/b", false),
            ("api/rooms/{}", "/api/halls/a", false),
            ("api/{}/peers", "/api/a/peers", true),
            ("api/{}/peers", "/api/a/b", false),
        ] {
            assert_eq!(endpoint(pattern).is_at(path), fits, "{pattern} {path}");
        }
    }
}
