//! A hub that was apart: until it has sent its changes, it shows what it had when it was lost.

use super::*;
use crate::frames::{Delta, Scope, Set};
use crate::ids::LinkId;

/// A hub that was apart comes back into reach, and shows this of before.
fn come_back(hub: &mut Hub, ms: u64, changes: Vec<Change>) {
    let directory = std::sync::Arc::clone(hub.core.directory());
    let mut directory = directory.write();
    show_third(&mut directory, changes);
    let subscriptions = &mut hub.core.routing.subscriptions;
    subscriptions.want(&directory, Set::all(THIRD));
    subscriptions.on_route(&directory, THIRD, THIRD_LIFE, LinkId(1));
    let hold_down = &mut hub.core.routing.hold_down;
    hold_down.end(at(ms).at, THIRD, true);
    drop(directory);
    hub.core.handle_timeout(at(ms));
}

/// It sends the changes since.
fn catch_up(hub: &mut Hub, ms: u64, changes: Vec<Change>) {
    let directory = std::sync::Arc::clone(hub.core.directory());
    let from = directory.read().origin_state(&THIRD).unwrap().seq;
    let entries = (from + 1..).zip(changes);
    let entries: Vec<Entry> = entries.map(|(seq, change)| Entry { seq, change }).collect();
    let delta = Delta {
        origin: THIRD,
        incarnation: THIRD_LIFE,
        from,
        to: from + entries.len() as u64,
        reset: false,
        last: true,
        entries,
    };
    hub.core.handle_delta(at(ms), LinkId(1), Scope::All, delta);
    hub.core.handle_timeout(at(ms));
}

/// The other hub is lost, while one that was apart shows a record of its room from before that.
fn with_another_that_was_apart() -> Hub {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    let record = record_there(1, "r", 1_000_000, 1_000_001);
    come_back(&mut hub, 1, vec![record]);
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    hub
}

#[test]
fn its_old_record_keeps_no_room_from_being_taken_over() {
    let mut hub = with_another_that_was_apart();
    assert_eq!(holders(&hub, "r"), [THIRD]);
    catch_up(&mut hub, 200, vec![gone(1, record_id(), "r")]);
    assert_eq!(holders(&hub, "r"), []);
    hub.core.handle_timeout(at(1_100));
    assert_eq!(holders(&hub, "r"), [ME]);
}

#[test]
fn a_room_that_it_still_has_is_taken_over_by_nobody() {
    let mut hub = with_another_that_was_apart();
    catch_up(&mut hub, 200, Vec::new());
    hub.core.handle_timeout(at(1_100));
    assert_eq!(holders(&hub, "r"), [THIRD]);
    assert_eq!(hub.core.presence.rooms.lost.poll_timeout(), None);
}

#[test]
fn an_older_record_that_was_shown_for_a_moment_keeps_no_hub_from_handing_its_own_on() {
    let mut hub = taken_over();
    let directory = std::sync::Arc::clone(hub.core.directory());
    let change = record_there(1, "r", 900_000, 900_001);
    show_third(&mut directory.write(), vec![change]);
    let show = |hub: &HubId, is_shown: bool| {
        let mut directory = directory.write();
        directory.set_visible(hub, is_shown, LeaveReason::HubLost);
    };
    show(&OTHER, true);
    hub.core.handle_timeout(at(110));
    show(&THIRD, false);
    hub.core.handle_timeout(at(120));
    assert_eq!(holders(&hub, "r"), [OTHER]);
}

/// The hub has taken over the other hub's room.
fn taken_over() -> Hub {
    let mut hub = Hub::new(10);
    of_the_other(&mut hub, "r");
    hub.lose_other(100);
    hub.core.handle_timeout(at(100));
    assert_eq!(holders(&hub, "r"), [ME]);
    hub
}

/// What a hub that was apart shows of the room: its record, and perhaps a member.
fn shown(with_member: bool) -> Vec<Change> {
    let record = record_there(1, "r", 1_000_000, 1_000_001);
    let member = there(2, "eve", "r", 1_000_002);
    match with_member {
        true => vec![record, member],
        false => vec![record],
    }
}

#[test]
fn no_record_is_left_to_it_for_what_it_had_before() {
    for with_member in [true, false] {
        let mut hub = taken_over();
        come_back(&mut hub, 110, shown(with_member));
        assert_eq!(holders(&hub, "r").len(), 2, "with a member: {with_member}");
        let mut changes = vec![gone(1, record_id(), "r")];
        if with_member {
            changes.push(gone(2, peer("eve"), "r"));
        }
        catch_up(&mut hub, 200, changes);
        hub.core.handle_timeout(at(5_000));
        assert_eq!(holders(&hub, "r"), [ME], "with a member: {with_member}");
    }
}

#[test]
fn a_record_is_left_to_it_once_it_says_that_it_has_one_still() {
    for with_member in [true, false] {
        let mut hub = taken_over();
        come_back(&mut hub, 110, shown(with_member));
        // The hub next on the way has answered, and may lack changes itself.
        catch_up(&mut hub, 200, Vec::new());
        hub.core.handle_timeout(at(1_109));
        assert_eq!(holders(&hub, "r").len(), 2, "with a member: {with_member}");
        hub.core.handle_timeout(at(1_110));
        assert_eq!(holders(&hub, "r"), [THIRD], "with a member: {with_member}");
        assert_eq!(hub.core.presence.rooms.unsure_due, None);
    }
}

#[test]
fn a_record_stays_as_long_as_it_says_nothing() {
    let mut hub = taken_over();
    come_back(&mut hub, 110, shown(false));
    for ms in [2_000, 5_000, 9_000] {
        hub.core.handle_timeout(at(ms));
        assert_eq!(holders(&hub, "r").len(), 2, "after {ms} ms");
    }
    catch_up(&mut hub, 9_001, Vec::new());
    hub.core.handle_timeout(at(10_001));
    assert_eq!(holders(&hub, "r"), [THIRD]);
}

#[test]
fn a_room_that_ended_there_meanwhile_takes_no_place_of_a_new_one() {
    let mut hub = Hub::new(10);
    assert!(accepted(&hub.create(50, 1, "ada", "r")));
    let old = record_there(1, "r", 5, 1_000_001);
    come_back(&mut hub, 110, vec![old, there(2, "eve", "r", 1_000_002)]);
    let own = |hub: &Hub| {
        let mut all = hub.records("r").into_iter();
        all.find(|(holder, _)| *holder == ME)
            .map(|(_, record)| record.about)
    };
    assert_eq!(own(&hub).as_deref(), Some(&b"kept"[..]));
    catch_up(
        &mut hub,
        200,
        vec![gone(1, record_id(), "r"), gone(2, peer("eve"), "r")],
    );
    hub.core.handle_timeout(at(1_200));
    assert_eq!(own(&hub).as_deref(), Some(&b"kept"[..]));
    assert_eq!(refused(&hub.outputs()), None, "Ada is not sent away");
}
