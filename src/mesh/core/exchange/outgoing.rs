//! The sending end of a pair of hubs: what one destination has not acknowledged yet, by number.
//!
//! Owns the numbers, the letters kept until they are acknowledged, and when to send them again. Must not
//! know the directory: what a refused letter is worth is decided by the exchange. Invariants: the ring
//! holds exactly the numbers `base..next`; a number is used once in a life of either hub; what was never
//! handed to a link is never presumed delivered.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::mesh::core::api::{Hop, SignalFailure};
use crate::mesh::core::ids::{ClaimNo, HubId, Incarnation, LinkId, Moment};
use crate::mesh::frames::{Frame, RefusedWhy, SignalBody, SignalFrame};

use super::config::{ExchangeConfig, MAX_OUTSTANDING, SIGNAL_COST};
use super::effects::{Effects, counted};
use super::{Me, Parcel, ttl_for};

/// What is sent to another hub.
#[derive(Debug)]
pub(super) enum Letter {
    Peer {
        parcel: Parcel,
        target_claim: ClaimNo,
    },
    Hub {
        payload: Bytes,
        token: u64,
    },
}

impl Letter {
    fn cost(&self) -> usize {
        let payload = match self {
            Letter::Peer { parcel, .. } => &parcel.payload,
            Letter::Hub { payload, .. } => payload,
        };
        SIGNAL_COST + payload.len()
    }

    fn body(&self) -> SignalBody {
        match self {
            Letter::Peer {
                parcel,
                target_claim,
            } => SignalBody::Peer {
                network: parcel.source.network.clone(),
                from: parcel.source.peer.clone(),
                from_claim: parcel.source.claim,
                from_seq: parcel.from_seq,
                target: parcel.target.clone(),
                target_claim: *target_claim,
                kind: parcel.kind,
                payload: parcel.payload.clone(),
            },
            Letter::Hub { payload, .. } => SignalBody::Hub {
                payload: payload.clone(),
            },
        }
    }
}

#[derive(Debug)]
struct Entry {
    letter: Letter,
    queued_at: Moment,
    /// When it was last handed to a link.
    sent_at: Option<Moment>,
}

/// Whether the destination can be reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    By(Hop),
    LostSince(Moment),
}

/// A window.
#[derive(Debug)]
pub(super) struct Outgoing {
    dest: HubId,
    /// The destination's life.
    life: Incarnation,
    way: Way,
    /// The lowest number kept.
    base: u64,
    ring: VecDeque<Entry>,
    bytes: usize,
    /// When to send again, while anything is kept.
    resend_at: Moment,
    /// Nothing was acknowledged since it was last sent again.
    slowed: bool,
    pub(super) used_at: Moment,
    pub(super) alarm: Option<Moment>,
}

impl Outgoing {
    pub(super) fn new(dest: HubId, life: Incarnation, way: Way, first: u64, now: Moment) -> Self {
        Outgoing {
            dest,
            life,
            way,
            base: first,
            ring: VecDeque::new(),
            bytes: 0,
            resend_at: now,
            slowed: false,
            used_at: now,
            alarm: None,
        }
    }

