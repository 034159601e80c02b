//! The receiving half of the directory: to which sets of other hubs this hub subscribes, and on which link.
//!
//! `narrowing` says which sets are wanted ([`Subscriptions::want`]). For every hub that can be reached, the next hop
//! towards it is also the parent at which to subscribe: one shortest-path run gives both, and each change crosses each
//! hub once. Order rule: when the route changes, the new parent is asked first, and the subscription at the old one
//! ends when the new one has answered, so that no change is lost in between. Parts of a delta are kept aside, per link
//! and origin, until the last arrives.
//!
//! Knows nothing of timers; `core` reports routes, links and deltas, and collects the frames to send.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::directory::{Directory, OriginState};
use super::ids::{HubId, Incarnation, LeaveReason, LinkId, Moment, NetworkKey};
use super::mutants::Mutants;
use crate::frames::{Change, ControlFrame, Delta, Entry, Scope, Set};

/// The most entries kept aside for all deltas together: 4 million changes, about 400 MB, of authenticated hubs.
const MAX_STAGED: usize = 4_000_000;

/// The source of a set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Subscription {
    /// The parent that answers.
    current: Option<LinkId>,
    /// The parent that has been asked but has not answered yet.
    next: Option<LinkId>,
    /// The incarnation for which it was asked.
    asked: Option<Incarnation>,
}

#[derive(Debug)]
struct StagedDelta {
    incarnation: Incarnation,
    from: u64,
    reset: bool,
    /// The set was empty when the transfer began: parts went straight into the directory.
    direct: bool,
    to: u64,
    entries: Vec<Entry>,
    /// Bytes of data in the entries.
    bytes: usize,
}

/// The result of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Changes that were new.
    pub fresh: usize,
    /// Changes that were known already.
    pub repeated: usize,
    /// The set changed: our subscribers have to be sent something.
    pub advanced: bool,
    /// It did not continue the set here, and was dropped.
    pub gap: bool,
    /// A set was received from its start.
    pub resync: bool,
}

/// All subscriptions of this hub.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// The wanted sets, with the source of each.
    sets: BTreeMap<Set, Subscription>,
    /// The routes to hubs, and the incarnations at their ends.
    ways: BTreeMap<HubId, (Incarnation, LinkId)>,
    staged: BTreeMap<(LinkId, Set), StagedDelta>,
    frames: Vec<(LinkId, ControlFrame)>,
    /// The most bytes of data that are kept aside for all deltas together.
    max_bytes: usize,
    mutants: Mutants,
}

impl Subscriptions {
    /// No subscriptions yet. At most `max_bytes` of data are kept aside.
    pub fn new(max_bytes: usize, mutants: Mutants) -> Self {
        Subscriptions {
            max_bytes,
            mutants,
            ..Subscriptions::default()
        }
    }

    /// Subscribes to a set from now on, whenever there is a route to its hub.
    pub fn want(&mut self, directory: &Directory, set: Set) {
        if self.sets.contains_key(&set) {
            return;
        }
        let hub = set.hub;
        self.sets.insert(set.clone(), Subscription::default());
        if let Some((incarnation, link)) = self.ways.get(&hub).copied() {
            self.take_from(directory, &set, incarnation, link);
        }
    }

    /// Ends a subscription. The set stays as it is.
    pub fn unwant(&mut self, set: &Set) {
        self.let_go(set);
        self.sets.remove(set);
    }

    /// Whether a set is wanted.
    pub fn wants(&self, set: &Set) -> bool {
        self.sets.contains_key(set)
    }

    /// The sets of a hub that are wanted.
    pub fn wanted_of(&self, hub: HubId) -> Vec<Set> {
        let sets = self.sets.range(Set::all(hub)..).map(|(set, _)| set);
        sets.take_while(|set| set.hub == hub).cloned().collect()
    }

    /// The route to `origin`, in this `incarnation`, is on `link` now.
    pub fn on_route(
        &mut self,
        directory: &Directory,
        origin: HubId,
        incarnation: Incarnation,
        link: LinkId,
    ) {
        self.on_incarnation(origin, incarnation);
        self.ways.insert(origin, (incarnation, link));
        for set in self.wanted_of(origin) {
            self.take_from(directory, &set, incarnation, link);
        }
    }

