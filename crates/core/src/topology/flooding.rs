//! How a new record spreads: in full along the tree of its hub, and as an announcement of its number to other
//! neighbours.
//!
//! Neighbours that subscribe to the claims of a hub at this hub are sent that hub's records unasked: the tree of a
//! hub's claims is also the tree of its records. All other neighbours are sent an announcement a moment later, unless
//! they announced the record to us meanwhile; a neighbour that lacks the record asks for it (`pulling`). So each hub
//! gets each record once or little more often, and nothing depends on the trees being right. Our own records are sent
//! to all neighbours at once, and a hub of protocol 1 is sent every record.
//!
//! No hub subscribes to claims of a hub that is not reachable yet. The records of such a hub use the tree of the lowest
//! reachable id.

use super::super::ids::{HubId, LinkId, Moment, mix, stable_hash};
use super::Topology;

/// The hub whose tree the records of unreachable hubs use, and the link towards it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) hub: HubId,
    pub(super) link: Option<LinkId>,
}

impl Topology {
    /// The neighbour at the other end subscribes to the claims of this hub here.
    pub fn on_subscribed(&mut self, link: LinkId, hub: HubId) {
        if self.records.contains_key(&hub)
            && let Some(queue) = self.record_queues.get_mut(&link)
        {
            queue.adopt(hub);
        }
    }

    /// The neighbour ends that subscription.
    pub fn on_unsubscribed(&mut self, link: LinkId, hub: &HubId) {
        if let Some(queue) = self.record_queues.get_mut(&link) {
            queue.children.remove(hub);
        }
    }

    /// Sends the record of this hub on to all neighbours except the one from which it came.
    pub(super) fn flood(&mut self, now: Moment, hub: HubId, from: Option<LinkId>) {
        let all = hub == self.me;
        let root = (!self.is_reachable(hub)).then_some(self.root);
        for (link, queue) in &mut self.record_queues {
            let by_root = root
                .is_some_and(|root| root.link == Some(*link) || queue.children.contains(&root.hub));
            if Some(*link) == from {
                queue.has(&hub);
            } else if all || by_root || queue.floods || queue.children.contains(&hub) {
                queue.give(hub);
            } else {
                queue.tell_later(hub, word_due(self.me, *link, now, &self.config));
                self.words_due = earliest(self.words_due, queue.later_at);
            }
        }
    }

    /// Plans to announce a record of which the other end of `link` has an older version, or none.
    pub(super) fn tell_later(&mut self, now: Moment, link: LinkId, hub: HubId) {
        let at = word_due(self.me, link, now, &self.config);
        let queue = self.record_queue(link);
        queue.tell_later(hub, at);
        let due = queue.later_at;
        self.words_due = earliest(self.words_due, due);
    }

    /// Sends the announcements that are due.
    pub(super) fn give_due_words(&mut self, now: Moment) {
        if self.words_due.is_none_or(|due| due > now) {
            return;
        }
        for queue in self.record_queues.values_mut() {
            queue.ripen(now);
        }
        let due = self
            .record_queues
            .values()
            .filter_map(|queue| queue.later_at);
        self.words_due = due.min();
    }

    pub(super) fn choose_root(&mut self) {
        let lowest = self.routes.by_hub.iter().min_by_key(|(hub, _)| **hub);
        self.root = match lowest {
            Some((hub, route)) if *hub < self.me => Root {
                hub: *hub,
                link: Some(route.hop.link),
            },
            _ => Root {
                hub: self.me,
                link: None,
            },
        };
    }
}

/// When announcements are sent on this link. The time differs at both ends, so that one is earlier.
fn word_due(me: HubId, link: LinkId, now: Moment, config: &super::TopologyConfig) -> Moment {
    let span = config.announce_after;
    let part = mix(stable_hash(&me.0) ^ mix(link.0)) % 1_000;
    now + span + span * u32::try_from(part).unwrap_or(0) / 1_000
}

pub(super) fn earliest(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    one.into_iter().chain(other).min()
}
