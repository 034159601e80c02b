//! How fast the operators' token may be guessed, by login and by bearer.
//!
//! Each wrong token takes a turn of its address, which has a fixed number of them a minute. If none is left, no bearer
//! of that address is compared for a while. The memory for addresses is bounded. Knows no cookie.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::admin::NoOperator;
use super::super::{App, Backend, Head, admit};
use crate::config::AdminSettings;
use crate::limits::{AddressGroup, ConnectRate, MAX_TRACKED};

/// The turns that each address has left.
pub(in super::super) struct Guesses {
    rate: Option<ConnectRate>,
    /// Addresses whose bearers are not compared, and until when: too many were wrong.
    barred: Mutex<HashMap<AddressGroup, Instant>>,
}

impl Guesses {
    pub(in super::super) fn new(settings: &AdminSettings) -> Self {
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
    pub(in super::super) fn forget_idle(&self) {
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

/// Compares a bearer, unless too many of its address were wrong lately. A wrong one takes a turn of the logins, so that
/// guessing is no faster here than there.
pub(in super::super) fn guessed<B: Backend>(
    app: &App<B>,
    head: &Head,
    compare: impl FnOnce() -> Result<(), NoOperator>,
) -> Result<(), NoOperator> {
    let Some(address) = admit::client(app, head) else {
        return compare();
    };
    let too_many = |wait: Duration| NoOperator::TooMany(wait.as_secs() + 1);
    let group = AddressGroup::of(address);
    if let Some(wait) = app.guesses.barred(group) {
        return Err(too_many(wait));
    }
    let checked = compare();
    if checked == Err(NoOperator::Wrong) {
        let events = &app.backend.watch().events;
        events.note_refusal("operator", Some(address), None);
        app.guesses.count_wrong(group).map_err(too_many)?;
    }
    checked
}
