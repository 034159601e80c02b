//! The exchange at the hub of the receiver, and at hubs on the way: checks, orders, delivers, acknowledges and forwards
//! signals.
//!
//! **Who may send for whom.** The hub that a signal names as its source is believed about peers that our copy of its
//! claims contains, or contained recently, under the claim that the signal names; and about a claim that is newer than
//! our copy. Any other signal is `Forged`: its receiver sees nothing. A hub is the only author of its claims, so it
//! gains no power from being believed about a claim that is still on its way: it could simply make that claim.

use std::collections::BTreeSet;

use crate::api::{Delivery, Failed, Hop, Posted, Sender, SignalFailure};
use crate::frames::{
    AckFrame, DataFrame, FrameHead, RawFrame, RefusedWhy, SignalBody, SignalFrame,
};
use crate::ids::{ClaimNo, HubId, Incarnation, LinkId, Moment, NetworkKey, PeerId, SignalKind};
use crate::wire;

use super::config::MAX_JUMP;
use super::effects::{DeliveryOwner, Effect, Effects, counted};
use super::publishing::Published;
use super::receive_window::{Admission, ReceiveWindow};
use super::send_window::SendWindow;
use super::unread::{Mark, UnreadMessage};
use super::variants::{PASSES_ON, is_readable_on_the_way, is_understood, is_unknown_signal};
use super::{Exchange, Found, Me, Resolve, Timer, Vouch, ttl_for};

impl Exchange {
    /// A frame of the data path, unless [no way leads from its source](Self::is_astray).
    pub fn handle(&mut self, now: Moment, dir: &dyn Resolve, frame: RawFrame, arrived_by: LinkId) {
        if self.is_astray(frame.head.source, arrived_by) {
            self.advance(now);
            return self.effects.count(counted::ASTRAY);
        }
        self.take_in(now, dir, frame, arrived_by);
    }

    /// A frame of the data path, from any source: for this hub, or to be forwarded.
    pub fn take_in(&mut self, now: Moment, dir: &dyn Resolve, frame: RawFrame, arrived_by: LinkId) {
        if frame.head.dest != self.me.hub {
            self.advance(now);
            return self.pass_on(frame, arrived_by);
        }
        match wire::read_data(frame) {
            Ok(DataFrame::Signal(signal)) => self.handle_signal(now, dir, signal),
            Ok(DataFrame::Ack(ack)) => self.handle_ack(now, dir, ack),
            // A kind of frame of a later version.
            Ok(DataFrame::Raw(_)) => self.effects.count(counted::NOT_UNDERSTOOD),
            Err(_) => self.effects.count(counted::MALFORMED),
        }
    }

