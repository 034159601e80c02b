//! Events about other hubs, for operators: hubs that were reached or lost, and links between them.
//!
//! Compares the published state of the mesh with the last one. A second link that two hubs had for a moment is not an
//! event. Owned by the driver.

use std::collections::{BTreeMap, BTreeSet};

use hubmesh_core::ids::{HubId, LinkId};

use super::view::Published;
use crate::watch::{Events, What};

/// The state that was last reported.
#[derive(Debug, Default)]
pub(super) struct Reported {
    hubs: BTreeSet<HubId>,
    neighbours: BTreeSet<HubId>,
    links: BTreeMap<LinkId, HubId>,
    /// Why the last link with a hub ended.
    ended: BTreeMap<HubId, &'static str>,
}

impl Reported {
    /// A new link is up.
    pub(super) fn on_up(&mut self, link: LinkId, hub: HubId) {
        self.links.insert(link, hub);
    }

    /// A link has closed.
    pub(super) fn on_down(&mut self, link: LinkId, reason: &'static str) {
        if let Some(hub) = self.links.remove(&link) {
            self.ended.insert(hub, reason);
        }
    }

    /// Reports the differences.
    pub(super) fn look(&mut self, published: &Published, events: &Events) {
        let hubs = published.hubs();
        let now: BTreeSet<HubId> = hubs.iter().map(|hub| hub.id).collect();
        let linked = hubs.iter().filter(|hub| hub.direct);
        let linked: BTreeSet<HubId> = linked.map(|hub| hub.id).collect();
        for other in linked.difference(&self.neighbours).copied() {
            events.note(What::LinkUp { other });
        }
        for other in now.difference(&self.hubs).copied() {
            events.note(What::HubUp { other });
        }
        for other in self.neighbours.difference(&linked).copied() {
            let reason = self.ended.get(&other).copied().unwrap_or("lost");
            events.note(What::LinkDown {
                other,
                reason: reason.into(),
            });
        }
        for other in self.hubs.difference(&now).copied() {
            events.note(What::HubLost { other });
        }
        self.ended.clear();
        (self.hubs, self.neighbours) = (now, linked);
    }
}
