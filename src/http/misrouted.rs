//! Requests for a WebSocket that reach no WebSocket: the facts that the operator of the proxy in between has to know.
//!
//! Either a proxy drops `Upgrade`, speaks HTTP/1.0 to the hub, leaves a prefix on the path, or removes too much of it;
//! or the client has a wrong address. Browsers hide the answer from scripts, so the mistake is logged as well, at most
//! once a minute, because any client can cause it. Knows the paths of the endpoints, and nothing of the clients that
//! may use them.

use std::net::IpAddr;

use http::StatusCode;
use warp::reply::Response;

use super::{App, Backend, Head, admit, reply};
use crate::config::PeerJsPaths;
use crate::log::Seldom;
use crate::metrics::Refusal;

/// The log lines about misrouted requests.
#[derive(Default)]
pub(super) struct Misrouted {
    seldom: Seldom,
}

impl Misrouted {
    /// Logs a misrouted request, at most once a minute. The query is left out, because it may hold tokens.
    pub(super) fn warn(&self, client: Option<IpAddr>, path: Option<&str>, why: &str) {
        if let Some(left_out) = self.seldom.due() {
            let client = client.map(tracing::field::display);
            let path = path.map(start_of);
            let message = "a request for a WebSocket reached none: something between a client and this hub is set up wrong";
            tracing::warn!(client, path, why, left_out, "{message}");
        }
    }
}

/// The longest part of a path that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

fn start_of(path: &str) -> String {
    path.chars().take(LONGEST_SHOWN).collect()
}

/// Counts and logs a request for a WebSocket at a path without one; the answer names a path that has one.
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

/// The WebSocket that a client at this path was looking for, as far as the path tells.
fn where_else(path: &str, is_hub: bool, peerjs: &PeerJsPaths) -> String {
    let (prefix, last) = path
        .trim_end_matches('/')
        .rsplit_once('/')
        .unwrap_or_default();
    match last {
        "mesh" if !is_hub => "this is no hub: IS_HUB is false, so none can link to it".into(),
        "mesh" | "ws" | "yjs" | "p2p" | "rooms" => off_the_path(prefix, last),
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
            "there is no WebSocket at this path: peers have theirs at /ws, y-webrtc clients at /yjs, those of OctateCode at /rooms, those of Self-Streme's coordinator at /p2p, hubs at /mesh, and PeerJS clients at \
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

/// The remedy for a client's path that is not served. The root is called `/` in the settings and is empty here.
fn add_or_strip(prefix: &str) -> String {
    match prefix {
        "" => "add / to PEERJS_PATH".into(),
        prefix if is_plain(prefix) => {
            format!("add {prefix} to PEERJS_PATH, or have the proxy take it off the path")
        }
        _ => "add the client's path to PEERJS_PATH, or have the proxy take it off".into(),
    }
}

/// Whether this prefix can be a value of `PEERJS_PATH`, and is short enough to be repeated.
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
            ("/hub/rooms", "/", "at /rooms: have the proxy take /hub off"),
            ("/hub/p2p", "/", "at /p2p: have the proxy take /hub off"),
            ("/hub/yjs", "/", "at /yjs: have the proxy take /hub off"),
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
