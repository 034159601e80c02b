//! Packets in a stream: how long the next one is (RFC 8656, section 3.1; over TLS the same).
//!
//! A message tells its own length; the data of a channel is padded to four bytes. Pure; the reader of the stream keeps
//! the bytes.

use crate::codec::{CHANNEL_HEADER, LONGEST_PACKET, MESSAGE_HEADER};

/// The packet at the front of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Too few bytes to tell.
    Unknown,
    /// A packet of `length` bytes, in `padded` bytes of the stream, which may not all be there yet.
    Packet {
        /// For [`Server::handle_client`](crate::Server::handle_client).
        length: usize,
        /// The bytes to take from the stream.
        padded: usize,
    },
    /// Neither STUN nor TURN, or longer than a packet may be: nothing after it is read either.
    Broken,
}

impl Frame {
    /// The packet at the front of these bytes.
    pub fn at(bytes: &[u8]) -> Self {
        let Some([first, _, l0, l1]) = bytes.first_chunk() else {
            return match bytes.first() {
                Some(first) if first >> 6 > 1 => Frame::Broken,
                _ => Frame::Unknown,
            };
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let length = match first >> 6 {
            0 if length.is_multiple_of(4) => MESSAGE_HEADER + length,
            1 => CHANNEL_HEADER + length,
            _ => return Frame::Broken,
        };
        if length > LONGEST_PACKET {
            return Frame::Broken;
        }
        Frame::Packet {
            length,
            padded: length.next_multiple_of(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_how_long_a_packet_is() {
        let packet = |length, padded| Frame::Packet { length, padded };
        assert_eq!(Frame::at(&[0, 1, 0, 8]), packet(28, 28));
        assert_eq!(Frame::at(&[0x40, 0, 0, 5, 9]), packet(9, 12));
        assert_eq!(Frame::at(&[0x40, 0, 0, 0]), packet(4, 4));
        assert_eq!(Frame::at(&[0, 1, 0, 7]), Frame::Broken);
        assert_eq!(Frame::at(b"GET / HTTP/1.1"), packet(4 + 0x5420, 4 + 0x5420));
        assert_eq!(Frame::at(&[0x80]), Frame::Broken);
        assert_eq!(Frame::at(&[0x16, 3, 1, 2, 0]), Frame::Broken);
        assert_eq!(Frame::at(&[0, 1, 0xff, 0xcc]), packet(65_504, 65_504));
        assert_eq!(Frame::at(&[0, 1, 0xff, 0xd0]), Frame::Broken);
        assert_eq!(Frame::at(&[0x40, 0, 0xff, 0xdf]), packet(65_507, 65_508));
        assert_eq!(Frame::at(&[0x40, 0, 0xff, 0xe0]), Frame::Broken);
        for few in [&[][..], &[0], &[0x40, 0, 0]] {
            assert_eq!(Frame::at(few), Frame::Unknown);
        }
    }
}
