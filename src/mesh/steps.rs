//! The steps of each signal in the log: one line for each step, at `trace`, and never the payload.
//!
//! Between two hubs a signal is known by three values, which stay the same on its whole way: the hub of its sender, the
//! hub of its receiver, and its number between the two ([`Passage`]). A search for them in the logs of the hubs on the
//! way shows where the signal was last. With `trace` off, each step costs one load of the maximal level, and the values
//! of the line are not read. Called by the [`Router`](super::router::Router) alone.

use hubmesh_core::api::{Delivery, Failed, Publication, Sender, SignalFailure, Source};
use hubmesh_core::frames::{AckFrame, DataFrame, RawFrame, RefusedWhy, SignalBody};
use hubmesh_core::ids::{HubId, LinkId, NetworkKey, PeerId, SignalKind};
use hubmesh_core::wire;
use tracing::{Level, enabled, trace};

use crate::dialect;

/// The three values that identify a signal between hubs.
#[derive(Clone, Copy)]
pub struct Passage {
    source_hub: HubId,
    destination_hub: HubId,
    number: u64,
}

/// A frame that arrived on a link, decoded for the log; `None` while no line would show it.
pub fn read(frame: &RawFrame) -> Option<DataFrame> {
    enabled!(Level::TRACE).then(|| wire::read_data(frame.clone()).ok())?
}

impl Passage {
    /// The passage of the signal in a frame; `None` for other frames, and while no line would show it.
    pub fn of(frame: &DataFrame) -> Option<Self> {
        match frame {
            DataFrame::Raw(unread) => match read(unread)? {
                DataFrame::Raw(_) => None,
                read => Passage::of(&read),
            },
            DataFrame::Signal(signal) if enabled!(Level::TRACE) => Some(Passage {
                source_hub: signal.head.source,
                destination_hub: signal.head.dest,
                number: signal.seq,
            }),
            _ => None,
        }
    }
}

/// The word for a kind of signal in the dialect of its network.
fn word(network: &NetworkKey, kind: SignalKind) -> &'static str {
    let sent = network
        .dialect()
        .and_then(|dialect| dialect::sent_signal(dialect, kind));
    sent.map_or("other", dialect::words::Sent::as_str)
}

const fn reason(why: RefusedWhy) -> &'static str {
    match why {
        RefusedWhy::NotHere => "not-here",
        RefusedWhy::Overload => "overload",
        RefusedWhy::Forged => "forged",
        RefusedWhy::NotUnderstood => "not-understood",
    }
}

/// A session has handed over a signal of its peer.
pub fn accepted(source: &Source, target: &PeerId, kind: SignalKind) {
    let network = &source.network;
    trace!(from = %source.peer, to = %target, kind = word(network, kind), "signal accepted");
}

/// A signal is refused: the sender is told at once.
pub fn refused(source: &Source, target: &PeerId, why: SignalFailure) {
    trace!(from = %source.peer, to = %target, reason = why.as_str(), "signal refused");
}

/// A signal waits until a peer has the id of its target.
pub fn waits(source: &Source, target: &PeerId) {
    trace!(from = %source.peer, to = %target, "signal waits for its target");
}

/// A session has handed over a publication of its peer, for the members here and at `hubs` other hubs.
pub fn published(source: &Source, hubs: usize) {
    trace!(from = %source.peer, hubs, "publication accepted");
}

/// A frame is sent on a link: this hub's own frame, or a forwarded one.
pub fn sent(frame: &DataFrame, is_own: bool, to_link: LinkId) {
    match frame {
        DataFrame::Signal(signal) if is_own => match &signal.body {
            SignalBody::Peer(peer) => trace!(
                source_hub = %signal.head.source, destination_hub = %signal.head.dest, number = signal.seq,
                to_link = to_link.0, from = %peer.from, to = %peer.target,
                kind = word(&peer.network, peer.kind), "signal sent"
            ),
            SignalBody::Hub { .. } | SignalBody::Other { .. } => trace!(
                source_hub = %signal.head.source, destination_hub = %signal.head.dest, number = signal.seq,
                to_link = to_link.0, "message of the hub sent"
            ),
        },
        DataFrame::Signal(_) | DataFrame::Raw(_) => {
            if let Some(Passage {
                source_hub,
                destination_hub,
                number,
            }) = Passage::of(frame)
            {
                let to_link = to_link.0;
                trace!(%source_hub, %destination_hub, number, to_link, "signal forwarded");
            }
        }
        DataFrame::Ack(ack) if is_own => judged(ack, "signal refused"),
        DataFrame::Ack(_) => {}
    }
}

/// The hub of the receivers has acknowledged signals. Refused signals are logged one by one, and again until the
/// senders' hub no longer keeps them.
pub fn acknowledged(me: impl FnOnce() -> HubId, frame: Option<&DataFrame>) {
    if let Some(DataFrame::Ack(ack)) = frame
        && ack.head.dest == me()
    {
        trace!(
            source_hub = %ack.head.dest, destination_hub = %ack.head.source, upto = ack.upto,
            "signals acknowledged"
        );
        judged(ack, "signal refused by its destination");
    }
}

fn judged(ack: &AckFrame, message: &'static str) {
    for refused in &ack.refused {
        trace!(
            source_hub = %ack.head.dest, destination_hub = %ack.head.source, number = refused.seq,
            reason = reason(refused.why), "{message}"
        );
    }
}

/// A signal is in the mailbox of its target. Only a signal of another hub has a number.
pub fn delivered(me: impl FnOnce() -> HubId, delivery: &Delivery) {
    if !enabled!(Level::TRACE) {
        return;
    }
    let posted = posted(delivery.sender);
    trace!(
        source_hub = posted.map(|(hub, _)| tracing::field::display(hub)),
        destination_hub = posted.map(|_| tracing::field::display(me())),
        number = posted.map(|(_, number)| number),
        from = %delivery.from, to = %delivery.target,
        kind = word(&delivery.network, delivery.kind), "signal delivered"
    );
}

/// A publication from another hub is in the mailboxes of the members here.
pub fn handed_out(me: impl FnOnce() -> HubId, publication: &Publication) {
    if !enabled!(Level::TRACE) {
        return;
    }
    let posted = posted(publication.sender);
    trace!(
        source_hub = posted.map(|(hub, _)| tracing::field::display(hub)),
        destination_hub = posted.map(|_| tracing::field::display(me())),
        number = posted.map(|(_, number)| number),
        from = %publication.from, "publication delivered"
    );
}

fn posted(sender: Sender) -> Option<(HubId, u64)> {
    match sender {
        Sender::Here(_) => None,
        Sender::There(posted) => Some((posted.hub, posted.seq)),
    }
}

/// The sender is told that its signal has failed after all.
pub fn failed(failed: &Failed) {
    trace!(
        to = %failed.target, kind = word(&failed.network, failed.kind),
        reason = failed.why.as_str(), "signal failed"
    );
}

/// The exchange has counted something about the present signal.
pub fn counted(passage: Passage, event: &'static str) {
    let Passage {
        source_hub,
        destination_hub,
        number,
    } = passage;
    trace!(%source_hub, %destination_hub, number, event, "signal counted");
}
