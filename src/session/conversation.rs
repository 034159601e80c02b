//! One socket's task: what happens next, and what is done about it.
//!
//! A single future polls the hub's word, the socket both ways and one timer, and handles one happening at a time,
//! so what a peer asks for takes effect in order. Frames that were read are all handled before anything is
//! written, and all that waits is written in one call; but after a turn's worth the other sessions go first. While
//! the mesh decides on a join the socket is read all the same: its end, a goodbye, pings and pongs are heeded, and all
//! else waits in order, as far as there is room. Run by [`Sessions`](super::Sessions).

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hubmesh_core::api::Join;
use hubmesh_core::ids::NetworkKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::deadlines::{Deadlines, Due, Echo, Probe, Waiting};
use super::held::{Heard, Held};
use super::place::Place;
use super::socket::{Incoming, ReadError, Socket};
use super::{Newcomer, Shared};
use crate::clock::unix_ms;
use crate::dialect::{self, Complaint, Event};
use crate::limits::{Pace, Verdict};
use crate::metrics::Sent;
use crate::peers::mailbox::{Control, Mailbox, Roster};
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;

/// What is gathered before it is written, in bytes: more waits in the mailbox, where it is counted.
const BATCH_BYTES: usize = 32 * 1024;

/// How long the id of a client whose connection broke is kept for it: as long as a probe takes.
const KEPT: Duration = Duration::from_secs(2);

/// After how much the other sessions get their turn: so many small messages, or as many KiB of long ones.
pub(super) const TURN: usize = 32;

/// One connected peer.
pub(super) struct Conversation<S, M: MeshPort> {
    pub(super) shared: Arc<Shared<M>>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) newcomer: Newcomer,
    pub(super) place: Place<M>,
    pub(super) deadlines: Deadlines,
    /// What is to be carried out once the peer has joined: the message that made it join quietly, and what it said
    /// since it asked to, in pace.
    pub(super) held: Held,
    /// The join that waits for its turn.
    pub(super) postponed: Option<Box<Join>>,
    /// It was told that it is connected. No message is written to it before, unless it has to go.
    greeted: bool,
    pub(super) socket: Socket<S>,
    pace: Pace,
    timer: Pin<Box<Sleep>>,
    roster: Option<Box<Roster>>,
}

/// The place of a peer whose connection is over; given up when dropped.
pub(super) struct LeftSeat<M: MeshPort> {
    mailbox: Arc<Mailbox>,
    place: Place<M>,
    /// When the probe that is open is to be answered.
    probed_until: Option<Instant>,
}

enum Happened {
    Control(Control),
    Incoming(Incoming),
    Held(Utf8Bytes, Heard),
    Time,
    End(CloseReason),
}

