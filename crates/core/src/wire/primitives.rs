//! Numbers, identifiers and texts: the elements of all layouts. Decoding is checked at every step.

use bytes::{BufMut, BytesMut};

use super::WireError;
use crate::ids::{HubId, Incarnation, PeerId};

/// The longest varint.
pub(super) const MAX_VARINT: usize = 10;

/// The bytes that are still to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        let (&first, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// All remaining bytes.
    pub(super) fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u32_be(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64_be(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(WireError::Overlong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Overlong)
    }

    /// The number that lies this signed difference above `base`.
    pub(super) fn above(&mut self, base: u64) -> Result<u64, WireError> {
        let zigzag = self.varint()?;
        let difference = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
        Ok(base.wrapping_add(difference))
    }

    /// A varint that is a count or a length, at most `max`.
    pub(super) fn bounded(&mut self, max: usize) -> Result<usize, WireError> {
        let value = usize::try_from(self.varint()?).map_err(|_| WireError::TooLong)?;
        if value > max {
            return Err(WireError::TooLong);
        }
        Ok(value)
    }

    pub(super) fn text(&mut self, max: usize) -> Result<&'a str, WireError> {
        let length = self.bounded(max)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| WireError::BadText)
    }

    pub(super) fn hub(&mut self) -> Result<HubId, WireError> {
        self.array().map(HubId)
    }

    pub(super) fn incarnation(&mut self) -> Result<Incarnation, WireError> {
        let epoch = u32::try_from(self.varint()?).map_err(|_| WireError::OutOfRange)?;
        let nonce = self.u64_be()?;
        Ok(Incarnation { epoch, nonce })
    }

    pub(super) fn packed_peer(&mut self) -> Result<PeerId, WireError> {
        self.array().map(PeerId::Hex)
    }

    pub(super) fn text_peer(&mut self) -> Result<PeerId, WireError> {
        let text = self.text(PeerId::MAX_BYTES)?;
        PeerId::new(text).map_err(|_| WireError::BadText)
    }

    /// A peer id whose first byte gives its form.
    pub(super) fn peer(&mut self) -> Result<PeerId, WireError> {
        let mut ahead = *self;
        if ahead.u8()? == 0 {
            *self = ahead;
            return self.packed_peer();
        }
        self.text_peer()
    }
}

pub(super) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes how far `value` lies above `base`.
pub(super) fn put_above(out: &mut BytesMut, value: u64, base: u64) {
    let difference = value.wrapping_sub(base);
    put_varint(out, (difference << 1) ^ (difference >> 63).wrapping_neg());
}

pub(super) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(super) fn put_incarnation(out: &mut BytesMut, incarnation: Incarnation) {
    put_varint(out, u64::from(incarnation.epoch));
    out.put_u64(incarnation.nonce);
}

pub(super) fn put_peer(out: &mut BytesMut, peer: &PeerId) {
    match peer {
        PeerId::Hex(packed) => {
            out.put_u8(0);
            out.put_slice(packed);
        }
        PeerId::Text(text) => put_bytes(out, text.as_bytes()),
    }
}
