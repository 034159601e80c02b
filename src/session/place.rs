//! A peer's place in the mesh: nowhere, asked for, or in a seat.
//!
//! Owns the claim, and gives it up exactly once: when it is left, or when the place is dropped. Says nothing to the peer.
//! Used by one conversation each.

use std::sync::Arc;

use hubmesh_core::ids::{ClaimNo, Dialect, LeaveReason};

use super::Shared;
use crate::dialect;
use crate::limits::Turn;
use crate::peers::port::MeshPort;
use crate::peers::registry::Peer;

/// Where a peer is.
pub(super) struct Place<M: MeshPort> {
    stage: Stage,
    seat: Option<Seat<M>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nowhere yet.
    Fresh,
    /// Nowhere yet, and what it said was refused and may have been an announcement.
    Doubtful,
    /// Nowhere any more: it said goodbye.
    Departed,
    /// The mesh decides on its seat.
    Pending,
    /// In its seat.
    Present,
}

/// A claim, given up when dropped.
struct Seat<M: MeshPort> {
    shared: Arc<Shared<M>>,
    peer: Arc<Peer>,
    /// What its join waits for.
    turn: Option<Box<Turn>>,
    reason: LeaveReason,
    left: bool,
}

impl<M: MeshPort> Drop for Seat<M> {
    fn drop(&mut self) {
        let claim = self.peer.source().claim;
        self.shared.registry.remove(claim);
        if !self.left && !self.peer.is_forgotten() {
            self.shared.mesh.leave_now(claim, self.reason);
        }
    }
}

impl<M: MeshPort> Place<M> {
    /// Nowhere yet.
    pub(super) fn fresh() -> Self {
        Place {
            stage: Stage::Fresh,
            seat: None,
        }
    }

    /// Takes a seat that the mesh has yet to decide on.
    pub(super) fn ask(&mut self, shared: Arc<Shared<M>>, peer: Arc<Peer>) {
        self.stage = Stage::Pending;
        self.seat = Some(Seat {
            shared,
            peer,
            turn: None,
            reason: LeaveReason::Closed,
            left: false,
        });
    }

    /// What its join waits for; `None` without a seat.
    pub(super) fn turn(&mut self) -> Option<&mut Option<Box<Turn>>> {
        self.seat.as_mut().map(|seat| &mut seat.turn)
    }

    /// Whether it was nowhere yet, and nothing that it said was refused.
    pub(super) fn is_fresh(&self) -> bool {
        self.stage == Stage::Fresh
    }

    /// Whether it was nowhere yet, and may not know it.
    pub(super) fn is_doubtful(&self) -> bool {
        self.stage == Stage::Doubtful
    }

    /// Whether it has a seat, decided on or not.
    pub(super) fn has_seat(&self) -> bool {
        self.seat.is_some()
    }

    /// Whether the mesh has yet to decide.
    pub(super) fn is_pending(&self) -> bool {
        self.stage == Stage::Pending
    }

    /// Whether it is in its seat.
    pub(super) fn is_present(&self) -> bool {
        self.present().is_some()
    }

    /// Whether this is the peer's claim now, decided on or not.
    pub(super) fn holds(&self, claim: ClaimNo) -> bool {
        let seat = self.seat.as_ref();
        seat.is_some_and(|seat| seat.peer.source().claim == claim)
    }

    /// What the peer said was refused unread, or was an announcement that cannot be. One that is nowhere yet may not be
    /// where it believes to be, and nothing but an announcement says where that is.
    pub(super) fn doubt(&mut self) {
        if self.stage == Stage::Fresh {
            self.stage = Stage::Doubtful;
        }
    }

    /// The mesh has accepted this claim; whether that is news.
    pub(super) fn accept(&mut self, claim: ClaimNo) -> bool {
        if self.is_pending() && self.holds(claim) {
            self.stage = Stage::Present;
            return true;
        }
        false
    }

    /// The network that the peer is told to be in.
    pub(super) fn network(&self, dialect: Dialect) -> &str {
        match &self.seat {
            Some(seat) => seat.peer.source().network.name(),
            None => dialect::default_network(dialect),
        }
    }

    /// Stays in the seat, if there is one, but takes nothing any more.
    pub(super) fn vacate(&self) {
        if let Some(peer) = self.present() {
            peer.go_absent();
        }
    }

    /// Whether it is in the seat and takes nothing.
    pub(super) fn is_vacated(&self) -> bool {
        self.present().is_some_and(|peer| peer.is_absent())
    }

    /// Leaves without waiting, for good.
    pub(super) fn give_up(&mut self, reason: LeaveReason) {
        self.stage = Stage::Departed;
        if let Some(mut seat) = self.seat.take() {
            seat.reason = reason;
        }
    }

    /// Leaves; the mesh has heard of it when this is done.
    pub(super) async fn leave(&mut self, reason: LeaveReason) {
        self.stage = Stage::Departed;
        let Some(mut seat) = self.seat.take() else {
            return;
        };
        seat.reason = reason;
        let claim = seat.peer.source().claim;
        seat.shared.registry.remove(claim);
        if !seat.peer.is_forgotten() {
            seat.shared.mesh.leave(claim, reason).await;
        }
        seat.left = true;
    }

    /// The peer, once it is in its seat.
    pub(super) fn present(&self) -> Option<&Arc<Peer>> {
        let seat = self.seat.as_ref()?;
        (self.stage == Stage::Present).then_some(&seat.peer)
    }
}
