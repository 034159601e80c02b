//! One exchange, frame by frame: what it makes of numbers, incarnations, refusals and frames for others.

use bytes::Bytes;

use super::bench::*;
use super::world::{MS, as_it_comes, hub, life, peer};
use crate::exchange::{Effect, ExchangeConfig, MAX_OUTSTANDING, Sent, counted};
use crate::frames::{AckFrame, DataFrame, PeerSignal, RefusedSignal, RefusedWhy, SignalBody};
use crate::ids::{ClaimNo, SignalKind};

#[test]
fn signals_that_come_early_are_kept_for_their_turn() {
    let mut bench = bench();
    assert_eq!(bench.take(3, 1), [] as [u8; 0]);
    assert_eq!(bench.take(2, 1), [] as [u8; 0]);
    assert_eq!(bench.take(3, 1), [] as [u8; 0]);
    assert_eq!(bench.take(1, 1), [1, 2, 3]);
    assert_eq!(bench.take(2, 1), [] as [u8; 0]);
    assert_eq!(bench.owed(), (3, vec![]));
}

#[test]
fn early_signals_are_bounded_in_bytes_and_in_distance() {
    let mut bench = bench_with(ExchangeConfig {
        early_bytes: 129,
        ..ExchangeConfig::default()
    });
    bench.receive(bench.signal(2, 1));
    bench.receive(bench.signal(3, 1));
    assert!(is_counted(&bench.effects(), counted::NO_SPACE));
    assert_eq!(bench.take(1, 1), [1, 2], "the third was dropped");
    bench.receive(bench.signal(1 + MAX_OUTSTANDING, 1));
    assert!(is_counted(&bench.effects(), counted::NO_SPACE));
    assert_eq!(bench.take(3, 3), [3]);
}

#[test]
fn an_early_signal_does_not_keep_the_message_that_it_came_in() {
    let mut bench = bench();
    let message = Bytes::from(vec![0; 1024]);
    let mut early = bench.signal(2, 1);
    let SignalBody::Peer(signal) = &mut early.body else {
        panic!("not of a peer");
    };
    signal.payload = message.slice(..1);
    bench.receive(early);
    assert!(message.is_unique());
    assert_eq!(bench.take(1, 1), [1, 2]);
}

#[test]
fn what_the_source_keeps_no_more_is_not_waited_for() {
    let mut bench = bench();
    assert_eq!(bench.take(1, 1), [1]);
    assert_eq!(bench.take(5, 1), [] as [u8; 0]);
    assert_eq!(bench.take(6, 5), [5, 6]);
    assert_eq!(bench.take(4, 1), [] as [u8; 0], "given up by its source");
}

#[test]
fn an_acknowledgement_covers_only_what_the_caller_answered_for() {
    let mut bench = bench();
    bench.receive(bench.signal(1, 1));
    bench.receive(bench.signal(2, 1));
    assert!(matches!(
        bench.exchange.poll_effect(),
        Some(Effect::Deliver(_))
    ));
    bench.exchange.settle(Err(RefusedWhy::Overload));
    bench.exchange.settle(Err(RefusedWhy::Overload));
    bench.exchange.handle_timeout(NOW + MS * 20, &bench.book);
    assert!(matches!(
        bench.exchange.poll_effect(),
        Some(Effect::Deliver(_))
    ));
    let frame = match bench.exchange.poll_effect() {
        Some(Effect::Link {
            frame: DataFrame::Ack(frame),
            ..
        }) => frame,
        other => panic!("no acknowledgement: {other:?}"),
    };
    let refused = RefusedSignal {
        seq: 1,
        why: RefusedWhy::Overload,
    };
    assert_eq!((frame.upto, frame.refused), (1, vec![refused]));
}

#[test]
fn refusals_are_told_until_the_base_shows_that_they_are_known() {
    let mut bench = bench();
    let missing = peer(0);
    bench.book.drop(&missing);
    bench
        .book
        .winners
        .insert(missing.clone(), bench.book.winners[&peer(2)]);
    bench.receive(bench.signal(1, 1));
    bench.receive(bench.signal(2, 1));
    assert_eq!(bench.owed().1.len(), 2);
    bench.receive(bench.signal(3, 2));
    let seqs: Vec<u64> = bench.owed().1.iter().map(|r| r.seq).collect();
    assert_eq!(seqs, [2, 3]);
}

