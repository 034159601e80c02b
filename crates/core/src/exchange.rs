//! The exchange: every signal except those that are simply handed from one local peer to another.
//!
//! Owns a sequenced window per pair of hubs (`send_window`, `receive_window`) and the waiting room for signals whose
//! target is at no hub (`waiting_room`). Must not know sockets or clocks, nor how claims and routes are learned: it
//! asks a [`Resolve`] and is given [`SharedRoutes`].
//!
//! Invariants: a signal is handed to its target at most once, and in order per pair of hubs. A signal that
//! [`Exchange::send`] accepted ends in one hand-over or one [`Effect::Failed`] (only a failure of
//! `SignalFailure::Unknown` may follow a hand-over), unless its source leaves while it waits. Memory is bounded by
//! [`ExchangeConfig`]. The same calls give the same effects.
//!
//! Called under one short lock by sessions, links and the control plane. A caller on the data path that has changed
//! something must drain [`Exchange::poll_effect`] before it releases the lock. The effects that the core causes are
//! drained by its driver, or by the next caller.
#![expect(
    clippy::result_large_err,
    reason = "a signal that is refused is given back; a box would cost every accepted one an allocation"
)]

mod config;
mod effects;
mod publishing;
mod receive_window;
mod receiving;
mod send_window;
mod sending;
#[cfg(test)]
mod tests;
mod timers;
mod unread;
mod variants;
mod waiting_room;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::api::{Route, SharedRoutes, Source, WantedId};
use super::ids::{ClaimNo, HubId, Incarnation, LinkId, Moment, NetworkKey, PeerId, SignalKind};
use crate::frames::{DataFrame, RefusedWhy};

pub use config::{ExchangeConfig, MAX_JUMP, MAX_OUTSTANDING, SIGNAL_COST};
pub use effects::{Effect, counted};

use effects::{Effects, Settling, failure_of};
use receive_window::ReceiveWindow;
use send_window::SendWindow;
use timers::{Timer, Timers};
use waiting_room::WaitingRoom;

/// Which claims hold which ids, for this hub at the moment of the call.
///
/// An implementation must answer from the live directory, never from a copy that was made before the exchange was
/// locked: a claim must be resolvable before [`Exchange::on_appeared`] is called for it.
pub trait Resolve {
    /// The visible winner among the claims to this id, local or remote.
    fn resolve(&self, network: &NetworkKey, peer: &PeerId) -> Option<Found>;

    /// Whether `hub` holds this claim, by our copy of that hub's claims.
    fn vouches(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
        seq: u64,
    ) -> Vouch;

    /// Whether our copy of that hub's claims has a retraction of this claim. That distinguishes a peer that has just
    /// left from one that never existed; asked only after [`Vouch::Gone`]. Without retractions, the last signals of a
    /// peer that left before they arrived are refused.
    fn left_lately(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
    ) -> bool {
        let _ = (hub, network, peer, claim);
        false
    }

    /// The network of a claim of this hub, while it has one.
    fn network_of(&self, claim: ClaimNo) -> Option<NetworkKey>;
}

/// A claim that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The hub that holds it.
    pub hub: HubId,
    /// Its number.
    pub claim: ClaimNo,
    /// Its sequence number in that hub's directory.
    pub seq: u64,
}

/// What our copy of a hub's claims says about one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vouch {
    /// The claim is there.
    Holds,
    /// Our copy is older than the claim, or we have none.
    NotYet,
    /// Our copy is as new as the claim or newer, and does not contain it.
    Gone,
}

/// The result for an accepted signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// The target is this local claim: the caller hands the signal over; nothing is kept.
    Local(ClaimNo),
    /// It is in the window to the target's hub.
    Window,
    /// It waits: for its target, or behind others for a local target. It becomes an effect later.
    Waiting,
}

/// This hub, and its incarnation.
#[derive(Clone, Copy, Debug)]
struct Me {
    hub: HubId,
    incarnation: Incarnation,
}

/// A peer's signal for which this hub is responsible.
#[derive(Clone, Debug)]
struct PendingSignal {
    /// Its position among all accepted signals: the signals that wait for one target leave in this order.
    order: u64,
    source: Source,
    from_seq: u64,
    target: PeerId,
    kind: SignalKind,
    payload: Bytes,
    /// Whether it may wait for its target.
    wait: bool,
    /// When it first waited for its target.
    waits_since: Option<Moment>,
    /// The hub and claim that refused it: it is sent once more, but never there.
    refused_by: Option<(HubId, ClaimNo)>,
}

/// A hub that went out of reach less than the hold ago.
#[derive(Clone, Copy, Debug)]
struct LostHub {
    since: Moment,
    incarnation: Incarnation,
}

