//! What the link-state database promises, one sentence a test.

use std::collections::BTreeSet;

use super::*;

fn id(n: u16) -> HubId {
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    HubId(bytes)
}

fn life(epoch: u32, nonce: u64) -> Incarnation {
    Incarnation { epoch, nonce }
}

fn at_ms(ms: u64) -> Moment {
    Moment(ms * 1_000)
}

fn record(hub: u16, number: u64, neighbours: &[(u16, u16)]) -> LinkRecord {
    LinkRecord {
        hub: id(hub),
        incarnation: life(0, 1),
        number,
        draining: false,
        urls: vec![format!("ws://hub-{hub}")],
        region: String::new(),
        neighbours: neighbours
            .iter()
            .map(|(hub, cost)| (id(*hub), *cost))
            .collect(),
    }
}

fn topology() -> Topology {
    let mut topology = Topology::new(id(0), life(0, 1), TopologyConfig::default());
    assert_eq!(topology.poll_event(), None);
    topology
}

fn events(topology: &mut Topology) -> Vec<TopologyEvent> {
    std::iter::from_fn(|| topology.poll_event()).collect()
}

fn frames(topology: &mut Topology, link: u64) -> Vec<Frame> {
    std::iter::from_fn(|| topology.poll_transmit(LinkId(link), 16_384)).collect()
}

/// The records that go out on this link now, as (hub, number).
fn sent(topology: &mut Topology, link: u64) -> Vec<(u16, u64)> {
    let mut sent = Vec::new();
    for frame in frames(topology, link) {
        if let Frame::Records(records) = frame {
            sent.extend(
                records
                    .iter()
                    .map(|record| (number_of(record.hub), record.number)),
            );
        }
    }
    sent
}

fn number_of(hub: HubId) -> u16 {
    u16::from_be_bytes([hub.0[0], hub.0[1]])
}

/// A hub 0 with neighbours 1..=n, each on the link of its number, at rest.
fn with_neighbours(n: u16) -> Topology {
    let mut topology = topology();
    for hub in 1..=n {
        let link = u64::from(hub);
        topology.on_neighbour_up(at_ms(0), id(hub), life(0, 1), LinkId(link));
        topology.handle_records(at_ms(0), LinkId(link), vec![record(hub, 1, &[(0, 1)])]);
    }
    topology.handle_timeout(at_ms(1_000));
    for link in 1..=n {
        frames(&mut topology, link.into());
    }
    events(&mut topology);
    topology
}

fn hops(topology: &Topology, hub: u16) -> Option<(u64, u8)> {
    let routes = topology.routes();
    let hop = routes.by_hub.get(&id(hub))?.hop;
    Some((hop.link.0, hop.hops))
}

#[test]
fn a_new_hub_has_a_record_of_its_own_and_reaches_itself() {
    let topology = topology();
    assert_eq!(topology.record(id(0)).map(|own| own.number), Some(1));
    assert!(topology.is_reachable(id(0)));
    assert!(topology.routes().by_hub.is_empty());
    assert_eq!(topology.poll_timeout(), None);
}

#[test]
fn records_are_made_at_once_after_a_pause_and_otherwise_at_the_mark() {
    let mut topology = topology();
    let number = |topology: &Topology| topology.record(id(0)).unwrap().number;
    topology.on_neighbour_up(at_ms(1_000), id(1), life(0, 1), LinkId(1));
    assert_eq!(number(&topology), 2);
    topology.on_neighbour_up(at_ms(1_010), id(2), life(0, 1), LinkId(2));
    topology.on_neighbour_up(at_ms(1_020), id(3), life(0, 1), LinkId(3));
    assert_eq!(number(&topology), 2);
    assert_eq!(topology.poll_timeout(), Some(at_ms(1_100)));
    topology.handle_timeout(at_ms(1_099));
    assert_eq!(number(&topology), 2);
    topology.handle_timeout(at_ms(1_100));
    assert_eq!(number(&topology), 3);
    assert_eq!(topology.record(id(0)).unwrap().neighbours.len(), 3);
    // A flap that is over by the mark makes no record at all.
    topology.on_neighbour_down(at_ms(1_110), id(3));
    topology.on_neighbour_up(at_ms(1_120), id(3), life(0, 1), LinkId(4));
    topology.handle_timeout(at_ms(1_200));
    assert_eq!(number(&topology), 3);
}

