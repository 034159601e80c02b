//! What goes out on links whose other end asks for what it lacks.

use super::*;

/// Neighbours 1 to 3, of which hub 1 leads to hub 7; hub 2 takes the claims of hub 7 from us.
fn on_the_way_to_seven() -> Topology {
    let mut topology = with_neighbours_of(3, PULLS_SINCE);
    let way = vec![record(1, 2, &[(0, 1), (7, 1)]), record(7, 1, &[(1, 1)])];
    topology.handle_records(at_ms(2_000), LinkId(1), way);
    topology.on_subscribed(LinkId(2), id(7));
    // By then the two ends of each link have compared what they hold.
    topology.handle_timeout(at_ms(2_900));
    for link in 1..=3 {
        frames(&mut topology, link);
    }
    topology
}

fn word(hub: u16, number: u64) -> ControlFrame {
    ControlFrame::Announce(vec![record(hub, number, &[]).digest()])
}

#[test]
fn a_record_goes_by_the_tree_of_its_hub_and_word_of_it_to_others_a_moment_later() {
    let mut topology = on_the_way_to_seven();
    topology.handle_records(at_ms(3_000), LinkId(1), vec![record(7, 2, &[(1, 1)])]);
    assert_eq!(frames(&mut topology, 1), []);
    assert_eq!(sent(&mut topology, 2), [(7, 2)]);
    assert_eq!(frames(&mut topology, 3), []);
    topology.handle_timeout(at_ms(3_049));
    assert_eq!(frames(&mut topology, 3), []);
    topology.handle_timeout(at_ms(3_100));
    assert_eq!(frames(&mut topology, 3), [word(7, 2)]);
    assert_eq!(frames(&mut topology, 2), []);
}

#[test]
fn no_word_is_given_to_who_gave_word_meanwhile() {
    let mut topology = on_the_way_to_seven();
    topology.handle_records(at_ms(3_000), LinkId(1), vec![record(7, 2, &[(1, 1)])]);
    topology.handle_announce(at_ms(3_010), LinkId(3), &[record(7, 2, &[]).digest()]);
    topology.handle_timeout(at_ms(3_200));
    assert_eq!(frames(&mut topology, 3), []);
}

#[test]
fn who_becomes_a_child_is_given_what_it_was_to_hear_of() {
    let mut topology = on_the_way_to_seven();
    topology.handle_records(at_ms(3_000), LinkId(1), vec![record(7, 2, &[(1, 1)])]);
    topology.on_subscribed(LinkId(3), id(7));
    topology.on_unsubscribed(LinkId(2), &id(7));
    assert_eq!(sent(&mut topology, 3), [(7, 2)]);
    topology.handle_records(at_ms(4_000), LinkId(1), vec![record(7, 3, &[(1, 1)])]);
    topology.handle_timeout(at_ms(4_200));
    assert_eq!(sent(&mut topology, 3), [(7, 3)]);
    frames(&mut topology, 2);
    // Nothing is kept of hubs that nobody knows.
    topology.on_subscribed(LinkId(3), id(99));
    assert!(
        !topology.record_queues[&LinkId(3)]
            .children
            .contains(&id(99))
    );
}

#[test]
fn who_hears_of_a_newer_record_asks_one_and_another_if_that_does_not_answer() {
    let mut topology = on_the_way_to_seven();
    let newer = [record(7, 5, &[]).digest()];
    for link in 1..=3 {
        topology.handle_announce(at_ms(3_000), LinkId(link), &newer);
    }
    assert_eq!(frames(&mut topology, 1), [ControlFrame::Want(vec![id(7)])]);
    assert_eq!(frames(&mut topology, 2), []);
    assert_eq!(topology.poll_timeout(), Some(at_ms(3_300)));
    topology.handle_timeout(at_ms(3_300));
    let second: Vec<ControlFrame> = [2, 3]
        .iter()
        .flat_map(|link| frames(&mut topology, *link))
        .collect();
    assert!(second.contains(&ControlFrame::Want(vec![id(7)])));
    // The last that has it is asked at once when the link of the second is lost.
    topology.on_neighbour_down(at_ms(3_310), id(2));
    topology.handle_timeout(at_ms(3_310));
    assert!(frames(&mut topology, 3).contains(&ControlFrame::Want(vec![id(7)])));
    topology.handle_records(at_ms(3_320), LinkId(3), vec![record(7, 5, &[(1, 1)])]);
    topology.handle_timeout(at_ms(9_000));
    assert_eq!(topology.pulls.due, None);
}

