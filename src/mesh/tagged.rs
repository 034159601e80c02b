//! Messages between hubs that the core cannot read: postcard after a byte for their kind.
//!
//! They are sent like signals between hubs. A hub that does not know a byte ignores the message. MESH.md lists all
//! bytes, including those of the core. Decoding never panics.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Messages about STUN and TURN servers.
pub(super) const RELAYS: u8 = 4;
/// Messages about the condition of hubs.
pub(super) const CONDITIONS: u8 = 5;
/// Messages between hubs for their operators.
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
