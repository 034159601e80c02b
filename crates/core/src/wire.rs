//! The bytes of the frames between hubs.
//!
//! Owns every layout below, and the bounds of decoding. Knows nothing of links, of routes or of the purpose of a frame.
//! Callers: the core encodes and decodes control messages with one [`Encoder`] and one [`Decoder`] per link; the data
//! path writes signals straight to a link with [`encode_data`].
//!
//! Invariants: no byte sequence makes a decoder panic. The memory that a decoder allocates is at most a constant times
//! the length of the message, whatever counts and lengths the message has. An encoder, and the decoder at the other
//! end, have the same dictionary after the same messages in the same order.
//!
//! # Messages
//!
//! A WebSocket binary message is one or more frames back to back:
//!
//! ```text
//! frame     length varint | kind u8 | body (length bytes)
//! varint    unsigned LEB128, at most 10 bytes
//! signed    zigzag of the wrapping difference, as varint
//! text      length varint | UTF-8
//! epoch     varint;  nonce  8 bytes, big-endian
//! ```
//!
//! Kinds with bit 0x40 are *data*, the others *control*; a message has frames of one class alone, so that its
//! first frame tells ([`is_data`]). Frames of an unknown kind are skipped by their length, and so are the
//! bodies of unknown variants inside a known kind where this is said. A later version may append to the body
//! of Ping, Pong, Subscribe, Unsubscribe, Follow, Unfollow and Audit: bytes after the last known field are ignored.
//!
//! # Data (stateless)
//!
//! ```text
//! head          ttl u8 | dest 20 | epoch | nonce | source 20 | epoch | nonce
//! 0x41 Signal   head | seq varint | seq - base signed | variant u8 | rest
//!   variant 0   network text | from peer | from_claim varint | from_seq varint | target peer
//!               | target_claim varint | signal kind u8 | payload (to the end)
//!   variant 1   payload (to the end)
//!   others      refused by the destination as 3
//! 0x42 Ack      head | upto varint | (upto - seq signed | why u8)*
//!   why         0 not here, 1 overload, 2 forged, 3 not understood; others read as 0
//! others        head | rest
//! peer          0 | 20 bytes (40 lower-case hex digits, packed), or length 1..=128 | UTF-8
//! ```
//!
//! Every data frame begins with a head, also those of later versions. A hub on the way reads only that, and forwards
//! the frame unchanged. Its destination skips a frame of an unknown kind.
//!
//! # Control (with a dictionary per link and direction)
//!
//! ```text
//! 0x01 Ping         token varint
//! 0x02 Pong         token varint
//! 0x03 Bye          postcard of `bye::Reason`; an unknown reason makes the frame an unknown one
//! 0x04 Digest       (hub | incarnation | number varint)*
//! 0x05 Records      (hub | incarnation | number varint | flags u8 | urls varint | text* | region text
//!                   | neighbours varint | (hub | cost varint)*)*
//!   flags           0x01 draining; other bits are ignored
//! 0x06 Subscribe    hub | incarnation | seq varint
//! 0x07 Unsubscribe  hub
//! 0x08 Audit        hub | incarnation | seq varint | hash 8 bytes, big-endian
//! 0x09 Delta        hub | flags u8 | incarnation, unless 0x04 | from varint, unless 0x08
//!                   | to - from signed, unless 0x10 | entry*
//!   flags           0x01 reset, 0x02 last, 0x04 incarnation is the one last named for this hub,
//!                   0x08 from is where the last delta of this hub ended, 0x10 to is the last entry's
//!                   number (`from`, if there is none); other bits are ignored
//! 0x0a Summary      flags u8 | (sum 4 bytes, big-endian)*
//!   flags           0x01 the sender wants all records, 0x02 it answers a summary; other bits are ignored
//! 0x0b Announce     (hub | incarnation | number varint)*
//! 0x0c Want         hub*
//! 0x0d Follow       hub | incarnation | seq varint | scope
//! 0x0e Unfollow     hub | scope
//! 0x0f Changes      set | flags u8 | incarnation, unless 0x04 | from - base signed, unless 0x08
//!                   | to - from signed, unless 0x10 | entry*
//!   flags           those of a delta; the base is where the last delta of the hub ended, of whatever set
//!   scope           text: a network, or empty for the networks of a hub
//!   set             0 | hub | scope, which take the next slot; or slot + 1, as varint. Past [`MAX_SETS`] the slots are
//!                   given anew, from the first on
//! hub               0 | 20 bytes, which take the next free slot; or slot + 1, as varint
//! network           0 | text, which takes the next free slot; or slot + 1, as varint
//! incarnation       0: the one last named for this hub; or epoch + 1 varint | nonce
//!
//! entry             tag u8 | seq - (previous seq + 1) signed, if 0x08 | change
//!   tag & 0x07      0 claim, 1 gone, 2..=7 of an item that this version does not know
//!   tag             0x08 has a number, 0x10 quiet, 0x20 has data, 0x40 peer as text (else 20 bytes),
//!                   0x80 network of the entry before (else named)
//!   claim           network, unless 0x80 | peer | claim - base signed | wall - base signed
//!                   | counter varint | data text-like bytes, if 0x20
//!   gone            network, unless 0x80 | peer | claim - base signed | reason u8
//!   item            length varint | network text | item varint | rest; with 0x10 in the tag the item is gone
//! ```
//!
//! A dictionary has [`MAX_SLOTS`] slots for hubs and as many for networks; once full, further names travel in full each
//! time and take no slot. Each hub with a slot has *bases*: the incarnation last named for it, where its last delta ended,
//! and the claim number and the milliseconds of the HLC of its last claim entry; all but the first go back to zero when
//! another incarnation is named. A hub without a slot has bases of zero, and its incarnation is always named in full. An
//! unknown frame or change must neither name nor alter anything of the dictionary: the network of an item is written in
//! full. Of an item the last change stands, as of a claim; it is kept and passed on as it came. "The entry before" of the
//! first entry of a delta is none: it names its network; in Changes of one network, that one is as if it had been named.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod bye;
mod control;
mod data;
mod delta;
mod dictionary;
mod primitives;
#[cfg(test)]
mod tests;

