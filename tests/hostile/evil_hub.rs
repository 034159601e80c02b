//! A hub that has the mesh token and breaks the rules: it can send any bytes over its link.
//!
//! Owns one WebSocket to `/mesh`, greeted with the project's own handshake, and the encoder of its control messages.
//! It also reads, so that the attacked hub never has to wait for it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use hubmesh::mesh::handshake::{self, HandshakeError, Identity};
use hubmesh_core::api::Bye;
use hubmesh_core::frames::{Change, Claim, ControlFrame, DataFrame, Delta, Entry, LinkRecord};
use hubmesh_core::ids::{ClaimNo, Dialect, Hlc, HubId, Incarnation, NetworkKey, PeerId};
use hubmesh_core::wire::{Decoder, Encoder, decode_data, encode_data, is_data};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::arena::TOKEN;
use crate::hub_process::{HubProcess, LIMIT};

/// The identity that the attacker claims.
pub fn identity(token: &str) -> Identity {
    Identity {
        hub: HubId(rand::random()),
        incarnation: Incarnation {
            epoch: 0,
            nonce: rand::random(),
        },
        namespace: "pigeonhub-mesh".to_owned(),
        token: token.to_owned(),
    }
}

/// A WebSocket on `/mesh`, before any greeting.
pub async fn mesh_socket(hub: &HubProcess) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(hub.addr).await.expect("the hub listens");
    stream.set_nodelay(true).expect("a fresh socket");
    let url = format!("{}/mesh", hub.ws_url());
    client_async(url, stream).await.expect("a WebSocket").0
}

/// Like [`mesh_socket`], for a client that connects through a proxy. The proxy says that the client's address is
/// `from`.
async fn mesh_socket_from(hub: &HubProcess, from: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(hub.addr).await.expect("the hub listens");
    stream.set_nodelay(true).expect("a fresh socket");
    let url = format!("{}/mesh", hub.ws_url());
    let mut request = url.into_client_request().expect("a URL");
    let from = from.parse().expect("an address");
    request.headers_mut().insert("X-Forwarded-For", from);
    client_async(request, stream).await.expect("a WebSocket").0
}

/// A link of the attacker to the victim.
pub struct EvilHub {
    pub me: Identity,
    /// The hub at the other end.
    pub victim: HubId,
    /// The victim's incarnation.
    pub victim_life: Incarnation,
    socket: WebSocketStream<TcpStream>,
    encoder: Encoder,
    decoder: Decoder,
}

impl EvilHub {
    /// Links with the right token.
    pub async fn link(hub: &HubProcess) -> Self {
        Self::try_link(hub, identity(TOKEN)).await.expect("a link")
    }

    /// Links with the right token, from the address `from`, as the hub's proxy reports it.
    pub async fn link_from(hub: &HubProcess, from: &str) -> Self {
        let socket = mesh_socket_from(hub, from).await;
        let link = Self::greet(socket, identity(TOKEN)).await;
        link.expect("a link")
    }

    pub async fn try_link(hub: &HubProcess, me: Identity) -> Result<Self, HandshakeError> {
        Self::greet(mesh_socket(hub).await, me).await
    }

    async fn greet(
        mut socket: WebSocketStream<TcpStream>,
        me: Identity,
    ) -> Result<Self, HandshakeError> {
        let peered = handshake::dial(&mut socket, &me, 1).await?;
        Ok(Self {
            me,
            victim: peered.hub,
            victim_life: peered.incarnation,
            socket,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
        })
    }

