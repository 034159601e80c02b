//! Which connections may come in, and how fast peers may send.
//!
//! [`ConnectionSlots`] counts connections, all of them and those of each address, by permits that give themselves back;
//! [`ConnectRate`] bounds the requests of an address, [`Turns`] spaces what it may have in large amounts, and [`Pace`]
//! is one peer's allowance of messages. All are told their numbers and know neither sockets nor dialects.

mod addresses;
mod fair_slots;
mod handshake_slots;
mod pressure;
mod turns;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

pub use addresses::{AddressSlot, AddressSlots, ConnectRate, MAX_TRACKED};
pub(crate) use fair_slots::FairSlots;
pub use handshake_slots::{HandshakeSlot, HandshakeSlots};
pub use hubmesh_core::reach::AddressGroup;
pub use pressure::{Level, Pressure};
pub use turns::{Turn, Turns};

/// The most connections that there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// The most connections.
    pub connections: usize,
    /// The most connections of one address; `None`: no limit for a single address.
    pub per_address: Option<usize>,
}

/// The slots of a bounded number of connections.
#[derive(Debug)]
pub struct ConnectionSlots {
    open: Arc<AtomicUsize>,
    max: usize,
    by_address: Option<ByAddress>,
}

/// The slots of each address.
#[derive(Debug)]
struct ByAddress {
    slots: AddressSlots,
    max: usize,
}

/// One connection's slots: one of all, and one of its address. Free again when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _in_all: TotalSlot,
    _of_address: Option<AddressSlot>,
}

/// Why a connection has no slot. Nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSlot {
    /// All slots are taken.
    Full,
    /// All those of this address are taken.
    AddressFull,
}

/// One of all slots.
#[derive(Debug)]
struct TotalSlot {
    open: Arc<AtomicUsize>,
}

impl ConnectionSlots {
    /// No connection is open yet.
    pub fn new(most: ConnectionLimits) -> Self {
        ConnectionSlots {
            open: Arc::default(),
            max: most.connections,
            by_address: most.per_address.map(|max| ByAddress {
                slots: AddressSlots::default(),
                max,
            }),
        }
    }

    /// A slot for a connection from this address, unless there is none.
    pub fn try_admit(&self, from: IpAddr) -> Result<ConnectionPermit, NoSlot> {
        let in_all = self.try_take().ok_or(NoSlot::Full)?;
        let of_address = self
            .by_address
            .as_ref()
            .map(|ByAddress { slots, max }| {
                slots
                    .try_take(AddressGroup::of(from), |own, _| own < *max)
                    .ok_or(NoSlot::AddressFull)
            })
            .transpose()?;
        Ok(ConnectionPermit {
            _in_all: in_all,
            _of_address: of_address,
        })
    }

    fn try_take(&self) -> Option<TotalSlot> {
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < self.max).then_some(open + 1)
            })
            .ok()?;
        Some(TotalSlot {
            open: Arc::clone(&self.open),
        })
    }

    /// How many slots are taken.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for TotalSlot {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A peer may be refused this many bursts of messages, beyond those that it was granted meanwhile, before this is
/// abuse. A client that sends at less than twice its rate is only slowed down.
const ABUSE_BURSTS: u32 = 5;

/// How many messages an announcement that is not a peer's first costs, beyond being a message: all members of its
/// network are told.
const ANNOUNCEMENT_COST: NonZeroU32 = NonZeroU32::MIN.saturating_add(18);

/// Telling this many members of a further announcement, or of a publication, costs as much as one message.
const TOLD_FOR_ONE: usize = 10;

/// One peer's allowance of messages.
#[derive(Debug)]
pub struct Pace {
    /// The most that anything costs: more could never be granted.
    most_cost: NonZeroU32,
    limiter: Option<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>,
    refused: u32,
    tolerated: u32,
}

/// Whether a message is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaceVerdict {
    /// It is granted.
    Granted,
    /// It is refused, as the first of a row: the peer is told.
    RefusedFirst,
    /// It is refused.
    Refused,
    /// It is refused, and the connection should end.
    Abuse,
}

/// When a message may be, of a client that is slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// Now.
    None,
    /// After this time.
    For(Duration),
    /// Never: it is time to part.
    Abuse,
}

