//! Take-over: what hubs do when the hub that shows a record is gone, or drains, or gives it up in favour of no other
//! hub.
//!
//! Every other hub has the record, in its copy of the claims of that hub. In a narrow mesh the hubs that list the room
//! have it, or else its guardian (`guards`). For each such *lost* room all hubs in reach that do not drain have an order,
//! by a hash of the room and the hub; those that list it come first. The first hub takes the record over at once.
//! Each further hub takes it over [`STEP`] later, unless it has seen the record at another hub since; the room may also
//! have ended there. So one hub takes a room over as a rule, the rooms of a hub spread over the others, and a hub that
//! does not know of this, or has no capacity left, costs a step. A hub that came too late gives its record up by the
//! rules in `rooms`: both records are of one creation.
//!
//! The same holds if a hub gives a record up in favour of another hub that gives it up at the same moment. Then no hub
//! shows the record, and no hub ended the room: a record of a room that ends is given up with another reason.
//!
//! A room that is taken over has no member. If its record does not fit, a room of another maker ends: one whose rooms
//! without a member take more than a quarter of the hub's capacity. If there is no such maker, the record is left to
//! the next hub. While a member is visible, the hub of that member is to hold the record, and all others wait. Until
//! the room is taken over, a client may enter it at any hub that had the record. If the hub of the host made a record up,
//! because it did not know the lost one, the room is taken over all the same.
//!
//! This file knows no links. [`Core`] calls it when records are hidden, when a hub is seen to drain, and when a look is
//! due.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::Core;
use super::super::api::{RoomClaim, RoomRecord, record_id};
use super::super::directory::{ClaimQuota, Directory, HiddenRoom};
use super::super::guards::TakeOverOrder;
use super::super::ids::{HubId, Moment, NetworkKey, Now};
use super::{stands_in_for, visible_record};

/// How much later than the hub before it a hub takes a room over.
const STEP: Duration = Duration::from_millis(250);
/// The time between two looks at a room whose turn has passed, or that has a member, or that a hub shows which has yet
/// to say whether it ended there.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a lost record is kept: as long as the claims of a hub that is gone.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// The most lost rooms that are kept.
const MOST: usize = 100_000;

/// A room whose record is lost unless a hub takes it over.
#[derive(Debug)]
struct LostRoom {
    room: HiddenRoom,
    since: Moment,
    look: Moment,
    /// The record did not fit here.
    passed_on: bool,
}

/// The lost rooms.
#[derive(Debug)]
pub(super) struct LostRooms {
    rooms: BTreeMap<NetworkKey, LostRoom>,
    due: BTreeSet<(Moment, NetworkKey)>,
    /// The size of all their records.
    bytes: usize,
    most_bytes: usize,
}

/// The next step for a lost room.
enum Look {
    /// Another hub has it, or it is not lost, or it was lost for too long.
    Forget,
    At(Moment),
    TakeOver,
}

impl LostRooms {
    /// None yet. Each hub of this mesh holds records of `of_one` bytes at most.
    pub(super) fn new(of_one: usize) -> Self {
        LostRooms {
            rooms: BTreeMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
            most_bytes: of_one.saturating_mul(ClaimQuota::ALL_HUBS_FACTOR),
        }
    }

    /// The size of all records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The record of a lost room.
    pub(super) fn record(&self, network: &NetworkKey) -> Option<RoomRecord> {
        RoomRecord::read(&self.rooms.get(network)?.room.data)
    }

    /// A room is lost: a look at it is due now. Of two records the one that counts is kept. A room that is lost again,
    /// by a drain and then with its hub, keeps its turn.
    fn expect(&mut self, now: Moment, room: HiddenRoom) {
        let Some(record) = RoomRecord::read(&room.data).filter(|record| !record.is_substitute())
        else {
            return;
        };
        let network = room.network.clone();
        let before = self.record(&network);
        let before = before.map(|before| before.birth().cmp(&record.birth()));
        if before == Some(Ordering::Less) {
            return;
        }
        let known = self.rooms.get(&network);
        let given_back = known.map_or(0, |lost| lost.room.data.len());
        let others = known.map_or(self.rooms.len(), |_| self.rooms.len() - 1);
        let bytes = self.bytes - given_back + room.data.len();
        if bytes > self.most_bytes || others >= MOST {
            return;
        }
        let same = known.filter(|_| before == Some(Ordering::Equal));
        let (since, passed_on) = same.map_or((now, false), |lost| (lost.since, lost.passed_on));
        self.forget(&network);
        self.bytes = bytes;
        self.due.insert((now, network.clone()));
        let lost = LostRoom {
            since,
            look: now,
            passed_on,
            room,
        };
        self.rooms.insert(network, lost);
    }

