//! This hub's own record: when a new one may be made, and which life it tells of.
//!
//! Owns the pacing of originations and the count of raised epochs. Called by `Topology` alone, which builds
//! the record and sends it.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::ids::{Incarnation, Moment};

/// What came of hearing about a higher life of ourselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bump {
    /// We live on under this incarnation.
    Raised(Incarnation),
    /// It happened too often: someone else uses our id.
    Clash,
    /// The clash is known already.
    Known,
}

#[derive(Debug)]
pub(super) struct Own {
    pub(super) incarnation: Incarnation,
    /// Of the last record made in this incarnation; 0 before the first.
    pub(super) number: u64,
    pub(super) draining: bool,
    last: Option<Moment>,
    wanted: bool,
    bumps: VecDeque<Moment>,
    clashed: bool,
}

impl Own {
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Own {
            incarnation,
            number: 0,
            draining: false,
            last: None,
            wanted: false,
            bumps: VecDeque::new(),
            clashed: false,
        }
    }

    /// Asks for a new record.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// When the record that was asked for may be made: as soon as `pacing` has passed since the last one.
    pub(super) fn due(&self, pacing: Duration) -> Option<Moment> {
        let mark = self.last.map_or(Moment::default(), |last| last + pacing);
        self.wanted.then_some(mark)
    }

    /// Nothing is wanted any more.
    pub(super) fn settled(&mut self) {
        self.wanted = false;
    }

    /// A record is being made: gives its number.
    pub(super) fn originate(&mut self, now: Moment) -> u64 {
        self.wanted = false;
        self.last = Some(now);
        self.number += 1;
        self.number
    }

    /// Whoever else used our id may be gone.
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
