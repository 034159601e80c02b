//! Publications between hubs: one item for each hub that has members, and its layout.
//!
//! Between hubs, a publication is an item in the same send window as signals. It is delivered exactly once and in order with
//! its sender's signals; it is sent again until it is acknowledged; it counts as its sender's. Hubs on the way forward it like
//! any other item. A hub of an older version acknowledges a publication and ignores it. Nothing is lost: such a hub has no
//! members in networks that publish. The publisher is checked in the same way as the sender of a signal. This file does not
//! know the members.
//!
//! The tag, and the order and types of the fields of `PublicationHead`, are a wire format: they must not change.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::api::{Publication, Sender, SignalFailure, Source};
use crate::ids::{ClaimNo, HubId, Moment, NetworkKey, PeerId, SignalKind};
use crate::wire::MAX_PAYLOAD;

use super::Exchange;
use super::send_window::WindowItem;

/// The first byte of the message. Messages of contests and of unread signals begin with lower bytes (`contest`, `unread`).
/// A hub that does not know a tag ignores the message.
const TAG: u8 = 3;

/// The fields before the payload, in the order of the wire.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
struct PublicationHead {
    network: String,
    from: String,
    claim: ClaimNo,
    /// The sequence number of that claim in its hub's directory.
    seq: u64,
    kind: u8,
}

/// A decoded message: the publisher, its claim, and the payload.
pub(super) struct Published {
    pub(super) network: NetworkKey,
    pub(super) from: PeerId,
    pub(super) claim: ClaimNo,
    pub(super) seq: u64,
    kind: SignalKind,
    payload: Bytes,
}

impl Published {
    /// Decodes a message; `None` if it is not a publication.
    pub(super) fn decode(message: &Bytes) -> Option<Self> {
        let (&TAG, rest) = message.split_first()? else {
            return None;
        };
        let (head, payload) = postcard::take_from_bytes::<PublicationHead>(rest).ok()?;
        Some(Published {
            network: NetworkKey::from_wire(&head.network).ok()?,
            from: PeerId::new(&head.from).ok()?,
            claim: head.claim,
            seq: head.seq,
            kind: SignalKind(head.kind),
            payload: message.slice_ref(payload),
        })
    }

    /// The publication as members get it, of a sender that was checked.
    pub(super) fn into_publication(self, sender: Sender) -> Publication {
        Publication {
            network: self.network,
            from: self.from,
            sender,
            kind: self.kind,
            payload: self.payload,
        }
    }
}

fn encode(from: &Source, seq: u64, kind: SignalKind, payload: &[u8]) -> Bytes {
    let head = PublicationHead {
        network: from.network.as_str().to_owned(),
        from: from.peer.to_string(),
        claim: from.claim,
        seq,
        kind: kind.0,
    };
    // Encoding into memory cannot fail for these types; an empty message is ignored by its receiver.
    let mut message = postcard::to_allocvec(&(TAG, head)).unwrap_or_default();
    message.extend_from_slice(payload);
    message.into()
}

impl Exchange {
    /// Sends a publication of a local claim to these hubs. `from_seq` is the sequence number of the claim in our directory.
    /// The encoded bytes are shared, not copied for each hub.
    ///
    /// # Errors
    /// At least one of the hubs does not get it, and the sender has to be told: `NoRoute` or `Overload`.
    pub fn publish(
        &mut self,
        now: Moment,
        from: &Source,
        from_seq: u64,
        kind: SignalKind,
        payload: &[u8],
        hubs: &[HubId],
    ) -> Result<(), SignalFailure> {
        let now = self.advance(now);
        if hubs.is_empty() {
            return Ok(());
        }
        let message = encode(from, from_seq, kind, payload);
        if message.len() > MAX_PAYLOAD {
            // The next hub would close the link because of it.
            return Err(SignalFailure::Overload);
        }
        let mut outcome = Ok(());
        for hub in hubs {
            let item = WindowItem::Publication {
                source: from.claim,
                network: from.network.clone(),
                payload: message.clone(),
            };
            let posted = self.post(now, *hub, item);
            outcome = outcome.and(posted.map_err(|(_, why)| why));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Dialect;

    fn source() -> Source {
        Source {
            claim: ClaimNo(4),
            network: NetworkKey::new(Dialect::Pigeon, "n").expect("a name"),
            peer: PeerId::new("ada").expect("an id"),
        }
    }

    #[test]
    fn the_message_is_laid_out_as_documented() {
        let message = encode(&source(), 300, SignalKind(5), b"[1]");
        assert_eq!(&message[..], b"\x03\x02pn\x03ada\x04\xac\x02\x05[1]");
        let read = Published::decode(&message).expect("it is one");
        let sender = Sender::Here(read.claim);
        assert_eq!(read.seq, 300);
        let publication = read.into_publication(sender);
        assert_eq!(publication.network, source().network);
        assert_eq!(publication.from, source().peer);
        assert_eq!(publication.kind, SignalKind(5));
        assert_eq!(publication.payload, "[1]");
    }

    #[test]
    fn what_is_no_such_message_is_left_alone() {
        for message in [
            &b""[..],
            b"\x03",
            b"\x02\x02pn\x03ada\x04\x01\x05",
            b"\x03\x01p\x03ada\x04\x01\x05",
        ] {
            assert!(Published::decode(&Bytes::from_static(message)).is_none());
        }
    }
}
