//! The dialect of `y-webrtc` clients, spoken to hubmesh and to y-webrtc's own server alike.
//!
//! Owns the JSON that goes out and the few fields that are read of what comes in. A client has no id: it subscribes to
//! a topic, which is its network's name, and what it publishes there reaches all subscribers, itself among them.
//! Servers do not answer `subscribe`, so a `ping` follows it: its `pong` says that the subscription was read.

use std::time::Duration;

use hubmesh_client::PeerId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::websocket::WebSocket;
use super::{Candidate, Codec, DialectError, Event, Persona};
use crate::stamp::{self, Stamp};

/// How often the npm client sends a `ping`: half of the 30 s of silence after which it reconnects.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

pub struct YjsCodec {
    persona: Persona,
    socket: WebSocket,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    error: Option<String>,
}

impl YjsCodec {
    pub fn new(persona: Persona) -> Self {
        Self {
            persona,
            socket: WebSocket::new(),
        }
    }

    fn say(&self, message: &Value, out: &mut Vec<u8>) {
        self.socket.text(message.to_string().as_bytes(), out);
    }

    fn topics(&self, kind: &str) -> Value {
        json!({"type": kind, "topics": [self.persona.network]})
    }
}

impl Codec for YjsCodec {
    fn hello(&mut self, out: &mut Vec<u8>) {
        let address = format!("{}/yjs", self.persona.hub.prefix());
        self.socket.upgrade(&self.persona, &address, out);
    }

    fn join(&mut self, out: &mut Vec<u8>) {
        self.say(&self.topics("subscribe"), out);
        self.heartbeat(out);
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        self.say(&self.topics("unsubscribe"), out);
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        self.say(&json!({"type": "ping"}), out);
    }

    fn candidate(&self, _to: &PeerId, bytes: usize) -> Candidate {
        let head = format!(
            "{{\"type\":\"publish\",\"topic\":{topic},\"data\":",
            topic = json!(self.persona.network),
        );
        let message = [head.as_bytes(), &stamp::payload(bytes), b"}"].concat();
        self.socket.candidate(&message)
    }

    fn decode(
        &mut self,
        input: &[u8],
        events: &mut Vec<Event>,
        out: &mut Vec<u8>,
    ) -> Result<usize, DialectError> {
        self.socket.read_events(input, events, out, understand)
    }
}

fn understand(message: &[u8]) -> Event {
    if let Some(stamp) = Stamp::find(message) {
        return Event::Arrived(stamp);
    }
    match serde_json::from_slice::<Message<'_>>(message) {
        Ok(Message { kind: "pong", .. }) => Event::Joined,
        Ok(Message {
            kind: "error",
            error,
        }) => Event::Complaint(error.unwrap_or_else(|| "an error without a text".to_owned())),
        _ => Event::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::websocket::unmasked;

    fn client() -> YjsCodec {
        YjsCodec::new(Persona {
            id: PeerId::random(),
            network: "load \"1\"".to_owned(),
            hub: "ws://127.0.0.1:1".parse().unwrap(),
            token: None,
        })
    }

    #[test]
    fn what_is_published_names_the_topic_and_carries_its_stamp() {
        let mut candidate = client().candidate(&PeerId::random(), 300);
        let mut out = Vec::new();
        let stamp = Stamp::now(42);
        candidate.write(stamp, &mut out);
        let plain = unmasked(&out);
        let message: Value = serde_json::from_slice(&plain).unwrap();
        assert_eq!(message["topic"], "load \"1\"");
        assert_eq!(message["data"].to_string().len(), 300);
        assert_eq!(Stamp::find(&plain), Some(stamp));
    }

    #[test]
    fn a_pong_says_that_the_subscription_was_read() {
        assert_eq!(understand(br#"{"type":"pong"}"#), Event::Joined);
        assert_eq!(
            understand(br#"{"type":"publish","clients":1}"#),
            Event::Other
        );
        let complaint = br#"{"type":"error","error":"too many topics"}"#;
        let told = Event::Complaint("too many topics".to_owned());
        assert_eq!(understand(complaint), told);
    }
}