pub use control::{Decoder, Encoder, record_size};
pub use data::{HUB_VARIANT, PEER_VARIANT, decode_data, encode_data, read_data, split_data};
pub use delta::entry_size;
pub use dictionary::{MAX_SETS, MAX_SLOTS};

use primitives::{Reader, put_varint};

/// The size that a message should not exceed.
pub const MESSAGE_TARGET: usize = 16 * 1024;
/// The most that a frame takes beside its records, digest lines or entries.
pub const FRAME_OVERHEAD: usize = 80;
/// The most that a line of a digest takes.
pub const DIGEST_ENTRY_SIZE: usize = 1 + 20 + 10 + 8 + 10;

/// The longest payload of a signal between hubs, and the longest data of a claim: the highest value of
/// `MAX_ANNOUNCE_BYTES`. A longer one would make the message too long in which it is forwarded. If `MAX_MESSAGE_BYTES`
/// is higher, a longer signal reaches only peers of its own hub.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// Kinds of frames. Those with [`DATA_BIT`] belong to the data class.
mod kind {
    pub(super) const PING: u8 = 0x01;
    pub(super) const PONG: u8 = 0x02;
    pub(super) const BYE: u8 = 0x03;
    pub(super) const DIGEST: u8 = 0x04;
    pub(super) const RECORDS: u8 = 0x05;
    pub(super) const SUBSCRIBE: u8 = 0x06;
    pub(super) const UNSUBSCRIBE: u8 = 0x07;
    pub(super) const AUDIT: u8 = 0x08;
    pub(super) const DELTA: u8 = 0x09;
    pub(super) const SUMMARY: u8 = 0x0a;
    pub(super) const ANNOUNCE: u8 = 0x0b;
    pub(super) const WANT: u8 = 0x0c;
    pub(super) const FOLLOW: u8 = 0x0d;
    pub(super) const UNFOLLOW: u8 = 0x0e;
    pub(super) const CHANGES: u8 = 0x0f;
    pub(super) const SIGNAL: u8 = 0x41;
    pub(super) const ACK: u8 = 0x42;
}

const DATA_BIT: u8 = 0x40;

/// Why a message could not be decoded. It is always the sender's fault. The link has to be closed, because a part of
/// the message may already be in the dictionary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// A field or a frame goes past the end.
    #[error("the message ends in the middle of a frame")]
    Truncated,
    /// A message without a frame.
    #[error("the message is empty")]
    Empty,
    /// A varint has more than 64 bits.
    #[error("a number has more than 64 bits")]
    Overlong,
    /// A number is too high for its field.
    #[error("a number is out of its range")]
    OutOfRange,
    /// A text is not UTF-8, or an identifier has a forbidden length.
    #[error("a text or an identifier is malformed")]
    BadText,
    /// A slot or an incarnation that was never named.
    #[error("a reference to something that was never named")]
    BadReference,
    /// A list is too long.
    #[error("a list or a text is longer than it may be")]
    TooLong,
    /// Neighbours out of order, or twice.
    #[error("a list is not in its order")]
    Disorder,
    /// A frame of the other class.
    #[error("data and control frames in one message")]
    WrongClass,
}

/// Whether this is a message of the data class, by the kind of its first frame.
pub fn is_data(message: &[u8]) -> bool {
    let mut reader = Reader::new(message);
    reader
        .varint()
        .and_then(|_| reader.u8())
        .is_ok_and(|kind| kind & DATA_BIT != 0)
}

/// Splits the next frame off: its kind and its body.
fn next_frame<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), WireError> {
    let length = reader.varint()?;
    let kind = reader.u8()?;
    let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
    Ok((kind, reader.take(length)?))
}

/// Inserts the length and the kind before the bytes that were written to `out` since `start`. `trailing` bytes of the
/// body are still to be written.
fn close_frame(out: &mut bytes::BytesMut, start: usize, kind: u8, trailing: usize) {
    let written = out.len() - start;
    put_varint(out, (written + trailing) as u64);
    out.extend_from_slice(&[kind]);
    if let Some(frame) = out.get_mut(start..) {
        frame.rotate_left(written);
    }
}
