//! Counters and health of a coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::detect::{Finding, NatInfo};

/// The counters since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Peers of this process that can be asked.
    pub registered: usize,
    /// Existing connections.
    pub active: u64,
    /// Connections that were asked for, by this end or by others.
    pub total: u64,
    /// Of these, the connections that were made.
    pub successful: u64,
    /// Of these, the connections that failed.
    pub failed: u64,
    /// The share of successful ones among those that are decided, 0 to 1.
    pub success_rate: f64,
    /// The share of failed ones among those that are decided, 0 to 1.
    pub failure_rate: f64,
    /// The time since the coordinator was built.
    #[serde(rename = "uptimeSeconds", serialize_with = "seconds")]
    pub uptime: Duration,
}

fn seconds<S: serde::Serializer>(uptime: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(uptime.as_secs())
}

#[derive(Debug)]
pub(super) struct Counters {
    began: Instant,
    active: AtomicU64,
    total: AtomicU64,
    successful: AtomicU64,
    failed: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            active: AtomicU64::new(0),
            total: AtomicU64::new(0),
            successful: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

/// A connection that counts as active while this exists.
#[derive(Debug)]
pub(super) struct Active(Arc<Counters>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

impl Counters {
    pub(super) fn begin(&self) {
        self.total.fetch_add(1, Relaxed);
    }

    pub(super) fn succeed(self: &Arc<Self>) -> Active {
        self.successful.fetch_add(1, Relaxed);
        self.active.fetch_add(1, Relaxed);
        Active(Arc::clone(self))
    }

    pub(super) fn fail(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn stats(&self, registered: usize) -> Stats {
        let (successful, failed) = (self.successful.load(Relaxed), self.failed.load(Relaxed));
        let decided = successful + failed;
        // Below 2^52, so exact.
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of connections are far below 2^52"
        )]
        let rate = |part: u64| {
            if decided == 0 {
                0.0
            } else {
                part as f64 / decided as f64
            }
        };
        Stats {
            registered,
            active: self.active.load(Relaxed),
            total: self.total.load(Relaxed),
            successful,
            failed,
            success_rate: rate(successful),
            failure_rate: rate(failed),
            uptime: self.began.elapsed(),
        }
    }
}

/// The health of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether connections can be made.
    pub is_healthy: bool,
    /// The problems, in words; empty when there is none.
    pub problems: Vec<String>,
}

impl Health {
    pub(super) fn of(
        found: Result<NatInfo, super::Error>,
        carried: usize,
        registered: usize,
        is_shut_down: bool,
    ) -> Self {
        let mut problems = Vec::new();
        match found {
            Ok(info) => match info.finding {
                Finding::Unknown { reason } => problems.push(reason),
                Finding::Determined { .. } | Finding::Undetermined { .. } | Finding::UdpBlocked => {
                }
            },
            // It says the same below.
            Err(super::Error::ShutDown) => {}
            Err(error) => problems.push(error.to_string()),
        }
        if carried < registered {
            let lost = registered - carried;
            problems.push(format!("{lost} of {registered} peers lost their hub"));
        }
        if is_shut_down {
            problems.push("it has been shut down".into());
        }
        Self {
            is_healthy: problems.is_empty(),
            problems,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_what_is_decided_and_a_dropped_connection_is_not_active() {
        let counters = Arc::new(Counters::default());
        assert_eq!(counters.stats(0).success_rate, 0.0);
        for _ in 0..5 {
            counters.begin();
        }
        let active: Vec<Active> = (0..3).map(|_| counters.succeed()).collect();
        counters.fail();
        let stats = counters.stats(2);
        assert_eq!((stats.registered, stats.active, stats.total), (2, 3, 5));
        assert_eq!((stats.successful, stats.failed), (3, 1));
        assert_eq!((stats.success_rate, stats.failure_rate), (0.75, 0.25));
        drop(active);
        assert_eq!(counters.stats(2).active, 0);
    }
}
