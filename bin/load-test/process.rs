//! What a server costs: CPU time and resident memory of processes, read from `/proc`.
//!
//! Owns the reading of `/proc/PID/stat` and `/proc/PID/smaps_rollup` (`statm` where that is not readable). CPU time has
//! the kernel's resolution of one tick, mostly 10 ms, so a window should hold a second of it.

use std::fs;
use std::io;
use std::time::Duration;

use thiserror::Error;

/// The processes of the servers under load.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    pids: Vec<u32>,
}

#[derive(Debug, Error)]
#[error("cannot read what process {pid} uses: {reason}")]
pub struct Unreadable {
    pid: u32,
    reason: io::Error,
}

/// What each process has used up to a moment, in the order of the pids.
#[derive(Clone, Debug, Default)]
pub struct Usage(Vec<ProcessUsage>);

#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessUsage {
    pub pid: u32,
    pub cpu: Duration,
    /// Resident bytes.
    pub resident: u64,
}

impl Watched {
    pub fn new(pids: Vec<u32>) -> Self {
        Self { pids }
    }

    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    pub fn sample(&self) -> Result<Usage, Unreadable> {
        let usages = self
            .pids
            .iter()
            .map(|pid| sample(*pid).map_err(|reason| Unreadable { pid: *pid, reason }));
        usages.collect::<Result<_, _>>().map(Usage)
    }
}

impl Usage {
    /// What was used from `before` to this moment: CPU time as a difference, memory as it is now.
    pub fn since(&self, before: &Self) -> Vec<ProcessUsage> {
        let differences = self
            .0
            .iter()
            .zip(&before.0)
            .map(|(now, then)| ProcessUsage {
                cpu: now.cpu.saturating_sub(then.cpu),
                ..*now
            });
        differences.collect()
    }

    pub fn resident(&self) -> u64 {
        self.0.iter().map(|usage| usage.resident).sum()
    }
}

fn sample(pid: u32) -> io::Result<ProcessUsage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| io::Error::other("an odd /proc/PID/stat"))?;
    let nanos = ticks.saturating_mul(1_000_000_000) / rustix::param::clock_ticks_per_second();
    Ok(ProcessUsage {
        pid,
        cpu: Duration::from_nanos(nanos),
        resident: resident(pid)?,
    })
}

/// User and system time of `/proc/PID/stat`: fields 14 and 15, counted after the name, which may hold spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    if let Some(kib) = rss_of_rollup(&rollup) {
        return Ok(kib * 1024);
    }
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .ok_or_else(|| io::Error::other("an odd /proc/PID/statm"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

fn rss_of_rollup(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_name_with_spaces_and_brackets() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 700 55 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(755));
        assert_eq!(cpu_ticks("nonsense"), None);
    }

    #[test]
    fn this_process_uses_memory_and_an_absent_one_is_an_error() {
        let own = Watched::new(vec![std::process::id()]).sample().unwrap();
        assert!(own.resident() > 0);
        assert!(Watched::new(vec![u32::MAX]).sample().is_err());
    }

    #[test]
    fn the_resident_size_is_found_in_a_rollup() {
        assert_eq!(
            rss_of_rollup("55 [rollup]\nRss:      1234 kB\nPss: 1 kB\n"),
            Some(1234)
        );
    }
}
