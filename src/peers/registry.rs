//! The peers that are connected to this hub: from a claim to the mailbox of its session, and from a network to
//! its members here.
//!
//! The interface through which the mesh reaches local peers. Sessions insert their claims before they join and remove
//! them when they leave; the mesh's driver and the data path call everything else, from any thread, and nothing here
//! waits. Knows no socket; the text for a peer is left to its dialect.
//!
//! Invariants: the data path takes one shard's read lock, for a look-up. A full mailbox affects only its own peer.
//! Order rule: a member is on its network's list before its roster is queued; so, with one caller for
//! [`Registry::accepted`] and [`Registry::notify`], no change is lost between the two calls and none is told twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use hubmesh_core::api::Room;
use hubmesh_core::api::{
    Delivery, Failed, JoinRefusal, PeerEvent, Publication, Recipients, Sender, SignalFailure,
    Unpublished, Unread,
};
use hubmesh_core::frames::RefusedWhy;
use hubmesh_core::ids::{
    ClaimNo, Dialect, HubId, LeaveReason, Moment, NetworkKey, PeerId, SignalKind, mix, stable_hash,
};
use hubmesh_core::policy::{Policies, Waiting};
use hubmesh_json as json;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::clock::unix_ms;
use crate::config::AdminSettings;
use crate::dialect::words::Sent;
use crate::dialect::{self, DeliveredSignal, Event, Failing, Notice};
use crate::metrics::Metrics;
use crate::peers::mailbox::{Control, Mailbox, MailboxFull, Receipt, WakeUp};
use crate::peers::reason::CloseReason;
use crate::watch::Watch;

mod bursts;
mod peer;
mod rosters;
mod runs;
mod shown;

use bursts::Bursts;
pub use peer::Peer;

/// The number of locks for the claims: more than threads, so that joins rarely meet signals.
const SHARDS: usize = 32;

/// How many members are woken for notices before other tasks run. These tasks wait for as many writes.
const WOKEN_AT_ONCE: usize = 64;

type Claims = HashMap<ClaimNo, Arc<Peer>, foldhash::fast::RandomState>;

/// All local claims.
pub struct Registry {
    shards: [RwLock<Claims>; SHARDS],
    /// The members that are told of others in their network, or of publications there; spread by network.
    members: [RwLock<HashMap<NetworkKey, Claims>>; SHARDS],
    bursts: Mutex<Bursts>,
    /// The members that still have to be woken for notices that were held back.
    waking: Mutex<Vec<Arc<Peer>>>,
    metrics: Arc<Metrics>,
    policies: Policies,
    watch: Arc<Watch>,
}

/// How a text is put into a mailbox.
type Push = fn(&Mailbox, Utf8Bytes) -> Result<(), MailboxFull>;

impl Registry {
    /// An empty registry without events for operators.
    pub fn new(metrics: Arc<Metrics>, policies: Policies) -> Self {
        let watch = Watch::new(HubId([0; 20]), &AdminSettings::default(), &metrics);
        Registry::watched(metrics, policies, watch)
    }

    /// An empty registry, whose events operators are told of.
    pub fn watched(metrics: Arc<Metrics>, policies: Policies, watch: Arc<Watch>) -> Self {
        Registry {
            watch,
            shards: std::array::from_fn(|_| RwLock::default()),
            members: std::array::from_fn(|_| RwLock::default()),
            bursts: Mutex::default(),
            waking: Mutex::default(),
            metrics,
            policies,
        }
    }

    /// Inserts a claim, before the mesh is asked for it.
    pub fn insert(&self, claim: ClaimNo, peer: Arc<Peer>) {
        self.shard(claim).write().insert(claim, peer);
    }

    /// Removes a claim that is given up for this reason, if it is registered.
    pub fn remove(&self, claim: ClaimNo, reason: LeaveReason) {
        let Some(peer) = self.shard(claim).write().remove(&claim) else {
            return;
        };
        self.show_leave(&peer, reason);
        let network = &peer.source.network;
        let mut networks = self.members_shard(network).write();
        let Some(members) = networks.get_mut(network) else {
            return;
        };
        members.remove(&claim);
        if members.is_empty() {
            networks.remove(network);
        }
    }

