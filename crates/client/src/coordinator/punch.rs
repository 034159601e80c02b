//! One round of hole punching at one end: which packets to send where and when, and which way wins. Pure.
//!
//! Both ends send hellos to every address at which the other may be, and answer hellos from any address, even one that
//! was not named: that is how a peer behind a NAT is found. A way is proved at one end when that end's own hello was
//! answered, with the challenge that was sent to the address from which the answer comes. The end that asked nominates
//! the first way that is proved. The other end agrees once the way is proved there, too; until then it answers a
//! nomination with a hello. A nomination has a challenge, by which the last messages name it. So both end with the same
//! way, or with none. A packet that an attacker recorded and sends from elsewhere proves nothing. Only sealed packets
//! count.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::packet::{self, Challenge, Kind, LENGTH, Seal};
use super::plan::Side;

/// How often a nomination is repeated.
const REPEAT: Duration = Duration::from_millis(50);
/// How long a way is nominated before others are tried again.
const PATIENCE: Duration = Duration::from_millis(1000);
/// The most addresses that were not named and are answered all the same.
const MOST_LEARNT: usize = 16;
/// The most hellos, to each address, that packets of the other end cause, beside those of the rounds.
const MOST_CALLED: u8 = 10;
/// The most ways that this end agrees to; the last messages may name any of them.
const MOST_AGREED: usize = 16;
/// The most datagrams of the other end that may arrive before the way is known.
const MOST_EARLY: usize = 64;
/// How often the last message is sent.
const LAST_WORDS: usize = 3;

/// A way: the index of the own socket, and the address of the other end.
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

/// How fast addresses are tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The time between two packets.
    pub(super) gap: Duration,
    /// The time between the beginnings of two passes over all addresses.
    pub(super) again: Duration,
    /// The number of hellos in total.
    pub(super) most: usize,
}

impl Pace {
    /// For a few addresses: 20 times a second each.
    pub(super) const FEW: Self = Self {
        gap: Duration::from_millis(3),
        again: Duration::from_millis(50),
        most: 4000,
    };
    /// For birthday probing: 500 a second, 1024 in total, which NATs can handle.
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
    Agreed,
    Settled(Won),
}

/// A way that both ends agreed to, and the challenge of its nomination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Won {
    pub(super) path: Path,
    pub(super) challenge: Challenge,
}

/// A way that is tried.
#[derive(Debug)]
struct Tried {
    path: Path,
    /// Whether an own hello was answered from there.
    is_proved: bool,
    called: u8,
    /// The challenge of the other end's hello from there.
    theirs: Option<Challenge>,
}

impl Tried {
    fn new(path: Path) -> Self {
        Self {
            path,
            is_proved: false,
            called: 0,
            theirs: None,
        }
    }
}

/// The round.
#[derive(Debug)]
pub(super) struct Punch {
    side: Side,
    seal: Seal,
    pace: Pace,
    paths: Vec<Tried>,
    named: usize,
    next: usize,
    sent: usize,
    round_began: Option<Instant>,
    hello_at: Instant,
    nominate_at: Instant,
    answers: VecDeque<(Path, [u8; LENGTH])>,
    state: State,
    /// The ways that this end agreed to, the latest last.
    agreed: VecDeque<Won>,
    early: VecDeque<(Path, Vec<u8>)>,
}

impl Punch {
    pub(super) fn new(side: Side, seal: Seal, pace: Pace, paths: Vec<Path>, now: Instant) -> Self {
        Self {
            side,
            seal,
            pace,
            named: paths.len(),
            paths: paths.into_iter().map(Tried::new).collect(),
            next: 0,
            sent: 0,
            round_began: None,
            hello_at: now,
            nominate_at: now,
            answers: VecDeque::new(),
            state: State::Looking,
            agreed: VecDeque::new(),
            early: VecDeque::new(),
        }
    }

    /// The way that won.
    pub(super) fn won(&self) -> Option<Won> {
        match self.state {
            State::Settled(won) if self.answers.is_empty() => Some(won),
            _ => None,
        }
    }

    /// The other end said through the hub that the way of this nomination has won.
    pub(super) fn settle(&mut self, challenge: Challenge) {
        let named = |won: &&Won| won.challenge == challenge;
        if self.state == State::Agreed
            && let Some(won) = self.agreed.iter().find(named)
        {
            self.state = State::Settled(*won);
        }
    }

    /// Packets of the other end on the winning way that arrived before this end knew it had won: datagrams, and the end
    /// of the connection.
    pub(super) fn take_early(&mut self) -> VecDeque<Vec<u8>> {
        let early = std::mem::take(&mut self.early);
        let is_of_it = |path: Path| matches!(self.state, State::Settled(won) if won.path == path);
        let of_it = early.into_iter().filter(|(path, _)| is_of_it(*path));
        of_it.map(|(_, bytes)| bytes).collect()
    }

    /// Hellos that were sent.
    pub(super) fn hellos(&self) -> usize {
        self.sent
    }

