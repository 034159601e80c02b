//! The exchange as the hub of the receiver, and as a hub on the way: order, judgement, acknowledgement, forwarding.
//!
//! **Who may speak for whom.** The hub that a signal names as its source is believed about the peers that
//! our copy of its claims shows it to hold, or to have held lately, under the claim that the signal names;
//! and about a claim that our copy is too old to show. Anything else is `Forged`: its receiver sees
//! nothing. A hub is the only author of its claims, so believing it about one that is on its way gives it
//! no power that it would not have by making that claim.

use std::collections::BTreeSet;

use crate::api::{Delivery, Failed, Hop, Posted, Sender, SignalFailure};
use crate::frames::{AckFrame, DataFrame, Head, RefusedWhy, SignalBody, SignalFrame, UnreadFrame};
use crate::ids::{ClaimNo, HubId, Incarnation, LinkId, Moment, NetworkKey, PeerId, SignalKind};
use crate::wire;

use super::config::MAX_JUMP;
use super::effects::{Effect, Effects, Owner, counted};
use super::incoming::{Arrival, Incoming};
use super::outgoing::Outgoing;
use super::publishing::Published;
use super::unread::{Mark, Message};
use super::variants::{PASSES_ON, is_readable_on_the_way, is_understood, is_unknown_signal};
use super::{Alarm, Exchange, Found, Me, Resolve, Vouch, ttl_for};

impl Exchange {
    /// A frame of the data path, unless it is [astray](Self::is_astray).
    pub fn handle(
        &mut self,
        now: Moment,
        dir: &dyn Resolve,
        frame: UnreadFrame,
        arrived_by: LinkId,
    ) {
        if self.is_astray(frame.head.source, arrived_by) {
            self.advance(now);
            return self.effects.count(counted::ASTRAY);
        }
        self.take_in(now, dir, frame, arrived_by);
    }

    /// A frame of the data path, wherever its source is: for us, or to be passed on.
    pub fn take_in(
        &mut self,
        now: Moment,
        dir: &dyn Resolve,
        frame: UnreadFrame,
        arrived_by: LinkId,
    ) {
        if frame.head.dest != self.me.hub {
            self.advance(now);
            return self.pass_on(frame, arrived_by);
        }
        match wire::read_data(frame) {
            Ok(DataFrame::Signal(signal)) => self.handle_signal(now, dir, signal),
            Ok(DataFrame::Ack(ack)) => self.handle_ack(now, dir, ack),
            // A kind that is still to come.
            Ok(DataFrame::Unread(_)) => self.effects.count(counted::NOT_UNDERSTOOD),
            Err(_) => self.effects.count(counted::MALFORMED),
        }
    }

    /// Passes a frame on towards its hub, by its head alone, and never back. While a hub is in reach that reads what it
    /// passes on, and closes the link for what it cannot read, we read it too: what others wrote is not to be our fault.
    fn pass_on(&mut self, mut frame: UnreadFrame, arrived_by: LinkId) {
        let Some(ttl) = frame.head.ttl.checked_sub(1) else {
            return self.effects.count(counted::TTL);
        };
        if self.config.mutants.unknown_variant_not_passed_on() && is_unknown_signal(&frame) {
            return self.effects.count(counted::NOT_UNDERSTOOD);
        }
        if self.routes.level < PASSES_ON && !is_readable_on_the_way(&frame) {
            return self.effects.count(counted::MALFORMED);
        }
        match self.hop(&frame.head.dest) {
            Some(hop) if hop.link != arrived_by || self.config.mutants.forward_back() => {
                frame.head.ttl = ttl;
                self.effects.link(hop.link, DataFrame::Unread(frame));
            }
            _ => self.effects.count(counted::NO_WAY_ON),
        }
    }

