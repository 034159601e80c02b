//! The exchange at the hub of the sender: accepts signals, sends them or lets them wait, and learns their results.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::api::{Delivery, Route, Sender, Signal, SignalFailure, Source, Unpublished};
use crate::frames::{AckFrame, RefusedWhy};
use crate::ids::{ClaimNo, HubId, Moment, NetworkKey, PeerId};
use crate::wire::MAX_PAYLOAD;

use super::config::MAX_JUMP;
use super::effects::{DeliveryOwner, Effect, counted, failure_of};
use super::send_window::{Reachability, SendWindow, WindowItem};
use super::{Exchange, Found, PendingSignal, Resolve, Sent, Timer};

impl Exchange {
    /// Sends a signal of a local claim to a peer of its network. `from_seq` is the sequence number of the sender's
    /// claim in our directory. `found` is the claim that holds the target, if the caller has just looked it up and no
    /// signal waits; otherwise it is looked up here.
    ///
    /// The order per sender and target holds while the target stays at its hub, also for signals that wait. When the
    /// target moves, signals that were on their way to its old hub may be overtaken.
    ///
    /// # Errors
    /// Nothing is kept, and the sender has to be told: `NoSuchPeer`, `NoRoute` or `Overload`.
    pub fn send(
        &mut self,
        now: Moment,
        dir: &dyn Resolve,
        signal: Signal<'_>,
        from_seq: u64,
        found: Option<Found>,
    ) -> Result<Sent, SignalFailure> {
        let now = self.advance(now);
        let (from, target) = (signal.source, signal.target);
        // If signals wait, a look-up from before they were accepted may be out of date.
        let found = found.filter(|_| self.waiting_room.len() == 0);
        let mut found = found.or_else(|| dir.resolve(&from.network, target));
        if self.waiting_room.len() > 0 {
            if let Some(found) = found {
                self.release(now, &from.network, target, found);
            }
            if self
                .waiting_room
                .has_waiting(from.claim, &from.network, target)
            {
                // Earlier signals from this sender must go first.
                found = None;
            }
        }
        if let Some(found) = found
            && found.hub == self.me.hub
            && self.effects.local() == 0
        {
            return Ok(Sent::Local(found.claim));
        }
        let pending = PendingSignal {
            order: self.next_order(),
            source: from.clone(),
            from_seq,
            target: target.clone(),
            kind: signal.kind,
            payload: signal.payload,
            wait: signal.wait,
            waits_since: None,
            refused_by: None,
        };
        let sent = match found {
            Some(found) => self.dispatch(now, found, pending),
            None => self.let_wait(now, pending),
        };
        sent.map_err(|(_, why)| why)
    }

