//! The effects that the exchange wants, in order.
//!
//! Owns the queue, and knows for which delivery the caller still has to answer. Knows nothing of windows: it returns
//! the owner of a settled delivery. Called by the exchange alone.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::api::{Delivery, Failed, Publication, SignalFailure, Unpublished};
use crate::frames::{DataFrame, RefusedWhy};
use crate::ids::{ClaimNo, HubId, Incarnation, LinkId, PeerId};

use super::PendingSignal;

/// An effect that the exchange wants.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Hand the frame (a signal or an acknowledgement) to the link's queue. If the link is gone, drop it:
    /// the source sends again.
    Link {
        /// Which link.
        link: LinkId,
        /// What to send.
        frame: DataFrame,
    },
    /// Hand the signal to the local claim, then report the result with [`Exchange::settle`](super::Exchange::settle).
    Deliver(Delivery),
    /// Hand a publication to the local members of its network, then report the result with
    /// [`Exchange::settle`](super::Exchange::settle).
    Publish(Publication),
    /// Tell the sender, if it is still there, that its publication did not reach all members, or may not have.
    Unpublished(Unpublished),
    /// A message of another hub's control plane, to hand to ours.
    HubMessage {
        /// The hub.
        from: HubId,
        /// The message.
        payload: Bytes,
    },
    /// Tell the sender, if it is still there, that its signal failed.
    Failed(Failed),
    /// Tell the sender, if it is still there and has space for it, that its receiver on another hub left the signal
    /// unread.
    Returned(Failed),
    /// A message to another hub was not delivered, or may not have been.
    HubMessageFailed {
        /// Which hub it was for.
        to: HubId,
        /// The token it was sent with.
        token: u64,
    },
    /// A signal names a hub as its source that does not have the sender: that hub lies, or one on the way does.
    Forged {
        /// The hub that is named.
        source: HubId,
    },
    /// An event to count, under one of the names in [`counted::ALL`].
    Counted(&'static str),
}

/// The names that [`Effect::Counted`] carries.
pub mod counted {
    /// A signal or acknowledgement crossed the most links that it may; dropped.
    pub const TTL: &str = "ttl-expired";
    /// A frame to be forwarded has no route, or only back on its own link; dropped.
    pub const NO_WAY_ON: &str = "no-way-on";
    /// A signal or acknowledgement of or for a past incarnation; dropped.
    pub const STALE_INCARNATION: &str = "stale-life";
    /// A frame with impossible numbers, or one that cannot be read; dropped.
    pub const MALFORMED: &str = "malformed";
    /// A signal of a variant that this hub does not know, refused; or a frame of a kind that it does not know, dropped.
    pub const NOT_UNDERSTOOD: &str = "not-understood";
    /// A frame in the name of a hub from which no way leads to the link that it came on; dropped.
    pub const ASTRAY: &str = "astray";
    /// An acknowledgement of numbers that were never sent: another hub sent in our name. Signals that may have been
    /// received are given up.
    pub const OUTPACED: &str = "outpaced";
    /// A signal that was received before; dropped and acknowledged again.
    pub const DUPLICATE: &str = "duplicate";
    /// A signal that arrived before an earlier one; kept.
    pub const EARLY: &str = "early";
    /// A signal too far ahead, or one for which there is no space or no record free; dropped, will be sent again.
    pub const NO_SPACE: &str = "no-room";
    /// A signal that was sent again.
    pub const RESENT: &str = "resent";
    /// A signal whose source our copy of its hub's claims does not have yet; accepted.
    pub const SOURCE_AHEAD: &str = "source-ahead";
    /// A signal whose source has left meanwhile; accepted.
    pub const SOURCE_LEFT: &str = "source-left";
    /// A signal of a source that its hub does not have; refused (counted at that hub and at this one).
    pub const FORGED: &str = "forged";
    /// A signal whose target was elsewhere, or gone, was placed once more.
    pub const PLACED_AGAIN: &str = "placed-again";
    /// An acknowledgement could not be sent for lack of a route.
    pub const ACK_UNSENT: &str = "ack-unsent";
    /// Another hub was told of signals that a receiver on this one left unread.
    pub const RETURNED: &str = "returned";
    /// The queue of the next link is full: dropped, will be sent again.
    pub const LINK_FULL: &str = "link-full";
    /// A signal of a sender whose share is under way, while a link is backed up or half of the window is used; refused.
    pub const OVER_SHARE: &str = "over-share";

