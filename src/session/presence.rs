//! What a peer's commands do to its place in the mesh.
//!
//! A peer is nowhere at first; announcing itself, or a first signal or ping without that (quietly: it can be
//! reached but is not shown), asks the mesh for a claim; the claim stands once the mesh says so. Goodbye and an
//! announcement for another network give it up. After goodbye only an announcement brings the peer back: a
//! closing page sends more after it, and none of that is meant to. So it is after an announcement that was refused: the
//! network that the peer meant is not the one where it would end up. Knows no socket.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hubmesh_core::api::{Join, SignalFailure, Source};
use hubmesh_core::ids::{BadId, LeaveReason, NetworkKey, PeerId, SignalKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::conversation::Conversation;
use super::deadlines::Waiting;
use super::held::{Heard, Held};
use super::intake::{Unread, Why};
use super::socket;
use crate::dialect::{self, Command, Complaint, Event, Message, Told};
use crate::limits::Origin;
use crate::metrics::Sent;
use crate::peers::meter;
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;
use crate::peers::registry::Peer;

fn complaint(code: &'static str, text: impl Into<Cow<'static, str>>) -> Complaint<'static> {
    Complaint {
        code,
        text: text.into(),
    }
}

/// A signal that a client wants sent.
struct Outgoing<'a> {
    target: PeerId,
    network: Option<Cow<'a, str>>,
    kind: SignalKind,
    payload: Cow<'a, str>,
}

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    /// Whether a message says goodbye. That does not wait for the mesh: whoever goes away costs those that want the same id
    /// no time.
    pub(super) fn is_goodbye(&self, text: &str) -> bool {
        let decoded = dialect::decode(self.newcomer.dialect, text);
        decoded.is_ok_and(|message| matches!(message.command, Command::Goodbye))
    }

    /// Does what a message asks for, or tells the peer why not.
    ///
    /// What waits for the mesh is boxed: it is rare, and would make the task of every idle peer larger by as much.
    pub(super) async fn carry_out(&mut self, text: Utf8Bytes, heard: Heard) {
        let started = Instant::now();
        let dialect = self.newcomer.dialect;
        let decoded = dialect::decode(dialect, &text);
        if heard == Heard::Now {
            let received = meter::received(dialect, &decoded);
            self.shared.metrics.messages_received.inc(received);
        }
        let command = match decoded {
            Err(why) => {
                self.place.doubt();
                self.complain(&why.complaint());
                return;
            }
            Ok(message) if self.is_forged(&message) => return,
            Ok(message) => message.command,
        };
        if self.place.is_fresh()
            && let Command::Signal { network, .. } | Command::Ping { network } = &command
        {
            let network = self.network_key(network.as_deref());
            Box::pin(self.join_quietly(network, text)).await;
            return;
        }
        match command {
            Command::Announce {
                network,
                data,
                claims_hub,
            } => {
                let network = self.network_key(network.as_deref());
                Box::pin(self.announce(network, data, claims_hub)).await;
            }
            Command::Signal {
                target,
                network,
                kind,
                payload,
            } => {
                let signal = Outgoing {
                    target,
                    network,
                    kind,
                    payload,
                };
                self.signal(&text, signal);
                let took = started.elapsed().as_secs_f64();
                self.shared.metrics.route_seconds.observe(took);
            }
            Command::Ping { .. } => {
                let peer = &self.newcomer.peer;
                self.tell(&Event::Pong { peer }, Sent::Pong);
            }
            Command::Goodbye => Box::pin(self.goodbye()).await,
            Command::Nowhere { name, kind } => self.nowhere(&name, kind),
            Command::Ignored => {}
            Command::Unsupported(kind) => self.complain(&complaint(
                "unsupported-type",
                format!("messages of type `{kind}` are not routed"),
            )),
        }
    }

    /// Tells the peer of a message that was read past: why, or, where an error would end its connection, that whoever it
    /// was for is not reached.
    pub(super) fn refuse_unread(&self, unread: &Unread) {
        let size = unread.size;
        let text = match unread.why {
            Why::TooLong => {
                let longest = self.shared.limits.max_message_bytes;
                format!("a message of {size} bytes is too long: MAX_MESSAGE_BYTES is {longest}")
            }
            Why::Draining => "the hub restarts: a message was not carried out".to_owned(),
            Why::NoRoom => format!(
                "there is no room for a message of {size} bytes: too much waits already (MESSAGE_BUDGET_BYTES)"
            ),
        };
        let code = match unread.why {
            Why::Draining => CloseReason::Draining.label(),
            Why::TooLong => "message-too-long",
            Why::NoRoom => "no-room",
        };
        let (dialect, ends) = (self.newcomer.dialect, &unread.ends);
        match dialect::unread(dialect, &ends.head, &ends.tail) {
            Told::Why => self.complain(&complaint(code, text)),
            Told::Expired { name, kind } => {
                self.note_complaint(code);
                self.nowhere(&name, kind);
            }
            Told::Nothing => self.note_complaint(code),
        }
    }

    fn is_forged(&self, message: &Message<'_>) -> bool {
        let Some(sender) = &message.sender else {
            return false;
        };
        if PeerId::new(sender).is_ok_and(|sender| sender == self.newcomer.peer) {
            return false;
        }
        self.shared.metrics.forged.inc();
        self.complain(&complaint(
            "forged-sender",
            "the message names another sender than the peer that sent it",
        ));
        true
    }

    fn network_key(&self, name: Option<&str>) -> Result<NetworkKey, BadId> {
        let dialect = self.newcomer.dialect;
        NetworkKey::new(dialect, name.unwrap_or(dialect::default_network(dialect)))
    }

    async fn announce(
        &mut self,
        network: Result<NetworkKey, BadId>,
        data: Option<Bytes>,
        claims_hub: bool,
    ) {
        let Ok(network) = network else {
            return self.refuse_network();
        };
        let most = self.shared.limits.max_announce_bytes;
        if data.as_ref().is_some_and(|data| data.len() > most) {
            self.place.doubt();
            let text = format!("announced data may have {most} bytes");
            self.complain(&complaint("announce-too-long", text));
            return;
        }
        let first = self.place.is_fresh() || self.place.is_doubtful();
        if !first && !self.may_announce_again(&network) {
            return;
        }
        if claims_hub {
            self.shared.metrics.forged.inc();
            let text = "a peer cannot announce itself as a hub; it is announced as a peer";
            self.complain(&complaint("not-a-hub", text));
        }
        self.shared.metrics.announcements.inc();
        if let Some(peer) = self.place.present()
            && peer.source().network == network
        {
            let claim = peer.source().claim;
            peer.show();
            self.shared.mesh.update(claim, data, false).await;
            return;
        }
        self.place.leave(LeaveReason::Closed).await;
        self.join(network, data, false).await;
    }

    fn refuse_network(&mut self) {
        self.place.doubt();
        self.complain(&complaint("bad-network", BadId::Network.to_string()));
    }

    /// Joins unseen; the message that asked for it is carried out after that.
    async fn join_quietly(&mut self, network: Result<NetworkKey, BadId>, held: Utf8Bytes) {
        let Ok(network) = network else {
            return self.refuse_network();
        };
        self.hold(&held, Heard::Before);
        self.join(network, None, true).await;
    }

    pub(super) async fn join(&mut self, network: NetworkKey, data: Option<Bytes>, quiet: bool) {
        let claim = self.shared.mesh.next_claim();
        let source = Source {
            claim,
            network: network.clone(),
            peer: self.newcomer.peer.clone(),
        };
        let mailbox = Arc::clone(&self.mailbox);
        let peer = Arc::new(Peer::new(source, self.newcomer.dialect, mailbox, quiet));
        self.shared.registry.insert(claim, Arc::clone(&peer));
        self.place.ask(Arc::clone(&self.shared), peer);
        let join = Join {
            claim,
            network,
            peer: self.newcomer.peer.clone(),
            data,
            quiet,
            proof: self.newcomer.proof.clone(),
            address: Origin::of(self.newcomer.address),
        };
        self.ask(join).await;
        if self.postponed.is_some() {
            self.shared.metrics.joins_delayed.inc();
            tracing::debug!(peer = %self.newcomer.peer, "a join waits: its address has others told too much");
        }
    }

    /// Asks the mesh for a place, or waits for the turn in which it may, and is called again then.
    pub(super) async fn ask(&mut self, join: Join) {
        let now = Instant::now();
        let shared = &self.shared;
        if let Some(waiting) = self.place.turn() {
            if let Some(turn) = waiting.take() {
                turn.came();
            } else if let Some(turn) = shared.turn_to_join(self.newcomer.address, &join.network) {
                self.deadlines.wait(Waiting::Turn, now + turn.wait());
                *waiting = Some(Box::new(turn));
                self.postponed = Some(Box::new(join));
                return;
            }
        }
        self.deadlines.wait(Waiting::Mesh, now);
        self.shared.mesh.join(join).await;
    }

    fn signal(&self, text: &Utf8Bytes, signal: Outgoing<'_>) {
        let Some(peer) = self.place.present() else {
            let text = if self.place.is_doubtful() {
                "what came before was refused: announce a network first"
            } else {
                "a peer that said goodbye sends nothing until it announces itself again"
            };
            return self.complain(&complaint("not-announced", text));
        };
        let source = peer.source();
        if signal
            .network
            .as_ref()
            .is_some_and(|name| name != source.network.name())
        {
            self.complain(&complaint(
                "other-network",
                format!(
                    "signals go to peers of one's own network, `{}`",
                    source.network.name()
                ),
            ));
            return;
        }
        if signal.target == source.peer {
            return self.refuse_echo(&signal);
        }
        let payload = match signal.payload {
            Cow::Borrowed(part) => socket::share(text, part),
            Cow::Owned(whole) => whole.into(),
        };
        let wait = dialect::may_wait(self.newcomer.dialect, signal.kind);
        let mesh = &self.shared.mesh;
        if let Err(why) = mesh.signal(source, &signal.target, signal.kind, payload, wait) {
            self.undelivered(&signal.target, signal.kind, why);
        }
    }

    /// No peer hears of itself. A client that learns of absent peers takes itself for one.
    fn refuse_echo(&self, signal: &Outgoing<'_>) {
        if self.newcomer.network.is_some() {
            return self.undelivered(&signal.target, signal.kind, SignalFailure::NoSuchPeer);
        }
        self.complain(&complaint("own-id", "a peer cannot signal to itself"));
    }

    fn undelivered(&self, target: &PeerId, kind: SignalKind, why: SignalFailure) {
        self.shared.metrics.signals_failed.inc(why);
        let event = Event::Undelivered {
            sender: &self.newcomer.peer,
            target,
            kind,
            why,
            follows: self.was_told(&target.to_string(), kind),
        };
        self.tell(&event, Sent::Error);
    }

    fn nowhere(&self, name: &str, kind: SignalKind) {
        if !self.was_told(name, kind) {
            let sender = &self.newcomer.peer;
            self.tell(&Event::Nowhere { sender, name }, Sent::Error);
        }
    }

    /// Whether a failure goes with one that the peer was told of.
    fn was_told(&self, target: &str, kind: SignalKind) -> bool {
        let peer = self.place.present();
        peer.is_some_and(|peer| self.shared.registry.was_told(peer, target, kind))
    }

    /// Leaves. Whoever stays connected after it has as long as a newcomer to announce itself; saying goodbye
    /// without having been anywhere gives no time.
    async fn goodbye(&mut self) {
        if self.place.has_seat() {
            self.deadlines.wait(Waiting::Announcement, Instant::now());
        }
        self.held = Held::default();
        self.postponed = None;
        self.place.leave(LeaveReason::Goodbye).await;
        if self.newcomer.network.is_some() {
            // It joined by connecting, so there is no way back on this socket.
            self.mailbox.close(CloseReason::PeerClosed);
        }
    }
}
