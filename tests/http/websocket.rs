//! Which requests may switch to a WebSocket, and which are refused.

use futures::SinkExt;
use http::StatusCode;
use hubmesh::metrics::Refusal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::served::{PEER, Served, TIMEOUT, next_text};

#[tokio::test]
async fn a_draining_hub_is_unhealthy_and_takes_neither_peers_nor_links() {
    let served = Served::new(&[]).await;
    served.app.drain();
    let answer = served.get("/health").await;
    assert_eq!(
        (answer.status, answer.json()["status"].as_str()),
        (503, Some("draining"))
    );
    for target in [format!("/ws?peerId={PEER}"), "/mesh".into()] {
        let (status, body) = served.connect(&target, &[]).await.expect_err("refused");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{target}");
        assert!(body["error"].is_string(), "{body}");
    }
    assert_eq!(served.refused(Refusal::Draining), 2);
}

#[tokio::test]
async fn only_listed_origins_may_read_and_connect() {
    let list = "https://a.example, https://b.example:8443";
    let served = Served::new(&[("CORS_ORIGIN", list)]).await;
    let target = format!("/ws?peerId={PEER}");
    for (origin, allowed) in [
        ("https://a.example", true),
        ("https://b.example:8443", true),
        ("https://b.example", false),
    ] {
        let answer = served
            .request("GET", "/nothing", &[("Origin", origin)])
            .await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            allowed.then_some(origin)
        );
        assert_eq!(answer.header("vary"), Some("Origin"));
        let socket = served.connect(&target, &[("Origin", origin)]).await;
        match socket {
            Ok(_) => assert!(allowed, "{origin}"),
            Err((status, _)) => assert_eq!((status, allowed), (StatusCode::FORBIDDEN, false)),
        }
    }
    assert!(
        served.connect(&target, &[]).await.is_ok(),
        "what is no browser sends no origin"
    );
    assert_eq!(served.refused(Refusal::Origin), 1);
}

#[tokio::test]
async fn no_page_links_up_as_a_hub_whatever_its_origin() {
    let served = Served::new(&[]).await;
    let page = [("Origin", "https://a.example")];
    let (status, _) = served.connect("/mesh", &page).await.expect_err("refused");
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(served.refused(Refusal::Origin), 1);
    assert!(
        served.connect("/mesh", &[]).await.is_ok(),
        "a hub is let in"
    );
}

#[tokio::test]
async fn a_peer_gets_its_socket_on_both_paths() {
    let served = Served::new(&[]).await;
    for path in ["/ws", "/"] {
        let target = format!("{path}?peerId={PEER}");
        let mut socket = served.connect(&target, &[]).await.expect("let in");
        assert_eq!(
            next_text(&mut socket).await,
            format!("{PEER} from 127.0.0.1")
        );
        socket.send(Message::text("hello")).await.expect("sent");
        assert_eq!(next_text(&mut socket).await, "hello");
    }
}

