//! Tells the hub of a sender which of its signals their receiver left unread.
//!
//! A signal is acknowledged once it is in its receiver's mailbox. If the receiver leaves before it reads the signal,
//! its hub sends the sender's hub a message, like those of contests: once, in order, and again until it is
//! acknowledged. Owns the layout of that message; `receiving` carries it out. A hub is believed about signals that were
//! sent to it. If the signal is still kept, that proves the message, and its sender is told once, whatever else happens
//! to it. If it is not kept, its number must have been used, and no other hub may have its receiver, unless the hub
//! that sends the message is known to have had it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::api::Unread;
use crate::ids::{ClaimNo, HubId, Incarnation, Moment, PeerId};

use super::Exchange;
use super::effects::counted;
use super::send_window::{SendWindow, WindowItem};

/// The most signals in one message; a longer one is ignored.
const MOST: usize = 1024;
/// The first byte of the message. Messages of contests begin with lower bytes. A hub that does not know this one
/// ignores the message. The types and order of the fields below are a wire format.
const TAG: u8 = 2;

/// The message.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
pub(super) struct UnreadMessage {
    /// The incarnation of the source in which the signals were sent.
    pub(super) incarnation: Incarnation,
    /// The receiver that is gone.
    pub(super) target: String,
    pub(super) signals: Vec<UnreadLine>,
}

/// One signal.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
pub(super) struct UnreadLine {
    pub(super) seq: u64,
    pub(super) source: ClaimNo,
    pub(super) target_claim: ClaimNo,
    pub(super) kind: u8,
}

impl UnreadLine {
    fn of(unread: &Unread) -> Self {
        UnreadLine {
            seq: unread.sender.seq,
            source: unread.sender.claim,
            target_claim: unread.to,
            kind: unread.kind.0,
        }
    }
}

impl UnreadMessage {
    fn encode(&self) -> Bytes {
        // Encoding into memory cannot fail for these types; an empty message is ignored by its receiver.
        postcard::to_allocvec(&(TAG, self))
            .unwrap_or_default()
            .into()
    }

    /// Decodes a message; `None` if it is not of this kind.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (&TAG, rest) = payload.split_first()? else {
            return None;
        };
        let message: UnreadMessage = postcard::from_bytes(rest).ok()?;
        (message.signals.len() <= MOST).then_some(message)
    }
}

impl Exchange {
    /// Tells the senders of these signals at other hubs that the receiver with this id has left and has not read them.
    pub fn return_unread(&mut self, now: Moment, target: &PeerId, unread: &[Unread]) {
        if self.config.mutants.unread_untold() {
            return;
        }
        let mut by_source: BTreeMap<(HubId, Incarnation), Vec<UnreadLine>> = BTreeMap::new();
        for signal in unread {
            let source = (signal.sender.hub, signal.sender.incarnation);
            by_source
                .entry(source)
                .or_default()
                .push(UnreadLine::of(signal));
        }
        for ((hub, incarnation), mut lines) in by_source {
            while !lines.is_empty() {
                let rest = lines.split_off(MOST.min(lines.len()));
                let message = UnreadMessage {
                    incarnation,
                    target: target.to_string(),
                    signals: std::mem::replace(&mut lines, rest),
                };
                self.advance(now);
                self.effects.count(counted::RETURNED);
                let item = WindowItem::Hub {
                    variant: None,
                    payload: message.encode(),
                    token: None,
                };
                // A hub that cannot be reached now, for lack of a route or of space, is not told.
                let _ = self.post(now, hub, item);
            }
        }
    }
}

/// The state of an unread signal in its window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// There never was such a signal.
    Never,
    /// It was acknowledged.
    Unkept,
    /// It is kept; its sender will not be told again when it is acknowledged or given up.
    First,
    /// Its sender has already been told.
    Again,
}

impl SendWindow {
    /// Notes that a signal was not read.
    pub(super) fn mark_unread(&mut self, line: &UnreadLine, receiver: &PeerId) -> Mark {
        if line.seq >= self.next() {
            return Mark::Never;
        }
        let Some(entry) = self.entry(line.seq) else {
            return Mark::Unkept;
        };
        match &entry.item {
            WindowItem::Peer {
                pending,
                target_claim,
            } if pending.source.claim == line.source
                && pending.target == *receiver
                && *target_claim == line.target_claim =>
            {
                match std::mem::replace(&mut entry.told, true) {
                    true => Mark::Again,
                    false => Mark::First,
                }
            }
            WindowItem::Peer { .. } | WindowItem::Publication { .. } | WindowItem::Hub { .. } => {
                Mark::Never
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(signals: usize) -> UnreadMessage {
        let line = || UnreadLine {
            seq: 300,
            source: ClaimNo(4),
            target_claim: ClaimNo(5),
            kind: 6,
        };
        UnreadMessage {
            incarnation: Incarnation { epoch: 1, nonce: 2 },
            target: "bob".to_owned(),
            signals: std::iter::repeat_with(line).take(signals).collect(),
        }
    }

    #[test]
    fn the_message_is_laid_out_as_documented() {
        let bytes = message(1).encode();
        assert_eq!(&bytes[..], b"\x02\x01\x02\x03bob\x01\xac\x02\x04\x05\x06");
        assert_eq!(UnreadMessage::decode(&bytes), Some(message(1)));
    }

    #[test]
    fn what_is_no_such_message_or_too_long_is_left_alone() {
        assert_eq!(UnreadMessage::decode(b""), None);
        assert_eq!(UnreadMessage::decode(b"\x02\x01"), None);
        assert_eq!(UnreadMessage::decode(b"\x01\x05\x00"), None);
        assert_eq!(UnreadMessage::decode(&message(MOST + 1).encode()), None);
        assert!(UnreadMessage::decode(&message(MOST).encode()).is_some());
    }
}