#[test]
fn a_link_counts_only_if_both_ends_list_it() {
    let mut topology = topology();
    topology.on_neighbour_up(at_ms(0), id(1), life(0, 1), LinkId(1));
    topology.handle_records(at_ms(0), LinkId(1), vec![record(1, 1, &[(2, 1)])]);
    topology.handle_timeout(at_ms(500));
    assert_eq!(hops(&topology, 1), None, "hub 1 does not list us yet");
    topology.handle_records(
        at_ms(1_000),
        LinkId(1),
        vec![record(1, 2, &[(0, 1), (2, 1)])],
    );
    topology.handle_records(at_ms(1_000), LinkId(1), vec![record(2, 1, &[(3, 1)])]);
    topology.handle_timeout(at_ms(2_000));
    assert_eq!(hops(&topology, 1), Some((1, 1)));
    assert_eq!(hops(&topology, 2), None, "hub 2 does not list hub 1");
    topology.handle_records(at_ms(3_000), LinkId(1), vec![record(2, 2, &[(1, 1)])]);
    assert_eq!(hops(&topology, 2), Some((1, 2)));
    assert_eq!(topology.next_hop(id(2)), Some(LinkId(1)));
    events(&mut topology);
    topology.handle_records(at_ms(4_000), LinkId(1), vec![record(1, 3, &[(0, 1)])]);
    assert_eq!(
        events(&mut topology),
        [
            TopologyEvent::Unreachable { hub: id(2) },
            TopologyEvent::RoutesChanged
        ]
    );
}

#[test]
fn a_neighbour_whose_record_tells_of_an_earlier_life_is_no_way_to_anyone() {
    let mut topology = with_neighbours(1);
    topology.on_neighbour_up(at_ms(2_000), id(1), life(0, 5), LinkId(9));
    assert_eq!(hops(&topology, 1), None);
    let newer = LinkRecord {
        incarnation: life(0, 5),
        ..record(1, 1, &[(0, 1)])
    };
    events(&mut topology);
    topology.handle_records(at_ms(3_000), LinkId(9), vec![newer]);
    assert_eq!(
        events(&mut topology),
        [
            TopologyEvent::IncarnationChanged {
                hub: id(1),
                incarnation: life(0, 5)
            },
            TopologyEvent::Reachable {
                hub: id(1),
                incarnation: life(0, 5)
            },
            TopologyEvent::RoutesChanged,
        ]
    );
    assert_eq!(hops(&topology, 1), Some((9, 1)));
}

#[test]
fn of_equal_ways_the_one_with_fewer_hops_is_taken_and_then_the_lowest_neighbour() {
    // To hub 9: by 1 and 4 at cost 3 in three hops; by 2 or by 3 at cost 3 in two.
    let mut topology = with_neighbours(3);
    let records = vec![
        record(1, 2, &[(0, 1), (4, 1)]),
        record(2, 2, &[(0, 1), (9, 2)]),
        record(3, 2, &[(0, 1), (9, 2)]),
        record(4, 1, &[(1, 1), (9, 1)]),
        record(9, 1, &[(2, 2), (3, 2), (4, 1)]),
    ];
    topology.handle_records(at_ms(2_000), LinkId(1), records);
    topology.handle_timeout(at_ms(3_000));
    assert_eq!(hops(&topology, 9), Some((2, 2)));
    topology.handle_records(at_ms(4_000), LinkId(1), vec![record(2, 3, &[(0, 1)])]);
    topology.handle_timeout(at_ms(5_000));
    assert_eq!(hops(&topology, 9), Some((3, 2)));
}