#[test]
fn more_refusals_than_fit_are_told_in_turns() {
    let mut bench = bench_with(ExchangeConfig {
        ack_every: u32::MAX,
        ..ExchangeConfig::default()
    });
    let target = bench.book.winners[&peer(0)];
    let elsewhere = bench.book.winners[&peer(2)];
    bench.book.winners.insert(peer(0), elsewhere);
    let most = AckFrame::MAX_REFUSED as u64;
    for seq in 1..=most + 10 {
        bench.receive(bench.signal(seq, 1));
    }
    let (upto, refused) = bench.owed();
    assert_eq!((upto, refused.len()), (most, AckFrame::MAX_REFUSED));
    bench.book.winners.insert(peer(0), target);
    assert_eq!(bench.take(most + 11, most + 1).len(), 1);
    let (upto, refused) = bench.owed();
    assert_eq!((upto, refused.len()), (most + 11, 10));
}

#[test]
fn frames_for_others_go_on_by_their_route_and_never_back() {
    let mut bench = bench();
    let mut frame = bench.signal(1, 1);
    frame.head.dest = hub(2);
    bench.arrive(DataFrame::Signal(frame.clone()), LINK);
    frame.head.ttl -= 1;
    let on = Effect::Link {
        link: OTHER_LINK,
        frame: DataFrame::Raw(as_it_comes(&DataFrame::Signal(frame.clone()))),
    };
    assert_eq!(bench.effects(), [on]);
    bench.arrive(DataFrame::Signal(frame.clone()), OTHER_LINK);
    assert_eq!(bench.effects(), [Effect::Counted(counted::NO_WAY_ON)]);
    frame.head.dest = hub(7);
    bench.arrive(DataFrame::Signal(frame.clone()), LINK);
    assert_eq!(bench.effects(), [Effect::Counted(counted::NO_WAY_ON)]);
    (frame.head.dest, frame.head.ttl) = (hub(2), 0);
    bench.arrive(DataFrame::Signal(frame), LINK);
    assert_eq!(bench.effects(), [Effect::Counted(counted::TTL)]);
}

#[test]
fn acknowledgements_for_others_go_on_too() {
    let mut bench = bench();
    let mut frame = ack(1, vec![]);
    frame.head.dest = hub(2);
    bench.arrive(DataFrame::Ack(frame.clone()), LINK);
    frame.head.ttl -= 1;
    let on = Effect::Link {
        link: OTHER_LINK,
        frame: DataFrame::Raw(as_it_comes(&DataFrame::Ack(frame))),
    };
    assert_eq!(bench.effects(), [on]);
}

#[test]
fn a_signal_leaves_with_its_lives_its_claims_and_room_for_a_detour() {
    let mut bench = bench();
    bench.send(9).expect("space");
    let effects = bench.effects();
    let [
        Effect::Link {
            link: LINK,
            frame: DataFrame::Signal(frame),
        },
    ] = &effects[..]
    else {
        panic!("not one signal: {effects:?}");
    };
    assert_eq!((frame.head.ttl, frame.seq, frame.base), (6, 1, 1));
    assert_eq!((frame.head.source, frame.head.dest), (hub(0), hub(1)));
    let SignalBody::Peer(PeerSignal {
        target_claim, kind, ..
    }) = &frame.body
    else {
        panic!("not of a peer");
    };
    let expected = bench.book.winners[&peer(1)].claim;
    assert_eq!((*target_claim, *kind), (expected, SignalKind(9)));
}

