//! The frames that hubs exchange once a link is up, as values. `wire` turns them to bytes and back.

use bytes::Bytes;

use crate::api::Bye;
use crate::ids::{ClaimNo, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, SignalKind};

/// The version of the link protocol from which on a hub asks for the records that it hears of: it knows
/// [`ControlFrame::Summary`], [`ControlFrame::Announce`] and [`ControlFrame::Want`]. A hub of an earlier version is
/// sent digests, and every record that is new.
pub const PULLS_SINCE: u16 = 2;

/// The version of the link protocol from which on a hub takes single networks of another one's claims: it knows
/// [`ControlFrame::Follow`], [`ControlFrame::Unfollow`] and [`ControlFrame::Changes`].
pub const FOLLOWS_SINCE: u16 = 3;

/// How much of what later versions say this version tolerates, as it tells in its link record. Hubs of level 0 drop
/// signals and changes that they do not know, also those that are not for them. This one passes signals on that it does
/// not know, refuses those that are for it, and keeps changes and passes them on. A variant of signals, or a kind of
/// changes, that is added raises it.
pub const WIRE_LEVEL: u8 = 1;

/// The part of a hub's claims that is in a set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// All its claims.
    All,
    /// The networks that it has members in, and about how many: a line for each.
    Networks,
    /// Its claims in one network.
    Of(NetworkKey),
}

impl Scope {
    /// The network, if the set is of a single one.
    pub fn network(&self) -> Option<&NetworkKey> {
        match self {
            Scope::Of(network) => Some(network),
            Scope::All | Scope::Networks => None,
        }
    }
}

/// A set of claims, or of lines, of which one hub is the only author. It has sequence numbers of its own, and others
/// take it whole, as of one of these numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Set {
    /// Its hub.
    pub hub: HubId,
    /// The part of its claims.
    pub scope: Scope,
}

impl Set {
    /// All claims of a hub.
    pub fn all(hub: HubId) -> Self {
        Set {
            hub,
            scope: Scope::All,
        }
    }

    /// The networks of a hub.
    pub fn networks(hub: HubId) -> Self {
        Set {
            hub,
            scope: Scope::Networks,
        }
    }

    /// The claims of a hub in a network.
    pub fn of(hub: HubId, network: &NetworkKey) -> Self {
        Set {
            hub,
            scope: Scope::Of(network.clone()),
        }
    }
}

/// One frame of the control plane, between two hubs that are linked.
#[derive(Clone, PartialEq, Debug)]
pub enum ControlFrame {
    /// Asks for a [`ControlFrame::Pong`] with the same token.
    Ping {
        /// The token that the pong gives back.
        token: u64,
    },
    /// Answers a ping.
    Pong {
        /// The token of the ping.
        token: u64,
    },
    /// The last frame of a link.
    Bye(Bye),
    /// The link records that the sender has. The receiver sends back its newer ones, and those that the sender lacks.
    Digest(Vec<DigestEntry>),
    /// Link records, new to the receiver as far as the sender knows.
    Records(Vec<LinkRecord>),
    /// The first frame on a link, and from time to time a check whether both ends hold the same records.
    Summary(Summary),
    /// The link records that the sender has. The receiver asks for those that it lacks.
    Announce(Vec<DigestEntry>),
    /// Asks for the link records of these hubs.
    Want(Vec<HubId>),
    /// Asks for the claims of `origin` after `seq`, now and as they change.
    Subscribe {
        /// The hub whose claims they are.
        origin: HubId,
        /// The incarnation that `seq` belongs to.
        incarnation: Incarnation,
        /// The sender has all changes up to this one.
        seq: u64,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The hub whose claims they are.
        origin: HubId,
    },
    /// Changes to the claims of one hub.
    Delta(Delta),
    /// Asks for a set that is not all of a hub's claims, after `seq`, now and as it changes.
    Follow {
        /// The set.
        set: Set,
        /// The incarnation that `seq` belongs to.
        incarnation: Incarnation,
        /// The sender has all changes up to this one.
        seq: u64,
    },
    /// Ends what a `Follow` began.
    Unfollow {
        /// The set.
        set: Set,
    },
    /// Changes to such a set of the delta's origin.
    Changes(Scope, Delta),
    /// What the sender holds of another hub's claims, for the receiver to compare: it raises an alarm, and repairs
    /// nothing.
    Audit {
        /// The hub whose claims they are.
        origin: HubId,
        /// The incarnation of their hub.
        incarnation: Incarnation,
        /// All changes up to this one.
        seq: u64,
        /// The sum (wrapping) of the claims' hashes.
        hash: u64,
    },
    /// A frame of a kind that this version does not know; skipped.
    Unknown {
        /// Its kind.
        kind: u8,
    },
}

