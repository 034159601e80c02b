//! What clients ask for before they connect.

use std::collections::HashSet;

use http::Method;
use serde_json::json;

use crate::{
    client::{Client, knows, pair},
    hub_process::HubProcess,
};

#[tokio::test]
async fn an_id_is_fresh_each_time_under_every_path() {
    let hub = HubProcess::start().await;
    let mut ids = HashSet::new();
    for path in [
        "/peerjs/id?ts=1&version=1.5.5",
        "/peerjs/peerjs/id",
        "/any/id",
    ] {
        let answer = hub.http_get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        let id = uuid::Uuid::parse_str(&answer.body).expect("a UUID");
        assert_eq!(id.get_version_num(), 4);
        assert!(ids.insert(id));
    }
    assert_eq!(hub.http(Method::POST, "/peerjs/id", &[]).await.status, 405);
    assert_eq!(hub.http_get("/elsewhere/peerjs/id").await.status, 404);
}

#[tokio::test]
async fn each_path_says_what_this_is() {
    let hub = HubProcess::builder()
        .env("PEERJS_PATH", "/,/signal/")
        .start()
        .await;
    for path in ["/", "/signal", "/signal/"] {
        let about = hub.http_get(path).await.json();
        for field in ["name", "description", "website"] {
            assert!(about[field].is_string(), "{path}: {about}");
        }
    }
    assert_eq!(hub.http_get("/peerjs").await.status, 426);
    let off = HubProcess::builder()
        .env("PEERJS_PATH", "off")
        .start()
        .await;
    assert_eq!(off.http_get("/peerjs/id").await.status, 404);
}

#[tokio::test]
async fn ids_are_listed_across_hubs_where_that_is_allowed() {
    let hubs = pair(|hub| hub.env("PEERJS_ALLOW_DISCOVERY", "true")).await;
    let _ada = Client::open(&hubs[0], "ada", "a").await;
    let _bob = Client::open(&hubs[1], "bob", "b").await;
    for hub in &hubs {
        knows(hub, 2).await;
        let mut ids: Vec<String> =
            serde_json::from_str(&hub.http_get("/peerjs/peers").await.body).expect("a list");
        ids.sort();
        assert_eq!(ids, ["ada", "bob"]);
        assert_eq!(hub.http_get("/other/peers").await.status, 401);
    }
    let closed = HubProcess::start().await;
    assert_eq!(closed.http_get("/peerjs/peers").await.status, 401);
    let dialects = hubs[0].http_get("/metrics").await.json()["dialects"].clone();
    assert_eq!(dialects["peerjs"], json!({"networks": 1, "peers": 2}));
}

#[tokio::test]
async fn where_a_token_is_needed_to_come_in_it_is_needed_for_the_list() {
    let hub = HubProcess::builder()
        .env("PEERJS_ALLOW_DISCOVERY", "true")
        .env("AUTH_TOKEN", "sesame")
        .start()
        .await;
    let _ada = Client::open(&hub, "ada", "sesame").await;
    assert_eq!(hub.http_get("/peerjs/peers").await.status, 401);
    let ids = hub.http_get("/peerjs/peers?token=sesame").await.json();
    assert_eq!(ids, json!(["ada"]));
    let bearer = [("authorization", "Bearer sesame")];
    let answer = hub.http(Method::GET, "/peerjs/peers", &bearer).await;
    assert_eq!(answer.json(), json!(["ada"]));
}

#[tokio::test]
async fn a_list_is_as_long_as_it_may_be() {
    let hub = HubProcess::builder()
        .env("PEERJS_ALLOW_DISCOVERY", "true")
        .env("PEERJS_DISCOVERY_LIMIT", "2")
        .start()
        .await;
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(Client::open(&hub, &format!("peer {number}"), "t").await);
    }
    let ids = hub.http_get("/peerjs/peers").await.json();
    assert_eq!(ids.as_array().map(Vec::len), Some(2));
}
