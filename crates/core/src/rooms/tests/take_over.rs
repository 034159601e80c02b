//! Rooms whose record was at a hub that is gone.

use super::*;

#[test]
fn a_room_whose_hub_is_gone_is_taken_over_and_ends_if_nobody_comes() {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    let (holder, record) = hub.records("r").remove(0);
    assert_eq!((holder, record.about.as_slice()), (ME, &b"theirs"[..]));
    assert_eq!((record.left_ms, record.by), (1_000_100, OTHER));
    assert_eq!((hub.core.rooms_held(), hub.core.rooms_empty()), (1, 1));
    assert_eq!(hub.core.counters().rooms_taken_over, 1);
    hub.core.handle_timeout(at(10_099));
    assert_eq!(hub.core.rooms_held(), 1);
    hub.core.handle_timeout(at(10_100));
    assert_eq!((hub.core.rooms_held(), holders(&hub, "r")), (0, vec![]));
    assert_eq!(hub.core.presence.rooms.lost.poll_timeout(), None);
}

#[test]
fn who_comes_back_elsewhere_finds_the_room_and_is_its_host() {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    assert!(accepted(&hub.join(101, 1, "bob", "r", RoomAsk::Enter)));
    let (room, is_new) = hub.core.room_of(ClaimNo(1)).unwrap();
    assert_eq!(
        (room.record.about.as_slice(), is_new),
        (&b"theirs"[..], false)
    );
    assert_eq!(room.members.len(), 1);
    assert_eq!(holders(&hub, "r"), [ME]);
    let made = hub.create(102, 2, "eve", "r");
    assert_eq!(refused(&made), Some(JoinRefusal::RoomExists));
}

#[test]
fn a_room_that_ended_at_its_hub_is_taken_over_by_nobody() {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    hub.hear(
        2,
        vec![gone(2, peer("bob"), "r"), gone(1, record_id(), "r")],
    );
    hub.lose_other(100);
    hub.core.handle_timeout(at(5_000));
    assert_eq!((hub.core.rooms_held(), holders(&hub, "r")), (0, vec![]));
    let enter = hub.join(5_001, 1, "bob", "r", RoomAsk::Enter);
    assert_eq!(refused(&enter), Some(JoinRefusal::NoSuchRoom));
}

#[test]
fn a_room_that_does_not_fit_is_not_taken_over_and_ends_no_other() {
    let mut hub = Hub::new(4);
    hub.create(1, 1, "ada", "hers");
    hub.leave(2, 1);
    for no in 2..=4 {
        hub.create(no, no, "bob", &format!("his{no}"));
    }
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    hub.core.handle_timeout(at(5_000));
    assert_eq!(
        (holders(&hub, "hers"), holders(&hub, "r")),
        (vec![ME], vec![])
    );
    let counters = hub.core.counters();
    assert_eq!(
        (counters.rooms_taken_over, counters.rooms_not_taken),
        (0, 1)
    );
    hub.core.handle_timeout(at(60_101));
    let enter = hub.join(60_102, 2, "bob", "r", RoomAsk::Enter);
    assert_eq!(refused(&enter), Some(JoinRefusal::NoSuchRoom));
}

#[test]
fn whoever_fills_a_hub_with_empty_rooms_does_not_keep_it_from_taking_rooms_over() {
    let mut hub = Hub::new(8);
    for no in 1..=8 {
        assert!(accepted(&hub.create(no, no, "eve", &format!("r{no}"))));
        hub.leave(no, no);
    }
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    assert_eq!(holders(&hub, "r"), [ME]);
    assert_eq!(
        (holders(&hub, "r1"), holders(&hub, "r2")),
        (vec![], vec![ME])
    );
    assert_eq!(hub.core.rooms_held(), 8);
}

#[test]
fn what_was_taken_over_is_given_up_when_its_hub_is_back_with_a_member() {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    assert_eq!(holders(&hub, "r"), [ME]);
    let directory = std::sync::Arc::clone(hub.core.directory());
    directory
        .write()
        .set_visible(&OTHER, true, LeaveReason::HubLost);
    hub.core.handle_timeout(at(200));
    assert_eq!(
        (holders(&hub, "r"), hub.core.rooms_held()),
        (vec![OTHER], 0)
    );
}

#[test]
fn a_hub_that_drains_takes_nothing_over() {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    hub.core.drain(at(50));
    hub.lose_other(100);
    hub.core.handle_timeout(at(5_000));
    assert_eq!(hub.core.rooms_held(), 0);
}

#[test]
fn lost_rooms_are_kept_up_to_a_number_of_bytes() {
    let mut hub = Hub::with_quota(10, 8_000);
    // All others hold records of 8,000 bytes at most. Each of these records takes more than 1,000.
    for no in 0..20 {
        let room = format!("r{no}");
        let record = RoomRecord {
            created: Hlc::from_wall(1_000_000),
            by: OTHER,
            creator: "bob".to_owned(),
            left_ms: 0,
            about: vec![7; 1_000],
        };
        let mut theirs = record_there(no + 1, &room, 0, 1_000_001);
        if let Change::Claim(claim) = &mut theirs {
            claim.data = Some(record.write());
        }
        let superseded = Change::Gone {
            network: network(&room),
            peer: record_id(),
            claim: ClaimNo(no + 1),
            reason: LeaveReason::Superseded,
        };
        let member = there(100 + no, "bob", &room, 1_000_001);
        hub.hear(no, vec![theirs, member, superseded]);
    }
    let lost = &hub.core.presence.rooms.lost;
    let known = (0..20).filter(|no| lost.record(&network(&format!("r{no}"))).is_some());
    assert_eq!(known.count(), 7);
    let bytes = hub.core.kept(at(0).at).lost_room_bytes;
    assert!((7_000..=8_000).contains(&bytes), "{bytes} bytes");
    hub.core.handle_timeout(at(100_000));
    assert_eq!(hub.core.kept(at(0).at).lost_room_bytes, 0);
}

