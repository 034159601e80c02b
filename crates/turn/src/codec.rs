//! The bytes of STUN and TURN: hides `stun-types` and `turn-types` from the rest of the server.
//!
//! Two pitfalls are handled here, once. A message counts only if its length is exactly that of its datagram, and
//! attributes after MESSAGE-INTEGRITY do not count, because they are not signed. Pure; decoding never panics.

use std::net::SocketAddr;

use stun_types::AddressFamily;
use stun_types::attribute::{
    Attribute as _, AttributeFromRaw, AttributeStaticType, AttributeType, ErrorCode, Fingerprint,
    MessageIntegrity, MessageIntegritySha256, Nonce, RawAttribute, Realm, UnknownAttributes,
    Username, XorMappedAddress,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageType,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method as RawMethod, TransactionId,
};
use turn_types::attribute::{
    AdditionalAddressFamily, ChannelNumber, Data, EvenPort, Lifetime, RequestedAddressFamily,
    RequestedTransport, ReservationToken, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA, REFRESH, SEND};

use crate::error_code::Code;

pub(crate) use stun_types::message::IntegrityKey;

/// Bytes in front of the data of a channel.
pub(crate) const CHANNEL_HEADER: usize = 4;
/// Bytes in front of the attributes of a message.
pub(crate) const MESSAGE_HEADER: usize = 20;
/// Bytes of a packet at most: what a datagram of IPv4 holds. Nearer to 64 KiB the codec's lengths would wrap.
pub(crate) const LONGEST_PACKET: usize = 65_507;
/// Bytes of data at most, so that a message around them has a length of 16 bits.
pub(crate) const LONGEST_DATA: usize = 65_500;

pub(crate) const CHANGE_REQUEST: AttributeType = AttributeType::new(0x0003);
/// Comprehension-required attributes that requests may have.
const KNOWN: [AttributeType; 17] = [
    CHANGE_REQUEST,
    Username::TYPE,
    MessageIntegrity::TYPE,
    MessageIntegritySha256::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    ChannelNumber::TYPE,
    Lifetime::TYPE,
    XorPeerAddress::TYPE,
    Data::TYPE,
    RequestedAddressFamily::TYPE,
    EvenPort::TYPE,
    RequestedTransport::TYPE,
    ReservationToken::TYPE,
    AttributeType::new(0x0001), // MAPPED-ADDRESS, which says nothing in a request
    XorMappedAddress::TYPE,
    BANDWIDTH,
];
/// From a draft of TURN; coturn's client still sends it, and it has no effect.
const BANDWIDTH: AttributeType = AttributeType::new(0x0010);

/// The methods of requests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// The client's address, as the server sees it.
    Binding,
    /// A relay.
    Allocate,
    /// More lifetime for it, or its end.
    Refresh,
    /// Peers that may send.
    CreatePermission,
    /// A short name for a peer.
    ChannelBind,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 5] = [
        Method::Binding,
        Method::Allocate,
        Method::Refresh,
        Method::CreatePermission,
        Method::ChannelBind,
    ];

    fn of(raw: RawMethod) -> Option<Self> {
        match raw {
            BINDING => Some(Method::Binding),
            ALLOCATE => Some(Method::Allocate),
            REFRESH => Some(Method::Refresh),
            CREATE_PERMISSION => Some(Method::CreatePermission),
            CHANNEL_BIND => Some(Method::ChannelBind),
            _ => None,
        }
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Family::V4,
            SocketAddr::V6(_) => Family::V6,
        }
    }
}

impl From<AddressFamily> for Family {
    fn from(family: AddressFamily) -> Self {
        match family {
            AddressFamily::IPV4 => Family::V4,
            AddressFamily::IPV6 => Family::V6,
        }
    }
}

/// A packet of a client.
#[derive(Debug)]
pub(crate) enum Packet<'p> {
    /// Data for a peer by its channel.
    Channel { number: u16, data: &'p [u8] },
    /// Data for a peer by its address.
    Send(Sent<'p>),
    /// A request, which gets an answer.
    Request(Request<'p>),
}

/// A Send indication.
#[derive(Debug)]
pub(crate) struct Sent<'p> {
    pub(crate) peer: SocketAddr,
    pub(crate) data: &'p [u8],
}

/// Reads a datagram, or a packet of a stream. A packet of neither protocol, and one that asks for no answer, is `None`.
pub(crate) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    if bytes.len() > LONGEST_PACKET {
        return None;
    }
    match bytes.first()? >> 6 {
        0 => parse_message(bytes),
        1 => parse_channel(bytes),
        _ => None,
    }
}

