//! Encodes and decodes STUN for a client. Only this file uses `stun-types`.
//!
//! Binding requests and their answers (RFC 8489), with CHANGE-REQUEST and OTHER-ADDRESS of RFC 5780. Pure; decoding
//! never panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stun_types::attribute::{
    AttributeFromRaw as _, AttributeStaticType as _, AttributeType, ErrorCode, RawAttribute,
    XorMappedAddress,
};
use stun_types::message::{
    BINDING, Message, MessageClass, MessageWrite, MessageWriteExt, MessageWriteVec,
};

const MAPPED_ADDRESS: AttributeType = AttributeType::new(0x0001);
const CHANGE_REQUEST: AttributeType = AttributeType::new(0x0003);
const OTHER_ADDRESS: AttributeType = AttributeType::new(0x802c);

/// The bytes before the attributes of a message.
pub(super) const HEADER: usize = 20;

/// The id of a request, and of its answer.
pub(super) type Transaction = u128;

/// From which address the server should answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) host: bool,
    pub(super) port: bool,
}

impl Change {
    pub(super) const NONE: Self = Self {
        host: false,
        port: false,
    };
    pub(super) const PORT: Self = Self {
        host: false,
        port: true,
    };
    pub(super) const BOTH: Self = Self {
        host: true,
        port: true,
    };
}

/// The answer of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The client's address as the server sees it; `None` when the server refused.
    pub(super) mapped: Option<SocketAddr>,
    /// The server's other address, if it has one.
    pub(super) other: Option<SocketAddr>,
}

/// A binding request.
pub(super) fn request(change: Change) -> (Transaction, Vec<u8>) {
    let mut message = Message::builder_request(BINDING, MessageWriteVec::with_capacity(HEADER + 8));
    let transaction = message.transaction_id();
    let flags = u8::from(change.host) << 2 | u8::from(change.port) << 1;
    if flags != 0 {
        let value = [0, 0, 0, flags];
        message.push_attribute_unchecked(&RawAttribute::new(CHANGE_REQUEST, &value));
    }
    (transaction.into(), message.finish())
}

/// Decodes an answer to a binding request, with its transaction; `None` for any other packet.
pub(super) fn answer(bytes: &[u8]) -> Option<(Transaction, Answer)> {
    let message = Message::from_bytes(bytes).ok()?;
    if !message.has_method(BINDING) {
        return None;
    }
    let transaction = message.transaction_id();
    let mapped = match message.class() {
        MessageClass::Success => {
            let xor = message.raw_attribute(XorMappedAddress::TYPE);
            let xor = xor.and_then(|raw| XorMappedAddress::from_raw_ref(&raw).ok());
            let plain = message.raw_attribute(MAPPED_ADDRESS);
            xor.map(|xor| xor.addr(transaction))
                .or_else(|| plain.and_then(|raw| address(&raw.value)))
        }
        MessageClass::Error => None,
        _ => return None,
    };
    let other = message.raw_attribute(OTHER_ADDRESS);
    let other = other.and_then(|raw| address(&raw.value));
    Some((transaction.into(), Answer { mapped, other }))
}

/// The error code in an answer of any method, if it is an error.
pub(super) fn error_code(bytes: &[u8]) -> Option<u16> {
    let message = Message::from_bytes(bytes).ok()?;
    Some(message.attribute::<ErrorCode>().ok()?.code())
}

/// How many bytes follow this head of a message in a stream.
pub(super) fn rest_of(head: &[u8; HEADER]) -> usize {
    usize::from(u16::from_be_bytes([head[2], head[3]]))
}

/// An address as RFC 5780 writes it, without exclusive or.
fn address(value: &[u8]) -> Option<SocketAddr> {
    let (head, ip) = value.split_first_chunk::<4>()?;
    let [_, family, high, low] = *head;
    let ip: IpAddr = match family {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?).into(),
        2 => Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?).into(),
        _ => return None,
    };
    Some((ip, u16::from_be_bytes([high, low])).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_for_a_change_and_the_answer_names_all_addresses() {
        let (transaction, bytes) = request(Change::BOTH);
        let asked = Message::from_bytes(&bytes).unwrap();
        let raw = asked.raw_attribute(CHANGE_REQUEST).unwrap();
        assert_eq!(&raw.value[..], [0, 0, 0, 6]);
        let mapped: SocketAddr = "198.51.100.7:4000".parse().unwrap();
        let mut reply = Message::builder_success(&asked, MessageWriteVec::new());
        reply.push_attribute_unchecked(&XorMappedAddress::new(mapped, transaction.into()));
        let other = [0, 1, 0x0d, 0x97, 203, 0, 113, 2];
        reply.push_attribute_unchecked(&RawAttribute::new(OTHER_ADDRESS, &other));
        let answer = answer(&reply.finish()).unwrap();
        let other = Some("203.0.113.2:3479".parse().unwrap());
        let mapped = Some(mapped);
        assert_eq!(answer, (transaction, Answer { mapped, other }));
    }

    #[test]
    fn a_refusal_is_an_answer_without_an_address() {
        let (transaction, bytes) = request(Change::PORT);
        let asked = Message::from_bytes(&bytes).unwrap();
        let refusal = Message::builder_error(&asked, MessageWriteVec::new()).finish();
        let (of, answer) = answer(&refusal).unwrap();
        assert_eq!((of, answer.mapped), (transaction, None));
    }

    #[test]
    fn what_is_no_answer_is_none_and_nothing_panics() {
        let (_, asked) = request(Change::NONE);
        assert_eq!(answer(&asked), None, "a request is none");
        for length in 0..asked.len() {
            assert_eq!(answer(&asked[..length]), None);
        }
        for wrong in [&[][..], &[0, 1, 2, 3, 4], &[0, 3, 0, 0, 1, 2, 3, 4]] {
            assert_eq!(address(wrong), None);
        }
    }
}
