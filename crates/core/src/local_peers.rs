//! Local peers: their joins, updates and leaves, and what other hubs ask about contested ids.
//!
//! A join goes through the contests before its claim is authored. This file authors and retracts claims of this hub
//! alone. Part of [`Core`], whose doc has the contract.

use std::time::Duration;

use bytes::Bytes;

use super::Core;
use super::api::{Bye, Join, JoinRefusal, Output};
use super::ids::{ClaimNo, Hlc, HubId, LeaveReason, NetworkKey, Now, PeerId};
use crate::frames::{Claim, Set};

impl Core {
    /// A local peer wants to be in a network. The answer is `Accepted` or `Refused`, now or when up to three contests
    /// are over. Each contest takes at most the longer of a probe and the hold, and 1.5 s. If the members of the
    /// network are not known here yet, the first contest begins when they are, at most 2 s later; or longer by the hold
    /// if the network is a room whose hubs were lost.
    pub fn join(&mut self, now: Now, join: Join) {
        if self.draining {
            let (claim, why) = (join.claim, JoinRefusal::Draining);
            return self.outputs.push_back(Output::Refused { claim, why });
        }
        if let Some(join) = self.wait_for_members(now, join) {
            self.decide(now, join);
        }
        self.settle(now);
    }

    /// A local peer shows other data, or is no longer quiet.
    pub fn update(&mut self, now: Now, claim: ClaimNo, data: Option<Bytes>, quiet: bool) {
        if self.routing.interest.update(claim, data.as_ref(), quiet)
            || self
                .presence
                .contests
                .update_pending(claim, data.clone(), quiet)
        {
            return;
        }
        let Some(view) = self.directory.read().own_claim(claim) else {
            return;
        };
        let claim = Claim {
            network: view.network,
            peer: view.peer,
            claim,
            hlc: view.hlc,
            quiet,
            data,
        };
        self.author(now, &claim, view.quiet && !quiet);
    }

    /// A local peer is gone, or leaves its network.
    pub fn leave(&mut self, now: Now, claim: ClaimNo, reason: LeaveReason) {
        self.retract(now, claim, reason);
        self.settle(now);
    }

    /// The answer to [`Output::Probe`].
    pub fn handle_probe_result(&mut self, now: Now, token: u64, alive: bool) {
        self.presence.contests.on_probe_result(now.at, token, alive);
        self.settle(now);
    }

    /// The control plane of another hub sent a message through the exchange.
    pub fn handle_hub_message(&mut self, now: Now, from: HubId, payload: &[u8]) {
        self.presence
            .contests
            .on_message(now.at, &self.directory.read(), from, payload);
        self.settle(now);
    }

    /// A message to the control plane of another hub did not arrive, as far as this hub knows.
    pub fn handle_hub_message_failed(&mut self, now: Now, token: u64) {
        self.presence
            .contests
            .on_message_failed(now.at, &self.directory.read(), token);
        self.settle(now);
    }

    /// A signal named this hub as the hub of its sender, but the hub does not hold the sender.
    pub fn note_forged(&mut self, now: Now, source: HubId) {
        self.alarm(now, "forged-signal", || {
            format!("a signal came in the name of hub {source}, of a peer that is not there: that hub, or one between here and there, is not to be trusted")
        });
    }

