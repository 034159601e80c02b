//! The messages between two ends through a hub: the `data` of ordinary signals of the native dialect.
//!
//! An offer asks, an answer agrees or refuses, and ICE candidates carry everything after that. Each message names its
//! attempt, so that messages of earlier attempts are ignored. Pure; a message that cannot be decoded is `None`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::candidates;
use super::packet::{Challenge, Nonce};
use super::plan::{End, Step};
use crate::SignalKind;
use hubmesh_causes as causes;

/// The version of this exchange.
const VERSION: u8 = 1;
/// The most characters of an attempt's name.
const LONGEST_ATTEMPT: usize = 64;
/// The most bytes of a message. A longer one is ignored.
const LONGEST: usize = 64 * 1024;
/// The most bytes of metadata, as JSON.
pub(super) const LONGEST_METADATA: usize = 4096;

/// A message of one end to the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    p2p: u8,
    pub(super) attempt: String,
    #[serde(flatten)]
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum Body {
    /// Asks for a connection.
    Ask {
        #[serde(with = "hex::serde")]
        nonce: Nonce,
        end: End,
        /// The time between two keep-alives of this end, in milliseconds.
        keep_alive_ms: u32,
        /// The metadata of the asking program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<serde_json::Value>,
    },
    /// Agrees.
    Accept {
        #[serde(with = "hex::serde")]
        nonce: Nonce,
        end: End,
        keep_alive_ms: u32,
    },
    /// Refuses.
    Refuse { reason: String },
    /// The way that is tried next; sent by the end that asked.
    Try { round: u8, step: Step },
    /// The addresses of this end in this round.
    Candidates {
        round: u8,
        addresses: Vec<SocketAddr>,
        /// For TCP: whether the NAT uses another port for each destination.
        #[serde(default)]
        symmetric: bool,
        /// Whether these are addresses of a relay.
        #[serde(default)]
        relayed: bool,
        /// Why this end cannot take part in the round.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
    /// The round has led to a connection: the one whose nomination had this challenge.
    Done {
        round: u8,
        #[serde(with = "hex::serde")]
        challenge: Challenge,
    },
    /// No way was found, or this end gave up.
    GiveUp,
}

impl Body {
    /// The message without its metadata, when that is stored already.
    pub(super) fn without_metadata(self) -> Self {
        match self {
            Self::Ask {
                nonce,
                end,
                keep_alive_ms,
                ..
            } => Self::Ask {
                nonce,
                end,
                keep_alive_ms,
                metadata: None,
            },
            body => body,
        }
    }
}

impl Message {
    pub(super) fn new(attempt: &str, body: Body) -> Self {
        Self {
            p2p: VERSION,
            attempt: attempt.to_owned(),
            body,
        }
    }

    /// The kind of signal in which the hub carries it.
    pub(super) fn kind(&self) -> SignalKind {
        match self.body {
            Body::Ask { .. } => SignalKind::Offer,
            Body::Accept { .. } | Body::Refuse { .. } => SignalKind::Answer,
            Body::Try { .. } | Body::Candidates { .. } | Body::Done { .. } | Body::GiveUp => {
                SignalKind::IceCandidate
            }
        }
    }

    pub(super) fn write(&self) -> Box<RawValue> {
        // It has only strings, numbers and addresses, so it is always JSON.
        to_raw_value(self).unwrap_or_default()
    }

    /// Decodes the `data` of a signal; `None` if another program sent it.
    pub(super) fn read(data: &RawValue) -> Option<Self> {
        if data.get().len() > LONGEST {
            return None;
        }
        let mut message: Self = serde_json::from_str(data.get()).ok()?;
        if message.p2p != VERSION || message.attempt.len() > LONGEST_ATTEMPT {
            return None;
        }
        match &mut message.body {
            Body::Candidates {
                addresses, trouble, ..
            } => {
                *addresses = candidates::distinct(addresses);
                *trouble = trouble.as_deref().map(printable);
            }
            Body::Refuse { reason } => *reason = printable(reason),
            Body::Ask { end, .. } | Body::Accept { end, .. } => {
                end.possible.sort();
                end.possible.dedup();
            }
            _ => {}
        }
        Some(message)
    }
}

/// A text of the other end, shortened, and without characters that could move a terminal's cursor.
pub(super) fn printable(text: &str) -> String {
    causes::said(text.as_bytes())
}

/// Whether metadata is short enough.
pub(super) fn fits(metadata: &serde_json::Value) -> bool {
    metadata.to_string().len() <= LONGEST_METADATA
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::plan::Method;

    fn end() -> End {
        End {
            possible: vec![super::super::NatType::FullCone],
            udp_blocked: false,
            public: Some([198, 51, 100, 7].into()),
            relay: true,
        }
    }

    #[test]
    fn every_message_reads_as_it_was_written() {
        let step = Step {
            method: Method::UdpPunch,
            many: None,
        };
        for body in [
            Body::Ask {
                nonce: [7; 16],
                end: end(),
                keep_alive_ms: 25_000,
                metadata: Some(serde_json::json!({"use": "pings"})),
            },
            Body::Accept {
                nonce: [8; 16],
                end: end(),
                keep_alive_ms: 25_000,
            },
            Body::Refuse {
                reason: "busy".into(),
            },
            Body::Try { round: 1, step },
            Body::Candidates {
                round: 1,
                addresses: vec!["198.51.100.7:4000".parse().unwrap()],
                symmetric: true,
                relayed: true,
                trouble: None,
            },
            Body::Done {
                round: 1,
                challenge: [9; 8],
            },
            Body::GiveUp,
        ] {
            let message = Message::new("attempt", body);
            assert_eq!(Message::read(&message.write()), Some(message));
        }
    }

    #[test]
    fn what_others_send_is_none_and_too_much_is_cut() {
        let read = |text: &str| Message::read(&RawValue::from_string(text.to_owned()).unwrap());
        for foreign in [
            "null",
            r#"{"type":"offer","sdp":"v=0"}"#,
            r#"{"p2p":2,"attempt":"a","say":"give-up"}"#,
            r#"{"p2p":1,"attempt":"a","say":"dance"}"#,
            r#"{"p2p":1,"attempt":"a","say":"accept","nonce":"00","end":null}"#,
        ] {
            assert_eq!(read(foreign), None, "{foreign}");
        }
        let place = |port: u16| ([198, 51, 100, 7], port).into();
        let many = (1..100).chain(1..100).map(place).collect();
        let body = Body::Candidates {
            round: 0,
            addresses: many,
            symmetric: false,
            relayed: false,
            trouble: Some("\u{1b}[2Jx".repeat(1000)),
        };
        let read = Message::read(&Message::new("a", body).write()).unwrap();
        let Body::Candidates {
            addresses, trouble, ..
        } = read.body
        else {
            panic!("{read:?}")
        };
        assert_eq!(addresses.len(), 16);
        let trouble = trouble.unwrap();
        assert!(
            trouble.len() <= 400 && !trouble.contains('\u{1b}'),
            "{trouble}"
        );
        let metadata = Some(serde_json::json!("x".repeat(LONGEST)));
        let long = Body::Ask {
            nonce: [7; 16],
            end: end(),
            keep_alive_ms: 25_000,
            metadata,
        };
        assert_eq!(Message::read(&Message::new("a", long).write()), None);
    }
}
