//! Which ways are taken, what they cost, and when they are looked for anew.

use std::collections::BTreeSet;

use super::*;
use crate::ids::{mix, stable_hash};

#[test]
fn a_link_counts_only_if_both_ends_list_it() {
    let mut topology = topology();
    topology.on_link_up(LinkId(1), FLOODS);
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
    topology.on_link_up(LinkId(9), FLOODS);
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
fn a_cost_follows_the_round_trip_in_steps_seldom_and_only_if_it_matters() {
    let mut topology = with_neighbours(1);
    let cost = |topology: &Topology| topology.neighbours[&id(1)].cost;
    let ms = Duration::from_millis;
    topology.on_rtt(at_ms(2_000), id(1), Duration::from_micros(900));
    assert_eq!(cost(&topology), 1);
    topology.on_rtt(at_ms(2_000), id(1), ms(37));
    assert_eq!(cost(&topology), 38);
    topology.on_rtt(at_ms(61_999), id(1), ms(90));
    assert_eq!(cost(&topology), 38, "a minute has not passed");
    topology.on_rtt(at_ms(62_000), id(1), ms(45));
    assert_eq!(cost(&topology), 38, "less than a quarter above 37 ms");
    topology.on_rtt(at_ms(62_000), id(1), ms(50));
    assert_eq!(cost(&topology), 51);
    topology.on_rtt(at_ms(130_000), id(1), Duration::from_secs(100_000));
    assert_eq!(cost(&topology), u16::MAX);
    topology.handle_timeout(at_ms(130_500));
    assert_eq!(
        topology.record(id(0)).unwrap().neighbours,
        [(id(1), u16::MAX)]
    );
}

#[test]
fn a_short_round_trip_that_varies_a_little_costs_what_it_first_did() {
    let mut topology = with_neighbours(1);
    let cost = |topology: &Topology| topology.neighbours[&id(1)].cost;
    topology.on_rtt(at_ms(2_000), id(1), Duration::from_millis(4));
    assert_eq!(cost(&topology), 5);
    topology.on_rtt(at_ms(70_000), id(1), Duration::from_millis(9));
    assert_eq!(cost(&topology), 5);
    // Neither does one of a neighbour that was away.
    topology.on_neighbour_down(at_ms(80_000), id(1));
    topology.on_neighbour_up(at_ms(81_000), id(1), life(0, 1), LinkId(1));
    topology.on_rtt(at_ms(81_000), id(1), Duration::from_millis(8));
    assert_eq!(cost(&topology), 5);
    topology.on_rtt(at_ms(82_000), id(1), Duration::from_millis(10));
    assert_eq!(cost(&topology), 11);
}

#[test]
fn the_loss_of_a_link_that_was_never_listed_makes_no_record_and_runs_no_paths() {
    let mut topology = with_neighbours(2);
    topology.on_link_up(LinkId(3), PULLS_SINCE);
    topology.on_rtt(at_ms(2_000), id(1), Duration::from_millis(40));
    topology.on_neighbour_up(at_ms(2_100), id(3), life(0, 1), LinkId(3));
    let before = (topology.tally(), topology.poll_timeout());
    assert_eq!(before.1, Some(at_ms(2_300)), "the first comparison");
    topology.on_neighbour_down(at_ms(2_200), id(3));
    assert_eq!(topology.tally(), before.0);
    // What waits is not said before its time.
    topology.handle_timeout(at_ms(2_499));
    assert_eq!(topology.tally().originated, before.0.originated);
    topology.handle_timeout(at_ms(2_500));
    assert_eq!(topology.tally().originated, before.0.originated + 1);
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
fn a_link_may_be_closed_only_if_another_way_leads_over_links_of_higher_rank() {
    let mut topology = with_neighbours(3);
    let records = vec![
        record(1, 2, &[(0, 1), (2, 1)]),
        record(2, 2, &[(0, 1), (1, 1)]),
    ];
    topology.handle_records(at_ms(2_000), LinkId(1), records);
    assert!(!topology.may_close(id(3), false), "it is the only one");
    assert!(!topology.may_close(id(99), false));
    // Hubs 0, 1 and 2 are linked with each other: the link of the lowest rank may be closed.
    let closed = [id(1), id(2)].map(|hub| topology.may_close(hub, false));
    let rank = |one: u16, other: u16| {
        let lot = |hub: u16| stable_hash(&id(hub).0);
        mix(lot(one) ^ lot(other))
    };
    let lowest = rank(0, 1).min(rank(0, 2)).min(rank(1, 2));
    assert_eq!(rank(0, 1), 0x5a21_4442_776f_282b, "all releases agree");
    assert_eq!(closed, [rank(0, 1) == lowest, rank(0, 2) == lowest]);
    let any_way = [1, 2, 3].map(|hub| topology.may_close(id(hub), true));
    assert_eq!(any_way, [true, true, false], "a hub that lets nobody in");
}

/// Without the link of a hub with another, at both ends.
fn without(all: &[LinkRecord], one: HubId, other: HubId) -> Vec<LinkRecord> {
    let mut all = all.to_vec();
    for record in &mut all {
        let here = record.hub;
        let ends = |there: HubId| [(one, other), (other, one)].contains(&(here, there));
        record.neighbours.retain(|(there, _)| !ends(*there));
    }
    all
}

#[test]
fn hubs_that_close_what_they_may_leave_trees_however_old_their_views_are() {
    let mut rng = crate::rng::Rng::new(13);
    let nobody = id(99);
    for _ in 0..100 {
        // The graph of each moment. The last is that of now.
        let mut graphs = vec![drawn(&mut rng)];
        let mut graph = Graph::default();
        graph.rebuild(graphs[0].iter());
        let parts = graph.parts(nobody);
        let mut idle = 0;
        while idle < 200 {
            let now = graphs.last().unwrap().clone();
            let hub = &now[rng.below(12) as usize];
            // After a while, every hub has heard of everything.
            let seen = if idle < 100 {
                rng.below(graphs.len() as u64) as usize
            } else {
                graphs.len() - 1
            };
            graph.rebuild(graphs[seen].iter());
            let mut linked = hub.neighbours.iter();
            let closed =
                linked.find(|(other, _)| graph.reaches_by_higher(hub.hub, &hub.neighbours, *other));
            idle += 1;
            if let Some((other, _)) = closed {
                graphs.push(without(&now, hub.hub, *other));
                idle = 0;
            }
        }
        graph.rebuild(graphs.last().unwrap().iter());
        assert_eq!(graph.parts(nobody), parts);
        let trees: BTreeSet<&u32> = parts.iter().collect();
        assert_eq!(graph.counting().len() / 2, parts.len() - trees.len());
    }
}

#[test]
fn the_shortest_paths_are_those_of_a_plain_search_on_random_graphs() {
    let mut rng = crate::rng::Rng::new(11);
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

/// A graph of twelve hubs, some of whose links one end alone lists.
fn drawn(rng: &mut crate::rng::Rng) -> Vec<LinkRecord> {
    let hubs = 12;
    let mut links = vec![BTreeSet::new(); hubs];
    for _ in 0..16 {
        let (a, b) = (rng.below(12) as usize, rng.below(12) as usize);
        if a != b {
            links[a].insert(b as u16);
            if rng.below(4) > 0 {
                links[b].insert(a as u16);
            }
        }
    }
    let all = links.iter().enumerate().map(|(hub, to)| {
        let listed: Vec<_> = to.iter().map(|to| (*to, 1)).collect();
        record(hub as u16, 1, &listed)
    });
    all.collect()
}

/// The lowest hub that each reaches without hub 0, by trying all links over and over.
fn plain_parts(all: &[LinkRecord]) -> Vec<u32> {
    let lists = |a: usize, b: usize| {
        let found = all[a].neighbours.iter();
        found
            .clone()
            .any(|(hub, _)| usize::from(number_of(*hub)) == b)
    };
    let mut parts: Vec<u32> = (0..all.len() as u32).collect();
    for _ in 0..all.len() {
        for a in 1..all.len() {
            for b in 1..all.len() {
                if lists(a, b) && lists(b, a) {
                    parts[a] = parts[a].min(parts[b]);
                }
            }
        }
    }
    parts
}

#[test]
fn records_taken_in_one_by_one_give_the_graph_that_they_give_at_once() {
    let mut rng = crate::rng::Rng::new(12);
    let (mut kept, mut all) = (Graph::default(), drawn(&mut rng));
    kept.rebuild(all.iter());
    for _ in 0..100 {
        let drawn = drawn(&mut rng);
        for hub in 0..4 {
            let hub = (hub + rng.below(9)) as usize;
            let links = |all: &[LinkRecord]| {
                let mut graph = Graph::default();
                graph.rebuild(all.iter());
                graph.counting()
            };
            let before = links(&all);
            all[hub] = drawn[hub].clone();
            let matters = kept.replace(&all[hub]);
            let after = links(&all);
            assert_eq!(matters, before != after);
            assert_eq!(kept.counting(), after);
        }
        assert_eq!(kept.parts(id(0)), plain_parts(&all));
        let firsts = all[0].neighbours.clone();
        let reached = kept.shortest(id(0), &firsts).to_vec();
        for hub in 1..12 {
            let reaches = kept.reaches(id(0), &firsts, id(hub));
            assert_eq!(reaches, reached[usize::from(hub)].is_some());
        }
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
