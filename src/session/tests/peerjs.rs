//! Clients that join by connecting.

use bytes::Bytes;
use hubmesh_core::api::{Delivery, JoinRefusal, Sender};
use hubmesh_core::frames::RefusedWhy;
use hubmesh_core::ids::{ClaimNo, Dialect, LeaveReason, NetworkKey, PeerId, SignalKind};
use serde_json::json;
use tokio::time::advance;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::fake::{Answer, Call, Client, Hub, PATIENCE};
use crate::session::turn_away;

fn realm() -> NetworkKey {
    NetworkKey::new(Dialect::PeerJs, "peerjs").expect("a realm")
}

#[tokio::test(start_paused = true)]
async fn a_client_is_open_once_the_mesh_has_taken_it_and_before_anything_else() {
    let hub = Hub::new();
    hub.answer_joins(Answer::Never);
    let mut late = hub.connect_peerjs(1).await;
    while hub.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    let offer = Delivery {
        to: ClaimNo(1),
        network: realm(),
        from: PeerId::new("ada").expect("an id"),
        sender: Sender::Here(ClaimNo(9)),
        target: PeerId::Hex([1; 20]),
        kind: SignalKind(0),
        payload: Bytes::from_static(b"7"),
    };
    hub.registry.deliver(&offer).expect("there is space");
    hub.registry.accepted(ClaimNo(1), Vec::new());
    assert_eq!(late.next().await, json!({"type": "OPEN"}));
    let offer = late.next().await;
    assert_eq!(
        (&offer["src"], &offer["payload"]),
        (&json!("ada"), &json!(7))
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_id_is_taken_hears_nothing_else() {
    let hub = Hub::new();
    hub.answer_joins(Answer::Refuse(JoinRefusal::Taken));
    let mut refused = hub.connect_peerjs(1).await;
    let (told, frame) = refused.end().await;
    let taken = json!({"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}});
    assert_eq!(told, [taken]);
    assert_eq!(frame.code, CloseCode::Policy);
    assert!(refused.served().await.is_ok());
    assert!(hub.closed("id-taken"));
}

async fn opened(hub: &Hub, id: u8) -> Client {
    let mut client = hub.connect_peerjs(id).await;
    assert_eq!(client.next().await["type"], "OPEN");
    client
}

#[tokio::test(start_paused = true)]
async fn what_is_for_an_absent_peer_or_oneself_expires() {
    let hub = Hub::new();
    let mut ada = opened(&hub, 1).await;
    let bob = PeerId::Hex([2; 20]).to_string();
    for target in [&bob, &ada.id.clone()] {
        ada.send(&format!(
            r#"{{"type":"OFFER","payload":1,"dst":"{target}"}}"#
        ))
        .await;
        let expire = json!({"type": "EXPIRE", "src": target, "dst": ada.id});
        assert_eq!(ada.next().await, expire);
    }
    ada.send(&format!(r#"{{"type":"LEAVE","dst":"{bob}"}}"#))
        .await;
    let mut bob = opened(&hub, 2).await;
    ada.send(&format!(
        r#"{{"type":"CANDIDATE","payload":2,"dst":"{}"}}"#,
        bob.id
    ))
    .await;
    let candidate = json!({"type": "CANDIDATE", "src": ada.id, "dst": bob.id, "payload": 2});
    assert_eq!(bob.next().await, candidate);
}

/// Sends a target these messages of a client's call: mostly an offer, and eight candidates behind it.
async fn call(client: &mut Client, target: &str, kinds: &[&str]) {
    for kind in kinds {
        let text = format!(r#"{{"type":"{kind}","payload":1,"dst":{target}}}"#);
        client.send(&text).await;
    }
}

const CALL: [&str; 9] = {
    let mut call = ["CANDIDATE"; 9];
    call[0] = "OFFER";
    call
};

/// The messages that the client gets before its offer reaches another client, which is connected.
async fn heard(client: &mut Client, other: &mut Client) -> Vec<String> {
    let to = format!("\"{}\"", other.id);
    call(client, &to, &["OFFER"]).await;
    other.next().await;
    call(other, &format!("\"{}\"", client.id), &["ANSWER"]).await;
    let mut heard = Vec::new();
    loop {
        let next = client.next().await;
        if next["type"] == "ANSWER" {
            return heard;
        }
        assert_eq!(next["type"], "EXPIRE");
        heard.push(next["src"].as_str().expect("a name").to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_as_it_comes_gets_one_word() {
    let hub = Hub::new();
    let mut ada = opened(&hub, 1).await;
    let mut eve = opened(&hub, 3).await;
    let own = format!("\"{}\"", ada.id);
    let long = format!("\"{}\"", "x".repeat(200));
    for target in ["\"bob\"", &own, &long, "[1]", "1234"] {
        call(&mut ada, target, &CALL).await;
        let told = heard(&mut ada, &mut eve).await;
        assert_eq!(told.len(), 1, "{target}: {told:?}");
        call(&mut ada, target, &["CANDIDATE"; 3]).await;
        assert!(heard(&mut ada, &mut eve).await.is_empty(), "{target}");
        // A client that calls again is told again.
        call(&mut ada, target, &CALL).await;
        assert_eq!(heard(&mut ada, &mut eve).await, told);
        call(&mut ada, target, &["LEAVE"]).await;
        assert!(heard(&mut ada, &mut eve).await.is_empty(), "{target}");
    }
    let deep = format!("{}{}", "[".repeat(1_001), "]".repeat(1_001));
    for kind in CALL {
        let text = format!(r#"{{"type":"{kind}","payload":{deep},"dst":"deep"}}"#);
        ada.send(&text).await;
    }
    assert_eq!(heard(&mut ada, &mut eve).await, ["deep"]);
}

#[tokio::test(start_paused = true)]
async fn calls_to_several_at_once_get_a_word_each_and_late_candidates_another() {
    let hub = Hub::new();
    let mut ada = opened(&hub, 1).await;
    let mut eve = opened(&hub, 3).await;
    for kind in CALL {
        for target in ["\"bob\"", "\"cy\"", "[]"] {
            call(&mut ada, target, &[kind]).await;
        }
    }
    assert_eq!(heard(&mut ada, &mut eve).await, ["bob", "cy", "[]"]);
    // A LEAVE without a receiver is not reported, and hides no other failure.
    call(&mut ada, "\"dan\"", &["LEAVE", "CANDIDATE", "CANDIDATE"]).await;
    assert_eq!(heard(&mut ada, &mut eve).await, ["dan"]);
    advance(std::time::Duration::from_secs(10)).await;
    call(&mut ada, "\"bob\"", &["CANDIDATE", "CANDIDATE"]).await;
    assert_eq!(heard(&mut ada, &mut eve).await, ["bob"]);
}

#[tokio::test(start_paused = true)]
async fn a_leave_for_nobody_ends_the_connection_and_frees_the_id() {
    let hub = Hub::new();
    let mut ada = opened(&hub, 1).await;
    ada.send(r#"{"type":"LEAVE"}"#).await;
    let (told, frame) = ada.end().await;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(frame.code, CloseCode::Normal);
    let reason = LeaveReason::Goodbye;
    assert!(hub.calls().contains(&Call::Leave { claim: 1, reason }));
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_keeps_its_id_for_a_moment_but_takes_nothing() {
    let hub = Hub::new();
    let Client { ws, served, .. } = hub.connect_peerjs_with_secret(1).await;
    while !hub
        .calls()
        .iter()
        .any(|call| matches!(call, Call::Join { .. }))
    {
        tokio::task::yield_now().await;
    }
    let started = tokio::time::Instant::now();
    drop(ws);
    // In paused time, sleeping is what lets the session see that.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let candidate = Delivery {
        to: ClaimNo(1),
        network: realm(),
        from: PeerId::new("ada").expect("an id"),
        sender: Sender::Here(ClaimNo(9)),
        target: PeerId::Hex([1; 20]),
        kind: SignalKind(2),
        payload: Bytes::from_static(b"7"),
    };
    assert_eq!(hub.registry.deliver(&candidate), Err(RefusedWhy::NotHere));
    assert!(
        !hub.calls()
            .iter()
            .any(|call| matches!(call, Call::Leave { .. }))
    );
    assert!(served.await.is_ok());
    assert_eq!(started.elapsed().as_secs(), 2);
    let reason = LeaveReason::Closed;
    assert!(hub.calls().contains(&Call::Leave { claim: 1, reason }));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_client_and_silence_ends_it_after_a_time_of_its_own() {
    let hub = Hub::new();
    let mut ada = opened(&hub, 1).await;
    for _ in 0..8 {
        ada.send(r#"{"type":"HEARTBEAT"}"#).await;
        advance(PATIENCE).await;
    }
    assert!(!ada.served.is_finished());
    // This end is not read any more, so that pings are left unanswered.
    let started = tokio::time::Instant::now();
    let served = ada.served.await;
    assert!(served.is_ok());
    let silence = super::fake::policies().of(Dialect::PeerJs).silence;
    assert!(
        started.elapsed() <= silence + 3 * PATIENCE,
        "{:?}",
        started.elapsed()
    );
    assert!(hub.closed("silent"));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_turned_away_is_told_why() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(async move {
        turn_away(ours, b"", Dialect::PeerJs, "Invalid key provided").await;
    });
    let ws = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    let id = String::new();
    let mut client = Client { id, ws, served };
    let (told, frame) = client.end().await;
    assert_eq!(told[0]["type"], "ERROR");
    assert_eq!(told[0]["payload"]["msg"], "Invalid key provided");
    assert_eq!(frame.code, CloseCode::Policy);
    assert!(client.served().await.is_ok());
}
