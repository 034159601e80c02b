//! The dialect of rooms: the text of a client, the messages that its receivers get because of it, and the data that
//! other hubs send about a room.

use bytes::Bytes;
use hubmesh::dialect::rooms::{
    Said, decode, describe, encode_publication, encode_signal, user_name,
};
use hubmesh::dialect::{DeliveredPublication, DeliveredSignal};
use hubmesh_core::api::{Room, RoomClaim, RoomRecord};
use hubmesh_core::ids::{ClaimNo, Dialect, Hlc, HubId, NetworkKey, PeerId};
use serde_json::Value;
use serde_json::value::RawValue;

const NOW: u64 = 1_700_000_000_000;

/// Reads a client's message. The message that the hub passes on is JSON and holds the payload byte for byte. Any record
/// of a room and any data of a member from another hub are described as JSON, with the number of members that the room
/// has.
pub fn rooms(input: &[u8]) {
    another_hub_says(input);
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(message) = decode(input) else {
        return;
    };
    let Said::Relay { kind, data, .. } = message.said else {
        return;
    };
    let network = NetworkKey::new(Dialect::Rooms, "any").expect("a network");
    let from = PeerId::new("somebody").expect("a peer id");
    let signal = DeliveredSignal {
        network: &network,
        from: &from,
        target: &from,
        kind,
        payload: data,
    };
    let publication = DeliveredPublication {
        network: &network,
        from: &from,
        kind,
        payload: data,
        members: 2,
    };
    let told = encode_signal(&signal, NOW).expect("what was read can be written");
    assert_eq!(Some(&told), encode_publication(&publication, NOW).as_ref());
    assert!(told.contains(&format!(":{data}")), "{told}");
    assert!(told.contains("\"userId\":\"somebody\""), "{told}");
    assert!(serde_json::from_str::<&RawValue>(&told).is_ok());
}

fn another_hub_says(input: &[u8]) {
    let peer = PeerId::new("somebody").expect("a peer id");
    let name = user_name(&peer, Some(input));
    assert!(name.starts_with('"') && serde_json::from_str::<&RawValue>(&name).is_ok());
    let record = RoomRecord::read(input).unwrap_or(RoomRecord {
        created: Hlc(0),
        by: HubId([0; 20]),
        creator: String::new(),
        left_ms: 0,
        about: input.to_vec(),
    });
    let member = |no: u64, id: &str, data: Option<&[u8]>| RoomClaim {
        hub: HubId([0; 20]),
        claim: ClaimNo(no),
        hlc: Hlc(no),
        peer: PeerId::new(id).expect("a peer id"),
        data: data.map(Bytes::copy_from_slice),
    };
    // The first is the host, with whatever its hub says of it.
    let all = [member(1, "somebody", Some(input)), member(2, "else", None)];
    for (count, state) in [(0, "idle"), (1, "active"), (2, "active")] {
        let room = Room {
            record: record.clone(),
            members: all[..count].to_vec(),
        };
        let told = describe("any", &room, state, NOW);
        // The hub passes on strings with halves of surrogate pairs as they are. Only the check as raw JSON accepts those.
        assert!(serde_json::from_str::<&RawValue>(&told).is_ok(), "{told}");
        if let Ok(told) = serde_json::from_str::<Value>(&told) {
            assert_eq!(told["state"], state);
            assert_eq!(told["peerCount"], count);
            assert_eq!(told["peers"].as_array().map(Vec::len), Some(count));
            if count > 0 {
                assert_eq!(told["hostId"], "somebody");
                assert_eq!(told["peers"][0]["isHost"], true);
            }
        }
    }
}
