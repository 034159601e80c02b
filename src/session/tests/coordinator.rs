//! Clients that register before they join anything.

use bytes::Bytes;
use hubmesh_core::api::JoinRefusal;
use hubmesh_core::ids::{ClaimNo, Dialect};
use serde_json::json;

use super::fake::{Answer, Call, Client, HERE, Hub};
use crate::session::Newcomer;

async fn connected(hub: &Hub) -> Client {
    let newcomer = Newcomer {
        address: HERE,
        dialect: Some(Dialect::Coordinator),
        peer: None,
        only: None,
        proof: Bytes::new(),
        network: None,
    };
    let mut client = hub.connect_as(newcomer, 1 << 20).await;
    assert_eq!(client.next().await["type"], "welcome");
    client
}

/// Says who it is, and all that it wants, before it was answered.
async fn hurry(client: &mut Client, id: &str) {
    for said in [
        json!({"type": "register", "peerId": id}),
        json!({"type": "join-room", "peerId": id, "roomId": "r"}),
        json!({"type": "offer", "from": id, "to": "bob", "offer": 1}),
        json!({"type": "ping"}),
    ] {
        client.send(&said.to_string()).await;
    }
    // It is no part of what waits.
    assert_eq!(client.next().await["type"], "pong");
}

fn joins(hub: &Hub) -> usize {
    let calls = hub.calls().into_iter();
    calls
        .filter(|call| matches!(call, Call::Join { .. }))
        .count()
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_registration_waits_for_it() {
    let hub = Hub::new();
    hub.answer_joins(Answer::Never);
    let mut ada = connected(&hub).await;
    hurry(&mut ada, "ada").await;
    assert_eq!(joins(&hub), 1, "the room waits");
    hub.answer_joins(Answer::Accept);
    hub.registry.accepted(ClaimNo(1), Vec::new());
    let told = [ada.next().await, ada.next().await, ada.next().await];
    assert_eq!(super::types(&told), ["registered", "room-joined", "error"]);
    assert_eq!(told[2]["error"], "Peer bob not found");
    assert_eq!(joins(&hub), 2);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_registration_that_is_refused_comes_to_nothing() {
    let hub = Hub::new();
    hub.answer_joins(Answer::Never);
    let mut eve = connected(&hub).await;
    hurry(&mut eve, "ada").await;
    hub.registry.refused(ClaimNo(1), JoinRefusal::Taken);
    let told = [eve.next().await, eve.next().await];
    assert_eq!(told[0]["code"], "id-taken");
    assert_eq!(told[1]["code"], "not-announced", "the offer is not sent");
    hub.answer_joins(Answer::Accept);
    eve.send(&json!({"type": "register", "peerId": "eve"}).to_string())
        .await;
    let told = eve.next().await;
    assert_eq!(
        (&told["type"], &told["peerId"]),
        (&json!("registered"), &json!("eve"))
    );
    assert_eq!(joins(&hub), 2, "the room was never joined");
}
