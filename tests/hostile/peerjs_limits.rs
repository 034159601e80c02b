//! The caps on PeerJS clients, for the list in [`limits`](crate::limits).

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::hub_process::HubProcess;
use crate::limits::{closed_after, hub_with};
use crate::raw::{Raw, upgrade_request};

impl Raw {
    /// Asks for the WebSocket of a PeerJS client; gives the answer's status.
    async fn ask_as_peerjs(hub: &HubProcess, id: &str, token: &str) -> (Option<u16>, Self) {
        let mut raw = Self::connect(hub).await;
        let target = format!("/peerjs?key=peerjs&id={id}&token={token}");
        let request = upgrade_request(&target, "");
        raw.send(request.as_bytes()).await.expect("a live hub");
        (raw.status().await, raw)
    }

    /// A PeerJS client that is open.
    async fn peerjs(hub: &HubProcess, id: &str) -> Self {
        let (status, mut raw) = Self::ask_as_peerjs(hub, id, "t").await;
        assert_eq!(status, Some(101));
        assert_eq!(raw.message().await, Some(json!({"type": "OPEN"})));
        raw
    }
}

pub async fn a_peerjs_message_waits_for_so_long() {
    let hub = hub_with(&[("PEERJS_EXPIRE_TIMEOUT_MS", "300")]).await;
    let mut raw = Raw::peerjs(&hub, "ada").await;
    let began = Instant::now();
    let offer = json!({"type": "OFFER", "dst": "bob", "payload": {}});
    raw.say(&offer.to_string()).await.expect("a live hub");
    let expire = json!({"type": "EXPIRE", "src": "bob", "dst": "ada"});
    assert_eq!(raw.message().await, Some(expire));
    assert!(began.elapsed() >= Duration::from_millis(300));
}

pub async fn a_peerjs_client_may_be_silent_for_so_long() {
    let hub = hub_with(&[("PEERJS_ALIVE_TIMEOUT_MS", "1000")]).await;
    let mut raw = Raw::peerjs(&hub, "ada").await;
    let (took, close) = closed_after(&mut raw).await;
    assert_eq!(close, Some((1008, "No sign of life".to_owned())));
    assert!(took > Duration::from_millis(900), "{took:?}");
}

pub async fn so_many_peerjs_ids_are_listed() {
    let hub = hub_with(&[
        ("PEERJS_ALLOW_DISCOVERY", "true"),
        ("PEERJS_DISCOVERY_LIMIT", "2"),
    ])
    .await;
    let mut clients = Vec::new();
    for id in ["ada", "bob", "cy", "dee"] {
        clients.push(Raw::peerjs(&hub, id).await);
    }
    let ids = hub.http_get("/peerjs/peers").await.json();
    assert_eq!(ids.as_array().map(Vec::len), Some(2));
}

pub async fn so_many_peerjs_clients_are_connected() {
    let hub = hub_with(&[("PEERJS_CONCURRENT_LIMIT", "1")]).await;
    let _ada = Raw::peerjs(&hub, "ada").await;
    let (status, mut second) = Raw::ask_as_peerjs(&hub, "bob", "t").await;
    assert_eq!(status, Some(101));
    let told = second.message().await.expect("it is told");
    let full = "Server has reached its concurrent user limit";
    assert_eq!(told["payload"]["msg"], full);
}

pub async fn so_many_peers_are_in_a_room() {
    let hub = hub_with(&[("PEERJS_ROOMS", "true"), ("MAX_PEERS_PER_ROOM", "1")]).await;
    let _ada = Raw::peerjs(&hub, "ada").await;
    let (status, _) = Raw::ask_as_peerjs(&hub, "bob", "t").await;
    assert_eq!(status, Some(429));
    let (status, _) = Raw::ask_as_peerjs(&hub, "bob", "another").await;
    assert_eq!(status, Some(101));
}
