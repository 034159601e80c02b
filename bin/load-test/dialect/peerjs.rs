//! PeerJS's dialect, spoken to hubmesh and to PeerServer alike.
//!
//! Owns the JSON that goes out, the query that a client opens with, and the few fields that are read of what comes in. A
//! client is what its URL says and is in with the server's `OPEN`, so joining takes no message. The token is the
//! persona's, or else its network's name, so that a hub in room mode puts each network into a room of its own.

use std::time::Duration;

use hubmesh_client::PeerId;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::websocket::{Incoming, WebSocket};
use super::{Candidate, Codec, DialectError, Event, Persona};
use crate::stamp::{self, Stamp};

/// How often the npm client says that it is alive.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// The realm of a server that was not told another.
const KEY: &str = "peerjs";

pub struct PeerJsCodec {
    persona: Persona,
    socket: WebSocket,
    /// The server has sent its `OPEN`.
    open: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    /// The peer that an `EXPIRE` is about.
    #[serde(default)]
    src: Option<String>,
    #[serde(default)]
    payload: Value,
}

impl PeerJsCodec {
    pub fn new(persona: Persona) -> Self {
        Self {
            persona,
            socket: WebSocket::new(),
            open: false,
        }
    }

    /// The path and query of the upgrade.
    fn address(&self) -> String {
        let Persona {
            id,
            network,
            hub,
            token,
        } = &self.persona;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("key", KEY)
            .append_pair("id", id.as_str())
            .append_pair("token", token.as_ref().unwrap_or(network))
            .append_pair("version", env!("CARGO_PKG_VERSION"))
            .finish();
        format!("{}/peerjs?{query}", hub.prefix())
    }

    fn say(&self, message: &Value, out: &mut Vec<u8>) {
        self.socket.text(message.to_string().as_bytes(), out);
    }
}

impl Codec for PeerJsCodec {
    fn hello(&mut self, out: &mut Vec<u8>) {
        self.socket.upgrade(&self.persona, &self.address(), out);
    }

    fn join(&mut self, _: &mut Vec<u8>) {}

    fn leave(&mut self, out: &mut Vec<u8>) {
        self.say(&json!({"type": "LEAVE"}), out);
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        self.say(&json!({"type": "HEARTBEAT"}), out);
    }

    fn candidate(&self, to: &PeerId, bytes: usize) -> Candidate {
        let tail = format!(",\"dst\":\"{to}\"}}");
        let message = [
            b"{\"type\":\"CANDIDATE\",\"payload\":",
            stamp::payload(bytes).as_slice(),
            tail.as_bytes(),
        ]
        .concat();
        self.socket.candidate(&message)
    }

    fn decode(
        &mut self,
        input: &[u8],
        events: &mut Vec<Event>,
        out: &mut Vec<u8>,
    ) -> Result<usize, DialectError> {
        let Self { socket, open, .. } = self;
        socket.read_all(input, out, |incoming| {
            if let Incoming::Message(message) = incoming {
                let event = understand(message, *open)?;
                *open |= event == Event::Open;
                events.push(event);
            }
            Ok(())
        })
    }
}

/// What `message` says. An `ERROR` before the `OPEN` is the server's refusal, and after it a complaint.
fn understand(message: &[u8], open: bool) -> Result<Event, DialectError> {
    if let Some(stamp) = Stamp::find(message) {
        return Ok(Event::Arrived(stamp));
    }
    let Ok(Message { kind, src, payload }) = serde_json::from_slice(message) else {
        return Ok(Event::Other);
    };
    match kind {
        "OPEN" => Ok(Event::Open),
        "ID-TAKEN" => Err(DialectError::Refused("the id is taken".to_owned())),
        "ERROR" if open => Ok(Event::Complaint(reason(&payload))),
        "ERROR" => Err(DialectError::Refused(reason(&payload))),
        "EXPIRE" => Ok(Event::Complaint(format!(
            "expired on its way to {}",
            src.as_deref().unwrap_or("nobody named")
        ))),
        _ => Ok(Event::Other),
    }
}