    fn forget(&mut self, network: &NetworkKey) {
        if let Some(lost) = self.rooms.remove(network) {
            self.bytes -= lost.room.data.len();
            self.due.remove(&(lost.look, lost.room.network));
        }
    }

    fn look_at(&mut self, network: &NetworkKey, at: Moment) {
        if let Some(lost) = self.rooms.get_mut(network) {
            self.due.remove(&(lost.look, network.clone()));
            lost.look = at;
            self.due.insert((at, network.clone()));
        }
    }

    fn next_due(&self, now: Moment) -> Option<NetworkKey> {
        let (at, network) = self.due.first()?;
        (*at <= now).then(|| network.clone())
    }
}

impl Core {
    /// Whether a hub goes on: it does not drain.
    pub(crate) fn stays(&self, hub: &HubId) -> bool {
        if *hub == self.me {
            return !self.draining;
        }
        let record = self.routing.topology.record(*hub);
        record.is_none_or(|record| !record.draining)
    }

    /// Records of rooms were hidden or came: some rooms are lost now, and others are lost no more.
    pub(crate) fn note_lost_rooms(
        &mut self,
        now: Now,
        hidden: Vec<HiddenRoom>,
        shown: &[NetworkKey],
    ) {
        self.expect_rooms(now, hidden);
        for network in shown {
            self.note_taken_over(now, network);
        }
    }

    /// A lost room is lost no more once a hub that goes on has it. If it ends there before this hub's turn, it has ended.
    fn note_taken_over(&mut self, now: Now, network: &NetworkKey) {
        let Some(record) = self.presence.rooms.lost.record(network) else {
            return;
        };
        let directory = self.directory.read();
        let claims = directory.claims_of_id(network, &record_id());
        drop(directory);
        if self.goes_on_at(now, (network, &record), &claims) {
            self.presence.rooms.lost.forget(network);
        }
    }

    /// Whether a hub that stays has this lost room, or another one of its name, as far as can be known.
    fn goes_on_at(
        &self,
        now: Now,
        (network, lost): (&NetworkKey, &RoomRecord),
        claims: &[RoomClaim],
    ) -> bool {
        let real = claims.iter().filter(|claim| !stands_in_for(claim, lost));
        let mut hubs = real.map(|claim| claim.hub);
        hubs.any(|hub| self.stays(&hub) && self.is_sure_of(now, hub, network))
    }

    /// A hub drains: others take its rooms over while it is still there.
    pub(crate) fn expect_rooms_of(&mut self, now: Now, hub: &HubId) {
        let rooms = self.directory.read().rooms_of(hub);
        self.expect_rooms(now, rooms);
    }

    fn expect_rooms(&mut self, now: Now, rooms: Vec<HiddenRoom>) {
        if self.draining || self.mutants.rooms_not_taken_over() {
            return;
        }
        for room in rooms {
            let claims = match room.is_handed_on {
                true => self
                    .directory
                    .read()
                    .claims_of_id(&room.network, &record_id()),
                false => Vec::new(),
            };
            if self.is_lost(&room, &claims) || !self.stays(&room.hub) {
                self.presence.rooms.lost.expect(now.at, room);
            }
        }
    }

    /// Whether the hub that showed a record is gone, or gave the record up in favour of a hub that does not show it
    /// either. A record is also hidden when its network is of no interest here any more: then it is not lost.
    fn is_lost(&self, room: &HiddenRoom, claims: &[RoomClaim]) -> bool {
        if room.is_handed_on {
            return match RoomRecord::read(&room.data) {
                Some(real) => claims.iter().all(|claim| stands_in_for(claim, &real)),
                None => claims.is_empty(),
            };
        }
        let routing = &self.routing;
        let is_near =
            routing.topology.is_reachable(room.hub) || routing.hold_down.is_held(&room.hub);
        let life = routing.topology.record(room.hub);
        let is_same = life.is_some_and(|record| record.incarnation == room.incarnation);
        !(is_near && is_same) || claims.iter().any(|claim| claim.hub == room.hub)
    }

