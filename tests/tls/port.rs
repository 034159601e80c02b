//! The hub's port: its answers to clients with TLS and without.

use std::process::Stdio;
use std::sync::Arc;

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::authority::{Authority, Files, files};
use crate::hub_process::{HubProcess, LIMIT, eventually};
use crate::stage::{ask, get, hub, is_logged, join, metric, metric_is, open, value};

const NO_TLS: &str = "hubmesh_refusals_total{reason=\"tls-handshake\"}";
const LATE: &str = "hubmesh_refusals_total{reason=\"header-timeout\"}";
const FULL: &str = "hubmesh_refusals_total{reason=\"http-full\"}";

#[tokio::test]
async fn pages_and_peers_are_served_in_either_version_of_tls() {
    let authority = Authority::new();
    let files = files(&authority);
    let hub = hub(&files).start().await;
    is_logged(&hub, &["hubmesh is serving", "\"url\":\"wss://"], 1).await;
    let versions = [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ];
    for (only, version) in versions {
        let client = authority.client_of(&[only]);
        let stream = open(&hub, &client).await.expect("TLS");
        let (_, tls) = stream.get_ref();
        assert_eq!(tls.protocol_version(), Some(version));
        assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = get(&hub, &client, "/health").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (ada, bob) = (
            join(&hub, &client, "tls").await,
            join(&hub, &client, "tls").await,
        );
        ada.reaches(&bob, r#""over TLS""#).await;
    }
}

#[tokio::test]
async fn a_request_without_tls_gets_no_answer_and_is_counted() {
    let authority = Authority::new();
    let files = files(&authority);
    let hub = hub(&files).start().await;
    let mut plain = TcpStream::connect(hub.addr).await.expect("connected");
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    plain.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    // The hub may reset or close the connection; either ends it.
    let read = timeout(LIMIT, plain.read_to_end(&mut answer)).await;
    let _ = read.expect("closed in time");
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        !answer.contains("HTTP") && !answer.contains("healthy"),
        "{answer}"
    );
    metric_is(&hub, &authority.client(), NO_TLS, 1).await;
}

#[tokio::test]
async fn a_client_that_does_not_believe_the_certificate_is_counted_and_harms_nobody() {
    let authority = Authority::new();
    let files = files(&authority);
    let hub = hub(&files).start().await;
    let stranger = Authority::new().client();
    open(&hub, &stranger).await.expect_err("another authority");
    metric_is(&hub, &authority.client(), NO_TLS, 1).await;
}

#[tokio::test]
async fn a_handshake_has_so_long_and_keeps_nobody_else_waiting() {
    let authority = Authority::new();
    let files = files(&authority);
    let client = authority.client();
    let hub = hub(&files).env("HEADER_TIMEOUT_MS", "1000").start().await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(hub.addr).await.expect("connected"));
    }
    // The silent connections were accepted before this one.
    assert!(get(&hub, &client, "/health").await.contains(" 200 "));
    assert_eq!(
        metric(&hub, &client, LATE).await,
        0,
        "they wait all the while"
    );
    for mut stream in silent {
        let read = timeout(LIMIT, stream.read(&mut [0; 16])).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    }
    metric_is(&hub, &client, LATE, 8).await;
}

#[tokio::test]
async fn a_handshake_under_way_holds_the_place_of_a_connection() {
    let authority = Authority::new();
    let files = files(&authority);
    let client = authority.client();
    let hub = hub(&files).env("MAX_HTTP_CONNECTIONS", "1").start().await;
    let silent = TcpStream::connect(hub.addr).await.expect("connected");
    open(&hub, &client).await.expect_err("there is no place");
    drop(silent);
    // The slot of the silent connection is free once the hub has seen its end.
    let mut refused = 0;
    eventually("a place is free", async || {
        match open(&hub, &client).await {
            Ok(stream) => {
                refused = value(&ask(stream, "/metrics").await, FULL);
                true
            }
            Err(_) => false,
        }
    })
    .await;
    assert!(refused >= 1, "the one that found no place was counted");
}

/// Runs `hubmesh --healthcheck` with the environment of a hub. Returns whether it succeeded, and its complaint.
async fn healthcheck(hub: &HubProcess, files: Option<&Files>) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubmesh"));
    command
        .arg("--healthcheck")
        .env_clear()
        .env("HOST", "localhost")
        .env("PORT", hub.addr.port().to_string())
        .stdin(Stdio::null());
    if let Some(files) = files {
        command
            .env("TLS_CERT", files.cert())
            .env("TLS_KEY", files.key());
    }
    let output = timeout(LIMIT, command.output()).await.expect("in time");
    let output = output.expect("it runs");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), complaint)
}

#[tokio::test]
async fn the_health_check_believes_a_certificate_that_is_for_the_outside() {
    let authority = Authority::new();
    let files = Files::of(&authority.issue_for("hub.example.org"));
    let mut hub = hub(&files).start().await;
    let healthy = healthcheck(&hub, Some(&files)).await;
    assert!(healthy.0, "{}", healthy.1);
    let (content, complaint) = healthcheck(&hub, None).await;
    assert!(!content, "the port does not speak plain HTTP");
    assert!(
        complaint.contains(&hub.addr.port().to_string()),
        "{complaint}"
    );
    hub.kill9().await;
    assert!(!healthcheck(&hub, Some(&files)).await.0, "nobody is there");
}

#[tokio::test]
async fn a_hub_that_drains_says_so_to_peers_over_tls() {
    let authority = Authority::new();
    let files = files(&authority);
    let client: Arc<_> = authority.client();
    let mut hub = hub(&files).env("DRAIN_MS", "0").start().await;
    let peer = join(&hub, &client, "tls").await;
    hub.terminate();
    assert_eq!(peer.is_closed().await.0, 1012);
    assert_eq!(hub.wait_exit().await.code(), Some(0));
}
