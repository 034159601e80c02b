//! The exchange of messages of one attempt with the other end, through a hub or through any other carrier of signals.
//!
//! Owns the public vocabulary of carriers: [`Signaling`] is two queues, so that any program can carry the messages in
//! its own way.

use serde_json::value::RawValue;
use thiserror::Error;
use tokio::sync::mpsc;

use super::signal::{Body, Message};
use crate::SignalKind;

/// A message to be carried to a peer.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The peer that it is for.
    pub to: String,
    /// The kind of signal in which a hub of the native dialect carries it.
    pub kind: SignalKind,
    /// The message.
    pub data: Box<RawValue>,
}

/// An event from the carrier of messages.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A peer sent a message.
    Signal {
        /// The peer; the carrier has verified it.
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
    /// The carrier has stopped.
    Closed {
        /// Why, in words.
        reason: String,
    },
}

/// The two queues for messages; the carrier has the other halves.
#[derive(Debug)]
pub struct Signaling {
    /// Messages for peers.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// Events from the carrier.
    pub incoming: mpsc::Receiver<Incoming>,
}

/// Why the link does not work any more.
#[derive(Clone, Debug, Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Undeliverable(String),
    #[error("{0}")]
    Closed(String),
    #[error("the other end gave up")]
    GivenUp,
}

/// The messages for one attempt.
pub(super) type Told = Result<Body, Lost>;

/// The link of one attempt. If it is dropped before the attempt is decided, the other end is told that this end gave
/// up.
pub(super) struct Link {
    pub(super) peer: String,
    pub(super) attempt: String,
    outgoing: mpsc::Sender<Outgoing>,
    inbox: mpsc::Receiver<Told>,
    kept: Option<Body>,
    /// Whether the other end may be waiting for a message.
    is_awaited: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.is_awaited {
            // If the other end does not get it, it notices the silence.
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

    /// Sends one last message if the queue has space; drops it otherwise.
    pub(super) fn end_with(mut self, body: Body) {
        self.decided();
        // If the other end does not get it, it notices the silence.
        let _ = self.outgoing.try_send(self.addressed(body));
    }

    /// No message has to be sent any more: the attempt is decided, and the other end knows.
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

    /// Puts a message back, for the next reader.
    pub(super) fn keep(&mut self, body: Body) {
        self.kept = Some(body);
    }
}
