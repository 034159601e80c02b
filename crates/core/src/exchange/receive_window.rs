//! The receiving end of a pair of hubs: which sequence numbers of one source have been received.
//!
//! Owns the order, the early arrivals, and the acknowledgement that the source is owed, with every refusal of which the
//! source may not know. Must not know the content of a signal, nor whether its target is here. Invariants: each number
//! is received at most once, and in order; an acknowledgement never covers a delivery that the caller has not answered
//! for, nor a refusal that it does not include.

use std::collections::{BTreeMap, VecDeque};

use crate::frames::{AckFrame, RefusedSignal, RefusedWhy, SignalBody};
use crate::ids::{Incarnation, Moment};
use crate::mutants::Mutants;

use super::config::{MAX_OUTSTANDING, SIGNAL_COST};

/// The answer to an arriving signal.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is the next one.
    Next(SignalBody),
    /// It arrived before an earlier one and is kept.
    Early,
    /// It was received before.
    Duplicate,
    /// There is no space for it: it is dropped.
    NoSpace,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// The source's incarnation.
    incarnation: Incarnation,
    /// The lowest number that the source still keeps, as far as it has told us.
    base: u64,
    /// The next number to receive.
    next: u64,
    /// Above `next`.
    early: BTreeMap<u64, SignalBody>,
    early_bytes: usize,
    /// Received, and not answered by the caller yet.
    unsettled: VecDeque<u64>,
    /// Refused, and not below `base`.
    refused: BTreeMap<u64, RefusedWhy>,
    /// Signals since the last acknowledgement.
    pub(super) unacked: u32,
    /// When to acknowledge at the latest.
    pub(super) ack_at: Option<Moment>,
    pub(super) timer: Option<Moment>,
    pub(super) used_at: Moment,
}

impl ReceiveWindow {
    /// Starts at the source's base: lower numbers were settled before, or never will be.
    pub(super) fn new(incarnation: Incarnation, base: u64, now: Moment) -> Self {
        ReceiveWindow {
            incarnation,
            base,
            next: base,
            early: BTreeMap::new(),
            early_bytes: 0,
            unsettled: VecDeque::new(),
            refused: BTreeMap::new(),
            unacked: 0,
            ack_at: None,
            timer: None,
            used_at: now,
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The bytes of early arrivals.
    pub(super) fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    /// The next number to receive.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The source keeps nothing below `base` any more: lower numbers need neither a wait nor an answer.
    pub(super) fn raise_base(&mut self, base: u64) {
        if base <= self.base {
            return;
        }
        self.base = base;
        self.refused = self.refused.split_off(&base);
        if base > self.next {
            self.next = base;
            self.early = self.early.split_off(&base);
            self.early_bytes = self.early.values().map(cost).sum();
        }
    }

    /// Checks the number of an arriving signal; `early_bytes` bounds early arrivals.
    pub(super) fn admit(
        &mut self,
        seq: u64,
        body: SignalBody,
        early_bytes: usize,
        mutants: Mutants,
    ) -> Admission {
        if seq < self.next || self.early.contains_key(&seq) {
            self.unacked += 1;
            return Admission::Duplicate;
        }
        if seq - self.base >= MAX_OUTSTANDING {
            return Admission::NoSpace;
        }
        if seq == self.next || mutants.acks_without_order() {
            self.next = seq + 1;
            return Admission::Next(body);
        }
        let bytes = self.early_bytes + cost(&body);
        if bytes > early_bytes && !mutants.early_without_end() {
            return Admission::NoSpace;
        }
        self.early_bytes = bytes;
        self.early.insert(seq, body.detached());
        Admission::Early
    }

    /// The next signal, if it arrived early.
    pub(super) fn next_early(&mut self) -> Option<(u64, SignalBody)> {
        let seq = self.next;
        let body = self.early.remove(&seq)?;
        self.early_bytes -= cost(&body);
        self.next += 1;
        Some((seq, body))
    }

    /// The signal is handed to the caller, which will answer for it.
    pub(super) fn hand_over(&mut self, seq: u64) {
        self.unsettled.push_back(seq);
    }

    /// The caller's answer. Answers come in the order of the numbers.
    pub(super) fn settle(&mut self, seq: u64, result: Result<(), RefusedWhy>) {
        if self.unsettled.front() == Some(&seq) {
            self.unsettled.pop_front();
        }
        match result {
            Ok(()) => self.took(),
            Err(why) => self.refuse(seq, why),
        }
    }

    /// A signal was received that needs no answer.
    pub(super) fn took(&mut self) {
        self.unacked += 1;
    }

    pub(super) fn refuse(&mut self, seq: u64, why: RefusedWhy) {
        self.unacked += 1;
        if seq >= self.base {
            self.refused.insert(seq, why);
        }
    }

    /// The acknowledgement: all up to a number, and which of these were refused.
    pub(super) fn acknowledge(&mut self) -> (u64, Vec<RefusedSignal>) {
        self.unacked = 0;
        self.ack_at = None;
        let settled = self.unsettled.front().unwrap_or(&self.next);
        let mut upto = settled.saturating_sub(1);
        let mut refused = Vec::new();
        for (&seq, &why) in self.refused.range(..=upto) {
            if refused.len() == AckFrame::MAX_REFUSED {
                upto = seq.saturating_sub(1);
                break;
            }
            refused.push(RefusedSignal { seq, why });
        }
        (upto, refused)
    }

    /// The source has another incarnation: its early arrivals will never be completed. The numbers are kept, so that
    /// late frames of the old incarnation are recognised.
    pub(super) fn source_reborn(&mut self) {
        self.early.clear();
        self.early_bytes = 0;
    }

    /// Whether nothing arrived for `span`, and the caller has answered for everything.
    pub(super) fn is_silent(&self, now: Moment, span: std::time::Duration) -> bool {
        self.unsettled.is_empty() && self.used_at + span <= now
    }
}

fn cost(body: &SignalBody) -> usize {
    SIGNAL_COST + body.payload().len()
}
