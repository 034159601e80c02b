//! The table of attempts: the token of each attempt, and the hub's answer to it.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::holder::{ADA, ALL, BOB, Dialect, closed, code, connect, enter, hub, hub_with};
use crate::hub_process::HubProcess;
use crate::json_client::JsonClient;
use crate::jwt::{SECRET, signed, token};

fn now() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    now.as_secs()
}

/// A token without a signature. Its header names this algorithm.
fn unsigned(algorithm: &str) -> String {
    let whole = signed(&json!({"alg": algorithm}), json!({}), SECRET);
    let (message, _) = whole.rsplit_once('.').expect("three parts");
    format!("{message}.")
}

/// A token that was signed without the secret of the hub.
fn forged(header: Value) -> String {
    signed(
        &header,
        json!({"sub": "ada"}),
        "a secret that somebody else made up",
    )
}

/// The tokens that a hub refuses: for each one a name, the token, and a part of the refusal.
fn refused_tokens() -> Vec<(&'static str, String, &'static str)> {
    let hs256 = json!({"alg": "HS256"});
    let good = token(json!({"sub": "ada"}));
    let parts: Vec<&str> = good.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(json!({"sub": "eve", "exp": now() + 900}).to_string());
    let kid = |kid: Value| forged(json!({"alg": "HS256", "kid": kid}));
    vec![
        ("expired", token(json!({"exp": now() - 60})), "expired"),
        (
            "not valid yet",
            token(json!({"nbf": now() + 600})),
            "not valid yet",
        ),
        ("wrong signature", forged(hs256), "signature is wrong"),
        (
            "claims of another",
            format!("{}.{other}.{}", parts[0], parts[2]),
            "signature is wrong",
        ),
        ("alg none", unsigned("none"), "token is wrong"),
        ("alg None", unsigned("None"), "token is wrong"),
        ("no signature", unsigned("HS256"), "signature is wrong"),
        (
            "another algorithm",
            forged(json!({"alg": "RS256"})),
            "algorithm",
        ),
        (
            "kid of a file",
            kid(json!("../../dev/null")),
            "signature is wrong",
        ),
        (
            "kid of a query",
            kid(json!("' OR '1'='1")),
            "signature is wrong",
        ),
        ("kid that is a list", kid(json!([1])), "signature is wrong"),
        (
            "a key of its own",
            forged(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "YQ"}})),
            "signature is wrong",
        ),
        (
            "keys elsewhere",
            forged(json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys"})),
            "signature is wrong",
        ),
        (
            "an extension",
            signed(
                &json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
                json!({}),
                SECRET,
            ),
            "crit",
        ),
        (
            "rights that are none",
            token(json!({"rights": "all"})),
            "rights must be",
        ),
        (
            "networks that are none",
            token(json!({"networks": "r"})),
            "networks must be",
        ),
    ]
}

async fn is_refused(hub: &HubProcess, dialect: Dialect, token: &str, status: u16, words: &str) {
    match connect(hub, dialect, ADA, token).await {
        Ok(_) => panic!("{dialect:?} lets in what is {words}"),
        Err((told, why)) => {
            assert_eq!(told, status, "{dialect:?}: {words}: {why}");
            assert!(why.contains(words), "{dialect:?}: {words}: {why}");
        }
    }
}

#[tokio::test]
async fn what_is_no_valid_token_opens_no_dialect() {
    let hub = hub_with(SECRET)
        .env("RUST_LOG", "hubmesh=trace")
        .start()
        .await;
    let tokens = refused_tokens();
    for dialect in ALL {
        for (_, token, words) in &tokens {
            is_refused(&hub, dialect, token, 401, words).await;
        }
    }
    let log = hub.log_lines().join("\n");
    for (name, token, _) in &tokens {
        let payload = token.split('.').nth(1).expect("a payload");
        assert!(!log.contains(payload), "{name} is in the log");
    }
}

#[tokio::test]
async fn a_token_is_worth_nothing_after_its_key_has_changed() {
    let before = hub().await;
    let old = token(json!({"sub": "ada"}));
    for dialect in ALL {
        drop(enter(&before, dialect, ADA, &old).await);
    }
    let after = hub_with("another secret of these tests, as long")
        .start()
        .await;
    for dialect in ALL {
        is_refused(&after, dialect, &old, 401, "signature is wrong").await;
    }
}

