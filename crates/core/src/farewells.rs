//! Links that are over, and stay open for a moment so that each end hears the other's last word.
//!
//! Two hubs that were both restarted while apart each know a later incarnation of the other. Were the first to find
//! out to close the link at once, the other's word would be lost, and the next link would end the same way.
//! So the one says what it knows, goes on reading, and closes when the other has spoken or after a second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::api::Bye;
use super::ids::{LinkId, Moment};

/// How long the other end's word is waited for: above the round trip of the longest link.
const WAIT: Duration = Duration::from_secs(1);

/// The links, and what each is closed with.
#[derive(Debug, Default)]
pub struct Farewells {
    links: BTreeMap<LinkId, (Moment, Bye)>,
    /// Links that the other end said to be over: it waits for nothing, and must not hear its word again.
    told: BTreeSet<LinkId>,
}

impl Farewells {
    /// The link is over for this reason, which is on its way.
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

    /// What was said of a link that is over.
    pub fn said(&self, link: LinkId) -> Option<Bye> {
        self.links.get(&link).map(|(_, bye)| *bye)
    }

    /// What the link is to be closed with, if it is over. It is forgotten here.
    pub fn end(&mut self, link: LinkId) -> Option<Bye> {
        self.told.remove(&link);
        self.links.remove(&link).map(|(_, bye)| bye)
    }

    /// Whether the link is over.
    pub fn contains(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// A link that has waited long enough.
    pub fn due(&self, now: Moment) -> Option<LinkId> {
        let due = |(link, (at, _)): (&LinkId, &(Moment, Bye))| (*at <= now).then_some(*link);
        self.links.iter().find_map(due)
    }

    /// When the next one has.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.links.values().map(|(at, _)| *at).min()
    }
}