    /// Hands a signal from another hub to its target. Its payload is checked first.
    pub fn deliver(&self, delivery: &Delivery) -> Result<(), RefusedWhy> {
        let dialect = delivery.network.dialect();
        let most = dialect.map_or(json::MAX_DEPTH, dialect::max_depth);
        let payload = json::one_value(&delivery.payload, most).ok_or(RefusedWhy::Forged)?;
        self.hand_over(delivery, payload)
    }

    /// Hands a signal of a local peer to its target. The sender's dialect has already checked the payload.
    pub fn deliver_local(&self, delivery: &Delivery) -> Result<(), RefusedWhy> {
        let payload = std::str::from_utf8(&delivery.payload).map_err(|_| RefusedWhy::Forged)?;
        self.hand_over(delivery, payload)
    }

    fn hand_over(&self, delivery: &Delivery, payload: &str) -> Result<(), RefusedWhy> {
        let peer = self.find(delivery.to).ok_or(RefusedWhy::NotHere)?;
        let meant = peer.source.network == delivery.network && peer.source.peer == delivery.target;
        if !meant || peer.is_absent() {
            return Err(RefusedWhy::NotHere);
        }
        let signal = DeliveredSignal {
            network: &delivery.network,
            from: &delivery.from,
            target: &delivery.target,
            kind: delivery.kind,
            payload,
        };
        let text = dialect::encode_signal(peer.dialect, &signal, unix_ms());
        let text = text.ok_or(RefusedWhy::Forged)?;
        let receipt = Receipt {
            sender: delivery.sender,
            to: delivery.to,
            kind: delivery.kind,
        };
        peer.mailbox
            .push_signal(text, receipt)
            .map_err(|MailboxFull| RefusedWhy::Overload)?;
        if let Some(sent) = dialect::sent_signal(peer.dialect, delivery.kind) {
            self.metrics.messages_sent.inc(peer.dialect, sent);
        }
        Ok(())
    }

    /// Hands a publication from another hub to the members of its network, which has `members` in the whole mesh. Its
    /// payload is checked first.
    pub fn publish(&self, publication: &Publication, members: usize) -> Result<(), RefusedWhy> {
        let dialect = publication.network.dialect().ok_or(RefusedWhy::Forged)?;
        let payload = json::one_value(&publication.payload, dialect::max_depth(dialect));
        let payload = payload.ok_or(RefusedWhy::Forged)?;
        self.hand_out(dialect, publication, payload, members, None)
    }

    /// Hands a local peer's publication to the other members of its network, and to the sender unless it is the
    /// exception. The sender's dialect has already checked the payload.
    pub fn publish_local(
        &self,
        publication: &Publication,
        members: usize,
        except: Option<ClaimNo>,
    ) -> Result<(), RefusedWhy> {
        let dialect = publication.network.dialect().ok_or(RefusedWhy::Forged)?;
        let payload = std::str::from_utf8(&publication.payload);
        let payload = payload.map_err(|_| RefusedWhy::Forged)?;
        self.hand_out(dialect, publication, payload, members, except)
    }

    /// Encodes the publication once for all members. Members whose mailboxes have no space left for its sender do not
    /// get it.
    fn hand_out(
        &self,
        dialect: Dialect,
        publication: &Publication,
        payload: &str,
        members: usize,
        except: Option<ClaimNo>,
    ) -> Result<(), RefusedWhy> {
        if !self.policies.of(dialect).fans_out {
            return Err(RefusedWhy::Forged);
        }
        let network = &publication.network;
        let written = dialect::DeliveredPublication {
            network,
            from: &publication.from,
            kind: publication.kind,
            payload,
            members,
        };
        let text = dialect::encode_publication(dialect, &written, unix_ms());
        let text = text.ok_or(RefusedWhy::Forged)?;
        let networks = self.members_shard(network).read();
        let (mut told, mut all) = (0, true);
        for (claim, peer) in networks.get(network).into_iter().flatten() {
            if Some(*claim) == except || peer.is_absent() {
                continue;
            }
            // The sender's own session is awake, and handles this publication: another wake-up would cost another turn.
            let wake = match publication.sender == Sender::Here(*claim) {
                true => WakeUp::Later,
                false => WakeUp::Now,
            };
            let (text, sender) = (text.clone(), publication.sender);
            let pushed = peer.mailbox.push_publication(text, sender, wake);
            told += u64::from(pushed.is_ok());
            all &= pushed.is_ok();
        }
        drop(networks);
        let sent = &self.metrics.messages_sent;
        sent.of(dialect, Sent::Publish).inc_by(told);
        if all {
            Ok(())
        } else {
            Err(RefusedWhy::Overload)
        }
    }