impl Pace {
    /// `per_sec` messages a second for long (`None`: no limit), `burst` at once.
    pub fn new(per_sec: Option<u32>, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let limiter = per_sec
            .and_then(NonZeroU32::new)
            .map(|rate| RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)));
        Pace {
            most_cost: burst,
            limiter,
            refused: 0,
            tolerated: burst.get().saturating_mul(ABUSE_BURSTS),
        }
    }

    /// Judges one message, which costs as much as this many.
    pub fn judge(&mut self, cost: NonZeroU32) -> PaceVerdict {
        let Some(limiter) = &self.limiter else {
            return PaceVerdict::Granted;
        };
        if let Ok(Ok(())) = limiter.check_n(cost.min(self.most_cost)) {
            self.refused = self.refused.saturating_sub(1);
            return PaceVerdict::Granted;
        }
        self.refuse()
    }

    /// Says when a message with this cost may come; `counts` unless this was asked for it before. A sender has gone on
    /// for too long once it has waited as much as is tolerated of refusals of others, beyond what it was granted at
    /// once meanwhile.
    pub fn delay(&mut self, cost: NonZeroU32, counts: bool) -> Delay {
        let Some(limiter) = &self.limiter else {
            return Delay::None;
        };
        let cost = cost.min(self.most_cost);
        let Ok(Err(not_until)) = limiter.check_n(cost) else {
            if counts {
                self.refused = self.refused.saturating_sub(cost.get());
            }
            return Delay::None;
        };
        if counts {
            self.refused = self.refused.saturating_add(cost.get());
        }
        match self.refused > self.tolerated {
            true => Delay::Abuse,
            false => Delay::For(not_until.wait_time_from(limiter.clock().now())),
        }
    }

    /// Judges what a further announcement costs beyond being a message: `told` members hear of it.
    pub fn judge_announcement(&mut self, told: usize) -> PaceVerdict {
        let Some(limiter) = &self.limiter else {
            return PaceVerdict::Granted;
        };
        let cost = ANNOUNCEMENT_COST.saturating_add(for_each(told));
        match limiter.check_n(cost.min(self.most_cost)) {
            Ok(Ok(())) => PaceVerdict::Granted,
            _ => self.refuse(),
        }
    }

    /// Judges what a publication costs beyond being a message: `told` members get it.
    pub fn judge_publication(&mut self, told: usize) -> PaceVerdict {
        let (Some(limiter), Some(cost)) = (&self.limiter, NonZeroU32::new(for_each(told))) else {
            return PaceVerdict::Granted;
        };
        match limiter.check_n(cost.min(self.most_cost)) {
            Ok(Ok(())) => PaceVerdict::Granted,
            _ => self.refuse(),
        }
    }

    fn refuse(&mut self) -> PaceVerdict {
        self.refused = self.refused.saturating_add(1);
        match self.refused {
            1 => PaceVerdict::RefusedFirst,
            n if n > self.tolerated => PaceVerdict::Abuse,
            _ => PaceVerdict::Refused,
        }
    }
}

