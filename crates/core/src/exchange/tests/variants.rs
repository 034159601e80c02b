//! Signals that say what a hub does not know.

use std::sync::Arc;

use bytes::Bytes;

use super::bench::*;
use super::world::{MS, World, as_it_comes, hub};
use crate::api::Routes;
use crate::exchange::{Effect, Exchange, ExchangeConfig, counted};
use crate::frames::{DataFrame, RawFrame, RefusedWhy, SignalBody, SignalFrame, WIRE_LEVEL};
use crate::wire::{HUB_VARIANT, PEER_VARIANT};

const LATER: u8 = 2;

fn later(bench: &Bench, seq: u64) -> SignalFrame {
    SignalFrame {
        body: SignalBody::Other {
            variant: LATER,
            payload: Bytes::from_static(b"new"),
        },
        ..bench.signal(seq, 1)
    }
}

fn later_hub() -> ExchangeConfig {
    ExchangeConfig {
        level: WIRE_LEVEL + 1,
        ..ExchangeConfig::default()
    }
}

#[test]
fn what_a_destination_does_not_know_is_refused_and_holds_nothing_up() {
    let mut bench = bench();
    bench.receive(later(&bench, 1));
    assert_eq!(
        bench.effects(),
        [Effect::Counted(counted::NOT_UNDERSTOOD)],
        "nobody hears of it"
    );
    assert_eq!(bench.take(2, 1), [2], "what follows is not held up");
    let (upto, refused) = bench.owed();
    assert_eq!((upto, refused.len()), (2, 1));
    assert_eq!(
        (refused[0].seq, refused[0].why),
        (1, RefusedWhy::NotUnderstood)
    );
}

#[test]
fn one_that_comes_before_its_turn_is_refused_in_its_turn() {
    let mut bench = bench();
    bench.receive(later(&bench, 2));
    assert_eq!(bench.effects(), [Effect::Counted(counted::EARLY)]);
    assert_eq!(bench.take(1, 1), [1]);
    let (upto, refused) = bench.owed();
    assert_eq!((upto, refused[0].seq), (2, 2));
}

#[test]
fn a_variant_that_is_known_and_cannot_be_read_is_refused_too() {
    let mut bench = bench_with(later_hub());
    let mut frame = later(&bench, 1);
    let SignalBody::Other { variant, .. } = &mut frame.body else {
        panic!("it is one");
    };
    *variant = PEER_VARIANT;
    bench.receive(frame);
    let (_, refused) = bench.owed();
    assert_eq!(refused[0].why, RefusedWhy::NotUnderstood);
}

#[test]
fn a_frame_of_a_kind_to_come_is_dropped_at_its_destination_and_passed_on_before() {
    let mut bench = bench();
    let mut frame = as_it_comes(&DataFrame::Signal(bench.signal(1, 1)));
    frame.kind = 0x7f;
    bench.arrive(DataFrame::Raw(frame.clone()), LINK);
    assert_eq!(bench.effects(), [Effect::Counted(counted::NOT_UNDERSTOOD)]);
    frame.head.dest = hub(2);
    bench.arrive(DataFrame::Raw(frame.clone()), LINK);
    frame.head.ttl -= 1;
    let on = Effect::Link {
        link: OTHER_LINK,
        frame: DataFrame::Raw(frame),
    };
    assert_eq!(bench.effects(), [on]);
}

/// What hub 0 does with a frame for hub 2, with hubs of this level as the oldest in reach: what it counts, if it drops it.
fn passed_on(frame: RawFrame, level: u8) -> Result<RawFrame, &'static str> {
    let mut bench = bench();
    let mut routes = Routes::clone(&routes(&[(1, LINK), (2, OTHER_LINK)]));
    routes.by_hub.get_mut(&hub(2)).expect("a way").level = level;
    routes.level = level;
    bench.exchange.set_routes(NOW, Arc::new(routes));
    bench.arrive(DataFrame::Raw(frame), LINK);
    match bench.effects().as_slice() {
        [Effect::Link { link, frame }] if *link == OTHER_LINK => match frame {
            DataFrame::Raw(frame) => Ok(frame.clone()),
            other => panic!("it was read: {other:?}"),
        },
        [Effect::Counted(label)] => Err(label),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_neighbour_that_would_close_the_link_for_it_is_not_sent_what_cannot_be_read() {
    let bench = bench();
    let to_two = |body: &'static [u8], kind| {
        let mut frame = as_it_comes(&DataFrame::Signal(bench.signal(1, 1)));
        frame.head.dest = hub(2);
        let rest = Bytes::from_static(body);
        RawFrame {
            rest,
            kind,
            ..frame
        }
    };
    let (signal, ack) = (0x41, 0x42);
    let unreadable = [
        to_two(b"", signal),
        to_two(b"\x01\x00", signal),
        // Of a peer, and of no network.
        to_two(b"\x01\x00\x00\xff", signal),
        to_two(b"", ack),
        to_two(b"\x05\x01", ack),
    ];
    for frame in unreadable {
        assert_eq!(passed_on(frame.clone(), 0), Err(counted::MALFORMED));
        assert!(passed_on(frame, WIRE_LEVEL).is_ok(), "it is not ours");
    }
    let readable = [
        to_two(b"\x01\x00\x01any", signal),
        to_two(b"\x01\x00\x02new", signal),
        to_two(b"\x05\x01\x00", ack),
        to_two(b"", 0x7f),
    ];
    for frame in readable {
        let on = passed_on(frame.clone(), 0).expect("it is passed on");
        assert_eq!((on.kind, on.rest), (frame.kind, frame.rest));
    }
    let frame = to_two(b"", 0x7f);
    let mut peers = as_it_comes(&DataFrame::Signal(bench.signal(1, 1)));
    peers.head = frame.head;
    assert!(passed_on(peers, 0).is_ok());
}

#[test]
fn two_hubs_that_know_more_understand_each_other_over_one_that_does_not() {
    let mut world = World::line(3, 3);
    world.hubs[2] = Exchange::new(hub(2), world.lives[2], later_hub());
    world.publish_routes();
    let payload = Bytes::from_static(b"new");
    for (to, token) in [(2, 1), (1, 2)] {
        let now = world.now;
        world.hubs[0].send_variant(now, hub(to), LATER, payload.clone(), token);
    }
    world.settle();
    world.run(MS * 200);
    assert_eq!(world.messages, [(2, payload)]);
    assert_eq!(world.messages_failed, [2], "its sender knows");
    assert_eq!(world.hubs[0].unacknowledged(), 0, "and nothing waits");
    assert_eq!(world.count(counted::RESENT), 0);
}

#[test]
fn nobody_is_sent_what_it_does_not_know_or_a_hub_on_the_way_would_drop() {
    let mut bench = bench();
    let mut set_levels = |of_one, of_all| {
        let mut routes = Routes::clone(&routes(&[(1, LINK), (2, OTHER_LINK)]));
        routes.by_hub.get_mut(&hub(1)).expect("a way").level = of_one;
        routes.level = of_all;
        bench.exchange.set_routes(NOW, Arc::new(routes));
        let can = |variant| bench.exchange.can_send_variant(&hub(1), variant);
        (can(HUB_VARIANT), can(LATER))
    };
    assert_eq!(set_levels(WIRE_LEVEL, WIRE_LEVEL), (true, false));
    assert_eq!(set_levels(WIRE_LEVEL + 1, WIRE_LEVEL), (true, true));
    assert_eq!(set_levels(WIRE_LEVEL + 1, 0), (true, false));
    assert!(!bench.exchange.can_send_variant(&hub(9), LATER), "no way");
}
