//! Whom to dial, and when.
//!
//! Owns the bootstrap addresses, the addresses that hubs advertise, and the back-off of each. Knows nothing of sockets,
//! and of the graph only which hubs are reachable. The core tells it what it learns; it answers with dials, each of
//! which ends in `on_neighbour_up`, in `on_dial_failed`, or by itself after `answer_within`.
//!
//! Promises:
//! - A bootstrap address is tried for ever, except while a link with the hub behind it stands. One that led to
//!   ourselves is tried every `retry_self`: behind one address there may be several hubs. In a large mesh it
//!   also rests while its hub is reachable and we have our links.
//! - A reachable hub that advertises an address is dialled: all of them in a mesh of at most
//!   `full_mesh_up_to` hubs, otherwise until `degree` links stand. Half of these are drawn at random (by the
//!   seed), the others are the nearest by round-trip time as far as it was ever measured.
//! - A hub that drains is left alone while it can be reached, and after that for as long as it asked, within bounds.
//! - An unreachable hub is tried about every `retry_unreachable`, however many links stand. More than
//!   `share_retries_past` hubs that reach each other share these tries among them (`retries`).
//! - A hub that reaches nobody first tries the hubs that it was told of when it was sent on (`admission`).
//! - Of two hubs that can both be dialled the lower id dials at once, the higher a little later.
//! - At most one new dial per `spacing`. Back-off is full jitter under a doubling ceiling; it is reset by a
//!   link that stood for `reset_after` and by the other hub's dialling us.
//! - An address that led to another hub than the one that advertises it is not tried again for that hub.

use std::collections::BTreeMap;
use std::time::Duration;

use super::api::{Bye, DialFailure, DialTarget};
use super::ids::{DialId, HubId, Moment};
use super::rng::Rng;
use backoff::Backoff;
use known::Known;

pub use admission::LinkAdmission;
pub use config::DialConfig;

mod admission;
mod backoff;
mod config;
mod known;
mod plan;
mod retries;
#[cfg(test)]
mod tests;

/// The state of a bootstrap address, for operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootstrapStatus<'a> {
    /// The address.
    pub url: &'a str,
    /// The hub that it leads to, while a link with it stands.
    pub connected: Option<HubId>,
    /// It led to this very hub when last dialled.
    pub ourselves: bool,
    /// When it was last dialled.
    pub last_attempt: Option<Moment>,
    /// How many dials in a row made no lasting link.
    pub attempt: u32,
}

#[derive(Debug, Default)]
struct Bootstrap {
    /// The hub that it led to last.
    hub: Option<HubId>,
    last_attempt: Option<Moment>,
    backoff: Backoff,
    dial: Option<DialId>,
}

#[derive(Debug)]
struct Attempt {
    target: DialTarget,
    deadline: Moment,
}

/// Chooses the next dial, and keeps what is known about every hub that could be dialled.
#[derive(Debug)]
pub struct Dialer {
    me: HubId,
    seed: u64,
    rng: Rng,
    config: DialConfig,
    bootstraps: BTreeMap<String, Bootstrap>,
    hubs: BTreeMap<HubId, Known>,
    /// How many hubs a link stands with.
    standing: usize,
    /// How many hubs can be reached, this one not counted.
    reachable: usize,
    /// The hubs that were sent on to others, and when first.
    sent_on: BTreeMap<HubId, Moment>,
    /// No dial of an unreachable hub before this, while another can be reached.
    retry_spaced: Moment,
    attempts: BTreeMap<DialId, Attempt>,
    last_dial: u64,
    /// No dial before this.
    spaced: Moment,
    /// When to look again; `None` if only an event can change anything.
    wake: Option<Moment>,
    ready: Option<DialId>,
    drop_spaced: Moment,
    /// The last hub that was proposed to be parted from.
    dropped: Option<HubId>,
    /// No more dials are made.
    stopped: bool,
    /// The largest number of hubs that shared the retries since waits were last drawn again.
    drawn_among: usize,
}

