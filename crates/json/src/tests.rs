#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics has failed, and nothing here comes from a peer"
)]

use proptest::prelude::*;

use super::*;

#[test]
fn only_one_whole_value_may_be_embedded() {
    for good in ["1", "null", r#""a\"b""#, "[1,{}]", r#"{"a":[]}"#, "  {} \n"] {
        assert_eq!(
            one_value(good.as_bytes(), MAX_DEPTH),
            Some(good.trim()),
            "{good}"
        );
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
        assert_eq!(one_value(bad, MAX_DEPTH), None, "{bad:?}");
    }
}

#[test]
fn depth_is_counted_outside_strings_alone() {
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let depth_is_bounded = |text: &str| depth_is_bounded(text, MAX_DEPTH);
    assert!(depth_is_bounded(&nested(MAX_DEPTH)));
    assert!(!depth_is_bounded(&nested(MAX_DEPTH + 1)));
    assert!(depth_is_bounded(&format!("\"\\\"{}\"", "[".repeat(1000))));
    assert!(depth_is_bounded(&format!("[{}1]", "{},[],".repeat(1000))));
    assert!(!depth_is_bounded(&nested(100_000)));
}

#[test]
fn members_are_given_without_their_braces_or_not_at_all() {
    let members = |text: &'static str| members(text.as_bytes(), &["peerId"], MAX_DEPTH);
    assert_eq!(members(r#"{"a":1,"b":{}}"#), Some(r#""a":1,"b":{}"#));
    assert_eq!(members(" {\"a\":1} "), Some("\"a\":1"));
    for bad in [
        "",
        "{}",
        "[]",
        "7",
        r#"{"peerId":1}"#,
        r#"{"peer\u0049d":1}"#,
        r#"{"\ud83d":1,"peerId":1}"#,
        r#"{"a":1}}"#,
        r#"{"a":1},"x":{"b":2}"#,
        r#"{"a"}"#,
    ] {
        assert_eq!(members(bad), None, "{bad}");
    }
}

#[test]
fn a_half_of_a_surrogate_pair_becomes_one_replacement_character_and_a_whole_one_stays() {
    for (value, text) in [
        (r#""bob\ud83d""#, "bob\u{fffd}"),
        (r#""\uD83Dbob""#, "\u{fffd}bob"),
        (r#""\udca5\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83d\ud83d\udca5\udca5""#, "\u{fffd}💥\u{fffd}"),
        (r#""\ud83d\u0041\n""#, "\u{fffd}A\n"),
        (r#""\\ud83d\\\ud83d""#, "\\ud83d\\\u{fffd}"),
        (r#""\ud83d\\udca5""#, "\u{fffd}\\udca5"),
        (r#""é\udbffé""#, "é\u{fffd}é"),
        (r#""\ud83d\udca5""#, "💥"),
    ] {
        let whole: &RawValue = serde_json::from_str(value).expect("it is JSON");
        assert_eq!(string(whole.get()).as_deref(), Some(text), "{value}");
    }
    for other in ["7", "null", "[\"a\"]", "{}", "true"] {
        assert_eq!(string(other), None, "{other}");
    }
    let whole = r#"{"a":"\\ud83d \ud83d\udca5 \u0041"}"#;
    assert!(matches!(well_formed(whole), Cow::Borrowed(text) if text == whole));
    assert_eq!(
        well_formed(r#"{"\udc00":"\\\ud800"}"#),
        r#"{"\ufffd":"\\\ufffd"}"#
    );
}

#[test]
fn a_half_of_a_surrogate_pair_is_passed_on_as_it_was_sent() {
    let odd = r#"{"\ud83d":"\udca5","b":["\ud83d"]}"#;
    assert_eq!(one_value(odd.as_bytes(), MAX_DEPTH), Some(odd));
    let inside = odd.trim_start_matches('{').trim_end_matches('}');
    assert_eq!(
        members(odd.as_bytes(), &["peerId"], MAX_DEPTH),
        Some(inside)
    );
    let raw: &RawValue = serde_json::from_str(odd).expect("it is JSON");
    let rest = strip_members(raw, |name, _| name == "b");
    let named = "{\"\u{fffd}\":\"\\udca5\"}".as_bytes();
    assert_eq!(rest, Ok(Some(Bytes::from_static(named))));
    let rest = strip_members(raw, |name, _| name == "\u{fffd}");
    assert_eq!(rest, Ok(Some(Bytes::from_static(br#"{"b":["\ud83d"]}"#))));
}

#[test]
fn text_of_any_depth_is_judged_without_a_deep_stack() {
    let judged = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
        for depth in [200, 5_000, 100_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                assert_eq!(one_value(deep.as_bytes(), depth - 1), None, "{depth}");
                let value = one_value(deep.as_bytes(), depth);
                assert_eq!(value, Some(deep.as_str()), "{depth}");
                let object = format!("{{\"a\":{deep},\"b\":1}}");
                assert!(members(object.as_bytes(), &[], depth + 1).is_some());
                let raw: &RawValue = serde_json::from_str(&object).expect("it is JSON");
                assert!(strip_members(raw, |name, _| name == "b").is_ok());
            }
        }
    });
    judged.expect("a thread").join().expect("no overflow");
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

proptest! {
    #[test]
    fn what_is_well_formed_stays_and_what_is_not_reads_as_javascript_has_it(
        units in prop::collection::vec(prop_oneof![0xd7f0_u16..0xe010, 0x20_u16..0x80], 0..12),
    ) {
        let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let text = string(&format!("\"{escaped}\"")).map(Cow::into_owned);
        prop_assert_eq!(text, Some(String::from_utf16_lossy(&units)));
        prop_assert_eq!(well_formed(&escaped).len(), escaped.len());
    }

    #[test]
    fn no_text_panics_where_halves_are_looked_for(text in "(\\\\|u|d8|dc|é|[0-9a-f\"]){0,40}") {
        well_formed(&text);
        string(&text);
    }
}