#[test]
fn newer_is_flooded_on_but_not_back_and_older_is_answered() {
    let mut topology = with_neighbours(3);
    topology.handle_records(at_ms(2_000), LinkId(1), vec![record(7, 4, &[])]);
    assert!(!topology.has_pending(LinkId(1)));
    assert_eq!(sent(&mut topology, 2), [(7, 4)]);
    // Hub 3 has the same already: nothing is left to say there.
    topology.handle_records(at_ms(2_000), LinkId(3), vec![record(7, 4, &[])]);
    assert_eq!(sent(&mut topology, 3), []);
    topology.handle_records(at_ms(2_000), LinkId(2), vec![record(7, 3, &[])]);
    assert_eq!(sent(&mut topology, 2), [(7, 4)]);
    assert_eq!(topology.record(id(7)).unwrap().number, 4);
}

#[test]
fn a_stalled_link_gets_each_hubs_newest_record_once() {
    let mut topology = with_neighbours(2);
    for number in 1..=50 {
        let batch = vec![record(7, number, &[]), record(8, number, &[])];
        topology.handle_records(at_ms(2_000 + number), LinkId(1), batch);
    }
    assert_eq!(sent(&mut topology, 2), [(7, 50), (8, 50)]);
    assert!(!topology.has_pending(LinkId(2)));
}

#[test]
fn frames_keep_to_their_size_but_carry_at_least_one_record() {
    let mut topology = with_neighbours(2);
    let batch = (10..40).map(|hub| record(hub, 1, &[])).collect();
    topology.handle_records(at_ms(2_000), LinkId(1), batch);
    let size = outbox::record_bytes(&record(10, 1, &[]));
    let Some(Frame::Records(few)) = topology.poll_transmit(LinkId(2), size * 4) else {
        panic!("records expected");
    };
    assert_eq!(few.len(), 3);
    let Some(Frame::Records(one)) = topology.poll_transmit(LinkId(2), 1) else {
        panic!("records expected");
    };
    assert_eq!(one.len(), 1);
    assert_eq!(sent(&mut topology, 2).len(), 26);
}

/// Carries everything between the two until neither has more to say.
fn exchange(a: &mut Topology, b: &mut Topology, now: Moment, max_bytes: usize) {
    loop {
        let to_b = a.poll_transmit(LinkId(1), max_bytes);
        let to_a = b.poll_transmit(LinkId(1), max_bytes);
        if to_a.is_none() && to_b.is_none() {
            return;
        }
        for (topology, frame) in [(&mut *b, to_b), (&mut *a, to_a)] {
            match frame {
                Some(Frame::Digest(part)) => topology.handle_digest(now, LinkId(1), &part),
                Some(Frame::Records(records)) => topology.handle_records(now, LinkId(1), records),
                other => assert_eq!(other, None),
            }
        }
    }
}

#[test]
fn two_digests_in_any_number_of_parts_make_two_databases_one() {
    for max_bytes in [1, 150, 16_384] {
        let mut a = topology();
        let mut b = Topology::new(id(1), life(0, 1), TopologyConfig::default());
        let batch = |hubs: std::ops::Range<u16>, number| {
            hubs.map(|hub| record(hub, number, &[])).collect::<Vec<_>>()
        };
        a.handle_records(at_ms(0), LinkId(50), batch(10..30, 2));
        b.handle_records(at_ms(0), LinkId(50), batch(20..40, 1));
        b.handle_records(at_ms(0), LinkId(50), batch(25..27, 9));
        a.on_neighbour_up(at_ms(1_000), id(1), life(0, 1), LinkId(1));
        b.on_neighbour_up(at_ms(1_000), id(0), life(0, 1), LinkId(1));
        exchange(&mut a, &mut b, at_ms(1_000), max_bytes);
        assert!(a.records().eq(b.records()), "frames of {max_bytes} bytes");
        assert_eq!(a.records().count(), 32);
        assert_eq!(a.record(id(26)).unwrap().number, 9);
        // What both had before does not travel again.
        a.on_neighbour_switched(at_ms(2_000), id(1), LinkId(2));
        b.on_neighbour_switched(at_ms(2_000), id(0), LinkId(2));
        while let Some(Frame::Digest(part)) = a.poll_transmit(LinkId(2), max_bytes) {
            b.handle_digest(at_ms(2_000), LinkId(2), &part);
        }
        assert!(
            frames(&mut b, 2)
                .iter()
                .all(|frame| matches!(frame, Frame::Digest(_)))
        );
    }
}

