//! The dialect of Self-Streme's signaling coordinator: peers that register, meet in rooms and signal to each other.
//!
//! A client registers its id (`register`), and from then on every other registered peer of the mesh reaches it by this
//! id, in one room or not. It may be in several rooms at once (`join-room`, `leave-room`) and gets their members in one
//! message. A message to a room (`broadcast`) reaches the others in it. A message to one peer (`offer`, `answer`,
//! `ice-candidate`, `signal`) arrives with the sender's registered id. A registered client has a quiet membership, in a
//! network whose name no room can have; the rooms are networks of their own. Reads no payload.

use bytes::Bytes;
use hubmesh_core::api::{PeerEvent, SignalFailure};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId, SignalKind};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::words::{Received, Sent};
use super::written::Object;
use super::{About, Action, Actions, Beginning, Complaint, Event, HubEvent};
use super::{DeliveredPublication, DeliveredSignal, Notice, Roster, json, start_of};

mod said;

pub use said::{Said, decode};

/// How deep payloads may be nested: as deep as those of PeerJS clients.
pub const MAX_DEPTH: usize = super::peerjs::MAX_DEPTH;

/// The name of the network of all registered clients.
const REGISTERED: &str = "\0registered";

const OFFER: SignalKind = SignalKind(0);
const ANSWER: SignalKind = SignalKind(1);
const CANDIDATE: SignalKind = SignalKind(2);
const SIGNAL: SignalKind = SignalKind(3);
/// The one kind of messages to a room.
const BROADCAST: SignalKind = SignalKind(4);

/// The beginning of the data object that shows a peer's metadata.
const METADATA: &str = r#"{"metadata":"#;

/// One client.
#[derive(Debug)]
pub struct Coordinator {
    standing: Standing,
    registered: NetworkKey,
    max_announce_bytes: usize,
}

/// The state of its registration.
#[derive(Debug)]
enum Standing {
    /// It has not told its id.
    Stranger,
    /// It has told its id, and the mesh has not decided on that yet.
    Registering(Registration),
    /// It is registered.
    Registered(Registration),
}

/// The id of a client, and the data that it shows.
#[derive(Debug)]
struct Registration {
    peer: PeerId,
    data: Option<Bytes>,
    /// The rooms that it is in.
    rooms: Vec<NetworkKey>,
}

impl Coordinator {
    /// A client that has not told its id.
    pub fn new(beginning: &Beginning) -> Self {
        let registered = NetworkKey::new(Dialect::Coordinator, REGISTERED);
        Coordinator {
            standing: Standing::Stranger,
            registered: registered.unwrap_or_else(|_| unreachable!("it is the name of a network")),
            max_announce_bytes: beginning.max_announce_bytes,
        }
    }

