//! Incarnations that rise, hubs that are forgotten, and what is remembered of them.

use super::*;

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
}

#[test]
fn a_life_far_above_what_is_known_is_none() {
    let mut topology = with_neighbours(2);
    let jump = TopologyConfig::default().max_epoch_jump;
    let living = |hub: u16, epoch: u32| LinkRecord {
        incarnation: life(epoch, 9),
        ..record(hub, 1, &[])
    };
    for epoch in [jump + 1, 1 << 31, u32::MAX] {
        for hub in [0, 1, 7] {
            topology.handle_records(at_ms(2_000), LinkId(2), vec![living(hub, epoch)]);
        }
        topology.on_stale(at_ms(2_000), life(epoch, 9));
    }
    assert_eq!(topology.incarnation(), life(0, 1));
    assert_eq!(topology.known(id(1)), Some(life(0, 1)));
    assert_eq!(topology.known(id(7)), None);
    assert_eq!(topology.refused(), 9);
    assert_eq!(events(&mut topology), []);
    topology.handle_records(at_ms(2_000), LinkId(2), vec![living(7, jump)]);
    assert_eq!(topology.known(id(7)), Some(life(jump, 9)));
    let above = vec![living(7, jump + 1)];
    topology.handle_records(at_ms(2_000), LinkId(2), above);
    assert_eq!(
        topology.known(id(7)),
        Some(life(jump + 1, 9)),
        "its hub rises above"
    );
}

#[test]
fn the_life_of_a_hub_that_is_gone_keeps_nobody_out_for_good() {
    let mut topology = with_neighbours(2);
    let past = LinkRecord {
        incarnation: life(60_000, 9),
        ..record(7, 1, &[])
    };
    topology.handle_records(at_ms(2_000), LinkId(2), vec![past]);
    let minutes = |minutes: u64| at_ms(2_000 + minutes * 60_000);
    topology.handle_timeout(minutes(15));
    assert_eq!(topology.record(id(7)), None);
    topology.handle_timeout(minutes(29));
    assert_eq!(topology.known(id(7)), Some(life(60_000, 9)));
    topology.handle_timeout(minutes(30));
    assert_eq!(topology.known(id(7)), None);
    topology.handle_records(minutes(30), LinkId(2), vec![record(7, 1, &[])]);
    assert_eq!(topology.known(id(7)), Some(life(0, 1)));
}

