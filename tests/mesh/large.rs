//! Networks of more peers than one peer is told of.

use std::collections::BTreeSet;

use hubmesh_client::{PeerId, SignalKind};

use crate::hub_process::HubProcess;
use crate::peer::Peer;
use crate::stage::{all_linked, eventually};

const LIMIT: usize = 8;

async fn pair() -> [HubProcess; 2] {
    let limit = LIMIT.to_string();
    let first = HubProcess::builder()
        .env("DISCOVERY_LIMIT", &limit)
        .start()
        .await;
    let second = first
        .neighbour()
        .env("DISCOVERY_LIMIT", &limit)
        .start()
        .await;
    all_linked(&[&first, &second]).await;
    [first, second]
}

async fn crowd(hubs: &[HubProcess; 2], size: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for number in 0..size {
        peers.push(Peer::join(&hubs[number % 2], "crowd").await);
    }
    peers
}

#[tokio::test]
async fn in_a_large_network_a_newcomer_learns_of_a_few_and_can_still_reach_everybody() {
    let hubs = pair().await;
    let peers = crowd(&hubs, 40).await;
    let newest = &peers[39];
    assert!((1..=LIMIT).contains(&newest.roster().len()), "{newest:?}");
    for (index, peer) in peers.iter().enumerate() {
        // The target may be known or unknown to the sender, and on either hub: it makes no difference.
        let to = &peers[(index + 17) % 40];
        let word = format!(r#""from {index}""#);
        peer.signal(SignalKind::Offer, &to.id, &word).await;
        assert_eq!(to.receives(1).await[0].data, word);
    }
    let told: usize = peers.iter().map(|peer| peer.roster().len()).sum();
    assert!(
        told < 40 * 39 / 2,
        "as if there were no limit: {told} of {}",
        40 * 39
    );
    assert!(peers.iter().all(|peer| !peer.roster().contains(peer.id())));
}

#[tokio::test]
async fn in_a_large_network_nobody_is_left_with_a_peer_that_is_gone() {
    let hubs = pair().await;
    let mut peers = crowd(&hubs, 40).await;
    // `Peer` replays its events, and checks that the joins and leaves of each other peer alternate.
    for round in 0..3 {
        let leaving: Vec<Peer> = peers.drain(..10).collect();
        let gone: BTreeSet<String> = leaving.iter().map(|peer| peer.id().to_owned()).collect();
        let back: Vec<PeerId> = leaving.iter().take(5).map(|peer| peer.id.clone()).collect();
        drop(leaving);
        for peer in &peers {
            eventually("nobody who left is on a roster", async || {
                peer.roster().is_disjoint(&gone)
            })
            .await;
        }
        for (number, id) in back.into_iter().enumerate() {
            peers.push(Peer::join_as(&hubs[(number + round) % 2], "crowd", id).await);
        }
        peers.extend(crowd(&hubs, 5).await);
    }
    let here: BTreeSet<String> = peers.iter().map(|peer| peer.id().to_owned()).collect();
    for peer in &peers {
        peer.fence().await;
        assert!(peer.roster().is_subset(&here), "{peer:?}");
        // A peer that lost all the peers that it knew is told of others in their place.
        eventually("nobody is alone in a crowd", async || {
            !peer.roster().is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn a_network_that_becomes_small_again_is_known_whole_to_everybody() {
    let hubs = pair().await;
    let mut peers = crowd(&hubs, 24).await;
    peers.truncate(4);
    for peer in &peers {
        let others: BTreeSet<String> = peers
            .iter()
            .filter(|other| other.id != peer.id)
            .map(|other| other.id().to_owned())
            .collect();
        eventually("all that are left", async || peer.roster() == others).await;
    }
}
