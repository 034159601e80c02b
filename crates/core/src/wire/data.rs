//! Signals and acknowledgements: stateless, so that any task may write them, and cheap to forward.
//!
//! A hub on the way reads only the head of a frame ([`split_data`]) and forwards the rest unchanged; its destination
//! reads the rest too ([`read_data`]). A signal that a destination cannot decode is left to the exchange, with its
//! number: its source is at fault, not the link on which it arrived.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::dictionary::read_network_name;
use super::primitives::{
    MAX_VARINT, Reader, put_above, put_bytes, put_incarnation, put_peer, put_varint,
};
use super::{DATA_BIT, MAX_PAYLOAD, WireError, close_frame, kind, next_frame};
use crate::frames::{
    AckFrame, DataFrame, FrameHead, PeerSignal, RawFrame, RefusedSignal, RefusedWhy, SignalBody,
    SignalFrame,
};
use crate::ids::{ClaimNo, SignalKind};

/// The variant of a peer's signal.
pub const PEER_VARIANT: u8 = 0;
/// The variant of a hub's message.
pub const HUB_VARIANT: u8 = 1;

/// The longest frame: a payload, and more than all other fields of a signal in this version.
const MAX_FRAME: usize = MAX_PAYLOAD + 1024;
/// The longest head: two hubs and their incarnations.
const MAX_HEAD: usize = 1 + 2 * (20 + MAX_VARINT + 8);
/// The longest acknowledgement: all refusals that one may have, each of a number and a reason.
const MAX_ACK: usize = MAX_HEAD + MAX_VARINT + AckFrame::MAX_REFUSED * (MAX_VARINT + 1);

impl RawFrame {
    /// Whether it is an acknowledgement.
    pub fn is_ack(&self) -> bool {
        self.kind == kind::ACK
    }
}

/// Appends `frame` to the message in `out`.
pub fn encode_data(frame: &DataFrame, out: &mut BytesMut) {
    match frame {
        DataFrame::Signal(signal) => encode_signal(signal, out),
        DataFrame::Ack(ack) => encode_ack(ack, out),
        DataFrame::Raw(frame) => {
            let start = out.len();
            put_head(out, &frame.head);
            close_frame(out, start, frame.kind, frame.rest.len());
            out.extend_from_slice(&frame.rest);
        }
    }
}

fn put_head(out: &mut BytesMut, head: &FrameHead) {
    out.put_u8(head.ttl);
    out.put_slice(&head.dest.0);
    put_incarnation(out, head.dest_incarnation);
    out.put_slice(&head.source.0);
    put_incarnation(out, head.source_incarnation);
}

fn encode_signal(signal: &SignalFrame, out: &mut BytesMut) {
    let start = out.len();
    put_head(out, &signal.head);
    put_varint(out, signal.seq);
    put_above(out, signal.seq, signal.base);
    match &signal.body {
        SignalBody::Peer(peer) => {
            out.put_u8(PEER_VARIANT);
            put_bytes(out, peer.network.as_str().as_bytes());
            put_peer(out, &peer.from);
            put_varint(out, peer.from_claim.0);
            put_varint(out, peer.from_seq);
            put_peer(out, &peer.target);
            put_varint(out, peer.target_claim.0);
            out.put_u8(peer.kind.0);
        }
        SignalBody::Hub { .. } => out.put_u8(HUB_VARIANT),
        SignalBody::Other { variant, .. } => out.put_u8(*variant),
    }
    let payload = signal.body.payload();
    close_frame(out, start, kind::SIGNAL, payload.len());
    out.extend_from_slice(payload);
}

fn encode_ack(ack: &AckFrame, out: &mut BytesMut) {
    let start = out.len();
    put_head(out, &ack.head);
    put_varint(out, ack.upto);
    for refused in &ack.refused {
        put_above(out, ack.upto, refused.seq);
        out.put_u8(match refused.why {
            RefusedWhy::NotHere => 0,
            RefusedWhy::Overload => 1,
            RefusedWhy::Forged => 2,
            RefusedWhy::NotUnderstood => 3,
        });
    }
    close_frame(out, start, kind::ACK, 0);
}

