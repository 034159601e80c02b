//! The rules of rooms at one hub, alone and beside another hub whose claims the tests make up.

use std::net::Ipv4Addr;

use bytes::Bytes;

use super::*;
use crate::api::Join;
use crate::directory::ClaimQuota;
use crate::frames::{Change, Claim, Entry};
use crate::ids::{Dialect, Incarnation};
use crate::reach::AddressGroup;
use crate::{CoreConfig, RoomsConfig};

mod apart;
mod capacity;
mod take_over;

const ME: HubId = HubId([5; 20]);
const OTHER: HubId = HubId([2; 20]);
const THIRD: HubId = HubId([3; 20]);
const THIRD_LIFE: Incarnation = Incarnation { epoch: 0, nonce: 3 };
const IDLE: Duration = Duration::from_secs(10);

fn at(ms: u64) -> Now {
    Now {
        at: Moment(ms * 1_000),
        wall_ms: 1_000_000 + ms,
    }
}

fn network(name: &str) -> NetworkKey {
    NetworkKey::new(Dialect::Rooms, name).unwrap()
}

fn peer(name: &str) -> PeerId {
    PeerId::new(name).unwrap()
}

struct Hub {
    core: Core,
    /// The number of the last change of the other hub.
    seq: u64,
    /// The address of its clients.
    from: Ipv4Addr,
    /// Its clients are operators.
    is_operators: bool,
}

impl Hub {
    fn new(most: usize) -> Self {
        Hub::with_quota(most, ClaimQuota::default().bytes)
    }

    /// The same where other hubs keep so many bytes of its data.
    fn with_quota(most: usize, bytes: usize) -> Self {
        let rooms = RoomsConfig { idle: IDLE, most };
        let config = CoreConfig {
            me: ME,
            rooms,
            quota: ClaimQuota {
                bytes,
                ..ClaimQuota::default()
            },
            ..CoreConfig::default()
        };
        let core = Core::new(config, at(0));
        {
            let mut directory = core.directory().write();
            directory.begin(OTHER, Incarnation { epoch: 0, nonce: 2 });
            directory.complete(&OTHER, 0);
            directory.set_visible(&OTHER, true, LeaveReason::HubLost);
        }
        Hub {
            core,
            seq: 0,
            from: Ipv4Addr::LOCALHOST,
            is_operators: false,
        }
    }

    fn join(&mut self, ms: u64, claim: u64, name: &str, room: &str, ask: RoomAsk) -> Vec<Output> {
        let join = Join {
            claim: ClaimNo(claim),
            network: network(room),
            peer: peer(name),
            data: None,
            quiet: false,
            proof: Bytes::new(),
            room: Some(ask),
            address: AddressGroup::of(self.from.into()),
            counts_for: (!self.is_operators).then(|| AddressGroup::of(self.from.into())),
        };
        self.core.join(at(ms), join);
        self.outputs()
    }

    fn create(&mut self, ms: u64, claim: u64, name: &str, room: &str) -> Vec<Output> {
        let ask = RoomAsk::Create(Bytes::from_static(b"kept"));
        self.join(ms, claim, name, room, ask)
    }

    fn leave(&mut self, ms: u64, claim: u64) -> Vec<Output> {
        self.core.leave(at(ms), ClaimNo(claim), LeaveReason::Closed);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }

    /// The other hub makes these changes.
    fn hear(&mut self, ms: u64, changes: Vec<Change>) -> Vec<Output> {
        let first = self.seq + 1;
        self.seq += changes.len() as u64;
        let entries = (first..).zip(changes);
        let entries = entries.map(|(seq, change)| Entry { seq, change }).collect();
        let directory = std::sync::Arc::clone(self.core.directory());
        directory
            .write()
            .apply(Moment(0), &OTHER, entries, self.seq);
        self.core.handle_timeout(at(ms));
        self.outputs()
    }

