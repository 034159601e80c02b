//! The main loop of one session's task.
//!
//! A single future polls the mailbox, the socket both ways and one timer, and handles one event at a time, so a peer's
//! requests take effect in order. All frames that were read are handled before anything is written, and all waiting
//! messages are written in one call; but after a [`TURN`] the other sessions run first. While the mesh decides on a
//! join the socket is still read: its end, a goodbye, pings and pongs are handled, and all other messages wait in
//! order, as far as there is space. Run by [`Sessions`](super::Sessions).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hubmesh_core::api::Join;
use hubmesh_core::ids::{Dialect, PeerId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::Span;

use super::SessionContext;
use super::bounds::Bounds;
use super::deadlines::{Awaited, Deadlines, Due, Echo, PendingProbe};
use super::disconnected::DisconnectedPeer;
use super::held::HeldActions;
use super::intake::WaitingText;
use super::memberships::Memberships;
use super::sniffing::Opened;
use super::socket::{Incoming, ReadError, Socket};
use crate::clock::unix_ms;
use crate::dialect::words::Sent;
use crate::dialect::{self, Action, Beginning, Event, HubEvent, Protocol};
use crate::limits::Pace;
use crate::peers::mailbox::{Control, Mailbox, PendingRoster};
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;

/// How many bytes are gathered before they are written. Further messages stay in the mailbox, where they are counted.
const BATCH_BYTES: usize = 32 * 1024;

/// The shortest time for which a client may be connected without an id, in a dialect whose original servers set no
/// limit.
const UNNAMED: Duration = Duration::from_secs(300);

/// After this many small messages, or KiB of long ones, the other sessions get their turn.
pub(super) const TURN: usize = 32;

/// One connected peer.
pub(super) struct Conversation<S, M: MeshPort> {
    pub(super) shared: Arc<SessionContext<M>>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) address: IpAddr,
    pub(super) protocol: Protocol,
    /// The id of the client, once it is known.
    pub(super) identity: Option<PeerId>,
    /// The restrictions of its token, or of a client that has not shown one yet; boxed, since few clients have
    /// restrictions.
    pub(super) bounds: Option<Box<Bounds>>,
    /// The proof that an older holder of its id is the same party.
    pub(super) proof: Bytes,
    pub(super) memberships: Memberships<M>,
    /// The client has asked for a join.
    pub(super) has_asked: bool,
    pub(super) deadlines: Deadlines,
    /// Actions to carry out once a join is decided on.
    pub(super) held: HeldActions,
    /// The joins that wait for their turn, the next one first.
    pub(super) postponed: Option<Box<Postponed>>,
    /// The client was told that it is connected. No message is written to it before that, except when its connection
    /// ends.
    greeted: bool,
    pub(super) socket: Socket<S>,
    pub(super) pace: Pace,
    /// A message that arrived too fast, in a dialect whose clients are slowed down: nothing more is read while it
    /// waits.
    pub(super) paused: Option<Box<WaitingText>>,
    timer: Pin<Box<Sleep>>,
    roster: Option<Box<PendingRoster>>,
}

/// Joins that wait for their turn, the next one first. Most clients never have any.
#[derive(Default)]
pub(super) struct Postponed {
    pub(super) joins: VecDeque<Join>,
}

