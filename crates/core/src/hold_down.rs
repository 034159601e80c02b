//! How long the claims of an unreachable hub are kept: first visible, then only stored, then dropped.
//!
//! One lost connection must not become thousands of leaves and joins. So the claims of an unreachable hub stay visible
//! for the hold, and are stored for some time after, so that the hub's return costs only a delta.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ids::{HubId, Moment};

#[derive(Debug, Clone, Copy)]
struct Hold {
    hide_at: Moment,
    drop_at: Moment,
    hidden: bool,
}

impl Hold {
    fn due(&self) -> Moment {
        match self.hidden {
            true => self.drop_at,
            false => self.hide_at.min(self.drop_at),
        }
    }
}

/// A step that is due for an unreachable hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldDue {
    /// Hide its claims.
    Hide(HubId),
    /// Forget its claims.
    Drop(HubId),
}

/// How long a hub is reachable again until the hubs on the way to it have what it changed meanwhile.
const SETTLES: Duration = Duration::from_secs(1);

/// The unreachable hubs, and those that came back.
#[derive(Debug, Default)]
pub struct HoldDown {
    holds: BTreeMap<HubId, Hold>,
    /// When hubs came back of which claims were kept here.
    back: BTreeMap<HubId, Moment>,
    /// The times of all steps. Without them, after the loss of half a large mesh, every input would search all hubs.
    by_due: BTreeSet<(Moment, HubId)>,
}

impl HoldDown {
    /// The hub cannot be reached from now on. If a hold has already begun, that one goes on.
    pub fn start(&mut self, hub: HubId, hide_at: Moment, drop_at: Moment) {
        let hold = self.holds.entry(hub).or_insert(Hold {
            hide_at,
            drop_at,
            hidden: false,
        });
        self.by_due.insert((hold.due(), hub));
    }

    /// The hub can be reached again. `is_kept` says that claims are shown which it made before.
    pub fn end(&mut self, now: Moment, hub: HubId, is_kept: bool) {
        self.clear(&hub);
        if is_kept {
            self.back.insert(hub, now);
        }
    }

    /// The hub is forgotten.
    pub fn clear(&mut self, hub: &HubId) {
        self.back.remove(hub);
        if let Some(hold) = self.holds.remove(hub) {
            self.by_due.remove(&(hold.due(), *hub));
        }
    }

    /// Whether a hub that can be reached has not just come back, so that what is shown of it is what it had before.
    pub fn has_settled(&self, now: Moment, hub: &HubId) -> bool {
        self.back.get(hub).is_none_or(|at| now >= *at + SETTLES)
    }

    /// Whether it is unreachable and still visible.
    pub fn is_held(&self, hub: &HubId) -> bool {
        self.holds.get(hub).is_some_and(|hold| !hold.hidden)
    }

    /// The steps that are due by `now`, each once.
    pub fn take_due(&mut self, now: Moment) -> Vec<HoldDue> {
        let mut due = Vec::new();
        while let Some(hub) = self.next_by(now) {
            let Some(hold) = self.holds.get_mut(&hub) else {
                continue;
            };
            if !hold.hidden && hold.hide_at <= now {
                hold.hidden = true;
                due.push(HoldDue::Hide(hub));
            }
            if hold.drop_at <= now {
                self.holds.remove(&hub);
                due.push(HoldDue::Drop(hub));
            } else {
                self.by_due.insert((hold.due(), hub));
            }
        }
        due
    }

    fn next_by(&mut self, now: Moment) -> Option<HubId> {
        let (at, _) = self.by_due.first()?;
        if *at > now {
            return None;
        }
        self.by_due.pop_first().map(|(_, hub)| hub)
    }

    /// When something is next due.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.by_due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_hub_is_hidden_once_and_dropped_later() {
        let hub = HubId([1; 20]);
        let mut hold_down = HoldDown::default();
        hold_down.start(hub, Moment(2_000), Moment(60_000));
        assert!(hold_down.is_held(&hub));
        assert_eq!(hold_down.take_due(Moment(1_999)), []);
        assert_eq!(hold_down.take_due(Moment(2_000)), [HoldDue::Hide(hub)]);
        assert!(!hold_down.is_held(&hub));
        assert_eq!(hold_down.take_due(Moment(2_001)), []);
        assert_eq!(hold_down.poll_timeout(), Some(Moment(60_000)));
        assert_eq!(hold_down.take_due(Moment(60_000)), [HoldDue::Drop(hub)]);
        assert_eq!(hold_down.poll_timeout(), None);
    }

    #[test]
    fn a_hub_that_is_lost_once_more_is_held_no_longer() {
        let hub = HubId([1; 20]);
        let mut hold_down = HoldDown::default();
        hold_down.start(hub, Moment(2_000), Moment(60_000));
        hold_down.start(hub, Moment(3_000), Moment(61_000));
        assert_eq!(hold_down.take_due(Moment(2_000)), [HoldDue::Hide(hub)]);
    }

    #[test]
    fn a_hub_that_returns_within_the_hold_is_never_hidden() {
        let hub = HubId([1; 20]);
        let mut hold_down = HoldDown::default();
        hold_down.start(hub, Moment(2_000), Moment(60_000));
        hold_down.end(Moment(1_000), hub, true);
        assert_eq!(hold_down.take_due(Moment(99_000)), []);
    }

    #[test]
    fn a_hub_that_returns_settles_unless_nothing_of_it_is_kept() {
        let hub = HubId([1; 20]);
        let mut hold_down = HoldDown::default();
        assert!(hold_down.has_settled(Moment(0), &hub), "it was never lost");
        for is_kept in [true, false] {
            hold_down.end(Moment(1_000), hub, is_kept);
            assert_eq!(hold_down.has_settled(Moment(1_000_999), &hub), !is_kept);
            assert!(hold_down.has_settled(Moment(1_001_000), &hub));
        }
    }
}