/// The state of the data path. The module's doc has its promises.
///
/// Each call may be given a `now` that is a little older than the last; time does not go back.
#[derive(Debug)]
pub struct Exchange {
    me: Me,
    config: ExchangeConfig,
    now: Moment,
    routes: SharedRoutes,
    /// The hub at the other end of each link.
    ends: BTreeMap<LinkId, HubId>,
    /// Hubs that have no window and were lost within the hold.
    lost: BTreeMap<HubId, LostHub>,
    send_windows: HashMap<HubId, SendWindow, FixedState>,
    /// Numbers below were used in windows that are forgotten.
    first_number: u64,
    receive_windows: HashMap<HubId, ReceiveWindow, FixedState>,
    waiting_room: WaitingRoom,
    timers: Timers,
    effects: Effects,
    /// Links that accept less than they are given.
    backed_up: BTreeSet<LinkId>,
    /// The order of the last accepted signal.
    order: u64,
}

impl Exchange {
    /// An exchange without routes.
    pub fn new(me: HubId, incarnation: Incarnation, config: ExchangeConfig) -> Self {
        Exchange {
            me: Me {
                hub: me,
                incarnation,
            },
            config,
            now: Moment::default(),
            routes: SharedRoutes::default(),
            ends: BTreeMap::new(),
            lost: BTreeMap::new(),
            send_windows: HashMap::default(),
            first_number: 1,
            receive_windows: HashMap::default(),
            waiting_room: WaitingRoom::default(),
            timers: Timers::default(),
            effects: Effects::default(),
            backed_up: BTreeSet::new(),
            order: 0,
        }
    }

    /// Signals that a later one to a local target must not overtake. Only while this is 0 may a caller hand a signal to
    /// a local target without asking the exchange.
    pub fn waiting(&self) -> usize {
        self.waiting_room.len() + self.effects.local()
    }

