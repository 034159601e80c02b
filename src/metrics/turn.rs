//! What STUN and TURN count, as Prometheus shows it.
//!
//! The server counts on a thread of its own; its numbers are copied here whenever the metrics are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hubmesh_turn::{Code, Counters, Drop, End, Method, Traffic};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Maker;

/// The series of one server.
pub(super) struct TurnCollector {
    counters: Arc<Counters>,
    serving: Arc<AtomicBool>,
    up: IntGauge,
    requests: IntCounterVec,
    errors: IntCounterVec,
    allocations: IntCounter,
    ends: IntCounterVec,
    open: IntGauge,
    most: IntGauge,
    packets: IntCounterVec,
    bytes: IntCounterVec,
    drops: IntCounterVec,
    ignored: IntCounter,
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Binding => "binding",
        Method::Allocate => "allocate",
        Method::Refresh => "refresh",
        Method::CreatePermission => "create-permission",
        Method::ChannelBind => "channel-bind",
    }
}

fn end(end: End) -> &'static str {
    match end {
        End::Deleted => "deleted",
        End::Expired => "expired",
        End::TooOld => "too-old",
        End::Disconnected => "disconnected",
        End::NoPort => "no-port",
        End::Drained => "drained",
    }
}

fn drop_reason(why: Drop) -> &'static str {
    match why {
        Drop::NoAllocation => "no-allocation",
        Drop::NoPermission => "no-permission",
        Drop::Forbidden => "forbidden",
        Drop::OverRate => "over-rate",
        Drop::TooLong => "too-long",
        Drop::Unsent => "unsent",
    }
}

fn vec(name: &str, help: &str, label: &str) -> IntCounterVec {
    Maker::must(IntCounterVec::new(Maker::opts(name, help), &[label]))
}

fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl TurnCollector {
    pub(super) fn new(counters: Arc<Counters>, most: usize, serving: Arc<AtomicBool>) -> Self {
        let counter = |name, help| Maker::must(IntCounter::with_opts(Maker::opts(name, help)));
        let gauge = |name, help| Maker::must(IntGauge::with_opts(Maker::opts(name, help)));
        let limit = gauge(
            "turn_allocations_limit",
            "Relays allowed at once (TURN_MAX_ALLOCATIONS).",
        );
        limit.set(i64::try_from(most).unwrap_or(i64::MAX));
        TurnCollector {
            counters,
            serving,
            up: gauge(
                "turn_up",
                "1 while this hub's own STUN and TURN are served, 0 once they have failed.",
            ),
            requests: vec(
                "turn_requests_total",
                "Requests of STUN and TURN, by method.",
                "method",
            ),
            errors: vec("turn_errors_total", "Requests refused, by code.", "code"),
            allocations: counter("turn_allocations_total", "Relays that began."),
            ends: vec(
                "turn_allocations_ended_total",
                "Relays that ended, by reason.",
                "reason",
            ),
            open: gauge("turn_allocations_open", "Relays that there are."),
            most: limit,
            packets: vec(
                "turn_relayed_packets_total",
                "Packets relayed, by whom to.",
                "to",
            ),
            bytes: vec(
                "turn_relayed_bytes_total",
                "Bytes of data relayed, by whom to.",
                "to",
            ),
            drops: vec(
                "turn_dropped_packets_total",
                "Packets not relayed, by reason.",
                "reason",
            ),
            ignored: counter(
                "turn_ignored_packets_total",
                "Packets that are neither STUN nor TURN, or ask for no answer.",
            ),
        }
    }

    fn refresh(&self) {
        let counters = &self.counters;
        self.up.set(i64::from(self.serving.load(Ordering::Relaxed)));
        let set = |vec: &IntCounterVec, label: &str, total| {
            catch_up(&vec.with_label_values(&[label]), total);
        };
        for one in Method::ALL {
            set(&self.requests, method(one), counters.of(one).total());
        }
        for one in Code::ALL {
            set(
                &self.errors,
                &one.number().to_string(),
                counters.of(one).total(),
            );
        }
        for one in End::ALL {
            set(&self.ends, end(one), counters.of(one).total());
        }
        for one in Drop::ALL {
            set(&self.drops, drop_reason(one), counters.of(one).total());
        }
        let traffic = |label, traffic: &Traffic| {
            set(&self.packets, label, traffic.packets.total());
            set(&self.bytes, label, traffic.bytes.total());
        };
        traffic("peer", &counters.to_peers);
        traffic("client", &counters.to_clients);
        catch_up(&self.allocations, counters.allocations.total());
        catch_up(&self.ignored, counters.ignored.total());
        self.open
            .set(i64::try_from(counters.open()).unwrap_or(i64::MAX));
    }

    fn all(&self) -> [&dyn Collector; 11] {
        [
            &self.up,
            &self.requests,
            &self.errors,
            &self.allocations,
            &self.ends,
            &self.open,
            &self.most,
            &self.packets,
            &self.bytes,
            &self.drops,
            &self.ignored,
        ]
    }
}

impl Collector for TurnCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.all()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}