#[test]
fn a_digest_on_a_link_that_is_not_chosen_yet_is_answered_once_it_is() {
    let mut topology = with_neighbours(1);
    topology.handle_digest(at_ms(2_000), LinkId(9), &[]);
    topology.handle_records(at_ms(2_000), LinkId(1), vec![record(7, 1, &[])]);
    topology.on_neighbour_switched(at_ms(2_000), id(1), LinkId(9));
    let hubs: Vec<u16> = sent(&mut topology, 9).iter().map(|sent| sent.0).collect();
    assert_eq!(hubs, [0, 1, 7]);
    topology.on_neighbour_down(at_ms(3_000), id(1));
    assert!(topology.outboxes.is_empty());
}

#[test]
fn links_that_only_speak_to_us_take_bounded_memory() {
    let mut topology = with_neighbours(1);
    for link in 100..1_000 {
        topology.handle_digest(at_ms(2_000), LinkId(link), &[]);
    }
    assert_eq!(topology.outboxes.len(), 1 + Topology::MAX_STRAYS);
    topology.on_link_closed(LinkId(999));
    topology.on_link_closed(LinkId(1));
    assert_eq!(topology.outboxes.len(), Topology::MAX_STRAYS);
    assert!(topology.outboxes.contains_key(&LinkId(1)));
}

#[test]
fn malformed_records_and_digests_change_nothing_but_a_count() {
    let mut topology = with_neighbours(1);
    let before: Vec<LinkRecord> = topology.records().cloned().collect();
    let many: Vec<(u16, u16)> = (100..613).map(|hub| (hub, 1)).collect();
    let bad = vec![
        record(7, 1, &many),
        record(7, 1, &[(9, 1), (8, 1)]),
        record(7, 1, &[(8, 1), (8, 1)]),
        record(7, 1, &[(7, 1)]),
        LinkRecord {
            urls: vec![String::new(); 5],
            ..record(7, 1, &[])
        },
        LinkRecord {
            urls: vec!["x".repeat(257)],
            ..record(7, 1, &[])
        },
        LinkRecord {
            region: "x".repeat(33),
            ..record(7, 1, &[])
        },
    ];
    let count = bad.len() as u64;
    topology.handle_records(at_ms(2_000), LinkId(1), bad);
    let entry = |hub| record(hub, 1, &[]).digest();
    topology.handle_digest(at_ms(2_000), LinkId(1), &[entry(5), entry(3)]);
    topology.handle_digest(at_ms(2_000), LinkId(1), &[entry(5)]);
    topology.handle_digest(at_ms(2_000), LinkId(1), &[entry(4)]);
    assert_eq!(topology.refused(), count + 2);
    assert!(topology.records().eq(&before));
}

#[test]
fn a_higher_life_of_ourselves_raises_our_epoch_above_it() {
    let mut topology = with_neighbours(1);
    let double = LinkRecord {
        incarnation: life(4, 9),
        ..record(0, 17, &[])
    };
    topology.handle_records(at_ms(2_000), LinkId(1), vec![double.clone()]);
    assert_eq!(topology.incarnation(), life(5, 1));
    assert_eq!(
        events(&mut topology),
        [TopologyEvent::OwnIncarnation(life(5, 1))]
    );
    assert_eq!(sent(&mut topology, 1), [(0, 1)]);
    assert_eq!(topology.record(id(0)).unwrap().incarnation, life(5, 1));
    // The copy is old now: it is answered, and raises nothing.
    topology.handle_records(at_ms(2_000), LinkId(1), vec![double]);
    topology.on_stale(at_ms(2_000), life(4, 9));
    assert_eq!(events(&mut topology), []);
    assert_eq!(sent(&mut topology, 1), [(0, 1)]);
    topology.on_stale(at_ms(2_000), life(8, 0));
    assert_eq!(topology.incarnation(), life(9, 1));
}

