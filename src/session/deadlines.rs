//! The deadlines of a peer: pure arithmetic on instants, without a timer of its own.
//!
//! The conversation reports events, and asks for the next time to check and the step that is due. The times are
//! settings, except for the constants here.

use std::time::Duration;

use hubmesh_core::ids::ClaimNo;
use tokio::time::Instant;

use crate::peers::reason::CloseReason;

/// The longest time for which a client may leave messages unread; never longer than its silence may last.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the mesh may take to decide on a join. It answers in about two seconds when the id is contested; only a
/// fault of ours takes longer.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

/// A silent peer is pinged this often within the time after which it is closed.
const PINGS_PER_SILENCE: u32 = 3;
/// It is pinged at least this often: proxies end connections that are idle for 30 to 60 s, and clients may be silent
/// for hours.
const PING_EVERY: Duration = Duration::from_secs(25);

/// Bytes of a message that are read this long after a probe was asked had not arrived before the probe.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// A step that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping.
    Ping,
    /// The question to the mesh about the join that waited for its turn.
    Join,
    /// The end of a pause in reading.
    Resume,
    /// The report that the peer is alive: it reads the bytes before its pong.
    ProbeMet(PendingProbe),
    /// The report that the peer did not answer a probe.
    ProbeFailed(PendingProbe),
    /// The end of the connection.
    Close(CloseReason),
}

/// A question whether the peer is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingProbe {
    pub(super) claim: ClaimNo,
    pub(super) token: u64,
    pub(super) until: Instant,
}

/// The meaning of a pong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Echo {
    /// It answers a ping of the hub, and so these probes.
    Answer(Vec<PendingProbe>),
    /// It answers no open ping.
    Unasked,
}

/// The event that the hub waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// An announcement of the peer, or another activity.
    Announcement,
    /// The peer's turn to join, which begins at this time.
    Turn,
    /// The decision of the mesh on a join.
    Mesh,
    /// Nothing.
    Nothing,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    announce_timeout: Duration,
    silence: Duration,
    waiting: (Awaited, Instant),
    heard: Instant,
    pinged: Instant,
    /// The numbers of the last ping that was sent, and of the last one that was answered.
    pings: (u64, u64),
    stalled: Option<Instant>,
    /// Boxed, since few connections have these deadlines.
    rare: Option<Box<Rare>>,
    /// The probes that wait for the pong to their ping, or to a later one: one for a claim.
    probes: Vec<OpenProbe>,
}

/// Deadlines that few connections have.
#[derive(Debug, Default)]
struct Rare {
    /// When the client's token is over.
    expires: Option<Instant>,
    /// The end of the time in which nothing is read from a client that was too fast.
    paused: Option<Instant>,
    /// The length of a message that was let through before its cost was paid; nothing is read until it is paid.
    owed: Option<u32>,
}

/// A probe that is open.
#[derive(Debug, Clone, Copy)]
struct OpenProbe {
    probe: PendingProbe,
    /// The number of its ping.
    ping: u64,
    asked: Instant,
    /// The peer reads the bytes before its pong.
    met: bool,
}

impl OpenProbe {
    fn due(&self) -> (Instant, Due) {
        match self.met {
            true => (self.asked, Due::ProbeMet(self.probe)),
            false => (self.probe.until, Due::ProbeFailed(self.probe)),
        }
    }
}

impl Deadlines {
    pub(super) fn new(announce_timeout: Duration, silence: Duration, now: Instant) -> Self {
        Deadlines {
            announce_timeout,
            silence,
            waiting: (Awaited::Announcement, now),
            heard: now,
            pinged: now,
            pings: (0, 0),
            stalled: None,
            rare: None,
            probes: Vec::new(),
        }
    }

    /// The client's token expires then, and the connection ends with it.
    pub(super) fn expire(&mut self, at: Option<Instant>) {
        if at.is_some() {
            self.rare.get_or_insert_default().expires = at;
        }
    }

    /// Nothing is read until then, so the client does not count as silent meanwhile.
    pub(super) fn pause(&mut self, until: Instant) {
        self.rare.get_or_insert_default().paused = Some(until);
    }

    /// Pauses reading for a message of this length, which was let through before its cost was paid.
    pub(super) fn owe(&mut self, until: Instant, bytes: usize) {
        self.pause(until);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.rare.get_or_insert_default().owed = Some(bytes);
    }

    /// The length of the message whose cost has to be paid now.
    pub(super) fn take_owed(&mut self) -> Option<usize> {
        let owed = self.rare.as_mut()?.owed.take()?;
        Some(owed as usize)
    }

    /// Whether nothing is read for now.
    pub(super) fn is_paused(&self) -> bool {
        self.paused().is_some()
    }

    fn paused(&self) -> Option<Instant> {
        self.rare.as_ref()?.paused
    }

