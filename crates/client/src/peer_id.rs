//! The id of a native peer: forty hexadecimal digits, and how to draw a fresh one.
//!
//! Owns only the format. A value of [`PeerId`] is always well formed; ids that differ only in letter case are
//! different.

use std::{fmt, str::FromStr};

use thiserror::Error;

const DIGITS: usize = 40;

/// Forty hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(String);

/// The text is not a peer id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a peer id is {DIGITS} hexadecimal digits; this is {0} characters")]
pub struct InvalidPeerId(usize);

impl PeerId {
    /// Twenty bytes from the operating system's seeded generator.
    pub fn random() -> Self {
        Self(hex::encode(rand::random::<[u8; DIGITS / 2]>()))
    }

    /// The forty digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPeerId(text.chars().count()))
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for PeerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
