//! How much data of other hubs a core keeps, for tests of its bounds.
//!
//! No decision depends on these numbers. Part of [`Core`].

use std::time::Duration;

use super::Core;
use super::directory::Usage;
use super::ids::Moment;
use super::links::Links;

/// The data that is kept at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Hubs with a link record.
    pub records: usize,
    /// Forgotten hubs whose incarnation is remembered.
    pub past_incarnations: usize,
    /// The most links with one hub.
    pub links_with_one: usize,
    /// How old the oldest link is that never answered a ping.
    pub unanswered_for: Duration,
    /// The most subscriptions of one link.
    pub subscriptions: usize,
    /// The most sets of single networks that one link follows.
    pub followed: usize,
    /// Bytes of data in changes that are kept aside until the last part of their delta arrives.
    pub staged_bytes: usize,
    /// The most claims of another hub, and the most bytes of their data.
    pub of_one: Usage,
    /// The claims of all other hubs together, and the bytes of their data.
    pub of_others: Usage,
    /// Hubs with a receive window.
    pub sources: usize,
    /// The most bytes of early signals of one source.
    pub early_bytes: usize,
    /// The most frames that wait for one link.
    pub queued: usize,
    /// Bytes of the records of lost rooms.
    pub lost_room_bytes: usize,
}

impl Core {
    /// The most links with one hub.
    pub const MAX_LINKS_PER_HUB: usize = Links::MAX_PER_HUB;

    /// The data that this core keeps now.
    pub fn kept(&self, now: Moment) -> Kept {
        let directory = self.directory.read();
        let exchange = self.exchange.lock();
        let (links_with_one, unanswered_for) = self.linkage.links.strain(now);
        Kept {
            records: self.routing.topology.records().count(),
            past_incarnations: self.routing.topology.past_incarnations(),
            links_with_one,
            unanswered_for,
            subscriptions: self.routing.subscribers.most_subscriptions(),
            followed: self.routing.subscribers.most_followed(),
            staged_bytes: self.routing.subscriptions.staged_bytes(),
            of_one: directory.most_used(),
            of_others: directory.used(),
            sources: exchange.sources(),
            early_bytes: exchange.most_early_bytes(),
            queued: self.linkage.most_queued(),
            lost_room_bytes: self.presence.rooms.lost_bytes(),
        }
    }
}
