//! The dialects: pure state machines and codecs between a client's messages and the hub's actions.
//!
//! Owns the dispatch by [`Dialect`], which is a `match` so that the data path needs no virtual call: one [`Protocol`]
//! for each connection, which uses the vocabulary in `protocol`, and functions for messages that are the same for many
//! clients. [`Command`] and [`Event`] are common to the dialects of one network. A dialect is one file: it gets text
//! and returns text, and knows of no socket, registry, mesh or clock. To add one, give it a [`Dialect`] variant, a file
//! here and an arm in each function below; the compiler lists the missing arms.
//!
//! Invariants: no message of a client or another hub makes these functions panic; the sender that a message names is
//! never believed; a payload is neither parsed again nor copied more than once. Called by the sessions (decoding) and
//! by the registry and the sessions (encoding).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use hubmesh_core::api::Room;
use hubmesh_core::api::{PeerEvent, SignalFailure};
use hubmesh_core::ids::{Dialect, LeaveReason, NetworkKey, PeerId, SignalKind};
use hubmesh_json as json;
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub mod coordinator;
mod decode_error;
mod ends;
mod envelope;
mod fields;
pub mod one_network;
pub mod peerjs;
pub mod pigeon;
pub mod protocol;
pub mod rooms;
mod shapes;
pub mod sniffing;
#[cfg(feature = "trial-dialect")]
#[path = "../../tests/seam/trial.rs"]
pub mod trial;
pub mod words;
mod written;
pub mod yjs;

pub use decode_error::{DecodeError, Field};
pub use protocol::{About, Action, Actions, Beginning, Dropped, HubEvent};

use one_network::OneNetwork;
use words::Sent;

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// The command in it.
    pub command: Command<'a>,
    /// The sender that it names; never believed, but a name that is not the client's own is a forgery.
    pub sender: Option<Cow<'a, str>>,
}

/// A command of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// It asks to be in a network and shown to its members.
    Announce {
        /// The network; `None` for the dialect's default.
        network: Option<Cow<'a, str>>,
        /// The data that it shows, as the mesh carries it: the text of a JSON object.
        data: Option<Bytes>,
        /// It claims to be a hub, which no client is.
        claims_hub: bool,
    },
    /// It sends a payload to one peer.
    Signal {
        /// The target.
        target: PeerId,
        /// The network that the client names; `None` if it names none.
        network: Option<Cow<'a, str>>,
        /// Its kind, in this dialect.
        kind: SignalKind,
        /// One JSON value; borrowed, byte for byte as sent, if the dialect passes it on unchanged.
        payload: Cow<'a, str>,
    },
    /// A signal without a possible receiver: its target cannot be a peer id, or its payload is nested too deep.
    UnknownTarget {
        /// The name of its target, or the start of that.
        name: String,
        /// Its kind, in this dialect.
        kind: SignalKind,
    },
    /// It asks for a pong.
    Ping {
        /// The network that the client names; `None` if it names none.
        network: Option<Cow<'a, str>>,
    },
    /// It leaves its network.
    Goodbye,
    /// No effect.
    Ignored,
    /// A type that this dialect does not have; holds its start.
    Unsupported(String),
}

impl Command<'_> {
    /// A command of this type, which the dialect does not have.
    fn unsupported(kind: &str) -> Self {
        Command::Unsupported(start_of(kind))
    }
}

/// How many characters of an unknown type are returned to the client.
const ECHOED_CHARS: usize = 64;

fn start_of(word: &str) -> String {
    word.chars().take(ECHOED_CHARS).collect()
}

/// An event that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The hub accepted the connection.
    Connected {
        /// The id of the client.
        peer: &'a PeerId,
    },
    /// A peer is there, or shows other data.
    Discovered {
        /// The peer.
        peer: &'a PeerId,
        /// Its data. Not trusted: anything but a valid JSON object is left out.
        data: Option<&'a [u8]>,
    },
    /// A peer said goodbye.
    Goodbye {
        /// The peer.
        peer: &'a PeerId,
    },
    /// A peer is gone.
    Left {
        /// The peer.
        peer: &'a PeerId,
        /// Why it left.
        reason: LeaveReason,
    },
    /// Answers [`Command::Ping`].
    Pong {
        /// The client that asked.
        peer: &'a PeerId,
    },
    /// A signal of this client was not delivered, or may not have been.
    Undelivered {
        /// The sender.
        sender: &'a PeerId,
        /// The target.
        target: &'a PeerId,
        /// Its kind.
        kind: SignalKind,
        /// Why the signal failed.
        why: SignalFailure,
        /// The sender has already been told about this target, for a signal of the same batch.
        repeats_previous: bool,
    },
    /// The client's publication did not reach all members, or may not have.
    Unpublished {
        /// Why the signal failed.
        why: SignalFailure,
    },
    /// Answers [`Command::UnknownTarget`].
    UnknownTarget {
        /// The client that asked.
        sender: &'a PeerId,
        /// The name of the target.
        name: &'a str,
    },
    /// The client made a mistake or reached a limit.
    Error(Complaint<'a>),
}

