//! What an exchange makes of frames that no honest hub would send, or not any more.

use std::sync::Arc;

use bytes::Bytes;

use super::bench::*;
use super::world::{MS, as_it_comes, hub, life, peer};
use crate::api::{Routes, SignalFailure};
use crate::exchange::{Effect, ExchangeConfig, Sent, counted};
use crate::frames::{DataFrame, PeerSignal, RefusedSignal, RefusedWhy, SignalBody};
use crate::ids::{LinkId, NetworkKey};

#[test]
fn a_signal_for_another_network_than_its_targets_is_not_taken() {
    let mut bench = bench();
    let mut frame = bench.signal(1, 1);
    if let SignalBody::Peer(PeerSignal { network, .. }) = &mut frame.body {
        *network = NetworkKey::from_wire("pother").expect("a key");
    }
    bench.receive(frame);
    assert_eq!(bench.deliveries(), [] as [u8; 0]);
    assert_eq!(bench.owed().1.len(), 1);
}

#[test]
fn a_signal_for_an_earlier_claim_of_its_target_is_not_taken() {
    let mut bench = bench();
    let frame = bench.signal(1, 1);
    bench.book.hold(hub(0), &peer(0));
    bench.receive(frame);
    assert_eq!(bench.deliveries(), [] as [u8; 0]);
    let why = RefusedWhy::NotHere;
    assert_eq!(bench.owed().1, [RefusedSignal { seq: 1, why }]);
}

#[test]
fn a_hub_may_not_speak_for_a_peer_of_another() {
    let mut bench = bench();
    let mut frame = bench.signal(1, 1);
    let other = bench.book.winners[&peer(2)];
    if let SignalBody::Peer(PeerSignal {
        from,
        from_claim,
        from_seq,
        ..
    }) = &mut frame.body
    {
        (*from, *from_claim, *from_seq) = (peer(2), other.claim, other.seq);
    }
    bench.receive(frame);
    assert_eq!(bench.deliveries(), [] as [u8; 0]);
    let why = RefusedWhy::Forged;
    assert_eq!(bench.owed().1, [RefusedSignal { seq: 1, why }]);
}

#[test]
fn frames_whose_numbers_cannot_be_are_dropped() {
    for (seq, base) in [(1, 0), (0, 0), (1, 2), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
        let mut bench = bench();
        bench.receive(bench.signal(seq, base));
        let effects = bench.effects();
        assert_eq!(
            effects,
            [Effect::Counted(counted::MALFORMED)],
            "{seq} {base}"
        );
    }
    let mut bench = bench();
    let mut own = bench.signal(1, 1);
    own.head.source = hub(0);
    bench.receive(own);
    assert!(is_counted(&bench.effects(), counted::MALFORMED));
}

#[test]
fn numbers_jump_so_far_and_no_further() {
    for (base, taken) in [
        (1 << 48, true),
        ((1 << 48) + 1, false),
        (u64::MAX - 1, false),
    ] {
        let mut bench = bench();
        bench.receive(bench.signal(base, base));
        let refused = is_counted(&bench.effects(), counted::MALFORMED);
        assert_ne!(refused, taken, "{base}");
        // What was refused changed nothing.
        assert_eq!(bench.take(1, 1).len(), usize::from(!taken));
    }
    let mut bench = bench();
    assert_eq!(bench.take(1, 1), [1]);
    bench.receive(bench.signal(u64::MAX - 1, u64::MAX - 1));
    assert!(is_counted(&bench.effects(), counted::MALFORMED));
    assert_eq!(bench.take(2, 1), [2]);
}

#[test]
fn whoever_acknowledges_what_was_never_sent_cannot_stop_what_is_sent_next() {
    let mut bench = bench();
    assert_eq!(bench.send(1), Ok(Sent::Window));
    bench.effects();
    bench.acknowledge(1_000, &[]);
    let effects = bench.effects();
    assert!(is_counted(&effects, counted::OUTPACED));
    let unknown = |effect: &Effect| matches!(effect, Effect::Failed(failed) if failed.why == SignalFailure::Unknown);
    assert!(effects.iter().any(unknown), "its sender is told");
    assert_eq!(bench.send(2), Ok(Sent::Window));
    let sent = bench.effects();
    let numbers = sent.iter().find_map(|effect| match effect {
        Effect::Link {
            frame: DataFrame::Signal(signal),
            ..
        } => Some((signal.seq, signal.base)),
        _ => None,
    });
    assert_eq!(
        numbers,
        Some((1_001, 1_001)),
        "above what the other end has"
    );
    bench.acknowledge(u64::MAX - 2, &[]);
    assert!(is_counted(&bench.effects(), counted::MALFORMED));
}

