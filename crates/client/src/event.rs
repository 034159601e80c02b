//! The messages of a hub, as types: one JSON text in, one [`Event`] out.
//!
//! Owns the decoding of the native dialect's server messages. Knows no socket. Never fails and never panics: a message
//! of an unknown shape is an [`Event::Other`] with its text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use hubmesh_json as json;

/// The three kinds of signal of the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// A session description that asks for a connection.
    Offer,
    /// The session description that accepts it.
    Answer,
    /// An address at which the sender may be reachable.
    IceCandidate,
}

impl SignalKind {
    /// The `type` on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::IceCandidate => "ice-candidate",
        }
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SignalKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "offer" => Ok(Self::Offer),
            "answer" => Ok(Self::Answer),
            "ice-candidate" => Ok(Self::IceCandidate),
            _ => Err(()),
        }
    }
}

/// A message of the hub, or the end of the connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// The hub greets this peer.
    Connected {
        /// The id of this peer, at the hub.
        id: String,
    },
    /// Another peer is in this peer's network.
    Discovered {
        /// Its id.
        id: String,
        /// The network that both are in.
        network: String,
        /// Its announced data, with `peerId` and `isHub` added by the hub.
        data: Box<RawValue>,
    },
    /// A peer said `goodbye`; [`Event::Disconnected`] follows.
    Goodbye {
        /// Its id.
        id: String,
    },
    /// A peer left or was lost.
    Disconnected {
        /// Its id.
        id: String,
        /// In the hub's words; empty if it gave none.
        reason: String,
    },
    /// A signal from a peer.
    Signal {
        /// Its kind.
        kind: SignalKind,
        /// The sender's id.
        from: String,
        /// The network that both are in.
        network: String,
        /// The payload, byte for byte as it was sent.
        data: Box<RawValue>,
    },
    /// The answer to a `ping`.
    Pong,
    /// The hub refused a request.
    Error {
        /// Why, in the hub's words.
        error: String,
        /// The whole message, which may name the peer concerned.
        text: String,
    },
    /// A message of a kind that this client does not know.
    Other {
        /// Its `type`, or `unreadable` or `binary` where it has none.
        kind: String,
        /// The whole message; empty for a binary one.
        text: String,
    },
    /// The connection is over.
    Closed {
        /// The close code. 1005: closed without a code; 1006: ended without a close frame.
        code: u16,
        /// In the hub's words, or why the connection broke.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    from_peer_id: Option<String>,
    #[serde(default)]
    network_name: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subject {
    peer_id: Option<String>,
    reason: Option<String>,
}

/// A field that exists, even if it is `null`: a peer sent that.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Decodes one text message of a hub. A hub in JavaScript may write half of a surrogate pair in a name or a text; it is
/// replaced by U+FFFD, in `data` too.
pub(super) fn parse(text: &str) -> Event {
    serde_json::from_str::<Incoming>(text)
        .or_else(|_| serde_json::from_str(&json::well_formed(text)))
        .ok()
        .and_then(|message| known(message, text))
        .unwrap_or_else(|| Event::Other {
            kind: "unreadable".to_owned(),
            text: text.to_owned(),
        })
}

/// The event of a message; `None` if a field is missing that its kind needs.
fn known(message: Incoming, text: &str) -> Option<Event> {
    let network = message.network_name.unwrap_or_default();
    if let Ok(kind) = message.kind.parse::<SignalKind>() {
        return Some(Event::Signal {
            kind,
            from: message.from_peer_id?,
            network,
            data: message.data?,
        });
    }
    let subject = message.data.as_deref().map(subject).unwrap_or_default();
    let event = match message.kind.as_str() {
        "connected" => Event::Connected {
            id: subject.peer_id?,
        },
        "peer-discovered" => Event::Discovered {
            id: subject.peer_id?,
            network,
            data: message.data?,
        },
        "peer-disconnected" => Event::Disconnected {
            id: subject.peer_id?,
            reason: subject.reason.unwrap_or_default(),
        },
        "goodbye" => Event::Goodbye {
            id: message.from_peer_id?,
        },
        "pong" => Event::Pong,
        "error" => Event::Error {
            error: message.error.unwrap_or_else(|| text.to_owned()),
            text: text.to_owned(),
        },
        _ => Event::Other {
            kind: message.kind,
            text: text.to_owned(),
        },
    };
    Some(event)
}

fn subject(data: &RawValue) -> Subject {
    serde_json::from_str(&json::well_formed(data.get())).unwrap_or_default()
}