    /// Handles one text of the client.
    pub fn hear<'a>(&mut self, text: &'a str, actions: &mut Actions<'a>) {
        let said = decode(text);
        actions.note(received(&said));
        let done = match said {
            Err(why) => Err(why),
            Ok(Said::Register { peer, metadata }) => self.register(&peer, metadata, actions),
            Ok(Said::Join { peer, room }) => self.join(&peer, &room, actions),
            Ok(Said::Leave { peer, room }) => self.leave(&peer, &room, actions),
            Ok(Said::Signal {
                kind,
                from,
                to,
                payload,
            }) => self.signal(kind, (&from, &to), payload, actions),
            Ok(Said::Broadcast { from, room, data }) => {
                self.broadcast((&from, &room), data, actions)
            }
            Ok(Said::Ping) => {
                let text = Object::of("pong", 0)
                    .number("timestamp", actions.now_ms())
                    .end();
                reply(About::Nothing, text, Sent::Pong, actions);
                Ok(())
            }
            Ok(Said::Unknown(kind)) => {
                let text = format!("Unknown message type: {kind}");
                let why = Complaint::new("unsupported-type", text);
                let words = error(&why, Some(&kind), actions.now_ms());
                return actions.complain(why.code, words);
            }
        };
        if let Err(why) = done {
            complain(&why, actions);
        }
    }

    fn register(
        &mut self,
        peer: &str,
        metadata: Option<&str>,
        actions: &mut Actions<'_>,
    ) -> Result<(), Complaint<'static>> {
        let peer = PeerId::new(peer);
        let peer = peer.map_err(|why| Complaint::new("bad-peer-id", why.to_string()))?;
        let data = metadata.map(|value| self.shown(value)).transpose()?;
        match &mut self.standing {
            Standing::Stranger => {
                actions.push(Action::Identify {
                    peer: peer.clone(),
                    proof: Bytes::new(),
                });
                actions.push(Action::Join {
                    network: self.registered.clone(),
                    data: None,
                    // It is reached by its id, and shown in rooms alone.
                    quiet: true,
                    leaving: None,
                    room: None,
                });
                let rooms = Vec::new();
                self.standing = Standing::Registering(Registration { peer, data, rooms });
            }
            Standing::Registering(known) | Standing::Registered(known) if known.peer != peer => {
                let text = format!("this connection is registered as {}", known.peer);
                return Err(Complaint::new("already-registered", text));
            }
            Standing::Registering(known) => known.data = data,
            Standing::Registered(known) => {
                known.data.clone_from(&data);
                for network in known.rooms.iter().cloned() {
                    let data = data.clone();
                    actions.push(Action::Update { network, data });
                }
                let text = registered(&known.peer, actions.now_ms());
                reply(About::Nothing, text, Sent::Reply, actions);
            }
        }
        Ok(())
    }

    /// Metadata in the form for other hubs.
    fn shown(&self, metadata: &str) -> Result<Bytes, Complaint<'static>> {
        let most = self.max_announce_bytes;
        let data = format!("{METADATA}{metadata}}}");
        if data.len() > most || !json::depth_is_bounded(&data, json::MAX_DEPTH) {
            let depth = json::MAX_DEPTH;
            let text = format!(
                "metadata may have {} bytes and {depth} levels",
                most.saturating_sub(METADATA.len() + 1)
            );
            return Err(Complaint::new("announce-too-long", text));
        }
        Ok(data.into())
    }

    /// The registration of the client, if it has this id.
    fn own(&self, name: &'static str, said: &str) -> Result<&Registration, Complaint<'static>> {
        match &self.standing {
            Standing::Stranger => {
                let text = "this connection is not registered: send `register` first";
                Err(Complaint::new("not-registered", text))
            }
            Standing::Registering(known) | Standing::Registered(known) => {
                if PeerId::new(said).is_ok_and(|said| said == known.peer) {
                    return Ok(known);
                }
                let text = format!("`{name}` must be the registered id, {}", known.peer);
                Err(Complaint::new("forged-sender", text))
            }
        }
    }

    fn join(
        &self,
        peer: &str,
        room: &str,
        actions: &mut Actions<'_>,
    ) -> Result<(), Complaint<'static>> {
        let known = self.own("peerId", peer)?;
        actions.push(Action::Join {
            network: key(room)?,
            data: known.data.clone(),
            quiet: false,
            leaving: None,
            room: None,
        });
        Ok(())
    }

    fn leave(
        &mut self,
        peer: &str,
        room: &str,
        actions: &mut Actions<'_>,
    ) -> Result<(), Complaint<'static>> {
        self.own("peerId", peer)?;
        let network = key(room)?;
        if let Standing::Registered(known) = &mut self.standing {
            known.rooms.retain(|own| *own != network);
        }
        let text = Object::of("room-left", room.len()).text("roomId", room);
        let text = text.number("timestamp", actions.now_ms()).end();
        let about = About::Network(network.clone());
        // It waits its turn: earlier messages to the room still go out.
        let goodbye = false;
        actions.push(Action::Leave { network, goodbye });
        reply(about, text, Sent::Reply, actions);
        Ok(())
    }

    fn signal<'a>(
        &self,
        kind: SignalKind,
        (from, to): (&str, &str),
        payload: &'a str,
        actions: &mut Actions<'a>,
    ) -> Result<(), Complaint<'static>> {
        self.own("from", from)?;
        let about = About::Network(self.registered.clone());
        actions.push(match PeerId::new(to) {
            Ok(target) => Action::Signal {
                about,
                target,
                kind,
                payload: payload.into(),
            },
            Err(_) => Action::UnknownTarget {
                about,
                name: start_of(to),
                kind,
            },
        });
        Ok(())
    }

    fn broadcast<'a>(
        &self,
        (from, room): (&str, &str),
        data: &'a str,
        actions: &mut Actions<'a>,
    ) -> Result<(), Complaint<'static>> {
        self.own("from", from)?;
        actions.push(Action::Publish {
            network: key(room)?,
            kind: BROADCAST,
            payload: data.into(),
            echo: false,
        });
        Ok(())
    }

    /// Handles an event of the hub for the client.
    pub fn tell(&mut self, event: &HubEvent<'_>, actions: &mut Actions<'_>) {
        let now = actions.now_ms();
        match event {
            HubEvent::Connected => actions.push(Action::Greet(Some(welcome(now)))),
            HubEvent::Joined { network } => self.on_joined(network, actions),
            HubEvent::Lost { network, why } => self.on_lost(network, why, actions),
            HubEvent::Draining => {
                let text = Object::of("server-shutdown", 0)
                    .text("message", "The hub is restarting")
                    .number("timestamp", now);
                reply(About::Nothing, text.end(), Sent::Goodbye, actions);
            }
            // The client is told of a limit separately.
            HubEvent::Proven | HubEvent::Declined { .. } | HubEvent::Missed => {}
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

    fn on_joined(&mut self, network: &NetworkKey, actions: &mut Actions<'_>) {
        self.standing = match std::mem::replace(&mut self.standing, Standing::Stranger) {
            Standing::Registering(known) if *network == self.registered => {
                let text = registered(&known.peer, actions.now_ms());
                reply(About::Nothing, text, Sent::Reply, actions);
                Standing::Registered(known)
            }
            Standing::Registered(mut known) => {
                known.rooms.push(network.clone());
                Standing::Registered(known)
            }
            other => other,
        };
    }

    fn on_lost(&mut self, network: &NetworkKey, why: &Complaint<'_>, actions: &mut Actions<'_>) {
        if *network != self.registered {
            if let Standing::Registered(known) = &mut self.standing {
                known.rooms.retain(|own| own != network);
            }
            let text = format!("room {}: {}", network.name(), why.text);
            return complain(&Complaint::new(why.code, text), actions);
        }
        complain(why, actions);
        // A client that was not registered yet may try again under another id.
        let before = std::mem::replace(&mut self.standing, Standing::Stranger);
        if matches!(before, Standing::Registered(_)) {
            actions.push(Action::Close);
        }
    }
}

/// The network of a room.
fn key(room: &str) -> Result<NetworkKey, Complaint<'static>> {
    let network = NetworkKey::new(Dialect::Coordinator, room);
    let network = network.ok().filter(|_| room != REGISTERED);
    network.ok_or_else(|| {
        let most = NetworkKey::MAX_NAME_BYTES;
        Complaint::new("bad-room", format!("a roomId has 1 to {most} bytes"))
    })
}

