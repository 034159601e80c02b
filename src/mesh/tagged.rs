//! Messages between hubs that the core does not know: postcard behind one byte that tells their kind.
//!
//! They travel as signals between hubs do. Hubs that do not know a byte ignore the message; MESH.md lists all, those of
//! the core among them. Decoding never panics.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Messages about STUN and TURN servers.
pub(super) const RELAYS: u8 = 4;
/// Messages about the condition of hubs.
pub(super) const CONDITIONS: u8 = 5;
/// What hubs ask and tell each other for their operators.
pub(super) const OPERATORS: u8 = 6;

pub(super) fn encode(tag: u8, message: &impl Serialize) -> Bytes {
    // Encoding into memory cannot fail for these types; an empty message is ignored by its receiver.
    postcard::to_stdvec(&(tag, message))
        .unwrap_or_default()
        .into()
}

/// Whether a message has this tag, well-formed or not.
pub(super) fn is(tag: u8, payload: &[u8]) -> bool {
    payload.first() == Some(&tag)
}

pub(super) fn decode<M: DeserializeOwned>(tag: u8, payload: &[u8]) -> Option<M> {
    let (first, rest) = payload.split_first()?;
    if *first != tag {
        return None;
    }
    postcard::from_bytes(rest).ok()
}
