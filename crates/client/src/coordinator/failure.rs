//! Why there is no connection to a peer: the ways that were tried, and what each failed by. Pure.

use std::time::Duration;

use thiserror::Error;

use super::link::Lost;
use super::plan::Method;

/// A way that was tried and did not lead there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The way.
    pub method: Method,
    /// Why it failed.
    pub reason: String,
    /// How long it was tried.
    pub took: Duration,
}

/// Why there is no connection to a peer.
#[derive(Clone, Debug, Error)]
pub enum ConnectFailure {
    /// The hub does not know the peer.
    #[error("{peer} cannot be told that it is wanted: {reason}")]
    Undeliverable {
        /// The peer.
        peer: String,
        /// In the hub's words.
        reason: String,
    },
    /// The peer did not answer.
    #[error("{peer} did not answer within {waited:?}")]
    NoAnswer {
        /// The peer.
        peer: String,
        /// For how long.
        waited: Duration,
    },
    /// The peer does not want a connection.
    #[error("{peer} refused: {reason}")]
    Refused {
        /// The peer.
        peer: String,
        /// In its words.
        reason: String,
    },
    /// Every way was tried.
    #[error("no way led to {peer}: {}", told(.tried))]
    NoWay {
        /// The peer.
        peer: String,
        /// The ways, in their order.
        tried: Vec<Tried>,
    },
    /// It took too long.
    #[error("{peer} was not reached within {limit:?}: {}", told(.tried))]
    TimedOut {
        /// The peer.
        peer: String,
        /// How long it was tried.
        limit: Duration,
        /// The ways until then, in their order.
        tried: Vec<Tried>,
    },
    /// The connection that carries signals is gone.
    #[error("no signals can be exchanged with {peer}: {reason}")]
    Signaling {
        /// The peer.
        peer: String,
        /// Why.
        reason: String,
    },
}

fn told(tried: &[Tried]) -> String {
    if tried.is_empty() {
        return "none fits these NATs, and no TURN server is known".into();
    }
    let all = tried.iter().map(|one| {
        format!(
            "{} ({} ms): {}",
            one.method,
            one.took.as_millis(),
            one.reason
        )
    });
    all.collect::<Vec<_>>().join("; ")
}

pub(super) fn failure(peer: &str, lost: Lost) -> ConnectFailure {
    let peer = peer.to_owned();
    match lost {
        Lost::Undeliverable(reason) => ConnectFailure::Undeliverable { peer, reason },
        Lost::Closed(reason) => ConnectFailure::Signaling { peer, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_every_way_and_its_reason() {
        let tried = |method, reason: &str| Tried {
            method,
            reason: reason.into(),
            took: Duration::from_millis(40),
        };
        let failure = ConnectFailure::NoWay {
            peer: "bob".into(),
            tried: vec![
                tried(Method::UdpPunch, "nothing came back"),
                tried(Method::Relay, "error 403"),
            ],
        };
        let expected = "no way led to bob: UDP hole punching (40 ms): nothing came back; TURN relay (40 ms): error 403";
        assert_eq!(failure.to_string(), expected);
    }
}
