//! The frames that hubs exchange once a link is up, as values. `wire` turns them to bytes and back.

use bytes::Bytes;

use crate::api::Bye;
use crate::ids::{ClaimNo, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, SignalKind};

/// From this version of the link protocol on, a hub asks for the records that are announced to it: it knows
/// [`ControlFrame::Summary`], [`ControlFrame::Announce`] and [`ControlFrame::Want`]. A hub of an earlier version is
/// sent digests, and every new record.
pub const PULLS_SINCE: u16 = 2;

/// From this version of the link protocol on, a hub can subscribe to single networks of another hub's claims: it knows
/// [`ControlFrame::Follow`], [`ControlFrame::Unfollow`] and [`ControlFrame::Changes`].
pub const FOLLOWS_SINCE: u16 = 3;

/// The newest additions to the wire format that this version can handle; it is in the link record. Hubs of level 0 drop
/// signals and changes that they do not know, even if these are for other hubs. This version forwards unknown signals,
/// refuses those that are for it, and keeps and forwards unknown changes. Raise it with each new variant of signals and
/// each new kind of changes.
pub const WIRE_LEVEL: u8 = 1;

/// Which claims of a hub are in a set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// All its claims.
    All,
    /// The networks in which it has members, and approximately how many: a line for each.
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

/// A set of claims or of lines. One hub is the only author. It has its own sequence numbers, and a receiver always has
/// the whole set as of one of these numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Set {
    /// The author.
    pub hub: HubId,
    /// Which of its claims.
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
    /// Ends a subscription that `Follow` made.
    Unfollow {
        /// The set.
        set: Set,
    },
    /// Changes to a set that was asked for with `Follow`, of the delta's origin.
    Changes(Scope, Delta),
    /// The sender's state of another hub's claims, for the receiver to compare. A difference raises an alarm; it is not
    /// repaired.
    Audit {
        /// The hub whose claims they are.
        origin: HubId,
        /// The incarnation of their hub.
        incarnation: Incarnation,
        /// The state has all changes up to this one.
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
    /// A frame of which only the head was read: it is forwarded, or of a kind that this version does not know.
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

/// A data frame as it arrived, of which only the head was read. A hub on the way forwards it unchanged, so it may be of
/// a variant that this hub does not know; its destination reads the rest.
#[derive(Clone, PartialEq, Debug)]
pub struct RawFrame {
    /// Its source and its destination.
    pub head: FrameHead,
    /// The bytes after the head.
    pub kind: u8,
    /// What follows the head.
    pub rest: Bytes,
}

/// A summary of the records that one end of a link has, in few bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The sender knows no other hub yet, and asks for all records.
    pub wants_all: bool,
    /// It answers a summary that differed, and must not be answered.
    pub is_answer: bool,
    /// For each share of the hubs that the sender can reach, the sum of their records; empty in a greeting.
    pub sums: Vec<u32>,
}

impl Summary {
    /// The number of shares. A summary with another number of shares is not compared.
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

/// A hub's statement about itself and its links. A higher (incarnation, number) is newer.
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
    /// The addresses at which it can be dialled: at most [`LinkRecord::MAX_URLS`], none for a hub that cannot be
    /// dialled.
    pub urls: Vec<String>,
    /// Its location, for operators, perhaps followed by marks: see [`LinkRecord::place`].
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

    /// The last character of a region, if its hub can subscribe to single networks of another hub's claims.
    const KNOWS: char = '\u{1f}';
    /// The last character, if the hub also asks others to subscribe only to single networks: see `core/interest.rs`.
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

    /// Its location, for operators.
    pub fn place(&self) -> &str {
        self.region.trim_end_matches([Self::KNOWS, Self::ASKS])
    }

    /// Whether the hub asks for interest; `None` if it does not know of it.
    pub fn asks_for_interest(&self) -> Option<bool> {
        match self.region.chars().next_back() {
            Some(Self::ASKS) => Some(true),
            Some(Self::KNOWS) => Some(false),
            _ => None,
        }
    }

