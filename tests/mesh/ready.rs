//! `/ready`, for a proxy in front of the mesh: when a hub accepts peers, and when it no longer does.

use std::time::Duration;

use http::StatusCode;

use crate::hub_process::{HubProcess, nobody};
use crate::peer::Peer;
use crate::stage::{eventually, known_hubs};

/// Longer than any test: a timeout or a pause of this length does not end while a test runs.
const FOR_EVER: &str = "600000";

async fn is_ready(hub: &HubProcess) -> bool {
    hub.http_get("/ready").await.status == StatusCode::OK
}

async fn becomes_ready(hub: &HubProcess) {
    eventually("the hub is ready", async || is_ready(hub).await).await;
}

#[tokio::test]
async fn a_hub_that_is_ready_knows_the_peers_of_the_mesh() {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    let mut peers = Vec::new();
    for hub in [&first, &first, &second] {
        peers.push(Peer::join(hub, "ready").await);
    }
    let newcomer = second.neighbour().env("READY_TIMEOUT_MS", FOR_EVER);
    let newcomer = newcomer.start().await;
    becomes_ready(&newcomer).await;
    let health = newcomer.http_get("/health").await.json();
    assert_eq!((&health["hubs"], &health["peers"]), (&2.into(), &3.into()));
}

#[tokio::test]
async fn a_hub_that_reaches_no_other_is_ready_after_a_while() {
    let (_kept, address) = nobody();
    let alone = HubProcess::builder()
        .env("BOOTSTRAP_HUBS", format!("ws://{address}"))
        .env("READY_TIMEOUT_MS", "3000");
    let alone = alone.start().await;
    let answer = alone.http_get("/ready").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["status"], "no-link");
    becomes_ready(&alone).await;
}

/// While a hub pauses before its drain, all except `/ready` is as before.
async fn is_as_before(goes: &HubProcess, stays: &HubProcess, peer: &Peer) {
    assert_eq!(goes.http_get("/health").await.status, StatusCode::OK);
    let newcomer = Peer::join(goes, "pause").await;
    newcomer.reaches(peer, r#""let in""#).await;
    let known = stays.http_get("/hubs").await.json();
    assert_eq!(known["hubs"][0]["draining"], false);
}

#[tokio::test]
async fn a_drain_tells_those_who_ask_for_ready_first_and_gives_them_time() {
    let stays = HubProcess::start().await;
    let goes = stays.neighbour().env("DRAIN_MS", "0");
    let mut goes = goes.env("DRAIN_PAUSE_MS", FOR_EVER).start().await;
    becomes_ready(&goes).await;
    let peer = Peer::join(&goes, "pause").await;
    goes.terminate();
    eventually("it is ready no more", async || !is_ready(&goes).await).await;
    is_as_before(&goes, &stays, &peer).await;
    goes.terminate();
    assert_eq!(goes.wait_exit().await.code(), Some(130));
    peer.is_closed().await;
}

#[tokio::test]
async fn when_the_pause_is_over_the_drain_goes_on() {
    let mut hub = HubProcess::builder()
        .env("DRAIN_MS", "0")
        .env("DRAIN_PAUSE_MS", "300")
        .start()
        .await;
    assert!(is_ready(&hub).await);
    let peer = Peer::join(&hub, "pause").await;
    let told = tokio::time::Instant::now();
    hub.terminate();
    assert_eq!(peer.is_closed().await.0, 1012);
    assert!(told.elapsed() >= Duration::from_millis(300));
    assert_eq!(hub.wait_exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_hub_that_nobody_asks_whether_it_is_ready_does_not_pause() {
    let stays = HubProcess::start().await;
    let goes = stays.neighbour().env("DRAIN_MS", "0");
    let mut goes = goes.env("DRAIN_PAUSE_MS", FOR_EVER).start().await;
    let peer = Peer::join(&goes, "pause").await;
    goes.terminate();
    assert_eq!(peer.is_closed().await.0, 1012);
    assert_eq!(goes.wait_exit().await.code(), Some(0));
    eventually("it is listed no more", async || {
        known_hubs(&stays).await.is_empty()
    })
    .await;
}
