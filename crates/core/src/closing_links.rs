//! Links that are over, and stay open for a moment so that each end receives the other's reason.
//!
//! Two hubs that were both restarted while apart each know a later incarnation of the other. If the first to find out
//! closed the link at once, the other's knowledge would be lost, and the next link would end in the same way. So the
//! first sends what it knows, goes on reading, and closes when the other has answered, or after a second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::api::Bye;
use super::ids::{LinkId, Moment};

/// How long a link waits for the other end's `Bye`: longer than the round trip of the longest link.
const WAIT: Duration = Duration::from_secs(1);

/// The links that are closing, and the reason of each.
#[derive(Debug, Default)]
pub struct ClosingLinks {
    links: BTreeMap<LinkId, (Moment, Bye)>,
    /// Links that the other end has ended: it waits for no answer, and must not be sent its own `Bye` again.
    told: BTreeSet<LinkId>,
}

impl ClosingLinks {
    /// Ends the link for this reason, which is already queued.
    pub fn begin(&mut self, now: Moment, link: LinkId, bye: Bye) {
        self.links.insert(link, (now + WAIT, bye));
    }

    /// The other end said that the link is over.
    pub fn tell(&mut self, link: LinkId) {
        self.told.insert(link);
    }

    /// Whether the other end said that the link is over.
    pub fn was_told(&self, link: LinkId) -> bool {
        self.told.contains(&link)
    }

    /// The reason that was sent to the other end, if the link is closing.
    pub fn said(&self, link: LinkId) -> Option<Bye> {
        self.links.get(&link).map(|(_, bye)| *bye)
    }

    /// Forgets a closing link, and returns the reason with which to close it.
    pub fn end(&mut self, link: LinkId) -> Option<Bye> {
        self.told.remove(&link);
        self.links.remove(&link).map(|(_, bye)| bye)
    }

    /// Whether the link is closing.
    pub fn contains(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// A link whose wait is over.
    pub fn due(&self, now: Moment) -> Option<LinkId> {
        let due = |(link, (at, _)): (&LinkId, &(Moment, Bye))| (*at <= now).then_some(*link);
        self.links.iter().find_map(due)
    }

    /// When the wait of the next link is over.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.links.values().map(|(at, _)| *at).min()
    }
}