    fn lose_other(&mut self, ms: u64) -> Vec<Output> {
        let directory = std::sync::Arc::clone(self.core.directory());
        let mut directory = directory.write();
        directory.set_visible(&OTHER, false, LeaveReason::HubLost);
        drop(directory);
        self.core.handle_timeout(at(ms));
        self.outputs()
    }

    /// The visible records, each with its hub.
    fn records(&self, room: &str) -> Vec<(HubId, RoomRecord)> {
        let directory = self.core.directory().read();
        let claims = directory.claims_of_id(&network(room), &record_id());
        let read = |claim: RoomClaim| (claim.hub, RoomRecord::read(&claim.data.unwrap()).unwrap());
        claims.into_iter().map(read).collect()
    }
}

fn there(claim: u64, name: &str, room: &str, wall: u64) -> Change {
    Change::Claim(Claim {
        network: network(room),
        peer: peer(name),
        claim: ClaimNo(claim),
        hlc: Hlc::from_wall(wall),
        quiet: false,
        data: None,
    })
}

fn record_there(claim: u64, room: &str, created: u64, wall: u64) -> Change {
    let record = RoomRecord {
        created: Hlc::from_wall(created),
        by: OTHER,
        creator: "bob".to_owned(),
        left_ms: 0,
        about: b"theirs".to_vec(),
    };
    record_claim(claim, room, wall, &record)
}

fn record_claim(claim: u64, room: &str, wall: u64, record: &RoomRecord) -> Change {
    Change::Claim(Claim {
        network: network(room),
        peer: record_id(),
        claim: ClaimNo(claim),
        hlc: Hlc::from_wall(wall),
        quiet: true,
        data: Some(record.write()),
    })
}

fn gone(claim: u64, name: PeerId, room: &str) -> Change {
    Change::Gone {
        network: network(room),
        peer: name,
        claim: ClaimNo(claim),
        reason: LeaveReason::Closed,
    }
}

/// The other hub has a room with the member `bob`.
fn of_the_other(hub: &mut Hub, room: &str) {
    let record = record_there(1, room, 1_000_000, 1_000_001);
    hub.hear(1, vec![record, there(2, "bob", room, 1_000_001)]);
}

/// A third hub shows these changes, its first ones.
fn show_third(directory: &mut Directory, changes: Vec<Change>) {
    let seq = changes.len() as u64;
    let entries = (1..).zip(changes);
    let entries = entries.map(|(seq, change)| Entry { seq, change }).collect();
    directory.begin(THIRD, THIRD_LIFE);
    directory.complete(&THIRD, 0);
    directory.apply(Moment(0), &THIRD, entries, seq);
    directory.set_visible(&THIRD, true, LeaveReason::HubLost);
}

fn holders(hub: &Hub, room: &str) -> Vec<HubId> {
    hub.records(room).into_iter().map(|(hub, _)| hub).collect()
}

fn accepted(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Accepted { .. }))
}

fn refused(outputs: &[Output]) -> Option<JoinRefusal> {
    outputs.iter().find_map(|output| match output {
        Output::Refused { why, .. } => Some(*why),
        _ => None,
    })
}

fn new_host(outputs: &[Output]) -> Option<PeerId> {
    outputs.iter().find_map(|output| match output {
        Output::Notify {
            event: PeerEvent::Hosts { peer, .. },
            ..
        } => Some(peer.clone()),
        _ => None,
    })
}

#[test]
fn a_room_is_created_once_and_entered_while_it_is_there() {
    let mut hub = Hub::new(10);
    let enter = hub.join(1, 1, "ada", "r", RoomAsk::Enter);
    assert_eq!(refused(&enter), Some(JoinRefusal::NoSuchRoom));
    assert!(accepted(&hub.create(2, 2, "ada", "r")));
    let (room, is_new) = hub.core.room_of(ClaimNo(2)).unwrap();
    assert!(is_new);
    assert_eq!(
        (room.record.about.as_slice(), room.members.len()),
        (&b"kept"[..], 1)
    );
    let again = hub.create(3, 3, "bob", "r");
    assert_eq!(refused(&again), Some(JoinRefusal::RoomExists));
    assert!(accepted(&hub.join(4, 4, "bob", "r", RoomAsk::Enter)));
    assert!(!hub.core.room_of(ClaimNo(4)).unwrap().1);
    assert_eq!(new_host(&hub.leave(5, 2)), Some(peer("bob")));
}

