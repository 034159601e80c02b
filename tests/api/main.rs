//! `/api` on real hubs: rooms over HTTP beside clients with connections, the rights that requests need, the description
//! of `/api`, and hubs that are short of memory.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/installed.rs"]
mod installed;
#[path = "../common/json_client.rs"]
mod json_client;
#[path = "../common/jwt.rs"]
mod jwt;

mod access;
mod at_once;
mod coordinator;
mod described;
mod memory;
mod narrow;
mod render;
mod rooms;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use hub_process::{HttpAnswer, HubProcess, eventually, send};
use json_client::JsonClient;

/// A POST with this JSON as its body.
async fn post(hub: &HubProcess, path: &str, body: &Value) -> HttpAnswer {
    post_as(hub, path, body, &[]).await
}

/// A POST of JSON, with more headers.
async fn post_as(
    hub: &HubProcess,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> HttpAnswer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    let body = Full::new(Bytes::from(body.to_string()));
    send(hub.addr, Method::POST, path, &all, body).await
}

/// The JSON of an answer that must have this status.
async fn get(hub: &HubProcess, path: &str, status: StatusCode) -> Value {
    let answer = hub.http_get(path).await;
    assert_eq!(answer.status, status, "{path}: {}", answer.body);
    answer.json()
}

/// A client of rooms that has sent its user id.
async fn authenticated(hub: &HubProcess, user: &str, room: &str) -> JsonClient {
    let mut client = JsonClient::at(hub, "/rooms").await;
    let said = json!({"type": "auth", "userId": user, "roomId": room});
    assert_eq!(client.ask(said).await["data"]["status"], "authenticated");
    client
}

/// Waits until the hub knows the room with this many members.
async fn has_members(hub: &HubProcess, room: &str, many: usize) {
    eventually("the room has its members", async || {
        let answer = hub.http_get(&format!("/api/rooms/{room}/peers")).await;
        answer.status == StatusCode::OK && answer.json()["peerCount"] == many
    })
    .await;
}