enum WokenBy {
    Control(Control),
    Incoming(Incoming),
    Held(Action<'static>),
    Time,
    End(CloseReason),
}

impl WokenBy {
    /// The part of a [`TURN`] that it uses up.
    fn cost(&self) -> usize {
        match self {
            WokenBy::Incoming(Incoming::Text(text)) => 1 + text.len() / 1024,
            _ => 1,
        }
    }
}

impl From<ReadError> for CloseReason {
    fn from(why: ReadError) -> Self {
        match why {
            ReadError::TooLong => CloseReason::MessageTooLong,
            ReadError::Binary => CloseReason::Binary,
            ReadError::NotUtf8 => CloseReason::NotUtf8,
            ReadError::Protocol => CloseReason::Protocol,
        }
    }
}

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    pub(super) fn new(
        shared: Arc<SessionContext<M>>,
        mailbox: Arc<Mailbox>,
        (socket, dialect, connecting): Opened<S>,
    ) -> Self {
        let limits = &shared.limits;
        let policy = shared.policies.of(dialect);
        let now = Instant::now();
        let drawn = || PeerId::Hex(rand::random());
        let peer = connecting.peer.or_else(|| policy.is_anonymous.then(drawn));
        let within = match policy.idles && connecting.unproven.is_none() {
            true => limits.announce_timeout.max(UNNAMED),
            false => limits.announce_timeout,
        };
        let mut deadlines = Deadlines::new(within, policy.silence, now);
        if policy.idles && peer.is_some() {
            deadlines.wait(Awaited::Nothing, now);
        }
        let joins_by_connecting = connecting.network.is_some();
        let protocol = Protocol::new(Beginning {
            dialect,
            peer: peer.clone(),
            fresh: peer.is_none().then(drawn),
            network: connecting.network,
            needs_token: connecting.unproven.is_some(),
            max_announce_bytes: limits.max_announce_bytes,
            max_room_bytes: limits.max_room_bytes,
        });
        let mut conversation = Conversation {
            socket,
            pace: Pace::new(limits.rate_per_sec, limits.rate_burst),
            paused: None,
            timer: Box::pin(sleep_until(deadlines.next())),
            memberships: Memberships::none(),
            has_asked: false,
            held: HeldActions::default(),
            postponed: None,
            greeted: false,
            roster: None,
            deadlines,
            shared,
            mailbox,
            address: connecting.address,
            protocol,
            identity: peer,
            bounds: None,
            proof: Bytes::new(),
        };
        match connecting.unproven {
            Some(slot) => conversation.bounds = Some(Bounds::unproven(*slot)),
            None => conversation.let_in(*connecting.grant, joins_by_connecting),
        }
        conversation
    }

    /// The span that marks all log lines about the connection with this number. Boxed, because the span is mostly
    /// disabled, and would add to the cost of each idle peer.
    pub(super) fn span(&self, number: u64) -> Option<Box<Span>> {
        let span = tracing::debug_span!(
            "connection",
            connection = number,
            client = %self.address,
            dialect = self.dialect().label(),
            peer = self.identity.as_ref().map(tracing::field::display),
        );
        (!span.is_disabled()).then(|| Box::new(span))
    }

    /// Runs the session from the greeting to the closed socket; `first` is a text that was read already.
    pub(super) async fn run(&mut self, first: Option<Utf8Bytes>) -> CloseReason {
        let reason = match self.begin(first).await {
            Ok(()) => self.converse().await,
            Err(reason) => reason,
        };
        if reason == CloseReason::ConnectionLost && self.may_be_back() {
            // The claims receive nothing from here until the memberships are given up.
            self.memberships.vacate();
            self.give_back();
            return reason;
        }
        if reason.tells_why() {
            // The client is told before its memberships are given up, because clients drop messages that do not name
            // their network.
            self.say(&HubEvent::Ending(reason.complaint()));
        }
        // Boxed, so that it adds nothing to the cost of an idle peer.
        Box::pin(self.part(reason)).await;
        self.give_back();
        reason
    }

    async fn begin(&mut self, first: Option<Utf8Bytes>) -> Result<(), CloseReason> {
        if let Some(rest) = self.tell(&HubEvent::Connected, CloseReason::Refused)? {
            rest.await?;
        }
        match first {
            Some(text) => Box::pin(self.on_incoming(Incoming::Text(text))).await,
            None => Ok(()),
        }
    }

    /// The dialect of the connection.
    pub(super) fn dialect(&self) -> Dialect {
        self.protocol.dialect()
    }

    /// Whether the client can prove that it is the same one when it returns after its connection broke.
    fn may_be_back(&self) -> bool {
        let policy = self.shared.policies.of(self.dialect());
        policy.returns && !self.proof.is_empty()
    }