    /// Forwards a frame to its hub, by its head alone, and never back. A hub of wire level 0 decodes the frames that it
    /// forwards, and closes the link if it cannot. While such a hub is in reach this hub decodes frames too, so that it
    /// is not blamed for frames of others.
    fn pass_on(&mut self, mut frame: RawFrame, arrived_by: LinkId) {
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
                self.effects.link(hop.link, DataFrame::Raw(frame));
            }
            _ => self.effects.count(counted::NO_WAY_ON),
        }
    }

    /// A signal for this hub.
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
        if !self.open_receive_window(now, &frame) {
            return self.effects.count(counted::NO_SPACE);
        }
        let Some(window) = self.receive_windows.get_mut(&hub) else {
            return;
        };
        let mut judge = Judge {
            me: self.me,
            from: hub,
            dir,
            effects: &mut self.effects,
            send_window: self.send_windows.get_mut(&hub),
            level: self.config.level,
        };
        window.used_at = now;
        window.raise_base(frame.base);
        match window.admit(
            frame.seq,
            frame.body,
            self.config.early_bytes,
            self.config.mutants,
        ) {
            Admission::Next(body) => judge.take(window, frame.seq, body),
            Admission::Early => judge.effects.count(counted::EARLY),
            Admission::Duplicate => judge.effects.count(counted::DUPLICATE),
            Admission::NoSpace => judge.effects.count(counted::NO_SPACE),
        }
        while let Some((seq, body)) = window.next_early() {
            judge.take(window, seq, body);
        }
        self.owe_ack(hub);
    }

    fn hop(&self, hub: &HubId) -> Option<Hop> {
        self.routes.by_hub.get(hub).map(|route| route.hop)
    }

    /// Whether a signal for this hub is possible: between two current incarnations, with plausible numbers.
    fn check(&self, frame: &SignalFrame) -> Result<(), &'static str> {
        if frame.head.source == self.me.hub
            || frame.base == 0
            || frame.seq < frame.base
            || frame.seq == u64::MAX
        {
            return Err(counted::MALFORMED);
        }
        let window = self.receive_windows.get(&frame.head.source);
        let known = self.incarnation_by_routes(&frame.head.source);
        let known = known.or_else(|| window.map(ReceiveWindow::incarnation));
        // A later incarnation than the one in the link record is refused too: a rogue that made it up could end the
        // window for good.
        if frame.head.dest_incarnation != self.me.incarnation
            || known.is_some_and(|known| !self.is_incarnation(frame, known))
        {
            return Err(counted::STALE_INCARNATION);
        }
        let next = window.filter(|window| window.incarnation() == frame.head.source_incarnation);
        let next = next.map_or(0, ReceiveWindow::next);
        let far = frame.base.saturating_sub(next) > MAX_JUMP;
        if far && !self.config.mutants.numbers_jump_anywhere() {
            return Err(counted::MALFORMED);
        }
        Ok(())
    }

    fn is_incarnation(&self, frame: &SignalFrame, known: Incarnation) -> bool {
        let named = frame.head.source_incarnation;
        if self.config.mutants.life_by_frame() {
            let heard = self
                .receive_windows
                .get(&frame.head.source)
                .map(ReceiveWindow::incarnation);
            return named >= heard.map_or(known, |heard| heard.max(known));
        }
        named == known
    }

    fn incarnation_by_routes(&self, hub: &HubId) -> Option<Incarnation> {
        self.routes.by_hub.get(hub).map(|route| route.incarnation)
    }

    /// Makes sure that there is a receive window for the frame's source and incarnation.
    fn open_receive_window(&mut self, now: Moment, frame: &SignalFrame) -> bool {
        let hub = frame.head.source;
        let incarnation = frame.head.source_incarnation;
        if let Some(window) = self.receive_windows.get_mut(&hub) {
            if window.incarnation() != incarnation {
                self.timers
                    .clear(Timer::ReceiveWindow(hub), &mut window.timer);
                *window = ReceiveWindow::new(incarnation, frame.base, now);
            }
            return true;
        }
        let full = self.receive_windows.len() >= self.config.receive_windows;
        let full = full && !self.config.mutants.sources_without_end();
        if full && !self.forget_silent_window(now) {
            return false;
        }
        let window = ReceiveWindow::new(incarnation, frame.base, now);
        self.receive_windows.insert(hub, window);
        true
    }

    /// Forgets the window that has been silent the longest, if it has been silent long enough.
    fn forget_silent_window(&mut self, now: Moment) -> bool {
        let span = self.config.forget_after;
        let silent = self
            .receive_windows
            .iter()
            .filter(|(_, p)| p.is_silent(now, span));
        let Some((_, hub)) = silent.map(|(hub, p)| (p.used_at, *hub)).min() else {
            return false;
        };
        if let Some(mut window) = self.receive_windows.remove(&hub) {
            self.timers
                .clear(Timer::ReceiveWindow(hub), &mut window.timer);
        }
        true
    }

    /// Forgets the sources that cannot be reached and have been silent long enough, and the early signals of past
    /// incarnations.
    pub(super) fn forget_silent_sources(&mut self, now: Moment) {
        let span = self.config.forget_after;
        let (routes, timers) = (&self.routes, &mut self.timers);
        self.receive_windows.retain(|hub, window| {
            match routes.by_hub.get(hub) {
                Some(route) if route.incarnation > window.incarnation() => window.source_reborn(),
                None if window.is_silent(now, span) => {
                    timers.clear(Timer::ReceiveWindow(*hub), &mut window.timer);
                    return false;
                }
                Some(_) | None => {}
            }
            true
        });
    }

    /// Acknowledges at once if enough was received, otherwise within the configured time.
    pub(super) fn owe_ack(&mut self, hub: HubId) {
        let Some(window) = self.receive_windows.get_mut(&hub) else {
            return;
        };
        if window.unacked >= self.config.ack_every.max(1) {
            return self.send_ack(hub);
        }
        if window.unacked > 0 && window.ack_at.is_none() {
            let at = self.now + self.config.ack_delay;
            window.ack_at = Some(at);
            self.timers
                .set(Timer::ReceiveWindow(hub), &mut window.timer, at);
        }
    }

    pub(super) fn on_receive_timer(&mut self, now: Moment, hub: HubId) {
        let Some(window) = self.receive_windows.get_mut(&hub) else {
            return;
        };
        window.timer = None;
        match window.ack_at {
            Some(at) if at <= now => self.send_ack(hub),
            Some(at) => self
                .timers
                .set(Timer::ReceiveWindow(hub), &mut window.timer, at),
            None => {}
        }
    }

    /// Acknowledges received signals. If the acknowledgement is lost, or there is no route, the source sends again and
    /// is acknowledged then.
    fn send_ack(&mut self, hub: HubId) {
        let hop = self.hop(&hub);
        let Some(window) = self.receive_windows.get_mut(&hub) else {
            return;
        };
        let (upto, refused) = window.acknowledge();
        let Some(hop) = hop else {
            return self.effects.count(counted::ACK_UNSENT);
        };
        let frame = AckFrame {
            head: FrameHead {
                ttl: ttl_for(hop.hops),
                source: self.me.hub,
                source_incarnation: self.me.incarnation,
                dest: hub,
                dest_incarnation: window.incarnation(),
            },
            upto,
            refused,
        };
        self.effects.link(hop.link, DataFrame::Ack(frame));
    }
}

