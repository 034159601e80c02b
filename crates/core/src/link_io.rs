//! Input and output of links: finished handshakes, control messages, and dials.
//!
//! Passes each frame to the part that handles it, and asks the parts in order for the next frame of a link. Part of
//! [`Core`], whose doc has the contract.

use bytes::{Bytes, BytesMut};

use super::Core;
use super::api::{Bye, DialFailure, LinkUp, Output};
use super::dial::LinkAdmission;
use super::ids::{DialId, HubId, Incarnation, LeaveReason, LinkId, Now};
use super::linkage::Codec;
use super::routing::Routing;
use crate::frames::{
    Change, ControlFrame, Delta, DigestEntry, FOLLOWS_SINCE, PULLS_SINCE, Scope, Set,
};
use crate::reach::Reach;

/// The most records, lines, requests and changes in one message: this bounds the work for it. A hub sends messages of
/// about 16 KiB, in which there is space for half as many of the smallest.
const MAX_PARTS: usize = 8192;
/// A summary or a part of a digest costs as much work as this many records: all records are read, however short the
/// frame is. A message has three at most.
const COMPARISON_PARTS: usize = 1024;

fn parts_of(frame: &ControlFrame) -> usize {
    let parts = match frame {
        ControlFrame::Digest(lines) => COMPARISON_PARTS + lines.len(),
        ControlFrame::Announce(lines) => lines.len(),
        ControlFrame::Records(records) => records.len(),
        ControlFrame::Want(hubs) => hubs.len(),
        ControlFrame::Summary(_) => COMPARISON_PARTS,
        ControlFrame::Delta(delta) | ControlFrame::Changes(_, delta) => delta.entries.len(),
        _ => 1,
    };
    // An empty frame is work too.
    parts.max(1)
}

impl Core {
    /// A handshake has succeeded, with a hub at any address.
    pub fn handle_link_up(&mut self, now: Now, up: LinkUp) {
        self.handle_link_up_from(now, up, Reach::Global);
    }

    /// A handshake has succeeded, with a hub at this reach.
    pub fn handle_link_up_from(&mut self, now: Now, up: LinkUp, reach: Reach) {
        if self.left {
            return self.close(up.link, Bye::IdentityClash);
        }
        if up.hub != self.me && !self.routing.topology.is_plausible(up.hub, up.incarnation) {
            return self.close(up.link, Bye::BadFrame);
        }
        if up.dialed.is_none() {
            let follows = up.version >= PULLS_SINCE;
            match self.linkage.dialer.admit(now.at, up.hub, follows) {
                LinkAdmission::Welcome => {}
                LinkAdmission::Full => return self.close(up.link, Bye::Full),
                LinkAdmission::Elsewhere => return self.send_on(now, &up, reach),
            }
        }
        self.routing.topology.on_link_up(up.link, up.version);
        let mut codec = Codec::new(up.hub, reach);
        codec.follows = up.version >= FOLLOWS_SINCE;
        self.linkage.codecs.insert(up.link, codec);
        self.exchange.lock().on_link_up(up.link, up.hub);
        self.linkage
            .links
            .on_up_knowing(now.at, &up, self.routing.topology.known(up.hub));
        self.linkage
            .dialer
            .on_neighbour_up(now.at, up.hub, up.dialed);
        if self.linkage.links.link_to(up.hub).is_none() {
            // The link was refused at once: the dialler must not take it for a neighbour.
            self.linkage.dialer.on_neighbour_down(now.at, up.hub);
        }
        self.settle(now);
    }

    /// Names other hubs to a hub that knows no other, and closes its link.
    fn send_on(&mut self, now: Now, up: &LinkUp, reach: Reach) {
        let others = self.linkage.dialer.introductions();
        let records = others
            .iter()
            .filter_map(|hub| self.routing.topology.record(*hub).cloned())
            .collect();
        let mut codec = Codec::new(up.hub, reach);
        codec.queue.push_back(ControlFrame::Records(records));
        codec.queue.push_back(ControlFrame::Bye(Bye::Full));
        self.linkage.codecs.insert(up.link, codec);
        self.linkage.closing_links.begin(now.at, up.link, Bye::Full);
        self.counters.sent_on += 1;
        self.settle(now);
    }

