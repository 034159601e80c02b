//! Peers over in-memory streams, in paused time, against a mesh that is one table.

mod contested;
mod coordinator;
mod fake;
mod hostile;
mod pacing;
mod peerjs;
mod proving;

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hubmesh_core::api::JoinRefusal;
use hubmesh_core::ids::{ClaimNo, LeaveReason};
use serde_json::{Value, json};
use tokio::time::{advance, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::LINGER;
use super::conversation::Conversation;
use crate::limits::AddressGroup;
use fake::{Answer, Call, FakeMesh, HERE, Hub, PATIENCE, limits, network};

fn types(messages: &[Value]) -> Vec<&str> {
    let types = messages.iter().map(|m| m["type"].as_str().unwrap_or("?"));
    types.collect()
}

#[tokio::test(start_paused = true)]
async fn two_peers_of_a_network_discover_each_other_and_nobody_itself() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut b = hub.connect(0xbb).await;
    b.send(r#"{"type":"announce","networkName":"room","data":{"peerId":"me","isHub":false,"name":"B"}}"#)
        .await;
    let seen_by_b = b.ping().await;
    assert_eq!(types(&seen_by_b), ["peer-discovered"]);
    assert_eq!(
        seen_by_b[0]["data"],
        json!({"peerId": a.id, "isHub": false})
    );
    let seen_by_a = a.ping().await;
    assert_eq!(types(&seen_by_a), ["peer-discovered"]);
    let data = json!({"peerId": b.id, "isHub": false, "name": "B"});
    assert_eq!(seen_by_a[0]["data"], data);
    assert_eq!(seen_by_a[0]["networkName"], "room");
}

#[tokio::test(start_paused = true)]
async fn a_signal_reaches_its_target_alone_with_its_data_byte_for_byte() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut b = hub.announce(0xbb, "room").await;
    let mut c = hub.announce(0xcc, "room").await;
    let data = r#"{ "type" : "offer","sdp":"v=0\r\n\u00e9 é","n":1.0e3}"#;
    a.signal("offer", &b.id.clone(), "room", data).await;
    let others = b.ping().await;
    let offer = others.last().expect("the offer is there");
    assert_eq!(offer["fromPeerId"], a.id.as_str());
    assert_eq!(offer["targetPeerId"], b.id.as_str());
    assert_eq!(types(&c.ping().await), Vec::<&str>::new());

    b.signal("answer", &a.id.clone(), "room", data).await;
    let answer = loop {
        let text = a.text().await;
        if text.starts_with(r#"{"type":"answer""#) {
            break text;
        }
    };
    assert!(answer.contains(&format!(r#""data":{data},"#)), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_told_as_one_and_a_lost_connection_is_not() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut b = hub.announce(0xbb, "room").await;
    let c = hub.announce(0xcc, "room").await;
    a.ping().await;
    b.send(r#"{"type":"goodbye","data":{"peerId":"cc"}}"#).await;
    // A message that a closing page sends after its goodbye must not bring the peer back.
    b.send(r#"{"type":"goodbye","data":{}}"#).await;
    b.send(r#"{"type":"cleanup-all","data":{},"networkName":"room"}"#)
        .await;
    b.signal("ice-candidate", &a.id.clone(), "room", "{}").await;
    assert_eq!(types(&b.ping().await), ["peer-discovered", "error"]);
    let seen = a.ping().await;
    assert_eq!(types(&seen), ["goodbye", "peer-disconnected"]);
    assert_eq!(seen[0]["fromPeerId"], b.id.as_str());
    assert_eq!(seen[1]["data"]["peerId"], b.id.as_str());

    let gone = c.id.clone();
    c.served().await.expect("it ends well");
    let seen = a.ping().await;
    assert_eq!(types(&seen), ["peer-disconnected"]);
    assert_eq!(seen[0]["data"]["peerId"], gone.as_str());
    assert!(hub.closed("connection-lost"));
}

#[tokio::test(start_paused = true)]
async fn announcing_another_network_moves_the_peer() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "old").await;
    let mut b = hub.announce(0xbb, "new").await;
    a.announce("new").await;
    assert_eq!(types(&a.ping().await), ["peer-discovered"]);
    assert_eq!(types(&b.ping().await), ["peer-discovered"]);
    let left = Call::Leave {
        claim: 1,
        reason: LeaveReason::Closed,
    };
    assert!(hub.calls().contains(&left));
    assert_eq!(hub.registry.local_peers(), 2);
    assert_eq!(hub.registry.networks(), [(network("new"), 2)]);
}

#[tokio::test(start_paused = true)]
async fn announcing_again_shows_the_new_data() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut b = hub.announce(0xbb, "room").await;
    a.ping().await;
    b.send(r#"{"type":"announce","networkName":"room","data":{"v":2}}"#)
        .await;
    b.ping().await;
    assert_eq!(a.ping().await[0]["data"]["v"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_signal_before_any_announcement_joins_unseen_and_is_delivered() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let mut b = hub.connect(0xbb).await;
    b.signal("offer", &a.id.clone(), "room", "1").await;
    b.signal("ice-candidate", &a.id.clone(), "room", "2").await;
    assert_eq!(types(&b.ping().await), Vec::<&str>::new());
    assert_eq!(types(&a.ping().await), ["offer", "ice-candidate"]);
    b.announce("room").await;
    assert_eq!(types(&b.ping().await), ["peer-discovered"]);
    assert_eq!(types(&a.ping().await), ["peer-discovered"]);
    assert_eq!(hub.registry.networks(), [(network("room"), 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_cannot_be_delivered_is_answered_with_the_reason() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let b = hub.announce(0xbb, "other").await;
    a.signal("offer", &b.id, "room", "{}").await;
    a.signal("offer", &b.id, "other", "{}").await;
    a.signal("offer", &a.id.clone(), "room", "{}").await;
    let seen = a.ping().await;
    assert_eq!(types(&seen), ["error", "error", "error"]);
    let codes: Vec<_> = seen.iter().map(|m| m["code"].as_str()).collect();
    let expected = [Some("no-such-peer"), Some("other-network"), Some("own-id")];
    assert_eq!(codes, expected);
    assert_eq!(seen[0]["data"]["peerId"], b.id.as_str());
    assert_eq!(seen[0]["networkName"], "room");
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_is_told_and_closed_and_gives_up_no_claim() {
    let hub = Hub::new();
    hub.answer_joins(Answer::Refuse(JoinRefusal::Taken));
    let mut a = hub.connect(0xaa).await;
    a.announce("room").await;
    let (before, frame) = a.end().await;
    assert_eq!(before[0]["code"], "id-taken");
    assert_eq!(frame.code, CloseCode::Policy);
    assert_eq!(frame.reason, "Peer already connected");
    a.served().await.expect("it ends well");
    assert!(!hub.calls().iter().any(|c| matches!(c, Call::Leave { .. })));
    assert_eq!(hub.registry.local_peers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_superseded_peer_is_told_and_closed_and_gives_up_no_claim() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    hub.registry.superseded(ClaimNo(1));
    let (before, frame) = a.end().await;
    assert_eq!(before[0]["code"], "superseded");
    assert_eq!(frame.code, CloseCode::Policy);
    a.served().await.expect("it ends well");
    assert!(!hub.calls().iter().any(|c| matches!(c, Call::Leave { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_gives_its_claim_and_its_place_up_once() {
    let hub = Hub::new();
    hub.answer_joins(Answer::Panic);
    let mut a = hub.connect(0xaa).await;
    a.announce("room").await;
    a.served().await.expect_err("it panicked");
    let leaves = hub.calls();
    let leaves = leaves.iter().filter(|c| matches!(c, Call::Leave { .. }));
    assert_eq!(leaves.count(), 1);
    assert_eq!(hub.registry.local_peers(), 0);
    assert_eq!(hub.sessions.open(), 0);
    assert_eq!(hub.metrics.connections_open(), 0);
    assert!(hub.closed("internal"));
}

#[tokio::test(start_paused = true)]
async fn messages_wait_in_order_while_the_mesh_decides() {
    let hub = Hub::new();
    let mut b = hub.announce(0xbb, "room").await;
    hub.answer_joins(Answer::Never);
    let mut a = hub.connect(0xaa).await;
    a.announce("room").await;
    for n in 0..3 {
        a.signal("ice-candidate", &b.id.clone(), "room", &n.to_string())
            .await;
    }
    advance(Duration::from_secs(2)).await;
    assert_eq!(types(&b.ping().await), Vec::<&str>::new());
    hub.registry.accepted(ClaimNo(2), Vec::new());
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(b.next().await["data"].clone());
    }
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_answered_by_a_living_peer_and_ends_a_dead_one() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    hub.registry.probe(ClaimNo(1), 7, Duration::from_secs(2));
    let ping = timeout(PATIENCE, a.ws.next()).await.expect("a ping comes");
    assert!(matches!(ping, Some(Ok(Message::Ping(_)))));
    a.ping().await;
    let alive = Call::Probe {
        token: 7,
        alive: true,
    };
    assert!(hub.calls().contains(&alive));

    let mut dead = hub.announce(0xdd, "room").await;
    hub.registry.probe(ClaimNo(2), 8, Duration::from_secs(2));
    timeout(PATIENCE, &mut dead.served)
        .await
        .expect("it ends")
        .expect("it ends well");
    let silent = Call::Probe {
        token: 8,
        alive: false,
    };
    assert!(hub.calls().contains(&silent));
    assert!(hub.closed("silent"));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_before_it_sees_that_the_hub_restarts_arrives() {
    let hub = Hub::new();
    let mut peers = [
        hub.announce(0xaa, "room").await,
        hub.announce(0xbb, "room").await,
    ];
    for peer in &mut peers {
        peer.ping().await;
    }
    let sessions = hub.sessions.clone();
    let drain = tokio::spawn(async move { sessions.drain(Duration::from_secs(8)).await });
    // One of the two is told at once, the other after four seconds.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ids = [0, 1].map(|n: usize| peers[n].id.clone());
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.signal("offer", &ids[1 - n], "room", "7").await;
    }
    let (mut closed, mut offers) = (Vec::new(), Vec::new());
    for (n, peer) in peers.iter_mut().enumerate() {
        loop {
            match timeout(PATIENCE, peer.ws.next()).await {
                Ok(Some(Ok(Message::Close(Some(frame))))) => closed.push((n, frame.code)),
                Ok(Some(Ok(Message::Text(text)))) if text.contains(r#""type":"offer""#) => {
                    offers.push(text);
                }
                // Its own signal went to a peer that is told to leave.
                Ok(Some(Ok(Message::Text(_)))) => continue,
                other => panic!("{other:?}"),
            }
            break;
        }
    }
    let ([(gone, CloseCode::Restart)], [offer]) = (&closed[..], &offers[..]) else {
        panic!("one of them is told, and the other hears it: {closed:?} {offers:?}");
    };
    let (gone, sender) = (*gone, format!(r#""fromPeerId":"{}""#, ids[*gone]));
    assert!(offer.contains(&sender), "{offer}");
    let left = |hub: &Hub| {
        hub.calls()
            .iter()
            .filter(|c| matches!(c, Call::Leave { .. }))
            .count()
    };
    assert_eq!(left(&hub), 0, "its place is kept until its own close");
    assert!(peers[gone].ws.next().await.is_none());
    assert_eq!(left(&hub), 1);
    assert!(!drain.is_finished(), "who answers is not waited for");
    drop(peers);
    drain.await.expect("the drain ends");
}

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_what_is_too_long_as_at_any_time_and_tells_whoever_can_still_be_told() {
    let long = "x".repeat(limits().max_message_bytes);
    // The close frame to a client that reads nothing waits behind its messages.
    for (pipe, is_told) in [(1 << 20, false), (4096, true)] {
        let hub = Hub::new();
        let mut a = hub.connect_silently(0xaa, pipe).await;
        assert_eq!(a.next().await["type"], "connected");
        a.announce("room").await;
        a.ping().await;
        let mut b = hub.announce(0xbb, "room").await;
        let data = format!("\"{}\"", "y".repeat(8192));
        b.signal("offer", &a.id, "room", &data).await;
        b.ping().await;
        let sessions = hub.sessions.clone();
        let drain = tokio::spawn(async move { sessions.drain(Duration::ZERO).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        a.signal("offer", &b.id, "room", &format!("\"{long}\""))
            .await;
        a.signal("offer", &b.id, "room", "7").await;
        let (told, frame) = a.end().await;
        assert_eq!(frame.code, CloseCode::Restart);
        let codes: Vec<_> = told.iter().filter_map(|m| m["code"].as_str()).collect();
        assert_eq!(codes.contains(&"message-too-long"), is_told, "{told:?}");
        for client in [a, b] {
            client.served().await.expect("it ends well");
        }
        let refused = hub.metrics.complaints.handle("message-too-long").get();
        assert_eq!(refused, 1, "{pipe}");
        drain.await.expect("the drain ends");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_answers_the_close_keeps_its_place_for_no_longer_than_it_may_take() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    hub.sessions.drain(Duration::ZERO).await;
    let ended = timeout(LINGER + Duration::from_millis(100), &mut a.served).await;
    ended.expect("it is closed").expect("it ends well");
    assert!(matches!(
        hub.calls().last(),
        Some(Call::Leave {
            reason: LeaveReason::Draining,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_everybody_away_spread_over_its_time_and_lets_nobody_in() {
    let hub = Hub::new();
    let mut clients = Vec::new();
    for id in 1..=4 {
        clients.push(hub.announce(id, "room").await);
    }
    let sessions = hub.sessions.clone();
    let started = tokio::time::Instant::now();
    let drain = tokio::spawn(async move { sessions.drain(Duration::from_secs(8)).await });
    let mut ends = Vec::new();
    let all = clients.into_iter().map(|mut client| async move {
        loop {
            match client.ws.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (started.elapsed().as_secs(), frame.code);
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    });
    ends.extend(futures::future::join_all(all).await);
    ends.sort_by_key(|end| end.0);
    let restart = CloseCode::Restart;
    assert_eq!(
        ends,
        [(0, restart), (2, restart), (4, restart), (6, restart)]
    );
    drain.await.expect("the drain ends");
    let mut late = hub.connect_silently(9, 1 << 16).await;
    assert_eq!(late.end().await.1.code, restart);
}

#[tokio::test(start_paused = true)]
async fn frames_that_came_with_the_upgrade_are_not_lost() {
    let hub = Hub::new();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut first = Vec::new();
    let (probe, mut capture) = tokio::io::duplex(1 << 16);
    let mut writer = tokio_tungstenite::WebSocketStream::from_raw_socket(
        probe,
        tokio_tungstenite::tungstenite::protocol::Role::Client,
        None,
    )
    .await;
    writer
        .send(Message::text(r#"{"type":"ping"}"#))
        .await
        .expect("it is written");
    drop(writer);
    tokio::io::AsyncReadExt::read_to_end(&mut capture, &mut first)
        .await
        .expect("it is read");
    let permit = hub.sessions.try_admit(HERE).expect("there is space");
    let connecting = fake::connecting(1);
    let sessions = hub.sessions.clone();
    tokio::spawn(async move {
        sessions
            .serve(
                ours,
                first.into(),
                connecting,
                AddressGroup::of(HERE),
                permit,
            )
            .await
    });
    let mut client = tokio_tungstenite::WebSocketStream::from_raw_socket(
        theirs,
        tokio_tungstenite::tungstenite::protocol::Role::Client,
        None,
    )
    .await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Message::Text(text) = client.next().await.expect("it goes on").expect("a message") {
            seen.push(serde_json::from_str::<Value>(&text).expect("JSON"));
        }
    }
    assert_eq!(types(&seen), ["connected", "pong"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_holds_back_goes_out_as_the_peer_reads() {
    let hub = Hub::new();
    let (ours, theirs) = tokio::io::duplex(16);
    // As TLS does, it accepts all bytes at once, and passes on as many as there is space for when it is flushed.
    let ours = tokio::io::BufWriter::new(ours);
    let started = tokio::time::Instant::now();
    let mut client = hub.connect_through(fake::connecting(1), ours, theirs).await;
    assert_eq!(client.next().await["type"], "connected");
    client.ping().await;
    // Were it left to the next deadline, the clock would have jumped there.
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn every_connection_let_in_is_counted_out() {
    let hub = Hub::new();
    for id in 1..=20 {
        let client = hub.announce(id, "room").await;
        client.served().await.expect("it ends well");
    }
    assert_eq!(hub.metrics.connections_accepted(), 20);
    assert_eq!(hub.metrics.connections_closed(), 20);
    assert_eq!(hub.sessions.open(), 0);
    assert_eq!(hub.registry.local_peers(), 0);
    assert_eq!(hub.registry.networks(), []);
}

#[test]
fn a_session_at_rest_is_small() {
    // The whole task of an idle peer, with what it points to, is to stay well below 6 KB.
    let conversation = size_of::<Conversation<crate::tls::Stream, FakeMesh>>();
    assert!(conversation <= 704, "{conversation} bytes");
    let hub = Hub::new();
    let permit = hub.sessions.try_admit(HERE).expect("there is space");
    let connecting = fake::connecting(1);
    let (io, _theirs) = tokio::io::duplex(64);
    let future = hub
        .sessions
        .serve(io, Bytes::new(), connecting, AddressGroup::of(HERE), permit);
    assert!(
        size_of_val(&future) <= 1700,
        "{} bytes",
        size_of_val(&future)
    );
}
