//! The native dialect, of `peerpigeon` clients.
//!
//! A client's message is an object with `type` and, as needed, `data`, `targetPeerId` and `networkName`; a `fromPeerId`
//! is compared with the true one, and other fields (`maxPeers`, a `timestamp`) are ignored. A hub's message is `{type,
//! data, fromPeerId, targetPeerId?, networkName, timestamp}`. Clients drop messages that do not name their own network,
//! so every message does.
//!
//! The mesh carries announced data as the text of an object without `peerId` and `isHub`: both are set when it is
//! encoded, so no client can claim another's id or claim to be a hub, and one encoding serves all receivers.

use std::borrow::Cow;

use hubmesh_core::api::{PeerEvent, SignalFailure};
use hubmesh_core::ids::{LeaveReason, NetworkKey, PeerId, SignalKind};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::envelope::{self, Envelope, Names};
use super::shapes::{Id, written};
use super::words::{Received, Sent};
use super::{Command, DecodeError, DeliveredSignal, Event, Field, Message, Notice, json};
use super::{push_id, push_number};

/// The network of a client that names none.
pub const DEFAULT_NETWORK: &str = "global";

/// The kind of an `offer`.
pub const OFFER: SignalKind = SignalKind(0);
/// The kind of an `answer`.
pub const ANSWER: SignalKind = SignalKind(1);
/// The kind of an `ice-candidate`.
pub const ICE_CANDIDATE: SignalKind = SignalKind(2);

/// The fields that a hub sets for a peer, whatever the peer announces.
const RESERVED_DATA: &[&str] = &["peerId", "isHub"];

/// Reads one message of a client.
pub fn decode(text: &str) -> Result<Message<'_>, DecodeError> {
    let message = Envelope::read(text, &NAMES)?;
    message.unambiguous()?;
    Ok(Message {
        command: command(&message)?,
        sender: message.text(Field::Sender)?,
    })
}

fn command<'a>(message: &Envelope<'a>) -> Result<Command<'a>, DecodeError> {
    let kind = message.required(Field::Type)?;
    let signal = match kind.as_ref() {
        "ice-candidate" => ICE_CANDIDATE,
        "offer" => OFFER,
        "answer" => ANSWER,
        "announce" => return announce(message),
        "ping" => {
            let network = network(message)?;
            return Ok(Command::Ping { network });
        }
        "goodbye" => return Ok(Command::Goodbye),
        // Only a hub tells which peers are there; cleaning up is the hub's own business.
        "cleanup" | "cleanup-all" | "peer-discovered" => return Ok(Command::Ignored),
        other => return Ok(Command::unsupported(other)),
    };
    signal_to(signal, message)
}

fn signal_to<'a>(kind: SignalKind, message: &Envelope<'a>) -> Result<Command<'a>, DecodeError> {
    let target = message.peer(Field::Target)?;
    let payload = message.payload.ok_or_else(|| NAMES.missing(Field::Data))?;
    Ok(Command::Signal {
        target,
        network: network(message)?,
        kind,
        payload: envelope::bounded(payload.get(), json::MAX_DEPTH, &NAMES)?.into(),
    })
}

fn announce<'a>(message: &Envelope<'a>) -> Result<Command<'a>, DecodeError> {
    let mut claims_hub = false;
    let reserved = |name: &str, value: &RawValue| {
        claims_hub |= name == "isHub" && value.get() == "true";
        RESERVED_DATA.contains(&name)
    };
    let data = match message.payload {
        None => None,
        Some(data) if data.get() == "null" => None,
        Some(data) => {
            envelope::bounded(data.get(), json::MAX_DEPTH, &NAMES)?;
            json::strip_members(data, reserved)
                .map_err(|json::NotAnObject| NAMES.wrong(Field::Data, "an object"))?
        }
    };
    Ok(Command::Announce {
        network: network(message)?,
        data,
        claims_hub,
    })
}

/// The names of the fields in this dialect.
const NAMES: Names = Names {
    kind: "type",
    payload: "data",
    target: "targetPeerId",
    network: "networkName",
    sender: "fromPeerId",
};