/// Whether clients see this network as a room.
pub fn is_room(network: &NetworkKey) -> bool {
    network.name() != REGISTERED
}

fn reply(about: About, text: Utf8Bytes, word: Sent, actions: &mut Actions<'_>) {
    actions.push(Action::Reply { about, text, word });
}

fn complain(why: &Complaint<'_>, actions: &mut Actions<'_>) {
    let words = error(why, None, actions.now_ms());
    actions.complain(why.code, words);
}

fn welcome(now_ms: u64) -> Utf8Bytes {
    Object::of("welcome", 64)
        .text("message", "Connected to the signaling coordinator")
        .number("timestamp", now_ms)
        .end()
}

fn registered(peer: &PeerId, now_ms: u64) -> Utf8Bytes {
    Object::of("registered", 64)
        .id("peerId", peer)
        .number("timestamp", now_ms)
        .end()
}

fn undelivered(target: &str, why: SignalFailure) -> Complaint<'static> {
    let text = match why {
        SignalFailure::NoSuchPeer => format!("Peer {target} not found"),
        SignalFailure::NoRoute => format!("Peer {target} cannot be reached"),
        SignalFailure::Overload => format!("Peer {target} has too much waiting for it"),
        SignalFailure::Unknown => format!("Peer {target} may not have been reached"),
    };
    Complaint::new(why.as_str(), text)
}

fn unpublished(why: SignalFailure) -> Complaint<'static> {
    let text = "the broadcast did not reach all of the room, or may not have";
    Complaint::new(why.as_str(), text)
}

fn error(why: &Complaint<'_>, original: Option<&str>, now_ms: u64) -> Utf8Bytes {
    let told = Object::of("error", 2 * why.text.len())
        .text("message", &why.text)
        .text("error", &why.text)
        .text("code", why.code);
    let told = match original {
        Some(kind) => told.text("originalType", kind),
        None => told,
    };
    told.number("timestamp", now_ms).end()
}

