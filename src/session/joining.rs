//! How a client joins and leaves networks, as its protocol asks.
//!
//! A join asks the mesh for a claim, unless joins from the client's address have caused too many notices already; the
//! claim is accepted once the mesh says so. Knows no messages. Part of the conversation, whose actions come from
//! `carrying_out`.

use std::sync::Arc;

use bytes::Bytes;
use hubmesh_core::api::{Join, RoomAsk, Source};
use hubmesh_core::ids::{ClaimNo, LeaveReason, NetworkKey, PeerId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::conversation::Conversation;
use super::deadlines::Awaited;
use crate::auth::scope::Right;
use crate::dialect::{About, Complaint, HubEvent};
use crate::limits::AddressGroup;
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;
use crate::peers::registry::Peer;

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    pub(super) async fn update(&mut self, network: &NetworkKey, data: Option<Bytes>) {
        let about = About::Network(network.clone());
        if let Some(peer) = self.memberships.present(&about) {
            let claim = peer.source().claim;
            peer.show();
            self.shared.mesh.update(claim, data, false).await;
        }
    }

    /// Tells a client of the other members, if it asks to join a network that it is already in.
    fn tell_again(&self, network: &NetworkKey) {
        let about = About::Network(network.clone());
        if let Some(peer) = self.memberships.present(&about) {
            let mesh = &self.shared.mesh;
            let others = mesh.others(network, &peer.source().peer);
            let room = network.is_room().then(|| mesh.room(network)).flatten();
            self.shared
                .registry
                .tell_again(peer, &others, room.as_ref());
        }
    }

    pub(super) async fn leave(&mut self, network: &NetworkKey, reason: LeaveReason) {
        let claim = self.memberships.leave(network, reason).await;
        if let Some(postponed) = &mut self.postponed {
            postponed.joins.retain(|join| Some(join.claim) != claim);
        }
        self.held.stir();
    }

    /// Leaves a network. A client that stays connected after it left its last network has as long as a newcomer to
    /// announce itself.
    pub(super) async fn part_from(&mut self, network: &NetworkKey, goodbye: bool) {
        let was_there = self.memberships.has(network);
        if goodbye {
            self.held.forget(network);
        }
        let reason = match goodbye {
            true => LeaveReason::Goodbye,
            false => LeaveReason::Closed,
        };
        if was_there {
            self.leave(network, reason).await;
            self.wait_on();
        }
    }

    /// Sets the event that the hub waits for, after a join was decided or a network left.
    pub(super) fn wait_on(&mut self) {
        if self.next_postponed().is_some() || self.memberships.any_pending() {
            return;
        }
        // A client without an id uses a slot that another client could have.
        let may_idle = self.shared.policies.of(self.dialect()).idles && self.identity.is_some();
        let what = match self.memberships.is_empty() && !may_idle {
            true => Awaited::Announcement,
            false => Awaited::Nothing,
        };
        self.deadlines.wait(what, Instant::now());
    }

    /// Asks for a membership of a client that is known.
    pub(super) async fn join(
        &mut self,
        network: NetworkKey,
        (data, quiet): (Option<Bytes>, bool),
        room: Option<RoomAsk>,
    ) -> Result<(), CloseReason> {
        let Some(identity) = self.identity.clone() else {
            return Ok(());
        };
        if self.memberships.has(&network) {
            // The client may also have got into the network after it sent this action.
            if matches!(room, Some(RoomAsk::Create(_))) {
                let why = CloseReason::RoomExists.complaint();
                self.say(&HubEvent::Mistake(why));
                return Ok(());
            }
            // In a dialect whose peers are not told of each other, the client is told nothing more.
            if network.tells_of_peers() {
                self.update(&network, data).await;
                self.tell_again(&network);
            }
            return Ok(());
        }
        if network.is_room() && self.shared.pressure.is_critical() {
            let event = HubEvent::Lost {
                network: &network,
                why: CloseReason::OutOfMemory.complaint(),
            };
            if let Some(rest) = self.tell(&event, CloseReason::Refused)? {
                rest.await?;
            }
            return Ok(());
        }
        let most = self.shared.limits.max_networks;
        if self.memberships.len() >= most {
            let text = format!("a client may be in {most} networks at once");
            let event = HubEvent::Lost {
                network: &network,
                why: Complaint::new("too-many-networks", text),
            };
            if let Some(rest) = self.tell(&event, CloseReason::Refused)? {
                rest.await?;
            }
            return Ok(());
        }
        let claim = self.shared.mesh.next_claim();
        let source = Source {
            claim,
            network: network.clone(),
            peer: identity.clone(),
        };
        let mailbox = Arc::clone(&self.mailbox);
        let mut peer = Peer::new(source, self.dialect(), mailbox, quiet);
        if !self.has(Right::Discover) {
            peer.go_blind();
        }
        let peer = Arc::new(peer);
        self.shared.registry.insert(claim, Arc::clone(&peer));
        self.memberships.ask(Arc::clone(&self.shared), peer);
        // Checked after the mailbox is listed: so a ban at the same moment finds the mailbox in the list, or this check
        // finds the ban.
        self.heed_bans(claim, &network, &identity)?;
        let join = Join {
            claim,
            network,
            peer: identity,
            data,
            quiet,
            proof: self.proof.clone(),
            room,
            address: AddressGroup::of(self.address),
            counts_for: Some(AddressGroup::of(self.address)),
        };
        match &mut self.postponed {
            // The joins are asked for in their order.
            Some(postponed) => postponed.joins.push_back(join),
            None => self.ask(join).await,
        }
        Ok(())
    }

    /// Whether bans allow the client to be in a network under its id.
    fn heed_bans(
        &self,
        claim: ClaimNo,
        network: &NetworkKey,
        identity: &PeerId,
    ) -> Result<(), CloseReason> {
        let shared = &self.shared;
        if shared.is_barred_as(&self.mailbox, network, identity) {
            shared.registry.show_refusal(claim, CloseReason::Banned);
            return Err(CloseReason::Banned);
        }
        Ok(())
    }

    /// The claim that waits for its turn to join.
    fn next_postponed(&self) -> Option<ClaimNo> {
        let postponed = self.postponed.as_ref()?;
        postponed.joins.front().map(|join| join.claim)
    }

    /// Asks the mesh for the joins whose turn has come.
    pub(super) async fn ask_in_turn(&mut self) {
        while let Some(join) = self
            .postponed
            .as_mut()
            .and_then(|all| all.joins.pop_front())
        {
            let claim = join.claim;
            self.ask(join).await;
            if self.next_postponed() == Some(claim) {
                return;
            }
        }
        self.postponed = None;
        self.wait_on();
    }

    /// Asks the mesh for a membership, or waits for its turn, and is called again then.
    async fn ask(&mut self, join: Join) {
        let now = Instant::now();
        let shared = &self.shared;
        if let Some(waiting) = self.memberships.turn(join.claim) {
            if let Some(turn) = waiting.take() {
                turn.came();
            } else if let Some(turn) = shared.turn_to_join(self.address, &join.network) {
                self.deadlines.wait(Awaited::Turn, now + turn.wait());
                *waiting = Some(Box::new(turn));
                self.shared.metrics.joins_delayed.inc();
                tracing::debug!(
                    "a join waits: clients of its address cause too many notices to others"
                );
                self.postponed
                    .get_or_insert_default()
                    .joins
                    .push_front(join);
                return;
            }
        }
        self.deadlines.wait(Awaited::Mesh, now);
        self.shared.mesh.join(join).await;
    }
}
