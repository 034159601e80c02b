//! Which peer is at which hub: every hub's claims, as far as this hub knows them, and the winner of each id.
//!
//! Each hub is the only author of its claims, so an `OriginSet` here always equals the author's set at one sequence
//! number. The core writes (its own claims, and deltas from neighbours); the data path only reads, behind one read
//! lock. Nothing here knows of links, timers or sessions.
//!
//! - *Visible*: a claim counts only while its origin is visible; the core decides that from the topology.
//! - *Winner* of (network, id): the visible claim with the highest (clock, hub id). A pure function of the visible
//!   claims, whatever the order of arrival.
//! - *Interest*: changes are reported only for networks in which this hub has a claim of its own.
//!
//! Of another hub the directory has its whole set or, in a large mesh, one set for each network of interest (`sets`),
//! and beside these the names of all its networks (`lines`).

mod forgetting;
mod lines;
mod log;
mod quota;
mod reading;
mod records;
mod rooms;
mod sets;
mod store;
#[cfg(test)]
mod tests;
mod unknown;
mod views;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hashbrown::HashMap;

use super::api::RoomRecord;
use super::exchange::{Found, Resolve, Vouch};
use super::ids::{ClaimNo, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId};
use super::mutants::Mutants;
use crate::frames::Entry;
use log::Log;
pub(super) use rooms::HiddenRoom;
use store::{NetworkNo, OriginNo, RecordNo, Store};
use views::Views;

pub use lines::Lines;
pub use log::Tombstone;
pub use quota::{ClaimQuota, Usage};

/// The most networks with a name of their own.
const MAX_NETWORKS: usize = 4_000_000;

/// The most claims of one id in one network that one hub can have.
const MAX_SAME: usize = 4;

/// The claims of one hub, or its claims in one network, as this hub has them.
#[derive(Debug)]
struct OriginSet {
    hub: HubId,
    /// `Some`: these are its claims in this network only.
    only_network: Option<NetworkKey>,
    incarnation: Incarnation,
    /// Every change up to this one is applied.
    seq: u64,
    /// A first set is complete.
    complete: bool,
    visible: bool,
    log: Log,
    /// The wrapping sum of the claims' hashes, for audits.
    hash: u64,
    /// The usage of its claims.
    used: Usage,
    /// The claims by network, while a subscriber needs that.
    views: Option<Views>,
}

#[derive(Debug)]
struct Network {
    key: NetworkKey,
    hash: u64,
    /// Shown records of any origin, visible or not, in no order. The field `member` of each is its index here.
    members: Vec<RecordNo>,
    /// The number of all records, quiet ones too: the network is freed with the last.
    records: u32,
    /// The number of this hub's records: there is interest while there are any.
    own: u32,
    /// The shown records by the positions of their ids (hashes), for neighbourhoods; `None` while the network is small.
    /// Has the same records as `members`.
    positions: Option<BTreeSet<(u64, RecordNo)>>,
}

/// The holder of an id, in the form that other peers are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The hub of the holder.
    pub hub: HubId,
    /// Its claim.
    pub claim: ClaimNo,
    /// The data that the peer shows.
    pub data: Option<Bytes>,
}

/// How the holder of an id changed, in a network of interest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdChange {
    /// The network.
    pub network: NetworkKey,
    /// The id.
    pub peer: PeerId,
    /// The shown holder before; none if there was none, or a quiet one.
    pub before: Option<Shown>,
    /// The shown holder now.
    pub after: Option<Shown>,
    /// A claim, shown or quiet, holds the id now, and another claim (or none) held it before.
    pub appeared: bool,
    /// This hub's claims to the id that did not win: another claim holds it now.
    pub lost: Vec<ClaimNo>,
    /// Why the one before is gone.
    pub reason: LeaveReason,
}

/// The state of an origin's set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OriginState {
    /// The incarnation that the claims belong to.
    pub incarnation: Incarnation,
    /// The set has every change up to this one.
    pub seq: u64,
    /// A first set is complete.
    pub complete: bool,
    /// Its claims are visible.
    pub visible: bool,
    /// The number of its claims.
    pub claims: usize,
    /// The wrapping sum of their hashes.
    pub hash: u64,
}

/// One claim of a set, as tests and audits compare them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClaimView {
    /// Its network.
    pub network: NetworkKey,
    /// Its peer.
    pub peer: PeerId,
    /// Its number.
    pub claim: ClaimNo,
    /// Its sequence number.
    pub seq: u64,
    /// Its clock.
    pub hlc: Hlc,
    /// Whether it is hidden from other peers.
    pub quiet: bool,
    /// Its data.
    pub data: Option<Bytes>,
}

/// A part of a set for a subscriber: the entries, and whether they complete the set.
#[derive(Debug)]
pub struct SetPart {
    /// In rising order.
    pub entries: Vec<Entry>,
    /// The state of the receiver with them.
    pub to: u64,
    /// They complete the set.
    pub last: bool,
}

