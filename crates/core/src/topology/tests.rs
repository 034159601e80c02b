//! What the link-state database promises, one sentence a test: here what this hub says of itself.

mod comparing;
mod flooding;
mod past_incarnations;
mod pulling;
mod routing;

use std::time::Duration;

use super::*;
use crate::frames::{PULLS_SINCE, Summary};

/// A version whose hubs know digests, and are given every record.
const FLOODS: u16 = PULLS_SINCE - 1;

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

fn frames(topology: &mut Topology, link: u64) -> Vec<ControlFrame> {
    std::iter::from_fn(|| topology.poll_transmit(LinkId(link), 16_384)).collect()
}

/// The records that go out on this link now, as (hub, number).
fn sent(topology: &mut Topology, link: u64) -> Vec<(u16, u64)> {
    let mut sent = Vec::new();
    for frame in frames(topology, link) {
        if let ControlFrame::Records(records) = frame {
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

/// A hub 0 with neighbours 1..=n of the version before, each on the link of its number, at rest.
fn with_neighbours(n: u16) -> Topology {
    with_neighbours_of(n, FLOODS)
}

/// The same, of a version of the link protocol.
fn with_neighbours_of(n: u16, version: u16) -> Topology {
    let mut topology = topology();
    for hub in 1..=n {
        let link = u64::from(hub);
        topology.on_link_up(LinkId(link), version);
        topology.on_neighbour_up(at_ms(0), id(hub), life(0, 1), LinkId(link));
        if version != FLOODS {
            topology.handle_summary(at_ms(0), LinkId(link), &Summary::default());
        }
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
    (1..=4).for_each(|link| topology.on_link_up(LinkId(link), FLOODS));
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
    topology.handle_timeout(at_ms(1_300));
    assert_eq!(number(&topology), 3);
    assert_eq!(topology.poll_timeout(), None);
}

#[test]
fn a_link_waits_for_the_paths_that_may_show_that_it_is_not_the_only_one() {
    let way = || vec![record(1, 2, &[(0, 1), (3, 1)]), record(3, 1, &[(1, 1)])];
    for reachable in [true, false] {
        let mut topology = with_neighbours(2);
        topology.on_link_up(LinkId(3), FLOODS);
        topology.handle_records(at_ms(5_000), LinkId(2), vec![record(2, 2, &[])]);
        if reachable {
            topology.handle_records(at_ms(5_001), LinkId(1), way());
        } else {
            let elsewhere = vec![record(4, 1, &[(5, 1)]), record(5, 1, &[(4, 1)])];
            topology.handle_records(at_ms(5_001), LinkId(1), elsewhere);
        }
        // The paths of the records above are not computed yet.
        topology.on_neighbour_up(at_ms(5_002), id(3), life(0, 1), LinkId(3));
        assert!(!topology.lists(id(3)));
        topology.handle_timeout(at_ms(5_050));
        assert_eq!(topology.lists(id(3)), !reachable);
    }
}

#[test]
fn records_that_follow_on_each_other_grow_apart_and_a_pause_ends_that() {
    let mut topology = with_neighbours(1);
    let mut made = |from: u64, to: u64| -> Vec<u64> {
        // What the last record has not said yet is said now.
        topology.handle_timeout(at_ms(from - 4_000));
        let mut made = Vec::new();
        for ms in (from..to).step_by(10) {
            let before = topology.record(id(0)).unwrap().number;
            match ms / 10 % 2 {
                0 => topology.on_neighbour_down(at_ms(ms), id(1)),
                _ => topology.on_neighbour_up(at_ms(ms), id(1), life(0, 1), LinkId(1)),
            }
            if topology.record(id(0)).unwrap().number > before {
                made.push(ms - from);
            }
        }
        made
    };
    let marks = [0, 110, 320, 730, 1_540, 2_550, 3_560];
    assert_eq!(made(10_000, 14_000), marks);
    assert_eq!(made(20_000, 24_000), marks, "after a pause");
}

#[test]
fn a_further_link_waits_for_more_of_its_kind_and_the_loss_of_one_does_not() {
    let mut topology = with_neighbours(2);
    topology.on_link_up(LinkId(3), FLOODS);
    let way = vec![record(1, 2, &[(0, 1), (3, 1)]), record(3, 1, &[(1, 1)])];
    topology.handle_records(at_ms(5_000), LinkId(1), way);
    assert!(topology.is_reachable(id(3)));
    topology.on_neighbour_up(at_ms(6_000), id(3), life(0, 1), LinkId(3));
    assert_eq!(topology.poll_timeout(), Some(at_ms(6_500)));
    // The way that hub 3 was in reach by is lost: the link is needed now.
    topology.handle_records(at_ms(6_100), LinkId(1), vec![record(1, 3, &[(0, 1)])]);
    assert!(topology.lists(id(3)));
    topology.on_neighbour_down(at_ms(9_000), id(2));
    assert!(!topology.lists(id(2)));
}

#[test]
fn a_link_that_is_not_the_only_one_any_more_at_the_mark_waits_for_more_of_its_kind() {
    for returns in [true, false] {
        let mut topology = with_neighbours(2);
        topology.on_neighbour_down(at_ms(5_000), id(2));
        let number = topology.record(id(0)).unwrap().number;
        topology.on_link_up(LinkId(3), FLOODS);
        topology.on_neighbour_up(at_ms(5_010), id(3), life(0, 1), LinkId(3));
        assert_eq!(topology.poll_timeout(), Some(at_ms(5_100)));
        if returns {
            let way = vec![record(1, 2, &[(0, 1), (3, 1)]), record(3, 1, &[(1, 1)])];
            topology.handle_records(at_ms(5_050), LinkId(1), way);
            assert!(topology.is_reachable(id(3)));
        }
        topology.handle_timeout(at_ms(5_100));
        assert_eq!(topology.lists(id(3)), !returns);
        topology.handle_timeout(at_ms(5_509));
        let made = topology.record(id(0)).unwrap().number - number;
        assert_eq!(made, u64::from(!returns));
        topology.handle_timeout(at_ms(5_510));
        assert!(topology.lists(id(3)));
    }
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
fn links_that_come_and_go_beside_a_neighbours_leave_nothing_behind() {
    for version in [FLOODS, PULLS_SINCE] {
        let mut topology = with_neighbours_of(2, version);
        for link in 10..200 {
            topology.on_link_up(LinkId(link), version);
            let before = if link == 10 { 1 } else { link - 1 };
            topology.on_link_closed(LinkId(before));
            topology.on_neighbour_switched(at_ms(1_000 + link), id(1), LinkId(link));
            frames(&mut topology, link);
        }
        assert_eq!(topology.record_queues.len(), 2);
        topology.on_link_closed(LinkId(199));
        topology.on_neighbour_down(at_ms(2_000), id(1));
        assert_eq!(topology.record_queues.len(), 1);
    }
}
