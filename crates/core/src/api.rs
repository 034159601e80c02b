//! Inputs and outputs of the core: the vocabulary between it, its driver and the simulator.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;

use super::ids::{
    ClaimNo, DialId, HubId, Incarnation, LeaveReason, LinkId, Moment, NetworkKey, PeerId,
    SignalKind,
};
use crate::reach::AddressGroup;

mod bans;
mod rooms;

pub use bans::{Ban, BanId, BansFull, MAX_BAN_BYTES, MAX_BAN_MS, bans_network};
pub(crate) use rooms::is_record_id;
pub use rooms::{RECORD, Room, RoomAsk, RoomClaim, RoomRecord, record_id};

/// A link whose handshake is done: both ends proved that they hold the mesh token, in one namespace.
#[derive(Clone, Debug)]
pub struct LinkUp {
    /// Our number for it.
    pub link: LinkId,
    /// The hub at the other end.
    pub hub: HubId,
    /// The other end's present incarnation.
    pub incarnation: Incarnation,
    /// Our dial that made it; `None` if the other end dialled.
    pub dialed: Option<DialId>,
    /// The dialler's count of its dials: of two links that one hub dialled, the higher is the newer.
    pub dial_number: u64,
    /// The version of the link protocol to speak on it: the highest that both ends know.
    pub version: u16,
}

/// Why a link is closed. Travels as the body of `Bye`; [`Bye::label`] is its metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bye {
    /// The hub is shutting down; dial it again after this time.
    Draining {
        /// When to dial again.
        retry_after: Duration,
    },
    /// Another link between the two hubs is used.
    Duplicate,
    /// The dialler reached itself.
    SelfDial,
    /// The other end's incarnation is below the highest one known for its id.
    StaleIncarnation {
        /// The highest known.
        known: Incarnation,
    },
    /// Two live machines use one hub id.
    IdentityClash,
    /// The hub has as many links as it accepts.
    Full,
    /// A frame could not be read.
    BadFrame,
    /// No sign of life for the link timeout.
    Silent,
    /// The link's queue is too full.
    Overflow,
}

impl Bye {
    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Bye::Draining { .. } => "draining",
            Bye::Duplicate => "duplicate",
            Bye::SelfDial => "self-dial",
            Bye::StaleIncarnation { .. } => "stale-incarnation",
            Bye::IdentityClash => "identity-clash",
            Bye::Full => "full",
            Bye::BadFrame => "bad-frame",
            Bye::Silent => "silent",
            Bye::Overflow => "overflow",
        }
    }
}

/// The destination of a dial.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DialTarget {
    /// An address from `BOOTSTRAP_HUBS`, or one that a `dns+ws://` entry of it resolved to.
    Bootstrap(String),
    /// An address that a hub advertises.
    Learned {
        /// The hub that advertises it.
        hub: HubId,
        /// The address.
        url: String,
    },
}

/// Why a dial did not make a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialFailure {
    /// No connection, no upgrade, or no answer in time.
    Unreachable,
    /// The other end refused the handshake: wrong token, namespace or version.
    Refused,
}

/// An id that signals or joins wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WantedId<'a> {
    /// The network that it is wanted in.
    pub network: &'a NetworkKey,
    /// The id.
    pub peer: &'a PeerId,
    /// How many wait for it.
    pub count: usize,
    /// Since when the first of them does.
    pub since: Moment,
}

/// A local peer that wants to be in a network.
#[derive(Clone, Debug)]
pub struct Join {
    /// Its claim, drawn by the caller and never used before in this process.
    pub claim: ClaimNo,
    /// The network to be in.
    pub network: NetworkKey,
    /// The id to be known by.
    pub peer: PeerId,
    /// The data that other peers are shown of it: JSON text, bounded by the caller.
    pub data: Option<Bytes>,
    /// It can be reached but is not shown to others, nor others to it.
    pub quiet: bool,
    /// The proof that an older holder of the id is the same party; an empty one proves nothing.
    pub proof: Bytes,
    /// Its request about its room; `None` in networks that are not rooms.
    pub room: Option<RoomAsk>,
    /// The address group of its client, as far as the hub knows: it bounds how many ids may be contested from one
    /// place.
    pub address: AddressGroup,
    /// The address group that a room counts for which it creates, or enters as the first; `None` for operators' joins, which
    /// no bound on one address holds back.
    pub counts_for: Option<AddressGroup>,
}

