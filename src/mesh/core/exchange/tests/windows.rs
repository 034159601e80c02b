//! One exchange, frame by frame: what it makes of numbers, lives, refusals and frames for others.

use std::sync::Arc;

use bytes::Bytes;

use super::world::{Book, MS, hub, life, network, peer};
use crate::mesh::core::api::{Hop, Route, Routes, SignalFailure, Source};
use crate::mesh::core::exchange::{
    Effect, Exchange, ExchangeConfig, MAX_OUTSTANDING, Sent, counted,
};
use crate::mesh::core::ids::{ClaimNo, LinkId, Moment, NetworkKey, SignalKind};
use crate::mesh::frames::{AckFrame, Frame, Refused, RefusedWhy, SignalBody, SignalFrame};

const NOW: Moment = Moment(5_000_000);
const LINK: LinkId = LinkId(1);
const OTHER_LINK: LinkId = LinkId(2);

/// Hub 0, with hub 1 by [`LINK`] and hub 2 by [`OTHER_LINK`]; peer 0 at hub 0, peers 1 and 2 at theirs.
struct Bench {
    exchange: Exchange,
    book: Book,
}

fn bench() -> Bench {
    bench_with(ExchangeConfig::default())
}

fn bench_with(config: ExchangeConfig) -> Bench {
    let mut book = Book::default();
    for n in 0..3 {
        book.hold(hub(n), &peer(n));
    }
    let mut exchange = Exchange::new(hub(0), life(1), config);
    exchange.set_routes(NOW, routes(&[(1, LINK), (2, OTHER_LINK)]));
    Bench { exchange, book }
}

fn routes(ways: &[(usize, LinkId)]) -> Arc<Routes> {
    let mut routes = Routes::default();
    for &(n, link) in ways {
        let hop = Hop {
            link,
            neighbour: hub(n),
            hops: 1,
        };
        let incarnation = life(1);
        let route = Route {
            hop,
            incarnation,
            part: 0,
        };
        routes.by_hub.insert(hub(n), route);
    }
    Arc::new(routes)
}

impl Bench {
    /// A signal of peer 1 to peer 0; its kind is its number.
    fn signal(&self, seq: u64, base: u64) -> SignalFrame {
        let (from, target) = (peer(1), peer(0));
        let (source, found) = (self.book.winners[&from], self.book.winners[&target]);
        SignalFrame {
            ttl: 5,
            source: hub(1),
            source_incarnation: life(1),
            dest: hub(0),
            dest_incarnation: life(1),
            seq,
            base,
            body: SignalBody::Peer {
                network: network(),
                from,
                from_claim: source.claim,
                from_seq: source.seq,
                target,
                target_claim: found.claim,
                kind: SignalKind(u8::try_from(seq % 256).expect("a byte")),
                payload: Bytes::from_static(b"x"),
            },
        }
    }

    fn receive(&mut self, frame: SignalFrame) {
        self.exchange.handle_signal(NOW, &self.book, frame, LINK);
    }

    /// Takes signal `seq` in, and gives back the numbers delivered.
    fn take(&mut self, seq: u64, base: u64) -> Vec<u8> {
        self.receive(self.signal(seq, base));
        self.deliveries()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.exchange.poll_effect()).collect()
    }

    fn deliveries(&mut self) -> Vec<u8> {
        let kind = |effect| match effect {
            Effect::Deliver(delivery) => Some(delivery.kind.0),
            _ => None,
        };
        self.effects().into_iter().filter_map(kind).collect()
    }

    fn send(&mut self, kind: u8) -> Result<Sent, SignalFailure> {
        let from = Source {
            claim: self.book.winners[&peer(0)].claim,
            network: network(),
            peer: peer(0),
        };
        let kind = SignalKind(kind);
        self.exchange.send(
            NOW,
            &self.book,
            &from,
            1,
            &peer(1),
            kind,
            Bytes::new(),
            true,
        )
    }

    fn acknowledge(&mut self, upto: u64, refused: &[u64]) {
        let why = RefusedWhy::Overload;
        let refused = refused.iter().map(|&seq| Refused { seq, why }).collect();
        let frame = ack(upto, refused);
        self.exchange.handle_ack(NOW, &self.book, frame, LINK);
    }

    /// The acknowledgement that is sent once time is up.
    fn owed(&mut self) -> (u64, Vec<Refused>) {
        let due = self.exchange.poll_timeout().expect("something owed");
        self.exchange.handle_timeout(due, &self.book);
        let acks = self
            .effects()
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Link {
                    frame: Frame::Ack(ack),
                    ..
                } => Some((ack.upto, ack.refused)),
                _ => None,
            });
        acks.last().expect("an acknowledgement")
    }
}

