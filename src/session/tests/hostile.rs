//! Peers that break the rules.

use std::num::NonZeroU32;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use super::fake::{Answer, Call, Hub, limits};
use super::types;
use crate::config::PeerLimits;

#[tokio::test(start_paused = true)]
async fn a_peer_that_connects_and_says_nothing_is_closed_in_time() {
    let hub = Hub::new();
    let mut a = hub.connect(0xaa).await;
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    let (before, frame) = a.end().await;
    assert_eq!(before[0]["code"], "announce-timeout");
    assert_eq!(frame.code, CloseCode::Policy);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_said_goodbye_and_stays_is_closed_in_time() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    a.send(r#"{"type":"goodbye"}"#).await;
    a.ping().await;
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(a.end().await.1.code, CloseCode::Policy);
}

#[tokio::test(start_paused = true)]
async fn saying_goodbye_over_and_over_keeps_no_connection_open() {
    let hub = Hub::new();
    let mut a = hub.connect(0xaa).await;
    for _ in 0..2 {
        a.send(r#"{"type":"goodbye"}"#).await;
        tokio::time::sleep(Duration::from_millis(4_950)).await;
    }
    let (before, frame) = a.end().await;
    assert_eq!(before[0]["code"], "announce-timeout");
    assert_eq!(frame.code, CloseCode::Policy);
    assert!(hub.calls().is_empty(), "it was never anywhere");
}

#[tokio::test(start_paused = true)]
async fn the_last_words_to_a_peer_name_the_network_that_it_was_in() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    a.ws.send(Message::binary(vec![1]))
        .await
        .expect("it is sent");
    let (before, _) = a.end().await;
    assert_eq!(before[0]["code"], "binary");
    assert_eq!(before[0]["networkName"], "room");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_that_answers_no_ping_is_closed_and_one_that_does_is_not() {
    let hub = Hub::new();
    let mut dead = hub.announce(0xdd, "room").await;
    let mut alive = hub.announce(0xaa, "room").await;
    let reader = tokio::spawn(async move {
        // Reading alone answers pings.
        while let Some(Ok(message)) = alive.ws.next().await {
            if message.to_text().is_ok_and(|text| text.contains("timeout")) {
                return alive;
            }
        }
        panic!("the living one was closed");
    });
    let ended = tokio::time::timeout(Duration::from_secs(63), &mut dead.served).await;
    ended.expect("it is closed").expect("it ends well");
    assert!(hub.closed("silent"));
    let mut alive = reader.await.expect("it reads on");
    alive.ping().await;
    assert_eq!(hub.sessions.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn malformed_messages_are_answered_and_the_connection_goes_on() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let deep = format!(
        r#"{{"type":"offer","targetPeerId":"b","data":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for bad in [
        "",
        "{",
        "[]",
        "null",
        "nonsense",
        r#"{"type":7}"#,
        r#"{"data":{}}"#,
        r#"{"type":"fly"}"#,
        r#"{"type":"offer","data":{}}"#,
        r#"{"type":"offer","targetPeerId":"b"}"#,
        r#"{"type":"announce","data":[]}"#,
        r#"{"type":"announce","type":"ping"}"#,
        &deep,
    ] {
        a.send(bad).await;
    }
    let seen = a.ping().await;
    assert_eq!(types(&seen), ["error"; 13]);
    let codes: Vec<_> = seen.iter().filter_map(|m| m["code"].as_str()).collect();
    assert_eq!(
        codes,
        [
            "not-json",
            "not-json",
            "not-an-object",
            "not-an-object",
            "not-json",
            "wrong-type",
            "missing-field",
            "unsupported-type",
            "missing-field",
            "missing-field",
            "wrong-type",
            "duplicate-field",
            "too-deep",
        ]
    );
    let counted = hub.metrics.exposition();
    for series in [r#"{code="not-json"} 3"#, r#"{code="too-deep"} 1"#] {
        let series = format!("hubmesh_complaints_total{series}\n");
        assert!(counted.contains(&series), "{series} is not in {counted}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_sender_is_refused_and_a_claimed_hub_is_shown_as_a_peer() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut b = hub.announce(0xbb, "room").await;
    b.ping().await;
    a.ping().await;
    let forged = format!(
        r#"{{"type":"offer","fromPeerId":"cc","targetPeerId":"{}","data":1}}"#,
        b.id
    );
    a.send(&forged).await;
    a.send(r#"{"type":"announce","networkName":"room","data":{"isHub":true,"peerId":"evil"}}"#)
        .await;
    let seen = a.ping().await;
    assert_eq!(types(&seen), ["error", "error"]);
    assert_eq!(seen[0]["code"], "forged-sender");
    assert_eq!(seen[1]["code"], "not-a-hub");
    let seen = b.ping().await;
    assert_eq!(types(&seen), ["peer-discovered"]);
    assert_eq!(seen[0]["data"]["isHub"], false);
    assert_eq!(seen[0]["data"]["peerId"], a.id.as_str());
    assert_eq!(hub.metrics.forged.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn announced_data_over_the_limit_is_refused() {
    let hub = Hub::new();
    let mut a = hub.connect(0xaa).await;
    let data = "x".repeat(2000);
    a.send(&format!(r#"{{"type":"announce","data":{{"d":"{data}"}}}}"#))
        .await;
    assert_eq!(a.next().await["code"], "announce-too-long");
    assert_eq!(hub.calls(), []);
}

async fn ends_with(message: Message, code: CloseCode, label: &str) {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    // A hub that has seen enough may close before all is written.
    let _ = a.ws.send(message).await;
    assert_eq!(a.end().await.1.code, code);
    a.served().await.expect("it ends well");
    assert!(hub.closed(label), "{label}");
}

#[tokio::test(start_paused = true)]
async fn binary_messages_and_text_that_is_none_end_the_connection() {
    ends_with(
        Message::binary(vec![1, 2]),
        CloseCode::Unsupported,
        "binary",
    )
    .await;
    let text = OpCode::Data(Data::Text);
    let broken = Frame::message(vec![0xff, 0xfe], text, true);
    ends_with(Message::Frame(broken), CloseCode::Invalid, "not-utf8").await;
    let header = FrameHeader {
        rsv1: true,
        opcode: text,
        ..FrameHeader::default()
    };
    let reserved = Frame::from_payload(header, "{}".into());
    ends_with(Message::Frame(reserved), CloseCode::Protocol, "protocol").await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_breaks_the_rules_is_answered_with_what_it_breaks() {
    let payload = |code: &[u8], words: &[u8]| [code, words].concat();
    for (payload, code, label) in [
        (payload(&[0x03, 0xed], b""), CloseCode::Protocol, "protocol"),
        (payload(&[0x03], b""), CloseCode::Protocol, "protocol"),
        (
            payload(&[0x03, 0xe8], b"\xff"),
            CloseCode::Invalid,
            "not-utf8",
        ),
    ] {
        let close = OpCode::Control(Control::Close);
        let header = FrameHeader {
            opcode: close,
            ..FrameHeader::default()
        };
        let frame = Frame::from_payload(header, payload.into());
        ends_with(Message::Frame(frame), code, label).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_refused_alone() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    a.send(&"x".repeat(64 * 1024 + 1)).await;
    let seen = a.ping().await;
    assert_eq!(types(&seen), ["error"]);
    assert_eq!(seen[0]["code"], "message-too-long");
    assert_eq!(
        seen[0]["error"],
        "a message of 65537 bytes is too long: MAX_MESSAGE_BYTES is 65536"
    );
}

#[tokio::test(start_paused = true)]
async fn what_announces_a_gigabyte_is_refused_at_its_head() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let head = [0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4];
    a.ws.get_mut()
        .write_all(&head)
        .await
        .expect("it is written");
    assert_eq!(a.end().await.1.code, CloseCode::Size);
}

#[tokio::test(start_paused = true)]
async fn reading_past_is_paid_for_and_who_sends_without_end_is_cut_off() {
    let mut limits = limits();
    limits.rate_per_sec = Some(1);
    limits.rate_burst = 10;
    limits.max_message_bytes = 1024;
    let hub = Hub::with(limits);
    let mut a = hub.connect(0xaa).await;
    // The hub closes before all is written.
    let _ = a.ws.send(Message::text("x".repeat(2 << 20))).await;
    a.served().await.expect("it ends well");
    assert!(hub.closed("rate-abuse"));
}

#[tokio::test(start_paused = true)]
async fn too_many_messages_are_refused_then_end_the_connection() {
    let mut limits = limits();
    limits.rate_per_sec = Some(1);
    limits.rate_burst = 10;
    let hub = Hub::with(limits);
    let mut a = hub.connect(0xaa).await;
    a.announce("room").await;
    for _ in 0..100 {
        a.send(r#"{"type":"cleanup"}"#).await;
    }
    let (before, frame) = a.end().await;
    assert_eq!(types(&before), ["error", "error"]);
    assert_eq!(before[0]["code"], "rate-limited");
    assert_eq!(before[1]["code"], "rate-abuse");
    assert_eq!(frame.code, CloseCode::Policy);
    assert!(hub.metrics.rate_limited.get() > 50);
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_does_not_read_is_refused_to_the_sender_and_nobody_else_notices() {
    let mut limits = limits();
    limits.outbox_messages = 100;
    let hub = Hub::with(limits);
    let mut a = hub.announce(0xaa, "room").await;
    let mut slow = hub.connect_silently(0xbb, 256).await;
    slow.announce("room").await;
    let mut c = hub.announce(0xcc, "room").await;
    let (mut failures, mut offers) = (0, Vec::new());
    for n in 0..20_u64 {
        for m in 0..20 {
            let data = (20 * n + m).to_string();
            a.signal("offer", &slow.id.clone(), "room", &data).await;
            a.signal("offer", &c.id.clone(), "room", &data).await;
        }
        let told = a.ping().await;
        failures += told.iter().filter(|m| m["type"] == "error").count();
        let received = c.ping().await;
        offers.extend(received.iter().filter_map(|m| m["data"].as_u64()));
    }
    assert!(offers.into_iter().eq(0..400));
    assert!(
        failures >= 100,
        "{failures} signals were reported as failed"
    );
    assert_eq!(hub.metrics.outbox_overflows.get(), 0);
    let ended = tokio::time::timeout(Duration::from_secs(30), &mut slow.served).await;
    ended.expect("it is closed in time").expect("it ends well");
    assert!(hub.closed("write-stalled"));
    // The failure of a signal that still waited for it is told as well.
    let told = a.ping().await;
    let unread = told.iter().filter(|m| m["code"] == "no-such-peer").count();
    assert_eq!(unread, 25, "a sender's share of 100 messages");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_with_little_to_read_is_closed_in_time() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut slow = hub.connect_silently(0xbb, 256).await;
    slow.announce("room").await;
    for _ in 0..10 {
        a.signal("offer", &slow.id.clone(), "room", "{}").await;
    }
    let ended = tokio::time::timeout(Duration::from_secs(13), &mut slow.served).await;
    ended.expect("it is closed").expect("it ends well");
    assert!(hub.closed("write-stalled"));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_socket_does_not_keep_its_session_from_being_drained() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut slow = hub.connect_silently(0xbb, 256).await;
    slow.announce("room").await;
    for _ in 0..10 {
        a.signal("offer", &slow.id.clone(), "room", "{}").await;
    }
    a.ping().await;
    hub.sessions.drain(Duration::ZERO).await;
    let ended = tokio::time::timeout(Duration::from_secs(3), &mut slow.served).await;
    ended.expect("it is closed").expect("it ends well");
    assert!(hub.closed("draining"));
}

#[tokio::test(start_paused = true)]
async fn a_mesh_that_never_answers_ends_the_session_as_its_own_fault() {
    let hub = Hub::new();
    hub.answer_joins(Answer::Never);
    let mut a = hub.connect(0xaa).await;
    a.announce("room").await;
    tokio::time::sleep(Duration::from_millis(19_900)).await;
    assert_eq!(a.end().await.1.code, CloseCode::Error);
}

#[tokio::test(start_paused = true)]
async fn a_join_that_waits_for_its_turn_asks_nothing_of_the_mesh_and_goes_with_its_client() {
    for way in ["end", "goodbye"] {
        // Ten at once: the third join tells three times two, the fourth three times three.
        let hub = Hub::with(PeerLimits {
            notices_per_sec_per_ip: Some(NonZeroU32::MIN),
            ..limits()
        });
        let mut crowd = Vec::new();
        for id in 1..=3 {
            let mut peer = hub.announce(id, "room").await;
            peer.ping().await;
            crowd.push(peer);
        }
        let mut late = hub.connect(4).await;
        late.announce("room").await;
        late.signal("offer", &"01".repeat(20), "room", "7").await;
        let joins = |hub: &Hub| {
            let calls = hub.calls().into_iter();
            calls.filter(|c| matches!(c, Call::Join { .. })).count()
        };
        if way == "goodbye" {
            late.send(r#"{"type":"goodbye"}"#).await;
            late.ping().await;
        }
        late.served().await.expect("it ends well");
        assert_eq!(hub.metrics.joins_delayed.get(), 1, "{way}");
        assert_eq!(joins(&hub), 3, "{way}");
        assert_eq!(hub.registry.local_peers(), crowd.len(), "{way}");
    }
}
