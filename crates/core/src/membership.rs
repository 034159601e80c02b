//! The third of the three parts of a core: its own peers. Who may hold an id, who is told of whom, and who is one too many in
//! a room.
//!
//! Knows nothing of links and of routes, and is given the directory to read. Called by [`Core`](super::Core), which
//! passes events on.

use std::collections::BTreeSet;

use parking_lot::RwLock;

use super::REFILL_PAUSE;
use super::api::Output;
use super::clock::Clock;
use super::contest::Contests;
use super::directory::Directory;
use super::ids::{ClaimNo, Moment, NetworkKey, PeerId};
use super::policy::Policies;
use super::rooms::Rooms;
use super::rosters::Rosters;

/// The peers of a hub.
pub(super) struct Membership {
    pub(super) clock: Clock,
    pub(super) contests: Contests,
    pub(super) rosters: Rosters,
    pub(super) rooms: Rooms,
    pub(super) policies: Policies,
    /// Claims of this hub that are too many in their rooms.
    pub(super) crowded: BTreeSet<ClaimNo>,
    /// While a peer is owed a fuller roster.
    pub(super) next_refill: Option<Moment>,
}

impl Membership {
    pub(super) fn new(
        contests: Contests,
        rosters: Rosters,
        rooms: Rooms,
        policies: Policies,
    ) -> Self {
        Membership {
            clock: Clock::default(),
            contests,
            rosters,
            rooms,
            policies,
            crowded: BTreeSet::new(),
            next_refill: None,
        }
    }

    /// Whether a network has a place for one more of this id.
    pub(super) fn has_place(
        &self,
        directory: &Directory,
        network: &NetworkKey,
        peer: &PeerId,
    ) -> bool {
        let capacity = network.capacity(&self.policies);
        capacity.is_none_or(|most| directory.has_place(network, peer, most))
    }

    /// Of those who came to a full room at the same time on several hubs, each hub sends its own away that came last:
    /// who that is follows from the claims alone, so that all hubs agree.
    pub(super) fn clear_room(&mut self, directory: &RwLock<Directory>, network: &NetworkKey) {
        let Some(most) = network.capacity(&self.policies) else {
            return;
        };
        let directory = directory.read();
        if directory.size(network) > most {
            self.crowded.extend(directory.own_latecomers(network, most));
        }
    }

    /// A few at a time, so that a crowd that leaves at once does not hold the hub up.
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
        contests
            .into_iter()
            .chain(rooms)
            .chain(self.next_refill)
            .min()
    }
}