/// The network that a message names: `None` if it is missing or the empty text, as clients do.
fn network<'a>(message: &Envelope<'a>) -> Result<Option<Cow<'a, str>>, DecodeError> {
    let name = message
        .text(Field::Network)?
        .filter(|name| !name.is_empty());
    if name
        .as_ref()
        .is_some_and(|name| name.len() > NetworkKey::MAX_NAME_BYTES)
    {
        return Err(NAMES.wrong(Field::Network, "a string of at most 128 bytes"));
    }
    Ok(name)
}

/// A message of the hub that carries no payload.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
    from_peer_id: SenderField<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_peer_id: Option<Id<'a>>,
    network_name: &'a str,
    timestamp: u64,
}

/// The data of such a message.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Data<'a> {
    Connected {
        peer_id: Id<'a>,
    },
    Goodbye {
        peer_id: Id<'a>,
        reason: &'static str,
    },
    Left {
        peer_id: Id<'a>,
        is_hub: bool,
        reason: &'static str,
        timestamp: u64,
    },
    Pong {
        timestamp: u64,
    },
    Undelivered {
        peer_id: Id<'a>,
        signal: &'static str,
    },
}

/// Its sender.
#[derive(Serialize)]
#[serde(untagged)]
enum SenderField<'a> {
    Hub(&'static str),
    Peer(Id<'a>),
}

/// The name of the hub as a sender.
const HUB: &str = "system";

impl<'a> Written<'a> {
    /// A message of the hub itself.
    fn new(kind: &'static str, data: Option<Data<'a>>, network: &'a str, now_ms: u64) -> Self {
        Written {
            kind,
            error: None,
            code: None,
            data,
            from_peer_id: SenderField::Hub(HUB),
            target_peer_id: None,
            network_name: network,
            timestamp: now_ms,
        }
    }
}

/// Encodes one message for a client in this network.
pub fn encode(network: &str, event: &Event<'_>, now_ms: u64) -> Utf8Bytes {
    let new = |kind, data| Written::new(kind, data, network, now_ms);
    match event {
        Event::Discovered { peer, data } => discovered(network, peer, *data, now_ms),
        Event::Connected { peer } => {
            let peer_id = Id(peer);
            written(&new("connected", Some(Data::Connected { peer_id })))
        }
        Event::Goodbye { peer } => {
            let (peer_id, reason) = (Id(peer), "goodbye");
            written(&Written {
                from_peer_id: SenderField::Peer(Id(peer)),
                ..new("goodbye", Some(Data::Goodbye { peer_id, reason }))
            })
        }
        Event::Left { peer, reason } => {
            let data = Data::Left {
                peer_id: Id(peer),
                is_hub: false,
                reason: reason.as_str(),
                timestamp: now_ms,
            };
            written(&new("peer-disconnected", Some(data)))
        }
        Event::Pong { peer } => written(&Written {
            target_peer_id: Some(Id(peer)),
            ..new("pong", Some(Data::Pong { timestamp: now_ms }))
        }),
        Event::Undelivered {
            target, kind, why, ..
        } => {
            let signal = kind_name(*kind).unwrap_or("signal");
            let peer_id = Id(target);
            let data = Data::Undelivered { peer_id, signal };
            let text = undelivered(target, signal, *why);
            error(why.as_str(), &text, new("error", Some(data)))
        }
        Event::Unpublished { why } => {
            error(why.as_str(), "not all were reached", new("error", None))
        }
        Event::UnknownTarget { .. } => {
            let text = "no peer can be called that";
            error("no-such-peer", text, new("error", None))
        }
        Event::Error(complaint) => error(complaint.code, &complaint.text, new("error", None)),
    }
}

fn error<'a>(code: &'static str, text: &'a str, message: Written<'a>) -> Utf8Bytes {
    written(&Written {
        error: Some(text),
        code: Some(code),
        ..message
    })
}

fn undelivered(target: &PeerId, signal: &str, why: SignalFailure) -> String {
    let became = match why {
        SignalFailure::Unknown => "may not have reached",
        _ => "did not reach",
    };
    format!("the {signal} {became} {target}: {}", why.as_str())
}

