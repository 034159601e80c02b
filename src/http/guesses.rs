//! Who shows the operators' token, and how fast it may be guessed, by login and by bearer.
//!
//! Pages for operators, and pages that tell operators more, ask here. Each wrong token takes a turn of its address, which
//! has a fixed number of them a minute. If none is left, no bearer of that address is compared for a while; nor is one
//! beside another in a request. The memory for addresses is bounded. Knows no cookie.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::admin::{Door, NoOperator, bearers, has_bearer};
use super::{App, Backend, Head, admit};
use crate::auth::Denied;
use crate::config::AdminSettings;
use crate::limits::{AddressGroup, ConnectRate, MAX_TRACKED};
use crate::metrics::Refusal;

/// So long after its last turn an address has all its turns again.
const MINUTE: Duration = Duration::from_secs(60);

/// The turns that each address has left.
pub(super) struct Guesses {
    rate: Option<ConnectRate>,
    /// How soon an address without turns has one again.
    refill: Duration,
    /// Addresses whose bearers are not compared, and until when: too many were wrong. They are remembered a minute longer,
    /// while each turn may be the only one.
    barred: Mutex<HashMap<AddressGroup, Instant>>,
}

impl Guesses {
    pub(super) fn new(settings: &AdminSettings) -> Self {
        let per_minute = settings.logins_per_minute;
        Guesses {
            rate: per_minute.map(ConnectRate::new),
            refill: per_minute.map_or(Duration::ZERO, |number| MINUTE / number.get()),
            barred: Mutex::default(),
        }
    }

    /// Takes a turn of this address. `Err`: none is left for this time.
    pub(super) fn take_turn(&self, group: AddressGroup) -> Result<(), Duration> {
        self.rate
            .as_ref()
            .map_or(Ok(()), |rate| rate.check(group))?;
        // The turn of one that was barred lately is the only one: the next bearer could not pay for being compared.
        if let Some(until) = self.barred.lock().get_mut(&group) {
            *until = (*until).max(Instant::now() + self.refill);
        }
        Ok(())
    }

    /// Gives back the memory of addresses that have not tried lately.
    pub(super) fn forget_idle(&self) {
        if let Some(rate) = &self.rate {
            rate.forget_idle();
        }
        let now = Instant::now();
        let mut barred = self.barred.lock();
        barred.retain(|_, until| now < *until + MINUTE);
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
            if barred.len() < MAX_TRACKED || barred.contains_key(&group) {
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

    /// The same where a bearer may as well be a client's own: one that is, is no guess, and nobody is kept from showing it.
    pub(super) fn check_operator_or_client(
        &self,
        door: Door,
        head: &Head,
    ) -> Result<(), NoOperator> {
        match self.operators.compare_at(door) && self.is_a_clients(head) {
            true => {
                let checked = self.operators.check(door, &head.headers);
                checked.map_err(|_| NoOperator::Missing)
            }
            false => self.check_operator(door, head),
        }
    }

    /// Whether there are bearers, and each is what clients show here: a guess may stand beside one that is. A token that
    /// is signed well and not valid at this time is a client's too.
    fn is_a_clients(&self, head: &Head) -> bool {
        let is_one = |bearer| {
            let checked = self.gate.check([bearer]);
            matches!(checked, Ok(_) | Err(Denied::Expired | Denied::NotYetValid))
        };
        !self.gate.is_open() && has_bearer(&head.headers) && bearers(&head.headers).all(is_one)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;

    use super::*;

    #[tokio::test]
    async fn no_more_bearers_are_compared_than_turns_come_back() {
        let guesses = Guesses::new(&AdminSettings {
            logins_per_minute: NonZeroU32::new(600),
            ..AdminSettings::default()
        });
        let group = AddressGroup::of(Ipv4Addr::LOCALHOST.into());
        let mut number = 0;
        while guesses.count_wrong(group).is_ok() {
            number += 1;
        }
        assert!((600..700).contains(&number), "{number}");
        for by_login in [false, true] {
            let left = guesses.barred(group).expect("too many were wrong");
            tokio::time::sleep(left + Duration::from_millis(1)).await;
            assert_eq!(guesses.barred(group), None);
            let turn = match by_login {
                true => guesses.take_turn(group),
                false => guesses.count_wrong(group),
            };
            assert!(
                turn.is_ok() && guesses.barred(group).is_some(),
                "{by_login}"
            );
        }
        guesses.forget_idle();
        assert_eq!(guesses.barred.lock().len(), 1);
    }
}