#[test]
fn who_sends_other_records_meanwhile_is_waited_for_but_not_for_ever() {
    let mut topology = on_the_way_to_seven();
    for link in [2, 3] {
        topology.handle_announce(at_ms(3_000), LinkId(link), &[record(7, 5, &[]).digest()]);
    }
    frames(&mut topology, 2);
    let mut asked = None;
    for turn in 1..=20 {
        let at = at_ms(3_000 + turn * 100);
        topology.handle_records(at, LinkId(2), vec![record(2, 2 + turn, &[(0, 1)])]);
        topology.handle_timeout(at);
        let said = frames(&mut topology, 3);
        if said.contains(&ControlFrame::Want(vec![id(7)])) {
            asked = asked.or(Some(at));
        }
    }
    assert_eq!(asked, Some(at_ms(4_200)));
}

#[test]
fn the_nearest_that_told_of_a_record_is_known_once_another_has_sent_it() {
    let mut topology = on_the_way_to_seven();
    let version = (life(0, 1), 5);
    for (link, reach) in [(3, Reach::Loopback), (2, Reach::Global)] {
        topology.handle_announce(at_ms(3_000), LinkId(link), &[record(7, 5, &[]).digest()]);
        topology.note_tellers(&[(id(7), version)], reach);
    }
    let moved = LinkRecord {
        urls: vec!["ws://elsewhere".into()],
        ..record(7, 5, &[(1, 1)])
    };
    topology.handle_records(at_ms(3_010), LinkId(2), vec![moved.clone()]);
    topology.note_tellers(&[(id(7), version)], Reach::Global);
    assert_eq!(topology.told_by(id(7)), Reach::Loopback);
    // Who told of an earlier version may not have told of these addresses.
    let word = [record(7, 6, &[]).digest()];
    topology.handle_announce(at_ms(4_000), LinkId(3), &word);
    topology.note_tellers(&[(id(7), (life(0, 1), 6))], Reach::Loopback);
    topology.handle_records(at_ms(4_010), LinkId(2), vec![record(7, 7, &[(1, 1)])]);
    topology.note_tellers(&[(id(7), (life(0, 1), 7))], Reach::Global);
    assert_eq!(topology.told_by(id(7)), Reach::Global);
}

#[test]
fn word_of_ever_newer_versions_does_not_keep_another_from_being_asked() {
    let mut topology = on_the_way_to_seven();
    topology.handle_announce(at_ms(3_000), LinkId(2), &[record(7, 2, &[]).digest()]);
    for number in 3..9 {
        let at = at_ms(3_000 + number * 30);
        topology.handle_announce(at, LinkId(3), &[record(7, number, &[]).digest()]);
    }
    frames(&mut topology, 2);
    topology.handle_timeout(at_ms(3_300));
    assert!(frames(&mut topology, 2).contains(&ControlFrame::Want(vec![id(7)])));
}

#[test]
fn two_that_tell_of_ever_newer_versions_do_not_keep_a_third_from_being_asked() {
    let mut topology = on_the_way_to_seven();
    let mut number = 2;
    let mut tell = |topology: &mut Topology, ms: u64, link: u64| {
        let word = [record(7, number, &[]).digest()];
        topology.handle_announce(at_ms(ms), LinkId(link), &word);
        number += 1;
    };
    for link in [1, 2, 3] {
        tell(&mut topology, 3_000, link);
    }
    let mut asked = Vec::new();
    for at in (3_300..4_500).step_by(300) {
        topology.handle_timeout(at_ms(at));
        asked.extend((1..=3).filter(|link| {
            let wants = ControlFrame::Want(vec![id(7)]);
            frames(&mut topology, *link).contains(&wants)
        }));
        for liar in [1, 3] {
            tell(&mut topology, at + 1, liar);
        }
    }
    assert!(asked.contains(&2), "{asked:?}");
}

#[test]
fn a_request_that_could_not_go_out_is_not_dropped_where_nobody_else_has_the_record() {
    let mut topology = on_the_way_to_seven();
    topology.handle_announce(at_ms(3_000), LinkId(3), &[record(7, 2, &[]).digest()]);
    topology.handle_timeout(at_ms(3_300));
    topology.handle_timeout(at_ms(5_000));
    assert!(frames(&mut topology, 3).contains(&ControlFrame::Want(vec![id(7)])));
    // Once it is out, an answer that does not come is waited for no longer than others.
    topology.handle_timeout(at_ms(5_300));
    assert_eq!(topology.pulls.due, None);
}

