//! The dialect of OctateCode's clients: rooms that a client creates, with a host, for documents that are sent from peer
//! to peer.
//!
//! A client first tells its id and its room (`auth`); earlier messages are refused. If a token is needed and did not
//! come with the connection, `auth` has it. A client creates a room (`create-room`) or enters an existing one
//! (`join-room`), gets its description in one message, and leaves it (`leave-room`). Offers, answers and candidates
//! reach the member that they name, or all others in the room; `presence` and `cursor-update` reach all others. The
//! member that has been there the longest is the host, and the members are told when the host changes. Reads no
//! payload; the core has the rules of rooms (`hubmesh_core::rooms`).

use std::borrow::Cow;

use bytes::Bytes;
use hubmesh_core::api::{PeerEvent, RoomAsk, SignalFailure};
use hubmesh_core::api::{RECORD, Room, RoomClaim};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId, SignalKind};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::words::{Received, Sent};
use super::written::Object;
use super::{About, Action, Actions, Beginning, Complaint, Event, HubEvent};
use super::{DeliveredPublication, DeliveredSignal, Notice, Roster, json, start_of};

mod said;

pub use said::{Message, NewRoom, Said, decode};

/// How deep payloads may be nested: as deep as those of PeerJS clients.
pub const MAX_DEPTH: usize = super::peerjs::MAX_DEPTH;

/// The messages that are relayed: the type, and the name of the field inside `data`, if there is one.
const RELAYED: [(&str, Option<&str>); 5] = [
    ("sdp-offer", Some("offer")),
    ("sdp-answer", Some("answer")),
    ("ice-candidate", Some("candidate")),
    ("presence", None),
    ("cursor-update", None),
];

/// The beginning of the data object that shows a member's name.
const USER_NAME: &str = r#"{"userName":"#;

/// One client.
#[derive(Debug)]
pub struct RoomsProtocol {
    /// Its id, and the room of messages that name none.
    known: Option<(PeerId, NetworkKey)>,
    proof: Proof,
    max_announce_bytes: usize,
    max_room_bytes: usize,
}

/// Whether a client has shown a token, if one is needed.
#[derive(Debug)]
enum Proof {
    /// It has, or none is needed.
    Shown,
    /// It has not.
    Needed,
    /// It has shown one that is being checked, for this id and this room.
    Offered(PeerId, NetworkKey),
}

impl RoomsProtocol {
    /// A client that has not told its id.
    pub fn new(beginning: &Beginning) -> Self {
        RoomsProtocol {
            known: None,
            proof: match beginning.needs_token {
                true => Proof::Needed,
                false => Proof::Shown,
            },
            max_announce_bytes: beginning.max_announce_bytes,
            max_room_bytes: beginning.max_room_bytes,
        }
    }

