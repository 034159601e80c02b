//! The fields that a client's message is read for, whatever a dialect calls them.
//!
//! A message is one JSON object. Here it is taken apart once, into the raw text of each field that the dialect names;
//! values are neither parsed nor copied. A field that is there twice is refused, since nobody could say which of
//! the two counts. Knows no message type; called by the dialects' decoders.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{DecodeError, Field, json};
use crate::mesh::core::ids::PeerId;

/// What a dialect calls the fields that it reads; one without a name is not read.
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

    /// The field is not what it must be.
    pub(super) const fn wrong(&self, field: Field, want: &'static str) -> DecodeError {
        DecodeError::WrongType {
            field,
            name: self.of(field),
            want,
        }
    }
}

/// The fields of a message, as they are.
pub(super) struct Envelope<'a> {
    names: &'static Names,
    kind: Option<&'a RawValue>,
    /// What it carries.
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
    /// Takes a message apart.
    pub(super) fn read(text: &'a str, names: &'static Names) -> Result<Self, DecodeError> {
        let mut parser = serde_json::Deserializer::from_str(text);
        let read = parser.deserialize_map(Reader(names));
        let read = read.and_then(|message| parser.end().map(|()| message));
        let message = read.map_err(|e| match e.classify() {
            // The one thing that the visitor itself refuses is what is not a map.
            Category::Data => DecodeError::NotAnObject,
            _ => DecodeError::NotJson {
                line: e.line(),
                column: e.column(),
            },
        })?;
        match message.duplicate {
            Some(field) => Err(DecodeError::Duplicate {
                field,
                name: names.of(field),
            }),
            None => Ok(message),
        }
    }

    /// The text of a field's value; `None` if it is absent or `null`.
    pub(super) fn raw(&self, field: Field) -> Option<&'a str> {
        let value = match field {
            Field::Type => self.kind,
            Field::Data => self.payload,
            Field::Target => self.target,
            Field::Network => self.network,
            Field::Sender => self.sender,
        };
        value.map(RawValue::get).filter(|value| *value != "null")
    }

    /// The string in a field; `None` if it is absent or `null`.
    pub(super) fn text(&self, field: Field) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let Some(value) = self.raw(field) else {
            return Ok(None);
        };
        let wrong = || self.names.wrong(field, "a string");
        let inside = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .ok_or_else(wrong)?;
        if !inside.contains('\\') {
            return Ok(Some(Cow::Borrowed(inside)));
        }
        serde_json::from_str(value)
            .map(|text: String| Some(Cow::Owned(text)))
            .map_err(|_| wrong())
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

/// A value that may be passed on.
pub(super) fn bounded<'a>(value: &'a str, names: &Names) -> Result<&'a str, DecodeError> {
    if json::depth_is_bounded(value) {
        Ok(value)
    } else {
        Err(DecodeError::TooDeep {
            name: names.payload,
        })
    }
}

struct Reader(&'static Names);

impl<'de> Visitor<'de> for Reader {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut message = Envelope {
            names: self.0,
            kind: None,
            payload: None,
            target: None,
            network: None,
            sender: None,
            has_more: false,
            duplicate: None,
        };
        while let Some(field) = map.next_key_seed(Key(self.0))? {
            let Some(field) = field else {
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

/// Which field a name is: `None` for one that the dialect does not read.
struct Key(&'static Names);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(text))
    }
}
