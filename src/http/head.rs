//! The head of a request, as handlers see it.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::{HeaderMap, Method, Version};
use hyper::upgrade::OnUpgrade;
use warp::Filter;

/// The parts of a request's head that matter here.
pub(super) struct Head {
    pub(super) method: Method,
    /// HTTP/1.1, unless the client says otherwise.
    pub(super) version: Version,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) on_upgrade: Option<OnUpgrade>,
    pub(super) remote: Option<SocketAddr>,
    /// The request comes from a client that may see the pages of operators.
    pub(super) is_operator: bool,
}

/// Takes the head of a request.
pub(super) fn head() -> impl Filter<Extract = (Head,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::optional::<SocketAddr>())
        .and(warp::ext::optional::<Version>())
        .map(|method, query, headers, on_upgrade, remote, version| Head {
            method,
            version: Option::unwrap_or_default(version),
            query,
            headers,
            on_upgrade,
            remote,
            is_operator: false,
        })
}