#[test]
fn an_unreachable_hub_is_forgotten_after_a_quarter_of_an_hour_but_not_its_life() {
    let mut topology = with_neighbours(2);
    topology.on_neighbour_down(at_ms(2_000), id(1));
    events(&mut topology);
    let forgotten = at_ms(2_000 + 15 * 60_000);
    assert_eq!(topology.own.due(&topology.config), None);
    assert_eq!(topology.poll_timeout(), Some(forgotten));
    topology.handle_timeout(forgotten);
    assert_eq!(
        events(&mut topology),
        [TopologyEvent::Forgotten { hub: id(1) }]
    );
    assert_eq!(topology.record(id(1)), None);
    assert_eq!(topology.known(id(1)), Some(life(0, 1)));
    frames(&mut topology, 2);
    // An earlier incarnation is not taken in; whoever sent it hears which one is known.
    let earlier = LinkRecord {
        incarnation: life(0, 0),
        ..record(1, 80, &[(0, 1)])
    };
    topology.handle_records(forgotten, LinkId(2), vec![earlier]);
    assert_eq!(topology.record(id(1)), None);
    let frames = frames(&mut topology, 2);
    let [ControlFrame::Records(answer)] = frames.as_slice() else {
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
    let mut past = PastIncarnations::new(3);
    for hub in 1..=3 {
        past.remember(at_ms(0), id(hub), life(0, hub.into()));
    }
    past.remember(at_ms(1), id(1), life(0, 0));
    past.remember(at_ms(1), id(4), life(0, 4));
    assert_eq!(
        past.of(id(1)),
        Some(life(0, 1)),
        "kept as the highest, and as the latest"
    );
    assert_eq!(past.of(id(2)), None);
    assert_eq!(past.of(id(4)), Some(life(0, 4)));
    past.expire(at_ms(0));
    assert_eq!(past.of(id(3)), None, "it is the oldest");
    assert_eq!(past.take(id(4)), Some(life(0, 4)));
    assert_eq!(past.of(id(4)), None);
}

#[test]
fn a_full_database_drops_the_longest_unreachable_hub_and_never_a_reachable_one() {
    let config = TopologyConfig {
        max_hubs: 3,
        ..TopologyConfig::default()
    };
    let mut topology = Topology::new(id(0), life(0, 1), config);
    topology.on_link_up(LinkId(1), FLOODS);
    topology.on_neighbour_up(at_ms(0), id(1), life(0, 1), LinkId(1));
    topology.handle_records(at_ms(0), LinkId(1), vec![record(1, 1, &[(0, 1)])]);
    topology.handle_records(at_ms(1_000), LinkId(1), vec![record(2, 1, &[])]);
    topology.handle_records(at_ms(2_000), LinkId(1), vec![record(3, 1, &[])]);
    assert_eq!(
        topology.record(id(3)),
        None,
        "no better than the one before"
    );
    assert_eq!(topology.refused(), 1);
    let both = vec![record(1, 2, &[(0, 1), (3, 1)]), record(3, 2, &[(1, 1)])];
    topology.handle_records(at_ms(3_000), LinkId(1), both);
    assert_eq!(topology.record(id(2)), None);
    assert!(topology.is_reachable(id(3)));
    topology.handle_records(at_ms(4_000), LinkId(1), vec![record(4, 1, &[(1, 1)])]);
    assert_eq!(topology.record(id(4)), None);
    assert_eq!(topology.refused(), 2);
}

#[test]
fn hubs_that_nothing_leads_to_do_not_take_each_others_places_for_ever() {
    for version in [FLOODS, PULLS_SINCE] {
        let messages = messages_about_nobody(version);
        assert!(messages < 60, "{version}: {messages} messages about nobody");
    }
}

/// How many messages two hubs send each other in ten seconds that hear of other hubs that do not exist each.
fn messages_about_nobody(version: u16) -> usize {
    let config = TopologyConfig {
        max_hubs: 4,
        ..TopologyConfig::default()
    };
    let hubs = [0, 1].map(|me| Topology::new(id(me), life(0, 1), config.clone()));
    let [mut a, mut b] = hubs;
    for hub in [&mut a, &mut b] {
        hub.on_link_up(LinkId(1), version);
    }
    a.on_neighbour_up(at_ms(0), id(1), life(0, 1), LinkId(1));
    b.on_neighbour_up(at_ms(0), id(0), life(0, 1), LinkId(1));
    // Each hears of hubs that do not exist, other ones than the other.
    let made_up = |from| (from..from + 9).map(|hub| record(hub, 1, &[])).collect();
    a.handle_records(at_ms(0), LinkId(9), made_up(10));
    b.handle_records(at_ms(0), LinkId(9), made_up(30));
    let mut messages = 0;
    for ms in 1..10_000 {
        for turn in 0..2 {
            let (from, to) = match turn {
                0 => (&mut a, &mut b),
                _ => (&mut b, &mut a),
            };
            from.handle_timeout(at_ms(ms));
            for frame in frames(from, 1) {
                messages += 1;
                let now = at_ms(ms);
                match frame {
                    ControlFrame::Digest(lines) => to.handle_digest(now, LinkId(1), &lines),
                    ControlFrame::Records(records) => to.handle_records(now, LinkId(1), records),
                    ControlFrame::Announce(words) => to.handle_announce(now, LinkId(1), &words),
                    ControlFrame::Want(hubs) => to.handle_want(LinkId(1), &hubs),
                    ControlFrame::Summary(summary) => to.handle_summary(now, LinkId(1), &summary),
                    other => panic!("nobody sends {other:?}"),
                }
            }
        }
    }
    messages
}

#[test]
fn a_neighbour_always_has_room_and_others_are_asked_for_when_there_is_some() {
    let digest = |frame: &ControlFrame| matches!(frame, ControlFrame::Digest(_));
    asks_for_who_was_turned_away(FLOODS, digest);
    let compares = |frame: &ControlFrame| match frame {
        ControlFrame::Summary(summary) => summary.sums.len() == Summary::SHARES,
        _ => false,
    };
    asks_for_who_was_turned_away(PULLS_SINCE, compares);
}

fn asks_for_who_was_turned_away(version: u16, asks: impl Fn(&ControlFrame) -> bool) {
    let config = TopologyConfig {
        max_hubs: 4,
        ..TopologyConfig::default()
    };
    let mut topology = Topology::new(id(0), life(0, 1), config);
    topology.on_link_up(LinkId(1), FLOODS);
    topology.on_link_up(LinkId(2), version);
    // 1 fills the place with hubs that it makes up.
    topology.on_neighbour_up(at_ms(0), id(1), life(0, 1), LinkId(1));
    let made_up = |hub| record(hub, 1, &[(1, 1)]);
    let rogue = record(1, 1, &[(0, 1), (8, 1), (9, 1)]);
    topology.handle_records(at_ms(0), LinkId(1), vec![rogue, made_up(8), made_up(9)]);
    topology.handle_timeout(at_ms(500));
    assert!(topology.is_reachable(id(8)) && topology.is_reachable(id(9)));
    // 2 links up, and knows 3.
    topology.on_neighbour_up(at_ms(1_000), id(2), life(0, 1), LinkId(2));
    topology.handle_summary(at_ms(1_000), LinkId(2), &Summary::default());
    let honest = record(2, 1, &[(0, 1), (3, 1)]);
    topology.handle_records(
        at_ms(1_000),
        LinkId(2),
        vec![honest, record(3, 1, &[(2, 1)])],
    );
    topology.handle_timeout(at_ms(2_000));
    assert!(topology.is_reachable(id(2)), "a neighbour has room");
    assert!(!topology.is_reachable(id(3)), "another waits");
    frames(&mut topology, 2);
    // The rogue is gone, and with it what it made up.
    topology.on_neighbour_down(at_ms(3_000), id(1));
    topology.handle_timeout(at_ms(4_000));
    let asked = frames(&mut topology, 2);
    assert!(asked.iter().any(asks), "{asked:?}");
    topology.handle_records(at_ms(5_000), LinkId(2), vec![record(3, 1, &[(2, 1)])]);
    topology.handle_timeout(at_ms(6_000));
    assert!(topology.is_reachable(id(3)));
    frames(&mut topology, 2);
    topology.handle_timeout(at_ms(60_000));
    assert_eq!(sent(&mut topology, 2), [], "asked once");
}
