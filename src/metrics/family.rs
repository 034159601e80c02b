//! Counters with one label. Those of the data path are resolved ahead; rare ones are looked up by name.
//!
//! A counter is declared in `metrics.rs`; nothing else makes one.

use std::marker::PhantomData;

use hubmesh_core::ids::Dialect;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, Opts, Result};

/// The values that a label may have.
pub trait Label: Copy + 'static {
    /// All of them, each at its [`index`](Label::index).
    const ALL: &'static [Self];

    /// The word in the exposition.
    fn word(self) -> &'static str;

    /// Where it stands in [`ALL`](Label::ALL).
    fn index(self) -> usize;
}

impl Label for Dialect {
    const ALL: &'static [Self] = Dialect::ALL;

    fn word(self) -> &'static str {
        self.label()
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// One counter for each value of a label, resolved at start.
pub struct Family<L> {
    counters: Box<[IntCounter]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Family<L> {
    pub(super) fn new(opts: Opts, label: &str) -> Result<(Self, IntCounterVec)> {
        let vec = IntCounterVec::new(opts, &[label])?;
        let counters = L::ALL
            .iter()
            .map(|value| vec.with_label_values(&[value.word()]))
            .collect();
        Ok((
            Family {
                counters,
                label: PhantomData,
            },
            vec,
        ))
    }

    /// The counter of this value.
    pub fn of(&self, value: L) -> &IntCounter {
        &self.counters[value.index()]
    }

    /// Counts one.
    pub fn inc(&self, value: L) {
        self.of(value).inc();
    }

    /// The sum over all values.
    pub fn total(&self) -> u64 {
        self.counters.iter().map(IntCounter::get).sum()
    }
}

/// One counter for each dialect and each type of message, resolved at start.
pub struct ByDialect<L> {
    counters: Box<[IntCounter]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> ByDialect<L> {
    pub(super) fn new(opts: Opts) -> Result<(Self, IntCounterVec)> {
        let vec = IntCounterVec::new(opts, &["dialect", "type"])?;
        let dialects = <Dialect as Label>::ALL.iter();
        let counters = dialects.flat_map(|dialect| {
            let of = |value: &L| vec.with_label_values(&[dialect.word(), value.word()]);
            L::ALL.iter().map(of).collect::<Vec<_>>()
        });
        let counters = counters.collect();
        Ok((
            ByDialect {
                counters,
                label: PhantomData,
            },
            vec,
        ))
    }

    /// The counter of this type in this dialect.
    pub fn of(&self, dialect: Dialect, value: L) -> &IntCounter {
        &self.counters[dialect.index() * L::ALL.len() + value.index()]
    }

    /// Counts one.
    pub fn inc(&self, dialect: Dialect, value: L) {
        self.of(dialect, value).inc();
    }

    /// The sum over all dialects and types.
    pub fn total(&self) -> u64 {
        self.counters.iter().map(IntCounter::get).sum()
    }
}

/// Counters that are looked up by name: for rare events, or resolved ahead with [`handle`](ByName::handle).
pub struct ByName {
    vec: IntCounterVec,
}

impl ByName {
    pub(super) fn new(opts: Opts, label: &str) -> Result<Self> {
        Ok(ByName {
            vec: IntCounterVec::new(opts, &[label])?,
        })
    }

    pub(super) fn vec(&self) -> &IntCounterVec {
        &self.vec
    }

    /// The counter of this name, for code that counts often.
    pub fn handle(&self, name: &'static str) -> IntCounter {
        self.vec.with_label_values(&[name])
    }

    /// Counts one.
    pub fn inc(&self, name: &'static str) {
        self.handle(name).inc();
    }

    /// The sum over all names.
    pub fn total(&self) -> u64 {
        let families = self.vec.collect();
        let values = families.iter().flat_map(|family| family.get_metric());
        // Counts stay far below 2^53, where the exposition's floats are exact.
        values
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }
}
