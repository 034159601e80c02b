//! `GET /ice-servers`: the STUN and TURN servers for a client's `RTCPeerConnection`, with credentials of its own.
//!
//! Every client that may open a WebSocket may ask, with the same token, from the same pages and within the same rate. A
//! request here counts like a request for a WebSocket. The credentials name the peer, or the party that a token proves,
//! so that a TURN server can limit each one. The credentials end after `TURN_TTL_S`, or with the token. They are in the
//! answer and nowhere else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hubmesh_core::ids::PeerId;
use hubmesh_turn::Credentials;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use warp::reply::Response;

use super::admit::{self, Refused};
use super::{App, Backend, Head, query, reply};
use crate::auth::{CLOCK_GRACE, Grant, Secret};
use crate::clock;
use crate::config::{IceUrl, NatSettings};
use crate::nat::OwnServers;

/// The configuration that a client gives to `RTCPeerConnection`.
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
    if !app.has_ice_servers() {
        let why = "this hub names no ICE servers: it has none in TURN_URLS, and no STUN_PORT or TURN_PORT of its own";
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
    enters_something(&grant)?;
    let peer = peer(&head.query, &grant)?;
    admit::its_own(&grant, &peer)?;
    admit::origin(app, head)?;
    app.metrics.ice_servers.inc();
    let own = app.own_servers.get().filter(|own| own.are_served());
    let near = app.backend.servers_nearby();
    let now = clock::unix_ms();
    let ends = ends(app.config.nat.ttl, &grant, now);
    let servers = servers(&app.config.nat, own, &near, &user(&grant, &peer), ends);
    Ok(reply::json(StatusCode::OK, &servers))
}

/// A client that may enter no network has no use for a relay.
fn enters_something(grant: &Grant) -> Result<(), Refused> {
    let scope = &grant.scope;
    if scope.dialects.as_ref().is_some_and(Vec::is_empty) {
        return Err(Refused::OtherDialect);
    }
    match scope.networks.as_ref().is_some_and(Vec::is_empty) {
        true => Err(Refused::OtherNetwork),
        false => Ok(()),
    }
}

/// When the credentials end, in Unix seconds: with the token at the latest, with tolerance for clocks.
fn ends(ttl: Duration, grant: &Grant, now_ms: u64) -> u64 {
    let own = Duration::from_millis(now_ms) + ttl;
    let token = grant.expires_ms.map(Duration::from_millis);
    let token = token.map(|token| token + CLOCK_GRACE);
    token.map_or(own, |token| token.min(own)).as_secs()
}

/// The name in the credentials: the peer's id. A client with a proven identity is named by its proof. Otherwise each id
/// that it invents, or gets a token for, would have limits of its own.
fn user(grant: &Grant, peer: &PeerId) -> String {
    if grant.proof.is_empty() {
        return peer.to_string();
    }
    // TURN servers must not see the proof itself.
    let hash = Sha256::new_with_prefix("hubmesh turn user\0");
    let mut name = hex::encode(hash.chain_update(&grant.proof).finalize());
    name.truncate(20);
    name
}

/// The id of the peer that asks: `peerId`, else the only id of the token, else a fresh id.
fn peer(query: &str, grant: &Grant) -> Result<PeerId, Refused> {
    if let Some(named) = query::values(query, "peerId").next() {
        return PeerId::new(&named.plain).map_err(|_| Refused::PeerName);
    }
    let fresh = || super::peerjs::fresh_id();
    let id = grant.scope.peer.clone().unwrap_or_else(fresh);
    PeerId::new(&id).map_err(|_| Refused::PeerName)
}