/// A client's mistake: a stable code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// Stable, in lower case with hyphens.
    pub code: &'static str,
    /// The mistake, and the correct form.
    pub text: Cow<'a, str>,
}

impl Complaint<'static> {
    /// The code for a client whose token is for another room.
    pub const OTHER_ROOM: &'static str = "other-room";

    /// A complaint with this code, in these words.
    pub fn new(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Complaint {
            code,
            text: text.into(),
        }
    }
}

/// Whether an error with this code says that the client claimed to be another, or something that no client is.
pub fn is_forgery(code: &str) -> bool {
    matches!(code, "forged-sender" | "not-a-hub")
}

/// A signal, ready to be encoded for its receiver.
#[derive(Debug, Clone, Copy)]
pub struct DeliveredSignal<'a> {
    /// The network of both.
    pub network: &'a NetworkKey,
    /// The sender, as its hub knows it.
    pub from: &'a PeerId,
    /// The receiver.
    pub target: &'a PeerId,
    /// Its kind.
    pub kind: SignalKind,
    /// The text of one JSON value.
    pub payload: &'a str,
}

/// A publication, ready to be encoded for the members of its network.
#[derive(Debug, Clone, Copy)]
pub struct DeliveredPublication<'a> {
    /// The network.
    pub network: &'a NetworkKey,
    /// The publisher, as its hub knows it.
    pub from: &'a PeerId,
    /// Its kind.
    pub kind: SignalKind,
    /// The text of one JSON value.
    pub payload: &'a str,
    /// How many members the network has in the whole mesh.
    pub members: usize,
}

/// The members that a newcomer is told of in one message.
#[derive(Debug, Clone, Copy)]
pub struct Roster<'a> {
    /// The network.
    pub network: &'a NetworkKey,
    /// The newcomer.
    pub peer: &'a PeerId,
    /// The others, each with its data.
    pub others: &'a [(PeerId, Option<Bytes>)],
    /// The room that the network is; `None` if it is none.
    pub room: Option<&'a Room>,
    /// The newcomer created it.
    pub is_new: bool,
}

/// The messages about one change of a peer: two at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(Option<Utf8Bytes>, Option<Utf8Bytes>);

impl Notice {
    /// Nothing.
    const NONE: Notice = Notice(None, None);

    fn one(message: Utf8Bytes) -> Self {
        Notice(Some(message), None)
    }

    fn two(first: Utf8Bytes, second: Utf8Bytes) -> Self {
        Notice(Some(first), Some(second))
    }

    /// The messages, in the order to be sent.
    pub fn messages(&self) -> impl Iterator<Item = &Utf8Bytes> {
        self.0.iter().chain(self.1.as_ref())
    }
}

/// The report to the sender of a message that was read past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadPastNotice {
    /// The reason.
    Why,
    /// The target is not reached.
    Expired {
        /// The name of its target, or the start of that.
        name: String,
        /// Its kind.
        kind: SignalKind,
    },
    /// Nothing.
    Nothing,
}

/// The state of one connection, in its dialect.
#[derive(Debug)]
pub enum Protocol {
    /// A client that is in one network at a time.
    OneNetwork(OneNetwork),
    /// A client that is in several topics at once, and has no id.
    Yjs(yjs::Yjs),
    /// A client that creates and enters rooms with a host.
    Rooms(Box<rooms::RoomsProtocol>),
    /// A client that registers, and may be in several rooms.
    Coordinator(Box<coordinator::Coordinator>),
    /// The dialect of the tests.
    #[cfg(feature = "trial-dialect")]
    Trial(trial::Trial),
}

