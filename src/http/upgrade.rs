//! From an HTTP request to a WebSocket, without the buffers that warp's own upgrade would allocate.
//!
//! [`Handshake::check`] reads the request and prepares the 101; [`finish`] waits until hyper releases the connection
//! and takes the bare [`Stream`] out of it. Bytes after the request's head are copied, because hyper's buffer would
//! otherwise stay in memory as long as the WebSocket. Does not know which clients may connect.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use warp::reply::Response;

use super::asked::{Lost, is_connected, is_requested};
use super::watched::Watched;
use super::{Head, reply};
use crate::mesh::{Observed, socket_config};
use crate::tls::Stream;
use crate::unsent::Unsent;

/// The request cannot become a WebSocket. The client's fault; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum BadHandshake {
    /// It does not ask for a WebSocket.
    #[error("this is a WebSocket: ask for one with Connection: Upgrade and Upgrade: websocket")]
    NotAsked,
    /// Its client asked for one, and a proxy on the way changed the request.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The version is not 13.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// The key is missing, or is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
    /// The offered subprotocols are not valid names.
    #[error("Sec-WebSocket-Protocol must be a comma list of names")]
    Protocol,
}

impl BadHandshake {
    pub(super) fn response(self) -> Response {
        let status = match self {
            BadHandshake::NotAsked | BadHandshake::Lost(_) | BadHandshake::Version => {
                StatusCode::UPGRADE_REQUIRED
            }
            BadHandshake::Key | BadHandshake::Protocol => StatusCode::BAD_REQUEST,
        };
        let mut response = reply::error(status, &self.to_string());
        let headers = response.headers_mut();
        if status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        // Other answers do not need these headers. Proxies pass them on, and an HTTP/2 client would reject an answer
        // that has them.
        if self == BadHandshake::Version {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        response
    }
}

/// A request that may become a WebSocket.
pub(super) struct Handshake {
    /// The 101 that switches protocols.
    switch: Response,
    on_upgrade: OnUpgrade,
}

impl Handshake {
    /// Reads the request as RFC 6455, section 4.2.1 has it.
    pub(super) fn check(head: &mut Head) -> Result<Self, BadHandshake> {
        let headers = &head.headers;
        let asked =
            is_requested(headers) && is_connected(headers) && head.version > Version::HTTP_10;
        if !asked || head.method != http::Method::GET {
            return Err(Lost::of(head).map_or(BadHandshake::NotAsked, BadHandshake::Lost));
        }
        match headers.get(SEC_WEBSOCKET_VERSION) {
            Some(version) if version == "13" => {}
            // A proxy that sets `Upgrade` on every request asks for nothing.
            None if !headers.contains_key(SEC_WEBSOCKET_KEY) => return Err(BadHandshake::NotAsked),
            _ => return Err(BadHandshake::Version),
        }
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .filter(|key| is_key(key.as_bytes()));
        let accept = derive_accept_key(key.ok_or(BadHandshake::Key)?.as_bytes());
        let accept = HeaderValue::from_str(&accept).map_err(|_| BadHandshake::Key)?;
        let protocol = first_protocol(headers)?;
        let on_upgrade = head.on_upgrade.take().ok_or(BadHandshake::NotAsked)?;
        let switch = switch(accept, protocol);
        Ok(Handshake { switch, on_upgrade })
    }

    /// The 101 that switches protocols, and the connection to come.
    pub(super) fn into_parts(self) -> (Response, OnUpgrade) {
        (self.switch, self.on_upgrade)
    }
}

fn switch(accept: HeaderValue, protocol: Option<HeaderValue>) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

/// The subprotocol to agree on: the first offered one, because clients give up without one, and the messages are the
/// same in all.
fn first_protocol(headers: &HeaderMap) -> Result<Option<HeaderValue>, BadHandshake> {
    let mut first = None;
    for offer in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let offer = offer.to_str().map_err(|_| BadHandshake::Protocol)?;
        for name in offer.split(',').map(str::trim) {
            if !is_token(name) {
                return Err(BadHandshake::Protocol);
            }
            first.get_or_insert(name);
        }
    }
    let first = first.map(HeaderValue::from_str).transpose();
    first.map_err(|_| BadHandshake::Protocol)
}

/// Whether this is a `token` of RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(fits)
}

/// Sixteen bytes in base64 are 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else {
        return false;
    };
    digits.len() == 22
        && digits
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/'))
}

/// The connection never became a WebSocket. The socket is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum UpgradeFailed {
    /// hyper did not release the connection in time.
    #[error("not switched in time")]
    TimedOut,
    /// The connection broke before the switch.
    #[error("the connection broke")]
    Broken,
    /// It is not the connection that the accept loop made.
    #[error("not a connection of the accept loop")]
    Foreign,
}

/// Waits for the connection; returns it with the bytes that were read after the request.
pub(super) async fn finish(
    on_upgrade: OnUpgrade,
    within: Duration,
) -> Result<(Stream, Bytes), UpgradeFailed> {
    let upgraded = timeout(within, on_upgrade)
        .await
        .map_err(|_| UpgradeFailed::TimedOut)?;
    let upgraded = upgraded.map_err(|_| UpgradeFailed::Broken)?;
    let parts = upgraded
        .downcast::<TokioIo<Watched>>()
        .map_err(|_| UpgradeFailed::Foreign)?;
    // `read_buf` is a part of hyper's buffer, which is freed with it.
    let ahead = Bytes::copy_from_slice(&parts.read_buf);
    Ok((parts.io.into_inner().into_inner(), ahead))
}

/// The link of another hub, with its buffers and limits.
pub(super) async fn hub_socket(stream: Stream, ahead: Bytes) -> WebSocketStream<Observed<Stream>> {
    let config = Some(socket_config());
    stream.bound_unsent(Unsent::OfLink);
    let stream = Observed::new(stream);
    WebSocketStream::from_partially_read(stream, ahead.into(), Role::Server, config).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in [
            &b""[..],
            b"==",
            b"short==",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZ!==",
        ] {
            assert!(!is_key(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn of_the_subprotocols_that_are_offered_the_first_is_agreed_on() {
        let offered = |offers: &[&str]| {
            let mut headers = HeaderMap::new();
            for offer in offers {
                let offer = HeaderValue::from_str(offer).expect("a header value");
                headers.append(SEC_WEBSOCKET_PROTOCOL, offer);
            }
            first_protocol(&headers)
        };
        assert_eq!(offered(&[]), Ok(None));
        for offers in [&["one"][..], &["one, two"], &[" one ,two"], &["one", "two"]] {
            let agreed = offered(offers).expect("names").expect("one of them");
            assert_eq!(agreed, "one", "{offers:?}");
        }
        for wrong in [
            "", ",one", "one two", "one,,two", "a/b", "\"one\"", "\u{e9}",
        ] {
            assert_eq!(offered(&[wrong]), Err(BadHandshake::Protocol), "{wrong:?}");
        }
    }
}