#[tokio::test]
async fn a_token_for_other_dialects_opens_none_but_those() {
    let hub = hub().await;
    for own in ALL {
        let bound = token(json!({"sub": "ada", "dialect": own.word()}));
        for dialect in ALL {
            match dialect == own {
                true => drop(enter(&hub, dialect, ADA, &bound).await),
                false => is_refused(&hub, dialect, &bound, 403, "another dialect").await,
            }
        }
        // At this path, the first message tells the dialect.
        let url = format!("ws://{}/?token={bound}", hub.addr);
        let mut undecided = JsonClient::open(&url).await;
        undecided.send(json!({"type": "ping"})).await;
        if own == Dialect::Yjs {
            assert_eq!(undecided.next().await["type"], "pong");
            continue;
        }
        let (told, close) = closed(undecided).await;
        assert_eq!((code(&told), close), ("other-dialect", 1008), "{told}");
    }
    let both = token(json!({"dialect": ["yjs", "rooms"]}));
    drop(enter(&hub, Dialect::Rooms, ADA, &both).await);
    drop(enter(&hub, Dialect::Yjs, ADA, &both).await);
}

#[tokio::test]
async fn a_token_for_one_id_makes_nobody_somebody_else() {
    let hub = hub().await;
    let bound = token(json!({"sub": "ada", "peerId": ADA}));
    for dialect in ALL {
        if dialect.has_ids() {
            drop(enter(&hub, dialect, ADA, &bound).await);
        }
        let other = connect(&hub, dialect, BOB, &bound).await;
        let mut client = match (other, dialect) {
            (Err((status, _)), Dialect::Pigeon | Dialect::PeerJs | Dialect::Yjs) => {
                assert_eq!(status, 403);
                continue;
            }
            (other, _) => other.expect("it says later who it is"),
        };
        let said = match dialect {
            Dialect::Rooms => json!({"type": "auth", "userId": BOB, "roomId": "r"}),
            _ => json!({"type": "register", "peerId": BOB}),
        };
        client.send(said).await;
        let (told, close) = closed(client).await;
        assert_eq!((code(&told), close), ("other-peer", 1008), "{told}");
    }
}

#[tokio::test]
async fn a_token_for_named_networks_opens_no_other() {
    let hub = hub().await;
    let bound = token(json!({"sub": "ada", "networks": ["r", "peerjs"]}));
    let free = token(json!({}));
    let mut host = enter(&hub, Dialect::Rooms, BOB, &free).await;
    for room in ["r", "other"] {
        let told = host
            .ask(json!({"type": "create-room", "roomId": room}))
            .await;
        assert_eq!(told["type"], "room-created");
    }
    let mut ada = enter(&hub, Dialect::Pigeon, ADA, &bound).await;
    let announce = |network: &str| json!({"type": "announce", "networkName": network, "data": {}});
    assert_eq!(code(&ada.ask(announce("other")).await), "other-room");
    ada.send(announce("r")).await;
    let ping = json!({"type": "ping", "networkName": "r"});
    assert_eq!(ada.ask(ping).await["type"], "pong");

    drop(enter(&hub, Dialect::PeerJs, ADA, &bound).await);
    let elsewhere = token(json!({"networks": ["r"]}));
    let client = connect(&hub, Dialect::PeerJs, ADA, &elsewhere).await;
    let (told, close) = closed(client.expect("it is told on its socket")).await;
    assert_eq!(told["payload"]["msg"], "The token is for another room");
    assert_eq!(close, 1008);

    let mut ada = enter(&hub, Dialect::Rooms, ADA, &bound).await;
    for kind in ["join-room", "create-room"] {
        let told = ada.ask(json!({"type": kind, "roomId": "other"})).await;
        assert_eq!(code(&told), "other-room", "{kind}");
    }
    assert_eq!(
        ada.ask(json!({"type": "join-room"})).await["type"],
        "room-joined"
    );

    let mut ada = enter(&hub, Dialect::Yjs, ADA, &bound).await;
    let told = ada
        .ask(json!({"type": "subscribe", "topics": ["other", "r"]}))
        .await;
    assert_eq!(code(&told), "other-room");
    let said = json!({"type": "publish", "topic": "r", "data": 1});
    assert_eq!(ada.ask(said).await["clients"], 1);

    is_refused(&hub, Dialect::Coordinator, &bound, 403, "named rooms").await;
}