/// One frame of the data path, on its way from any hub to any other.
#[derive(Clone, PartialEq, Debug)]
pub enum DataFrame {
    /// A signal on its way to a hub.
    Signal(SignalFrame),
    /// An acknowledgement on its way back.
    Ack(AckFrame),
    /// A frame of which the head alone was read: one that is passed on, or of a kind that this version does not know.
    Raw(RawFrame),
}

impl DataFrame {
    /// Its source and its destination.
    pub fn head(&self) -> &FrameHead {
        match self {
            DataFrame::Signal(signal) => &signal.head,
            DataFrame::Ack(ack) => &ack.head,
            DataFrame::Raw(frame) => &frame.head,
        }
    }
}

/// A data frame as it came, of which the head was read. A hub on the way passes it on as it is, so it may be of a
/// variant that this hub does not know; its destination reads the rest.
#[derive(Clone, PartialEq, Debug)]
pub struct RawFrame {
    /// Its source and its destination.
    pub head: FrameHead,
    /// Its kind, as on the wire.
    pub kind: u8,
    /// What follows the head.
    pub rest: Bytes,
}

/// A summary of the records that one end of a link holds, in few bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The sender knows nobody yet, and asks for all records.
    pub wants_all: bool,
    /// It answers a summary that differed, and must not be answered.
    pub is_answer: bool,
    /// For each share of the hubs that the sender can reach, the sum of their records; none in a mere greeting.
    pub sums: Vec<u32>,
}

impl Summary {
    /// The number of shares that hubs are summed up in. A summary with another number is not compared.
    pub const SHARES: usize = 32;
}

/// One line of a [`ControlFrame::Digest`] or a [`ControlFrame::Announce`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestEntry {
    /// The hub of the record.
    pub hub: HubId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its number.
    pub number: u64,
}

/// What a hub says of itself and its links. Newer means a higher (incarnation, number).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkRecord {
    /// Its hub.
    pub hub: HubId,
    /// Its present incarnation.
    pub incarnation: Incarnation,
    /// Rises with each record of an incarnation.
    pub number: u64,
    /// The hub is shutting down: dial it no more.
    pub draining: bool,
    /// The addresses where it can be dialled: at most [`LinkRecord::MAX_URLS`], none for a hub that cannot be dialled.
    pub urls: Vec<String>,
    /// Where it runs, for operators, perhaps followed by marks: see [`LinkRecord::place`].
    pub region: String,
    /// Its neighbours and the cost of the link to each, by hub id in rising order.
    pub neighbours: Vec<(HubId, u16)>,
}

impl LinkRecord {
    /// The most addresses in a record.
    pub const MAX_URLS: usize = 4;
    /// The longest address, in bytes.
    pub const MAX_URL_BYTES: usize = 256;
    /// The longest region, in bytes.
    pub const MAX_REGION_BYTES: usize = 32;
    /// The most neighbours in a record.
    pub const MAX_NEIGHBOURS: usize = 512;

    /// The last character of a region, if its hub knows how to take single networks of another hub's claims.
    const KNOWS: char = '\u{1f}';
    /// The last character, if the hub also asks others to take no more than that: see `core/interest.rs`.
    const ASKS: char = '\u{1e}';