impl Protocol {
    /// The state before the first text. [`HubEvent::Connected`] is the first event that it gets.
    pub fn new(beginning: Beginning) -> Self {
        match beginning.dialect {
            Dialect::Pigeon | Dialect::PeerJs | Dialect::PeerJsRoomMode => {
                Protocol::OneNetwork(OneNetwork::new(beginning))
            }
            Dialect::Yjs => Protocol::Yjs(yjs::Yjs),
            Dialect::Rooms => Protocol::Rooms(Box::new(rooms::RoomsProtocol::new(&beginning))),
            Dialect::Coordinator => {
                Protocol::Coordinator(Box::new(coordinator::Coordinator::new(&beginning)))
            }
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => Protocol::Trial(trial::Trial::new(beginning)),
        }
    }

    /// The dialect of the connection.
    pub fn dialect(&self) -> Dialect {
        match self {
            Protocol::OneNetwork(client) => client.dialect(),
            Protocol::Yjs(_) => Dialect::Yjs,
            Protocol::Rooms(_) => Dialect::Rooms,
            Protocol::Coordinator(_) => Dialect::Coordinator,
            #[cfg(feature = "trial-dialect")]
            Protocol::Trial(_) => Dialect::Trial,
        }
    }

    /// Handles one text of the client. A byte order mark before it is skipped.
    pub fn hear<'a>(&mut self, text: &'a str, actions: &mut Actions<'a>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Protocol::OneNetwork(client) => client.hear(text, actions),
            Protocol::Yjs(client) => client.hear(text, actions),
            Protocol::Rooms(client) => client.hear(text, actions),
            Protocol::Coordinator(client) => client.hear(text, actions),
            #[cfg(feature = "trial-dialect")]
            Protocol::Trial(client) => client.hear(text, actions),
        }
    }

    /// Handles an event for the client.
    pub fn tell(&mut self, event: &HubEvent<'_>, actions: &mut Actions<'_>) {
        match self {
            Protocol::OneNetwork(client) => client.tell(event, actions),
            Protocol::Yjs(client) => client.tell(event, actions),
            Protocol::Rooms(client) => client.tell(event, actions),
            Protocol::Coordinator(client) => client.tell(event, actions),
            #[cfg(feature = "trial-dialect")]
            Protocol::Trial(client) => client.tell(event, actions),
        }
    }
}

/// Encodes one message for a client in the network of this name, at this Unix time in milliseconds; `None` if clients
/// of this dialect are not told.
pub fn encode(
    dialect: Dialect,
    network: &str,
    event: &Event<'_>,
    now_ms: u64,
) -> Option<Utf8Bytes> {
    match dialect {
        Dialect::Pigeon => Some(pigeon::encode(network, event, now_ms)),
        Dialect::PeerJs | Dialect::PeerJsRoomMode => peerjs::encode(dialect, event),
        Dialect::Yjs => yjs::encode(event),
        Dialect::Rooms => rooms::encode(event, now_ms),
        Dialect::Coordinator => coordinator::encode(event, now_ms),
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => trial::encode(network, event),
    }
}

/// Encodes a signal for its receiver; `None` for a kind that the dialect does not have.
pub fn encode_signal(
    dialect: Dialect,
    signal: &DeliveredSignal<'_>,
    now_ms: u64,
) -> Option<Utf8Bytes> {
    match dialect {
        Dialect::Pigeon => pigeon::encode_signal(signal, now_ms),
        Dialect::PeerJs | Dialect::PeerJsRoomMode => peerjs::encode_signal(signal),
        // Its clients publish, and do not signal.
        Dialect::Yjs => None,
        Dialect::Rooms => rooms::encode_signal(signal, now_ms),
        Dialect::Coordinator => coordinator::encode_signal(signal, now_ms),
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => trial::encode_signal(signal),
    }
}

/// Encodes a notice about a peer for the members of a network: the same bytes for all of them.
pub fn encode_notice(dialect: Dialect, network: &str, event: &PeerEvent, now_ms: u64) -> Notice {
    match dialect {
        Dialect::Pigeon => pigeon::encode_notice(network, event, now_ms),
        Dialect::PeerJs | Dialect::PeerJsRoomMode => peerjs::encode_notice(dialect, event),
        // Its clients learn of each other from publications.
        Dialect::Yjs => Notice::NONE,
        Dialect::Rooms => rooms::encode_notice(network, event, now_ms),
        Dialect::Coordinator => coordinator::encode_notice(event, now_ms),
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => trial::encode_notice(network, event),
    }
}

/// Writes the roster for a newcomer, in a dialect that has one message for it; `None` in a dialect that has one for
/// each member.
pub fn encode_roster(dialect: Dialect, roster: &Roster<'_>, now_ms: u64) -> Option<Utf8Bytes> {
    match dialect {
        Dialect::Pigeon | Dialect::PeerJs | Dialect::PeerJsRoomMode | Dialect::Yjs => None,
        Dialect::Rooms => rooms::encode_roster(roster, now_ms),
        Dialect::Coordinator => Some(coordinator::encode_roster(roster, now_ms)),
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => Some(trial::encode_roster(roster)),
    }
}

