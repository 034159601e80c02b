//! The messages of a coordinator's client, decoded.

use std::borrow::Cow;

use hubmesh_core::ids::SignalKind;

use super::super::fields::{self, bounded, given, string};
use super::super::{Complaint, json, start_of};
use super::{ANSWER, CANDIDATE, MAX_DEPTH, OFFER, SIGNAL};

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// It registers this id.
    Register {
        /// The id.
        peer: Cow<'a, str>,
        /// The data that it shows in rooms: one JSON value.
        metadata: Option<&'a str>,
    },
    /// It asks to be in a room.
    Join {
        /// The id that it gives as its own.
        peer: Cow<'a, str>,
        /// The room.
        room: Cow<'a, str>,
    },
    /// It leaves a room.
    Leave {
        /// The id that it gives as its own.
        peer: Cow<'a, str>,
        /// The room.
        room: Cow<'a, str>,
    },
    /// It sends a payload to one peer.
    Signal {
        /// Its kind.
        kind: SignalKind,
        /// The id that it gives as its own.
        from: Cow<'a, str>,
        /// The target.
        to: Cow<'a, str>,
        /// One JSON value.
        payload: &'a str,
    },
    /// It sends a payload to the others in a room.
    Broadcast {
        /// The id that it gives as its own.
        from: Cow<'a, str>,
        /// The room.
        room: Cow<'a, str>,
        /// One JSON value.
        data: &'a str,
    },
    /// It asks for a pong.
    Ping,
    /// A type that the coordinator does not know; holds its start.
    Unknown(String),
}

/// The members of a message that are read.
const NAMES: [&str; 11] = [
    "type",
    "peerId",
    "metadata",
    "roomId",
    "from",
    "to",
    "offer",
    "answer",
    "candidate",
    "signal",
    "data",
];

/// Reads a client's message.
///
/// # Errors
/// It is not an object, lacks a member, or is nested too deep to be forwarded: in words for the client. Nothing has
/// changed.
pub fn decode(text: &str) -> Result<Said<'_>, Complaint<'static>> {
    let read = fields::read(text, &NAMES).map_err(|why| why.complaint())?;
    let [
        kind,
        peer,
        metadata,
        room,
        from,
        to,
        offer,
        answer,
        candidate,
        signal,
        data,
    ] = read;
    let Some(kind) = given(kind) else {
        return Err(Complaint::new("missing-field", "`type` is missing"));
    };
    let Some(word) = json::string(kind) else {
        return Ok(Said::Unknown(start_of(kind)));
    };
    let addressed = |kind, name: &'static str, payload| {
        let [from_text, to_text, payload] =
            required([("from", from), ("to", to), (name, payload)])?;
        Ok(Said::Signal {
            kind,
            from: string("from", from_text)?,
            to: string("to", to_text)?,
            payload: bounded(name, payload, MAX_DEPTH)?,
        })
    };
    let of_room = || {
        let [peer, room] = required([("peerId", peer), ("roomId", room)])?;
        Ok((string("peerId", peer)?, string("roomId", room)?))
    };
    Ok(match &*word {
        "register" => {
            let [peer] = required([("peerId", peer)])?;
            Said::Register {
                peer: string("peerId", peer)?,
                metadata: given(metadata),
            }
        }
        "join-room" => {
            let (peer, room) = of_room()?;
            Said::Join { peer, room }
        }
        "leave-room" => {
            let (peer, room) = of_room()?;
            Said::Leave { peer, room }
        }
        "offer" => addressed(OFFER, "offer", offer)?,
        "answer" => addressed(ANSWER, "answer", answer)?,
        "ice-candidate" => addressed(CANDIDATE, "candidate", candidate)?,
        "signal" => addressed(SIGNAL, "signal", signal)?,
        "broadcast" => {
            let [from, room, data] = required([("from", from), ("roomId", room), ("data", data)])?;
            Said::Broadcast {
                from: string("from", from)?,
                room: string("roomId", room)?,
                data: bounded("data", data, MAX_DEPTH)?,
            }
        }
        "ping" => Said::Ping,
        _ => Said::Unknown(start_of(&word)),
    })
}

/// The members that a message must have.
fn required<'a, const N: usize>(
    members: [(&'static str, Option<&'a str>); N],
) -> Result<[&'a str; N], Complaint<'static>> {
    let missing = members.iter().filter(|(_, value)| given(*value).is_none());
    let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(members.map(|(_, value)| value.unwrap_or_default()));
    }
    let text = format!("Missing required fields: {}", missing.join(", "));
    Err(Complaint::new("missing-field", text))
}