    fn take_from(
        &mut self,
        directory: &Directory,
        set: &Set,
        incarnation: Incarnation,
        link: LinkId,
    ) {
        let Some(subscription) = self.sets.get_mut(set) else {
            return;
        };
        if subscription.next == Some(link)
            || (subscription.next.is_none() && subscription.current == Some(link))
        {
            return;
        }
        if let Some(abandoned) = subscription.next.take() {
            self.frames.push((abandoned, end(set)));
            self.staged.remove(&(abandoned, set.clone()));
        }
        if subscription.current == Some(link) {
            return;
        }
        subscription.next = Some(link);
        subscription.asked = Some(incarnation);
        let here = directory.set_state(set);
        let whole = here.is_some_and(|here| here.complete && here.incarnation == incarnation);
        // Without a whole set nothing is lost by leaving the old parent first, and two parents must not build one set
        // at the same time.
        if (self.mutants.unsubscribe_early() || !whole)
            && let Some(old) = subscription.current.take()
        {
            self.frames.push((old, end(set)));
            self.staged.remove(&(old, set.clone()));
        }
        let seq = cursor(here, incarnation);
        let seq = if self.mutants.subscribe_without_cursor() {
            0
        } else {
            seq
        };
        self.frames.push((link, begin(set, incarnation, seq)));
    }

    /// `origin` has this `incarnation` now. Requests for an earlier incarnation end here, even if there is no route to
    /// the later one yet: its claims are dropped, so no delta can continue them.
    pub fn on_incarnation(&mut self, origin: HubId, incarnation: Incarnation) {
        for set in self.wanted_of(origin) {
            let asked = self
                .sets
                .get(&set)
                .and_then(|subscription| subscription.asked);
            if asked.is_some_and(|asked| asked < incarnation) {
                self.let_go(&set);
            }
        }
    }

    /// Whether the claims of a hub in a network may have changed since they came: its parent has not answered yet.
    pub fn awaits(&self, hub: HubId, network: &NetworkKey) -> bool {
        let sets = [Set::all(hub), Set::of(hub, network)];
        let mut wanted = sets.iter().filter_map(|set| self.sets.get(set));
        wanted.any(|subscription| subscription.current.is_none())
    }

    /// There is no route to `origin` now. Its claims stay, and its sets are still wanted.
    pub fn on_route_lost(&mut self, origin: HubId) {
        self.ways.remove(&origin);
        for set in self.wanted_of(origin) {
            self.let_go(&set);
        }
    }

    /// Pauses a subscription.
    fn let_go(&mut self, set: &Set) {
        let Some(subscription) = self.sets.get_mut(set).map(std::mem::take) else {
            return;
        };
        for link in [subscription.current, subscription.next]
            .into_iter()
            .flatten()
        {
            self.frames.push((link, end(set)));
            self.staged.remove(&(link, set.clone()));
        }
    }

    /// The link is gone, and with it the subscriptions on it.
    pub fn on_link_down(&mut self, link: LinkId) {
        for subscription in self.sets.values_mut() {
            subscription.current = subscription.current.filter(|current| *current != link);
            subscription.next = subscription.next.filter(|next| *next != link);
        }
        self.staged.retain(|(staged, _), _| *staged != link);
        self.frames.retain(|(to, _)| *to != link);
        self.ways.retain(|_, (_, by)| *by != link);
    }

    /// Frames to send, in order.
    pub fn take_frames(&mut self) -> Vec<(LinkId, ControlFrame)> {
        std::mem::take(&mut self.frames)
    }

    /// The link on which `origin`'s claims arrive.
    pub fn parent(&self, origin: &HubId) -> Option<LinkId> {
        let subscription = self.sets.get(&Set::all(*origin));
        let subscription = subscription.or_else(|| self.sets.get(&Set::networks(*origin)))?;
        subscription.current.or(subscription.next)
    }

    fn on_answer(&mut self, link: LinkId, set: &Set) {
        let Some(subscription) = self.sets.get_mut(set) else {
            return;
        };
        if subscription.next == Some(link) {
            subscription.next = None;
            if let Some(old) = subscription.current.replace(link)
                && old != link
            {
                self.staged.remove(&(old, set.clone()));
                self.frames.push((old, end(set)));
            }
        }
    }

    fn subscribed(&self, link: LinkId, set: &Set) -> bool {
        self.sets.get(set).is_some_and(|subscription| {
            subscription.current == Some(link) || subscription.next == Some(link)
        })
    }

