//! What the dialer promises, one sentence a test.

use std::collections::BTreeSet;

use super::super::ids::Incarnation;
use super::*;

mod admission;
mod bootstrap;
mod mesh;
mod retries;

const ME: u8 = 100;

fn id(n: u8) -> HubId {
    HubId([n; 20])
}

fn at_ms(ms: u64) -> Moment {
    Moment(ms * 1_000)
}

fn url(n: u8) -> String {
    format!("ws://hub-{n}")
}

fn learned(n: u8) -> DialTarget {
    DialTarget::Learned {
        hub: id(n),
        url: url(n),
    }
}

fn bootstrap(text: &str) -> DialTarget {
    DialTarget::Bootstrap(text.to_owned())
}

fn dialer() -> Dialer {
    Dialer::new(id(ME), 5, DialConfig::default())
}

fn with_bootstrap(urls: &[&str]) -> Dialer {
    let mut dialer = dialer();
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    dialer.set_bootstrap(at_ms(0), urls);
    dialer
}

/// Hears of these hubs, and that they can be reached.
fn meet(dialer: &mut Dialer, now: Moment, hubs: impl IntoIterator<Item = u8>) {
    for hub in hubs {
        dialer.on_learned(now, id(hub), &[url(hub)], false);
        dialer.on_reachable(now, id(hub));
    }
}

/// Lets time pass up to and with `until`, and gives the dials made and when. None is answered.
fn run(dialer: &mut Dialer, until: Moment) -> Vec<(Moment, DialId, DialTarget)> {
    let mut dials = Vec::new();
    while let Some(now) = dialer.poll_timeout().filter(|at| *at <= until) {
        dialer.handle_timeout(now);
        if let Some((dial, target)) = dialer.poll_dial() {
            dials.push((now, dial, target));
        }
    }
    dials
}

/// The next dial, whenever it comes within a minute.
fn next(dialer: &mut Dialer) -> (Moment, DialId, DialTarget) {
    for _ in 0..10_000 {
        let now = dialer.poll_timeout().expect("a dial to come");
        dialer.handle_timeout(now);
        if let Some((dial, target)) = dialer.poll_dial() {
            return (now, dial, target);
        }
    }
    panic!("no dial comes");
}

fn targets(dials: &[(Moment, DialId, DialTarget)]) -> Vec<DialTarget> {
    dials.iter().map(|dial| dial.2.clone()).collect()
}

#[test]
fn in_a_small_mesh_every_hub_is_dialled_and_the_higher_id_waits() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), [1, 2, 150, 151]);
    let dials = run(&mut dialer, at_ms(900));
    let all = targets(&dials);
    assert_eq!(all, [learned(150), learned(151)]);
    let dials = targets(&run(&mut dialer, at_ms(1_100)));
    assert_eq!(dials, [learned(1), learned(2)]);
}

#[test]
fn a_hub_that_cannot_be_dialled_waits_for_nobody() {
    let config = DialConfig {
        can_be_dialled: false,
        ..DialConfig::default()
    };
    let mut dialer = Dialer::new(id(ME), 5, config);
    meet(&mut dialer, at_ms(0), [1]);
    assert_eq!(next(&mut dialer).0, at_ms(0));
}

/// Answers each dial with a link until no more come within a second; gives the hubs dialled.
fn link_up(dialer: &mut Dialer, mut now: Moment) -> Vec<HubId> {
    let mut linked = Vec::new();
    loop {
        now = now + Duration::from_millis(10);
        dialer.handle_timeout(now);
        match dialer.poll_dial() {
            Some((dial, DialTarget::Learned { hub, .. })) => {
                linked.push(hub);
                dialer.on_neighbour_up(now, hub, Some(dial));
            }
            Some(other) => panic!("unexpected {other:?}"),
            None if dialer
                .poll_timeout()
                .is_none_or(|at| at > now + Duration::from_secs(2)) =>
            {
                return linked;
            }
            None => {}
        }
    }
}

#[test]
fn in_a_large_mesh_eight_links_are_enough_for_a_hub_and_three_for_one_behind_nat() {
    for (can_be_dialled, links) in [(true, 8), (false, 3)] {
        let config = DialConfig {
            can_be_dialled,
            ..DialConfig::default()
        };
        let mut dialer = Dialer::new(id(ME), 5, config);
        meet(&mut dialer, at_ms(0), 0..60);
        assert_eq!(link_up(&mut dialer, at_ms(0)).len(), links);
        // One is lost: another takes its place, or the same again.
        let lost = id(link_id(&dialer));
        dialer.on_neighbour_down(at_ms(100_000), lost);
        assert_eq!(link_up(&mut dialer, at_ms(100_000)).len(), 1);
    }
}

