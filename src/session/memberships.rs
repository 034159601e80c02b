//! The memberships of one client: each a claim in one network, requested or accepted.
//!
//! Owns the claims, and gives each up exactly once: when its network is left, or when the membership is dropped. Sends
//! nothing to the client. Most clients have one membership, which takes no memory of its own. Used by one conversation
//! each.

use std::sync::Arc;

use hubmesh_core::ids::{ClaimNo, LeaveReason, NetworkKey};

use super::SessionContext;
use crate::dialect::About;
use crate::limits::Turn;
use crate::peers::port::MeshPort;
use crate::peers::registry::Peer;

/// All memberships of one client.
pub(super) struct Memberships<M: MeshPort> {
    first: Option<Membership<M>>,
    more: Vec<Membership<M>>,
    /// The number of memberships that are not decided yet.
    pending: usize,
}

/// One membership.
struct Membership<M: MeshPort> {
    claim: ClaimGuard<M>,
    is_pending: bool,
}

/// A claim, given up when dropped.
struct ClaimGuard<M: MeshPort> {
    shared: Arc<SessionContext<M>>,
    peer: Arc<Peer>,
    /// The state of its join.
    turn: Option<Box<Turn>>,
    reason: LeaveReason,
    left: bool,
}

impl<M: MeshPort> Drop for ClaimGuard<M> {
    fn drop(&mut self) {
        let claim = self.peer.source().claim;
        self.shared.registry.remove(claim, self.reason);
        if !self.left && !self.peer.is_forgotten() {
            self.shared.mesh.leave_now(claim, self.reason);
        }
    }
}

impl<M: MeshPort> Membership<M> {
    fn network(&self) -> &NetworkKey {
        &self.claim.peer.source().network
    }

    fn number(&self) -> ClaimNo {
        self.claim.peer.source().claim
    }

    /// The peer, once the claim is accepted.
    fn present(&self) -> Option<&Arc<Peer>> {
        (!self.is_pending).then_some(&self.claim.peer)
    }
}

impl<M: MeshPort> Memberships<M> {
    /// No memberships.
    pub(super) fn none() -> Self {
        Memberships {
            first: None,
            more: Vec::new(),
            pending: 0,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Membership<M>> {
        self.first.iter().chain(&self.more)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Membership<M>> {
        self.first.iter_mut().chain(&mut self.more)
    }

    fn find(&self, network: &NetworkKey) -> Option<&Membership<M>> {
        self.iter().find(|member| member.network() == network)
    }

    fn take(&mut self, is_it: impl Fn(&Membership<M>) -> bool) -> Option<Membership<M>> {
        let taken = match &self.first {
            Some(first) if is_it(first) => std::mem::replace(&mut self.first, self.more.pop()),
            _ => {
                let place = self.more.iter().position(is_it)?;
                Some(self.more.swap_remove(place))
            }
        };
        self.pending -= usize::from(taken.as_ref().is_some_and(|member| member.is_pending));
        taken
    }

    /// Adds a membership that the mesh has yet to decide on.
    pub(super) fn ask(&mut self, shared: Arc<SessionContext<M>>, peer: Arc<Peer>) {
        let claim = ClaimGuard {
            shared,
            peer,
            turn: None,
            reason: LeaveReason::Closed,
            left: false,
        };
        let member = Membership {
            claim,
            is_pending: true,
        };
        self.pending += 1;
        match self.first {
            None => self.first = Some(member),
            Some(_) => self.more.push(member),
        }
    }

    /// The state of the join of this claim; `None` without one.
    pub(super) fn turn(&mut self, claim: ClaimNo) -> Option<&mut Option<Box<Turn>>> {
        let mut all = self.iter_mut();
        let member = all.find(|member| member.number() == claim)?;
        Some(&mut member.claim.turn)
    }

    /// The number of memberships.
    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether the mesh has yet to decide on any.
    pub(super) fn any_pending(&self) -> bool {
        self.pending > 0
    }

    /// Whether the membership of this network, or any, is not decided yet; or the first one, if all others wait for it.
    pub(super) fn is_pending(&self, network: Option<&NetworkKey>, all_wait: bool) -> bool {
        let in_doubt = |network| self.find(network).is_some_and(|member| member.is_pending);
        let is_first = || self.first.as_ref().is_some_and(|member| member.is_pending);
        self.any_pending() && (all_wait && is_first() || network.is_none_or(in_doubt))
    }

    /// Whether this claim is one of them, decided on or not.
    pub(super) fn holds(&self, claim: ClaimNo) -> bool {
        self.iter().any(|member| member.number() == claim)
    }

    /// Whether there is one of this network, decided on or not.
    pub(super) fn has(&self, network: &NetworkKey) -> bool {
        self.find(network).is_some()
    }

    /// The mesh has accepted this claim: returns its network, if this is new.
    pub(super) fn accept(&mut self, claim: ClaimNo) -> Option<NetworkKey> {
        let network = {
            let mut all = self.iter_mut();
            let member = all.find(|member| member.is_pending && member.number() == claim)?;
            member.is_pending = false;
            member.network().clone()
        };
        self.pending -= 1;
        Some(network)
    }

    /// The mesh has given up this claim: returns its network, if it was one of them.
    pub(super) fn lose(&mut self, claim: ClaimNo) -> Option<NetworkKey> {
        let member = self.take(|member| member.number() == claim)?;
        Some(member.network().clone())
    }

    /// Keeps all memberships, but from now on they accept no signals.
    pub(super) fn vacate(&self) {
        let present = self.iter().filter_map(Membership::present);
        present.for_each(|peer| peer.go_absent());
    }

    /// Whether any membership is accepted and receives no signals.
    pub(super) fn is_vacated(&self) -> bool {
        let mut present = self.iter().filter_map(Membership::present);
        present.any(|peer| peer.is_absent())
    }

    /// Whether any membership is accepted.
    pub(super) fn any_present(&self) -> bool {
        self.iter().any(|member| member.present().is_some())
    }

    /// Ends all memberships without waiting.
    pub(super) fn give_up(&mut self, reason: LeaveReason) {
        for member in self.iter_mut() {
            member.claim.reason = reason;
        }
        *self = Memberships::none();
    }

    /// Ends the membership of a network; the mesh has been told when this is done. Returns its claim.
    pub(super) async fn leave(
        &mut self,
        network: &NetworkKey,
        reason: LeaveReason,
    ) -> Option<ClaimNo> {
        let mut member = self.take(|member| member.network() == network)?;
        let claim = member.number();
        let guard = &mut member.claim;
        guard.reason = reason;
        guard.shared.registry.remove(claim, reason);
        if !guard.peer.is_forgotten() {
            guard.shared.mesh.leave(claim, reason).await;
        }
        guard.left = true;
        Some(claim)
    }

    /// The peer that this action is about, once its claim is accepted.
    pub(super) fn present(&self, about: &About) -> Option<&Arc<Peer>> {
        match about {
            About::Nothing => None,
            About::Only => self.first.as_ref()?.present(),
            About::Network(network) => self.find(network)?.present(),
        }
    }
}
