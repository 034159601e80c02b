//! 29: rooms that must outlive the hub that held their record.
//!
//! When a hub ends, each room of which it alone held the record is *promised*, if another hub shows that record for good: it
//! takes whole sets, or has a claim in the room, or guards it. One of those must take it over, unless they all end first. The
//! promise is kept once any hub holds a record of that room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{HostNo, World};
use crate::ids::Boot;
use hubmesh_core::Core;
use hubmesh_core::api::{RECORD, record_id};
use hubmesh_core::ids::{HubId, NetworkKey};

/// What a hub held after its last input, and how many rooms it had ended by then.
pub(super) type Held = BTreeMap<HostNo, (Boot, Vec<NetworkKey>, u64)>;

/// How long it may take, in microseconds, until a hub that was apart has heard that a room has ended.
const NEWS_TAKES: u64 = 60_000_000;

/// The rooms that are to be taken over, and the hubs of which one must.
pub(super) type Promises = BTreeMap<NetworkKey, BTreeSet<Boot>>;

/// The rooms of which a hub holds the record.
fn held(core: &Core, id: &HubId) -> Vec<NetworkKey> {
    if core.rooms_held() == 0 {
        return Vec::new();
    }
    let claims = core.directory().read().claims_of(id).into_iter();
    let records = claims.filter(|claim| claim.quiet && claim.peer.to_string() == RECORD);
    records.map(|claim| claim.network).collect()
}

/// Whether what a hub shows of a room is not there by chance.
fn follows(core: &Core, network: &NetworkKey) -> bool {
    let takes_part = || core.directory().read().own_count(network) > 0;
    core.by_parts().next().is_none() || core.is_guarding(network) || takes_part()
}

/// Whether a hub still follows a room that it gave up a moment ago.
fn lists(core: &Core, network: &NetworkKey) -> bool {
    let directory = core.directory().read();
    directory.lines().own_size(network).is_some()
}

impl World {
    /// A hub is about to end.
    pub(super) fn promise_rooms(&mut self, no: HostNo) {
        let (Some(core), Some(boot)) = (self.core(no), self.boot_of(no)) else {
            return;
        };
        let id = self.hosts[no].id;
        let rooms = held(core, &id);
        let others: Vec<HostNo> = (0..self.hosts.len()).filter(|other| *other != no).collect();
        for network in rooms {
            let knows = |other: &HostNo| {
                self.core(*other).is_some_and(|core| {
                    let claims = core.directory().read().claims_of_id(&network, &record_id());
                    let shows = claims.iter().any(|claim| claim.hub == id);
                    shows && !core.has_left() && follows(core, &network)
                })
            };
            let is_held = |other: &HostNo| {
                let core = self.core(*other);
                core.is_some_and(|core| held(core, &self.hosts[*other].id).contains(&network))
            };
            if others.iter().any(is_held) {
                continue;
            }
            let knowers = others.iter().filter(|other| knows(other));
            let knowers: Vec<Boot> = knowers.filter_map(|other| self.boot_of(*other)).collect();
            self.promised.entry(network).or_default().extend(knowers);
        }
        self.promised.retain(|_, knowers| {
            knowers.remove(&boot);
            !knowers.is_empty()
        });
    }

    /// A hub did something: it may have kept a promise, or given a record up. It must take that over again if no other hub
    /// has it, unless it ended a room.
    pub(super) fn look_at_rooms(&mut self, no: HostNo) {
        let (Some(core), Some(boot)) = (self.core(no), self.boot_of(no)) else {
            return;
        };
        let id = self.hosts[no].id;
        let (now, ended) = (held(core, &id), core.counters().rooms_ended);
        let before = self.held_rooms.insert(no, (boot, now.clone(), ended));
        for network in &now {
            self.promised.remove(network);
        }
        let Some((_, rooms, ended_before)) = before.filter(|(then, ..)| *then == boot) else {
            return;
        };
        let gone: Vec<NetworkKey> = rooms
            .into_iter()
            .filter(|room| !now.contains(room))
            .collect();
        if ended != ended_before {
            for network in gone {
                self.log(|| format!("host {no} ends {network:?}"));
                self.promised.remove(&network);
                self.ended_rooms.insert(network, self.now);
            }
            return;
        }
        for network in gone {
            let ended = self.ended_rooms.get(&network);
            // Whoever gave it up saw the hub that ended it as it was before.
            if ended.is_some_and(|at| self.now - at < NEWS_TAKES) {
                continue;
            }
            self.log(|| {
                let seen = self.core(no).map_or(Vec::new(), |core| {
                    let directory = core.directory().read();
                    let claims = directory.claims_of_id(&network, &record_id()).into_iter();
                    let hosts = claims.map(|claim| {
                        let mut all = self.hosts.iter();
                        all.position(|host| host.id == claim.hub)
                    });
                    hosts.collect()
                });
                format!("host {no} gives {network:?} up to {seen:?}")
            });
            let is_held = || {
                let mut all = self.held_rooms.values();
                all.any(|(boot, rooms, _)| self.is(*boot) && rooms.contains(&network))
            };
            let core = self.core(no);
            let follows = |core: &Core| follows(core, &network) || lists(core, &network);
            let is_followed = || core.is_some_and(follows);
            if is_followed() && !is_held() {
                self.promised.entry(network).or_default().insert(boot);
            }
        }
    }

    /// Whether a hub ended a room this short a time ago.
    pub fn ended_a_room_within(&self, time: Duration) -> bool {
        let last = self.ended_rooms.values().max();
        last.is_some_and(|at| u128::from(self.now - at) < time.as_micros())
    }

    /// How many rooms the hubs that are up have taken over.
    pub fn rooms_taken_over(&self) -> u64 {
        let cores = (0..self.hosts.len()).filter_map(|no| self.core(no));
        cores.map(|core| core.counters().rooms_taken_over).sum()
    }

    /// The rooms that were not taken over.
    pub fn broken_promises(&self) -> Vec<String> {
        let broken = self.promised.iter();
        let said = broken.map(|(network, knowers)| {
            let knowers: Vec<HostNo> = knowers.iter().map(|boot| boot.host).collect();
            format!("29: {network:?} was taken over by none of {knowers:?}")
        });
        said.collect()
    }
}