/// Encodes an event for one client.
pub fn encode(event: &Event<'_>, now_ms: u64) -> Option<Utf8Bytes> {
    let why = match event {
        Event::Undelivered { target, why, .. } => undelivered(&target.to_string(), *why),
        Event::Unpublished { why } => unpublished(*why),
        Event::Error(why) => return Some(error(why, None, now_ms)),
        _ => return None,
    };
    Some(error(&why, None, now_ms))
}

/// Writes a signal for its receiver.
pub fn encode_signal(signal: &DeliveredSignal<'_>, now_ms: u64) -> Option<Utf8Bytes> {
    let (kind, name) = match signal.kind {
        OFFER => ("offer", "offer"),
        ANSWER => ("answer", "answer"),
        CANDIDATE => ("ice-candidate", "candidate"),
        SIGNAL => ("signal", "signal"),
        _ => return None,
    };
    let told = Object::of(kind, signal.payload.len() + 96)
        .id("from", signal.from)
        .raw(name, signal.payload)
        .number("timestamp", now_ms);
    Some(told.end())
}

/// Writes a message to a room for the others in it.
pub fn encode_publication(
    publication: &DeliveredPublication<'_>,
    now_ms: u64,
) -> Option<Utf8Bytes> {
    if publication.kind != BROADCAST {
        return None;
    }
    let told = Object::of("broadcast", publication.payload.len() + 128)
        .id("from", publication.from)
        .text("roomId", publication.network.name())
        .raw("data", publication.payload)
        .number("timestamp", now_ms);
    Some(told.end())
}

/// Encodes a notice about a peer for the members of a room.
pub fn encode_notice(event: &PeerEvent, now_ms: u64) -> Notice {
    let told = match event {
        PeerEvent::Joined { peer, data } => {
            Object::of("peer-joined", 64 + data.as_ref().map_or(0, Bytes::len))
                .id("peerId", peer)
                .raw("metadata", metadata(data.as_deref()))
        }
        // The original server tells no client.
        PeerEvent::Updated { .. } | PeerEvent::Hosts { .. } => return Notice::NONE,
        PeerEvent::Left { peer, .. } => Object::of("peer-left", 64).id("peerId", peer),
    };
    Notice::one(told.number("timestamp", now_ms).end())
}

/// Writes the members of a room.
pub fn encode_roster(roster: &Roster<'_>, now_ms: u64) -> Utf8Bytes {
    Object::of("room-joined", 96 * (1 + roster.others.len()))
        .text("roomId", roster.network.name())
        .list("peers", roster.others, |(peer, data)| {
            Object::bare()
                .id("peerId", peer)
                .raw("metadata", metadata(data.as_deref()))
        })
        .number("timestamp", now_ms)
        .end()
}

/// The metadata in the data of a peer. Not trusted: an invalid value is left out.
pub fn metadata(data: Option<&[u8]>) -> &str {
    let inside = data.and_then(|data| {
        let inside = data.strip_prefix(METADATA.as_bytes())?.strip_suffix(b"}")?;
        json::one_value(inside, json::MAX_DEPTH)
    });
    inside.unwrap_or("{}")
}

/// The label of a client's message in metrics.
fn received(said: &Result<Said<'_>, Complaint<'_>>) -> Received {
    match said {
        Err(_) => Received::Malformed,
        Ok(Said::Register { .. } | Said::Join { .. }) => Received::Announce,
        Ok(Said::Leave { .. }) => Received::Goodbye,
        Ok(Said::Signal { kind, .. }) => match *kind {
            OFFER => Received::Offer,
            ANSWER => Received::Answer,
            CANDIDATE => Received::IceCandidate,
            _ => Received::Signal,
        },
        Ok(Said::Broadcast { .. }) => Received::Publish,
        Ok(Said::Ping) => Received::Ping,
        Ok(Said::Unknown(_)) => Received::Other,
    }
}

/// The label of a delivered signal in metrics.
pub const fn sent(kind: SignalKind) -> Option<Sent> {
    match kind {
        OFFER => Some(Sent::Offer),
        ANSWER => Some(Sent::Answer),
        CANDIDATE => Some(Sent::IceCandidate),
        SIGNAL => Some(Sent::Signal),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing)]
mod tests;
