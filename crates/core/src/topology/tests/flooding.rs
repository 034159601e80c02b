//! What goes out on links to hubs of the version before, and what is made of what comes in.

use super::*;

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
    let size = record_queue::record_bytes(&record(10, 1, &[]));
    let Some(ControlFrame::Records(few)) = topology.poll_transmit(LinkId(2), size * 4) else {
        panic!("records expected");
    };
    assert_eq!(few.len(), 3);
    let Some(ControlFrame::Records(one)) = topology.poll_transmit(LinkId(2), 1) else {
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
                Some(ControlFrame::Digest(part)) => topology.handle_digest(now, LinkId(1), &part),
                Some(ControlFrame::Records(records)) => {
                    topology.handle_records(now, LinkId(1), records)
                }
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
        for link in [LinkId(1), LinkId(2)] {
            a.on_link_up(link, FLOODS);
            b.on_link_up(link, FLOODS);
        }
        a.on_neighbour_up(at_ms(1_000), id(1), life(0, 1), LinkId(1));
        b.on_neighbour_up(at_ms(1_000), id(0), life(0, 1), LinkId(1));
        exchange(&mut a, &mut b, at_ms(1_000), max_bytes);
        assert!(a.records().eq(b.records()), "frames of {max_bytes} bytes");
        assert_eq!(a.records().count(), 32);
        assert_eq!(a.record(id(26)).unwrap().number, 9);
        // What both had before does not travel again.
        a.on_neighbour_switched(at_ms(2_000), id(1), LinkId(2));
        b.on_neighbour_switched(at_ms(2_000), id(0), LinkId(2));
        while let Some(ControlFrame::Digest(part)) = a.poll_transmit(LinkId(2), max_bytes) {
            b.handle_digest(at_ms(2_000), LinkId(2), &part);
        }
        assert!(
            frames(&mut b, 2)
                .iter()
                .all(|frame| matches!(frame, ControlFrame::Digest(_)))
        );
    }
}

#[test]
fn a_digest_on_a_link_that_is_not_chosen_yet_is_answered_once_it_is() {
    let mut topology = with_neighbours(1);
    topology.on_link_up(LinkId(9), FLOODS);
    topology.handle_digest(at_ms(2_000), LinkId(9), &[]);
    topology.handle_records(at_ms(2_000), LinkId(1), vec![record(7, 1, &[])]);
    topology.on_neighbour_switched(at_ms(2_000), id(1), LinkId(9));
    let hubs: Vec<u16> = sent(&mut topology, 9).iter().map(|sent| sent.0).collect();
    assert_eq!(hubs, [0, 1, 7]);
    topology.on_neighbour_down(at_ms(3_000), id(1));
    assert!(topology.record_queues.is_empty());
}

#[test]
fn links_that_only_speak_to_us_take_bounded_memory() {
    let mut topology = with_neighbours(1);
    for link in 100..1_000 {
        topology.handle_digest(at_ms(2_000), LinkId(link), &[]);
    }
    assert_eq!(topology.record_queues.len(), 1 + Topology::MAX_STRAYS);
    topology.on_link_closed(LinkId(999));
    topology.on_link_closed(LinkId(1));
    assert_eq!(topology.record_queues.len(), Topology::MAX_STRAYS);
    assert!(topology.record_queues.contains_key(&LinkId(1)));
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
