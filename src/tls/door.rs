//! Which clients may be in a TLS handshake, and when each takes its costly steps.
//!
//! [`TlsDoor`] has the slots of `MAX_TLS_HANDSHAKES`; one address has half of them at most, except trusted proxies,
//! which speak for many clients. Few have a turn ([`StepTurns`]) at a time, and all turns together can be held to a
//! share of a thread's time. One pair is for the hub's port, another for TURN over TLS (`nat::streams`).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::config::{Config, TrustedProxies};
use crate::limits::{AddressGroup, HandshakeSlot, HandshakeSlots, NoSlot};

/// The slots of handshakes.
pub(crate) struct TlsDoor {
    handshake_slots: HandshakeSlots,
    places: usize,
    proxies: TrustedProxies,
}

impl TlsDoor {
    /// As many slots as are configured, all free.
    pub(crate) fn new(config: &Config) -> Self {
        TlsDoor {
            handshake_slots: HandshakeSlots::new(config.max_tls_handshakes),
            places: config.max_tls_handshakes,
            proxies: config.trusted_proxies.clone(),
        }
    }

    /// A slot for a handshake, unless there is none.
    pub(crate) fn enter(&self, from: IpAddr) -> Result<HandshakeSlot, NoSlot> {
        let of_one = match self.proxies.trusts(from.to_canonical()) {
            true => self.places,
            false => self.places.div_ceil(2),
        };
        self.handshake_slots.enter(AddressGroup::of(from), of_one)
    }
}

/// The shortest rest. A timer knows no shorter one; what is owed adds up until it is this long.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// Turns at the costly steps.
pub(crate) struct StepTurns {
    few: Semaphore,
    /// After a step, all handshakes rest this many times as long as it took.
    rests: u32,
    /// Nanoseconds of rest that are owed.
    owed: AtomicU64,
}

impl StepTurns {
    /// `few` handshakes have a turn at a time; after each step the thread's other tasks have theirs.
    pub(crate) fn of(few: usize) -> Self {
        StepTurns {
            few: Semaphore::new(few),
            rests: 0,
            owed: AtomicU64::new(0),
        }
    }

    /// One handshake has a turn at a time, and all of them take one part in `parts` of the thread's time at most.
    pub(crate) fn one_part_in(parts: u32) -> Self {
        StepTurns {
            rests: parts.saturating_sub(1),
            ..StepTurns::of(1)
        }
    }

    /// Waits for one.
    pub(super) async fn take(&self) -> SemaphorePermit<'_> {
        match self.few.acquire().await {
            Ok(turn) => turn,
            Err(_) => unreachable!("the turns are never closed"),
        }
    }

    /// Lets the thread's other tasks have their turn after a step that took this long. Await it while the turn is held.
    pub(super) async fn rest(&self, took: Duration) {
        yield_now().await;
        let more = u64::try_from((took * self.rests).as_nanos()).unwrap_or(u64::MAX);
        let owed = Duration::from_nanos(self.owed.fetch_add(more, Ordering::Relaxed) + more);
        if owed >= SHORTEST_REST {
            self.owed.store(0, Ordering::Relaxed);
            sleep(owed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn steps_take_no_more_than_their_part_of_the_time() {
        let turns = StepTurns::one_part_in(4);
        let step = Duration::from_micros(250);
        let began = Instant::now();
        for _ in 0..1_000 {
            let _turn = turns.take().await;
            tokio::time::advance(step).await;
            turns.rest(step).await;
        }
        let all = began.elapsed();
        assert!(all >= step * 1_000 * 39 / 10, "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_part_nobody_rests() {
        let turns = StepTurns::of(2);
        let began = Instant::now();
        for _ in 0..1_000 {
            let _turn = turns.take().await;
            turns.rest(Duration::from_secs(1)).await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
