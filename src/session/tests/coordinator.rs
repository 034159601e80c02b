//! Clients that register before they join anything.

use std::time::Duration;

use hubmesh_core::api::JoinRefusal;
use hubmesh_core::ids::{ClaimNo, Dialect};
use serde_json::json;

use super::fake::{Answer, Call, Client, HERE, Hub};
use crate::session::ConnectingPeer;

async fn connected(hub: &Hub) -> Client {
    let mut client = speaking(hub, Dialect::Coordinator).await;
    assert_eq!(client.next().await["type"], "welcome");
    client
}

/// A client that has sent nothing.
async fn speaking(hub: &Hub, dialect: Dialect) -> Client {
    let connecting = ConnectingPeer {
        address: HERE,
        dialect: Some(dialect),
        peer: None,
        grant: Box::default(),
        network: None,
        unproven: None,
    };
    hub.connect_as(connecting, 1 << 20).await
}

/// Sends the client's id and all its requests before the first answer.
async fn hurry(client: &mut Client, id: &str) {
    for said in [
        json!({"type": "register", "peerId": id}),
        json!({"type": "join-room", "peerId": id, "roomId": "r"}),
        json!({"type": "offer", "from": id, "to": "bob", "offer": 1}),
        json!({"type": "ping"}),
    ] {
        client.send(&said.to_string()).await;
    }
    // A ping is not among the messages that wait.
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

#[tokio::test(start_paused = true)]
async fn whoever_does_not_say_who_it_is_gives_its_place_back_in_the_end() {
    let hub = Hub::new();
    let mut others = Vec::new();
    for (dialect, empty, full) in [
        (
            Dialect::Rooms,
            json!({"type": "auth"}),
            json!({"type": "auth", "userId": "ada", "roomId": "r"}),
        ),
        (
            Dialect::Coordinator,
            json!({"type": "register"}),
            json!({"type": "register", "peerId": "ada"}),
        ),
    ] {
        let silent = speaking(&hub, dialect).await;
        let mut empty_handed = speaking(&hub, dialect).await;
        empty_handed.send(&empty.to_string()).await;
        let mut named = speaking(&hub, dialect).await;
        named.send(&full.to_string()).await;
        others.extend([silent, empty_handed, named]);
    }
    let reading = others.into_iter().map(|mut client| async move {
        let patience = Duration::from_secs(400);
        tokio::time::timeout(patience, async { while client.hears().await {} })
            .await
            .is_ok()
    });
    let ended = futures::future::join_all(reading).await;
    assert_eq!(ended, [true, true, false, true, true, false]);
    assert!(hub.closed("announce-timeout"));
}