/// Space for the rest of a message around its payload: names, two ids, a network and a time.
const ENVELOPE_BYTES: usize = 224;

/// Encodes a signal for its receiver; `None` for a kind that this dialect does not have.
pub fn encode_signal(signal: &DeliveredSignal<'_>, now_ms: u64) -> Option<Utf8Bytes> {
    let kind = kind_name(signal.kind)?;
    let mut out = String::with_capacity(ENVELOPE_BYTES + signal.payload.len());
    out.push_str(r#"{"type":""#);
    out.push_str(kind);
    out.push_str(r#"","data":"#);
    out.push_str(signal.payload);
    push_from(&mut out, signal.from);
    push_target(&mut out, signal.target);
    Some(finish(out, signal.network.name(), now_ms))
}

/// Encodes a notice about a peer for the members of a network.
///
/// Clients close their data channel to a peer on `goodbye`, so they get one only for a peer that said goodbye.
pub fn encode_notice(network: &str, event: &PeerEvent, now_ms: u64) -> Notice {
    let peer = event.peer();
    match event {
        PeerEvent::Joined { data, .. } | PeerEvent::Updated { data, .. } => {
            let data = data.as_deref();
            Notice::one(encode(network, &Event::Discovered { peer, data }, now_ms))
        }
        // Its networks have no host.
        PeerEvent::Hosts { .. } => Notice::NONE,
        PeerEvent::Left { reason, .. } => {
            let reason = *reason;
            let left = encode(network, &Event::Left { peer, reason }, now_ms);
            if reason != LeaveReason::Goodbye {
                return Notice::one(left);
            }
            Notice::two(encode(network, &Event::Goodbye { peer }, now_ms), left)
        }
    }
}

const fn kind_name(kind: SignalKind) -> Option<&'static str> {
    match kind {
        OFFER => Some("offer"),
        ANSWER => Some("answer"),
        ICE_CANDIDATE => Some("ice-candidate"),
        _ => None,
    }
}

fn discovered(network: &str, peer: &PeerId, data: Option<&[u8]>, now_ms: u64) -> Utf8Bytes {
    let mut out = String::with_capacity(ENVELOPE_BYTES + data.map_or(0, <[u8]>::len));
    out.push_str(r#"{"type":"peer-discovered","data":{"peerId":""#);
    push_id(&mut out, peer);
    out.push_str(r#"","isHub":false"#);
    if let Some(members) = data.and_then(|data| json::members(data, RESERVED_DATA, json::MAX_DEPTH))
    {
        out.push(',');
        out.push_str(members);
    }
    out.push_str(r#"},"fromPeerId":"system""#);
    finish(out, network, now_ms)
}

fn push_from(out: &mut String, peer: &PeerId) {
    out.push_str(r#","fromPeerId":""#);
    push_id(out, peer);
    out.push('"');
}

fn push_target(out: &mut String, peer: &PeerId) {
    out.push_str(r#","targetPeerId":""#);
    push_id(out, peer);
    out.push('"');
}

fn finish(mut out: String, network: &str, now_ms: u64) -> Utf8Bytes {
    out.push_str(r#","networkName":"#);
    json::push_string(&mut out, network);
    out.push_str(r#","timestamp":"#);
    push_number(&mut out, now_ms);
    out.push('}');
    out.into()
}

/// The label in metrics of a client's signal of this kind.
pub const fn received(kind: SignalKind) -> Received {
    match kind {
        OFFER => Received::Offer,
        ANSWER => Received::Answer,
        ICE_CANDIDATE => Received::IceCandidate,
        _ => Received::Other,
    }
}

/// The label in metrics of a delivered signal of this kind; `None` for a kind that this dialect does not have.
pub const fn sent(kind: SignalKind) -> Option<Sent> {
    match kind {
        OFFER => Some(Sent::Offer),
        ANSWER => Some(Sent::Answer),
        ICE_CANDIDATE => Some(Sent::IceCandidate),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
