//! The fields at either end of a message whose middle was not kept.
//!
//! The head is read forwards, the tail backwards from its last brace, each as far as possible. So a field is always one
//! of the message itself, and not one inside its payload. Knows no field by name; called by the dialects.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json;

/// The text of the value that the message has under this name, if its ends show it. If there are two such members, the
/// last counts.
pub(super) fn member<'a>(head: &'a [u8], tail: &'a [u8], name: &str) -> Option<&'a str> {
    in_tail(end_of_text(tail), name).or_else(|| in_head(start_of_text(head), name))
}

fn in_head<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A number at the end of the text may go on.
    let text = text.trim_end_matches(is_of_a_word);
    let mut found = None;
    let reader = Members {
        name,
        found: &mut found,
    };
    // It breaks off somewhere; members that were found before count.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(reader);
    found
}

struct Members<'n, 'f, 'de> {
    name: &'n str,
    found: &'f mut Option<&'de str>,
}

impl<'de> Visitor<'de> for Members<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = json::next_name(&mut map, json::Names::Odd)? {
            let value: &RawValue = map.next_value()?;
            if name == self.name {
                *self.found = Some(value.get());
            }
        }
        Ok(())
    }
}

fn in_tail<'a>(tail: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = before(tail, '}')?;
    loop {
        let (members, value) = split_value(rest)?;
        let (members, key) = split_value(before(members, ':')?)?;
        if json::string(key)? == name {
            // A key, and not a text that ends like one.
            return members.ends_with([',', '{']).then_some(value);
        }
        rest = before(members, ',')?;
    }
}

/// The text before this character, if it is the last.
fn before(text: &str, last: char) -> Option<&str> {
    text.trim_ascii_end().strip_suffix(last)
}

/// The value at the end of the text, and the part before it; `None` if it begins before the text.
fn split_value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_end();
    let (mut start, mut open) = (text.len(), 0_usize);
    loop {
        let rest = text.get(..start)?;
        start = match rest.chars().next_back()? {
            '"' => opening_quote(rest.strip_suffix('"')?)?,
            of_a_word if is_of_a_word(of_a_word) => rest.trim_end_matches(is_of_a_word).len(),
            _ => start - 1,
        };
        match text.as_bytes().get(start)? {
            b'}' | b']' => open += 1,
            b'{' | b'[' => open = open.checked_sub(1)?,
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if open == 0 => return None,
            _ => {}
        }
        if open == 0 {
            let (before, value) = text.split_at_checked(start)?;
            return Some((before.trim_ascii_end(), value));
        }
    }
}

/// Whether this may be in a number, or in `true`, `false` or `null`.
const fn is_of_a_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// Where the string begins whose end this is, without its last quote: the last quote that is not escaped.
fn opening_quote(inside: &str) -> Option<usize> {
    let mut quotes = inside.rmatch_indices('"').map(|(quote, _)| quote);
    quotes.find(|quote| {
        let before = inside.get(..*quote).unwrap_or_default();
        let escapes = before.len() - before.trim_end_matches('\\').len();
        escapes.is_multiple_of(2)
    })
}

/// As much of it as is text: it may break off within a character.
fn start_of_text(bytes: &[u8]) -> &str {
    let first = bytes.utf8_chunks().next();
    first.map(|chunk| chunk.valid()).unwrap_or_default()
}

