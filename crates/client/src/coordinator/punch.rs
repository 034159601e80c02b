//! One round of hole punching at one end: whom to send what and when, and which way wins. Pure.
//!
//! Both ends send hellos to every place where the other may be, and answer those that come, also from places that nobody
//! named: behind a NAT that is how a peer is found. The end that asked picks the first way on which its own hello was heard,
//! and nominates it until the other agrees. So both end with the same way, or with none. Only sealed packets count, and an
//! answer only with the challenge that was sent to the place that it comes from.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::packet::{self, Kind, LENGTH, Seal};
use super::plan::Side;

/// How often a nomination is repeated.
const REPEAT: Duration = Duration::from_millis(50);
/// How long a way is nominated before others are looked for again.
const PATIENCE: Duration = Duration::from_millis(1000);
/// Places that were not named and are answered all the same.
const MOST_LEARNT: usize = 16;
/// Datagrams of the other end that may come before the end is known.
const MOST_EARLY: usize = 64;
/// How often the last word is said.
const LAST_WORDS: usize = 3;

/// A way: by which of the own sockets, and to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path {
    pub(super) socket: usize,
    pub(super) remote: SocketAddr,
}

impl Path {
    fn bytes(self) -> Vec<u8> {
        format!("{} {}", self.socket, self.remote).into_bytes()
    }
}

/// How fast places are tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two packets.
    pub(super) gap: Duration,
    /// Between the beginnings of two rounds through all places.
    pub(super) again: Duration,
    /// Hellos in all.
    pub(super) most: usize,
}

impl Pace {
    /// For a handful of places: 20 times a second each.
    pub(super) const FEW: Self = Self {
        gap: Duration::from_millis(3),
        again: Duration::from_millis(50),
        most: 4000,
    };
    /// For birthday probing: 500 a second, 1024 in all, as a NAT can bear it.
    pub(super) const MANY: Self = Self {
        gap: Duration::from_millis(2),
        again: Duration::from_secs(1),
        most: 1024,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Looking,
    Nominating { path: Path, since: Instant },
    Agreed(Path),
    Settled(Path),
}

/// The round.
#[derive(Debug)]
pub(super) struct Punch {
    side: Side,
    seal: Seal,
    pace: Pace,
    paths: Vec<Path>,
    named: usize,
    next: usize,
    sent: usize,
    round_began: Option<Instant>,
    hello_at: Instant,
    nominate_at: Instant,
    answers: VecDeque<(Path, [u8; LENGTH])>,
    state: State,
    early: VecDeque<Vec<u8>>,
}

impl Punch {
    pub(super) fn new(side: Side, seal: Seal, pace: Pace, paths: Vec<Path>, now: Instant) -> Self {
        Self {
            side,
            seal,
            pace,
            named: paths.len(),
            paths,
            next: 0,
            sent: 0,
            round_began: None,
            hello_at: now,
            nominate_at: now,
            answers: VecDeque::new(),
            state: State::Looking,
            early: VecDeque::new(),
        }
    }

    /// The way that won.
    pub(super) fn won(&self) -> Option<Path> {
        match self.state {
            State::Settled(path) if self.answers.is_empty() => Some(path),
            _ => None,
        }
    }

    /// The other end said by way of the hub that it is settled.
    pub(super) fn settle(&mut self) {
        if let State::Agreed(path) = self.state {
            self.state = State::Settled(path);
        }
    }

    /// Datagrams of the other end that came before it was known to be settled.
    pub(super) fn take_early(&mut self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut self.early)
    }

    /// Hellos that were sent.
    pub(super) fn hellos(&self) -> usize {
        self.sent
    }

    /// Takes what came in.
    pub(super) fn handle(&mut self, path: Path, bytes: &[u8], now: Instant) {
        let Some(packet) = self.seal.read(bytes) else {
            self.keep_early(path, bytes);
            return;
        };
        let own = packet.challenge == self.seal.challenge(&path.bytes());
        match packet.kind {
            Kind::Hello => {
                self.learn(path);
                self.answer(path, Kind::Heard, packet.challenge);
            }
            Kind::Heard if own => self.heard(path, now),
            Kind::Nominate if self.side == Side::Asked => {
                if !matches!(self.state, State::Settled(_)) {
                    self.state = State::Agreed(path);
                }
                self.answer(path, Kind::Agreed, packet.challenge);
            }
            Kind::Agreed if own => self.agreed(path),
            Kind::Settled if self.state == State::Agreed(path) => {
                self.state = State::Settled(path);
            }
            _ => {}
        }
    }

    /// Data may overtake the word that it is allowed to come.
    fn keep_early(&mut self, path: Path, bytes: &[u8]) {
        let expected = matches!(self.state, State::Agreed(agreed) if agreed == path);
        if expected && !packet::is_packet(bytes) && self.early.len() < MOST_EARLY {
            self.early.push_back(bytes.to_vec());
        }
    }

    fn learn(&mut self, path: Path) {
        if !self.paths.contains(&path) && self.paths.len() < self.named + MOST_LEARNT {
            self.paths.push(path);
            let hello = self.hello(path);
            self.answers.push_back((path, hello));
        }
    }

    fn hello(&self, path: Path) -> [u8; LENGTH] {
        let challenge = self.seal.challenge(&path.bytes());
        self.seal.write(Kind::Hello, challenge)
    }

    fn answer(&mut self, path: Path, kind: Kind, challenge: [u8; 8]) {
        self.answers
            .push_back((path, self.seal.write(kind, challenge)));
    }

    fn heard(&mut self, path: Path, now: Instant) {
        if self.side == Side::Asking && self.state == State::Looking {
            self.state = State::Nominating { path, since: now };
            self.nominate_at = now;
        }
    }

    fn agreed(&mut self, path: Path) {
        if matches!(self.state, State::Nominating { path: chosen, .. } if chosen == path) {
            self.state = State::Settled(path);
            for _ in 0..LAST_WORDS {
                self.answer(path, Kind::Settled, [0; 8]);
            }
        }
    }

    /// The next packet to send, if one is due.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<(Path, [u8; LENGTH])> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        match self.state {
            State::Nominating { since, .. } if now >= since + PATIENCE => {
                self.state = State::Looking;
                self.poll_hello(now)
            }
            State::Nominating { path, .. } if now >= self.nominate_at => {
                self.nominate_at = now + REPEAT;
                let challenge = self.seal.challenge(&path.bytes());
                Some((path, self.seal.write(Kind::Nominate, challenge)))
            }
            State::Looking => self.poll_hello(now),
            _ => None,
        }
    }

    fn poll_hello(&mut self, now: Instant) -> Option<(Path, [u8; LENGTH])> {
        if now < self.hello_at || self.sent >= self.pace.most {
            return None;
        }
        let path = *self.paths.get(self.next)?;
        let began = *self.round_began.get_or_insert(now);
        self.next += 1;
        self.sent += 1;
        self.hello_at = now + self.pace.gap;
        if self.next >= self.paths.len() {
            self.next = 0;
            self.round_began = None;
            self.hello_at = self.hello_at.max(began + self.pace.again);
        }
        Some((path, self.hello(path)))
    }

    /// When [`Self::poll_transmit`] may have something again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Looking if self.paths.is_empty() || self.sent >= self.pace.most => None,
            State::Looking => Some(self.hello_at),
            State::Nominating { since, .. } => Some(self.nominate_at.min(since + PATIENCE)),
            State::Agreed(_) | State::Settled(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
