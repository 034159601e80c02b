//! Rooms: networks that a client creates, that have a host, and that stay for a while without a member.
//!
//! The *record* of a room says who created it and when, and has the data of its dialect. It is the data of a quiet
//! claim of the id [`RECORD`](super::api::RECORD) in the room's network, held by the hub of the host. The *host* is the
//! member with the lowest (clock, hub, claim): a pure function of what is visible, so all hubs agree once they see the
//! same. A hub that has a member in a room, or its record, follows the room, and keeps the record as it last saw it.
//! All rules follow from that. Each hub applies them to its own claims alone:
//!
//! - The hub of the host holds the record. When the host leaves, or its hub is gone, the hub of the next host claims
//!   the record as it last saw it. The hub that held the record before gives its claim up once it sees the new claim.
//! - If a room has two records, the one that was created first counts, by (clock, hub). The creator of the other record
//!   is told, and leaves the room, unless it created both records, or the room of the first record has no member.
//! - A room without a member stays with the hub that holds its record until its time is over. If several hubs hold the
//!   record, the lowest keeps it.
//! - If no hub shows a record any more, or only a hub that drains, another hub takes the record over (`take_over`).
//! - A hub holds a bounded number of records and of their bytes. Past that bound rooms without a member end
//!   (`capacity`). A record that does not fit even then is neither made nor taken over.
//!
//! Hubs that do not know of rooms carry these claims like any other. This file knows no link. [`Core`] calls it when
//! claims of a room come and go.

mod capacity;
mod take_over;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Core;
use super::api::{JoinRefusal, Output, PeerEvent, Recipients};
use super::api::{Room, RoomAsk, RoomClaim, RoomRecord, record_id};
use super::directory::Directory;
use super::ids::{ClaimNo, Hlc, HubId, LeaveReason, Moment, NetworkKey, Now, PeerId};
use capacity::{RecordCapacity, RoomMaker};
use take_over::{LOOK_AGAIN, LostRooms};

/// The first number of claims that the hub makes by itself: far from the numbers that its sessions draw.
const OWN_CLAIMS: u64 = 1 << 62;

/// The reason with which a hub gives up the claim of a record that another hub has. Others know by it that the room has
/// not ended.
const HANDED_ON: LeaveReason = LeaveReason::Superseded;

/// Other hubs keep a bounded share of a hub's data. Its records take at most one of so many parts of that share; the
/// rest is for its peers.
const OF_SHARE: usize = 4;

/// How many bytes of records a hub holds, if other hubs keep `share` bytes of its data.
pub const fn record_bytes(share: usize) -> usize {
    share / OF_SHARE
}

/// The bounds on rooms.
#[derive(Clone, Copy, Debug)]
pub struct RoomsConfig {
    /// How long a room without a member stays.
    pub idle: Duration,
    /// The most records that this hub holds, if their bytes fit too ([`record_bytes`]). If a record does not fit, a
    /// room without a member ends.
    pub most: usize,
}

impl Default for RoomsConfig {
    fn default() -> Self {
        RoomsConfig {
            idle: Duration::from_secs(3 * 60 * 60),
            most: 10_000,
        }
    }
}

/// A record that this hub holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    claim: ClaimNo,
    /// The size of its data.
    bytes: usize,
    /// The maker for which it counts.
    maker: RoomMaker,
}

/// A room that this hub follows.
#[derive(Debug, Default)]
struct Followed {
    record: Option<RoomRecord>,
    held: Option<Held>,
    /// The last host that the members here were told of.
    told: Option<PeerId>,
    /// When the room ends, unless a peer enters it.
    ends: Option<Moment>,
    /// The claim that created it.
    new: Option<ClaimNo>,
    /// The address group of the peer that created the room, or else of the peer that entered it here first.
    maker: RoomMaker,
}

/// All rooms that this hub follows.
#[derive(Debug)]
pub(super) struct FollowedRooms {
    idle: Duration,
    capacity: RecordCapacity,
    followed: BTreeMap<NetworkKey, Followed>,
    due: BTreeSet<(Moment, NetworkKey)>,
    lost: LostRooms,
    /// The rooms whose record this hub keeps because it is not known yet whether another hub has it still.
    unsure: BTreeSet<NetworkKey>,
    /// When they are reviewed.
    unsure_due: Option<Moment>,
    claims: u64,
}

