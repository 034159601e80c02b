//! The little JSON that dialects need besides `serde`: strings, read as JavaScript reads them and written, and judging
//! text that a message embeds as it is.
//!
//! What comes from another hub is embedded without being taken apart, so it is judged first: text that is not
//! one whole value could break out of the message around it. Invariant: text that passes here and is put where
//! a value may stand yields JSON again. Knows no dialect; called by the dialects,
//! the registry, the reader of tokens, and the client.
//!
//! Nothing here calls itself, and neither does `serde_json` where it skips a value or takes one raw: text of any
//! depth is read on a stack of fixed size.
#![warn(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use memchr::memchr2_iter;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep arrays and objects may be nested in what is shown of a peer, and in most of what is passed on. Session
/// descriptions and candidates have one level; a receiver's parser that recurses must survive what we hand it.
pub const MAX_DEPTH: usize = 64;

/// What stands for half of a surrogate pair, escaped: as long as what it stands for.
const REPLACED: &str = "\\ufffd";

/// The string that a JSON string stands for; `None` for a value of another type. Half of a surrogate pair, which
/// JavaScript writes and no UTF-8 has, becomes U+FFFD.
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    let inside = value.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    let text: String = serde_json::from_str(&well_formed(value)).ok()?;
    Some(Cow::Owned(text))
}

/// A JSON text with U+FFFD for each half of a surrogate pair that stands alone, as parsers that keep strings in UTF-8
/// need it. All else is as it was, and of the same length.
pub fn well_formed(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(escape) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += escape;
        let second = unit(text, at + 6).filter(|unit| is_second(*unit));
        at += match unit(text, at) {
            // Two bytes, of which the second may be a backslash. Where it is longer this is no JSON, and ends here.
            None => 2,
            Some(0xd800..=0xdbff) if second.is_some() => 12,
            Some(0xd800..=0xdfff) => {
                out.push_str(text.get(kept..at).unwrap_or_default());
                out.push_str(REPLACED);
                kept = at + 6;
                6
            }
            Some(_) => 6,
        };
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

/// The UTF-16 unit of the escape that begins at this byte, if one does that is written by its number.
fn unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

const fn is_second(unit: u16) -> bool {
    matches!(unit, 0xdc00..=0xdfff)
}

/// Appends a string with its quotes.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends the inside of a string.
pub fn push_escaped(out: &mut String, text: &str) {
    if !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = fmt::Write::write_fmt(out, format_args!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

/// The text of the one value in `bytes`, without the blanks around it; `None` if it is not exactly one, is not
/// UTF-8, or is nested deeper than `most`.
pub fn one_value(bytes: &[u8], most: usize) -> Option<&str> {
    let value: &RawValue = serde_json::from_slice(bytes).ok()?;
    depth_is_bounded(value.get(), most).then_some(value.get())
}

/// Whether a valid JSON text is nested at most so deep.
///
/// Text with no more opening brackets than that, which is nearly all there is, is told by counting them. The search is
/// `memchr`'s, since every signal is judged here: a loop over bytes took an eighth of the work for a signal.
pub fn depth_is_bounded(valid: &str, most: usize) -> bool {
    memchr2_iter(b'[', b'{', valid.as_bytes())
        .nth(most)
        .is_none()
        || depth(valid) <= most
}

fn depth(valid: &str) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in valid.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Rewrites an object without the members that `take` takes, on one level. `Ok(None)` if nothing is left.
///
/// The members that stay keep their order and the bytes of their values.
pub fn strip_members(
    object: &RawValue,
    mut take: impl FnMut(&str, &RawValue) -> bool,
) -> Result<Option<Bytes>, NotAnObject> {
    let mut rest = String::with_capacity(object.get().len());
    let strip = |names| {
        rest.clear();
        let visitor = Strip {
            names,
            take: &mut take,
            rest: &mut rest,
        };
        serde_json::Deserializer::from_str(object.get()).deserialize_map(visitor)
    };
    with_names(object.get(), strip).map_err(|_| NotAnObject)?;
    if rest.is_empty() {
        return Ok(None);
    }
    rest.push('}');
    Ok(Some(Bytes::from(rest.into_boxed_str().into_boxed_bytes())))
}

/// The value is not an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnObject;

struct Strip<'a, F> {
    names: Names,
    take: F,
    rest: &'a mut String,
}

impl<'de, F: FnMut(&str, &RawValue) -> bool> Visitor<'de> for Strip<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = next_name(&mut map, self.names)? {
            let value: &RawValue = map.next_value()?;
            if (self.take)(&name, value) {
                continue;
            }
            self.rest.push(if self.rest.is_empty() { '{' } else { ',' });
            push_string(self.rest, &name);
            self.rest.push(':');
            self.rest.push_str(value.get());
        }
        Ok(())
    }
}

/// The members of the one object in `bytes`, as text without the braces around them; `None` if it is not
/// exactly one object, has no member or one of these names, or is nested deeper than `most`.
pub fn members<'a>(
    bytes: &'a [u8],
    forbidden: &'static [&'static str],
    most: usize,
) -> Option<&'a str> {
    let text = std::str::from_utf8(bytes).ok()?.trim_ascii();
    let any = with_names(text, |names| {
        let mut parser = serde_json::Deserializer::from_str(text);
        let any = parser.deserialize_map(Allowed { names, forbidden })?;
        parser.end().map(|()| any)
    });
    if !any.ok()? || !depth_is_bounded(text, most) {
        return None;
    }
    text.strip_prefix('{')?.strip_suffix('}')
}

struct Allowed {
    names: Names,
    forbidden: &'static [&'static str],
}

impl<'de> Visitor<'de> for Allowed {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut any = false;
        while let Some(name) = next_name(&mut map, self.names)? {
            if self.forbidden.contains(&name.as_ref()) {
                return Err(A::Error::custom("a forbidden member"));
            }
            map.next_value::<IgnoredAny>()?;
            any = true;
        }
        Ok(any)
    }
}

/// How the names of an object's members are read.
#[derive(Clone, Copy)]
pub enum Names {
    /// By `serde_json`, which takes no half of a surrogate pair.
    Usual,
    /// As [`string`] reads them, which takes a tenth longer for a whole message.
    Odd,
}

/// Reads an object in the usual way and, if that fails and escapes may be why, in the other.
pub fn with_names<T, E>(text: &str, mut read: impl FnMut(Names) -> Result<T, E>) -> Result<T, E> {
    match read(Names::Usual) {
        Err(_) if text.contains("\\u") => read(Names::Odd),
        read => read,
    }
}

/// The next member's name.
pub fn next_name<'de, A: MapAccess<'de>>(
    map: &mut A,
    names: Names,
) -> Result<Option<Cow<'de, str>>, A::Error> {
    match names {
        Names::Usual => Ok(map.next_key()?.map(|Key(name)| name)),
        // A name is a string, or the text would not have been taken for an object.
        Names::Odd => {
            let name: Option<&RawValue> = map.next_key()?;
            Ok(name.map(|name| string(name.get()).unwrap_or_default()))
        }
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