#[test]
fn a_higher_number_in_our_own_life_is_somebody_else_too() {
    let mut topology = with_neighbours(1);
    topology.handle_records(at_ms(2_000), LinkId(1), vec![record(0, 99, &[])]);
    assert_eq!(topology.incarnation(), life(1, 1));
}

#[test]
fn the_fourth_raise_within_a_minute_is_a_clash_and_said_once() {
    let mut topology = topology();
    for epoch in [10, 20, 30] {
        topology.on_stale(at_ms(u64::from(epoch)), life(epoch, 9));
    }
    assert_eq!(events(&mut topology).len(), 3);
    topology.on_stale(at_ms(60_009), life(40, 9));
    topology.on_stale(at_ms(60_009), life(50, 9));
    assert_eq!(events(&mut topology), [TopologyEvent::IdentityClash]);
    assert_eq!(topology.incarnation(), life(31, 1));
}

#[test]
fn raises_a_minute_apart_are_no_clash() {
    let mut topology = topology();
    for n in 1..=10_u32 {
        topology.on_stale(at_ms(u64::from(n) * 20_000), life(n * 10, 9));
    }
    assert!(!events(&mut topology).contains(&TopologyEvent::IdentityClash));
    topology.on_stale(at_ms(300_000), life(u32::MAX, 9));
    assert_eq!(
        events(&mut topology),
        [TopologyEvent::IdentityClash],
        "no epoch is left"
    );
}

#[test]
fn an_unreachable_hub_is_forgotten_after_a_quarter_of_an_hour_but_not_its_life() {
    let mut topology = with_neighbours(2);
    topology.on_neighbour_down(at_ms(2_000), id(1));
    events(&mut topology);
    let forgotten = at_ms(2_000 + 15 * 60_000);
    assert_eq!(topology.own.due(Duration::ZERO), None);
    assert_eq!(topology.poll_timeout(), Some(forgotten));
    topology.handle_timeout(forgotten);
    assert_eq!(
        events(&mut topology),
        [TopologyEvent::Forgotten { hub: id(1) }]
    );
    assert_eq!(topology.record(id(1)), None);
    assert_eq!(topology.known(id(1)), Some(life(0, 1)));
    frames(&mut topology, 2);
    // An earlier life is not taken in; whoever sent it hears which one is known.
    let earlier = LinkRecord {
        incarnation: life(0, 0),
        ..record(1, 80, &[(0, 1)])
    };
    topology.handle_records(forgotten, LinkId(2), vec![earlier]);
    assert_eq!(topology.record(id(1)), None);
    let frames = frames(&mut topology, 2);
    let [Frame::Records(answer)] = frames.as_slice() else {
        panic!("one frame expected, not {frames:?}");
    };
    assert_eq!(answer[0].version(), (life(0, 1), 0));
    assert!(answer[0].neighbours.is_empty());
}

#[test]
fn an_old_copy_of_a_forgotten_hub_goes_sooner_the_second_time() {
    let mut topology = with_neighbours(2);
    topology.on_neighbour_down(at_ms(2_000), id(1));
    let forgotten = at_ms(2_000 + 15 * 60_000);
    topology.handle_timeout(forgotten);
    topology.handle_records(forgotten, LinkId(2), vec![record(1, 1, &[(0, 1)])]);
    assert!(!topology.is_reachable(id(1)));
    topology.handle_timeout(forgotten + Duration::from_secs(59));
    assert!(topology.record(id(1)).is_some());
    topology.handle_timeout(forgotten + Duration::from_secs(60));
    assert_eq!(topology.record(id(1)), None);
}

