//! The check of the operators' token, and the bound on guesses at it, by login and by bearer.
//!
//! Pages for operators, and pages that tell operators more, use this check. Each wrong token uses up a turn of its
//! address, which has a fixed number of turns a minute. If no turn is left, no bearer of that address is compared for a
//! while. A request with several bearers has none of them compared. The memory for addresses is bounded. Knows no
//! cookie.

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

/// An address has all its turns again this long after its last turn.
const MINUTE: Duration = Duration::from_secs(60);

/// The turns that each address has left.
pub(super) struct Guesses {
    rate: Option<ConnectRate>,
    /// The time after which an address without turns has one again.
    refill: Duration,
    /// Addresses whose bearers are not compared because too many were wrong, and the end of this time. They are
    /// remembered a minute longer, because until then each new turn may be their only one.
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

    /// Uses up a turn of this address. `Err`: no turn is left for this time.
    pub(super) fn take_turn(&self, group: AddressGroup) -> Result<(), Duration> {
        self.rate
            .as_ref()
            .map_or(Ok(()), |rate| rate.check(group))?;
        // An address that was barred lately has only this turn, so no turn is left to pay for comparing the next
        // bearer.
        if let Some(until) = self.barred.lock().get_mut(&group) {
            *until = (*until).max(Instant::now() + self.refill);
        }
        Ok(())
    }

    /// Frees the memory of addresses that have not shown a token lately.
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

    /// Counts a wrong bearer, which uses up a turn. `Err`: no turn is left for this time.
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
    /// Compares a bearer, unless too many bearers of its address were wrong lately. A wrong bearer uses up a turn of
    /// the logins, so that guessing by bearer is no faster than by login.
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

    /// Whether this request at this door may see the pages of operators.
    pub(super) fn check_operator(&self, door: Door, head: &Head) -> Result<(), NoOperator> {
        let check = || self.operators.check(door, &head.headers);
        match self.operators.compare_at(door) && has_bearer(&head.headers) {
            true => self.guessed(head, check),
            false => check(),
        }
    }

    /// The same check where a bearer may also be a client's own. A client's own bearer is no guess, so it may be shown
    /// as often as the client likes.
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

    /// Whether the request has bearers, and each of them is a client's: a guess may stand beside a client's bearer. A
    /// token with a good signature that has expired or is not valid yet is a client's too.
    fn is_a_clients(&self, head: &Head) -> bool {
        let is_one = |bearer| {
            let checked = self.gate.check([bearer]);
            matches!(checked, Ok(_) | Err(Denied::Expired | Denied::NotYetValid))
        };
        !self.gate.is_open() && has_bearer(&head.headers) && bearers(&head.headers).all(is_one)
    }

    /// Whether a checked client is told more, on a page that answers other clients too. A wrong token is counted here,
    /// because this page does not refuse it.
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
