//! How metrics are made: each registered as it is made, under the hub's prefix.

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

use super::family::{ByDialect, ByName, Family, Label};

/// Makes metrics and registers them.
pub(super) struct Maker {
    pub(super) registry: Registry,
}

impl Maker {
    /// Names are literals of the files beside this one and differ, so neither making nor registering can fail.
    pub(super) fn must<T>(made: prometheus::Result<T>) -> T {
        made.unwrap_or_else(|why| panic!("a metric is declared wrongly: {why}"))
    }

    pub(super) fn add<C: Collector + 'static>(&self, collector: C) {
        Self::must(self.registry.register(Box::new(collector)));
    }

    pub(super) fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("hubmesh")
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        let counter = Self::must(IntCounter::with_opts(Self::opts(name, help)));
        self.add(counter.clone());
        counter
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let gauge = Self::must(IntGauge::with_opts(Self::opts(name, help)));
        self.add(gauge.clone());
        gauge
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::from(Self::opts(name, help)).buckets(buckets.to_vec());
        let histogram = Self::must(Histogram::with_opts(opts));
        self.add(histogram.clone());
        histogram
    }

    pub(super) fn by_name(&self, name: &str, help: &str, label: &str) -> ByName {
        let by_name = Self::must(ByName::new(Self::opts(name, help), label));
        self.add(by_name.vec().clone());
        by_name
    }

    pub(super) fn family<L: Label>(&self, name: &str, help: &str, label: &str) -> Family<L> {
        let (family, vec) = Self::must(Family::new(Self::opts(name, help), label));
        self.add(vec);
        family
    }

    pub(super) fn by_dialect<L: Label>(&self, name: &str, help: &str) -> ByDialect<L> {
        let (family, vec) = Self::must(ByDialect::new(Self::opts(name, help)));
        self.add(vec);
        family
    }

    pub(super) fn build_info(&self) {
        let opts = Self::opts("build_info", "The version that runs; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let gauge = Self::must(IntGauge::with_opts(opts));
        gauge.set(1);
        self.add(gauge);
    }
}