/// As much of it as is text: it may begin within a character.
fn end_of_text(bytes: &[u8]) -> &str {
    let last = bytes.utf8_chunks().last();
    last.filter(|chunk| chunk.invalid().is_empty())
        .map(|chunk| chunk.valid())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_shows_members_of_the_message_and_none_of_its_payload() {
        let found = |head: &str| {
            ["type", "dst"].map(|name| member(head.as_bytes(), b"", name).map(str::to_owned))
        };
        let both = [Some(r#""OFFER""#.to_owned()), Some(r#""bob""#.to_owned())];
        for head in [
            r#"{"type":"OFFER","dst":"bob","payload":{"sdp":"v=0"#,
            r#"{"payload":{"dst":"no"},"dst":"bob","type":"OFFER"}"#,
            r#"{"d\u0073t":"bob","\ud83d":[],"type":"OFFER","payload":""#,
            r#"{"dst":"no","type":"OFFER","dst":"bob","dst":"un"#,
            "\u{feff} {\"type\":\"OFFER\",\"dst\":\"bob\",",
        ] {
            assert_eq!(found(head), both, "{head}");
        }
        let kind = [both[0].clone(), None];
        for head in [
            r#"{"type":"OFFER","payload":{"dst":"no","more":"#,
            r#"{"type":"OFFER","dst":12"#,
            r#"{"type":"OFFER","dst":"12"#,
        ] {
            assert_eq!(found(head), kind, "{head}");
        }
        let half = r#"{"type":"OFFER","payload":"é"#.as_bytes();
        let half = half.split_at(half.len() - 1).0;
        assert_eq!(member(half, b"", "type"), Some(r#""OFFER""#));
        let odd = br#"{"dst":"bob\ud83d","type":7,"#;
        assert_eq!(member(odd, b"", "dst"), Some(r#""bob\ud83d""#));
        assert_eq!(member(odd, b"", "type"), Some("7"));
        for nothing in ["", "[", "{", "nonsense", r#"["type":"OFFER","dst":"x"]"#] {
            assert_eq!(found(nothing), [None, None], "{nothing}");
        }
    }

    #[test]
    fn the_tail_shows_the_last_members_and_none_of_something_inside_them() {
        let found = |tail: &str| member(b"", tail.as_bytes(), "dst").map(str::to_owned);
        for (tail, value) in [
            (r#"..."},"dst":"bob"}"#, r#""bob""#),
            ("...\"} ,\n \"dst\" : \"bob\" }\n", r#""bob""#),
            (r#"...,"dst":"say \"hi\" \\"}"#, r#""say \"hi\" \\""#),
            (r#"{"dst":""}"#, r#""""#),
            (r#"...,"dst":7}"#, "7"),
            (r#"...,"dst":-1.5e+3,"type":null}"#, "-1.5e+3"),
            (r#"...,"dst":[1,{"dst":2}]}"#, r#"[1,{"dst":2}]"#),
            (r#"...,"dst":"bob\ud83d"}"#, r#""bob\ud83d""#),
            (r#"...,"d\u0073t":"bob","type":"OFFER"}"#, r#""bob""#),
            (r#"...,"dst":"no","dst":"bob","n":7}"#, r#""bob""#),
            (r#"...,"dst":"bob","a":{"dst":"}"},"b":[ ] }"#, r#""bob""#),
            (
                r#"...,"dst":"bob","a":"\",\"dst\":\"no\"","x":true}"#,
                r#""bob""#,
            ),
        ] {
            assert_eq!(found(tail).as_deref(), Some(value), "{tail}");
        }
        for none in [
            "",
            "}",
            r#""}"#,
            r#"bob"}"#,
            r#""dst":"bob""#,
            r#""dst":"bob"}"#,
            r#","dst":"bob"}}"#,
            r#","dst":"bob"}]}"#,
            r#","xdst":"bob"}"#,
            r#"a \",\"dst\":\"bob\"}"#,
            r#"a,"dst":"bob" , }"#,
            r#","dst":"bob","a":b "c"}"#,
        ] {
            assert_eq!(found(none), None, "{none}");
        }
        let half = "é,\"dst\":\"bob\"}".as_bytes().split_at(1).1;
        assert_eq!(member(b"", half, "dst"), Some(r#""bob""#));
        let both = br#"{"dst":"no","#;
        assert_eq!(member(both, half, "dst"), Some(r#""bob""#), "the last");
    }
}
