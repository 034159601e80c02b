//! Attackers that never open a WebSocket: they send slow, oversized, malformed and ambiguous HTTP.

use std::time::Duration;

use tokio::time::{Instant, interval, timeout};

use crate::arena::{Arena, count, counted, crowd};
use crate::hub_process::{HubProcess, LIMIT};
use crate::raw::{Raw, fresh_id, upgrade_request};

const REFUSED: &str = "hubmesh_refusals_total";

/// A connection on which `request` was sent. If the hub closed it early, only a part was sent.
async fn having_said(hub: &HubProcess, request: &str) -> Raw {
    let mut raw = Raw::connect(hub).await;
    let _ = raw.send(request.as_bytes()).await;
    raw
}

async fn status_of(hub: &HubProcess, request: &str) -> Option<u16> {
    having_said(hub, request).await.status().await
}

/// The request of a new peer.
fn good_request() -> String {
    upgrade_request(&format!("/ws?peerId={}", fresh_id()), "")
}

#[tokio::test]
async fn requests_that_are_no_upgrade_are_refused_with_their_status() {
    let mut arena = Arena::open().await;
    let good = good_request();
    let cases = [
        (
            "another WebSocket version",
            good.replace("Version: 13", "Version: 8"),
            426,
            "handshake",
        ),
        (
            "two WebSocket versions",
            good.replace("Version: 13", "Version: 13, 8"),
            426,
            "handshake",
        ),
        (
            "no key",
            good.replace("Sec-WebSocket-Key", "X-Key"),
            400,
            "handshake",
        ),
        (
            "a short key",
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"),
            400,
            "handshake",
        ),
        (
            "no Connection: Upgrade",
            good.replace("Connection: Upgrade", "Connection: close"),
            426,
            "misrouted",
        ),
        (
            "HTTP/1.0",
            good.replace("HTTP/1.1", "HTTP/1.0"),
            426,
            "misrouted",
        ),
        ("HEAD", good.replacen("GET", "HEAD", 1), 426, "handshake"),
        ("no id", upgrade_request("/ws", ""), 403, "peer-id"),
        (
            "an empty id",
            upgrade_request("/ws?peerId=", ""),
            403,
            "peer-id",
        ),
        (
            "an id of 41 digits",
            upgrade_request(&format!("/ws?peerId=0{}", fresh_id()), ""),
            403,
            "peer-id",
        ),
        (
            "an id with a NUL",
            upgrade_request(&format!("/ws?peerId=%00{}", &fresh_id()[1..]), ""),
            403,
            "peer-id",
        ),
        (
            "an id in full-width digits",
            upgrade_request(&format!("/ws?peerId={}", "%EF%BC%90".repeat(40)), ""),
            403,
            "peer-id",
        ),
        (
            "a path for an id",
            upgrade_request("/ws?peerId=../../etc/passwd", ""),
            403,
            "peer-id",
        ),
        (
            "10 KB for an id",
            upgrade_request(&format!("/ws?peerId={}", "a".repeat(10_000)), ""),
            403,
            "peer-id",
        ),
        (
            "a good id after a bad one",
            upgrade_request(&format!("/ws?peerId=x&peerId={}", fresh_id()), ""),
            403,
            "peer-id",
        ),
    ];
    for (name, request, status, reason) in cases {
        arena
            .attack(name, async |hub| {
                let label = format!("reason=\"{reason}\"");
                counted(hub, (REFUSED, &label), 8, async {
                    for got in crowd(8, async |_| status_of(hub, &request).await).await {
                        assert_eq!(got, Some(status), "{name}");
                    }
                })
                .await;
            })
            .await;
    }
}

#[tokio::test]
async fn oversized_and_malformed_heads_are_refused() {
    let mut arena = Arena::open().await;
    let many: String = (0..2_500).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "x".repeat(64 * 1024));
    let target = format!("/health?{}", "x".repeat(1024 * 1024));
    let get =
        |target: &str, more: &str| format!("GET {target} HTTP/1.1\r\nHost: hub\r\n{more}\r\n");
    let cases = [
        ("2,500 headers", get("/health", &many), &[431][..]),
        ("a header of 64 KB", get("/health", &long), &[431]),
        (
            "an upgrade with a header of 64 KB",
            upgrade_request("/ws", &long),
            &[431],
        ),
        ("an address of 1 MB", get(&target, ""), &[414, 431]),
        ("a NUL in a header", get("/health", "X: a\0b\r\n"), &[400]),
        (
            "a blank before the colon",
            get("/health", "X : a\r\n"),
            &[400],
        ),
        ("a folded header", get("/health", "X: a\r\n b\r\n"), &[400]),
        ("no version", "GET /health\r\n\r\n".to_owned(), &[400]),
        (
            "another protocol",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "a TLS greeting",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n".to_owned(),
            &[400],
        ),
    ];
    for (name, request, statuses) in cases {
        arena
            .attack(name, async |hub| {
                counted(hub, (REFUSED, "reason=\"bad-request\""), 8, async {
                    for got in crowd(8, async |_| status_of(hub, &request).await).await {
                        assert!(
                            got.is_some_and(|got| statuses.contains(&got)),
                            "{name}: {got:?}"
                        );
                    }
                })
                .await;
            })
            .await;
    }
}

/// A request with a second one hidden behind it.
struct Smuggled {
    name: &'static str,
    bytes: String,
    /// The most answers that the hub may give.
    answers: usize,
}

