//! A served app over a backend that echoes, and the client's side of HTTP and WebSockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use hubmesh::config::{Config, IceUrl};
use hubmesh::http::{App, Backend, Permits, UpgradeRequest, bind};
use hubmesh::limits::{NoSlot, Pressure};
use hubmesh::mesh::{
    BootstrapView, Condition, HubReport, HubView, MeshView, NetworkSketch, Observed, RoomCounts,
    RoomSketch, Sketches,
};
use hubmesh::metrics::{Metrics, Refusal};
use hubmesh::peers::reason::CloseReason;
use hubmesh::session::{NoVisit, Stay, Visitor};
use hubmesh::tls::Stream;
use hubmesh::watch::Watch;
use hubmesh_core::api::{Room, RoomClaim};
use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use hubmesh_core::reach::Reach;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub const PEER: &str = "0123456789abcdef0123456789abcdef01234567";
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The number of rooms of another hub, if this hub does not know the networks of some dialect.
pub const ROOMS: usize = 20;

/// Sends the messages of peers and hubs back to them. Its greeting names the peer or says `hub`, and names the address.
pub struct Echo {
    slots: Arc<Semaphore>,
    pub links: AtomicUsize,
    pub is_synced: AtomicBool,
    pub is_running: AtomicBool,
    pub watch: Arc<Watch>,
    /// The peers that operators asked to remove, each with its network.
    pub removed: Mutex<Vec<String>>,
    /// For each question about awaited ids: how many of them each hub may name.
    pub listed: Mutex<Vec<usize>>,
    pressure: Pressure,
    /// The dialect whose networks only another hub knows.
    pub unseen: Option<Dialect>,
    /// The permits for looks at networks. Each look ends once it has got a permit.
    pub looks: Semaphore,
    /// How many looks have begun.
    pub looked: AtomicUsize,
    /// Whether networks become known by looks.
    pub is_kept: AtomicBool,
    /// Hubs of which this hub does not know yet what they list.
    pub unlisted: Mutex<Vec<HubId>>,
    /// What another hub tells of each of its rooms.
    pub told: Mutex<NetworkSketch>,
    /// The permits for questions about networks. Each is answered once it has got a permit.
    pub answers: Semaphore,
    /// Whether the other hub is silent when it is asked.
    pub is_silent: AtomicBool,
    /// The most networks that one page asks for.
    pub most_asked: AtomicUsize,
    /// The room that this hub knows under every name.
    pub known: Mutex<Option<Room>>,
    /// For each question about networks: how many networks it was about.
    pub sketched: Mutex<Vec<usize>>,
}

impl Echo {
    async fn echo<S>(mut socket: WebSocketStream<S>, greeting: String)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
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

    fn try_admit(&self, _: IpAddr) -> Result<OwnedSemaphorePermit, NoSlot> {
        let slots = Arc::clone(&self.slots);
        slots.try_acquire_owned().map_err(|_| NoSlot::Full)
    }

    async fn peer(
        &self,
        socket: Stream,
        ahead: Bytes,
        request: UpgradeRequest,
        _permits: Permits<Self>,
    ) {
        let socket =
            WebSocketStream::from_partially_read(socket, ahead.into(), Role::Server, None).await;
        let peer = request.peer.expect("it names itself in its address");
        Self::echo(socket, format!("{peer} from {}", request.remote)).await;
    }

    async fn turn_away(&self, socket: Stream, ahead: Bytes, dialect: Dialect, why: &str) {
        hubmesh::session::turn_away(socket, &ahead, dialect, why).await;
    }

    async fn hub(&self, socket: WebSocketStream<Observed<Stream>>, remote: SocketAddr, _: Reach) {
        Self::echo(socket, format!("hub from {}", remote.ip())).await;
    }

