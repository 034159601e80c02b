//! The floor's protocol: what reading and writing the bytes costs anyone, and nothing on top.
//!
//! Frames are a big-endian `u32` length and that many bytes. The first frame of a connection is its id of [`ID_LEN`]
//! bytes, answered with a frame of no bytes. Every further frame is the receiver's id and a payload; it reaches the
//! receiver with the sender's id in front. Both the client's half (here) and the relay (`mode/floor`) use these frames.

use hubmesh_client::PeerId;

use super::{Candidate, Codec, DialectError, Event};
use crate::stamp::{self, Slot, Stamp};

/// The length of an id: that of a native peer's.
pub const ID_LEN: usize = 40;
/// The longest frame that either side takes.
const FRAME_LIMIT: usize = 1024 * 1024;

const HEADER: usize = 4;

/// Takes one whole frame off the front of `input`: its body, and the bytes that it took.
pub fn read_frame(input: &[u8]) -> Result<Option<(&[u8], usize)>, DialectError> {
    let Some((length, rest)) = input.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > FRAME_LIMIT {
        return Err(DialectError::Malformed("a frame above 1 MiB"));
    }
    Ok(rest.get(..length).map(|body| (body, HEADER + length)))
}

/// Appends a frame whose body is `parts` one after the other, at most [`FRAME_LIMIT`] bytes together.
pub fn write_frame(parts: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&(length as u32).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

pub struct FloorCodec {
    id: PeerId,
}

impl FloorCodec {
    pub fn new(id: PeerId) -> Self {
        Self { id }
    }
}

impl Codec for FloorCodec {
    fn hello(&mut self, out: &mut Vec<u8>) {
        write_frame(&[self.id.as_str().as_bytes()], out);
    }

    fn join(&mut self, out: &mut Vec<u8>) {
        // A frame to oneself comes back once the relay knows the id.
        write_frame(&[self.id.as_str().as_bytes()], out);
    }

    fn leave(&mut self, _out: &mut Vec<u8>) {}

    fn candidate(&self, to: &PeerId, bytes: usize) -> Candidate {
        let mut frame = Vec::new();
        write_frame(
            &[to.as_str().as_bytes(), &stamp::payload(bytes)],
            &mut frame,
        );
        let slot = Slot::find(&frame);
        Candidate::new(frame, slot)
    }

    fn decode(
        &mut self,
        input: &[u8],
        events: &mut Vec<Event>,
        _out: &mut Vec<u8>,
    ) -> Result<usize, DialectError> {
        let mut done = 0;
        while let Some((body, len)) = read_frame(input.get(done..).unwrap_or_default())? {
            events.push(match body.len() {
                0 => Event::Open,
                ID_LEN => Event::Joined,
                _ => Stamp::find(body).map_or(Event::Other, Event::Arrived),
            });
            done += len;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whole_or_not_at_all() {
        let mut bytes = Vec::new();
        write_frame(&[b"ab", b"c"], &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(read_frame(&bytes[..cut]), Ok(None));
        }
        assert_eq!(read_frame(&bytes), Ok(Some((&b"abc"[..], 7))));
        assert!(read_frame(&[0xFF; 8]).is_err());
    }

    #[test]
    fn a_candidate_arrives_with_its_stamp() {
        let mut floor = FloorCodec::new(PeerId::random());
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let stamp = Stamp::now(3);
        floor
            .candidate(&PeerId::random(), 300)
            .write(stamp, &mut out);
        assert_eq!(out.len(), HEADER + ID_LEN + 300);
        assert_eq!(
            floor.decode(&out, &mut events, &mut Vec::new()),
            Ok(out.len())
        );
        assert_eq!(events, [Event::Arrived(stamp)]);
    }
}
