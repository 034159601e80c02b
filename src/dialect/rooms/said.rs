//! Decodes the messages of a client of rooms.

use std::borrow::Cow;

use hubmesh_core::ids::SignalKind;

use super::super::fields::{self, bounded, given, string};
use super::super::{Complaint, json, start_of};
use super::{MAX_DEPTH, RELAYED};

/// One message of a client. If it names no room or no user, it means its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// The command in it.
    pub said: Said<'a>,
    /// The room that it is about.
    pub room: Option<Cow<'a, str>>,
    /// The user that it names as its sender.
    pub user: Option<Cow<'a, str>>,
}

/// A command of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// It tells its id, and shows this token.
    Auth(Option<Cow<'a, str>>),
    /// It creates a room, with these members of `data`.
    Create(Box<NewRoom<'a>>),
    /// It asks to be in a room, under this name: a JSON string.
    Join(Option<&'a str>),
    /// It leaves its room.
    Leave,
    /// It sends a payload to one member, or to all others.
    Relay {
        /// Its kind.
        kind: SignalKind,
        /// The target; `None` is all others.
        target: Option<Cow<'a, str>>,
        /// One JSON value.
        data: &'a str,
    },
    /// It asks for an answer, as a sign of life.
    Heartbeat,
    /// A message that no server forwards.
    Operation,
    /// A type that the dialect does not have; holds its start.
    Unknown(String),
}

/// The description of a new room; each field is one JSON value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRoom<'a> {
    /// Its name.
    pub room_name: Option<&'a str>,
    /// The name of its creator.
    pub user_name: Option<&'a str>,
    /// Its document.
    pub file: Option<&'a str>,
    /// The content of the document.
    pub content: Option<&'a str>,
    /// The version of the document.
    pub version: Option<&'a str>,
}

const NAMES: [&str; 5] = ["type", "roomId", "userId", "targetUserId", "data"];
const DATA: [&str; 5] = ["roomName", "userName", "fileId", "content", "version"];

/// Reads a client's message.
///
/// # Errors
/// It is not an object, has a member of the wrong type, or is nested too deep: in words for the client. Nothing has
/// changed.
pub fn decode(text: &str) -> Result<Message<'_>, Complaint<'static>> {
    let read = fields::read(text, &NAMES).map_err(|why| why.complaint())?;
    let [kind, room, user, target, data] = read.map(given);
    let kind = kind.ok_or_else(|| Complaint::new("missing-field", "`type` is missing"))?;
    let room = room.map(|value| string("roomId", value)).transpose()?;
    let user = user.map(|value| string("userId", value)).transpose()?;
    let said = match json::string(kind) {
        Some(word) => said(&word, target, data)?,
        None => Said::Unknown(start_of(kind)),
    };
    Ok(Message { said, room, user })
}

fn said<'a>(
    word: &str,
    target: Option<&'a str>,
    data: Option<&'a str>,
) -> Result<Said<'a>, Complaint<'static>> {
    Ok(match word {
        "auth" => Said::Auth(token(data)),
        "create-room" => {
            let [room_name, user_name, file, content, version] = members(data)?;
            Said::Create(Box::new(NewRoom {
                room_name,
                user_name,
                file,
                content,
                version,
            }))
        }
        "join-room" => {
            let [_, user_name, ..] = members(data)?;
            Said::Join(user_name)
        }
        "leave-room" => Said::Leave,
        "heartbeat" => Said::Heartbeat,
        "operation" => Said::Operation,
        other => match RELAYED.iter().position(|(name, _)| *name == other) {
            Some(kind) => {
                let missing = || Complaint::new("missing-field", "`data` is missing");
                let data = data.ok_or_else(missing)?;
                Said::Relay {
                    kind: SignalKind(u8::try_from(kind).unwrap_or(u8::MAX)),
                    target: target.map(|id| string("targetUserId", id)).transpose()?,
                    data: bounded("data", data, MAX_DEPTH)?,
                }
            }
            None => Said::Unknown(start_of(other)),
        },
    })
}

/// The token in `data`. Anything but a token is ignored: clients that need none may send anything there.
fn token(data: Option<&str>) -> Option<Cow<'_, str>> {
    let [token] = fields::read(data?, &["token"]).ok()?.map(given);
    token.and_then(json::string)
}

/// The members of `data` that describe a room or a user; names are strings.
fn members(data: Option<&str>) -> Result<[Option<&str>; 5], Complaint<'static>> {
    let Some(data) = data else {
        return Ok([None; 5]);
    };
    let wrong = |_| Complaint::new("wrong-type", "`data` must be an object");
    let read = fields::read(data, &DATA).map_err(wrong)?.map(given);
    let [room_name, user_name, ..] = read;
    for (name, value) in [("roomName", room_name), ("userName", user_name)] {
        value.map(|value| string(name, value)).transpose()?;
    }
    Ok(read)
}
