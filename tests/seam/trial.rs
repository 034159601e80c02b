//! The tests' own dialect. It does what the seam between dialects and the hub can do, and no real dialect does yet.
//!
//! A client tells its id after it has connected (`hello`): an id of its own, or one that the hub draws. It is in
//! several topics at once (`subscribe`, `unsubscribe`). It publishes to a topic and receives its own publications
//! (`publish`). It sends signals to one peer of a topic (`send`). One message lists the members of a topic
//! (`members`). If one topic refuses a client, its other topics are not affected. No release has this dialect.

use bytes::Bytes;
use hubmesh_core::api::PeerEvent;
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId, SignalKind};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::words::{Received, Sent};
use super::{About, Action, Actions, Beginning, Dropped, Event, HubEvent};
use super::{DeliveredPublication, DeliveredSignal, Notice, Roster};

/// A client's message: its type and its fields.
#[derive(Deserialize)]
struct Said<'a> {
    r#type: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    to: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The protocol of one connection.
#[derive(Debug)]
pub struct Trial {
    known: bool,
    /// The id that the hub has drawn for a client that has none.
    fresh: Option<PeerId>,
}

impl Trial {
    /// The protocol of a new connection. Its client is known only if `beginning` has a peer.
    pub fn new(beginning: Beginning) -> Self {
        Trial {
            known: beginning.peer.is_some(),
            fresh: beginning.fresh,
        }
    }

    /// Reads one text of the client.
    pub fn hear<'a>(&mut self, text: &'a str, actions: &mut Actions<'a>) {
        let Ok(said) = serde_json::from_str::<Said<'a>>(text) else {
            actions.note(Received::Malformed);
            return complain("malformed", actions);
        };
        let payload = said.data.map_or("null", RawValue::get);
        let network = key(&said.topic).unwrap_or_else(nowhere);
        match said.r#type.as_str() {
            "hello" => {
                actions.note(Received::Announce);
                self.hello(&said.id, actions);
            }
            _ if !self.known => complain("who-are-you", actions),
            "subscribe" => {
                actions.note(Received::Announce);
                for network in said.topics.iter().filter_map(|topic| key(topic)) {
                    actions.push(Action::Join {
                        network,
                        data: None,
                        quiet: false,
                        leaving: None,
                        room: None,
                    });
                }
            }
            "unsubscribe" => {
                actions.note(Received::Goodbye);
                for network in said.topics.iter().filter_map(|topic| key(topic)) {
                    let goodbye = true;
                    actions.push(Action::Leave { network, goodbye });
                }
            }
            "publish" => {
                actions.note(Received::Publish);
                actions.push(Action::Publish {
                    network,
                    kind: SignalKind(0),
                    payload: payload.into(),
                    echo: true,
                });
            }
            "send" => {
                actions.note(Received::Offer);
                let Ok(target) = PeerId::new(&said.to) else {
                    return complain("nobody", actions);
                };
                actions.push(Action::Signal {
                    about: About::Network(network),
                    target,
                    kind: SignalKind(1),
                    payload: payload.into(),
                });
            }
            "ping" => {
                actions.note(Received::Ping);
                reply(json!({"type": "pong"}), Sent::Pong, actions);
            }
            _ => {
                actions.note(Received::Other);
                complain("unknown", actions);
            }
        }
    }

    fn hello(&mut self, id: &str, actions: &mut Actions<'_>) {
        let own = PeerId::new(id).ok();
        let Some(peer) = own.or_else(|| self.fresh.take()) else {
            return complain("bad-id", actions);
        };
        let id = peer.to_string();
        self.known = true;
        let proof = Bytes::new();
        actions.push(Action::Identify { peer, proof });
        reply(
            json!({"type": "welcome", "id": id}),
            Sent::Connected,
            actions,
        );
    }

    /// Turns an event of the hub into messages to the client.
    pub fn tell(&mut self, event: &HubEvent<'_>, actions: &mut Actions<'_>) {
        match event {
            HubEvent::Connected => actions.push(Action::Greet(None)),
            HubEvent::Draining => reply(json!({"type": "draining"}), Sent::Error, actions),
            HubEvent::Joined { .. }
            | HubEvent::Proven
            | HubEvent::Declined { .. }
            | HubEvent::Missed => {}
            HubEvent::Lost { network, why } => {
                let lost = json!({"type": "lost", "topic": network.name(), "code": why.code});
                reply(lost, Sent::Error, actions);
            }
            HubEvent::Undelivered { target, why, .. } => {
                let told =
                    json!({"type": "undelivered", "to": target.to_string(), "code": why.as_str()});
                reply(told, Sent::Error, actions);
            }
            HubEvent::Unpublished { network, why } => {
                let told =
                    json!({"type": "unpublished", "topic": network.name(), "code": why.as_str()});
                reply(told, Sent::Error, actions);
            }
            HubEvent::UnknownTarget { .. } => complain("nobody", actions),
            HubEvent::Dropped { what, why } => {
                let code = match what {
                    Dropped::Ends { .. } => "too-long",
                    Dropped::Signal { .. } | Dropped::Other => why.code,
                };
                complain(code, actions);
            }
            HubEvent::Mistake(why) | HubEvent::Ending(why) => complain(why.code, actions),
        }
    }
}

