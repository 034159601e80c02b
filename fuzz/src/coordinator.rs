//! The dialect of Self-Streme's coordinator: the text of a client, and the messages that its receivers get because of
//! it.

use hubmesh::dialect::coordinator::{Said, decode, encode_publication, encode_signal, metadata};
use hubmesh::dialect::{DeliveredPublication, DeliveredSignal};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId, SignalKind};

const NOW: u64 = 1_700_000_000_000;

/// Reads a client's message. The message that the hub passes on is JSON and holds the payload byte for byte. It names
/// the true sender, whatever the client wrote. The metadata that others are shown is one JSON value.
pub fn coordinator(input: &[u8]) {
    let shown = metadata(Some(input));
    assert!(serde_json::from_str::<&serde_json::value::RawValue>(shown).is_ok());
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let network = NetworkKey::new(Dialect::Coordinator, "any").expect("a network");
    let from = PeerId::new("somebody").expect("a peer id");
    let (told, payload) = match decode(input) {
        Ok(Said::Signal { kind, payload, .. }) => {
            let signal = DeliveredSignal {
                network: &network,
                from: &from,
                target: &from,
                kind,
                payload,
            };
            (encode_signal(&signal, NOW), payload)
        }
        Ok(Said::Broadcast { data, .. }) => {
            let publication = DeliveredPublication {
                network: &network,
                from: &from,
                kind: SignalKind(4),
                payload: data,
                members: 7,
            };
            (encode_publication(&publication, NOW), data)
        }
        _ => return,
    };
    let told = told.expect("what was read can be written");
    let middle = format!(":{payload},\"timestamp\":{NOW}}}");
    assert!(told.ends_with(&middle), "{told}");
    assert!(told.contains("\"from\":\"somebody\""), "{told}");
    assert!(serde_json::from_str::<&serde_json::value::RawValue>(&told).is_ok());
}
