//! The native dialect: the text of a client, and the messages that others get because of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use hubmesh::dialect::pigeon::decode;
use hubmesh::dialect::{
    Command, DeliveredSignal, Event, Message, encode, encode_notice, encode_signal,
};
use hubmesh_core::api::PeerEvent;
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId};
use hubmesh_json as json;
use serde_json::value::RawValue;

const DIALECT: Dialect = Dialect::Pigeon;
const SENDER: &str = "0123456789abcdef0123456789abcdef01234567";

/// Reads a client's message. Each message that the hub writes because of it is JSON, names its sender, and holds the
/// payload byte for byte.
pub fn pigeon(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let sender = PeerId::new(SENDER).expect("a peer id");
    match decode(input) {
        Ok(Message { command, .. }) => obey(&sender, command),
        Err(why) => {
            let told = encode(DIALECT, "global", &Event::Error(why.complaint()), 1);
            let told = told.expect("who made a mistake is told");
            text(fields(&told)["error"]);
        }
    }
}

fn obey(sender: &PeerId, command: Command<'_>) {
    match command {
        Command::Announce { network, data, .. } => {
            let key = NetworkKey::new(DIALECT, network.as_deref().unwrap_or("global"));
            let key = key.expect("an accepted name is a network's");
            announce(sender, &key, data);
        }
        Command::Signal {
            target,
            kind,
            payload,
            ..
        } => {
            let signal = DeliveredSignal {
                network: &NetworkKey::new(DIALECT, "global").expect("a network"),
                from: sender,
                target: &target,
                kind,
                payload: &payload,
            };
            let told =
                encode_signal(DIALECT, &signal, 1).expect("a kind that was read can be written");
            let told = fields(&told);
            assert_eq!(told["data"].get(), payload.as_ref());
            assert_eq!(text(told["fromPeerId"]), SENDER);
        }
        Command::Unsupported(kind) => assert!(kind.chars().count() <= 64, "little is given back"),
        Command::UnknownTarget { .. } => panic!("no word of this dialect"),
        Command::Ping { .. } | Command::Goodbye | Command::Ignored => {}
    }
}

fn announce(sender: &PeerId, network: &NetworkKey, data: Option<Bytes>) {
    let peer = sender.clone();
    let joined = PeerEvent::Joined { peer, data };
    for told in encode_notice(DIALECT, network.name(), &joined, 1).messages() {
        let told = fields(told);
        let shown = json::well_formed(told["data"].get());
        let shown = fields(&shown);
        assert_eq!(text(shown["peerId"]), SENDER);
        assert_eq!(shown["isHub"].get(), "false");
        assert_eq!(text(told["networkName"]), network.name());
    }
}

/// The fields of one JSON object.
fn fields(text: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(text).expect("one JSON object")
}

/// A field that is a string.
fn text(field: &RawValue) -> String {
    serde_json::from_str(field.get()).expect("a string")
}