#[test]
fn acknowledgements_out_of_order_or_of_the_unsent_change_nothing() {
    let mut bench = bench();
    (0..3).for_each(|kind| assert_eq!(bench.send(kind), Ok(Sent::Window)));
    bench.acknowledge(1 << 60, &[]);
    assert!(is_counted(&bench.effects(), counted::MALFORMED));
    assert_eq!(bench.exchange.unacknowledged(), 3);
    bench.acknowledge(2, &[2]);
    let failed: Vec<Effect> = bench.effects();
    assert!(matches!(&failed[..], [Effect::Failed(f)] if f.kind == SignalKind(1)));
    bench.acknowledge(1, &[1]);
    assert_eq!(
        (bench.effects(), bench.exchange.unacknowledged()),
        (vec![], 1)
    );
}

#[test]
fn what_was_never_handed_to_a_link_cannot_be_acknowledged() {
    let mut bench = bench();
    bench.send(0).expect("space");
    bench.exchange.set_routes(NOW, routes(&[]));
    bench.send(1).expect("space");
    bench.acknowledge(2, &[]);
    assert_eq!(bench.exchange.unacknowledged(), 1);
}

#[test]
fn an_acknowledgement_of_another_life_changes_nothing() {
    let mut bench = bench();
    bench.send(0).expect("space");
    bench.effects();
    for (source, dest) in [(2, 1), (1, 2), (0, 1)] {
        let mut frame = ack(1, vec![]);
        (frame.head.source_incarnation, frame.head.dest_incarnation) = (life(source), life(dest));
        bench.exchange.handle_ack(NOW, &bench.book, frame);
        assert_eq!(
            bench.effects(),
            [Effect::Counted(counted::STALE_INCARNATION)]
        );
    }
    assert_eq!(bench.exchange.unacknowledged(), 1);
}

#[test]
fn idle_windows_to_hubs_that_are_gone_are_forgotten() {
    let mut bench = bench();
    bench.send(0).expect("space");
    bench.acknowledge(1, &[]);
    bench.exchange.set_routes(NOW, routes(&[]));
    bench.take(1, 1);
    let later = NOW + MS * 60_000;
    bench.exchange.handle_timeout(later, &bench.book);
    bench.effects();
    bench.exchange.set_routes(later, routes(&[]));
    assert_eq!(
        (
            bench.exchange.send_windows.len(),
            bench.exchange.receive_windows.len()
        ),
        (0, 0)
    );
    assert_eq!(bench.exchange.lost.len(), 0);
    assert_eq!(bench.exchange.poll_timeout(), None);
}

#[test]
fn a_call_with_an_older_time_does_not_turn_back_the_clock() {
    let mut bench = bench();
    bench.exchange.handle_timeout(NOW + MS * 100, &bench.book);
    bench.send(0).expect("space");
    assert_eq!(bench.exchange.poll_timeout(), Some(NOW + MS * 1100));
}

#[test]
fn a_window_that_had_slowed_down_wakes_in_time_for_what_is_sent_next() {
    let mut bench = bench();
    bench.send(0).expect("space");
    for second in [1, 2] {
        let at = NOW + MS * (1000 * second);
        bench.exchange.handle_timeout(at, &bench.book);
    }
    assert_eq!(bench.exchange.poll_timeout(), Some(NOW + MS * 4000));
    bench.acknowledge(1, &[]);
    bench.send(1).expect("space");
    assert_eq!(bench.exchange.poll_timeout(), Some(NOW + MS * 3000));
}

#[test]
fn an_answer_without_a_delivery_is_harmless() {
    let mut bench = bench();
    bench.exchange.settle(Err(RefusedWhy::NotHere));
    assert_eq!(bench.take(1, 1), [1]);
    bench.exchange.settle(Err(RefusedWhy::NotHere));
    assert_eq!(
        bench.owed(),
        (1, vec![]),
        "left unanswered, it counts as taken"
    );
}

#[test]
fn a_claim_number_alone_opens_no_door() {
    let mut bench = bench();
    let mut frame = bench.signal(1, 1);
    if let SignalBody::Peer(PeerSignal { target_claim, .. }) = &mut frame.body {
        *target_claim = ClaimNo(999);
    }
    bench.receive(frame);
    assert_eq!(bench.deliveries(), [] as [u8; 0]);
}
