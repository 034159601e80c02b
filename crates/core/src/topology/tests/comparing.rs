//! Greetings, and how two neighbours find out that they hold different records.

use super::*;

/// Hub `hub`, which knows hubs 20 to 39 and was told all by somebody.
fn knowing(hub: u16) -> Topology {
    let mut topology = Topology::new(id(hub), life(0, 1), TopologyConfig::default());
    let known = (20..40).map(|other| record(other, 1, &[])).collect();
    topology.handle_records(at_ms(0), LinkId(50), known);
    topology.start = comparing::Start::Told;
    topology
}

/// Lets both speak on link 1 until neither has more to say, and all that is due by `until` happen; gives the frames.
fn converse(a: &mut Topology, b: &mut Topology, from: u64, until: u64) -> Vec<ControlFrame> {
    let mut said = Vec::new();
    for ms in from..until {
        let now = at_ms(ms);
        a.handle_timeout(now);
        b.handle_timeout(now);
        while let Some(frame) = a.poll_transmit(LinkId(1), 16_384) {
            hand(b, now, &frame);
            said.push(frame);
        }
        while let Some(frame) = b.poll_transmit(LinkId(1), 16_384) {
            hand(a, now, &frame);
            said.push(frame);
        }
    }
    said
}

fn hand(to: &mut Topology, now: Moment, frame: &ControlFrame) {
    match frame.clone() {
        ControlFrame::Summary(summary) => to.handle_summary(now, LinkId(1), &summary),
        ControlFrame::Announce(words) => to.handle_announce(now, LinkId(1), &words),
        ControlFrame::Want(hubs) => to.handle_want(LinkId(1), &hubs),
        ControlFrame::Records(records) => to.handle_records(now, LinkId(1), records),
        other => panic!("nobody sends {other:?}"),
    }
}

fn meet(a: &mut Topology, b: &mut Topology, ms: u64) {
    a.on_neighbour_up(at_ms(ms), b.me, life(0, 1), LinkId(1));
    b.on_neighbour_up(at_ms(ms), a.me, life(0, 1), LinkId(1));
}

fn records_in(frames: &[ControlFrame]) -> usize {
    let records = frames.iter().map(|frame| match frame {
        ControlFrame::Records(records) => records.len(),
        _ => 0,
    });
    records.sum()
}

#[test]
fn a_link_is_listed_once_its_other_end_has_greeted_us() {
    let mut topology = topology();
    topology.on_neighbour_up(at_ms(1_000), id(1), life(0, 1), LinkId(1));
    topology.handle_timeout(at_ms(5_000));
    assert!(!topology.lists(id(1)));
    topology.handle_summary(at_ms(5_000), LinkId(1), &Summary::default());
    assert!(topology.lists(id(1)));
}

#[test]
fn a_greeting_by_a_link_that_is_chosen_later_counts() {
    let mut topology = topology();
    topology.handle_summary(at_ms(1_000), LinkId(1), &Summary::default());
    topology.on_neighbour_up(at_ms(1_010), id(1), life(0, 1), LinkId(1));
    assert!(topology.lists(id(1)));
}

#[test]
fn who_knows_nobody_is_told_all_and_who_knows_somebody_is_not() {
    let (mut knows, mut new) = (knowing(1), topology());
    meet(&mut knows, &mut new, 1_000);
    let said = converse(&mut knows, &mut new, 1_000, 1_100);
    assert!(new.records().eq(knows.records()));
    assert!(said.contains(&ControlFrame::Summary(Summary {
        wants_all: true,
        ..Summary::default()
    })));
    // Its next neighbour is not asked for all again.
    new.on_neighbour_up(at_ms(2_000), id(2), life(0, 1), LinkId(2));
    let greeting = ControlFrame::Summary(Summary::default());
    assert_eq!(new.poll_transmit(LinkId(2), 16_384), Some(greeting));
}

#[test]
fn all_is_asked_of_another_if_the_first_is_lost_before_it_told() {
    let mut topology = topology();
    for (hub, link) in [(1, 1), (2, 2)] {
        topology.on_neighbour_up(at_ms(0), id(hub), life(0, 1), LinkId(link));
    }
    frames(&mut topology, 2);
    topology.on_neighbour_down(at_ms(100), id(1));
    let asked = ControlFrame::Summary(Summary {
        wants_all: true,
        ..Summary::default()
    });
    assert_eq!(topology.poll_transmit(LinkId(2), 16_384), Some(asked));
}

