//! Which counter a message moves: the words of the dialects, matched with those of the metrics.

use hubmesh_core::api::PeerEvent;
use hubmesh_core::ids::{Dialect, LeaveReason, SignalKind};

use crate::dialect::{Command, DecodeError, Message, peerjs, pigeon};
use crate::metrics::{Metrics, Received, Sent};

/// What a client's message counts as.
pub fn received(dialect: Dialect, decoded: &Result<Message<'_>, DecodeError>) -> Received {
    match decoded.as_ref().map(|message| &message.command) {
        Err(_) => Received::Malformed,
        Ok(Command::Announce { .. }) => Received::Announce,
        Ok(Command::Signal { kind, .. }) => match sort(dialect, *kind) {
            Sort::Offer => Received::Offer,
            Sort::Answer => Received::Answer,
            Sort::IceCandidate => Received::IceCandidate,
            Sort::Goodbye => Received::Goodbye,
        },
        Ok(Command::Ping { .. }) => Received::Ping,
        Ok(Command::Goodbye) => Received::Goodbye,
        Ok(Command::Ignored) => match dialect {
            Dialect::Pigeon => Received::Cleanup,
            Dialect::PeerJs | Dialect::PeerJsRooms => Received::Heartbeat,
        },
        Ok(Command::Nowhere { .. } | Command::Unsupported(_)) => Received::Other,
    }
}

/// What a delivered signal counts as.
pub fn sent_signal(dialect: Dialect, kind: SignalKind) -> Sent {
    match sort(dialect, kind) {
        Sort::Offer => Sent::Offer,
        Sort::Answer => Sent::Answer,
        Sort::IceCandidate => Sent::IceCandidate,
        Sort::Goodbye => Sent::Goodbye,
    }
}

/// What signals are, whatever a dialect calls them.
enum Sort {
    Offer,
    Answer,
    IceCandidate,
    Goodbye,
}

fn sort(dialect: Dialect, kind: SignalKind) -> Sort {
    match dialect {
        Dialect::Pigeon => match kind {
            pigeon::OFFER => Sort::Offer,
            pigeon::ANSWER => Sort::Answer,
            _ => Sort::IceCandidate,
        },
        Dialect::PeerJs | Dialect::PeerJsRooms => match peerjs::base_kind(kind) {
            peerjs::OFFER => Sort::Offer,
            peerjs::ANSWER => Sort::Answer,
            peerjs::LEAVE => Sort::Goodbye,
            _ => Sort::IceCandidate,
        },
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
