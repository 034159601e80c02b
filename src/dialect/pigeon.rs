//! The native dialect, spoken by `peerpigeon` clients.
//!
//! A client's message is an object with `type` and, as needed, `data`, `targetPeerId` and `networkName`; a `fromPeerId`
//! is compared with the true one, and all else (`maxPeers`, a `timestamp`) ignored. A hub's message is
//! `{type, data, fromPeerId, targetPeerId?, networkName, timestamp}`. Clients drop what does not name their own
//! network, so every message does.
//!
//! The mesh carries announced data as the text of an object without `peerId` and `isHub`: both are put in front
//! when it is encoded, so that no client can claim another's id or pass for a hub, and one encoding serves all
//! receivers.

use std::borrow::Cow;

use hubmesh_core::api::{PeerEvent, SignalFailure};
use hubmesh_core::ids::{LeaveReason, NetworkKey, PeerId, SignalKind};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::envelope::{self, Envelope, Names};
use super::words::{Received, Sent};
use super::{Command, Complaint, DecodeError, Event, Field, Message, Notice, Signal, json};
use super::{push_id, push_number};

/// The network of a client that names none.
pub const DEFAULT_NETWORK: &str = "global";

/// The kind of an `offer`.
pub const OFFER: SignalKind = SignalKind(0);
/// The kind of an `answer`.
pub const ANSWER: SignalKind = SignalKind(1);
/// The kind of an `ice-candidate`.
pub const ICE_CANDIDATE: SignalKind = SignalKind(2);

/// What a hub says of a peer by itself, whatever the peer announces.
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
        // A hub alone says who is there; cleaning up is the hub's own business.
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

/// What this dialect calls the fields that it reads.
const NAMES: Names = Names {
    kind: "type",
    payload: "data",
    target: "targetPeerId",
    network: "networkName",
    sender: "fromPeerId",
};

/// The network that a message names: none if it says nothing or the empty text, as clients take it.
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

/// Room for what surrounds a payload: names, two ids, a network and a time.
const ENVELOPE_BYTES: usize = 224;

/// Writes one message for a client in this network.
pub fn encode(network: &str, event: &Event<'_>, now_ms: u64) -> Utf8Bytes {
    let mut out = String::with_capacity(ENVELOPE_BYTES + room(event));
    match event {
        Event::Connected { peer } => {
            out.push_str(r#"{"type":"connected","data":{"peerId":""#);
            push_id(&mut out, peer);
            out.push_str("\"}");
            push_from_hub(&mut out);
        }
        Event::Discovered { peer, data } => push_discovered(&mut out, peer, *data),
        Event::Goodbye { peer } => push_goodbye(&mut out, peer),
        Event::Left { peer, reason } => push_left(&mut out, peer, *reason, now_ms),
        Event::Pong { peer } => {
            out.push_str(r#"{"type":"pong","data":{"timestamp":"#);
            push_number(&mut out, now_ms);
            out.push('}');
            push_from_hub(&mut out);
            push_target(&mut out, peer);
        }
        Event::Undelivered {
            target, kind, why, ..
        } => {
            push_undelivered(&mut out, target, *kind, *why);
        }
        Event::Unpublished { why } => push_error(
            &mut out,
            &Complaint {
                code: why.as_str(),
                text: "not all were reached".into(),
            },
        ),
        Event::Nowhere { .. } => push_error(
            &mut out,
            &Complaint {
                code: "no-such-peer",
                text: "no peer can be called that".into(),
            },
        ),
        Event::Error(complaint) => push_error(&mut out, complaint),
    }
    finish(out, network, now_ms)
}

fn room(event: &Event<'_>) -> usize {
    match event {
        Event::Discovered { data, .. } => data.map_or(0, <[u8]>::len),
        Event::Error(complaint) => complaint.text.len(),
        _ => 0,
    }
}

/// Writes a signal for its receiver; `None` for a kind that this dialect does not have.
pub fn encode_signal(signal: &Signal<'_>, now_ms: u64) -> Option<Utf8Bytes> {
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

/// Writes what the members of a network hear of a peer.
///
/// Clients close their data channel to a peer on `goodbye`, so only one who said it is reported with it.
pub fn encode_notice(network: &str, event: &PeerEvent, now_ms: u64) -> Notice {
    let peer = event.peer();
    match event {
        PeerEvent::Joined { data, .. } | PeerEvent::Updated { data, .. } => {
            let data = data.as_deref();
            Notice::one(encode(network, &Event::Discovered { peer, data }, now_ms))
        }
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

fn push_discovered(out: &mut String, peer: &PeerId, data: Option<&[u8]>) {
    out.push_str(r#"{"type":"peer-discovered","data":{"peerId":""#);
    push_id(out, peer);
    out.push_str(r#"","isHub":false"#);
    if let Some(members) = data.and_then(|data| json::members(data, RESERVED_DATA, json::MAX_DEPTH))
    {
        out.push(',');
        out.push_str(members);
    }
    out.push('}');
    push_from_hub(out);
}

fn push_goodbye(out: &mut String, peer: &PeerId) {
    out.push_str(r#"{"type":"goodbye","data":{"peerId":""#);
    push_id(out, peer);
    out.push_str(r#"","reason":"goodbye"}"#);
    push_from(out, peer);
}

fn push_left(out: &mut String, peer: &PeerId, reason: LeaveReason, now_ms: u64) {
    out.push_str(r#"{"type":"peer-disconnected","data":{"peerId":""#);
    push_id(out, peer);
    out.push_str(r#"","isHub":false,"reason":""#);
    out.push_str(reason.as_str());
    out.push_str(r#"","timestamp":"#);
    push_number(out, now_ms);
    out.push('}');
    push_from_hub(out);
}

fn push_undelivered(out: &mut String, target: &PeerId, kind: SignalKind, why: SignalFailure) {
    let kind = kind_name(kind).unwrap_or("signal");
    out.push_str(r#"{"type":"error","error":"the "#);
    out.push_str(kind);
    out.push_str(match why {
        SignalFailure::Unknown => " may not have reached ",
        _ => " did not reach ",
    });
    push_id(out, target);
    out.push_str(": ");
    out.push_str(why.as_str());
    out.push_str(r#"","code":""#);
    out.push_str(why.as_str());
    out.push_str(r#"","data":{"peerId":""#);
    push_id(out, target);
    out.push_str(r#"","signal":""#);
    out.push_str(kind);
    out.push_str("\"}");
    push_from_hub(out);
}

fn push_error(out: &mut String, complaint: &Complaint<'_>) {
    out.push_str(r#"{"type":"error","error":"#);
    json::push_string(out, &complaint.text);
    out.push_str(r#","code":""#);
    out.push_str(complaint.code);
    out.push('"');
    push_from_hub(out);
}

fn push_from_hub(out: &mut String) {
    out.push_str(r#","fromPeerId":"system""#);
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

/// What a client's signal of this kind counts as.
pub const fn received(kind: SignalKind) -> Received {
    match kind {
        OFFER => Received::Offer,
        ANSWER => Received::Answer,
        ICE_CANDIDATE => Received::IceCandidate,
        _ => Received::Other,
    }
}

/// What a delivered signal of this kind counts as; `None` for a kind that this dialect does not have.
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