    async fn converse(&mut self) -> CloseReason {
        let mut turn = 0;
        loop {
            let woken_by = poll_fn(|cx| self.poll(cx)).await;
            turn += woken_by.cost();
            if let Err(reason) = self.on(woken_by).await {
                return reason;
            }
            // A peer that sends without a pause would keep its socket ready, and occupy the thread.
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// The peer after its connection: the socket is closed, and bytes that it had read are dropped.
    pub(super) fn into_disconnected(self) -> DisconnectedPeer<M> {
        DisconnectedPeer {
            mailbox: self.mailbox,
            memberships: self.memberships,
            probed_until: self.deadlines.probed_until(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WokenBy> {
        loop {
            if let Some(woken_by) = self.next_ready() {
                return Poll::Ready(woken_by);
            }
            self.mailbox.register(cx.waker());
            if let Some(control) = self.mailbox.next_control() {
                return Poll::Ready(WokenBy::Control(control));
            }
            let written = if self.greeted {
                self.poll_write(cx)
            } else {
                self.poll_flush(cx)
            };
            if let Poll::Ready(Err(_)) = written {
                return Poll::Ready(WokenBy::End(CloseReason::ConnectionLost));
            }
            if self.deadlines.is_paused() {
                return self.poll_timer(cx);
            }
            let amid = self.socket.is_amid();
            match self.socket.poll_fill(cx) {
                Poll::Pending => return self.poll_timer(cx),
                Poll::Ready(Ok(1..)) => self.deadlines.hear(amid, Instant::now()),
                Poll::Ready(_) => {
                    return Poll::Ready(WokenBy::End(CloseReason::ConnectionLost));
                }
            }
        }
    }

    /// The next event that needs no waiting: control of the hub, then frames that were read already.
    fn next_ready(&mut self) -> Option<WokenBy> {
        if let Some(control) = self.mailbox.next_control() {
            return Some(WokenBy::Control(control));
        }
        if let Some(action) = self.next_held() {
            return Some(WokenBy::Held(action));
        }
        if self.deadlines.is_paused() {
            return None;
        }
        match self.socket.next_incoming() {
            Ok(incoming) => incoming.map(WokenBy::Incoming),
            Err(why) => Some(WokenBy::End(why.into())),
        }
    }

    /// Writes the queue; ready when it is empty.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.gather();
            if !self.socket.is_behind() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush(cx))?;
        }
    }

    /// Writes the bytes that the socket already has, and nothing from the mailbox.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.socket.is_behind() {
            return Poll::Ready(Ok(()));
        }
        let before = self.socket.moves();
        let written = self.socket.poll_write(cx);
        if written.is_pending() {
            let progress = self.socket.moves() != before;
            self.deadlines.stall(progress, Instant::now());
            return Poll::Pending;
        }
        self.deadlines.flow();
        written
    }