#[test]
fn creating_a_room_takes_one_claim_for_its_record_and_one_for_its_creator() {
    let mut hub = Hub::new(10);
    hub.create(1, 1, "ada", "r");
    let directory = hub.core.directory().read();
    let record = &directory.claims_of_id(&network("r"), &record_id())[0];
    assert_eq!(directory.own_seq(record.claim), 1);
    assert_eq!(directory.own_seq(ClaimNo(1)), 2);
}

#[test]
fn the_record_of_a_room_is_no_peer() {
    let mut hub = Hub::new(10);
    let peers = |hub: &Hub| {
        let directory = hub.core.directory().read();
        let (own, theirs) = (directory.own_peers(), directory.peers_of(&OTHER));
        (own, theirs, directory.peers())
    };
    hub.create(1, 1, "ada", "r");
    hub.hear(2, vec![record_there(7, "s", 1, 1), there(8, "bob", "s", 1)]);
    assert_eq!(peers(&hub), (1, 1, 2));
    hub.leave(3, 1);
    hub.hear(4, vec![gone(8, peer("bob"), "s")]);
    assert_eq!((peers(&hub), hub.core.rooms_held()), ((0, 0, 0), 1));
}

#[test]
fn an_empty_room_stays_for_its_time_and_whoever_comes_back_finds_it() {
    let mut hub = Hub::new(10);
    hub.create(1, 1, "ada", "r");
    hub.leave(1_000, 1);
    assert_eq!(hub.core.rooms_held(), 1);
    assert!(hub.core.poll_timeout().unwrap() <= at(11_000).at);
    assert!(accepted(&hub.join(9_000, 2, "bob", "r", RoomAsk::Enter)));
    hub.core.handle_timeout(at(12_000));
    assert_eq!(hub.core.rooms_held(), 1, "somebody is there");
    hub.leave(13_000, 2);
    hub.core.handle_timeout(at(22_999));
    assert_eq!(hub.records("r").len(), 1);
    hub.core.handle_timeout(at(23_000));
    assert_eq!((hub.records("r"), hub.core.rooms_held()), (Vec::new(), 0));
    let enter = hub.join(23_001, 3, "bob", "r", RoomAsk::Enter);
    assert_eq!(refused(&enter), Some(JoinRefusal::NoSuchRoom));
    assert!(hub.core.presence.rooms.followed.is_empty() && hub.core.presence.rooms.due.is_empty());
}

#[test]
fn the_record_goes_to_the_hub_of_the_next_host_and_comes_back_when_that_is_lost() {
    let mut hub = Hub::new(10);
    hub.create(1, 1, "ada", "r");
    let wall = 1_000_010;
    hub.hear(10, vec![there(1, "bob", "r", wall)]);
    assert_eq!(hub.records("r").len(), 1);
    hub.join(11, 2, "cy", "r", RoomAsk::Enter);
    assert_eq!(new_host(&hub.leave(12, 1)), Some(peer("bob")));
    let (holder, record) = hub.records("r").remove(0);
    assert_eq!(holder, ME, "until the other hub has it");
    let mut theirs = record_there(2, "r", 0, wall + 5);
    if let Change::Claim(claim) = &mut theirs {
        claim.data = Some(record.write());
    }
    hub.hear(13, vec![theirs]);
    let holders: Vec<HubId> = hub.records("r").iter().map(|(hub, _)| *hub).collect();
    assert_eq!((holders, hub.core.rooms_held()), (vec![OTHER], 0));
    let lost = hub.lose_other(14);
    assert_eq!(new_host(&lost), Some(peer("cy")));
    assert_eq!(hub.records("r"), [(ME, record)], "with its state");
}