fn parse_channel(bytes: &[u8]) -> Option<Packet<'_>> {
    let (head, rest) = bytes.split_first_chunk::<CHANNEL_HEADER>()?;
    let [n0, n1, l0, l1] = *head;
    // Padding may follow.
    let data = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
    let number = u16::from_be_bytes([n0, n1]);
    Some(Packet::Channel { number, data })
}

fn parse_message(bytes: &[u8]) -> Option<Packet<'_>> {
    let length: [u8; 2] = bytes.get(2..4)?.try_into().ok()?;
    let length = usize::from(u16::from_be_bytes(length));
    if bytes.len() != MESSAGE_HEADER + length || !length.is_multiple_of(4) {
        return None;
    }
    let message = Message::from_bytes(bytes).ok()?;
    match message.class() {
        MessageClass::Request => Some(Packet::Request(Request { bytes, message })),
        MessageClass::Indication if message.has_method(SEND) => sent(bytes, &message),
        _ => None,
    }
}

/// The contents of a Send indication. An indication with an unknown attribute that must be understood is dropped, and
/// so is one with DONT-FRAGMENT, which this server cannot honour.
fn sent<'p>(bytes: &'p [u8], message: &Message<'p>) -> Option<Packet<'p>> {
    let (mut peer, mut data) = (None, None);
    for (offset, attribute) in message.iter_attributes() {
        match attribute.get_type() {
            XorPeerAddress::TYPE => {
                let address = XorPeerAddress::from_raw_ref(&attribute).ok()?;
                peer = peer.or(Some(address.addr(message.transaction_id())));
            }
            // Taken from the packet itself, because the attribute's own lifetime is shorter.
            Data::TYPE => data = data.or(value_at(bytes, offset)),
            kind if kind.comprehension_required() => return None,
            _ => {}
        }
    }
    let (peer, data) = (peer?, data?);
    Some(Packet::Send(Sent { peer, data }))
}

fn value_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let length: [u8; 2] = bytes.get(offset + 2..offset + 4)?.try_into().ok()?;
    bytes
        .get(offset + 4..)?
        .get(..usize::from(u16::from_be_bytes(length)))
}

/// Which part of the server's address has to change in the answer, by CHANGE-REQUEST (RFC 5780).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) ip: bool,
    pub(crate) port: bool,
}

/// A request, of a method that may be unknown.
#[derive(Debug)]
pub(crate) struct Request<'p> {
    bytes: &'p [u8],
    message: Message<'p>,
}

