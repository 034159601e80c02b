//! What senders and receivers are promised, rule by rule, over good links unless a test says otherwise.

use bytes::Bytes;

use super::world::{MS, Weather, World, hub, peer};
use crate::api::SignalFailure::{NoRoute, NoSuchPeer, Overload, Unknown};
use crate::exchange::{ExchangeConfig, Sent, counted};
use crate::wire::MAX_PAYLOAD;

/// Peers 0, 2, 4 at hub 0, the others at hub 1.
pub(super) fn two() -> World {
    World::line(2, 6)
}

pub(super) fn two_with(config: ExchangeConfig) -> World {
    let mut world = World::new(2, 6, config, 1);
    world.join(0, 1);
    world
}

#[test]
fn a_signal_to_a_local_target_is_left_to_the_caller() {
    let mut world = two();
    let claim = world.book.winners[&peer(2)].claim;
    assert_eq!(world.send(0, 2, 0), Ok(Sent::Local(claim)));
    assert_eq!(world.frames, 0);
}

#[test]
fn signals_to_another_hub_arrive_in_order_and_are_acknowledged_together() {
    let mut world = two();
    for kind in 0..3 {
        assert_eq!(world.send(0, 1, kind), Ok(Sent::Window));
    }
    world.run(MS * 10);
    assert_eq!(world.kinds_delivered(0, 1), [0, 1, 2]);
    assert_eq!(world.hubs[0].unacknowledged(), 3, "acknowledged too soon");
    world.run(MS * 15);
    assert_eq!(world.hubs[0].unacknowledged(), 0);
    assert_eq!(world.frames, 4);
}

#[test]
fn thirty_two_signals_are_acknowledged_at_once() {
    let mut world = two();
    for kind in 0..32 {
        world.send(0, 1, kind).expect("space");
    }
    world.run(MS * 3);
    assert_eq!(world.hubs[0].unacknowledged(), 0);
}

#[test]
fn a_lost_acknowledgement_makes_no_signal_arrive_twice() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.run(MS * 10);
    world.weather.lost = 100;
    world.run(MS * 500);
    world.weather.lost = 0;
    world.run(MS * 1000);
    assert_eq!(world.count(counted::DUPLICATE), 1);
    world.check_accounts();
}

#[test]
fn a_refusal_whose_acknowledgement_is_lost_is_told_all_the_same() {
    let mut world = two();
    world.choked = Some(1);
    world.send(0, 1, 0).expect("space");
    world.run(MS * 10);
    world.choked = None;
    world.weather.lost = 100;
    world.run(MS * 500);
    world.weather.lost = 0;
    world.send(0, 1, 1).expect("space");
    world.run(MS * 1500);
    assert_eq!(world.failures(), [(0, Overload)]);
    assert_eq!(world.kinds_delivered(0, 1), [1]);
}

#[test]
fn a_full_window_refuses_peers_at_once_but_has_room_for_hubs() {
    let mut world = two_with(ExchangeConfig {
        window_bytes: 16 * 1024,
        ..ExchangeConfig::default()
    });
    world.weather.lost = 100;
    let payload = Bytes::from(vec![0; 1024 - 128]);
    for kind in 0..12 {
        let sent = world.send_with(0, 1, kind, payload.clone(), true);
        assert_eq!(sent, Ok(Sent::Window));
    }
    assert_eq!(world.send(0, 1, 16), Err(Overload));
    let message = Bytes::from(vec![1; 30 * 1024]);
    for token in [7, 8] {
        world.hubs[0].send_hub_message(world.now, hub(1), message.clone(), token);
    }
    world.settle();
    assert_eq!(world.messages_failed, [8]);
    world.weather.lost = 0;
    world.run(MS * 3000);
    assert_eq!(world.messages, [(1, message)]);
    world.check_accounts();
}

#[test]
fn a_signal_too_long_for_another_hub_is_told_to_its_sender_and_sent_nowhere() {
    let mut world = two();
    let longest = Bytes::from(vec![0; MAX_PAYLOAD]);
    let longer = Bytes::from(vec![0; MAX_PAYLOAD + 1]);
    let here = world.book.winners[&peer(2)].claim;
    let sent = world.send_with(0, 2, 0, longer.clone(), true);
    assert_eq!(sent, Ok(Sent::Local(here)));
    assert_eq!(world.send_with(0, 1, 1, longer, true), Err(Overload));
    let sent = world.send_with(0, 1, 2, longest, true);
    assert_eq!(sent, Ok(Sent::Window));
    world.run(MS * 100);
    assert_eq!(world.kinds_delivered(0, 1), [2]);
    world.check_accounts();
}