#[test]
fn what_is_wanted_is_given_and_older_word_is_answered_with_word() {
    let mut topology = on_the_way_to_seven();
    topology.handle_want(LinkId(3), &[id(7), id(99)]);
    assert_eq!(sent(&mut topology, 3), [(7, 1)]);
    topology.handle_records(at_ms(3_000), LinkId(1), vec![record(7, 2, &[(1, 1)])]);
    topology.handle_timeout(at_ms(3_150));
    frames(&mut topology, 3);
    topology.handle_announce(at_ms(4_000), LinkId(3), &[record(7, 1, &[]).digest()]);
    topology.handle_timeout(at_ms(4_150));
    assert_eq!(frames(&mut topology, 3), [word(7, 2)]);
}

#[test]
fn no_neighbour_can_make_us_ask_for_more_hubs_than_we_would_hold() {
    let config = TopologyConfig {
        max_hubs: 3,
        ..TopologyConfig::default()
    };
    let mut topology = Topology::new(id(0), life(0, 1), config);
    topology.on_neighbour_up(at_ms(0), id(1), life(0, 1), LinkId(1));
    let words: Vec<DigestEntry> = (10..1_000)
        .map(|hub| record(hub, 1, &[]).digest())
        .collect();
    topology.handle_announce(at_ms(0), LinkId(1), &words);
    let frames = frames(&mut topology, 1);
    assert!(
        frames.contains(&ControlFrame::Want(vec![id(10), id(11), id(12)])),
        "{frames:?}"
    );
    assert_eq!(topology.refused(), 987);
    // They are forgotten when nobody answers.
    topology.handle_timeout(at_ms(300));
    topology.handle_announce(at_ms(301), LinkId(1), &words[5..6]);
    assert_eq!(topology.refused(), 987);
}

#[test]
fn who_tells_of_hubs_that_do_not_exist_keeps_nobody_from_being_asked() {
    let config = TopologyConfig {
        max_hubs: 4,
        ..TopologyConfig::default()
    };
    let mut topology = Topology::new(id(0), life(0, 1), config);
    for hub in 1..=2 {
        let link = LinkId(u64::from(hub));
        topology.on_neighbour_up(at_ms(0), id(hub), life(0, 1), link);
        frames(&mut topology, hub.into());
    }
    let made_up: Vec<DigestEntry> = (100..2_000)
        .map(|hub| record(hub, 1, &[]).digest())
        .collect();
    let honest = [7, 8, 9].map(|hub| record(hub, 1, &[]).digest());
    for ms in [0, 100, 400] {
        topology.handle_announce(at_ms(ms), LinkId(1), &made_up);
    }
    topology.handle_announce(at_ms(400), LinkId(2), &honest);
    assert_eq!(
        frames(&mut topology, 2),
        [ControlFrame::Want(vec![id(7), id(8)])],
        "each has its share"
    );
    // What was not sent yet is withdrawn, so that a link that takes nothing keeps no list of it.
    assert_eq!(topology.record_queues[&LinkId(1)].wants.len(), 2);
    let past_lives = [LinkRecord {
        incarnation: life(1 << 20, 1),
        ..record(3, 1, &[])
    }];
    topology.handle_timeout(at_ms(700));
    topology.handle_announce(at_ms(700), LinkId(2), &past_lives.map(|r| r.digest()));
    let asks = |frame: &ControlFrame| matches!(frame, ControlFrame::Want(_));
    let frames = frames(&mut topology, 2);
    assert!(
        !frames.iter().any(asks),
        "no hub has that incarnation: {frames:?}"
    );
}

#[test]
fn a_stalled_link_gets_word_of_each_hub_once() {
    let mut topology = on_the_way_to_seven();
    for number in 2..50 {
        let batch = vec![record(7, number, &[(1, 1)]), record(8, number, &[])];
        topology.handle_records(at_ms(3_000 + 100 * number), LinkId(1), batch);
        topology.handle_timeout(at_ms(3_050 + 100 * number));
    }
    topology.handle_timeout(at_ms(9_000));
    let words: Vec<DigestEntry> = frames(&mut topology, 3)
        .into_iter()
        .filter_map(|frame| match frame {
            ControlFrame::Announce(words) => Some(words),
            _ => None,
        })
        .flatten()
        .collect();
    let newest = [7, 8].map(|hub| record(hub, 49, &[]).digest());
    assert_eq!(words, newest);
}