/// Why a local peer may not join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinRefusal {
    /// A living peer of another party holds the id.
    Taken,
    /// The id changed hands too often in a short time, and its holder lives.
    TakeoverLimit,
    /// The network is full.
    RoomFull,
    /// A room of that name exists already, or another one of that name was created earlier.
    RoomExists,
    /// There is no room of that name.
    NoSuchRoom,
    /// This hub has as many rooms as it may have.
    TooManyRooms,
    /// Of the rooms with members on this hub as many were made by the peer's address as one address may have.
    TooManyRoomsOfOne,
    /// This hub is shutting down.
    Draining,
}

/// A notice to a peer about another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerEvent {
    /// The peer is in the network.
    Joined {
        /// The peer.
        peer: PeerId,
        /// The data that it shows: JSON text.
        data: Option<Bytes>,
    },
    /// The peer shows other data.
    Updated {
        /// The peer.
        peer: PeerId,
        /// The data that it shows: JSON text.
        data: Option<Bytes>,
    },
    /// The peer is the host of its room from now on.
    Hosts {
        /// The peer.
        peer: PeerId,
        /// The data that it shows.
        data: Option<Bytes>,
    },
    /// The peer has left.
    Left {
        /// The peer.
        peer: PeerId,
        /// Why it left.
        reason: LeaveReason,
    },
}

impl PeerEvent {
    /// The peer that it is about.
    pub fn peer(&self) -> &PeerId {
        match self {
            PeerEvent::Joined { peer, .. }
            | PeerEvent::Updated { peer, .. }
            | PeerEvent::Hosts { peer, .. }
            | PeerEvent::Left { peer, .. } => peer,
        }
    }
}

/// The local claims that a notice is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recipients {
    /// Every shown (not quiet) local claim of the network, except those of the peer that the event is about.
    Network,
    /// Only these.
    Only(Vec<ClaimNo>),
}

/// An output of the core. The driver carries it out; this must not block.
#[derive(Clone, Debug)]
pub enum Output {
    /// Dial; answer with `handle_link_up` or `handle_dial_failed` under the same number.
    Dial {
        /// Number of the attempt.
        dial: DialId,
        /// The destination.
        target: DialTarget,
    },
    /// Close the link after its waiting messages, with this reason if there is one to send. The core has forgotten the
    /// link already; no `handle_link_down` is needed.
    Close {
        /// The link.
        link: LinkId,
        /// The reason for the other end, and for a counter.
        bye: Bye,
    },
    /// The local claim is accepted; `roster` lists the others that it is shown at first.
    Accepted {
        /// The claim.
        claim: ClaimNo,
        /// The others in the network that it is told of now, without itself.
        roster: Vec<(PeerId, Option<Bytes>)>,
    },
    /// The local claim is refused: tell the peer and close it. The core has forgotten it.
    Refused {
        /// The claim.
        claim: ClaimNo,
        /// Why the join was refused.
        why: JoinRefusal,
    },
    /// A newer connection has this claim's id: tell the peer and close it. The core has retracted it.
    Superseded {
        /// The claim.
        claim: ClaimNo,
    },
    /// Find out within `within` whether the claim's peer is alive; answer with `handle_probe_result`.
    Probe {
        /// The claim.
        claim: ClaimNo,
        /// Returned with the result.
        token: u64,
        /// How long to wait for a sign of life.
        within: Duration,
    },
    /// Tell local peers of another one.
    Notify {
        /// The network it happened in.
        network: NetworkKey,
        /// The claims that are told.
        to: Recipients,
        /// The notice.
        event: PeerEvent,
    },
    /// A warning for the log, which is also counted under this label.
    Alarm {
        /// A stable name.
        label: &'static str,
        /// The text for the log.
        text: String,
    },
    /// The members of a network are known here, as far as other hubs answered in time: see
    /// [`Core::look`](super::Core::look).
    Seen {
        /// The network.
        network: NetworkKey,
    },
    /// The set of bans that count has changed: see [`Core::bans`](super::Core::bans).
    Bans,
    /// Another live machine uses this hub's id: the core has left the mesh and closed its links. If the id was drawn at
    /// random, the driver draws another: [`take_new_id`](super::Core::take_new_id).
    LeftMesh,
    /// The core looks for links again, after it had left the mesh for a while.
    BackInMesh,
}

