//! The messages between hubs about their STUN and TURN servers, and the proof in them.
//!
//! They are sent as messages of hubs (MESH.md), in postcard after a tag; hubs that do not know the tag ignore them. An
//! answer has the number of its question in its proof, so it counts once, from that hub and for the hub that asked. The
//! hub that makes the proof knows `TURN_SECRET`. Decoding never panics, and refuses longer messages than needed.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hubmesh_core::ids::HubId;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::mesh::tagged;

/// The longest message, in bytes.
const LONGEST: usize = 4 * 1024;
/// The most addresses of one hub.
pub(in crate::mesh) const MOST_URLS: usize = 8;
/// Bytes of a proof.
const PROOF: usize = 16;

/// One message. New ones go to the end: postcard numbers them, and a number that is not known is ignored.
#[derive(Clone, Serialize, Deserialize, Debug, PartialEq, Eq)]
pub(in crate::mesh) enum Message {
    /// Asks for servers.
    Ask {
        /// The random number of this question.
        number: u64,
    },
    /// The answer.
    Tell {
        /// The number of the question.
        number: u64,
        /// Addresses as in `RTCPeerConnection`; none if the hub is full, or serves none.
        urls: Vec<String>,
        /// Proves that the hub that answers knows the secret.
        proof: [u8; PROOF],
    },
}

impl Message {
    pub(in crate::mesh) fn encode(&self) -> Bytes {
        tagged::encode(tagged::RELAYS, self)
    }

    pub(in crate::mesh) fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() > LONGEST {
            return None;
        }
        tagged::decode(tagged::RELAYS, payload)
    }
}

/// An answer, with the hubs that ask and answer.
pub(in crate::mesh) struct Answer<'a> {
    pub(in crate::mesh) number: u64,
    pub(in crate::mesh) by: HubId,
    pub(in crate::mesh) to: HubId,
    pub(in crate::mesh) urls: &'a [String],
}

impl Answer<'_> {
    fn mac(&self, secret: &str) -> Hmac<Sha256> {
        let keyed = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
        let mut mac = keyed.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(b"hubmesh ice servers 1\0");
        mac.update(&self.number.to_be_bytes());
        mac.update(&self.by.0);
        mac.update(&self.to.0);
        for url in self.urls {
            mac.update(&(url.len() as u64).to_be_bytes());
            mac.update(url.as_bytes());
        }
        mac
    }

    pub(in crate::mesh) fn prove(&self, secret: &str) -> [u8; PROOF] {
        let whole = self.mac(secret).finalize().into_bytes();
        let mut proof = [0; PROOF];
        for (byte, made) in proof.iter_mut().zip(whole) {
            *byte = made;
        }
        proof
    }

    /// Whether the proof is right, compared in constant time.
    pub(in crate::mesh) fn is_proved(&self, secret: &str, proof: &[u8; PROOF]) -> bool {
        self.mac(secret).verify_truncated_left(proof).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written_and_keep_their_layout() {
        let ask = Message::Ask { number: 300 };
        assert_eq!(&ask.encode()[..], [4, 0, 0xac, 2]);
        let tell = Message::Tell {
            number: 1,
            urls: vec!["stun:a:1".into()],
            proof: [7; PROOF],
        };
        let expected = [&[4, 1, 1, 1, 8][..], b"stun:a:1", &[7; PROOF]].concat();
        assert_eq!(tell.encode(), expected);
        for message in [ask, tell] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn what_is_no_message_or_too_long_is_ignored() {
        for bytes in [
            &[][..],
            &[4],
            &[2, 0, 1],
            &[3, 0, 1],
            &[4, 9, 1],
            &[4, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert_eq!(Message::decode(bytes), None, "{bytes:?}");
        }
        let long = Message::Tell {
            number: 1,
            urls: vec!["a".repeat(LONGEST)],
            proof: [0; PROOF],
        };
        assert_eq!(Message::decode(&long.encode()), None);
    }

    #[test]
    fn a_proof_is_good_for_its_answer_alone() {
        let (one, two) = (HubId([1; 20]), HubId([2; 20]));
        let urls = [String::from("stun:a"), String::from("turn:b")];
        let answer = |number, by, to| Answer {
            number,
            by,
            to,
            urls: &urls,
        };
        let proof = answer(1, one, two).prove("north");
        assert!(answer(1, one, two).is_proved("north", &proof));
        for (other, secret) in [
            (answer(2, one, two), "north"),
            (answer(1, two, one), "north"),
            (answer(1, one, one), "north"),
            (answer(1, one, two), "south"),
        ] {
            assert!(!other.is_proved(secret, &proof));
        }
        let joined = [String::from("stun:aturn:b")];
        let joined = Answer {
            urls: &joined,
            ..answer(1, one, two)
        };
        assert!(!joined.is_proved("north", &proof));
    }
}