    /// Handles an arriving packet.
    pub(super) fn handle(&mut self, path: Path, bytes: &[u8], now: Instant) {
        let Some(packet) = self.seal.read(bytes) else {
            if !packet::is_packet(bytes) {
                self.keep_early(path, bytes);
            }
            return;
        };
        let own = packet.challenge == self.challenge(path);
        match packet.kind {
            Kind::Hello if self.learn(path, packet.challenge) => {
                self.call(path);
                self.answer(path, Kind::Heard, packet.challenge);
            }
            Kind::Heard if own => self.heard(path, now),
            Kind::Nominate if self.side == Side::Asked => self.nominated(Won {
                path,
                challenge: packet.challenge,
            }),
            Kind::Agreed if own => self.agreed(path),
            Kind::Settled => self.settled(Won {
                path,
                challenge: packet.challenge,
            }),
            Kind::Bye => self.keep_early(path, bytes),
            _ => {}
        }
    }

    /// Data may overtake the message that allows it, and so may the end of the connection.
    fn keep_early(&mut self, path: Path, bytes: &[u8]) {
        let expected = match self.state {
            State::Settled(won) => won.path == path,
            State::Agreed => self.agreed.iter().any(|won| won.path == path),
            State::Looking | State::Nominating { .. } => false,
        };
        if expected && self.early.len() < MOST_EARLY {
            self.early.push_back((path, bytes.to_vec()));
        }
    }

    fn tried(&mut self, path: Path) -> Option<&mut Tried> {
        self.paths.iter_mut().find(|tried| tried.path == path)
    }

    /// An address that was not named is tried from its hello on. A hello has one source: the same one from another
    /// address was recorded by an attacker. Returns whether the address is tried.
    fn learn(&mut self, path: Path, challenge: Challenge) -> bool {
        if let Some(known) = self.tried(path) {
            known.theirs = Some(challenge);
            return true;
        }
        let mut known = self.paths.iter();
        let is_recorded = known.any(|tried| tried.theirs == Some(challenge));
        let learns = !is_recorded && self.paths.len() < self.named + MOST_LEARNT;
        if learns {
            let theirs = Some(challenge);
            self.paths.push(Tried {
                theirs,
                ..Tried::new(path)
            });
        }
        learns
    }

    /// Sends a hello to an address from which the other end has sent, unless it is proved.
    fn call(&mut self, path: Path) {
        let hello = self.hello(path);
        let looks = matches!(self.state, State::Looking | State::Agreed);
        if let Some(tried) = self.tried(path)
            && looks
            && !tried.is_proved
            && tried.called < MOST_CALLED
        {
            tried.called += 1;
            self.answers.push_back((path, hello));
        }
    }

    fn challenge(&self, path: Path) -> Challenge {
        self.seal.challenge(&path.bytes())
    }

    fn hello(&self, path: Path) -> [u8; LENGTH] {
        self.seal.write(Kind::Hello, self.challenge(path))
    }

    fn answer(&mut self, path: Path, kind: Kind, challenge: Challenge) {
        self.answers
            .push_back((path, self.seal.write(kind, challenge)));
    }

    fn heard(&mut self, path: Path, now: Instant) {
        let Some(tried) = self.tried(path) else {
            return;
        };
        tried.is_proved = true;
        if self.side == Side::Asking && self.state == State::Looking {
            self.state = State::Nominating { path, since: now };
            self.nominate_at = now;
        }
    }

    /// Agrees, if the way is proved here, too.
    fn nominated(&mut self, won: Won) {
        let is_proved = self.tried(won.path).is_some_and(|tried| tried.is_proved);
        if !is_proved {
            self.call(won.path);
            return;
        }
        if !matches!(self.state, State::Settled(_)) {
            self.state = State::Agreed;
            self.agreed.retain(|agreed| *agreed != won);
            if self.agreed.len() >= MOST_AGREED {
                self.agreed.pop_front();
            }
            self.agreed.push_back(won);
        }
        if self.agreed.contains(&won) {
            self.answer(won.path, Kind::Agreed, won.challenge);
        }
    }

    fn agreed(&mut self, path: Path) {
        if matches!(self.state, State::Nominating { path: chosen, .. } if chosen == path) {
            let challenge = self.challenge(path);
            self.state = State::Settled(Won { path, challenge });
            for _ in 0..LAST_WORDS {
                self.answer(path, Kind::Settled, challenge);
            }
        }
    }

    fn settled(&mut self, won: Won) {
        if self.state == State::Agreed && self.agreed.contains(&won) {
            self.state = State::Settled(won);
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
                let challenge = self.challenge(path);
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
        let path = self.paths.get(self.next)?.path;
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

    /// When [`Self::poll_transmit`] may have a packet again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Looking if self.paths.is_empty() || self.sent >= self.pace.most => None,
            State::Looking => Some(self.hello_at),
            State::Nominating { since, .. } => Some(self.nominate_at.min(since + PATIENCE)),
            State::Agreed | State::Settled(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