impl FollowedRooms {
    /// No rooms yet; other hubs keep `share` bytes of this hub's data.
    pub(super) fn new(config: RoomsConfig, share: usize) -> Self {
        FollowedRooms {
            idle: config.idle,
            capacity: RecordCapacity::new(config.most, record_bytes(share)),
            followed: BTreeMap::new(),
            due: BTreeSet::new(),
            lost: LostRooms::new(record_bytes(share)),
            unsure: BTreeSet::new(),
            unsure_due: None,
            claims: OWN_CLAIMS,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let ends = self.due.first().map(|(at, _)| *at);
        let all = [ends, self.lost.poll_timeout(), self.unsure_due];
        all.into_iter().flatten().min()
    }

    /// The size of the records that are kept to be taken over.
    pub(super) fn lost_bytes(&self) -> usize {
        self.lost.bytes()
    }

    /// Follows the room from now on.
    fn follow(&mut self, network: &NetworkKey) -> &mut Followed {
        self.followed.entry(network.clone()).or_default()
    }

    fn next_claim(&mut self) -> ClaimNo {
        self.claims += 1;
        ClaimNo(self.claims)
    }

    /// Sets when a room ends; `None`: it has a member.
    fn ends(&mut self, network: &NetworkKey, ends: Option<Moment>) {
        let Some(followed) = self.followed.get_mut(network) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut followed.ends, ends) {
            self.due.remove(&(before, network.clone()));
        }
        if let Some(at) = ends {
            self.due.insert((at, network.clone()));
            let held = followed.held.map(|held| (held.bytes, held.maker));
            let (bytes, maker) = held.unwrap_or((0, followed.maker));
            self.capacity.stand(network, maker, at, bytes);
        } else {
            self.capacity.leave(network);
        }
    }

    fn forget(&mut self, network: &NetworkKey) {
        self.ends(network, None);
        self.unsure.remove(network);
        self.followed.remove(network);
    }
}

/// The record that counts among the visible records of a room.
fn visible_record<'a>(claims: impl IntoIterator<Item = &'a RoomClaim>) -> Option<RoomRecord> {
    let read = claims.into_iter().filter_map(RoomClaim::record);
    read.reduce(better)
}

fn better(one: RoomRecord, other: RoomRecord) -> RoomRecord {
    let rank = |record: &RoomRecord| (record.birth(), std::cmp::Reverse(record.left_ms));
    match rank(&other) < rank(&one) {
        true => other,
        false => one,
    }
}

/// A room as a directory has it; `None` if there is none of this name.
pub fn room(directory: &Directory, network: &NetworkKey) -> Option<Room> {
    let claims = directory.claims_of_id(network, &record_id());
    let record = visible_record(&claims).or_else(|| directory.unshown_room(network).cloned())?;
    Some(Room {
        record,
        members: directory.by_seniority(network),
    })
}

impl Core {
    /// The room that a local claim is in, and whether that claim created it; `None` if it is in none.
    pub fn room_of(&self, claim: ClaimNo) -> Option<(Room, bool)> {
        let directory = self.directory.read();
        let network = directory.own_claim(claim)?.network;
        if !network.is_room() {
            return None;
        }
        let followed = self.presence.rooms.followed.get(&network);
        let is_new = followed.is_some_and(|followed| followed.new == Some(claim));
        Some((room(&directory, &network)?, is_new))
    }

    /// The number of records that this hub holds.
    pub fn rooms_held(&self) -> usize {
        self.presence.rooms.capacity.held()
    }

    /// The number of rooms without a member of which this hub holds the record.
    pub fn rooms_empty(&self) -> usize {
        self.presence.rooms.capacity.empty()
    }

    /// Ends rooms without a member of which this hub holds the record, at most `most` of them: the room that was left
    /// first among those of the maker with the most such rooms, again and again. Returns how many have ended.
    pub fn end_empty_rooms(&mut self, now: Now, most: usize) -> usize {
        let mut ended = 0;
        while ended < most
            && let Some(network) = self.presence.rooms.capacity.first_to_end()
        {
            self.end_room(now, &network);
            ended += 1;
        }
        self.settle(now);
        ended
    }

