//! Which hubs to dial, and when.
//!
//! Owns the bootstrap addresses, the addresses that hubs advertise, and the back-off of each. Knows nothing of sockets,
//! and of the graph only which hubs are reachable. The core reports events; the dialler answers with dials. Each dial
//! ends in `on_neighbour_up`, in `on_dial_failed`, or by itself after `answer_within`.
//!
//! Promises:
//! - A bootstrap address is dialled for ever, except while there is a link with its hub. An address that led to this
//!   hub itself is dialled every `retry_self`: behind one address there may be several hubs. In a large mesh it also
//!   rests while its hub is reachable and this hub has its links.
//! - A reachable hub that advertises an address is dialled: in a mesh of at most `full_mesh_up_to` hubs, all of them;
//!   otherwise until there are `degree` links. Half of these hubs are drawn at random (by the seed), the others are the
//!   nearest by round-trip time as far as it was ever measured.
//! - A hub that drains is not dialled while it can be reached, and after that for the time that it asked for, within
//!   bounds.
//! - An unreachable hub is dialled about every `retry_unreachable`, however many links there are. If more than
//!   `share_retries_past` hubs reach each other, they share these dials (`retries`).
//! - A hub that reaches no other first dials the hubs that were named when it was sent on (`admission`).
//! - Of two hubs that can both be dialled the lower id dials at once, the higher a little later.
//! - At most one new dial per `spacing`. A back-off is a random time up to a ceiling that doubles (full jitter) with each
//!   dial that made no link and each link that did not last. A link ends the count of the former at once. A link that was
//!   open for `reset_after` ends both counts, and so does the other hub when it dials this one.
//! - An address that led to another hub than the one that advertises it is not dialled again for that hub.

use std::collections::BTreeMap;
use std::ops::Bound;
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
    /// The hub that it leads to, while there is a link with it.
    pub connected: Option<HubId>,
    /// It led to this hub itself when last dialled.
    pub ourselves: bool,
    /// When it was last dialled.
    pub last_attempt: Option<Moment>,
    /// How many dials in a row made no link, and how many links in a row did not last, together.
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

/// Chooses the next dial, and stores what is known about every hub that could be dialled.
#[derive(Debug)]
pub struct Dialer {
    me: HubId,
    seed: u64,
    rng: Rng,
    config: DialConfig,
    bootstraps: BTreeMap<String, Bootstrap>,
    hubs: BTreeMap<HubId, Known>,
    /// The number of hubs with a link to this one.
    standing: usize,
    /// The number of hubs that can be reached, without this one.
    reachable: usize,
    /// The hubs that were sent on, and when first.
    sent_on: BTreeMap<HubId, Moment>,
    /// No dial of an unreachable hub before this, while another hub can be reached.
    retry_spaced: Moment,
    attempts: BTreeMap<DialId, Attempt>,
    last_dial: u64,
    /// No dial before this.
    spaced: Moment,
    /// When to check again; `None` if only an event can change anything.
    wake: Option<Moment>,
    ready: Option<DialId>,
    /// No link is proposed for closing before this.
    drop_spaced: Moment,
    /// The last hub that was proposed for closing its link.
    dropped: Option<HubId>,
    /// No link has come or ended since the round of proposals began.
    drop_idle: bool,
    /// No more dials are made.
    stopped: bool,
    /// The largest number of hubs that shared the retries since waits were last drawn again.
    drawn_among: usize,
}