    /// The hub reads again from now on.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(rare) = &mut self.rare {
            rare.paused = None;
        }
        // The client may have sent more than the hub has read.
        self.heard = now;
    }

    /// From now on the hub waits for this event; for a turn, until its time.
    pub(super) fn wait(&mut self, what: Awaited, now: Instant) {
        if self.waiting.0 == Awaited::Mesh {
            // The client may have sent more than the hub has read.
            self.heard = now;
        }
        self.waiting = (what, now);
    }

    /// Bytes were read. They answer no probe, because they may have been on their way for long. The exception: bytes
    /// that arrive [`UNDER_WAY`] after the probe was asked, `amid` a message, because the pong follows only after that
    /// message.
    pub(super) fn hear(&mut self, amid: bool, now: Instant) {
        self.heard = now;
        for open in &mut self.probes {
            open.met |= amid && open.asked + UNDER_WAY <= now;
        }
    }

    /// The socket accepts bytes again: the peer has acknowledged earlier bytes, and the ping is behind these.
    fn moved(&mut self, now: Instant) {
        self.heard = now;
        for open in &mut self.probes {
            open.met = true;
        }
    }

    /// Returns the number of a ping that has to be sent now; its pong has the same number.
    pub(super) fn ping(&mut self, now: Instant) -> u64 {
        self.pinged = now;
        self.pings.0 += 1;
        self.pings.0
    }

    /// Opens a probe of the mesh; returns the number of the ping that has to be sent. One probe is open at a time for a
    /// claim: the mesh asks again when it no longer waits for the first answer.
    pub(super) fn probe(&mut self, probe: PendingProbe, now: Instant) -> u64 {
        let ping = self.ping(now);
        self.probes.retain(|open| open.probe.claim != probe.claim);
        self.probes.push(OpenProbe {
            probe,
            ping,
            asked: now,
            met: false,
        });
        ping
    }

    /// The end of the open probe that ends first.
    pub(super) fn probed_until(&self) -> Option<Instant> {
        self.probes.iter().map(|open| open.probe.until).min()
    }

    /// Handles a pong with this number, if it has one. A peer need only answer the latest ping that it got (RFC 6455,
    /// 5.5.3), so a pong answers the earlier pings too, and each ping is answered once.
    pub(super) fn pong(&mut self, number: Option<u64>) -> Echo {
        let (sent, answered) = self.pings;
        let Some(number) = number.filter(|number| (answered + 1..=sent).contains(number)) else {
            return Echo::Unasked;
        };
        self.pings.1 = number;
        let open = self.probes.extract_if(.., |open| open.ping <= number);
        Echo::Answer(open.map(|open| open.probe).collect())
    }

    /// The socket accepts no more bytes; `progress` if it accepted some just before, after a time in which it accepted
    /// none.
    pub(super) fn stall(&mut self, progress: bool, now: Instant) {
        if progress && self.stalled.is_some() {
            self.moved(now);
        }
        if progress || self.stalled.is_none() {
            self.stalled = Some(now);
        }
    }

    /// The socket has accepted all bytes.
    pub(super) fn flow(&mut self) {
        if self.stalled.take().is_some() {
            self.moved(Instant::now());
        }
    }

    fn ping_every(&self) -> Duration {
        PING_EVERY.min(self.silence / PINGS_PER_SILENCE)
    }

    /// The time of the next check, at the latest.
    pub(super) fn next(&self) -> Instant {
        self.all()
            .into_iter()
            .flatten()
            .map(|(at, _)| at)
            .min()
            .unwrap_or(self.heard)
    }

    /// The step that is due now; one that ends the connection comes first.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let (_, due) = self
            .all()
            .into_iter()
            .flatten()
            .find(|(at, _)| *at <= now)?;
        if let Due::ProbeFailed(probe) | Due::ProbeMet(probe) = due {
            self.probes.retain(|open| open.probe != probe);
        }
        Some(due)
    }

    fn all(&self) -> [Option<(Instant, Due)>; 7] {
        let (waiting, since) = self.waiting;
        let reading = waiting != Awaited::Mesh && !self.is_paused();
        let wait = match waiting {
            Awaited::Announcement => Some((
                since + self.announce_timeout,
                Due::Close(CloseReason::AnnounceTimeout),
            )),
            Awaited::Turn => Some((since, Due::Join)),
            Awaited::Mesh => Some((since + JOIN_PATIENCE, Due::Close(CloseReason::Internal))),
            Awaited::Nothing => None,
        };
        let stall = self.stalled.map(|since| {
            let patience = WRITE_PATIENCE.min(self.silence);
            (since + patience, Due::Close(CloseReason::WriteStalled))
        });
        let expired = |at| (at, Due::Close(CloseReason::TokenExpired));
        let silent = (self.heard + self.silence, Due::Close(CloseReason::Silent));
        let quiet_since = self.heard.max(self.pinged);
        let ping = (quiet_since + self.ping_every(), Due::Ping);
        [
            wait,
            stall,
            self.rare
                .as_ref()
                .and_then(|rare| rare.expires)
                .map(expired),
            self.paused().map(|until| (until, Due::Resume)),
            reading.then_some(silent),
            self.probes
                .iter()
                .map(OpenProbe::due)
                .min_by_key(|(at, _)| *at),
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
        deadlines.hear(false, second(start, 9));
        assert_eq!(deadlines.next(), second(start, 10));
        let due = deadlines.due(second(start, 10));
        assert_eq!(due, Some(Due::Close(CloseReason::AnnounceTimeout)));
    }

    #[test]
    fn a_silent_peer_is_pinged_twice_and_then_closed() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        deadlines.wait(Awaited::Nothing, start);
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
        deadlines.wait(Awaited::Mesh, start);
        assert_eq!(deadlines.due(second(start, 19)), None);
        deadlines.wait(Awaited::Nothing, second(start, 19));
        assert_eq!(deadlines.next(), second(start, 20));
    }

    #[test]
    fn whoever_has_a_token_that_is_over_is_closed_however_alive_it_is() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        deadlines.wait(Awaited::Mesh, start);
        deadlines.expire(Some(second(start, 9)));
        assert_eq!(deadlines.next(), second(start, 9));
        deadlines.hear(false, second(start, 8));
        let due = deadlines.due(second(start, 9));
        assert_eq!(due, Some(Due::Close(CloseReason::TokenExpired)));
    }

    #[test]
    fn whoever_is_not_read_for_a_while_is_not_silent() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, Duration::from_secs(3), start);
        deadlines.wait(Awaited::Nothing, start);
        deadlines.pause(second(start, 9));
        assert_eq!(deadlines.due(second(start, 8)), None);
        assert_eq!(deadlines.due(second(start, 9)), Some(Due::Resume));
        deadlines.resume(second(start, 9));
        assert!(!deadlines.is_paused());
        assert_eq!(deadlines.next(), second(start, 10), "a ping");
    }

    fn probe(start: Instant) -> PendingProbe {
        PendingProbe {
            claim: ClaimNo(1),
            token: 7,
            until: second(start, 2),
        }
    }

    #[test]
    fn a_probe_is_answered_by_the_pong_to_its_ping_or_to_a_later_one_and_by_nothing_else() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        let before = deadlines.ping(start);
        let asked = deadlines.probe(probe(start), start);
        deadlines.hear(false, second(start, 1));
        assert_eq!(deadlines.pong(Some(before)), Echo::Answer(Vec::new()));
        for unasked in [None, Some(0), Some(before), Some(asked + 1), Some(u64::MAX)] {
            assert_eq!(deadlines.pong(unasked), Echo::Unasked, "{unasked:?}");
        }
        let later = deadlines.ping(start);
        let answer = Echo::Answer(vec![probe(start)]);
        assert_eq!(deadlines.pong(Some(later)), answer);
        assert_eq!(deadlines.pong(Some(later)), Echo::Unasked);
        assert_eq!(deadlines.pong(Some(asked)), Echo::Unasked);
    }

    #[test]
    fn a_probe_that_nothing_answers_fails_once() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        deadlines.probe(probe(start), start);
        deadlines.hear(false, second(start, 1));
        let failed = Due::ProbeFailed(probe(start));
        assert_eq!(deadlines.due(second(start, 2)), Some(failed));
        assert_eq!(deadlines.due(second(start, 2)), None);
    }

    #[test]
    fn what_comes_amid_a_message_answers_a_probe_that_was_asked_before_it_set_out() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        deadlines.probe(probe(start), start);
        deadlines.hear(true, start + UNDER_WAY / 2);
        assert_eq!(deadlines.due(second(start, 1)), None);
        deadlines.hear(true, start + UNDER_WAY);
        let met = Due::ProbeMet(probe(start));
        assert_eq!(deadlines.due(start + UNDER_WAY), Some(met));
        assert_eq!(deadlines.due(second(start, 2)), None);
    }

    #[test]
    fn a_socket_that_takes_more_answers_a_probe_and_one_that_takes_no_more_does_not() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(ANNOUNCE, SILENCE, start);
        deadlines.probe(probe(start), start);
        // The kernel keeps what the socket takes at first.
        deadlines.stall(true, start);
        deadlines.stall(false, second(start, 1));
        assert_eq!(deadlines.due(second(start, 1)), None);
        deadlines.stall(true, second(start, 1));
        let met = Due::ProbeMet(probe(start));
        assert_eq!(deadlines.due(second(start, 1)), Some(met));
        deadlines.probe(probe(start), start);
        deadlines.flow();
        assert_eq!(deadlines.due(second(start, 1)), Some(met));
    }
}