    pub(super) fn life(&self) -> Incarnation {
        self.life
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ring.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The number that the next letter gets.
    pub(super) fn next(&self) -> u64 {
        self.base.saturating_add(self.ring.len() as u64)
    }

    /// Whether the destination has been out of reach for the hold.
    pub(super) fn is_past_hold(&self, now: Moment, hold: Duration) -> bool {
        matches!(self.way, Way::LostSince(lost) if lost + hold <= now)
    }

    /// Keeps the letter, and sends it if there is a way. A refused letter is given back; nothing changed.
    pub(super) fn push(
        &mut self,
        me: Me,
        now: Moment,
        letter: Letter,
        config: &ExchangeConfig,
        effects: &mut Effects,
    ) -> Result<(), (Letter, SignalFailure)> {
        if self.is_past_hold(now, config.hold) {
            return Err((letter, SignalFailure::NoRoute));
        }
        let reserve = match letter {
            Letter::Peer { .. } => 0,
            Letter::Hub { .. } => config.hub_reserve,
        };
        let bytes = self.bytes + letter.cost();
        if bytes > config.window_bytes + reserve || self.ring.len() as u64 >= MAX_OUTSTANDING {
            return Err((letter, SignalFailure::Overload));
        }
        if self.ring.is_empty() {
            self.resend_at = now + config.resend_after;
            self.slowed = false;
        }
        let seq = self.next();
        self.bytes = bytes;
        self.used_at = now;
        let sent_at = match self.way {
            Way::By(hop) => {
                let frame = self.frame(me, hop, seq, letter.body());
                effects.link(hop.link, Frame::Signal(frame));
                Some(now)
            }
            Way::LostSince(_) => None,
        };
        self.ring.push_back(Entry {
            letter,
            queued_at: now,
            sent_at,
        });
        Ok(())
    }

    fn frame(&self, me: Me, hop: Hop, seq: u64, body: SignalBody) -> SignalFrame {
        SignalFrame {
            ttl: ttl_for(hop.hops),
            source: me.hub,
            source_incarnation: me.life,
            dest: self.dest,
            dest_incarnation: self.life,
            seq,
            base: self.base,
            body,
        }
    }

    /// Sends all that was never sent, or last sent at least `ago` before now.
    fn send_again(&mut self, me: Me, now: Moment, ago: Duration, effects: &mut Effects) {
        let Way::By(hop) = self.way else { return };
        let mut ring = std::mem::take(&mut self.ring);
        for (seq, entry) in (self.base..).zip(&mut ring) {
            if entry.sent_at.is_some_and(|sent| now - sent < ago) {
                continue;
            }
            if entry.sent_at.replace(now).is_some() {
                effects.count(counted::RESENT);
            }
            let frame = self.frame(me, hop, seq, entry.letter.body());
            effects.link(hop.link, Frame::Signal(frame));
        }
        self.ring = ring;
    }

    /// The destination is reached by this hop from now on. All that is kept goes out again if that is
    /// another link than before: what was under way on the old one may be lost.
    pub(super) fn found(
        &mut self,
        me: Me,
        now: Moment,
        hop: Hop,
        config: &ExchangeConfig,
        effects: &mut Effects,
    ) {
        let before = self.link();
        self.way = Way::By(hop);
        if before != Some(hop.link) && !self.ring.is_empty() {
            self.send_again(me, now, Duration::ZERO, effects);
            self.resend_at = now + config.resend_after;
            self.slowed = false;
        }
    }

    fn link(&self) -> Option<LinkId> {
        match self.way {
            Way::By(hop) => Some(hop.link),
            Way::LostSince(_) => None,
        }
    }

    /// The destination cannot be reached from now on.
    pub(super) fn lost(&mut self, now: Moment) {
        if let Way::By(_) = self.way {
            self.way = Way::LostSince(now);
        }
    }

    /// The destination lives another life: what is kept will never be acknowledged.
    pub(super) fn reborn(&mut self, life: Incarnation) -> Vec<(Letter, SignalFailure)> {
        self.life = life;
        self.give_up_all()
    }

    /// Lets go of all that is kept. It may have arrived if it was ever handed to a link.
    pub(super) fn give_up_all(&mut self) -> Vec<(Letter, SignalFailure)> {
        std::iter::from_fn(|| self.give_up_first()).collect()
    }

    /// Lets go of all that is kept, and gives out numbers above `upto` from now on.
    pub(super) fn skip_past(&mut self, upto: u64) -> Vec<(Letter, SignalFailure)> {
        let gone = self.give_up_all();
        self.base = self.base.max(upto.saturating_add(1));
        gone
    }

    fn give_up_first(&mut self) -> Option<(Letter, SignalFailure)> {
        let entry = self.pop()?;
        let why = match entry.sent_at {
            Some(_) => SignalFailure::Unknown,
            None => SignalFailure::NoRoute,
        };
        Some((entry.letter, why))
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.ring.pop_front()?;
        self.base = self.base.saturating_add(1);
        self.bytes -= entry.letter.cost();
        Some(entry)
    }

    /// All up to `upto` was taken; gives back what was refused, in order. `None` if that cannot be.
    pub(super) fn acknowledged(
        &mut self,
        now: Moment,
        upto: u64,
        refused: impl Fn(u64) -> Option<RefusedWhy>,
        config: &ExchangeConfig,
    ) -> Option<Vec<(Letter, RefusedWhy)>> {
        if upto >= self.next() {
            return None;
        }
        let mut back = Vec::new();
        let before = self.base;
        while self.base <= upto && self.ring.front().is_some_and(|e| e.sent_at.is_some()) {
            let why = refused(self.base);
            let Some(entry) = self.pop() else { break };
            back.extend(why.map(|why| (entry.letter, why)));
        }
        if self.base > before {
            self.resend_at = now + config.resend_after;
            self.slowed = false;
        }
        Some(back)
    }

    /// Does what is due, and gives back what is given up.
    pub(super) fn handle_alarm(
        &mut self,
        me: Me,
        now: Moment,
        config: &ExchangeConfig,
        effects: &mut Effects,
    ) -> Vec<(Letter, SignalFailure)> {
        if self.is_past_hold(now, config.hold) {
            return self.give_up_all();
        }
        let mut gone = Vec::new();
        while let Some(first) = self.ring.front() {
            if first.queued_at + config.give_up_after > now {
                break;
            }
            gone.extend(self.give_up_first());
        }
        if self.resend_at <= now && self.link().is_some() {
            self.send_again(me, now, config.resend_after, effects);
            let pause = config.resend_after * (1 + u32::from(self.slowed));
            self.slowed = true;
            self.resend_at = now + pause;
        }
        gone
    }

    /// When there is something to do, if nothing else happens before.
    pub(super) fn due(&self, config: &ExchangeConfig) -> Option<Moment> {
        let given_up = self.ring.front()?.queued_at + config.give_up_after;
        Some(given_up.min(match self.way {
            Way::By(_) => self.resend_at,
            Way::LostSince(lost) => lost + config.hold,
        }))
    }
}