    /// Whether this part belongs to another incarnation than the one asked for, or answers an earlier subscription on
    /// the same link, and was on its way when that ended.
    ///
    /// A later incarnation counts only once the hub's link record has it: the hub may have died before it sent one, and
    /// its next incarnation may be lower. The answer to the present subscription starts from an empty set, or no later
    /// than at the set here.
    fn is_unasked(&self, directory: &Directory, link: LinkId, set: &Set, delta: &Delta) -> bool {
        let Some(subscription) = self.sets.get(set) else {
            return true;
        };
        if subscription.asked != Some(delta.incarnation) {
            return true;
        }
        let begun = self
            .staged
            .get(&(link, set.clone()))
            .is_some_and(|part| part.to == delta.from && part.incarnation == delta.incarnation);
        let follows = directory.set_state(set).is_some_and(|here| {
            here.complete && here.incarnation == delta.incarnation && delta.from <= here.seq
        });
        let answers = delta.reset || delta.to == 0 || begun || follows;
        subscription.next == Some(link) && !answers
    }

    /// Handles a part; with the last part, applies the whole delta. `me` is the author of its own set and receives
    /// none.
    pub fn handle_delta(
        &mut self,
        now: Moment,
        directory: &mut Directory,
        link: LinkId,
        set: &Set,
        mut delta: Delta,
    ) -> Applied {
        if self.mutants.subscribe_without_cursor()
            && directory.set_state(set).is_some_and(|here| here.complete)
        {
            delta.reset = false;
        }
        if !self.subscribed(link, set) || self.is_unasked(directory, link, set, &delta) {
            return Applied::default();
        }
        if delta.last {
            self.on_answer(link, set);
        }
        let here = directory.set_state(set);
        if here.is_some_and(|here| here.incarnation > delta.incarnation) {
            return Applied::default();
        }
        let behind = self.is_behind(directory, set, &delta);
        let at_once = delta.last && !behind && !self.staged.contains_key(&(link, set.clone()));
        let applied = if at_once {
            apply_whole(now, directory, set, delta)
        } else {
            self.keep_aside(now, directory, link, set, delta, behind)
        };
        if applied.gap {
            self.ask_again(directory, link, set);
        }
        applied
    }

    /// Whether a whole set is still behind the sets of its single networks that are here: then it waits.
    fn is_behind(&self, directory: &Directory, set: &Set, delta: &Delta) -> bool {
        set.scope == Scope::All
            && directory
                .parts_head(&set.hub, delta.incarnation)
                .is_some_and(|head| head > delta.to)
            && !self.mutants.widened_from_behind()
    }

    /// The delta did not continue the set here: a fault. Asks for the missing changes.
    fn ask_again(&mut self, directory: &Directory, link: LinkId, set: &Set) {
        let Some(incarnation) = self
            .sets
            .get(set)
            .and_then(|subscription| subscription.asked)
        else {
            return;
        };
        let seq = cursor(directory.set_state(set), incarnation);
        self.frames.push((link, begin(set, incarnation, seq)));
    }

    /// Bytes of data in the changes that are kept aside.
    pub fn staged_bytes(&self) -> usize {
        self.staged.values().map(|part| part.bytes).sum()
    }

    /// Whether more bytes are kept aside than allowed.
    fn is_over_full(&self) -> bool {
        let staged = self.staged.values();
        let entries: usize = staged.map(|part| part.entries.len()).sum();
        let over = entries > MAX_STAGED || self.staged_bytes() > self.max_bytes;
        over && !self.mutants.aside_without_end()
    }

    fn keep_aside(
        &mut self,
        now: Moment,
        directory: &mut Directory,
        link: LinkId,
        set: &Set,
        delta: Delta,
        behind: bool,
    ) -> Applied {
        let key = (link, set.clone());
        let fits = self.staged.get(&key).is_some_and(|part| {
            !delta.reset && part.to == delta.from && part.incarnation == delta.incarnation
        });
        if !fits {
            let building = self
                .staged
                .iter()
                .any(|((_, of), part)| of == set && part.direct);
            let direct = delta.reset && !building && takes_directly(directory, set, &delta);
            let part = StagedDelta {
                incarnation: delta.incarnation,
                from: delta.from,
                reset: delta.reset,
                direct,
                to: delta.from,
                entries: Vec::new(),
                bytes: 0,
            };
            self.staged.insert(key.clone(), part);
        }
        let Some(part) = self.staged.get_mut(&key) else {
            return Applied::default();
        };
        part.to = delta.to;
        let last = delta.last;
        let mut fresh = 0;
        if part.direct {
            fresh = directory.apply_set(now, set, delta.entries, delta.to);
        } else {
            part.bytes += delta.entries.iter().map(data_len).sum::<usize>();
            part.entries.extend(delta.entries);
        }
        if self.is_over_full() {
            self.staged.remove(&key);
            return Applied {
                gap: true,
                ..Applied::default()
            };
        }
        if !last || behind {
            return Applied {
                fresh,
                ..Applied::default()
            };
        }
        match self.staged.remove(&key) {
            Some(part) => {
                let mut applied = finish(now, directory, set, part);
                applied.fresh += fresh;
                applied
            }
            None => Applied::default(),
        }
    }
}

