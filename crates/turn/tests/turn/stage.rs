//! A server, its clock, and clients that know the protocol.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hubmesh_turn::{
    AllocationId, Config, Credentials, Effect, FiveTuple, Limits, Moment, Passing, PeerPolicy,
    Relays, Server, ToPeer, Toward, Transport, TurnConfig,
};
use stun_types::attribute::*;
use stun_types::message::*;
use turn_types::attribute::*;
use turn_types::message::*;

pub const SECRET: &str = "north of the river";
pub const SERVER: &str = "203.0.113.5:3478";
pub const START_S: u64 = 1_700_000_000;

pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub fn limits() -> Limits {
    Limits {
        allocations: 100,
        per_user: 3,
        ..Limits::default()
    }
}

pub fn config(limits: Limits) -> Config {
    Config {
        ports: Some((3478, 3479)),
        turn: Some(TurnConfig {
            secret: SECRET.into(),
            ports: vec![3478],
            relays: Relays {
                v4: Some([203, 0, 113, 5].into()),
                v6: Some("2001:db8::5".parse().expect("an address")),
                ports: 20_000..=20_099,
            },
            policy: PeerPolicy {
                allow: Vec::new(),
                own: vec![at(SERVER).ip(), "2001:db8::5".parse().expect("an address")],
            },
            limits,
        }),
        seed: [3; 32],
    }
}

/// The server and what it did.
pub struct Stage {
    pub server: Server,
    pub now: Moment,
    /// What was sent to clients and not looked at yet.
    pub sent: Vec<(FiveTuple, Vec<u8>)>,
    /// Ports that are open.
    pub open: Vec<(AllocationId, u16)>,
    /// Ports that others have.
    pub taken: HashSet<u16>,
    /// Whether ports stay as they are until [`Stage::let_open`].
    pub holds: bool,
    /// Ports that are to be opened.
    pub held: Vec<(AllocationId, u16)>,
    /// How often a port was to be opened.
    pub tries: usize,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(config(limits()))
    }

    pub fn with(config: Config) -> Self {
        let began = Instant::now();
        let now = Moment {
            at: began,
            unix_s: START_S,
        };
        Stage {
            server: Server::new(config, began),
            now,
            sent: Vec::new(),
            open: Vec::new(),
            taken: HashSet::new(),
            holds: false,
            held: Vec::new(),
            tries: 0,
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now.at += Duration::from_secs(seconds);
        self.now.unix_s += seconds;
        self.server.handle_timeout(self.now.at);
        self.settle();
    }

    /// Does what the server wants done.
    pub fn settle(&mut self) {
        while let Some(effect) = self.server.poll_effect() {
            match effect {
                Effect::Send { to, bytes, passing } => {
                    if let Some(passing) = passing {
                        self.server.counters().sent(passing);
                    }
                    self.sent.push((to, bytes));
                }
                Effect::Open {
                    allocation, port, ..
                } => {
                    self.tries += 1;
                    self.held.push((allocation, port));
                    if !self.holds {
                        self.open_first();
                    }
                }
                Effect::Close { allocation } => self.open.retain(|(id, _)| *id != allocation),
            }
        }
    }

    /// Opens the port that waits longest, if it is free, and tells the server.
    fn open_first(&mut self) {
        let (allocation, port) = self.held.remove(0);
        let is_free = !self.taken.contains(&port);
        if is_free {
            assert!(self.open.iter().all(|(_, other)| *other != port));
            self.open.push((allocation, port));
        }
        self.server.opened(allocation, is_free);
    }

    /// Opens the ports that were held back.
    pub fn let_open(&mut self) {
        self.holds = false;
        while !self.held.is_empty() {
            self.open_first();
            self.settle();
        }
    }

    /// A packet of a client, and what it has sent to a peer.
    pub fn client(&mut self, from: FiveTuple, packet: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let to_peer = self.server.handle_client(self.now, from, packet);
        let to_peer = to_peer.map(|ToPeer { peer, data, .. }| (peer, data.to_vec()));
        if let Some((_, data)) = &to_peer {
            self.count(Toward::Peer, data);
        }
        self.settle();
        to_peer
    }

    /// The last answer to a client.
    pub fn answer(&mut self) -> Vec<u8> {
        self.sent.pop().expect("an answer").1
    }

    /// A datagram of a peer to the port of a relay, and what its client gets.
    pub fn peer(&mut self, port: u16, peer: &str, data: &[u8]) -> Option<Vec<u8>> {
        let found = self.open.iter().find(|(_, open)| *open == port);
        let (id, _) = *found.expect("an open port");
        let mut out = Vec::new();
        self.server
            .handle_peer(self.now, id, at(peer), data, &mut out)?;
        self.count(Toward::Client, data);
        Some(out)
    }

    /// This is sent, as is all that the server lets pass.
    fn count(&self, to: Toward, data: &[u8]) {
        let bytes = data.len();
        self.server.counters().sent(Passing { to, bytes });
    }
}

/// A client, logged in or not.
#[derive(Clone)]
pub struct Client {
    pub path: FiveTuple,
    pub username: String,
    pub password: String,
    pub nonce: String,
}

pub fn path(client: &str) -> FiveTuple {
    FiveTuple {
        transport: Transport::Udp,
        client: at(client),
        server: at(SERVER),
    }
}

/// What to put into a request.
pub type Add<'a> = &'a dyn AttributeWrite;

pub fn udp() -> RequestedTransport {
    RequestedTransport::new(RequestedTransport::UDP)
}