    /// A region with the marks of a hub of this wire level that knows of interest. Hubs that do not know the marks pass
    /// a region on as it is, which they do with nothing else that they do not know in a record.
    ///
    /// The last mark is about interest: `U+001F` for a hub that knows of it, `U+001E` for one that asks for it too. Those
    /// before it are the level in binary, from the first bit that is set on, with `U+001F` for one and `U+001E` for zero:
    /// hubs of level 0 show none, and look at the last mark alone.
    pub fn marked_region(region: &str, level: u8, asks: bool) -> String {
        let mark = |set: bool| if set { Self::KNOWS } else { Self::ASKS };
        let bits = u8::BITS - level.leading_zeros();
        let level = (0..bits).rev().map(|bit| mark(level >> bit & 1 == 1));
        let left = Self::MAX_REGION_BYTES - bits as usize - 1;
        let chars = region.char_indices();
        let kept = chars.take_while(|(at, letter)| at + letter.len_utf8() <= left);
        let kept = kept.map(|(_, letter)| letter);
        kept.chain(level).chain([mark(!asks)]).collect()
    }

    /// The wire level of the hub: see [`WIRE_LEVEL`].
    pub fn wire_level(&self) -> u8 {
        let marks = self.region.chars().rev().skip(1);
        let bits = marks.take_while(|mark| matches!(*mark, Self::KNOWS | Self::ASKS));
        let bits = bits.take(u8::BITS as usize).zip(0..);
        bits.fold(0, |level, (mark, bit)| {
            level | u8::from(mark == Self::KNOWS) << bit
        })
    }

    /// Where the hub runs, for operators.
    pub fn place(&self) -> &str {
        self.region.trim_end_matches([Self::KNOWS, Self::ASKS])
    }

    /// Whether the hub asks for interest; none if it does not know of it.
    pub fn asks_for_interest(&self) -> Option<bool> {
        match self.region.chars().next_back() {
            Some(Self::ASKS) => Some(true),
            Some(Self::KNOWS) => Some(false),
            _ => None,
        }
    }

    /// Its line in a digest.
    pub fn digest(&self) -> DigestEntry {
        DigestEntry {
            hub: self.hub,
            incarnation: self.incarnation,
            number: self.number,
        }
    }

    /// The version: the record with the higher one is newer.
    pub fn version(&self) -> (Incarnation, u64) {
        (self.incarnation, self.number)
    }
}

/// Changes to one hub's claims, in the order of their sequence numbers.
///
/// Parts with `last == false` are kept aside until the part with `last == true` is here: only then do they
/// bring the receiver from `from` of the first part to `to` of the last.
#[derive(Clone, PartialEq, Debug)]
pub struct Delta {
    /// The hub whose claims they are.
    pub origin: HubId,
    /// The incarnation of their hub.
    pub incarnation: Incarnation,
    /// The receiver must have all changes up to this one already. 0 with `reset`.
    pub from: u64,
    /// The receiver starts from an empty set.
    pub reset: bool,
    /// Nothing more is missing up to `to`.
    pub last: bool,
    /// What the receiver has once this part is applied.
    pub to: u64,
    /// The changes.
    pub entries: Vec<Entry>,
}

/// One change.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its number in the author's sequence, from 1.
    pub seq: u64,
    /// What changed.
    pub change: Change,
}

/// What a change is.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The claim is there, or has new data.
    Claim(Claim),
    /// The claim is gone.
    Gone {
        /// The claim's network.
        network: NetworkKey,
        /// The claim's peer.
        peer: PeerId,
        /// Which claim of that peer.
        claim: ClaimNo,
        /// Why it left.
        reason: LeaveReason,
    },
    /// A change of a kind that this version does not know: kept and passed on.
    Unknown(UnknownChange),
}

/// A change of a kind that this version does not know. It is of an *item* of its hub, something that a later version has
/// beside claims: as much of it is read as it takes to keep the last change of each item, and to forget those that are
/// gone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UnknownChange {
    /// Its first byte, as on the wire: the kind and the flags, without the flag that a number follows.
    pub tag: u8,
    /// The network that the item is in.
    pub network: NetworkKey,
    /// Which item of its hub there. A number is never used for another one in an incarnation.
    pub item: u64,
    /// What only later versions read.
    pub body: Bytes,
}

impl UnknownChange {
    /// Of the tag: the kind.
    const KIND: u8 = 0x07;
    /// Of the tag: the item is gone.
    pub const GONE: u8 = 0x10;

    /// Whether the item is gone.
    pub fn is_gone(&self) -> bool {
        self.tag & Self::GONE != 0
    }

