//! How many rooms fit at a hub, and how much of its space one address may have.

use super::*;

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