    fn servers_nearby(&self) -> Vec<IceUrl> {
        Vec::new()
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
                cost: 2,
                told_by: Reach::Loopback,
                rtt: Some(Duration::from_micros(1500)),
                peers: 4,
                synced: self.is_synced.load(Ordering::Relaxed),
                first_seen_ms: 1000,
                last_seen_ms: 2000,
                draining: false,
            }],
            networks: 2,
            bootstrap: vec![
                BootstrapView {
                    url: "ws://127.0.0.1:1/".into(),
                    connected: true,
                    problem: None,
                    hub: Some(neighbour),
                    last_attempt_ms: Some(900),
                    attempt: 1,
                },
                BootstrapView {
                    url: "dns+ws://hubs:80".into(),
                    connected: false,
                    problem: Some("the name has no address".into()),
                    hub: None,
                    last_attempt_ms: None,
                    attempt: 7,
                },
            ],
            local_peers: 2,
            peers: 6,
            links: self.links.load(Ordering::Relaxed),
        }
    }

    fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    fn networks(&self) -> Vec<(NetworkKey, usize)> {
        let network = |name| NetworkKey::new(Dialect::Pigeon, name).expect("a name");
        let mut all = vec![(network("global"), 5), (network("other"), 1)];
        if self.unseen == Some(Dialect::Coordinator) {
            all.extend(NetworkKey::new(Dialect::Coordinator, "movie").map(|movie| (movie, 2)));
        }
        all
    }

    fn rooms(&self) -> Vec<NetworkKey> {
        let room = |number| NetworkKey::new(Dialect::Rooms, &format!("{number:02}"));
        let rooms = (0..ROOMS).map(room).filter(|_| self.unseen.is_some());
        rooms.map(|room| room.expect("a name")).collect()
    }

    fn is_narrow(&self) -> bool {
        self.unseen.is_some()
    }

    fn unseen_hubs(&self, network: &NetworkKey) -> Vec<HubId> {
        let is_unseen = self.unseen.is_some() && network.dialect() == self.unseen;
        is_unseen.then_some(HubId([2; 20])).into_iter().collect()
    }

    fn unlisted_hubs(&self) -> Vec<HubId> {
        let unlisted = self.unlisted.lock().expect("nobody panicked");
        unlisted.clone()
    }

    async fn look(&self, _: &NetworkKey) -> bool {
        self.looked.fetch_add(1, Ordering::Relaxed);
        self.looks.acquire().await.expect("it is open").forget();
        self.is_kept.load(Ordering::Relaxed)
    }

    async fn sketches(
        &self,
        networks: &[NetworkKey],
        _: usize,
        avoided: &BTreeSet<HubId>,
        _: Duration,
    ) -> Sketches {
        let other = HubId([2; 20]);
        let (asked, rest) =
            networks.split_at(networks.len().min(self.most_asked.load(Ordering::Relaxed)));
        if avoided.contains(&other) {
            return Sketches {
                silent: BTreeSet::from([other]),
                ..Sketches::default()
            };
        }
        self.sketched
            .lock()
            .expect("nobody panicked")
            .push(asked.len());
        self.answers.acquire().await.expect("it is open").forget();
        let sketch = self.told.lock().expect("nobody panicked").clone();
        let told = asked.iter().map(|one| (one.clone(), sketch.clone()));
        let told: BTreeMap<_, _> = told.collect();
        let is_silent = self.is_silent.load(Ordering::Relaxed);
        Sketches {
            told: if is_silent { BTreeMap::new() } else { told },
            silent: is_silent.then_some(other).into_iter().collect(),
            questions: asked.len(),
            left_out: rest.first().cloned(),
        }
    }

    async fn room_counts(&self, _: Duration) -> BTreeMap<HubId, RoomCounts> {
        BTreeMap::new()
    }

    fn room(&self, _: &NetworkKey) -> Option<Room> {
        self.known.lock().expect("nobody panicked").clone()
    }

    fn by_seniority(&self, _: &NetworkKey) -> Vec<RoomClaim> {
        Vec::new()
    }

    async fn visit(&self, _: Visitor, _: OwnedSemaphorePermit) -> Result<Option<Stay>, NoVisit> {
        Err(CloseReason::NoSuchRoom.into())
    }

    async fn is_visitor(&self, _: &NetworkKey, _: &PeerId, _: Duration) -> bool {
        false
    }

    async fn end_visit_elsewhere(&self, _: Visitor) -> Result<(), NoVisit> {
        Err(CloseReason::NoSuchRoom.into())
    }

    fn renew_visit(&self, _: &NetworkKey, _: &PeerId, _: Option<u64>) -> bool {
        false
    }

    async fn end_visit(&self, _: &NetworkKey, _: &PeerId) -> bool {
        false
    }

    async fn end_empty_rooms(&self, _: usize) -> (usize, usize) {
        (0, 0)
    }

    fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    fn ids(&self, network: &NetworkKey, most: usize) -> Vec<PeerId> {
        let ids = ["ada", "bob"].map(|id| PeerId::new(&format!("{id} in {}", network.name())));
        ids.into_iter().flatten().take(most).collect()
    }

    async fn conditions(&self, _: Duration) -> Vec<HubReport> {
        let condition = Condition {
            version: "9.9.9".into(),
            connections: 3,
            ..Condition::default()
        };
        vec![HubReport {
            hub: HubId([1; 20]),
            condition,
            clock_ahead_ms: -7,
        }]
    }

    fn hub_of(&self, _: &NetworkKey, peer: &PeerId) -> Option<HubId> {
        if self.unseen.is_some() {
            return None;
        }
        let is_here = peer.to_string().starts_with("ada");
        Some(HubId([if is_here { 1 } else { 2 }; 20]))
    }

    fn has_capacity(&self, network: &NetworkKey, _: &PeerId) -> bool {
        network.name() != "peerjs/full"
    }
}

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A served app; killed when dropped.
pub struct Served {
    pub app: Arc<App<Echo>>,
    pub metrics: Arc<Metrics>,
    pub addr: SocketAddr,
    /// The door for operators, with `ADMIN_ADDR`.
    pub admin: Option<SocketAddr>,
}