fn link_id(dialer: &Dialer) -> u8 {
    let linked = dialer.hubs.iter().find(|(_, known)| known.linked.is_some());
    linked.unwrap().0.0[0]
}

#[test]
fn links_that_others_dialled_count_towards_the_degree() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 0..60);
    for hub in 0..6 {
        dialer.on_neighbour_up(at_ms(0), id(hub), None);
    }
    assert_eq!(link_up(&mut dialer, at_ms(0)).len(), 2);
}

#[test]
fn neighbours_are_drawn_by_the_seed_and_the_rest_are_the_nearest() {
    let config = DialConfig {
        yield_for: Duration::ZERO,
        ..DialConfig::default()
    };
    let draw = |seed| {
        let mut dialer = Dialer::new(id(ME), seed, config);
        meet(&mut dialer, at_ms(0), 0..60);
        for hub in 0..60 {
            dialer.on_rtt(id(hub), Duration::from_millis(1 + u64::from(hub)));
        }
        link_up(&mut dialer, at_ms(0))
    };
    assert_eq!(draw(1), draw(1));
    let sets: BTreeSet<Vec<HubId>> = (0..20).map(|seed| draw(seed)[..4].to_vec()).collect();
    assert!(sets.len() > 18);
    for seed in 0..20 {
        let chosen = draw(seed);
        let nearest: Vec<HubId> = (0..60)
            .map(id)
            .filter(|hub| !chosen[..4].contains(hub))
            .take(4)
            .collect();
        assert_eq!(chosen[4..], nearest);
    }
}

#[test]
fn an_unreachable_hub_is_tried_about_every_fifteen_seconds_whatever_links_stand() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 0..60);
    link_up(&mut dialer, at_ms(0));
    dialer.on_learned(at_ms(10_000), id(200), &[url(200)], false);
    let mut last = at_ms(10_000);
    for attempt in 0..40 {
        let (now, dial, target) = next(&mut dialer);
        assert_eq!(target, learned(200));
        let most = Duration::from_millis(22_550);
        assert!(now - last <= most, "{:?}", now - last);
        if attempt == 0 || attempt > 7 {
            assert!(now - last >= Duration::from_millis(7_500));
        }
        dialer.on_dial_failed(now, dial, DialFailure::Unreachable);
        last = now;
    }
    dialer.on_forgotten(id(200));
    assert_eq!(run(&mut dialer, last + Duration::from_secs(600)), []);
}

#[test]
fn a_hub_that_is_gone_is_not_dialled_by_all_at_once() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 0..60);
    let linked = link_up(&mut dialer, at_ms(0));
    let other = (0..60).map(id).find(|hub| !linked.contains(hub)).unwrap();
    dialer.on_unreachable(at_ms(60_000), other);
    let (now, _, target) = next(&mut dialer);
    assert_eq!(target, learned(other.0[0]));
    assert!(now >= at_ms(67_500) && now <= at_ms(82_500));
}

#[test]
fn without_auto_connect_only_bootstrap_addresses_are_dialled() {
    let config = DialConfig {
        auto_connect: false,
        ..DialConfig::default()
    };
    let mut dialer = Dialer::new(id(ME), 5, config);
    meet(&mut dialer, at_ms(0), 0..60);
    dialer.on_unreachable(at_ms(0), id(3));
    dialer.set_bootstrap(at_ms(0), vec!["ws://a".to_owned()]);
    let dials = run(&mut dialer, at_ms(100_000));
    assert!(dials.len() > 1);
    assert!(dials.iter().all(|dial| dial.2 == bootstrap("ws://a")));
}

#[test]
fn a_draining_hub_is_left_alone_for_as_long_as_it_asks() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(now, id(7), Some(dial));
    let retry_after = Duration::from_secs(45);
    let end = at_ms(50_000);
    dialer.on_bye(end, id(7), Bye::Draining { retry_after });
    dialer.on_neighbour_down(end, id(7));
    assert_eq!(run(&mut dialer, at_ms(94_999)), []);
    assert_eq!(next(&mut dialer).0, at_ms(95_000));
}

#[test]
fn no_hub_is_left_alone_for_ever_because_it_asks() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(now, id(7), Some(dial));
    let retry_after = Duration::MAX;
    dialer.on_bye(now, id(7), Bye::Draining { retry_after });
    dialer.on_neighbour_down(now, id(7));
    assert_eq!(next(&mut dialer).0, now + DialConfig::default().retry_full);
}