    /// The socket is gone.
    pub fn handle_link_down(&mut self, now: Now, link: LinkId) {
        self.linkage.links.on_down(now.at, link);
        self.forget_link(link);
        self.settle(now);
    }

    /// A control message arrived on a link. If it cannot be read, the link is closed.
    pub fn handle_message(&mut self, now: Now, link: LinkId, message: &Bytes) {
        let Some(codec) = self.linkage.codecs.get_mut(&link) else {
            return;
        };
        self.linkage.links.on_heard(now.at, link);
        match codec.decoder.decode(message) {
            Ok(frames) if self.linkage.closing_links.contains(link) => {
                self.handle_closing_frames(now, link, frames)
            }
            Ok(frames)
                if frames.iter().map(parts_of).sum::<usize>() <= MAX_PARTS
                    || self.mutants.endless_messages() =>
            {
                for frame in frames {
                    self.handle_frame(now, link, frame);
                }
            }
            Ok(_) | Err(_) => self.drop_link(now, link, Bye::BadFrame),
        }
        self.settle(now);
    }

    /// The reason of a link that is closing: its other end may close it first.
    pub fn closing_reason(&self, link: LinkId) -> Option<Bye> {
        self.linkage.closing_links.said(link)
    }

    /// Sends the reason why the link is over, and leaves it open for the other end's answer.
    pub(super) fn begin_closing(&mut self, now: Now, link: LinkId, bye: Bye) {
        self.routing.forget_sets_by(link);
        self.routing.topology.on_link_closed(link);
        self.linkage.begin_closing(now.at, link, bye);
    }

    /// Frames on a closing link: only the other end's reason counts.
    pub(super) fn handle_closing_frames(
        &mut self,
        now: Now,
        link: LinkId,
        frames: Vec<ControlFrame>,
    ) {
        for frame in frames {
            let ControlFrame::Bye(said) = frame else {
                continue;
            };
            let echo = self.linkage.closing_links.said(link) == Some(said);
            if let Bye::StaleIncarnation { known } = said
                && !echo
            {
                self.routing.topology.on_stale(now.at, known);
            }
            self.finish_closing(link);
        }
    }

    pub(super) fn finish_closing(&mut self, link: LinkId) {
        if let Some(bye) = self.linkage.closing_links.end(link) {
            self.forget_link(link);
            self.close(link, bye);
        }
    }

    /// A data message arrived on a link: a sign of life.
    pub fn handle_heard(&mut self, now: Now, link: LinkId) {
        self.linkage.links.on_heard(now.at, link);
    }

    /// The driver has to close a link: its data messages cannot be read.
    pub fn drop_link(&mut self, now: Now, link: LinkId, bye: Bye) {
        if self.linkage.codecs.contains_key(&link) {
            self.linkage.links.on_down(now.at, link);
            self.forget_link(link);
            self.close(link, bye);
            self.settle(now);
        }
    }

