//! What hubs tell each other once a link stands: control messages with their dictionary, and data messages.

use bytes::{Bytes, BytesMut};
use hubmesh_core::frames::DataFrame;
use hubmesh_core::wire::{
    Decoder, Encoder, MAX_SLOTS, decode_data, encode_data, is_data, split_data,
};

/// Reads the control messages of one link, each with two bytes of length in front. What was read is written again
/// by one encoder, and reads the same at the other end of it: both ends hold the same dictionary.
pub fn mesh_control(input: &[u8]) {
    let mut decoder = Decoder::new();
    let mut encoder = Encoder::new();
    let mut second = Decoder::new();
    for message in messages(input) {
        let Ok(frames) = decoder.decode(&message) else {
            // The link is closed.
            return;
        };
        assert!(
            frames.len() <= message.len(),
            "a frame takes a byte at least"
        );
        let mut again = BytesMut::new();
        for frame in &frames {
            encoder.encode(frame, &mut again);
        }
        let again = second.decode(&again.freeze());
        assert_eq!(again.as_ref(), Ok(&frames));
    }
}

/// Splits the input into messages; the last one is what is left.
fn messages(mut input: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (message, rest) = rest.split_at(length);
        messages.push(Bytes::copy_from_slice(message));
        input = rest;
        if messages.len() > MAX_SLOTS {
            break;
        }
    }
    messages
}

/// Reads a data message, as its destination and every hop on the way do. What was read is written again and reads
/// the same.
pub fn mesh_data(input: &[u8]) {
    let message = Bytes::copy_from_slice(input);
    if let Ok(frames) = split_data(&message) {
        let mut again = BytesMut::new();
        for frame in &frames {
            encode_data(&DataFrame::Raw(frame.clone()), &mut again);
        }
        assert_eq!(split_data(&again.freeze()), Ok(frames));
    }
    if let Ok(frames) = decode_data(&message) {
        let mut again = BytesMut::new();
        for frame in &frames {
            encode_data(frame, &mut again);
        }
        let again = again.freeze();
        assert!(is_data(&again));
        assert_eq!(decode_data(&again), Ok(frames));
    }
}