#[tokio::test]
async fn whoever_may_not_publish_or_create_is_told_and_goes_on() {
    let hub = hub().await;
    let (free, bound) = (token(json!({})), token(json!({"rights": ["discover"]})));
    let mut host = enter(&hub, Dialect::Rooms, BOB, &free).await;
    host.ask(json!({"type": "create-room"})).await;
    let mut ada = enter(&hub, Dialect::Rooms, ADA, &bound).await;
    let told = ada
        .ask(json!({"type": "create-room", "roomId": "new"}))
        .await;
    assert_eq!(code(&told), "no-right", "{told}");
    assert_eq!(
        ada.ask(json!({"type": "join-room"})).await["type"],
        "room-joined"
    );
    host.next_of("peer-joined").await;
    for said in [
        json!({"type": "presence", "data": 1}),
        json!({"type": "sdp-offer", "data": 1}),
    ] {
        assert_eq!(code(&ada.ask(said).await), "no-right");
    }
    // ada may send to one peer.
    ada.send(json!({"type": "sdp-offer", "targetUserId": BOB, "data": 2}))
        .await;
    assert_eq!(host.next().await["data"]["offer"], 2);

    let mut ada = enter(&hub, Dialect::Coordinator, ADA, &bound).await;
    ada.ask(json!({"type": "join-room", "peerId": ADA, "roomId": "r"}))
        .await;
    let said = json!({"type": "broadcast", "from": ADA, "roomId": "r", "data": 1});
    assert_eq!(code(&ada.ask(said).await), "no-right");

    let mut ada = enter(&hub, Dialect::Yjs, ADA, &bound).await;
    ada.send(json!({"type": "subscribe", "topics": ["r"]}))
        .await;
    let said = json!({"type": "publish", "topic": "r", "data": 1});
    assert_eq!(code(&ada.ask(said.clone()).await), "no-right");
    let mut bob = enter(
        &hub,
        Dialect::Yjs,
        BOB,
        &token(json!({"rights": ["publish"]})),
    )
    .await;
    bob.send(json!({"type": "subscribe", "topics": ["r"]}))
        .await;
    assert_eq!(bob.ask(said).await["data"], 1);
    assert_eq!(ada.next().await["data"], 1, "it hears what others publish");
}

#[tokio::test]
async fn whoever_may_not_discover_is_told_of_nobody_and_reached_by_all() {
    let hub = HubProcess::builder()
        .env("JWT_SECRET", SECRET)
        .env("PEERJS_ALLOW_DISCOVERY", "true")
        .start()
        .await;
    let (free, blind) = (token(json!({})), token(json!({"rights": []})));
    let announce = json!({"type": "announce", "networkName": "r", "data": {}});
    let mut bob = enter(&hub, Dialect::Pigeon, BOB, &free).await;
    bob.send(announce.clone()).await;
    let mut ada = enter(&hub, Dialect::Pigeon, ADA, &blind).await;
    ada.send(announce).await;
    assert_eq!(bob.next_of("peer-discovered").await["data"]["peerId"], ADA);
    bob.send(json!({"type": "offer", "targetPeerId": ADA, "networkName": "r", "data": 1}))
        .await;
    let first = ada.next().await;
    assert_eq!(
        (&first["type"], &first["fromPeerId"]),
        (&json!("offer"), &json!(BOB))
    );

    let mut host = enter(&hub, Dialect::Rooms, "host", &free).await;
    host.ask(json!({"type": "create-room"})).await;
    let mut other = enter(&hub, Dialect::Rooms, "other", &free).await;
    other.ask(json!({"type": "join-room"})).await;
    let mut ada = enter(&hub, Dialect::Rooms, ADA, &blind).await;
    let room = ada.ask(json!({"type": "join-room"})).await["data"]["room"].take();
    let ids = |room: &Value| -> Vec<String> {
        let peers = room["peers"].as_array().expect("a list").clone();
        peers
            .iter()
            .map(|one| one["userId"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert_eq!(ids(&room), ["host", ADA], "its host is a part of a room");
    other.ask(json!({"type": "leave-room"})).await;
    host.send(json!({"type": "sdp-offer", "targetUserId": ADA, "data": 1}))
        .await;
    assert_eq!(ada.next().await["type"], "sdp-offer");

    let join = |id: &str| json!({"type": "join-room", "peerId": id, "roomId": "r"});
    let mut bob = enter(&hub, Dialect::Coordinator, BOB, &free).await;
    bob.ask(join(BOB)).await;
    let mut ada = enter(&hub, Dialect::Coordinator, ADA, &blind).await;
    assert_eq!(ada.ask(join(ADA)).await["peers"], json!([]));
    assert_eq!(bob.next().await["peerId"], ADA);

    for (token, status) in [(&free, 200), (&blind, 403)] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answer = hub.http(http::Method::GET, "/peerjs/peers", &headers).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn whoever_is_connected_when_its_token_expires_is_told_and_closed() {
    let hub = hub().await;
    let over = |dialect: Dialect| {
        let hub = &hub;
        async move {
            // The token has expired, and is valid for a moment more because of the grace for clocks.
            let token = token(json!({"sub": "ada", "exp": now() - 27}));
            let client = enter(hub, dialect, ADA, &token).await;
            let (told, close) = closed(client).await;
            assert_eq!(
                (code(&told), close),
                ("token-expired", 1008),
                "{dialect:?}: {told}"
            );
        }
    };
    join_all(ALL.map(over)).await;
    let text = [("accept", "text/plain")];
    let page = hub.http(http::Method::GET, "/metrics", &text).await.body;
    let counted = r#"hubmesh_connections_closed_total{reason="token-expired"} 5"#;
    assert!(page.contains(counted), "{page}");
}