#[test]
fn a_hub_that_drained_and_went_is_tried_like_any_other_that_is_out_of_reach() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), [150]);
    dialer.on_learned(at_ms(0), id(150), &[url(150)], true);
    dialer.on_unreachable(at_ms(10_000), id(150));
    let dials = run(&mut dialer, at_ms(100_000));
    assert!(dials.len() >= 4, "{dials:?}");
    assert!(dials.iter().all(|dial| dial.2 == learned(150)));
}

#[test]
fn a_hub_whose_record_says_draining_is_not_dialled_while_it_can_be_reached() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), [150]);
    dialer.on_learned(at_ms(0), id(150), &[url(150)], true);
    assert_eq!(run(&mut dialer, at_ms(100_000)), []);
    dialer.on_learned(at_ms(100_000), id(150), &[url(150)], false);
    assert_eq!(next(&mut dialer).2, learned(150));
}

#[test]
fn a_full_hub_rests_and_another_is_dialled_in_its_place() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 120..180);
    let (now, dial, target) = next(&mut dialer);
    let DialTarget::Learned { hub, .. } = target else {
        panic!("no bootstrap address is known");
    };
    dialer.on_neighbour_up(now, hub, Some(dial));
    dialer.on_bye(now, hub, Bye::Full);
    dialer.on_neighbour_down(now, hub);
    let linked = link_up(&mut dialer, now);
    assert_eq!(linked.len(), 8);
    assert!(!linked.contains(&hub));
}

#[test]
fn losing_to_a_duplicate_costs_no_back_off() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(now, id(7), None);
    dialer.on_neighbour_up(now, id(7), Some(dial));
    dialer.on_bye(now, id(7), Bye::Duplicate);
    assert_eq!(dialer.bootstrap_status().next().unwrap().attempt, 0);
    assert!(dialer.attempts.is_empty());
    assert_eq!(run(&mut dialer, at_ms(100_000)), []);
}

#[test]
fn a_stale_life_may_dial_again_at_once() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    let known = Incarnation { epoch: 1, nonce: 1 };
    dialer.on_neighbour_up(now, id(7), Some(dial));
    dialer.on_bye(now, id(7), Bye::StaleIncarnation { known });
    dialer.on_neighbour_down(now, id(7));
    assert!(next(&mut dialer).0 <= at_ms(250));
}

#[test]
fn an_address_that_leads_to_another_hub_is_not_believed() {
    let mut dialer = dialer();
    let urls = ["ws://wrong".to_owned(), "ws://right".to_owned()];
    dialer.on_learned(at_ms(0), id(150), &urls, false);
    dialer.on_reachable(at_ms(0), id(150));
    let (now, dial, target) = next(&mut dialer);
    let at = |url: &str| DialTarget::Learned {
        hub: id(150),
        url: url.to_owned(),
    };
    assert_eq!(target, at("ws://wrong"));
    dialer.on_neighbour_up(now, id(151), Some(dial));
    let (now, dial, target) = next(&mut dialer);
    assert_eq!(target, at("ws://right"));
    // A failure does not take it off the list, and the wrong one stays off.
    dialer.on_dial_failed(now, dial, DialFailure::Unreachable);
    assert_eq!(next(&mut dialer).2, at("ws://right"));
}

#[test]
fn a_proven_address_comes_first_and_the_others_when_it_fails() {
    let mut dialer = dialer();
    let urls = ["ws://one".to_owned(), "ws://two".to_owned()];
    dialer.on_learned(at_ms(0), id(150), &urls, false);
    dialer.on_reachable(at_ms(0), id(150));
    let url = |target: DialTarget| match target {
        DialTarget::Learned { url, .. } => url,
        DialTarget::Bootstrap(url) => url,
    };
    let (now, dial, target) = next(&mut dialer);
    assert_eq!(url(target), "ws://one");
    dialer.on_dial_failed(now, dial, DialFailure::Unreachable);
    let (now, dial, target) = next(&mut dialer);
    assert_eq!(url(target), "ws://two");
    dialer.on_neighbour_up(now, id(150), Some(dial));
    dialer.on_neighbour_down(now, id(150));
    let (now, dial, target) = next(&mut dialer);
    assert_eq!(url(target), "ws://two");
    dialer.on_dial_failed(now, dial, DialFailure::Unreachable);
    assert_eq!(url(next(&mut dialer).2), "ws://one");
}

