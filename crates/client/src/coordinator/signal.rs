//! What two ends tell each other by way of a hub: the `data` of ordinary signals of the native dialect.
//!
//! An offer asks, an answer agrees or refuses, and ICE candidates carry all that follows. Each message names the attempt that
//! it belongs to, so that one of an earlier attempt counts for nothing. Pure; what does not read is `None`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::packet::Nonce;
use super::plan::{End, Step};
use crate::SignalKind;

/// The version of this exchange.
const VERSION: u8 = 1;
/// Addresses of one end at most.
const MOST_CANDIDATES: usize = 16;
/// Characters of an attempt's name at most.
const LONGEST_ATTEMPT: usize = 64;

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
    /// Wants a connection.
    Ask {
        #[serde(with = "hex::serde")]
        nonce: Nonce,
        end: End,
        /// What the asking program says of what the connection is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<serde_json::Value>,
    },
    /// Agrees.
    Accept {
        #[serde(with = "hex::serde")]
        nonce: Nonce,
        end: End,
    },
    /// Does not agree.
    Refuse { reason: String },
    /// The way that is tried next; the end that asked says it.
    Try { round: u8, step: Step },
    /// Where this end may be in this round.
    Candidates {
        round: u8,
        addresses: Vec<SocketAddr>,
        /// For TCP: whether the NAT gives each destination another port.
        #[serde(default)]
        symmetric: bool,
        /// Whether these are addresses of a relay.
        #[serde(default)]
        relayed: bool,
        /// Why this end cannot take part in the round.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
    /// The round has led to a connection.
    Done { round: u8 },
    /// No way was found, or nobody waits any more.
    GiveUp,
}

impl Message {
    pub(super) fn new(attempt: &str, body: Body) -> Self {
        Self {
            p2p: VERSION,
            attempt: attempt.to_owned(),
            body,
        }
    }

    /// As what the hub is to carry it.
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
        // Of strings, numbers and addresses alone, so it is always JSON.
        to_raw_value(self).unwrap_or_default()
    }

    /// Reads the `data` of a signal; what another program sent is `None`.
    pub(super) fn read(data: &RawValue) -> Option<Self> {
        let mut message: Self = serde_json::from_str(data.get()).ok()?;
        if message.p2p != VERSION || message.attempt.len() > LONGEST_ATTEMPT {
            return None;
        }
        match &mut message.body {
            Body::Candidates { addresses, .. } => addresses.truncate(MOST_CANDIDATES),
            Body::Ask { end, .. } | Body::Accept { end, .. } => {
                end.possible.sort();
                end.possible.dedup();
            }
            _ => {}
        }
        Some(message)
    }
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
                metadata: Some(serde_json::json!({"use": "pings"})),
            },
            Body::Accept {
                nonce: [8; 16],
                end: end(),
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
            Body::Done { round: 1 },
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
        let many = vec!["198.51.100.7:1".parse().unwrap(); 100];
        let body = Body::Candidates {
            round: 0,
            addresses: many,
            symmetric: false,
            relayed: false,
            trouble: None,
        };
        let read = Message::read(&Message::new("a", body).write()).unwrap();
        assert!(matches!(read.body, Body::Candidates { addresses, .. } if addresses.len() == 16));
    }
}
