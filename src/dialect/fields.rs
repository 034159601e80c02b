//! The members of a client's message that its dialect reads by name, as raw text.
//!
//! A message is one JSON object, split once; values are neither parsed nor copied. If a member is there twice, the last
//! counts, as in JavaScript. Knows no message type; called by the dialects' decoders.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{Complaint, DecodeError, json};

/// The text of the members of these names; `None` for each that is absent.
///
/// # Errors
/// The text is not JSON, or JSON that is no object.
pub(super) fn read<'a, const N: usize>(
    text: &'a str,
    names: &'static [&'static str; N],
) -> Result<[Option<&'a str>; N], DecodeError> {
    let read = json::with_names(text, |how| {
        let mut parser = serde_json::Deserializer::from_str(text);
        let found = parser.deserialize_map(Reader { names, how })?;
        parser.end().map(|()| found)
    });
    read.map_err(|why| match why.classify() {
        // The visitor itself refuses only a value that is not a map.
        Category::Data => match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => DecodeError::NotAnObject,
            Err(why) => not_json(&why),
        },
        _ => not_json(&why),
    })
}

/// A member that is there. `null` and an empty string count as absent, as in servers written in JavaScript.
pub(super) fn given(member: Option<&str>) -> Option<&str> {
    member.filter(|value| !matches!(*value, "null" | r#""""#))
}

/// The string in a member of this name.
pub(super) fn string<'a>(
    name: &'static str,
    value: &'a str,
) -> Result<Cow<'a, str>, Complaint<'static>> {
    let wrong = || Complaint::new("wrong-type", format!("`{name}` must be a string"));
    json::string(value).ok_or_else(wrong)
}

/// The value in a member of this name, if it is nested no deeper than this.
pub(super) fn bounded<'a>(
    name: &'static str,
    value: &'a str,
    most: usize,
) -> Result<&'a str, Complaint<'static>> {
    match json::depth_is_bounded(value, most) {
        true => Ok(value),
        false => Err(DecodeError::TooDeep { name, most }.complaint()),
    }
}

fn not_json(why: &serde_json::Error) -> DecodeError {
    DecodeError::NotJson {
        line: why.line(),
        column: why.column(),
    }
}

struct Reader<const N: usize> {
    names: &'static [&'static str; N],
    how: json::Names,
}

impl<'de, const N: usize> Visitor<'de> for Reader<N> {
    type Value = [Option<&'de str>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(name) = json::next_name(&mut map, self.how)? {
            let mut slots = self.names.iter().zip(&mut found);
            match slots.find(|(own, _)| **own == name) {
                Some((_, slot)) => *slot = Some(map.next_value::<&RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["type", "to"];

    #[test]
    fn members_are_found_by_name_and_of_two_the_last_counts() {
        let text = r#" {"to":1,"x":{"type":"no"},"t\u0079pe":"a","to":[ "b" ]} "#;
        assert_eq!(read(text, &NAMES), Ok([Some(r#""a""#), Some(r#"[ "b" ]"#)]));
        assert_eq!(read("{}", &NAMES), Ok([None, None]));
        let halves = r#"{"\ud83d":1,"type":"\ud83d"}"#;
        assert_eq!(read(halves, &NAMES), Ok([Some(r#""\ud83d""#), None]));
    }

    #[test]
    fn what_is_no_object_and_what_is_no_json_are_told_apart() {
        for text in ["1", "[]", "null", r#""type""#] {
            assert_eq!(read(text, &NAMES), Err(DecodeError::NotAnObject), "{text}");
        }
        for text in ["", "{", "[", "{}x", "1x", r#"{"type"}"#, r#"{"type":}"#] {
            let read = read(text, &NAMES);
            assert!(matches!(read, Err(DecodeError::NotJson { .. })), "{text}");
        }
    }
}
