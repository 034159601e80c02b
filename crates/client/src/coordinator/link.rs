//! One attempt's line to the other end, by a hub or another carrier of signals.
//!
//! Owns the public vocabulary of that: [`Signaling`] is two queues, so that any program can carry the messages in its own
//! way.

use serde_json::value::RawValue;
use thiserror::Error;
use tokio::sync::mpsc;

use super::signal::{Body, Message};
use crate::SignalKind;

/// A message for a peer.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The peer that it is for.
    pub to: String,
    /// The kind of signal as which a hub of the native dialect carries it.
    pub kind: SignalKind,
    /// The message.
    pub data: Box<RawValue>,
}

/// An event of the carrier.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A peer sent a message.
    Signal {
        /// The peer, as the carrier has proved it.
        from: String,
        /// The message.
        data: Box<RawValue>,
    },
    /// A message could not be carried.
    Undeliverable {
        /// The peer that it was for.
        to: String,
        /// Why, in words.
        reason: String,
    },
    /// Nothing is carried any more.
    Closed {
        /// Why, in words.
        reason: String,
    },
}

/// The two queues of messages; the carrier has their other halves.
#[derive(Debug)]
pub struct Signaling {
    /// Messages for peers.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// Events of the carrier.
    pub incoming: mpsc::Receiver<Incoming>,
}

/// Why the line is dead.
#[derive(Clone, Debug, Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Undeliverable(String),
    #[error("{0}")]
    Closed(String),
    #[error("the other end gave up")]
    GivenUp,
}

/// An event of one attempt.
pub(super) type Told = Result<Body, Lost>;

/// The line. If it is dropped before the attempt is decided, the other end is told that this end no longer waits.
pub(super) struct Link {
    pub(super) peer: String,
    pub(super) attempt: String,
    outgoing: mpsc::Sender<Outgoing>,
    inbox: mpsc::Receiver<Told>,
    kept: Option<Body>,
    /// Whether the other end may wait for a word.
    is_awaited: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.is_awaited {
            // An end that does not hear it finds out by the silence.
            let _ = self.outgoing.try_send(self.addressed(Body::GiveUp));
        }
    }
}

impl Link {
    pub(super) fn new(
        peer: &str,
        attempt: &str,
        outgoing: mpsc::Sender<Outgoing>,
        inbox: mpsc::Receiver<Told>,
    ) -> Self {
        Self {
            peer: peer.to_owned(),
            attempt: attempt.to_owned(),
            outgoing,
            inbox,
            kept: None,
            is_awaited: false,
        }
    }

    fn addressed(&self, body: Body) -> Outgoing {
        let message = Message::new(&self.attempt, body);
        Outgoing {
            to: self.peer.clone(),
            kind: message.kind(),
            data: message.write(),
        }
    }

    pub(super) async fn say(&mut self, body: Body) -> Result<(), Lost> {
        self.is_awaited = true;
        let outgoing = self.addressed(body);
        let gone = || Lost::Closed("the connection for signals is gone".into());
        self.outgoing.send(outgoing).await.map_err(|_| gone())
    }

    /// Says one last word at once, or not at all.
    pub(super) fn end_with(mut self, body: Body) {
        self.decided();
        // An end that does not hear it finds out by the silence.
        let _ = self.outgoing.try_send(self.addressed(body));
    }

    /// Nothing more needs to be said: the attempt is decided, and the other end knows.
    pub(super) fn decided(&mut self) {
        self.is_awaited = false;
    }

    /// The next message of the other end, unless it gives up. Cancel-safe.
    pub(super) async fn hear(&mut self) -> Told {
        if let Some(kept) = self.kept.take() {
            return Ok(kept);
        }
        let gone = || Lost::Closed("the connection for signals is gone".into());
        let told = self.inbox.recv().await.unwrap_or_else(|| Err(gone()));
        if matches!(told, Err(_) | Ok(Body::GiveUp | Body::Refuse { .. })) {
            self.decided();
        }
        match told {
            Ok(Body::GiveUp) => Err(Lost::GivenUp),
            told => told,
        }
    }

    /// Puts a message back, for the part that it is for.
    pub(super) fn keep(&mut self, body: Body) {
        self.kept = Some(body);
    }
}