impl Dialer {
    /// An empty dialler. The same seed and inputs give the same dials.
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
            drop_idle: true,
            stopped: false,
            drawn_among: 1,
        }
    }

    /// Stops dialling until [`resume`](Self::resume), whatever is learned meanwhile.
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

    /// This hub has another id from now on.
    pub fn set_id(&mut self, me: HubId) {
        self.me = me;
    }

    /// Sets the bootstrap addresses. Those that were among them before keep their state.
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

    /// A hub's record is dropped. While there is a link with it, the hub is kept without addresses.
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

    /// There is a path to this hub.
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

    /// There is no path to this hub any more.
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

    /// A link with `hub` is up; `dialed` is our dial that made it. To be called for *every* link that comes up, even
    /// for a second one with the same hub, and for one that leads to this hub itself.
    pub fn on_neighbour_up(&mut self, now: Moment, hub: HubId, dialed: Option<DialId>) {
        match dialed.and_then(|dial| self.end(dial)) {
            Some(target) => self.prove(now, hub, target),
            None if dialed.is_none() => self.on_inbound(hub),
            None => {}
        }
        if hub != self.me {
            if dialed.is_some() {
                self.backoffs_of(hub).for_each(Backoff::answered);
            }
            let known = self.hubs.entry(hub).or_insert_with(|| Known::new(now));
            if known.linked.replace(known.linked.unwrap_or(now)).is_none() {
                self.standing += 1;
                self.surplus_changed(now);
            }
        }
        self.look_again(now);
    }

    /// There is no link with `hub` any more.
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
            // Only the link made it known.
            self.reachable -= usize::from(known.reachable);
            self.hubs.remove(&hub);
        }
        for bootstrap in self.bootstraps.values_mut() {
            if bootstrap.hub == Some(hub) {
                let backoff = &mut bootstrap.backoff;
                backoff.lose(now, lasted, &self.config, &mut self.rng);
            }
        }
        self.surplus_changed(now);
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
            // A hub cannot ask for an endless pause: an address is dialled for ever.
            Bye::Draining { retry_after } => {
                self.rest(hub, now + retry_after.min(self.config.retry_full));
            }
            Bye::Full if self.hubs.get(&hub).is_some_and(|known| known.reachable) => {
                let wait = self.rng.jitter(self.config.retry_full, 0.5);
                self.rests_while_reachable(hub, now + wait);
            }
            // It named other hubs, or some were known: these are dialled first.
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

    /// Ends dials that were never answered, and starts the next one if it is time.
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

    /// A neighbour whose link may be closed, because this hub has more links than `accept_up_to` and the neighbour can
    /// be reached. The caller closes it as [`Bye::Full`] if `Topology::may_close` says so, and otherwise does nothing. Each
    /// call proposes the next, at most one per `drop_spacing`. After a round in which no link came or ended, none is
    /// proposed for `drop_rest`, or until a link comes or ends.
    pub fn poll_drop(&mut self, now: Moment) -> Option<HubId> {
        if self.drop_timeout().is_none_or(|due| due > now) {
            return None;
        }
        self.drop_spaced = now + self.config.drop_spacing;
        let linked = |(hub, known): (&HubId, &Known)| {
            (known.linked.is_some() && known.reachable).then_some(*hub)
        };
        let after = self.dropped.map_or(Bound::Unbounded, Bound::Excluded);
        let mut left = self.hubs.range((after, Bound::Unbounded));
        self.dropped = left.find_map(linked);
        if self.dropped.is_none() && std::mem::replace(&mut self.drop_idle, true) {
            self.drop_spaced = now + self.config.drop_rest;
        }
        self.dropped
    }

    /// When [`Dialer::poll_drop`] may return a neighbour; `None` while there are not too many links.
    pub fn drop_timeout(&self) -> Option<Moment> {
        (self.standing > self.config.accept_up_to).then_some(self.drop_spaced)
    }

    /// A link came or ended: one that could not be closed before may be closed now.
    fn surplus_changed(&mut self, now: Moment) {
        self.drop_idle = false;
        self.drop_spaced = self.drop_spaced.min(now + self.config.drop_spacing);
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

    /// Removes a dial from the list of dials in progress.
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

    /// The other hub dialled this one: the reason not to dial it is over.
    fn on_inbound(&mut self, hub: HubId) {
        if hub == self.me {
            // The other end of a dial that led here. Other addresses of ours are no nearer for it.
            return;
        }
        for backoff in self.backoffs_of(hub) {
            backoff.reset();
        }
    }

    /// Does not dial `hub` before `until` as long as it can be reached: it is full.
    fn rests_while_reachable(&mut self, hub: HubId, until: Moment) {
        for backoff in self.backoffs_of(hub) {
            backoff.rest_while_reachable(until);
        }
    }

    /// Does not dial `hub` before `until`.
    fn rest(&mut self, hub: HubId, until: Moment) {
        for backoff in self.backoffs_of(hub) {
            backoff.rest(until);
        }
    }

    /// The waits of all addresses that are known to lead to `hub`.
    fn backoffs_of(&mut self, hub: HubId) -> impl Iterator<Item = &mut Backoff> {
        let known = self.hubs.get_mut(&hub).map(|known| &mut known.backoff);
        let led_there = move |bootstrap: &&mut Bootstrap| bootstrap.hub == Some(hub);
        let bootstraps = self.bootstraps.values_mut().filter(led_there);
        known
            .into_iter()
            .chain(bootstraps.map(|bootstrap| &mut bootstrap.backoff))
    }
}
