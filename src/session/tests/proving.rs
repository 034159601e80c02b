//! Clients that hold tokens, and those that have yet to show one.

use std::time::Duration;

use futures::StreamExt;
use hubmesh_core::ids::Dialect;
use serde_json::{Value, json};
use tokio::time::advance;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::fake::{Client, HERE, Hub, connecting};
use crate::auth::Grant;
use crate::auth::scope::{Right, Scope};
use crate::clock::unix_ms;
use crate::limits::{AddressGroup, AddressSlots};
use crate::session::ConnectingPeer;

/// A native client whose token grants this.
async fn holder(hub: &Hub, id: u8, grant: Grant) -> Client {
    let connecting = ConnectingPeer {
        grant: Box::new(grant),
        ..connecting(id)
    };
    let mut client = hub.connect_as(connecting, 1 << 20).await;
    assert_eq!(client.next().await["type"], "connected");
    client
}

fn confined(scope: Scope) -> Grant {
    Grant {
        scope,
        ..Grant::default()
    }
}

/// A client of rooms that has yet to show its token, with the slots of unproven clients.
async fn unproven(hub: &Hub, slots: &AddressSlots) -> Client {
    let slot = slots.try_take(AddressGroup::of(HERE), |_, _| true);
    let connecting = ConnectingPeer {
        dialect: Some(Dialect::Rooms),
        peer: None,
        unproven: slot.map(Box::new),
        ..connecting(0)
    };
    hub.connect_as(connecting, 1 << 20).await
}

fn is_free(slots: &AddressSlots) -> bool {
    slots
        .try_take(AddressGroup::of(HERE), |_, all| all == 0)
        .is_some()
}

fn auth(token: Value) -> String {
    json!({"type": "auth", "userId": "ada", "roomId": "r", "data": {"token": token}}).to_string()
}

/// The messages to the client before the close frame, and the code of the frame, however long it takes.
async fn end(client: &mut Client) -> (Vec<Value>, CloseCode) {
    let mut told = Vec::new();
    loop {
        match client.ws.next().await {
            Some(Ok(Message::Text(text))) => told.push(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Close(Some(frame)))) => return (told, frame.code),
            Some(Ok(_)) => {}
            other => panic!("no close frame: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_shows_the_right_token_in_its_first_word_is_a_client_like_others() {
    let (hub, slots) = (Hub::new(), AddressSlots::default());
    let mut client = unproven(&hub, &slots).await;
    for said in [
        json!({"type": "create-room", "roomId": "r"}).to_string(),
        auth(Value::Null),
    ] {
        client.send(&said).await;
        assert_eq!(client.next().await["type"], "error", "{said}");
    }
    assert!(hub.calls().is_empty() && !is_free(&slots));
    client.send(&auth(json!("sesame"))).await;
    assert_eq!(client.next().await["data"]["status"], "authenticated");
    assert!(is_free(&slots));
    // It may be in no room for any length of time.
    advance(Duration::from_secs(60)).await;
    client.send(r#"{"type":"heartbeat"}"#).await;
    assert_eq!(client.next().await["type"], "heartbeat");
}

#[tokio::test(start_paused = true)]
async fn whoever_shows_a_wrong_one_or_none_in_time_is_told_and_closed() {
    let (hub, slots) = (Hub::new(), AddressSlots::default());
    let mut wrong = unproven(&hub, &slots).await;
    wrong.send(&auth(json!("a guess"))).await;
    let (told, frame) = wrong.end().await;
    assert_eq!(told[0]["data"]["code"], "unauthorized");
    assert_eq!(frame.code, CloseCode::Policy);
    wrong.served().await.expect("it ends well");
    assert!(hub.closed("unauthorized"));
    let mut mute = unproven(&hub, &slots).await;
    let (told, _) = end(&mut mute).await;
    assert_eq!(told[0]["data"]["code"], "announce-timeout");
    mute.served().await.expect("it ends well");
    assert!(is_free(&slots));
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_token() {
    let hub = Hub::new();
    let grant = Grant {
        expires_ms: Some(unix_ms() + 5_000),
        ..Grant::default()
    };
    let mut client = holder(&hub, 0xaa, grant).await;
    client.announce("room").await;
    client.ping().await;
    let began = tokio::time::Instant::now();
    let (told, code) = end(&mut client).await;
    assert_eq!(told[0]["code"], "token-expired");
    assert_eq!(code, CloseCode::Policy);
    let lasted = began.elapsed().as_secs();
    assert!(
        (34..=40).contains(&lasted),
        "{lasted} with the grace of clocks"
    );
    client.served().await.expect("it ends well");
    assert!(hub.closed("token-expired"));
}

#[tokio::test(start_paused = true)]
async fn a_client_enters_what_its_token_names_and_stays_where_it_is_otherwise() {
    let hub = Hub::new();
    let scope = Scope {
        networks: Some(vec!["a".into(), "b".into()]),
        ..Scope::default()
    };
    let mut client = holder(&hub, 0xaa, confined(scope)).await;
    client.announce("a").await;
    client.announce("c").await;
    let before = client.ping().await;
    assert_eq!(before[0]["code"], "other-room");
    client.announce("b").await;
    assert!(client.ping().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_discover_is_seen_and_sees_nobody() {
    let hub = Hub::new();
    let mut seen = hub.announce(0xbb, "room").await;
    let scope = Scope {
        rights: Some(vec![Right::Publish, Right::Create]),
        ..Scope::default()
    };
    let mut blind = holder(&hub, 0xaa, confined(scope)).await;
    blind.announce("room").await;
    assert!(blind.ping().await.is_empty());
    assert_eq!(seen.next().await["data"]["peerId"], blind.id);
    let _third = hub.announce(0xcc, "room").await;
    assert!(blind.ping().await.is_empty());
    assert_eq!(seen.next().await["type"], "peer-discovered");
}
