//! When the members of a large network are woken for notices of each other.
//!
//! Each notice costs a write to each member, so the writes for fast joins would grow with the square of their number. A
//! network's first notice is due at once. The next ones within a pause wait in the members' mailboxes and are written
//! together, unless something else wakes a session before. The pause grows with the number of members: so the writes of
//! a network take at most a part of a thread's time, however fast members join and leave. Knows neither mailboxes nor
//! clocks: the caller gives the time, and gets the networks that are due. Used by the registry alone.
//!
//! Invariants: a notice waits for one [`pause`] at most; a network that was calm is kept no longer than that.

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashMap;
use hubmesh_core::ids::{Moment, NetworkKey};

use crate::peers::mailbox::WakeUp;

/// How long notices wait for more of their kind, at least.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// The further time for each member: at most 40,000 are woken in a second for one network, at some 5 us each.
const PAUSE_FOR_EACH: Duration = Duration::from_micros(25);
/// Notices to fewer members than this are never delayed: their writes are cheap.
pub const LARGE: usize = 32;

/// How long notices to this many members wait for more of their kind.
fn pause(members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    LEAST_PAUSE.max(PAUSE_FOR_EACH.saturating_mul(members))
}

/// The networks with recent notices.
#[derive(Debug, Default)]
pub struct Bursts {
    /// When the pause of each ends.
    ends: HashMap<NetworkKey, Moment>,
    /// The pauses in which no notice has been delayed since they began, the earliest first.
    calm: BTreeSet<(Moment, NetworkKey)>,
    /// The other pauses.
    held: BTreeSet<(Moment, NetworkKey)>,
}

impl Bursts {
    /// Whether a notice to this many members of a network is written at once. If not, it is due with
    /// [`Bursts::poll_due`].
    pub fn on_notice(&mut self, now: Moment, network: &NetworkKey, told: usize) -> WakeUp {
        self.forget_calm(now);
        let end = match self.ends.get(network) {
            Some(end) => *end,
            None if told < LARGE => return WakeUp::Now,
            None => now,
        };
        self.ends.insert(network.clone(), end);
        let entry = (end, network.clone());
        self.calm.remove(&entry);
        self.held.insert(entry);
        WakeUp::Later
    }

    /// When [`Bursts::poll_due`] returns a network; `None` if no notice is delayed.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.held.first().map(|(end, _)| *end)
    }

    /// A network whose members have to be woken now; [`Bursts::pause`] has to follow.
    pub fn poll_due(&mut self, now: Moment) -> Option<NetworkKey> {
        if self.poll_timeout()? > now {
            return None;
        }
        let (_, network) = self.held.pop_first()?;
        self.ends.remove(&network);
        Some(network)
    }

    /// Later notices to the members of this network, of which there are `members`, wait from now on.
    pub fn pause(&mut self, now: Moment, network: NetworkKey, members: usize) {
        let end = now + pause(members);
        self.ends.insert(network.clone(), end);
        self.calm.insert((end, network));
    }

    /// A pause in which no notice was delayed ends by itself, without a wake-up.
    fn forget_calm(&mut self, now: Moment) {
        while let Some((end, _)) = self.calm.first()
            && *end <= now
            && let Some((_, network)) = self.calm.pop_first()
        {
            self.ends.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubmesh_core::ids::Dialect;

    fn network(name: &str) -> NetworkKey {
        NetworkKey::new(Dialect::Pigeon, name).expect("a network's name")
    }

    fn at(ms: u64) -> Moment {
        Moment(ms * 1000)
    }

    /// The networks that are due, each with a pause after it as for 100 members.
    fn due(bursts: &mut Bursts, now: Moment) -> Vec<NetworkKey> {
        let mut due = Vec::new();
        while let Some(network) = bursts.poll_due(now) {
            bursts.pause(now, network.clone(), 100);
            due.push(network);
        }
        due
    }

    #[test]
    fn a_lone_notice_is_due_at_once() {
        let mut bursts = Bursts::default();
        for n in 0..100 {
            let now = at(n * 10);
            bursts.on_notice(now, &network("a"), 100);
            assert_eq!(bursts.poll_timeout(), Some(now));
            assert_eq!(due(&mut bursts, now), [network("a")]);
            assert_eq!(bursts.poll_timeout(), None);
        }
        assert_eq!((bursts.ends.len(), bursts.calm.len()), (1, 1));
    }

    #[test]
    fn notices_that_follow_within_the_pause_wait_for_its_end_together() {
        let mut bursts = Bursts::default();
        bursts.on_notice(at(0), &network("a"), 100);
        due(&mut bursts, at(0));
        for ms in 1..10 {
            let wake = bursts.on_notice(at(ms), &network("a"), 100);
            assert_eq!((wake, bursts.poll_timeout()), (WakeUp::Later, Some(at(10))));
        }
        assert!(due(&mut bursts, at(9)).is_empty());
        assert_eq!(due(&mut bursts, at(10)), [network("a")]);
        bursts.on_notice(at(11), &network("a"), 100);
        assert_eq!(bursts.poll_timeout(), Some(at(20)));
    }

    #[test]
    fn the_pause_is_as_long_as_the_members_are_many() {
        let mut bursts = Bursts::default();
        for (members, ms) in [(40, 10), (400, 10), (1_000, 25), (10_000, 250)] {
            bursts.pause(at(0), network("a"), members);
            bursts.on_notice(at(1), &network("a"), members);
            assert_eq!(bursts.poll_timeout(), Some(at(ms)), "{members}");
            assert_eq!(bursts.poll_due(at(ms)), Some(network("a")));
        }
    }

    #[test]
    fn a_burst_in_one_network_holds_back_no_other() {
        let mut bursts = Bursts::default();
        bursts.on_notice(at(0), &network("a"), 100);
        due(&mut bursts, at(0));
        bursts.on_notice(at(1), &network("a"), 100);
        bursts.on_notice(at(1), &network("b"), 100);
        assert_eq!(due(&mut bursts, at(1)), [network("b")]);
        assert_eq!(
            bursts.on_notice(at(1), &network("small"), LARGE - 1),
            WakeUp::Now
        );
        bursts.on_notice(at(3), &network("b"), 100);
        assert_eq!(due(&mut bursts, at(12)), [network("a"), network("b")]);
    }

    #[test]
    fn small_networks_are_never_held_back() {
        let mut bursts = Bursts::default();
        for _ in 0..100 {
            let wake = bursts.on_notice(at(0), &network("a"), LARGE - 1);
            assert_eq!(wake, WakeUp::Now);
        }
        assert_eq!(bursts.poll_timeout(), None);
    }

    #[test]
    fn networks_that_are_calm_again_are_forgotten() {
        let mut bursts = Bursts::default();
        for n in 0..100 {
            bursts.on_notice(at(0), &network(&format!("n{n}")), 100);
        }
        assert_eq!(due(&mut bursts, at(0)).len(), 100);
        bursts.on_notice(at(1), &network("n0"), 100);
        assert_eq!(due(&mut bursts, at(10)), [network("n0")]);
        bursts.on_notice(at(20), &network("small"), 1);
        assert!(bursts.ends.is_empty() && bursts.calm.is_empty() && bursts.held.is_empty());
    }
}