impl Dialer {
    /// Knows nobody yet. The same seed and inputs give the same dials.
    pub fn new(me: HubId, seed: u64, config: DialConfig) -> Self {
        Dialer {
            me,
            seed,
            rng: Rng::new(seed),
            config,
            bootstraps: BTreeMap::new(),
            hubs: BTreeMap::new(),
            standing: 0,
            reachable: 0,
            sent_on: BTreeMap::new(),
            retry_spaced: Moment::default(),
            attempts: BTreeMap::new(),
            last_dial: 0,
            spaced: Moment::default(),
            wake: None,
            ready: None,
            drop_spaced: Moment::default(),
            dropped: None,
            stopped: false,
            drawn_among: 1,
        }
    }

    /// Dials nobody until [`resume`](Self::resume), whatever is learned meanwhile.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.wake = None;
        self.ready = None;
    }

    /// Dials again.
    pub fn resume(&mut self, now: Moment) {
        self.stopped = false;
        self.look_again(now);
    }

    /// We go by another id from now on.
    pub fn set_id(&mut self, me: HubId) {
        self.me = me;
    }

    /// These are the bootstrap addresses now. Those that were among them before keep their state.
    pub fn set_bootstrap(&mut self, now: Moment, urls: Vec<String>) {
        let mut old = std::mem::take(&mut self.bootstraps);
        for url in urls {
            let kept = old.remove(&url).unwrap_or_default();
            self.bootstraps.insert(url, kept);
        }
        self.look_again(now);
    }

    /// A hub's link record says where it can be dialled, and whether it is shutting down.
    pub fn on_learned(&mut self, now: Moment, hub: HubId, urls: &[String], draining: bool) {
        if hub == self.me {
            return;
        }
        let first = self.rng.jitter(self.config.retry_unreachable, 0.5);
        let known = self
            .hubs
            .entry(hub)
            .or_insert_with(|| Known::new(now + first));
        known.learn(urls, draining);
        known.recorded = true;
        self.look_again(now);
    }

    /// A hub's record is dropped. While a link with it stands it is kept in mind without addresses.
    pub fn on_forgotten(&mut self, hub: HubId) {
        if let Some(known) = self.hubs.get_mut(&hub) {
            known.learn(&[], false);
            known.recorded = false;
            if known.linked.is_none() {
                self.reachable -= usize::from(known.reachable);
                self.hubs.remove(&hub);
            }
        }
    }

    /// A path leads to this hub.
    pub fn on_reachable(&mut self, now: Moment, hub: HubId) {
        let wait = if self.config.can_be_dialled && self.me > hub {
            self.config.yield_for
        } else {
            Duration::ZERO
        };
        let known = self.hubs.entry(hub).or_insert_with(|| Known::new(now));
        self.reachable += usize::from(!known.reachable);
        known.reachable = true;
        known.recorded = true;
        known.backoff.start_at(now + wait);
        self.look_again(now);
    }

    /// No path leads to this hub any more.
    pub fn on_unreachable(&mut self, now: Moment, hub: HubId) {
        let wait = self.retry_wait();
        if let Some(known) = self.hubs.get_mut(&hub) {
            self.reachable -= usize::from(known.reachable);
            known.reachable = false;
            known.backoff.start_at(now + wait);
            self.rests_while_reachable(hub, Moment::default());
            self.draw_again(now);
            self.look_again(now);
        }
    }

    /// The round-trip time to this hub was measured.
    pub fn on_rtt(&mut self, hub: HubId, rtt: Duration) {
        if let Some(known) = self.hubs.get_mut(&hub) {
            known.rtt = Some(rtt);
        }
    }

    /// A link with `hub` is up; `dialed` is our dial that made it. To be called for *every* link that comes
    /// up: also for a second one with the same hub, and for one that leads to ourselves.
    pub fn on_neighbour_up(&mut self, now: Moment, hub: HubId, dialed: Option<DialId>) {
        match dialed.and_then(|dial| self.end(dial)) {
            Some(target) => self.prove(now, hub, target),
            None if dialed.is_none() => self.on_inbound(hub),
            None => {}
        }
        if hub != self.me {
            let known = self.hubs.entry(hub).or_insert_with(|| Known::new(now));
            if known.linked.replace(known.linked.unwrap_or(now)).is_none() {
                self.standing += 1;
            }
        }
        self.look_again(now);
    }

    /// No link with `hub` is left.
    pub fn on_neighbour_down(&mut self, now: Moment, hub: HubId) {
        let Some(known) = self.hubs.get_mut(&hub) else {
            return;
        };
        let Some(since) = known.linked.take() else {
            return;
        };
        self.standing -= 1;
        let lasted = now - since >= self.config.reset_after;
        known.backoff.lose(now, lasted, &self.config, &mut self.rng);
        if !known.recorded {
            // It was known by its link alone.
            self.reachable -= usize::from(known.reachable);
            self.hubs.remove(&hub);
        }
        for bootstrap in self.bootstraps.values_mut() {
            if bootstrap.hub == Some(hub) {
                let backoff = &mut bootstrap.backoff;
                backoff.lose(now, lasted, &self.config, &mut self.rng);
            }
        }
        self.look_again(now);
    }

    /// A dial made no link.
    pub fn on_dial_failed(&mut self, now: Moment, dial: DialId, why: DialFailure) {
        if let Some(target) = self.end(dial) {
            self.fail(now, &target, why);
            self.look_again(now);
        }
    }

    /// A link with `hub` was closed for this reason, by either end.
    pub fn on_bye(&mut self, now: Moment, hub: HubId, bye: Bye) {
        match bye {
            // No hub can ask to be left alone for good: an address is tried for ever.
            Bye::Draining { retry_after } => {
                self.rest(hub, now + retry_after.min(self.config.retry_full));
            }
            Bye::Full if self.hubs.get(&hub).is_some_and(|known| known.reachable) => {
                let wait = self.rng.jitter(self.config.retry_full, 0.5);
                self.rests_while_reachable(hub, now + wait);
            }
            // It told us of others, or we knew some: they come first.
            Bye::Full if self.knows_others() => {
                let wait = self.rng.jitter(self.config.introduce_rest, 0.5);
                self.rest(hub, now + wait);
            }
            Bye::IdentityClash => self.rest(hub, now + self.config.backoff_most),
            Bye::Full
            | Bye::Duplicate
            | Bye::SelfDial
            | Bye::StaleIncarnation { .. }
            | Bye::BadFrame
            | Bye::Silent
            | Bye::Overflow => {}
        }
        self.look_again(now);
    }

    /// Ends dials that were never answered, and makes the next one if it is time.
    pub fn handle_timeout(&mut self, now: Moment) {
        let late: Vec<DialId> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.deadline <= now)
            .map(|(dial, _)| *dial)
            .collect();
        for dial in late {
            self.on_dial_failed(now, dial, DialFailure::Unreachable);
        }
        if self.wake.is_some_and(|wake| wake <= now) && self.ready.is_none() {
            self.plan(now);
        }
    }

    /// When [`Dialer::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let deadlines = self.attempts.values().map(|attempt| attempt.deadline);
        let wake = self.wake.filter(|_| self.ready.is_none());
        deadlines.chain(wake).min()
    }

    /// The next dial to make. Numbers count up from 1.
    pub fn poll_dial(&mut self) -> Option<(DialId, DialTarget)> {
        let dial = self.ready.take()?;
        let attempt = self.attempts.get(&dial)?;
        Some((dial, attempt.target.clone()))
    }

    /// A neighbour to part from, because we have more links than `accept_up_to` and it can be reached: to be
    /// closed as [`Bye::Full`] if the graph holds together without it (`Topology::is_redundant`), and left
    /// alone otherwise. Each call proposes the next, at most one per `drop_spacing`.
    pub fn poll_drop(&mut self, now: Moment) -> Option<HubId> {
        if self.drop_spaced > now || self.standing <= self.config.accept_up_to {
            return None;
        }
        self.drop_spaced = now + self.config.drop_spacing;
        let mut linked = self
            .hubs
            .iter()
            .filter(|(_, known)| known.linked.is_some() && known.reachable)
            .map(|(hub, _)| *hub);
        let after = self.dropped;
        let next = linked
            .clone()
            .find(|hub| Some(*hub) > after)
            .or_else(|| linked.next());
        self.dropped = next;
        next
    }

    /// When [`Dialer::poll_drop`] may have something; `None` while there are not too many links.
    pub fn drop_timeout(&self) -> Option<Moment> {
        (self.standing > self.config.accept_up_to).then_some(self.drop_spaced)
    }

    /// The bootstrap addresses, in alphabetical order.
    pub fn bootstrap_status(&self) -> impl Iterator<Item = BootstrapStatus<'_>> {
        self.bootstraps
            .iter()
            .map(|(url, bootstrap)| BootstrapStatus {
                url,
                connected: bootstrap.hub.filter(|hub| self.is_linked(*hub)),
                ourselves: bootstrap.hub == Some(self.me),
                last_attempt: bootstrap.last_attempt,
                attempt: bootstrap.backoff.attempt(),
            })
    }

    fn is_linked(&self, hub: HubId) -> bool {
        self.hubs
            .get(&hub)
            .is_some_and(|known| known.linked.is_some())
    }

    fn look_again(&mut self, now: Moment) {
        if self.stopped {
            return;
        }
        let at = self.spaced.max(now);
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Takes a dial off the list of those under way.
    fn end(&mut self, dial: DialId) -> Option<DialTarget> {
        let attempt = self.attempts.remove(&dial)?;
        match &attempt.target {
            DialTarget::Bootstrap(url) => {
                if let Some(bootstrap) = self.bootstraps.get_mut(url) {
                    bootstrap.dial = None;
                }
            }
            DialTarget::Learned { hub, .. } => {
                if let Some(known) = self.hubs.get_mut(hub) {
                    known.dial = None;
                }
            }
        }
        Some(attempt.target)
    }

    /// A dial to `target` reached `hub`.
    fn prove(&mut self, now: Moment, hub: HubId, target: DialTarget) {
        match target {
            DialTarget::Bootstrap(url) => {
                if let Some(bootstrap) = self.bootstraps.get_mut(&url) {
                    bootstrap.hub = Some(hub);
                    if hub == self.me {
                        bootstrap.backoff.fail_for(now, self.config.retry_self);
                    }
                }
            }
            DialTarget::Learned { hub: meant, url } => {
                let Some(known) = self.hubs.get_mut(&meant) else {
                    return;
                };
                if meant == hub {
                    known.prove(url);
                } else {
                    known.disprove(url);
                    known.backoff.fail(now, &self.config, &mut self.rng);
                }
            }
        }
    }

    fn fail(&mut self, now: Moment, target: &DialTarget, why: DialFailure) {
        match target {
            DialTarget::Bootstrap(url) => {
                if let Some(bootstrap) = self.bootstraps.get_mut(url) {
                    let backoff = &mut bootstrap.backoff;
                    backoff.on_failure(now, why, &self.config, &mut self.rng);
                }
            }
            DialTarget::Learned { hub, .. } => {
                let wait = self.retry_wait();
                if let Some(known) = self.hubs.get_mut(hub) {
                    known.next_url();
                    known.fail(now, why, wait, &self.config, &mut self.rng);
                }
            }
        }
    }

    /// The hub dialled us: the reason not to dial it is over.
    fn on_inbound(&mut self, hub: HubId) {
        if hub == self.me {
            // The other end of a dial that led here. Other addresses of ours are no nearer for it.
            return;
        }
        if let Some(known) = self.hubs.get_mut(&hub) {
            known.backoff.reset();
        }
        for bootstrap in self.bootstraps.values_mut() {
            if bootstrap.hub == Some(hub) {
                bootstrap.backoff.reset();
            }
        }
    }

    /// Dials `hub` no more before `until`, as long as it can be reached: it is full.
    fn rests_while_reachable(&mut self, hub: HubId, until: Moment) {
        if let Some(known) = self.hubs.get_mut(&hub) {
            known.backoff.rest_while_reachable(until);
        }
        for bootstrap in self.bootstraps.values_mut() {
            if bootstrap.hub == Some(hub) {
                bootstrap.backoff.rest_while_reachable(until);
            }
        }
    }

    /// Dials `hub` no more before `until`.
    fn rest(&mut self, hub: HubId, until: Moment) {
        if let Some(known) = self.hubs.get_mut(&hub) {
            known.backoff.rest(until);
        }
        for bootstrap in self.bootstraps.values_mut() {
            if bootstrap.hub == Some(hub) {
                bootstrap.backoff.rest(until);
            }
        }
    }
}
