//! Acts of fate: crashes, restarts, cuts, stalls, partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::{HostNo, World};
use crate::ids::{ConnNo, Side};
use crate::net::{Conn, InFlight};
use crate::queue::Event;
use crate::sessions::Status;
use hubmesh_core::ids::mix;

impl World {
    /// The one-way latency between two machines, in microseconds.
    pub(crate) fn latency(&self, a: HostNo, b: HostNo) -> u64 {
        let range = &self.config.latency;
        let pair = mix(((a.min(b) as u64) << 32 | a.max(b) as u64) ^ mix(self.config.seed));
        range.start + pair % (range.end - range.start).max(1)
    }

    /// The hub's process ends; its machine closes the sockets.
    pub fn kill(&mut self, no: HostNo) {
        self.end(no, true);
    }

    /// The machine loses power: no other machine is told.
    pub fn power_off(&mut self, no: HostNo) {
        self.end(no, false);
        self.hosts[no].powered = false;
    }

    fn end(&mut self, no: HostNo, told: bool) {
        self.disturb();
        self.mark(6 << 56 | no as u64);
        self.log(|| format!("host {no} ends, the others told: {told}"));
        let Some(boot) = self.boot_of(no) else { return };
        self.promise_rooms(no);
        let Some(running) = self.hosts[no].running.take() else {
            return;
        };
        for session in running.sessions.values() {
            self.bury(*session, Status::Gone);
        }
        let mut ends: Vec<(ConnNo, Side)> = Vec::new();
        for (conn_no, conn) in self.conns.iter_mut() {
            for side in 0..2 {
                if conn.ends[side].owner != boot {
                    continue;
                }
                conn.ends[side].lingers = false;
                if !conn.ends[side].closed {
                    conn.ends[side].closed = true;
                    conn.pipes[side].data_queue.clear();
                    ends.push((conn_no, side));
                }
            }
        }
        for (conn_no, side) in ends.into_iter().filter(|_| told) {
            self.send(conn_no, side, InFlight::Fin);
        }
    }

