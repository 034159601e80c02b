//! A client of TURN over a real UDP socket, for attacks and for load.
#![allow(dead_code, reason = "the load and the tests use parts of their own")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use hubmesh_turn::Credentials;
use stun_types::attribute::*;
use stun_types::message::*;
use turn_types::AddressFamily;
use turn_types::attribute::{
    ChannelNumber, RequestedAddressFamily, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION};

/// A time far in the future: the start of the year 2100.
pub const EXPIRY: u64 = 4_102_444_800;

/// A client of TURN with one socket.
pub struct Client {
    pub socket: UdpSocket,
    pub username: String,
    key: IntegrityKey,
    nonce: String,
}

impl Client {
    pub fn new(
        from: impl Into<IpAddr>,
        server: SocketAddr,
        secret: &str,
        username: (&str, u64),
    ) -> Self {
        let socket = UdpSocket::bind((from.into(), 0)).expect("a port");
        socket.connect(server).expect("an address");
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a time");
        let (name, expiry) = username;
        let made = Credentials::new(secret, name, expiry);
        let all =
            LongTermKeyCredentials::new(made.username.clone(), made.credential, "turn".into());
        Client {
            socket,
            username: made.username,
            key: all.make_key(IntegrityAlgorithm::Sha1),
            nonce: String::new(),
        }
    }

    /// The answer to a signed request, or its error code. If a datagram is lost, the request is sent again.
    pub fn ask(
        &mut self,
        method: Method,
        add: &[&dyn AttributeWrite],
        peer: Option<SocketAddr>,
    ) -> Result<Vec<u8>, u16> {
        for _ in 0..6 {
            let mut message = Message::builder_request(method, MessageWriteVec::new());
            for attribute in add {
                message.push_attribute_unchecked(*attribute);
            }
            if let Some(peer) = peer {
                let peer = XorPeerAddress::new(peer, message.transaction_id());
                message.push_attribute_unchecked(&peer);
            }
            message.push_attribute_unchecked(&Username::new(&self.username).expect("a name"));
            message.push_attribute_unchecked(&Realm::new("turn").expect("a realm"));
            message.push_attribute_unchecked(&Nonce::new(&self.nonce).expect("a nonce"));
            message
                .add_message_integrity_with_key(&self.key, IntegrityAlgorithm::Sha1)
                .expect("it fits");
            self.socket.send(&message.finish()).expect("it is sent");
            let mut bytes = vec![0; 2048];
            let Ok(length) = self.socket.recv(&mut bytes) else {
                continue;
            };
            bytes.truncate(length);
            let answer = Message::from_bytes(&bytes).expect("a message");
            match answer.attribute::<ErrorCode>().map(|error| error.code()) {
                Err(_) => return Ok(bytes),
                // Some servers answer 401 to a request whose nonce is empty. This is no refusal.
                Ok(ErrorCode::UNAUTHORIZED) if !self.nonce.is_empty() => return Err(401),
                Ok(ErrorCode::STALE_NONCE | ErrorCode::UNAUTHORIZED) => {
                    self.nonce = answer.attribute::<Nonce>().expect("one").nonce().into();
                }
                Ok(code) => return Err(code),
            }
        }
        panic!("no answer");
    }

    pub fn allocate(&mut self) -> Result<SocketAddr, u16> {
        let udp = RequestedTransport::new(RequestedTransport::UDP);
        let bytes = self.ask(ALLOCATE, &[&udp], None)?;
        let answer = Message::from_bytes(&bytes).expect("a message");
        let relayed = answer.attribute::<XorRelayedAddress>().expect("a relay");
        Ok(relayed.addr(answer.transaction_id()))
    }

    /// Allocates a relay with an IPv6 address.
    pub fn allocate_v6(&mut self) -> Result<(), u16> {
        let udp = RequestedTransport::new(RequestedTransport::UDP);
        let family = RequestedAddressFamily::new(AddressFamily::IPV6);
        self.ask(ALLOCATE, &[&udp, &family], None).map(drop)
    }

    pub fn permit(&mut self, peer: &str) -> Result<(), u16> {
        let peer = peer.parse().expect("an address");
        self.ask(CREATE_PERMISSION, &[], Some(peer)).map(drop)
    }

    /// Binds a channel to a peer.
    pub fn bind(&mut self, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let number = ChannelNumber::new(number);
        self.ask(CHANNEL_BIND, &[&number], Some(peer)).map(drop)
    }
}
