//! The dialect of unmodified `peerjs` 1.x clients, and its room mode.
//!
//! A client's message is an object with `type` and, as needed, `dst` and `payload`; the hub sets the true sender as
//! `src` and forwards the rest unchanged. A message with other fields than these four is forwarded whole, without
//! `type`, `src` and `dst`, under a kind of its own, so that usual messages cost no copy.
//!
//! In a realm (the plain mode, [`Dialect::PeerJs`]) no peer is told of others, and a signal without a receiver comes
//! back as one `EXPIRE`. In a room ([`Dialect::PeerJsRoomMode`]) members are told of those that leave, errors have a
//! type, and a `src` that is not the sender's is an error instead of being overwritten. Clients map some texts of
//! errors to their own, so these are the texts of PeerServer 1.x.

use std::borrow::Cow;

use hubmesh_core::api::{PeerEvent, SignalFailure};
use hubmesh_core::ids::{Dialect, LeaveReason, PeerId, SignalKind};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::ends;
use super::envelope::{self, Envelope, Names};
use super::shapes::{Id, written};
use super::words::{Received, Sent};
use super::{
    Command, Complaint, DecodeError, DeliveredSignal, Event, Failing, Field, Message, Notice,
    ReadPastNotice,
};
use super::{json, push_id, start_of};

/// The kind of an `OFFER`.
pub const OFFER: SignalKind = SignalKind(0);
/// The kind of an `ANSWER`.
pub const ANSWER: SignalKind = SignalKind(1);
/// The kind of a `CANDIDATE`.
pub const CANDIDATE: SignalKind = SignalKind(2);
/// The kind of a `LEAVE` that is for one peer.
pub const LEAVE: SignalKind = SignalKind(3);

/// Set in the kind of a message with other fields than a payload: all of them are forwarded, as one object.
const WHOLE: u8 = 0x80;

/// The fields that a hub sets itself.
const RESERVED: &[&str] = &["type", "src", "dst"];

/// How deep arrays and objects may be nested in a payload. PeerServer forwards what its stack can encode again, some
/// thousand levels: a client that works there must not lose messages here. Hubs of 0.1.0 forward [`json::MAX_DEPTH`]
/// levels, and report deeper ones as not delivered.
pub const MAX_DEPTH: usize = 1_000;

/// The error for a client whose id another has.
const ID_TAKEN: &str = "ID is taken";

/// The names of the fields in this dialect.
const NAMES: Names = Names {
    kind: "type",
    payload: "payload",
    target: "dst",
    network: "",
    sender: "src",
};

/// Reads one message of a client.
pub fn decode(dialect: Dialect, text: &str) -> Result<Message<'_>, DecodeError> {
    let message = match Envelope::read(text, &NAMES) {
        // An error would end a client's connection, and PeerServer says nothing either.
        Err(_) if dialect == Dialect::PeerJs => {
            return Ok(Message {
                command: Command::Ignored,
                sender: None,
            });
        }
        message => message?,
    };
    let sender = match dialect {
        Dialect::PeerJsRoomMode => message.text(Field::Sender)?,
        _ => None,
    };
    Ok(Message {
        command: command(dialect, text, &message)?,
        sender,
    })
}

fn command<'a>(
    dialect: Dialect,
    text: &'a str,
    message: &Envelope<'a>,
) -> Result<Command<'a>, DecodeError> {
    if dialect == Dialect::PeerJs && is_no_word(message) {
        return Ok(Command::Ignored);
    }
    let kind = message.required(Field::Type)?;
    let kind = match kind.as_ref() {
        "CANDIDATE" => CANDIDATE,
        "OFFER" => OFFER,
        "ANSWER" => ANSWER,
        "LEAVE" => LEAVE,
        // Only a hub tells that a message expired.
        "HEARTBEAT" | "EXPIRE" => return Ok(Command::Ignored),
        // An error ends a client's connection, and a newer client may say more than this hub knows.
        _ if dialect == Dialect::PeerJs => return Ok(Command::Ignored),
        other => return Ok(Command::unsupported(other)),
    };
    let target = match target_of(message) {
        Target::Nobody if kind == LEAVE => return Ok(Command::Goodbye),
        Target::Peer(target) => target,
        _ if dialect == Dialect::PeerJsRoomMode => message.peer(Field::Target)?,
        // An application may take the names of its peers from anywhere, and an error would end its connection.
        Target::Unknown(name) if kind != LEAVE => return Ok(Command::UnknownTarget { name, kind }),
        Target::Nobody | Target::Unknown(_) => return Ok(Command::Ignored),
    };
    let (kind, payload) = match message.payload {
        Some(payload) if !message.has_more => (kind, payload.get().into()),
        _ => (SignalKind(kind.0 | WHOLE), rest_of(text)?),
    };
    if let Err(why) = envelope::bounded(&payload, MAX_DEPTH, &NAMES) {
        return match dialect {
            Dialect::PeerJs if may_wait(kind) => Ok(Command::UnknownTarget {
                name: target.to_string(),
                kind,
            }),
            Dialect::PeerJs => Ok(Command::Ignored),
            _ => Err(why),
        };
    }
    Ok(Command::Signal {
        target,
        network: None,
        kind,
        payload,
    })
}

