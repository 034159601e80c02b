//! A mesh of one hub that accepts every join at once, and clients over in-memory streams.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hashbrown::HashMap;
use hubmesh_core::api;
use hubmesh_core::api::{
    Delivery, Join, JoinRefusal, PeerEvent, Recipients, Sender, Signal, SignalFailure, Source,
    Unread,
};
use hubmesh_core::ids::{ClaimNo, Dialect, LeaveReason, Moment, NetworkKey, PeerId, SignalKind};
use hubmesh_core::policy::Policies;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use crate::auth::{Gate, Grant, Secret};
use crate::config::{MemoryThresholds, PeerLimits};
use crate::limits::{AddressGroup, ConnectionLimits, Pressure};
use crate::metrics::Metrics;
use crate::peers::port::MeshPort;
use crate::peers::registry::Registry;
use crate::session::{ConnectingPeer, Sessions};

/// The longest time for which a test waits.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The address of all peers.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Join {
        claim: u64,
        quiet: bool,
        data: Option<Bytes>,
    },
    Update {
        claim: u64,
        data: Option<Bytes>,
    },
    Leave {
        claim: u64,
        reason: LeaveReason,
    },
    Probe {
        token: u64,
        alive: bool,
    },
    ReturnUnread {
        signals: usize,
    },
}

/// The answer of the fake to a join.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accept,
    Refuse(JoinRefusal),
    Never,
    Panic,
}

#[derive(Clone)]
pub struct FakeMesh(Arc<Inner>);

struct Inner {
    registry: Arc<Registry>,
    state: Mutex<State>,
}

struct State {
    next: u64,
    answer: Answer,
    calls: Vec<Call>,
    shown: HashMap<ClaimNo, Join>,
}

impl FakeMesh {
    fn leave(&self, claim: ClaimNo, reason: LeaveReason) {
        let mut state = self.0.state.lock();
        state.calls.push(Call::Leave {
            claim: claim.0,
            reason,
        });
        let Some(join) = state.shown.remove(&claim) else {
            return;
        };
        drop(state);
        if !join.quiet {
            let peer = join.peer;
            let event = PeerEvent::Left { peer, reason };
            self.0
                .registry
                .notify(Moment(0), &join.network, Recipients::Network, event);
        }
    }

    fn show(&self, join: &Join) {
        let roster = {
            let state = self.0.state.lock();
            let others = state.shown.values();
            others
                .filter(|other| other.network == join.network && other.peer != join.peer)
                .filter(|other| !other.quiet && !join.quiet)
                .map(|other| (other.peer.clone(), other.data.clone()))
                .collect()
        };
        self.0.registry.accepted(join.claim, roster);
        if !join.quiet {
            let event = PeerEvent::Joined {
                peer: join.peer.clone(),
                data: join.data.clone(),
            };
            self.0
                .registry
                .notify(Moment(0), &join.network, Recipients::Network, event);
        }
    }
}

impl MeshPort for FakeMesh {
    fn next_claim(&self) -> ClaimNo {
        let mut state = self.0.state.lock();
        state.next += 1;
        ClaimNo(state.next)
    }

    fn told_in(&self, network: &NetworkKey) -> usize {
        let state = self.0.state.lock();
        let shown = state.shown.values();
        shown.filter(|join| join.network == *network).count()
    }

    fn members_of(&self, network: &NetworkKey) -> usize {
        self.told_in(network)
    }

    fn others(&self, network: &NetworkKey, peer: &PeerId) -> Vec<(PeerId, Option<Bytes>)> {
        let state = self.0.state.lock();
        let shown = state.shown.values();
        let others = shown.filter(|join| join.network == *network && join.peer != *peer);
        let others = others.map(|join| (join.peer.clone(), join.data.clone()));
        others.collect()
    }

    fn room(&self, _network: &NetworkKey) -> Option<api::Room> {
        None
    }

    async fn join(&self, join: Join) {
        let answer = {
            let mut state = self.0.state.lock();
            state.calls.push(Call::Join {
                claim: join.claim.0,
                quiet: join.quiet,
                data: join.data.clone(),
            });
            state.answer
        };
        match answer {
            Answer::Accept => {
                self.show(&join);
                self.0.state.lock().shown.insert(join.claim, join);
            }
            Answer::Refuse(why) => self.0.registry.refused(join.claim, why),
            Answer::Never => {}
            Answer::Panic => panic!("the test asked for it"),
        }
    }

    async fn update(&self, claim: ClaimNo, data: Option<Bytes>, quiet: bool) {
        let mut join = {
            let mut state = self.0.state.lock();
            state.calls.push(Call::Update {
                claim: claim.0,
                data: data.clone(),
            });
            state.shown.remove(&claim).expect("the claim stands")
        };
        join.data = data;
        if join.quiet && !quiet {
            join.quiet = false;
            self.show(&join);
        } else {
            let event = PeerEvent::Updated {
                peer: join.peer.clone(),
                data: join.data.clone(),
            };
            self.0
                .registry
                .notify(Moment(0), &join.network, Recipients::Network, event);
        }
        self.0.state.lock().shown.insert(claim, join);
    }

