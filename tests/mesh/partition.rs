//! A mesh in two halves that do not know of each other, and what everybody knows once it is whole again.

use std::collections::BTreeSet;

use hubmesh::client::{Event, PeerId, SignalKind};

use crate::{
    hub_process::HubProcess,
    peer::Peer,
    proxy::Proxy,
    stage::{all_linked, eventually, known_hubs, shaped, sound},
};

const NETWORK: &str = "halves";

/// Six hubs: a chain of three on each side, and two wires between the sides.
struct Halves {
    left: [HubProcess; 3],
    right: [HubProcess; 3],
    wires: [Proxy; 2],
}

impl Halves {
    async fn whole() -> Self {
        let left = chain().await;
        let wires = [Proxy::to(left[0].addr).await, Proxy::to(left[2].addr).await];
        let first = shaped()
            .env("BOOTSTRAP_HUBS", wires[0].ws_url())
            .start()
            .await;
        let second = shaped().env("BOOTSTRAP_HUBS", first.ws_url()).start().await;
        let bootstrap = format!("{},{}", second.ws_url(), wires[1].ws_url());
        let third = shaped().env("BOOTSTRAP_HUBS", bootstrap).start().await;
        let right = [first, second, third];
        let halves = Self { left, right, wires };
        halves.are_one().await;
        halves
    }

    async fn are_one(&self) {
        let hubs: Vec<&HubProcess> = self.left.iter().chain(&self.right).collect();
        all_linked(&hubs).await;
    }

    async fn are_two(&self) {
        for hub in self.left.iter().chain(&self.right) {
            eventually("one half only", async || known_hubs(hub).await.len() == 2).await;
        }
    }
}

/// Three hubs, each linked to the one before it.
async fn chain() -> [HubProcess; 3] {
    let first = shaped().start().await;
    let second = shaped().env("BOOTSTRAP_HUBS", first.ws_url()).start().await;
    let third = shaped()
        .env("BOOTSTRAP_HUBS", second.ws_url())
        .start()
        .await;
    [first, second, third]
}

/// Waits until each of these peers knows all the others and nobody else. That nobody was told of twice, or lost
/// without having been there, the replay of what each was told has checked.
async fn all_agree(peers: &[&Peer]) {
    let ids: BTreeSet<String> = peers.iter().map(|peer| peer.id().to_owned()).collect();
    for peer in peers {
        let mut others = ids.clone();
        others.remove(peer.id());
        let what = format!("{} knows who is there", peer.id);
        eventually(&what, async || peer.roster() == others).await;
    }
}

async fn reaches(from: &Peer, to: &Peer, word: &str) {
    let before = to.signals().len();
    from.signal(SignalKind::Offer, &to.id, word).await;
    let last = to.receives(before + 1).await.pop().expect("one at least");
    assert_eq!((last.from.as_str(), last.data.as_str()), (from.id(), word));
}

