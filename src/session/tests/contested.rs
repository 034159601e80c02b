//! Probes of peers that hold an id, and newcomers whose join the mesh has not decided on.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hubmesh_core::ids::{ClaimNo, LeaveReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::fake::{Answer, Call, Client, Hub, PATIENCE, connecting, limits};
use super::types;

const WITHIN: Duration = Duration::from_secs(2);

/// Waits until the mesh has been asked or told this.
async fn until(hub: &Hub, call: &Call) {
    let done = async {
        while !hub.calls().contains(call) {
            tokio::task::yield_now().await;
        }
    };
    // Not by the clock, which is paused: it would run ahead of the tasks that the test waits for.
    let turns = async {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = done => {}
        () = turns => panic!("{call:?} is not among {:?}", hub.calls()),
    }
}

fn probed(token: u64, alive: bool) -> Call {
    Call::Probe { token, alive }
}

fn left(claim: u64, reason: LeaveReason) -> Call {
    Call::Leave { claim, reason }
}

/// The next ping that the hub sends; it is left unanswered until the next read or write.
async fn next_ping(client: &mut Client) -> Bytes {
    loop {
        match timeout(PATIENCE, client.ws.next()).await {
            Ok(Some(Ok(Message::Ping(payload)))) => return payload,
            Ok(Some(Ok(_))) => {}
            other => panic!("no ping: {other:?}"),
        }
    }
}

/// Announces this client, and sends it more than its pipe holds; returns the sender.
async fn is_sent_more_than_it_takes(hub: &Hub, slow: &mut Client) -> Client {
    slow.announce("room").await;
    settle().await;
    let mut a = hub.announce(0xaa, "room").await;
    let (to, data) = (slow.id.clone(), "7".repeat(10_000));
    a.signal("offer", &to, "room", &data).await;
    settle().await;
    a
}

/// Waits for the end of a client that this probe finds dead.
async fn is_found_dead(hub: &Hub, client: &mut Client, token: u64) {
    let ended = timeout(WITHIN + PATIENCE, &mut client.served).await;
    ended.expect("it ends").expect("it ends well");
    assert!(hub.calls().contains(&probed(token, false)));
}

/// Waits until the hub has handled all messages of the client, without reading the answers.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_on_its_way_before_the_ping_answers_no_probe() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    hub.registry.probe(ClaimNo(1), 7, WITHIN);
    settle().await;
    // As from a connection whose other end is lost: the last bytes that it sent still arrive.
    for early in [
        Message::text(r#"{"type":"ping"}"#),
        Message::Ping(Bytes::new()),
        Message::Pong(Bytes::new()),
        Message::Pong(Bytes::from_static(b"heartbeat")),
    ] {
        a.ws.send(early).await.expect("it is sent");
    }
    settle().await;
    assert!(!hub.calls().contains(&probed(7, true)));
    is_found_dead(&hub, &mut a, 7).await;
    assert!(hub.closed("silent"));
}

