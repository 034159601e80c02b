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

mod take_over;

const ME: HubId = HubId([5; 20]);
const OTHER: HubId = HubId([2; 20]);
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
fn where_there_is_no_place_the_room_goes_that_was_left_first() {
    let mut hub = Hub::new(2);
    hub.create(1, 1, "ada", "one");
    hub.create(2, 2, "ada", "two");
    let third = hub.create(3, 3, "ada", "three");
    assert_eq!(refused(&third), Some(JoinRefusal::TooManyRooms));
    hub.leave(4, 2);
    hub.leave(5, 1);
    assert!(accepted(&hub.create(6, 4, "ada", "three")));
    assert_eq!((hub.records("two").len(), hub.records("one").len()), (0, 1));
    assert_eq!(hub.core.rooms_held(), 2);
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
fn whoever_makes_many_rooms_ends_no_others() {
    let mut hub = Hub::new(4);
    hub.create(1, 1, "ada", "hers");
    hub.leave(2, 1);
    hub.from = Ipv4Addr::new(203, 0, 113, 7);
    for no in 2..20 {
        let ask = RoomAsk::Create(Bytes::new());
        let made = hub.join(no * 10, no, "eve", &format!("r{no}"), ask);
        assert!(accepted(&made));
        hub.leave(no * 10 + 1, no);
    }
    assert_eq!(hub.records("hers").len(), 1);
    assert_eq!(hub.records("r19").len(), 1);
    assert!(hub.records("r16").is_empty(), "the oldest of those went");
    hub.from = Ipv4Addr::LOCALHOST;
    hub.join(300, 20, "bob", "his", RoomAsk::Create(Bytes::new()));
    assert_eq!(
        (hub.records("hers").len(), hub.records("r17").len()),
        (1, 0)
    );
}

#[test]
fn whoever_makes_many_rooms_that_do_not_end_leaves_capacity_to_others() {
    let mut hub = Hub::new(80);
    hub.from = Ipv4Addr::new(203, 0, 113, 7);
    let mut made = (1..=60).map(|no| hub.create(no, no, "eve", &format!("r{no}")));
    assert!(made.by_ref().take(40).all(|outputs| accepted(&outputs)));
    let why = Some(JoinRefusal::TooManyRoomsOfOne);
    assert!(made.all(|outputs| refused(&outputs) == why));
    assert_eq!(hub.core.rooms_held(), 40);
    hub.from = Ipv4Addr::LOCALHOST;
    for no in 61..=80 {
        assert!(accepted(&hub.create(no, no, "ada", &format!("r{no}"))));
    }
    assert_eq!(refused(&hub.create(81, 81, "ada", "one more")), why);
    // Rooms without a member end for others, and count against no address.
    (1..=30).for_each(|no| drop(hub.leave(100 + no, no)));
    hub.from = Ipv4Addr::new(203, 0, 113, 7);
    assert!(accepted(&hub.create(200, 200, "eve", "again")));
}

#[test]
fn whoever_enters_many_rooms_that_it_made_and_left_leaves_capacity_to_others() {
    let mut hub = Hub::new(80);
    hub.from = Ipv4Addr::new(203, 0, 113, 7);
    for no in 1..=80 {
        assert!(accepted(&hub.create(no, no, "eve", &format!("r{no}"))));
        hub.leave(no, no);
    }
    let enter = |hub: &mut Hub, no: u64| {
        let room = format!("r{no}");
        hub.join(100 + no, 100 + no, "eve", &room, RoomAsk::Enter)
    };
    assert!((1..=40).all(|no| accepted(&enter(&mut hub, no))));
    let why = Some(JoinRefusal::TooManyRoomsOfOne);
    assert!((41..=80).all(|no| refused(&enter(&mut hub, no)) == why));
    hub.from = Ipv4Addr::LOCALHOST;
    assert!(accepted(&hub.create(200, 200, "ada", "hers")));
    let beside = hub.join(201, 201, "ada", "r1", RoomAsk::Enter);
    assert!(accepted(&beside), "somebody is in that one already");
}

#[test]
fn operators_make_and_enter_as_many_rooms_as_fit() {
    let mut hub = Hub::new(80);
    hub.is_operators = true;
    for no in 1..=80 {
        assert!(accepted(&hub.create(no, no, "ada", &format!("r{no}"))));
    }
    (41..=80).for_each(|no| drop(hub.leave(100, no)));
    for no in 41..=80 {
        let room = format!("r{no}");
        let enter = hub.join(101, 100 + no, "bob", &room, RoomAsk::Enter);
        assert!(accepted(&enter));
    }
    let full = hub.create(200, 200, "ada", "one more");
    assert_eq!(refused(&full), Some(JoinRefusal::TooManyRooms));
}

#[test]
fn a_room_of_another_hub_counts_for_whoever_enters_it_first() {
    let mut hub = Hub::new(80);
    for no in 1..=60 {
        hub.create(no, no, "ada", &format!("r{no}"));
    }
    hub.hear(70, vec![record_there(1, "theirs", 5, 1_000_069)]);
    let enter = hub.join(71, 71, "ada", "theirs", RoomAsk::Enter);
    assert_eq!(refused(&enter), Some(JoinRefusal::TooManyRoomsOfOne));
    hub.from = Ipv4Addr::new(203, 0, 113, 7);
    let enter = hub.join(72, 72, "eve", "theirs", RoomAsk::Enter);
    assert!(accepted(&enter));
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

/// Creates a room whose record has so many bytes.
fn create_long(hub: &mut Hub, ms: u64, claim: u64, room: &str, bytes: usize) -> Vec<Output> {
    let ask = RoomAsk::Create(Bytes::from(vec![7; bytes]));
    hub.join(ms, claim, "ada", room, ask)
}

#[test]
fn records_leave_most_of_a_hub_s_share_to_its_peers() {
    let mut hub = Hub::with_quota(100, 8_000);
    assert!(accepted(&create_long(&mut hub, 1, 1, "one", 900)));
    assert!(accepted(&create_long(&mut hub, 2, 2, "two", 900)));
    let third = create_long(&mut hub, 3, 3, "three", 900);
    assert_eq!(refused(&third), Some(JoinRefusal::TooManyRooms));
    hub.leave(4, 2);
    let long = create_long(&mut hub, 5, 4, "three", 1_900);
    assert_eq!(refused(&long), Some(JoinRefusal::TooManyRooms));
    assert_eq!(hub.records("two").len(), 1, "none ends in vain");
    assert!(accepted(&create_long(&mut hub, 6, 5, "three", 900)));
    assert_eq!((hub.records("two").len(), hub.core.rooms_held()), (0, 2));
    hub.leave(7, 1);
    hub.leave(8, 5);
    hub.core.handle_timeout(at(100_000));
    assert_eq!(hub.core.rooms_held(), 0);
    assert!(accepted(&create_long(&mut hub, 100_001, 6, "all", 1_900)));
}

#[test]
fn a_record_that_is_taken_over_counts_too() {
    let mut hub = Hub::with_quota(1, 8_000);
    hub.create(1, 1, "ada", "mine");
    let theirs = || record_there(1, "r", 5, 1_000_006);
    hub.hear(2, vec![theirs(), there(2, "bob", "r", 1_000_007)]);
    assert!(accepted(&hub.join(3, 2, "cy", "r", RoomAsk::Enter)));
    hub.hear(4, vec![gone(2, peer("bob"), "r")]);
    let holders =
        |hub: &Hub| -> Vec<HubId> { hub.records("r").iter().map(|(hub, _)| *hub).collect() };
    assert_eq!((holders(&hub), hub.core.rooms_held()), (vec![OTHER], 1));
    hub.leave(5, 1);
    hub.join(6, 3, "di", "r", RoomAsk::Enter);
    assert!(holders(&hub).contains(&ME), "the idle room gave way");
    assert_eq!((hub.records("mine").len(), hub.core.rooms_held()), (0, 1));
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
