//! Carries out the actions of a client's protocol.
//!
//! The protocol is given each text and each event at once; the actions that it returns are carried out in order. An
//! action about a network whose join is pending waits in `held`, and no other action waits for it. Joins, updates and
//! leaves wait for space in the driver's input queue; no other action waits. Knows no socket.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use hubmesh_core::api::{Signal, SignalFailure};
use hubmesh_core::ids::{LeaveReason, NetworkKey, PeerId, SignalKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::conversation::Conversation;
use super::intake::{ReadPast, Why};
use super::socket;
use crate::clock::unix_ms;
use crate::dialect::words::Sent;
use crate::dialect::{About, Action, Actions, Complaint, Dropped, HubEvent};
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;

/// The remaining actions, if one has to wait. Boxed: waiting is rare, and the future would make the task of every idle
/// client larger.
pub(super) type Rest<'a> = Pin<Box<dyn Future<Output = Result<(), CloseReason>> + Send + 'a>>;

/// The cause of an action.
#[derive(Clone, Copy)]
pub(super) struct Cause<'a> {
    /// The text, and the time at which it was read; `None` for an event, and for a held action.
    heard: Option<(&'a Utf8Bytes, Instant)>,
    /// Why the connection ends if the protocol ends it.
    closes: CloseReason,
}

impl Cause<'_> {
    /// The cause of an event of the hub, or of an earlier text of the client.
    pub(super) const fn none(closes: CloseReason) -> Self {
        Cause {
            heard: None,
            closes,
        }
    }
}

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    /// Carries out the actions of a client's text, or tells the client why they are not carried out.
    pub(super) fn hear<'a>(
        &'a mut self,
        text: &'a Utf8Bytes,
    ) -> Result<Option<Rest<'a>>, CloseReason> {
        let cause = Cause {
            heard: Some((text, Instant::now())),
            closes: CloseReason::PeerClosed,
        };
        let mut actions = Actions::new(unix_ms);
        self.protocol.hear(text, &mut actions);
        if let Some(received) = actions.received() {
            let counted = &self.shared.metrics.messages_received;
            counted.inc(self.dialect(), received);
        }
        self.carry_out(actions, cause)
    }

    /// Carries out the actions of an event that may cause any action: the connection is open, a join was decided, or a
    /// membership is lost.
    pub(super) fn tell(
        &mut self,
        event: &HubEvent<'_>,
        closes: CloseReason,
    ) -> Result<Option<Rest<'_>>, CloseReason> {
        let mut actions = Actions::new(unix_ms);
        self.protocol.tell(event, &mut actions);
        self.carry_out(actions, Cause::none(closes))
    }

    /// Carries out the actions of any other event; they are only messages.
    pub(super) fn say(&mut self, event: &HubEvent<'_>) {
        let mut actions = Actions::new(unix_ms);
        self.protocol.tell(event, &mut actions);
        for action in actions {
            // Messages end nothing, and wait for nothing.
            let _ = self.start(action, Cause::none(CloseReason::Internal));
        }
    }

    fn carry_out<'a>(
        &'a mut self,
        actions: Actions<'a>,
        cause: Cause<'a>,
    ) -> Result<Option<Rest<'a>>, CloseReason> {
        let mut actions = actions.into_iter();
        while let Some(action) = actions.next() {
            if let Some(slow) = self.start(action, cause)? {
                return Ok(Some(Box::pin(self.finish(slow, actions, cause))));
            }
        }
        Ok(None)
    }

    /// Carries out a held action.
    pub(super) fn carry_out_held(
        &mut self,
        action: Action<'static>,
    ) -> Result<Option<Rest<'_>>, CloseReason> {
        let cause = Cause::none(CloseReason::PeerClosed);
        let slow = self.try_now(action, cause)?;
        Ok(slow.map(|slow| -> Rest<'_> { Box::pin(self.finish(slow, std::iter::empty(), cause)) }))
    }

    /// Begins with an action: carries it out, or keeps it for later, or returns it if it waits for the mesh.
    fn start<'a>(
        &mut self,
        action: Action<'a>,
        cause: Cause<'_>,
    ) -> Result<Option<Action<'a>>, CloseReason> {
        if cause.heard.is_some() && !(self.may_do(&action) && self.may_ask(&action)) {
            return Ok(None);
        }
        if self.has_to_wait(&action) {
            self.hold(action);
            return Ok(None);
        }
        self.try_now(action, cause)
    }

    async fn finish<'a>(
        &mut self,
        slow: Action<'a>,
        rest: impl Iterator<Item = Action<'a>> + Send,
        cause: Cause<'a>,
    ) -> Result<(), CloseReason> {
        self.ask_mesh(slow).await?;
        for action in rest {
            if let Some(slow) = self.start(action, cause)? {
                self.ask_mesh(slow).await?;
            }
        }
        Ok(())
    }

    async fn ask_mesh(&mut self, action: Action<'_>) -> Result<(), CloseReason> {
        match action {
            Action::Join {
                network,
                data,
                quiet,
                leaving,
                room,
            } => {
                if let Some(before) = leaving {
                    self.leave(&before, LeaveReason::Closed).await;
                }
                // Boxed, because the join may lead to a further one.
                Box::pin(self.join(network, (data, quiet), room)).await?;
            }
            Action::Update { network, data } => self.update(&network, data).await,
            Action::Leave { network, goodbye } => self.part_from(&network, goodbye).await,
            // No other action waits.
            _ => {}
        }
        Ok(())
    }

    /// Carries an action out, or returns it if it waits for the mesh.
    pub(super) fn try_now<'a>(
        &mut self,
        action: Action<'a>,
        cause: Cause<'_>,
    ) -> Result<Option<Action<'a>>, CloseReason> {
        match action {
            Action::Signal {
                about,
                target,
                kind,
                payload,
            } => {
                let payload = bytes_of(payload, cause);
                self.signal(&about, target, kind, payload);
                if let Some((_, at)) = cause.heard {
                    let took = at.elapsed().as_secs_f64();
                    self.shared.metrics.route_seconds.observe(took);
                }
            }
            Action::Publish {
                network,
                kind,
                payload,
                echo,
            } => self.publish(network, kind, bytes_of(payload, cause), echo),
            Action::Reply { text, word, .. } => self.push(text, word),
            Action::Complain { code, text, .. } => {
                self.note_complaint(code);
                if let Some(text) = text {
                    self.push(text, Sent::Error);
                }
            }
            Action::UnknownTarget { name, kind, .. } => self.unknown_target(&name, kind),
            Action::Identify { peer, proof } => self.identify(peer, proof)?,
            Action::Prove { token } => self.prove(&token)?,
            Action::Greet(text) => self.greet(text),
            Action::Close => return Err(cause.closes),
            Action::Join { .. } | Action::Update { .. } | Action::Leave { .. } => {
                return Ok(Some(action));
            }
        }
        Ok(None)
    }

    /// From now on the client has this id, if its token allows it.
    fn identify(&mut self, peer: PeerId, proof: Bytes) -> Result<(), CloseReason> {
        if !self.admits(&peer) {
            let why = Complaint::new("other-peer", "the token is for another peer");
            self.say(&HubEvent::Ending(why));
            return Err(CloseReason::Refused);
        }
        if self.memberships.is_empty() {
            tracing::Span::current().record("peer", tracing::field::display(&peer));
            self.identity = Some(peer);
            if !proof.is_empty() {
                self.proof = proof;
            }
            self.wait_on();
        }
        Ok(())
    }

    fn has_to_wait(&self, action: &Action<'_>) -> bool {
        let memberships = &self.memberships;
        if !memberships.any_pending() && self.held.is_empty() {
            return false;
        }
        let registers = self.registers();
        self.held
            .has_to_wait(action, |network| memberships.is_pending(network, registers))
    }

    /// The oldest held action that may now be carried out.
    pub(super) fn next_held(&mut self) -> Option<Action<'static>> {
        let (memberships, registers) = (&self.memberships, self.registers());
        self.held
            .pop_ready(|network| memberships.is_pending(network, registers))
    }

    /// Whether the client's other memberships wait for its first one.
    pub(super) fn registers(&self) -> bool {
        self.shared.policies.of(self.dialect()).registers
    }

    /// Keeps an action until it may be carried out, or tells the client that there is no space.
    fn hold(&mut self, action: Action<'_>) {
        let size = self.held_size(&action);
        if let Err(action) = self.held.push(action.into_owned(), &self.shared.intake) {
            let why = refusal(Why::NoSpace, size, self.shared.limits.max_message_bytes);
            self.drop_action(&action, why);
        }
    }

    fn held_size(&self, action: &Action<'_>) -> u64 {
        match action {
            Action::Signal { payload, .. } | Action::Publish { payload, .. } => {
                payload.len() as u64
            }
            _ => 0,
        }
    }

    /// Tells the client that an action of its own is not carried out.
    fn drop_action(&mut self, action: &Action<'_>, why: Complaint<'_>) {
        let what = match action {
            Action::Signal { target, kind, .. } => Dropped::Signal {
                target,
                kind: *kind,
            },
            _ => Dropped::Other,
        };
        self.say(&HubEvent::Dropped { what, why });
    }

    /// Gives up the held actions: the hub's messages are sent, and the client is told that all other actions are not
    /// carried out.
    pub(super) fn refuse_held(&mut self) {
        while let Some(action) = self.held.pop() {
            match action {
                Action::Reply { .. } | Action::Complain { .. } => {
                    // Messages end nothing, and wait for nothing.
                    let _ = self.try_now(action, Cause::none(CloseReason::Draining));
                }
                action => {
                    let size = self.held_size(&action);
                    let longest = self.shared.limits.max_message_bytes;
                    self.drop_action(&action, refusal(Why::Draining, size, longest));
                }
            }
        }
    }

    /// Tells the client of a message that was too long to keep: why, or, if an error would end its connection, that the
    /// target is not reached.
    pub(super) fn refuse_read_past(&mut self, skipped: &ReadPast) {
        let longest = self.shared.limits.max_message_bytes;
        let what = Dropped::Ends {
            head: &skipped.ends.head,
            tail: &skipped.ends.tail,
        };
        let why = refusal(skipped.why, skipped.size, longest);
        self.say(&HubEvent::Dropped { what, why });
    }

    /// Whether a join, an update or a publication of the client is within its rate; the first join is free.
    fn may_ask(&mut self, action: &Action<'_>) -> bool {
        let (network, leaving, counts) = match action {
            Action::Join {
                network,
                leaving,
                quiet,
                ..
            } => (network, leaving.as_ref(), !quiet),
            Action::Update { network, .. } => (network, Some(network), true),
            Action::Publish { network, .. } => return self.may_publish(network),
            _ => return true,
        };
        let is_first = !std::mem::replace(&mut self.has_asked, true);
        if counts && !is_first && !self.may_announce_again(network) {
            self.say(&HubEvent::Declined { leaving });
            return false;
        }
        if counts {
            self.shared.metrics.announcements.inc();
        }
        true
    }

    fn signal(&mut self, about: &About, target: PeerId, kind: SignalKind, payload: Bytes) {
        let Some(peer) = self.memberships.present(about) else {
            return self.say_not_there(Dropped::Signal {
                target: &target,
                kind,
            });
        };
        let source = peer.source();
        // No peer is told of itself.
        let sent = if target == source.peer {
            Err(SignalFailure::NoSuchPeer)
        } else {
            let wait = crate::dialect::may_wait(self.dialect(), kind);
            let mesh = &self.shared.mesh;
            mesh.signal(Signal {
                source,
                target: &target,
                kind,
                payload,
                wait,
            })
        };
        if let Err(why) = sent {
            self.undelivered(about, &target, kind, why);
        }
    }

    fn say_not_there(&mut self, what: Dropped<'_>) {
        let text = "this client is not in that network: join it first";
        let why = Complaint::new("not-announced", text);
        self.say(&HubEvent::Dropped { what, why });
    }

    fn publish(&mut self, network: NetworkKey, kind: SignalKind, payload: Bytes, echo: bool) {
        let about = About::Network(network);
        let Some(peer) = self.memberships.present(&about) else {
            return self.say_not_there(Dropped::Other);
        };
        let source = peer.source();
        if let Err(why) = self.shared.mesh.publish(source, kind, payload, echo) {
            let network = source.network.clone();
            self.shared.metrics.signals_failed.inc(why);
            self.say(&HubEvent::Unpublished {
                network: &network,
                why,
            });
        }
    }

    fn undelivered(
        &mut self,
        about: &About,
        target: &PeerId,
        kind: SignalKind,
        why: SignalFailure,
    ) {
        self.shared.metrics.signals_failed.inc(why);
        let repeats_previous = self.was_told(about, &target.to_string(), kind);
        self.say(&HubEvent::Undelivered {
            target,
            kind,
            why,
            repeats_previous,
        });
    }

    fn unknown_target(&mut self, name: &str, kind: SignalKind) {
        if !self.was_told(&About::Only, name, kind) {
            self.say(&HubEvent::UnknownTarget { name });
        }
    }

    /// Whether a failure belongs to one that the client has already been told of.
    fn was_told(&self, about: &About, target: &str, kind: SignalKind) -> bool {
        let peer = self.memberships.present(about);
        peer.is_some_and(|peer| self.shared.registry.was_told(peer, target, kind))
    }
}

/// A payload, without a copy if it is most of its text.
fn bytes_of(payload: Cow<'_, str>, cause: Cause<'_>) -> Bytes {
    match (payload, cause.heard) {
        (Cow::Borrowed(part), Some((text, _))) => socket::share(text, part),
        (Cow::Borrowed(part), None) => Bytes::copy_from_slice(part.as_bytes()),
        (Cow::Owned(whole), _) => whole.into(),
    }
}

/// The error that tells a client why its action is not carried out.
fn refusal(why: Why, size: u64, longest: usize) -> Complaint<'static> {
    match why {
        Why::TooLong => Complaint::new(
            "message-too-long",
            format!("a message of {size} bytes is too long: MAX_MESSAGE_BYTES is {longest}"),
        ),
        Why::Draining => Complaint::new(
            CloseReason::Draining.label(),
            "the hub restarts: a message was not carried out",
        ),
        Why::NoSpace => Complaint::new(
            "no-room",
            format!(
                "there is no space for a message of {size} bytes: too much waits already (MESSAGE_BUDGET_BYTES)"
            ),
        ),
    }
}
