//! The HTTP side over real sockets: status pages, who may switch to a WebSocket, and what is refused.
//!
//! Behind it stands a backend that echoes, so that nothing here depends on what peers and hubs say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use hubmesh::config::Config;
use hubmesh::http::{App, Arrival, Backend, bind};
use hubmesh::mesh::core::ids::HubId;
use hubmesh::mesh::{BootstrapView, HubView, MeshView};
use hubmesh::metrics::{Metrics, Refusal};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PEER: &str = "0123456789abcdef0123456789abcdef01234567";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Echoes to peers and hubs, behind a greeting that says who they are to it.
struct Echo {
    places: Arc<Semaphore>,
}

impl Echo {
    async fn echo(mut socket: WebSocketStream<TcpStream>, greeting: String) {
        let _ = socket.send(Message::text(greeting)).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                let _ = socket.send(message).await;
            }
        }
    }
}

impl Backend for Echo {
    type Permit = OwnedSemaphorePermit;

    fn try_admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    async fn peer(
        &self,
        socket: TcpStream,
        ahead: Bytes,
        arrival: Arrival,
        _permit: OwnedSemaphorePermit,
    ) {
        let socket =
            WebSocketStream::from_partially_read(socket, ahead.into(), Role::Server, None).await;
        Self::echo(
            socket,
            format!("{} from {}", arrival.peer, arrival.remote.ip()),
        )
        .await;
    }

    async fn hub(&self, socket: WebSocketStream<TcpStream>, remote: SocketAddr) {
        Self::echo(socket, format!("hub from {}", remote.ip())).await;
    }

    fn view(&self) -> MeshView {
        let neighbour = HubId([2; 20]);
        MeshView {
            hub_id: HubId([1; 20]),
            namespace: "tests".into(),
            hubs: vec![HubView {
                id: neighbour,
                url: Some("ws://127.0.0.1:1/".into()),
                region: "ams".into(),
                direct: true,
                next_hop: None,
                hops: 1,
                rtt: Some(Duration::from_micros(1500)),
                peers: 4,
                first_seen_ms: 1000,
                last_seen_ms: 2000,
                draining: false,
            }],
            networks: vec![("global".into(), 5), ("other".into(), 1)],
            bootstrap: vec![
                BootstrapView {
                    url: "ws://127.0.0.1:1/".into(),
                    connected: true,
                    hub: Some(neighbour),
                    last_attempt_ms: Some(900),
                    attempt: 1,
                },
                BootstrapView {
                    url: "dns+ws://hubs:80".into(),
                    connected: false,
                    hub: None,
                    last_attempt_ms: None,
                    attempt: 7,
                },
            ],
            local_peers: 2,
            peers: 6,
            links: 1,
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A served app; killed when dropped.
struct Served {
    app: Arc<App<Echo>>,
    metrics: Arc<Metrics>,
    addr: SocketAddr,
}

impl Served {
    async fn new(vars: &[(&str, &str)]) -> Self {
        let base = [("HOST", "127.0.0.1"), ("PORT", "0")];
        let vars = base.iter().chain(vars).copied();
        let config = Config::from_vars(vars).expect("a good configuration");
        let metrics = Metrics::new();
        let echo = Echo {
            places: Arc::new(Semaphore::new(config.max_connections)),
        };
        let listeners = bind(&config.host, config.port).await.expect("a free port");
        let addr = listeners[0].local_addr().expect("a bound socket");
        let app = App::new(echo, Arc::new(config), Arc::clone(&metrics));
        app.serve(listeners);
        Served { app, metrics, addr }
    }

    /// One request on a connection of its own.
    async fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: hub\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            head += "Connection: close\r\n";
        }
        Answer::read(&self.raw(&(head + "\r\n")).await)
    }

    async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[]).await
    }

    /// Sends this and reads until the server closes.
    async fn raw(&self, text: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.addr)
            .await
            .expect("the server accepts");
        stream
            .write_all(text.as_bytes())
            .await
            .expect("the server reads");
        let mut answer = Vec::new();
        let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
        read.expect("the server closes")
            .expect("the server answers");
        answer
    }

    /// A WebSocket with this target and these headers, or the refusal.
    async fn connect(
        &self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Socket, (StatusCode, Value)> {
        let url = format!("ws://{}{target}", self.addr);
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a header name");
            request
                .headers_mut()
                .insert(name, value.parse().expect("a header value"));
        }
        let connected = timeout(TIMEOUT, tokio_tungstenite::connect_async(request)).await;
        match connected.expect("an answer in time") {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err((
                    response.status(),
                    serde_json::from_slice(body).unwrap_or(Value::Null),
                ))
            }
            Err(other) => panic!("neither a WebSocket nor a refusal: {other}"),
        }
    }

    fn refused(&self, why: Refusal) -> u64 {
        self.metrics.refusals.of(why).get()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.app.kill();
    }
}