    /// Handles one text of the client.
    pub fn hear<'a>(&mut self, text: &'a str, actions: &mut Actions<'a>) {
        let message = decode(text);
        actions.note(received(&message));
        let done = message.and_then(|message| match message.said {
            Said::Auth(token) => {
                let (user, room) = (message.user.as_deref(), message.room.as_deref());
                self.auth(user, room, token, actions)
            }
            said => self.carry_out(
                said,
                message.user.as_deref(),
                message.room.as_deref(),
                actions,
            ),
        });
        if let Err(why) = done {
            complain(&why, actions);
        }
    }

    fn auth<'a>(
        &mut self,
        user: Option<&str>,
        room: Option<&str>,
        token: Option<Cow<'a, str>>,
        actions: &mut Actions<'a>,
    ) -> Result<(), Complaint<'static>> {
        let (Some(user), Some(room)) = (user, room) else {
            let text = "Missing required fields: userId and roomId";
            return Err(Complaint::new("missing-field", text));
        };
        let peer = PeerId::new(user).ok().filter(|_| user != RECORD);
        let peer = peer.ok_or_else(|| Complaint::new("bad-user", "a userId has 1 to 128 bytes"))?;
        let network = key(room)?;
        if self.known.as_ref().is_some_and(|(known, _)| *known != peer) {
            let text = "this connection is authenticated as somebody else";
            return Err(Complaint::new("already-authenticated", text));
        }
        if matches!(self.proof, Proof::Shown) {
            self.know(peer, network, actions);
            return Ok(());
        }
        let text = "this hub asks for a token: in `data.token`, or as ?token= of the connection";
        let token = token.ok_or_else(|| Complaint::new("unauthorized", text))?;
        self.proof = Proof::Offered(peer, network);
        actions.push(Action::Prove { token });
        Ok(())
    }

    /// From now on the client is this one, and in this room where it names none.
    fn know(&mut self, peer: PeerId, network: NetworkKey, actions: &mut Actions<'_>) {
        if self.known.is_none() {
            let peer = peer.clone();
            let proof = Bytes::new();
            actions.push(Action::Identify { peer, proof });
        }
        let data = Object::bare().text("status", "authenticated").end();
        let text = message("auth", network.name(), &peer, &data, actions.now_ms());
        self.known = Some((peer, network));
        reply(text, Sent::Reply, actions);
    }

    fn carry_out<'a>(
        &mut self,
        said: Said<'a>,
        user: Option<&str>,
        room: Option<&str>,
        actions: &mut Actions<'a>,
    ) -> Result<(), Complaint<'static>> {
        let Some((me, own)) = &self.known else {
            return Err(Complaint::new("not-authenticated", "Not authenticated"));
        };
        if user.is_some_and(|user| PeerId::new(user).as_ref() != Ok(me)) {
            let text = "`userId` must be the authenticated one";
            return Err(Complaint::new("forged-sender", text));
        }
        let network = room.map_or_else(|| Ok(own.clone()), key)?;
        match said {
            Said::Create(about) => return self.create(&about, network, actions),
            Said::Join(name) => actions.push(Action::Join {
                data: Some(self.shown(name)?),
                network,
                quiet: false,
                leaving: None,
                room: Some(RoomAsk::Enter),
            }),
            Said::Leave => {
                // It waits its turn: earlier messages to the room still go out.
                let goodbye = false;
                actions.push(Action::Leave { network, goodbye });
            }
            Said::Relay { kind, target, data } => relay(kind, target, data, network, actions),
            Said::Heartbeat => {
                let text = Object::of("heartbeat", 128)
                    .text("roomId", network.name())
                    .id("userId", me)
                    .number("timestamp", actions.now_ms());
                reply(text.end(), Sent::Pong, actions);
            }
            Said::Operation => {
                let text = "operations travel peer to peer, and no server passes them on";
                return Err(Complaint::new("not-relayed", text));
            }
            Said::Auth(_) => {}
            Said::Unknown(kind) => {
                let text = format!("Unknown message type: {kind}");
                return Err(Complaint::new("unsupported-type", text));
            }
        }
        Ok(())
    }

    fn create(
        &self,
        about: &NewRoom<'_>,
        network: NetworkKey,
        actions: &mut Actions<'_>,
    ) -> Result<(), Complaint<'static>> {
        let kept = record(about, network.name(), self.max_room_bytes)?;
        actions.push(Action::Join {
            data: Some(self.shown(about.user_name)?),
            network,
            quiet: false,
            leaving: None,
            room: Some(RoomAsk::Create(kept)),
        });
        Ok(())
    }

    /// Its name in the form for other hubs.
    fn shown(&self, name: Option<&str>) -> Result<Bytes, Complaint<'static>> {
        match &self.known {
            Some((me, _)) => shown(name, me, self.max_announce_bytes),
            None => Ok(Object::bare().end().into()),
        }
    }

    /// Handles an event of the hub for the client.
    pub fn tell(&mut self, event: &HubEvent<'_>, actions: &mut Actions<'_>) {
        match event {
            HubEvent::Connected => actions.push(Action::Greet(None)),
            HubEvent::Proven => {
                if let Proof::Offered(peer, network) =
                    std::mem::replace(&mut self.proof, Proof::Shown)
                {
                    self.know(peer, network, actions);
                }
            }
            HubEvent::Lost { network, why } => {
                let text = format!("room {}: {}", network.name(), why.text);
                complain(&Complaint::new(why.code, text), actions);
                if why.code == "superseded" {
                    actions.push(Action::Close);
                }
            }
            // It has been told of a room already; it is told of a limit separately, and of a hub that drains by the
            // close frame.
            HubEvent::Joined { .. }
            | HubEvent::Declined { .. }
            | HubEvent::Missed
            | HubEvent::Draining => {}
            HubEvent::Undelivered { target, why, .. } => {
                complain(&undelivered(&target.to_string(), *why), actions);
            }
            HubEvent::UnknownTarget { name } => {
                complain(&undelivered(name, SignalFailure::NoSuchPeer), actions);
            }
            HubEvent::Unpublished { why, .. } => complain(&unpublished(*why), actions),
            HubEvent::Dropped { why, .. } | HubEvent::Mistake(why) | HubEvent::Ending(why) => {
                complain(why, actions);
            }
        }
    }
}

