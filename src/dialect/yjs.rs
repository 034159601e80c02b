//! The dialect of `y-webrtc` clients: topics, and messages that are published to them.
//!
//! A client has no id. It subscribes to topics (`subscribe`, `unsubscribe`), and a message that it publishes to one of
//! them (`publish`) reaches all its subscribers, itself included: the object as it was sent, with `clients` added, the
//! number of subscribers in the whole mesh. A `ping` gets a `pong`. Messages that y-webrtc's own server ignores are
//! ignored here too, without an error, and the connection goes on. A message over a bound gets an `error`, which the
//! client ignores. Reads no payload; knows no subscriber.

use std::borrow::Cow;

use hubmesh_core::ids::{Dialect, NetworkKey, SignalKind};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::shapes::written;
use super::words::{Received, Sent};
use super::{
    About, Action, Actions, Complaint, DecodeError, DeliveredPublication, Event, HubEvent,
};
use super::{fields, json, push_number};

/// How deep a message may be nested: as deep as those of PeerJS clients. Messages of y-webrtc have six levels.
pub const MAX_DEPTH: usize = super::peerjs::MAX_DEPTH;

/// The one kind of publications.
const PUBLISHED: SignalKind = SignalKind(0);

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// It subscribes to these topics.
    Subscribe(Vec<Cow<'a, str>>),
    /// It leaves these topics.
    Unsubscribe(Vec<Cow<'a, str>>),
    /// It publishes this object to a topic.
    Publish {
        /// The topic.
        topic: Cow<'a, str>,
        /// The whole message, as it was sent.
        message: &'a str,
    },
    /// It asks for a pong.
    Ping,
    /// A message that y-webrtc's server ignores.
    Ignored,
}

/// Reads a client's message.
///
/// # Errors
/// It is not JSON, or nested too deep to be passed on. Nothing has changed.
pub fn decode(text: &str) -> Result<Said<'_>, DecodeError> {
    let text = text.trim_matches(is_blank);
    let (kind, topics, topic) = match fields::read(text, &["type", "topics", "topic"]) {
        Ok([kind, topics, topic]) => (kind, topics, topic),
        Err(DecodeError::NotAnObject) => return Ok(Said::Ignored),
        Err(why) => return Err(why),
    };
    let Some(kind) = kind.and_then(json::string) else {
        return Ok(Said::Ignored);
    };
    Ok(match &*kind {
        "subscribe" => Said::Subscribe(names(topics)),
        "unsubscribe" => Said::Unsubscribe(names(topics)),
        "publish" => match topic.and_then(json::string) {
            Some(topic) if !topic.is_empty() => {
                if !json::depth_is_bounded(text, MAX_DEPTH) {
                    let (name, most) = ("publish", MAX_DEPTH);
                    return Err(DecodeError::TooDeep { name, most });
                }
                Said::Publish {
                    topic,
                    message: text,
                }
            }
            _ => Said::Ignored,
        },
        "ping" => Said::Ping,
        _ => Said::Ignored,
    })
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The topics in a list; anything else in it is ignored, and so is anything but a list.
fn names(list: Option<&str>) -> Vec<Cow<'_, str>> {
    let values = list.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list).ok());
    let values = values.into_iter().flatten();
    let names = values.filter_map(|value| json::string(value.get()));
    // No client can publish to the topic without a name.
    names.filter(|name| !name.is_empty()).collect()
}

/// One client. Its session knows its topics.
#[derive(Debug, Default)]
pub struct Yjs;

impl Yjs {
    /// Handles one text of the client.
    pub fn hear<'a>(&mut self, text: &'a str, actions: &mut Actions<'a>) {
        let said = decode(text);
        actions.note(received(&said));
        match said {
            Err(why) => complain(&why.complaint(), actions),
            Ok(Said::Subscribe(topics)) => subscribe(&topics, actions),
            Ok(Said::Unsubscribe(topics)) => {
                let networks = topics.iter().filter_map(|topic| key(topic));
                for network in networks {
                    // It waits its turn: earlier publications still go out.
                    let goodbye = false;
                    actions.push(Action::Leave { network, goodbye });
                }
            }
            Ok(Said::Publish { topic, message }) => match key(&topic) {
                Some(network) => actions.push(Action::Publish {
                    network,
                    kind: PUBLISHED,
                    payload: message.into(),
                    echo: true,
                }),
                None => complain(&topic_too_long(), actions),
            },
            Ok(Said::Ping) => actions.push(Action::Reply {
                about: About::Nothing,
                text: Utf8Bytes::from_static(r#"{"type":"pong"}"#),
                word: Sent::Pong,
            }),
            Ok(Said::Ignored) => {}
        }
    }