fn key(topic: &str) -> Option<NetworkKey> {
    NetworkKey::new(Dialect::Trial, topic).ok()
}

/// A network that never has members.
fn nowhere() -> NetworkKey {
    NetworkKey::from_wire("~\0").unwrap_or_else(|_| unreachable!("it has a name"))
}

fn reply(message: serde_json::Value, word: Sent, actions: &mut Actions<'_>) {
    let (about, text) = (About::Nothing, message.to_string().into());
    actions.push(Action::Reply { about, text, word });
}

fn complain(code: &'static str, actions: &mut Actions<'_>) {
    let text = json!({"type": "error", "code": code}).to_string();
    actions.complain(code, text.into());
}

/// Encodes an event of the registry for one client.
pub fn encode(network: &str, event: &Event<'_>) -> Option<Utf8Bytes> {
    let told = match event {
        Event::Undelivered { target, why, .. } => {
            json!({"type": "undelivered", "to": target.to_string(), "code": why.as_str()})
        }
        Event::Unpublished { why } => {
            json!({"type": "unpublished", "topic": network, "code": why.as_str()})
        }
        Event::Error(why) => json!({"type": "error", "code": why.code}),
        _ => return None,
    };
    Some(told.to_string().into())
}

/// Encodes a signal for its receiver.
pub fn encode_signal(signal: &DeliveredSignal<'_>) -> Option<Utf8Bytes> {
    let data: &RawValue = serde_json::from_str(signal.payload).ok()?;
    let told = json!({"type": "sent", "topic": signal.network.name(), "from": signal.from.to_string(), "data": data});
    Some(told.to_string().into())
}

/// Encodes a notice to members about another member.
pub fn encode_notice(network: &str, event: &PeerEvent) -> Notice {
    let word = match event {
        PeerEvent::Joined { .. } => "joined",
        PeerEvent::Updated { .. } | PeerEvent::Hosts { .. } => return Notice::NONE,
        PeerEvent::Left { .. } => "left",
    };
    let told = json!({"type": word, "topic": network, "id": event.peer().to_string()});
    Notice::one(told.to_string().into())
}

/// Encodes the roster of a topic.
pub fn encode_roster(roster: &Roster<'_>) -> Utf8Bytes {
    let ids = roster.others.iter().map(|(peer, _)| peer.to_string());
    let told =
        json!({"type": "members", "topic": roster.network.name(), "ids": ids.collect::<Vec<_>>()});
    told.to_string().into()
}

/// Encodes a publication.
pub fn encode_publication(publication: &DeliveredPublication<'_>) -> Option<Utf8Bytes> {
    let data: &RawValue = serde_json::from_str(publication.payload).ok()?;
    let told = json!({
        "type": "published",
        "topic": publication.network.name(),
        "from": publication.from.to_string(),
        "data": data,
        "clients": publication.members,
    });
    Some(told.to_string().into())
}
