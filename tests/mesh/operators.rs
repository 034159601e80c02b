//! The pages for operators: each hub shows the whole mesh.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::hub_process::{HubBuilder, HubProcess, eventually};
use crate::peer::Peer;
use crate::stage::{TOKEN, shaped};

/// A hub that has a token for operators, and links only with its bootstrap hubs.
fn kept() -> HubBuilder {
    shaped().env("ADMIN_TOKEN", "for-operators-alone")
}

async fn asked(hub: &HubProcess, path: &str) -> Value {
    let bearer = [("authorization", "Bearer for-operators-alone")];
    let answer = hub.http(Method::GET, path, &bearer).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.json()
}

async fn id(hub: &HubProcess) -> String {
    let stats = asked(hub, "/stats").await;
    stats["hubPeerId"].as_str().expect("an id").to_owned()
}

/// The hubs of a list, by id.
fn by_id(body: &Value) -> BTreeMap<String, Value> {
    let hubs = body["hubs"].as_array().expect("a list").iter();
    hubs.map(|hub| (hub["id"].as_str().expect("an id").to_owned(), hub.clone()))
        .collect()
}

/// Three hubs in a row, the last of which has two peers.
async fn a_chain() -> ([HubProcess; 3], Vec<Peer>) {
    let first = kept().start().await;
    let second = kept().env("BOOTSTRAP_HUBS", first.ws_url()).start().await;
    let third = kept().env("BOOTSTRAP_HUBS", second.ws_url()).start().await;
    let peers = vec![
        Peer::join(&third, "kept").await,
        Peer::join(&third, "kept").await,
    ];
    eventually("the first knows the peers of the last", async || {
        let health = asked(&first, "/stats").await;
        health["peers"] == 2 && health["hubs"] == 2
    })
    .await;
    ([first, second, third], peers)
}

#[tokio::test]
async fn any_hub_tells_how_each_hub_is_and_who_is_where() {
    let ([first, second, third], peers) = a_chain().await;
    let body = asked(&first, "/admin/api/hubs").await;
    assert_eq!(body["notAnswered"], json!([]), "{body}");
    let hubs = by_id(&body);
    assert_eq!(hubs.len(), 3);
    for (hub, connections) in [(&first, 0), (&second, 0), (&third, 2)] {
        let row = &hubs[&id(hub).await];
        let condition = &row["condition"];
        assert_eq!(condition["version"], env!("CARGO_PKG_VERSION"), "{row}");
        assert_eq!(condition["connections"], connections, "{row}");
        assert_eq!(row["peers"], connections, "{row}");
        let ahead = condition["clockAheadMs"].as_i64().expect("a number");
        assert!(ahead.abs() < 2_000, "one machine has one clock: {row}");
    }
    let last = id(&third).await;
    let body = asked(&first, "/admin/api/peers?network=kept").await;
    let mut expected: Vec<Value> = peers
        .iter()
        .map(|peer| json!({"id": peer.id(), "hub": last}))
        .collect();
    expected.sort_by_key(|row| row["id"].to_string());
    let rows = body["peers"].as_array().expect("a list").iter();
    let shown = rows.map(|row| json!({"id": row["id"], "hub": row["hub"]}));
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let body = asked(&second, "/admin/api/networks").await;
    let network = json!([{"dialect": "pigeon", "network": "kept", "peers": 2}]);
    assert_eq!(body["networks"], network);
    // The token that peers use does not open this page.
    let strangers = [("authorization", &*format!("Bearer {TOKEN}"))];
    let refused = first.http(Method::GET, "/admin/api/hubs", &strangers).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_hub_that_does_not_answer_is_named() {
    let ([first, second, third], _peers) = a_chain().await;
    let (answers, silent) = (id(&second).await, id(&third).await);
    third.signal(Signal::STOP);
    let body = asked(&first, "/admin/api/hubs").await;
    assert_eq!(body["notAnswered"], json!([silent]), "{body}");
    let hubs = by_id(&body);
    assert!(hubs[&silent]["condition"].is_null(), "{body}");
    assert!(hubs[&answers]["condition"].is_object(), "{body}");
}
