//! The sending half of the directory: which neighbour is subscribed to whose claims, and how far it is.
//!
//! What a neighbour lacks is a *cursor* into the origin's log, never a queue: a slow link coalesces what it
//! has not been sent, and costs a few words however far behind it is. Parts are made when the link can take
//! them. A walk that starts below the log's floor starts from nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::directory::Directory;
use super::ids::{HubId, Incarnation, LinkId};
use super::mutants::Mutants;
use crate::frames::{Delta, Frame};
use crate::wire;

/// The most subscriptions of one link: as many as there are hubs in the largest mesh.
const MAX_SUBSCRIPTIONS: usize = 4_096;

#[derive(Debug)]
struct Subscription {
    incarnation: Incarnation,
    /// Sent up to here.
    cursor: u64,
    /// A part has been sent, and not the last one.
    walking: bool,
    /// The head when the walk began: retractions up to it need not be sent in a walk from nothing.
    sound: u64,
    answered: bool,
}

#[derive(Debug, Default)]
struct LinkState {
    subscriptions: BTreeMap<HubId, Subscription>,
    /// Origins that may have something to send.
    ready: BTreeSet<HubId>,
    /// The origin served last, so that the others get their turn.
    last: Option<HubId>,
}

/// What all neighbours are subscribed to.
#[derive(Debug, Default)]
pub struct Serving {
    links: BTreeMap<LinkId, LinkState>,
    by_origin: BTreeMap<HubId, BTreeSet<LinkId>>,
    mutants: Mutants,
}

impl Serving {
    /// Nobody is subscribed.
    pub fn new(mutants: Mutants) -> Self {
        Serving {
            mutants,
            ..Serving::default()
        }
    }

    /// The neighbour wants `origin`'s claims after `seq` of that life. Past the bound it gets none.
    pub fn on_subscribe(
        &mut self,
        link: LinkId,
        origin: HubId,
        incarnation: Incarnation,
        seq: u64,
    ) {
        let state = self.links.entry(link).or_default();
        let room = state.subscriptions.len() < MAX_SUBSCRIPTIONS;
        let room = room || self.mutants.subscriptions_without_end();
        if !room && !state.subscriptions.contains_key(&origin) {
            return;
        }
        let subscription = Subscription {
            incarnation,
            cursor: seq,
            walking: false,
            sound: 0,
            answered: false,
        };
        state.subscriptions.insert(origin, subscription);
        state.ready.insert(origin);
        self.by_origin.entry(origin).or_default().insert(link);
    }

    /// The neighbour wants no more of them.
    pub fn on_unsubscribe(&mut self, link: LinkId, origin: &HubId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.subscriptions.remove(origin);
            state.ready.remove(origin);
        }
        if let Some(links) = self.by_origin.get_mut(origin) {
            links.remove(&link);
            if links.is_empty() {
                self.by_origin.remove(origin);
            }
        }
    }

    /// The link is gone.
    pub fn on_link_down(&mut self, link: LinkId) {
        let Some(state) = self.links.remove(&link) else {
            return;
        };
        for origin in state.subscriptions.keys() {
            if let Some(links) = self.by_origin.get_mut(origin) {
                links.remove(&link);
                if links.is_empty() {
                    self.by_origin.remove(origin);
                }
            }
        }
    }

    /// `origin`'s set moved on.
    pub fn on_advance(&mut self, origin: &HubId) {
        for link in self.by_origin.get(origin).into_iter().flatten() {
            if let Some(state) = self.links.get_mut(link) {
                state.ready.insert(*origin);
            }
        }
    }

    /// Whether there may be something to send by this link.
    pub fn has_pending(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|state| !state.ready.is_empty())
    }

    /// How many subscriptions the link has that has the most.
    pub fn most_subscriptions(&self) -> usize {
        let links = self.links.values().map(|state| state.subscriptions.len());
        links.max().unwrap_or(0)
    }

    /// The links that take `origin`'s claims from this hub.
    pub fn children(&self, origin: &HubId) -> impl Iterator<Item = LinkId> + '_ {
        self.by_origin.get(origin).into_iter().flatten().copied()
    }

    /// The next part to send by this link, of at most about `budget` bytes; the origins take turns.
    pub fn poll_delta(
        &mut self,
        directory: &Directory,
        link: LinkId,
        budget: usize,
    ) -> Option<Frame> {
        let state = self.links.get_mut(&link)?;
        loop {
            let after = state.last.and_then(|last| {
                state
                    .ready
                    .range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded))
                    .next()
            });
            let origin = *after.or_else(|| state.ready.first())?;
            state.last = Some(origin);
            let Some(subscription) = state.subscriptions.get_mut(&origin) else {
                state.ready.remove(&origin);
                continue;
            };
            let made = next_part(directory, origin, subscription, budget);
            if made.is_none() || !subscription.walking {
                state.ready.remove(&origin);
            }
            if let Some(delta) = made {
                return Some(Frame::Delta(delta));
            }
        }
    }
}

fn next_part(
    directory: &Directory,
    origin: HubId,
    subscription: &mut Subscription,
    budget: usize,
) -> Option<Delta> {
    let here = directory.origin_state(&origin)?;
    if !here.complete || here.incarnation < subscription.incarnation {
        return None;
    }
    let floor = directory.floor(&origin);
    let other_life = here.incarnation != subscription.incarnation;
    let forgotten =
        floor > subscription.cursor.max(subscription.sound) && subscription.cursor < here.seq;
    let from_nothing = subscription.cursor == 0 && !subscription.answered && !subscription.walking;
    let mut starts_anew = false;
    if other_life || forgotten || from_nothing {
        *subscription = Subscription {
            incarnation: here.incarnation,
            cursor: 0,
            walking: false,
            sound: here.seq,
            answered: subscription.answered,
        };
        starts_anew = true;
    }
    let nothing_new = subscription.cursor >= here.seq && !subscription.walking && !starts_anew;
    if nothing_new {
        return answer_empty(origin, subscription, here.seq);
    }
    let from = subscription.cursor;
    let part = directory.part(&origin, from, budget, wire::entry_size)?;
    let to = if part.last { here.seq } else { part.to };
    subscription.cursor = to;
    subscription.walking = !part.last;
    if part.last {
        subscription.answered = true;
        subscription.sound = 0;
    }
    Some(Delta {
        origin,
        incarnation: subscription.incarnation,
        from,
        reset: starts_anew,
        last: part.last,
        to,
        entries: part.entries,
    })
}

/// The subscriber has all there is, and more perhaps: it still waits for a word.
fn answer_empty(origin: HubId, subscription: &mut Subscription, head: u64) -> Option<Delta> {
    if subscription.answered {
        return None;
    }
    subscription.answered = true;
    Some(Delta {
        origin,
        incarnation: subscription.incarnation,
        from: head,
        reset: false,
        last: true,
        to: head,
        entries: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_cannot_subscribe_to_more_hubs_than_there_are() {
        let mut serving = Serving::default();
        let life = Incarnation { epoch: 0, nonce: 1 };
        for number in 0..10_000_u32 {
            let mut origin = HubId([0; 20]);
            origin.0[..4].copy_from_slice(&number.to_be_bytes());
            serving.on_subscribe(LinkId(1), origin, life, 0);
        }
        assert_eq!(serving.by_origin.len(), MAX_SUBSCRIPTIONS);
        serving.on_link_down(LinkId(1));
        assert!(serving.by_origin.is_empty());
    }
}