    /// Whether a join may go on as far as its room is concerned. If so, the room exists afterwards.
    pub(super) fn enter_room(
        &mut self,
        now: Now,
        network: &NetworkKey,
        (claim, peer, from): (ClaimNo, &PeerId, RoomMaker),
        ask: RoomAsk,
    ) -> Result<(), JoinRefusal> {
        let known = self.known_record(network);
        // If there are members, there is a room, even if its record is late or was left out here.
        let is_lived_in = self.directory.read().senior(network).is_some();
        match (ask, known) {
            (RoomAsk::Create(_), Some(_)) => Err(JoinRefusal::RoomExists),
            (RoomAsk::Create(_), None) if is_lived_in => Err(JoinRefusal::RoomExists),
            (RoomAsk::Enter, None) if is_lived_in => Ok(()),
            (RoomAsk::Enter, None) if self.mutants.rooms_from_nowhere() => Ok(()),
            (RoomAsk::Enter, None) => Err(JoinRefusal::NoSuchRoom),
            (RoomAsk::Enter, Some(record)) => {
                let rooms = &mut self.presence.rooms;
                // A room without a member counts against no address until a peer enters it.
                if !is_lived_in && from.is_some() {
                    let followed = rooms.followed.get(network);
                    let maker = followed.and_then(|followed| followed.maker);
                    if !rooms.capacity.is_fair(maker.or(from), record.write().len()) {
                        return Err(JoinRefusal::TooManyRoomsOfOne);
                    }
                }
                let followed = rooms.follow(network);
                followed.record = Some(record);
                followed.maker = followed.maker.or(from);
                Ok(())
            }
            (RoomAsk::Create(about), None) => {
                let record = RoomRecord {
                    created: self.presence.clock.draw(now.wall_ms, None),
                    by: self.me,
                    creator: peer.to_string(),
                    left_ms: now.wall_ms,
                    about: about.to_vec(),
                };
                let capacity = &self.presence.rooms.capacity;
                let bytes = record.write().len();
                let is_judged = from.is_some() && capacity.would_fit(bytes);
                if is_judged && !capacity.is_fair(from, bytes) {
                    return Err(JoinRefusal::TooManyRoomsOfOne);
                }
                let followed = self.presence.rooms.follow(network);
                followed.new = Some(claim);
                followed.maker = from;
                followed.record = Some(record);
                if !self.hold_record(now, network) {
                    self.forget_room(network);
                    return Err(JoinRefusal::TooManyRooms);
                }
                Ok(())
            }
        }
    }

    /// The record of a room: the visible one, or else the last one that this hub saw, or one that waits to be taken over.
    pub(super) fn known_record(&self, network: &NetworkKey) -> Option<RoomRecord> {
        let directory = self.directory.read();
        let seen = visible_record(&directory.claims_of_id(network, &record_id()));
        if seen.as_ref().is_some_and(|seen| !seen.is_substitute()) {
            return seen;
        }
        // A substitute was made at a hub that knew less than this one.
        let followed = self.presence.rooms.followed.get(network);
        let followed = followed.and_then(|followed| followed.record.clone());
        let lost = self.presence.rooms.lost.record(network);
        let all = [seen, followed, lost].into_iter().flatten();
        all.min_by_key(RoomRecord::is_substitute)
    }

    fn end_room(&mut self, now: Now, network: &NetworkKey) {
        self.give_record_up(now, network, LeaveReason::Closed);
        self.counters.rooms_ended += 1;
        self.forget_room(network);
    }

    /// Ends rooms without a member until one more record of `bytes` fits. If that is not enough, none ends, and this is
    /// false.
    fn make_space(&mut self, now: Now, bytes: usize) -> bool {
        if !self.presence.rooms.capacity.would_fit(bytes) {
            return false;
        }
        while !self.presence.rooms.capacity.fits(bytes) {
            let Some(network) = self.presence.rooms.capacity.first_to_end() else {
                return false;
            };
            self.end_room(now, &network);
        }
        true
    }

    /// Claims of these rooms came or went: applies the rules.
    pub(super) fn review_rooms(&mut self, now: Now, networks: BTreeSet<NetworkKey>) {
        for network in networks {
            self.review_room(now, &network);
        }
    }

    /// Applies the rules again to the rooms of which this hub kept the record for what it did not know.
    pub(super) fn review_unsure_rooms(&mut self, now: Now) {
        let rooms = &mut self.presence.rooms;
        if rooms.unsure_due.is_some_and(|due| due <= now.at) {
            rooms.unsure_due = None;
            let unsure = std::mem::take(&mut rooms.unsure);
            self.review_rooms(now, unsure);
        }
    }

