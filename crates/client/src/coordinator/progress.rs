//! Events of the coordinator, sent to every subscriber.

use std::fmt;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::detect::NatInfo;
use super::plan::Method;

/// An event of the coordinator.
#[derive(Clone, Debug)]
pub enum Event {
    /// The STUN and TURN servers are known, and the type of NAT has been detected.
    Initialized {
        /// The detected NAT.
        nat: NatInfo,
    },
    /// A peer of this process can be asked for connections.
    PeerRegistered {
        /// Its id.
        id: String,
    },
    /// A peer of this process has lost its hub. It can neither ask for connections nor be asked.
    PeerLost {
        /// Its id.
        id: String,
        /// Why, in words.
        reason: String,
    },
    /// A connection was made.
    Connected {
        /// The peer at its other end.
        peer: String,
        /// The way by which it was made.
        method: Method,
        /// The time from the start of the attempt to the connection.
        took: Duration,
    },
    /// An attempt failed.
    ConnectionFailed {
        /// The peer at the other end: the one that this process called, or the one that called it.
        peer: String,
        /// The ways that were tried, and why each failed.
        reason: String,
    },
    /// One step of an attempt; only if detailed logging is on.
    Step {
        /// The peer at the other end.
        peer: String,
        /// The time since the attempt began.
        after: Duration,
        /// What was tried, or its result.
        text: String,
    },
    /// The coordinator has shut down. No event follows.
    Shutdown,
}

/// Reports the steps of one attempt as events.
#[derive(Clone)]
pub(super) struct Progress {
    events: Option<broadcast::Sender<Event>>,
    peer: String,
    began: Instant,
}

impl Progress {
    /// `events` is `None`: steps are not reported.
    pub(super) fn new(events: Option<broadcast::Sender<Event>>, peer: &str) -> Self {
        Self {
            events,
            peer: peer.to_owned(),
            began: Instant::now(),
        }
    }

    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn step(&self, text: impl FnOnce() -> String) {
        if let Some(events) = &self.events {
            // There may be no listener; then the event is dropped.
            let _ = events.send(Event::Step {
                peer: self.peer.clone(),
                after: self.took(),
                text: text(),
            });
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initialized { .. } => write!(f, "initialized"),
            Self::PeerRegistered { id } => write!(f, "registered as {id}"),
            Self::PeerLost { id, reason } => write!(f, "{id} lost its hub: {reason}"),
            Self::Connected { peer, method, took } => {
                write!(
                    f,
                    "connected to {peer} by {method} in {} ms",
                    took.as_millis()
                )
            }
            Self::ConnectionFailed { peer, reason } => {
                write!(f, "no connection to {peer}: {reason}")
            }
            Self::Step { peer, after, text } => {
                // Eight characters of the id are enough to tell peers apart.
                write!(f, "{:>6} ms {peer:.8}: {text}", after.as_millis())
            }
            Self::Shutdown => write!(f, "shut down"),
        }
    }
}
