//! The sending half of the directory: which neighbours are subscribed to which sets, and the cursor of each.
//!
//! A subscriber has a *cursor* into the origin's log, never a queue. So for a slow link, changes that were not sent yet
//! merge, and the link costs a few words of memory however far behind it is. Parts are made when the link has space for
//! them. A cursor below the log's floor goes back to an empty set.

use std::collections::{BTreeMap, BTreeSet};

use super::directory::Directory;
use super::ids::{HubId, Incarnation, LinkId};
use super::mutants::Mutants;
use crate::frames::{ControlFrame, Delta, Scope, Set};
use crate::wire;

/// The most hubs to whose claims a link subscribes, and the most to whose lines: the number of hubs in the largest
/// mesh.
const MAX_SUBSCRIPTIONS: usize = 4_096;
/// The most sets of single networks to which a link subscribes: those of interest to all hubs behind it.
const MAX_FOLLOWED: usize = 65_536;

/// One subscription of one neighbour.
#[derive(Debug)]
struct Subscriber {
    incarnation: Incarnation,
    /// Sent up to here.
    cursor: u64,
    /// A part has been sent, and not the last one.
    walking: bool,
    /// The head when the transfer began: in a transfer from an empty set, retractions up to it need not be sent.
    sound: u64,
    answered: bool,
}

#[derive(Debug, Default)]
struct LinkState {
    sets: BTreeMap<Set, Subscriber>,
    /// How many of them there are of each scope.
    counts: [usize; 3],
    /// Sets that may have something to send.
    ready: BTreeSet<Set>,
    /// The set that was sent last, so that the others have their turn.
    last: Option<Set>,
}

/// The subscriptions of all neighbours.
#[derive(Debug, Default)]
pub struct Subscribers {
    links: BTreeMap<LinkId, LinkState>,
    by_set: BTreeMap<Set, BTreeSet<LinkId>>,
    mutants: Mutants,
}

impl Subscribers {
    /// No subscribers yet.
    pub fn new(mutants: Mutants) -> Self {
        Subscribers {
            mutants,
            ..Subscribers::default()
        }
    }

    /// The neighbour subscribes to a set after `seq` of that incarnation. False if it has too many subscriptions.
    pub fn on_subscribe(
        &mut self,
        link: LinkId,
        set: Set,
        incarnation: Incarnation,
        seq: u64,
    ) -> bool {
        let state = self.links.entry(link).or_default();
        let known = state.sets.contains_key(&set);
        if !known && !has_space(state, &set, self.mutants) {
            return false;
        }
        let subscriber = Subscriber {
            incarnation,
            cursor: seq,
            walking: false,
            sound: 0,
            answered: false,
        };
        if !known && let Some(count) = state.counts.get_mut(class(&set)) {
            *count += 1;
        }
        state.sets.insert(set.clone(), subscriber);
        state.ready.insert(set.clone());
        self.by_set.entry(set).or_default().insert(link);
        true
    }

    /// The neighbour ends a subscription.
    pub fn on_unsubscribe(&mut self, link: LinkId, set: &Set) {
        if let Some(state) = self.links.get_mut(&link) {
            if state.sets.remove(set).is_some()
                && let Some(count) = state.counts.get_mut(class(set))
            {
                *count -= 1;
            }
            state.ready.remove(set);
        }
        self.forget(link, set);
    }

    fn forget(&mut self, link: LinkId, set: &Set) {
        if let Some(links) = self.by_set.get_mut(set) {
            links.remove(&link);
            if links.is_empty() {
                self.by_set.remove(set);
            }
        }
    }

    /// The link is gone: returns its sets.
    pub fn on_link_down(&mut self, link: LinkId) -> Vec<Set> {
        let Some(state) = self.links.remove(&link) else {
            return Vec::new();
        };
        let sets: Vec<Set> = state.sets.into_keys().collect();
        for set in &sets {
            self.forget(link, set);
        }
        sets
    }

    /// A set changed.
    pub fn on_advance(&mut self, set: &Set) {
        for link in self.by_set.get(set).into_iter().flatten() {
            if let Some(state) = self.links.get_mut(link) {
                state.ready.insert(set.clone());
            }
        }
    }

    /// Whether any neighbour subscribes to this set.
    pub fn has_children(&self, set: &Set) -> bool {
        self.by_set.contains_key(set)
    }

    /// Whether any neighbour subscribes to single networks of this hub.
    pub fn has_followers_of(&self, hub: &HubId) -> bool {
        self.sets_of(hub).any(|set| set.scope.network().is_some())
    }

    /// The sets of this hub to which any neighbour subscribes.
    pub fn sets_of(&self, hub: &HubId) -> impl Iterator<Item = &Set> {
        let hub = *hub;
        let sets = self.by_set.range(Set::all(hub)..).map(|(set, _)| set);
        sets.take_while(move |set| set.hub == hub)
    }