    /// The hub takes no more clients and tells the others that it will end.
    pub fn drain(&mut self, no: HostNo) {
        self.disturb();
        let now = self.clocks(no);
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.core.drain(now);
            self.settle(no);
        }
    }

    /// The hub says goodbye to the others and stops, as on SIGTERM.
    pub fn stop(&mut self, no: HostNo) {
        let now = self.clocks(no);
        let Some(running) = self.hosts[no].running.as_mut() else {
            return;
        };
        running.core.drain(now);
        running.core.part(now, Duration::from_millis(500));
        // It closes one link after the other: what comes into reach in between is shown to nobody.
        self.carry_all_out(no);
        self.end(no, true);
    }

    /// The process ends and another starts at once, with this error of its wall clock.
    pub fn restart(&mut self, no: HostNo, skew_ms: i64) {
        self.kill(no);
        self.hosts[no].skew_ms = skew_ms;
        self.boot(no);
    }

    /// The connections between two hubs, by number.
    pub(crate) fn conns_between(&self, a: HostNo, b: HostNo) -> Vec<ConnNo> {
        self.conns
            .iter()
            .filter(|(_, conn)| {
                let ends = (conn.ends[0].owner.host, conn.ends[1].owner.host);
                ends == (a, b) || ends == (b, a)
            })
            .map(|(no, _)| no)
            .collect()
    }

    /// Whether there is an open link between the two.
    pub fn linked(&self, a: HostNo, b: HostNo) -> bool {
        self.conns_between(a, b)
            .into_iter()
            .any(|no| self.conns.get(no).is_some_and(Conn::is_open))
    }

    /// Whether one of the two may still leave the other alone, because that was full: for as long as they reach each
    /// other, a hub does so for `retry_full` and half as long again at most.
    pub fn rests_as_full(&self, a: HostNo, b: HostNo) -> bool {
        let most = self.config.core.dial.retry_full * 3 / 2;
        let at = self.full_at.get(&[a.min(b), a.max(b)]);
        at.is_some_and(|at| u128::from(self.now - at) <= most.as_micros())
    }

    /// The connections between the two are reset; both ends notice.
    pub fn cut(&mut self, a: HostNo, b: HostNo) {
        self.disturb();
        self.mark(7 << 56 | (a as u64) << 16 | b as u64);
        self.log(|| format!("cut between {a} and {b}"));
        for conn_no in self.conns_between(a, b) {
            let Some(conn) = self.conns.get_mut(conn_no) else {
                continue;
            };
            for side in 0..2 {
                conn.pipes[side].cut();
                self.queue.push(
                    self.now,
                    Event::Lost {
                        conn: conn_no,
                        side,
                    },
                );
            }
        }
    }

    /// The connections between the two are gone at `a`, and `b` is not told.
    pub fn cut_unnoticed(&mut self, a: HostNo, b: HostNo) {
        self.disturb();
        self.log(|| format!("cut between {a} and {b}, which does not notice"));
        for conn_no in self.conns_between(a, b) {
            let Some(conn) = self.conns.get_mut(conn_no) else {
                continue;
            };
            let side = usize::from(conn.ends[0].owner.host != a);
            conn.pipes[side].cut();
            self.queue.push(
                self.now,
                Event::Lost {
                    conn: conn_no,
                    side,
                },
            );
        }
    }

    /// Data from `from` to `to` is held up; their dials fail.
    pub fn block(&mut self, from: HostNo, to: HostNo) {
        self.disturb();
        self.mark(8 << 56 | (from as u64) << 16 | to as u64);
        self.log(|| format!("blocked from {from} to {to}"));
        self.blocked.insert((from, to));
    }

    /// Data that was held up arrives.
    pub fn unblock(&mut self, from: HostNo, to: HostNo) {
        if !self.blocked.remove(&(from, to)) {
            return;
        }
        self.disturb();
        self.mark(9 << 56 | (from as u64) << 16 | to as u64);
        self.log(|| format!("free from {from} to {to}"));
        self.release(&BTreeSet::from([(from, to)]));
    }

    /// Data that was held up between these arrives, pair by pair.
    fn release(&mut self, freed: &BTreeSet<(HostNo, HostNo)>) {
        let mut arrivals = Vec::new();
        for (conn_no, conn) in self.conns.iter() {
            for side in 0..2 {
                let pair = (conn.ends[side].owner.host, conn.ends[1 - side].owner.host);
                if freed.contains(&pair) {
                    let kept = conn.pipes[side].kept(self.now);
                    arrivals.extend(std::iter::repeat_n((pair, conn_no, side), kept));
                }
            }
        }
        arrivals.sort_unstable();
        for (_, conn, from) in arrivals {
            self.queue.push(self.now, Event::Arrive { conn, from });
        }
    }

    /// No data passes between hubs of different groups; hubs of no group have no limits.
    pub fn partition(&mut self, groups: &[&[HostNo]]) {
        for (at, group) in groups.iter().enumerate() {
            let others = groups[at + 1..].iter().flat_map(|group| group.iter());
            for (a, b) in others.flat_map(|b| group.iter().map(move |a| (*a, *b))) {
                self.block(a, b);
                self.block(b, a);
            }
        }
    }

    /// All data passes again.
    pub fn heal(&mut self) {
        let freed = std::mem::take(&mut self.blocked);
        if !freed.is_empty() {
            self.disturb();
            self.log(|| format!("free everywhere: {} ways", freed.len()));
            self.release(&freed);
        }
    }

    /// Limits the present links between two hubs, in bytes per second and direction.
    pub fn throttle(&mut self, a: HostNo, b: HostNo, bandwidth: Option<u64>) {
        for conn_no in self.conns_between(a, b) {
            if let Some(conn) = self.conns.get_mut(conn_no) {
                for pipe in &mut conn.pipes {
                    pipe.bandwidth = bandwidth;
                }
            }
        }
    }

    /// Bytes that the hub `from` never wrote arrive at `to` on each of their links.
    pub fn inject(&mut self, from: HostNo, to: HostNo, bytes: &Bytes) {
        for conn in self.conns_between(from, to) {
            let dialler = self.conns.get(conn).map(|conn| conn.ends[0].owner.host);
            let side = usize::from(dialler != Some(from));
            let bytes = bytes.clone();
            self.queue.push(
                self.now,
                Event::Garbage {
                    conn,
                    from: side,
                    bytes,
                },
            );
        }
    }
}