    /// Its entry in a digest.
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
/// Parts with `last == false` are kept aside until the part with `last == true` arrives: only then do they bring the
/// receiver from `from` of the first part to `to` of the last.
#[derive(Clone, PartialEq, Debug)]
pub struct Delta {
    /// The hub whose claims they are.
    pub origin: HubId,
    /// The incarnation of their hub.
    pub incarnation: Incarnation,
    /// The receiver must already have all changes up to this one. 0 with `reset`.
    pub from: u64,
    /// The receiver starts from an empty set.
    pub reset: bool,
    /// This part completes the delta up to `to`.
    pub last: bool,
    /// The state of the receiver after this part.
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

/// The content of a change.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The claim exists, or has new data.
    Claim(Claim),
    /// The claim is over.
    Gone {
        /// The claim's network.
        network: NetworkKey,
        /// The claim's peer.
        peer: PeerId,
        /// The number of the claim.
        claim: ClaimNo,
        /// Why it left.
        reason: LeaveReason,
    },
    /// A change of a kind that this version does not know: kept and passed on.
    Unknown(UnknownChange),
}

/// A change of a kind that this version does not know. It concerns an *item* of its hub: something that a later version
/// has beside claims. This version reads only what it needs to keep the last change of each item, and to forget items
/// that are gone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UnknownChange {
    /// Its first byte, as on the wire: the kind and the flags, without the flag that a number follows.
    pub tag: u8,
    /// The network that the item is in.
    pub network: NetworkKey,
    /// The number of the item of its hub there; never used for another item in an incarnation.
    pub item: u64,
    /// The part that only later versions read.
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

    /// The change that says only that the item is gone. A hub that has no space for this change keeps that one instead.
    #[must_use]
    pub fn gone(self) -> Self {
        UnknownChange {
            tag: self.tag & Self::KIND | Self::GONE,
            body: Bytes::new(),
            ..self
        }
    }
}

/// The statement of a hub that it has a peer.
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
    /// The data that it shows: JSON text.
    pub data: Option<Bytes>,
}

/// The head of every data frame: a hub on the way reads nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// The number of links that it may still cross.
    pub ttl: u8,
    /// The hub that sent it.
    pub source: HubId,
    /// Its incarnation.
    pub source_incarnation: Incarnation,
    /// The destination.
    pub dest: HubId,
    /// The incarnation of the destination that it is meant for.
    pub dest_incarnation: Incarnation,
}

/// A signal between two hubs.
#[derive(Clone, PartialEq, Debug)]
pub struct SignalFrame {
    /// Its source and its destination.
    pub head: FrameHead,
    /// Its number between these two, from 1.
    pub seq: u64,
    /// The lowest number that the sender still keeps: lower ones are never sent again.
    pub base: u64,
    /// Its body.
    pub body: SignalBody,
}

/// The body of a signal.
#[derive(Clone, PartialEq, Debug)]
pub enum SignalBody {
    /// From a peer to a peer.
    Peer(PeerSignal),
    /// From a hub to a hub, for the control plane.
    Hub {
        /// Encoded by `core::contest`.
        payload: Bytes,
    },
    /// A variant that this version does not know, or one that it cannot decode.
    Other {
        /// The variant, as on the wire.
        variant: u8,
        /// The bytes after it.
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

    /// The same body with a copy of its payload. The original payload is a part of its link's message, and keeps that
    /// whole message in memory.
    pub fn detached(mut self) -> Self {
        let (SignalBody::Peer(PeerSignal { payload, .. })
        | SignalBody::Hub { payload }
        | SignalBody::Other { payload, .. }) = &mut self;
        *payload = Bytes::copy_from_slice(payload);
        self
    }
}

/// The acknowledgement of signals between a pair of hubs.
#[derive(Clone, PartialEq, Debug)]
pub struct AckFrame {
    /// From the signals' destination to their source.
    pub head: FrameHead,
    /// Every signal up to this number was received: delivered, or refused as in `refused`.
    pub upto: u64,
    /// The refused ones of which the source may not know yet.
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
    /// The target has no space for more.
    Overload,
    /// The source hub does not have the peer that it names, or the networks differ.
    Forged,
    /// The destination does not know the variant of the signal.
    NotUnderstood,
}