impl Happened {
    /// Its part of a [`TURN`].
    fn cost(&self) -> usize {
        match self {
            Happened::Incoming(Incoming::Text(text)) => 1 + text.len() / 1024,
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

impl<M: MeshPort> LeftSeat<M> {
    /// Keeps the id of a client whose connection broke, if it has one to keep: until it is back, here or elsewhere, or
    /// for as long as a silent holder of an id has to answer. What is for it waits meanwhile, as for somebody who is
    /// not there.
    pub(super) async fn keep(&mut self) {
        if !self.place.is_vacated() {
            return;
        }
        let back = poll_fn(|cx| {
            self.mailbox.register(cx.waker());
            while let Some(control) = self.mailbox.next_control() {
                // A probe is answered by the end of this, whatever that is; one that was open has no longer than it had.
                if matches!(control, Control::Close(_)) {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        });
        let until = Instant::now() + KEPT;
        let until = self.probed_until.map_or(until, |at| at.min(until));
        // Either way the seat is given up next.
        let _ = timeout_at(until, back).await;
    }
}

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    pub(super) fn new(
        shared: Arc<Shared<M>>,
        mailbox: Arc<Mailbox>,
        io: S,
        ahead: &[u8],
        newcomer: Newcomer,
    ) -> Self {
        let limits = &shared.limits;
        let silence = shared.policies.of(newcomer.dialect).silence;
        let deadlines = Deadlines::new(limits.announce_timeout, silence, Instant::now());
        Conversation {
            socket: Socket::new(io, ahead, Arc::clone(&shared.intake)),
            pace: Pace::new(limits.rate_per_sec, limits.rate_burst),
            timer: Box::pin(sleep_until(deadlines.next())),
            place: Place::fresh(),
            held: Held::default(),
            postponed: None,
            greeted: false,
            roster: None,
            deadlines,
            shared,
            mailbox,
            newcomer,
        }
    }

    /// From the greeting to the closed socket.
    pub(super) async fn run(&mut self) -> CloseReason {
        match self.newcomer.network.clone() {
            None => self.greet(),
            // Greeted once the mesh has accepted it.
            Some(network) => Box::pin(self.join(network, None, false)).await,
        }
        let reason = self.converse().await;
        if reason == CloseReason::ConnectionLost && self.may_be_back() {
            // Until its seat is dropped.
            self.place.vacate();
            self.give_back();
            return reason;
        }
        if reason.tells_why() {
            // Before the place is given up: clients drop what does not name their network.
            self.complain(&Complaint {
                code: reason.label(),
                text: Cow::Borrowed(reason.text()),
            });
        }
        // Boxed: it is no part of what an idle peer costs.
        Box::pin(self.part(reason)).await;
        self.give_back();
        reason
    }

    /// Whether it can prove to be itself when it is back after its connection broke.
    fn may_be_back(&self) -> bool {
        let policy = self.shared.policies.of(self.newcomer.dialect);
        policy.returns && !self.newcomer.proof.is_empty()
    }

    async fn converse(&mut self) -> CloseReason {
        let mut turn = 0;
        loop {
            let happened = poll_fn(|cx| self.poll(cx)).await;
            turn += happened.cost();
            if let Err(reason) = self.on(happened).await {
                return reason;
            }
            // A peer that always has more to say would keep its socket ready, and the thread to itself.
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// What is left when the connection is over: the socket is closed, and what it had read is gone.
    pub(super) fn into_seat(self) -> LeftSeat<M> {
        LeftSeat {
            mailbox: self.mailbox,
            place: self.place,
            probed_until: self.deadlines.probed_until(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        loop {
            if let Some(happened) = self.at_hand() {
                return Poll::Ready(happened);
            }
            self.mailbox.register(cx.waker());
            if let Some(control) = self.mailbox.next_control() {
                return Poll::Ready(Happened::Control(control));
            }
            let written = if self.greeted {
                self.poll_write(cx)
            } else {
                self.poll_flush(cx)
            };
            if let Poll::Ready(Err(_)) = written {
                return Poll::Ready(Happened::End(CloseReason::ConnectionLost));
            }
            let amid = self.socket.is_amid();
            match self.socket.poll_fill(cx) {
                Poll::Pending => return self.poll_timer(cx),
                Poll::Ready(Ok(1..)) => self.deadlines.hear(amid, Instant::now()),
                Poll::Ready(_) => {
                    return Poll::Ready(Happened::End(CloseReason::ConnectionLost));
                }
            }
        }
    }

    /// What needs no waiting: the hub's word, then what was read already.
    fn at_hand(&mut self) -> Option<Happened> {
        if let Some(control) = self.mailbox.next_control() {
            return Some(Happened::Control(control));
        }
        if !self.place.is_pending()
            && let Some((text, heard)) = self.held.pop()
        {
            return Some(Happened::Held(text, heard));
        }
        match self.socket.next_incoming() {
            Ok(incoming) => incoming.map(Happened::Incoming),
            Err(why) => Some(Happened::End(why.into())),
        }
    }

    /// Writes what waits; ready when there is nothing more.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.gather();
            if !self.socket.is_behind() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush(cx))?;
        }
    }

    /// Writes what the socket has been given, and nothing that waits in the mailbox.
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
                    let dialect = self.newcomer.dialect;
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

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        let next = self.deadlines.next();
        // A deadline that has moved away is left to fire and be found not due: no timer is touched per message.
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        self.timer.as_mut().poll(cx).map(|()| Happened::Time)
    }

    async fn on(&mut self, happened: Happened) -> Result<(), CloseReason> {
        match happened {
            Happened::Control(control) => self.on_control(control).await,
            Happened::Incoming(incoming) => self.on_incoming(incoming).await,
            Happened::Held(text, heard) => {
                self.carry_out_held(text, heard).await;
                Ok(())
            }
            Happened::Time => self.on_time().await,
            Happened::End(reason) => Err(reason),
        }
    }

    async fn on_control(&mut self, control: Control) -> Result<(), CloseReason> {
        match control {
            Control::Close(reason) => return Err(reason),
            Control::Accepted(claim) => {
                if self.place.accept(claim) {
                    self.deadlines.wait(Waiting::Nothing, Instant::now());
                    if !self.greeted {
                        self.greet();
                    }
                }
            }
            Control::Probe {
                claim,
                token,
                within,
            } => {
                let now = Instant::now();
                let probe = Probe {
                    claim,
                    token,
                    until: now + within,
                };
                if !self.place.holds(claim) {
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
                    // It may have moved to another claim since it was asked.
                    if self.place.holds(probe.claim) {
                        return Err(CloseReason::Silent);
                    }
                }
                // Boxed for the same reason as the rare commands of `carry_out`.
                Due::Join => match self.postponed.take() {
                    Some(join) => Box::pin(self.ask(*join)).await,
                    None => self.deadlines.wait(Waiting::Nothing, now),
                },
                Due::Ping => self.socket.put_ping(self.deadlines.ping(now)),
            }
        }
        Ok(())
    }

    async fn answer(&self, probe: Probe, alive: bool) {
        let Probe { claim, token, .. } = probe;
        // Boxed for the same reason as the rare commands of `carry_out`.
        Box::pin(self.shared.mesh.probe_result(claim, token, alive)).await;
    }

    async fn on_incoming(&mut self, incoming: Incoming) -> Result<(), CloseReason> {
        match incoming {
            Incoming::Close => Err(CloseReason::PeerClosed),
            Incoming::Pong(number) => self.on_pong(number).await,
            // All that a frame costs is paid for, also by those who send nothing else.
            Incoming::Ping | Incoming::Fragment => self.is_in_pace(0).map(drop),
            Incoming::Unread(unread) => {
                self.shared.metrics.bytes_received.inc_by(unread.size);
                self.place.doubt();
                if self.is_in_pace(0)? {
                    self.refuse_unread(&unread);
                }
                Ok(())
            }
            Incoming::Text(text) => {
                self.shared.metrics.bytes_received.inc_by(text.len() as u64);
                self.on_text(text).await
            }
        }
    }

    async fn on_text(&mut self, text: Utf8Bytes) -> Result<(), CloseReason> {
        // Also while it is pending: who floods then is parted from, and not read for nothing.
        if !self.is_in_pace(text.len())? {
            self.place.doubt();
        } else if self.place.is_pending() && !self.is_goodbye(&text) {
            self.hold(&text, Heard::Now);
        } else {
            self.carry_out(text, Heard::Now).await;
        }
        Ok(())
    }

    pub(super) async fn carry_out_held(&mut self, text: Utf8Bytes, heard: Heard) {
        if heard == Heard::TooSoon {
            self.complain_of_pace();
        } else {
            self.carry_out(text, heard).await;
        }
    }

    /// Keeps a message until the peer has joined, or tells it that there is no room.
    pub(super) fn hold(&mut self, text: &str, heard: Heard) {
        if let Err(unread) = self.held.push(text, heard, &self.shared.intake) {
            self.refuse_unread(&unread);
        }
    }

    /// An answer to a ping of the hub costs nothing: its number is not of the peer's choosing.
    async fn on_pong(&mut self, number: Option<u64>) -> Result<(), CloseReason> {
        match self.deadlines.pong(number) {
            Echo::Answer(Some(probe)) => self.answer(probe, true).await,
            Echo::Answer(None) => {}
            Echo::Unasked => return self.is_in_pace(0).map(drop),
        }
        Ok(())
    }

    pub(super) fn is_in_pace(&mut self, bytes: usize) -> Result<bool, CloseReason> {
        let verdict = self.pace.judge(self.shared.limits.rate_cost(bytes));
        if verdict == Verdict::Abuse {
            self.shared.metrics.rate_limited.inc();
            return Err(CloseReason::RateAbuse);
        }
        Ok(self.is_granted(verdict))
    }

    /// Whether one more announcement, for this network, may be passed on.
    pub(super) fn may_announce_again(&mut self, network: &NetworkKey) -> bool {
        let told = self.shared.mesh.told_in(network);
        let verdict = self.pace.judge_announcement(told);
        self.is_granted(verdict)
    }

    fn is_granted(&mut self, verdict: Verdict) -> bool {
        if verdict == Verdict::Granted {
            return true;
        }
        self.shared.metrics.rate_limited.inc();
        if verdict == Verdict::RefusedFirst {
            if self.place.is_pending() {
                self.held.push_refusal();
            } else {
                self.complain_of_pace();
            }
        }
        false
    }

    pub(super) fn complain_of_pace(&self) {
        self.complain(&Complaint {
            code: "rate-limited",
            text: Cow::Borrowed(
                "too many messages: this one and those that follow too soon are dropped",
            ),
        });
    }

    /// The first thing that the peer is told, before what waits for it already.
    fn greet(&mut self) {
        self.greeted = true;
        let peer = &self.newcomer.peer;
        if let Some(text) = self.words_for(&Event::Connected { peer }) {
            self.socket.put_text(&text);
            self.shared.metrics.messages_sent.inc(Sent::Connected);
        }
    }

    fn words_for(&self, event: &Event<'_>) -> Option<Utf8Bytes> {
        let dialect = self.newcomer.dialect;
        dialect::encode(dialect, self.place.network(dialect), event, unix_ms())
    }

    /// Tells the peer something, in its turn after what waits already.
    pub(super) fn tell(&self, event: &Event<'_>, counted: Sent) {
        let Some(text) = self.words_for(event) else {
            return;
        };
        // A full mailbox is closing already.
        if self.mailbox.push(text).is_ok() {
            self.shared.metrics.messages_sent.inc(counted);
        }
    }

    /// Counts what the peer did wrong, where it is not told or in other words.
    pub(super) fn note_complaint(&self, code: &'static str) {
        tracing::debug!(peer = %self.newcomer.peer, code, "complaint");
        self.shared.metrics.complaints.inc(code);
    }

    /// Tells the peer what it did wrong.
    pub(super) fn complain(&self, complaint: &Complaint<'_>) {
        self.note_complaint(complaint.code);
        self.tell(&Event::Error(complaint.clone()), Sent::Error);
    }

    /// Takes in nothing more, and tells the senders of what was not handed to the socket.
    pub(super) fn give_back(&self) {
        let (shared, peer) = (&self.shared, &self.newcomer.peer);
        let elsewhere = shared.registry.unread(peer, &self.mailbox.shut());
        if !elsewhere.is_empty() {
            shared.mesh.return_unread(peer, &elsewhere);
        }
    }
}