    /// Moves messages from the mailbox to the socket's buffer, up to a batch.
    fn gather(&mut self) {
        let dialect = self.dialect();
        let Self {
            socket, mailbox, ..
        } = self;
        let before = socket.waiting();
        while socket.waiting() < BATCH_BYTES {
            match self.roster.as_mut().map(|roster| roster.left.pop()) {
                Some(Some((peer, data))) => {
                    let data = data.as_deref();
                    let event = Event::Discovered { peer: &peer, data };
                    let network = self.roster.as_ref().map_or("", |r| r.network.name());
                    if let Some(text) = dialect::encode(dialect, network, &event, unix_ms()) {
                        socket.put_text(&text);
                    }
                }
                Some(None) => self.roster = None,
                None => {
                    let enough = BATCH_BYTES - socket.waiting();
                    self.roster = mailbox.drain(enough, |text| socket.put_text(text));
                    if self.roster.is_none() {
                        break;
                    }
                }
            }
        }
        let sent = socket.waiting() - before;
        self.shared.metrics.bytes_sent.inc_by(sent as u64);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<WokenBy> {
        let next = self.deadlines.next();
        // If the deadline is now later, the timer fires early and finds nothing due: so messages cost no change of the
        // timer.
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        self.timer.as_mut().poll(cx).map(|()| WokenBy::Time)
    }

    async fn on(&mut self, woken_by: WokenBy) -> Result<(), CloseReason> {
        match woken_by {
            WokenBy::Control(control) => self.on_control(control).await,
            WokenBy::Incoming(incoming) => self.on_incoming(incoming).await,
            WokenBy::Held(action) => match self.carry_out_held(action)? {
                Some(rest) => rest.await,
                None => Ok(()),
            },
            WokenBy::Time => self.on_time().await,
            WokenBy::End(reason) => Err(reason),
        }
    }

    async fn on_control(&mut self, control: Control) -> Result<(), CloseReason> {
        match control {
            Control::Close(reason) => return Err(reason),
            Control::Accepted(claim) => {
                if let Some(network) = self.memberships.accept(claim) {
                    self.held.stir();
                    self.wait_on();
                    let event = HubEvent::Joined { network: &network };
                    if let Some(rest) = self.tell(&event, CloseReason::PeerClosed)? {
                        rest.await?;
                    }
                }
            }
            Control::Lost { claim, why } => {
                if let Some(network) = self.memberships.lose(claim) {
                    self.held.stir();
                    if self.registers() && self.memberships.is_empty() {
                        // Actions that waited for the client's registration are dropped: the client may register anew.
                        self.identity = None;
                    }
                    let network = &network;
                    let complaint = why.complaint();
                    let event = HubEvent::Lost {
                        network,
                        why: complaint,
                    };
                    if let Some(rest) = self.tell(&event, why)? {
                        rest.await?;
                    }
                    self.wait_on();
                }
            }
            Control::Probe {
                claim,
                token,
                within,
            } => {
                let now = Instant::now();
                let probe = PendingProbe {
                    claim,
                    token,
                    until: now + within,
                };
                if !self.memberships.holds(claim) {
                    self.answer(probe, false).await;
                    return Ok(());
                }
                self.socket.put_ping(self.deadlines.probe(probe, now));
            }
        }
        Ok(())
    }

    async fn on_time(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        while let Some(due) = self.deadlines.due(now) {
            match due {
                Due::Close(reason) => return Err(reason),
                Due::ProbeMet(probe) => self.answer(probe, true).await,
                Due::ProbeFailed(probe) => {
                    self.answer(probe, false).await;
                    // The client may have another claim by now.
                    if self.memberships.holds(probe.claim) {
                        return Err(CloseReason::Silent);
                    }
                }
                // Boxed for the same reason as the rare commands of `carry_out`.
                Due::Join => {
                    self.deadlines.wait(Awaited::Nothing, now);
                    Box::pin(self.ask_in_turn()).await;
                }
                Due::Resume => {
                    self.deadlines.resume(now);
                    // Boxed for the same reason.
                    Box::pin(self.go_on()).await?;
                }
                Due::Ping => self.socket.put_ping(self.deadlines.ping(now)),
            }
        }
        Ok(())
    }

    async fn answer(&mut self, probe: PendingProbe, alive: bool) {
        let PendingProbe { claim, token, .. } = probe;
        // Boxed for the same reason as the rare commands of `carry_out`.
        Box::pin(self.shared.mesh.probe_result(claim, token, alive)).await;
    }

    async fn on_incoming(&mut self, incoming: Incoming) -> Result<(), CloseReason> {
        match incoming {
            Incoming::Close => Err(CloseReason::PeerClosed),
            Incoming::Pong(number) => self.on_pong(number).await,
            // Every frame uses up its share of the allowance, also for clients that send only control frames and
            // fragments.
            Incoming::Ping | Incoming::Fragment => self.pay_for_frame(),
            Incoming::ReadPast(skipped) => {
                self.shared.metrics.bytes_received.inc_by(skipped.size);
                self.say(&HubEvent::Missed);
                self.on_read_past(&skipped)
            }
            Incoming::Text(text) => {
                self.shared.metrics.bytes_received.inc_by(text.len() as u64);
                self.on_text(text).await
            }
        }
    }

    async fn on_text(&mut self, text: Utf8Bytes) -> Result<(), CloseReason> {
        // Checked also while the join is pending, so that a client that floods the hub then is closed.
        if !self.may_go_on(&text)? {
            return Ok(());
        }
        match self.hear(&text)? {
            Some(rest) => rest.await,
            None => Ok(()),
        }
    }

    /// An answer to a ping of the hub costs nothing: its number is not of the peer's choosing.
    async fn on_pong(&mut self, number: Option<u64>) -> Result<(), CloseReason> {
        match self.deadlines.pong(number) {
            Echo::Answer(probes) => {
                for probe in probes {
                    self.answer(probe, true).await;
                }
            }
            Echo::Unasked => return self.pay_for_frame(),
        }
        Ok(())
    }

    /// The first message to the client, before those in its mailbox.
    pub(super) fn greet(&mut self, text: Option<Utf8Bytes>) {
        self.greeted = true;
        if let Some(text) = text {
            self.socket.put_text(&text);
            let sent = &self.shared.metrics.messages_sent;
            sent.inc(self.dialect(), Sent::Connected);
        }
    }

    /// Adds this text to the mailbox, after the waiting messages.
    pub(super) fn push(&self, text: Utf8Bytes, word: Sent) {
        // A full mailbox is closing already.
        if self.mailbox.push(text).is_ok() {
            self.shared.metrics.messages_sent.inc(self.dialect(), word);
        }
    }

    /// Counts a mistake of the client that is not reported to it, or is reported in another form.
    pub(super) fn note_complaint(&self, code: &'static str) {
        tracing::debug!(code, "complaint");
        if dialect::is_forgery(code) {
            self.shared.metrics.forged.inc();
        }
        self.shared.metrics.complaints.inc(code);
    }

    /// Shuts the mailbox, and tells the senders of signals that were not handed to the socket.
    pub(super) fn give_back(&self) {
        let shared = &self.shared;
        let unread = self.mailbox.shut();
        let Some(peer) = &self.identity else {
            return;
        };
        let elsewhere = shared.registry.unread(peer, &unread);
        if !elsewhere.is_empty() {
            shared.mesh.return_unread(peer, &elsewhere);
        }
    }
}
