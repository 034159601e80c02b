//! Why a client's message cannot be decoded by its dialect.

use super::Complaint;

/// A part of a client's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Its type.
    Type,
    /// Its payload.
    Data,
    /// Its target.
    Target,
    /// Its network.
    Network,
    /// Its sender, as the message says.
    Sender,
}

/// Why a client's message cannot be decoded. Always the client's fault, and nothing has changed: the client is told and
/// the connection goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON.
    #[error("the message is not JSON: line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("a message is a JSON object")]
    NotAnObject,
    /// A field that the message must have.
    #[error("`{name}` is missing")]
    Missing {
        /// The field.
        field: Field,
        /// Its name in this dialect.
        name: &'static str,
    },
    /// A field that is there twice, in a dialect in which neither of the two counts.
    #[error("`{name}` is there twice")]
    Duplicate {
        /// The field.
        field: Field,
        /// Its name in this dialect.
        name: &'static str,
    },
    /// A field of the wrong type.
    #[error("`{name}` must be {want}")]
    WrongType {
        /// The field.
        field: Field,
        /// Its name in this dialect.
        name: &'static str,
        /// The type that it must have.
        want: &'static str,
    },
    /// A payload whose arrays and objects are nested deeper than the dialect allows.
    #[error("`{name}` is nested deeper than {most} levels")]
    TooDeep {
        /// The payload's name in this dialect.
        name: &'static str,
        /// How deep it may be.
        most: usize,
    },
}

impl DecodeError {
    /// A stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            DecodeError::NotJson { .. } => "not-json",
            DecodeError::NotAnObject => "not-an-object",
            DecodeError::Missing { .. } => "missing-field",
            DecodeError::Duplicate { .. } => "duplicate-field",
            DecodeError::WrongType { .. } => "wrong-type",
            DecodeError::TooDeep { .. } => "too-deep",
        }
    }

    /// The error for the client.
    pub fn complaint(&self) -> Complaint<'static> {
        Complaint {
            code: self.code(),
            text: self.to_string().into(),
        }
    }
}
