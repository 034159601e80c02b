//! The third of the three parts of a core: its own peers. It decides which claim holds an id, which peers are told of
//! which others, and which members a network cannot keep.
//!
//! Knows nothing of links and of routes, and reads the directory that its caller passes. Called by
//! [`Core`](super::Core), which passes events on.

use std::collections::BTreeSet;

use parking_lot::RwLock;

use super::REFILL_PAUSE;
use super::api::Output;
use super::bans::Bans;
use super::clock::Clock;
use super::contest::{ContestAction, Contests};
use super::directory::Directory;
use super::ids::{ClaimNo, Moment, NetworkKey, PeerId};
use super::policy::Policies;
use super::rooms::FollowedRooms;
use super::rosters::Rosters;

/// The peers of a hub.
pub(super) struct Presence {
    pub(super) clock: Clock,
    pub(super) contests: Contests,
    pub(super) rosters: Rosters,
    pub(super) rooms: FollowedRooms,
    pub(super) bans: Bans,
    pub(super) policies: Policies,
    /// Claims of this hub beyond the capacity of their networks.
    pub(super) over_capacity: BTreeSet<ClaimNo>,
    /// When the next peers are told of more members, while any waits for that.
    pub(super) next_refill: Option<Moment>,
}

impl Presence {
    pub(super) fn new(
        contests: Contests,
        rosters: Rosters,
        rooms: FollowedRooms,
        bans: Bans,
        policies: Policies,
    ) -> Self {
        Presence {
            clock: Clock::default(),
            contests,
            rosters,
            rooms,
            bans,
            policies,
            over_capacity: BTreeSet::new(),
            next_refill: None,
        }
    }

    /// The next step of the contests, as the claims are now.
    pub(super) fn next_action(
        &mut self,
        now: Moment,
        directory: &RwLock<Directory>,
    ) -> Option<ContestAction> {
        self.contests.settle(now, &directory.read());
        self.contests.poll_action()
    }

    /// Whether a network can take one more member, under this id.
    pub(super) fn has_capacity(
        &self,
        directory: &Directory,
        network: &NetworkKey,
        peer: &PeerId,
    ) -> bool {
        let capacity = network.capacity(&self.policies);
        capacity.is_none_or(|most| directory.has_capacity(network, peer, most))
    }

    /// Notes the members of this hub that a network cannot keep. When several hubs fill it at the same time, each
    /// evicts its own members that joined last. Which these are follows from the claims alone, so all hubs agree.
    pub(super) fn find_excess_members(
        &mut self,
        directory: &RwLock<Directory>,
        network: &NetworkKey,
    ) {
        let Some(most) = network.capacity(&self.policies) else {
            return;
        };
        let directory = directory.read();
        if directory.size(network) > most {
            self.over_capacity
                .extend(directory.own_excess_members(network, most));
        }
    }

    /// Refills a few rosters at a time, so that many peers that leave at once do not hold the hub up.
    pub(super) fn refill_rosters(&mut self, directory: &Directory, now: Moment) -> Vec<Output> {
        let mut told = Vec::new();
        if self.next_refill.is_none_or(|next| next <= now) && self.rosters.owes() {
            told = self.rosters.refill_some(directory);
            self.next_refill = None;
        }
        if self.next_refill.is_none() && self.rosters.owes() {
            self.next_refill = Some(now + REFILL_PAUSE);
        }
        told
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let contests = self.contests.poll_timeout();
        let rooms = self.rooms.poll_timeout();
        let bans = self.bans.poll_timeout();
        contests
            .into_iter()
            .chain(rooms)
            .chain(bans)
            .chain(self.next_refill)
            .min()
    }
}
