//! Whether a request asks for a WebSocket, by its headers and its query, and which part of the request was lost on its
//! way.
//!
//! Pure: a request's head in, an answer out. Knows neither where the endpoints are nor who may use them.

use http::header::{
    CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Version};
use url::form_urlencoded;

use super::Head;

/// Whether the request asks for a WebSocket, correctly or not.
pub(super) fn is_requested(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// Whether the upgrade is for the connection that carries the request.
pub(super) fn is_connected(headers: &HeaderMap) -> bool {
    has_token(headers, &CONNECTION, "upgrade")
}

fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// The part of a client's request for a WebSocket that was lost on its way to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Lost {
    /// HTTP/1.0 has no upgrade.
    #[error(
        "this request for a WebSocket came by HTTP/1.0, which has none. If there is a proxy in front, have it speak \
         HTTP/1.1 and pass Upgrade on; nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection \"upgrade\";"
    )]
    Version,
    /// `Upgrade` is missing.
    #[error(
        "this request for a WebSocket came without Upgrade: websocket. If there is a proxy in front, have it pass \
         Upgrade on; nginx: proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; Apache: \
         ProxyPass ... upgrade=websocket"
    )]
    Upgrade,
    /// `Connection` does not name it.
    #[error(
        "this request for a WebSocket came without Connection: Upgrade. If there is a proxy in front, have it set that; \
         nginx: proxy_set_header Connection \"upgrade\";"
    )]
    Connection,
}

impl Lost {
    /// The lost part of a request for a WebSocket; `None` if the client wanted none, or nothing is lost.
    pub(super) fn of(head: &Head) -> Option<Self> {
        if head.method != http::Method::GET || !is_meant(head) {
            return None;
        }
        let headers = &head.headers;
        match (is_requested(headers), is_connected(headers)) {
            _ if head.version < Version::HTTP_11 => Some(Lost::Version),
            (false, _) => Some(Lost::Upgrade),
            (true, false) => Some(Lost::Connection),
            (true, true) => None,
        }
    }
}

/// Whether a client that wants a WebSocket sent these headers, even if some of them were lost.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let signs = [
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_EXTENSIONS,
    ];
    is_requested(headers) || signs.iter().any(|sign| headers.contains_key(sign))
}

/// Whether the query names a peer, by a valid id or not.
pub(super) fn names_a_peer(head: &Head) -> bool {
    names(head, &["peerId"])
}

/// Whether a request was meant for a WebSocket, by its headers or by a query that only WebSockets have.
pub(super) fn is_meant(head: &Head) -> bool {
    is_wanted(&head.headers) || names(head, &["peerId"]) || is_peerjs(head)
}

/// Whether the query is that of a PeerJS client's WebSocket and not of a native peer's.
pub(super) fn is_peerjs(head: &Head) -> bool {
    names(head, &["key", "id", "token"]) && !names(head, &["peerId"])
}

fn names(head: &Head, all: &[&str]) -> bool {
    let has = |wanted: &&str| {
        form_urlencoded::parse(head.query.as_bytes()).any(|(name, _)| name == *wanted)
    };
    all.iter().all(has)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn tokens_are_found_in_lists_whatever_their_case() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(has_token(&headers, &CONNECTION, "upgrade"));
        assert!(!has_token(&headers, &CONNECTION, "close"));
    }
}