    /// Whether there may be a part to send on this link.
    pub fn has_pending(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|state| !state.ready.is_empty())
    }

    /// The most hubs to whose claims, or to whose lines, one link subscribes.
    pub fn most_subscriptions(&self) -> usize {
        let whole = |state: &LinkState| state.counts[0].max(state.counts[1]);
        self.links.values().map(whole).max().unwrap_or(0)
    }

    /// The most sets of single networks to which one link subscribes.
    pub fn most_followed(&self) -> usize {
        let links = self.links.values().map(|state| state.counts[2]);
        links.max().unwrap_or(0)
    }

    /// The links that subscribe to a set.
    pub fn children(&self, set: &Set) -> impl Iterator<Item = LinkId> + '_ {
        self.by_set.get(set).into_iter().flatten().copied()
    }

    /// The next part to send on this link, of at most about `budget` bytes; the sets take turns.
    pub fn poll_delta(
        &mut self,
        directory: &Directory,
        link: LinkId,
        budget: usize,
    ) -> Option<ControlFrame> {
        let state = self.links.get_mut(&link)?;
        loop {
            let after = state.last.as_ref().and_then(|last| {
                state
                    .ready
                    .range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded))
                    .next()
            });
            let set = after.or_else(|| state.ready.first())?.clone();
            state.last = Some(set.clone());
            let Some(subscriber) = state.sets.get_mut(&set) else {
                state.ready.remove(&set);
                continue;
            };
            let made = next_part(directory, &set, subscriber, budget);
            if made.is_none() || !subscriber.walking {
                state.ready.remove(&set);
            }
            match made {
                None => {}
                Some(delta) if set.scope == Scope::All => return Some(ControlFrame::Delta(delta)),
                Some(delta) => return Some(ControlFrame::Changes(set.scope, delta)),
            }
        }
    }
}

/// The bound that applies to a subscription.
fn class(set: &Set) -> usize {
    match set.scope {
        Scope::All => 0,
        Scope::Networks => 1,
        Scope::Of(_) => 2,
    }
}

fn has_space(state: &LinkState, set: &Set, mutants: Mutants) -> bool {
    let class = class(set);
    let count = state.counts.get(class).copied().unwrap_or(0);
    match set.scope {
        Scope::Of(_) => count < MAX_FOLLOWED || mutants.followed_without_end(),
        Scope::All | Scope::Networks => {
            count < MAX_SUBSCRIPTIONS || mutants.subscriptions_without_end()
        }
    }
}

fn next_part(
    directory: &Directory,
    set: &Set,
    subscriber: &mut Subscriber,
    budget: usize,
) -> Option<Delta> {
    let here = directory.set_state(set)?;
    if !here.complete || here.incarnation < subscriber.incarnation {
        return None;
    }
    let floor = directory.set_floor(set);
    let other_incarnation = here.incarnation != subscriber.incarnation;
    let forgotten = floor > subscriber.cursor.max(subscriber.sound) && subscriber.cursor < here.seq;
    let from_nothing = subscriber.cursor == 0 && !subscriber.answered && !subscriber.walking;
    let mut starts_anew = false;
    if other_incarnation || forgotten || from_nothing {
        *subscriber = Subscriber {
            incarnation: here.incarnation,
            cursor: 0,
            walking: false,
            sound: here.seq,
            answered: subscriber.answered,
        };
        starts_anew = true;
    }
    let nothing_new = subscriber.cursor >= here.seq && !subscriber.walking && !starts_anew;
    if nothing_new {
        return answer_empty(set.hub, subscriber, here.seq);
    }
    let from = subscriber.cursor;
    let part = directory.set_part(set, from, budget, wire::entry_size)?;
    let to = if part.last { here.seq } else { part.to };
    subscriber.cursor = to;
    subscriber.walking = !part.last;
    if part.last {
        subscriber.answered = true;
        subscriber.sound = 0;
    }
    Some(Delta {
        origin: set.hub,
        incarnation: subscriber.incarnation,
        from,
        reset: starts_anew,
        last: part.last,
        to,
        entries: part.entries,
    })
}

/// An empty delta for a subscriber that already has everything, and still waits for its first answer.
fn answer_empty(origin: HubId, subscriber: &mut Subscriber, head: u64) -> Option<Delta> {
    if subscriber.answered {
        return None;
    }
    subscriber.answered = true;
    Some(Delta {
        origin,
        incarnation: subscriber.incarnation,
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
        let mut subscribers = Subscribers::default();
        let incarnation = Incarnation { epoch: 0, nonce: 1 };
        for number in 0..10_000_u32 {
            let mut origin = HubId([0; 20]);
            origin.0[..4].copy_from_slice(&number.to_be_bytes());
            subscribers.on_subscribe(LinkId(1), Set::all(origin), incarnation, 0);
        }
        assert_eq!(subscribers.by_set.len(), MAX_SUBSCRIPTIONS);
        subscribers.on_link_down(LinkId(1));
        assert!(subscribers.by_set.is_empty());
    }
}