#[test]
fn what_is_sent_within_the_hold_goes_out_when_the_route_is_back() {
    let mut world = two();
    world.cut(0, 1);
    assert_eq!(world.send(0, 1, 0), Ok(Sent::Window));
    world.run(MS * 1900);
    world.join(0, 1);
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 1), [0]);
    world.check_accounts();
}

#[test]
fn past_the_hold_what_never_left_has_no_route_and_the_rest_is_unknown() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.cut(0, 1);
    world.send(0, 1, 1).expect("space");
    world.run(MS * 1999);
    assert_eq!(world.failures(), []);
    world.run(MS);
    assert_eq!(world.failures(), [(0, Unknown), (1, NoRoute)]);
    assert_eq!(world.send(0, 1, 2), Err(NoRoute));
    world.join(0, 1);
    world.send(0, 1, 3).expect("space");
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 1), [3]);
}

#[test]
fn a_hub_that_was_never_heard_of_has_no_route() {
    let mut world = World::new(2, 2, ExchangeConfig::default(), 1);
    assert_eq!(world.send(0, 1, 0), Err(NoRoute));
    let now = world.now;
    world.hubs[0].send_hub_message(now, hub(1), Bytes::new(), 3);
    world.hubs[0].send_hub_message(now, hub(0), Bytes::new(), 4);
    world.settle();
    assert_eq!(world.messages_failed, [3, 4]);
}

#[test]
fn a_destination_that_starts_anew_fails_what_its_old_life_did_not_acknowledge() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.restart(1);
    assert_eq!(world.failures(), [(0, Unknown)]);
    world.send(0, 1, 1).expect("space");
    world.run(MS * 50);
    assert_eq!(
        world.kinds_delivered(0, 1),
        [1],
        "the old incarnation's was taken"
    );
    assert_eq!(world.count(counted::STALE_INCARNATION), 1);
}

#[test]
fn a_hub_whose_own_life_ends_tells_its_senders_and_starts_over() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.send(1, 0, 0).expect("space");
    world.run(MS * 2);
    world.rebirth(0);
    assert_eq!(world.failures(), [(0, Unknown), (0, Unknown)]);
    world.send(0, 1, 1).expect("space");
    world.send(1, 0, 1).expect("space");
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 1), [0, 1]);
    assert_eq!(world.kinds_delivered(1, 0), [0, 1]);
}

#[test]
fn a_target_that_moved_is_found_at_its_new_hub_in_order() {
    let mut world = World::line(3, 6);
    for kind in 0..5 {
        world.send(0, 1, kind).expect("space");
    }
    world.appear(1, 2);
    world.run(MS * 100);
    assert_eq!(world.kinds_delivered(0, 1), [0, 1, 2, 3, 4]);
    assert_eq!(world.count(counted::PLACED_AGAIN), 5);
    world.check_accounts();
}

#[test]
fn a_target_that_moved_here_gets_what_was_under_way_to_its_old_hub() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.appear(1, 0);
    world.run(MS * 100);
    assert_eq!(world.kinds_delivered(0, 1), [0]);
    world.check_accounts();
}

#[test]
fn a_target_that_left_is_waited_for_only_if_the_signal_may_wait() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world
        .send_with(0, 1, 1, Bytes::new(), false)
        .expect("space");
    world.vanish(1);
    world.run(MS * 100);
    assert_eq!(world.failures(), [(1, NoSuchPeer)]);
    world.appear(1, 1);
    world.run(MS * 100);
    assert_eq!(world.kinds_delivered(0, 1), [0]);
    world.check_accounts();
}

#[test]
fn a_claim_that_refused_is_not_tried_again_while_our_directory_still_shows_it() {
    let mut world = World::line(3, 6);
    let stale = world.book.winners[&peer(1)];
    world.send(0, 1, 0).expect("space");
    world.vanish(1);
    world.run(MS * 10);
    world.book.winners.insert(peer(1), stale);
    world.run(MS * 100);
    assert_eq!(world.hubs[0].waiting(), 1);
    assert_eq!(world.send(0, 1, 1), Ok(Sent::Waiting), "it overtakes");
    assert_eq!(world.send(0, 1, 2), Ok(Sent::Waiting), "it overtakes");
    assert_eq!(world.hubs[0].waiting(), 3, "one left before the first");
    world.book.winners.remove(&peer(1));
    world.appear(1, 2);
    world.run(MS * 100);
    assert_eq!(world.kinds_delivered(0, 1), [0, 1, 2]);
    world.check_accounts();
}

