//! The messages of the stories in each dialect, sent and received. All differences between the dialects are here.

use serde_json::{Value, json};

/// The dialects of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Pigeon,
    PeerJs,
    PeerJsRooms,
    Rooms,
    Coordinator,
    Yjs,
    #[cfg(feature = "trial-dialect")]
    Trial,
}

/// The kinds of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Offer,
    Answer,
    Candidate,
}

/// The network of all clients of a story, and the key of PeerJS clients.
pub const NETWORK: &str = "r";
pub const KEY: &str = "peerjs";

/// The meaning of a hub's message.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// These clients are in the network.
    Come(Vec<String>),
    /// This client has left.
    Gone(String),
    /// A signal: its kind, its sender and its payload.
    Signal(Kind, String, Value),
    /// A publication: its sender and its number of receivers, in dialects that tell them, and its payload.
    Published(Option<String>, Value, Option<u64>),
    /// A signal did not reach its target.
    Undelivered,
    /// Any other message, by its type.
    Word(String),
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Pigeon => "native",
            Dialect::PeerJs => "PeerJS",
            Dialect::PeerJsRooms => "PeerJS, rooms",
            Dialect::Rooms => "rooms",
            Dialect::Coordinator => "coordinator",
            Dialect::Yjs => "y-webrtc",
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => "the tests' own",
        }
    }

    pub fn wants_peerjs_rooms(self) -> bool {
        self == Dialect::PeerJsRooms
    }

    /// Whether clients send signals to each other.
    pub fn signals(self) -> bool {
        self != Dialect::Yjs
    }

    /// Whether clients are told of members that leave.
    pub fn tells_who_leaves(self) -> bool {
        !matches!(self, Dialect::PeerJs | Dialect::Yjs)
    }

    pub fn tells_who_comes(self) -> bool {
        self.tells_who_leaves() && self != Dialect::PeerJsRooms
    }

    /// Whether the hub reads more slowly from a client that is too fast, instead of sending it an error.
    pub fn is_slowed_down(self) -> bool {
        self == Dialect::PeerJs
    }

    /// The path of a client's WebSocket, with a query to which its token may be added.
    pub fn path(self, id: &str) -> String {
        match self {
            Dialect::Pigeon => format!("/ws?peerId={id}"),
            Dialect::PeerJs | Dialect::PeerJsRooms => format!("/peerjs?key={KEY}&id={id}"),
            Dialect::Rooms => "/rooms?".into(),
            Dialect::Coordinator => "/p2p?".into(),
            Dialect::Yjs => "/yjs?".into(),
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => "/trial?".into(),
        }
    }

    /// The claims in a client's token.
    pub fn claims(self, id: &str) -> Value {
        match self {
            Dialect::PeerJsRooms => json!({"sub": id, "networks": [NETWORK]}),
            _ => json!({"sub": id}),
        }
    }

    /// The first message of a client, which says who the client is, in dialects that have one.
    pub fn introduction(self, id: &str) -> Option<Value> {
        Some(match self {
            Dialect::Rooms => json!({"type": "auth", "userId": id, "roomId": NETWORK}),
            Dialect::Coordinator => json!({"type": "register", "peerId": id, "metadata": {}}),
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => json!({"type": "hello", "id": id}),
            _ => return None,
        })
    }

    /// The type of the message that tells a client that the hub has accepted its id.
    pub fn greeting(self) -> Option<&'static str> {
        Some(match self {
            Dialect::Pigeon => "connected",
            Dialect::PeerJs | Dialect::PeerJsRooms => "OPEN",
            Dialect::Rooms => "auth",
            Dialect::Coordinator => "registered",
            Dialect::Yjs => return None,
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => "welcome",
        })
    }

    /// The message that creates the network, in dialects in which clients create it.
    pub fn found(self) -> Option<Value> {
        (self == Dialect::Rooms).then(|| json!({"type": "create-room", "data": {"roomName": "R"}}))
    }

    /// The message by which a client joins the network; `None` if it joins by connecting.
    pub fn join(self, id: &str) -> Option<Value> {
        Some(match self {
            Dialect::Pigeon => json!({"type": "announce", "networkName": NETWORK, "data": {}}),
            Dialect::PeerJs | Dialect::PeerJsRooms => return None,
            Dialect::Rooms => json!({"type": "join-room", "data": {"userName": "U"}}),
            Dialect::Coordinator => json!({"type": "join-room", "peerId": id, "roomId": NETWORK}),
            Dialect::Yjs => json!({"type": "subscribe", "topics": [NETWORK]}),
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => json!({"type": "subscribe", "topics": [NETWORK]}),
        })
    }

    /// The types of the messages that tell a client that it is in the network; `None` if the answer to a ping shows it.
    pub fn joined(self) -> Option<&'static [&'static str]> {
        match self {
            Dialect::Rooms => Some(&["room-created", "room-joined"]),
            Dialect::Coordinator => Some(&["room-joined"]),
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => Some(&["members"]),
            _ => None,
        }
    }

    pub fn leave(self, id: &str) -> Value {
        match self {
            Dialect::Pigeon => json!({"type": "goodbye"}),
            Dialect::PeerJs | Dialect::PeerJsRooms => json!({"type": "LEAVE"}),
            Dialect::Rooms => json!({"type": "leave-room"}),
            Dialect::Coordinator => json!({"type": "leave-room", "peerId": id, "roomId": NETWORK}),
            Dialect::Yjs => json!({"type": "unsubscribe", "topics": [NETWORK]}),
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => json!({"type": "unsubscribe", "topics": [NETWORK]}),
        }
    }

    /// A ping, and the type of its answer in dialects that have one.
    pub fn ping(self) -> (Value, Option<&'static str>) {
        match self {
            Dialect::Pigeon => (
                json!({"type": "ping", "networkName": NETWORK}),
                Some("pong"),
            ),
            Dialect::PeerJs | Dialect::PeerJsRooms => (json!({"type": "HEARTBEAT"}), None),
            Dialect::Rooms => (json!({"type": "heartbeat"}), Some("heartbeat")),
            _ => (json!({"type": "ping"}), Some("pong")),
        }
    }

    pub fn signal(self, kind: Kind, from: &str, to: &str, payload: &Value) -> Value {
        let [native, peerjs, rooms, field] = kind.words();
        match self {
            Dialect::Pigeon => {
                json!({"type": native, "targetPeerId": to, "networkName": NETWORK, "data": payload})
            }
            Dialect::PeerJs | Dialect::PeerJsRooms => {
                json!({"type": peerjs, "dst": to, "payload": payload})
            }
            Dialect::Rooms => json!({"type": rooms, "targetUserId": to, "data": payload}),
            Dialect::Coordinator => json!({"type": native, "from": from, "to": to, field: payload}),
            Dialect::Yjs => unreachable!("its clients publish"),
            // This dialect has one kind of signal, so the payload names the kind.
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => {
                json!({"type": "send", "topic": NETWORK, "to": to, "data": {"kind": native, "data": payload}})
            }
        }
    }

    pub fn publish(self, from: &str, payload: &Value) -> Value {
        match self {
            Dialect::Rooms => json!({"type": "presence", "data": payload}),
            Dialect::Coordinator => {
                json!({"type": "broadcast", "from": from, "roomId": NETWORK, "data": payload})
            }
            _ => json!({"type": "publish", "topic": NETWORK, "from": from, "data": payload}),
        }
    }

    /// The code of an error.
    pub fn code(self, told: &Value) -> &str {
        let code = match self {
            Dialect::PeerJs | Dialect::PeerJsRooms => &told["payload"]["type"],
            Dialect::Rooms => &told["data"]["code"],
            _ => &told["code"],
        };
        match code.as_str() {
            // PeerJS has one code for both errors.
            Some("rate-limit-exceeded") if told["payload"]["msg"] == "Too many messages" => {
                "rate-abuse"
            }
            Some("rate-limit-exceeded") => "rate-limited",
            Some(code) => code,
            None => "",
        }
    }

    /// The meaning of a message of a hub.
    pub fn told(self, message: &Value) -> Told {
        let kind = text(&message["type"]);
        if ["error", "ERROR"].contains(&kind.as_str()) {
            let lost = ["no-such-peer", "no-route", "unknown-peer", "unknown"];
            return match lost.contains(&self.code(message)) {
                true => Told::Undelivered,
                false => Told::Word(kind),
            };
        }
        let told = match self {
            Dialect::Pigeon => pigeon(&kind, message),
            Dialect::PeerJs | Dialect::PeerJsRooms => peerjs(&kind, message),
            Dialect::Rooms => rooms(&kind, message),
            Dialect::Coordinator => coordinator(&kind, message),
            Dialect::Yjs => (kind == "publish").then(|| published(&message["from"], message)),
            #[cfg(feature = "trial-dialect")]
            Dialect::Trial => trial(&kind, message),
        };
        told.unwrap_or(Told::Word(kind))
    }
}

