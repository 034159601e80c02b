//! What the process takes, read from `/proc` when the metrics are read.
//!
//! The names are those of every Prometheus client. Without `/proc`, these metrics are left out. The start of the
//! process is the moment at which it began to count: all counters began at zero then, and `/proc/stat`, which sandboxes
//! hide, is not needed.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::process::{Resource, getrlimit};

use crate::clock::unix_ms;

/// Clock ticks of `/proc/self/stat` a second: what Linux shows to programs on every architecture in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this process takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: f64,
    /// Virtual memory.
    pub virtual_bytes: f64,
    /// File descriptors.
    pub open_fds: f64,
}

/// Reads `/proc` on each collection.
pub(super) struct ProcessCollector {
    descs: Vec<Desc>,
    started_ms: u64,
}

const CPU: (&str, &str) = (
    "process_cpu_seconds_total",
    "User and system CPU time spent.",
);
const RESIDENT: (&str, &str) = ("process_resident_memory_bytes", "Resident memory.");
const VIRTUAL: (&str, &str) = ("process_virtual_memory_bytes", "Virtual memory.");
const FDS: (&str, &str) = ("process_open_fds", "Open file descriptors.");
const MAX_FDS: (&str, &str) = (
    "process_max_fds",
    "File descriptors that may be open; absent where nothing limits them.",
);
const START: (&str, &str) = (
    "process_start_time_seconds",
    "When the process started, in Unix seconds.",
);

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let describe = |(name, help): &(&str, &str)| {
            Desc::new(
                (*name).into(),
                (*help).into(),
                Vec::new(),
                Default::default(),
            )
            .ok()
        };
        ProcessCollector {
            descs: [CPU, RESIDENT, VIRTUAL, FDS, MAX_FDS, START]
                .iter()
                .filter_map(describe)
                .collect(),
            started_ms: unix_ms(),
        }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = gauge(START, self.started_ms as f64 / 1e3);
        if let Some(max) = getrlimit(Resource::Nofile).current {
            families.extend(gauge(MAX_FDS, max as f64));
        }
        let Some(reading) = usage() else {
            return families;
        };
        if let Ok(counter) = Counter::with_opts(Opts::new(CPU.0, CPU.1)) {
            counter.inc_by(reading.cpu_seconds);
            families.extend(counter.collect());
        }
        families.extend(gauge(RESIDENT, reading.resident_bytes));
        families.extend(gauge(VIRTUAL, reading.virtual_bytes));
        families.extend(gauge(FDS, reading.open_fds));
        families
    }
}

fn gauge((name, help): (&str, &str), value: f64) -> Vec<MetricFamily> {
    let Ok(gauge) = Gauge::with_opts(Opts::new(name, help)) else {
        return Vec::new();
    };
    gauge.set(value);
    gauge.collect()
}

/// What `/proc` says of this process now, if there is a `/proc`.
pub fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some(Usage {
        cpu_seconds: cpu_seconds(&stat)?,
        resident_bytes: kilobytes(&status, "VmRSS:")? * 1024.0,
        virtual_bytes: kilobytes(&status, "VmSize:")? * 1024.0,
        // The directory handle that lists the descriptors is one of them.
        open_fds: fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1) as f64,
    })
}

/// User and system time of a `/proc/PID/stat` line. The command's name may hold blanks and brackets, so fields
/// count from its last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// The value of a line such as `VmRSS:     1234 kB`.
fn kilobytes(status: &str, label: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_name_with_blanks_and_brackets() {
        let stat = "7 (a (b) c) S 1 1 1 0 -1 0 9 9 9 9 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (short) S 1"), None);
    }

    #[test]
    fn memory_is_read_by_its_label() {
        let status = "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(512.0));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
    }
}