/// A request for a WebSocket, with the empty line at its end.
fn upgrade_request() -> String {
    format!(
        "GET /ws?peerId={PEER} HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[tokio::test]
async fn what_a_peer_sends_right_behind_its_request_is_not_lost() {
    let served = Served::new(&[]).await;
    let mut stream = TcpStream::connect(served.addr).await.expect("connected");
    let mut bytes = upgrade_request().into_bytes();
    // A masked text frame; its mask is all zeros.
    bytes.extend([0x81, 0x85, 0, 0, 0, 0]);
    bytes.extend(b"early");
    stream.write_all(&bytes).await.expect("sent");
    let mut seen = Vec::new();
    let all = timeout(TIMEOUT, async {
        while !seen.ends_with(b"\x81\x05early") {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).await.expect("open");
            assert_ne!(
                count,
                0,
                "closed after {:?}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend_from_slice(&chunk[..count]);
        }
    });
    all.await.expect("echoed in time");
    let head = String::from_utf8_lossy(&seen).to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    // The example of RFC 6455, section 1.3.
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
}

#[tokio::test]
async fn a_missing_or_malformed_peer_id_is_forbidden() {
    let served = Served::new(&[]).await;
    let long = format!("/ws?peerId={PEER}0");
    for target in ["/ws", "/?peerId=", "/ws?peerId=", "/ws?peerId=abc", &long] {
        let (status, body) = served.connect(target, &[]).await.expect_err("refused");
        assert_eq!(status, StatusCode::FORBIDDEN, "{target}");
        assert!(body["error"].is_string(), "{body}");
    }
    assert_eq!(served.refused(Refusal::PeerId), 5);
}

#[tokio::test]
async fn a_bearer_token_opens_by_header_or_query() {
    let served = Served::new(&[("AUTH_TOKEN", "sesame")]).await;
    let plain = format!("/ws?peerId={PEER}");
    let query = format!("{plain}&token=sesame");
    assert!(
        served
            .connect(&plain, &[("Authorization", "Bearer sesame")])
            .await
            .is_ok()
    );
    assert!(served.connect(&query, &[]).await.is_ok());
    assert!(
        served
            .connect(&query, &[("Authorization", "Bearer wrong")])
            .await
            .is_ok()
    );
    for (target, header) in [
        (plain.clone(), None),
        (plain.clone(), Some("Bearer wrong")),
        (plain.clone(), Some("Basic sesame")),
        (format!("{plain}&token=sesam"), None),
        ("/ws?peerId=malformed".into(), None),
    ] {
        let headers: Vec<_> = header
            .map(|value| ("Authorization", value))
            .into_iter()
            .collect();
        let (status, body) = served
            .connect(&target, &headers)
            .await
            .expect_err("refused");
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let why = body["error"].as_str().expect("an error");
        assert!(!why.contains("sesame"), "{why}");
    }
    assert_eq!(served.refused(Refusal::Unauthorized), 5);
    assert_eq!(
        served.get("/health").await.status,
        200,
        "status pages need no token"
    );
}

#[tokio::test]
async fn one_peer_more_than_the_limit_is_refused_until_another_leaves() {
    let served = Served::new(&[("MAX_CONNECTIONS", "1")]).await;
    let target = format!("/ws?peerId={PEER}");
    let mut first = served.connect(&target, &[]).await.expect("space for one");
    next_text(&mut first).await;
    let (status, _) = served.connect(&target, &[]).await.expect_err("full");
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(served.refused(Refusal::Full), 1);
    first.close(None).await.expect("closed");
    let again = timeout(TIMEOUT, async {
        while served.connect(&target, &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    again.await.expect("the place is free again");
}

#[tokio::test]
async fn malformed_websocket_requests_are_told_what_is_wrong() {
    let served = Served::new(&[]).await;
    let target = format!("/ws?peerId={PEER}");
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let upgrade = [("Connection", "Upgrade, close"), ("Upgrade", "websocket")];
    let ask = |more: &[(&'static str, &'static str)]| [&upgrade[..], more].concat();
    for (headers, status) in [
        (ask(&[key, ("Sec-WebSocket-Version", "8")]), 426),
        (ask(&[key]), 426),
        (ask(&[("Sec-WebSocket-Version", "13")]), 400),
        (
            ask(&[
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "short"),
            ]),
            400,
        ),
    ] {
        let answer = served.request("GET", &target, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(served.refused(Refusal::Handshake), 4);
}

#[tokio::test]
async fn hubs_come_in_by_mesh_and_only_where_there_is_one() {
    let hub = Served::new(&[]).await;
    let mut socket = hub.connect("/mesh", &[]).await.expect("a hub takes links");
    assert_eq!(next_text(&mut socket).await, "hub from 127.0.0.1");
    let lone = Served::new(&[("IS_HUB", "false")]).await;
    let (status, _) = lone.connect("/mesh", &[]).await.expect_err("no mesh here");
    assert_eq!(status, StatusCode::NOT_FOUND);
    let stats = lone.get("/stats").await.json();
    assert_eq!(
        (&stats["isHub"], &stats["hubPeerId"]),
        (&json!(false), &Value::Null)
    );
}

/// Whether `/mesh` accepts a connection whose request has this header, on a hub with these settings.
async fn links(settings: &[(&str, &str)], header: Option<(&str, &str)>) -> bool {
    let served = Served::new(settings).await;
    let headers: Vec<(&str, &str)> = header.into_iter().collect();
    let refused = match served.connect("/mesh", &headers).await {
        Ok(_) => false,
        Err((status, body)) => {
            assert_eq!(status, StatusCode::FORBIDDEN);
            let words = body["error"].as_str().expect("words");
            assert!(words.contains("HUB_TOKEN"), "{words}");
            true
        }
    };
    assert_eq!(served.refused(Refusal::OpenMesh), u64::from(refused));
    !refused
}

#[tokio::test]
async fn an_open_mesh_takes_links_from_loopback_and_private_addresses_alone() {
    assert!(links(&[], None).await, "the hub next door needs no token");
    let behind = [("TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")];
    for near in [
        "192.168.1.7",
        "fd00::7",
        "172.20.0.3",
        "203.0.113.9, 192.168.1.7",
    ] {
        let header = ("X-Forwarded-For", near);
        assert!(links(&behind, Some(header)).await, "{near}");
    }
    for far in [
        "203.0.113.9",
        "2001:db8::9",
        "127.0.0.1, 203.0.113.9",
        "203.0.113.9, 10.1.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "rubbish",
    ] {
        let header = ("X-Forwarded-For", far);
        assert!(!links(&behind, Some(header)).await, "{far}");
    }
}

#[tokio::test]
async fn who_comes_by_a_proxy_that_is_not_trusted_may_be_anybody() {
    for header in ["X-Forwarded-For", "Forwarded", "Fly-Client-IP", "X-Real-IP"] {
        let said = Some((header, "127.0.0.1"));
        assert!(!links(&[], said).await, "{header}");
        let with_token = [("HUB_TOKEN", "of-the-mesh-alone")];
        assert!(
            links(&with_token, said).await,
            "{header}: it has to prove itself"
        );
    }
}

#[tokio::test]
async fn the_first_subprotocol_that_is_offered_is_agreed_on() {
    let served = Served::new(&[]).await;
    let peer = format!("/ws?peerId={PEER}");
    let client = "/peerjs?key=peerjs&id=ada&token=t";
    // The hub accepts the `stranger`'s WebSocket only to send it an error. It agrees on a subprotocol there too, so
    // that a standard client can read the error.
    let stranger = "/peerjs?key=other&id=ada&token=t";
    for target in [&peer, "/mesh", client, stranger] {
        let offers = [("Sec-WebSocket-Protocol", "mqtt, wamp")];
        // The client fails unless the hub agrees on one of the offered subprotocols.
        let socket = served.connect(target, &offers).await;
        assert!(socket.is_ok(), "{target}");
        let headers = [
            ("Connection", "Upgrade, close"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", "a b"),
        ];
        let answer = served.request("GET", target, &headers).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.body);
    }
}
