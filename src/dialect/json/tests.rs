#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics has failed, and nothing here comes from a peer"
)]

use super::*;

#[test]
fn only_one_whole_value_may_be_embedded() {
    for good in ["1", "null", r#""a\"b""#, "[1,{}]", r#"{"a":[]}"#, "  {} \n"] {
        assert_eq!(one_value(good.as_bytes()), Some(good.trim()), "{good}");
    }
    let bad: [&[u8]; 8] = [
        b"",
        b" ",
        b"1 2",
        b"{}}",
        b"}{",
        b"1,\"a\":2",
        b"\"a",
        b"\"\xff\"",
    ];
    for bad in bad {
        assert_eq!(one_value(bad), None, "{bad:?}");
    }
}

#[test]
fn depth_is_counted_outside_strings_alone() {
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(depth_is_bounded(&nested(MAX_DEPTH)));
    assert!(!depth_is_bounded(&nested(MAX_DEPTH + 1)));
    assert!(depth_is_bounded(&format!("\"\\\"{}\"", "[".repeat(1000))));
    assert!(depth_is_bounded(&format!("[{}1]", "{},[],".repeat(1000))));
    assert!(!depth_is_bounded(&nested(100_000)));
}

#[test]
fn members_are_given_without_their_braces_or_not_at_all() {
    let members = |text: &'static str| members(text.as_bytes(), &["peerId"]);
    assert_eq!(members(r#"{"a":1,"b":{}}"#), Some(r#""a":1,"b":{}"#));
    assert_eq!(members(" {\"a\":1} "), Some("\"a\":1"));
    for bad in [
        "",
        "{}",
        "[]",
        "7",
        r#"{"peerId":1}"#,
        r#"{"peer\u0049d":1}"#,
        r#"{"a":1}}"#,
        r#"{"a":1},"x":{"b":2}"#,
        r#"{"a"}"#,
    ] {
        assert_eq!(members(bad), None, "{bad}");
    }
}

#[test]
fn stripped_members_leave_the_others_as_they_were() {
    let strip = |text: &str| {
        let raw: &RawValue = serde_json::from_str(text).expect("it is JSON");
        strip_members(raw, |name, _| name == "x").map(|rest| rest.map(|rest| rest.to_vec()))
    };
    let rest = strip(r#"{"x":1,"a": 1.0e3 ,"q\"\u0041":[ ],"\u0078":2}"#);
    assert_eq!(rest, Ok(Some(br#"{"a":1.0e3,"q\"A":[ ]}"#.to_vec())));
    assert_eq!(strip(r#"{"x":1}"#), Ok(None));
    assert_eq!(strip("{}"), Ok(None));
    assert_eq!(strip("[1]"), Err(NotAnObject));
}

#[test]
fn written_strings_read_back_as_they_were() {
    let all: String = (0..0x300).filter_map(char::from_u32).collect();
    for text in ["", "plain", "\"\\\u{2028}\u{0}", &all] {
        let mut out = String::new();
        push_string(&mut out, text);
        let back: String = serde_json::from_str(&out).expect("it is JSON");
        assert_eq!(back, text);
    }
}