async fn next_text(socket: &mut Socket) -> String {
    let message = timeout(TIMEOUT, socket.next())
        .await
        .expect("a message in time");
    message
        .expect("an open socket")
        .expect("a message")
        .into_text()
        .expect("text")
        .to_string()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a status line");
        let headers = lines.filter_map(|line| line.split_once(": "));
        Answer {
            status: status.parse().expect("a number"),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }
}

#[tokio::test]
async fn the_root_says_what_this_is() {
    let served = Served::new(&[]).await;
    let answer = served.get("/").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(answer.json()["name"], "hubmesh");
    assert_eq!(answer.json()["endpoints"]["mesh"], "/mesh");
}

#[tokio::test]
async fn health_has_the_fields_that_clients_read() {
    let served = Served::new(&[]).await;
    let answer = served.get("/health").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["isHub"], true);
    assert_eq!(
        (&body["connections"], &body["peers"]),
        (&json!(0), &json!(6))
    );
    assert_eq!((&body["hubs"], &body["networks"]), (&json!(1), &json!(2)));
    assert!(
        body["uptime"].is_u64() && body["timestamp"].is_string(),
        "{body}"
    );
}

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
async fn metrics_are_json_unless_the_text_is_asked_for() {
    let served = Served::new(&[("FLY_REGION", "fra"), ("FLY_APP_NAME", "pigeons")]).await;
    let body = served
        .request("GET", "/metrics", &[("Accept", "*/*")])
        .await
        .json();
    let server =
        json!({"is_hub": true, "namespace": "tests", "region": "fra", "app_name": "pigeons"});
    assert_eq!(body["server"], server);
    assert_eq!(body["connections"]["max"], 1000);
    assert_eq!(body["peers"]["networks"], json!({"global": 5, "other": 1}));
    assert_eq!(
        body["hubs"],
        json!({"discovered": 1, "bootstrap_connected": 1})
    );
    assert!(
        body["uptime_ms"].is_u64() && body["messages"].is_object(),
        "{body}"
    );

    let text = served
        .request("GET", "/metrics", &[("Accept", "text/plain;version=0.0.4")])
        .await;
    let text_type = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(text.header("content-type"), text_type);
    assert!(
        text.body.contains("\nhubmesh_directory_peers 6\n"),
        "{}",
        text.body
    );
}

#[tokio::test]
async fn hubs_stats_and_hubstats_show_the_mesh() {
    let served = Served::new(&[]).await;
    let (own, other) = ("01".repeat(20), "02".repeat(20));
    let hubs = served.get("/hubs").await.json();
    assert_eq!(hubs["totalHubs"], 1);
    let hub = &hubs["hubs"][0];
    assert_eq!(
        (&hub["peerId"], &hub["networkName"]),
        (&json!(other), &json!("tests"))
    );
    assert_eq!(
        (&hub["registeredAt"], &hub["lastActivity"]),
        (&json!(1000), &json!(2000))
    );
    assert_eq!(
        (&hub["rttMs"], &hub["direct"], &hub["peers"]),
        (&json!(1.5), &json!(true), &json!(4))
    );

    let stats = served.get("/stats").await.json();
    assert_eq!(
        (&stats["isRunning"], &stats["hubPeerId"]),
        (&json!(true), &json!(own))
    );
    assert_eq!(stats["bootstrapHubs"], json!({"total": 2, "connected": 1}));
    assert_eq!(stats["port"], served.addr.port());

    let hubstats = served.get("/hubstats").await.json();
    assert_eq!(
        (&hubstats["totalHubs"], &hubstats["connectedHubs"]),
        (&json!(1), &json!(1))
    );
    let second = json!({
        "uri": "dns+ws://hubs:80", "connected": false, "hub": null, "lastAttempt": null,
        "attemptNumber": 7
    });
    assert_eq!(hubstats["bootstrapHubs"][1], second);
}