/// What telling this many members costs, in messages.
fn for_each(told: usize) -> u32 {
    u32::try_from(told / TOLD_FOR_ONE).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ONE: NonZeroU32 = NonZeroU32::MIN;
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn connection_slots(connections: usize, per_address: Option<usize>) -> ConnectionSlots {
        ConnectionSlots::new(ConnectionLimits {
            connections,
            per_address,
        })
    }

    #[test]
    fn no_more_are_admitted_than_there_are_slots() {
        let connection_slots = connection_slots(2, None);
        let first = connection_slots.try_admit(HERE);
        let second = connection_slots.try_admit(HERE);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(connection_slots.try_admit(THERE).err(), Some(NoSlot::Full));
        drop(first);
        assert_eq!(connection_slots.open(), 1);
        assert!(connection_slots.try_admit(HERE).is_ok());
    }

    #[test]
    fn an_address_over_its_limit_takes_no_slot_from_others() {
        let connection_slots = connection_slots(2, Some(1));
        let first = connection_slots.try_admit(HERE);
        assert!(first.is_ok());
        for _ in 0..3 {
            assert_eq!(
                connection_slots.try_admit(HERE).err(),
                Some(NoSlot::AddressFull)
            );
        }
        assert_eq!(connection_slots.open(), 1);
        let second = connection_slots.try_admit(THERE);
        assert!(second.is_ok());
        drop((first, second));
        assert_eq!(connection_slots.open(), 0);
        assert!(connection_slots.try_admit(HERE).is_ok());
    }

    #[test]
    fn a_peer_is_told_once_that_it_is_too_fast_and_parted_from_if_it_goes_on() {
        let mut pace = Pace::new(Some(1), 10);
        let verdicts: Vec<_> = (0..100).map(|_| pace.judge(ONE)).collect();
        let count = |wanted| verdicts.iter().filter(|v| **v == wanted).count();
        assert!((10..=11).contains(&count(PaceVerdict::Granted)));
        assert_eq!(count(PaceVerdict::RefusedFirst), 1);
        assert_eq!(verdicts.last(), Some(&PaceVerdict::Abuse));
    }

    #[test]
    fn a_peer_that_is_slowed_down_waits_and_is_parted_from_if_it_keeps_on_for_long() {
        let mut pace = Pace::new(Some(1), 10);
        let granted = (0..100).take_while(|_| pace.delay(ONE, true) == Delay::None);
        assert!((10..=11).contains(&granted.count()));
        // One was asked for already.
        for _ in 0..48 {
            let Delay::For(wait) = pace.delay(ONE, true) else {
                panic!("it waits");
            };
            assert!(wait <= Duration::from_secs(1), "{wait:?}");
            let again = pace.delay(ONE, false);
            assert!(matches!(again, Delay::For(_)), "to ask again costs nothing");
        }
        let ten = NonZeroU32::MIN.saturating_add(9);
        assert_eq!(pace.delay(ten, true), Delay::Abuse);
    }

    #[test]
    fn a_long_message_waits_for_as_long_as_many() {
        let mut pace = Pace::new(Some(10), 10);
        let ten = NonZeroU32::MIN.saturating_add(9);
        assert_eq!(pace.delay(ten, true), Delay::None);
        let Delay::For(wait) = pace.delay(ten, true) else {
            panic!("it waits");
        };
        assert!(wait > Duration::from_millis(900), "{wait:?}");
        let mut free = Pace::new(None, 1);
        assert!((0..1_000).all(|_| free.delay(ten, true) == Delay::None));
    }

    #[test]
    fn announcing_again_and_again_costs_more_than_other_messages() {
        let mut pace = Pace::new(Some(1), 100);
        let granted = (0..100).take_while(|_| pace.judge_announcement(0) == PaceVerdict::Granted);
        assert_eq!(granted.count(), 5);
        let mut large = Pace::new(Some(1), 100);
        let granted =
            (0..100).take_while(|_| large.judge_announcement(300) == PaceVerdict::Granted);
        assert_eq!(granted.count(), 2);
        let mut small = Pace::new(Some(1), 3);
        assert_eq!(small.judge_announcement(1000), PaceVerdict::Granted);
        assert_eq!(small.judge_announcement(1000), PaceVerdict::RefusedFirst);
    }

    #[test]
    fn a_long_message_costs_as_much_as_many_and_one_is_always_affordable() {
        let cost = NonZeroU32::MIN.saturating_add(9);
        let mut pace = Pace::new(Some(1), 100);
        let granted = (0..100).take_while(|_| pace.judge(cost) == PaceVerdict::Granted);
        assert_eq!(granted.count(), 10);
        let mut small = Pace::new(Some(1), 3);
        assert_eq!(small.judge(cost), PaceVerdict::Granted);
        assert_eq!(small.judge(ONE), PaceVerdict::RefusedFirst);
    }

    #[test]
    fn without_a_rate_every_message_is_granted() {
        let mut pace = Pace::new(None, 1);
        assert!((0..10_000).all(|_| pace.judge(ONE) == PaceVerdict::Granted));
        assert!((0..10_000).all(|_| pace.judge_announcement(0) == PaceVerdict::Granted));
    }

    #[test]
    fn what_is_published_costs_by_how_many_get_it_and_nothing_for_few() {
        let mut pace = Pace::new(Some(1), 20);
        for _ in 0..100 {
            assert_eq!(
                pace.judge_publication(TOLD_FOR_ONE - 1),
                PaceVerdict::Granted
            );
        }
        assert_eq!(
            pace.judge_publication(10 * TOLD_FOR_ONE),
            PaceVerdict::Granted
        );
        assert_eq!(
            pace.judge_publication(10 * TOLD_FOR_ONE),
            PaceVerdict::Granted
        );
        assert_eq!(
            pace.judge_publication(TOLD_FOR_ONE),
            PaceVerdict::RefusedFirst
        );
        let mut pace = Pace::new(Some(1), 20);
        let all = pace.judge_publication(usize::MAX);
        assert_eq!(all, PaceVerdict::Granted, "nothing costs more than may be");
    }
}
