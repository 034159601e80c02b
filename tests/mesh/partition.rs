//! A mesh in two halves that do not know of each other, and the rosters of all peers once it is whole again.

use std::collections::BTreeSet;

use hubmesh_client::{Event, PeerId};

use crate::hub_process::HubProcess;
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::stage::{all_linked, eventually, known_hubs, shaped, sound};

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

/// Waits until each of these peers knows all the others and no other peer. `Peer` replays its events, and checks that
/// no peer joins twice, or leaves without having joined.
async fn all_agree(peers: &[&Peer]) {
    let ids: BTreeSet<String> = peers.iter().map(|peer| peer.id().to_owned()).collect();
    for peer in peers {
        let mut others = ids.clone();
        others.remove(peer.id());
        let what = format!("{} knows who is there", peer.id);
        eventually(&what, async || peer.roster() == others).await;
    }
}

/// The peers before the mesh falls apart: on each hub one peer that stays, and others that leave or move.
struct Cast {
    stayers: Vec<Peer>,
    leaver: Peer,
    dropper: Peer,
    moves_within: Peer,
    moves_across: Peer,
    comes_back: Peer,
}

/// The peers when the halves are linked again.
struct Sides {
    left: Vec<Peer>,
    right: Vec<Peer>,
}

impl Cast {
    async fn on(halves: &Halves) -> Self {
        let Halves { left, right, .. } = halves;
        let mut stayers = Vec::new();
        for hub in left.iter().chain(right) {
            stayers.push(Peer::join(hub, NETWORK).await);
        }
        let cast = Self {
            stayers,
            leaver: Peer::join(&left[1], NETWORK).await,
            dropper: Peer::join(&right[1], NETWORK).await,
            moves_within: Peer::join(&left[0], NETWORK).await,
            moves_across: Peer::join(&left[2], NETWORK).await,
            comes_back: Peer::join(&right[2], NETWORK).await,
        };
        let mut everybody: Vec<&Peer> = cast.stayers.iter().collect();
        everybody.extend([&cast.leaver, &cast.dropper, &cast.moves_within]);
        everybody.extend([&cast.moves_across, &cast.comes_back]);
        all_agree(&everybody).await;
        cast
    }

    /// Checks that the peers of each side have lost those of the other.
    async fn is_apart(&self) {
        for (one, other) in self.stayers[..3].iter().zip(&self.stayers[3..]) {
            assert_eq!(one.loses(&other.id).await, "hub-lost");
            assert_eq!(other.loses(&one.id).await, "hub-lost");
        }
    }

    /// Peers leave, move, come back and join for the first time, on both sides.
    async fn live_on(self, halves: &Halves) -> Sides {
        let Halves { left, right, .. } = halves;
        let (within, across, back) = (
            self.moves_within.id.clone(),
            self.moves_across.id.clone(),
            self.comes_back.id.clone(),
        );
        self.leaver.goodbye().await;
        drop((self.dropper, self.moves_within));
        drop((self.moves_across, self.comes_back));
        self.stayers[0].loses(&within).await;
        self.stayers[2].loses(&across).await;
        self.stayers[4].loses(&back).await;
        let mut on_left = self.stayers;
        let mut on_right = on_left.split_off(3);
        on_left.push(Peer::join_as(&left[2], NETWORK, within).await);
        on_left.push(Peer::join(&left[0], NETWORK).await);
        on_right.push(Peer::join_as(&right[0], NETWORK, across).await);
        on_right.push(Peer::join_as(&right[2], NETWORK, back).await);
        on_right.push(Peer::join(&right[1], NETWORK).await);
        all_agree(&on_left.iter().collect::<Vec<_>>()).await;
        all_agree(&on_right.iter().collect::<Vec<_>>()).await;
        Sides {
            left: on_left,
            right: on_right,
        }
    }
}

/// Peers join, leave and move on both sides while the wires are down. Then the wires work again, and the mesh is whole.
async fn life_goes_on_in_both_halves(part: impl Fn(&Proxy)) {
    let halves = Halves::whole().await;
    let cast = Cast::on(&halves).await;
    halves.wires.iter().for_each(&part);
    halves.are_two().await;
    cast.is_apart().await;
    let sides = cast.live_on(&halves).await;

    halves.wires.iter().for_each(Proxy::heal);
    halves.are_one().await;
    let everybody: Vec<&Peer> = sides.left.iter().chain(&sides.right).collect();
    all_agree(&everybody).await;
    for one in &sides.left {
        for other in &sides.right {
            one.reaches(other, r#""from the left""#).await;
            other.reaches(one, r#""from the right""#).await;
        }
    }
    for peer in everybody {
        peer.fence().await;
        let complaint = |event: &Event| matches!(event, Event::Error { .. });
        assert!(!peer.log().iter().any(complaint), "{peer:?}");
    }
    let hubs: Vec<&HubProcess> = halves.left.iter().chain(&halves.right).collect();
    sound(&hubs).await;
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
        watcher.reaches(winner, r#""the one and only""#).await;
        winner.reaches(watcher, r#""I am""#).await;
    }
    assert!(winner.is_open());
    assert!(loser.signals().is_empty());
}
