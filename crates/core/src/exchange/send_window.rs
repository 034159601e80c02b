//! The sending end of a pair of hubs: the items that one destination has not acknowledged yet, by number.
//!
//! Owns the numbers, the items kept until they are acknowledged, and when to send them again. Must not know the
//! directory: the exchange decides what happens to a refused item. Invariants: the ring has exactly the numbers
//! `base..next`; a number is used once in an incarnation of either hub; an item that was never handed to a link is
//! never presumed delivered.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::api::{Hop, SignalFailure};
use crate::frames::{DataFrame, FrameHead, PeerSignal, RefusedWhy, SignalBody, SignalFrame};
use crate::ids::{ClaimNo, HubId, Incarnation, LinkId, Moment, NetworkKey};
use crate::mutants::Mutants;

use super::config::{ExchangeConfig, MAX_OUTSTANDING, SIGNAL_COST};
use super::effects::{Effects, counted};
use super::{Me, PendingSignal, ttl_for};

/// One item that is sent to another hub.
#[derive(Debug)]
pub(super) enum WindowItem {
    Peer {
        pending: PendingSignal,
        target_claim: ClaimNo,
    },
    Publication {
        source: ClaimNo,
        network: NetworkKey,
        payload: Bytes,
    },
    Hub {
        /// `None` for the variant that every hub can read.
        variant: Option<u8>,
        payload: Bytes,
        /// The token by which our control plane knows it; `None` if no part wants the result.
        token: Option<u64>,
    },
}

impl WindowItem {
    /// The local claim that sends it; `None` for a message of the hub.
    pub(super) fn sender(&self) -> Option<ClaimNo> {
        match self {
            WindowItem::Peer { pending, .. } => Some(pending.source.claim),
            WindowItem::Publication { source, .. } => Some(*source),
            WindowItem::Hub { .. } => None,
        }
    }

    fn cost(&self) -> usize {
        let payload = match self {
            WindowItem::Peer { pending, .. } => &pending.payload,
            WindowItem::Publication { payload, .. } | WindowItem::Hub { payload, .. } => payload,
        };
        SIGNAL_COST + payload.len()
    }

