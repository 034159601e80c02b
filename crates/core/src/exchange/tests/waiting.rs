//! What is promised of signals that wait for their target: order, bounds, and that nobody waits in vain untold.

use std::time::Duration;

use bytes::Bytes;

use super::rules::{two, two_with};
use super::world::{MS, World, hub, network, peer};
use crate::api::SignalFailure::{NoSuchPeer, Overload};
use crate::api::{Signal, Source};
use crate::exchange::{ExchangeConfig, Sent};
use crate::ids::{Dialect, SignalKind};
use crate::policy::{Policies, Waiting};

#[test]
fn what_waits_arrives_in_order_once_its_target_appears_anywhere() {
    for at in [0, 1] {
        let mut world = two();
        world.vanish(5);
        for kind in 0..3 {
            assert_eq!(world.send(0, 5, kind), Ok(Sent::Waiting));
        }
        world.run(MS * 4900);
        world.appear(5, at);
        world.send(0, 5, 3).expect("space");
        world.run(MS * 50);
        assert_eq!(world.kinds_delivered(0, 5), [0, 1, 2, 3]);
        world.check_accounts();
    }
}

#[test]
fn a_later_signal_takes_along_what_waits_although_no_one_told_of_the_target() {
    let mut world = two();
    world.vanish(5);
    world.send(0, 5, 0).expect("space");
    world.book.hold(hub(1), &peer(5));
    assert_eq!(world.send(0, 5, 1), Ok(Sent::Window));
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 5), [0, 1]);
}

#[test]
fn each_signal_waits_for_its_own_time_and_then_fails() {
    let mut world = two();
    world.vanish(5);
    world.send(0, 5, 0).expect("space");
    world.send(2, 5, 1).expect("space");
    world.run(MS * 1000);
    world.send(0, 5, 2).expect("space");
    world.run(MS * 3999);
    assert_eq!(world.failures(), []);
    world.run(MS);
    assert_eq!(world.failures(), [(0, NoSuchPeer), (1, NoSuchPeer)]);
    world.run(MS * 1000);
    assert_eq!(world.failures().len(), 3);
    world.check_accounts();
}

#[test]
fn who_is_waited_for_is_told_with_how_many_wait_and_since_when() {
    let mut world = two();
    world.vanish(5);
    world.vanish(6);
    let began = world.now;
    world.send(0, 6, 0).expect("space");
    world.run(MS * 1000);
    world.send(0, 5, 1).expect("space");
    world.send(2, 6, 2).expect("space");
    let told = |world: &World| {
        let all = world.hubs[0].awaited();
        let mut all: Vec<_> = all
            .map(|one| (one.peer.clone(), one.count, one.since - began))
            .collect();
        all.sort();
        all
    };
    let mut want = vec![(peer(5), 1, MS * 1000), (peer(6), 2, Duration::ZERO)];
    want.sort();
    assert_eq!(told(&world), want);
    // The later of the two still waits.
    world.run(MS * 4500);
    want = vec![(peer(5), 1, MS * 1000), (peer(6), 1, MS * 1000)];
    want.sort();
    assert_eq!(told(&world), want);
    world.run(MS * 1000);
    assert_eq!(told(&world), []);
}

#[test]
fn a_signal_that_comes_back_to_wait_has_waited_since_it_first_did() {
    let mut world = two();
    world.vanish(5);
    let began = world.now;
    world.send(0, 5, 0).expect("space");
    world.run(MS * 1000);
    world.book.hold(hub(1), &peer(5));
    assert_eq!(world.send(0, 5, 1), Ok(Sent::Window));
    world.vanish(5);
    world.run(MS * 50);
    let told: Vec<_> = world.hubs[0]
        .awaited()
        .map(|one| (one.count, one.since - began))
        .collect();
    assert_eq!(told, [(2, Duration::ZERO)]);
}

/// Signals wait together, for so long.
fn together(wait: Duration) -> Policies {
    let mut policies = Policies::default();
    policies.of_mut(Dialect::Pigeon).waiting = Waiting::Together(wait);
    policies
}

