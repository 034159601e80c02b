//! Variants of signals that not every hub knows.
//!
//! A later version has variants of signals that this one does not know. A hub on the way forwards them, since it reads
//! only the head. A destination that does not know a variant refuses the signal but counts its number as received, so
//! that no later signal waits. This should be rare: each hub has in its link record the *wire level* that it knows, and
//! a sender checks it first. Hubs of level 0 drop unknown variants, also on the way. While one of them is in reach, no
//! hub sends a variant that it would not forward, and no hub forwards one that it could not decode: it would close the
//! link.

use bytes::Bytes;

use crate::api::SignalFailure;
use crate::frames::{DataFrame, RawFrame, SignalBody, WIRE_LEVEL};
use crate::ids::{HubId, Moment};
use crate::wire::{self, MAX_PAYLOAD};

use super::Exchange;
use super::send_window::WindowItem;

/// Hubs of this wire level or higher forward unknown variants.
pub(super) const PASSES_ON: u8 = 1;

/// The wire level that a hub needs before it may be sent a variant.
fn level_of(variant: u8) -> u8 {
    match variant {
        wire::PEER_VARIANT | wire::HUB_VARIANT => 0,
        // A variant of a later version.
        _ => WIRE_LEVEL + 1,
    }
}

/// Whether a hub of this level knows the content of a signal.
pub(super) fn is_understood(body: &SignalBody, level: u8) -> bool {
    match body {
        SignalBody::Peer(_) | SignalBody::Hub { .. } => true,
        // A variant that this version knows gets here only if it could not be decoded.
        SignalBody::Other { variant, .. } => (1..=level).contains(&level_of(*variant)),
    }
}

/// Whether this is a signal of a variant that this version does not know. For a hub on the way this must make no
/// difference.
pub(super) fn is_unknown_signal(frame: &RawFrame) -> bool {
    matches!(
        wire::read_data(frame.clone()),
        Ok(DataFrame::Signal(signal)) if !is_understood(&signal.body, WIRE_LEVEL)
    )
}

/// Whether hubs of level 0 can decode this frame, or drop it as unknown, so that they do not close the link on which it
/// arrives.
pub(super) fn is_readable_on_the_way(frame: &RawFrame) -> bool {
    match wire::read_data(frame.clone()) {
        Ok(DataFrame::Signal(signal)) => match signal.body {
            SignalBody::Peer(_) | SignalBody::Hub { .. } => true,
            SignalBody::Other { variant, .. } => level_of(variant) > 0,
        },
        Ok(DataFrame::Ack(_) | DataFrame::Raw(_)) => true,
        Err(_) => false,
    }
}

impl Exchange {
    /// Whether a hub can be sent a signal of this variant: it knows it, and all hubs that may be on the way forward it.
    pub fn can_send_variant(&self, to: &HubId, variant: u8) -> bool {
        let needed = level_of(variant);
        let knows = |level: u8| level >= needed;
        let route = self.routes.by_hub.get(to);
        route.is_some_and(|route| knows(route.level))
            && (needed == 0 || self.routes.level >= PASSES_ON)
    }

    /// Sends another hub a message in a variant of signals, in order with the signals to that hub, whether that hub
    /// knows it or not: the caller has asked [`can_send_variant`](Self::can_send_variant). If it is not, or perhaps
    /// not, delivered, [`Effect::HubMessageFailed`](super::Effect::HubMessageFailed) has the `token`. This version has
    /// no such variant; simulated hubs of later versions do.
    pub fn send_variant(
        &mut self,
        now: Moment,
        to: HubId,
        variant: u8,
        payload: Bytes,
        token: u64,
    ) {
        let now = self.advance(now);
        let fits = payload.len() <= MAX_PAYLOAD;
        let item = WindowItem::Hub {
            variant: Some(variant),
            payload,
            token: Some(token),
        };
        let posted = match fits {
            true => self.post(now, to, item),
            false => Err((item, SignalFailure::Overload)),
        };
        if let Err((item, why)) = posted {
            self.fail(to, vec![(item, why)]);
        }
    }
}
