//! Events, for listeners.

use std::fmt;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::detect::NatInfo;
use super::plan::Method;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The servers are known, and the network has been looked at.
    Initialized {
        /// The network as it was found.
        nat: NatInfo,
    },
    /// Others can ask a peer of this process for connections.
    PeerRegistered {
        /// Its id.
        id: String,
    },
    /// A peer of this process can no longer be asked, nor ask: nothing carries its signals.
    PeerLost {
        /// Its id.
        id: String,
        /// Why, in words.
        reason: String,
    },
    /// There is a connection.
    Connected {
        /// The peer at its other end.
        peer: String,
        /// How it is reached.
        method: Method,
        /// From the first question to the connection.
        took: Duration,
    },
    /// There is none.
    ConnectionFailed {
        /// The other peer.
        peer: String,
        /// What was tried, and why each failed.
        reason: String,
    },
    /// One step of an attempt, when detailed logging was asked for.
    Step {
        /// The peer at the other end.
        peer: String,
        /// Since the attempt began.
        after: Duration,
        /// What happens, or what came of it.
        text: String,
    },
    /// There are no further events.
    Shutdown,
}

/// The steps of one attempt.
#[derive(Clone)]
pub(super) struct Progress {
    events: Option<broadcast::Sender<Event>>,
    peer: String,
    began: Instant,
}

impl Progress {
    /// Without `events`, no step is reported.
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
            // There may be no listener.
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
                // The beginning of an id tells peers apart.
                write!(f, "{:>6} ms {peer:.8}: {text}", after.as_millis())
            }
            Self::Shutdown => write!(f, "shut down"),
        }
    }
}
