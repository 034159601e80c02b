//! When a new record of this hub may be made, and with which incarnation.
//!
//! Owns the pacing of records and the count of raised epochs. Called by `Topology` alone, which builds the record
//! and sends it.
//!
//! A change that cuts a hub off, or is the only link to one, is sent as soon as the pacing allows. Further links and
//! other costs wait for more of their kind, because a hub that has just started makes dozens of links and closes many
//! of them. Records that follow each other are spaced: the gap doubles from `pacing` to `pacing_most`, and is short
//! again after a pause of twice `pacing_most`.

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
            waiting: None,
            bumps: VecDeque::new(),
            clashed: false,
        }
    }

    /// Asks for a new record as soon as possible.
    pub(super) fn want(&mut self) {
        self.urgent = true;
    }

    /// Asks for a new record once no more changes of its kind happen.
    pub(super) fn want_in_a_while(&mut self, now: Moment) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// When the next record may be made.
    pub(super) fn due(&self, config: &TopologyConfig) -> Option<Moment> {
        let mark = self.last.map_or(Moment::default(), |last| last + self.gap);
        if self.urgent {
            return Some(mark);
        }
        let (first, latest) = self.waiting?;
        let settled = (latest + config.settle).min(first + config.settle_most);
        Some(settled.max(mark))
    }

    /// No record is needed any more.
    pub(super) fn rest(&mut self) {
        self.urgent = false;
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
