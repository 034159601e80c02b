//! Requests that were meant for a WebSocket and do not reach one: the answer is never a 200 and always names the cause.

use hubmesh::metrics::Refusal;

use crate::served::{PEER, Served};

const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");
const UPGRADE: (&str, &str) = ("Upgrade", "websocket");
/// The `close` ends the connection after the answer.
const CONNECTION: (&str, &str) = ("Connection", "Upgrade, close");

const CLIENT: &str = "key=peerjs&id=ada&token=t";

/// All headers that a browser sends.
const WHOLE: &[(&str, &str)] = &[CONNECTION, UPGRADE, KEY, VERSION];
/// The headers that a proxy without support for upgrades passes on.
const LOST: &[(&str, &str)] = &[KEY, VERSION];

#[tokio::test]
async fn a_request_that_lost_its_upgrade_on_the_way_is_told_so_wherever_it_was_meant_for() {
    let served = Served::new(&[]).await;
    let targets = [
        format!("/ws?peerId={PEER}"),
        format!("/?peerId={PEER}"),
        "/mesh".to_owned(),
        format!("/peerjs?{CLIENT}"),
        format!("/peerjs/peerjs?{CLIENT}"),
    ];
    let mut told = 0;
    for target in &targets {
        let no_connection: &[_] = &[UPGRADE, KEY, VERSION];
        for (headers, cause) in [
            (LOST, "without Upgrade"),
            (no_connection, "without Connection"),
        ] {
            let answer = served.request("GET", target, headers).await;
            assert_eq!(answer.status, 426, "{target}: {}", answer.body);
            let why = answer.json()["error"].as_str().map(str::to_owned);
            let why = why.expect("an error");
            assert!(why.contains(cause) && why.contains("proxy"), "{why}");
            assert_eq!(
                answer.header("upgrade"),
                None,
                "an HTTP/2 proxy would pass it on"
            );
            assert_eq!(answer.header("connection"), Some("close"));
            told += 1;
        }
    }
    assert_eq!(served.refused(Refusal::Misrouted), told);
    assert_eq!(served.refused(Refusal::Handshake), 0);
}

#[tokio::test]
async fn a_proxy_that_drops_every_trace_of_a_websocket_is_told_by_the_query() {
    let served = Served::new(&[]).await;
    for target in [
        format!("/ws?peerId={PEER}"),
        format!("/?peerId={PEER}"),
        format!("/peerjs?{CLIENT}"),
    ] {
        let answer = served.get(&target).await;
        assert_eq!(answer.status, 426, "{target}: {}", answer.body);
    }
    assert_eq!(served.refused(Refusal::Misrouted), 3);
}

#[tokio::test]
async fn http_1_0_is_named_as_the_cause_with_and_without_an_upgrade() {
    let served = Served::new(&[]).await;
    for upgrade in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let request = format!(
            "GET /peerjs?{CLIENT} HTTP/1.0\r\nHost: hub\r\n{upgrade}Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let answer = String::from_utf8_lossy(&served.raw(&request).await).into_owned();
        assert!(answer.starts_with("HTTP/1.0 426"), "{answer}");
        assert!(answer.contains("proxy_http_version 1.1"), "{answer}");
    }
    assert_eq!(served.refused(Refusal::Misrouted), 2);
}

#[tokio::test]
async fn a_websocket_at_a_path_that_has_none_is_told_what_to_change() {
    let served = Served::new(&[("PEERJS_PATH", "/,/signal")]).await;
    let cases = [
        (
            format!("/myapp/peerjs?{CLIENT}"),
            "add /myapp to PEERJS_PATH",
        ),
        (format!("/myapp/ws?peerId={PEER}"), "take /myapp off"),
        ("/hub/mesh".to_owned(), "take /hub off"),
        (
            format!("/socket.io/?{CLIENT}"),
            "PEERJS_PATH (/ and /signal)",
        ),
        ("/health".to_owned(), "no WebSocket at this path"),
        ("/metrics".to_owned(), "no WebSocket at this path"),
        ("/signal/".to_owned(), "no WebSocket at this path"),
        ("/peerjs/id".to_owned(), "no WebSocket at this path"),
        // The proxy removed the client's path, together with the part that the client appends to it.
        (format!("/?{CLIENT}"), "no WebSocket at this path"),
    ];
    for headers in [WHOLE, LOST] {
        for (target, told) in &cases {
            let answer = served.request("GET", target, headers).await;
            assert_eq!(answer.status, 404, "{target}: {}", answer.body);
            assert!(answer.body.contains(told), "{target}: {}", answer.body);
        }
    }
    let refused = u64::try_from(2 * cases.len()).expect("a small number");
    assert_eq!(served.refused(Refusal::Misrouted), refused);
}

#[tokio::test]
async fn a_link_to_what_is_no_hub_is_told_so() {
    let served = Served::new(&[("IS_HUB", "false")]).await;
    let answer = served.request("GET", "/mesh", WHOLE).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("IS_HUB is false"), "{}", answer.body);
}

#[tokio::test]
async fn what_was_never_meant_for_a_websocket_is_answered_as_ever() {
    let served = Served::new(&[]).await;
    // nginx, set up as in docs/deployment.md, sends `proxied` with every request.
    let proxied: &[_] = &[("Connection", "upgrade, close")];
    let other: &[_] = &[
        ("Connection", "Upgrade, HTTP2-Settings, close"),
        ("Upgrade", "h2c"),
    ];
    for headers in [&[], proxied, other] {
        for (target, status) in [
            ("/health", 200),
            ("/", 200),
            ("/metrics", 200),
            ("/peerjs/id", 200),
            ("/peerjs/", 200),
            ("/nothing", 404),
            ("/ws", 426),
            ("/mesh", 426),
        ] {
            let answer = served.request("GET", target, headers).await;
            assert_eq!(answer.status, status, "{target} {headers:?}");
            assert_eq!(answer.header("upgrade"), None, "{target} {headers:?}");
        }
    }
    assert_eq!(served.refused(Refusal::Misrouted), 0);
    assert_eq!(served.refused(Refusal::Handshake), 6);
}

#[tokio::test]
async fn an_upgrade_of_another_version_is_told_which_is_spoken() {
    let served = Served::new(&[]).await;
    let old = [CONNECTION, UPGRADE, KEY, ("Sec-WebSocket-Version", "8")];
    let target = format!("/ws?peerId={PEER}");
    let answer = served.request("GET", &target, &old).await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
}