    async fn leave(&self, claim: ClaimNo, reason: LeaveReason) {
        FakeMesh::leave(self, claim, reason);
    }

    fn leave_now(&self, claim: ClaimNo, reason: LeaveReason) {
        FakeMesh::leave(self, claim, reason);
    }

    async fn probe_result(&self, _: ClaimNo, token: u64, alive: bool) {
        self.0.state.lock().calls.push(Call::Probe { token, alive });
    }

    fn signal(&self, signal: Signal<'_>) -> Result<(), SignalFailure> {
        let Signal { source, target, .. } = signal;
        let to = {
            let state = self.0.state.lock();
            let mut all = state.shown.values();
            all.find(|join| join.network == source.network && join.peer == *target)
                .map(|join| join.claim)
        };
        let delivery = Delivery {
            to: to.ok_or(SignalFailure::NoSuchPeer)?,
            network: source.network.clone(),
            from: source.peer.clone(),
            sender: Sender::Here(source.claim),
            target: target.clone(),
            kind: signal.kind,
            payload: signal.payload,
        };
        let taken = self.0.registry.deliver_local(&delivery);
        taken.map_err(|_| SignalFailure::Overload)
    }

    fn publish(
        &self,
        _source: &Source,
        _kind: SignalKind,
        _payload: Bytes,
        _echo: bool,
    ) -> Result<(), SignalFailure> {
        Err(SignalFailure::NoRoute)
    }

    fn return_unread(&self, _target: &PeerId, unread: &[Unread]) {
        let signals = unread.len();
        let mut state = self.0.state.lock();
        state.calls.push(Call::ReturnUnread { signals });
    }
}

/// Sessions over the fake mesh.
pub struct Hub {
    pub sessions: Sessions<FakeMesh>,
    pub registry: Arc<Registry>,
    pub metrics: Arc<Metrics>,
    mesh: FakeMesh,
}

pub fn limits() -> PeerLimits {
    PeerLimits {
        announce_timeout: Duration::from_secs(10),
        max_message_bytes: 64 * 1024,
        message_budget_bytes: 1 << 20,
        max_announce_bytes: 1024,
        max_networks: 256,
        max_room_bytes: 1024,
        rate_per_sec: None,
        rate_burst: 1,
        rate_message_bytes: 10 * 1024,
        notices_per_sec_per_ip: None,
        outbox_messages: 1000,
        outbox_bytes: 1 << 20,
    }
}

/// PeerJS clients may be silent for half a minute.
pub fn policies() -> Policies {
    let mut policies = Policies::default();
    policies.of_mut(Dialect::PeerJs).silence = Duration::from_secs(30);
    policies
}

impl Hub {
    pub fn new() -> Self {
        Hub::with(limits())
    }

    pub fn with(limits: PeerLimits) -> Self {
        let metrics = Metrics::new();
        let registry = Arc::new(Registry::new(Arc::clone(&metrics), policies()));
        let mesh = FakeMesh(Arc::new(Inner {
            registry: Arc::clone(&registry),
            state: Mutex::new(State {
                next: 0,
                answer: Answer::Accept,
                calls: Vec::new(),
                shown: HashMap::new(),
            }),
        }));
        let sessions = Sessions::new(
            mesh.clone(),
            Arc::clone(&registry),
            Arc::clone(&metrics),
            Gate::new(Some(&Secret::new("sesame")), None),
            limits,
            policies(),
            (
                ConnectionLimits {
                    connections: 100,
                    per_address: None,
                },
                Arc::new(Pressure::new(MemoryThresholds::default())),
            ),
        );
        Hub {
            sessions,
            registry,
            metrics,
            mesh,
        }
    }

    pub fn answer_joins(&self, answer: Answer) {
        self.mesh.0.state.lock().answer = answer;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.mesh.0.state.lock().calls.clone()
    }

    /// Connects a peer whose id is this byte, twenty times.
    pub async fn connect(&self, id: u8) -> Client {
        let mut client = self.connect_silently(id, 1 << 20).await;
        assert_eq!(client.next().await["type"], "connected");
        client
    }

    /// Connects without reading the greeting, over a pipe that holds `pipe` bytes.
    pub async fn connect_silently(&self, id: u8, pipe: usize) -> Client {
        self.connect_as(connecting(id), pipe).await
    }

    /// Connects a PeerJS client, which joins the realm by that; without reading anything.
    pub async fn connect_peerjs(&self, id: u8) -> Client {
        self.connect_as(connecting_peerjs(id), 1 << 20).await
    }

    /// The same over a pipe that holds `pipe` bytes.
    pub async fn connect_peerjs_by(&self, id: u8, pipe: usize) -> Client {
        self.connect_as(connecting_peerjs(id), pipe).await
    }

