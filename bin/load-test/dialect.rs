//! The seam between the load and the protocols that it is carried by: one file a dialect below this one.
//!
//! A [`Codec`] is one connection's half of a protocol: pure, bytes to events and back, no sockets and no clock. To add a
//! dialect: a file with a `Codec`, a variant here, an arm in [`Dialect::codec`].
//!
//! Invariants: `decode` consumes whole messages only and never panics on what a server sends; a [`Candidate`] is encoded
//! once and only its stamp is rewritten for each copy that is sent.

mod floor;
mod nats;
mod peerjs;
mod pigeon;
mod rooms;
mod websocket;
mod yjs;

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use hubmesh_client::{HubUrl, PeerId};
use thiserror::Error;

pub use floor::{ID_LEN, read_frame, write_frame};

use crate::stamp::{Slot, Stamp};

/// The protocols that load can be carried by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// The native dialect of hubmesh and PeerPigeon hubs.
    Pigeon,
    /// What `peerjs` clients speak, to hubmesh and to PeerServer.
    #[value(name = "peerjs")]
    PeerJs,
    /// What OctateCode's clients speak: a network is a room.
    Rooms,
    /// What `y-webrtc` clients speak, to hubmesh and to y-webrtc's own server: a network is a topic.
    Yjs,
    /// The raw relay that `load-test floor` runs.
    Floor,
    /// NATS's text protocol: a subject for each peer.
    Nats,
}

/// A connection's peer id, and its hub.
#[derive(Clone, Debug)]
pub struct Persona {
    pub id: PeerId,
    pub network: String,
    pub hub: HubUrl,
    pub token: Option<String>,
}

/// An event of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is open: the handshake is done, and the server's greeting is here where the dialect waits for one.
    Open,
    /// The server has taken in what `join` asked for.
    Joined,
    /// Another peer of the network was announced to this one.
    Seen(String),
    /// A candidate of another peer arrived.
    Arrived(Stamp),
    /// The server complains; the connection goes on.
    Complaint(String),
    /// Anything else, such as a greeting or a peer that left.
    Other,
}

/// The server broke the protocol or refused; the connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DialectError {
    #[error("refused: {0}")]
    Refused(String),
    #[error("closed by the server: {0}")]
    Closed(String),
    #[error("not understood: {0}")]
    Malformed(&'static str),
}

/// One connection's half of a protocol.
pub trait Codec {
    /// The first bytes after TCP connects.
    fn hello(&mut self, out: &mut Vec<u8>);
    /// Announces the peer, in its network if the protocol has networks.
    fn join(&mut self, out: &mut Vec<u8>);
    /// Leaves the network politely.
    fn leave(&mut self, out: &mut Vec<u8>);
    /// Says that the client is alive, in a dialect whose clients do so themselves.
    fn heartbeat(&mut self, _: &mut Vec<u8>) {}
    /// A candidate of `bytes` bytes for the peer `to`, ready to be stamped.
    fn candidate(&self, to: &PeerId, bytes: usize) -> Candidate;
    /// Takes whole messages off the front of `input`, says how many bytes they were, and puts what the protocol wants
    /// answered (pings) into `out`.
    fn decode(
        &mut self,
        input: &[u8],
        events: &mut Vec<Event>,
        out: &mut Vec<u8>,
    ) -> Result<usize, DialectError>;
}

/// An encoded message with a place for its [`Stamp`].
pub struct Candidate {
    bytes: Vec<u8>,
    slot: Option<Slot>,
}

impl Candidate {
    /// An encoded message and the place of its stamp; without a place it goes out unstamped and is never recognised.
    fn new(bytes: Vec<u8>, slot: Option<Slot>) -> Self {
        Self { bytes, slot }
    }

    /// Appends a copy that carries `stamp`.
    pub fn write(&mut self, stamp: Stamp, out: &mut Vec<u8>) {
        if let Some(slot) = &self.slot {
            slot.fill(stamp, &mut self.bytes);
        }
        out.extend_from_slice(&self.bytes);
    }
}

impl fmt::Display for Dialect {
    /// Its name on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Dialect {
    pub fn codec(self, persona: Persona) -> Box<dyn Codec> {
        match self {
            Self::Pigeon => Box::new(pigeon::PigeonCodec::new(persona)),
            Self::PeerJs => Box::new(peerjs::PeerJsCodec::new(persona)),
            Self::Rooms => Box::new(rooms::RoomsCodec::new(persona)),
            Self::Yjs => Box::new(yjs::YjsCodec::new(persona)),
            Self::Floor => Box::new(floor::FloorCodec::new(persona.id)),
            Self::Nats => Box::new(nats::NatsCodec::new(persona)),
        }
    }

    /// Whether members of a network are told of each other.
    pub fn tells_of_peers(self) -> bool {
        matches!(self, Self::Pigeon | Self::Rooms)
    }

    /// Whether an open connection has joined already: its server answers no request to join.
    pub fn joins_by_opening(self) -> bool {
        matches!(self, Self::PeerJs)
    }

    /// The time between two heartbeats of a client, where the dialect has them.
    pub fn heartbeat_every(self) -> Option<Duration> {
        match self {
            Self::PeerJs => Some(peerjs::HEARTBEAT_EVERY),
            Self::Yjs => Some(yjs::HEARTBEAT_EVERY),
            _ => None,
        }
    }
}