impl Request<'_> {
    pub(crate) fn method(&self) -> Option<Method> {
        Method::of(self.message.method())
    }

    pub(crate) fn transaction(&self) -> TransactionId {
        self.message.transaction_id()
    }

    /// The whole message.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn has(&self, kind: AttributeType) -> bool {
        self.message.has_attribute(kind)
    }

    fn raw(&self, kind: AttributeType) -> Option<RawAttribute<'_>> {
        self.message.raw_attribute(kind)
    }

    /// The first attribute of this kind; an error if it cannot be read.
    fn optional<A>(&self) -> Result<Option<A>, Code>
    where
        A: AttributeStaticType + for<'r> AttributeFromRaw<'r>,
    {
        let raw = self.raw(A::TYPE);
        let read = raw.map(|raw| A::from_raw_ref(&raw)).transpose();
        read.map_err(|_| Code::BadRequest)
    }

    /// Whether it is signed by SHA-1, which is all that this server offers.
    pub(crate) fn is_signed(&self) -> bool {
        self.has(MessageIntegrity::TYPE)
    }

    pub(crate) fn has_fingerprint(&self) -> bool {
        self.has(Fingerprint::TYPE)
    }

    pub(crate) fn username(&self) -> Option<String> {
        let username = self.optional::<Username>().ok()??;
        Some(username.username().to_owned())
    }

    pub(crate) fn realm(&self) -> Option<String> {
        Some(self.optional::<Realm>().ok()??.realm().to_owned())
    }

    pub(crate) fn nonce(&self) -> Option<String> {
        Some(self.optional::<Nonce>().ok()??.nonce().to_owned())
    }

    /// Whether its signature is by this key.
    pub(crate) fn is_signed_by(&self, key: &IntegrityKey) -> bool {
        self.message.validate_integrity_with_key(key).is_ok()
    }

    /// The attributes that must be understood and that the server does not know, at most as many as fit an answer.
    pub(crate) fn unknown(&self) -> Vec<AttributeType> {
        let kinds = self
            .message
            .iter_attributes()
            .map(|(_, raw)| raw.get_type());
        let mut unknown: Vec<AttributeType> = kinds
            .filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind))
            .collect();
        unknown.dedup();
        unknown.truncate(4);
        unknown
    }

    pub(crate) fn change(&self) -> Option<Change> {
        let raw = self.raw(CHANGE_REQUEST)?;
        let flags = raw.value.last().copied().unwrap_or_default();
        Some(Change {
            ip: flags & 4 != 0,
            port: flags & 2 != 0,
        })
    }

    pub(crate) fn lifetime(&self) -> Result<Option<u32>, Code> {
        Ok(self.optional::<Lifetime>()?.map(|time| time.seconds()))
    }

    /// The protocol number between the relay and its peers.
    pub(crate) fn transport(&self) -> Result<Option<u8>, Code> {
        let transport = self.optional::<RequestedTransport>()?;
        Ok(transport.map(|transport| transport.protocol()))
    }

    /// The family of the relay; an unknown one is `Err(AddressFamily)`.
    pub(crate) fn family(&self) -> Result<Option<Family>, Code> {
        let family = self.optional::<RequestedAddressFamily>();
        let family = family.map_err(|_| Code::AddressFamily)?;
        Ok(family.map(|family| family.family().into()))
    }

    /// Whether a second relay of the other family is requested.
    pub(crate) fn wants_two_families(&self) -> Result<bool, Code> {
        match self.optional::<AdditionalAddressFamily>()? {
            None => Ok(false),
            // It is for IPv6 beside IPv4 (RFC 8656, section 7.2).
            Some(other) if other.family() == AddressFamily::IPV6 => Ok(true),
            Some(_) => Err(Code::BadRequest),
        }
    }

    /// Whether the port has to be even, and then whether the next one has to be reserved.
    pub(crate) fn even_port(&self) -> Result<Option<bool>, Code> {
        Ok(self.optional::<EvenPort>()?.map(|even| even.requested()))
    }

    pub(crate) fn has_reservation(&self) -> bool {
        self.has(ReservationToken::TYPE)
    }

    pub(crate) fn channel(&self) -> Result<Option<u16>, Code> {
        let channel = self.optional::<ChannelNumber>()?;
        Ok(channel.map(|channel| channel.channel()))
    }

    /// All peers that it names; an error if one cannot be read.
    pub(crate) fn peers(&self) -> Result<Vec<SocketAddr>, Code> {
        let raws = self.message.iter_attributes().map(|(_, raw)| raw);
        let peers = raws.filter(|raw| raw.get_type() == XorPeerAddress::TYPE);
        peers
            .map(|raw| {
                let peer = XorPeerAddress::from_raw_ref(&raw);
                peer.map(|peer| peer.addr(self.transaction()))
                    .map_err(|_| Code::BadRequest)
            })
            .collect()
    }
}

/// The key of a long-term credential.
pub(crate) fn key(username: &str, password: &str, realm: &str) -> IntegrityKey {
    let all = LongTermKeyCredentials::new(username.into(), password.into(), realm.into());
    all.make_key(IntegrityAlgorithm::Sha1)
}

/// An answer that is being written.
pub(crate) struct Answer {
    message: MessageWriteVec,
    transaction: TransactionId,
}

impl Answer {
    pub(crate) fn success(to: &Request<'_>) -> Self {
        Answer {
            message: Message::builder_success(&to.message, MessageWriteVec::with_capacity(128)),
            transaction: to.transaction(),
        }
    }