/// From hub 1 to hub 0.
fn ack(upto: u64, refused: Vec<Refused>) -> AckFrame {
    AckFrame {
        ttl: 5,
        source: hub(1),
        source_incarnation: life(1),
        dest: hub(0),
        dest_incarnation: life(1),
        upto,
        refused,
    }
}

fn is_counted(effects: &[Effect], label: &'static str) -> bool {
    effects.contains(&Effect::Counted(label))
}

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
    assert!(is_counted(&bench.effects(), counted::NO_ROOM));
    assert_eq!(bench.take(1, 1), [1, 2], "the third was dropped");
    bench.receive(bench.signal(1 + MAX_OUTSTANDING, 1));
    assert!(is_counted(&bench.effects(), counted::NO_ROOM));
    assert_eq!(bench.take(3, 3), [3]);
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
            frame: Frame::Ack(frame),
            ..
        }) => frame,
        other => panic!("no acknowledgement: {other:?}"),
    };
    let refused = Refused {
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
fn a_signal_for_another_network_than_its_targets_is_not_taken() {
    let mut bench = bench();
    let mut frame = bench.signal(1, 1);
    if let SignalBody::Peer { network, .. } = &mut frame.body {
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
    assert_eq!(bench.owed().1, [Refused { seq: 1, why }]);
}

#[test]
fn a_hub_may_not_speak_for_a_peer_of_another() {
    let mut bench = bench();
    let mut frame = bench.signal(1, 1);
    let other = bench.book.winners[&peer(2)];
    if let SignalBody::Peer {
        from,
        from_claim,
        from_seq,
        ..
    } = &mut frame.body
    {
        (*from, *from_claim, *from_seq) = (peer(2), other.claim, other.seq);
    }
    bench.receive(frame);
    assert_eq!(bench.deliveries(), [] as [u8; 0]);
    let why = RefusedWhy::Forged;
    assert_eq!(bench.owed().1, [Refused { seq: 1, why }]);
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
    own.source = hub(0);
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
            frame: Frame::Signal(signal),
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
    let frame = Frame::Signal(bench.signal(1, 1));
    bench.exchange.handle(NOW, &bench.book, frame, OTHER_LINK);
    assert_eq!(bench.effects(), [Effect::Counted(counted::ASTRAY)]);
}

#[test]
fn only_the_life_of_the_link_record_is_listened_to() {
    let mut bench = bench();
    let mut newer = bench.signal(1, 1);
    newer.source_incarnation = life(2);
    bench.receive(newer.clone());
    assert_eq!(bench.effects(), [Effect::Counted(counted::STALE_LIFE)]);
    assert_eq!(bench.take(1, 1), [1], "the present life is not harmed");
    let mut routes = Routes::clone(&routes(&[(1, LINK)]));
    routes.by_hub.get_mut(&hub(1)).expect("a way").incarnation = life(2);
    bench.exchange.set_routes(NOW, Arc::new(routes));
    bench.receive(newer);
    assert_eq!(bench.deliveries(), [1]);
    bench.receive(bench.signal(1, 1));
    assert_eq!(bench.effects(), [Effect::Counted(counted::STALE_LIFE)]);
    let mut for_another = bench.signal(2, 1);
    for_another.source_incarnation = life(2);
    for_another.dest_incarnation = life(9);
    bench.receive(for_another);
    assert_eq!(bench.effects(), [Effect::Counted(counted::STALE_LIFE)]);
}

#[test]
fn a_life_that_the_routes_know_to_be_over_is_not_listened_to() {
    let mut bench = bench();
    let mut old = bench.signal(1, 1);
    old.source_incarnation = life(0);
    bench.receive(old);
    assert_eq!(bench.effects(), [Effect::Counted(counted::STALE_LIFE)]);
}

#[test]
fn sources_beyond_the_bound_wait_until_another_was_silent_for_long() {
    let mut bench = bench_with(ExchangeConfig {
        incoming_pairs: 1,
        ..ExchangeConfig::default()
    });
    assert_eq!(bench.take(1, 1), [1]);
    let mut frame = bench.signal(1, 1);
    frame.source = hub(2);
    frame.body = SignalBody::Hub {
        payload: Bytes::new(),
    };
    bench.receive(frame.clone());
    assert!(is_counted(&bench.effects(), counted::NO_ROOM));
    let later = NOW + MS * 60_000;
    bench.exchange.handle_timeout(later, &bench.book);
    bench
        .exchange
        .handle_signal(later, &bench.book, frame, OTHER_LINK);
    let came = |e: &Effect| matches!(e, Effect::HubMessage { from, .. } if *from == hub(2));
    assert!(bench.effects().iter().any(came));
}

#[test]
fn frames_for_others_go_on_by_their_route_and_never_back() {
    let mut bench = bench();
    let mut frame = bench.signal(1, 1);
    frame.dest = hub(2);
    bench.receive(frame.clone());
    frame.ttl -= 1;
    let on = Effect::Link {
        link: OTHER_LINK,
        frame: Frame::Signal(frame.clone()),
    };
    assert_eq!(bench.effects(), [on]);
    bench
        .exchange
        .handle_signal(NOW, &bench.book, frame.clone(), OTHER_LINK);
    assert_eq!(bench.effects(), [Effect::Counted(counted::NO_WAY_ON)]);
    frame.dest = hub(7);
    bench.receive(frame.clone());
    assert_eq!(bench.effects(), [Effect::Counted(counted::NO_WAY_ON)]);
    (frame.dest, frame.ttl) = (hub(2), 0);
    bench.receive(frame);
    assert_eq!(bench.effects(), [Effect::Counted(counted::TTL)]);
}

#[test]
fn acknowledgements_for_others_go_on_too() {
    let mut bench = bench();
    let mut frame = ack(1, vec![]);
    frame.dest = hub(2);
    bench
        .exchange
        .handle_ack(NOW, &bench.book, frame.clone(), LINK);
    frame.ttl -= 1;
    let on = Effect::Link {
        link: OTHER_LINK,
        frame: Frame::Ack(frame),
    };
    assert_eq!(bench.effects(), [on]);
}

#[test]
fn a_signal_leaves_with_its_lives_its_claims_and_room_for_a_detour() {
    let mut bench = bench();
    bench.send(9).expect("room");
    let effects = bench.effects();
    let [
        Effect::Link {
            link: LINK,
            frame: Frame::Signal(frame),
        },
    ] = &effects[..]
    else {
        panic!("not one signal: {effects:?}");
    };
    assert_eq!((frame.ttl, frame.seq, frame.base), (6, 1, 1));
    assert_eq!((frame.source, frame.dest), (hub(0), hub(1)));
    let SignalBody::Peer {
        target_claim, kind, ..
    } = &frame.body
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
    bench.send(0).expect("room");
    bench.exchange.set_routes(NOW, routes(&[]));
    bench.send(1).expect("room");
    bench.acknowledge(2, &[]);
    assert_eq!(bench.exchange.unacknowledged(), 1);
}

#[test]
fn an_acknowledgement_of_another_life_changes_nothing() {
    let mut bench = bench();
    bench.send(0).expect("room");
    bench.effects();
    for (source, dest) in [(2, 1), (1, 2), (0, 1)] {
        let mut frame = ack(1, vec![]);
        (frame.source_incarnation, frame.dest_incarnation) = (life(source), life(dest));
        bench.exchange.handle_ack(NOW, &bench.book, frame, LINK);
        assert_eq!(bench.effects(), [Effect::Counted(counted::STALE_LIFE)]);
    }
    assert_eq!(bench.exchange.unacknowledged(), 1);
}

#[test]
fn idle_windows_to_hubs_that_are_gone_are_forgotten() {
    let mut bench = bench();
    bench.send(0).expect("room");
    bench.acknowledge(1, &[]);
    bench.exchange.set_routes(NOW, routes(&[]));
    bench.take(1, 1);
    let later = NOW + MS * 60_000;
    bench.exchange.handle_timeout(later, &bench.book);
    bench.effects();
    bench.exchange.set_routes(later, routes(&[]));
    assert_eq!(
        (bench.exchange.outgoing.len(), bench.exchange.incoming.len()),
        (0, 0)
    );
    assert_eq!(bench.exchange.lost.len(), 0);
    assert_eq!(bench.exchange.poll_timeout(), None);
}

#[test]
fn a_call_with_an_older_time_does_not_turn_back_the_clock() {
    let mut bench = bench();
    bench.exchange.handle_timeout(NOW + MS * 100, &bench.book);
    bench.send(0).expect("room");
    assert_eq!(bench.exchange.poll_timeout(), Some(NOW + MS * 1100));
}

#[test]
fn a_window_that_had_slowed_down_wakes_in_time_for_what_is_sent_next() {
    let mut bench = bench();
    bench.send(0).expect("room");
    for second in [1, 2] {
        let at = NOW + MS * (1000 * second);
        bench.exchange.handle_timeout(at, &bench.book);
    }
    assert_eq!(bench.exchange.poll_timeout(), Some(NOW + MS * 4000));
    bench.acknowledge(1, &[]);
    bench.send(1).expect("room");
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
    if let SignalBody::Peer { target_claim, .. } = &mut frame.body {
        *target_claim = ClaimNo(999);
    }
    bench.receive(frame);
    assert_eq!(bench.deliveries(), [] as [u8; 0]);
}
