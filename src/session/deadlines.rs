//! When a peer must have done something: pure arithmetic on instants, without a timer of its own.
//!
//! The conversation reports what happens and asks when to look again and what is due. Times are those of the
//! settings, but for the two constants here.

use std::time::Duration;

use tokio::time::Instant;

use super::reason::CloseReason;
use crate::mesh::core::ids::ClaimNo;

/// How long a client may leave what waits for it unread, at most; never longer than its silence may last.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the mesh may take over a join. It answers in about two seconds when the id is contested; only a
/// fault of ours takes longer.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

/// A silent peer is pinged this often within the time after which it is closed.
const PINGS_PER_SILENCE: u32 = 3;
/// And at least this often: proxies end connections that are idle for 30 to 60 s, and clients say nothing for
/// hours.
const PING_EVERY: Duration = Duration::from_secs(25);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping.
    Ping,
    /// To say that the peer gave no sign of life after a probe.
    ProbeFailed(Probe),
    /// The end.
    Close(CloseReason),
}

/// A question whether the peer is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) claim: ClaimNo,
    pub(super) token: u64,
    pub(super) until: Instant,
}

/// What the peer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// To announce itself or be active otherwise.
    Announcement,
    /// Not it, but the mesh.
    Mesh,
    /// Nothing.
    Nothing,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    announce_timeout: Duration,
    silence: Duration,
    waiting: (Waiting, Instant),
    heard: Instant,
    pinged: Instant,
    stalled: Option<Instant>,
    probes: Vec<Probe>,
}

impl Deadlines {
    pub(super) fn new(announce_timeout: Duration, silence: Duration, now: Instant) -> Self {
        Deadlines {
            announce_timeout,
            silence,
            waiting: (Waiting::Announcement, now),
            heard: now,
            pinged: now,
            stalled: None,
            probes: Vec::new(),
        }
    }

    /// From now on it is waited for this.
    pub(super) fn wait(&mut self, what: Waiting, now: Instant) {
        if self.waiting.0 == Waiting::Mesh {
            // Nothing was read meanwhile, so nothing could be heard.
            self.heard = now;
        }
        self.waiting = (what, now);
    }

    /// The peer gave a sign of life: the answer to these probes.
    pub(super) fn hear(&mut self, now: Instant) -> Vec<Probe> {
        self.heard = now;
        std::mem::take(&mut self.probes)
    }

    /// A ping is on its way.
    pub(super) fn ping(&mut self, now: Instant) {
        self.pinged = now;
    }

    /// The mesh asks.
    pub(super) fn probe(&mut self, probe: Probe) {
        self.probes.push(probe);
    }

    /// The socket takes no more; `progress` if it has just taken something.
    pub(super) fn stall(&mut self, progress: bool, now: Instant) {
        if progress || self.stalled.is_none() {
            self.stalled = Some(now);
        }
    }

    /// The socket has taken everything.
    pub(super) fn flow(&mut self) {
        self.stalled = None;
    }

    fn ping_every(&self) -> Duration {
        PING_EVERY.min(self.silence / PINGS_PER_SILENCE)
    }

    /// When to look again, at the latest.
    pub(super) fn next(&self) -> Instant {
        self.all()
            .into_iter()
            .flatten()
            .map(|(at, _)| at)
            .min()
            .unwrap_or(self.heard)
    }

    /// What is due now, the gravest first.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let (_, due) = self
            .all()
            .into_iter()
            .flatten()
            .find(|(at, _)| *at <= now)?;
        if let Due::ProbeFailed(probe) = due {
            self.probes.retain(|open| *open != probe);
        }
        Some(due)
    }

    fn all(&self) -> [Option<(Instant, Due)>; 5] {
        let (waiting, since) = self.waiting;
        let reading = waiting != Waiting::Mesh;
        let wait = match waiting {
            Waiting::Announcement => Some((
                since + self.announce_timeout,
                Due::Close(CloseReason::AnnounceTimeout),
            )),
            Waiting::Mesh => Some((since + JOIN_PATIENCE, Due::Close(CloseReason::Internal))),
            Waiting::Nothing => None,
        };
        let stall = self.stalled.map(|since| {
            let patience = WRITE_PATIENCE.min(self.silence);
            (since + patience, Due::Close(CloseReason::WriteStalled))
        });
        let silent = (self.heard + self.silence, Due::Close(CloseReason::Silent));
        let probe = self.probes.iter().min_by_key(|probe| probe.until);
        let quiet_since = self.heard.max(self.pinged);
        let ping = (quiet_since + self.ping_every(), Due::Ping);
        [
            wait,
            stall,
            reading.then_some(silent),
            probe.map(|probe| (probe.until, Due::ProbeFailed(*probe))),
            reading.then_some(ping),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);
    const ANNOUNCE: Duration = Duration::from_secs(10);

    fn second(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_peer_that_never_announces_itself_is_closed_however_alive_it_is() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        deadlines.hear(second(start, 9));
        assert_eq!(deadlines.next(), second(start, 10));
        let due = deadlines.due(second(start, 10));
        assert_eq!(due, Some(Due::Close(CloseReason::AnnounceTimeout)));
    }

    #[test]
    fn a_silent_peer_is_pinged_twice_and_then_closed() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        deadlines.wait(Waiting::Nothing, start);
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let at = deadlines.next();
            let due = deadlines.due(at).expect("something is due when it said so");
            deadlines.ping(at);
            seen.push(((at - start).as_secs(), due));
        }
        let silent = Due::Close(CloseReason::Silent);
        assert_eq!(seen, [(20, Due::Ping), (40, Due::Ping), (60, silent)]);
    }

    #[test]
    fn the_time_that_the_mesh_takes_does_not_count_as_silence() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, Duration::from_secs(3), start);
        deadlines.wait(Waiting::Mesh, start);
        assert_eq!(deadlines.due(second(start, 19)), None);
        deadlines.wait(Waiting::Nothing, second(start, 19));
        assert_eq!(deadlines.next(), second(start, 20));
    }

    #[test]
    fn a_probe_is_answered_by_any_sign_of_life_or_fails_once() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        let probe = Probe {
            claim: ClaimNo(1),
            token: 7,
            until: second(start, 2),
        };
        deadlines.probe(probe);
        assert_eq!(deadlines.hear(second(start, 1)), [probe]);
        assert_eq!(deadlines.hear(second(start, 1)), []);
        deadlines.probe(probe);
        assert_eq!(
            deadlines.due(second(start, 2)),
            Some(Due::ProbeFailed(probe))
        );
        assert_eq!(deadlines.due(second(start, 2)), None);
    }
}
