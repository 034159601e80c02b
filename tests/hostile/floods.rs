//! Attackers who do nothing wrong but do it too much: peers that do not read, that talk too fast, that all want one id.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::arena::{Arena, count, counted, crowd, impatient};
use crate::memory::resident;
use crate::raw::{Raw, fresh_id};

const CLOSED: &str = "hubmesh_connections_closed_total";

#[tokio::test]
async fn a_reader_that_never_reads_hurts_itself_alone() {
    let mut arena = Arena::open().await;
    arena
        .attack("a peer that does not read", async |hub| {
            let deaf = fresh_id();
            let mut victim = Raw::connect_narrow(hub).await.upgraded(&deaf).await;
            victim.announce("deaf").await;
            let before = resident(hub.pid());
            counted(hub, (CLOSED, "reason=\"outbox-full\""), 1, async {
                let payload = "x".repeat(60_000);
                let offer =
                    json!({"type": "offer", "targetPeerId": deaf, "data": payload}).to_string();
                crowd(4, async |_| {
                    let mut peer = Raw::member(hub, &fresh_id(), "deaf").await;
                    for _ in 0..60 {
                        peer.say(&offer).await.expect("a live hub");
                    }
                    // Once the victim is closed, senders are told that theirs was not delivered, one way or the other.
                    let told = peer.message_of("error").await;
                    let code = told["code"].as_str().expect("a code").to_owned();
                    assert_eq!(told["data"]["peerId"], deaf, "{told}");
                    peer.pong().await;
                    code
                })
                .await;
            })
            .await;
            // The outbox is gone with it: what stays is bounded by OUTBOX_BYTES and what the kernel holds.
            let grown = resident(hub.pid()).saturating_sub(before);
            println!("a deaf peer: {} KB more resident", grown / 1024);
            assert!(grown < 24 * 1024 * 1024, "{grown} bytes more");
        })
        .await;
    assert!(count(&arena.hub, "hubmesh_outbox_overflows_total", "").await >= 1);
}

#[tokio::test]
async fn a_peer_that_reads_too_late_learns_why_it_was_closed() {
    let mut arena = Arena::open().await;
    arena
        .attack("a peer that reads late", async |hub| {
            let late = fresh_id();
            let mut victim = Raw::member(hub, &late, "late").await;
            let payload = "x".repeat(60_000);
            let offer = json!({"type": "offer", "targetPeerId": late, "data": payload}).to_string();
            let overflowed = ("hubmesh_signals_failed_total", "");
            counted(hub, overflowed, 1, async {
                crowd(4, async |_| {
                    let mut peer = Raw::member(hub, &fresh_id(), "late").await;
                    for _ in 0..150 {
                        peer.say(&offer).await.expect("a live hub");
                    }
                    peer.message_of("error").await;
                })
                .await;
            })
            .await;
            let end = timeout(Duration::from_secs(10), victim.end()).await;
            let close = end.expect("closed in time").close;
            assert_eq!(close, Some((1013, "Too many unread messages".to_owned())));
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
                    for _ in 0..20 {
                        // The hub may have closed by now.
                        if peer.send(&flood).await.is_err() {
                            break;
                        }
                    }
                    let end = peer.end().await;
                    assert_eq!(end.complaints, ["rate-limited", "rate-abuse"]);
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
            counted(hub, refused, 200, async {
                let holding = async {
                    // A living holder answers the hub's pings; any sign of life will do.
                    let mut tick = tokio::time::interval(Duration::from_millis(50));
                    loop {
                        tick.tick().await;
                        holder.pong().await;
                    }
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
        })
        .await;
}

#[tokio::test]
async fn of_two_hundred_that_come_at_once_with_one_id_one_stays() {
    let mut arena = Arena::around(impatient().env("DUPLICATE_PEER", "replace")).await;
    arena
        .attack("200 reconnects", async |hub| {
            let id = fresh_id();
            let before = count(hub, "hubmesh_connections_open", "").await;
            let mut rivals = crowd(200, async |_| {
                let mut rival = Raw::peer(hub, &id).await;
                let announce = json!({"type": "announce", "networkName": "cloned"});
                rival.say(&announce.to_string()).await.expect("a live hub");
                rival
            })
            .await;
            // All but one are told and closed. Which one stays is the hub's to say: it alone goes on.
            let ends = futures::future::join_all(rivals.iter_mut().map(|rival| async move {
                let end = timeout(Duration::from_secs(3), rival.end()).await;
                end.ok().and_then(|end| end.close)
            }));
            let ends = ends.await;
            let stay = ends.iter().filter(|end| end.is_none()).count();
            let told = [
                "Replaced by a newer connection",
                "The id changed hands too often",
            ];
            for close in ends.iter().flatten() {
                assert_eq!(close.0, 1008);
                assert!(told.contains(&close.1.as_str()), "{close:?}");
            }
            assert_eq!(stay, 1, "{ends:?}");
            let open = count(hub, "hubmesh_connections_open", "").await;
            assert_eq!(open, before + 1);
        })
        .await;
}