#[test]
fn numbers_that_one_destination_skips_are_skipped_for_no_other_nor_in_its_next_life() {
    let first = |bench: &mut Bench, to: usize| {
        assert_eq!(bench.send_to(to, 1), Ok(Sent::Window));
        bench.effects().into_iter().find_map(|effect| match effect {
            Effect::Link {
                frame: DataFrame::Signal(signal),
                ..
            } => Some((signal.seq, signal.base)),
            _ => None,
        })
    };
    let mut bench = bench_with(ExchangeConfig {
        send_windows: 1,
        ..ExchangeConfig::default()
    });
    assert_eq!(first(&mut bench, 1), Some((1, 1)));
    bench.acknowledge(1 << 48, &[]);
    assert_eq!(first(&mut bench, 1), Some(((1 << 48) + 1, (1 << 48) + 1)));
    bench.acknowledge((1 << 48) + 1, &[]);
    assert_eq!(first(&mut bench, 2), Some((3, 3)), "of the next window");

    let mut bench = self::bench();
    assert_eq!(first(&mut bench, 1), Some((1, 1)));
    bench.acknowledge(1 << 48, &[]);
    let mut ways = Routes::clone(&routes(&[(1, LINK)]));
    let route = ways.by_hub.get_mut(&hub(1)).expect("a way");
    route.incarnation = life(2);
    bench.exchange.set_routes(NOW, Arc::new(ways));
    assert_eq!(
        first(&mut bench, 1),
        Some((2, 2)),
        "of the next incarnation"
    );
}

#[test]
fn a_frame_comes_by_a_way_that_its_source_may_take() {
    let apart = |parts: [u32; 3]| {
        let ways = [(1, LINK), (2, OTHER_LINK), (3, LINK)];
        let mut routes = Routes::clone(&routes(&ways));
        for (n, part) in (1..).zip(parts) {
            routes.by_hub.get_mut(&hub(n)).expect("a way").part = part;
        }
        let mut bench = bench();
        bench.exchange.set_routes(NOW, Arc::new(routes));
        bench.exchange.on_link_up(LINK, hub(1));
        bench.exchange.on_link_up(OTHER_LINK, hub(2));
        bench
    };
    // 3 is behind 1, and 2 knows nobody but us.
    let leaf = apart([1, 2, 1]).exchange;
    assert!(!leaf.is_astray(hub(1), LINK) && !leaf.is_astray(hub(3), LINK));
    assert!(!leaf.is_astray(hub(2), OTHER_LINK));
    assert!(leaf.is_astray(hub(1), OTHER_LINK) && leaf.is_astray(hub(3), OTHER_LINK));
    assert!(leaf.is_astray(hub(2), LINK));
    assert!(leaf.is_astray(hub(9), LINK), "nobody reaches it");
    assert!(leaf.is_astray(hub(0), LINK), "it is ourselves");
    assert!(leaf.is_astray(hub(1), LinkId(9)), "no link that is known");
    // In a ring each may take either way round.
    let ring = apart([1, 1, 1]).exchange;
    for hub in [hub(1), hub(2), hub(3)] {
        assert!(!ring.is_astray(hub, LINK) && !ring.is_astray(hub, OTHER_LINK));
    }
    let mut bench = apart([1, 2, 1]);
    let frame = as_it_comes(&DataFrame::Signal(bench.signal(1, 1)));
    bench.exchange.handle(NOW, &bench.book, frame, OTHER_LINK);
    assert_eq!(bench.effects(), [Effect::Counted(counted::ASTRAY)]);
}

#[test]
fn only_the_life_of_the_link_record_is_listened_to() {
    let mut bench = bench();
    let mut newer = bench.signal(1, 1);
    newer.head.source_incarnation = life(2);
    bench.receive(newer.clone());
    assert_eq!(
        bench.effects(),
        [Effect::Counted(counted::STALE_INCARNATION)]
    );
    assert_eq!(
        bench.take(1, 1),
        [1],
        "the present incarnation is not harmed"
    );
    let mut routes = Routes::clone(&routes(&[(1, LINK)]));
    routes.by_hub.get_mut(&hub(1)).expect("a way").incarnation = life(2);
    bench.exchange.set_routes(NOW, Arc::new(routes));
    bench.receive(newer);
    assert_eq!(bench.deliveries(), [1]);
    bench.receive(bench.signal(1, 1));
    assert_eq!(
        bench.effects(),
        [Effect::Counted(counted::STALE_INCARNATION)]
    );
    let mut for_another = bench.signal(2, 1);
    for_another.head.source_incarnation = life(2);
    for_another.head.dest_incarnation = life(9);
    bench.receive(for_another);
    assert_eq!(
        bench.effects(),
        [Effect::Counted(counted::STALE_INCARNATION)]
    );
}

#[test]
fn a_life_that_the_routes_know_to_be_over_is_not_listened_to() {
    let mut bench = bench();
    let mut old = bench.signal(1, 1);
    old.head.source_incarnation = life(0);
    bench.receive(old);
    assert_eq!(
        bench.effects(),
        [Effect::Counted(counted::STALE_INCARNATION)]
    );
}

#[test]
fn sources_beyond_the_bound_wait_until_another_was_silent_for_long() {
    let mut bench = bench_with(ExchangeConfig {
        receive_windows: 1,
        ..ExchangeConfig::default()
    });
    assert_eq!(bench.take(1, 1), [1]);
    let mut frame = bench.signal(1, 1);
    frame.head.source = hub(2);
    frame.body = SignalBody::Hub {
        payload: Bytes::new(),
    };
    bench.receive(frame.clone());
    assert!(is_counted(&bench.effects(), counted::NO_SPACE));
    let later = NOW + MS * 60_000;
    bench.exchange.handle_timeout(later, &bench.book);
    bench.exchange.handle_signal(later, &bench.book, frame);
    let came = |e: &Effect| matches!(e, Effect::HubMessage { from, .. } if *from == hub(2));
    assert!(bench.effects().iter().any(came));
}