#[test]
fn a_bootstrap_address_rests_in_a_large_mesh_while_its_hub_is_reachable() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(now, id(3), Some(dial));
    meet(&mut dialer, now, 0..60);
    link_up(&mut dialer, now);
    meet(&mut dialer, at_ms(60_000), [200]);
    dialer.on_neighbour_up(at_ms(60_000), id(200), None);
    dialer.on_bye(at_ms(60_000), id(3), Bye::Full);
    dialer.on_neighbour_down(at_ms(60_000), id(3));
    assert_eq!(run(&mut dialer, at_ms(3_600_000)), []);
    dialer.on_unreachable(at_ms(3_600_000), id(3));
    let dials = targets(&run(&mut dialer, at_ms(3_630_000)));
    assert!(dials.contains(&bootstrap("ws://a")));
}

/// Lets time pass up to and with `until`, and gives the hubs whose links may be closed, and when. None is closed.
fn proposals(dialer: &mut Dialer, until: Moment) -> Vec<(Moment, HubId)> {
    let mut proposed = Vec::new();
    while let Some(now) = dialer.drop_timeout().filter(|at| *at <= until) {
        proposed.extend(dialer.poll_drop(now).map(|hub| (now, hub)));
    }
    proposed
}

#[test]
fn surplus_links_are_proposed_in_turn_one_per_spacing() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 0..34);
    for hub in 0..33 {
        assert_eq!(dialer.poll_drop(at_ms(0)), None);
        dialer.on_neighbour_up(at_ms(0), id(hub), None);
    }
    assert_eq!(dialer.drop_timeout(), Some(at_ms(0)));
    let round = proposals(&mut dialer, at_ms(32 * 25));
    let expected: Vec<_> = (0..33).map(|n| (at_ms(n * 25), id(n as u8))).collect();
    assert_eq!(round, expected);
    assert_eq!(dialer.poll_drop(at_ms(33 * 25)), None, "the round is over");
    let again = dialer.drop_timeout().unwrap();
    assert_eq!(dialer.poll_drop(again), Some(id(0)));
    let soon = again + Duration::from_millis(24);
    assert_eq!(dialer.poll_drop(soon), None, "too soon");
    dialer.on_neighbour_down(at_ms(4_000), id(4));
    assert_eq!(dialer.poll_drop(at_ms(5_000)), None);
    assert_eq!(dialer.drop_timeout(), None);
}

#[test]
fn a_round_in_which_no_link_came_or_ended_is_followed_by_a_rest() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 0..41);
    for hub in 0..40 {
        dialer.on_neighbour_up(at_ms(0), id(hub), None);
    }
    let rests = |proposed: &[(Moment, HubId)]| -> Vec<usize> {
        let apart = |next: &usize| proposed[*next].0 - proposed[next - 1].0;
        let rests = |next: &usize| apart(next) >= Duration::from_secs(2);
        (1..proposed.len()).filter(rests).collect()
    };
    // A round takes a second. Links have come before the first, and the fourth is not over.
    let now = at_ms(7_250);
    let proposed = proposals(&mut dialer, now);
    assert_eq!(rests(&proposed), [80, 120]);
    assert_eq!(proposed.len(), 130);
    // One link ends and another comes: the next round follows at once, and the one after it later.
    dialer.on_neighbour_down(now, id(5));
    dialer.on_neighbour_up(now, id(40), None);
    let now = now + Duration::from_secs(3);
    let proposed = proposals(&mut dialer, now);
    assert_eq!(proposed[0].1, id(10));
    assert_eq!(proposed.len(), 31 + 40);
    assert_eq!(rests(&proposed), [0; 0]);
    let resting = dialer.drop_timeout().unwrap() - now;
    assert_eq!(resting, Duration::from_millis(825));
    // A link that comes ends the rest.
    dialer.on_neighbour_up(now, id(5), None);
    assert_eq!(dialer.drop_timeout(), Some(now + Duration::from_millis(25)));
}

#[test]
fn hubs_that_come_and_go_leave_nothing_behind() {
    let mut dialer = dialer();
    for round in 0..200_u64 {
        let now = at_ms(round * 1_000);
        let hub = id(round as u8 % 90);
        dialer.on_neighbour_up(now, hub, None);
        if round % 2 == 0 {
            dialer.on_learned(now, hub, &[url(round as u8 % 90)], false);
            dialer.on_forgotten(hub);
        }
        dialer.on_neighbour_down(now, hub);
    }
    assert!(dialer.hubs.is_empty());
    assert!(dialer.attempts.is_empty());
}

#[test]
fn the_same_seed_and_inputs_give_the_same_dials() {
    let history = || {
        let mut dialer = with_bootstrap(&["ws://a", "ws://b"]);
        meet(&mut dialer, at_ms(0), 0..40);
        run(&mut dialer, at_ms(120_000))
    };
    let first = history();
    assert!(first.len() > 50);
    assert_eq!(first, history());
}