/// Whether a message has no string as type: no message has such a type.
fn is_no_word(message: &Envelope<'_>) -> bool {
    let kind = message.present(Field::Type);
    kind.is_none_or(|kind| !kind.starts_with('"'))
}

/// The target of a message, as far as it can be one.
enum Target {
    Nobody,
    Peer(PeerId),
    /// No peer can have this id; the start of it.
    Unknown(String),
}

fn target_of(message: &Envelope<'_>) -> Target {
    let raw = message.raw(Field::Target);
    let Some((raw, name)) = raw.and_then(|raw| Some((raw, name_in(raw)?))) else {
        return Target::Nobody;
    };
    let scalar = !raw.starts_with(['{', '[']);
    match PeerId::new(&name).ok().filter(|_| scalar) {
        Some(peer) => Target::Peer(peer),
        None => Target::Unknown(start_of(&name)),
    }
}

/// The target in a field; `None` if there is none. A number counts as the id with its digits, since scripts do not
/// distinguish the two.
fn name_in(raw: &str) -> Option<Cow<'_, str>> {
    let name = if raw.starts_with('"') {
        json::string(raw)?
    } else {
        Cow::Borrowed(raw)
    };
    Some(name).filter(|name| !name.is_empty() && raw != "null")
}

/// A message without the fields that the hub sets.
fn rest_of(text: &str) -> Result<Cow<'_, str>, DecodeError> {
    let whole: &RawValue = serde_json::from_str(text).map_err(|_| DecodeError::NotAnObject)?;
    let rest = json::strip_members(whole, |name, _| RESERVED.contains(&name))
        .map_err(|json::NotAnObject| DecodeError::NotAnObject)?;
    let rest = rest.map(|rest| String::from_utf8_lossy(&rest).into_owned());
    Ok(rest.map_or(Cow::Borrowed("{}"), Cow::Owned))
}

/// How the sender of a signal of this kind is told when it fails: a peer that leaves does not need to know, and a call
/// or its answer belongs together with its candidates.
pub const fn failing(kind: SignalKind) -> Failing {
    match base_kind(kind) {
        LEAVE => Failing::Untold,
        OFFER | ANSWER => Failing::Begins,
        _ => Failing::Follows,
    }
}

/// The answer to a client of a realm for a message of which only the ends were kept: an error would end its connection.
pub fn unread(head: &[u8], tail: &[u8]) -> ReadPastNotice {
    let kind = ends::member(head, tail, NAMES.kind).map(json::string);
    let kind = match kind.as_ref().map(Option::as_deref) {
        // Most messages of such a length are calls. The sender waits for an answer, whatever the message was.
        Some(Some("OFFER")) | None => OFFER,
        Some(Some("ANSWER")) => ANSWER,
        Some(Some("CANDIDATE")) => CANDIDATE,
        _ => return ReadPastNotice::Nothing,
    };
    match ends::member(head, tail, NAMES.target).and_then(name_in) {
        Some(name) => ReadPastNotice::Expired {
            name: start_of(&name),
            kind,
        },
        None => ReadPastNotice::Nothing,
    }
}

/// Whether a signal of this kind may wait for a target that is at no hub yet.
pub const fn may_wait(kind: SignalKind) -> bool {
    kind.0 & !WHOLE != LEAVE.0
}

/// Space for the rest of a message around its payload: names and two ids.
const ENVELOPE_BYTES: usize = 160;