/// The next hop to a hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The link on which to send.
    pub link: LinkId,
    /// The hub at its other end.
    pub neighbour: HubId,
    /// The number of links to the destination, this one included.
    pub hops: u8,
}

/// The routes to all hubs that can be reached now. The whole is published whenever one changes.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The route to each hub but this one.
    pub by_hub: HashMap<HubId, Route>,
    /// The lowest wire level among them.
    pub level: u8,
}

/// The route to a hub, and its known incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The first hop.
    pub hop: Hop,
    /// The destination's present incarnation.
    pub incarnation: Incarnation,
    /// The part of the mesh that it would be in without this hub: two hubs of one part reach each other without us.
    pub part: u32,
    /// The destination's wire level.
    pub level: u8,
}

/// [`Routes`] as the data path holds them.
pub type SharedRoutes = Arc<Routes>;

/// The source of a signal: the local claim that sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The sending claim.
    pub claim: ClaimNo,
    /// Its network; the target must be in the same.
    pub network: NetworkKey,
    /// Its id, as the hub knows it.
    pub peer: PeerId,
}

/// A signal of a local peer to a peer of its network, on its way from a session to the target's mailbox or into a window.
#[derive(Clone, Debug)]
pub struct Signal<'a> {
    /// The claim that sends it.
    pub source: &'a Source,
    /// The peer that it is for.
    pub target: &'a PeerId,
    /// Its kind.
    pub kind: SignalKind,
    /// The payload, as given.
    pub payload: Bytes,
    /// Whether it may wait for a target that is at no hub yet.
    pub wait: bool,
}

/// The claim that sends a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// A claim of this hub.
    Here(ClaimNo),
    /// A claim of another hub.
    There(Posted),
}

/// A claim of another hub, and the number by which that hub knows its signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posted {
    /// The hub.
    pub hub: HubId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The sending claim there.
    pub claim: ClaimNo,
    /// The number of the signal among all from there to here.
    pub seq: u64,
}

/// A signal of another hub's peer that was put into its receiver's mailbox, and that the receiver left without reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unread {
    /// The sender.
    pub sender: Posted,
    /// The claim that it was for.
    pub to: ClaimNo,
    /// Its kind.
    pub kind: SignalKind,
}

/// A signal that arrived for a local claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The receiving claim.
    pub to: ClaimNo,
    /// The network of both.
    pub network: NetworkKey,
    /// The sender's id, as its hub states it.
    pub from: PeerId,
    /// The sender's claim.
    pub sender: Sender,
    /// The receiver's id.
    pub target: PeerId,
    /// Its kind, in the network's dialect.
    pub kind: SignalKind,
    /// The payload, byte for byte as the sender gave it.
    pub payload: Bytes,
}

/// A publication for the members of its network at this hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// The network.
    pub network: NetworkKey,
    /// The sender's id, as its hub states it.
    pub from: PeerId,
    /// The sender's claim.
    pub sender: Sender,
    /// Its kind, in the network's dialect.
    pub kind: SignalKind,
    /// The payload, byte for byte as the sender gave it.
    pub payload: Bytes,
}

/// A report to the sender of a publication: some members did not get it, or may not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpublished {
    /// The sending claim.
    pub source: ClaimNo,
    /// The network.
    pub network: NetworkKey,
    /// Why the signal failed.
    pub why: SignalFailure,
}

/// Why a signal was not delivered, or may not have been.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignalFailure {
    /// No peer has the id, and none took it while the signal waited.
    NoSuchPeer,
    /// Its hub cannot be reached.
    NoRoute,
    /// A limit was reached: the window to its hub, the length of a message to another hub, its own mailbox, or the
    /// waiting room.
    Overload,
    /// Its hub was lost before it acknowledged; the signal may have arrived.
    Unknown,
}

impl SignalFailure {
    /// The label in metrics and logs, and the word that peers are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignalFailure::NoSuchPeer => "no-such-peer",
            SignalFailure::NoRoute => "no-route",
            SignalFailure::Overload => "overload",
            SignalFailure::Unknown => "unknown",
        }
    }
}

/// A failed signal: its sender has to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// The sending claim.
    pub source: ClaimNo,
    /// The network of both.
    pub network: NetworkKey,
    /// The peer that it was for.
    pub target: PeerId,
    /// Its kind.
    pub kind: SignalKind,
    /// Why the signal failed.
    pub why: SignalFailure,
    /// The sender has already been told about this target in this batch.
    pub repeats_previous: bool,
}
