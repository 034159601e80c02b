//! Who is let in, who is sent on to others, and what becomes of those.

use super::*;

/// Has `accept_up_to` links, with hubs 0 to 31; hubs 32 to 59 can be reached as well.
fn full() -> Dialer {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 0..60);
    for hub in 0..32 {
        dialer.on_neighbour_up(at_ms(0), id(hub), None);
    }
    dialer
}

#[test]
fn past_the_limit_only_hubs_without_another_way_are_accepted() {
    let mut dialer = full();
    let mut admit = |hub| dialer.admit(at_ms(0), id(hub), false);
    assert_eq!(admit(59), LinkAdmission::Full, "it is reachable");
    assert_eq!(admit(31), LinkAdmission::Welcome, "it is a neighbour");
    assert_eq!(admit(200), LinkAdmission::Welcome, "it is new to the mesh");
    assert!(!dialer.lets_nobody_in());
    dialer.config.accept_never_past = 32;
    assert!(dialer.lets_nobody_in());
    assert_eq!(dialer.admit(at_ms(0), id(200), false), LinkAdmission::Full);
    dialer.on_neighbour_down(at_ms(0), id(31));
    assert_eq!(
        dialer.admit(at_ms(0), id(59), false),
        LinkAdmission::Welcome
    );
}

#[test]
fn a_newcomer_is_sent_on_once_and_let_in_if_that_did_not_help() {
    let mut dialer = full();
    let mut admit = |ms| dialer.admit(at_ms(ms), id(200), true);
    assert_eq!(admit(0), LinkAdmission::Elsewhere);
    assert_eq!(
        admit(999),
        LinkAdmission::Elsewhere,
        "it has tried nobody yet"
    );
    assert_eq!(admit(1_000), LinkAdmission::Welcome);
    // Two of the longest back-offs later it is still known: the link above may have been lost.
    assert_eq!(admit(62_000), LinkAdmission::Welcome);
    // After that it is a newcomer again: it may have been restarted.
    assert_eq!(admit(75_000), LinkAdmission::Elsewhere);
}

#[test]
fn who_was_sent_on_is_remembered_for_a_while_and_of_so_many_at_most() {
    let mut dialer = full();
    for hub in 0..5_000_u16 {
        let mut newcomer = [0xff; 20];
        newcomer[..2].copy_from_slice(&hub.to_be_bytes());
        dialer.admit(at_ms(0), HubId(newcomer), true);
    }
    assert_eq!(dialer.sent_on.len(), 4_096);
    assert_eq!(
        dialer.admit(at_ms(0), id(200), true),
        LinkAdmission::Welcome
    );
    dialer.admit(at_ms(75_000), id(200), true);
    assert_eq!(dialer.sent_on.len(), 1);
}

#[test]
fn a_dozen_hubs_are_named_that_can_be_reached_and_dialled_and_stay() {
    let mut dialer = full();
    dialer.on_unreachable(at_ms(0), id(0));
    dialer.on_learned(at_ms(0), id(1), &[url(1)], true);
    dialer.on_learned(at_ms(0), id(2), &[], false);
    let mut named = BTreeSet::new();
    for _ in 0..100 {
        let twelve = dialer.introductions();
        assert_eq!(twelve.iter().collect::<BTreeSet<_>>().len(), 12);
        named.extend(twelve);
    }
    assert_eq!(named, (3..60).map(id).collect());
}

#[test]
fn who_can_name_nobody_lets_newcomers_in() {
    let mut dialer = dialer();
    for hub in 0..32 {
        dialer.on_neighbour_up(at_ms(0), id(hub), None);
    }
    assert_eq!(
        dialer.admit(at_ms(0), id(200), true),
        LinkAdmission::Welcome
    );
}

#[test]
fn a_hub_that_was_sent_on_tries_the_others_before_it_comes_back() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(now, id(7), Some(dial));
    for hub in [150, 151, 152] {
        dialer.on_learned(now, id(hub), &[url(hub)], false);
    }
    dialer.on_bye(now, id(7), Bye::Full);
    dialer.on_neighbour_down(now, id(7));
    let dials = run(&mut dialer, now + Duration::from_millis(999));
    let mut tried = targets(&dials);
    tried.sort_by_key(|target| format!("{target:?}"));
    assert_eq!(tried, [learned(150), learned(151), learned(152)]);
    let again = targets(&run(&mut dialer, now + Duration::from_millis(3_100)));
    assert_eq!(again, [bootstrap("ws://a")], "nobody answered");
}

#[test]
fn a_full_hub_is_dialled_again_when_it_goes_out_of_reach() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    meet(&mut dialer, now, [7]);
    dialer.on_neighbour_up(now, id(7), Some(dial));
    dialer.on_bye(now, id(7), Bye::Full);
    dialer.on_neighbour_down(now, id(7));
    assert_eq!(run(&mut dialer, at_ms(50_000)), [], "it is full");
    dialer.on_unreachable(at_ms(50_000), id(7));
    let dials = targets(&run(&mut dialer, at_ms(50_300)));
    assert!(dials.contains(&bootstrap("ws://a")), "{dials:?}");
}
