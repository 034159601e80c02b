//! A ring of the last thousand events, and of a hundred older grave ones.
//!
//! Numbers its events, and says how many a reader has lost. Knows no reader. Called by `events` alone.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Event;

/// How many events are kept.
pub(super) const KEPT: usize = 1_000;
/// How many more are kept of those that tell of hubs, links, alarms and operators: crowds that come and go push them out of
/// the others.
pub(super) const KEPT_GRAVE: usize = 100;
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The grave ones that are kept longer, with their numbers.
    grave: VecDeque<(u64, Arc<Event>)>,
    /// The number of the last one.
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

    /// The number of the first of those that are kept without a gap.
    pub(super) fn first(&self) -> u64 {
        self.last + 1 - self.events.len() as u64
    }

    /// The number before all that are kept.
    pub(super) fn before_all(&self) -> u64 {
        let grave = self.grave.front().map(|(number, _)| *number);
        grave.unwrap_or(self.first()) - 1
    }

    /// What comes behind this number, `most` at most, and how many before and among them are gone. Those up to `unheard`
    /// do not count as gone.
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

/// Of these, so many at most: those that are grave, and the newest of the others.
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
    fn of_too_many_those_that_are_grave_are_told_first() {
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
