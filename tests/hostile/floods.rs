//! Attackers whose messages are valid but too many: peers that do not read, that send too fast, or that all want one
//! id.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::json;
use tokio::time::timeout;

use crate::arena::{Arena, count, counted, crowd, impatient};
use crate::hub_process::{HubBuilder, HubProcess, LIMIT};
use crate::memory::resident;
use crate::raw::{PING, PONG, Raw, fresh_id};

const CLOSED: &str = "hubmesh_connections_closed_total";

/// A hub that shows few peers at once, so that its mailbox for each peer can be small.
fn narrow() -> HubBuilder {
    impatient()
        .env("DISCOVERY_LIMIT", "100")
        .env("MAX_MESSAGE_BYTES", "65536")
        .env("OUTBOX_BYTES", "1048576")
}

/// Sends long signals to a peer that does not read, until one is not delivered. Each is sent only after the hub has
/// handled the last one. Gives the error code that the sender receives.
async fn overwhelm(hub: &HubProcess, target: &str, network: &str) -> String {
    let payload = "x".repeat(30_000);
    let offer = json!({"type": "offer", "targetPeerId": target, "data": payload}).to_string();
    let mut peer = Raw::member(hub, &fresh_id(), network).await;
    for _ in 0..400 {
        peer.say(&offer).await.expect("a live hub");
        peer.say(r#"{"type":"ping"}"#).await.expect("a live hub");
        loop {
            let told = peer.message().await.expect("a live hub");
            match told["type"].as_str() {
                Some("pong") => break,
                Some("error") => {
                    assert_eq!(told["data"]["peerId"], *target, "{told}");
                    return told["code"].as_str().expect("a code").to_owned();
                }
                _ => {}
            }
        }
    }
    panic!("12 MB wait for a peer that does not read")
}

#[tokio::test]
async fn a_reader_that_never_reads_hurts_itself_alone() {
    let mut arena = Arena::around(narrow().env("RATE_LIMIT_PER_SEC", "0")).await;
    arena
        .attack("a peer that does not read", async |hub| {
            let deaf = fresh_id();
            let mut victim = Raw::connect_narrow(hub).await.upgraded(&deaf).await;
            victim.announce("deaf").await;
            let before = resident(hub.pid());
            counted(hub, (CLOSED, "reason=\"write-stalled\""), 1, async {
                for code in crowd(2, async |_| overwhelm(hub, &deaf, "deaf").await).await {
                    assert_eq!(code, "overload");
                }
            })
            .await;
            // The peer's mailbox was freed with its connection.
            let grown = resident(hub.pid()).saturating_sub(before);
            println!("a deaf peer: {} KB more resident", grown / 1024);
            assert!(grown < 8 * 1024 * 1024, "{grown} bytes more");
        })
        .await;
    assert_eq!(
        count(&arena.hub, "hubmesh_outbox_overflows_total", "").await,
        0
    );
}

#[tokio::test]
async fn a_peer_that_reads_late_keeps_its_place_and_gets_what_was_accepted() {
    let mut arena = Arena::around(narrow().env("RATE_LIMIT_PER_SEC", "0")).await;
    arena
        .attack("a peer that reads late", async |hub| {
            let late = fresh_id();
            let mut victim = Raw::member(hub, &late, "late").await;
            assert_eq!(overwhelm(hub, &late, "late").await, "overload");
            // The first sender does not block a second one. The second one's offer arrives after all earlier offers.
            let mut other = Raw::member(hub, &fresh_id(), "late").await;
            let offer = json!({"type": "offer", "targetPeerId": late, "data": "of another"});
            other.say(&offer.to_string()).await.expect("a live hub");
            loop {
                let offer = victim.message_of("offer").await;
                if offer["data"] == "of another" {
                    break;
                }
            }
            victim.pong().await;
        })
        .await;
}

#[tokio::test]
async fn messages_beyond_the_rate_are_dropped_and_then_the_peer_is() {
    let mut arena = Arena::open().await;
    arena
        .attack("messages beyond the rate", async |hub| {
            counted(hub, (CLOSED, "reason=\"rate-abuse\""), 8, async {
                crowd(8, async |_| {
                    let mut peer = Raw::member(hub, &fresh_id(), "fast").await;
                    let flood =
                        crate::raw::frame(crate::raw::TEXT, b"{\"type\":\"ping\"}").repeat(100);
                    for _ in 0..80 {
                        // The hub may have closed the connection by now.
                        if peer.send(&flood).await.is_err() {
                            break;
                        }
                    }
                    let end = peer.end().await;
                    // The peer receives one complaint for each run of dropped messages, and at last the reason for the
                    // close.
                    let (last, rows) = end.complaints.split_last().expect("complaints");
                    assert_eq!(last, "rate-abuse");
                    assert!(rows.iter().all(|row| row == "rate-limited"), "{rows:?}");
                    assert!((1..10).contains(&rows.len()), "{rows:?}");
                    assert_eq!(end.close, Some((1008, "Too many messages".to_owned())));
                })
                .await;
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn of_two_hundred_that_want_one_id_its_holder_keeps_it() {
    let mut arena = Arena::open().await;
    arena
        .attack("200 claims to one id", async |hub| {
            let id = fresh_id();
            let mut holder = Raw::member(hub, &id, "popular").await;
            let refused = ("hubmesh_duplicates_total", "");
            let (began, mut asked) = (Instant::now(), 0);
            counted(hub, refused, 200, async {
                let holding = async {
                    // The holder is alive: it sends nothing, but answers the hub's pings.
                    while let Some((PING, payload)) = holder.next_frame().await {
                        asked += 1;
                        holder.send_frame(PONG, &payload).await.expect("a live hub");
                    }
                    panic!("the holder was told something, or closed");
                };
                let claiming = crowd(200, async |_| {
                    let mut rival = Raw::peer(hub, &id).await;
                    let announce = json!({"type": "announce", "networkName": "popular"});
                    rival.say(&announce.to_string()).await.expect("a live hub");
                    let close = rival.end().await.close;
                    assert_eq!(close, Some((1008, "Peer already connected".to_owned())));
                });
                tokio::select! {
                    () = holding => {}
                    _ = claiming => {}
                }
            })
            .await;
            // In peace, the hub pings the holder every few seconds.
            let fair = 2 + 2 * began.elapsed().as_secs();
            assert!(asked <= fair, "{asked} pings, where {fair} would do");
        })
        .await;
}

#[tokio::test]
async fn of_two_hundred_that_come_at_once_with_one_id_one_stays() {
    let mut arena = Arena::around(impatient().env("DUPLICATE_PEER", "replace")).await;
    arena
        .attack("200 reconnects", async |hub| {
            let id = fresh_id();
            counted(hub, (CLOSED, ""), 199, async {
                let rivals = crowd(200, async |_| {
                    let mut rival = Raw::peer(hub, &id).await;
                    let announce = json!({"type": "announce", "networkName": "cloned"});
                    rival.say(&announce.to_string()).await.expect("a live hub");
                    rival
                })
                .await;
                let ends = rivals
                    .into_iter()
                    .map(|mut rival| async move { rival.end_alive().await.close });
                let mut ends: FuturesUnordered<_> = ends.collect();
                // On a slow machine the rivals take so long to connect that some do not answer a ping in time.
                let told = [
                    "Replaced by a newer connection",
                    "The id changed hands too often",
                    "No sign of life",
                ];
                for _ in 0..199 {
                    let close = timeout(LIMIT, ends.next())
                        .await
                        .expect("all but one are closed");
                    let (code, text) = close.flatten().expect("and told so");
                    assert_eq!(code, 1008, "{text}");
                    assert!(told.contains(&text.as_str()), "{text}");
                }
                let last = timeout(Duration::from_millis(300), ends.next()).await;
                assert!(last.is_err(), "one stays: {last:?}");
            })
            .await;
        })
        .await;
}
