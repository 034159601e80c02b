//! The mark inside each candidate: its number and the moment that it was sent, by which its arrival is recognised.
//!
//! Owns the layout: a fixed marker and 24 hexadecimal digits, so that a stamp is found in any protocol's bytes without
//! parsing them and overwritten in place. Knows no protocol. The clock is the run's own, so stamps compare only within
//! one process.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use memchr::memmem;

const MARKER: &[u8] = b"\"stamp\":\"";
const NUMBER_DIGITS: usize = 8;
const DIGITS: usize = NUMBER_DIGITS + 16;

/// The number of a probe, which no statistics count.
const PROBE: u32 = u32::MAX;

/// A candidate's number within its pair and its time of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub number: u32,
    nanos: u64,
}

impl Stamp {
    /// A stamp of this moment.
    pub fn now(number: u32) -> Self {
        Self {
            number,
            nanos: clock(),
        }
    }

    /// The stamp of a message that only finds out whether there is a path.
    pub fn probe() -> Self {
        Self::now(PROBE)
    }

    pub fn is_probe(&self) -> bool {
        self.number == PROBE
    }

    pub fn age(&self) -> Duration {
        Duration::from_nanos(clock().saturating_sub(self.nanos))
    }

    /// The stamp in the bytes of a message, if it has one.
    pub fn find(message: &[u8]) -> Option<Self> {
        let start = memmem::find(message, MARKER)? + MARKER.len();
        let digits = message.get(start..start + DIGITS)?;
        let (number, nanos) = digits.split_at(NUMBER_DIGITS);
        Some(Self {
            number: u32::try_from(from_hex(number)?).ok()?,
            nanos: from_hex(nanos)?,
        })
    }
}

/// Where the stamp is in an encoded message, and the mask it is under.
pub struct Slot {
    range: Range<usize>,
    /// A WebSocket mask, turned so that its first byte is for the first digit.
    mask: [u8; 4],
}

impl Slot {
    /// Finds the stamp's place in a message that is not masked yet.
    pub fn find(message: &[u8]) -> Option<Self> {
        let start = memmem::find(message, MARKER)? + MARKER.len();
        let range = start..start + DIGITS;
        message.get(range.clone())?;
        Some(Self {
            range,
            mask: [0; 4],
        })
    }

    /// The same place in a WebSocket frame whose payload is under `mask`, `header` bytes further on.
    pub fn masked(self, mask: [u8; 4], header: usize) -> Self {
        let mut turned = mask;
        turned.rotate_left(self.range.start % mask.len());
        Self {
            range: self.range.start + header..self.range.end + header,
            mask: turned,
        }
    }

    pub fn fill(&self, stamp: Stamp, message: &mut [u8]) {
        let Some(place) = message.get_mut(self.range.clone()) else {
            return;
        };
        let (number, nanos) = place.split_at_mut(NUMBER_DIGITS);
        to_hex(u64::from(stamp.number), number);
        to_hex(stamp.nanos, nanos);
        for (digit, mask) in place.iter_mut().zip(self.mask.iter().cycle()) {
            *digit ^= mask;
        }
    }
}

/// A JSON object of exactly `bytes` bytes (or the least that a stamp needs) that looks like an ICE candidate.
pub fn payload(bytes: usize) -> Vec<u8> {
    let head = format!(
        "{{\"stamp\":\"{}\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0,\"candidate\":\"candidate:1 1 udp 2122260223 127.0.0.1 9 typ host ",
        "0".repeat(DIGITS)
    );
    let padding = bytes.saturating_sub(head.len() + 2);
    format!("{head}{}\"}}", "x".repeat(padding)).into_bytes()
}

fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

fn from_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value: u64, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some((value << 4) | u64::from(digit))
    })
}

fn to_hex(value: u64, digits: &mut [u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = HEX[(value >> (4 * place)) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_length_asked_for_and_is_json() {
        for bytes in [160, 300, 4000] {
            let payload = payload(bytes);
            assert_eq!(payload.len(), bytes);
            assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
        }
    }

    #[test]
    fn a_stamp_is_found_again_where_it_was_written() {
        let mut message = payload(300);
        let slot = Slot::find(&message).unwrap();
        for stamp in [Stamp::now(0), Stamp::now(77), Stamp::probe()] {
            slot.fill(stamp, &mut message);
            assert_eq!(Stamp::find(&message), Some(stamp));
        }
    }

    #[test]
    fn what_has_no_whole_stamp_has_none() {
        for message in [
            &b""[..],
            b"\"stamp\":\"12",
            b"{\"stamp\":\"zzzzzzzzzzzzzzzzzzzzzzzz\"}",
        ] {
            assert_eq!(Stamp::find(message), None);
        }
    }
}