/// The first bytes of a message that is longer than the bytes that follow.
const HEAD: [u8; 14] = [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_in_the_middle_of_a_long_message_is_alive_as_long_as_more_of_it_comes() {
    let hub = Hub::new();
    let mut a = hub.announce(0xaa, "room").await;
    let line = a.ws.get_mut();
    line.write_all(&HEAD).await.expect("it is open");
    settle().await;
    hub.registry.probe(ClaimNo(1), 7, WITHIN);
    // Bytes that arrive at once may have been on their way for long.
    line.write_all(b"\"half of").await.expect("it is open");
    settle().await;
    assert!(!hub.calls().contains(&probed(7, true)));
    sleep(WITHIN / 2).await;
    line.write_all(b" a message").await.expect("it is open");
    until(&hub, &probed(7, true)).await;
    // And no more bytes arrive: the client is dead.
    hub.registry.probe(ClaimNo(1), 8, WITHIN);
    is_found_dead(&hub, &mut a, 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_reads_slowly_is_alive_as_long_as_it_takes_more_and_dead_when_it_does_not() {
    let hub = Hub::new();
    let mut slow = hub.connect_silently(0xbb, 256).await;
    let _sender = is_sent_more_than_it_takes(&hub, &mut slow).await;
    hub.registry.probe(ClaimNo(1), 7, WITHIN);
    settle().await;
    assert!(!hub.calls().contains(&probed(7, true)));
    let mut some = [0; 100];
    let line = slow.ws.get_mut();
    line.read_exact(&mut some).await.expect("it is open");
    until(&hub, &probed(7, true)).await;
    hub.registry.probe(ClaimNo(1), 8, WITHIN);
    is_found_dead(&hub, &mut slow, 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_not_alive_because_its_stream_holds_back_what_it_took() {
    let hub = Hub::new();
    let (ours, theirs) = tokio::io::duplex(256);
    // As TLS does, it accepts the ping although the stream below accepts no more.
    let ours = BufWriter::with_capacity(64 * 1024, ours);
    let mut slow = hub.connect_through(connecting(0xbb), ours, theirs).await;
    let _sender = is_sent_more_than_it_takes(&hub, &mut slow).await;
    for token in [7, 8] {
        hub.registry.probe(ClaimNo(1), token, WITHIN);
        settle().await;
        assert!(!hub.calls().contains(&probed(token, true)));
    }
    is_found_dead(&hub, &mut slow, 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_goes_while_it_is_probed_frees_its_id_at_once() {
    let hub = Hub::new();
    let started = Instant::now();
    for (claim, way) in (1..).zip(["close", "end", "goodbye"]) {
        let mut a = hub.announce(claim, "room").await;
        let claim = u64::from(claim);
        hub.registry.probe(ClaimNo(claim), claim, WITHIN);
        settle().await;
        let reason = match way {
            "close" => {
                a.ws.send(Message::Close(None)).await.expect("it is sent");
                LeaveReason::Closed
            }
            "goodbye" => {
                a.send(r#"{"type":"goodbye","data":{}}"#).await;
                LeaveReason::Goodbye
            }
            _ => {
                drop(a);
                until(&hub, &left(claim, LeaveReason::Closed)).await;
                continue;
            }
        };
        until(&hub, &left(claim, reason)).await;
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(
        !hub.calls()
            .iter()
            .any(|c| matches!(c, Call::Probe { alive: true, .. }))
    );
}

#[tokio::test(start_paused = true)]
async fn a_kept_id_is_kept_no_longer_than_the_probe_before_it_waits() {
    let hub = Hub::new();
    let mut a = hub.connect_peerjs_with_secret(1).await;
    assert_eq!(a.next().await["type"], "OPEN");
    let started = Instant::now();
    hub.registry.probe(ClaimNo(1), 7, WITHIN);
    sleep(Duration::from_millis(1_500)).await;
    let Client { ws, served, .. } = a;
    drop(ws);
    assert!(served.await.is_ok());
    assert_eq!(started.elapsed().as_millis(), WITHIN.as_millis());
    assert!(hub.calls().contains(&left(1, LeaveReason::Closed)));
}

fn slow() -> crate::config::PeerLimits {
    crate::config::PeerLimits {
        rate_per_sec: Some(1),
        rate_burst: 10,
        ..limits()
    }
}

#[tokio::test(start_paused = true)]
async fn answering_the_pings_of_the_hub_costs_a_peer_nothing() {
    let hub = Hub::with(slow());
    let mut a = hub.announce(0xaa, "room").await;
    for token in 0..500 {
        hub.registry.probe(ClaimNo(1), token, WITHIN);
        let payload = next_ping(&mut a).await;
        assert_eq!(payload.len(), 8);
        // The answer to the ping is on its way with the next frame, and with a flush.
        a.ws.flush().await.expect("it is sent");
        until(&hub, &probed(token, true)).await;
    }
    assert_eq!(types(&a.ping().await), Vec::<&str>::new());
    assert_eq!(hub.metrics.rate_limited.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn pongs_that_answer_nothing_end_a_connection_as_other_messages_do() {
    let hub = Hub::with(slow());
    let mut a = hub.announce(0xaa, "room").await;
    hub.registry.probe(ClaimNo(1), 7, WITHIN);
    let payload = next_ping(&mut a).await;
    for _ in 0..100 {
        // A hub that has seen enough may close before all is written.
        let _ = a.ws.send(Message::Pong(payload.clone())).await;
    }
    assert_eq!(a.end().await.1.code, CloseCode::Policy);
    a.served().await.expect("it ends well");
    assert!(hub.closed("rate-abuse"));
}

/// A client whose join the mesh has not decided on, and its claim.
async fn pending(hub: &Hub, id: u8) -> Client {
    hub.answer_joins(Answer::Never);
    let client = hub.connect_peerjs_with_secret(id).await;
    let joins = || {
        hub.calls()
            .iter()
            .filter(|c| matches!(c, Call::Join { .. }))
            .count()
    };
    while joins() < usize::from(id) {
        tokio::task::yield_now().await;
    }
    client
}

#[tokio::test(start_paused = true)]
async fn a_join_whose_client_goes_is_withdrawn_at_once() {
    let hub = Hub::new();
    let started = Instant::now();
    let mut closes = pending(&hub, 1).await;
    closes
        .ws
        .send(Message::Close(None))
        .await
        .expect("it is sent");
    until(&hub, &left(1, LeaveReason::Closed)).await;
    drop(pending(&hub, 2).await.ws);
    until(&hub, &left(2, LeaveReason::Closed)).await;
    let mut leaves = pending(&hub, 3).await;
    leaves
        .send(r#"{"type":"OFFER","payload":1,"dst":"bob"}"#)
        .await;
    leaves.send(r#"{"type":"LEAVE"}"#).await;
    until(&hub, &left(3, LeaveReason::Goodbye)).await;
    assert_eq!(leaves.end().await.1.code, CloseCode::Normal);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(hub.registry.local_peers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_withdraws_a_native_join_and_what_was_said_before_it() {
    let hub = Hub::new();
    let mut b = hub.announce(0xbb, "room").await;
    hub.answer_joins(Answer::Never);
    let mut a = hub.connect(0xaa).await;
    a.announce("room").await;
    a.signal("offer", &b.id.clone(), "room", "1").await;
    a.send(r#"{"type":"goodbye","data":{}}"#).await;
    until(&hub, &left(2, LeaveReason::Goodbye)).await;
    // Too late, and about no known client.
    hub.registry.accepted(ClaimNo(2), Vec::new());
    hub.answer_joins(Answer::Accept);
    a.announce("room").await;
    assert_eq!(types(&a.ping().await), ["peer-discovered"]);
    assert_eq!(types(&b.ping().await), ["peer-discovered"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_join_is_pending_has_its_pings_answered_and_is_told_nothing_else() {
    let hub = Hub::new();
    let mut a = pending(&hub, 1).await;
    a.ws.send(Message::Ping(Bytes::from_static(b"there?")))
        .await
        .expect("it is sent");
    let answer = timeout(PATIENCE, a.ws.next())
        .await
        .expect("an answer in time");
    assert!(
        matches!(&answer, Some(Ok(Message::Pong(payload))) if payload == "there?".as_bytes()),
        "{answer:?}"
    );
    hub.registry.probe(ClaimNo(1), 7, WITHIN);
    next_ping(&mut a).await;
    a.ws.flush().await.expect("it is sent");
    until(&hub, &probed(7, true)).await;
    hub.registry.accepted(ClaimNo(1), Vec::new());
    assert_eq!(a.next().await["type"], "OPEN");
}

/// A native client with a contested id that has sent these texts to the peer of that id; its claim is the second.
async fn talkative(hub: &Hub, to: &str, said: &[String]) -> Client {
    hub.answer_joins(Answer::Never);
    let mut client = hub.connect_silently(0xaa, 4096).await;
    assert_eq!(client.next().await["type"], "connected");
    client.announce("room").await;
    for data in said {
        client.signal("offer", to, "room", data).await;
    }
    client
}

/// An offer's data, which takes this many bytes.
fn data(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

#[tokio::test(start_paused = true)]
async fn whatever_a_newcomer_says_it_answers_a_probe_and_all_is_carried_out_once_it_is_let_in() {
    for said in [
        vec![data(20_000)],
        vec![data(64_000)],
        vec![data(4_000); 5],
        vec![data(200); 150],
        vec![data(3_000), data(40_000), data(10), data(20_000)],
    ] {
        let hub = Hub::new();
        let mut b = hub.announce(0xbb, "room").await;
        let started = Instant::now();
        let mut a = talkative(&hub, &b.id, &said).await;
        hub.registry.probe(ClaimNo(2), 7, WITHIN);
        next_ping(&mut a).await;
        a.ws.flush().await.expect("it is sent");
        until(&hub, &probed(7, true)).await;
        assert_eq!(types(&b.ping().await), Vec::<&str>::new());
        hub.registry.accepted(ClaimNo(2), Vec::new());
        for data in &said {
            let offer = b.next().await;
            assert_eq!(offer["type"], "offer");
            assert_eq!(offer["data"].to_string(), *data);
        }
        assert_eq!(types(&a.ping().await), Vec::<&str>::new());
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_has_said_much_is_gone_as_soon_as_it_goes() {
    for way in ["close", "end", "goodbye"] {
        let hub = Hub::new();
        let b = hub.announce(0xbb, "room").await;
        let started = Instant::now();
        let mut a = talkative(&hub, &b.id, &[data(20_000), data(20_000)]).await;
        let reason = match way {
            "goodbye" => {
                a.send(r#"{"type":"goodbye","data":{}}"#).await;
                LeaveReason::Goodbye
            }
            "close" => {
                a.ws.send(Message::Close(None)).await.expect("it is sent");
                LeaveReason::Closed
            }
            _ => {
                drop(a.ws);
                LeaveReason::Closed
            }
        };
        until(&hub, &left(2, reason)).await;
        assert_eq!(started.elapsed(), Duration::ZERO, "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_is_refused_alone_and_its_sender_told_in_its_own_words() {
    let hub = Hub::new();
    let mut b = hub.announce(0xbb, "room").await;
    let said = [data(60_000), data(60_001), data(10)];
    let mut a = talkative(&hub, &b.id, &said).await;
    let told = a.next().await;
    assert_eq!(
        (&told["type"], &told["code"]),
        (&"error".into(), &"no-room".into())
    );
    hub.registry.accepted(ClaimNo(2), Vec::new());
    for data in [&said[0], &said[2]] {
        assert_eq!(b.next().await["data"].to_string(), *data);
    }
    assert_eq!(types(&b.ping().await), Vec::<&str>::new());

    let hub = Hub::new();
    let mut c = pending(&hub, 1).await;
    for bytes in [60_000, 60_000] {
        let payload = data(bytes);
        c.send(&format!(
            r#"{{"type":"OFFER","payload":{payload},"dst":"bob"}}"#
        ))
        .await;
    }
    settle().await;
    hub.registry.accepted(ClaimNo(1), Vec::new());
    assert_eq!(c.next().await["type"], "OPEN");
    let told = c.next().await;
    assert_eq!(
        (&told["type"], &told["src"]),
        (&"EXPIRE".into(), &"bob".into())
    );
}

#[tokio::test(start_paused = true)]
async fn all_newcomers_together_hold_no_more_than_half_of_the_budget_and_give_it_back() {
    let hub = Hub::new();
    let b = hub.announce(0xbb, "room").await;
    let intake = std::sync::Arc::clone(&hub.sessions.shared.intake);
    let half = limits().message_budget_bytes / 2;
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(talkative(&hub, &b.id, &[data(60_000)]).await);
        settle().await;
        assert!(intake.taken() <= half, "{}", intake.taken());
    }
    assert!(intake.taken() > half / 2);
    let last = all.last_mut().expect("there are twenty");
    assert_eq!(last.next().await["code"], "no-room");
    for client in all {
        client.served().await.expect("it ends well");
    }
    assert_eq!(intake.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_floods_is_parted_from_before_the_mesh_has_decided() {
    let hub = Hub::with(slow());
    let b = hub.announce(0xbb, "room").await;
    hub.answer_joins(Answer::Never);
    let mut a = hub.connect(0xaa).await;
    a.announce("room").await;
    for _ in 0..100 {
        // A hub that has seen enough may close before all is written.
        let to = format!(
            r#"{{"type":"offer","data":1,"networkName":"room","targetPeerId":"{}"}}"#,
            b.id
        );
        let _ = a.ws.send(Message::text(to)).await;
    }
    assert_eq!(a.end().await.1.code, CloseCode::Policy);
    a.served().await.expect("it ends well");
    assert!(hub.closed("rate-abuse"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_announcement_was_refused_is_nowhere_until_a_good_one_and_is_told_so() {
    let long = "x".repeat(200);
    for refused in [
        r#"{"type":"announce","networkName":7}"#,
        r#"{"type":"announce","networkName":"room","data":[]}"#,
        &format!(r#"{{"type":"announce","networkName":"{long}"}}"#),
        &format!(
            r#"{{"type":"announce","networkName":"room","data":{{"d":"{}"}}}}"#,
            "y".repeat(2000)
        ),
        r#"{"type":"announce","networkName":"room""#,
        r#"{"type":"ping","networkName":7}"#,
    ] {
        let hub = Hub::new();
        let mut stranger = hub.announce(0xbb, "global").await;
        let mut a = hub.connect(0xaa).await;
        a.send(refused).await;
        assert_eq!(types(&a.ping().await), ["error"], "{refused}");
        a.signal("offer", &stranger.id.clone(), "global", "1").await;
        a.send(&format!(
            r#"{{"type":"offer","targetPeerId":"{}","data":1}}"#,
            stranger.id
        ))
        .await;
        let told = a.ping().await;
        let codes: Vec<_> = told.iter().map(|m| m["code"].as_str()).collect();
        assert_eq!(codes, [Some("not-announced"); 2], "{refused}");
        assert_eq!(types(&stranger.ping().await), Vec::<&str>::new());
        assert_eq!(hub.registry.local_peers(), 1, "{refused}");
        a.announce("room").await;
        a.ping().await;
        assert_eq!(hub.registry.local_peers(), 2, "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_tells_a_newcomer_of_each_message_that_it_does_not_carry_out() {
    let hub = Hub::new();
    let b = hub.announce(0xbb, "room").await;
    let mut a = talkative(&hub, &b.id, &[data(10), data(20_000)]).await;
    settle().await;
    hub.sessions.drain(Duration::ZERO).await;
    let (told, frame) = a.end().await;
    let refused = told
        .iter()
        .filter(|m| m.to_string().contains("not carried out"));
    assert_eq!(refused.count(), 2, "{told:?}");
    assert_eq!(frame.code, CloseCode::Restart);

    let hub = Hub::new();
    let mut c = pending(&hub, 1).await;
    c.send(r#"{"type":"OFFER","payload":1,"dst":"bob"}"#).await;
    settle().await;
    hub.sessions.drain(Duration::ZERO).await;
    let (told, _) = c.end().await;
    let expired = told
        .iter()
        .filter(|m| m["type"] == "EXPIRE" && m["src"] == "bob");
    assert_eq!(expired.count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kept_id_keeps_no_socket() {
    let hub = Hub::new();
    let a = hub.connect_peerjs_with_secret(1).await;
    let Client { mut ws, served, .. } = a;
    ws.next().await.expect("it opens").expect("it opens");
    let started = Instant::now();
    // Only its sending half is broken: the other half tells when the hub closes the connection.
    let stream = ws.get_mut();
    tokio::io::AsyncWriteExt::shutdown(stream)
        .await
        .expect("it is shut");
    let mut rest = Vec::new();
    let gone = tokio::io::AsyncReadExt::read_to_end(stream, &mut rest);
    let gone = timeout(PATIENCE, gone).await.expect("the hub lets go");
    gone.expect("in order");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(!hub.calls().contains(&left(1, LeaveReason::Closed)));
    served.await.expect("it ends well");
    assert!(hub.calls().contains(&left(1, LeaveReason::Closed)));
}

#[tokio::test(start_paused = true)]
async fn who_breaks_off_again_and_again_pushes_out_no_id_of_a_neighbour_that_stood_for_longer() {
    let hub = Hub::new();
    let mut victim = hub.connect_peerjs_with_secret(1).await;
    assert_eq!(victim.next().await["type"], "OPEN");
    tokio::time::advance(Duration::from_millis(10)).await;
    // There is space for a hundred.
    for round in 0..3 {
        let mut crowd = Vec::new();
        for id in 0..60 {
            let mut client = hub.connect_peerjs_with_secret(2 + round * 60 + id).await;
            assert_eq!(client.next().await["type"], "OPEN");
            crowd.push(client);
        }
        for client in crowd {
            drop(client.ws);
        }
        settle().await;
    }
    drop(victim.ws);
    settle().await;
    let gave_way = |hub: &Hub| {
        let calls = hub.calls().into_iter();
        calls.filter(|c| matches!(c, Call::Leave { .. })).count()
    };
    assert_eq!(gave_way(&hub), 181 - 100);
    assert!(!hub.calls().contains(&left(1, LeaveReason::Closed)));
    tokio::time::advance(Duration::from_secs(3)).await;
    settle().await;
    assert_eq!(gave_way(&hub), 181);
}