    /// Tells a sender that its publication did not reach all members, or may not have reached them.
    pub fn unpublished(&self, unpublished: &Unpublished) {
        let Some(peer) = self.find(unpublished.source) else {
            return;
        };
        let why = unpublished.why;
        self.metrics.signals_failed.inc(why);
        // Messages that other hubs can cause without limit leave space for this hub's own.
        let text = peer.encode(&Event::Unpublished { why });
        if text.is_some_and(|text| peer.mailbox.push_spare(text).is_ok()) {
            self.metrics.messages_sent.inc(peer.dialect, Sent::Error);
        }
    }

    /// Tells a sender that its signal was not delivered, or may not have been delivered.
    pub fn failed(&self, failed: Failed) {
        self.tell_of(failed, Mailbox::push);
    }

    /// Tells a sender that its receiver on another hub left a signal unread. A sender that itself does not read is not
    /// told: another hub must not be able to fill its mailbox.
    pub fn returned(&self, failed: Failed) {
        self.tell_of(failed, Mailbox::push_spare);
    }

    fn tell_of(&self, failed: Failed, push: Push) {
        let Failed {
            source,
            target,
            kind,
            why,
            repeats_previous,
            ..
        } = failed;
        self.tell_failed(source, &target, kind, why, repeats_previous, push);
    }

    /// Tells the local senders of the signals in the mailbox of a peer that has left. Returns the signals of other
    /// hubs' peers.
    pub fn unread(&self, target: &PeerId, signals: &[Receipt]) -> Vec<Unread> {
        let mut told = HashSet::new();
        let mut elsewhere = Vec::new();
        for &Receipt { sender, to, kind } in signals {
            match sender {
                Sender::Here(source) => {
                    let repeats_previous = !told.insert(source);
                    let why = SignalFailure::NoSuchPeer;
                    self.tell_failed(source, target, kind, why, repeats_previous, Mailbox::push);
                }
                Sender::There(sender) => elsewhere.push(Unread { sender, to, kind }),
            }
        }
        elsewhere
    }

    fn tell_failed(
        &self,
        source: ClaimNo,
        target: &PeerId,
        kind: SignalKind,
        why: SignalFailure,
        repeats_previous: bool,
        push: Push,
    ) {
        let Some(peer) = self.find(source) else {
            return;
        };
        self.metrics.signals_failed.inc(why);
        let was_told = self.was_told(&peer, &target.to_string(), kind);
        let event = Event::Undelivered {
            sender: &peer.source.peer,
            target,
            kind,
            why,
            repeats_previous: repeats_previous || was_told,
        };
        // A full mailbox is closing already, or its peer does not read.
        let text = peer.encode(&event);
        if text.is_some_and(|text| push(&peer.mailbox, text).is_ok()) {
            self.metrics.messages_sent.inc(peer.dialect, Sent::Error);
        }
    }

