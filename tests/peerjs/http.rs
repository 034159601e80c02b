//! The HTTP requests of clients before they connect.

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

#[tokio::test]
async fn a_token_opens_written_as_it_is_and_encoded() {
    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "ab+cd/ef==")
        .start()
        .await;
    let native = |token: &str| format!("/ws?peerId={}&token={token}", "ab".repeat(20));
    let peerjs = |token: &str| format!("/peerjs?key=peerjs&id=ada&token={token}&version=1.5.5");
    for token in ["ab+cd/ef==", "ab%2Bcd%2Fef%3D%3D", "ab%2bcd/ef%3D="] {
        let mut client = Client::dial(&hub, &native(token)).await.expect("let in");
        assert_eq!(client.next().await["type"], "connected", "{token}");
        client.close().await;
        let mut client = Client::dial(&hub, &peerjs(token)).await.expect("let in");
        assert_eq!(client.next().await["type"], "OPEN", "{token}");
        client.close().await;
    }
    for token in ["ab%20cd/ef==", "ab-cd/ef==", "", "ab%252Bcd/ef=="] {
        for target in [native(token), peerjs(token)] {
            let refused = Client::dial(&hub, &target).await;
            assert_eq!(refused.err(), Some(401), "{target}");
        }
    }
}

#[tokio::test]
async fn a_room_is_the_same_however_its_name_is_written() {
    let hub = HubProcess::builder()
        .env("PEERJS_ROOMS", "true")
        .start()
        .await;
    let of = |id: &str, token: &str| format!("/peerjs?key=peerjs&id={id}&token={token}");
    let mut ada = Client::dial(&hub, &of("ada", "a+b/c=="))
        .await
        .expect("let in");
    let mut bob = Client::dial(&hub, &of("bob", "a%2Bb%2Fc%3D%3D"))
        .await
        .expect("let in");
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.next().await["type"], "OPEN");
    }
    ada.send("OFFER", "bob", json!(1)).await;
    assert_eq!(bob.next().await["src"], "ada");
}
