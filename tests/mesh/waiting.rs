//! Signals for ids that no peer holds: they wait until a peer joins with the id at any hub, or their sender is told.

use hubmesh_client::{Event, PeerId, SignalKind};

use crate::hub_process::HubProcess;
use crate::peer::{Handed, Peer};
use crate::stage::{all_linked, metric_reaches};

#[tokio::test]
async fn an_offer_and_its_candidates_wait_for_a_target_that_connects_on_another_hub() {
    let first = HubProcess::builder()
        .env("SIGNAL_WAIT_MS", "30000")
        .start()
        .await;
    let second = first.neighbour().start().await;
    let third = second.neighbour().start().await;
    all_linked(&[&first, &second, &third]).await;
    let sender = Peer::join(&first, "waiting").await;
    let expected_id = PeerId::random();
    let mut sent = vec![(SignalKind::Offer, r#"{"sdp":"v=0"}"#.to_owned())];
    sent.extend((0..9).map(|n| (SignalKind::IceCandidate, format!(r#"{{"candidate":{n}}}"#))));
    for (kind, data) in &sent {
        sender.signal(*kind, &expected_id, data).await;
    }
    sender.fence().await;
    metric_reaches(&first, "hubmesh_signals_waiting", &[], 10.0).await;

    let target = Peer::join_as(&third, "waiting", expected_id).await;
    let expected: Vec<Handed> = sent
        .into_iter()
        .map(|(kind, data)| Handed {
            kind,
            from: sender.id().to_owned(),
            data,
        })
        .collect();
    assert_eq!(target.receives(10).await, expected);
    target
        .signal(SignalKind::Answer, &sender.id, r#"{"sdp":"v=0"}"#)
        .await;
    assert_eq!(sender.receives(1).await[0].kind, SignalKind::Answer);
    sender.fence().await;
    assert!(
        !sender
            .log()
            .iter()
            .any(|event| matches!(event, Event::Error { .. }))
    );
}

#[tokio::test]
async fn the_sender_is_told_once_of_each_signal_whose_target_never_comes() {
    let first = HubProcess::builder()
        .env("SIGNAL_WAIT_MS", "700")
        .start()
        .await;
    let second = first.neighbour().start().await;
    all_linked(&[&first, &second]).await;
    let sender = Peer::join(&first, "in vain").await;
    let (nobody, nobody_else) = (PeerId::random(), PeerId::random());
    for _ in 0..3 {
        sender.signal(SignalKind::IceCandidate, &nobody, "1").await;
    }
    sender.fence().await;
    assert_eq!(sender.complaints("no-such-peer"), 0);
    sender.is_told("no-such-peer", 3).await;
    // If the sender were told of one of them twice, this would happen before the failure of this later signal.
    sender.signal(SignalKind::Offer, &nobody_else, "2").await;
    sender.until("the last failure", |log| {
        let names = |event: &&Event| matches!(event, Event::Error { text, .. } if text.contains(nobody_else.as_str()));
        log.iter().find(names).map(|_| ())
    })
    .await;
    assert_eq!(sender.complaints("no-such-peer"), 4);

    // A peer that joins too late gets none of these signals.
    let late = Peer::join_as(&second, "in vain", nobody).await;
    late.sees(&sender.id).await;
    sender
        .signal(SignalKind::Offer, &late.id, r#""in time""#)
        .await;
    assert_eq!(late.receives(1).await[0].data, r#""in time""#);
    assert_eq!(late.signals().len(), 1);
}

#[tokio::test]
async fn what_waits_for_the_peer_of_a_dead_hub_reaches_it_where_it_comes_back() {
    let mut first = HubProcess::start().await;
    let second = first
        .neighbour()
        .env("SIGNAL_WAIT_MS", "30000")
        .start()
        .await;
    all_linked(&[&first, &second]).await;
    let sender = Peer::join(&second, "come back").await;
    let lost = Peer::join(&first, "come back").await;
    sender.sees(&lost.id).await;
    first.kill9().await;
    sender.loses(&lost.id).await;

    sender
        .signal(SignalKind::Offer, &lost.id, r#""where are you?""#)
        .await;
    metric_reaches(&second, "hubmesh_signals_waiting", &[], 1.0).await;
    let back = Peer::join_as(&second, "come back", lost.id.clone()).await;
    assert_eq!(back.receives(1).await[0].data, r#""where are you?""#);
}