/// Encodes one message for a client; `None` for events that PeerJS clients are not told of.
pub fn encode(dialect: Dialect, event: &Event<'_>) -> Option<Utf8Bytes> {
    match event {
        Event::Connected { .. } => Some(Utf8Bytes::from_static(r#"{"type":"OPEN"}"#)),
        Event::Undelivered {
            sender,
            target,
            kind,
            why,
            repeats_previous,
        } => {
            if *repeats_previous || failing(*kind) == Failing::Untold {
                return None;
            }
            Some(match dialect {
                Dialect::PeerJsRoomMode => unreached(target, *why),
                _ => expire(sender, &target.to_string()),
            })
        }
        Event::UnknownTarget { sender, name } => Some(expire(sender, name)),
        Event::Error(complaint) => Some(error(complaint)),
        Event::Discovered { .. }
        | Event::Goodbye { .. }
        | Event::Unpublished { .. }
        | Event::Left { .. }
        | Event::Pong { .. } => None,
    }
}

/// Encodes a signal for its receiver; `None` for a kind that this dialect does not have, and for a payload that it must
/// not have.
pub fn encode_signal(signal: &DeliveredSignal<'_>) -> Option<Utf8Bytes> {
    let kind = kind_name(signal.kind)?;
    let mut out = String::with_capacity(ENVELOPE_BYTES + signal.payload.len());
    out.push_str(r#"{"type":""#);
    out.push_str(kind);
    out.push_str(r#"","src":""#);
    push_id(&mut out, signal.from);
    out.push_str(r#"","dst":""#);
    push_id(&mut out, signal.target);
    out.push('"');
    if signal.kind.0 & WHOLE == 0 {
        out.push_str(r#","payload":"#);
        out.push_str(signal.payload);
    } else if signal.payload != "{}" {
        out.push(',');
        out.push_str(json::members(
            signal.payload.as_bytes(),
            RESERVED,
            MAX_DEPTH,
        )?);
    }
    out.push('}');
    Some(out.into())
}

/// Encodes a notice about a peer for the members of a room; in a realm, nothing.
pub fn encode_notice(dialect: Dialect, event: &PeerEvent) -> Notice {
    match (dialect, event) {
        (Dialect::PeerJsRoomMode, PeerEvent::Left { peer, reason }) => {
            Notice::one(departed(peer, *reason))
        }
        _ => Notice::NONE,
    }
}

const fn kind_name(kind: SignalKind) -> Option<&'static str> {
    match SignalKind(kind.0 & !WHOLE) {
        OFFER => Some("OFFER"),
        ANSWER => Some("ANSWER"),
        CANDIDATE => Some("CANDIDATE"),
        LEAVE => Some("LEAVE"),
        _ => None,
    }
}

/// The number of a kind among [`OFFER`] to [`LEAVE`], whatever it carries.
pub const fn base_kind(kind: SignalKind) -> SignalKind {
    SignalKind(kind.0 & !WHOLE)
}

fn departed(peer: &PeerId, reason: LeaveReason) -> Utf8Bytes {
    written(&Departed {
        kind: match reason {
            LeaveReason::Expelled | LeaveReason::HubLost => "EXPIRE",
            _ => "LEAVE",
        },
        peer_id: Id(peer),
    })
}

/// As PeerServer writes it: from the absent peer, to the one that asked for it.
fn expire(sender: &PeerId, absent: &str) -> Utf8Bytes {
    written(&Expired {
        kind: "EXPIRE",
        src: absent,
        dst: Id(sender),
    })
}

fn unreached(target: &PeerId, why: SignalFailure) -> Utf8Bytes {
    let kind = match why {
        SignalFailure::NoSuchPeer => "unknown-peer",
        _ => why.as_str(),
    };
    let text = format!("{target} was not reached: {}", why.as_str());
    typed_error(kind, &text, Some(target))
}

fn error(complaint: &Complaint<'_>) -> Utf8Bytes {
    let kind = match complaint.code {
        "id-taken" | "takeover-limit" | "superseded" => return id_taken(),
        "rate-limited" | "rate-abuse" => "rate-limit-exceeded",
        "room-full" => "room-full",
        "refused" => "refused",
        "token-expired" => "token-expired",
        _ => "invalid-message",
    };
    typed_error(kind, &complaint.text, None)
}

fn id_taken() -> Utf8Bytes {
    let payload = Payload {
        msg: ID_TAKEN,
        error: None,
    };
    let kind = "ID-TAKEN";
    written(&FailureMessage { kind, payload })
}

fn typed_error(kind: &str, text: &str, peer: Option<&PeerId>) -> Utf8Bytes {
    let error = TypedError {
        kind,
        message: text,
        peer_id: peer.map(Id),
    };
    let payload = Payload {
        msg: text,
        error: Some(error),
    };
    let kind = "ERROR";
    written(&FailureMessage { kind, payload })
}

/// A peer has left a room.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Departed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    peer_id: Id<'a>,
}

/// A signal had no receiver.
#[derive(Serialize)]
struct Expired<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    src: &'a str,
    dst: Id<'a>,
}

/// An error.
#[derive(Serialize)]
struct FailureMessage<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    payload: Payload<'a>,
}

/// `peerjs` reads `msg`; clients of the room mode read `type` and `message`.
#[derive(Serialize)]
struct Payload<'a> {
    msg: &'a str,
    #[serde(flatten)]
    error: Option<TypedError<'a>>,
}

/// The part of an error that clients of the room mode read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypedError<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<Id<'a>>,
}

/// The label in metrics of a client's signal of this kind.
pub const fn received(kind: SignalKind) -> Received {
    match base_kind(kind) {
        OFFER => Received::Offer,
        ANSWER => Received::Answer,
        CANDIDATE => Received::IceCandidate,
        LEAVE => Received::Goodbye,
        _ => Received::Other,
    }
}

/// The label in metrics of a delivered signal of this kind; `None` for a kind that this dialect does not have.
pub const fn sent(kind: SignalKind) -> Option<Sent> {
    match base_kind(kind) {
        OFFER => Some(Sent::Offer),
        ANSWER => Some(Sent::Answer),
        CANDIDATE => Some(Sent::IceCandidate),
        LEAVE => Some(Sent::Goodbye),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