/// Peers join, leave and move on both sides while the wires are down; then all is one again.
async fn life_goes_on_in_both_halves(part: impl Fn(&Proxy)) {
    let halves = Halves::whole().await;
    let (left, right) = (&halves.left, &halves.right);
    let mut stayers = Vec::new();
    for hub in left.iter().chain(right) {
        stayers.push(Peer::join(hub, NETWORK).await);
    }
    let leaver = Peer::join(&left[1], NETWORK).await;
    let dropper = Peer::join(&right[1], NETWORK).await;
    let mover_within = Peer::join(&left[0], NETWORK).await;
    let mover_across = Peer::join(&left[2], NETWORK).await;
    let comes_and_goes = Peer::join(&right[2], NETWORK).await;
    let mut everybody: Vec<&Peer> = stayers.iter().collect();
    everybody.extend([
        &leaver,
        &dropper,
        &mover_within,
        &mover_across,
        &comes_and_goes,
    ]);
    all_agree(&everybody).await;

    halves.wires.iter().for_each(&part);
    halves.are_two().await;
    for (one, other) in stayers[..3].iter().zip(&stayers[3..]) {
        assert_eq!(one.loses(&other.id).await, "hub-lost");
        assert_eq!(other.loses(&one.id).await, "hub-lost");
    }

    let (within, across, again) = (
        mover_within.id.clone(),
        mover_across.id.clone(),
        comes_and_goes.id.clone(),
    );
    leaver.goodbye().await;
    drop((dropper, mover_within, mover_across, comes_and_goes));
    stayers[0].loses(&within).await;
    stayers[2].loses(&across).await;
    stayers[4].loses(&again).await;
    let within = Peer::join_as(&left[2], NETWORK, within).await;
    let across = Peer::join_as(&right[0], NETWORK, across).await;
    let again = Peer::join_as(&right[2], NETWORK, again).await;
    let born = [
        Peer::join(&left[0], NETWORK).await,
        Peer::join(&right[1], NETWORK).await,
    ];
    let mut on_left: Vec<&Peer> = stayers[..3].iter().collect();
    on_left.extend([&within, &born[0]]);
    let mut on_right: Vec<&Peer> = stayers[3..].iter().collect();
    on_right.extend([&across, &again, &born[1]]);
    all_agree(&on_left).await;
    all_agree(&on_right).await;

    halves.wires.iter().for_each(Proxy::heal);
    halves.are_one().await;
    let everybody: Vec<&Peer> = on_left.iter().chain(&on_right).copied().collect();
    all_agree(&everybody).await;
    for one in &on_left {
        for other in &on_right {
            reaches(one, other, r#""from the left""#).await;
            reaches(other, one, r#""from the right""#).await;
        }
    }
    let hubs: Vec<&HubProcess> = left.iter().chain(right).collect();
    sound(&hubs).await;
    for peer in everybody {
        peer.fence().await;
        assert!(
            !peer
                .log()
                .iter()
                .any(|event| matches!(event, Event::Error { .. })),
            "{peer:?}"
        );
    }
}

#[tokio::test]
async fn two_halves_that_were_cut_apart_agree_on_everybody_once_they_are_one_again() {
    life_goes_on_in_both_halves(Proxy::cut).await;
}

#[tokio::test]
async fn two_halves_whose_wires_swallowed_everything_agree_on_everybody_once_they_are_one_again() {
    life_goes_on_in_both_halves(Proxy::stall).await;
}

#[tokio::test]
async fn an_id_that_lives_on_both_sides_is_one_connection_again_once_the_halves_are_one() {
    let halves = Halves::whole().await;
    let watchers = [
        Peer::join(&halves.left[1], NETWORK).await,
        Peer::join(&halves.right[1], NETWORK).await,
    ];
    all_agree(&[&watchers[0], &watchers[1]]).await;
    halves.wires.iter().for_each(Proxy::cut);
    halves.are_two().await;
    watchers[0].loses(&watchers[1].id).await;
    watchers[1].loses(&watchers[0].id).await;
    let id = PeerId::random();
    let twins = [
        Peer::join_as(&halves.left[0], NETWORK, id.clone()).await,
        Peer::join_as(&halves.right[2], NETWORK, id.clone()).await,
    ];
    watchers[0].sees(&id).await;
    watchers[1].sees(&id).await;

    halves.wires.iter().for_each(Proxy::heal);
    let (loser, winner) = tokio::select! {
        _ = twins[0].is_closed() => (&twins[0], &twins[1]),
        _ = twins[1].is_closed() => (&twins[1], &twins[0]),
    };
    assert_eq!(loser.is_closed().await.0, 1008);
    assert_eq!(loser.complaints("superseded"), 1, "{loser:?}");
    all_agree(&[&watchers[0], &watchers[1], winner]).await;
    for watcher in &watchers {
        reaches(watcher, winner, r#""the one and only""#).await;
        reaches(winner, watcher, r#""I am""#).await;
    }
    assert!(winner.is_open());
    assert!(loser.signals().is_empty());
}
