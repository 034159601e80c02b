#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics has failed, and nothing here comes from a peer"
)]

use hubmesh_core::ids::NetworkKey;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const REALM: Dialect = Dialect::PeerJs;
const ROOMS: Dialect = Dialect::PeerJsRoomMode;

fn id(text: &str) -> PeerId {
    PeerId::new(text).expect("an id")
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// The text that the receiver gets for a text of this sender.
fn relayed(from: &str, text: &str) -> Option<Utf8Bytes> {
    let message = decode(REALM, text).expect("it is understood");
    let Command::Signal {
        target,
        kind,
        payload,
        ..
    } = message.command
    else {
        panic!("a signal");
    };
    let signal = DeliveredSignal {
        network: &NetworkKey::new(REALM, "peerjs").expect("a realm"),
        from: &id(from),
        target: &target,
        kind,
        payload: &payload,
    };
    encode_signal(&signal)
}

fn told(dialect: Dialect, event: &Event<'_>) -> Option<Value> {
    encode(dialect, event).map(|text| value(&text))
}

#[test]
fn what_a_client_sends_arrives_with_its_true_sender() {
    let text = r#"{"type":"OFFER","payload":{"sdp":{"type":"offer"},"n":1e400},"dst":"bob"}"#;
    let arrived = relayed("ada", text).expect("a signal of this dialect");
    let expected =
        r#"{"type":"OFFER","src":"ada","dst":"bob","payload":{"sdp":{"type":"offer"},"n":1e400}}"#;
    assert_eq!(arrived.as_str(), expected);
    let forged = r#"{"type":"ANSWER","src":"eve","payload":1,"dst":"bob"}"#;
    let arrived = value(&relayed("ada", forged).expect("a signal"));
    assert_eq!(arrived["src"], "ada");
}

#[test]
fn a_payload_is_borrowed_and_anything_else_goes_along() {
    let usual = decode(REALM, r#"{"type":"CANDIDATE","payload":[ 1 ],"dst":"b"}"#);
    let Ok(Command::Signal { kind, payload, .. }) = usual.map(|message| message.command) else {
        panic!("a signal");
    };
    assert_eq!(kind, CANDIDATE);
    assert!(matches!(payload, Cow::Borrowed("[ 1 ]")));
    let more = r#"{"x":{"a": 1},"type":"CANDIDATE","payload":2,"dst":"b","src":"c","x":3}"#;
    let arrived = relayed("a", more).expect("a signal");
    let expected = r#"{"type":"CANDIDATE","src":"a","dst":"b","x":{"a": 1},"payload":2,"x":3}"#;
    assert_eq!(arrived.as_str(), expected);
    let bare = relayed("a", r#"{"type":"LEAVE","dst":"b"}"#).expect("a signal");
    assert_eq!(bare.as_str(), r#"{"type":"LEAVE","src":"a","dst":"b"}"#);
}

#[test]
fn what_another_hub_sends_cannot_break_out_of_its_message() {
    let network = NetworkKey::new(REALM, "peerjs").expect("a realm");
    let (from, target) = (id("a"), id("b"));
    let of = |kind: u8, payload| {
        encode_signal(&DeliveredSignal {
            network: &network,
            from: &from,
            target: &target,
            kind: SignalKind(kind),
            payload,
        })
    };
    assert!(of(OFFER.0 | WHOLE, r#"{"payload":1}"#).is_some());
    for hostile in [
        r#"{"src":"eve"}"#,
        r#"{"a":1},"src":"eve""#,
        "[1]",
        "1",
        "",
        "{ }",
    ] {
        assert_eq!(of(OFFER.0 | WHOLE, hostile), None, "{hostile}");
    }
    assert_eq!(of(4, "1"), None);
    assert_eq!(of(WHOLE | 4, "{}"), None);
}

#[test]
fn a_leave_for_nobody_is_a_goodbye_and_no_leave_waits() {
    for text in [
        r#"{"type":"LEAVE"}"#,
        r#"{"type":"LEAVE","dst":null}"#,
        r#"{"type":"LEAVE","dst":""}"#,
    ] {
        let command = decode(REALM, text).expect("it is understood").command;
        assert_eq!(command, Command::Goodbye, "{text}");
    }
    assert!(!may_wait(LEAVE) && !may_wait(SignalKind(LEAVE.0 | WHOLE)));
    assert!(may_wait(OFFER) && may_wait(SignalKind(CANDIDATE.0 | WHOLE)));
}

#[test]
fn no_name_that_an_application_may_give_is_a_mistake_in_a_realm() {
    let of = |dialect, dst: &str| {
        let text = format!(r#"{{"type":"OFFER","payload":1,"dst":{dst}}}"#);
        let decoded = decode(dialect, &text).map(|message| message.command);
        decoded.map(|command| match command {
            Command::Ignored => "ignored".to_owned(),
            Command::Signal { target, .. } => format!("for {target}"),
            Command::UnknownTarget { name, .. } => format!("nowhere, {name}"),
            other => panic!("{other:?}"),
        })
    };
    for nobody in ["null", r#""""#] {
        assert_eq!(of(REALM, nobody), Ok("ignored".into()), "{nobody}");
        assert!(of(ROOMS, nobody).is_err(), "{nobody}");
    }
    assert_eq!(of(REALM, "1234"), Ok("for 1234".into()));
    assert_eq!(of(REALM, "[1]"), Ok("nowhere, [1]".into()));
    let long = format!("\"{}\"", "é".repeat(200));
    let start = format!("nowhere, {}", "é".repeat(64));
    assert_eq!(of(REALM, &long), Ok(start));
    assert!(of(ROOMS, &long).is_err());
    let (sender, name) = (&id("ada"), "a \"name\"");
    let expire = told(REALM, &Event::UnknownTarget { sender, name }).expect("it is told");
    assert_eq!(
        expire,
        serde_json::json!({"type": "EXPIRE", "src": name, "dst": "ada"})
    );
    let leave = format!(r#"{{"type":"LEAVE","dst":{long}}}"#);
    let command = decode(REALM, &leave).expect("understood").command;
    assert_eq!(command, Command::Ignored);
}

#[test]
fn heartbeats_have_no_effect_and_unknown_types_are_named_in_rooms() {
    for text in [r#"{"type":"HEARTBEAT"}"#, r#"{"type":"EXPIRE","dst":"b"}"#] {
        let command = decode(REALM, text).expect("it is understood").command;
        assert_eq!(command, Command::Ignored);
    }
    let command = |dialect| {
        decode(dialect, r#"{"type":"OPEN"}"#)
            .expect("it is JSON")
            .command
    };
    assert_eq!(command(REALM), Command::Ignored);
    assert_eq!(command(ROOMS), Command::Unsupported("OPEN".into()));
}

#[test]
fn only_a_room_takes_offence_at_a_forged_sender() {
    let text = r#"{"type":"OFFER","src":"eve","payload":1,"dst":"b"}"#;
    assert_eq!(decode(REALM, text).expect("understood").sender, None);
    let sender = decode(ROOMS, text).expect("understood").sender;
    assert_eq!(sender.as_deref(), Some("eve"));
}

#[test]
fn what_cannot_be_read_is_a_mistake_in_rooms_alone() {
    let cases = [
        ("[]", DecodeError::NotAnObject),
        ("7", DecodeError::NotAnObject),
        ("null", DecodeError::NotAnObject),
        ("\"OFFER\"", DecodeError::NotAnObject),
        ("{}", NAMES.missing(Field::Type)),
        (r#"{"dst":"b"}"#, NAMES.missing(Field::Type)),
        ("", DecodeError::NotJson { line: 1, column: 0 }),
        ("{", DecodeError::NotJson { line: 1, column: 1 }),
        ("{}{", DecodeError::NotJson { line: 1, column: 3 }),
    ];
    for (text, why) in cases {
        let command = decode(REALM, text).map(|message| message.command);
        assert_eq!(command, Ok(Command::Ignored), "{text}");
        assert_eq!(decode(ROOMS, text), Err(why), "{text}");
    }
}

#[test]
fn a_message_of_which_there_are_the_ends_expires_for_its_target_however_it_is_written() {
    let of = |head: &str, tail: &str| match unread(head.as_bytes(), tail.as_bytes()) {
        ReadPastNotice::Expired { name, kind } => Some((name, kind)),
        _ => None,
    };
    let expired = |name: &str, kind| Some((name.to_owned(), kind));
    let head = r#"{"type":"CANDIDATE","payload":{"dst":"no","a":"x"#;
    for (tail, name) in [
        (r#"x"},"dst":"bob"}"#, "bob"),
        (r#"x"},"dst":"bob\ud83d"}"#, "bob\u{fffd}"),
        (r#"x"},"dst":7}"#, "7"),
        (r#"x"},"dst":[7]}"#, "[7]"),
        (r#"x"},"\u0064st":"bob","more":{"dst":"no"}}"#, "bob"),
    ] {
        assert_eq!(of(head, tail), expired(name, CANDIDATE), "{tail}");
    }
    let open = r#"{"payload":"xxx"#;
    for (head, tail, name, kind) in [
        (
            r#"{"type":"ANSWER","dst":"b\ud83d","x":"#,
            "",
            "b\u{fffd}",
            ANSWER,
        ),
        (
            "\u{feff}{\"type\":\"ANSWER\",\"dst\":7,\"x\":",
            "",
            "7",
            ANSWER,
        ),
        (open, r#"x","dst":"bob","type":"ANSWER"}"#, "bob", ANSWER),
        (
            r#"{"dst":"bob","x":"#,
            r#"x","type":"ANSWER"}"#,
            "bob",
            ANSWER,
        ),
        // Its kind is anywhere: most that is so long calls somebody.
        (open, r#"x","dst":"bob"}"#, "bob", OFFER),
    ] {
        assert_eq!(of(head, tail), expired(name, kind), "{head} {tail}");
    }
    for tail in [
        r#"x","dst":"bob","type":"LEAVE"}"#,
        r#"x","dst":"bob","type":7}"#,
        r#"x","dst":"","type":"OFFER"}"#,
        r#"x","dst":null,"type":"OFFER"}"#,
        r#"x","type":"OFFER"}"#,
        r#"x","y":{"dst":"bob","type":"OFFER"}}"#,
    ] {
        assert_eq!(of(open, tail), None, "{tail}");
    }
}

#[test]
fn a_type_that_is_no_string_is_a_mistake_in_rooms_alone() {
    for kind in ["7", "null", "true", "[\"OFFER\"]", "{\"type\":\"OFFER\"}"] {
        let text = format!(r#"{{"type":{kind},"dst":"b","payload":1}}"#);
        let command = decode(REALM, &text).map(|message| message.command);
        assert_eq!(command, Ok(Command::Ignored), "{kind}");
        assert!(decode(ROOMS, &text).is_err(), "{kind}");
    }
    let half = r#"{"type":"OFFER\ud83d","dst":"b"}"#;
    let command = decode(REALM, half).map(|message| message.command);
    assert_eq!(command, Ok(Command::Ignored));
    let named = Command::Unsupported("OFFER\u{fffd}".into());
    let command = decode(ROOMS, half).map(|message| message.command);
    assert_eq!(command, Ok(named));
}

#[test]
fn of_a_field_that_is_there_twice_the_last_counts() {
    let text =
        r#"{"dst":"b","type":"LEAVE","type":"OFFER","payload":1,"dst":"c","payload":{"x":1}}"#;
    let arrived = relayed("a", text).expect("a signal");
    let expected = r#"{"type":"OFFER","src":"a","dst":"c","payload":{"x":1}}"#;
    assert_eq!(arrived.as_str(), expected);
    let text = r#"{"type":"OFFER","src":"eve","payload":1,"dst":"b","src":"ada"}"#;
    let sender = decode(ROOMS, text).expect("understood").sender;
    assert_eq!(sender.as_deref(), Some("ada"));
}

#[test]
fn half_of_a_surrogate_pair_is_text_like_any_other() {
    let text =
        r#"{"t\u0079pe":"OFFER","\ud83d":"\udca5","dst":"bob\ud83d","payload":{"a":"\ud83d"}}"#;
    let arrived = relayed("ada", text).expect("a signal");
    let expected = concat!(
        r#"{"type":"OFFER","src":"ada","dst":"bob"#,
        "\u{fffd}\",\"\u{fffd}",
        r#"":"\udca5","payload":{"a":"\ud83d"}}"#
    );
    assert_eq!(arrived.as_str(), expected);
    // A client that registers an id and a client that calls it mean the same peer, whatever the spelling.
    for dst in [r"bob\udfff", r"bob\ufffd", "bob\u{fffd}"] {
        let text = format!(r#"{{"type":"OFFER","dst":"{dst}","payload":1}}"#);
        let command = decode(REALM, &text).map(|message| message.command);
        let Ok(Command::Signal { target, .. }) = command else {
            panic!("a signal: {command:?}");
        };
        assert_eq!(target, id("bob\u{fffd}"), "{dst}");
    }
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn what_is_nested_deep_is_handed_on_and_deeper_still_expires() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [65, 200, MAX_DEPTH] {
            let deep = nested(open, close, depth);
            let text = format!(r#"{{"type":"OFFER","dst":"b","payload":{deep}}}"#);
            let arrived = relayed("a", &text).expect("it is handed on");
            assert!(arrived.as_str().contains(&deep), "{depth}");
        }
        for depth in [MAX_DEPTH + 1, 5_000, 100_000] {
            let deep = nested(open, close, depth);
            for field in ["payload", "other"] {
                let of = |kind: &str| format!(r#"{{"type":"{kind}","dst":"b","{field}":{deep}}}"#);
                let (offer, leave) = (of("OFFER"), of("LEAVE"));
                let command = decode(REALM, &offer).map(|message| message.command);
                let Ok(Command::UnknownTarget { name, kind }) = command else {
                    panic!("{depth} in {field}: {command:?}");
                };
                assert_eq!((name.as_str(), base_kind(kind)), ("b", OFFER));
                let command = decode(REALM, &leave).map(|message| message.command);
                assert_eq!(command, Ok(Command::Ignored), "{depth} in {field}");
                let refused = decode(ROOMS, &offer).map_err(|why| why.code());
                assert_eq!(refused.map(drop), Err("too-deep"), "{depth} in {field}");
            }
        }
    }
}

#[test]
fn clients_read_the_words_that_they_know() {
    let (ada, bob) = (id("ada"), id("bob"));
    let open = told(REALM, &Event::Connected { peer: &ada });
    assert_eq!(open, Some(value(r#"{"type":"OPEN"}"#)));
    let of = |code, text: &'static str| {
        told(
            REALM,
            &Event::Error(Complaint {
                code,
                text: text.into(),
            }),
        )
    };
    for code in ["id-taken", "takeover-limit", "superseded"] {
        let taken = value(r#"{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}"#);
        assert_eq!(of(code, "x"), Some(taken));
    }
    let error = of("refused", "Invalid key provided").expect("it is told");
    assert_eq!(error["type"], "ERROR");
    assert_eq!(error["payload"]["msg"], "Invalid key provided");
    let full = of("room-full", "The room is full").expect("it is told");
    assert_eq!(full["payload"]["type"], "room-full");
    for event in [
        Event::Pong { peer: &ada },
        Event::Discovered {
            peer: &bob,
            data: None,
        },
    ] {
        assert_eq!(told(REALM, &event), None);
    }
}

#[test]
fn what_reached_nobody_expires_once_unless_it_was_a_leave() {
    let (sender, target) = (&id("ada"), &id("bob"));
    let of = |dialect, kind, repeats_previous| {
        let why = SignalFailure::NoSuchPeer;
        told(
            dialect,
            &Event::Undelivered {
                sender,
                target,
                kind,
                why,
                repeats_previous,
            },
        )
    };
    let expire = value(r#"{"type":"EXPIRE","src":"bob","dst":"ada"}"#);
    assert_eq!(of(REALM, OFFER, false), Some(expire));
    assert_eq!(of(REALM, CANDIDATE, true), None);
    assert_eq!(of(REALM, LEAVE, false), None);
    let unknown = of(ROOMS, OFFER, false).expect("it is told");
    assert_eq!(unknown["payload"]["type"], "unknown-peer");
    assert_eq!(unknown["payload"]["peerId"], "bob");
}

#[test]
fn a_room_hears_who_left_and_a_realm_does_not() {
    let left = |reason| PeerEvent::Left {
        peer: id("bob"),
        reason,
    };
    let notice = |dialect, event: &PeerEvent| {
        let notice = encode_notice(dialect, event);
        let all: Vec<Value> = notice.messages().map(|text| value(text)).collect();
        all
    };
    let leave = value(r#"{"type":"LEAVE","peerId":"bob"}"#);
    assert_eq!(notice(ROOMS, &left(LeaveReason::Closed)), [leave]);
    let expire = value(r#"{"type":"EXPIRE","peerId":"bob"}"#);
    assert_eq!(notice(ROOMS, &left(LeaveReason::HubLost)), [expire]);
    assert!(notice(REALM, &left(LeaveReason::Closed)).is_empty());
    let joined = PeerEvent::Joined {
        peer: id("bob"),
        data: None,
    };
    assert!(notice(ROOMS, &joined).is_empty());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Eighths, which any parser reads exactly.
        any::<i16>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn reading_anything_ends_well(text in ".{0,200}") {
        let _ = decode(REALM, &text);
        let _ = decode(ROOMS, &text);
    }

    #[test]
    fn what_was_written_is_read_again(
        kind in prop::sample::select(vec!["OFFER", "ANSWER", "CANDIDATE", "LEAVE"]),
        from in "[ -~]{1,64}",
        to in ".{1,20}",
        payload in json(),
        more in prop::option::of(json()),
    ) {
        let mut message = serde_json::json!({"type": kind, "dst": to, "payload": payload});
        if let (Some(more), Some(members)) = (more, message.as_object_mut()) {
            members.insert("more".into(), more);
        }
        let first = relayed(&from, &message.to_string()).expect("a signal");
        let again = relayed(&from, &first).expect("what a hub wrote is a signal too");
        prop_assert_eq!(first.as_str(), again.as_str());
        let mut arrived = value(&first);
        prop_assert_eq!(arrived["src"].as_str(), Some(from.as_str()));
        if let Some(members) = arrived.as_object_mut() {
            members.remove("src");
        }
        prop_assert_eq!(arrived, message);
    }
}
