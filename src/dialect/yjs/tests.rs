//! The commands that a client's text is decoded to, and the texts that are written in answer.

use serde_json::{Value, json};

use super::*;
use hubmesh_core::ids::PeerId;

fn published(payload: &str) -> Option<Utf8Bytes> {
    encode_publication(&DeliveredPublication {
        network: &key("doc").expect("a topic"),
        from: &PeerId::new("somebody").expect("an id"),
        kind: PUBLISHED,
        payload,
        members: 12,
    })
}

fn told(text: &str) -> Vec<Action<'_>> {
    let mut actions = Actions::new(|| 0);
    Yjs.hear(text, &mut actions);
    actions.into_iter().collect()
}

#[test]
fn everything_that_real_clients_sent_is_understood() {
    let recording = include_str!("../../../tests/fixtures/yjs/sent.jsonl");
    let mut heard = Vec::new();
    for text in recording.lines() {
        let sent: Value = serde_json::from_str(text).expect("it is JSON");
        heard.push(match decode(text).expect("it is read") {
            Said::Subscribe(topics) => {
                assert_eq!(json!(topics), sent["topics"]);
                "subscribe"
            }
            Said::Unsubscribe(topics) => {
                assert_eq!(json!(topics), sent["topics"]);
                "unsubscribe"
            }
            Said::Publish { topic, message } => {
                assert_eq!(json!(topic), sent["topic"]);
                assert_eq!(message, text);
                "publish"
            }
            Said::Ping => "ping",
            Said::Ignored => panic!("{text}"),
        });
        assert_eq!(heard.last().copied(), sent["type"].as_str());
    }
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard, ["ping", "publish", "subscribe", "unsubscribe"]);
}

#[test]
fn what_the_original_passes_over_is_passed_over() {
    for text in [
        "1",
        "null",
        "[]",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":7}"#,
        r#"{"type":"announce","topic":"a"}"#,
        r#"{"type":"publish"}"#,
        r#"{"type":"publish","topic":""}"#,
        r#"{"type":"publish","topic":7}"#,
    ] {
        assert_eq!(decode(text), Ok(Said::Ignored), "{text}");
        assert_eq!(told(text), [], "{text}");
    }
    let odd = r#"{"type":"subscribe","topics":["a",1,null,{},"","b"]}"#;
    assert_eq!(
        decode(odd),
        Ok(Said::Subscribe(vec!["a".into(), "b".into()]))
    );
    for none in [
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","topics":"a"}"#,
    ] {
        assert_eq!(decode(none), Ok(Said::Subscribe(Vec::new())), "{none}");
    }
}

#[test]
fn of_a_field_that_is_there_twice_the_last_counts() {
    let twice = r#"{"type":"ping","topic":"a","type":"publish","topic":"b"}"#;
    let topic = "b".into();
    let message = twice;
    assert_eq!(decode(twice), Ok(Said::Publish { topic, message }));
}

#[test]
fn what_is_over_a_bound_is_told_and_nothing_else_comes_of_it() {
    let long = "x".repeat(NetworkKey::MAX_NAME_BYTES + 1);
    let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
    for (text, code) in [
        (
            json!({"type": "subscribe", "topics": [long]}).to_string(),
            "bad-topic",
        ),
        (
            json!({"type": "publish", "topic": long}).to_string(),
            "bad-topic",
        ),
        (
            format!(r#"{{"type":"publish","topic":"a","data":{deep}}}"#),
            "too-deep",
        ),
        ("{\"type\":\"ping\"".to_owned(), "not-json"),
        ("[1,".to_owned(), "not-json"),
        (String::new(), "not-json"),
    ] {
        let actions = told(&text);
        let [
            Action::Complain {
                code: said,
                text: Some(words),
                ..
            },
        ] = &actions[..]
        else {
            panic!("{text}: {actions:?}");
        };
        assert_eq!(*said, code, "{text}");
        let words: Value = serde_json::from_str(words).expect("it is JSON");
        assert_eq!(
            (&words["type"], &words["code"]),
            (&json!("error"), &json!(code))
        );
    }
}

#[test]
fn what_is_published_is_as_it_was_sent_with_the_subscribers_behind_it() {
    for (sent, got) in [
        (
            r#"{"topic":"doc", "type":"publish","data":{"n":1e3,"s":"\ud800\u00e9"}}"#,
            r#"{"topic":"doc", "type":"publish","data":{"n":1e3,"s":"\ud800\u00e9"},"clients":12}"#,
        ),
        (r#"{"clients":1}"#, r#"{"clients":1,"clients":12}"#),
    ] {
        assert_eq!(published(sent).as_deref(), Some(got));
    }
    // Another hub may say anything that is JSON.
    for other in ["[1]", "7", "null", "{}", "{ }", "\"{}\""] {
        assert_eq!(published(other), None, "{other}");
    }
}

#[test]
fn what_came_around_the_object_goes_no_further() {
    let text = " \r\n{\"type\":\"publish\",\"topic\":\"a\"}\t";
    let [
        Action::Publish {
            payload,
            echo: true,
            ..
        },
    ] = &told(text)[..]
    else {
        panic!("it is published");
    };
    assert_eq!(payload, "{\"type\":\"publish\",\"topic\":\"a\"}");
}