fn relay<'a>(
    kind: SignalKind,
    target: Option<Cow<'a, str>>,
    data: &'a str,
    network: NetworkKey,
    actions: &mut Actions<'a>,
) {
    let payload = data.into();
    let Some(target) = target else {
        let echo = false;
        return actions.push(Action::Publish {
            network,
            kind,
            payload,
            echo,
        });
    };
    let about = About::Network(network);
    actions.push(
        match PeerId::new(&target).ok().filter(|_| target != RECORD) {
            Some(target) => Action::Signal {
                about,
                target,
                kind,
                payload,
            },
            None => Action::UnknownTarget {
                about,
                name: start_of(&target),
                kind,
            },
        },
    );
}

/// The network of a room.
fn key(room: &str) -> Result<NetworkKey, Complaint<'static>> {
    let most = NetworkKey::MAX_NAME_BYTES;
    let wrong = |_| Complaint::new("bad-room", format!("a roomId has 1 to {most} bytes"));
    NetworkKey::new(Dialect::Rooms, room).map_err(wrong)
}

/// A member's name in the form for other hubs: this JSON string, or else its id.
///
/// # Errors
/// It is longer than `most` bytes.
pub fn shown(name: Option<&str>, peer: &PeerId, most: usize) -> Result<Bytes, Complaint<'static>> {
    let data: Utf8Bytes = match name {
        Some(name) => format!("{USER_NAME}{name}}}").into(),
        None => Object::bare().text("userName", &peer.to_string()).end(),
    };
    if data.len() > most {
        let most = most.saturating_sub(USER_NAME.len() + 3);
        let text = format!("a userName may have {most} bytes");
        return Err(Complaint::new("announce-too-long", text));
    }
    Ok(data.into())
}

/// The data of a new room of this name, for its record.
///
/// # Errors
/// It is longer than `most` bytes, or nested too deep.
pub fn record(about: &NewRoom<'_>, name: &str, most: usize) -> Result<Bytes, Complaint<'static>> {
    let kept = kept(about, name);
    if kept.len() > most || !json::depth_is_bounded(&kept, json::MAX_DEPTH) {
        let depth = json::MAX_DEPTH;
        let text = format!(
            "what is kept of a room may have {most} bytes (MAX_ROOM_BYTES) and {depth} levels: documents travel peer \
             to peer"
        );
        return Err(Complaint::new("room-too-long", text));
    }
    Ok(kept.as_str().to_owned().into())
}

/// The data of a room: an object.
fn kept(about: &NewRoom<'_>, name: &str) -> Utf8Bytes {
    let kept = match about.room_name {
        Some(name) => Object::bare().raw("roomName", name),
        None => Object::bare().text("roomName", name),
    };
    let more = [
        ("fileId", about.file),
        ("content", about.content),
        ("version", about.version),
    ];
    let more = more
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    more.fold(kept, |kept, (name, value)| kept.raw(name, value))
        .end()
}

fn reply(text: Utf8Bytes, word: Sent, actions: &mut Actions<'_>) {
    actions.push(Action::Reply {
        about: About::Nothing,
        text,
        word,
    });
}

fn complain(why: &Complaint<'_>, actions: &mut Actions<'_>) {
    let words = error(why, actions.now_ms());
    actions.complain(why.code, words);
}

fn undelivered(target: &str, why: SignalFailure) -> Complaint<'static> {
    let text = match why {
        SignalFailure::NoSuchPeer => format!("Peer {target} is not in the room"),
        _ => format!("Peer {target} was not reached, or may not have been"),
    };
    Complaint::new(why.as_str(), text)
}