/// Checks and delivers the signals of one hub, in their order.
pub(super) struct Judge<'a> {
    pub(super) me: Me,
    pub(super) from: HubId,
    pub(super) dir: &'a dyn Resolve,
    pub(super) effects: &'a mut Effects,
    /// The signals that this hub sent to that hub.
    pub(super) send_window: Option<&'a mut SendWindow>,
    /// The wire level of this hub.
    pub(super) level: u8,
}

impl Judge<'_> {
    fn take(&mut self, window: &mut ReceiveWindow, seq: u64, body: SignalBody) {
        if let Err(why) = self.judge(&body) {
            return window.refuse(seq, why);
        }
        let (hub, incarnation) = (self.from, window.incarnation());
        match body {
            SignalBody::Hub { payload } => {
                if let Some(published) = Published::decode(&payload) {
                    return self.publish(window, seq, published);
                }
                window.took();
                match UnreadMessage::decode(&payload) {
                    Some(unread) => self.take_unread(&unread),
                    None => self.effects.push(Effect::HubMessage { from: hub, payload }),
                }
            }
            SignalBody::Other { payload, .. } => {
                window.took();
                self.effects.push(Effect::HubMessage { from: hub, payload });
            }
            SignalBody::Peer(signal) => {
                let delivery = Delivery {
                    to: signal.target_claim,
                    network: signal.network,
                    from: signal.from,
                    sender: Sender::There(Posted {
                        hub,
                        incarnation,
                        claim: signal.from_claim,
                        seq,
                    }),
                    target: signal.target,
                    kind: signal.kind,
                    payload: signal.payload,
                };
                window.hand_over(seq);
                self.effects.deliver(
                    delivery,
                    DeliveryOwner::Window {
                        hub,
                        incarnation,
                        seq,
                    },
                );
            }
        }
    }

    fn publish(&mut self, window: &mut ReceiveWindow, seq: u64, published: Published) {
        let (network, from) = (&published.network, &published.from);
        if let Err(why) = self.judge_sender(network, from, published.claim, published.seq) {
            return window.refuse(seq, why);
        }
        let (hub, incarnation) = (self.from, window.incarnation());
        let claim = published.claim;
        window.hand_over(seq);
        let sender = Sender::There(Posted {
            hub,
            incarnation,
            claim,
            seq,
        });
        self.effects
            .publish(published.into_publication(sender), hub, incarnation, seq);
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

    /// Tells our senders of unread signals.
    fn take_unread(&mut self, message: &UnreadMessage) {
        let Ok(target) = PeerId::new(&message.target) else {
            return self.effects.count(counted::MALFORMED);
        };
        if message.incarnation != self.me.incarnation {
            return self.effects.count(counted::STALE_INCARNATION);
        }
        let (mut told, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for line in &message.signals {
            let mark = |send_window: &mut &mut SendWindow| send_window.mark_unread(line, &target);
            let mark = self.send_window.as_mut().map_or(Mark::Unkept, mark);
            if mark == Mark::Never || !seen.insert(line.seq) {
                self.effects.count(counted::MALFORMED);
                continue;
            }
            // A sender that has left need not be told.
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
                    repeats_previous: !told.insert(line.source),
                }));
            }
        }
    }

    /// Whether the hub that sends this may have had the claim. If the receiver has left, that hub's claims may no
    /// longer show it. If the receiver is at another hub by now, they must show it; otherwise any hub could make any
    /// peer look gone.
    fn may_have_held(&self, network: &NetworkKey, target: &PeerId, claim: ClaimNo) -> bool {
        let hub = &self.from;
        let holder = self.dir.resolve(network, target);
        holder.is_none_or(|holder| holder.hub == *hub)
            || self.dir.vouches(hub, network, target, claim, 0) == Vouch::Holds
            || self.dir.left_lately(hub, network, target, claim)
    }
}
