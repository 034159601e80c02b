//! `/ice-servers`: which clients get credentials, for which ids, and that a request counts like a WebSocket's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hubmesh::auth::Secret;
use hubmesh::metrics::Refusal;
use hubmesh::nat::OwnServers;
use hubmesh_turn::Credentials;
use serde_json::json;

use crate::served::{PEER, Served};

const TURN: [(&str, &str); 2] = [
    (
        "TURN_URLS",
        "turn:turn.example.org:3478,stun:turn.example.org:3478",
    ),
    ("TURN_SECRET", "north-of-the-river"),
];

async fn served(more: &[(&str, &str)]) -> Served {
    Served::new(&[&TURN[..], more].concat()).await
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

#[tokio::test]
async fn a_client_gets_credentials_that_name_it_and_end_in_time() {
    let served = served(&[("TURN_TTL_S", "60")]).await;
    let before = unix_s();
    let answer = served.get(&format!("/ice-servers?peerId={PEER}")).await;
    let after = unix_s();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let json = answer.json();
    assert_eq!(
        json["iceServers"][0],
        json!({"urls": ["stun:turn.example.org:3478"]})
    );
    let turn = &json["iceServers"][1];
    assert_eq!(turn["urls"], json!(["turn:turn.example.org:3478"]));
    let username = turn["username"].as_str().expect("a username");
    let (expiry, name) = username.split_once(':').expect("expiry:name");
    assert_eq!(name, PEER);
    let expiry: u64 = expiry.parse().expect("seconds");
    assert!((before + 60..=after + 60).contains(&expiry), "{expiry}");
    let same = Credentials::new(TURN[1].1, PEER, expiry);
    assert_eq!(turn["credential"], same.credential);
    assert_eq!(served.metrics.ice_servers.get(), 1);
}

#[tokio::test]
async fn a_hub_whose_own_servers_have_failed_names_them_no_longer_and_says_so() {
    let served = served(&[]).await;
    assert!(served.get("/health").await.json()["turn"].is_null());
    let serving = Arc::new(AtomicBool::new(true));
    served.app.offer(OwnServers {
        stun: vec!["stun:own.example".into()],
        turn: vec!["turn:own.example".into()],
        secret: Secret::new("of-this-hub-alone"),
        most: 10,
        counters: Arc::default(),
        serving: Arc::clone(&serving),
    });
    let named = async || {
        served
            .get("/ice-servers")
            .await
            .body
            .contains("own.example")
    };
    let health = async || {
        let answer = served.get("/health").await;
        let json = answer.json();
        let text = |field: &str| json[field].as_str().expect("text").to_owned();
        (answer.status, text("status"), text("turn"))
    };
    assert!(named().await);
    assert_eq!(health().await, (200, "healthy".into(), "served".into()));
    serving.store(false, Ordering::Relaxed);
    assert!(!named().await);
    assert_eq!(health().await, (200, "degraded".into(), "failed".into()));
    let others = served.get("/ice-servers").await.body;
    assert!(others.contains("turn.example.org"), "{others}");
}

#[tokio::test]
async fn a_hub_without_servers_says_so() {
    let served = Served::new(&[]).await;
    let answer = served.get("/ice-servers?peerId=ada").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("TURN_URLS"), "{}", answer.body);
    assert!(served.get("/").await.json()["endpoints"]["iceServers"].is_null());
}

#[tokio::test]
async fn the_rules_are_those_of_a_websocket() {
    let served = served(&[
        ("AUTH_TOKEN", "sesame"),
        ("CORS_ORIGIN", "https://app.example"),
        ("CONNECTS_PER_MINUTE_PER_IP", "5"),
    ])
    .await;
    let ask = async |target: &str, headers: &[(&str, &str)]| {
        let answer = served.request("GET", target, headers).await;
        let allowed = answer.header("access-control-allow-origin");
        (answer.status, allowed.map(str::to_owned))
    };
    let home = [("Origin", "https://app.example")];
    let origin = Some(String::from("https://app.example"));
    let right = "/ice-servers?token=sesame&peerId=ada";
    assert_eq!(
        ask("/ice-servers?peerId=ada", &home).await,
        (401, origin.clone())
    );
    assert_eq!(ask(right, &home).await, (200, origin));
    let header = [("Authorization", "Bearer sesame")];
    assert_eq!(ask("/ice-servers?peerId=ada", &header).await, (200, None));
    let elsewhere = [("Origin", "https://other.example")];
    assert_eq!(ask(right, &elsewhere).await, (403, None));
    let long = format!("/ice-servers?token=sesame&peerId={}", "a".repeat(129));
    assert_eq!(ask(&long, &[]).await, (403, None));
    assert_eq!(ask(right, &[]).await, (429, None), "five a minute");
    let refused = |why| served.refused(why);
    assert_eq!(
        [
            refused(Refusal::Unauthorized),
            refused(Refusal::Origin),
            refused(Refusal::PeerId),
            refused(Refusal::AddressTooFast),
        ],
        [1; 4]
    );
    served.app.drain();
    assert_eq!(ask(right, &[]).await.0, 503);
}

#[tokio::test]
async fn other_methods_are_refused_and_preflights_granted() {
    let served = served(&[]).await;
    let posted = served.request("POST", "/ice-servers", &[]).await;
    assert_eq!(posted.status, 405);
    let asked = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let preflight = served.request("OPTIONS", "/ice-servers", &asked).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
}
