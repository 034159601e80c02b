//! Signals on links that fail: each signal arrives once and in order, or its sender is told.

use hubmesh_client::{Event, SignalKind};

use crate::hub_process::HubProcess;
use crate::peer::{Handed, Peer};
use crate::proxy::Proxy;
use crate::stage::{all_linked, eventually, known_hubs, shaped, sound};

/// Two hubs with a peer on each, and the wire between the hubs.
struct Pair {
    hubs: [HubProcess; 2],
    wire: Proxy,
    peers: [Peer; 2],
}

impl Pair {
    async fn with_hold(ms: u32) -> Self {
        let hub = || shaped().env("MESH_HOLD_MS", ms.to_string());
        let first = hub().start().await;
        let wire = Proxy::to(first.addr).await;
        let second = hub().env("BOOTSTRAP_HUBS", wire.ws_url()).start().await;
        all_linked(&[&first, &second]).await;
        let peers = [
            Peer::join(&first, "signals").await,
            Peer::join(&second, "signals").await,
        ];
        peers[0].sees(&peers[1].id).await;
        peers[1].sees(&peers[0].id).await;
        Self {
            hubs: [first, second],
            wire,
            peers,
        }
    }

    /// Both peers send each other `count` candidates, numbered from `start`.
    async fn talk(&self, start: usize, count: usize) {
        let [one, other] = &self.peers;
        for number in start..start + count {
            let data = number.to_string();
            one.signal(SignalKind::IceCandidate, &other.id, &data).await;
            other.signal(SignalKind::IceCandidate, &one.id, &data).await;
        }
        one.fence().await;
        other.fence().await;
    }

    async fn are_apart(&self) {
        for hub in &self.hubs {
            eventually("no way between them", async || {
                known_hubs(hub).await.is_empty()
            })
            .await;
        }
    }

    async fn are_linked(&self) {
        all_linked(&[&self.hubs[0], &self.hubs[1]]).await;
    }
}

fn numbers(signals: &[Handed]) -> Vec<usize> {
    let numbers = signals.iter().map(|signal| signal.data.parse());
    numbers
        .collect::<Result<_, _>>()
        .expect("numbers were sent")
}

/// The link fails three times while signals are under way, and each time it is back within the hold.
async fn nothing_is_lost_or_repeated(fail: impl Fn(&Proxy)) {
    let pair = Pair::with_hold(60_000).await;
    for round in 0..3 {
        pair.talk(round * 40, 20).await;
        fail(&pair.wire);
        pair.talk(round * 40 + 20, 20).await;
        pair.are_apart().await;
        pair.wire.heal();
        pair.are_linked().await;
    }
    let expected: Vec<usize> = (0..120).collect();
    for peer in &pair.peers {
        assert_eq!(numbers(&peer.receives(120).await), expected);
    }
    pair.talk(120, 1).await;
    for peer in &pair.peers {
        assert_eq!(
            numbers(&peer.receives(121).await),
            (0..121).collect::<Vec<_>>()
        );
        let unwanted =
            |event: &Event| matches!(event, Event::Error { .. } | Event::Disconnected { .. });
        assert!(!peer.log().iter().any(unwanted), "{peer:?}");
    }
    sound(&[&pair.hubs[0], &pair.hubs[1]]).await;
}

#[tokio::test]
async fn signals_under_way_on_a_link_that_is_cut_arrive_once_and_in_order_by_the_next() {
    nothing_is_lost_or_repeated(Proxy::cut).await;
}

#[tokio::test]
async fn signals_that_a_dead_link_swallowed_arrive_once_and_in_order_by_the_next() {
    nothing_is_lost_or_repeated(Proxy::stall).await;
}

#[tokio::test]
async fn a_sender_is_told_of_each_signal_that_was_under_way_to_a_hub_that_does_not_come_back() {
    let mut pair = Pair::with_hold(2_000).await;
    pair.wire.stall();
    pair.talk(0, 20).await;
    pair.hubs[1].kill9().await;
    let [sender, lost] = &pair.peers;
    // Each signal may have arrived: the hub that could say so is dead.
    sender.is_told("unknown", 20).await;
    assert_eq!(sender.loses(&lost.id).await, "hub-lost");
    sender.fence().await;
    assert_eq!(sender.complaints("unknown"), 20);
    assert!(lost.signals().is_empty());
}