    /// Whether another hub has what it shows of a room, as far as can be known. The claims of a hub that came back into
    /// reach are those of the time when it was lost, until its changes since have come: from the hub next on the way to
    /// it, which may have to wait for them too.
    fn is_sure_of(&self, now: Now, hub: HubId, network: &NetworkKey) -> bool {
        let routing = &self.routing;
        routing.hold_down.has_settled(now.at, &hub) && !routing.subscriptions.awaits(hub, network)
    }

    /// Whether this hub may give its record of a room up because another hub shows one. If it is not known yet whether
    /// that hub has it still, the room is reviewed again.
    fn may_leave_record_to(&mut self, now: Now, hub: HubId, network: &NetworkKey) -> bool {
        let is_sure = self.is_sure_of(now, hub, network);
        if !is_sure {
            self.review_later(now, network);
        }
        is_sure
    }

    /// The record that counts among the visible records of a room. If this hub knows a record, it does not go by one
    /// that another hub may have no more.
    fn seen_record(
        &mut self,
        now: Now,
        network: &NetworkKey,
        claims: &[RoomClaim],
    ) -> Option<RoomRecord> {
        let followed = self.presence.rooms.followed.get(network);
        if followed.is_none_or(|followed| followed.record.is_none()) {
            return visible_record(claims);
        }
        let is_sure =
            |claim: &&RoomClaim| claim.hub == self.me || self.is_sure_of(now, claim.hub, network);
        let sure: Vec<&RoomClaim> = claims.iter().filter(is_sure).collect();
        let seen = visible_record(sure.iter().copied());
        if sure.len() < claims.len() {
            self.review_later(now, network);
        }
        seen
    }

    fn review_later(&mut self, now: Now, network: &NetworkKey) {
        let rooms = &mut self.presence.rooms;
        rooms.unsure.insert(network.clone());
        rooms.unsure_due.get_or_insert(now.at + LOOK_AGAIN);
    }

    fn review_room(&mut self, now: Now, network: &NetworkKey) {
        self.presence.rooms.unsure.remove(network);
        let (claims, host, own) = {
            let directory = self.directory.read();
            (
                directory.claims_of_id(network, &record_id()),
                self.host(&directory, network),
                directory.own_members(network),
            )
        };
        let held = self
            .presence
            .rooms
            .followed
            .get(network)
            .and_then(|room| room.held)
            .map(|held| held.claim);
        if own.is_empty() && held.is_none() {
            return self.forget_room(network);
        }
        let is_shown = claims.iter().any(|claim| claim.record().is_some());
        let seen = self.seen_record(now, network, &claims);
        let is_ours = |claim: &RoomClaim| Some(claim.claim) == held && claim.hub == self.me;
        let shown = claims.iter().find(|claim| is_ours(claim));
        let shown = shown.and_then(|claim| claim.data.clone());
        // An older record may have been shown for a moment, by a hub that was apart. It counts on at the hub of the
        // host alone: any other hub that holds a record goes by that one.
        if host.as_ref().is_none_or(|host| host.hub != self.me)
            && let Some(shown) = shown.as_deref().and_then(RoomRecord::read)
        {
            self.presence.rooms.follow(network).record = Some(shown);
        }
        let record = self.settle_record(now, network, (&claims, seen), host.as_ref());
        match &host {
            Some(host) if host.hub == self.me => {
                self.presence.rooms.ends(network, None);
                // If it does not fit, this is tried again when a claim of the room changes.
                if shown != Some(record.write()) {
                    self.hold_record(now, network);
                }
            }
            Some(host) => {
                self.presence.rooms.ends(network, None);
                let holders = holders(&claims, &record);
                let taken_over = self.stays(&host.hub) && holders.contains(&host.hub);
                if taken_over {
                    let may_leave =
                        held.is_some() && self.may_leave_record_to(now, host.hub, network);
                    if may_leave && !self.mutants.records_kept() {
                        self.give_record_up(now, network, HANDED_ON);
                    }
                } else if holders.is_empty() && self.has_substitute(&claims, &host.hub, &record) {
                    self.hold_record(now, network);
                }
            }
            None => self.keep_empty(now, network, &record, &claims),
        }
        self.tell_host(network, host.as_ref(), own);
        self.keep_unshown(network, is_shown);
    }

