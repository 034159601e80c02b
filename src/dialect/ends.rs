//! The fields at either end of a message whose middle was not kept.
//!
//! The head is read forwards as far as it goes, the tail backwards from its last brace: either way a field is one of the
//! message itself, and not of something inside its payload. Knows no field by name; called by the dialects.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The strings that the message has under these names, as far as the head shows them; in the order of `names`.
pub(super) fn first_members(head: &[u8], names: &[&str]) -> Vec<Option<String>> {
    let mut found = vec![None; names.len()];
    let text = longest_text(head);
    let mut parser = serde_json::Deserializer::from_str(text);
    // It breaks off somewhere, and what was found before that is found.
    let _ = parser.deserialize_map(First {
        names,
        found: &mut found,
    });
    found
}

struct First<'a> {
    names: &'a [&'a str],
    found: &'a mut [Option<String>],
}

impl<'de> Visitor<'de> for First<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let mut slots = self.names.iter().zip(self.found.iter_mut());
            match slots.find(|(known, _)| **known == name) {
                Some((_, slot)) => *slot = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The string that the message has as its last member, if that has this name.
pub(super) fn last_member(tail: &[u8], name: &str) -> Option<String> {
    let tail = tail.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let inside = tail.strip_suffix(b"\"")?;
    let opening = opening_quote(inside)?;
    let (before, value) = tail.split_at_checked(opening)?;
    let key = before.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let key = key.strip_suffix(b"\"")?.strip_suffix(name.as_bytes())?;
    let key = key.strip_suffix(b"\"")?.trim_ascii_end();
    matches!(key.last(), Some(b',' | b'{')).then_some(())?;
    serde_json::from_slice(value).ok()
}

/// Where the string begins that ends behind these bytes: the last quote that is not escaped.
fn opening_quote(inside: &[u8]) -> Option<usize> {
    let mut end = inside.len();
    loop {
        let (before, _) = inside.split_at_checked(end)?;
        let quote = before.iter().rposition(|byte| *byte == b'"')?;
        let escapes = before.split_at_checked(quote)?.0;
        let escapes = escapes.iter().rev().take_while(|byte| **byte == b'\\');
        if escapes.count() % 2 == 0 {
            return Some(quote);
        }
        end = quote;
    }
}

/// As much of it as is text: it may break off within a character.
fn longest_text(bytes: &[u8]) -> &str {
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => return text,
        Err(why) => why.valid_up_to(),
    };
    let text = bytes.split_at_checked(whole).map(|(text, _)| text);
    text.and_then(|text| std::str::from_utf8(text).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_shows_members_of_the_message_and_none_of_its_payload() {
        let found = |head: &str| first_members(head.as_bytes(), &["type", "dst"]);
        let both = [Some("OFFER".to_owned()), Some("bob".to_owned())];
        assert_eq!(
            found(r#"{"type":"OFFER","dst":"bob","payload":{"sdp":"v=0"#),
            both
        );
        assert_eq!(
            found(r#"{"payload":{"dst":"no"},"dst":"bob","type":"OFFER"}"#),
            both
        );
        let kind = [Some("OFFER".to_owned()), None];
        assert_eq!(
            found(r#"{"type":"OFFER","payload":{"dst":"no","more":"#),
            kind
        );
        assert_eq!(
            found(r#"{"type":"OFFER","payload":"é"#.split_at(29).0),
            kind
        );
        for nothing in ["", "[", "{", "nonsense", r#"{"type":7,"dst":"x""#] {
            assert_eq!(found(nothing), [None, None], "{nothing}");
        }
    }

    #[test]
    fn the_tail_shows_the_last_member_and_none_of_something_inside_it() {
        let found = |tail: &str| last_member(tail.as_bytes(), "dst");
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(found(r#"..."},"dst":"bob"}"#), name("bob"));
        assert_eq!(found("...\"} ,\n \"dst\" : \"bob\" }\n"), name("bob"));
        assert_eq!(
            found(r#"...,"dst":"say \"hi\" \\"}"#),
            name(r#"say "hi" \"#)
        );
        assert_eq!(found(r#"{"dst":""}"#), name(""));
        for none in [
            "",
            "}",
            r#""}"#,
            r#"bob"}"#,
            r#""dst":"bob""#,
            r#","dst":"bob","more":"x"}"#,
            r#","xdst":"bob"}"#,
            r#"a \",\"dst\":\"bob\"}"#,
            r#","dst":7}"#,
        ] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