/// An unsigned request.
pub fn request(method: Method, attributes: &[Add<'_>]) -> Vec<u8> {
    let mut message = Message::builder_request(method, MessageWriteVec::new());
    for attribute in attributes {
        message.push_attribute_unchecked(*attribute);
    }
    message.finish()
}

impl Client {
    pub fn new(address: &str, name: &str) -> Self {
        Self::until(address, name, START_S + 300)
    }

    pub fn until(address: &str, name: &str, expiry: u64) -> Self {
        let made = Credentials::new(SECRET, name, expiry);
        Client {
            path: path(address),
            username: made.username,
            password: made.credential,
            nonce: String::new(),
        }
    }

    fn key(&self) -> IntegrityKey {
        let (user, password) = (self.username.clone(), self.password.clone());
        LongTermKeyCredentials::new(user, password, "turn".into())
            .make_key(IntegrityAlgorithm::Sha1)
    }

    /// A signed request, with addresses of peers.
    pub fn signed(&self, method: Method, add: &[Add<'_>], peers: &[&str]) -> Vec<u8> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        let transaction = message.transaction_id();
        for attribute in add {
            message.push_attribute_unchecked(*attribute);
        }
        for peer in peers {
            message.push_attribute_unchecked(&XorPeerAddress::new(at(peer), transaction));
        }
        message.push_attribute_unchecked(&Username::new(&self.username).expect("a name"));
        message.push_attribute_unchecked(&Realm::new("turn").expect("a realm"));
        message.push_attribute_unchecked(&Nonce::new(&self.nonce).expect("a nonce"));
        message
            .add_message_integrity_with_key(&self.key(), IntegrityAlgorithm::Sha1)
            .expect("it fits");
        message.finish()
    }

    /// Asks, with the nonce that it is given if it has none. The answer is checked to be the server's.
    pub fn ask(
        &mut self,
        stage: &mut Stage,
        method: Method,
        add: &[Add<'_>],
        peers: &[&str],
    ) -> Result<Vec<u8>, u16> {
        for _ in 0..2 {
            let packet = self.signed(method, add, peers);
            stage.client(self.path, &packet);
            let bytes = stage.answer();
            let answer = Message::from_bytes(&bytes).expect("a message");
            let asked = Message::from_bytes(&packet).expect("a message");
            assert_eq!(answer.transaction_id(), asked.transaction_id());
            assert_eq!(answer.method(), method);
            let Ok(error) = answer.attribute::<ErrorCode>() else {
                assert!(answer.has_class(MessageClass::Success));
                assert!(answer.validate_integrity_with_key(&self.key()).is_ok());
                return Ok(bytes);
            };
            assert!(answer.has_class(MessageClass::Error));
            if error.code() != ErrorCode::STALE_NONCE {
                return Err(error.code());
            }
            self.nonce = answer.attribute::<Nonce>().expect("one").nonce().into();
        }
        Err(ErrorCode::STALE_NONCE)
    }

    /// Has a relay; its port.
    pub fn allocate(&mut self, stage: &mut Stage) -> Result<u16, u16> {
        self.allocate_with(stage, &[]).map(|at| at.port())
    }

    pub fn allocate_with(&mut self, stage: &mut Stage, add: &[Add<'_>]) -> Result<SocketAddr, u16> {
        let transport = udp();
        let all: Vec<Add<'_>> = [&transport as Add<'_>]
            .into_iter()
            .chain(add.iter().copied())
            .collect();
        let answer = self.ask(stage, ALLOCATE, &all, &[])?;
        let answer = Message::from_bytes(&answer).expect("a message");
        let relayed = answer.attribute::<XorRelayedAddress>().expect("a relay");
        let mapped = answer.attribute::<XorMappedAddress>().expect("an address");
        assert_eq!(mapped.addr(answer.transaction_id()), self.path.client);
        Ok(relayed.addr(answer.transaction_id()))
    }

    pub fn permit(&mut self, stage: &mut Stage, peers: &[&str]) -> Result<(), u16> {
        self.ask(stage, CREATE_PERMISSION, &[], peers).map(drop)
    }

    pub fn bind(&mut self, stage: &mut Stage, number: u16, peer: &str) -> Result<(), u16> {
        let number = RawAttribute::new_owned(
            ChannelNumber::TYPE,
            [number.to_be_bytes(), [0; 2]].concat().into(),
        );
        self.ask(stage, CHANNEL_BIND, &[&number], &[peer]).map(drop)
    }

    /// The lifetime that a refresh gives.
    pub fn refresh(&mut self, stage: &mut Stage, seconds: u32) -> Result<u32, u16> {
        let answer = self.ask(stage, REFRESH, &[&Lifetime::new(seconds)], &[])?;
        let answer = Message::from_bytes(&answer).expect("a message");
        Ok(answer.attribute::<Lifetime>().expect("one").seconds())
    }

    /// Sends by an indication.
    pub fn send(
        &self,
        stage: &mut Stage,
        peer: &str,
        data: &[u8],
    ) -> Option<(SocketAddr, Vec<u8>)> {
        stage.client(self.path, &indication(peer, data))
    }

    /// Sends by a channel.
    pub fn channel(
        &self,
        stage: &mut Stage,
        number: u16,
        data: &[u8],
    ) -> Option<(SocketAddr, Vec<u8>)> {
        stage.client(self.path, &channel_data(number, data))
    }
}

pub fn indication(peer: &str, data: &[u8]) -> Vec<u8> {
    let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
    let peer = XorPeerAddress::new(at(peer), message.transaction_id());
    message.push_attribute_unchecked(&peer);
    message.push_attribute_unchecked(&Data::new(data));
    message.finish()
}

pub fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short");
    [&number.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
}

/// The code of an error answer.
pub fn code(bytes: &[u8]) -> u16 {
    let message = Message::from_bytes(bytes).expect("a message");
    message.attribute::<ErrorCode>().expect("an error").code()
}
