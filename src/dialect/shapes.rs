//! Messages of the hub as structs: their fields, in the order in which they are written, are what a client sees.
//!
//! What carries no payload is written so, by `serde_json`. What carries one, or is written for each member of a network at
//! once, is put together in the dialects' encoders: a payload would have to be read once more to be a `RawValue` of it, and
//! `cargo bench --bench dialect` shows what that costs. Knows no message; used by the encoders.

use hubmesh_core::ids::PeerId;
use serde::{Serialize, Serializer};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A peer id as a JSON string.
pub(super) struct Id<'a>(pub(super) &'a PeerId);

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// The text of a message.
pub(super) fn written(message: &impl Serialize) -> Utf8Bytes {
    // Structs with names for fields, of strings and numbers, always serialize.
    serde_json::to_string(message).unwrap_or_default().into()
}