#[test]
fn remembered_lives_are_bounded_and_the_oldest_goes_first() {
    let mut lives = Lives::new(3);
    for hub in 1..=3 {
        lives.remember(id(hub), life(0, hub.into()));
    }
    lives.remember(id(1), life(0, 0));
    lives.remember(id(4), life(0, 4));
    assert_eq!(
        lives.of(id(1)),
        Some(life(0, 1)),
        "kept as the highest, and as the latest"
    );
    assert_eq!(lives.of(id(2)), None);
    assert_eq!(lives.of(id(4)), Some(life(0, 4)));
    assert_eq!(lives.take(id(4)), Some(life(0, 4)));
    assert_eq!(lives.of(id(4)), None);
}

#[test]
fn a_full_database_drops_the_longest_unreachable_hub_and_never_a_reachable_one() {
    let config = TopologyConfig {
        max_hubs: 3,
        ..TopologyConfig::default()
    };
    let mut topology = Topology::new(id(0), life(0, 1), config);
    topology.on_neighbour_up(at_ms(0), id(1), life(0, 1), LinkId(1));
    topology.handle_records(at_ms(0), LinkId(1), vec![record(1, 1, &[(0, 1)])]);
    topology.handle_records(at_ms(1_000), LinkId(1), vec![record(2, 1, &[])]);
    topology.handle_records(at_ms(2_000), LinkId(1), vec![record(3, 1, &[])]);
    assert_eq!(topology.record(id(2)), None);
    let both = vec![record(1, 2, &[(0, 1), (3, 1)]), record(3, 2, &[(1, 1)])];
    topology.handle_records(at_ms(3_000), LinkId(1), both);
    assert!(topology.is_reachable(id(3)));
    topology.handle_records(at_ms(4_000), LinkId(1), vec![record(4, 1, &[(1, 1)])]);
    assert_eq!(topology.record(id(4)), None);
    assert_eq!(topology.refused(), 1);
}

#[test]
fn a_cost_follows_the_round_trip_in_steps_seldom_and_only_if_it_matters() {
    let mut topology = with_neighbours(1);
    let cost = |topology: &Topology| topology.neighbours[&id(1)].cost;
    let ms = Duration::from_millis;
    topology.on_rtt(at_ms(2_000), id(1), ms(4));
    assert_eq!(cost(&topology), 1);
    topology.on_rtt(at_ms(2_000), id(1), ms(37));
    assert_eq!(cost(&topology), 8);
    topology.on_rtt(at_ms(61_999), id(1), ms(90));
    assert_eq!(cost(&topology), 8, "a minute has not passed");
    topology.on_rtt(at_ms(62_000), id(1), ms(45));
    assert_eq!(cost(&topology), 8, "10 is 25 % above 8 and no more");
    topology.on_rtt(at_ms(62_000), id(1), ms(50));
    assert_eq!(cost(&topology), 11);
    topology.on_rtt(at_ms(130_000), id(1), Duration::from_secs(100_000));
    assert_eq!(cost(&topology), u16::MAX);
    topology.handle_timeout(at_ms(130_000));
    assert_eq!(
        topology.record(id(0)).unwrap().neighbours,
        [(id(1), u16::MAX)]
    );
}

#[test]
fn changes_elsewhere_share_a_run_and_changes_of_our_own_links_do_not_wait() {
    let mut topology = with_neighbours(1);
    let grow = |number, hub| {
        vec![
            record(1, number, &[(0, 1), (hub, 1)]),
            record(hub, 1, &[(1, 1)]),
        ]
    };
    topology.handle_records(at_ms(2_000), LinkId(1), grow(2, 5));
    // The first of the two made a run due at once; the second is taken in by it as well.
    assert!(topology.is_reachable(id(5)));
    topology.handle_records(at_ms(2_001), LinkId(1), grow(3, 6));
    assert!(!topology.is_reachable(id(6)));
    // Three hubs were known when the run became due: 10 ms and 3 x 0.1 ms after the last.
    assert_eq!(topology.poll_timeout(), Some(Moment(2_010_300)));
    topology.handle_timeout(Moment(2_010_300));
    assert!(topology.is_reachable(id(6)));
    assert!(!topology.is_reachable(id(5)));
    topology.on_neighbour_down(Moment(2_010_301), id(1));
    assert!(!topology.is_reachable(id(6)));
}

