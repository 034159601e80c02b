//! Requests that were meant for a WebSocket and reach none: what is to be told to whoever set up the way here.
//!
//! A proxy dropped `Upgrade`, speaks HTTP/1.0 to the hub, passes a prefix on that is the hub's own business, or takes too
//! much off; or the client was given a wrong address. Browsers show their scripts nothing of such an answer, so it is said
//! in the log as well, once a minute at most, for anybody can ask so. Knows where the endpoints are, and nothing of who may
//! use them.

use std::net::IpAddr;

use http::header::{
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
};
use http::{HeaderMap, StatusCode, Version};
use url::form_urlencoded;
use warp::reply::Response;

use super::{App, Backend, Head, admit, reply, upgrade};
use crate::config::PeerJsPaths;
use crate::log::Seldom;
use crate::metrics::Refusal;

/// What became of a client's request for a WebSocket on its way to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Lost {
    /// HTTP/1.0 knows no upgrade.
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
    /// What a request for a WebSocket lacks; `None` if it was meant for none, or lacks nothing of this.
    pub(super) fn of(head: &Head) -> Option<Self> {
        if head.method != http::Method::GET || !is_meant(head) {
            return None;
        }
        let headers = &head.headers;
        match (
            upgrade::is_requested(headers),
            upgrade::is_connected(headers),
        ) {
            _ if head.version < Version::HTTP_11 => Some(Lost::Version),
            (false, _) => Some(Lost::Upgrade),
            (true, false) => Some(Lost::Connection),
            (true, true) => None,
        }
    }
}

/// Says of misrouted requests that there are some.
#[derive(Default)]
pub(super) struct Misrouted {
    seldom: Seldom,
}

impl Misrouted {
    /// Says it, if it was not said within a minute. The query stays out of it, for there are tokens in it.
    pub(super) fn warn(&self, client: Option<IpAddr>, path: Option<&str>, why: &str) {
        if let Some(left_out) = self.seldom.due() {
            let client = client.map(tracing::field::display);
            let path = path.map(start_of);
            let message = "a WebSocket was asked for in vain: something between a client and this hub is set up wrong";
            tracing::warn!(client, path, why, left_out, "{message}");
        }
    }
}

/// The most of a path that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

fn start_of(path: &str) -> String {
    path.chars().take(LONGEST_SHOWN).collect()
}

/// Whether the headers are of a client that wants a WebSocket, though the ones that ask for it may be gone.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let signs = [
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_EXTENSIONS,
    ];
    upgrade::is_requested(headers) || signs.iter().any(|sign| headers.contains_key(sign))
}

/// Whether a request was meant for a WebSocket, by its headers or by a query that is only asked of one.
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

/// There is no WebSocket at this path: counts it, says it in the log, and answers where there are some.
pub(super) fn no_endpoint<B: Backend>(app: &App<B>, head: &Head, path: &str) -> Response {
    let why = where_else(path, app.config.is_hub, &app.config.peerjs.paths);
    app.metrics.refusals.inc(Refusal::Misrouted);
    let client = admit::client(app, head);
    let shown = start_of(path);
    tracing::debug!(
        client = client.map(tracing::field::display),
        path = shown,
        why,
        "a WebSocket was refused"
    );
    app.misrouted.warn(client, Some(path), &why);
    reply::error(StatusCode::NOT_FOUND, &why)
}

/// Where a client at this path was meant to be, as far as the path tells.
fn where_else(path: &str, is_hub: bool, peerjs: &PeerJsPaths) -> String {
    let (prefix, last) = path
        .trim_end_matches('/')
        .rsplit_once('/')
        .unwrap_or_default();
    match last {
        "mesh" if !is_hub => "this is no hub: IS_HUB is false, so none can link to it".into(),
        "mesh" | "ws" => off_the_path(prefix, last),
        "peerjs" if peerjs.iter().next().is_none() => {
            "PeerJS clients are not served here: PEERJS_PATH is off".into()
        }
        "peerjs" if peerjs.iter().any(|path| path == prefix) => {
            format!("the WebSocket is at {prefix}/peerjs: take the / off its end")
        }
        "peerjs" => format!(
            "PeerJS clients are served under {}: {}",
            shown(peerjs),
            add_or_strip(prefix)
        ),
        _ => format!(
            "there is no WebSocket at this path: peers have theirs at /ws, hubs at /mesh, and PeerJS clients at \
             {{path}}/peerjs, where the client's path is one of PEERJS_PATH ({})",
            shown(peerjs)
        ),
    }
}

fn off_the_path(prefix: &str, last: &str) -> String {
    match is_plain(prefix) {
        true => format!("the WebSocket is at /{last}: have the proxy take {prefix} off the path"),
        false => format!(
            "the WebSocket is at /{last}: have the proxy take what is before it off the path"
        ),
    }
}

/// What to do about a client's path that is not served. The root is called `/` in the settings and is empty here.
fn add_or_strip(prefix: &str) -> String {
    match prefix {
        "" => "add / to PEERJS_PATH".into(),
        prefix if is_plain(prefix) => {
            format!("add {prefix} to PEERJS_PATH, or have the proxy take it off the path")
        }
        _ => "add the client's path to PEERJS_PATH, or have the proxy take it off".into(),
    }
}

/// Whether it can be a value of `PEERJS_PATH`, and is short enough to be repeated.
fn is_plain(prefix: &str) -> bool {
    prefix.len() <= LONGEST_SHOWN && prefix.parse::<PeerJsPaths>().is_ok()
}

/// The paths as they are written in the setting.
fn shown(paths: &PeerJsPaths) -> String {
    let paths = paths
        .iter()
        .map(|path| if path.is_empty() { "/" } else { path });
    let all = paths.collect::<Vec<_>>().join(" and ");
    if all.is_empty() { "off".into() } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_websocket_is_told_what_to_change() {
        let paths = |text: &str| text.parse::<PeerJsPaths>().expect("paths");
        for (path, served, told) in [
            ("/myapp/peerjs", "/,/peerjs", "add /myapp to PEERJS_PATH"),
            ("/myapp/peerjs/", "/", "add /myapp to PEERJS_PATH"),
            ("/a/b/peerjs", "/", "under /: add /a/b to"),
            ("/peerjs", "/myapp", "under /myapp: add / to PEERJS_PATH"),
            ("/a%20b/peerjs", "/", "add the client's path"),
            ("/peerjs", "off", "PEERJS_PATH is off"),
            ("/myapp/ws", "/", "at /ws: have the proxy take /myapp off"),
            ("/a,b/ws", "/", "take what is before it off"),
            ("/hub/mesh", "/", "at /mesh: have the proxy take /hub off"),
            ("/elsewhere", "/,/x", "(/ and /x)"),
            ("/", "off", "(off)"),
        ] {
            let why = where_else(path, true, &paths(served));
            assert!(why.contains(told), "{path} of {served}: {why}");
        }
        assert!(where_else("/mesh", false, &paths("/")).contains("IS_HUB"));
        let long = format!("/{}/peerjs", "x".repeat(1000));
        assert!(where_else(&long, true, &paths("/")).len() < 200);
    }
}