    /// A signal for us.
    pub fn handle_signal(&mut self, now: Moment, dir: &dyn Resolve, frame: SignalFrame) {
        let now = self.advance(now);
        if let Err(label) = self.check(&frame) {
            return self.effects.count(label);
        }
        if self.config.mutants.unknown_variant_unacknowledged()
            && !is_understood(&frame.body, self.config.level)
        {
            return self.effects.count(counted::NOT_UNDERSTOOD);
        }
        let hub = frame.head.source;
        if !self.open_pair(now, &frame) {
            return self.effects.count(counted::NO_ROOM);
        }
        let Some(pair) = self.incoming.get_mut(&hub) else {
            return;
        };
        let mut desk = Desk {
            me: self.me,
            from: hub,
            dir,
            effects: &mut self.effects,
            window: self.outgoing.get_mut(&hub),
            level: self.config.level,
        };
        pair.used_at = now;
        pair.raise_base(frame.base);
        match pair.admit(
            frame.seq,
            frame.body,
            self.config.early_bytes,
            self.config.mutants,
        ) {
            Arrival::Next(body) => desk.take(pair, frame.seq, body),
            Arrival::Early => desk.effects.count(counted::EARLY),
            Arrival::Duplicate => desk.effects.count(counted::DUPLICATE),
            Arrival::NoRoom => desk.effects.count(counted::NO_ROOM),
        }
        while let Some((seq, body)) = pair.next_early() {
            desk.take(pair, seq, body);
        }
        self.owe_ack(hub);
    }

    fn hop(&self, hub: &HubId) -> Option<Hop> {
        self.routes.by_hub.get(hub).map(|route| route.hop)
    }

    /// Whether a signal for us can be one: of two lives that last, with numbers that can be.
    fn check(&self, frame: &SignalFrame) -> Result<(), &'static str> {
        if frame.head.source == self.me.hub
            || frame.base == 0
            || frame.seq < frame.base
            || frame.seq == u64::MAX
        {
            return Err(counted::MALFORMED);
        }
        let pair = self.incoming.get(&frame.head.source);
        let known = self.life_by_routes(&frame.head.source);
        let known = known.or_else(|| pair.map(Incoming::life));
        // Also of a later life than its link record tells: whoever made it up could end the pair for good.
        if frame.head.dest_incarnation != self.me.life
            || known.is_some_and(|known| !self.is_life(frame, known))
        {
            return Err(counted::STALE_LIFE);
        }
        let next = pair.filter(|pair| pair.life() == frame.head.source_incarnation);
        let next = next.map_or(0, Incoming::next);
        let far = frame.base.saturating_sub(next) > MAX_JUMP;
        if far && !self.config.mutants.numbers_jump_anywhere() {
            return Err(counted::MALFORMED);
        }
        Ok(())
    }

    fn is_life(&self, frame: &SignalFrame, known: Incarnation) -> bool {
        let named = frame.head.source_incarnation;
        if self.config.mutants.life_by_frame() {
            let heard = self.incoming.get(&frame.head.source).map(Incoming::life);
            return named >= heard.map_or(known, |heard| heard.max(known));
        }
        named == known
    }

    fn life_by_routes(&self, hub: &HubId) -> Option<Incarnation> {
        self.routes.by_hub.get(hub).map(|route| route.incarnation)
    }

    /// Sees to it that there is a receiving end for the frame's source and life.
    fn open_pair(&mut self, now: Moment, frame: &SignalFrame) -> bool {
        let hub = frame.head.source;
        let life = frame.head.source_incarnation;
        if let Some(pair) = self.incoming.get_mut(&hub) {
            if pair.life() != life {
                self.alarms.clear(Alarm::Incoming(hub), &mut pair.alarm);
                *pair = Incoming::new(life, frame.base, now);
            }
            return true;
        }
        let full = self.incoming.len() >= self.config.incoming_pairs;
        let full = full && !self.config.mutants.sources_without_end();
        if full && !self.forget_silent_pair(now) {
            return false;
        }
        let pair = Incoming::new(life, frame.base, now);
        self.incoming.insert(hub, pair);
        true
    }

    /// Forgets the pair that has been silent the longest, if any has been for long enough.
    fn forget_silent_pair(&mut self, now: Moment) -> bool {
        let span = self.config.forget_after;
        let silent = self.incoming.iter().filter(|(_, p)| p.is_silent(now, span));
        let Some((_, hub)) = silent.map(|(hub, p)| (p.used_at, *hub)).min() else {
            return false;
        };
        if let Some(mut pair) = self.incoming.remove(&hub) {
            self.alarms.clear(Alarm::Incoming(hub), &mut pair.alarm);
        }
        true
    }

    /// Forgets the sources that cannot be reached and have long been silent, and the early signals of
    /// lives that are over.
    pub(super) fn forget_silent_sources(&mut self, now: Moment) {
        let span = self.config.forget_after;
        let (routes, alarms) = (&self.routes, &mut self.alarms);
        self.incoming.retain(|hub, pair| {
            match routes.by_hub.get(hub) {
                Some(route) if route.incarnation > pair.life() => pair.source_reborn(),
                None if pair.is_silent(now, span) => {
                    alarms.clear(Alarm::Incoming(*hub), &mut pair.alarm);
                    return false;
                }
                Some(_) | None => {}
            }
            true
        });
    }

    /// Acknowledges at once if enough was taken, else in time.
    pub(super) fn owe_ack(&mut self, hub: HubId) {
        let Some(pair) = self.incoming.get_mut(&hub) else {
            return;
        };
        if pair.unacked >= self.config.ack_every.max(1) {
            return self.send_ack(hub);
        }
        if pair.unacked > 0 && pair.ack_at.is_none() {
            let at = self.now + self.config.ack_delay;
            pair.ack_at = Some(at);
            self.alarms.set(Alarm::Incoming(hub), &mut pair.alarm, at);
        }
    }

    pub(super) fn on_incoming_alarm(&mut self, now: Moment, hub: HubId) {
        let Some(pair) = self.incoming.get_mut(&hub) else {
            return;
        };
        pair.alarm = None;
        match pair.ack_at {
            Some(at) if at <= now => self.send_ack(hub),
            Some(at) => self.alarms.set(Alarm::Incoming(hub), &mut pair.alarm, at),
            None => {}
        }
    }

    /// Acknowledges what was taken. If that is lost, or there is no route, the source sends again and is
    /// acknowledged then.
    fn send_ack(&mut self, hub: HubId) {
        let hop = self.hop(&hub);
        let Some(pair) = self.incoming.get_mut(&hub) else {
            return;
        };
        let (upto, refused) = pair.acknowledge();
        let Some(hop) = hop else {
            return self.effects.count(counted::ACK_UNSENT);
        };
        let frame = AckFrame {
            head: Head {
                ttl: ttl_for(hop.hops),
                source: self.me.hub,
                source_incarnation: self.me.life,
                dest: hub,
                dest_incarnation: pair.life(),
            },
            upto,
            refused,
        };
        self.effects.link(hop.link, DataFrame::Ack(frame));
    }
}