#[test]
fn where_signals_wait_together_a_sender_is_told_once_for_each_target() {
    let mut world = two_with(ExchangeConfig {
        policies: together(MS * 300),
        ..ExchangeConfig::default()
    });
    world.vanish(5);
    world.vanish(3);
    for (from, to, kind) in [(0, 5, 0), (0, 5, 1), (2, 5, 2), (0, 3, 3)] {
        world.send(from, to, kind).expect("space");
    }
    world.run(MS * 200);
    world.send(0, 5, 4).expect("space");
    world.run(MS * 99);
    assert_eq!(world.failures(), []);
    world.run(MS);
    assert_eq!(
        world.failures().len(),
        5,
        "what came later goes with the first"
    );
    assert_eq!(world.following, [1, 4]);
    world.send(0, 5, 5).expect("space");
    world.run(MS * 300);
    assert_eq!(world.following, [1, 4], "a new row begins");
    world.check_accounts();
}

#[test]
fn what_its_local_target_did_not_take_waits_for_the_next_who_has_the_id() {
    let mut world = two();
    world.send(0, 2, 0).expect("a local target");
    world.find_absent(0, 2, 0);
    assert_eq!(world.send(0, 2, 1), Ok(Sent::Waiting), "in its turn");
    world.run(MS * 1000);
    assert!(world.kinds_delivered(0, 2).is_empty());
    world.appear(2, 1);
    world.run(MS * 50);
    assert_eq!(world.kinds_delivered(0, 2), [0, 1]);

    world.send(2, 4, 2).expect("space");
    world.run(MS * 50);
    world.send(0, 4, 3).expect("a local target");
    world.find_absent(0, 4, 3);
    world.run(MS * 5000);
    assert_eq!(world.failures(), [(3, NoSuchPeer)]);
}

#[test]
fn a_target_that_is_there_when_the_time_is_up_is_served() {
    let mut world = two();
    world.vanish(5);
    world.send(0, 5, 0).expect("space");
    world.book.hold(hub(1), &peer(5));
    world.run(MS * 5050);
    assert_eq!(world.kinds_delivered(0, 5), [0]);
}

#[test]
fn nobody_waits_where_waiting_is_off_or_not_asked_for() {
    let mut world = two();
    world.vanish(5);
    let sent = world.send_with(0, 5, 0, Bytes::new(), false);
    assert_eq!(sent, Err(NoSuchPeer));
    let mut world = two_with(ExchangeConfig {
        wait: Duration::ZERO,
        ..ExchangeConfig::default()
    });
    world.vanish(5);
    assert_eq!(world.send(0, 5, 0), Err(NoSuchPeer));
}

#[test]
fn every_bound_of_the_waiting_room_refuses_at_once() {
    let tight = |change: fn(&mut ExchangeConfig)| {
        let mut config = ExchangeConfig::default();
        change(&mut config);
        let mut world = two_with(config);
        world.vanish(5);
        world.vanish(3);
        world
    };
    let mut world = tight(|c| c.wait_per_sender = 2);
    world.send(0, 5, 0).expect("space");
    world.send(0, 3, 0).expect("space");
    assert_eq!(world.send(0, 5, 1), Err(Overload));
    assert_eq!(world.send(2, 5, 0), Ok(Sent::Waiting));

    let mut world = tight(|c| c.wait_per_target = 2);
    world.send(0, 5, 0).expect("space");
    world.send(2, 5, 0).expect("space");
    assert_eq!(world.send(4, 5, 0), Err(Overload));
    assert_eq!(world.send(4, 3, 0), Ok(Sent::Waiting));

    let mut world = tight(|c| c.wait_total = 2);
    world.send(0, 5, 0).expect("space");
    world.send(2, 3, 0).expect("space");
    assert_eq!(world.send(4, 5, 0), Err(Overload));

    let mut world = tight(|c| c.wait_total_bytes = 2 * (128 + 1));
    world.send(0, 5, 0).expect("space");
    world.send(2, 3, 0).expect("space");
    assert_eq!(world.send(4, 5, 0), Err(Overload));
    world.run(MS * 5000);
    assert_eq!(
        world.send(4, 5, 0),
        Ok(Sent::Waiting),
        "space was not freed"
    );
}