#[test]
fn a_room_is_known_to_its_members_while_no_hub_shows_its_record() {
    let mut hub = Hub::new(10);
    let wall = 1_000_001;
    let theirs = record_there(1, "r", 1_000_000, wall);
    hub.hear(1, vec![theirs.clone(), there(2, "bob", "r", wall)]);
    hub.join(2, 1, "cy", "r", RoomAsk::Enter);
    let known = |hub: &Hub| {
        let directory = hub.core.directory().read();
        let found = room(&directory, &network("r"));
        let listed = directory.rooms().contains(&network("r"));
        let unshown = directory.unshown_room(&network("r")).is_some();
        (found.map(|room| room.record.about), listed, unshown)
    };
    let about = || Some(b"theirs".to_vec());
    hub.hear(3, vec![gone(1, record_id(), "r")]);
    assert_eq!(known(&hub), (about(), true, true), "bob's hub owes it");
    hub.hear(4, vec![theirs]);
    assert_eq!(known(&hub), (about(), true, false));
    hub.hear(5, vec![gone(1, record_id(), "r")]);
    hub.leave(6, 1);
    assert_eq!(known(&hub), (None, false, false), "nobody here is in it");
}

#[test]
fn of_two_rooms_of_one_name_the_first_counts_and_the_other_s_creator_is_told() {
    let mut hub = Hub::new(10);
    hub.create(100, 1, "ada", "r");
    hub.join(101, 2, "cy", "r", RoomAsk::Enter);
    let told = hub.hear(
        102,
        vec![
            record_there(1, "r", 1_000_050, 1_000_051),
            there(2, "bob", "r", 1_000_051),
        ],
    );
    assert_eq!(refused(&told), Some(JoinRefusal::RoomExists));
    assert_eq!(new_host(&told), Some(peer("bob")));
    let records = hub.records("r");
    assert_eq!((records.len(), records[0].0), (1, OTHER));
    let (room, _) = hub.core.room_of(ClaimNo(2)).unwrap();
    assert_eq!(room.record.about, b"theirs");
    let names: Vec<&PeerId> = room.members.iter().map(|member| &member.peer).collect();
    assert_eq!(
        names,
        [&peer("bob"), &peer("cy")],
        "who entered is in the one that is left"
    );
}

#[test]
fn an_empty_room_sends_nobody_away_and_its_record_counts_all_the_same() {
    let mut hub = Hub::new(10);
    hub.create(100, 1, "ada", "r");
    let told = hub.hear(102, vec![record_there(1, "r", 1_000_050, 1_000_051)]);
    assert_eq!((refused(&told), new_host(&told)), (None, None));
    let (room, _) = hub.core.room_of(ClaimNo(1)).unwrap();
    assert_eq!(room.record.about, b"theirs");
    assert_eq!(room.members.len(), 1);
}

#[test]
fn who_created_both_of_two_rooms_is_not_sent_away() {
    let mut hub = Hub::new(10);
    hub.create(100, 1, "bob", "r");
    let theirs = record_there(1, "r", 1_000_050, 1_000_051);
    let told = hub.hear(102, vec![theirs, there(2, "cy", "r", 1_000_052)]);
    assert_eq!(refused(&told), None);
    let (room, _) = hub.core.room_of(ClaimNo(1)).unwrap();
    assert_eq!(
        (room.record.about.as_slice(), room.members.len()),
        (&b"theirs"[..], 2)
    );
}

