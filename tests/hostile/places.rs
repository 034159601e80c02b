//! Attackers that use up shared places: connections and pages.

use crate::arena::{Arena, counted, crowd, impatient};
use crate::raw::{Raw, fresh_id};

#[tokio::test]
async fn connections_of_one_address_keep_nobody_else_out() {
    let attacked = impatient()
        .env("MAX_HTTP_CONNECTIONS", "64")
        .env("HEADER_TIMEOUT_MS", "60000");
    let mut arena = Arena::around(attacked).await;
    arena
        .attack("connections that say nothing", async |hub| {
            let refused = ("hubmesh_refusals_total", "reason=\"http-full\"");
            let idle = crowd(64, async |_| Raw::connect_from(hub, [127, 0, 0, 2]).await);
            let idle = counted(hub, refused, 32, idle).await;
            for _ in 0..8 {
                Raw::member(hub, &fresh_id(), "others").await;
            }
            drop(idle);
        })
        .await;
}

#[tokio::test]
async fn pages_that_are_asked_for_without_end_delay_nobody() {
    let mut arena = Arena::open().await;
    arena
        .attack("pipelined pages", async |hub| {
            let request = "GET /metrics HTTP/1.1\r\nHost: hub\r\n\r\n".repeat(32);
            let last = "GET /metrics HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
            let answers = crowd(16, async |_| {
                let mut raw = Raw::connect_from(hub, [127, 0, 0, 2]).await;
                let asked = raw.send((request.clone() + last).as_bytes()).await;
                asked.expect("a live hub");
                raw.rest().await.matches("HTTP/1.1 200 OK").count()
            })
            .await;
            assert_eq!(answers, [33; 16]);
        })
        .await;
}