impl Kind {
    /// The name of the kind in the native dialect, in PeerJS and in rooms, and the name of its field.
    fn words(self) -> [&'static str; 4] {
        match self {
            Kind::Offer => ["offer", "OFFER", "sdp-offer", "offer"],
            Kind::Answer => ["answer", "ANSWER", "sdp-answer", "answer"],
            Kind::Candidate => ["ice-candidate", "CANDIDATE", "ice-candidate", "candidate"],
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        let all = [Kind::Offer, Kind::Answer, Kind::Candidate];
        all.into_iter()
            .find(|kind| kind.words()[..3].contains(&word))
    }

    fn field(self) -> &'static str {
        self.words()[3]
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn ids(list: &Value, member: &str) -> Vec<String> {
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().map(|one| text(&one[member])).collect()
}

fn published(from: &Value, message: &Value) -> Told {
    let from = from.as_str().map(str::to_owned);
    Told::Published(from, message["data"].clone(), message["clients"].as_u64())
}

fn pigeon(kind: &str, message: &Value) -> Option<Told> {
    Some(match kind {
        "peer-discovered" => Told::Come(vec![text(&message["data"]["peerId"])]),
        "peer-disconnected" => Told::Gone(text(&message["data"]["peerId"])),
        _ => {
            let kind = Kind::from_word(kind)?;
            Told::Signal(kind, text(&message["fromPeerId"]), message["data"].clone())
        }
    })
}

fn peerjs(kind: &str, message: &Value) -> Option<Told> {
    Some(match kind {
        "LEAVE" | "EXPIRE" if message["peerId"].is_string() => Told::Gone(text(&message["peerId"])),
        "EXPIRE" => Told::Undelivered,
        _ => {
            let kind = Kind::from_word(kind)?;
            Told::Signal(kind, text(&message["src"]), message["payload"].clone())
        }
    })
}

fn rooms(kind: &str, message: &Value) -> Option<Told> {
    let data = &message["data"];
    Some(match kind {
        "room-created" | "room-joined" => Told::Come(ids(&data["room"]["peers"], "userId")),
        "peer-joined" => Told::Come(vec![text(&data["peer"]["userId"])]),
        "peer-left" => Told::Gone(text(&data["userId"])),
        "presence" => published(&message["userId"], message),
        _ => {
            let kind = Kind::from_word(kind)?;
            Told::Signal(kind, text(&message["userId"]), data[kind.field()].clone())
        }
    })
}

fn coordinator(kind: &str, message: &Value) -> Option<Told> {
    Some(match kind {
        "room-joined" => Told::Come(ids(&message["peers"], "peerId")),
        "peer-joined" => Told::Come(vec![text(&message["peerId"])]),
        "peer-left" => Told::Gone(text(&message["peerId"])),
        "broadcast" => published(&message["from"], message),
        _ => {
            let kind = Kind::from_word(kind)?;
            Told::Signal(kind, text(&message["from"]), message[kind.field()].clone())
        }
    })
}

#[cfg(feature = "trial-dialect")]
fn trial(kind: &str, message: &Value) -> Option<Told> {
    Some(match kind {
        "members" => {
            let ids = message["ids"].as_array().cloned().unwrap_or_default();
            Told::Come(ids.iter().map(text).collect())
        }
        "joined" => Told::Come(vec![text(&message["id"])]),
        "left" => Told::Gone(text(&message["id"])),
        "published" => published(&message["from"], message),
        "undelivered" => Told::Undelivered,
        "sent" => {
            let (kind, data) = (&message["data"]["kind"], &message["data"]["data"]);
            let kind = Kind::from_word(&text(kind))?;
            Told::Signal(kind, text(&message["from"]), data.clone())
        }
        _ => return None,
    })
}
