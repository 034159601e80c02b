//! The native dialect, spoken to hubmesh and to PeerPigeon hubs alike.
//!
//! Owns the JSON that goes out and the few fields that are read of what comes in. A candidate is recognised by its stamp
//! before any JSON is parsed, because that is what nearly all messages of a relay test are.

use hubmesh_client::PeerId;
use serde::Deserialize;
use serde_json::json;

use super::websocket::WebSocket;
use super::{Candidate, Codec, DialectError, Event, Persona};
use crate::stamp::{self, Stamp};

pub struct PigeonCodec {
    persona: Persona,
    socket: WebSocket,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow, default)]
    data: Option<Subject<'a>>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Subject<'a> {
    #[serde(rename = "peerId", default)]
    peer_id: Option<&'a str>,
}

impl PigeonCodec {
    pub fn new(persona: Persona) -> Self {
        Self {
            persona,
            socket: WebSocket::new(),
        }
    }

    fn say(&self, message: &serde_json::Value, out: &mut Vec<u8>) {
        self.socket.text(message.to_string().as_bytes(), out);
    }
}

impl Codec for PigeonCodec {
    fn hello(&mut self, out: &mut Vec<u8>) {
        let url = self.persona.hub.for_peer(&self.persona.id);
        let address = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        self.socket.upgrade(&self.persona, &address, out);
    }

    fn join(&mut self, out: &mut Vec<u8>) {
        let announce = json!({
            "type": "announce",
            "networkName": self.persona.network,
            "data": {"peerId": self.persona.id.as_str()},
        });
        self.say(&announce, out);
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        let goodbye = json!({"type": "goodbye", "networkName": self.persona.network, "data": {}});
        self.say(&goodbye, out);
    }

    fn candidate(&self, to: &PeerId, bytes: usize) -> Candidate {
        let head = format!(
            "{{\"type\":\"ice-candidate\",\"targetPeerId\":\"{to}\",\"networkName\":{network},\"data\":",
            network = json!(self.persona.network),
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
        Ok(Message {
            kind: "peer-discovered",
            data: Some(Subject { peer_id: Some(id) }),
            ..
        }) => Event::Seen(id.to_owned()),
        Ok(Message {
            kind: "error",
            error,
            ..
        }) => Event::Complaint(error.unwrap_or_else(|| "an error without a text".to_owned())),
        _ => Event::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::websocket::unmasked;

    fn pigeon() -> PigeonCodec {
        PigeonCodec::new(Persona {
            id: PeerId::random(),
            network: "load \"1\"".to_owned(),
            hub: "ws://127.0.0.1:1".parse().unwrap(),
            token: Some("t".to_owned()),
        })
    }

    #[test]
    fn a_candidate_is_valid_json_under_its_mask_and_its_stamp_is_readable() {
        let to = PeerId::random();
        let mut candidate = pigeon().candidate(&to, 300);
        let mut out = Vec::new();
        let stamp = Stamp::now(42);
        candidate.write(stamp, &mut out);
        let plain = unmasked(&out);
        let message: serde_json::Value = serde_json::from_slice(&plain).unwrap();
        assert_eq!(message["targetPeerId"], to.as_str());
        assert_eq!(message["data"].to_string().len(), 300);
        assert_eq!(Stamp::find(&plain), Some(stamp));
    }

    #[test]
    fn the_upgrade_carries_id_and_token() {
        let mut pigeon = pigeon();
        let mut out = Vec::new();
        pigeon.hello(&mut out);
        let head = String::from_utf8(out).unwrap();
        assert!(head.starts_with(&format!(
            "GET /ws?peerId={} HTTP/1.1\r\n",
            pigeon.persona.id
        )));
        assert!(head.contains("\r\nAuthorization: Bearer t\r\n"));
        assert!(head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn what_a_hub_says_is_told_apart() {
        let seen = br#"{"type":"peer-discovered","data":{"peerId":"abc"},"networkName":"n"}"#;
        assert_eq!(understand(seen), Event::Seen("abc".to_owned()));
        let complaint = br#"{"type":"error","error":"slow down"}"#;
        assert_eq!(
            understand(complaint),
            Event::Complaint("slow down".to_owned())
        );
        assert_eq!(understand(b"[["), Event::Other);
    }
}