    /// Whether this failure of a peer's signal, of this kind and for a target of this name, belongs to a failure that
    /// the peer was told of. Of failures that belong together the peer is told once.
    pub fn was_told(&self, peer: &Peer, target: &str, kind: SignalKind) -> bool {
        let begins = match dialect::failing(peer.dialect, kind) {
            Failing::Untold | Failing::Alone => return false,
            Failing::Begins => true,
            Failing::Follows => false,
        };
        let (target, now) = (stable_hash(target.as_bytes()), Instant::now());
        let wait = match self.policies.of(peer.dialect).waiting {
            Waiting::Together(wait) => wait,
            Waiting::Alone => Duration::ZERO,
        };
        peer.failures.goes_with_one(target, begins, now, wait)
    }

    /// A claim is accepted: it becomes a member unless it is quiet, and is told of the other members.
    pub fn accepted(&self, claim: ClaimNo, roster: Vec<(PeerId, Option<Bytes>)>) {
        self.accepted_in(claim, roster, None);
    }

    /// A claim in a room is accepted; the room is new if the claim created it.
    pub fn accepted_in(
        &self,
        claim: ClaimNo,
        roster: Vec<(PeerId, Option<Bytes>)>,
        room: Option<(&Room, bool)>,
    ) {
        let Some(peer) = self.find(claim) else {
            return;
        };
        let policy = self.policies.of(peer.dialect);
        if !peer.is_quiet() && (policy.tells_of_peers || policy.fans_out) {
            self.enlist(claim, &peer);
        }
        self.show_join(&peer);
        self.tell_roster(&peer, roster, room);
        peer.mailbox.tell(Control::Accepted(claim));
    }

    fn enlist(&self, claim: ClaimNo, peer: &Arc<Peer>) {
        let mut networks = self.members_shard(&peer.source.network).write();
        // A caller that removed the claim meanwhile found no member to remove.
        if !self.shard(claim).read().contains_key(&claim) {
            return;
        }
        networks
            .entry_ref(&peer.source.network)
            .or_default()
            .insert(claim, Arc::clone(peer));
    }

    /// A claim is refused: its session is told.
    pub fn refused(&self, claim: ClaimNo, why: JoinRefusal) {
        if matches!(why, JoinRefusal::Taken | JoinRefusal::TakeoverLimit) {
            self.metrics.duplicates.inc();
        }
        self.show_refusal(claim, why.into());
        self.dismiss(claim, why.into());
    }

    /// A newer connection has the claim's id: the session of the older one is told. A client that reconnects whatever
    /// the reason, as `peerpigeon` does, is subject to the rules for a held id, and these rules end the repetition: the
    /// older client is refused while the newer one lives.
    pub fn superseded(&self, claim: ClaimNo) {
        self.metrics.takeovers.inc();
        self.show_takeover(claim);
        self.dismiss(claim, CloseReason::Superseded);
    }

    fn dismiss(&self, claim: ClaimNo, reason: CloseReason) {
        if let Some(peer) = self.find(claim) {
            self.remove(claim, reason.leave_reason());
            peer.forgotten.store(true, Ordering::Relaxed);
            peer.mailbox.tell(Control::Lost { claim, why: reason });
        }
    }

    /// Asks a claim's session for a sign of life of its peer. A claim that is not registered gets no answer.
    pub fn probe(&self, claim: ClaimNo, token: u64, within: Duration) {
        if let Some(peer) = self.find(claim) {
            peer.mailbox.tell(Control::Probe {
                claim,
                token,
                within,
            });
        }
    }

    /// Tells local members of a network of a change: one encoding for all of them. In large networks their sessions are
    /// woken by [`Registry::release`], a little later when changes come fast, so that they share a write.
    pub fn notify(&self, now: Moment, network: &NetworkKey, to: Recipients, event: PeerEvent) {
        let Some(dialect) = network.dialect() else {
            return;
        };
        let encode = || dialect::encode_notice(dialect, network.name(), &event, unix_ms());
        let mut told = 0;
        match to {
            Recipients::Network => {
                // Locked in the same order as in `due`: otherwise the two could wait for each other.
                let mut bursts = self.bursts.lock();
                let networks = self.members_shard(network).read();
                let Some(members) = networks.get(network) else {
                    return;
                };
                let wake = bursts.on_notice(now, network, members.len());
                drop(bursts);
                let notice = encode();
                let hears = |peer: &&Arc<Peer>| !peer.blind && peer.source.peer != *event.peer();
                let others = members.values().filter(hears);
                others.for_each(|peer| told += u64::from(push_all(peer, &notice, wake)));
            }
            Recipients::Only(claims) => {
                let notice = encode();
                let wake = self.bursts.lock().on_notice(now, network, claims.len());
                let peers = claims.into_iter().filter_map(|claim| self.find(claim));
                let peers = peers.filter(|peer| !peer.blind);
                peers.for_each(|peer| told += u64::from(push_all(&peer, &notice, wake)));
            }
        }
        self.count_notices(dialect, &event, told);
    }

