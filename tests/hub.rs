//! A whole hub in this process: how it starts, ends and counts.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hubmesh::config::Config;
use hubmesh::hub::{Hub, RunningHub, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const TIMEOUT: Duration = Duration::from_secs(20);

async fn start(vars: &[(&str, &str)]) -> Result<RunningHub, StartError> {
    let base = [("HOST", "127.0.0.1"), ("PORT", "0")];
    let config = Config::from_vars(base.iter().chain(vars).copied()).expect("a good configuration");
    timeout(TIMEOUT, Hub::start(config))
        .await
        .expect("a start in time")
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(hub: &RunningHub, number: u8) -> Socket {
    let url = format!("ws://{}/?peerId={}", hub.addr(), hex::encode([number; 20]));
    let connected = timeout(TIMEOUT, tokio_tungstenite::connect_async(url)).await;
    let (mut socket, _) = connected.expect("in time").expect("let in");
    until(&mut socket, "connected").await;
    socket
}

/// Reads until a message of this type arrives.
async fn until(socket: &mut Socket, kind: &str) -> serde_json::Value {
    let found = timeout(TIMEOUT, async {
        loop {
            let message = socket.next().await.expect("open").expect("a message");
            let Message::Text(text) = message else {
                continue;
            };
            let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            if message["type"] == kind {
                return message;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("no {kind} in time"))
}

async fn announce(socket: &mut Socket) {
    let text = r#"{"type":"announce","networkName":"n","data":{}}"#;
    socket.send(Message::text(text)).await.expect("sent");
}

#[tokio::test]
async fn two_peers_of_one_hub_discover_each_other() {
    let hub = start(&[]).await.expect("started");
    let (mut one, mut two) = (connect(&hub, 1).await, connect(&hub, 2).await);
    announce(&mut one).await;
    announce(&mut two).await;
    let (one_id, two_id) = (hex::encode([1; 20]), hex::encode([2; 20]));
    assert_eq!(
        until(&mut one, "peer-discovered").await["data"]["peerId"],
        two_id
    );
    assert_eq!(
        until(&mut two, "peer-discovered").await["data"]["peerId"],
        one_id
    );
    timeout(TIMEOUT, hub.stop()).await.expect("an end in time");
}

#[tokio::test]
async fn after_a_drain_all_that_came_have_gone_and_nothing_listens() {
    let hub = start(&[("DRAIN_MS", "50")]).await.expect("started");
    let mut sockets = vec![connect(&hub, 1).await, connect(&hub, 2).await];
    announce(&mut sockets[0]).await;
    let (addr, metrics) = (hub.addr(), hub.metrics().clone());
    assert_eq!(
        (metrics.connections_accepted(), metrics.connections_open()),
        (2, 2)
    );
    let clients = futures::future::join_all(
        sockets
            .into_iter()
            .map(|socket| timeout(TIMEOUT, socket.for_each(|_| std::future::ready(())))),
    );
    let (ended, clients) = tokio::join!(timeout(TIMEOUT, hub.drain()), clients);
    ended.expect("drained in time");
    assert!(
        clients.iter().all(Result::is_ok),
        "a peer was not sent away"
    );
    assert_eq!(
        (metrics.connections_closed(), metrics.connections_open()),
        (2, 0)
    );
    let text = metrics.exposition();
    assert!(
        text.contains("hubmesh_connections_closed_total{reason=\"draining\"} 2"),
        "{text}"
    );
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_stopped_hub_frees_its_port() {
    // Another test may get the port before it is bound again, but hardly in each of five rounds.
    for _ in 0..5 {
        if next_hub_has_the_port_of_a_stopped_one().await {
            return;
        }
    }
    panic!("no hub could have the port of one that was stopped");
}

async fn next_hub_has_the_port_of_a_stopped_one() -> bool {
    let hub = start(&[]).await.expect("started");
    let _peer = connect(&hub, 1).await;
    let (addr, metrics) = (hub.addr(), hub.metrics().clone());
    timeout(TIMEOUT, hub.stop()).await.expect("an end in time");
    assert_eq!(metrics.connections_open(), 0);
    start(&[("PORT", &addr.port().to_string())]).await.is_ok()
}

#[tokio::test]
async fn a_hub_does_not_take_the_next_port() {
    let hub = start(&[]).await.expect("started");
    let port = hub.addr().port().to_string();
    assert!(matches!(
        start(&[("PORT", &port)]).await,
        Err(StartError::Bind(_))
    ));
}

/// The status of the answer at this address and path.
async fn status(addr: SocketAddr, path: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = timeout(TIMEOUT, stream.read_to_string(&mut answer)).await;
    read.expect("in time").expect("an answer");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_hub_has_a_door_for_operators_until_it_ends() {
    let settings = [
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("ADMIN_TOKEN", "for-operators-alone"),
    ];
    let hub = start(&settings).await.expect("started");
    let [admin] = *hub.admin_addrs() else {
        panic!("one door, not {:?}", hub.admin_addrs())
    };
    let bearer = "Authorization: Bearer for-operators-alone\r\n";
    for (addr, more, expected) in [
        (admin, bearer, "200"),
        (admin, "", "401"),
        (hub.addr(), bearer, "404"),
    ] {
        assert_eq!(status(addr, "/metrics", more).await, expected, "{addr}");
    }
    assert_eq!(status(hub.addr(), "/health", "").await, "200");
    let taken = [("ADMIN_ADDR", &*admin.to_string())];
    let refused = start(&taken).await.err().expect("no second one there");
    assert!(matches!(refused, StartError::BindAdmin(_)));
    assert!(refused.to_string().starts_with("ADMIN_ADDR"), "{refused}");
    timeout(TIMEOUT, hub.drain()).await.expect("an end in time");
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn a_dropped_hub_serves_nobody() {
    let hub = start(&[]).await.expect("started");
    let (addr, metrics, mut peer) = (hub.addr(), hub.metrics().clone(), connect(&hub, 1).await);
    drop(hub);
    let ended = timeout(TIMEOUT, async {
        while let Some(Ok(_)) = peer.next().await {}
    });
    ended.await.expect("the peer's connection ends");
    assert_eq!(metrics.connections_open(), 0);
    let refused = timeout(TIMEOUT, async {
        while TcpStream::connect(addr).await.is_ok() {}
    });
    refused.await.expect("nothing listens");
}
