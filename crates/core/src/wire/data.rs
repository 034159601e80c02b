//! Signals and acknowledgements: stateless, so that any task may write them, and cheap to pass on.

use bytes::{BufMut, Bytes, BytesMut};

use super::dictionary::read_network_name;
use super::primitives::{Reader, put_above, put_bytes, put_incarnation, put_peer, put_varint};
use super::{DATA_BIT, MAX_PAYLOAD, WireError, close_frame, kind, next_frame};
use crate::frames::{
    AckFrame, DataFrame, Head, PeerSignal, Refused, RefusedWhy, SignalBody, SignalFrame,
};
use crate::ids::{ClaimNo, SignalKind};

const PEER: u8 = 0;
const HUB: u8 = 1;

/// Appends `frame` to the message in `out`; one of an unknown kind writes nothing.
pub fn encode_data(frame: &DataFrame, out: &mut BytesMut) {
    match frame {
        DataFrame::Signal(signal) => encode_signal(signal, out),
        DataFrame::Ack(ack) => encode_ack(ack, out),
        DataFrame::Unknown { .. } => {}
    }
}

fn put_head(out: &mut BytesMut, head: &Head) {
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
            out.put_u8(PEER);
            put_bytes(out, peer.network.as_str().as_bytes());
            put_peer(out, &peer.from);
            put_varint(out, peer.from_claim.0);
            put_varint(out, peer.from_seq);
            put_peer(out, &peer.target);
            put_varint(out, peer.target_claim.0);
            out.put_u8(peer.kind.0);
        }
        SignalBody::Hub { .. } => out.put_u8(HUB),
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
        });
    }
    close_frame(out, start, kind::ACK, 0);
}

/// The frames of a data message, in order. Payloads are slices of `message`, not copies.
pub fn decode_data(message: &Bytes) -> Result<Vec<DataFrame>, WireError> {
    let mut reader = Reader::new(message);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let (kind, body) = next_frame(&mut reader)?;
        frames.push(read_frame(message, kind, Reader::new(body))?);
    }
    if frames.is_empty() {
        return Err(WireError::Empty);
    }
    Ok(frames)
}

fn read_frame(message: &Bytes, kind: u8, mut body: Reader<'_>) -> Result<DataFrame, WireError> {
    match kind {
        kind::SIGNAL => read_signal(message, &mut body),
        kind::ACK => read_ack(&mut body),
        data if data & DATA_BIT != 0 => Ok(DataFrame::Unknown { kind }),
        _ => Err(WireError::WrongClass),
    }
}

fn read_head(body: &mut Reader<'_>) -> Result<Head, WireError> {
    Ok(Head {
        ttl: body.u8()?,
        dest: body.hub()?,
        dest_incarnation: body.incarnation()?,
        source: body.hub()?,
        source_incarnation: body.incarnation()?,
    })
}

fn read_signal(message: &Bytes, body: &mut Reader<'_>) -> Result<DataFrame, WireError> {
    let head = read_head(body)?;
    let seq = body.varint()?;
    // The difference is seq - base, so base lies that far below.
    let base = seq.wrapping_sub(body.above(0)?);
    let body = match body.u8()? {
        PEER => SignalBody::Peer(PeerSignal {
            network: read_network_name(body)?,
            from: body.peer()?,
            from_claim: ClaimNo(body.varint()?),
            from_seq: body.varint()?,
            target: body.peer()?,
            target_claim: ClaimNo(body.varint()?),
            kind: SignalKind(body.u8()?),
            payload: read_payload(message, body)?,
        }),
        HUB => SignalBody::Hub {
            payload: read_payload(message, body)?,
        },
        _ => return Ok(DataFrame::Unknown { kind: kind::SIGNAL }),
    };
    Ok(DataFrame::Signal(SignalFrame {
        head,
        seq,
        base,
        body,
    }))
}

fn read_payload(message: &Bytes, body: &mut Reader<'_>) -> Result<Bytes, WireError> {
    if body.len() > MAX_PAYLOAD {
        return Err(WireError::TooLong);
    }
    Ok(message.slice_ref(body.remainder()))
}

fn read_ack(body: &mut Reader<'_>) -> Result<DataFrame, WireError> {
    let head = read_head(body)?;
    let upto = body.varint()?;
    let mut refused = Vec::new();
    while !body.is_empty() {
        if refused.len() == AckFrame::MAX_REFUSED {
            return Err(WireError::TooLong);
        }
        refused.push(Refused {
            seq: upto.wrapping_sub(body.above(0)?),
            why: match body.u8()? {
                1 => RefusedWhy::Overload,
                2 => RefusedWhy::Forged,
                _ => RefusedWhy::NotHere,
            },
        });
    }
    Ok(DataFrame::Ack(AckFrame {
        head,
        upto,
        refused,
    }))
}