impl Served {
    pub async fn new(vars: &[(&str, &str)]) -> Self {
        Self::with(vars, None).await
    }

    /// Like [`Self::new`], but only another hub knows the networks of the dialect `unseen`.
    pub async fn with(vars: &[(&str, &str)], unseen: Option<Dialect>) -> Self {
        let base = [("HOST", "127.0.0.1"), ("PORT", "0")];
        let vars = base.iter().chain(vars).copied();
        let config = Config::from_vars(vars).expect("a good configuration");
        let metrics = Metrics::new();
        let echo = Echo {
            slots: Arc::new(Semaphore::new(config.max_connections)),
            links: AtomicUsize::new(1),
            is_synced: AtomicBool::new(true),
            is_running: AtomicBool::new(true),
            watch: Watch::new(HubId([1; 20]), &config.admin, &metrics),
            removed: Mutex::default(),
            listed: Mutex::default(),
            pressure: Pressure::new(config.memory),
            unseen,
            looks: Semaphore::new(0),
            looked: AtomicUsize::new(0),
            is_kept: AtomicBool::new(true),
            unlisted: Mutex::default(),
            told: Mutex::new(NetworkSketch {
                room: Some(RoomSketch::default()),
                ..NetworkSketch::default()
            }),
            answers: Semaphore::new(Semaphore::MAX_PERMITS),
            is_silent: AtomicBool::new(false),
            most_asked: AtomicUsize::new(ROOMS),
            known: Mutex::default(),
            sketched: Mutex::default(),
        };
        let listeners = bind(&config.host, config.port).await.expect("a free port");
        let addr = listeners[0].local_addr().expect("a bound socket");
        let for_operators = match &config.admin.addr {
            Some(addr) => bind(&addr.host, addr.port).await.expect("a free port"),
            None => Vec::new(),
        };
        let admin = for_operators
            .first()
            .map(|listener| listener.local_addr().expect("a bound socket"));
        let app = App::new(echo, Arc::new(config), Arc::clone(&metrics));
        app.serve(listeners, None);
        app.serve_operators(for_operators, None);
        Served {
            app,
            metrics,
            addr,
            admin,
        }
    }

    /// Sends one request on a connection of its own.
    pub async fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        Self::request_at(self.addr, method, target, headers).await
    }

    /// Like [`Self::request`], to this address.
    pub async fn request_at(
        addr: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += "Host: hub\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            head += "Connection: close\r\n";
        }
        Answer::read(&Self::raw_at(addr, &(head + "\r\n")).await)
    }

    /// Sends one request with a body.
    pub async fn request_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        Answer::read(&self.raw(&head).await)
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[]).await
    }

    /// Sends `text` and reads until the server closes the connection.
    pub async fn raw(&self, text: &str) -> Vec<u8> {
        Self::raw_at(self.addr, text).await
    }

    async fn raw_at(addr: SocketAddr, text: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(addr).await.expect("the server accepts");
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

    /// Opens a WebSocket with this target and these headers. The error is the refusal.
    pub async fn connect(
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

    pub fn refused(&self, why: Refusal) -> u64 {
        self.metrics.refusals.of(why).get()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.app.kill();
    }
}

pub async fn next_text(socket: &mut Socket) -> String {
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
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
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

    /// All values of a header, as one list.
    pub fn list(&self, name: &str) -> String {
        let found = self.headers.iter().filter(|(found, _)| found == name);
        let values: Vec<&str> = found.map(|(_, value)| value.as_str()).collect();
        values.join(", ")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }
}