#[test]
fn routes_are_the_same_object_until_they_change() {
    let mut topology = with_neighbours(2);
    let routes = topology.routes();
    topology.handle_records(at_ms(2_000), LinkId(1), vec![record(7, 1, &[(8, 1)])]);
    assert!(Arc::ptr_eq(&routes, &topology.routes()));
    assert_eq!(
        events(&mut topology),
        [TopologyEvent::Learned { hub: id(7) }]
    );
    topology.on_neighbour_switched(at_ms(3_000), id(1), LinkId(9));
    assert_eq!(events(&mut topology), [TopologyEvent::RoutesChanged]);
    assert_eq!(topology.next_hop(id(1)), Some(LinkId(9)));
}

#[test]
fn a_draining_hub_says_so_and_others_hear_of_it() {
    let mut topology = with_neighbours(1);
    topology.set_draining(at_ms(2_000));
    assert!(topology.record(id(0)).unwrap().draining);
    assert_eq!(sent(&mut topology, 1), [(0, 3)]);
    let draining = LinkRecord {
        draining: true,
        ..record(1, 2, &[(0, 1)])
    };
    topology.handle_records(at_ms(2_000), LinkId(1), vec![draining]);
    assert_eq!(
        events(&mut topology),
        [TopologyEvent::Learned { hub: id(1) }]
    );
}

#[test]
fn a_link_is_redundant_if_its_neighbour_can_be_reached_without_it() {
    let mut topology = with_neighbours(3);
    let records = vec![
        record(1, 2, &[(0, 1), (2, 1)]),
        record(2, 2, &[(0, 1), (1, 1)]),
    ];
    topology.handle_records(at_ms(2_000), LinkId(1), records);
    assert!(topology.is_redundant(id(1)));
    assert!(topology.is_redundant(id(2)));
    assert!(!topology.is_redundant(id(3)));
    assert!(!topology.is_redundant(id(99)));
    assert_eq!(hops(&topology, 1), Some((1, 1)), "asking changes nothing");
}

#[test]
fn the_shortest_paths_are_those_of_a_plain_search_on_random_graphs() {
    let mut rng = super::super::rng::Rng::new(11);
    for _ in 0..50 {
        let hubs = 12;
        let mut links = BTreeSet::new();
        for _ in 0..20 {
            let (a, b) = (rng.below(hubs) as u16, rng.below(hubs) as u16);
            let one_way = rng.below(4) == 0;
            links.extend((a != b).then_some((a, b)));
            links.extend((a != b && !one_way).then_some((b, a)));
        }
        let cost = |a: u16, b: u16| 1 + (a * 5 + b * 3) % 4;
        let all: Vec<LinkRecord> = (0..hubs as u16)
            .map(|hub| {
                let listed = links.iter().filter(|link| link.0 == hub);
                let listed: Vec<_> = listed.map(|(_, to)| (*to, cost(hub, *to))).collect();
                record(hub, 1, &listed)
            })
            .collect();
        let mut graph = Graph::default();
        graph.rebuild(all.iter());
        let found: Vec<Option<u32>> = graph
            .shortest(id(0), &all[0].neighbours)
            .iter()
            .map(|path| path.map(|path| path.cost))
            .collect();
        assert_eq!(found, plain_search(hubs as u16, &links, cost));
    }
}

/// Bellman and Ford: relax every link that both ends list until nothing changes.
fn plain_search(
    hubs: u16,
    links: &BTreeSet<(u16, u16)>,
    cost: impl Fn(u16, u16) -> u16,
) -> Vec<Option<u32>> {
    let mut best = vec![None; hubs.into()];
    best[0] = Some(0);
    for _ in 0..hubs {
        for (a, b) in links.iter().filter(|(a, b)| links.contains(&(*b, *a))) {
            if let Some(known) = best[usize::from(*a)] {
                let way = known + u32::from(cost(*a, *b));
                let there = &mut best[usize::from(*b)];
                *there = Some(there.map_or(way, |best: u32| best.min(way)));
            }
        }
    }
    best[0] = None;
    best
}