/// The table of all claims.
#[derive(Debug)]
pub struct Directory {
    me: HubId,
    store: Store,
    networks: Vec<Option<Network>>,
    free_networks: Vec<NetworkNo>,
    by_name: HashMap<NetworkKey, NetworkNo>,
    origins: Vec<Option<OriginSet>>,
    free_origins: Vec<OriginNo>,
    by_hub: HashMap<HubId, OriginNo>,
    /// The sets of single networks.
    by_part: BTreeMap<HubId, BTreeMap<NetworkKey, OriginNo>>,
    /// The usage of each other hub's claims, in all of its sets.
    used_by: HashMap<HubId, Usage>,
    /// In which networks other hubs have members.
    lines: Lines,
    /// The highest number of this hub's own lines.
    lines_given: u64,
    /// Networks whose records changed, if a caller collects them.
    touched: Option<Vec<NetworkKey>>,
    /// What this hub knows of the rooms that it follows while no hub shows their records.
    unshown_rooms: HashMap<NetworkKey, RoomRecord>,
    /// Records of rooms that were shown until a moment ago, of which the core has not heard yet.
    hidden_rooms: Vec<HiddenRoom>,
    /// The rooms of which a record came or changed, which the core has not looked at yet.
    shown_rooms: Vec<NetworkKey>,
    own: HashMap<ClaimNo, RecordNo>,
    own_no: OriginNo,
    changes: Vec<IdChange>,
    /// A network with more members than this also keeps them in order of position.
    large_from: usize,
    hidden_origins: usize,
    /// All networks are of interest, also those in which this hub has no peer (any more).
    all_of_interest: bool,
    quota: ClaimQuota,
    /// The usage of the claims of all other hubs.
    used: Usage,
    /// The number of claims that were refused: there was no space, or no honest hub makes such claims.
    left_out: u64,
    mutants: Mutants,
}

impl Directory {
    /// The directory of the hub `me`, empty. `seed` keeps the tables' hashes from being guessed; a network of
    /// more than `large_from` members also keeps them in order of position.
    pub fn new(
        me: HubId,
        incarnation: Incarnation,
        seed: u64,
        large_from: usize,
        mutants: Mutants,
    ) -> Self {
        let mut directory = Directory {
            me,
            store: Store::new(seed),
            networks: Vec::new(),
            free_networks: Vec::new(),
            by_name: HashMap::new(),
            origins: Vec::new(),
            free_origins: Vec::new(),
            by_hub: HashMap::new(),
            by_part: BTreeMap::new(),
            used_by: HashMap::new(),
            lines: Lines::default(),
            lines_given: 0,
            touched: None,
            unshown_rooms: HashMap::new(),
            hidden_rooms: Vec::new(),
            shown_rooms: Vec::new(),
            own: HashMap::new(),
            own_no: 0,
            changes: Vec::new(),
            large_from,
            hidden_origins: 0,
            all_of_interest: false,
            quota: ClaimQuota::default(),
            used: Usage::default(),
            left_out: 0,
            mutants,
        };
        directory.own_no = directory.origin_no_or_new(me, incarnation);
        let own = directory.own_mut();
        own.complete = true;
        own.visible = true;
        directory
    }
}

/// The entries that will be applied: those whose numbers do not rise are skipped.
fn rising(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seq = 0;
    entries.retain(|entry| {
        let rises = entry.seq > seq;
        seq = seq.max(entry.seq);
        rises
    });
    entries
}

/// The holder of an id.
#[derive(Clone, PartialEq, Eq, Debug)]
struct IdHolder {
    hub: HubId,
    claim: ClaimNo,
    shown: Option<Shown>,
}

impl Resolve for Directory {
    fn resolve(&self, network: &NetworkKey, peer: &PeerId) -> Option<Found> {
        let network = *self.by_name.get(network)?;
        self.winner(network, peer).map(|no| self.found(no))
    }

    fn vouches(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
        seq: u64,
    ) -> Vouch {
        let Some(origin) = self.origin_in(hub, network) else {
            return Vouch::NotYet;
        };
        let held = self.by_name.get(network).is_some_and(|network| {
            self.store.find(*network, peer).any(|no| {
                let record = self.store.record(no);
                record.claim() == claim && self.origin_hub(record.origin) == *hub
            })
        });
        if held {
            Vouch::Holds
        } else if origin.seq < seq || !origin.complete {
            Vouch::NotYet
        } else {
            Vouch::Gone
        }
    }

    fn left_lately(
        &self,
        hub: &HubId,
        network: &NetworkKey,
        peer: &PeerId,
        claim: ClaimNo,
    ) -> bool {
        self.origin_in(hub, network)
            .is_some_and(|origin| origin.log.remembers(network, peer, claim))
    }

    fn network_of(&self, claim: ClaimNo) -> Option<NetworkKey> {
        Some(self.own_claim(claim)?.network)
    }
}
