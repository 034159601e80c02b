//! The dialect of OctateCode's rooms.
//!
//! Owns the JSON that goes out and the few fields that are read of what comes in. A network is a room. Each peer asks
//! to create the room, and enters it if the hub answers that it exists; so no peer needs to know which one was first. A
//! peer counts as joined once it knows of another: of two that create one room on two hubs at once, one loses it again.

use std::collections::HashSet;

use hubmesh_client::PeerId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::websocket::{Incoming, WebSocket};
use super::{Candidate, Codec, DialectError, Event, Persona};
use crate::stamp::{self, Stamp};

pub struct RoomsCodec {
    persona: Persona,
    socket: WebSocket,
    /// This peer, and the other peers of the room that were seen: a peer that comes while this one enters is reported
    /// twice.
    seen: HashSet<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    peer: Member,
    room: Room,
    error: String,
    code: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Room {
    peers: Vec<Member>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Member {
    user_id: String,
}

impl RoomsCodec {
    pub fn new(persona: Persona) -> Self {
        Self {
            seen: HashSet::from([persona.id.to_string()]),
            persona,
            socket: WebSocket::new(),
        }
    }

    fn say(&self, kind: &str, data: &Value, out: &mut Vec<u8>) {
        let message = json!({
            "type": kind,
            "roomId": self.persona.network,
            "userId": self.persona.id.as_str(),
            "data": data,
            "timestamp": 0,
        });
        self.socket.text(message.to_string().as_bytes(), out);
    }
}

/// Puts the events of a message into `events`; true if the room exists already. Peers in `seen` are not reported again.
fn understand(seen: &mut HashSet<String>, message: &[u8], events: &mut Vec<Event>) -> bool {
    if let Some(stamp) = Stamp::find(message) {
        events.push(Event::Arrived(stamp));
        return false;
    }
    let Ok(Message { kind, data }) = serde_json::from_slice(message) else {
        events.push(Event::Other);
        return false;
    };
    let mut see = |Member { user_id }| {
        if seen.insert(user_id.clone()) {
            events.push(Event::Seen(user_id));
        }
    };
    match kind {
        "peer-joined" => see(data.peer),
        "room-joined" => data.room.peers.into_iter().for_each(see),
        "error" if data.code == "room-exists" => return true,
        "error" => events.push(Event::Complaint(data.error)),
        _ => events.push(Event::Other),
    }
    false
}

impl Codec for RoomsCodec {
    fn hello(&mut self, out: &mut Vec<u8>) {
        let address = format!("{}/rooms", self.persona.hub.prefix());
        self.socket.upgrade(&self.persona, &address, out);
    }

    fn join(&mut self, out: &mut Vec<u8>) {
        self.say("auth", &Value::Null, out);
        let room = json!({"roomName": self.persona.network, "userName": "load"});
        self.say("create-room", &room, out);
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        self.say("leave-room", &Value::Null, out);
    }

    fn candidate(&self, to: &PeerId, bytes: usize) -> Candidate {
        let head = format!(
            "{{\"type\":\"ice-candidate\",\"roomId\":{room},\"userId\":\"{me}\",\"targetUserId\":\"{to}\",\
             \"timestamp\":0,\"data\":",
            room = json!(self.persona.network),
            me = self.persona.id,
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
        let Self { socket, seen, .. } = self;
        let mut is_there = false;
        let done = socket.read_all(input, out, |incoming| {
            match incoming {
                Incoming::Opened => events.push(Event::Open),
                Incoming::Message(message) => is_there |= understand(seen, message, events),
                Incoming::Nothing => {}
            }
            Ok(())
        })?;
        if is_there {
            self.say("join-room", &json!({"userName": "load"}), out);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::websocket::unmasked;

    fn client() -> RoomsCodec {
        RoomsCodec::new(Persona {
            id: PeerId::random(),
            network: "load \"1\"".to_owned(),
            hub: "ws://127.0.0.1:1".parse().unwrap(),
            token: None,
        })
    }

    /// What `message` says to `me`.
    fn heard(me: &PeerId, message: &Value) -> (Vec<Event>, bool) {
        let mut events = Vec::new();
        let mut seen = HashSet::from([me.to_string()]);
        let is_there = understand(&mut seen, message.to_string().as_bytes(), &mut events);
        (events, is_there)
    }

    /// A message as a server frames it.
    fn framed(message: &Value) -> Vec<u8> {
        let text = message.to_string();
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126);
        [&[0x81, length], text.as_bytes()].concat()
    }

    #[test]
    fn a_candidate_names_the_room_and_both_and_carries_its_stamp() {
        let (client, to) = (client(), PeerId::random());
        let mut candidate = client.candidate(&to, 300);
        let mut out = Vec::new();
        let stamp = Stamp::now(42);
        candidate.write(stamp, &mut out);
        let plain = unmasked(&out);
        let message: Value = serde_json::from_slice(&plain).unwrap();
        assert_eq!(message["roomId"], "load \"1\"");
        assert_eq!(message["targetUserId"], to.as_str());
        assert_eq!(message["data"].to_string().len(), 300);
        assert_eq!(Stamp::find(&plain), Some(stamp));
    }

    #[test]
    fn a_room_that_is_there_is_entered() {
        let mut client = client();
        client.socket = WebSocket::opened();
        let there =
            json!({"type": "error", "data": {"error": "it is there", "code": "room-exists"}});
        let (frame, mut events, mut out) = (framed(&there), Vec::new(), Vec::new());
        assert_eq!(
            client.decode(&frame, &mut events, &mut out),
            Ok(frame.len())
        );
        assert!(events.is_empty());
        let asked: Value = serde_json::from_slice(&unmasked(&out)).unwrap();
        assert_eq!(asked["type"], "join-room");
        let full = json!({"type": "error", "data": {"error": "no", "code": "room-full"}});
        let told = vec![Event::Complaint("no".to_owned())];
        assert_eq!(heard(&client.persona.id, &full), (told, false));
    }

    #[test]
    fn the_others_in_a_room_are_seen() {
        let me = PeerId::random();
        let peers = json!([{"userId": me.as_str()}, {"userId": "bob"}]);
        let joined = json!({"type": "room-joined", "data": {"room": {"peers": peers}}});
        let bob = (vec![Event::Seen("bob".to_owned())], false);
        assert_eq!(heard(&me, &joined), bob);
        let came = json!({"type": "peer-joined", "data": {"peer": {"userId": "bob"}}});
        assert_eq!(heard(&me, &came), bob);
    }
}
