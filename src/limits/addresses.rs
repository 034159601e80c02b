//! What one address may do: how many peers it has at once, and how often it asks for one.
//!
//! [`AddressSlots`] counts connections by [`AddressGroup`], and each [`AddressSlot`] gives itself back; [`ConnectRate`] is the allowance of
//! upgrade requests. Both are told addresses by `http::admit` and believe them. Memory is bounded: `AddressSlots` has an
//! entry only for addresses with a slot, `ConnectRate` at most [`MAX_TRACKED`].

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use hashbrown::HashMap;
use hubmesh_core::reach::AddressGroup;
use parking_lot::Mutex;

/// Slots for connections, counted by address.
#[derive(Debug, Default)]
pub struct AddressSlots {
    taken: Arc<Mutex<Taken>>,
}

/// How many slots each address has.
#[derive(Debug, Default)]
struct Taken {
    by_group: HashMap<AddressGroup, usize>,
    /// Their sum.
    in_all: usize,
}

/// One slot; free again when dropped.
#[derive(Debug)]
pub struct AddressSlot {
    taken: Arc<Mutex<Taken>>,
    group: AddressGroup,
}

impl AddressSlots {
    /// Takes a slot for this address group, if `allowed(slots it holds, slots of all)`.
    pub fn try_take(
        &self,
        group: AddressGroup,
        allowed: impl FnOnce(usize, usize) -> bool,
    ) -> Option<AddressSlot> {
        let mut taken = self.taken.lock();
        let own = taken.by_group.get(&group).copied().unwrap_or(0);
        if !allowed(own, taken.in_all) {
            return None;
        }
        taken.by_group.insert(group, own + 1);
        taken.in_all += 1;
        Some(AddressSlot {
            taken: Arc::clone(&self.taken),
            group,
        })
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.in_all -= 1;
        if let Some(count) = taken.by_group.get_mut(&self.group) {
            *count -= 1;
            if *count == 0 {
                taken.by_group.remove(&self.group);
            }
        }
    }
}

/// The most addresses that are remembered, at about 50 bytes each.
pub const MAX_TRACKED: usize = 65_536;

type Limiter<C> = RateLimiter<
    AddressGroup,
    HashMapStateStore<AddressGroup>,
    C,
    NoOpMiddleware<<C as Clock>::Instant>,
>;

/// How many upgrade requests an address may make.
pub struct ConnectRate<C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    limiter: Mutex<Limiter<C>>,
}

impl ConnectRate {
    /// `per_minute` requests a minute for long, and as many at once.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self::with_clock(Quota::per_minute(per_minute), DefaultClock::default())
    }

    /// `per_sec` requests a second for long (`None`: no limit), `burst` at once.
    pub fn per_second(per_sec: Option<u32>, burst: u32) -> Option<Self> {
        let quota = Quota::per_second(NonZeroU32::new(per_sec?)?);
        let quota = quota.allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        Some(Self::with_clock(quota, DefaultClock::default()))
    }
}

impl<C: Clock + Clone> ConnectRate<C> {
    fn with_clock(quota: Quota, clock: C) -> Self {
        let limiter = Mutex::new(RateLimiter::hashmap_with_clock(quota, clock.clone()));
        ConnectRate {
            quota,
            clock,
            limiter,
        }
    }

    /// Counts one request of this address. `Err`: it is one too many, and the next is granted after this time.
    pub fn check(&self, group: AddressGroup) -> Result<(), Duration> {
        let mut limiter = self.limiter.lock();
        self.make_space(&mut limiter);
        let granted = limiter.check_key(&group);
        granted.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets the addresses whose whole allowance is there again.
    pub fn forget_idle(&self) {
        let limiter = self.limiter.lock();
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }

    /// Forgets all addresses when most of them have asked lately, because a search for idle ones would soon be due again.
    /// An attacker with that many addresses is not held by a limit on each of them, so nothing is lost.
    fn make_space(&self, limiter: &mut Limiter<C>) {
        if limiter.len() < MAX_TRACKED {
            return;
        }
        limiter.retain_recent();
        if limiter.len() > MAX_TRACKED / 2 {
            *limiter = RateLimiter::hashmap_with_clock(self.quota, self.clock.clone());
        }
    }

    #[cfg(test)]
    fn tracked(&self) -> usize {
        self.limiter.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn group(text: &str) -> AddressGroup {
        AddressGroup::of(text.parse().expect("an address"))
    }

    fn rate(per_minute: u32) -> (ConnectRate<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let per_minute = NonZeroU32::new(per_minute).expect("a rate");
        let quota = Quota::per_minute(per_minute);
        (ConnectRate::with_clock(quota, clock.clone()), clock)
    }

    #[test]
    fn ipv6_counts_by_its_first_half_and_ipv4_by_address() {
        assert_eq!(group("2001:db8::1"), group("2001:db8::ffff:2:3:4"));
        assert_ne!(group("2001:db8::1"), group("2001:db8:0:1::1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.1"));
    }

    #[test]
    fn an_address_has_its_number_of_slots_and_gets_each_back_once() {
        let slots = AddressSlots::default();
        let take = |group| slots.try_take(group, |own, _| own < 2);
        let here = group("192.0.2.1");
        let first = take(here).expect("free");
        let second = take(here).expect("free");
        assert!(take(here).is_none());
        assert!(take(group("192.0.2.2")).is_some());
        drop(first);
        let third = take(here).expect("given back");
        assert!(take(here).is_none());
        drop((second, third));
        let taken = slots.taken.lock();
        assert!(taken.by_group.is_empty() && taken.in_all == 0);
    }

    #[test]
    fn an_address_may_ask_so_often_a_minute_and_is_told_when_again() {
        let (rate, clock) = rate(3);
        let here = group("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(rate.check(here), Ok(()));
        }
        let wait = rate.check(here).expect_err("the fourth");
        assert!(wait > Duration::from_secs(19) && wait <= Duration::from_secs(20));
        assert_eq!(rate.check(group("192.0.2.2")), Ok(()));
        clock.advance(wait);
        assert_eq!(rate.check(here), Ok(()));
        assert!(rate.check(here).is_err());
    }

    #[test]
    fn addresses_that_keep_quiet_are_forgotten() {
        let (rate, clock) = rate(60);
        assert_eq!(rate.check(group("192.0.2.1")), Ok(()));
        rate.forget_idle();
        assert_eq!(rate.tracked(), 1);
        clock.advance(Duration::from_secs(120));
        rate.forget_idle();
        assert_eq!(rate.tracked(), 0);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_fit() {
        let (rate, _clock) = rate(1);
        let mut most = 0;
        for number in 0..u32::try_from(MAX_TRACKED).expect("small") + 10 {
            let address = std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
            assert_eq!(rate.check(AddressGroup::of(address)), Ok(()));
            most = most.max(rate.tracked());
        }
        assert_eq!(most, MAX_TRACKED);
        assert!(rate.tracked() <= 10);
    }
}
