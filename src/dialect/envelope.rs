//! Splits a client's message into the fields that its dialect names.
//!
//! A message is one JSON object. It is split once, into the raw text of each field that the dialect names; values are
//! neither parsed nor copied. If a field is there twice, the last counts, as in JavaScript; a dialect that refuses such
//! a message can see that. Knows no message type; called by the dialects' decoders.

use std::borrow::Cow;
use std::fmt;

use hubmesh_core::ids::PeerId;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{DecodeError, Field, json};

/// The names of the fields that a dialect reads; a field without a name is not read.
pub(super) struct Names {
    pub(super) kind: &'static str,
    pub(super) payload: &'static str,
    pub(super) target: &'static str,
    pub(super) network: &'static str,
    pub(super) sender: &'static str,
}

const FIELDS: [Field; 5] = [
    Field::Type,
    Field::Data,
    Field::Target,
    Field::Network,
    Field::Sender,
];

impl Names {
    const fn of(&self, field: Field) -> &'static str {
        match field {
            Field::Type => self.kind,
            Field::Data => self.payload,
            Field::Target => self.target,
            Field::Network => self.network,
            Field::Sender => self.sender,
        }
    }

    fn field(&self, name: &str) -> Option<Field> {
        FIELDS
            .into_iter()
            .find(|field| !name.is_empty() && self.of(*field) == name)
    }

    /// The field is not there.
    pub(super) const fn missing(&self, field: Field) -> DecodeError {
        DecodeError::Missing {
            field,
            name: self.of(field),
        }
    }

    /// The field has the wrong type.
    pub(super) const fn wrong(&self, field: Field, want: &'static str) -> DecodeError {
        DecodeError::WrongType {
            field,
            name: self.of(field),
            want,
        }
    }
}

/// The fields of a message, as raw text.
pub(super) struct Envelope<'a> {
    names: &'static Names,
    kind: Option<&'a RawValue>,
    /// Its payload.
    pub(super) payload: Option<&'a RawValue>,
    target: Option<&'a RawValue>,
    network: Option<&'a RawValue>,
    sender: Option<&'a RawValue>,
    /// There are fields that the dialect does not read.
    pub(super) has_more: bool,
    /// The first field that is there twice.
    duplicate: Option<Field>,
}

impl<'a> Envelope<'a> {
    /// Splits a message.
    pub(super) fn read(text: &'a str, names: &'static Names) -> Result<Self, DecodeError> {
        let read = json::with_names(text, |how| {
            let mut parser = serde_json::Deserializer::from_str(text);
            let message = parser.deserialize_map(Reader { names, how })?;
            parser.end().map(|()| message)
        });
        read.map_err(|e| match e.classify() {
            // The visitor itself refuses only a value that is not a map.
            Category::Data => DecodeError::NotAnObject,
            _ => DecodeError::NotJson {
                line: e.line(),
                column: e.column(),
            },
        })
    }

    /// Refuses a message in which a field is there twice.
    pub(super) fn unambiguous(&self) -> Result<(), DecodeError> {
        match self.duplicate {
            Some(field) => Err(DecodeError::Duplicate {
                field,
                name: self.names.of(field),
            }),
            None => Ok(()),
        }
    }

    /// The text of a field's value; `None` if it is absent or `null`.
    pub(super) fn raw(&self, field: Field) -> Option<&'a str> {
        self.present(field).filter(|value| *value != "null")
    }

    /// The text of a field's value, even if it is `null`; `None` if it is absent.
    pub(super) fn present(&self, field: Field) -> Option<&'a str> {
        let value = match field {
            Field::Type => self.kind,
            Field::Data => self.payload,
            Field::Target => self.target,
            Field::Network => self.network,
            Field::Sender => self.sender,
        };
        value.map(RawValue::get)
    }

    /// The string in a field; `None` if it is absent or `null`.
    pub(super) fn text(&self, field: Field) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let Some(value) = self.raw(field) else {
            return Ok(None);
        };
        let text = json::string(value);
        text.map(Some)
            .ok_or_else(|| self.names.wrong(field, "a string"))
    }

    /// The string in a field that must be there.
    pub(super) fn required(&self, field: Field) -> Result<Cow<'a, str>, DecodeError> {
        self.text(field)?.ok_or_else(|| self.names.missing(field))
    }

    /// The peer that a field names, which must be there.
    pub(super) fn peer(&self, field: Field) -> Result<PeerId, DecodeError> {
        let id = self.required(field)?;
        PeerId::new(&id).map_err(|_| self.names.wrong(field, "a peer id"))
    }
}

/// A value that may be forwarded: nested at most this deep.
pub(super) fn bounded<'a>(
    value: &'a str,
    most: usize,
    names: &Names,
) -> Result<&'a str, DecodeError> {
    if json::depth_is_bounded(value, most) {
        Ok(value)
    } else {
        let name = names.payload;
        Err(DecodeError::TooDeep { name, most })
    }
}

struct Reader {
    names: &'static Names,
    how: json::Names,
}

impl<'de> Visitor<'de> for Reader {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut message = Envelope {
            names: self.names,
            kind: None,
            payload: None,
            target: None,
            network: None,
            sender: None,
            has_more: false,
            duplicate: None,
        };
        while let Some(name) = json::next_name(&mut map, self.how)? {
            let Some(field) = self.names.field(&name) else {
                message.has_more = true;
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let slot = match field {
                Field::Type => &mut message.kind,
                Field::Data => &mut message.payload,
                Field::Target => &mut message.target,
                Field::Network => &mut message.network,
                Field::Sender => &mut message.sender,
            };
            if slot.replace(map.next_value()?).is_some() {
                message.duplicate.get_or_insert(field);
            }
        }
        Ok(message)
    }
}
