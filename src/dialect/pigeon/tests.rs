#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics has failed, and nothing here comes from a peer"
)]

use hubmesh_core::ids::Dialect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Complaint, ECHOED_CHARS};
use super::*;

const NOW: u64 = 1_700_000_000_123;
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn id(text: &str) -> PeerId {
    PeerId::new(text).expect("a peer id")
}

fn value(text: &Utf8Bytes) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

fn told(event: &Event<'_>) -> Value {
    value(&encode("room", event, NOW))
}

fn command_of(text: &str) -> Command<'_> {
    decode(text).expect("it is understood").command
}

#[test]
fn signals_are_read_with_their_data_byte_for_byte() {
    let data = r#"{"sdp" : "v=0\r\n\u00e9é", "n":1.0e3, "a":[ ]}"#;
    for (name, kind) in [
        ("offer", OFFER),
        ("answer", ANSWER),
        ("ice-candidate", ICE_CANDIDATE),
    ] {
        let text = format!(
            r#"{{"type":"{name}","data":{data},"maxPeers":3,"networkName":"room","targetPeerId":"{B}"}}"#
        );
        let expected = Command::Signal {
            target: id(B),
            network: Some("room".into()),
            kind,
            payload: data.into(),
        };
        assert_eq!(command_of(&text), expected);
    }
}