    fn body(&self) -> SignalBody {
        match self {
            WindowItem::Peer {
                pending,
                target_claim,
            } => SignalBody::Peer(PeerSignal {
                network: pending.source.network.clone(),
                from: pending.source.peer.clone(),
                from_claim: pending.source.claim,
                from_seq: pending.from_seq,
                target: pending.target.clone(),
                target_claim: *target_claim,
                kind: pending.kind,
                payload: pending.payload.clone(),
            }),
            WindowItem::Hub {
                variant: Some(variant),
                payload,
                ..
            } => SignalBody::Other {
                variant: *variant,
                payload: payload.clone(),
            },
            WindowItem::Publication { payload, .. } | WindowItem::Hub { payload, .. } => {
                SignalBody::Hub {
                    payload: payload.clone(),
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct KeptItem {
    pub(super) item: WindowItem,
    queued_at: Moment,
    /// When it was last handed to a link.
    sent_at: Option<Moment>,
    /// That link had no space for it.
    dropped: bool,
    /// Its sender has been told its result.
    pub(super) told: bool,
}

/// Whether the destination can be reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reachability {
    By(Hop),
    LostSince(Moment),
}

/// A sender may have this many bytes under way to a destination, whatever others have.
const MODEST: usize = 16 * 1024;
/// In the last quarter of a window a sender may have at most this part of the free space, so that many senders leave
/// some for more.
const MODEST_PART: usize = 64;
/// A sender with nothing under way may send at most this part of the free space at once.
const FIRST_PART: usize = 8;
/// Signals that have been under way for this long are in a queue somewhere, if they are more than [`A_LINE`].
const SLOW_AFTER: Duration = Duration::from_millis(500);
/// This many bytes under way form a queue. Fewer bytes are late because they, or the link, were lost.
const A_LINE: usize = 128 * 1024;
/// On a link that is backed up, this many times as long passes until the oldest item is sent again.
const PATIENCE: u32 = 8;

/// Bytes under way of each local claim.
type BySender = HashMap<ClaimNo, usize, FixedState>;

/// A window.
#[derive(Debug)]
pub(super) struct SendWindow {
    dest: HubId,
    /// The destination's incarnation.
    incarnation: Incarnation,
    way: Reachability,
    /// The lowest number that is kept.
    base: u64,
    /// How many lower numbers were skipped, because the destination said that it had received them.
    skipped: u64,
    ring: VecDeque<KeptItem>,
    bytes: usize,
    /// Built when shares first matter, and kept until nothing is under way.
    by_sender: Option<Box<BySender>>,
    /// When to send again, while anything is kept.
    resend_at: Moment,
    /// Nothing was acknowledged since it was last sent again.
    slowed: bool,
    pub(super) used_at: Moment,
    pub(super) timer: Option<Moment>,
}

impl SendWindow {
    pub(super) fn new(
        dest: HubId,
        incarnation: Incarnation,
        way: Reachability,
        first: u64,
        now: Moment,
    ) -> Self {
        SendWindow {
            dest,
            incarnation,
            way,
            base: first,
            skipped: 0,
            ring: VecDeque::new(),
            bytes: 0,
            by_sender: None,
            resend_at: now,
            slowed: false,
            used_at: now,
            timer: None,
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ring.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The number that the next item gets.
    pub(super) fn next(&self) -> u64 {
        self.base.saturating_add(self.ring.len() as u64)
    }

    /// The number that the next item would get if this destination had skipped none. Numbers that one destination skips
    /// do not count for others: otherwise a rogue could raise all numbers beyond those that an honest hub accepts.
    pub(super) fn given_out(&self, mutants: Mutants) -> u64 {
        if mutants.skips_are_for_all() {
            return self.next();
        }
        self.next() - self.skipped
    }

    /// Whether the destination has been out of reach for the hold.
    pub(super) fn is_past_hold(&self, now: Moment, hold: Duration) -> bool {
        matches!(self.way, Reachability::LostSince(lost) if lost + hold <= now)
    }

    /// Keeps the item, and sends it if there is a route. A refused item is returned; nothing changed. From half a
    /// window on, while the link is `backed_up`, or while acknowledgements are slow, only senders with little under way
    /// may add to it.
    pub(super) fn push(
        &mut self,
        me: Me,
        now: Moment,
        item: WindowItem,
        backed_up: bool,
        config: &ExchangeConfig,
        effects: &mut Effects,
    ) -> Result<(), (WindowItem, SignalFailure)> {
        if self.is_past_hold(now, config.hold) {
            return Err((item, SignalFailure::NoRoute));
        }
        let reserve = match item {
            WindowItem::Peer { .. } | WindowItem::Publication { .. } => 0,
            WindowItem::Hub { .. } => config.hub_reserve,
        };
        let bytes = self.bytes + item.cost();
        if bytes > config.window_bytes + reserve || self.ring.len() as u64 >= MAX_OUTSTANDING {
            return Err((item, SignalFailure::Overload));
        }
        let half_left = config.window_bytes / 2 + item.cost();
        let is_full = backed_up || self.is_slow(now) || self.space_left(config) < half_left;
        if is_full && !self.has_share_left(&item, config) {
            effects.count(counted::OVER_SHARE);
            return Err((item, SignalFailure::Overload));
        }
        if let Some((by_sender, sender)) = self.by_sender.as_mut().zip(item.sender()) {
            *by_sender.entry(sender).or_default() += item.cost();
        }
        if self.ring.is_empty() {
            self.resend_at = now + config.resend_after;
            self.slowed = false;
        }
        let seq = self.next();
        self.bytes = bytes;
        self.used_at = now;
        let sent_at = match self.way {
            Reachability::By(hop) => {
                let frame = self.frame(me, hop, seq, item.body());
                effects.link(hop.link, DataFrame::Signal(frame));
                Some(now)
            }
            Reachability::LostSince(_) => None,
        };
        self.ring.push_back(KeptItem {
            item,
            queued_at: now,
            sent_at,
            dropped: false,
            told: false,
        });
        Ok(())
    }

    fn frame(&self, me: Me, hop: Hop, seq: u64, body: SignalBody) -> SignalFrame {
        SignalFrame {
            head: FrameHead {
                ttl: ttl_for(hop.hops),
                source: me.hub,
                source_incarnation: me.incarnation,
                dest: self.dest,
                dest_incarnation: self.incarnation,
            },
            seq,
            base: self.base,
            body,
        }
    }

    /// Whether signals under way take long, in whichever queue they are. Sending them again would not help.
    fn is_slow(&self, now: Moment) -> bool {
        let oldest = self.ring.front().filter(|entry| entry.sent_at.is_some());
        self.bytes > A_LINE && oldest.is_some_and(|entry| entry.queued_at + SLOW_AFTER <= now)
    }

    /// Sends items that were never sent, that no link accepted, or that were last sent at least `ago` before now: the
    /// first, and more up to `most` bytes in total. If `one` is set, it sends again only the first of the items that a
    /// link accepted.
    fn send_again(
        &mut self,
        me: Me,
        now: Moment,
        ago: Duration,
        most: usize,
        one: bool,
        effects: &mut Effects,
    ) {
        let Reachability::By(hop) = self.way else {
            return;
        };
        let mut ring = std::mem::take(&mut self.ring);
        let mut sent = 0;
        for (seq, entry) in (self.base..).zip(&mut ring) {
            let stays = |sent: Moment| !entry.dropped && now - sent < ago;
            if entry.sent_at.is_some_and(stays) {
                continue;
            }
            let was_taken = entry.sent_at.is_some() && !entry.dropped;
            if one && was_taken && sent > 0 {
                continue;
            }
            let cost = entry.item.cost();
            if sent > 0 && sent + cost > most {
                break;
            }
            sent += cost;
            entry.dropped = false;
            if entry.sent_at.replace(now).is_some() {
                effects.count(counted::RESENT);
            }
            let frame = self.frame(me, hop, seq, entry.item.body());
            effects.link(hop.link, DataFrame::Signal(frame));
        }
        self.ring = ring;
    }

    /// The link had no space for the last frame with this number: it is not in the link's queue.
    pub(super) fn dropped(&mut self, seq: u64) {
        if let Some(entry) = self.entry(seq) {
            entry.dropped = true;
        }
    }

    /// The item with this number.
    pub(super) fn entry(&mut self, seq: u64) -> Option<&mut KeptItem> {
        let place = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        self.ring.get_mut(place)
    }

    /// The destination has this next hop from now on. If that is another link than before, all items are sent again:
    /// those under way on the old link may be lost.
    pub(super) fn found(
        &mut self,
        me: Me,
        now: Moment,
        hop: Hop,
        config: &ExchangeConfig,
        effects: &mut Effects,
    ) {
        let before = self.link();
        self.way = Reachability::By(hop);
        if before != Some(hop.link) && !self.ring.is_empty() {
            self.send_again(me, now, Duration::ZERO, usize::MAX, false, effects);
            self.resend_at = now + config.resend_after;
            self.slowed = false;
        }
    }

    /// The free space, in bytes; or the free part of the numbers as a share of the window, if that is less.
    fn space_left(&self, config: &ExchangeConfig) -> usize {
        let numbers = MAX_OUTSTANDING.saturating_sub(self.ring.len() as u64);
        let by_number = (config.window_bytes as u64).saturating_mul(numbers) / MAX_OUTSTANDING;
        let by_bytes = config.window_bytes.saturating_sub(self.bytes);
        by_bytes.min(usize::try_from(by_number).unwrap_or(usize::MAX))
    }

    /// Whether this item's sender has nothing under way here, little including this item, or less than half of its fair
    /// share: a sender of little gets through when others have filled the way. The last quarter of a window is for such
    /// senders alone, and the limit for "little" shrinks with it. Messages of hubs are always allowed.
    fn has_share_left(&mut self, item: &WindowItem, config: &ExchangeConfig) -> bool {
        let Some(sender) = item.sender() else {
            return true;
        };
        let space = self.space_left(config);
        let ring = &self.ring;
        let by_sender = self.by_sender.get_or_insert_with(|| {
            let mut by_sender = Box::<BySender>::default();
            for entry in ring {
                if let Some(sender) = entry.item.sender() {
                    *by_sender.entry(sender).or_default() += entry.item.cost();
                }
            }
            by_sender
        });
        let own = by_sender.get(&sender).copied();
        let is_first = own.is_none();
        let senders = by_sender.len() + usize::from(is_first);
        let cost = item.cost();
        let own = own.unwrap_or(0) + cost;
        if is_first && cost <= space / FIRST_PART {
            return true;
        }
        if space <= config.window_bytes / 4 {
            return own <= MODEST.min(space / MODEST_PART);
        }
        own <= MODEST || own * senders * 2 <= self.bytes + cost
    }

    pub(super) fn link(&self) -> Option<LinkId> {
        match self.way {
            Reachability::By(hop) => Some(hop.link),
            Reachability::LostSince(_) => None,
        }
    }

    /// The destination cannot be reached from now on.
    pub(super) fn lost(&mut self, now: Moment) {
        if let Reachability::By(_) = self.way {
            self.way = Reachability::LostSince(now);
        }
    }

    /// The destination has another incarnation: the items will never be acknowledged, and it knows of no skipped
    /// numbers.
    pub(super) fn reborn(&mut self, incarnation: Incarnation) -> Vec<(WindowItem, SignalFailure)> {
        self.incarnation = incarnation;
        let gone = self.give_up_all();
        self.base -= std::mem::take(&mut self.skipped);
        gone
    }

    /// Gives up all items. Those that were handed to a link may have arrived.
    pub(super) fn give_up_all(&mut self) -> Vec<(WindowItem, SignalFailure)> {
        let mut gone = Vec::new();
        while self.give_up_first(&mut gone) {}
        gone
    }

    /// Gives up all items, and uses numbers above `upto` from now on.
    pub(super) fn skip_past(&mut self, upto: u64) -> Vec<(WindowItem, SignalFailure)> {
        let gone = self.give_up_all();
        let skipped = upto.saturating_add(1).saturating_sub(self.base);
        self.base += skipped;
        self.skipped += skipped;
        gone
    }

    /// Gives up the oldest item, if there is one. It is added to `gone`, unless its sender knows already.
    fn give_up_first(&mut self, gone: &mut Vec<(WindowItem, SignalFailure)>) -> bool {
        let Some(entry) = self.pop() else {
            return false;
        };
        let why = match entry.sent_at {
            Some(_) => SignalFailure::Unknown,
            None => SignalFailure::NoRoute,
        };
        if !entry.told {
            gone.push((entry.item, why));
        }
        true
    }

    fn let_go(&mut self, item: &WindowItem) {
        if self.ring.is_empty() {
            self.by_sender = None;
        }
        let Some((by_sender, sender)) = self.by_sender.as_mut().zip(item.sender()) else {
            return;
        };
        if let Some(own) = by_sender.get_mut(&sender) {
            *own -= item.cost();
            if *own == 0 {
                by_sender.remove(&sender);
            }
        }
    }

    fn pop(&mut self) -> Option<KeptItem> {
        let entry = self.ring.pop_front()?;
        self.base = self.base.saturating_add(1);
        self.bytes -= entry.item.cost();
        self.let_go(&entry.item);
        Some(entry)
    }

    /// All items up to `upto` were received; returns the refused items, in order. `None` if that is impossible.
    pub(super) fn acknowledged(
        &mut self,
        now: Moment,
        upto: u64,
        refused: impl Fn(u64) -> Option<RefusedWhy>,
        config: &ExchangeConfig,
    ) -> Option<Vec<(WindowItem, RefusedWhy)>> {
        if upto >= self.next() {
            return None;
        }
        let mut back = Vec::new();
        let before = self.base;
        while self.base <= upto && self.ring.front().is_some_and(|e| e.sent_at.is_some()) {
            let why = refused(self.base);
            let Some(entry) = self.pop() else { break };
            let why = why.filter(|_| !entry.told);
            back.extend(why.map(|why| (entry.item, why)));
        }
        if self.base > before {
            self.resend_at = now + config.resend_after;
            self.slowed = false;
        }
        Some(back)
    }

    /// Does everything that is due, and returns the items that are given up. While the link is `backed_up`, almost no
    /// item that it accepted is sent again.
    pub(super) fn handle_timer(
        &mut self,
        me: Me,
        now: Moment,
        backed_up: bool,
        config: &ExchangeConfig,
        effects: &mut Effects,
    ) -> Vec<(WindowItem, SignalFailure)> {
        if self.is_past_hold(now, config.hold) {
            return self.give_up_all();
        }
        let mut gone = Vec::new();
        while let Some(first) = self.ring.front() {
            if first.queued_at + config.give_up_after > now {
                break;
            }
            self.give_up_first(&mut gone);
        }
        if self.resend_at <= now && self.link().is_some() {
            // An item that is late only because it waits in a queue would wait there twice. The destination keeps no
            // more than `early_bytes` of what comes behind a gap.
            let patience = if backed_up { PATIENCE } else { 1 };
            let ago = config.resend_after * patience;
            self.send_again(me, now, ago, config.early_bytes, backed_up, effects);
            let pause = config.resend_after * (1 + u32::from(self.slowed));
            self.slowed = true;
            self.resend_at = now + pause;
        }
        gone
    }

    /// When there is something to do next, if nothing else happens before.
    pub(super) fn due(&self, config: &ExchangeConfig) -> Option<Moment> {
        let given_up = self.ring.front()?.queued_at + config.give_up_after;
        Some(given_up.min(match self.way {
            Reachability::By(_) => self.resend_at,
            Reachability::LostSince(lost) => lost + config.hold,
        }))
    }
}