#[test]
fn where_room_is_short_whoever_has_the_most_waiting_gives_way() {
    for change in [
        (|c| c.wait_per_target = 4) as fn(&mut ExchangeConfig),
        |c| c.wait_total = 4,
        |c| c.wait_total_bytes = 4 * (128 + 1),
    ] {
        let mut config = ExchangeConfig::default();
        change(&mut config);
        let mut world = two_with(config);
        world.vanish(5);
        for kind in 0..4 {
            world.send(0, 5, kind).expect("space");
        }
        assert_eq!(world.send(0, 5, 4), Err(Overload));
        assert_eq!(world.send(2, 5, 0), Ok(Sent::Waiting));
        assert_eq!(world.failures(), [(3, Overload)], "the last of the most");
        assert_eq!(world.send(2, 5, 1), Ok(Sent::Waiting));
        assert_eq!(world.send(2, 5, 2), Err(Overload), "now both have as many");
        world.appear(5, 1);
        world.run(MS * 50);
        assert_eq!(world.kinds_delivered(0, 5), [0, 1]);
        assert_eq!(world.kinds_delivered(2, 5), [0, 1]);
        world.check_accounts();
    }
}

#[test]
fn no_more_waits_for_a_target_than_it_can_take_at_once() {
    let config = ExchangeConfig {
        wait_backlog_bytes: 2 * (128 + 100),
        ..ExchangeConfig::default()
    };
    let mut world = two_with(config);
    world.vanish(5);
    world.vanish(3);
    let large = || Bytes::from(vec![b'1'; 100]);
    assert_eq!(world.send_with(0, 5, 0, large(), true), Ok(Sent::Waiting));
    assert_eq!(world.send_with(2, 5, 0, large(), true), Ok(Sent::Waiting));
    assert_eq!(world.send_with(4, 5, 0, large(), true), Err(Overload));
    assert_eq!(world.send_with(0, 3, 0, large(), true), Ok(Sent::Waiting));
    assert_eq!(
        world.send_with(0, 3, 1, large(), true),
        Err(Overload),
        "of one sender"
    );
}

#[test]
fn a_sender_that_was_told_does_not_reach_its_target_with_half_of_what_it_said() {
    let mut world = two_with(ExchangeConfig {
        policies: together(MS * 300),
        wait_per_sender: 2,
        ..ExchangeConfig::default()
    });
    world.vanish(5);
    for kind in 0..3 {
        assert_eq!(world.send(0, 5, kind), Ok(Sent::Waiting));
    }
    let mut failed = world.failures();
    failed.sort_by_key(|(kind, _)| *kind);
    assert_eq!(failed, [(0, Overload), (1, Overload), (2, Overload)]);
    assert_eq!(world.following.len(), 2, "told once");
    world.appear(5, 1);
    world.run(MS * 50);
    assert!(world.kinds_delivered(0, 5).is_empty());
    world.check_accounts();
}

#[test]
fn a_sender_that_goes_takes_what_it_had_waiting_along() {
    let mut world = two();
    world.vanish(5);
    world.send(0, 5, 0).expect("space");
    world.send(2, 5, 0).expect("space");
    let claim = world.book.winners[&peer(0)].claim;
    world.hubs[0].on_source_gone(claim);
    assert_eq!(world.hubs[0].waiting(), 1);
    world.run(MS * 5000);
    assert_eq!(world.failed.len(), 1);
}

#[test]
fn a_local_signal_does_not_overtake_what_was_waiting_for_the_same_target() {
    let mut world = two();
    world.vanish(4);
    world.send(0, 4, 0).expect("space");
    let claim = world.book.hold(hub(0), &peer(4));
    let now = world.now;
    world.hubs[0].on_appeared(now, &world.book, &network(), &peer(4));
    assert_eq!(world.hubs[0].waiting(), 1, "not handed over yet");
    assert_eq!(world.send(0, 4, 1), Ok(Sent::Waiting));
    assert_eq!(world.kinds_delivered(0, 4), [0, 1]);
    assert_eq!(world.send(0, 4, 2), Ok(Sent::Local(claim)));
}

#[test]
fn who_was_looked_up_before_others_waited_is_looked_up_again() {
    let mut world = two();
    let stale = world.book.winners[&peer(5)];
    world.vanish(5);
    assert_eq!(world.send(0, 5, 0), Ok(Sent::Waiting));
    let from = world.book.winners[&peer(2)];
    let source = Source {
        claim: from.claim,
        network: network(),
        peer: peer(2),
    };
    let signal = Signal {
        source: &source,
        target: &peer(5),
        kind: SignalKind(1),
        payload: Bytes::new(),
        wait: true,
    };
    let frames = world.frames;
    let sent = world.hubs[0].send(world.now, &world.book, signal, from.seq, Some(stale));
    world.settle();
    assert_eq!(sent, Ok(Sent::Waiting));
    assert_eq!(world.hubs[0].waiting(), 2, "nothing goes where it is not");
    assert_eq!(world.frames, frames);
}