#[test]
fn a_room_that_is_lost_twice_is_passed_on_once() {
    let mut hub = Hub::new(1);
    hub.create(1, 1, "ada", "hers");
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    assert_eq!(hub.core.counters().rooms_not_taken, 1);
    hub.core.expect_rooms_of(at(200), &OTHER);
    hub.core.handle_timeout(at(5_000));
    assert_eq!(hub.core.counters().rooms_not_taken, 1);
    let lost = &hub.core.presence.rooms.lost;
    assert!(lost.record(&network("r")).is_some());
    hub.core.handle_timeout(at(60_100));
    let lost = &hub.core.presence.rooms.lost;
    assert!(lost.record(&network("r")).is_none(), "a minute since then");
}

#[test]
fn a_room_that_was_taken_over_elsewhere_and_ended_there_does_not_come_back() {
    let mut hub = Hub::new(1);
    hub.create(1, 1, "ada", "hers");
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    let is_lost = |hub: &Hub| {
        let lost = &hub.core.presence.rooms.lost;
        lost.record(&network("r")).is_some()
    };
    assert!(is_lost(&hub), "it does not fit");
    let third = HubId([3; 20]);
    let directory = std::sync::Arc::clone(hub.core.directory());
    {
        let mut directory = directory.write();
        directory.begin(third, Incarnation { epoch: 0, nonce: 3 });
        directory.complete(&third, 0);
        directory.set_visible(&third, true, LeaveReason::HubLost);
    }
    let mut say = |ms: u64, seq: u64, change: Change| {
        let mut directory = directory.write();
        directory.apply(Moment(0), &third, vec![Entry { seq, change }], seq);
        drop(directory);
        hub.core.handle_timeout(at(ms));
    };
    say(200, 1, record_there(1, "r", 1_000_000, 1_000_200));
    say(300, 2, gone(1, record_id(), "r"));
    assert!(!is_lost(&hub));
    let enter = hub.join(301, 2, "bob", "r", RoomAsk::Enter);
    assert_eq!(refused(&enter), Some(JoinRefusal::NoSuchRoom));
}

/// A record that a hub made up, because it saw the member `eve` and no record.
fn made_up(claim: u64, room: &str) -> Change {
    let record = RoomRecord {
        created: Hlc::from_wall(1_000_050),
        by: OTHER,
        creator: String::new(),
        left_ms: 0,
        about: Vec::new(),
    };
    record_claim(claim, room, 1_000_050, &record)
}

/// A hub that does not know the room made a record up for its own member, who came at this time.
fn with_a_made_up_record(hub: &mut Hub, wall: u64) {
    let directory = std::sync::Arc::clone(hub.core.directory());
    let changes = vec![there(2, "eve", "r", wall), made_up(1, "r")];
    show_third(&mut directory.write(), changes);
}

#[test]
fn a_made_up_record_keeps_no_room_from_being_taken_over() {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    with_a_made_up_record(&mut hub, 1_000_050);
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    let ours = hub.records("r").into_iter().find(|(hub, _)| *hub == ME);
    let (_, record) = ours.expect("the room is taken over");
    assert_eq!(
        (record.about.as_slice(), record.by),
        (&b"theirs"[..], OTHER)
    );
    assert_eq!(hub.core.counters().rooms_taken_over, 1);
}

#[test]
fn who_knows_a_room_shows_its_record_to_the_hub_that_made_one_up() {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    assert!(accepted(&hub.join(10, 1, "ada", "r", RoomAsk::Enter)));
    // She came before Ada, and is the host.
    with_a_made_up_record(&mut hub, 1_000_005);
    hub.hear(20, vec![gone(2, peer("bob"), "r")]);
    hub.lose_other(100);
    let ours = hub.records("r").into_iter().find(|(hub, _)| *hub == ME);
    assert_eq!(ours.expect("a record").1.about, b"theirs");
    assert_eq!(hub.core.counters().rooms_taken_over, 0);
}

#[test]
fn a_made_up_record_is_taken_over_by_nobody() {
    let mut hub = Hub::new(10);
    with_a_made_up_record(&mut hub, 1_000_050);
    hub.hear(10, vec![made_up(1, "r")]);
    let handed_on = Change::Gone {
        network: network("r"),
        peer: record_id(),
        claim: ClaimNo(1),
        reason: HANDED_ON,
    };
    hub.hear(20, vec![handed_on]);
    assert_eq!(hub.core.presence.rooms.lost.poll_timeout(), None);
    assert_eq!((hub.core.rooms_held(), holders(&hub, "r").len()), (0, 1));
    // Nor is it when the hub is lost that made it up.
    hub.hear(30, vec![made_up(3, "r")]);
    hub.lose_other(100);
    assert_eq!(hub.core.presence.rooms.lost.poll_timeout(), None);
    assert_eq!(hub.core.rooms_held(), 0);
}
