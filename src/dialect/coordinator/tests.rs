//! The commands that a client's text is decoded to, and the texts that are written in answer.

use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn client() -> Coordinator {
    Coordinator::new(&Beginning {
        dialect: Dialect::Coordinator,
        peer: None,
        fresh: None,
        network: None,
        needs_token: false,
        max_announce_bytes: 64,
        max_room_bytes: 64,
    })
}

fn heard<'a>(client: &mut Coordinator, text: &'a str) -> Vec<Action<'a>> {
    let mut actions = Actions::new(|| NOW);
    client.hear(text, &mut actions);
    actions.into_iter().collect()
}

fn told(client: &mut Coordinator, event: &HubEvent<'_>) -> Vec<Action<'static>> {
    let mut actions = Actions::new(|| NOW);
    client.tell(event, &mut actions);
    actions.into_iter().map(Action::into_owned).collect()
}

fn id(name: &str) -> PeerId {
    PeerId::new(name).expect("an id")
}

fn room(name: &str) -> NetworkKey {
    key(name).expect("a room")
}

fn all() -> NetworkKey {
    NetworkKey::new(Dialect::Coordinator, REGISTERED).expect("a network")
}

fn words(actions: &[Action<'_>]) -> Value {
    let text = match actions {
        [
            Action::Reply { text, .. }
            | Action::Complain {
                text: Some(text), ..
            },
            ..,
        ] => text,
        other => panic!("no words: {other:?}"),
    };
    serde_json::from_str(text).expect("it is JSON")
}

/// A client that is registered as `ada`, with this metadata.
fn ada(metadata: &str) -> Coordinator {
    let mut ada = client();
    let said = format!(r#"{{"type":"register","peerId":"ada","metadata":{metadata}}}"#);
    heard(&mut ada, &said);
    let network = &all();
    let told = words(&told(&mut ada, &HubEvent::Joined { network }));
    let expected = json!({"type": "registered", "peerId": "ada", "timestamp": NOW});
    assert_eq!(told, expected);
    ada
}

#[test]
fn everything_that_the_published_flow_says_is_understood() {
    let recording = include_str!("../../../tests/fixtures/coordinator/flow.jsonl");
    let mut heard = Vec::new();
    for line in recording.lines() {
        let step: Value = serde_json::from_str(line).expect("it is JSON");
        let text = step["text"].as_str().unwrap_or_default();
        if step["dir"] != "client->server" {
            continue;
        }
        let said = decode(text);
        let sent: Value = serde_json::from_str(text).unwrap_or_default();
        if let Ok(Said::Signal { payload, .. } | Said::Broadcast { data: payload, .. }) = said {
            assert!(text.contains(payload), "byte for byte: {text}");
        }
        heard.push((
            sent["type"].as_str().unwrap_or_default().to_owned(),
            said.is_ok(),
        ));
    }
    heard.retain(|(_, is_read)| *is_read);
    heard.sort_unstable();
    heard.dedup();
    let types: Vec<&str> = heard.iter().map(|(kind, _)| kind.as_str()).collect();
    let all = [
        "answer",
        "broadcast",
        "ice-candidate",
        "join-room",
        "leave-room",
        "mystery",
        "offer",
        "ping",
        "register",
        "signal",
    ];
    assert_eq!(types, all);
}

#[test]
fn whoever_registers_joins_unseen_and_is_told_once_the_mesh_agrees() {
    let mut client = client();
    let actions = heard(&mut client, r#"{"type":"register","peerId":"ada"}"#);
    let proof = Bytes::new();
    let peer = id("ada");
    let network = all();
    let identify = Action::Identify { peer, proof };
    let join = Action::Join {
        network: network.clone(),
        data: None,
        quiet: true,
        leaving: None,
        room: None,
    };
    assert_eq!(actions, [identify, join]);
    let why = Complaint::new("id-taken", "Peer already connected");
    let network = &network;
    let lost = told(&mut client, &HubEvent::Lost { network, why });
    assert_eq!(words(&lost)["code"], "id-taken");
    assert_eq!(lost.len(), 1, "the connection goes on");
    let again = heard(&mut client, r#"{"type":"register","peerId":"eve"}"#);
    assert!(matches!(again.first(), Some(Action::Identify { .. })));
}

#[test]
fn a_registration_that_is_taken_over_ends_the_connection() {
    let mut ada = ada("null");
    let why = Complaint::new("superseded", "Replaced by a newer connection");
    let network = &all();
    let lost = told(&mut ada, &HubEvent::Lost { network, why });
    assert_eq!(lost.last(), Some(&Action::Close));
}

#[test]
fn rooms_are_joined_with_the_metadata_that_was_registered() {
    let mut ada = ada(r#"{"name":"Ada"}"#);
    let said = r#"{"type":"join-room","peerId":"ada","roomId":"r"}"#;
    let join = Action::Join {
        network: room("r"),
        data: Some(Bytes::from_static(br#"{"metadata":{"name":"Ada"}}"#)),
        quiet: false,
        leaving: None,
        room: None,
    };
    assert_eq!(heard(&mut ada, said), [join]);
    let network = &room("r");
    assert_eq!(told(&mut ada, &HubEvent::Joined { network }), []);
    let again = r#"{"type":"register","peerId":"ada","metadata":7}"#;
    let actions = heard(&mut ada, again);
    let data = Some(Bytes::from_static(br#"{"metadata":7}"#));
    let network = room("r");
    assert_eq!(actions.first(), Some(&Action::Update { network, data }));
    let left = heard(
        &mut ada,
        r#"{"type":"leave-room","peerId":"ada","roomId":"r"}"#,
    );
    let [
        Action::Leave { network, .. },
        Action::Reply { about, text, .. },
    ] = left.as_slice()
    else {
        panic!("{left:?}");
    };
    assert_eq!(*about, About::Network(network.clone()));
    assert!(text.starts_with(r#"{"type":"room-left","roomId":"r","timestamp":"#));
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let long = "x".repeat(129);
    let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
    let mut ada = ada("null");
    for (said, code, words_of_it) in [
        ("no JSON", "not-json", "line 1"),
        ("[]", "not-an-object", "object"),
        ("{}", "missing-field", "`type`"),
        (r#"{"type":null}"#, "missing-field", "`type`"),
        (r#"{"type":"register"}"#, "missing-field", "peerId"),
        (
            r#"{"type":"register","peerId":""}"#,
            "missing-field",
            "peerId",
        ),
        (r#"{"type":"register","peerId":7}"#, "wrong-type", "peerId"),
        (
            r#"{"type":"register","peerId":"eve"}"#,
            "already-registered",
            "ada",
        ),
        (
            &format!(r#"{{"type":"register","peerId":"{long}"}}"#),
            "bad-peer-id",
            "128",
        ),
        (
            &format!(r#"{{"type":"register","peerId":"ada","metadata":"{long}"}}"#),
            "announce-too-long",
            "51 bytes",
        ),
        (r#"{"type":"join-room"}"#, "missing-field", "peerId, roomId"),
        (
            r#"{"type":"join-room","peerId":"eve","roomId":"r"}"#,
            "forged-sender",
            "`peerId`",
        ),
        (
            &format!(r#"{{"type":"join-room","peerId":"ada","roomId":"{long}"}}"#),
            "bad-room",
            "128",
        ),
        (
            r#"{"type":"join-room","peerId":"ada","roomId":"\u0000registered"}"#,
            "bad-room",
            "roomId",
        ),
        (
            r#"{"type":"offer","to":"bob"}"#,
            "missing-field",
            "from, offer",
        ),
        (
            r#"{"type":"answer","from":"ada","to":"bob","answer":null}"#,
            "missing-field",
            "answer",
        ),
        (
            r#"{"type":"ice-candidate","from":"eve","to":"bob","candidate":{}}"#,
            "forged-sender",
            "`from`",
        ),
        (
            r#"{"type":"signal","from":"ada","to":["bob"],"signal":1}"#,
            "wrong-type",
            "`to`",
        ),
        (
            &format!(r#"{{"type":"signal","from":"ada","to":"bob","signal":{deep}}}"#),
            "too-deep",
            "`signal`",
        ),
        (
            r#"{"type":"broadcast","from":"ada","data":1}"#,
            "missing-field",
            "roomId",
        ),
    ] {
        let complaint = words(&heard(&mut ada, said));
        assert_eq!(complaint["code"], code, "{said}");
        assert_eq!(complaint["error"], complaint["message"]);
        let text = complaint["message"].as_str().expect("words");
        assert!(text.contains(words_of_it), "{said}: {text}");
    }
    let unknown = words(&heard(&mut ada, r#"{"type":"dance"}"#));
    assert_eq!(unknown["originalType"], "dance");
    let mut stranger = client();
    for said in [
        r#"{"type":"join-room","peerId":"ada","roomId":"r"}"#,
        r#"{"type":"offer","from":"ada","to":"bob","offer":{}}"#,
        r#"{"type":"broadcast","from":"ada","roomId":"r","data":1}"#,
    ] {
        let complaint = words(&heard(&mut stranger, said));
        assert_eq!(complaint["code"], "not-registered", "{said}");
    }
    let pong = words(&heard(&mut stranger, r#"{"type":"ping"}"#));
    assert_eq!(pong, json!({"type": "pong", "timestamp": NOW}));
}

#[test]
fn a_signal_goes_by_registration_and_a_broadcast_by_room() {
    let mut ada = ada("null");
    let said = r#"{"type":"offer","from":"ada","to":"bob","offer":{ "sdp":"v=0" }}"#;
    let signal = Action::Signal {
        about: About::Network(all()),
        target: id("bob"),
        kind: OFFER,
        payload: r#"{ "sdp":"v=0" }"#.into(),
    };
    assert_eq!(heard(&mut ada, said), [signal]);
    let said = r#"{"type":"broadcast","from":"ada","roomId":"r","data":[1]}"#;
    let publish = Action::Publish {
        network: room("r"),
        kind: BROADCAST,
        payload: "[1]".into(),
        echo: false,
    };
    assert_eq!(heard(&mut ada, said), [publish]);
    let far = format!(
        r#"{{"type":"signal","from":"ada","to":"{}","signal":1}}"#,
        "é".repeat(70)
    );
    let nowhere = heard(&mut ada, &far);
    assert!(matches!(nowhere.as_slice(), [Action::UnknownTarget { .. }]));
    let name = "someone";
    let complaint = words(&told(&mut ada, &HubEvent::UnknownTarget { name }));
    assert_eq!(complaint["error"], "Peer someone not found");
}

#[test]
fn receivers_are_told_as_the_original_server_does() {
    let (network, from, target) = (&room("r"), &id("ada"), &id("bob"));
    let payload = r#"{"sdp":"v=0"}"#;
    for (kind, expected) in [
        (OFFER, json!({"type": "offer", "offer": {"sdp": "v=0"}})),
        (ANSWER, json!({"type": "answer", "answer": {"sdp": "v=0"}})),
        (
            CANDIDATE,
            json!({"type": "ice-candidate", "candidate": {"sdp": "v=0"}}),
        ),
        (SIGNAL, json!({"type": "signal", "signal": {"sdp": "v=0"}})),
    ] {
        let signal = DeliveredSignal {
            network,
            from,
            target,
            kind,
            payload,
        };
        let told = encode_signal(&signal, NOW).expect("it is told");
        let mut expected = expected;
        expected["from"] = json!("ada");
        expected["timestamp"] = json!(NOW);
        assert_eq!(
            serde_json::from_str::<Value>(&told).expect("JSON"),
            expected
        );
        assert!(sent(kind).is_some());
    }
    let kind = BROADCAST;
    let members = 2;
    let publication = DeliveredPublication {
        network,
        from,
        kind,
        payload,
        members,
    };
    let told = encode_publication(&publication, NOW).expect("it is told");
    let expected = r#"{"type":"broadcast","from":"ada","roomId":"r","data":{"sdp":"v=0"},"timestamp":1700000000000}"#;
    assert_eq!(told, expected);
    let signal = DeliveredSignal {
        network,
        from,
        target,
        kind,
        payload,
    };
    assert_eq!(encode_signal(&signal, NOW), None);
    assert_eq!(sent(kind), None);
}

#[test]
fn a_room_hears_of_its_peers_and_metadata_that_is_not_fit_is_left_out() {
    let others = [
        (
            id("ada"),
            Some(Bytes::from_static(br#"{"metadata":{"n":1}}"#)),
        ),
        (id("bob"), None),
        (
            id("eve"),
            Some(Bytes::from_static(br#"{"metadata":1,"type":"x"}"#)),
        ),
        (id("mal"), Some(Bytes::from_static(b"{\"metadata\":\xff}"))),
    ];
    let network = &room("r");
    let roster = Roster {
        network,
        peer: &id("cy"),
        others: &others,
        room: None,
        is_new: false,
    };
    let told: Value = serde_json::from_str(&encode_roster(&roster, NOW)).expect("JSON");
    let expected = json!({
        "type": "room-joined",
        "roomId": "r",
        "peers": [
            {"peerId": "ada", "metadata": {"n": 1}},
            {"peerId": "bob", "metadata": {}},
            {"peerId": "eve", "metadata": {}},
            {"peerId": "mal", "metadata": {}},
        ],
        "timestamp": NOW,
    });
    assert_eq!(told, expected);
    let [(peer, data), ..] = others;
    let joined = PeerEvent::Joined {
        peer: peer.clone(),
        data: data.clone(),
    };
    let told: Vec<String> = encode_notice(&joined, NOW)
        .messages()
        .map(ToString::to_string)
        .collect();
    let expected =
        r#"{"type":"peer-joined","peerId":"ada","metadata":{"n":1},"timestamp":1700000000000}"#;
    assert_eq!(told, [expected]);
    let updated = PeerEvent::Updated {
        peer: peer.clone(),
        data,
    };
    assert_eq!(encode_notice(&updated, NOW), Notice::NONE);
    let reason = hubmesh_core::ids::LeaveReason::Closed;
    let left = encode_notice(&PeerEvent::Left { peer, reason }, NOW);
    let told = left.messages().next().expect("it is told");
    let expected = r#"{"type":"peer-left","peerId":"ada","timestamp":1700000000000}"#;
    assert_eq!(*told, expected);
}