    /// The change that says only that the item is gone: a hub that has no space for this change keeps that one instead.
    #[must_use]
    pub fn gone(self) -> Self {
        UnknownChange {
            tag: self.tag & Self::KIND | Self::GONE,
            body: Bytes::new(),
            ..self
        }
    }
}

/// A hub's statement that it holds a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The network.
    pub network: NetworkKey,
    /// The peer.
    pub peer: PeerId,
    /// The number of the claim.
    pub claim: ClaimNo,
    /// When it was made: the higher of two for one id wins.
    pub hlc: Hlc,
    /// It can be reached but is not shown.
    pub quiet: bool,
    /// What it shows of itself: JSON text.
    pub data: Option<Bytes>,
}

/// The head of every data frame: all that a hop reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// Links that it may still cross.
    pub ttl: u8,
    /// The hub that sent it.
    pub source: HubId,
    /// Its incarnation.
    pub source_incarnation: Incarnation,
    /// The hub that it goes to.
    pub dest: HubId,
    /// The incarnation that it is meant for.
    pub dest_incarnation: Incarnation,
}

/// A signal between two hubs.
#[derive(Clone, PartialEq, Debug)]
pub struct SignalFrame {
    /// Its source and its destination.
    pub head: FrameHead,
    /// Its number between these two, from 1.
    pub seq: u64,
    /// The lowest number that the sender still keeps: nothing below is sent again.
    pub base: u64,
    /// Its body.
    pub body: SignalBody,
}

/// The body of a signal.
#[derive(Clone, PartialEq, Debug)]
pub enum SignalBody {
    /// From a peer to a peer.
    Peer(PeerSignal),
    /// From a hub to a hub: the control planes know what it means.
    Hub {
        /// Encoded by `core::contest`.
        payload: Bytes,
    },
    /// A variant that this version does not know, or one that is not laid out as it expects.
    Other {
        /// The variant, as on the wire.
        variant: u8,
        /// What follows.
        payload: Bytes,
    },
}

/// A signal of a peer to a peer, between their hubs.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerSignal {
    /// The network of both.
    pub network: NetworkKey,
    /// The sending peer.
    pub from: PeerId,
    /// Its claim at the source hub.
    pub from_claim: ClaimNo,
    /// The sequence number of that claim in the source hub's directory.
    pub from_seq: u64,
    /// The receiving peer.
    pub target: PeerId,
    /// Its claim at the destination hub.
    pub target_claim: ClaimNo,
    /// Its kind.
    pub kind: SignalKind,
    /// The payload, as given.
    pub payload: Bytes,
}

impl SignalBody {
    /// The payload.
    pub fn payload(&self) -> &Bytes {
        let (SignalBody::Peer(PeerSignal { payload, .. })
        | SignalBody::Hub { payload }
        | SignalBody::Other { payload, .. }) = self;
        payload
    }

    /// The same body with a payload of its own. A payload as it came is a part of its link's message, and keeps all of
    /// that in memory.
    pub fn detached(mut self) -> Self {
        let (SignalBody::Peer(PeerSignal { payload, .. })
        | SignalBody::Hub { payload }
        | SignalBody::Other { payload, .. }) = &mut self;
        *payload = Bytes::copy_from_slice(payload);
        self
    }
}

/// The signals of a pair of hubs that the destination has taken.
#[derive(Clone, PartialEq, Debug)]
pub struct AckFrame {
    /// From the signals' destination to their source.
    pub head: FrameHead,
    /// Every signal up to this number was taken: delivered, or refused as in `refused`.
    pub upto: u64,
    /// The refused ones that the source may not know of yet.
    pub refused: Vec<RefusedSignal>,
}

impl AckFrame {
    /// The most refusals in one frame, so that it stays well within a message. A destination with more refusals
    /// acknowledges fewer signals.
    pub const MAX_REFUSED: usize = 512;
}

/// A signal that its destination could not deliver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusedSignal {
    /// Its number.
    pub seq: u64,
    /// Why it was refused.
    pub why: RefusedWhy,
}

/// Why a destination refused a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusedWhy {
    /// The target's claim is not (or no longer) here.
    NotHere,
    /// The target cannot take more.
    Overload,
    /// The source hub does not hold the peer that it names, or the networks differ.
    Forged,
    /// The destination does not know the variant of the signal.
    NotUnderstood,
}
