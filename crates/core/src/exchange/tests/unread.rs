//! Signals that their receiver took and never read.

use crate::api::{Posted, SignalFailure, Unread};
use crate::exchange::counted;
use crate::ids::{ClaimNo, SignalKind};

use super::rules::two;
use super::world::{MS, World, hub, life, peer};

const TOLD: SignalFailure = SignalFailure::NoSuchPeer;

#[test]
fn senders_on_another_hub_are_told_of_what_a_receiver_left_unread() {
    let mut world = two();
    world.read_no_more(1);
    for (from, kind) in [(0, 0), (2, 1), (0, 2)] {
        world.send(from, 1, kind).expect("space");
    }
    world.run(MS * 100);
    assert_eq!(world.hubs[0].unacknowledged(), 0);
    world.leave_unread(1, 1);
    world.run(MS * 100);
    assert_eq!(world.failures(), [(0, TOLD), (1, TOLD), (2, TOLD)]);
    assert_eq!(world.following, [2]);
    world.check_accounts();
}

#[test]
fn who_was_told_is_not_told_again_when_the_receivers_hub_is_lost_before_it_acknowledges() {
    let mut world = two();
    world.read_no_more(1);
    world.send(0, 1, 0).expect("space");
    world.run(MS * 5);
    world.leave_unread(1, 1);
    world.run(MS * 5);
    assert_eq!(world.failures(), [(0, TOLD)]);
    assert_eq!(world.hubs[0].unacknowledged(), 1, "acknowledged too soon");
    world.restart(1);
    world.run(MS * 5000);
    assert_eq!(world.failures(), [(0, TOLD)]);
    world.check_accounts();
}

#[test]
fn what_tells_of_it_is_sent_again_when_it_is_lost() {
    let mut world = two();
    world.read_no_more(1);
    for kind in 0..100 {
        world.send(0, 1, kind).expect("space");
    }
    world.run(MS * 100);
    world.weather.lost = 100;
    world.leave_unread(1, 1);
    world.run(MS * 500);
    assert!(world.failures().is_empty());
    world.weather.lost = 0;
    world.run(MS * 3000);
    assert_eq!(world.failures().len(), 100);
    world.check_accounts();
}

#[test]
fn many_are_told_in_several_messages() {
    let mut world = two();
    world.read_no_more(1);
    world.send(0, 1, 0).expect("space");
    world.run(MS * 100);
    let (_, first) = world.unread[&peer(1)][0].clone();
    let many = vec![first; 3000];
    world.hubs[1].return_unread(world.now, &peer(1), &many);
    world.settle();
    assert_eq!(world.count(counted::RETURNED), 3);
}

/// Hub 1 says of a signal of peer 0 to this peer, with this claim and number, that it was not read.
fn say(world: &mut World, of: usize, to: ClaimNo, seq: u64) -> usize {
    let before = world.failed.len();
    let sender = Posted {
        hub: hub(0),
        incarnation: life(1),
        claim: world.book.winners[&peer(0)].claim,
        seq,
    };
    let kind = SignalKind(7);
    let unread = [Unread { sender, to, kind }];
    world.hubs[1].return_unread(world.now, &peer(of), &unread);
    world.settle();
    world.run(MS * 100);
    world.failed.len() - before
}

#[test]
fn a_hub_is_not_believed_about_receivers_of_another_nor_about_what_was_never_sent_to_it() {
    let mut world = World::line(3, 6);
    world.send(0, 1, 0).expect("space");
    world.run(MS * 5);
    let own = world.book.winners[&peer(1)].claim;
    let others = world.book.winners[&peer(2)].claim;
    assert_eq!(say(&mut world, 2, others, 1), 0);
    assert_eq!(say(&mut world, 2, own, 1), 0);
    assert_eq!(say(&mut world, 1, own, 9), 0);
    assert_eq!(say(&mut world, 1, own, 1), 1);
}

/// A signal of peer 0 to peer 1 on hub 1 has been acknowledged; and the claim that it was for.
fn read_no_more() -> (World, ClaimNo) {
    let mut world = World::line(3, 6);
    world.send(0, 1, 0).expect("space");
    world.run(MS * 100);
    assert_eq!(world.hubs[0].unacknowledged(), 0);
    let to = world.book.winners[&peer(1)].claim;
    (world, to)
}

#[test]
fn senders_are_told_also_when_nothing_tells_any_more_that_the_receiver_was_there() {
    let (mut world, to) = read_no_more();
    world.book.forget(&peer(1));
    assert_eq!(say(&mut world, 1, to, 1), 1);
    assert_eq!(world.count(counted::FORGED), 0);
}

#[test]
fn a_receiver_that_is_elsewhere_by_now_was_unread_where_it_is_known_to_have_been() {
    let (mut world, to) = read_no_more();
    world.book.drop(&peer(1));
    world.book.hold(hub(2), &peer(1));
    assert_eq!(say(&mut world, 1, to, 1), 1);
    world.book.left.clear();
    assert_eq!(say(&mut world, 1, to, 1), 0);
    assert_eq!(world.count(counted::FORGED), 0);
}

#[test]
fn a_signal_that_is_still_kept_proves_that_its_receiver_was_there() {
    let mut world = World::line(3, 6);
    world.send(0, 1, 0).expect("space");
    world.run(MS * 5);
    assert_eq!(world.hubs[0].unacknowledged(), 1, "acknowledged too soon");
    let to = world.book.winners[&peer(1)].claim;
    world.book.forget(&peer(1));
    world.book.hold(hub(2), &peer(1));
    assert_eq!(say(&mut world, 1, to, 1), 1);
}

#[test]
fn a_number_that_comes_several_times_in_one_message_is_told_of_once() {
    let (mut world, to) = read_no_more();
    let sender = Posted {
        hub: hub(0),
        incarnation: life(1),
        claim: world.book.winners[&peer(0)].claim,
        seq: 1,
    };
    let kind = SignalKind(7);
    let unread = [Unread { sender, to, kind }; 100];
    world.hubs[1].return_unread(world.now, &peer(1), &unread);
    world.settle();
    world.run(MS * 100);
    assert_eq!(world.failed.len(), 1);
}