#[tokio::test]
async fn errors_are_json_with_the_right_status() {
    let served = Served::new(&[]).await;
    for (method, target, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/health/more", 404),
        ("POST", "/nothing", 404),
        ("POST", "/health", 405),
        ("DELETE", "/", 405),
        ("GET", "/ws", 426),
        ("GET", "/mesh", 426),
    ] {
        let answer = served.request(method, target, &[]).await;
        assert_eq!(answer.status, status, "{method} {target}");
        assert!(
            answer.json()["error"].is_string(),
            "{method} {target}: {}",
            answer.body
        );
    }
    let not_allowed = served.request("POST", "/health", &[]).await;
    assert_eq!(not_allowed.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let served = Served::new(&[]).await;
    let answer = served.request("HEAD", "/health", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn every_origin_may_read_by_default() {
    let served = Served::new(&[]).await;
    let origin = [("Origin", "https://a.example")];
    let answer = served.request("GET", "/health", &origin).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let preflight = served.request("OPTIONS", "/health", &origin).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("GET, HEAD, OPTIONS")
    );
    let headers = preflight.header("access-control-allow-headers");
    assert_eq!(headers, Some("Authorization, Content-Type"));
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

/// A request for a WebSocket, up to and with the empty line.
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
    // A masked text frame, its mask all zeros.
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
    for target in ["/ws", "/", "/ws?peerId=", "/ws?peerId=abc", &long] {
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
    let mut first = served.connect(&target, &[]).await.expect("room for one");
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

#[tokio::test]
async fn a_connection_that_never_finishes_its_request_is_closed() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "100")]).await;
    let answer = served
        .raw("GET /health HTTP/1.1\r\nHost: hub\r\nX-Slow: ")
        .await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}

/// Waits until no connection but WebSockets is served.
async fn idle(served: &Served) {
    let gone = timeout(TIMEOUT, async {
        while served.metrics.http_connections_open.get() > 0 {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("the connection ends in time");
}

#[tokio::test]
async fn a_connection_that_keeps_asking_is_closed_after_a_while() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "100")]).await;
    let mut stream = TcpStream::connect(served.addr).await.expect("connected");
    let mut answers = 0;
    let asked = timeout(TIMEOUT, async {
        let mut chunk = [0; 4096];
        while stream
            .write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
            .await
            .is_ok()
        {
            match stream.read(&mut chunk).await {
                Ok(count) if count > 0 => answers += 1,
                _ => break,
            }
        }
    });
    asked.await.expect("closed in time");
    assert!(answers > 1, "only {answers} answers");
    idle(&served).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let served = Served::new(&[("HEADER_TIMEOUT_MS", "100")]).await;
    let stream = TcpStream::connect(served.addr).await.expect("connected");
    let (_unread, mut write) = stream.into_split();
    let asking = tokio::spawn(async move {
        let request = b"GET /metrics HTTP/1.1\r\nHost: hub\r\nAccept: text/plain\r\n\r\n";
        while write.write_all(request).await.is_ok() {}
    });
    timeout(TIMEOUT, asking)
        .await
        .expect("cut off in time")
        .expect("no panic");
    idle(&served).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let served = Served::new(&[("MAX_HTTP_CONNECTIONS", "1")]).await;
    let idle = TcpStream::connect(served.addr).await.expect("connected");
    // The second is accepted after the first, which holds the only place.
    let mut second = TcpStream::connect(served.addr).await.expect("connected");
    let mut byte = [0];
    let read = timeout(TIMEOUT, second.read(&mut byte))
        .await
        .expect("closed in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(served.refused(Refusal::HttpFull), 1);
    drop(idle);
}

#[tokio::test]
async fn a_websocket_does_not_hold_the_place_of_an_http_connection() {
    let served = Served::new(&[("MAX_HTTP_CONNECTIONS", "1")]).await;
    let target = format!("/ws?peerId={PEER}");
    let mut socket = served.connect(&target, &[]).await.expect("let in");
    // The greeting comes after the switch, with which the place is given back.
    next_text(&mut socket).await;
    idle(&served).await;
    assert_eq!(served.get("/health").await.status, 200);
}

#[tokio::test]
async fn killing_the_app_leaves_no_task_behind() {
    let served = Served::new(&[]).await;
    let target = format!("/ws?peerId={PEER}");
    let mut socket = served.connect(&target, &[]).await.expect("let in");
    next_text(&mut socket).await;
    let _idle = TcpStream::connect(served.addr).await.expect("connected");
    served.app.kill();
    timeout(TIMEOUT, served.app.wait())
        .await
        .expect("all tasks end");
    assert_eq!(served.metrics.http_connections_open.get(), 0);
    assert!(
        TcpStream::connect(served.addr).await.is_err(),
        "nothing listens any more"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let served = Served::new(&[]).await;
    let error = bind("127.0.0.1", served.addr.port())
        .await
        .expect_err("in use")
        .to_string();
    assert!(
        error.contains(&served.addr.to_string()) && error.contains("in use"),
        "{error}"
    );
}

#[tokio::test]
async fn localhost_listens_on_one_port_for_all_its_addresses() {
    let listeners = bind("localhost", 0).await.expect("a free port");
    let addrs: Vec<_> = listeners
        .iter()
        .map(|one| one.local_addr().expect("bound"))
        .collect();
    assert!(addrs[0].is_ipv4(), "{addrs:?}");
    let port = addrs[0].port();
    assert!(
        addrs
            .iter()
            .all(|addr| addr.port() == port && addr.ip().is_loopback()),
        "{addrs:?}"
    );
}
