//! The messages of hubs on a link, after the handshake: control messages with their dictionary, and data messages.

use bytes::{Bytes, BytesMut};
use hubmesh_core::frames::DataFrame;
use hubmesh_core::wire::{
    Decoder, Encoder, MAX_SLOTS, decode_data, encode_data, is_data, split_data,
};

/// Reads the control messages of one link, each with its length in two bytes in front. One encoder writes the frames
/// again, and the other end reads the same frames, because both ends hold the same dictionary.
pub fn mesh_control(input: &[u8]) {
    let mut decoder = Decoder::new();
    let mut encoder = Encoder::new();
    let mut second = Decoder::new();
    for message in messages(input) {
        let Ok(frames) = decoder.decode(&message) else {
            // A hub closes the link here.
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

/// Splits the input into messages. The last message may be shorter than its length says.
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

/// Reads a data message, as its destination and every hop on the way do. The frames are written again, and read the
/// same.
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