    /// Handles an event of the hub for the client.
    pub fn tell(&mut self, event: &HubEvent<'_>, actions: &mut Actions<'_>) {
        match event {
            HubEvent::Connected => actions.push(Action::Greet(None)),
            // It is told of a limit separately, is told of no peer by name, and has no message for a hub that drains.
            HubEvent::Draining
            | HubEvent::Proven
            | HubEvent::Joined { .. }
            | HubEvent::Declined { .. }
            | HubEvent::Missed
            | HubEvent::Undelivered { .. }
            | HubEvent::UnknownTarget { .. } => {}
            HubEvent::Unpublished { why, .. } => complain(&unpublished(why.as_str()), actions),
            HubEvent::Lost { why, .. }
            | HubEvent::Dropped { why, .. }
            | HubEvent::Mistake(why)
            | HubEvent::Ending(why) => complain(why, actions),
        }
    }
}

fn subscribe(topics: &[Cow<'_, str>], actions: &mut Actions<'_>) {
    for topic in topics {
        match key(topic) {
            Some(network) => actions.push(Action::Join {
                network,
                data: None,
                quiet: false,
                leaving: None,
                room: None,
            }),
            None => complain(&topic_too_long(), actions),
        }
    }
}

fn key(topic: &str) -> Option<NetworkKey> {
    NetworkKey::new(Dialect::Yjs, topic).ok()
}

fn topic_too_long() -> Complaint<'static> {
    let most = NetworkKey::MAX_NAME_BYTES;
    Complaint::new("bad-topic", format!("a topic has at most {most} bytes"))
}

fn unpublished(why: &'static str) -> Complaint<'static> {
    let text = format!("the message did not reach all subscribers, or may not have: {why}");
    Complaint::new(why, text)
}

fn complain(why: &Complaint<'_>, actions: &mut Actions<'_>) {
    let words = error(why);
    actions.complain(why.code, words);
}

/// An error; y-webrtc's own server has no such message, and its clients ignore it.
#[derive(Serialize)]
struct FailureMessage<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    error: &'a str,
}

fn error(why: &Complaint<'_>) -> Utf8Bytes {
    written(&FailureMessage {
        kind: "error",
        code: why.code,
        error: &why.text,
    })
}

/// Encodes an event for one client.
pub fn encode(event: &Event<'_>) -> Option<Utf8Bytes> {
    match event {
        Event::Unpublished { why } => Some(error(&unpublished(why.as_str()))),
        Event::Error(why) => Some(error(why)),
        _ => None,
    }
}

/// Writes a publication: the object as it was sent, with the number of subscribers at its end. Of two members of that
/// name JavaScript takes the last.
pub fn encode_publication(publication: &DeliveredPublication<'_>) -> Option<Utf8Bytes> {
    let object = publication.payload.strip_prefix('{')?.strip_suffix('}')?;
    if publication.kind != PUBLISHED || object.trim_matches(is_blank).is_empty() {
        return None;
    }
    let mut text = String::with_capacity(publication.payload.len() + 20);
    text.push('{');
    text.push_str(object);
    text.push_str(r#","clients":"#);
    push_number(&mut text, publication.members);
    text.push('}');
    Some(text.into())
}

/// The label of a client's message in metrics.
fn received(said: &Result<Said<'_>, DecodeError>) -> Received {
    match said {
        Err(_) => Received::Malformed,
        Ok(Said::Subscribe(_)) => Received::Announce,
        Ok(Said::Unsubscribe(_)) => Received::Goodbye,
        Ok(Said::Publish { .. }) => Received::Publish,
        Ok(Said::Ping) => Received::Ping,
        Ok(Said::Ignored) => Received::Other,
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing)]
mod tests;