    /// The targets that signals wait for, in the order of their networks and ids. Looks at all that wait.
    pub fn awaited(&self) -> impl Iterator<Item = WantedId<'_>> {
        self.waiting_room.targets()
    }

    /// Whether a signal waits for its target in this network.
    pub fn waits_in(&self, network: &NetworkKey) -> bool {
        self.waiting_room.waits_in(network)
    }

    /// A link accepts less than it is given. Until [`retain_backed_up`](Self::retain_backed_up) drops it, a local claim
    /// whose share is under way on it is refused with `Overload`, and almost nothing is sent again on it.
    pub fn set_backed_up(&mut self, link: LinkId) {
        self.backed_up.insert(link);
    }

    /// Whether a frame of the data path began at this hub: all others are forwarded.
    pub fn is_own(&self, frame: &DataFrame) -> bool {
        frame.head().source == self.me.hub
    }

    /// A link had no space for a frame. If the frame is this hub's, it is sent again.
    pub fn on_dropped(&mut self, frame: &DataFrame) {
        if let DataFrame::Signal(signal) = frame
            && signal.head.source == self.me.hub
            && let Some(window) = self.send_windows.get_mut(&signal.head.dest)
        {
            window.dropped(signal.seq);
        }
    }

    /// Whether any link is backed up.
    pub fn has_backed_up(&self) -> bool {
        !self.backed_up.is_empty()
    }

    /// Keeps only the links that are still backed up.
    pub fn retain_backed_up(&mut self, still: impl FnMut(&LinkId) -> bool) {
        self.backed_up.retain(still);
    }

    /// Signals and messages that no destination has acknowledged yet.
    pub fn unacknowledged(&self) -> usize {
        self.send_windows.values().map(SendWindow::len).sum()
    }

    /// Whether every signal has been delivered or has failed, and other hubs know it: nothing waits, and nothing is
    /// unacknowledged in either direction.
    pub fn is_settled(&self) -> bool {
        let owed = self
            .receive_windows
            .values()
            .any(|window| window.unacked > 0);
        self.waiting() == 0 && self.unacknowledged() == 0 && !owed
    }

    /// The next effect. The caller answers a [`Effect::Deliver`] or [`Effect::Publish`] with [`Exchange::settle`]
    /// before the next call; without an answer it counts as handed over.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.settle(Ok(()));
        self.effects.poll()
    }

    /// Answers the [`Effect::Deliver`] or [`Effect::Publish`] that was polled last: it was accepted, or why not. If no
    /// effect waits for an answer, nothing happens.
    pub fn settle(&mut self, result: Result<(), RefusedWhy>) {
        match self.effects.take_settling() {
            None => {}
            Some(Settling::Local(mut failed)) => {
                if let Err(why) = result {
                    failed.why = failure_of(why);
                    self.effects.push(Effect::Failed(failed));
                }
            }
            Some(Settling::Window {
                hub,
                incarnation,
                seq,
            }) => {
                if let Some(window) = self.receive_windows.get_mut(&hub)
                    && window.incarnation() == incarnation
                {
                    window.settle(seq, result);
                    self.owe_ack(hub);
                }
            }
        }
    }

    /// The number of hubs with a receive window.
    pub fn sources(&self) -> usize {
        self.receive_windows.len()
    }

    /// Bytes of early signals of the source that has the most.
    pub fn most_early_bytes(&self) -> usize {
        let early = self
            .receive_windows
            .values()
            .map(ReceiveWindow::early_bytes);
        early.max().unwrap_or(0)
    }

    /// When [`Exchange::handle_timeout`] is to be called next. May be early, never late.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let timer = self.timers.first();
        let deadline = self.waiting_room.first_deadline();
        timer.into_iter().chain(deadline).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment, dir: &dyn Resolve) {
        let now = self.advance(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::SendWindow(hub) => self.on_send_timer(now, hub),
                Timer::ReceiveWindow(hub) => self.on_receive_timer(now, hub),
            }
        }
        self.end_waiting(now, dir);
    }

    /// Sets the hubs that can be reached, and how. Signals whose link is no longer the next hop to their hub are sent
    /// again. Signals to a hub that has another incarnation now, or that has been out of reach for the hold, fail.
    pub fn set_routes(&mut self, now: Moment, routes: SharedRoutes) {
        let now = self.advance(now);
        self.remember_lost(now, &routes);
        self.routes = routes;
        let mut hubs: Vec<HubId> = self.send_windows.keys().copied().collect();
        hubs.sort_unstable();
        for hub in hubs {
            let route = self.routes.by_hub.get(&hub).copied();
            self.reroute(now, hub, route);
        }
        self.forget_silent_sources(now);
    }

    /// This hub has another incarnation now: no destination will acknowledge the signals of the old one, and no source
    /// will accept the old one's acknowledgements.
    pub fn set_incarnation(&mut self, now: Moment, incarnation: Incarnation) {
        self.advance(now);
        if self.me.incarnation == incarnation {
            return;
        }
        self.me.incarnation = incarnation;
        let mut windows: Vec<(HubId, SendWindow)> = self.send_windows.drain().collect();
        windows.sort_unstable_by_key(|(hub, _)| *hub);
        for (hub, mut window) in windows {
            let gone = window.give_up_all();
            self.forget(hub, &mut window);
            self.fail(hub, gone);
        }
        for (hub, mut window) in self.receive_windows.drain() {
            self.timers
                .clear(Timer::ReceiveWindow(hub), &mut window.timer);
        }
    }

    /// This hub has another id from now on, in another incarnation.
    pub fn set_id(&mut self, now: Moment, me: HubId, incarnation: Incarnation) {
        self.set_incarnation(now, incarnation);
        self.me.hub = me;
    }

    /// A link leads to this hub.
    pub fn on_link_up(&mut self, link: LinkId, hub: HubId) {
        self.ends.insert(link, hub);
    }

    /// A link is over.
    pub fn on_link_down(&mut self, link: LinkId) {
        self.ends.remove(&link);
    }

    /// Whether every way from `source` to this link leads through this hub: then a frame in its name cannot be its own.
    /// Such frames are dropped before they are handled, at each hub on their way; honest ones that were only ahead of
    /// the news are sent again. Which of several ways a frame takes is for other hubs to choose.
    pub fn is_astray(&self, source: HubId, arrived_by: LinkId) -> bool {
        let Some(route) = self.routes.by_hub.get(&source) else {
            return true;
        };
        let part_of = |hub: &HubId| self.routes.by_hub.get(hub).map(|near| near.part);
        let end = self.ends.get(&arrived_by);
        let comes_by = end.is_some_and(|end| *end == source || part_of(end) == Some(route.part));
        !comes_by && route.hop.link != arrived_by && !self.config.mutants.nobody_is_astray()
    }

    /// Forgets the waiting signals of a source: it has left, so it cannot be told.
    ///
    /// Not to be called for a source that is likely to come back under its id: its signals are still worth delivering.
    pub fn on_source_gone(&mut self, claim: ClaimNo) {
        self.waiting_room.forget_source(claim);
    }

    /// Begins a call at this time. The time that it returns never goes backwards.
    fn advance(&mut self, now: Moment) -> Moment {
        self.effects.begin_batch();
        self.now = self.now.max(now);
        self.now
    }

    fn remember_lost(&mut self, now: Moment, routes: &SharedRoutes) {
        let hold = self.config.hold;
        self.lost
            .retain(|hub, lost| lost.since + hold > now && !routes.by_hub.contains_key(hub));
        for (hub, Route { incarnation, .. }) in &self.routes.by_hub {
            if !routes.by_hub.contains_key(hub) && !self.send_windows.contains_key(hub) {
                let incarnation = *incarnation;
                self.lost.insert(
                    *hub,
                    LostHub {
                        since: now,
                        incarnation,
                    },
                );
            }
        }
    }
}

/// How many links a frame may cross to a destination that is `hops` away: enough for a detour, not for a loop.
fn ttl_for(hops: u8) -> u8 {
    hops.saturating_mul(2).saturating_add(4)
}