    /// Whether a hub shows a substitute for this record, which has space here beside it.
    fn has_substitute(&self, claims: &[RoomClaim], hub: &HubId, real: &RoomRecord) -> bool {
        let mut held = claims.iter().filter(|claim| claim.hub == *hub);
        held.any(|claim| stands_in_for(claim, real))
            && self.presence.rooms.capacity.fits(real.write().len())
    }

    /// Keeps a room known here while no hub shows its record, so that its members are told of the room nevertheless.
    fn keep_unshown(&mut self, network: &NetworkKey, is_shown: bool) {
        let followed = self.presence.rooms.followed.get(network);
        let unshown = followed.filter(|followed| !is_shown && followed.held.is_none());
        let record = unshown.and_then(|followed| followed.record.clone());
        let was_kept = self.directory.read().unshown_room(network).is_some();
        if record.is_some() || was_kept {
            self.directory.write().set_unshown_room(network, record);
        }
    }

    fn forget_room(&mut self, network: &NetworkKey) {
        self.presence.rooms.forget(network);
        if self.directory.read().unshown_room(network).is_some() {
            self.directory.write().set_unshown_room(network, None);
        }
    }

    fn host(&self, directory: &Directory, network: &NetworkKey) -> Option<RoomClaim> {
        if self.mutants.host_of_one_s_own() {
            let all = directory.by_seniority(network);
            return all.into_iter().find(|claim| claim.hub == self.me);
        }
        directory.senior(network)
    }

    /// The host that the members here were told of.
    pub fn host_told(&self, network: &NetworkKey) -> Option<&PeerId> {
        self.presence.rooms.followed.get(network)?.told.as_ref()
    }

    /// Decides which record counts from now on. If the record of this hub gives way to that of a room with members, the
    /// creator of the former is told, and leaves.
    fn settle_record(
        &mut self,
        now: Now,
        network: &NetworkKey,
        (claims, seen): (&[RoomClaim], Option<RoomRecord>),
        host: Option<&RoomClaim>,
    ) -> RoomRecord {
        let followed = self.presence.rooms.follow(network);
        let before = followed.record.clone();
        let record = match (before.clone(), seen) {
            (Some(before), Some(seen)) => better(before, seen),
            (Some(one), None) | (None, Some(one)) => one,
            // The record is late, or was lost with every hub that had it: only members are visible. The substitute
            // names no creator. Otherwise that peer would be sent away when the record comes.
            (None, None) => RoomRecord {
                created: host.map_or(Hlc(0), |host| host.hlc),
                by: host.map_or(self.me, |host| host.hub),
                creator: String::new(),
                left_ms: now.wall_ms,
                about: Vec::new(),
            },
        };
        followed.record = Some(record.clone());
        let gave_way = before.filter(|before| before.birth() != record.birth());
        if let Some(before) = gave_way
            && before.creator != record.creator
            && self.is_lived_in(network, &record, claims, &before.creator)
        {
            self.send_creator_away(now, network, &before.creator);
        }
        record
    }

    /// Whether a hub that holds this record has a member of the room other than `creator`. A room without a member
    /// sends no creator away.
    fn is_lived_in(
        &self,
        network: &NetworkKey,
        record: &RoomRecord,
        claims: &[RoomClaim],
        creator: &str,
    ) -> bool {
        let holders = holders(claims, record);
        let members = self.directory.read().by_seniority(network);
        members
            .iter()
            .any(|member| holders.contains(&member.hub) && member.peer.to_string() != creator)
    }

    fn send_creator_away(&mut self, now: Now, network: &NetworkKey, creator: &str) {
        let Ok(creator) = PeerId::new(creator) else {
            return;
        };
        let claims = self.directory.read().own_holders(network, &creator);
        for claim in claims {
            self.retract(now, claim, LeaveReason::Closed);
            let why = JoinRefusal::RoomExists;
            self.outputs.push_back(Output::Refused { claim, why });
        }
    }