/// Writes a publication for the members of its network: the same bytes for all of them. `None` in a dialect whose
/// clients publish nothing, and for a kind that it does not have.
pub fn encode_publication(
    dialect: Dialect,
    publication: &DeliveredPublication<'_>,
    now_ms: u64,
) -> Option<Utf8Bytes> {
    match dialect {
        Dialect::Pigeon | Dialect::PeerJs | Dialect::PeerJsRoomMode => None,
        Dialect::Yjs => yjs::encode_publication(publication),
        Dialect::Rooms => rooms::encode_publication(publication, now_ms),
        Dialect::Coordinator => coordinator::encode_publication(publication, now_ms),
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => trial::encode_publication(publication),
    }
}

/// The label in metrics of a delivered signal of this kind; `None` for a kind that the dialect does not have.
pub const fn sent_signal(dialect: Dialect, kind: SignalKind) -> Option<Sent> {
    match dialect {
        Dialect::Pigeon => pigeon::sent(kind),
        Dialect::PeerJs | Dialect::PeerJsRoomMode => peerjs::sent(kind),
        Dialect::Yjs => None,
        Dialect::Rooms => rooms::sent(kind),
        Dialect::Coordinator => coordinator::sent(kind),
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => Some(Sent::Offer),
    }
}

/// Whether a signal of this kind may wait for a target that is at no hub yet.
pub const fn may_wait(dialect: Dialect, kind: SignalKind) -> bool {
    match dialect {
        Dialect::Pigeon => true,
        Dialect::PeerJs | Dialect::PeerJsRoomMode => peerjs::may_wait(kind),
        Dialect::Yjs => false,
        // Their clients know which peers are there, and are told at once of one that is not.
        Dialect::Coordinator | Dialect::Rooms => false,
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => true,
    }
}

/// How a sender is told of a signal that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Nothing.
    Untold,
    /// It is told of each.
    Alone,
    /// It is told of this one, which represents those that follow.
    Begins,
    /// It is told, unless this one belongs to a failure that it was told of.
    Follows,
}

/// How the sender of a signal of this kind is told when it fails.
pub const fn failing(dialect: Dialect, kind: SignalKind) -> Failing {
    match dialect {
        // Each failure names the kind of its signal, so that programs can tell an offer from a candidate.
        Dialect::Pigeon => Failing::Alone,
        Dialect::PeerJs | Dialect::PeerJsRoomMode => peerjs::failing(kind),
        Dialect::Yjs => Failing::Untold,
        Dialect::Rooms | Dialect::Coordinator => Failing::Alone,
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => Failing::Alone,
    }
}

/// How deep arrays and objects may be nested in payloads: when a client sends one, and again when it comes from another
/// hub.
pub const fn max_depth(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Pigeon => json::MAX_DEPTH,
        Dialect::PeerJs | Dialect::PeerJsRoomMode => peerjs::MAX_DEPTH,
        Dialect::Yjs => yjs::MAX_DEPTH,
        Dialect::Rooms => rooms::MAX_DEPTH,
        Dialect::Coordinator => coordinator::MAX_DEPTH,
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => json::MAX_DEPTH,
    }
}

/// The network of a client that names none, in a dialect whose clients may.
pub const fn default_network(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Pigeon => pigeon::DEFAULT_NETWORK,
        // Their network is in the address that they connect to.
        Dialect::PeerJs | Dialect::PeerJsRoomMode => "",
        // They name each topic or room.
        Dialect::Yjs | Dialect::Rooms | Dialect::Coordinator => "",
        #[cfg(feature = "trial-dialect")]
        Dialect::Trial => "",
    }
}

/// Appends the text of a peer id, without the detour of a formatter.
fn push_id(out: &mut String, id: &PeerId) {
    match id {
        PeerId::Hex(packed) => {
            let mut text = [0; 40];
            // Twenty bytes always fit forty digits, and digits are text.
            let _ = hex::encode_to_slice(packed, &mut text);
            out.push_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        PeerId::Text(text) => json::push_escaped(out, text),
    }
}

/// Appends a number.
fn push_number(out: &mut String, number: impl fmt::Display) {
    // Writing to a string cannot fail.
    let _ = fmt::Write::write_fmt(out, format_args!("{number}"));
}