fn unpublished(why: SignalFailure) -> Complaint<'static> {
    let text = "the message did not reach all of the room, or may not have";
    Complaint::new(why.as_str(), text)
}

fn error(why: &Complaint<'_>, now_ms: u64) -> Utf8Bytes {
    let data = Object::bare()
        .text("error", &why.text)
        .text("code", why.code);
    Object::of("error", 64 + why.text.len())
        .raw("data", &data.end())
        .number("timestamp", now_ms)
        .end()
}

fn message(kind: &str, room: &str, user: &PeerId, data: &str, now_ms: u64) -> Utf8Bytes {
    Object::of(kind, 192 + data.len())
        .text("roomId", room)
        .id("userId", user)
        .raw("data", data)
        .number("timestamp", now_ms)
        .end()
}

/// Encodes an event for one client.
pub fn encode(event: &Event<'_>, now_ms: u64) -> Option<Utf8Bytes> {
    match event {
        Event::Undelivered { target, why, .. } => {
            Some(error(&undelivered(&target.to_string(), *why), now_ms))
        }
        Event::Unpublished { why } => Some(error(&unpublished(*why), now_ms)),
        Event::Error(why) => Some(error(why, now_ms)),
        _ => None,
    }
}

fn relayed(
    kind: SignalKind,
    (room, from): (&str, &PeerId),
    payload: &str,
    now_ms: u64,
) -> Option<Utf8Bytes> {
    let (word, wrapped) = RELAYED.get(usize::from(kind.0))?;
    Some(match wrapped {
        Some(name) => {
            let data = Object::bare().raw(name, payload).end();
            message(word, room, from, &data, now_ms)
        }
        None => message(word, room, from, payload, now_ms),
    })
}

/// Encodes a signal for its receiver.
pub fn encode_signal(signal: &DeliveredSignal<'_>, now_ms: u64) -> Option<Utf8Bytes> {
    let ends = (signal.network.name(), signal.from);
    relayed(signal.kind, ends, signal.payload, now_ms)
}

/// Encodes a message to a room for the others in it.
pub fn encode_publication(
    publication: &DeliveredPublication<'_>,
    now_ms: u64,
) -> Option<Utf8Bytes> {
    let ends = (publication.network.name(), publication.from);
    relayed(publication.kind, ends, publication.payload, now_ms)
}

/// Encodes a notice about a member for the other members of a room.
pub fn encode_notice(room: &str, event: &PeerEvent, now_ms: u64) -> Notice {
    let peer = event.peer();
    let (kind, data) = match event {
        PeerEvent::Joined { data, .. } => {
            let member = Object::bare()
                .id("userId", peer)
                .raw("userName", &user_name(peer, data.as_deref()));
            ("peer-joined", Object::bare().raw("peer", &member.end()))
        }
        PeerEvent::Hosts { data, .. } => {
            let told = Object::bare().id("hostId", peer);
            let name = user_name(peer, data.as_deref());
            ("host-changed", told.raw("hostName", &name))
        }
        PeerEvent::Updated { .. } => return Notice::NONE,
        PeerEvent::Left { .. } => ("peer-left", Object::bare().id("userId", peer)),
    };
    Notice::one(message(kind, room, peer, &data.end(), now_ms))
}