    /// Lets a signal wait until another claim has the id: its local target did not accept it, because the peer is gone
    /// although its claim still exists. Everything else is as in [`send`](Self::send).
    ///
    /// # Errors
    /// Nothing is kept, and the sender has to be told.
    pub fn wait_for_another(
        &mut self,
        now: Moment,
        dir: &dyn Resolve,
        from: &Source,
        from_seq: u64,
        refused: Delivery,
    ) -> Result<(), SignalFailure> {
        let now = self.advance(now);
        let pending = PendingSignal {
            order: self.next_order(),
            source: from.clone(),
            from_seq,
            target: refused.target,
            kind: refused.kind,
            payload: Bytes::copy_from_slice(&refused.payload),
            wait: true,
            waits_since: None,
            refused_by: Some((self.me.hub, refused.to)),
        };
        let target = pending.target.clone();
        self.let_wait(now, pending).map_err(|(_, why)| why)?;
        // Another claim may have taken the id since the look-up.
        self.on_appeared(now, dir, &from.network, &target);
        Ok(())
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Sends a message of our control plane to another hub's, in order with the signals to that hub. If it is not, or
    /// perhaps not, delivered, [`Effect::HubMessageFailed`] has the `token`.
    pub fn send_hub_message(&mut self, now: Moment, to: HubId, payload: Bytes, token: u64) {
        let now = self.advance(now);
        let item = WindowItem::Hub {
            variant: None,
            payload,
            token: Some(token),
        };
        if let Err((item, why)) = self.post(now, to, item) {
            self.fail(to, vec![(item, why)]);
        }
    }

    /// A claim became the visible winner of this id: signals that wait for it are sent.
    pub fn on_appeared(
        &mut self,
        now: Moment,
        dir: &dyn Resolve,
        network: &NetworkKey,
        peer: &PeerId,
    ) {
        let now = self.advance(now);
        if self.waiting_room.len() == 0 {
            return;
        }
        if let Some(found) = dir.resolve(network, peer) {
            self.release(now, network, peer, found);
        }
    }

    /// An acknowledgement for this hub.
    pub fn handle_ack(&mut self, now: Moment, dir: &dyn Resolve, frame: AckFrame) {
        let now = self.advance(now);
        let hub = frame.head.source;
        let Some(window) = self.send_windows.get_mut(&hub) else {
            return self.effects.count(counted::STALE_INCARNATION);
        };
        if frame.head.source_incarnation != window.incarnation()
            || frame.head.dest_incarnation != self.me.incarnation
        {
            return self.effects.count(counted::STALE_INCARNATION);
        }
        let refused: BTreeMap<u64, RefusedWhy> =
            frame.refused.iter().map(|r| (r.seq, r.why)).collect();
        let why = |seq| refused.get(&seq).copied();
        let Some(refused) = window.acknowledged(now, frame.upto, why, &self.config) else {
            return self.outpaced(hub, frame.upto);
        };
        for (item, why) in refused {
            self.on_refused(now, dir, hub, item, why);
        }
    }

    /// The destination has received numbers that were never used, so it accepts no lower numbers of this hub any more.
    /// The signals that it may have fail, and later ones get higher numbers.
    fn outpaced(&mut self, hub: HubId, upto: u64) {
        let Some(window) = self.send_windows.get_mut(&hub) else {
            return;
        };
        let far = upto - window.next() > MAX_JUMP;
        if far && !self.config.mutants.numbers_jump_anywhere() {
            return self.effects.count(counted::MALFORMED);
        }
        self.effects.count(counted::OUTPACED);
        let gone = window.skip_past(upto);
        self.fail(hub, gone);
    }

    fn on_refused(
        &mut self,
        now: Moment,
        dir: &dyn Resolve,
        hub: HubId,
        item: WindowItem,
        why: RefusedWhy,
    ) {
        if why == RefusedWhy::Forged {
            self.effects.count(counted::FORGED);
        }
        match item {
            WindowItem::Peer {
                mut pending,
                target_claim,
            } if why == RefusedWhy::NotHere && pending.refused_by.is_none() => {
                pending.refused_by = Some((hub, target_claim));
                self.place_again(now, dir, pending);
            }
            item => self.fail(hub, vec![(item, failure_of(why))]),
        }
    }

    /// Sends a refused signal to the present hub of its target, or lets it wait.
    fn place_again(&mut self, now: Moment, dir: &dyn Resolve, pending: PendingSignal) {
        self.effects.count(counted::PLACED_AGAIN);
        let (network, target) = (&pending.source.network, &pending.target);
        let mut found = dir.resolve(network, target);
        if let Some(found) = found {
            self.release(now, network, target, found);
        }
        if self
            .waiting_room
            .has_waiting(pending.source.claim, network, target)
        {
            found = None;
        }
        let placed = match found {
            Some(found) if !was_refused_by(&pending, found) => self.dispatch(now, found, pending),
            _ => self.let_wait(now, pending),
        };
        if let Err((pending, why)) = placed {
            self.effects.fail(pending, why);
        }
    }

    /// Sends the signals that wait for a target that was found.
    fn release(&mut self, now: Moment, network: &NetworkKey, target: &PeerId, found: Found) {
        let stays = |pending: &PendingSignal| was_refused_by(pending, found);
        for pending in self.waiting_room.take_for(network, target, stays) {
            if let Err((pending, why)) = self.dispatch(now, found, pending) {
                self.effects.fail(pending, why);
            }
        }
    }

    /// Sends a signal to the hub that has its target.
    fn dispatch(
        &mut self,
        now: Moment,
        found: Found,
        pending: PendingSignal,
    ) -> Result<Sent, (PendingSignal, SignalFailure)> {
        if found.hub == self.me.hub {
            self.hand_over_here(found.claim, pending);
            return Ok(Sent::Waiting);
        }
        if pending.payload.len() > MAX_PAYLOAD {
            // The next hub would close the link for it.
            return Err((pending, SignalFailure::Overload));
        }
        let item = WindowItem::Peer {
            pending,
            target_claim: found.claim,
        };
        match self.post(now, found.hub, item) {
            Err((WindowItem::Peer { pending, .. }, why)) => Err((pending, why)),
            Ok(()) | Err((WindowItem::Publication { .. } | WindowItem::Hub { .. }, _)) => {
                Ok(Sent::Window)
            }
        }
    }

    fn hand_over_here(&mut self, to: ClaimNo, pending: PendingSignal) {
        let source = pending.source.claim;
        let delivery = Delivery {
            to,
            network: pending.source.network,
            from: pending.source.peer,
            sender: Sender::Here(source),
            target: pending.target,
            kind: pending.kind,
            payload: pending.payload,
        };
        self.effects
            .deliver(delivery, DeliveryOwner::Local { source });
    }

    fn let_wait(
        &mut self,
        now: Moment,
        pending: PendingSignal,
    ) -> Result<Sent, (PendingSignal, SignalFailure)> {
        let (wait, together) = self.config.wait_in(&pending.source.network);
        if !pending.wait || wait.is_zero() {
            return Err((pending, SignalFailure::NoSuchPeer));
        }
        let first = if together {
            self.waiting_room.deadline_of_first(&pending)
        } else {
            None
        };
        let deadline = first.unwrap_or(now + wait);
        let entered = self
            .waiting_room
            .enter(pending, now, deadline, &self.config);
        for evicted in entered.evicted {
            self.fail_for_want_of_space(evicted, together);
        }
        match entered.refused {
            None => Ok(Sent::Waiting),
            Some(pending) if first.is_some() => {
                self.fail_for_want_of_space(pending, together);
                Ok(Sent::Waiting)
            }
            Some(pending) => Err((pending, SignalFailure::Overload)),
        }
    }

    /// Fails a signal that may not wait. If signals wait together, it also fails the others: a sender that was told
    /// that its target is not there must not reach it with some of its signals.
    fn fail_for_want_of_space(&mut self, pending: PendingSignal, together: bool) {
        let (source, network) = (pending.source.claim, pending.source.network.clone());
        let target = pending.target.clone();
        self.effects.fail(pending, SignalFailure::Overload);
        if together {
            for beside in self.waiting_room.take_of(source, &network, &target) {
                self.effects.fail(beside, SignalFailure::Overload);
            }
        }
    }

    /// Fails signals that have waited for too long, but looks for their targets once more.
    pub(super) fn end_waiting(&mut self, now: Moment, dir: &dyn Resolve) {
        while let Some((order, network, target)) = self.waiting_room.overdue(now) {
            if let Some(found) = dir.resolve(&network, &target) {
                self.release(now, &network, &target, found);
            }
            if let Some(pending) = self.waiting_room.remove(order) {
                self.effects.fail(pending, SignalFailure::NoSuchPeer);
            }
        }
    }

    /// Whether a signal whose hub was lost before it could be sent goes on waiting: it does if all signals of a sender
    /// to a target wait together.
    fn waits_for_better(&self, pending: &PendingSignal) -> bool {
        let (_, together) = self.config.wait_in(&pending.source.network);
        pending.wait && pending.refused_by.is_none() && together
    }

    /// Puts an item into the window to a hub.
    pub(super) fn post(
        &mut self,
        now: Moment,
        to: HubId,
        item: WindowItem,
    ) -> Result<(), (WindowItem, SignalFailure)> {
        let window = match self.send_windows.get_mut(&to) {
            Some(window) => window,
            None => match self.open_window(now, to) {
                Ok(window) => self.send_windows.entry(to).or_insert(window),
                Err(why) => return Err((item, why)),
            },
        };
        let backed_up = window
            .link()
            .is_some_and(|link| self.backed_up.contains(&link));
        window.push(
            self.me,
            now,
            item,
            backed_up,
            &self.config,
            &mut self.effects,
        )?;
        if let Some(due) = window.due(&self.config) {
            let timer = Timer::SendWindow(to);
            self.timers.set(timer, &mut window.timer, due);
        }
        Ok(())
    }

    /// Makes a window to a hub that has none yet, and makes space for it.
    fn open_window(&mut self, now: Moment, to: HubId) -> Result<SendWindow, SignalFailure> {
        let route = self.routes.by_hub.get(&to).copied();
        let (incarnation, way) = match (route, self.lost.get(&to)) {
            _ if to == self.me.hub => return Err(SignalFailure::NoRoute),
            (Some(route), _) => (route.incarnation, Reachability::By(route.hop)),
            (None, Some(lost)) => (lost.incarnation, Reachability::LostSince(lost.since)),
            (None, None) => return Err(SignalFailure::NoRoute),
        };
        if self.send_windows.len() >= self.config.send_windows && !self.close_idle_window() {
            return Err(SignalFailure::Overload);
        }
        Ok(SendWindow::new(
            to,
            incarnation,
            way,
            self.first_number,
            now,
        ))
    }

    /// Forgets the window that has been idle the longest, if any is.
    fn close_idle_window(&mut self) -> bool {
        let idle = self
            .send_windows
            .iter()
            .filter(|(_, window)| window.is_idle());
        let Some((_, hub)) = idle.map(|(hub, w)| (w.used_at, *hub)).min() else {
            return false;
        };
        self.close_window(hub);
        true
    }

    /// Forgets an idle window. The numbers of later windows start above its own, so that the destination, which may
    /// remember them, does not take a new one for a duplicate.
    fn close_window(&mut self, hub: HubId) {
        if let Some(mut window) = self.send_windows.remove(&hub) {
            self.forget(hub, &mut window);
        }
    }

    /// Cleans up after a window that was removed.
    pub(super) fn forget(&mut self, hub: HubId, window: &mut SendWindow) {
        self.timers.clear(Timer::SendWindow(hub), &mut window.timer);
        let given_out = window.given_out(self.config.mutants);
        self.first_number = self.first_number.max(given_out);
    }

    /// Updates a window for the route to its hub.
    pub(super) fn reroute(&mut self, now: Moment, hub: HubId, route: Option<Route>) {
        let Some(window) = self.send_windows.get_mut(&hub) else {
            return;
        };
        let expired = window.is_past_hold(now, self.config.hold);
        let mut gone = if expired {
            window.give_up_all()
        } else {
            Vec::new()
        };
        match route {
            None => window.lost(now),
            Some(route) => {
                if route.incarnation != window.incarnation() {
                    gone.extend(window.reborn(route.incarnation));
                }
                window.found(self.me, now, route.hop, &self.config, &mut self.effects);
            }
        }
        if let Some(due) = window.due(&self.config) {
            self.timers
                .set(Timer::SendWindow(hub), &mut window.timer, due);
        }
        if expired && route.is_none() {
            self.close_window(hub);
        }
        self.fail(hub, gone);
    }

    pub(super) fn on_send_timer(&mut self, now: Moment, hub: HubId) {
        let Some(window) = self.send_windows.get_mut(&hub) else {
            return;
        };
        window.timer = None;
        let link = window.link();
        let backed_up = link.is_some_and(|link| self.backed_up.contains(&link));
        let gone = window.handle_timer(self.me, now, backed_up, &self.config, &mut self.effects);
        if let Some(due) = window.due(&self.config) {
            // A setting of zero must not make one call of `handle_timeout` endless.
            let due = due.max(Moment(now.0.saturating_add(1)));
            self.timers
                .set(Timer::SendWindow(hub), &mut window.timer, due);
        }
        self.fail(hub, gone);
    }

    /// Reports failed items to their senders.
    pub(super) fn fail(&mut self, to: HubId, items: Vec<(WindowItem, SignalFailure)>) {
        for (item, why) in items {
            match item {
                WindowItem::Peer {
                    mut pending,
                    target_claim,
                } if why == SignalFailure::NoRoute && self.waits_for_better(&pending) => {
                    // It was never sent, and its target may appear at another hub before its time is over.
                    pending.refused_by = Some((to, target_claim));
                    if let Err((pending, why)) = self.let_wait(self.now, pending) {
                        self.effects.fail(pending, why);
                    }
                }
                WindowItem::Peer { pending, .. } => self.effects.fail(pending, why),
                WindowItem::Publication {
                    source, network, ..
                } => self.effects.push(Effect::Unpublished(Unpublished {
                    source,
                    network,
                    why,
                })),
                WindowItem::Hub { token, .. } => {
                    let failed = token.map(|token| Effect::HubMessageFailed { to, token });
                    failed
                        .into_iter()
                        .for_each(|effect| self.effects.push(effect));
                }
            }
        }
    }
}

/// Whether exactly this claim refused the signal.
fn was_refused_by(pending: &PendingSignal, found: Found) -> bool {
    pending.refused_by == Some((found.hub, found.claim))
}
