//! When a new record of this hub may be made, and with which incarnation.
//!
//! Owns the pacing of records and the count of raised epochs. Called by `Topology` alone, which builds the record
//! and sends it.
//!
//! A change that cuts a hub off, or is the only link to one, is sent as soon as the pacing allows. Further links and
//! other costs wait for more of their kind, because a hub that has just started makes dozens of links and closes many
//! of them. A link that was the only one to its hub waits with them if another path to that hub is found before the
//! pacing allows the record. Records that follow each other are spaced: the gap doubles from `pacing` to `pacing_most`,
//! and is short again after a pause of twice `pacing_most`.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::ids::{Incarnation, Moment};
use super::TopologyConfig;

/// The result of hearing about a higher incarnation of this hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bump {
    /// We go on in this incarnation.
    Raised(Incarnation),
    /// It happened too often: another machine uses our id.
    Clash,
    /// The clash is known already.
    Known,
}

#[derive(Debug)]
pub(super) struct OwnRecord {
    pub(super) incarnation: Incarnation,
    /// The number of the last record made in this incarnation; 0 before the first.
    pub(super) number: u64,
    pub(super) draining: bool,
    last: Option<Moment>,
    /// The least time between the last record and the next.
    gap: Duration,
    /// A change that cannot wait has to be sent.
    urgent: bool,
    /// A link has to be sent that was the only one to its hub when it came up.
    needed: bool,
    /// When the first and the latest change that can wait came up.
    waiting: Option<(Moment, Moment)>,
    bumps: VecDeque<Moment>,
    clashed: bool,
}

impl OwnRecord {
    pub(super) fn new(incarnation: Incarnation) -> Self {
        OwnRecord {
            incarnation,
            number: 0,
            draining: false,
            last: None,
            gap: Duration::ZERO,
            urgent: false,
            needed: false,
            waiting: None,
            bumps: VecDeque::new(),
            clashed: false,
        }
    }

    /// Asks for a new record as soon as possible.
    pub(super) fn want(&mut self) {
        self.urgent = true;
    }

    /// Asks for a new record as soon as possible, for the only link to a hub.
    pub(super) fn want_needed(&mut self, now: Moment) {
        self.needed = true;
        self.want_in_a_while(now);
    }

    /// Asks for a new record once no more changes of its kind happen.
    pub(super) fn want_in_a_while(&mut self, now: Moment) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// Whether a record is wanted early for the only link to a hub, and for nothing else.
    pub(super) fn is_for_needed_link(&self) -> bool {
        self.needed && !self.urgent
    }

    /// Another path leads to that hub: its link can wait for more of its kind.
    pub(super) fn need_no_link(&mut self) {
        self.needed = false;
    }

    /// When the next record may be made.
    pub(super) fn due(&self, config: &TopologyConfig) -> Option<Moment> {
        let mark = self.last.map_or(Moment::default(), |last| last + self.gap);
        if self.urgent || self.needed {
            return Some(mark);
        }
        let (first, latest) = self.waiting?;
        let settled = (latest + config.settle).min(first + config.settle_most);
        Some(settled.max(mark))
    }

    /// Whether the next record may be made now.
    pub(super) fn is_due(&self, now: Moment, config: &TopologyConfig) -> bool {
        self.due(config).is_some_and(|due| due <= now)
    }

    /// No record is needed any more.
    pub(super) fn rest(&mut self) {
        self.urgent = false;
        self.needed = false;
        self.waiting = None;
    }

    /// A record is being made: returns its number.
    pub(super) fn originate(&mut self, now: Moment, config: &TopologyConfig) -> u64 {
        self.rest();
        let pause = config.pacing_most * 2;
        let paused = self.last.is_none_or(|last| now - last >= pause);
        self.gap = if paused {
            config.pacing
        } else {
            (self.gap * 2).clamp(config.pacing, config.pacing_most)
        };
        self.last = Some(now);
        self.number += 1;
        self.number
    }

    /// The other hub that used our id may be gone.
    pub(super) fn forget_clash(&mut self) {
        self.clashed = false;
        self.bumps.clear();
    }

    /// Raises the epoch above `known`, at most `max` times within `window`.
    pub(super) fn bump(
        &mut self,
        now: Moment,
        known: Incarnation,
        max: usize,
        window: Duration,
    ) -> Bump {
        if self.clashed {
            return Bump::Known;
        }
        self.bumps.retain(|at| *at + window > now);
        let epoch = known.epoch.max(self.incarnation.epoch).checked_add(1);
        match epoch.filter(|_| self.bumps.len() < max) {
            Some(epoch) => {
                self.bumps.push_back(now);
                self.incarnation.epoch = epoch;
                self.number = 0;
                Bump::Raised(self.incarnation)
            }
            None => {
                self.clashed = true;
                Bump::Clash
            }
        }
    }
}