    /// The same with a secret of its own.
    pub async fn connect_peerjs_with_secret(&self, id: u8) -> Client {
        let connecting = ConnectingPeer {
            grant: Box::new(Grant {
                proof: Bytes::from_static(b"secret"),
                ..Grant::default()
            }),
            ..connecting_peerjs(id)
        };
        self.connect_as(connecting, 1 << 20).await
    }

    pub async fn connect_as(&self, connecting: ConnectingPeer, pipe: usize) -> Client {
        let (ours, theirs) = tokio::io::duplex(pipe);
        self.connect_through(connecting, ours, theirs).await
    }

    /// The same over a stream of the test's own, which ends in `theirs`.
    pub async fn connect_through<S>(
        &self,
        connecting: ConnectingPeer,
        ours: S,
        theirs: DuplexStream,
    ) -> Client
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        let permit = self.sessions.try_admit(HERE).expect("there is space");
        let id = connecting
            .peer
            .as_ref()
            .map(PeerId::to_string)
            .unwrap_or_default();
        let sessions = self.sessions.clone();
        let served = tokio::spawn(async move {
            sessions
                .serve(
                    ours,
                    Bytes::new(),
                    connecting,
                    AddressGroup::of(HERE),
                    permit,
                )
                .await;
        });
        Client {
            id,
            ws: WebSocketStream::from_raw_socket(theirs, Role::Client, None).await,
            served,
        }
    }

    /// Connects a peer and has it announce itself in a network.
    pub async fn announce(&self, id: u8, network: &str) -> Client {
        let mut client = self.connect(id).await;
        client.announce(network).await;
        client.ping().await;
        client
    }

    /// Whether the exposition counts a peer as gone for this reason.
    pub fn closed(&self, reason: &str) -> bool {
        let series = format!("hubmesh_connections_closed_total{{reason=\"{reason}\"}} ");
        self.metrics.exposition().contains(&series)
    }
}

pub struct Client {
    pub id: String,
    pub ws: WebSocketStream<DuplexStream>,
    pub served: JoinHandle<()>,
}

impl Client {
    /// Reads the next frame, which answers pings; false at the end.
    pub async fn hears(&mut self) -> bool {
        !matches!(self.ws.next().await, None | Some(Err(_)))
    }

    pub async fn send(&mut self, message: &str) {
        self.ws
            .send(Message::text(message))
            .await
            .expect("it is sent");
    }

    pub async fn announce(&mut self, network: &str) {
        let text = format!(r#"{{"type":"announce","networkName":"{network}","data":{{}}}}"#);
        self.send(&text).await;
    }

    pub async fn signal(&mut self, kind: &str, to: &str, network: &str, data: &str) {
        let text = format!(
            r#"{{"type":"{kind}","data":{data},"maxPeers":3,"networkName":"{network}","targetPeerId":"{to}"}}"#
        );
        self.send(&text).await;
    }

    /// Waits until the hub has handled all messages sent before; returns the messages that arrive before the pong.
    pub async fn ping(&mut self) -> Vec<Value> {
        self.send(r#"{"type":"ping"}"#).await;
        let mut before = Vec::new();
        loop {
            let next = self.next().await;
            if next["type"] == "pong" {
                return before;
            }
            before.push(next);
        }
    }

    pub async fn text(&mut self) -> String {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.ws.next()).await;
            match next
                .expect("a message comes in time")
                .expect("the stream goes on")
            {
                Ok(Message::Text(text)) => return text.to_string(),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no text message: {other:?}"),
            }
        }
    }

    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("it is JSON")
    }

    /// The close frame, and the messages before it.
    pub async fn end(&mut self) -> (Vec<Value>, CloseFrame) {
        let mut before = Vec::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, self.ws.next()).await;
            match next.expect("it ends in time").expect("a close frame comes") {
                Ok(Message::Text(text)) => {
                    before.push(serde_json::from_str(&text).expect("it is JSON"));
                }
                Ok(Message::Close(Some(frame))) => return (before, frame),
                Ok(_) => {}
                Err(why) => panic!("no close frame: {why}"),
            }
        }
    }

    /// Waits for the session's task to end.
    pub async fn served(self) -> Result<(), tokio::task::JoinError> {
        let Client { ws, served, .. } = self;
        drop(ws);
        tokio::time::timeout(PATIENCE, served)
            .await
            .expect("the session ends")
    }
}

pub fn network(name: &str) -> NetworkKey {
    NetworkKey::new(Dialect::Pigeon, name).expect("a network's name")
}

/// A native peer.
pub fn connecting(id: u8) -> ConnectingPeer {
    ConnectingPeer {
        address: HERE,
        dialect: Some(Dialect::Pigeon),
        peer: Some(PeerId::Hex([id; 20])),
        grant: Box::default(),
        network: None,
        unproven: None,
    }
}

/// A PeerJS client that proves nothing.
fn connecting_peerjs(id: u8) -> ConnectingPeer {
    ConnectingPeer {
        dialect: Some(Dialect::PeerJs),
        network: NetworkKey::new(Dialect::PeerJs, "peerjs").ok(),
        ..connecting(id)
    }
}
