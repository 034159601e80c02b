//! The dialler's knowledge of one hub.

use std::time::Duration;

use super::super::api::DialFailure;
use super::super::ids::{DialId, Moment};
use super::super::rng::Rng;
use super::DialConfig;
use super::backoff::Backoff;

#[derive(Debug)]
pub(super) struct Known {
    /// The addresses at which it can be dialled, from its record.
    pub(super) urls: Vec<String>,
    pub(super) draining: bool,
    /// The topology holds a record of it.
    pub(super) recorded: bool,
    pub(super) reachable: bool,
    /// Since when there is a link with it.
    pub(super) linked: Option<Moment>,
    pub(super) dial: Option<DialId>,
    pub(super) rtt: Option<Duration>,
    pub(super) backoff: Backoff,
    /// The address through which it was reached.
    proven: Option<String>,
    /// Addresses that led to another hub; a part of `urls`.
    wrong: Vec<String>,
    /// The index of the next address.
    turn: usize,
}

impl Known {
    /// Not to be dialled before `first`, unless it turns out to be reachable.
    pub(super) fn new(first: Moment) -> Self {
        Known {
            urls: Vec::new(),
            draining: false,
            recorded: false,
            reachable: false,
            linked: None,
            dial: None,
            rtt: None,
            backoff: Backoff::from(first),
            proven: None,
            wrong: Vec::new(),
            turn: 0,
        }
    }

    pub(super) fn learn(&mut self, urls: &[String], draining: bool) {
        self.draining = draining;
        if self.urls != urls {
            self.urls = urls.to_vec();
            self.wrong.retain(|url| urls.contains(url));
            self.proven = self.proven.take().filter(|url| urls.contains(url));
            self.turn = 0;
        }
    }

    pub(super) fn prove(&mut self, url: String) {
        if self.urls.contains(&url) {
            self.wrong.retain(|wrong| *wrong != url);
            self.proven = Some(url);
            self.turn = 0;
        }
    }

    pub(super) fn disprove(&mut self, url: String) {
        if self.proven.as_ref() == Some(&url) {
            self.proven = None;
        }
        if self.urls.contains(&url) && !self.wrong.contains(&url) {
            self.wrong.push(url);
        }
    }

    pub(super) fn next_url(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// The address to dial next: the proven one first, then the others in turn, wrong ones left out.
    pub(super) fn url(&self) -> Option<&String> {
        let rest = self
            .urls
            .iter()
            .filter(|url| Some(*url) != self.proven.as_ref() && !self.wrong.contains(url));
        let all = || self.proven.iter().chain(rest.clone());
        all().nth(self.turn.checked_rem(all().count())?)
    }

    /// Whether other hubs can be sent on to it.
    pub(super) fn is_presentable(&self) -> bool {
        !self.draining && self.url().is_some()
    }

    /// Whether it may be dialled when its time comes. A hub that drained and is gone may be back in its next
    /// incarnation; only a dial can find that out.
    pub(super) fn is_dialable(&self) -> bool {
        let drains = self.draining && self.reachable;
        self.linked.is_none() && self.dial.is_none() && !drains && self.url().is_some()
    }

    /// A dial failed. An unreachable hub is dialled again after `wait`, once its back-off is longer than the interval
    /// of such dials.
    pub(super) fn fail(
        &mut self,
        now: Moment,
        why: DialFailure,
        wait: Duration,
        config: &DialConfig,
        rng: &mut Rng,
    ) {
        if !self.reachable && self.backoff.ceiling(config) > config.retry_unreachable {
            self.backoff.fail_for(now, wait);
        } else {
            self.backoff.on_failure(now, why, config, rng);
        }
    }
}
