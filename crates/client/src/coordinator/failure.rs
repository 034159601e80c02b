//! Why there is no connection to a peer: the ways that were tried, and why each failed. Pure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

use super::link::Lost;
use super::plan::Method;

/// A way that was tried and failed.
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
        /// The peer's reason.
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
    #[error("{peer} was not reached within {limit:?}: {}", until_then(.tried, .meanwhile))]
    TimedOut {
        /// The peer.
        peer: String,
        /// How long it was tried.
        limit: Duration,
        /// The ways until then, in their order.
        tried: Vec<Tried>,
        /// The step during which the time was over.
        meanwhile: String,
    },
    /// The connection that carries signals is gone.
    #[error("no signals can be exchanged with {peer}: {reason}")]
    Signaling {
        /// The peer.
        peer: String,
        /// Why, in words.
        reason: String,
    },
}

fn told(tried: &[Tried]) -> String {
    if tried.is_empty() {
        return "none fits these NATs, and no TURN server is known".into();
    }
    listed(tried)
}

fn until_then(tried: &[Tried], meanwhile: &str) -> String {
    let ended = format!("the time was over while it {meanwhile}");
    if tried.is_empty() {
        return ended;
    }
    format!("{}; {ended}", listed(tried))
}

fn listed(tried: &[Tried]) -> String {
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
        lost @ Lost::GivenUp => ConnectFailure::Refused {
            peer,
            reason: lost.to_string(),
        },
    }
}

/// The ways and the step of one attempt, for the report when its time is over.
#[derive(Clone, Default)]
pub(super) struct Tries(Arc<Mutex<Trying>>);

#[derive(Default)]
struct Trying {
    done: Vec<Tried>,
    meanwhile: String,
}

impl Tries {
    fn all(&self) -> MutexGuard<'_, Trying> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the present step, in words that follow "it tried".
    pub(super) fn begin(&self, what: impl Into<String>) {
        self.all().meanwhile = what.into();
    }

    /// A way has failed.
    pub(super) fn add(&self, tried: Tried) {
        self.all().done.push(tried);
    }

    /// The ways that have failed.
    pub(super) fn so_far(&self) -> Vec<Tried> {
        self.all().done.clone()
    }

    /// The failure of an attempt whose time is over.
    pub(super) fn timed_out(&self, peer: &str, limit: Duration) -> ConnectFailure {
        let all = self.all();
        ConnectFailure::TimedOut {
            peer: peer.to_owned(),
            limit,
            tried: all.done.clone(),
            meanwhile: all.meanwhile.clone(),
        }
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

    #[test]
    fn what_took_too_long_says_what_was_being_done_and_nothing_of_nats_that_fit_no_way() {
        let late = |tried| ConnectFailure::TimedOut {
            peer: "bob".into(),
            limit: Duration::from_secs(30),
            tried,
            meanwhile: "tried TURN relay".into(),
        };
        let over = "the time was over while it tried TURN relay";
        let expected = format!("bob was not reached within 30s: {over}");
        assert_eq!(late(Vec::new()).to_string(), expected);
        let punched = Tried {
            method: Method::UdpPunch,
            reason: "nothing came back".into(),
            took: Duration::from_secs(4),
        };
        let told = late(vec![punched]).to_string();
        assert!(
            told.ends_with(&format!("nothing came back; {over}")),
            "{told}"
        );
    }
}