/// Encodes the description of a room for a new member.
pub fn encode_roster(roster: &Roster<'_>, now_ms: u64) -> Option<Utf8Bytes> {
    let room = roster.room?;
    let kind = match roster.is_new {
        true => "room-created",
        false => "room-joined",
    };
    let state = match roster.is_new {
        true => "creating",
        false => state(room),
    };
    let name = roster.network.name();
    let told = Object::bare()
        .raw("room", &describe(name, room, state, now_ms))
        .end();
    Some(message(kind, name, roster.peer, &told, now_ms))
}

fn state(room: &Room) -> &'static str {
    match room.members.is_empty() {
        true => "idle",
        false => "active",
    }
}

/// Describes a room: the data of its dialect, and the facts that follow from its members.
pub fn describe(name: &str, room: &Room, state: &str, now_ms: u64) -> Utf8Bytes {
    let Room { record, members } = room;
    let host = members.first();
    let host_name = host.map(name_of);
    let host_id = host.map_or(record.creator.clone(), |host| host.peer.to_string());
    let last = if members.is_empty() {
        record.left_ms
    } else {
        now_ms
    };
    let described = Object::bare().text("roomId", name);
    let kept = json::members(
        &record.about,
        &["roomId", "hostId", "peers"],
        json::MAX_DEPTH,
    );
    let described = match kept {
        Some(kept) => described.members(kept),
        None => described.text("roomName", name),
    };
    described
        .text("hostId", &host_id)
        .raw("hostName", host_name.as_deref().unwrap_or("null"))
        .number("peerCount", members.len())
        .text("state", state)
        .number("createdAt", record.created.wall_ms())
        .number("lastActivity", last)
        .list("peers", members.iter().enumerate(), |(at, member)| {
            Object::bare()
                .id("userId", &member.peer)
                .raw("userName", &name_of(member))
                .number("isHost", at == 0)
                .number("connectedAt", member.hlc.wall_ms())
                // Its hub would have ended it otherwise.
                .number("lastHeartbeat", now_ms)
        })
        .end()
}

/// The name of a room in its record: a JSON string.
pub fn room_name(about: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named<'a> {
        #[serde(borrow)]
        room_name: &'a RawValue,
    }
    let Named { room_name } = serde_json::from_slice(about).ok()?;
    let name = room_name.get();
    name.starts_with('"').then(|| name.to_owned())
}

fn name_of(member: &RoomClaim) -> String {
    user_name(&member.peer, member.data.as_deref())
}

/// The name in a member's data: a JSON string. Not trusted: if it is invalid, the id is used.
pub fn user_name(peer: &PeerId, data: Option<&[u8]>) -> String {
    let inside = data.and_then(|data| {
        let inside = data
            .strip_prefix(USER_NAME.as_bytes())?
            .strip_suffix(b"}")?;
        let value = json::one_value(inside, json::MAX_DEPTH)?;
        value.starts_with('"').then(|| value.to_owned())
    });
    inside.unwrap_or_else(|| {
        let mut text = String::new();
        json::push_string(&mut text, &peer.to_string());
        text
    })
}

/// The label of a client's message in metrics.
fn received(message: &Result<Message<'_>, Complaint<'_>>) -> Received {
    match message.as_ref().map(|message| &message.said) {
        Err(_) => Received::Malformed,
        Ok(Said::Auth(_) | Said::Create(_) | Said::Join(_)) => Received::Announce,
        Ok(Said::Leave) => Received::Goodbye,
        Ok(Said::Relay { kind, .. }) => match kind.0 {
            0 => Received::Offer,
            1 => Received::Answer,
            2 => Received::IceCandidate,
            _ => Received::Publish,
        },
        Ok(Said::Heartbeat) => Received::Heartbeat,
        Ok(Said::Operation | Said::Unknown(_)) => Received::Other,
    }
}

/// The label of a delivered signal in metrics.
pub const fn sent(kind: SignalKind) -> Option<Sent> {
    match kind.0 {
        0 => Some(Sent::Offer),
        1 => Some(Sent::Answer),
        2 => Some(Sent::IceCandidate),
        3 | 4 => Some(Sent::Signal),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing)]
mod tests;
