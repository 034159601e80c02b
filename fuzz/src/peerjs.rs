//! The PeerJS dialect: the text of a client, and the messages that others get because of it.

use std::collections::BTreeMap;

use hubmesh::dialect::peerjs::decode;
use hubmesh::dialect::{Command, DeliveredSignal, Event, encode, encode_signal};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId};
use hubmesh_json as json;
use serde_json::value::RawValue;

const SENDER: &str = "the one who sends";

/// Reads a client's message, once for a client in a realm and once for a client in a room. Each message that the hub
/// writes because of it is one JSON object. A signal names its true sender, and reads as the same signal again.
pub fn peerjs(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    for dialect in [Dialect::PeerJs, Dialect::PeerJsRoomMode] {
        match decode(dialect, input) {
            Ok(message) => obey(dialect, message.command),
            Err(why) => {
                let told = encode(dialect, "", &Event::Error(why.complaint()), 1);
                let told = told.expect("who made a mistake is told");
                assert_eq!(text(fields(&told)["type"]), "ERROR");
            }
        }
    }
}

fn obey(dialect: Dialect, command: Command<'_>) {
    match command {
        Command::Signal {
            target,
            kind,
            payload,
            ..
        } => {
            let network = NetworkKey::new(dialect, "peerjs").expect("a network");
            let from = PeerId::new(SENDER).expect("a peer id");
            let signal = DeliveredSignal {
                network: &network,
                from: &from,
                target: &target,
                kind,
                payload: &payload,
            };
            let told = encode_signal(dialect, &signal, 1).expect("what was read can be written");
            // Fields that the client added keep the names that the client wrote.
            let told_readable = json::well_formed(&told);
            let told_fields = fields(&told_readable);
            assert_eq!(text(told_fields["src"]), SENDER);
            assert_eq!(text(told_fields["dst"]), target.to_string());
            let again = decode(dialect, &told)
                .expect("what was written can be read")
                .command;
            let same = Command::Signal {
                target,
                network: None,
                kind,
                payload,
            };
            assert_eq!(again, same);
        }
        Command::Unsupported(kind) => assert!(kind.chars().count() <= 64, "little is given back"),
        Command::UnknownTarget { name, .. } => {
            let from = PeerId::new(SENDER).expect("a peer id");
            let (sender, name) = (&from, name.as_str());
            let told = encode(dialect, "", &Event::UnknownTarget { sender, name }, 1);
            let told = told.expect("it is told");
            assert_eq!(text(fields(&told)["src"]), name);
        }
        Command::Goodbye | Command::Ignored => {}
        Command::Announce { .. } | Command::Ping { .. } => panic!("no word of this dialect"),
    }
}

/// The fields of one JSON object. If two have the same name, the last one counts.
fn fields(text: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(text).expect("one JSON object")
}

/// A field that is a string.
fn text(field: &RawValue) -> String {
    serde_json::from_str(field.get()).expect("a string")
}
