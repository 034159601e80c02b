//! Who shows the operators' token, and how fast it may be guessed, by login and by bearer.
//!
//! Pages for operators, and pages that tell operators more, ask here. Each wrong token takes a turn of its address, which
//! has a fixed number of them a minute. If none is left, no bearer of that address is compared for a while. The memory for
//! addresses is bounded. Knows no cookie.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::admin::{Door, NoOperator, bearers, has_bearer};
use super::{App, Backend, Head, admit};
use crate::config::AdminSettings;
use crate::limits::{AddressGroup, ConnectRate, MAX_TRACKED};
use crate::metrics::Refusal;

/// The turns that each address has left.
pub(super) struct Guesses {
    rate: Option<ConnectRate>,
    /// Addresses whose bearers are not compared, and until when: too many were wrong.
    barred: Mutex<HashMap<AddressGroup, Instant>>,
}

impl Guesses {
    pub(super) fn new(settings: &AdminSettings) -> Self {
        Guesses {
            rate: settings.logins_per_minute.map(ConnectRate::new),
            barred: Mutex::default(),
        }
    }

    /// Takes a turn of this address. `Err`: none is left for this time.
    pub(super) fn take_turn(&self, group: AddressGroup) -> Result<(), Duration> {
        self.rate.as_ref().map_or(Ok(()), |rate| rate.check(group))
    }

    /// Gives back the memory of addresses that have not tried lately.
    pub(super) fn forget_idle(&self) {
        if let Some(rate) = &self.rate {
            rate.forget_idle();
        }
        let now = Instant::now();
        self.barred.lock().retain(|_, until| now < *until);
    }

    /// How long no bearer of these addresses is compared.
    fn barred(&self, group: AddressGroup) -> Option<Duration> {
        let barred = self.barred.lock();
        let left = barred.get(&group)?.checked_duration_since(Instant::now());
        left.filter(|left| !left.is_zero())
    }

    /// A bearer was wrong: that takes a turn. `Err`: none is left for this time.
    fn count_wrong(&self, group: AddressGroup) -> Result<(), Duration> {
        self.take_turn(group).inspect_err(|wait| {
            let mut barred = self.barred.lock();
            if barred.len() < MAX_TRACKED {
                barred.insert(group, Instant::now() + *wait);
            }
        })
    }
}

impl<B: Backend> App<B> {
    /// Compares a bearer, unless too many of its address were wrong lately. A wrong one takes a turn of the logins, so that
    /// guessing is no faster here than there.
    pub(super) fn guessed(
        &self,
        head: &Head,
        compare: impl FnOnce() -> Result<(), NoOperator>,
    ) -> Result<(), NoOperator> {
        let Some(address) = admit::client(self, head) else {
            return compare();
        };
        let too_many = |wait: Duration| NoOperator::TooMany(wait.as_secs() + 1);
        let group = AddressGroup::of(address);
        if let Some(wait) = self.guesses.barred(group) {
            return Err(too_many(wait));
        }
        let checked = compare();
        if checked == Err(NoOperator::Wrong) {
            let events = &self.backend.watch().events;
            events.note_refusal("operator", Some(address), None);
            self.guesses.count_wrong(group).map_err(too_many)?;
        }
        checked
    }

    /// Whether who asks so at this door may see what operators see.
    pub(super) fn check_operator(&self, door: Door, head: &Head) -> Result<(), NoOperator> {
        let check = || self.operators.check(door, &head.headers);
        match self.operators.compare_at(door) && has_bearer(&head.headers) {
            true => self.guessed(head, check),
            false => check(),
        }
    }

    /// The same where a bearer may as well be a client's own: one that is, is no guess.
    pub(super) fn check_operator_or_client(
        &self,
        door: Door,
        head: &Head,
    ) -> Result<(), NoOperator> {
        let check = || self.operators.check(door, &head.headers);
        if !self.operators.compare_at(door) || !has_bearer(&head.headers) {
            return check();
        }
        self.guessed(head, || match check() {
            Err(NoOperator::Wrong) if self.is_a_clients(head) => Err(NoOperator::Missing),
            checked => checked,
        })
    }

    /// Whether every bearer is what clients show here: a guess may stand beside one that is.
    fn is_a_clients(&self, head: &Head) -> bool {
        let opens = |bearer| self.gate.check([bearer]).is_ok();
        !self.gate.is_open() && bearers(&head.headers).all(opens)
    }

    /// Whether who was checked is told more, where all others are answered too. A wrong token is counted here then: nobody
    /// refuses it.
    pub(super) fn tells_more(&self, checked: Result<(), NoOperator>) -> bool {
        if let Err(NoOperator::Wrong | NoOperator::TooMany(_)) = checked {
            self.metrics.refusals.inc(Refusal::Operator);
        }
        checked.is_ok()
    }
}
