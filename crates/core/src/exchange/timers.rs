//! One timer for each window, in the order of their times.
//!
//! A timer may fire early, because its reason was settled meanwhile, but never late. Its window then checks what is
//! due, and sets it again. So the timers stay untouched while signals flow.

use std::collections::BTreeSet;

use crate::ids::{HubId, Moment};

/// Which window a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// The window of signals to this hub.
    SendWindow(HubId),
    /// The window of signals from this hub, to which an acknowledgement is owed.
    ReceiveWindow(HubId),
}

/// The timers that are set.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Moment, Timer)>);

impl Timers {
    /// Makes sure that the timer fires at `at` or before. `slot` of its owner stores when it fires.
    pub(super) fn set(&mut self, timer: Timer, slot: &mut Option<Moment>, at: Moment) {
        if slot.is_some_and(|set| set <= at) {
            return;
        }
        self.clear(timer, slot);
        self.0.insert((at, timer));
        *slot = Some(at);
    }

    pub(super) fn clear(&mut self, timer: Timer, slot: &mut Option<Moment>) {
        if let Some(set) = slot.take() {
            self.0.remove(&(set, timer));
        }
    }

    /// When the first timer fires.
    pub(super) fn first(&self) -> Option<Moment> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Removes the first timer that fires at `now` or before. Its owner's slot must be cleared.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Timer> {
        if self.first()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