#[test]
fn records_from_who_sends_us_on_are_not_all_there_are() {
    let mut topology = topology();
    topology.on_neighbour_up(at_ms(0), id(1), life(0, 1), LinkId(1));
    topology.handle_records(at_ms(50), LinkId(1), vec![record(7, 1, &[])]);
    topology.on_neighbour_down(at_ms(60), id(1));
    topology.on_neighbour_up(at_ms(100), id(7), life(0, 1), LinkId(2));
    let asked = ControlFrame::Summary(Summary {
        wants_all: true,
        ..Summary::default()
    });
    assert_eq!(topology.poll_transmit(LinkId(2), 16_384), Some(asked));
}

#[test]
fn two_parts_that_a_link_joins_come_to_hold_the_same() {
    let (mut a, mut b) = (knowing(0), knowing(1));
    a.handle_records(
        at_ms(0),
        LinkId(50),
        vec![record(25, 2, &[]), record(60, 1, &[])],
    );
    b.handle_records(
        at_ms(0),
        LinkId(50),
        vec![record(26, 3, &[]), record(61, 1, &[])],
    );
    meet(&mut a, &mut b, 1_000);
    let said = converse(&mut a, &mut b, 1_000, 1_600);
    assert!(a.records().eq(b.records()));
    // Two of each side, and the own records of both; nothing that both had.
    assert!(records_in(&said) <= 8, "{}", records_in(&said));
}

#[test]
fn a_difference_between_two_that_reach_each_other_by_others_as_well_is_found() {
    let (mut a, mut b) = (knowing(0), knowing(1));
    // Both reach each other, and hub 7, by hub 30.
    let ways = || {
        vec![
            record(30, 2, &[(0, 1), (1, 1), (7, 1)]),
            record(7, 1, &[(30, 1)]),
        ]
    };
    for (topology, other) in [(&mut a, 1), (&mut b, 0)] {
        topology.on_link_up(LinkId(9), FLOODS);
        topology.on_neighbour_up(at_ms(0), id(30), life(0, 1), LinkId(9));
        topology.handle_records(at_ms(0), LinkId(9), ways());
        topology.handle_records(at_ms(0), LinkId(9), vec![record(other, 1, &[(30, 1)])]);
        topology.handle_timeout(at_ms(500));
    }
    assert!(a.is_reachable(id(1)) && a.is_reachable(id(7)));
    meet(&mut a, &mut b, 1_000);
    converse(&mut a, &mut b, 1_000, 2_800);
    // It comes to one of them alone, and does not get further by any tree.
    let newer = vec![record(7, 2, &[(30, 1)])];
    b.handle_records(at_ms(2_800), LinkId(9), newer);
    for queue in b.record_queues.values_mut() {
        queue.has(&id(7));
    }
    converse(&mut a, &mut b, 2_800, 2_801 + 46_000);
    assert_eq!(a.record(id(7)), b.record(id(7)));
    assert_eq!(b.record(id(7)).unwrap().number, 2);
    assert!(a.tally().differed + b.tally().differed > 0);
}

#[test]
fn summaries_of_another_make_are_not_compared() {
    let mut topology = with_neighbours_of(1, PULLS_SINCE);
    let summary = Summary {
        sums: vec![1; Summary::SHARES + 1],
        ..Summary::default()
    };
    topology.handle_summary(at_ms(2_000), LinkId(1), &summary);
    assert_eq!(frames(&mut topology, 1), []);
    assert_eq!(topology.tally().differed, 0);
}

#[test]
fn who_asks_for_all_gets_each_record_once_and_costs_what_is_sent() {
    let mut a = Topology::new(id(1), life(0, 1), TopologyConfig::default());
    let known = (20..2_020).map(|other| record(other, 1, &[])).collect();
    a.handle_records(at_ms(0), LinkId(50), known);
    let wants_all = Summary {
        wants_all: true,
        ..Summary::default()
    };
    for _ in 0..1_000 {
        a.handle_summary(at_ms(1), LinkId(1), &wants_all);
    }
    assert!(
        a.record_queues[&LinkId(1)].due.is_empty(),
        "nothing was gone through"
    );
    assert!(a.has_pending(LinkId(1)));
    let all: Vec<(u16, u64)> = (20..2_020).map(|hub| (hub, 1)).collect();
    let given = sent(&mut a, 1);
    assert_eq!(
        given
            .iter()
            .filter(|(hub, _)| *hub != 1)
            .copied()
            .collect::<Vec<_>>(),
        all
    );
    assert!(!a.has_pending(LinkId(1)));
}