    /// Sends a message unchanged; false once the hub has closed the link.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> bool {
        let sending = self.socket.send(Message::Binary(message.into()));
        match timeout(LIMIT, sending).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => panic!("the hub neither reads nor closes"),
        }
    }

    pub async fn control(&mut self, frame: &ControlFrame) -> bool {
        self.control_times(frame, 1).await
    }

    /// Sends the same frame `times` times, in one message.
    pub async fn control_times(&mut self, frame: &ControlFrame, times: usize) -> bool {
        let mut message = BytesMut::new();
        for _ in 0..times {
            self.encoder.encode(frame, &mut message);
        }
        self.send(message.freeze()).await
    }

    pub async fn data(&mut self, frame: &DataFrame) -> bool {
        let mut message = BytesMut::new();
        encode_data(frame, &mut message);
        self.send(message.freeze()).await
    }

    /// The attacker's own record. It names the victim as a neighbour, and these `others`, which do not exist.
    pub fn record(&self, number: u64, others: &[HubId]) -> LinkRecord {
        let mut neighbours: Vec<(HubId, u16)> = others.iter().map(|hub| (*hub, 1)).collect();
        neighbours.push((self.victim, 1));
        neighbours.sort_unstable();
        LinkRecord {
            hub: self.me.hub,
            incarnation: self.me.incarnation,
            number,
            draining: false,
            urls: Vec::new(),
            region: String::new(),
            neighbours,
        }
    }

    /// Becomes a hub of the mesh: sends its record, and waits until the victim asks for its claims.
    pub async fn enter(&mut self) {
        let record = self.record(1, &[]);
        let line = record.digest();
        assert!(self.control(&ControlFrame::Digest(vec![line])).await);
        assert!(self.control(&ControlFrame::Records(vec![record])).await);
        let me = self.me.hub;
        let asks = |frame: &ControlFrame| matches!(frame, ControlFrame::Subscribe { origin, .. } if *origin == me);
        self.until(asks)
            .await
            .expect("the victim asks for the claims");
    }

    /// Claims `many` peers of its own, each with this data.
    pub async fn claim_peers(&mut self, many: u64, data: &[u8]) -> bool {
        let claim = |number: u64| Claim {
            network: NetworkKey::new(Dialect::Pigeon, "made up").expect("a network"),
            peer: PeerId::Hex(rand::random()),
            claim: ClaimNo(number),
            hlc: Hlc::from_wall(1_700_000_000_000),
            quiet: false,
            data: Some(Bytes::copy_from_slice(data)),
        };
        let entries = (1..=many).map(|seq| Entry {
            seq,
            change: Change::Claim(claim(seq)),
        });
        let delta = Delta {
            origin: self.me.hub,
            incarnation: self.me.incarnation,
            from: 0,
            reset: true,
            last: true,
            to: many,
            entries: entries.collect(),
        };
        self.control(&ControlFrame::Delta(delta)).await
    }

    /// The next control frame that `wanted` picks; `None` once the link has ended. Answers pings meanwhile.
    pub async fn until(&mut self, wanted: impl Fn(&ControlFrame) -> bool) -> Option<ControlFrame> {
        let end = Instant::now() + LIMIT;
        loop {
            let (control, _) = self.frames(end).await?;
            if let Some(frame) = control.into_iter().find(&wanted) {
                return Some(frame);
            }
        }
    }

    /// Like [`Self::until`], for frames of the data path.
    pub async fn until_data(&mut self, wanted: impl Fn(&DataFrame) -> bool) -> Option<DataFrame> {
        let end = Instant::now() + LIMIT;
        loop {
            let (_, data) = self.frames(end).await?;
            if let Some(frame) = data.into_iter().find(&wanted) {
                return Some(frame);
            }
        }
    }

    /// The frames of the next message: first its control frames, then its data frames. Answers pings.
    async fn frames(&mut self, end: Instant) -> Option<(Vec<ControlFrame>, Vec<DataFrame>)> {
        let message = timeout_at(end, self.socket.next()).await;
        let message = message.expect("the frame, or an end, in time")?.ok()?;
        let Message::Binary(bytes) = message else {
            return Some((Vec::new(), Vec::new()));
        };
        if is_data(&bytes) {
            return Some((Vec::new(), decode_data(&bytes).expect("a hub's data")));
        }
        let control = self.decoder.decode(&bytes).expect("a hub's control");
        for frame in &control {
            if let ControlFrame::Ping { token } = frame {
                self.control(&ControlFrame::Pong { token: *token }).await;
            }
        }
        Some((control, Vec::new()))
    }

    /// The hub's reason for ending the link; `None` if it gives none.
    pub async fn bye(&mut self) -> Option<Bye> {
        match self
            .until(|frame| matches!(frame, ControlFrame::Bye(_)))
            .await
        {
            Some(ControlFrame::Bye(bye)) => Some(bye),
            _ => None,
        }
    }

    /// Whether the link is still up, so that the hub answers a ping.
    pub async fn stands(&mut self) -> bool {
        let token: u64 = rand::random();
        if !self.control(&ControlFrame::Ping { token }).await {
            return false;
        }
        let pong = self.until(|frame| *frame == ControlFrame::Pong { token });
        timeout(Duration::from_secs(5), pong)
            .await
            .is_ok_and(|pong| pong.is_some())
    }
}
