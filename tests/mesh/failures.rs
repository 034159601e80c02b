//! Hubs that die, hang and come back: the messages to the peers of other hubs, and that the mesh heals by itself.

use std::time::Duration;

use hubmesh_client::{Event, PeerId, SignalKind};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::peer::Peer;
use crate::stage::{Site, all_linked, direct_hubs, eventually, hub_id, known_hubs, shaped};

/// The loss of a hub is noticed within 5.5 s; the rest is for a machine under load.
const LOADED: Duration = Duration::from_secs(15);

/// Three sites in a row, each with a hub that is linked to the hub before it.
async fn row() -> [Site; 3] {
    let first = Site::configured(shaped()).await;
    let second = Site::configured(shaped()).await.bootstrap(&[&first]);
    let third = Site::configured(shaped()).await.bootstrap(&[&second]);
    let mut row = [first, second, third];
    for site in &mut row {
        site.start().await;
    }
    all_linked(&[&row[0], &row[1], &row[2]]).await;
    row
}

#[tokio::test]
async fn the_peers_of_a_killed_hub_are_gone_for_everybody_and_it_is_listed_no_more() {
    let mut row = row().await;
    let lost = [
        Peer::join(&row[2], "kill").await,
        Peer::join(&row[2], "kill").await,
    ];
    let watchers = [
        Peer::join(&row[0], "kill").await,
        Peer::join(&row[1], "kill").await,
    ];
    for watcher in &watchers {
        for peer in &lost {
            watcher.sees(&peer.id).await;
        }
    }
    let (dead, survivors) = (
        hub_id(&row[2]).await,
        [hub_id(&row[0]).await, hub_id(&row[1]).await],
    );
    row[2].kill().await;
    let killed = Instant::now();
    for watcher in &watchers {
        for peer in &lost {
            assert_eq!(watcher.loses(&peer.id).await, "hub-lost");
        }
    }
    assert!(killed.elapsed() < LOADED);
    for (site, other) in [(&row[0], &survivors[1]), (&row[1], &survivors[0])] {
        eventually("only the living are listed", async || {
            known_hubs(site).await.into_iter().eq([other.clone()])
        })
        .await;
    }
    assert!(!known_hubs(&row[0]).await.contains(&dead));
    for watcher in &watchers {
        watcher.fence().await;
        let told = |event: &&Event| matches!(event, Event::Disconnected { .. });
        assert_eq!(
            watcher.log().iter().filter(told).count(),
            lost.len(),
            "{watcher:?}"
        );
    }
    watchers[0].reaches(&watchers[1], r#""still here""#).await;
}

#[tokio::test]
async fn a_hub_that_hangs_is_given_up_and_welcome_again_when_it_goes_on() {
    let row = row().await;
    let watcher = Peer::join(&row[0], "hang").await;
    let bystander = Peer::join(&row[1], "hang").await;
    let hung = Peer::join(&row[2], "hang").await;
    watcher.sees(&hung.id).await;
    hung.sees(&watcher.id).await;

    row[2].signal(Signal::STOP);
    let stopped = Instant::now();
    assert_eq!(watcher.loses(&hung.id).await, "hub-lost");
    assert!(stopped.elapsed() < LOADED);
    assert_eq!(bystander.loses(&hung.id).await, "hub-lost");
    assert_eq!(known_hubs(&row[0]).await.len(), 1);

    row[2].signal(Signal::CONT);
    watcher.sees(&hung.id).await;
    bystander.sees(&hung.id).await;
    hung.sees(&watcher.id).await;
    watcher.reaches(&hung, r#""welcome back""#).await;
    hung.reaches(&watcher, r#""what happened?""#).await;
}

/// Kills the middle hub of three, which had the id `ids[0]`, and starts it again with `ids[1]`. Checks that the mesh is
/// whole again.
async fn the_middle_hub_restarts(ids: [&str; 2]) {
    let first = Site::configured(shaped()).await;
    let second = Site::configured(shaped())
        .await
        .bootstrap(&[&first])
        .env("HUB_ID", ids[0]);
    let third = Site::configured(shaped()).await.bootstrap(&[&second]);
    let [mut first, mut second, mut third] = [first, second, third];
    for site in [&mut first, &mut second, &mut third] {
        site.start().await;
    }
    all_linked(&[&first, &second, &third]).await;
    let ends = [
        Peer::join(&first, "restart").await,
        Peer::join(&third, "restart").await,
    ];
    let lost = Peer::join(&second, "restart").await;
    ends[0].sees(&ends[1].id).await;
    ends[1].sees(&ends[0].id).await;
    for end in &ends {
        end.sees(&lost.id).await;
    }

    second.kill().await;
    for end in &ends {
        end.loses(&lost.id).await;
    }
    assert_eq!(ends[0].loses(&ends[1].id).await, "hub-lost");
    let mut second = second.env("HUB_ID", ids[1]);
    second.start().await;
    all_linked(&[&first, &second, &third]).await;
    assert_eq!(hub_id(&second).await, ids[1]);
    let back = Peer::join_as(&second, "restart", lost.id.clone()).await;
    for end in &ends {
        end.sees(&back.id).await;
    }
    ends[0].sees(&ends[1].id).await;
    ends[1].sees(&ends[0].id).await;
    ends[0].reaches(&ends[1], r#""through the new life""#).await;
    ends[1].reaches(&back, r#""to the new life""#).await;
    back.reaches(&ends[0], r#""from the new life""#).await;
}

const IDS: [&str; 2] = [
    "1111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222",
];

#[tokio::test]
async fn a_hub_that_restarts_with_its_id_is_linked_again_and_shows_its_new_peers_only() {
    the_middle_hub_restarts([IDS[0], IDS[0]]).await;
}

#[tokio::test]
async fn a_hub_that_restarts_with_another_id_is_linked_again_and_shows_its_new_peers_only() {
    the_middle_hub_restarts(IDS).await;
}

#[tokio::test]
async fn a_hub_that_is_back_within_the_hold_is_not_taken_for_its_former_life() {
    let mut first = Site::configured(shaped().env("MESH_HOLD_MS", "60000")).await;
    first.start().await;
    let second = Site::configured(shaped())
        .await
        .bootstrap(&[&first])
        .env("HUB_ID", IDS[0]);
    let mut second = second;
    second.start().await;
    all_linked(&[&first, &second]).await;
    let watcher = Peer::join(&first, "rapid").await;
    let lost = Peer::join(&second, "rapid").await;
    watcher.sees(&lost.id).await;

    // Two restarts in a row: hubs tell an incarnation from the one before it without a clock.
    for _ in 0..2 {
        second.kill().await;
        second.start().await;
    }
    // The hold would keep the lost peer visible for a minute. The record of the new incarnation ends the hold.
    watcher.loses(&lost.id).await;
    let fresh = Peer::join(&second, "rapid").await;
    watcher.sees(&fresh.id).await;
    assert_eq!(watcher.roster().len(), 1);
    watcher.reaches(&fresh, r#""hello""#).await;
}

#[tokio::test]
async fn hubs_keep_each_other_while_their_bootstrap_hub_is_away_and_take_it_back() {
    let mut bootstrap = Site::new().await;
    bootstrap.start().await;
    let mut others = [
        Site::new().await.bootstrap(&[&bootstrap]),
        Site::new().await.bootstrap(&[&bootstrap]),
    ];
    for site in &mut others {
        site.start().await;
    }
    for site in &others {
        eventually("links besides the bootstrap", async || {
            direct_hubs(site).await.len() == 2
        })
        .await;
    }
    let peers = [
        Peer::join(&others[0], "away").await,
        Peer::join(&others[1], "away").await,
    ];
    peers[0].sees(&peers[1].id).await;
    peers[1].sees(&peers[0].id).await;
    let lost = Peer::join(&bootstrap, "away").await;
    peers[0].sees(&lost.id).await;

    bootstrap.kill().await;
    peers[0].loses(&lost.id).await;
    peers[0].reaches(&peers[1], r#""alone""#).await;
    let newcomer = Peer::join(&others[1], "away").await;
    peers[0].sees(&newcomer.id).await;

    bootstrap.start().await;
    all_linked(&[&bootstrap, &others[0], &others[1]]).await;
    let back = Peer::join_as(&bootstrap, "away", PeerId::random()).await;
    for peer in [&peers[0], &peers[1], &newcomer] {
        peer.sees(&back.id).await;
        back.sees(&peer.id).await;
    }
    let never =
        |event: &Event| matches!(event, Event::Disconnected { id, .. } if id == peers[1].id());
    assert!(!peers[0].log().iter().any(never), "{:?}", peers[0]);
}

#[tokio::test]
async fn a_link_that_is_lost_and_back_within_the_hold_goes_unnoticed() {
    let mut first = Site::configured(shaped().env("MESH_HOLD_MS", "30000")).await;
    first.start().await;
    let second = shaped()
        .env("MESH_HOLD_MS", "30000")
        .env("BOOTSTRAP_HUBS", first.url());
    let second = second.start().await;
    all_linked(&[&first, &second]).await;
    let one = Peer::join(&first, "blink").await;
    let other = Peer::join(&second, "blink").await;
    one.sees(&other.id).await;
    other.sees(&one.id).await;

    first.front.cut();
    eventually("the link is gone", async || {
        known_hubs(&first).await.is_empty()
    })
    .await;
    // The signal is accepted while the other hub is out of reach, and is sent on the next link.
    one.signal(SignalKind::Offer, &other.id, r#""patience""#)
        .await;
    first.front.heal();
    all_linked(&[&first, &second]).await;
    assert_eq!(other.receives(1).await[0].data, r#""patience""#);
    other.reaches(&one, r#""arrived""#).await;
    for peer in [&one, &other] {
        peer.fence().await;
        assert!(peer.lost_nobody(), "{peer:?}");
    }
}