    /// Without a phrase, because an answer to a stranger has to be short.
    pub(crate) fn error(to: &Request<'_>, code: Code) -> Self {
        let message = Message::builder_error(&to.message, MessageWriteVec::with_capacity(128));
        let transaction = to.transaction();
        let answer = Answer {
            message,
            transaction,
        };
        match ErrorCode::new(code.number(), "") {
            Ok(error) => answer.with(&error),
            Err(_) => answer,
        }
    }

    /// Attributes are few and short, and there are none before that forbid them, so none is ever left out.
    fn with(mut self, attribute: &dyn stun_types::attribute::AttributeWrite) -> Self {
        self.message.push_attribute_unchecked(attribute);
        self
    }

    pub(crate) fn unknown(self, kinds: &[AttributeType]) -> Self {
        self.with(&UnknownAttributes::new(kinds))
    }

    pub(crate) fn mapped(self, address: SocketAddr) -> Self {
        let mapped = XorMappedAddress::new(address, self.transaction);
        self.with(&mapped)
    }

    pub(crate) fn relayed(self, address: SocketAddr) -> Self {
        let relayed = XorRelayedAddress::new(address, self.transaction);
        self.with(&relayed)
    }

    pub(crate) fn lifetime(self, seconds: u32) -> Self {
        self.with(&Lifetime::new(seconds))
    }

    /// Says that there is no second relay, of IPv6.
    pub(crate) fn no_second_family(self, code: Code) -> Self {
        match ErrorCode::new(code.number(), "") {
            Ok(error) => {
                use turn_types::attribute::AddressErrorCode;
                self.with(&AddressErrorCode::new(AddressFamily::IPV6, error))
            }
            Err(_) => self,
        }
    }

    /// The attributes that a client needs to sign its request.
    pub(crate) fn challenge(self, realm: &str, nonce: &str) -> Self {
        match (Realm::new(realm), Nonce::new(nonce)) {
            (Ok(realm), Ok(nonce)) => self.with(&realm).with(&nonce),
            _ => self,
        }
    }

    /// Signs it, if there is a key; adds a fingerprint, if the request had one.
    pub(crate) fn finish(mut self, to: &Request<'_>, key: Option<&IntegrityKey>) -> Vec<u8> {
        if let Some(key) = key {
            // `add_message_integrity_with_key` is not used, because its span shows the key in the log.
            self = self.with(&MessageIntegrity::new([0; 20]));
            let end = self.message.len().saturating_sub(20);
            let signed = end.saturating_sub(4);
            let data = self.message.mut_data();
            if let Some((covered, rest)) = data.split_at_mut_checked(signed)
                && let Ok(mac) = MessageIntegrity::compute(&[covered], key)
                && let Some(place) = rest.get_mut(4..)
            {
                place.copy_from_slice(&mac);
            }
        }
        if to.has_fingerprint() {
            // Only a second one is refused.
            let _ = self.message.add_fingerprint();
        }
        self.message.finish()
    }
}

/// Appends data from a peer, at most [`LONGEST_DATA`] bytes of it, as a Data indication.
pub(crate) fn write_indication(
    out: &mut Vec<u8>,
    transaction: u128,
    peer: SocketAddr,
    data: &[u8],
) {
    let transaction = TransactionId::from(transaction);
    let kind = MessageType::from_class_method(MessageClass::Indication, DATA);
    let room = MessageWriteVec::with_capacity(MESSAGE_HEADER + 32 + data.len());
    let mut message = Message::builder(kind, transaction, room);
    message.push_attribute_unchecked(&XorPeerAddress::new(peer, transaction));
    message.push_attribute_unchecked(&Data::new(data));
    out.extend_from_slice(&message.finish());
}

/// Appends data from a peer by its channel, padded if it goes into a stream.
pub(crate) fn write_channel(out: &mut Vec<u8>, number: u16, data: &[u8], padded: bool) {
    // It is at most LONGEST_DATA.
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(data);
    if padded {
        let padding = data.len().next_multiple_of(4) - data.len();
        out.resize(out.len() + padding, 0);
    }
}