    /// Tells the other hubs that this hub shuts down. From now on it refuses joins.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        self.directory.write().be_keen();
        self.routing.topology.set_draining(now.at);
        // Other hubs guard rooms from now on.
        self.routing.interest.look_soon(now.at);
        self.settle(now);
    }

    /// Closes every link: the last step before the end.
    pub fn part(&mut self, now: Now, retry_after: Duration) {
        for link in self.linkage.open() {
            self.drop_link(now, link, Bye::Draining { retry_after });
        }
    }

    pub(super) fn claim(&mut self, now: Now, claim: ClaimNo) {
        self.pass_changes_on(now);
        let Some(join) = self.presence.contests.take_ready(claim) else {
            return;
        };
        let Join {
            network,
            peer,
            data,
            quiet,
            room,
            counts_for,
            ..
        } = join;
        // The network may have become full while the id was contested.
        if !self.has_capacity(&network, &peer) {
            self.presence.contests.on_gone(claim);
            let why = JoinRefusal::RoomFull;
            return self.outputs.push_back(Output::Refused { claim, why });
        }
        if let Some(ask) = room
            && let Err(why) = self.enter_room(now, &network, (claim, &peer, counts_for), ask)
        {
            self.presence.contests.on_gone(claim);
            return self.outputs.push_back(Output::Refused { claim, why });
        }
        let above = self.directory.read().holder(&network, &peer);
        if above.is_some() {
            self.counters.takeovers += 1;
            self.presence
                .contests
                .note_takeover(now.at, &network, &peer);
        }
        let above = above.map(|(_, hlc)| hlc).max(self.latest_in_room(&network));
        let hlc = self.presence.clock.draw(now.wall_ms, above);
        // In one step with the record of the room that the peer creates: the record must not be visible without a
        // member.
        self.show(
            now,
            &Claim {
                network,
                peer,
                claim,
                hlc,
                quiet,
                data,
            },
            true,
        );
    }

    /// The clock of a newcomer must be above this one, whatever the clocks of hubs say, because the first member of a
    /// room is its host.
    fn latest_in_room(&self, network: &NetworkKey) -> Option<Hlc> {
        let directory = self.directory.read();
        network.is_room().then(|| directory.latest(network))?
    }

    fn author(&mut self, now: Now, claim: &Claim, admits: bool) {
        self.pass_changes_on(now);
        self.show(now, claim, admits);
    }

    /// Authors a claim after earlier changes have been passed on.
    fn show(&mut self, now: Now, claim: &Claim, admits: bool) {
        let roster = {
            let mut directory = self.directory.write();
            directory.author(claim);
            match (admits, claim.quiet) {
                (true, false) => self.presence.rosters.admit(
                    &directory,
                    &claim.network,
                    &claim.peer,
                    claim.claim,
                ),
                _ => Vec::new(),
            }
        };
        if admits {
            self.outputs.push_back(Output::Accepted {
                claim: claim.claim,
                roster,
            });
        }
        self.routing.subscribers.on_advance(&Set::all(self.me));
        self.routing.on_own_claim(&claim.network);
        self.settle(now);
    }

    /// Shows something that the hub itself holds, such as the record of a room, as its own claim. The clock is above
    /// that of the claim that held it before. No peer is told of it.
    pub(super) fn hold_quietly(
        &mut self,
        now: Now,
        network: NetworkKey,
        peer: PeerId,
        claim: ClaimNo,
        data: Bytes,
    ) {
        let above = self.directory.read().holder(&network, &peer);
        let above = above.map(|(_, hlc)| hlc);
        let claim = Claim {
            hlc: self.presence.clock.draw(now.wall_ms, above),
            network,
            peer,
            claim,
            quiet: true,
            data: Some(data),
        };
        self.directory.write().author(&claim);
        self.routing.subscribers.on_advance(&Set::all(self.me));
        self.routing.on_own_claim(&claim.network);
    }

    pub(super) fn retract(&mut self, now: Now, claim: ClaimNo, reason: LeaveReason) {
        self.presence.contests.on_gone(claim);
        self.routing.interest.withdraw(claim);
        let network = self
            .directory
            .read()
            .own_claim(claim)
            .map(|view| view.network);
        if self.directory.write().retract(now.at, claim, reason) {
            self.routing.subscribers.on_advance(&Set::all(self.me));
        }
        if let Some(network) = &network {
            self.presence.rosters.forget(network, claim);
            self.routing.on_own_gone(now, network);
        }
        // Some clients come back under their id, and so do all clients that a restart sends away. Their signals still
        // go to their targets.
        let returns = network.as_ref().is_some_and(NetworkKey::returns);
        if !returns && reason != LeaveReason::Draining {
            self.exchange.lock().on_source_gone(claim);
        }
    }

    pub(super) fn has_capacity(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let directory = self.directory.read();
        self.presence.has_capacity(&directory, network, peer)
    }

    /// Sends away the members for which their networks have no capacity. False if there were none.
    pub(super) fn evict_excess_members(&mut self, now: Now) -> bool {
        let excess = std::mem::take(&mut self.presence.over_capacity);
        for claim in &excess {
            self.retract(now, *claim, LeaveReason::Closed);
            let (claim, why) = (*claim, JoinRefusal::RoomFull);
            self.outputs.push_back(Output::Refused { claim, why });
        }
        !excess.is_empty()
    }

    pub(super) fn supersede(&mut self, now: Now, claim: ClaimNo) {
        self.retract(now, claim, LeaveReason::Superseded);
        self.outputs.push_back(Output::Superseded { claim });
    }
}
