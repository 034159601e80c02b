//! The pages for orchestrators: `/live` and `/ready`.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::served::{PEER, Served};

/// A hub that is to be part of a mesh.
async fn newcomer(ready_timeout_ms: &str) -> Served {
    Served::new(&[
        ("BOOTSTRAP_HUBS", "ws://127.0.0.1:1"),
        ("READY_TIMEOUT_MS", ready_timeout_ms),
    ])
    .await
}

fn mesh(served: &Served, links: usize, is_synced: bool) {
    let backend = served.app.backend();
    backend.links.store(links, Ordering::Relaxed);
    backend.is_synced.store(is_synced, Ordering::Relaxed);
}

async fn ready(served: &Served) -> (u16, String) {
    let answer = served.get("/ready").await;
    let body = answer.json();
    assert_eq!(body["error"].is_string(), answer.status == 503, "{body}");
    let status = body["status"].as_str().expect("a status");
    (answer.status, status.to_owned())
}

fn is(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

#[tokio::test]
async fn a_hub_without_a_mesh_is_ready_at_once_and_says_no_more_than_that() {
    for alone in [
        &[][..],
        &[
            ("IS_HUB", "false"),
            ("BOOTSTRAP_HUBS", "ws://127.0.0.1:1"),
            ("READY_TIMEOUT_MS", "600000"),
        ],
    ] {
        let served = Served::new(alone).await;
        mesh(&served, 0, false);
        let answers = [served.get("/live").await, served.get("/ready").await];
        let bodies = answers.map(|answer| (answer.status, answer.json()));
        assert_eq!(
            bodies,
            [
                (200, json!({"status": "live"})),
                (200, json!({"status": "ready"}))
            ]
        );
    }
}

#[tokio::test]
async fn a_newcomer_is_ready_once_it_knows_the_peers_of_the_mesh_and_stays_so() {
    let served = newcomer("600000").await;
    mesh(&served, 0, false);
    assert_eq!(ready(&served).await, is(503, "no-link"));
    mesh(&served, 1, false);
    assert_eq!(ready(&served).await, is(503, "not-synced"));
    mesh(&served, 1, true);
    assert_eq!(ready(&served).await, is(200, "ready"));
    mesh(&served, 0, false);
    assert_eq!(ready(&served).await, is(200, "ready"), "for good");
}

#[tokio::test]
async fn a_newcomer_that_reaches_nobody_is_ready_when_its_time_is_over() {
    let served = newcomer("0").await;
    mesh(&served, 0, false);
    assert_eq!(ready(&served).await, is(200, "ready"));
}

#[tokio::test]
async fn a_hub_that_leaves_says_so_before_anything_else_changes() {
    let served = Served::new(&[]).await;
    assert_eq!(ready(&served).await, is(200, "ready"));
    served.app.leave();
    assert_eq!(ready(&served).await, is(503, "draining"));
    assert_eq!(served.get("/health").await.status, 200);
    let target = format!("/ws?peerId={PEER}");
    served.connect(&target, &[]).await.expect("still let in");
    served.app.drain();
    assert_eq!(ready(&served).await, is(503, "draining"));
    assert_eq!(served.get("/live").await.status, 200);
    served.connect(&target, &[]).await.expect_err("no more");
}

#[tokio::test]
async fn a_hub_knows_whether_anybody_watches_it() {
    let served = Served::new(&[]).await;
    for other in ["/live", "/health", "/"] {
        served.get(other).await;
    }
    assert!(!served.app.is_watched());
    served.request("HEAD", "/ready", &[]).await;
    assert!(served.app.is_watched());
}

#[tokio::test]
async fn a_hub_whose_mesh_has_ended_by_itself_is_not_live() {
    let served = Served::new(&[]).await;
    let backend = served.app.backend();
    backend.is_running.store(false, Ordering::Relaxed);
    let answer = served.get("/live").await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (503, &json!("stopped"))
    );
    assert!(answer.json()["error"].is_string());
    served.app.drain();
    assert_eq!(served.get("/live").await.status, 200, "it is to end");
}