/// The frames of a data message in order. Only their heads are read.
///
/// # Errors
/// The hub at the other end of the link is at fault: every hub reads the heads of the frames that it forwards.
pub fn split_data(message: &Bytes) -> Result<Vec<RawFrame>, WireError> {
    let mut reader = Reader::new(message);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let (kind, body) = next_frame(&mut reader)?;
        if kind & DATA_BIT == 0 {
            return Err(WireError::WrongClass);
        }
        if body.len() > longest(kind) {
            return Err(WireError::TooLong);
        }
        let mut body = Reader::new(body);
        frames.push(RawFrame {
            head: read_head(&mut body)?,
            kind,
            rest: message.slice_ref(body.remainder()),
        });
    }
    if frames.is_empty() {
        return Err(WireError::Empty);
    }
    Ok(frames)
}

/// The longest body of a frame of this kind.
fn longest(kind: u8) -> usize {
    match kind {
        kind::ACK => MAX_ACK,
        _ => MAX_FRAME,
    }
}

/// Decodes a frame at its destination. The payload of a signal is a slice of the message in which it arrived, not a
/// copy. A frame of an unknown kind is not decoded.
///
/// # Errors
/// Its source, or a hub on the way, wrote something else. An unknown body of a signal is not an error here.
pub fn read_data(frame: RawFrame) -> Result<DataFrame, WireError> {
    match frame.kind {
        kind::SIGNAL => read_signal(frame).map(DataFrame::Signal),
        kind::ACK => read_ack(&frame).map(DataFrame::Ack),
        _ => Ok(DataFrame::Raw(frame)),
    }
}

/// The frames of a data message in order, each of them read.
///
/// # Errors
/// One of them is malformed.
pub fn decode_data(message: &Bytes) -> Result<Vec<DataFrame>, WireError> {
    split_data(message)?.into_iter().map(read_data).collect()
}

fn read_head(body: &mut Reader<'_>) -> Result<FrameHead, WireError> {
    Ok(FrameHead {
        ttl: body.u8()?,
        dest: body.hub()?,
        dest_incarnation: body.incarnation()?,
        source: body.hub()?,
        source_incarnation: body.incarnation()?,
    })
}

fn read_signal(frame: RawFrame) -> Result<SignalFrame, WireError> {
    let RawFrame { head, rest, .. } = frame;
    let mut body = Reader::new(&rest);
    let seq = body.varint()?;
    // The difference is seq - base, so base lies that far below.
    let base = seq.wrapping_sub(body.above(0)?);
    let variant = body.u8()?;
    let unread = body.len();
    let said = read_meta(variant, &mut body).ok().flatten();
    // The payload is what follows the fields that were read, or everything if they cannot be read.
    let behind = if said.is_some() { body.len() } else { unread };
    let mut payload = rest;
    payload.advance(payload.len() - behind);
    let body = match said {
        Some(SignalMeta::Peer(signal)) => SignalBody::Peer(PeerSignal { payload, ..signal }),
        Some(SignalMeta::Hub) => SignalBody::Hub { payload },
        None => SignalBody::Other { variant, payload },
    };
    Ok(SignalFrame {
        head,
        seq,
        base,
        body,
    })
}

/// The fields of a signal, without its payload.
enum SignalMeta {
    Peer(PeerSignal),
    Hub,
}

/// None if this version does not know the variant.
fn read_meta(variant: u8, body: &mut Reader<'_>) -> Result<Option<SignalMeta>, WireError> {
    let said = match variant {
        PEER_VARIANT => SignalMeta::Peer(PeerSignal {
            network: read_network_name(body)?,
            from: body.peer()?,
            from_claim: ClaimNo(body.varint()?),
            from_seq: body.varint()?,
            target: body.peer()?,
            target_claim: ClaimNo(body.varint()?),
            kind: SignalKind(body.u8()?),
            payload: Bytes::new(),
        }),
        HUB_VARIANT => SignalMeta::Hub,
        _ => return Ok(None),
    };
    if body.len() > MAX_PAYLOAD {
        return Err(WireError::TooLong);
    }
    Ok(Some(said))
}

fn read_ack(frame: &RawFrame) -> Result<AckFrame, WireError> {
    let mut body = Reader::new(&frame.rest);
    let upto = body.varint()?;
    let mut refused = Vec::new();
    while !body.is_empty() {
        if refused.len() == AckFrame::MAX_REFUSED {
            return Err(WireError::TooLong);
        }
        refused.push(RefusedSignal {
            seq: upto.wrapping_sub(body.above(0)?),
            why: match body.u8()? {
                1 => RefusedWhy::Overload,
                2 => RefusedWhy::Forged,
                3 => RefusedWhy::NotUnderstood,
                _ => RefusedWhy::NotHere,
            },
        });
    }
    Ok(AckFrame {
        head: frame.head,
        upto,
        refused,
    })
}
