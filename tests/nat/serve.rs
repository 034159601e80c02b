//! `peer-client serve` with a hub on this machine: its answers, its refusals, and the failures that it survives.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use http::{Method, StatusCode};
use hubmesh_client::PeerId;
use hubmesh_client::coordinator::{Channel, Connected, Coordinator};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::hub_process::{LIMIT, http};
use crate::p2p::PEER;
use crate::stage::hub;
use crate::tool::command;

/// A `peer-client serve`, and the address at which it listens.
async fn serving(hub: &str, id: &str) -> (Child, SocketAddr) {
    let arguments = ["serve", "--http", "127.0.0.1:0", "--id", id, "--hub", hub];
    let mut child = command(PEER, &arguments).spawn().expect("it starts");
    let told = child.stdout.take().expect("piped");
    let mut lines = BufReader::new(told).lines();
    let line = timeout(LIMIT, lines.next_line()).await.expect("in time");
    let line = line.expect("readable").expect("it goes on");
    let place = line.strip_prefix("serving on http://").expect("an address");
    (child, place.parse().expect("an address"))
}

#[tokio::test]
async fn serve_connects_on_request_and_tells_its_status() {
    let (_, builder) = hub();
    let hub = builder.env("SIGNAL_WAIT_MS", "100").start().await;
    let url = hub.ws_url();
    let id = PeerId::random().to_string();
    let (_ada, place) = serving(&url, &id).await;
    let other = PeerId::random().to_string();
    let (_bob, _) = serving(&url, &other).await;
    let path = format!("/p2p/connect/{other}");
    let answer = http(place, Method::POST, &path, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let made = answer.json();
    assert_eq!(
        (&made["peerId"], &made["method"]),
        (&Value::from(other), &"direct".into())
    );
    let answer = http(place, Method::GET, "/p2p/status", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let told = answer.json();
    assert_eq!(told["peerId"], id.as_str());
    assert_eq!(told["nat"]["type"], "open");
    assert_eq!(told["strategy"]["requiresTurn"], false);
    assert_eq!(
        (&told["stats"]["active"], &told["stats"]["successRate"]),
        (&1.into(), &1.0.into())
    );
    assert_eq!(told["connections"][0], made);
    let nobody = format!("/p2p/connect/{}", PeerId::random());
    for (method, path, header, expected) in [
        (Method::POST, nobody.as_str(), None, StatusCode::NOT_FOUND),
        (
            Method::POST,
            "/p2p/connect/short",
            None,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::GET,
            path.as_str(),
            None,
            StatusCode::METHOD_NOT_ALLOWED,
        ),
        (Method::GET, "/p2p", None, StatusCode::NOT_FOUND),
        (
            Method::POST,
            path.as_str(),
            Some(("origin", "https://page.example")),
            StatusCode::FORBIDDEN,
        ),
        (
            Method::GET,
            "/p2p/status",
            Some(("host", "page.example")),
            StatusCode::MISDIRECTED_REQUEST,
        ),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let answer = http(place, method, path, &headers).await;
        assert_eq!(answer.status, expected, "{path}: {}", answer.body);
        assert!(answer.json()["error"].is_string());
    }
}

async fn comes_back(connected: &Connected, word: &[u8]) -> bool {
    let Channel::Datagram(datagram) = &connected.channel else {
        panic!("a stream")
    };
    datagram.send(word).await.expect("sent");
    // A second is long for a datagram within one machine, and no event shows that none will arrive.
    let back = timeout(Duration::from_secs(1), datagram.recv()).await;
    back.is_ok_and(|back| back.expect("it is there").as_deref() == Some(word))
}

#[tokio::test]
async fn of_two_ends_the_one_that_was_asked_echoes_so_that_nothing_goes_round_for_ever() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let id = PeerId::random().to_string();
    let (_serves, place) = serving(&hub.ws_url(), &id).await;
    let url = hub.ws_url().parse().expect("a URL");
    let carol = Coordinator::builder().signaling(url).build();
    let carol_id = PeerId::random();
    carol.register_peer(&carol_id).await.expect("registered");
    let asked = carol.connect_to_peer(&id).await.expect("connected");
    assert!(comes_back(&asked, b"echo").await);
    let path = format!("/p2p/connect/{carol_id}");
    let (answer, accepted) = tokio::join!(http(place, Method::POST, &path, &[]), carol.accept());
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(!comes_back(&accepted.expect("connected"), b"no echo").await);
}

#[tokio::test]
async fn serve_outlives_want_of_descriptors_and_says_where_it_listens_for_everybody() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let url = hub.ws_url();
    let mut limited = Command::new("bash");
    let arguments = ["serve", "--http", "0.0.0.0:0", "--hub", &url];
    limited
        .args(["-c", "ulimit -n 32 && exec \"$0\" \"$@\"", PEER])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = limited.spawn().expect("it starts");
    let mut told = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut warned = BufReader::new(child.stderr.take().expect("piped")).lines();
    let line = timeout(LIMIT, told.next_line()).await.expect("in time");
    let line = line.expect("readable").expect("it goes on");
    let port = line.rsplit(':').next().expect("a port");
    let place: SocketAddr = format!("127.0.0.1:{port}").parse().expect("a place");
    let mut said = async |part: &'static str| {
        let saying = async {
            while let Some(line) = warned.next_line().await.expect("readable") {
                if line.contains(part) {
                    return;
                }
            }
            panic!("it ended")
        };
        timeout(LIMIT, saying).await.expect("in time");
    };
    said("not a loopback address").await;
    // These are more connections than it has descriptors, and fewer than the requests that it accepts at once.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(place).await.expect("it listens"));
    }
    said("cannot accept requests for now").await;
    drop(silent);
    let answer = http(place, Method::GET, "/p2p/status", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

#[tokio::test]
async fn requests_that_never_come_hold_nobody_up_for_ever() {
    let (_, builder) = hub();
    let hub = builder.start().await;
    let id = PeerId::random().to_string();
    let (_serves, place) = serving(&hub.ws_url(), &id).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(place).await.expect("it listens"));
    }
    let answer = http(place, Method::GET, "/p2p/status", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}