    /// Keeps the record of a room without a member, or leaves the record to another hub that keeps it.
    fn keep_empty(
        &mut self,
        now: Now,
        network: &NetworkKey,
        record: &RoomRecord,
        claims: &[RoomClaim],
    ) {
        let holders = holders(claims, record);
        let staying = holders.iter().find(|hub| self.stays(hub));
        let keeper = staying.or(holders.first()).copied();
        if let Some(keeper) = keeper.filter(|keeper| *keeper != self.me)
            && self.may_leave_record_to(now, keeper, network)
        {
            self.give_record_up(now, network, HANDED_ON);
            return self.forget_room(network);
        }
        let idle = self.presence.rooms.idle;
        let Some(followed) = self.presence.rooms.followed.get_mut(network) else {
            return;
        };
        if followed.ends.is_some() {
            return;
        }
        if let Some(record) = &mut followed.record {
            record.left_ms = now.wall_ms;
        }
        if !self.hold_record(now, network) {
            self.counters.rooms_ended += 1;
            return self.forget_room(network);
        }
        self.presence.rooms.ends(network, Some(now.at + idle));
    }

    /// Tells the members here which peer is the host, if they were told of another host before.
    fn tell_host(&mut self, network: &NetworkKey, host: Option<&RoomClaim>, own: Vec<ClaimNo>) {
        let Some(followed) = self.presence.rooms.followed.get_mut(network) else {
            return;
        };
        let Some(host) = host.filter(|_| !own.is_empty()) else {
            followed.told = None;
            return;
        };
        let before = followed.told.replace(host.peer.clone());
        if before.is_some_and(|before| before != host.peer) {
            self.outputs.push_back(Output::Notify {
                network: network.clone(),
                to: Recipients::Only(own),
                event: PeerEvent::Hosts {
                    peer: host.peer.clone(),
                    data: host.data.clone(),
                },
            });
        }
    }

    /// Shows the record of a room as this hub's own claim. If the record does not fit, the hub holds none, and this is
    /// false.
    fn hold_record(&mut self, now: Now, network: &NetworkKey) -> bool {
        let fresh = self.presence.rooms.next_claim();
        let Some(followed) = self.presence.rooms.followed.get_mut(network) else {
            return false;
        };
        let Some(record) = &followed.record else {
            return false;
        };
        let data = record.write();
        // The bytes of the present record are given back first, so that a new one of the same length always fits.
        let before = followed.held.take();
        if let Some(before) = before {
            let capacity = &mut self.presence.rooms.capacity;
            capacity.give_up(before.maker, before.bytes);
        }
        self.presence.rooms.capacity.leave(network);
        if !self.make_space(now, data.len()) {
            if let Some(before) = before {
                self.retract(now, before.claim, LeaveReason::Closed);
            }
            return false;
        }
        let claim = before.map_or(fresh, |before| before.claim);
        let rooms = &mut self.presence.rooms;
        if let Some(followed) = rooms.followed.get_mut(network) {
            let (bytes, maker) = (data.len(), followed.maker);
            followed.held = Some(Held {
                claim,
                bytes,
                maker,
            });
            rooms.capacity.hold(maker, bytes);
        }
        self.hold_quietly(now, network.clone(), record_id(), claim, data);
        true
    }

    fn give_record_up(&mut self, now: Now, network: &NetworkKey, why: LeaveReason) {
        let followed = self.presence.rooms.followed.get_mut(network);
        if let Some(held) = followed.and_then(|followed| followed.held.take()) {
            let capacity = &mut self.presence.rooms.capacity;
            capacity.give_up(held.maker, held.bytes);
            self.retract(now, held.claim, why);
        }
    }

    /// Ends the rooms whose time without a member is over.
    pub(super) fn end_idle_rooms(&mut self, now: Now) {
        if self.mutants.rooms_without_end() {
            self.presence.rooms.due.clear();
        }
        while let Some((due, network)) = self.presence.rooms.due.first().cloned()
            && due <= now.at
        {
            self.end_room(now, &network);
        }
    }
}

/// Whether this is the claim of a record that its hub made up because it did not know this one, which is older.
fn stands_in_for(claim: &RoomClaim, real: &RoomRecord) -> bool {
    let is_later = |record: RoomRecord| record.is_substitute() && record.birth() > real.birth();
    !real.is_substitute() && claim.record().is_some_and(is_later)
}

/// The hubs that hold a record of the same creation as this one.
fn holders(claims: &[RoomClaim], record: &RoomRecord) -> BTreeSet<HubId> {
    let birth = |claim: &RoomClaim| Some(claim.record()?.birth());
    let same = claims
        .iter()
        .filter(|claim| birth(claim) == Some(record.birth()));
    same.map(|claim| claim.hub).collect()
}

#[cfg(test)]
mod tests;
