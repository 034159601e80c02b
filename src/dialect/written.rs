//! Encodes a message of the hub, member by member.
//!
//! Invariant: the text is one JSON object, if each inserted raw value is one value. Knows no message type; called by
//! the dialects' encoders.

use std::fmt;

use hubmesh_core::ids::PeerId;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{json, push_id, push_number};

/// An object that is being written.
pub(super) struct Object(String);

impl Object {
    /// A message of this type, with about this many bytes besides.
    pub(super) fn of(kind: &str, bytes: usize) -> Self {
        let mut text = String::with_capacity(64 + bytes);
        text.push('{');
        Object(text).text("type", kind)
    }

    /// An object without a type.
    pub(super) fn bare() -> Self {
        Object(String::from("{"))
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        json::push_string(&mut self.0, name);
        self.0.push(':');
    }

    /// Adds a string.
    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        json::push_string(&mut self.0, value);
        self
    }

    /// Adds a peer's id.
    pub(super) fn id(mut self, name: &str, peer: &PeerId) -> Self {
        self.name(name);
        self.0.push('"');
        push_id(&mut self.0, peer);
        self.0.push('"');
        self
    }

    /// Adds a number, or `true` or `false`.
    pub(super) fn number(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.name(name);
        push_number(&mut self.0, value);
        self
    }

    /// Adds one JSON value as it is.
    pub(super) fn raw(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.0.push_str(value);
        self
    }

    /// Adds members as they are, without braces around them.
    pub(super) fn members(mut self, members: &str) -> Self {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.0.push_str(members);
        self
    }

    /// Adds a list: `each` makes one element of each of these.
    pub(super) fn list<T>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(T) -> Object,
    ) -> Self {
        self.name(name);
        self.0.push('[');
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.0.push(',');
            }
            self.0.push_str(&each(item).end());
        }
        self.0.push(']');
        self
    }

    /// The whole text.
    pub(super) fn end(mut self) -> Utf8Bytes {
        self.0.push('}');
        self.0.into()
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_their_order_and_strings_are_escaped() {
        let peer = PeerId::new("a\"b").expect("an id");
        let written = Object::of("t", 0)
            .text("x", "line\n")
            .id("peer", &peer)
            .number("n", 7)
            .raw("raw", "[1]")
            .members(r#""y":8"#)
            .list("all", [1, 2], |n| Object::bare().number("n", n))
            .list("none", [0_u8; 0], |n| Object::bare().number("n", n))
            .end();
        let expected = r#"{"type":"t","x":"line\n","peer":"a\"b","n":7,"raw":[1],"y":8,"all":[{"n":1},{"n":2}],"none":[]}"#;
        assert_eq!(written, expected);
        assert_eq!(Object::bare().end(), "{}");
    }
}