fn data_len(entry: &Entry) -> usize {
    match &entry.change {
        Change::Claim(claim) => claim.data.as_ref().map_or(0, Bytes::len),
        Change::Unknown(unknown) => unknown.body.len(),
        Change::Gone { .. } => 0,
    }
}

/// A delta of one part, by far the most common.
fn apply_whole(now: Moment, directory: &mut Directory, set: &Set, delta: Delta) -> Applied {
    let part = StagedDelta {
        incarnation: delta.incarnation,
        from: delta.from,
        reset: delta.reset,
        direct: false,
        to: delta.to,
        entries: delta.entries,
        bytes: 0,
    };
    finish(now, directory, set, part)
}

fn begin(set: &Set, incarnation: Incarnation, seq: u64) -> ControlFrame {
    match set.scope {
        Scope::All => ControlFrame::Subscribe {
            origin: set.hub,
            incarnation,
            seq,
        },
        Scope::Networks | Scope::Of(_) => ControlFrame::Follow {
            set: set.clone(),
            incarnation,
            seq,
        },
    }
}

fn end(set: &Set) -> ControlFrame {
    match set.scope {
        Scope::All => ControlFrame::Unsubscribe { origin: set.hub },
        Scope::Networks | Scope::Of(_) => ControlFrame::Unfollow { set: set.clone() },
    }
}

fn cursor(here: Option<OriginState>, incarnation: Incarnation) -> u64 {
    match here {
        Some(here) if here.complete && here.incarnation == incarnation => here.seq,
        _ => 0,
    }
}

/// The parts of a set that starts empty go straight into the directory, where the set stays hidden until it is
/// complete. So there is no second copy of a million claims.
fn takes_directly(directory: &mut Directory, set: &Set, delta: &Delta) -> bool {
    match directory.set_state(set) {
        Some(here) if here.incarnation == delta.incarnation && here.complete => return false,
        _ if replaces_parts(directory, set, delta.incarnation) => return false,
        _ => {}
    }
    directory.drop_set(set, LeaveReason::HubLost);
    directory.begin_set(set, delta.incarnation);
    true
}

/// Whether a whole set will replace the sets of its single networks that are here.
fn replaces_parts(directory: &Directory, set: &Set, incarnation: Incarnation) -> bool {
    set.scope == Scope::All && directory.parts_head(&set.hub, incarnation).is_some()
}

fn finish(now: Moment, directory: &mut Directory, set: &Set, part: StagedDelta) -> Applied {
    let here = directory.set_state(set);
    let mut applied = Applied {
        resync: part.reset,
        ..Applied::default()
    };
    let same_incarnation = here.is_some_and(|here| here.incarnation == part.incarnation);
    let offered = part.entries.len();
    if part.direct {
        directory.complete_set(set, part.to);
        applied.advanced = true;
        return applied;
    }
    if !part.reset {
        let follows = here.is_some_and(|here| here.complete && part.from <= here.seq);
        if !same_incarnation || !follows {
            applied.gap = part.to != 0;
            return applied;
        }
        let before = here.map_or(0, |here| here.seq);
        applied.fresh = directory.apply_set(now, set, part.entries, part.to);
        applied.advanced = part.to > before;
    } else if replaces_parts(directory, set, part.incarnation) {
        directory.widen(now, &set.hub, part.incarnation, part.entries, part.to);
        applied.fresh = offered;
        applied.advanced = true;
    } else if same_incarnation && here.is_some_and(|here| here.complete) {
        if here.is_some_and(|here| part.to <= here.seq) {
            applied.repeated = offered;
            return applied;
        }
        directory.replace_set(now, set, part.entries, part.to);
        applied.fresh = offered;
        applied.advanced = true;
    } else {
        directory.drop_set(set, LeaveReason::HubLost);
        directory.begin_set(set, part.incarnation);
        applied.fresh = directory.apply_set(now, set, part.entries, part.to);
        directory.complete_set(set, part.to);
        applied.advanced = true;
    }
    applied.repeated = offered - applied.fresh;
    applied
}