    /// All names.
    pub const ALL: [&str; 19] = [
        NOT_UNDERSTOOD,
        ASTRAY,
        OUTPACED,
        TTL,
        NO_WAY_ON,
        STALE_INCARNATION,
        MALFORMED,
        DUPLICATE,
        EARLY,
        NO_SPACE,
        RESENT,
        SOURCE_AHEAD,
        SOURCE_LEFT,
        FORGED,
        PLACED_AGAIN,
        ACK_UNSENT,
        RETURNED,
        LINK_FULL,
        OVER_SHARE,
    ];
}

/// The owner of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DeliveryOwner {
    /// The window of a hub.
    Window {
        hub: HubId,
        incarnation: Incarnation,
        seq: u64,
    },
    /// A local claim whose signal had to wait.
    Local { source: ClaimNo },
}

/// A delivery for which the caller has to answer.
#[derive(Debug)]
pub(super) enum Settling {
    Window {
        hub: HubId,
        incarnation: Incarnation,
        seq: u64,
    },
    /// The failure for its sender, if it fails; the reason is set then.
    Local(Failed),
}

#[derive(Debug)]
enum Queued {
    Plain(Effect),
    Deliver(Delivery, DeliveryOwner),
    /// A publication of another hub's peer.
    Publish(Publication, Settling),
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Effects {
    queue: VecDeque<Queued>,
    /// Deliveries between local claims that are queued or not answered.
    local: usize,
    settling: Option<Settling>,
    /// The senders and targets of the signals that have failed in this batch.
    failed: BTreeSet<(ClaimNo, PeerId)>,
}

impl Effects {
    pub(super) fn link(&mut self, link: LinkId, frame: DataFrame) {
        self.push(Effect::Link { link, frame });
    }

    pub(super) fn count(&mut self, label: &'static str) {
        self.push(Effect::Counted(label));
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.queue.push_back(Queued::Plain(effect));
    }

    pub(super) fn deliver(&mut self, delivery: Delivery, owner: DeliveryOwner) {
        if matches!(owner, DeliveryOwner::Local { .. }) {
            self.local += 1;
        }
        self.queue.push_back(Queued::Deliver(delivery, owner));
    }

    /// A publication was received under this number of a hub.
    pub(super) fn publish(
        &mut self,
        publication: Publication,
        hub: HubId,
        incarnation: Incarnation,
        seq: u64,
    ) {
        let settling = Settling::Window {
            hub,
            incarnation,
            seq,
        };
        self.queue.push_back(Queued::Publish(publication, settling));
    }

    /// The failure of a peer's signal.
    pub(super) fn fail(&mut self, pending: PendingSignal, why: SignalFailure) {
        let pair = (pending.source.claim, pending.target.clone());
        let repeats_previous = pending.wait && !self.failed.insert(pair);
        self.push(Effect::Failed(Failed {
            source: pending.source.claim,
            network: pending.source.network,
            target: pending.target,
            kind: pending.kind,
            why,
            repeats_previous,
        }));
    }

    /// Begins a batch: failures from now on are not repeats of earlier ones.
    pub(super) fn begin_batch(&mut self) {
        self.failed.clear();
    }

    /// Local signals that must be handed over before any later one.
    pub(super) fn local(&self) -> usize {
        self.local
    }

    /// The next effect. The caller has answered for the delivery before it.
    pub(super) fn poll(&mut self) -> Option<Effect> {
        let (delivery, owner) = match self.queue.pop_front()? {
            Queued::Plain(effect) => return Some(effect),
            Queued::Publish(publication, settling) => {
                self.settling = Some(settling);
                return Some(Effect::Publish(publication));
            }
            Queued::Deliver(delivery, owner) => (delivery, owner),
        };
        self.settling = Some(match owner {
            DeliveryOwner::Window {
                hub,
                incarnation,
                seq,
            } => Settling::Window {
                hub,
                incarnation,
                seq,
            },
            DeliveryOwner::Local { source } => Settling::Local(Failed {
                source,
                network: delivery.network.clone(),
                target: delivery.target.clone(),
                kind: delivery.kind,
                why: SignalFailure::NoSuchPeer,
                repeats_previous: false,
            }),
        });
        Some(Effect::Deliver(delivery))
    }

    /// The delivery for which the caller answers now.
    pub(super) fn take_settling(&mut self) -> Option<Settling> {
        let settling = self.settling.take()?;
        if matches!(settling, Settling::Local(_)) {
            self.local -= 1;
        }
        Some(settling)
    }
}

/// The failure that the sender is told after a refusal.
pub(super) fn failure_of(why: RefusedWhy) -> SignalFailure {
    match why {
        RefusedWhy::Overload => SignalFailure::Overload,
        RefusedWhy::NotHere | RefusedWhy::Forged | RefusedWhy::NotUnderstood => {
            SignalFailure::NoSuchPeer
        }
    }
}
