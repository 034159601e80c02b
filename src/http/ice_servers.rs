//! `GET /ice-servers`: the STUN and TURN servers for a client's `RTCPeerConnection`, with credentials of its own.
//!
//! Whoever may open a WebSocket may ask, by the same token, from the same pages and within the same rate: a request here
//! counts as one there. The credentials name the peer, so that a TURN server can hold each peer to its limits, and they
//! end after `TURN_TTL_S`. They are in the answer and nowhere else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hubmesh_turn::Credentials;
use serde::Serialize;
use warp::reply::Response;

use super::admit::{self, Refused};
use super::{App, Backend, Head, query, reply};
use crate::auth::Grant;
use crate::clock;
use crate::config::{IceUrl, NatSettings};
use crate::mesh::core::ids::PeerId;

/// What a client gives to `RTCPeerConnection`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration<'s> {
    ice_servers: Vec<IceServer<'s>>,
}

#[derive(Serialize)]
struct IceServer<'s> {
    urls: Vec<&'s str>,
    #[serde(flatten)]
    credentials: Option<Login>,
}

#[derive(Serialize)]
struct Login {
    username: String,
    credential: String,
}

pub(super) fn page<B: Backend>(app: &Arc<App<B>>, head: Head) -> Response {
    if app.config.nat.urls.is_empty() {
        let why = "this hub names no ICE servers: it has none in TURN_URLS";
        return reply::error(StatusCode::NOT_FOUND, why);
    }
    let client = admit::client(app, &head);
    admit::answer(app, client, try_page(app, &head, client))
}

fn try_page<B: Backend>(
    app: &App<B>,
    head: &Head,
    client: Option<IpAddr>,
) -> Result<Response, Refused> {
    admit::turn(app, client)?;
    let grant = admit::grant(app, head)?;
    let peer = peer(&head.query, &grant)?;
    admit::its_own(&grant, &peer)?;
    admit::origin(app, head)?;
    app.metrics.ice_servers.inc();
    let servers = servers(&app.config.nat, &peer, clock::unix_ms());
    Ok(reply::json(StatusCode::OK, &servers))
}

/// Whom the credentials name: `peerId`, else the one id that the token is for, else an id that nobody else has.
fn peer(query: &str, grant: &Grant) -> Result<PeerId, Refused> {
    if let Some(named) = query::values(query, "peerId").next() {
        return PeerId::new(&named.plain).map_err(|_| Refused::PeerName);
    }
    let fresh = || super::peerjs::fresh_id();
    let id = grant.peer_id.clone().unwrap_or_else(fresh);
    PeerId::new(&id).map_err(|_| Refused::PeerName)
}

/// STUN servers first, which ask for no credentials.
fn servers<'s>(nat: &'s NatSettings, peer: &PeerId, now_ms: u64) -> Configuration<'s> {
    let of_kind = |turn: bool| -> Vec<&'s str> {
        let urls = nat.urls.iter().filter(|url| url.is_turn() == turn);
        urls.map(IceUrl::as_str).collect()
    };
    let stun = IceServer {
        urls: of_kind(false),
        credentials: None,
    };
    let login = nat.secret.as_ref().map(|secret| {
        let expiry = (Duration::from_millis(now_ms) + nat.ttl).as_secs();
        let made = Credentials::new(secret.expose(), &peer.to_string(), expiry);
        Login {
            username: made.username,
            credential: made.credential,
        }
    });
    let turn = IceServer {
        urls: of_kind(true),
        credentials: login,
    };
    let all = [stun, turn].into_iter();
    Configuration {
        ice_servers: all.filter(|server| !server.urls.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    fn nat(urls: &[&str]) -> NatSettings {
        let parsed = urls.iter().map(|url| url.parse().expect("an address"));
        NatSettings {
            urls: parsed.collect(),
            secret: Some(Secret::new("north")),
            ttl: Duration::from_secs(300),
        }
    }

    #[test]
    fn the_answer_is_what_a_browser_takes_with_credentials_for_turn_alone() {
        let nat = nat(&["turn:a.example", "stun:b.example", "turns:a.example:443"]);
        let peer = PeerId::new("alice").expect("an id");
        let answer = servers(&nat, &peer, 1_700_000_000_999);
        let json = serde_json::to_value(&answer).expect("JSON");
        let expected = serde_json::json!({"iceServers": [
            { "urls": ["stun:b.example"] },
            {
                "urls": ["turn:a.example", "turns:a.example:443"],
                "username": "1700000300:alice",
                "credential": Credentials::new("north", "alice", 1_700_000_300).credential,
            },
        ]});
        assert_eq!(json, expected);
    }

    #[test]
    fn the_credentials_name_the_peer_that_is_asked_for_or_that_the_token_is_for() {
        let bound = Grant {
            peer_id: Some("carol".into()),
            ..Grant::default()
        };
        let named = |query: &str, grant: &Grant| peer(query, grant).map(|peer| peer.to_string());
        assert_eq!(named("peerId=a%20b", &bound), Ok("a b".into()));
        assert_eq!(named("token=x", &bound), Ok("carol".into()));
        assert_eq!(named("peerId=", &bound), Err(Refused::PeerName));
        let long = format!("peerId={}", "a".repeat(200));
        assert_eq!(named(&long, &bound), Err(Refused::PeerName));
        let open = Grant::default();
        assert_ne!(named("", &open), named("", &open));
    }
}