    pub(super) fn handle_frame(&mut self, now: Now, link: LinkId, frame: ControlFrame) {
        match frame {
            ControlFrame::Ping { token } => self.linkage.links.on_ping(link, token),
            ControlFrame::Pong { token } => self.linkage.links.on_pong(now.at, link, token),
            ControlFrame::Bye(bye) => self.handle_bye(now, link, bye),
            ControlFrame::Digest(entries) => {
                self.routing.topology.handle_digest(now.at, link, &entries)
            }
            ControlFrame::Records(records) => {
                self.counters.records += records.len() as u64;
                let said = records.iter().map(|record| (record.hub, record.version()));
                let said: Vec<_> = said.collect();
                self.routing.topology.handle_records(now.at, link, records);
                self.note_tellers(link, &said);
            }
            ControlFrame::Summary(summary) => {
                self.routing.topology.handle_summary(now.at, link, &summary)
            }
            ControlFrame::Announce(words) => {
                self.routing.topology.handle_announce(now.at, link, &words);
                // A hub that has a record would have sent it: asking each again would be useless.
                let version = |word: &DigestEntry| (word.incarnation, word.number);
                let said: Vec<_> = words.iter().map(|word| (word.hub, version(word))).collect();
                self.note_tellers(link, &said);
            }
            ControlFrame::Want(hubs) => self.routing.topology.handle_want(link, &hubs),
            ControlFrame::Subscribe {
                origin,
                incarnation,
                seq,
            } => self
                .routing
                .handle_follow(link, Set::all(origin), incarnation, seq),
            ControlFrame::Follow {
                set,
                incarnation,
                seq,
            } => self.routing.handle_follow(link, set, incarnation, seq),
            ControlFrame::Unsubscribe { origin } => {
                self.routing.handle_unfollow(link, &Set::all(origin))
            }
            ControlFrame::Unfollow { set } => self.routing.handle_unfollow(link, &set),
            ControlFrame::Delta(delta) => self.handle_delta(now, link, Scope::All, delta),
            ControlFrame::Changes(scope, delta) => self.handle_delta(now, link, scope, delta),
            ControlFrame::Audit {
                origin,
                incarnation,
                seq,
                hash,
            } => {
                self.handle_audit(now, origin, incarnation, seq, hash);
            }
            // A frame of a newer version: skipped.
            ControlFrame::Unknown { .. } => {}
        }
    }

    /// The other end of `link` has these versions of records.
    fn note_tellers(&mut self, link: LinkId, said: &[(HubId, (Incarnation, u64))]) {
        if let Some(codec) = self.linkage.codecs.get(&link) {
            self.routing.topology.note_tellers(said, codec.reach);
        }
    }

    pub(super) fn handle_bye(&mut self, now: Now, link: LinkId, bye: Bye) {
        if let Bye::StaleIncarnation { known } = bye {
            self.linkage.closing_links.tell(link);
            self.routing.topology.on_stale(now.at, known);
        }
        self.linkage.links.on_bye(now.at, link, bye);
    }

    pub(super) fn handle_delta(&mut self, now: Now, link: LinkId, scope: Scope, delta: Delta) {
        let origin = delta.origin;
        let set = Set { hub: origin, scope };
        if origin == self.me {
            return;
        }
        // Records of the same message may have changed which hubs are reachable: a hub whose hold has not begun yet
        // would be hidden, and come back a moment later.
        self.drain_topology_events(now);
        if set.scope != Scope::Networks {
            self.observe(now, &delta);
        }
        let (applied, left_out) = {
            let mut directory = self.directory.write();
            let before = directory.left_out();
            let applied =
                self.routing
                    .subscriptions
                    .handle_delta(now.at, &mut directory, link, &set, delta);
            (applied, directory.left_out() - before)
        };
        if left_out > 0 {
            self.alarm(now, "claims-left-out", || {
                format!("hub {origin} claims more peers, or shows more data of them, than this hub keeps of one or of all: {left_out} claims were left out")
            });
        }
        self.counters.changes += applied.fresh as u64;
        self.counters.repeated += applied.repeated as u64;
        self.counters.resyncs += u64::from(applied.resync && applied.advanced);
        if applied.gap {
            self.counters.gaps += 1;
            self.alarm(now, "delta-gap", || {
                format!("hub {origin} sent changes that do not follow")
            });
        }
        if applied.advanced {
            self.routing.subscribers.on_advance(&set);
            self.routing.show_set(&set, LeaveReason::HubLost);
            self.on_set_advanced(now, &set);
            self.rest_if_whole(now);
        }
    }

    pub(super) fn observe(&mut self, now: Now, delta: &Delta) {
        let newest = delta
            .entries
            .iter()
            .filter_map(|entry| match &entry.change {
                Change::Claim(claim) => Some(claim.hlc),
                _ => None,
            });
        let Some(newest) = newest.max() else { return };
        if !self.presence.clock.observe(now.wall_ms, newest) {
            let origin = delta.origin;
            self.alarm(now, "clock-ahead", || {
                format!("the clock of hub {origin} is over 10 s ahead")
            });
        }
    }

