//! More is sent than the way takes: who is refused, and what is sent again.

use bytes::Bytes;

use crate::api::SignalFailure;
use crate::exchange::{ExchangeConfig, Sent, counted};

use super::rules::two;
use super::world::{MS, World};

/// How many signals of 32 KiB, of kinds from `first` on, this peer gets into its window to the other hub.
fn flood(world: &mut World, from: usize, first: u8) -> usize {
    let payload = Bytes::from(vec![0; 32 * 1024 - 128]);
    (first..=u8::MAX)
        .take_while(|kind| {
            let sent = world.send_with(from, 1, *kind, payload.clone(), true);
            sent == Ok(Sent::Window)
        })
        .count()
}

/// Sends a session description of 20 KiB.
fn offer(world: &mut World, from: usize) -> Result<Sent, SignalFailure> {
    world.send_with(from, 1, 255, Bytes::from(vec![0; 20 * 1024]), true)
}

#[test]
fn a_sender_fills_half_of_a_window_and_those_who_send_less_get_through() {
    let mut world = two();
    world.weather.lost = 100;
    assert_eq!(flood(&mut world, 0, 0), 64);
    assert!((1..64).contains(&flood(&mut world, 2, 0)));
    assert_eq!(flood(&mut world, 0, 100), 0);
    assert_eq!(world.send(4, 1, 0), Ok(Sent::Window));
}

#[test]
fn over_a_link_that_is_backed_up_only_those_get_through_who_send_little() {
    let mut world = two();
    world.weather.lost = 100;
    assert_eq!(world.send(0, 1, 0), Ok(Sent::Window));
    let link = world.link(0, 1);
    world.hubs[0].set_backed_up(link);
    assert_eq!(flood(&mut world, 0, 100), 0);
    for kind in 0..50 {
        assert_eq!(world.send(2, 1, kind), Ok(Sent::Window));
    }
    world.hubs[0].retain_backed_up(|_| false);
    assert!(flood(&mut world, 0, 200) > 0);
}

#[test]
fn while_acknowledgements_are_slow_to_come_only_those_get_through_who_send_little() {
    let mut world = two();
    world.weather.lost = 100;
    assert_eq!(world.send(0, 1, 0), Ok(Sent::Window));
    world.run(MS * 499);
    assert_eq!(flood(&mut world, 0, 250), 6);
    world.run(MS);
    assert_eq!(flood(&mut world, 0, 100), 0);
    assert_eq!(world.send(2, 1, 0), Ok(Sent::Window));
    world.run(MS * 600);
    assert!(world.count(counted::RESENT) > 0);
    assert_eq!(
        flood(&mut world, 0, 100),
        0,
        "sent again, it is as old as before"
    );
    world.weather.lost = 0;
    world.run(MS * 5000);
    assert_eq!(world.kinds_delivered(0, 1).len(), 7);
    assert!(flood(&mut world, 0, 100) > 0);
}

#[test]
fn a_signal_that_was_lost_keeps_no_offer_back() {
    let mut world = two();
    world.weather.lost = 100;
    assert_eq!(world.send(0, 1, 0), Ok(Sent::Window));
    world.run(MS * 700);
    assert_eq!(offer(&mut world, 0), Ok(Sent::Window));
    assert_eq!(offer(&mut world, 2), Ok(Sent::Window));
    world.weather.lost = 0;
    world.run(MS * 5000);
    world.check_accounts();
}

#[test]
fn who_has_nothing_under_way_gets_one_large_message_through_where_the_way_is_full() {
    let mut world = two();
    let link = world.link(0, 1);
    world.hubs[0].set_backed_up(link);
    assert_eq!(offer(&mut world, 2), Ok(Sent::Window));
    assert_eq!(offer(&mut world, 2), Err(SignalFailure::Overload));
}

/// Has so many peers send as much as they may of signals of so many bytes, and says whether the next one finds space.
fn is_room_beside(peers: usize, bytes: usize) -> bool {
    let quiet = peers * 2;
    let mut world = World::new(2, quiet + 2, ExchangeConfig::default(), 1);
    world.join(0, 1);
    world.weather.lost = 100;
    let payload = Bytes::from(vec![0; bytes]);
    for from in (0..quiet).step_by(2) {
        let _ = (0..100).find(|kind| {
            let sent = world.send_with(from, 1, *kind, payload.clone(), true);
            sent.is_err()
        });
    }
    assert!(world.count(counted::OVER_SHARE) > 0);
    let candidate = Bytes::from(vec![0; 300]);
    world.send_with(quiet, 1, 0, candidate, true) == Ok(Sent::Window)
}

#[test]
fn however_many_send_a_little_there_is_room_for_the_quiet_one() {
    assert!(is_room_beside(600, 900));
    assert!(is_room_beside(600, 7000));
}

#[test]
fn where_many_send_the_smallest_signals_there_are_numbers_for_the_quiet_one() {
    assert!(is_room_beside(200, 1));
}

#[test]
fn by_a_link_that_is_backed_up_nothing_is_sent_again_but_at_long_last_the_oldest() {
    let mut world = two();
    world.weather.lost = 100;
    for kind in 0..3 {
        world.send(0, 1, kind).expect("space");
    }
    let link = world.link(0, 1);
    world.hubs[0].set_backed_up(link);
    world.run(MS * 7900);
    assert_eq!(world.count(counted::RESENT), 0);
    world.run(MS * 2000);
    assert_eq!(world.count(counted::RESENT), 1);
    world.hubs[0].retain_backed_up(|_| false);
    world.weather.lost = 0;
    world.run(MS * 5000);
    assert_eq!(world.kinds_delivered(0, 1), [0, 1, 2]);
    world.check_accounts();
}

#[test]
fn what_a_link_had_no_room_for_is_sent_again_although_it_is_backed_up() {
    let mut world = two();
    world.weather.full = true;
    for kind in 0..50 {
        world.send(0, 1, kind).expect("space");
    }
    let link = world.link(0, 1);
    world.hubs[0].set_backed_up(link);
    world.weather.full = false;
    world.run(MS * 1500);
    assert_eq!(world.kinds_delivered(0, 1).len(), 50);
    world.check_accounts();
}

#[test]
fn what_was_lost_is_sent_again_as_far_as_its_destination_keeps_it() {
    let mut world = two();
    world.weather.lost = 100;
    let sent = flood(&mut world, 0, 0);
    assert_eq!(sent, 64);
    world.run(MS * 1100);
    assert_eq!(world.count(counted::RESENT), 32);
    world.weather.lost = 0;
    world.run(MS * 9000);
    assert_eq!(world.kinds_delivered(0, 1).len(), sent);
    assert_eq!(world.count(counted::NO_SPACE), 0);
    world.check_accounts();
}
