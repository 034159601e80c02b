//! One wake-up per window, in the order of their times.
//!
//! A window's alarm may ring early (what it was set for has been settled since), never late: whoever it
//! wakes looks at what is due and sets it again. That keeps the set untouched while signals flow.

use std::collections::BTreeSet;

use crate::ids::{HubId, Moment};

/// Which window an alarm is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Alarm {
    /// What is kept for this hub.
    Outgoing(HubId),
    /// What is owed to this hub: an acknowledgement.
    Incoming(HubId),
}

/// The alarms that are set.
#[derive(Debug, Default)]
pub(super) struct Alarms(BTreeSet<(Moment, Alarm)>);

impl Alarms {
    /// Sees to it that the alarm rings at `at` or before; `slot` is where its owner remembers when it rings.
    pub(super) fn set(&mut self, alarm: Alarm, slot: &mut Option<Moment>, at: Moment) {
        if slot.is_some_and(|set| set <= at) {
            return;
        }
        self.clear(alarm, slot);
        self.0.insert((at, alarm));
        *slot = Some(at);
    }

    pub(super) fn clear(&mut self, alarm: Alarm, slot: &mut Option<Moment>) {
        if let Some(set) = slot.take() {
            self.0.remove(&(set, alarm));
        }
    }

    /// When the first rings.
    pub(super) fn first(&self) -> Option<Moment> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the first that rings at `now` or before. Its owner's slot must be cleared.
    pub(super) fn ring(&mut self, now: Moment) -> Option<Alarm> {
        if self.first()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, alarm)| alarm)
    }
}
