//! Clients that are too fast, in a dialect where an error message of the hub would end their connection.
//!
//! In real time: the rate of a client is counted by a separate clock.

use std::time::Duration;

use futures::SinkExt;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::fake::{Client, Hub, limits};
use crate::config::PeerLimits;

fn paced(rate_per_sec: u32) -> PeerLimits {
    PeerLimits {
        rate_per_sec: Some(rate_per_sec),
        rate_burst: 10,
        ..limits()
    }
}

async fn opened(hub: &Hub, id: u8) -> Client {
    let mut client = hub.connect_peerjs(id).await;
    assert_eq!(client.next().await["type"], "OPEN");
    client
}

fn offer(to: &Client, payload: usize) -> String {
    json!({"type": "OFFER", "dst": to.id, "payload": payload}).to_string()
}

#[tokio::test]
async fn a_client_that_is_too_fast_is_read_more_slowly_and_loses_nothing() {
    let hub = Hub::with(paced(50));
    let mut a = opened(&hub, 1).await;
    let mut b = opened(&hub, 2).await;
    for number in 0..40 {
        a.send(&offer(&b, number)).await;
    }
    for number in 0..40 {
        assert_eq!(b.next().await["payload"], number);
    }
    assert!(hub.metrics.rate_limited.get() >= 10, "many had to wait");
    // The client is told nothing: the next message that it gets is the other client's.
    b.send(&offer(&a, 7)).await;
    assert_eq!(a.next().await["payload"], 7);
}

#[tokio::test]
async fn a_long_message_that_has_to_wait_comes_whole() {
    let mut limits = paced(50);
    limits.rate_message_bytes = 4_096;
    let hub = Hub::with(limits);
    let mut a = opened(&hub, 1).await;
    let mut b = opened(&hub, 2).await;
    let long = "x".repeat(40_000);
    for number in 0..3 {
        let said = json!({"type": "OFFER", "dst": b.id, "payload": [number, &long]});
        a.send(&said.to_string()).await;
    }
    for number in 0..3 {
        assert_eq!(b.next().await["payload"], json!([number, &long]));
    }
    assert_eq!(
        hub.sessions.shared.intake.taken(),
        0,
        "nothing waits any more"
    );
}

#[tokio::test]
async fn what_is_not_read_waits_at_its_sender() {
    let hub = Hub::with(paced(1));
    let b = opened(&hub, 2).await;
    let mut a = hub.connect_peerjs_by(1, 4_096).await;
    assert_eq!(a.next().await["type"], "OPEN");
    let said = offer(&b, 1);
    let flood = async {
        for _ in 0..10_000 {
            a.ws.send(Message::text(said.clone()))
                .await
                .expect("it is there");
        }
    };
    let sent = timeout(Duration::from_secs(1), flood).await;
    assert!(sent.is_err(), "more is taken than is heard");
}

#[tokio::test]
async fn whoever_keeps_on_for_long_is_told_and_closed() {
    let hub = Hub::with(paced(50));
    let b = opened(&hub, 2).await;
    let mut a = opened(&hub, 1).await;
    for number in 0..300 {
        // A hub that has seen enough may close before all is written.
        let _ = a.ws.send(Message::text(offer(&b, number))).await;
    }
    let (told, frame) = a.end().await;
    assert_eq!(told[0]["payload"]["type"], "rate-limit-exceeded");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(frame.code, CloseCode::Policy);
    a.served().await.expect("it ends well");
    assert!(hub.closed("rate-abuse"));
}

#[tokio::test]
async fn pings_are_paid_for_and_only_put_off() {
    let hub = Hub::with(paced(50));
    let mut a = opened(&hub, 1).await;
    let mut b = opened(&hub, 2).await;
    let began = std::time::Instant::now();
    for _ in 0..40 {
        a.ws.send(Message::Ping("".into()))
            .await
            .expect("it is sent");
    }
    a.send(&offer(&b, 1)).await;
    assert_eq!(b.next().await["payload"], 1);
    assert!(hub.metrics.rate_limited.get() >= 10);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(550),
        "each costs 20 ms beyond 10: {took:?}"
    );
}