    /// Takes over the lost rooms whose time has come.
    pub(crate) fn take_lost_rooms_over(&mut self, now: Now) {
        while let Some(network) = self.presence.rooms.lost.next_due(now.at) {
            match self.look_at_lost(now, &network) {
                Look::Forget => self.presence.rooms.lost.forget(&network),
                Look::At(at) => self.presence.rooms.lost.look_at(&network, at),
                Look::TakeOver if self.take_over(now, &network) => {
                    self.presence.rooms.lost.forget(&network);
                    self.counters.rooms_taken_over += 1;
                }
                Look::TakeOver => {
                    self.counters.rooms_not_taken += 1;
                    let lost = &mut self.presence.rooms.lost;
                    if let Some(lost) = lost.rooms.get_mut(&network) {
                        lost.passed_on = true;
                    }
                    lost.look_at(&network, now.at + LOOK_AGAIN);
                }
            }
        }
    }

    fn look_at_lost(&self, now: Now, network: &NetworkKey) -> Look {
        let all = &self.presence.rooms.lost;
        let (Some(lost), Some(record)) = (all.rooms.get(network), all.record(network)) else {
            return Look::Forget;
        };
        let directory = self.directory.read();
        let claims = directory.claims_of_id(network, &record_id());
        let is_held = self.goes_on_at(now, (network, &record), &claims);
        let is_over = now.at >= lost.since + KEPT_FOR;
        if is_held || is_over || self.draining || !self.is_lost(&lost.room, &claims) {
            return Look::Forget;
        }
        let again = now.at + LOOK_AGAIN;
        let (made_up, real): (Vec<_>, Vec<_>) = claims
            .iter()
            .partition(|claim| stands_in_for(claim, &record));
        let is_shown = real.iter().any(|claim| self.stays(&claim.hub));
        let members = directory.by_seniority(network);
        // The hub of the host does not know the record if it made one up.
        let is_unknown = members
            .first()
            .is_some_and(|host| made_up.iter().any(|claim| claim.hub == host.hub));
        let is_claimed = !is_unknown && members.iter().any(|member| self.stays(&member.hub));
        if is_shown || is_claimed || lost.passed_on {
            return Look::At(again);
        }
        let turn = lost.since + STEP.saturating_mul(self.turn_at(&directory, network));
        match turn <= now.at {
            true => Look::TakeOver,
            false => Look::At(turn),
        }
    }

    /// How many hubs come before this one in the order for a room.
    fn turn_at(&self, directory: &Directory, network: &NetworkKey) -> u32 {
        let order = TakeOverOrder::of(network);
        let listing = directory.lines().hubs_in(network);
        let rank = |hub: &HubId| (!listing.contains(hub), order.rank(hub));
        let own = rank(&self.me);
        let routes = self.routing.topology.routes();
        let hubs = routes.by_hub.keys().filter(|hub| rank(hub) < own);
        let before = hubs.filter(|hub| self.stays(hub)).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// Makes a record of this many bytes fit. If need be, rooms without a member end of a maker that has more than a
    /// quarter of the capacity with them. If that is not enough, no room ends, and this is false.
    fn make_fair_space(&mut self, now: Now, bytes: usize) -> bool {
        let capacity = &self.presence.rooms.capacity;
        if capacity.fits(bytes) {
            return true;
        }
        let Some(to_end) = capacity.to_end_for_others(bytes) else {
            return false;
        };
        for network in to_end {
            self.end_room(now, &network);
        }
        true
    }

    /// Makes the claim. False if the record does not fit.
    fn take_over(&mut self, now: Now, network: &NetworkKey) -> bool {
        let claims = self.directory.read().claims_of_id(network, &record_id());
        let rooms = &mut self.presence.rooms;
        let Some(lost) = rooms.lost.rooms.get(network) else {
            return false;
        };
        let Some(real) = rooms.lost.record(network) else {
            return false;
        };
        // The record of a hub that drains may have changed since.
        let real_claims = claims.iter().filter(|claim| !stands_in_for(claim, &real));
        let last = visible_record(real_claims);
        let mut record = last.unwrap_or(real);
        if lost.room.is_lived_in {
            record.left_ms = now.wall_ms;
        }
        if !self.make_fair_space(now, record.write().len()) {
            return false;
        }
        let rooms = &mut self.presence.rooms;
        rooms.follow(network).record = Some(record);
        if !self.hold_record(now, network) {
            self.forget_room(network);
            return false;
        }
        let ends = now.at + self.presence.rooms.idle;
        self.presence.rooms.ends(network, Some(ends));
        true
    }
}