fn smuggled() -> Vec<Smuggled> {
    let hidden = good_request();
    let length = hidden.len();
    let one = |name, framing: &str, body: &str| Smuggled {
        name,
        bytes: format!("GET /health HTTP/1.1\r\nHost: hub\r\n{framing}\r\n{body}"),
        answers: 1,
    };
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    vec![
        one(
            "a body that is a request",
            &format!("Content-Length: {length}\r\n"),
            &hidden,
        ),
        one(
            "a chunk that is a request",
            "Transfer-Encoding: chunked\r\n",
            &chunk,
        ),
        one(
            "two different lengths",
            "Content-Length: 0\r\nContent-Length: 999\r\n",
            &hidden,
        ),
        one("a list of lengths", "Content-Length: 0, 999\r\n", &hidden),
        one("a signed length", "Content-Length: +0\r\n", &hidden),
        one(
            "a length beyond 64 bits",
            "Content-Length: 18446744073709551616\r\n",
            &hidden,
        ),
        one(
            "a length and chunks",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            &chunk,
        ),
        one(
            "chunks that are not last",
            "Transfer-Encoding: chunked, identity\r\n",
            &hidden,
        ),
        one(
            "an unknown coding",
            "Transfer-Encoding: xchunked\r\n",
            &hidden,
        ),
        one(
            "a chunk without end",
            "Transfer-Encoding: chunked\r\n",
            &format!("ffffffffffffffff0\r\n{hidden}"),
        ),
    ]
}

#[tokio::test]
async fn no_request_is_smuggled_in_behind_another() {
    let mut arena = Arena::open().await;
    for case in smuggled() {
        arena
            .attack(case.name, async |hub| {
                let before = count(hub, "hubmesh_connections_accepted_total", "").await;
                let answers = crowd(4, async |_| {
                    having_said(hub, &case.bytes).await.rest().await
                })
                .await;
                for text in answers {
                    let count = text.matches("HTTP/1.1 ").count();
                    assert!(count <= case.answers, "{}: {text}", case.name);
                    assert!(!text.contains(" 101 "), "{}: {text}", case.name);
                }
                let after = count(hub, "hubmesh_connections_accepted_total", "").await;
                // The peer that checks whether the hub lives connects after each attack, so it is not counted here.
                assert_eq!(after, before, "{}", case.name);
            })
            .await;
    }
}

/// Sends one byte at a time until the hub closes the connection. Gives the time that this took.
async fn loris(hub: &HubProcess, bytes: &[u8]) -> Duration {
    let mut raw = Raw::connect(hub).await;
    let began = Instant::now();
    let mut tick = interval(Duration::from_millis(20));
    for byte in bytes.iter().cycle() {
        tick.tick().await;
        if raw.send(&[*byte]).await.is_err() {
            break;
        }
        assert!(began.elapsed() < LIMIT, "the hub waits for ever");
    }
    began.elapsed()
}

async fn slow(name: &str, bytes: Vec<u8>) {
    let mut arena = Arena::open().await;
    arena
        .attack(name, async |hub| {
            counted(hub, (REFUSED, "reason=\"header-timeout\""), 100, async {
                for took in crowd(100, async |_| loris(hub, &bytes).await).await {
                    assert!(took < Duration::from_secs(5), "{name}: {took:?}");
                }
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_cut_off() {
    slow(
        "slow loris",
        b"GET /health HTTP/1.1\r\nHost: hub\r\nX: ".to_vec(),
    )
    .await;
}

#[tokio::test]
async fn an_upgrade_that_comes_byte_by_byte_is_cut_off() {
    let mut request = good_request().into_bytes();
    request.truncate(request.len() - 2);
    slow("slow loris on the upgrade", request).await;
}

#[tokio::test]
async fn sockets_that_say_nothing_are_closed() {
    let mut arena = Arena::open().await;
    arena
        .attack("silent connections", async |hub| {
            let silent = crowd(200, async |_| Raw::connect(hub).await.rest());
            let closing = futures::future::join_all(silent.await);
            let texts = timeout(Duration::from_secs(5), closing).await;
            texts.expect("all are closed in time");
        })
        .await;
    let label = "reason=\"announce-timeout\"";
    arena
        .attack("silence after the upgrade", async |hub| {
            counted(
                hub,
                ("hubmesh_connections_closed_total", label),
                200,
                async {
                    let ends = crowd(200, async |_| Raw::peer(hub, &fresh_id()).await.end().await);
                    let ends = timeout(Duration::from_secs(8), ends).await;
                    for end in ends.expect("all are closed in time") {
                        assert_eq!(end.complaints, ["announce-timeout"]);
                        assert_eq!(
                            end.close,
                            Some((1008, "No announcement in time".to_owned()))
                        );
                    }
                },
            )
            .await;
        })
        .await;
    arena
        .attack("half-open upgrades", async |hub| {
            // Each client closes right after its request, so the 101 is not read.
            crowd(200, async |_| {
                let mut raw = Raw::connect(hub).await;
                let request = good_request();
                raw.send(request.as_bytes()).await.expect("a live hub");
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn half_closed_sockets_are_given_up() {
    let mut arena = Arena::open().await;
    arena
        .attack("half-closed sockets", async |hub| {
            use tokio::io::AsyncWriteExt;
            let ended = (
                "hubmesh_connections_closed_total",
                "reason=\"connection-lost\"",
            );
            counted(hub, ended, 50, async {
                crowd(50, async |_| {
                    let mut raw = Raw::member(hub, &fresh_id(), "half").await;
                    raw.stream.shutdown().await.expect("an open socket");
                    raw.end().await
                })
                .await
            })
            .await;
        })
        .await;
}
