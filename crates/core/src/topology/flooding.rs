//! How a new record spreads: by the tree of its hub to neighbours that lack it, and as a line of word to the others.
//!
//! Neighbours that take the claims of a hub from us are sent its records unasked: the tree of a hub's claims is the
//! tree of its records. All other neighbours get word that the record exists, a moment later, unless they sent word of
//! it to us meanwhile; a neighbour that lacks it asks (`pulling`). So each hub is given each record once or little more
//! often, and nothing depends on the trees being right. Our own records go to all neighbours at once, and a hub of
//! protocol 1 is given every record.
//!
//! No hub takes claims of a hub that is not reachable yet. Its records go by the tree of the lowest reachable id.

use super::super::ids::{HubId, LinkId, Moment, mix, stable_hash};
use super::Topology;

/// The hub by whose tree the records of unreachable hubs travel, and the link towards it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) hub: HubId,
    pub(super) link: Option<LinkId>,
}

impl Topology {
    /// The neighbour at the other end takes the claims of this hub from us.
    pub fn on_subscribed(&mut self, link: LinkId, hub: HubId) {
        if self.records.contains_key(&hub)
            && let Some(queue) = self.record_queues.get_mut(&link)
        {
            queue.adopt(hub);
        }
    }

    /// It takes them no longer.
    pub fn on_unsubscribed(&mut self, link: LinkId, hub: &HubId) {
        if let Some(queue) = self.record_queues.get_mut(&link) {
            queue.children.remove(hub);
        }
    }

    /// Passes the record of this hub on to all neighbours but the one that it came from.
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

    /// Plans to send word of a record that the other end of `link` has an older version of, or none.
    pub(super) fn tell_later(&mut self, now: Moment, link: LinkId, hub: HubId) {
        let at = word_due(self.me, link, now, &self.config);
        let queue = self.record_queue(link);
        queue.tell_later(hub, at);
        let due = queue.later_at;
        self.words_due = earliest(self.words_due, due);
    }

    /// Sends word that has waited long enough.
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

/// When word goes out on this link. The time differs at both ends, so that one is earlier.
fn word_due(me: HubId, link: LinkId, now: Moment, config: &super::TopologyConfig) -> Moment {
    let span = config.announce_after;
    let part = mix(stable_hash(&me.0) ^ mix(link.0)) % 1_000;
    now + span + span * u32::try_from(part).unwrap_or(0) / 1_000
}

pub(super) fn earliest(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    one.into_iter().chain(other).min()
}
