//! What the directory says of a room: the claims that hold its record, and who its host is.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::api::{RoomClaim, RoomRecord, is_record_id, record_id};
use super::super::ids::{Hlc, HubId, Incarnation, NetworkKey, PeerId};
use super::Directory;
use super::store::{OriginNo, RecordNo};

/// The record of a room as a hub showed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HiddenRoom {
    pub(crate) network: NetworkKey,
    /// Whose claim it was.
    pub(crate) hub: HubId,
    pub(crate) incarnation: Incarnation,
    /// The record.
    pub(crate) data: Bytes,
    /// That hub had a member in the room.
    pub(crate) is_lived_in: bool,
    /// That hub gave it up in favour of another one.
    pub(crate) is_handed_on: bool,
}

impl Directory {
    /// The records of rooms that were hidden or dropped since this was last asked, whatever for.
    pub(crate) fn take_hidden_rooms(&mut self) -> Vec<HiddenRoom> {
        std::mem::take(&mut self.hidden_rooms)
    }

    /// The rooms of which a record came or changed since this was last asked, also those of no interest here.
    pub(crate) fn take_shown_rooms(&mut self) -> Vec<NetworkKey> {
        std::mem::take(&mut self.shown_rooms)
    }

    /// Whether this claim is one of those that hold records of rooms.
    pub(super) fn is_room_record(&self, no: RecordNo) -> bool {
        let claim = self.store.record(no);
        claim.quiet() && is_record_id(&claim.peer)
    }

    /// Notes that this record is there, if it is a room's.
    pub(super) fn note_shown_room(&mut self, no: RecordNo) {
        if !self.is_room_record(no) {
            return;
        }
        let network = self.network_at(self.store.record(no).network);
        let network = network.map(|network| &network.key);
        let room = network.filter(|key| key.is_room()).cloned();
        self.shown_rooms.extend(room);
    }

    /// The records of rooms that a hub shows.
    pub(crate) fn rooms_of(&self, hub: &HubId) -> Vec<HiddenRoom> {
        let whole = self.by_hub.get(hub).copied();
        let sets = whole
            .into_iter()
            .chain(self.parts_of(hub).map(|(_, no)| no));
        let shown = sets.filter(|no| self.origin_visible(*no));
        shown.flat_map(|no| self.rooms_in(no)).collect()
    }

    /// Notes the record of a room that a hub is about to give up, in favour of another hub: that one may do the same at
    /// the same moment.
    pub(super) fn note_handed_on(&mut self, no: RecordNo) {
        if self.is_room_record(no) {
            let room = self.room_in(self.store.record(no).origin, no);
            self.hidden_rooms.extend(room.map(|room| HiddenRoom {
                is_handed_on: true,
                ..room
            }));
        }
    }

    /// Notes the records of rooms in a set that is about to be hidden.
    pub(super) fn note_hidden_rooms(&mut self, no: OriginNo) {
        let hidden = self.rooms_in(no);
        self.hidden_rooms.extend(hidden);
    }

    fn rooms_in(&self, no: OriginNo) -> Vec<HiddenRoom> {
        let Some(origin) = self.origin_at(no) else {
            return Vec::new();
        };
        let records = origin.log.records();
        let records = records.filter(|record| self.is_room_record(*record));
        records
            .filter_map(|record| self.room_in(no, record))
            .collect()
    }

    fn room_in(&self, no: OriginNo, record: RecordNo) -> Option<HiddenRoom> {
        let origin = self.origin_at(no)?;
        let record = self.store.record(record);
        let network = self.network_at(record.network)?;
        let mut members = network.members.iter();
        network.key.is_room().then_some(HiddenRoom {
            network: network.key.clone(),
            hub: origin.hub,
            incarnation: origin.incarnation,
            data: record.data.as_deref().cloned()?,
            is_lived_in: members.any(|member| self.store.record(*member).origin == no),
            is_handed_on: false,
        })
    }

    /// The claims of an id at hubs that can be reached, winners and losers.
    pub fn claims_of_id(&self, network: &NetworkKey, peer: &PeerId) -> Vec<RoomClaim> {
        let Some(no) = self.by_name.get(network) else {
            return Vec::new();
        };
        let found = self.store.find(*no, peer);
        let seen = found.filter(|no| self.origin_visible(self.store.record(*no).origin));
        seen.map(|no| self.room_claim(no)).collect()
    }

    /// The ids that hubs in reach claim in a network, those of quiet claims among them, in their order. Looks at all claims.
    pub fn ids_claimed(&self, network: &NetworkKey) -> BTreeSet<PeerId> {
        let known = self.by_name.get(network).into_iter();
        let records = known.flat_map(|no| self.store.of_network(*no));
        let seen = records.filter(|record| self.origin_visible(record.origin));
        seen.map(|record| record.peer.clone()).collect()
    }

    /// What this hub knows of a room that it follows, while no hub shows its record: from when the hub that did is gone
    /// until another takes it over.
    pub fn unshown_room(&self, network: &NetworkKey) -> Option<&RoomRecord> {
        self.unshown_rooms.get(network)
    }

    /// Sets what is known of a room whose record no hub shows; `None`: a hub shows it, or this one follows it no more.
    pub(crate) fn set_unshown_room(&mut self, network: &NetworkKey, record: Option<RoomRecord>) {
        match record {
            Some(record) => self.unshown_rooms.insert(network.clone(), record),
            None => self.unshown_rooms.remove(network),
        };
    }

    /// The rooms of which a record is known, or which another hub lists, with members or without, by name. Takes time in
    /// proportion to the number of networks of all dialects that are known or listed.
    pub fn rooms(&self) -> Vec<NetworkKey> {
        let all = self.networks.iter().flatten().map(|network| &network.key);
        let is_known = |key: &NetworkKey| {
            self.unshown_rooms.contains_key(key) || !self.claims_of_id(key, &record_id()).is_empty()
        };
        let here = all.filter(|key| key.is_room() && is_known(key)).cloned();
        let listed = self.lines.networks().filter(|key| key.is_room());
        let listed = listed.filter(|key| self.lines.is_shown(key)).cloned();
        let mut rooms: Vec<NetworkKey> = here.chain(listed).collect();
        rooms.sort_unstable();
        rooms.dedup();
        rooms
    }

    /// The members that a room shows, the longest present first: the first is its host. A pure function of what is visible.
    pub fn by_seniority(&self, network: &NetworkKey) -> Vec<RoomClaim> {
        let shown = self.shown_winners(network);
        let mut all: Vec<RoomClaim> = shown.map(|no| self.room_claim(no)).collect();
        all.sort_unstable_by_key(RoomClaim::rank);
        all
    }

    /// The longest present of the members that a room shows.
    pub fn senior(&self, network: &NetworkKey) -> Option<RoomClaim> {
        let shown = self.shown_winners(network);
        shown
            .min_by_key(|no| self.rank(*no))
            .map(|no| self.room_claim(no))
    }

    /// The highest clock among the members that a room shows.
    pub fn latest(&self, network: &NetworkKey) -> Option<Hlc> {
        let shown = self.shown_winners(network);
        shown.map(|no| self.store.record(no).hlc).max()
    }

    fn room_claim(&self, no: super::store::RecordNo) -> RoomClaim {
        let record = self.store.record(no);
        RoomClaim {
            hub: self.origin_hub(record.origin),
            claim: record.claim(),
            hlc: record.hlc,
            peer: record.peer.clone(),
            data: record.data.as_deref().cloned(),
        }
    }
}
