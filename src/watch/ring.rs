//! A ring of the latest thousand events, and of a hundred older grave events.
//!
//! Numbers the events, and says how many events a reader has lost. Grave events are those about hubs, links, alarms and
//! operators. Knows no reader. Only `events` calls it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Event;

/// How many events are kept.
pub(super) const KEPT: usize = 1_000;
/// How many older grave events are kept. A storm of joins and leaves removes them from the latest thousand.
pub(super) const KEPT_GRAVE: usize = 100;

/// The events of one ring.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The older grave events, with their numbers.
    grave: VecDeque<(u64, Arc<Event>)>,
    /// The number of the latest event.
    pub(super) last: u64,
}

impl Ring {
    pub(super) fn push(&mut self, event: Arc<Event>) {
        let first = self.first();
        if self.events.len() == KEPT
            && let Some(oldest) = self.events.pop_front()
            && oldest.is_grave()
        {
            if self.grave.len() == KEPT_GRAVE {
                self.grave.pop_front();
            }
            self.grave.push_back((first, oldest));
        }
        self.events.push_back(event);
        self.last += 1;
    }

    /// The number of the first of the latest events, which are kept without a gap.
    pub(super) fn first(&self) -> u64 {
        self.last + 1 - self.events.len() as u64
    }

    /// The number before the first event that is kept.
    pub(super) fn before_all(&self) -> u64 {
        let grave = self.grave.front().map(|(number, _)| *number);
        grave.unwrap_or(self.first()) - 1
    }

    /// At most `most` events after this number, and how many events before and between them are lost. Events up to
    /// number `unheard` do not count as lost.
    pub(super) fn after(
        &self,
        number: u64,
        unheard: u64,
        most: usize,
    ) -> (u64, Vec<(u64, Arc<Event>)>) {
        let grave = self.grave.iter().skip_while(|(own, _)| *own <= number);
        let start = self.first().max(number + 1);
        let skip = usize::try_from(start - self.first()).unwrap_or(usize::MAX);
        let rest = (start..).zip(self.events.iter().skip(skip).cloned());
        let next: Vec<_> = grave.cloned().chain(rest).take(most).collect();
        let floor = unheard.max(number);
        let got = next.iter().filter(|(own, _)| *own > floor).count() as u64;
        let gone = next
            .last()
            .map_or(0, |(last, _)| last.saturating_sub(floor) - got);
        (gone, next)
    }
}

/// Keeps at most `most` of these events: grave events first, then the newest of the others.
pub(crate) fn newest(mut all: Vec<(u64, Arc<Event>)>, most: usize) -> Vec<(u64, Arc<Event>)> {
    let grave = all.iter().filter(|(_, event)| event.is_grave()).count();
    let mut too_many = all.len().saturating_sub(most);
    let mut too_grave = grave.saturating_sub(most);
    all.retain(|(_, event)| {
        let spare = if event.is_grave() {
            &mut too_grave
        } else {
            &mut too_many
        };
        let stays = *spare == 0;
        *spare = spare.saturating_sub(1);
        stays
    });
    all
}

#[cfg(test)]
mod tests {
    use hubmesh_core::ids::HubId;

    use super::super::event::What;
    use super::*;

    #[test]
    fn of_too_many_events_the_grave_ones_are_kept_first() {
        let all = (1..=9).map(|number| {
            let what = if number == 2 {
                What::HubUp {
                    other: HubId([1; 20]),
                }
            } else {
                What::Missed { count: number }
            };
            let event = Event {
                at_ms: 1,
                hub: HubId([1; 20]),
                what,
            };
            (number, Arc::new(event))
        });
        let told = newest(all.collect(), 3);
        let told: Vec<u64> = told.iter().map(|(number, _)| *number).collect();
        assert_eq!(told, [2, 8, 9]);
    }
}