/// An `ERROR`'s text: PeerServer's `msg`, or the `message` of room mode.
fn reason(payload: &Value) -> String {
    let text = payload.get("msg").or_else(|| payload.get("message"));
    let text = text.and_then(Value::as_str);
    text.unwrap_or("an error without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::websocket::unmasked;

    fn peer(hub: &str, token: Option<&str>) -> PeerJsCodec {
        PeerJsCodec::new(Persona {
            id: PeerId::random(),
            network: "load 1&2".to_owned(),
            hub: hub.parse().unwrap(),
            token: token.map(str::to_owned),
        })
    }

    #[test]
    fn the_upgrade_names_realm_id_and_token_below_the_servers_prefix() {
        let mut out = Vec::new();
        let mut rooted = peer("ws://127.0.0.1:1", None);
        rooted.hello(&mut out);
        let head = String::from_utf8(out).unwrap();
        let query = format!("key=peerjs&id={}&token=load+1%262&", rooted.persona.id);
        assert!(
            head.starts_with(&format!("GET /peerjs?{query}version=")),
            "{head}"
        );
        assert!(head.ends_with("\r\n\r\n"));

        let below = peer("ws://127.0.0.1:1/signal/", Some("secret")).address();
        assert!(below.starts_with("/signal/peerjs?key=peerjs&"), "{below}");
        assert!(below.contains("&token=secret&"), "{below}");
    }

    #[test]
    fn a_candidate_is_valid_json_under_its_mask_and_its_stamp_is_readable() {
        let to = PeerId::random();
        let mut candidate = peer("ws://127.0.0.1:1", None).candidate(&to, 300);
        let mut out = Vec::new();
        let stamp = Stamp::now(42);
        candidate.write(stamp, &mut out);
        let plain = unmasked(&out);
        let message: Value = serde_json::from_slice(&plain).unwrap();
        assert_eq!(
            (&message["type"], &message["dst"]),
            (&json!("CANDIDATE"), &json!(to.as_str()))
        );
        assert_eq!(message["payload"].to_string().len(), 300);
        assert_eq!(Stamp::find(&plain), Some(stamp));
    }

    #[test]
    fn heartbeats_and_leaves_are_the_clients_own() {
        let mut peer = peer("ws://127.0.0.1:1", None);
        let (mut beat, mut leave, mut join) = (Vec::new(), Vec::new(), Vec::new());
        peer.heartbeat(&mut beat);
        peer.leave(&mut leave);
        peer.join(&mut join);
        assert_eq!(unmasked(&beat), br#"{"type":"HEARTBEAT"}"#);
        assert_eq!(unmasked(&leave), br#"{"type":"LEAVE"}"#);
        assert!(join.is_empty());
    }

    #[test]
    fn an_error_refuses_a_newcomer_and_is_a_complaint_to_a_member() {
        let error = br#"{"type":"ERROR","payload":{"msg":"Invalid key provided"}}"#;
        let text = "Invalid key provided".to_owned();
        assert_eq!(
            understand(error, false),
            Err(DialectError::Refused(text.clone()))
        );
        assert_eq!(understand(error, true), Ok(Event::Complaint(text)));
        let of_a_room =
            br#"{"type":"ERROR","payload":{"type":"room-full","message":"Room is full"}}"#;
        let complaint = Event::Complaint("Room is full".to_owned());
        assert_eq!(understand(of_a_room, true), Ok(complaint));
        let taken = br#"{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}"#;
        assert!(matches!(
            understand(taken, false),
            Err(DialectError::Refused(_))
        ));
    }

    #[test]
    fn what_a_server_says_is_told_apart() {
        assert_eq!(understand(br#"{"type":"OPEN"}"#, false), Ok(Event::Open));
        let expired = br#"{"type":"EXPIRE","src":"ada","dst":"bob"}"#;
        let complaint = Event::Complaint("expired on its way to ada".to_owned());
        assert_eq!(understand(expired, true), Ok(complaint));
        let leave = br#"{"type":"LEAVE","src":"ada","payload":"any"}"#;
        for other in [&leave[..], b"[[", b"{\"type\":7}", b"\"OPEN\""] {
            assert_eq!(understand(other, true), Ok(Event::Other));
        }
    }
}