    /// Counts the notices of one change to this many peers.
    fn count_notices(&self, dialect: Dialect, event: &PeerEvent, receivers: u64) {
        let sent = &self.metrics.messages_sent;
        let word = match event {
            PeerEvent::Joined { .. } | PeerEvent::Updated { .. } | PeerEvent::Hosts { .. } => {
                Sent::PeerDiscovered
            }
            PeerEvent::Left { reason, .. } => {
                if *reason == LeaveReason::Goodbye {
                    sent.of(dialect, Sent::Goodbye).inc_by(receivers);
                }
                Sent::PeerDisconnected
            }
        };
        sent.of(dialect, word).inc_by(receivers);
    }

    /// The time at which [`Registry::release`] has to be called; `None` if no notice is delayed.
    pub fn next_release(&self) -> Option<Moment> {
        if self.waking.lock().is_empty() {
            return self.bursts.lock().poll_timeout();
        }
        Some(Moment(0))
    }

    /// Wakes some sessions for notices that were delayed long enough. True if more sessions are left, which have to
    /// wait until all other tasks have run.
    pub fn release(&self, now: Moment) -> bool {
        let mut waking = self.waking.lock();
        if waking.is_empty() {
            *waking = self.due(now);
        }
        let mut woken = 0;
        while woken < WOKEN_AT_ONCE
            && let Some(peer) = waking.pop()
        {
            woken += usize::from(peer.mailbox.release());
        }
        !waking.is_empty()
    }

    /// The members of networks whose notices are due.
    fn due(&self, now: Moment) -> Vec<Arc<Peer>> {
        let mut bursts = self.bursts.lock();
        let mut due = Vec::new();
        while let Some(network) = bursts.poll_due(now) {
            let networks = self.members_shard(&network).read();
            let before = due.len();
            due.extend(
                networks
                    .get(&network)
                    .into_iter()
                    .flat_map(Claims::values)
                    .cloned(),
            );
            bursts.pause(now, network, due.len() - before);
        }
        due
    }

    /// The number of claims, including quiet ones and those that still wait for the mesh.
    pub fn local_peers(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// The networks with members at this hub, each with the number of these members.
    pub fn networks(&self) -> Vec<(NetworkKey, usize)> {
        let mut all = Vec::new();
        for shard in &self.members {
            let networks = shard.read();
            let here = networks.iter();
            all.extend(here.map(|(network, members)| (network.clone(), members.len())));
        }
        all
    }

    fn find(&self, claim: ClaimNo) -> Option<Arc<Peer>> {
        self.shard(claim).read().get(&claim).cloned()
    }

    fn members_shard(&self, network: &NetworkKey) -> &RwLock<HashMap<NetworkKey, Claims>> {
        // Less than SHARDS, which fits any index.
        &self.members[(stable_hash(network.as_str().as_bytes()) % SHARDS as u64) as usize]
    }

    fn shard(&self, claim: ClaimNo) -> &RwLock<Claims> {
        // Less than SHARDS, which fits any index.
        &self.shards[(mix(claim.0) % SHARDS as u64) as usize]
    }
}

/// Whether all mailboxes had space.
fn push_all(peer: &Peer, notice: &Notice, wake: WakeUp) -> bool {
    let mut room = true;
    for message in notice.messages() {
        room &= peer.mailbox.push_notice(message.clone(), wake).is_ok();
    }
    room
}

#[cfg(test)]
mod tests;
