//! A hub that is told to stop: it refuses newcomers, sends its peers away in turn, and tells the other hubs.

use std::time::Duration;

use http::StatusCode;
use hubmesh_client::{ConnectError, Event, PeerId, SignalKind};
use tokio::time::Instant;

use crate::hub_process::HubProcess;
use crate::peer::{Peer, way_to};
use crate::stage::{Site, all_linked, eventually, known_hubs, sound};

/// A hub that is about to drain, with some peers, and a linked hub with a peer that sees them.
struct Scene {
    stays: HubProcess,
    goes: HubProcess,
    watcher: Peer,
    peers: Vec<Peer>,
}

impl Scene {
    async fn set(drain_ms: &str, peers: usize) -> Self {
        let stays = HubProcess::start().await;
        let goes = stays.neighbour().env("DRAIN_MS", drain_ms).start().await;
        all_linked(&[&stays, &goes]).await;
        let watcher = Peer::join(&stays, "drain").await;
        let mut scene = Scene {
            stays,
            goes,
            watcher,
            peers: Vec::new(),
        };
        for _ in 0..peers {
            scene.peers.push(Peer::join(&scene.goes, "drain").await);
        }
        for peer in &scene.peers {
            scene.watcher.sees(&peer.id).await;
        }
        scene
    }

    async fn first_is_sent_away(&self) {
        let one_is_gone = async || self.peers.iter().any(|peer| !peer.is_open());
        eventually("the first is sent away", one_is_gone).await;
    }
}

/// `/health` says that the hub `goes` drains, the hub `stays` knows it, and a newcomer is refused.
async fn says_that_it_drains(goes: &HubProcess, stays: &HubProcess) {
    eventually("it says that it drains", async || {
        let health = goes.http_get("/health").await;
        health.status == StatusCode::SERVICE_UNAVAILABLE && health.json()["status"] == "draining"
    })
    .await;
    eventually("the other hub knows that it drains", async || {
        let known = stays.http_get("/hubs").await.json();
        known["hubs"][0]["draining"] == true
    })
    .await;
    let refused = Peer::connect(&way_to(goes, &PeerId::random()), "drain").await;
    let refused = refused.expect_err("nobody is let in any more");
    let full = StatusCode::SERVICE_UNAVAILABLE;
    assert!(
        matches!(refused, ConnectError::Refused { status, .. } if status == full),
        "{refused}"
    );
}

#[tokio::test]
async fn a_hub_that_drains_sends_its_peers_away_in_turn_and_the_mesh_sees_them_leave() {
    let scene = Scene::set("6000", 3).await;
    scene.goes.terminate();
    says_that_it_drains(&scene.goes, &scene.stays).await;
    scene.first_is_sent_away().await;
    let Scene {
        stays,
        mut goes,
        watcher,
        peers,
    } = scene;
    // The other peers are served as before until their turn.
    let last = peers
        .iter()
        .rfind(|peer| peer.is_open())
        .expect("not all at once");
    watcher
        .signal(SignalKind::Offer, &last.id, r#""still there?""#)
        .await;
    assert_eq!(last.receives(1).await[0].data, r#""still there?""#);
    for peer in &peers {
        assert_eq!(
            peer.is_closed().await,
            (1012, "The hub is restarting".to_owned())
        );
        assert_eq!(watcher.loses(&peer.id).await, "hub-draining");
    }
    assert_eq!(goes.wait_exit().await.code(), Some(0));
    eventually("it is listed no more", async || {
        known_hubs(&stays).await.is_empty()
    })
    .await;
    watcher.fence().await;
    let told = |event: &&Event| matches!(event, Event::Disconnected { .. });
    assert_eq!(watcher.log().iter().filter(told).count(), 3, "{watcher:?}");
}

#[tokio::test]
async fn a_peer_that_is_sent_away_is_reached_at_the_hub_that_it_turns_to() {
    let Scene {
        stays,
        mut goes,
        watcher,
        peers,
    } = Scene::set("0", 1).await;
    let [sent_away] = peers.as_slice() else {
        panic!("one peer");
    };
    goes.terminate();
    assert_eq!(sent_away.is_closed().await.0, 1012);

    let back = Peer::join_as(&stays, "drain", sent_away.id.clone()).await;
    watcher.sees(&back.id).await;
    watcher
        .signal(SignalKind::Offer, &back.id, r#""again""#)
        .await;
    assert_eq!(back.receives(1).await[0].data, r#""again""#);
    assert_eq!(goes.wait_exit().await.code(), Some(0));
    watcher.sees(&back.id).await;
}

#[tokio::test]
async fn a_second_signal_ends_a_hub_that_drains_at_once() {
    let mut scene = Scene::set("600000", 3).await;
    let began = Instant::now();
    scene.goes.terminate();
    scene.first_is_sent_away().await;
    scene.goes.terminate();
    assert_eq!(scene.goes.wait_exit().await.code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(60));
    for peer in &scene.peers {
        peer.is_closed().await;
        scene.watcher.loses(&peer.id).await;
    }
}

#[tokio::test]
async fn a_mesh_whose_hubs_are_replaced_one_after_the_other_loses_nobody() {
    let [first, second, third] = [Site::new().await, Site::new().await, Site::new().await];
    let urls = [first.url(), second.url(), third.url()].join(",");
    let mut sites = [first, second, third].map(|site| {
        let site = site.env("DRAIN_MS", "200");
        site.env("BOOTSTRAP_HUBS", urls.as_str())
    });
    for site in &mut sites {
        site.start().await;
    }
    all_linked(&[&sites[0], &sites[1], &sites[2]]).await;
    let mut peers = Vec::new();
    for site in &sites {
        for _ in 0..2 {
            peers.push(Peer::join(site, "rolling").await);
        }
    }
    for turn in 0..3 {
        sites[turn].retire().await;
        // A peer that was sent away connects to another hub, as clients do.
        let other = &sites[(turn + 1) % 3];
        for peer in &mut peers {
            if !peer.is_open() {
                assert_eq!(peer.is_closed().await.0, 1012);
                *peer = Peer::join_as(other, "rolling", peer.id.clone()).await;
            }
        }
        sites[turn].start().await;
        all_linked(&[&sites[0], &sites[1], &sites[2]]).await;
        everybody_hears_everybody(&peers, &format!("\"round {turn}\"")).await;
    }
    sound(&[&sites[0], &sites[1], &sites[2]]).await;
}

/// Each peer knows all the others, and `word` from each peer reaches each of the others once.
async fn everybody_hears_everybody(peers: &[Peer], word: &str) {
    for peer in peers {
        for other in peers.iter().filter(|other| other.id != peer.id) {
            peer.sees(&other.id).await;
            peer.signal(SignalKind::Offer, &other.id, word).await;
        }
    }
    for peer in peers {
        let heard = |log: &[Event]| {
            let of_word = log
                .iter()
                .filter(|event| matches!(event, Event::Signal { data, .. } if data.get() == word));
            of_word.count()
        };
        peer.until("a signal from everybody", |log| {
            (heard(log) >= peers.len() - 1).then_some(())
        })
        .await;
        peer.fence().await;
        assert_eq!(heard(&peer.log()), peers.len() - 1, "{peer:?}");
        assert_eq!(peer.roster().len(), peers.len() - 1, "{peer:?}");
    }
}
