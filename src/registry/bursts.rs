//! When the members of a large network are woken for what they are told of each other.
//!
//! Each notice costs a write to each member, so joins that come fast would cost the square of their number in writes.
//! A network's first notice goes out at once. Those that follow it within [`PAUSE`] wait in the members' mailboxes and
//! go out together, unless something else wakes a session before. Knows neither mailboxes nor clocks: it is told the
//! time, and says who is due. Used by the registry alone.
//!
//! Invariants: a notice waits [`PAUSE`] at most; a network that was calm is kept no longer than that.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;

use crate::mesh::core::ids::{Moment, NetworkKey};
use crate::session::mailbox::WakeUp;

/// How long notices wait for more of their kind.
pub const PAUSE: Duration = Duration::from_millis(10);
/// Notices to fewer members than this are never held back: their writes cost less than a member would notice.
pub const LARGE: usize = 32;

/// The networks that were told of something less than [`PAUSE`] ago.
#[derive(Debug, Default)]
pub struct Bursts {
    /// Whether a notice has been held back since.
    held: HashMap<NetworkKey, bool>,
    /// When each pause ends, the earliest first.
    ends: VecDeque<(Moment, NetworkKey)>,
}

impl Bursts {
    /// Whether a notice to this many members of a network goes out at once.
    pub fn on_notice(&mut self, now: Moment, network: &NetworkKey, told: usize) -> WakeUp {
        self.forget_calm(now);
        if let Some(held) = self.held.get_mut(network) {
            *held = true;
            return WakeUp::Later;
        }
        if told >= LARGE {
            self.pause(now, network.clone());
        }
        WakeUp::Now
    }

    /// When [`Bursts::poll_due`] has something to give; `None` if nothing is held back.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let mut ends = self.ends.iter();
        let first = ends.find(|(_, network)| self.held.get(network) == Some(&true));
        first.map(|(end, _)| *end)
    }

    /// A network whose members are to be released now. What follows waits anew.
    pub fn poll_due(&mut self, now: Moment) -> Option<NetworkKey> {
        loop {
            let (_, network) = self.ends.pop_front_if(|(end, _)| *end <= now)?;
            if self.held.remove(&network) == Some(true) {
                self.pause(now, network.clone());
                return Some(network);
            }
        }
    }

    fn pause(&mut self, now: Moment, network: NetworkKey) {
        self.held.insert(network.clone(), false);
        self.ends.push_back((now + PAUSE, network));
    }

    /// A pause in which nothing was held back ends by itself, without a wake-up.
    fn forget_calm(&mut self, now: Moment) {
        while let Some((end, network)) = self.ends.front()
            && *end <= now
            && self.held.get(network) == Some(&false)
        {
            self.held.remove(network);
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::core::ids::Dialect;

    fn network(name: &str) -> NetworkKey {
        NetworkKey::new(Dialect::Pigeon, name).expect("a network's name")
    }

    fn at(ms: u64) -> Moment {
        Moment(ms * 1000)
    }

    #[test]
    fn a_lone_notice_goes_out_at_once_and_arms_no_timer() {
        let mut bursts = Bursts::default();
        for n in 0..100 {
            let wake = bursts.on_notice(at(n * 10), &network("a"), 1000);
            assert_eq!((wake, bursts.poll_timeout()), (WakeUp::Now, None));
        }
        assert_eq!(bursts.ends.len(), 1);
    }

    #[test]
    fn notices_that_follow_within_the_pause_wait_for_its_end_together() {
        let mut bursts = Bursts::default();
        bursts.on_notice(at(0), &network("a"), 1000);
        for ms in 1..10 {
            let wake = bursts.on_notice(at(ms), &network("a"), 1000);
            assert_eq!((wake, bursts.poll_timeout()), (WakeUp::Later, Some(at(10))));
        }
        assert_eq!(bursts.poll_due(at(9)), None);
        assert_eq!(bursts.poll_due(at(10)), Some(network("a")));
        assert_eq!(bursts.poll_due(at(10)), None);
        let wake = bursts.on_notice(at(11), &network("a"), 1000);
        assert_eq!((wake, bursts.poll_timeout()), (WakeUp::Later, Some(at(20))));
    }

    #[test]
    fn a_burst_in_one_network_holds_back_no_other() {
        let mut bursts = Bursts::default();
        bursts.on_notice(at(0), &network("a"), 1000);
        assert_eq!(bursts.on_notice(at(1), &network("b"), 1000), WakeUp::Now);
        assert_eq!(bursts.on_notice(at(1), &network("a"), 1000), WakeUp::Later);
        assert_eq!(bursts.on_notice(at(2), &network("c"), 1000), WakeUp::Now);
        assert_eq!(bursts.on_notice(at(3), &network("c"), 1000), WakeUp::Later);
        let due: Vec<_> = std::iter::from_fn(|| bursts.poll_due(at(12))).collect();
        assert_eq!(due, [network("a"), network("c")]);
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
            bursts.on_notice(at(0), &network(&format!("n{n}")), 1000);
        }
        bursts.on_notice(at(1), &network("n0"), 1000);
        assert_eq!(bursts.poll_due(at(10)), Some(network("n0")));
        assert_eq!(bursts.poll_due(at(20)), None);
        assert!(bursts.held.is_empty() && bursts.ends.is_empty());
    }
}