#[test]
fn a_signal_refused_at_two_hubs_fails() {
    let mut world = World::line(3, 6);
    world.send(0, 1, 0).expect("space");
    world.appear(1, 2);
    world.run(MS * 23);
    assert_eq!(world.count(counted::PLACED_AGAIN), 1);
    world.appear(1, 1);
    world.run(MS * 100);
    assert_eq!(world.failures(), [(0, NoSuchPeer)]);
}

#[test]
fn a_receiver_that_can_take_no_more_fails_signals_as_overload() {
    let mut world = two();
    world.choked = Some(1);
    world.send(0, 1, 0).expect("space");
    world.run(MS * 50);
    assert_eq!(world.failures(), [(0, Overload)]);
    world.check_accounts();
}

#[test]
fn a_signal_of_a_peer_that_its_hub_does_not_hold_is_seen_by_nobody() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.book.forget(&peer(0));
    world.run(MS * 50);
    assert_eq!(world.delivered, []);
    assert_eq!(world.failures(), [(0, NoSuchPeer)]);
    assert_eq!(world.count(counted::FORGED), 2);
}

#[test]
fn the_last_words_of_a_peer_that_has_just_left_arrive() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.vanish(0);
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 1), [0]);
    assert_eq!(world.count(counted::SOURCE_LEFT), 1);
}

#[test]
fn a_signal_that_overtakes_the_news_of_its_sender_arrives() {
    let mut world = two();
    world.send(0, 1, 0).expect("space");
    world.book.forget(&peer(0));
    world.book.head = 0;
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 1), [0]);
    assert_eq!(world.count(counted::SOURCE_AHEAD), 1);
}

#[test]
fn a_new_way_to_a_hub_carries_again_what_the_old_one_may_have_lost() {
    let mut world = World::new(3, 6, ExchangeConfig::default(), 1);
    world.join(0, 1);
    world.join(1, 2);
    world.join(0, 2);
    world.send(0, 2, 0).expect("local to hub 0 or 2");
    world.send(0, 5, 0).expect("space");
    world.cut(0, 2);
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 5), [0]);
    assert_eq!(world.count(counted::RESENT), 2);
    world.check_accounts();
}

#[test]
fn a_change_of_routes_that_leaves_the_first_link_sends_nothing_again() {
    let mut world = World::line(3, 6);
    world.weather.jitter_ms = 1;
    world.send(0, 5, 0).expect("space");
    world.publish_routes();
    world.run(MS * 50);
    assert_eq!(world.count(counted::RESENT), 0);
}

#[test]
fn a_hub_that_never_answers_is_given_up() {
    let mut world = two();
    world.weather = Weather {
        lost: 100,
        ..Weather::default()
    };
    world.send(0, 1, 0).expect("space");
    world.run(MS * 29_999);
    assert_eq!(world.failures(), []);
    assert_eq!(world.count(counted::RESENT), 15);
    world.run(MS);
    assert_eq!(world.failures(), [(0, Unknown)]);
    world.weather.lost = 0;
    world.send(0, 1, 1).expect("space");
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 1), [1], "the base was not told");
    world.check_accounts();
}

#[test]
fn a_window_that_made_room_for_another_goes_on_above_its_old_numbers() {
    let mut world = World::new(
        3,
        6,
        ExchangeConfig {
            send_windows: 1,
            ..ExchangeConfig::default()
        },
        1,
    );
    world.join(0, 1);
    world.join(0, 2);
    world.send(0, 1, 0).expect("space");
    assert_eq!(world.send(0, 2, 0), Err(Overload), "none is idle");
    for kind in 1..4 {
        world.run(MS * 50);
        world.send(0, 2, kind).expect("an idle window made space");
        world.run(MS * 50);
        world.send(0, 1, kind).expect("an idle window made space");
    }
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 1), [0, 1, 2, 3]);
    assert_eq!(world.kinds_delivered(0, 2), [1, 2, 3]);
    world.check_accounts();
}