#[test]
fn data_need_not_be_an_object() {
    for data in ["null", "false", "0", r#""text""#, "[1,2]"] {
        let text = format!(r#"{{"type":"offer","data":{data},"targetPeerId":"{B}"}}"#);
        let Command::Signal { payload, .. } = command_of(&text) else {
            panic!("a signal");
        };
        assert_eq!(payload, data);
    }
}

#[test]
fn an_announcement_is_read_without_what_a_hub_says_by_itself() {
    let text =
        r#"{"type":"announce","data":{"peerId":"x","isHub":true,"name":"N"},"networkName":"r"}"#;
    let expected = Command::Announce {
        network: Some("r".into()),
        data: Some(br#"{"name":"N"}"#.as_slice().into()),
        claims_hub: true,
    };
    assert_eq!(command_of(text), expected);
    for bare in [
        r#"{"type":"announce"}"#,
        r#"{"type":"announce","data":null,"networkName":null}"#,
        r#"{"type":"announce","data":{},"networkName":""}"#,
        r#"{"type":"announce","data":{"peerId":"x","isHub":false}}"#,
    ] {
        let expected = Command::Announce {
            network: None,
            data: None,
            claims_hub: false,
        };
        assert_eq!(command_of(bare), expected, "{bare}");
    }
}

#[test]
fn the_other_types_are_told_apart() {
    let of =
        |kind: &str| decode(&format!(r#"{{"type":"{kind}"}}"#)).map(|m| format!("{:?}", m.command));
    assert_eq!(of("ping"), Ok("Ping { network: None }".into()));
    assert_eq!(of("goodbye"), Ok("Goodbye".into()));
    for ignored in ["cleanup", "cleanup-all", "peer-discovered"] {
        assert_eq!(of(ignored), Ok("Ignored".into()));
    }
    let unsupported = r#"Unsupported("connection-rejected")"#;
    assert_eq!(of("connection-rejected"), Ok(unsupported.into()));
    let long = "é".repeat(1000);
    let Ok(Command::Unsupported(kept)) =
        decode(&format!(r#"{{"type":"{long}"}}"#)).map(|m| m.command)
    else {
        panic!("an unsupported type");
    };
    assert_eq!(kept.chars().count(), ECHOED_CHARS);
}

#[test]
fn escapes_in_names_and_fields_mean_what_they_stand_for() {
    let text = r#"{"t\u0079pe":"p\u0069ng","networkName":"a\"b","fromPeerId":"\u0061"}"#;
    let message = decode(text).expect("it is understood");
    let network = Some("a\"b".into());
    assert_eq!(message.command, Command::Ping { network });
    assert_eq!(message.sender.as_deref(), Some("a"));
}

#[test]
fn half_of_a_surrogate_pair_is_text_like_any_other() {
    let text = r#"{"type":"announce","networkName":"a\ud83d","fromPeerId":"x\udca5","\ud83d":1,"data":{"\ud83d":"\udca5","peerId":"\ud83d"}}"#;
    let message = decode(text).expect("it is understood");
    assert_eq!(message.sender.as_deref(), Some("x\u{fffd}"));
    let network = Some("a\u{fffd}".into());
    let shown = bytes::Bytes::from_static("{\"\u{fffd}\":\"\\udca5\"}".as_bytes());
    let announced = Command::Announce {
        network,
        data: Some(shown.clone()),
        claims_hub: false,
    };
    assert_eq!(message.command, announced);
    let event = Event::Discovered {
        peer: &id(A),
        data: Some(&shown),
    };
    let told = encode("room", &event, NOW);
    assert!(
        told.as_str()
            .contains("\"isHub\":false,\"\u{fffd}\":\"\\udca5\"}")
    );
    let text = r#"{"type":"offer","targetPeerId":"b\ud83d","data":"\ud83d"}"#;
    let Command::Signal {
        target, payload, ..
    } = command_of(text)
    else {
        panic!("a signal");
    };
    assert_eq!(target, id("b\u{fffd}"));
    assert_eq!(payload, r#""\ud83d""#);
    let unknown = command_of(r#"{"type":"wave\ud83d"}"#);
    assert_eq!(unknown, Command::Unsupported("wave\u{fffd}".into()));
}

#[test]
fn what_cannot_be_read_is_refused_with_a_reason() {
    let wrong = |field, want| NAMES.wrong(field, want);
    let missing = |field| NAMES.missing(field);
    let long = format!(r#"{{"type":"ping","networkName":"{}"}}"#, "n".repeat(129));
    let deep = format!(
        r#"{{"type":"announce","data":{{"a":{}{}}}}}"#,
        "[".repeat(80),
        "]".repeat(80)
    );
    let too_deep = DecodeError::TooDeep {
        name: "data",
        most: json::MAX_DEPTH,
    };
    let cases = [
        ("{", DecodeError::NotJson { line: 1, column: 1 }),
        (
            r#"{"type":"ping"} x"#,
            DecodeError::NotJson {
                line: 1,
                column: 17,
            },
        ),
        ("[]", DecodeError::NotAnObject),
        ("{}", missing(Field::Type)),
        (r#"{"type":null}"#, missing(Field::Type)),
        (r#"{"type":{}}"#, wrong(Field::Type, "a string")),
        (
            r#"{"type":"ping","type":"ping"}"#,
            DecodeError::Duplicate {
                field: Field::Type,
                name: "type",
            },
        ),
        (r#"{"type":"offer","data":1}"#, missing(Field::Target)),
        (
            r#"{"type":"offer","targetPeerId":"b"}"#,
            missing(Field::Data),
        ),
        (
            r#"{"type":"offer","targetPeerId":"","data":1}"#,
            wrong(Field::Target, "a peer id"),
        ),
        (
            r#"{"type":"offer","targetPeerId":7,"data":1}"#,
            wrong(Field::Target, "a string"),
        ),
        (
            r#"{"type":"announce","data":"x"}"#,
            wrong(Field::Data, "an object"),
        ),
        (
            r#"{"type":"ping","fromPeerId":1}"#,
            wrong(Field::Sender, "a string"),
        ),
        (
            &long,
            wrong(Field::Network, "a string of at most 128 bytes"),
        ),
        (&deep, too_deep),
    ];
    for (text, expected) in cases {
        assert_eq!(decode(text), Err(expected), "{text}");
    }
}

#[test]
fn the_greeting_and_the_pong_come_from_the_hub() {
    assert_eq!(
        told(&Event::Connected { peer: &id(A) }),
        json!({"type":"connected","data":{"peerId":A},"fromPeerId":"system","networkName":"room","timestamp":NOW})
    );
    assert_eq!(
        told(&Event::Pong { peer: &id(A) }),
        json!({"type":"pong","data":{"timestamp":NOW},"fromPeerId":"system","targetPeerId":A,"networkName":"room","timestamp":NOW})
    );
}

#[test]
fn a_peer_is_shown_under_its_true_id_and_never_as_a_hub() {
    let shown =
        |data: Option<&[u8]>| told(&Event::Discovered { peer: &id(A), data })["data"].clone();
    assert_eq!(shown(None), json!({"peerId":A,"isHub":false}));
    let data = shown(Some(br#"{"name":"N","n":[1]}"#));
    assert_eq!(data, json!({"peerId":A,"isHub":false,"name":"N","n":[1]}));
    // The data of another hub is not trusted, and the peer is shown all the same.
    let hostile: [&[u8]; 5] = [
        br#"{"isHub":true}"#,
        br#"{"a":1},"fromPeerId":{"b":2}"#,
        b"\xff",
        b"{}",
        br#"{"a":1}}"#,
    ];
    for data in hostile {
        assert_eq!(shown(Some(data)), json!({"peerId":A,"isHub":false}));
    }
}

#[test]
fn only_one_who_said_goodbye_is_reported_with_one() {
    let notice = |reason| {
        let event = PeerEvent::Left {
            peer: id(A),
            reason,
        };
        let notice = encode_notice("room", &event, NOW);
        notice.messages().map(value).collect::<Vec<_>>()
    };
    let seen = notice(LeaveReason::Goodbye);
    assert_eq!(
        seen,
        [
            json!({"type":"goodbye","data":{"peerId":A,"reason":"goodbye"},"fromPeerId":A,
                   "networkName":"room","timestamp":NOW}),
            json!({"type":"peer-disconnected","data":{"peerId":A,"isHub":false,"reason":"goodbye","timestamp":NOW},
                   "fromPeerId":"system","networkName":"room","timestamp":NOW}),
        ]
    );
    for reason in [
        LeaveReason::Closed,
        LeaveReason::Expelled,
        LeaveReason::Superseded,
        LeaveReason::HubLost,
        LeaveReason::Draining,
    ] {
        let seen = notice(reason);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0]["type"], "peer-disconnected");
        assert_eq!(seen[0]["data"]["reason"], reason.as_str());
    }
}

#[test]
fn a_failed_signal_is_reported_for_people_and_for_programs() {
    let error = told(&Event::Undelivered {
        sender: &id(A),
        repeats_previous: false,
        target: &id(B),
        kind: OFFER,
        why: SignalFailure::NoSuchPeer,
    });
    assert_eq!(error["type"], "error");
    assert_eq!(
        error["error"],
        format!("the offer did not reach {B}: no-such-peer")
    );
    assert_eq!(error["code"], "no-such-peer");
    assert_eq!(error["data"], json!({"peerId":B,"signal":"offer"}));
}

#[test]
fn a_signal_of_a_kind_that_this_dialect_lacks_is_not_written() {
    let network = NetworkKey::new(Dialect::Pigeon, "room").expect("a name");
    let signal = DeliveredSignal {
        network: &network,
        from: &id(A),
        target: &id(B),
        kind: SignalKind(9),
        payload: "{}",
    };
    assert_eq!(encode_signal(&signal, NOW), None);
}

/// The texts that real clients sent, file by file.
fn recorded() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pigeon");
    let files = std::fs::read_dir(folder).expect("the recordings are there");
    let paths = files.map(|file| file.expect("a file").path());
    let recordings = paths.filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
    let lines = recordings.flat_map(|path| {
        let text = std::fs::read_to_string(path).expect("it is text");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let frames = lines.map(|line| serde_json::from_str::<Value>(&line).expect("it is JSON"));
    let sent = frames.filter(|frame| frame["dir"] == "client->server");
    sent.map(|frame| frame["text"].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn everything_that_real_clients_sent_is_understood() {
    let mut seen = std::collections::BTreeMap::new();
    for text in recorded() {
        let frame: Value = serde_json::from_str(&text).expect("it is JSON");
        let kind = frame["type"].as_str().expect("a type").to_owned();
        let message = decode(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
        let understood = match message.command {
            Command::Announce {
                network,
                data,
                claims_hub,
            } => kind == "announce" && network.is_some() && data.is_none() && !claims_hub,
            Command::Signal {
                payload,
                kind: number,
                ..
            } => {
                let data: Value = serde_json::from_str(&payload).expect("it is JSON");
                kind_name(number) == Some(kind.as_str()) && data == frame["data"]
            }
            Command::Goodbye => kind == "goodbye",
            Command::Ignored => kind == "cleanup-all",
            Command::Unsupported(named) => kind == "connection-rejected" && named == kind,
            Command::Ping { .. } | Command::UnknownTarget { .. } => false,
        };
        assert!(understood, "{text}");
        *seen.entry(kind).or_insert(0) += 1;
    }
    let kinds: Vec<_> = seen.keys().map(String::as_str).collect();
    let expected = [
        "announce",
        "answer",
        "cleanup-all",
        "connection-rejected",
        "goodbye",
        "ice-candidate",
        "offer",
    ];
    assert_eq!(kinds, expected, "{seen:?}");
}

#[test]
fn recorded_signals_are_handed_on_byte_for_byte() {
    let mut handed_on = 0;
    for text in recorded() {
        let message = decode(&text).expect("it is understood");
        let Command::Signal {
            target,
            network,
            kind,
            payload,
        } = message.command
        else {
            continue;
        };
        let network = network.expect("real clients name their network");
        let key = NetworkKey::new(Dialect::Pigeon, &network).expect("a name");
        let from = id(A);
        let signal = DeliveredSignal {
            network: &key,
            from: &from,
            target: &target,
            kind,
            payload: &payload,
        };
        let out = encode_signal(&signal, NOW).expect("a kind of this dialect");
        assert!(text.contains(&format!(r#""data":{payload},"#)));
        assert!(out.contains(&format!(r#""data":{payload},"#)));
        assert_eq!(value(&out)["networkName"], *network);
        handed_on += 1;
    }
    assert!(handed_on > 20, "{handed_on} signals");
}

/// Any JSON value, as text with odd spacing.
fn payload() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<f64>()
            .prop_filter("JSON has no others", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        any::<String>().prop_map(|s| json!(s).to_string()),
    ];
    leaf.prop_recursive(5, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::vec((any::<String>(), inner), 0..5).prop_map(|items| {
                let members = items.iter().map(|(k, v)| format!("{} : {v}", json!(k)));
                format!("{{{}\n}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

fn name_text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("names have 1 to 128 bytes", |s| {
        (1..=128).contains(&s.len())
    })
}

proptest! {
    #[test]
    fn reading_never_panics_on_any_text(text in any::<String>()) {
        let _ = decode(&text);
    }

    #[test]
    fn reading_never_panics_on_any_object(
        kind in prop::sample::select(vec!["offer", "announce", "ping", "goodbye", "cleanup", "x"]),
        data in payload(),
        target in payload(),
        network in payload(),
    ) {
        let text = format!(
            r#"{{"type":"{kind}","data":{data},"targetPeerId":{target},"networkName":{network}}}"#
        );
        let _ = decode(&text);
    }

    #[test]
    fn bytes_from_another_hub_never_break_a_message(bytes in any::<Vec<u8>>()) {
        let shown = told(&Event::Discovered { peer: &id(A), data: Some(&bytes) });
        prop_assert_eq!(&shown["data"]["peerId"], A);
        prop_assert_eq!(&shown["data"]["isHub"], false);
        let _ = json::one_value(&bytes, json::MAX_DEPTH);
    }

    #[test]
    fn a_signal_goes_through_the_hub_as_it_was(
        data in payload(),
        from in name_text(),
        target in name_text(),
        network in name_text(),
    ) {
        let sent = format!(
            r#"{{"type":"answer","data":{data},"networkName":{},"targetPeerId":{}}}"#,
            json!(network), json!(target)
        );
        let Command::Signal { target: to, network: named, kind, payload } = command_of(&sent) else {
            panic!("a signal");
        };
        prop_assert_eq!(payload.as_ref(), data.as_str());
        prop_assert_eq!(named.as_deref(), Some(network.as_str()));
        let key = NetworkKey::new(Dialect::Pigeon, &network).expect("a name");
        let from_id = id(&from);
        let signal = DeliveredSignal { network: &key, from: &from_id, target: &to, kind, payload: &payload };
        let text = encode_signal(&signal, NOW).expect("a kind of this dialect");
        let embedded = format!(r#""data":{data},"fromPeerId""#);
        prop_assert!(text.contains(&embedded));
        let seen = value(&text);
        prop_assert_eq!(&seen["type"], "answer");
        prop_assert_eq!(&seen["fromPeerId"], &from);
        prop_assert_eq!(&seen["targetPeerId"], &target);
        prop_assert_eq!(&seen["networkName"], &network);
        prop_assert_eq!(&seen["timestamp"], NOW);
    }

    #[test]
    fn hostile_names_and_texts_stay_inside_their_strings(peer in name_text(), network in name_text(), text in any::<String>()) {
        let peer = id(&peer);
        let shown = peer.to_string();
        let left = PeerEvent::Left { peer: peer.clone(), reason: LeaveReason::Goodbye };
        for message in encode_notice(&network, &left, NOW).messages() {
            prop_assert_eq!(&value(message)["data"]["peerId"], &shown);
        }
        let complaint = Complaint { code: "code", text: text.clone().into() };
        let error = value(&encode(&network, &Event::Error(complaint), NOW));
        prop_assert_eq!(&error["error"], &text);
        prop_assert_eq!(&error["networkName"], &network);
        let why = SignalFailure::Unknown;
        let undelivered =
            Event::Undelivered { sender: &peer, target: &peer, kind: OFFER, why, repeats_previous: false };
        prop_assert_eq!(&value(&encode(&network, &undelivered, NOW))["data"]["peerId"], &shown);
    }
}
