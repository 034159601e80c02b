//! Which counter a message moves: the words of the dialects, matched with those of the metrics.

use crate::dialect::pigeon;
use crate::dialect::{Command, DecodeError, Message};
use crate::mesh::core::api::PeerEvent;
use crate::mesh::core::ids::{Dialect, LeaveReason, SignalKind};
use crate::metrics::{Metrics, Received, Sent};

/// What a client's message counts as.
pub fn received(dialect: Dialect, decoded: &Result<Message<'_>, DecodeError>) -> Received {
    match decoded.as_ref().map(|message| &message.command) {
        Err(_) => Received::Malformed,
        Ok(Command::Announce { .. }) => Received::Announce,
        Ok(Command::Signal { kind, .. }) => match (dialect, *kind) {
            (Dialect::Pigeon, pigeon::OFFER) => Received::Offer,
            (Dialect::Pigeon, pigeon::ANSWER) => Received::Answer,
            (Dialect::Pigeon, _) => Received::IceCandidate,
        },
        Ok(Command::Ping { .. }) => Received::Ping,
        Ok(Command::Goodbye) => Received::Goodbye,
        Ok(Command::Ignored) => Received::Cleanup,
        Ok(Command::Unsupported(_)) => Received::Other,
    }
}

/// What a delivered signal counts as.
pub fn sent_signal(dialect: Dialect, kind: SignalKind) -> Sent {
    match (dialect, kind) {
        (Dialect::Pigeon, pigeon::OFFER) => Sent::Offer,
        (Dialect::Pigeon, pigeon::ANSWER) => Sent::Answer,
        (Dialect::Pigeon, _) => Sent::IceCandidate,
    }
}

/// Counts what `receivers` peers were told of one change.
pub fn count_notices(metrics: &Metrics, event: &PeerEvent, receivers: u64) {
    let sent = match event {
        PeerEvent::Joined { .. } | PeerEvent::Updated { .. } => Sent::PeerDiscovered,
        PeerEvent::Left { reason, .. } => {
            if *reason == LeaveReason::Goodbye {
                metrics.messages_sent.of(Sent::Goodbye).inc_by(receivers);
            }
            Sent::PeerDisconnected
        }
    };
    metrics.messages_sent.of(sent).inc_by(receivers);
}
