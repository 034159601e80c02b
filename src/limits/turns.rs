//! When each client of one address has its turn, if they want much: one after the other, in the order in which they
//! came.
//!
//! An address has an allowance for each second, and ten seconds' worth of it at once. A client that asks for more is
//! given a turn of its own. No later client delays it, however little it wants, and the client need not ask again. A
//! turn that no client waits for any more is given back: the turns behind it stay, and later ones come sooner. Told the
//! time, without a clock. Memory is bounded: at most [`MAX_TRACKED`] addresses. Asked by sessions, for joins.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use hubmesh_core::reach::AddressGroup;

use super::addresses::MAX_TRACKED;

/// The allowance of this time may be used at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// The turns of all addresses.
#[derive(Debug)]
pub struct Turns {
    per_second: NonZeroU32,
    /// When each has its whole allowance again, if it does not ask meanwhile.
    whole_again: Mutex<HashMap<AddressGroup, Instant>>,
}

/// A turn that is still to come; given back when dropped before [`Turn::came`].
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    group: AddressGroup,
    /// The amount that was asked for, as time.
    cost: Duration,
    wait: Duration,
    came: bool,
}

impl Turns {
    /// Each address may have `per_second` for long.
    pub fn new(per_second: NonZeroU32) -> Arc<Self> {
        Arc::new(Turns {
            per_second,
            whole_again: Mutex::default(),
        })
    }

    /// Asks for this much for an address; more than it may have at once counts as that. `None`: it may have it now.
    pub fn ask(
        self: &Arc<Self>,
        group: AddressGroup,
        much: NonZeroU32,
        now: Instant,
    ) -> Option<Turn> {
        let cost = Duration::from_secs(much.get().into()) / self.per_second.get();
        let cost = cost.min(AT_ONCE);
        let mut whole_again = self.whole_again.lock();
        make_space(&mut whole_again, now);
        let whole = whole_again.entry(group).or_insert(now);
        *whole = now.max(*whole) + cost;
        let wait = whole.duration_since(now).saturating_sub(AT_ONCE);
        (!wait.is_zero()).then(|| Turn {
            turns: Arc::clone(self),
            group,
            cost,
            wait,
            came: false,
        })
    }

    /// Forgets the addresses whose whole allowance is there again.
    pub fn forget_idle(&self, now: Instant) {
        let mut whole_again = self.whole_again.lock();
        whole_again.retain(|_, whole| *whole > now);
        whole_again.shrink_to_fit();
    }
}

/// As for [`ConnectRate`](super::ConnectRate): an attacker with that many addresses is not held by a limit on each.
fn make_space(whole_again: &mut HashMap<AddressGroup, Instant>, now: Instant) {
    if whole_again.len() < MAX_TRACKED {
        return;
    }
    whole_again.retain(|_, whole| *whole > now);
    if whole_again.len() > MAX_TRACKED / 2 {
        whole_again.clear();
    }
}

impl Turn {
    /// How long after it was asked for it comes.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// The turn has come, and is made use of.
    pub fn came(mut self) {
        self.came = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.came {
            return;
        }
        let mut whole_again = self.turns.whole_again.lock();
        if let Some(whole) = whole_again.get_mut(&self.group)
            && let Some(sooner) = whole.checked_sub(self.cost)
        {
            *whole = sooner;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn here() -> AddressGroup {
        AddressGroup::of(Ipv4Addr::new(192, 0, 2, 1).into())
    }

    fn turns(per_second: u32) -> Arc<Turns> {
        Turns::new(NonZeroU32::new(per_second).expect("a rate"))
    }

    fn much(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("some")
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn much_at_once_is_counted_as_much_and_never_more_than_there_may_be() {
        let (turns, now) = (turns(60), Instant::now());
        assert!(turns.ask(here(), much(100_000), now).is_none());
        let turn = turns
            .ask(here(), much(5 * 60), now)
            .expect("all is used up");
        assert_eq!(turn.wait(), secs(5));
        turn.came();
        let there = AddressGroup::of(Ipv4Addr::new(192, 0, 2, 2).into());
        assert!(turns.ask(there, much(600), now).is_none());
        assert!(turns.ask(here(), much(5 * 60), now + secs(10)).is_none());
        assert!(turns.ask(here(), much(1), now + secs(10)).is_some());
    }

    #[test]
    fn who_wants_much_is_not_kept_waiting_by_those_who_come_later_for_little() {
        let (turns, now) = (turns(60), Instant::now());
        assert!(turns.ask(here(), much(600), now).is_none());
        let large = turns.ask(here(), much(600), now).expect("a turn");
        assert_eq!(large.wait(), secs(10));
        for second in 1..10 {
            let small = turns.ask(here(), much(60), now + secs(second));
            let small = small.expect("a turn");
            assert_eq!(small.wait(), secs(10), "behind the large one");
            small.came();
        }
    }

    #[test]
    fn a_turn_that_nobody_waits_for_is_given_back() {
        let (turns, now) = (turns(60), Instant::now());
        assert!(turns.ask(here(), much(600), now).is_none());
        for _ in 0..100 {
            let turn = turns.ask(here(), much(60), now).expect("a turn");
            assert_eq!(turn.wait(), secs(1));
        }
        turns.forget_idle(now + secs(9));
        assert_eq!(turns.whole_again.lock().len(), 1);
        turns.forget_idle(now + secs(10));
        assert!(turns.whole_again.lock().is_empty());
    }

    #[test]
    fn no_more_addresses_are_remembered_than_fit() {
        let (turns, now) = (turns(1), Instant::now());
        let mut most = 0;
        for number in 0..u32::try_from(MAX_TRACKED).expect("small") + 10 {
            let group = AddressGroup::of(Ipv4Addr::from_bits(number).into());
            assert!(turns.ask(group, much(1), now).is_none());
            most = most.max(turns.whole_again.lock().len());
        }
        assert_eq!(most, MAX_TRACKED);
        assert!(turns.whole_again.lock().len() <= 10);
    }
}