/// The list of servers for a client. STUN servers are first, because they ask for no credentials. Of each kind, this
/// hub's own servers are before those of other hubs, and external servers are last. This hub's relays are left out when
/// none is free.
fn servers<'s>(
    nat: &'s NatSettings,
    own: Option<&'s OwnServers>,
    near: &'s [IceUrl],
    user: &str,
    ends: u64,
) -> Configuration<'s> {
    let of = |urls: &'s [IceUrl], turn: bool| -> Vec<&'s str> {
        let urls = urls.iter().filter(|url| url.is_turn() == turn);
        urls.map(IceUrl::as_str).collect()
    };
    let login = |secret: &Secret| {
        let made = Credentials::new(secret.expose(), user, ends);
        Login {
            username: made.username,
            credential: made.credential,
        }
    };
    let own_stun = own.into_iter().flat_map(|own| own.stun.iter());
    let stun = IceServer {
        urls: own_stun
            .map(String::as_str)
            .chain(of(near, false))
            .chain(of(&nat.urls, false))
            .collect(),
        credentials: None,
    };
    let own_turn = own.filter(|own| !own.is_full()).map(|own| IceServer {
        urls: own.turn.iter().map(String::as_str).collect(),
        credentials: Some(login(&own.secret)),
    });
    let of_the_mesh = IceServer {
        urls: of(near, true),
        credentials: nat.secret.as_ref().map(login),
    };
    let turn = IceServer {
        urls: of(&nat.urls, true),
        credentials: nat.secret.as_ref().map(login),
    };
    let all = [Some(stun), own_turn, Some(of_the_mesh), Some(turn)];
    let all = all.into_iter().flatten();
    Configuration {
        ice_servers: all.filter(|server| !server.urls.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scope::Scope;
    use crate::config::Config;

    fn grant(proof: &'static [u8], only: Option<&str>) -> Grant {
        let scope = Scope {
            peer: only.map(str::to_owned),
            ..Scope::default()
        };
        Grant {
            proof: bytes::Bytes::from_static(proof),
            scope,
            ..Grant::default()
        }
    }

    fn nat(urls: &str) -> NatSettings {
        let vars = [("TURN_URLS", urls), ("TURN_SECRET", "north")];
        Config::from_vars(vars).expect("fine").nat
    }

    #[test]
    fn the_answer_is_what_a_browser_takes_with_credentials_for_turn_alone() {
        let nat = nat("turn:a.example,stun:b.example,turns:a.example:443");
        let answer = servers(&nat, None, &[], "alice", 1_700_000_300);
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
    fn the_hub_s_own_servers_come_first_with_credentials_by_their_own_secret() {
        let nat = nat("turn:a.example");
        let near = ["turn:near.example", "stun:near.example"];
        let near = near.map(|url| url.parse().expect("an address"));
        let mut own = OwnServers {
            stun: vec!["stun:own.example".into()],
            turn: vec!["turn:own.example".into()],
            secret: Secret::new("south"),
            most: 1,
            counters: Arc::default(),
            serving: Arc::default(),
        };
        let urls = |own: &OwnServers| {
            let answer = servers(&nat, Some(own), &near, "alice", 300);
            let json = serde_json::to_value(&answer).expect("JSON");
            let south = Credentials::new("south", "alice", 300).credential;
            let list = json["iceServers"].as_array().expect("a list").clone();
            assert!(list.iter().all(|one| {
                (one["urls"][0] == "turn:own.example") == (one["credential"] == south.as_str())
            }));
            list.iter()
                .map(|one| one["urls"][0].to_string())
                .collect::<String>()
        };
        assert_eq!(
            urls(&own),
            "\"stun:own.example\"\"turn:own.example\"\"turn:near.example\"\"turn:a.example\""
        );
        own.most = 0;
        assert_eq!(
            urls(&own),
            "\"stun:own.example\"\"turn:near.example\"\"turn:a.example\"",
            "it is full"
        );
    }

    #[test]
    fn the_credentials_name_the_peer_that_is_asked_for_or_that_the_token_is_for() {
        let bound = grant(b"", Some("carol"));
        let named = |query: &str, grant: &Grant| peer(query, grant).map(|peer| peer.to_string());
        assert_eq!(named("peerId=a%20b", &bound), Ok("a b".into()));
        assert_eq!(named("token=x", &bound), Ok("carol".into()));
        assert_eq!(named("peerId=", &bound), Err(Refused::PeerName));
        let long = format!("peerId={}", "a".repeat(200));
        assert_eq!(named(&long, &bound), Err(Refused::PeerName));
        let open = Grant::default();
        assert_ne!(named("", &open), named("", &open));
    }

    #[test]
    fn credentials_end_with_the_token_and_whoever_may_be_nowhere_gets_none() {
        let mut grant = Grant::default();
        let ends_at = |grant: &Grant| ends(Duration::from_secs(300), grant, 1_000_999);
        assert_eq!(ends_at(&grant), 1_300);
        grant.expires_ms = Some(1_100_000);
        assert_eq!(ends_at(&grant), 1_130);
        grant.expires_ms = Some(2_000_000);
        assert_eq!(ends_at(&grant), 1_300);
        assert_eq!(enters_something(&grant), Ok(()));
        grant.scope.networks = Some(Vec::new());
        assert_eq!(enters_something(&grant), Err(Refused::OtherNetwork));
        grant.scope.dialects = Some(Vec::new());
        assert_eq!(enters_something(&grant), Err(Refused::OtherDialect));
    }

    #[test]
    fn whoever_is_known_is_one_user_whatever_id_it_thinks_of() {
        let id = |name: &str| PeerId::new(name).expect("an id");
        let known = grant(b"sub 1", None);
        let named = user(&known, &id("ada"));
        assert_eq!(named, user(&known, &id("bob")));
        assert_eq!(named.len(), 20);
        assert!(!named.contains("ada"));
        assert_ne!(named, user(&grant(b"sub 2", None), &id("ada")));
        assert_eq!(user(&grant(b"sub 1", Some("ada")), &id("ada")), named);
        assert_eq!(user(&grant(b"", None), &id("ada")), "ada");
    }
}
