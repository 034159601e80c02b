//! Why there is no link with an address, and when to log it.
//!
//! Owns the present problem of each address that was dialled without success, and of each name whose look-up failed.
//! Knows neither sockets nor the log: the driver reports to it, logs the problems that are due, and shows the causes to
//! operators.
//!
//! Promises: a cause that lasts until an operator acts is due at once, and again every [`AGAIN`]; another cause of the
//! same address not before [`OTHER`]. A problem that may end within moments, such as another hub's start, is due after
//! [`GRACE`].

use std::collections::BTreeMap;
use std::time::Duration;

use hubmesh_core::ids::Moment;

/// How long an address may be unreachable before it is logged: hubs that start together miss each other at first.
const GRACE: Duration = Duration::from_secs(2);
/// How soon a lasting cause is logged again.
const AGAIN: Duration = Duration::from_secs(600);
/// How soon another cause than the last is logged.
const OTHER: Duration = Duration::from_secs(60);
/// How long an address that is no longer dialled is remembered.
const KEEP: Duration = Duration::from_secs(3_600);
/// The most addresses that are remembered. Other hubs can name more addresses.
const MOST: usize = 4_096;

/// Why a dial or a lookup failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The label in metrics and logs.
    pub label: &'static str,
    /// The cause in words.
    pub cause: String,
    /// The cause lasts until an operator acts.
    pub stands: bool,
}

/// The trouble of one address.
#[derive(Debug)]
struct Case {
    trouble: Trouble,
    since: Moment,
    last: Moment,
    told: Option<(Moment, &'static str)>,
    failures: u32,
}

/// The troubles of all addresses.
#[derive(Debug, Default)]
pub struct Troubles(BTreeMap<String, Case>);

impl Troubles {
    /// A dial or look-up failed. Returns whether to log it now.
    pub fn on_failure(&mut self, now: Moment, address: &str, trouble: Trouble) -> bool {
        if !self.0.contains_key(address) {
            self.0.retain(|_, case| now - case.last < KEEP);
            if self.0.len() >= MOST {
                return false;
            }
        }
        let case = self.0.entry(address.to_owned()).or_insert_with(|| Case {
            trouble: trouble.clone(),
            since: now,
            last: now,
            told: None,
            failures: 0,
        });
        case.trouble = trouble;
        case.last = now;
        case.failures = case.failures.saturating_add(1);
        let is_due = case.is_due(now);
        if is_due {
            case.told = Some((now, case.trouble.label));
        }
        is_due
    }

    /// The address leads to a hub again, or the name to an address.
    pub fn on_success(&mut self, address: &str) {
        self.0.remove(address);
    }

    /// The cause of the present trouble of an address.
    pub fn cause(&self, address: &str) -> Option<&str> {
        Some(&self.0.get(address)?.trouble.cause)
    }

    /// The addresses in trouble with this scheme.
    pub fn of_kind(&self, scheme: &str) -> impl Iterator<Item = ShownTrouble<'_>> {
        let cases = self.0.iter();
        cases
            .filter(move |(address, _)| address.starts_with(scheme))
            .map(|(address, case)| ShownTrouble {
                address,
                cause: &case.trouble.cause,
                last: case.last,
                failures: case.failures,
            })
    }
}

/// The trouble of one address, for operators.
#[derive(Clone, Copy, Debug)]
pub struct ShownTrouble<'a> {
    /// The address.
    pub address: &'a str,
    /// The cause in words.
    pub cause: &'a str,
    /// The time of the last try.
    pub last: Moment,
    /// How often in a row it failed.
    pub failures: u32,
}

impl Case {
    fn is_due(&self, now: Moment) -> bool {
        match self.told {
            None => self.trouble.stands || now - self.since >= GRACE,
            Some((told, label)) if label == self.trouble.label => now - told >= AGAIN,
            Some((told, _)) => now - told >= OTHER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ws://a/mesh";

    fn at(seconds: u64) -> Moment {
        Moment(0) + Duration::from_secs(seconds)
    }

    fn trouble(label: &'static str, stands: bool) -> Trouble {
        Trouble {
            label,
            cause: format!("because of {label}"),
            stands,
        }
    }

    /// The seconds, of these, at which a failure is due to be logged.
    fn told(troubles: &mut Troubles, label: &'static str, seconds: &[u64]) -> Vec<u64> {
        let stands = label != "unreachable";
        let mut is_due = |second: &u64| troubles.on_failure(at(*second), A, trouble(label, stands));
        seconds
            .iter()
            .copied()
            .filter(|second| is_due(second))
            .collect()
    }

    #[test]
    fn a_cause_that_stands_is_told_once_and_again_after_a_while() {
        let mut troubles = Troubles::default();
        let seconds = [0, 1, 30, 599, 600, 601, 1_199, 1_200];
        assert_eq!(
            told(&mut troubles, "wrong-token", &seconds),
            [0, 600, 1_200]
        );
        assert_eq!(troubles.cause(A), Some("because of wrong-token"));
    }

    #[test]
    fn what_mends_itself_within_moments_is_not_told() {
        let mut troubles = Troubles::default();
        assert!(told(&mut troubles, "unreachable", &[0, 1]).is_empty());
        troubles.on_success(A);
        assert_eq!(troubles.cause(A), None);
        assert_eq!(told(&mut troubles, "unreachable", &[10, 11, 12, 13]), [12]);
    }

    #[test]
    fn another_cause_is_told_soon_and_causes_that_take_turns_do_not_fill_the_log() {
        let mut troubles = Troubles::default();
        assert_eq!(told(&mut troubles, "tls", &[0]), [0]);
        assert!(told(&mut troubles, "wrong-token", &[1, 59]).is_empty());
        assert_eq!(told(&mut troubles, "wrong-token", &[60, 61]), [60]);
    }

    #[test]
    fn no_more_addresses_are_kept_in_mind_than_that() {
        let mut troubles = Troubles::default();
        for number in 0..MOST + 10 {
            troubles.on_failure(at(0), &format!("ws://{number}"), trouble("tls", true));
        }
        assert_eq!(troubles.0.len(), MOST);
        assert!(troubles.on_failure(at(3_600), A, trouble("tls", true)));
        assert_eq!(troubles.0.len(), 1, "the others were not tried for an hour");
    }
}