    pub(super) fn handle_audit(
        &mut self,
        now: Now,
        origin: HubId,
        incarnation: Incarnation,
        seq: u64,
        hash: u64,
    ) {
        let Some(here) = self.directory.read().origin_state(&origin) else {
            return;
        };
        let same = here.complete && here.incarnation == incarnation && here.seq == seq;
        if same && here.hash != hash {
            self.alarm(now, "audit-mismatch", || {
                format!("the claims of hub {origin} differ from our neighbour's")
            });
        }
    }

    /// Forgets everything about a link except its entry in the table of links.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.linkage.codecs.remove(&link);
        self.exchange.lock().on_link_down(link);
        self.linkage.closing_links.end(link);
        self.routing.forget_sets_by(link);
        self.routing.topology.on_link_closed(link);
    }

    pub(super) fn close(&mut self, link: LinkId, bye: Bye) {
        self.outputs.push_back(Output::Close { link, bye });
    }

    /// The next control message for a link, of about `max` bytes at most, except for single frames that are longer.
    /// Link control goes first, then topology, then the directory.
    pub fn poll_transmit(&mut self, link: LinkId, max: usize) -> Option<Bytes> {
        let mut message = BytesMut::new();
        while message.len() < max {
            let Some(frame) = self.next_frame(link, max - message.len()) else {
                break;
            };
            let codec = self.linkage.codecs.get_mut(&link)?;
            let before = message.len();
            codec.encoder.encode(&frame, &mut message);
            self.counters.sent.count(&frame, message.len() - before);
        }
        (!message.is_empty()).then(|| message.freeze())
    }

    pub(super) fn next_frame(&mut self, link: LinkId, budget: usize) -> Option<ControlFrame> {
        if !self.linkage.codecs.contains_key(&link) {
            return None;
        }
        if let Some(frame) = self.linkage.links.poll_control(link) {
            return Some(frame);
        }
        if let Some(frame) = self.routing.topology.poll_transmit(link, budget) {
            return Some(frame);
        }
        if let Some(frame) = self.linkage.next_queued(link) {
            return Some(frame);
        }
        self.routing
            .subscribers
            .poll_delta(&self.directory.read(), link, budget)
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) may return a message for this link.
    pub fn has_pending(&self, link: LinkId) -> bool {
        self.linkage.has_pending(link)
            || self.routing.topology.has_pending(link)
            || self.routing.subscribers.has_pending(link)
    }

    /// Sets the addresses that are dialled for ever; called again when DNS gives other ones.
    pub fn set_bootstrap(&mut self, now: Now, urls: Vec<String>) {
        self.linkage.dialer.set_bootstrap(now.at, urls);
        self.settle(now);
    }

    /// A dial made no link.
    pub fn handle_dial_failed(&mut self, now: Now, dial: DialId, why: DialFailure) {
        self.linkage.dialer.on_dial_failed(now.at, dial, why);
        self.settle(now);
    }
}

impl Routing {
    /// A neighbour takes a set. Its records take the same way as all of a hub's claims, or as its networks.
    fn handle_follow(&mut self, link: LinkId, set: Set, incarnation: Incarnation, seq: u64) {
        let hub = set.hub;
        if !matches!(set.scope, Scope::Of(_)) {
            self.topology.on_subscribed(link, hub);
        }
        if self
            .subscribers
            .on_subscribe(link, set.clone(), incarnation, seq)
        {
            self.on_followed(&set);
        }
    }

    fn handle_unfollow(&mut self, link: LinkId, set: &Set) {
        self.subscribers.on_unsubscribe(link, set);
        let takes = |set: &Set| self.subscribers.children(set).any(|child| child == link);
        if !takes(&Set::all(set.hub)) && !takes(&Set::networks(set.hub)) {
            self.topology.on_unsubscribed(link, &set.hub);
        }
        self.on_followed(set);
    }

    /// Nothing is taken by this link any more, and nothing given.
    pub(super) fn forget_sets_by(&mut self, link: LinkId) {
        self.subscriptions.on_link_down(link);
        for set in self.subscribers.on_link_down(link) {
            self.on_followed(&set);
        }
    }
}
