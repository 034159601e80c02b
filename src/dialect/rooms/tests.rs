//! The commands that a client's text is decoded to, and the texts that are written in answer.

use hubmesh_core::api::RoomRecord;
use hubmesh_core::ids::{ClaimNo, Hlc, HubId, LeaveReason};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn client() -> RoomsProtocol {
    RoomsProtocol::new(&Beginning {
        dialect: Dialect::Rooms,
        peer: None,
        fresh: None,
        network: None,
        needs_token: false,
        max_announce_bytes: 64,
        max_room_bytes: 100,
    })
}

fn heard<'a>(client: &mut RoomsProtocol, text: &'a str) -> Vec<Action<'a>> {
    let mut actions = Actions::new(|| NOW);
    client.hear(text, &mut actions);
    actions.into_iter().collect()
}

fn words(actions: &[Action<'_>]) -> Value {
    let text = actions.iter().find_map(|action| match action {
        Action::Reply { text, .. }
        | Action::Complain {
            text: Some(text), ..
        } => Some(text),
        _ => None,
    });
    serde_json::from_str(text.expect("words")).expect("it is JSON")
}

fn ada() -> RoomsProtocol {
    let mut ada = client();
    let actions = heard(&mut ada, r#"{"type":"auth","roomId":"r","userId":"ada"}"#);
    assert!(matches!(actions.first(), Some(Action::Identify { .. })));
    let told = words(&actions);
    let expected = json!({"type": "auth", "roomId": "r", "userId": "ada", "data": {"status": "authenticated"}, "timestamp": NOW});
    assert_eq!(told, expected);
    ada
}

fn id(name: &str) -> PeerId {
    PeerId::new(name).expect("an id")
}

fn member(name: &str, at: u64) -> RoomClaim {
    RoomClaim {
        hub: HubId([1; 20]),
        claim: ClaimNo(at),
        hlc: Hlc::from_wall(at),
        peer: id(name),
        data: Some(Bytes::from(format!(r#"{{"userName":"{name}!"}}"#))),
    }
}

fn room() -> Room {
    Room {
        record: RoomRecord {
            created: Hlc::from_wall(5),
            by: HubId([1; 20]),
            creator: "ada".to_owned(),
            left_ms: 7,
            about: br#"{"roomName":"Notes","fileId":"f1","version":3}"#.to_vec(),
        },
        members: vec![member("ada", 5), member("bob", 6)],
    }
}

#[test]
fn everything_that_the_published_flow_says_is_understood() {
    let recording = include_str!("../../../tests/fixtures/rooms/flow.jsonl");
    let mut types = Vec::new();
    for line in recording.lines() {
        let step: Value = serde_json::from_str(line).expect("it is JSON");
        if step["dir"] != "client->server" {
            continue;
        }
        let text = step["text"].as_str().expect("a text");
        let sent: Value = serde_json::from_str(text).expect("it is JSON");
        let message = decode(text).expect("it is read");
        if let Said::Relay { data, .. } = message.said {
            assert!(text.contains(data), "byte for byte: {text}");
        }
        types.push(sent["type"].as_str().expect("a type").to_owned());
    }
    types.sort_unstable();
    types.dedup();
    let all = [
        "auth",
        "create-room",
        "cursor-update",
        "heartbeat",
        "ice-candidate",
        "join-room",
        "leave-room",
        "operation",
        "presence",
        "sdp-answer",
        "sdp-offer",
    ];
    assert_eq!(types, all);
}

#[test]
fn a_room_is_created_with_what_is_said_of_it_and_entered_with_a_name() {
    let mut ada = ada();
    let said = r#"{"type":"create-room","roomId":"r","userId":"ada","data":{"roomName":"Notes","userName":"Ada","fileId":"f1","version":3,"other":1}}"#;
    let join = Action::Join {
        network: key("r").expect("a room"),
        data: Some(Bytes::from_static(br#"{"userName":"Ada"}"#)),
        quiet: false,
        leaving: None,
        room: Some(RoomAsk::Create(Bytes::from_static(
            br#"{"roomName":"Notes","fileId":"f1","version":3}"#,
        ))),
    };
    assert_eq!(heard(&mut ada, said), [join]);
    let join = Action::Join {
        network: key("r").expect("a room"),
        data: Some(Bytes::from_static(br#"{"userName":"ada"}"#)),
        quiet: false,
        leaving: None,
        room: Some(RoomAsk::Enter),
    };
    assert_eq!(heard(&mut ada, r#"{"type":"join-room"}"#), [join]);
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let mut stranger = client();
    let early = words(&heard(
        &mut stranger,
        r#"{"type":"join-room","roomId":"r"}"#,
    ));
    assert_eq!(early["data"]["error"], "Not authenticated");
    let long = "x".repeat(129);
    let mut ada = ada();
    for (said, code) in [
        ("no JSON", "not-json"),
        ("[]", "not-an-object"),
        ("{}", "missing-field"),
        (r#"{"type":"auth","userId":"ada"}"#, "missing-field"),
        (r#"{"type":"auth","roomId":"r","userId":7}"#, "wrong-type"),
        (
            r#"{"type":"auth","roomId":"r","userId":"eve"}"#,
            "already-authenticated",
        ),
        (
            r#"{"type":"auth","roomId":"r","userId":"\u0000room"}"#,
            "bad-user",
        ),
        (
            &format!(r#"{{"type":"join-room","roomId":"{long}"}}"#),
            "bad-room",
        ),
        (r#"{"type":"join-room","userId":"eve"}"#, "forged-sender"),
        (r#"{"type":"join-room","data":7}"#, "wrong-type"),
        (
            r#"{"type":"join-room","data":{"userName":7}}"#,
            "wrong-type",
        ),
        (
            &format!(r#"{{"type":"join-room","data":{{"userName":"{long}"}}}}"#),
            "announce-too-long",
        ),
        (
            &format!(r#"{{"type":"create-room","data":{{"content":"{long}"}}}}"#),
            "room-too-long",
        ),
        (r#"{"type":"sdp-offer"}"#, "missing-field"),
        (r#"{"type":"operation","data":{}}"#, "not-relayed"),
        (r#"{"type":"dance"}"#, "unsupported-type"),
        (r#"{"type":{}}"#, "unsupported-type"),
    ] {
        let told = words(&heard(&mut ada, said));
        assert_eq!(
            (&told["type"], &told["data"]["code"]),
            (&json!("error"), &json!(code)),
            "{said}"
        );
    }
}

#[test]
fn offers_go_to_the_one_that_they_name_or_to_all_others() {
    let mut ada = ada();
    let network = key("r").expect("a room");
    let said = r#"{"type":"sdp-offer","targetUserId":"bob","data":{ "sdp":1 }}"#;
    let signal = Action::Signal {
        about: About::Network(network.clone()),
        target: id("bob"),
        kind: SignalKind(0),
        payload: r#"{ "sdp":1 }"#.into(),
    };
    assert_eq!(heard(&mut ada, said), [signal]);
    let publish = Action::Publish {
        network,
        kind: SignalKind(4),
        payload: "[3]".into(),
        echo: false,
    };
    let said = r#"{"type":"cursor-update","data":[3]}"#;
    assert_eq!(heard(&mut ada, said), [publish]);
    let nobody = r#"{"type":"sdp-answer","targetUserId":"\u0000room","data":1}"#;
    assert!(matches!(
        heard(&mut ada, nobody).as_slice(),
        [Action::UnknownTarget { .. }]
    ));
    let told = relayed(SignalKind(2), ("r", &id("ada")), "{}", NOW).expect("it is told");
    let expected = r#"{"type":"ice-candidate","roomId":"r","userId":"ada","data":{"candidate":{}},"timestamp":1700000000000}"#;
    assert_eq!(told, expected);
    assert_eq!(relayed(SignalKind(5), ("r", &id("ada")), "{}", NOW), None);
}

#[test]
fn a_room_is_described_with_its_host_and_members() {
    let (room, network) = (room(), key("r").expect("a room"));
    let bob = id("bob");
    let roster = |is_new| Roster {
        network: &network,
        peer: &bob,
        others: &[],
        room: Some(&room),
        is_new,
    };
    let told = encode_roster(&roster(false), NOW).expect("it is told");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let member = |name: &str, is_host: bool, at: u64| json!({"userId": name, "userName": format!("{name}!"), "isHost": is_host, "connectedAt": at, "lastHeartbeat": NOW});
    let expected = json!({
        "roomId": "r", "roomName": "Notes", "fileId": "f1", "version": 3,
        "hostId": "ada", "hostName": "ada!", "peerCount": 2, "state": "active",
        "createdAt": 5, "lastActivity": NOW,
        "peers": [member("ada", true, 5), member("bob", false, 6)],
    });
    assert_eq!(told["data"]["room"], expected);
    assert_eq!(
        (&told["type"], &told["userId"]),
        (&json!("room-joined"), &json!("bob"))
    );
    let told = encode_roster(&roster(true), NOW).expect("it is told");
    assert!(told.starts_with(r#"{"type":"room-created""#));
}

#[test]
fn what_another_hub_says_of_a_room_breaks_out_of_no_message() {
    for about in [
        &b"\xff"[..],
        b"",
        b"{}",
        b"1",
        br#"{"hostId":"eve"}"#,
        br#"{"a":1},{"#,
    ] {
        let mut room = room();
        room.record.about = about.to_vec();
        room.members[0].data = Some(Bytes::from_static(br#"{"userName":1},"x":{"y":2}"#));
        let told = describe("r", &room, "active", NOW);
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(
            (&told["hostId"], &told["hostName"]),
            (&json!("ada"), &json!("ada"))
        );
        assert_eq!(told["roomName"], "r");
    }
}

#[test]
fn members_hear_of_each_other_and_of_a_new_host() {
    let (peer, data) = (
        id("bob"),
        Some(Bytes::from_static(br#"{"userName":"Bob"}"#)),
    );
    let told = |event: &PeerEvent| -> Vec<Value> {
        let notice = encode_notice("r", event, NOW);
        let texts = notice.messages();
        texts
            .map(|text| serde_json::from_str(text).expect("JSON"))
            .collect()
    };
    let joined = PeerEvent::Joined {
        peer: peer.clone(),
        data: data.clone(),
    };
    assert_eq!(
        told(&joined)[0]["data"],
        json!({"peer": {"userId": "bob", "userName": "Bob"}})
    );
    let hosts = PeerEvent::Hosts {
        peer: peer.clone(),
        data,
    };
    assert_eq!(told(&hosts)[0]["type"], "host-changed");
    assert_eq!(
        told(&hosts)[0]["data"],
        json!({"hostId": "bob", "hostName": "Bob"})
    );
    let reason = LeaveReason::Closed;
    let left = PeerEvent::Left { peer, reason };
    assert_eq!(told(&left)[0]["data"], json!({"userId": "bob"}));
}
