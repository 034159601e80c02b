//! What is published: at every hub that it is for, once and in order with the signals of its sender.

use super::rules::{two, two_with};
use super::world::{MS, Weather, World, peer};
use crate::api::SignalFailure::{NoSuchPeer, Overload, Unknown};
use crate::exchange::{ExchangeConfig, counted};
use crate::wire::MAX_PAYLOAD;

#[test]
fn what_is_published_comes_once_to_each_hub_in_order_with_the_signals_of_its_sender() {
    let mut world = World::line(3, 6);
    world.weather = Weather {
        lost: 20,
        doubled: 20,
        jitter_ms: 30,
        full: false,
    };
    for n in 0..20 {
        world.publish(0, n, b"1", &[1, 2]).expect("space");
        world.send(0, 1, 100 + n).expect("space");
    }
    world.run(MS * 20_000);
    for at in [1, 2] {
        let here = world.published.iter().filter(|(hub, _)| *hub == at);
        let kinds: Vec<u8> = here.map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, (0..20).collect::<Vec<_>>(), "at {at}");
    }
    assert_eq!(world.delivered.len(), 20);
    assert_eq!(world.unpublished, []);
}

#[test]
fn a_hub_whose_members_take_no_more_says_so_to_the_sender() {
    let mut world = two();
    world.choked = Some(1);
    world.publish(0, 0, b"1", &[1]).expect("it is sent");
    world.run(MS * 100);
    assert_eq!(world.unpublished, [Overload]);
}

#[test]
fn what_is_published_counts_as_its_sender_s_and_is_refused_when_the_window_is_full() {
    let mut world = two_with(ExchangeConfig {
        window_bytes: 8 * 1024,
        ..ExchangeConfig::default()
    });
    world.weather.lost = 100;
    let sent = (0..20).map(|n| world.publish(0, n, &[b'1'; 1024], &[1]));
    let sent: Vec<_> = sent.collect();
    assert!(sent.first().is_some_and(Result::is_ok));
    assert_eq!(sent.last(), Some(&Err(Overload)));
    assert!(
        world.publish(2, 0, b"1", &[1]).is_ok(),
        "another has its share"
    );
    world.run(MS * 40_000);
    assert!(
        world.unpublished.contains(&Unknown),
        "{:?}",
        world.unpublished
    );
}

#[test]
fn what_is_too_long_for_a_link_is_refused_whole() {
    let mut world = two();
    let long = vec![b'1'; MAX_PAYLOAD];
    assert_eq!(world.publish(0, 0, &long, &[1]), Err(Overload));
    assert_eq!(world.frames, 0);
}

#[test]
fn nobody_publishes_in_the_name_of_a_peer_that_is_not_there() {
    let mut world = two();
    let found = world.book.winners[&peer(0)];
    world.book.forget(&peer(0));
    world.book.winners.insert(peer(0), found);
    world.publish(0, 0, b"1", &[1]).expect("it is sent");
    world.run(MS * 100);
    assert_eq!(world.published, []);
    assert_eq!(world.unpublished, [NoSuchPeer]);
    assert!(world.counted.contains_key(counted::FORGED));
}
