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
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Command, Complaint, DecodeError, Event, Field, Message, Notice, Signal, json};
use super::{push_id, push_number};
use crate::mesh::core::api::{PeerEvent, SignalFailure};
use crate::mesh::core::ids::{LeaveReason, NetworkKey, PeerId, SignalKind};

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

/// How many characters of an unknown type are given back to the client.
const ECHOED_CHARS: usize = 64;

/// Reads one message of a client.
pub fn decode(text: &str) -> Result<Message<'_>, DecodeError> {
    let message = envelope(text)?;
    Ok(Message {
        command: command(&message)?,
        sender: text_of(message.sender, Field::Sender)?,
    })
}

fn command<'a>(message: &Envelope<'a>) -> Result<Command<'a>, DecodeError> {
    let kind = required(message.kind, Field::Type)?;
    let signal = match kind.as_ref() {
        "ice-candidate" => ICE_CANDIDATE,
        "offer" => OFFER,
        "answer" => ANSWER,
        "announce" => return announce(message),
        "ping" => {
            let network = network(message.network)?;
            return Ok(Command::Ping { network });
        }
        "goodbye" => return Ok(Command::Goodbye),
        // A hub alone says who is there; cleaning up is the hub's own business.
        "cleanup" | "cleanup-all" | "peer-discovered" => return Ok(Command::Ignored),
        other => {
            return Ok(Command::Unsupported(
                other.chars().take(ECHOED_CHARS).collect(),
            ));
        }
    };
    signal_to(signal, message)
}

fn signal_to<'a>(kind: SignalKind, message: &Envelope<'a>) -> Result<Command<'a>, DecodeError> {
    let target = required(message.target, Field::Target)?;
    let target = PeerId::new(&target).map_err(|_| wrong(Field::Target, "a peer id"))?;
    let payload = message.data.ok_or_else(|| missing(Field::Data))?.get();
    if !json::depth_is_bounded(payload) {
        return Err(DecodeError::TooDeep);
    }
    Ok(Command::Signal {
        target,
        network: network(message.network)?,
        kind,
        payload,
    })
}

fn announce<'a>(message: &Envelope<'a>) -> Result<Command<'a>, DecodeError> {
    let mut claims_hub = false;
    let reserved = |name: &str, value: &RawValue| {
        claims_hub |= name == "isHub" && value.get() == "true";
        RESERVED_DATA.contains(&name)
    };
    let data = match message.data {
        None => None,
        Some(data) if data.get() == "null" => None,
        Some(data) if !json::depth_is_bounded(data.get()) => return Err(DecodeError::TooDeep),
        Some(data) => json::strip_members(data, reserved)
            .map_err(|json::NotAnObject| wrong(Field::Data, "an object"))?,
    };
    Ok(Command::Announce {
        network: network(message.network)?,
        data,
        claims_hub,
    })
}

/// The fields of a message, as they are.
#[derive(Default)]
struct Envelope<'a> {
    kind: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    target: Option<&'a RawValue>,
    network: Option<&'a RawValue>,
    sender: Option<&'a RawValue>,
    /// The first field that is there twice.
    duplicate: Option<Field>,
}

fn envelope(text: &str) -> Result<Envelope<'_>, DecodeError> {
    let message: Envelope<'_> = serde_json::from_str(text).map_err(|e| match e.classify() {
        // The one thing that the visitor itself refuses is what is not a map.
        Category::Data => DecodeError::NotAnObject,
        _ => DecodeError::NotJson {
            line: e.line(),
            column: e.column(),
        },
    })?;
    match message.duplicate {
        Some(field) => Err(DecodeError::Duplicate {
            field,
            name: name(field),
        }),
        None => Ok(message),
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut message = Envelope::default();
        while let Some(Key(field)) = map.next_key()? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let slot = match field {
                Field::Type => &mut message.kind,
                Field::Data => &mut message.data,
                Field::Target => &mut message.target,
                Field::Network => &mut message.network,
                Field::Sender => &mut message.sender,
            };
            if slot.replace(map.next_value()?).is_some() {
                message.duplicate.get_or_insert(field);
            }
        }
        Ok(message)
    }
}

/// A field's name: `None` for one that this dialect does not read.
struct Key(Option<Field>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Key, E> {
        Ok(Key(FIELDS.into_iter().find(|field| name(*field) == text)))
    }
}

/// The fields that this dialect reads.
const FIELDS: [Field; 5] = [
    Field::Type,
    Field::Data,
    Field::Target,
    Field::Network,
    Field::Sender,
];

const fn name(field: Field) -> &'static str {
    match field {
        Field::Type => "type",
        Field::Data => "data",
        Field::Target => "targetPeerId",
        Field::Network => "networkName",
        Field::Sender => "fromPeerId",
    }
}

fn missing(field: Field) -> DecodeError {
    DecodeError::Missing {
        field,
        name: name(field),
    }
}

fn wrong(field: Field, want: &'static str) -> DecodeError {
    DecodeError::WrongType {
        field,
        name: name(field),
        want,
    }
}

fn required(value: Option<&RawValue>, field: Field) -> Result<Cow<'_, str>, DecodeError> {
    text_of(value, field)?.ok_or_else(|| missing(field))
}

/// The string in a field; `None` if it is absent or `null`.
fn text_of(value: Option<&RawValue>, field: Field) -> Result<Option<Cow<'_, str>>, DecodeError> {
    let Some(value) = value.map(RawValue::get).filter(|value| *value != "null") else {
        return Ok(None);
    };
    let inside = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or_else(|| wrong(field, "a string"))?;
    if !inside.contains('\\') {
        return Ok(Some(Cow::Borrowed(inside)));
    }
    serde_json::from_str(value)
        .map(|text: String| Some(Cow::Owned(text)))
        .map_err(|_| wrong(field, "a string"))
}

/// The network that a message names: none if it says nothing or the empty text, as clients take it.
fn network(value: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, DecodeError> {
    let name = text_of(value, Field::Network)?.filter(|name| !name.is_empty());
    if name
        .as_ref()
        .is_some_and(|name| name.len() > NetworkKey::MAX_NAME_BYTES)
    {
        return Err(wrong(Field::Network, "a string of at most 128 bytes"));
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
        Event::Pong => {
            out.push_str(r#"{"type":"pong","data":{"timestamp":"#);
            push_number(&mut out, now_ms);
            out.push('}');
            push_from_hub(&mut out);
        }
        Event::Undelivered { target, kind, why } => {
            push_undelivered(&mut out, target, *kind, *why);
        }
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
    out.push_str(r#","targetPeerId":""#);
    push_id(&mut out, signal.target);
    out.push('"');
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
    if let Some(members) = data.and_then(|data| json::members(data, RESERVED_DATA)) {
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

fn finish(mut out: String, network: &str, now_ms: u64) -> Utf8Bytes {
    out.push_str(r#","networkName":"#);
    json::push_string(&mut out, network);
    out.push_str(r#","timestamp":"#);
    push_number(&mut out, now_ms);
    out.push('}');
    out.into()
}

#[cfg(test)]
mod tests;