/// Where the signals of one hub are judged and taken, in their order.
pub(super) struct Desk<'a> {
    pub(super) me: Me,
    pub(super) from: HubId,
    pub(super) dir: &'a dyn Resolve,
    pub(super) effects: &'a mut Effects,
    /// What we sent to that hub.
    pub(super) window: Option<&'a mut Outgoing>,
    /// What this hub understands.
    pub(super) level: u8,
}

impl Desk<'_> {
    fn take(&mut self, pair: &mut Incoming, seq: u64, body: SignalBody) {
        if let Err(why) = self.judge(&body) {
            return pair.refuse(seq, why);
        }
        let (hub, life) = (self.from, pair.life());
        match body {
            SignalBody::Hub { payload } => {
                if let Some(published) = Published::decode(&payload) {
                    return self.publish(pair, seq, published);
                }
                pair.took();
                match Message::decode(&payload) {
                    Some(unread) => self.take_unread(&unread),
                    None => self.effects.push(Effect::HubMessage { from: hub, payload }),
                }
            }
            SignalBody::Other { payload, .. } => {
                pair.took();
                self.effects.push(Effect::HubMessage { from: hub, payload });
            }
            SignalBody::Peer(signal) => {
                let delivery = Delivery {
                    to: signal.target_claim,
                    network: signal.network,
                    from: signal.from,
                    sender: Sender::There(Posted {
                        hub,
                        life,
                        claim: signal.from_claim,
                        seq,
                    }),
                    target: signal.target,
                    kind: signal.kind,
                    payload: signal.payload,
                };
                pair.hand_over(seq);
                self.effects
                    .deliver(delivery, Owner::Window { hub, life, seq });
            }
        }
    }

    fn publish(&mut self, pair: &mut Incoming, seq: u64, published: Published) {
        let (network, from) = (&published.network, &published.from);
        if let Err(why) = self.judge_sender(network, from, published.claim, published.seq) {
            return pair.refuse(seq, why);
        }
        let (hub, life) = (self.from, pair.life());
        let claim = published.claim;
        pair.hand_over(seq);
        let sender = Sender::There(Posted {
            hub,
            life,
            claim,
            seq,
        });
        self.effects.publish(published.of(sender), hub, life, seq);
    }

    fn judge(&mut self, body: &SignalBody) -> Result<(), RefusedWhy> {
        if !is_understood(body, self.level) {
            self.effects.count(counted::NOT_UNDERSTOOD);
            return Err(RefusedWhy::NotUnderstood);
        }
        let SignalBody::Peer(signal) = body else {
            return Ok(());
        };
        let network = &signal.network;
        self.judge_sender(network, &signal.from, signal.from_claim, signal.from_seq)?;
        match self.dir.resolve(network, &signal.target) {
            Some(Found { hub, claim, .. })
                if hub == self.me.hub && claim == signal.target_claim =>
            {
                Ok(())
            }
            _ => Err(RefusedWhy::NotHere),
        }
    }

    fn judge_sender(
        &mut self,
        network: &NetworkKey,
        from: &PeerId,
        claim: ClaimNo,
        seq: u64,
    ) -> Result<(), RefusedWhy> {
        let hub = &self.from;
        match self.dir.vouches(hub, network, from, claim, seq) {
            Vouch::Holds => {}
            Vouch::NotYet => self.effects.count(counted::SOURCE_AHEAD),
            Vouch::Gone if self.dir.left_lately(hub, network, from, claim) => {
                self.effects.count(counted::SOURCE_LEFT);
            }
            Vouch::Gone => {
                self.effects.count(counted::FORGED);
                self.effects.push(Effect::Forged { source: *hub });
                return Err(RefusedWhy::Forged);
            }
        }
        Ok(())
    }

    /// Tells our senders of what was not read.
    fn take_unread(&mut self, message: &Message) {
        let Ok(target) = PeerId::new(&message.target) else {
            return self.effects.count(counted::MALFORMED);
        };
        if message.life != self.me.life {
            return self.effects.count(counted::STALE_LIFE);
        }
        let (mut told, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for line in &message.signals {
            let mark = |window: &mut &mut Outgoing| window.mark_unread(line, &target);
            let mark = self.window.as_mut().map_or(Mark::Unkept, mark);
            if mark == Mark::Never || !seen.insert(line.seq) {
                self.effects.count(counted::MALFORMED);
                continue;
            }
            // A sender that is gone itself need not be told.
            let Some(network) = self.dir.network_of(line.source) else {
                continue;
            };
            if mark == Mark::First
                || mark == Mark::Unkept && self.may_have_held(&network, &target, line.target_claim)
            {
                self.effects.push(Effect::Returned(Failed {
                    source: line.source,
                    network,
                    target: target.clone(),
                    kind: SignalKind(line.kind),
                    why: SignalFailure::NoSuchPeer,
                    follows: !told.insert(line.source),
                }));
            }
        }
    }

    /// Whether the hub that speaks may have held this claim. Of a receiver that is gone its claims may tell no more; of
    /// one that is elsewhere by now they must, or any hub could have any peer taken for gone.
    fn may_have_held(&self, network: &NetworkKey, target: &PeerId, claim: ClaimNo) -> bool {
        let hub = &self.from;
        let holder = self.dir.resolve(network, target);
        holder.is_none_or(|holder| holder.hub == *hub)
            || self.dir.vouches(hub, network, target, claim, 0) == Vouch::Holds
            || self.dir.left_lately(hub, network, target, claim)
    }
}