#[test]
fn of_two_rooms_of_one_name_the_first_counts_here_too() {
    let mut hub = Hub::new(10);
    hub.create(100, 1, "ada", "r");
    let told = hub.hear(
        102,
        vec![
            record_there(1, "r", 1_000_500, 1_000_501),
            there(2, "bob", "r", 1_000_501),
        ],
    );
    assert_eq!((refused(&told), new_host(&told)), (None, None));
    assert_eq!(
        hub.records("r").len(),
        2,
        "until the other hub sees this one's"
    );
    hub.hear(
        103,
        vec![gone(1, record_id(), "r"), gone(2, peer("bob"), "r")],
    );
    assert_eq!(hub.records("r").len(), 1);
}

#[test]
fn of_two_hubs_that_keep_an_empty_room_the_lower_does() {
    let mut hub = Hub::new(10);
    hub.create(1, 1, "ada", "r");
    let record = hub.records("r").remove(0).1;
    let mut theirs = record_there(1, "r", 0, 1_000_002);
    if let Change::Claim(claim) = &mut theirs {
        claim.data = Some(record.write());
    }
    hub.hear(2, vec![theirs]);
    hub.leave(3, 1);
    assert_eq!(hub.core.rooms_held(), 0);
    assert!(hub.core.presence.rooms.followed.is_empty());
}

#[test]
fn rooms_without_a_member_end_when_that_is_asked_for_and_no_others() {
    let mut hub = Hub::new(10);
    for (claim, room) in [(1, "a"), (2, "b"), (3, "c")] {
        assert!(accepted(&hub.create(claim, claim, "ada", room)));
    }
    hub.leave(10, 1);
    hub.leave(11, 2);
    let rooms = |hub: &Hub| hub.core.directory().read().rooms();
    assert_eq!(rooms(&hub), [network("a"), network("b"), network("c")]);
    assert_eq!(hub.core.rooms_empty(), 2);
    assert_eq!(hub.core.end_empty_rooms(at(12), 1), 1);
    assert_eq!(rooms(&hub), [network("b"), network("c")]);
    assert_eq!(hub.core.end_empty_rooms(at(13), usize::MAX), 1);
    assert_eq!(hub.core.end_empty_rooms(at(14), usize::MAX), 0);
    assert_eq!(rooms(&hub), [network("c")]);
    assert_eq!((hub.core.rooms_held(), hub.core.rooms_empty()), (1, 0));
}

#[test]
fn whoever_is_there_is_in_a_room_though_its_record_is_late() {
    let mut hub = Hub::new(10);
    hub.hear(10, vec![there(2, "bob", "r", 1_000_009)]);
    let made = hub.create(11, 1, "ada", "r");
    assert_eq!(refused(&made), Some(JoinRefusal::RoomExists));
    assert!(accepted(&hub.join(12, 2, "bo", "r", RoomAsk::Enter)));
    let (room, is_new) = hub.core.room_of(ClaimNo(2)).unwrap();
    assert_eq!((room.members.len(), is_new), (2, false));
    hub.hear(13, vec![gone(2, peer("bob"), "r")]);
    assert_eq!(hub.records("r")[0].1.creator, "", "a substitute");
    let told = hub.hear(
        14,
        vec![
            record_there(1, "r", 5, 1_000_008),
            there(3, "bob", "r", 1_000_020),
        ],
    );
    assert_eq!(refused(&told), None, "nobody created the substitute");
    assert_eq!(
        hub.records("r").len(),
        2,
        "until the other hub sees this one's"
    );
    assert!(
        hub.records("r")
            .iter()
            .all(|(_, record)| record.about == b"theirs")
    );
}

#[test]
fn what_is_no_record_is_none() {
    for data in [&b""[..], b"\xff", b"{}", &[0xff; 64]] {
        assert_eq!(RoomRecord::read(data), None, "{data:?}");
    }
    let mut hub = Hub::new(10);
    let mut odd = record_there(1, "r", 1, 2);
    if let Change::Claim(claim) = &mut odd {
        claim.data = Some(Bytes::from_static(b"\xff\xff"));
    }
    hub.hear(1, vec![odd]);
    assert!(accepted(&hub.create(2, 1, "ada", "r")));
}
