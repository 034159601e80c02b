//! Bootstrap addresses, and the back-off of all that is dialled again.

use super::*;

#[test]
fn bootstrap_addresses_are_dialled_at_once_one_per_spacing() {
    let mut dialer = with_bootstrap(&["ws://a", "ws://b", "ws://c"]);
    let dials = run(&mut dialer, at_ms(1_000));
    assert_eq!(
        dials,
        [
            (at_ms(0), DialId(1), bootstrap("ws://a")),
            (at_ms(50), DialId(2), bootstrap("ws://b")),
            (at_ms(100), DialId(3), bootstrap("ws://c")),
        ]
    );
}

#[test]
fn a_bootstrap_address_is_tried_for_ever_with_jitter_under_a_doubling_ceiling() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let mut waits = Vec::new();
    let (mut last, mut dial, _) = next(&mut dialer);
    for _ in 0..500 {
        dialer.on_dial_failed(last, dial, DialFailure::Unreachable);
        let (now, next_dial, target) = next(&mut dialer);
        assert_eq!(target, bootstrap("ws://a"));
        waits.push(now - last);
        (last, dial) = (now, next_dial);
    }
    for (attempt, wait) in waits.iter().enumerate() {
        let ceiling = Duration::from_millis(250 << attempt.min(7)).min(Duration::from_secs(30));
        assert!(*wait <= ceiling, "wait {attempt} is {wait:?}");
        assert!(*wait >= Duration::from_millis(50));
    }
    let mean: Duration = waits[7..].iter().sum::<Duration>() / 493;
    assert!(mean > Duration::from_secs(13) && mean < Duration::from_secs(17));
    assert_eq!(dialer.bootstrap_status().next().unwrap().attempt, 500);
}

#[test]
fn a_dial_without_an_answer_fails_by_itself() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    assert_eq!(next(&mut dialer).0, at_ms(0));
    assert_eq!(dialer.poll_timeout(), Some(at_ms(10_000)));
    let (again, dial, _) = next(&mut dialer);
    assert!(again >= at_ms(10_000) && again <= at_ms(10_250));
    assert_eq!(dial, DialId(2));
    assert_eq!(dialer.attempts.len(), 1);
    // The first one's answer comes too late to count as a failure of the second.
    dialer.on_dial_failed(again, DialId(1), DialFailure::Unreachable);
    assert_eq!(dialer.attempts.len(), 1);
}

#[test]
fn a_link_tells_whom_a_bootstrap_address_leads_to_and_stops_its_dials() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(now, id(7), Some(dial));
    assert_eq!(run(&mut dialer, at_ms(3_600_000)), []);
    let status: Vec<_> = dialer.bootstrap_status().collect();
    assert_eq!(
        status,
        [BootstrapStatus {
            url: "ws://a",
            connected: Some(id(7)),
            ourselves: false,
            last_attempt: Some(at_ms(0)),
            attempt: 0
        }]
    );
    dialer.on_neighbour_down(at_ms(3_600_000), id(7));
    let (again, _, target) = next(&mut dialer);
    assert_eq!(target, bootstrap("ws://a"));
    assert!(again <= at_ms(3_600_250));
    // It dials us: no need to dial it.
    dialer.on_dial_failed(again, DialId(2), DialFailure::Unreachable);
    dialer.on_neighbour_up(again, id(7), None);
    assert_eq!(run(&mut dialer, at_ms(7_200_000)), []);
}

/// The next dial makes no link.
fn fail_once(dialer: &mut Dialer) {
    let (now, dial, _) = next(dialer);
    dialer.on_dial_failed(now, dial, DialFailure::Unreachable);
}

/// The next dial makes a link, which is lost at once. When that was.
fn lose_once(dialer: &mut Dialer, bye: Bye) -> Moment {
    let (now, dial, _) = next(dialer);
    dialer.on_neighbour_up(now, id(7), Some(dial));
    dialer.on_bye(now, id(7), bye);
    dialer.on_neighbour_down(now, id(7));
    now
}

#[test]
fn after_an_outage_the_first_answer_ends_the_long_waits() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    for _ in 0..50 {
        fail_once(&mut dialer);
    }
    // The hub is back, but this one has to raise its incarnation first, and is then sent on.
    let known = Incarnation { epoch: 1, nonce: 1 };
    let first = lose_once(&mut dialer, Bye::StaleIncarnation { known });
    let second = lose_once(&mut dialer, Bye::Full);
    assert!(second <= first + Duration::from_millis(250));
    let third = next(&mut dialer).0;
    assert!(third <= second + Duration::from_millis(500));
}

#[test]
fn an_address_that_answers_and_fails_by_turns_is_dialled_less_and_less_often() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let mut last = at_ms(0);
    for _ in 0..50 {
        fail_once(&mut dialer);
        last = lose_once(&mut dialer, Bye::Overflow);
    }
    assert!(last > at_ms(600_000), "{last:?}");
}

#[test]
fn back_off_is_reset_by_a_link_that_lasted_and_by_nothing_shorter() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let attempt = |dialer: &Dialer| dialer.bootstrap_status().next().unwrap().attempt;
    let mut now = at_ms(0);
    for flap in 1..=10 {
        let (at, dial, _) = next(&mut dialer);
        dialer.on_neighbour_up(at, id(7), Some(dial));
        now = at + Duration::from_millis(29_999);
        dialer.on_neighbour_down(now, id(7));
        assert_eq!(attempt(&dialer), flap);
    }
    let (at, dial, _) = next(&mut dialer);
    assert!(at >= now);
    dialer.on_neighbour_up(at, id(7), Some(dial));
    dialer.on_neighbour_down(at + Duration::from_secs(30), id(7));
    assert_eq!(attempt(&dialer), 1);
}

#[test]
fn who_was_refused_waits_longer_than_who_found_nobody() {
    let waits = |why: DialFailure| -> Duration {
        let mut dialer = with_bootstrap(&["ws://a"]);
        let (at, dial, _) = next(&mut dialer);
        dialer.on_dial_failed(at, dial, why);
        dialer.bootstraps["ws://a"].backoff.due() - at
    };
    let (absent, refused) = (waits(DialFailure::Unreachable), waits(DialFailure::Refused));
    // The same draw, under ceilings of 0.25 and of 5 s.
    assert!(
        refused > 19 * absent && refused < 21 * absent,
        "{absent:?}, {refused:?}"
    );
}

#[test]
fn back_off_is_reset_when_the_other_hub_dials_us() {
    let mut dialer = with_bootstrap(&["ws://a"]);
    let (at, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(at, id(7), Some(dial));
    dialer.on_neighbour_down(at, id(7));
    for _ in 0..8 {
        let (at, dial, _) = next(&mut dialer);
        dialer.on_dial_failed(at, dial, DialFailure::Refused);
    }
    let now = dialer.poll_timeout().unwrap();
    dialer.on_neighbour_up(now, id(7), None);
    assert_eq!(dialer.bootstrap_status().next().unwrap().attempt, 0);
}

#[test]
fn a_bootstrap_address_that_leads_to_ourselves_is_tried_now_and_then() {
    let mut dialer = with_bootstrap(&["ws://me"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_neighbour_up(now, id(ME), Some(dial));
    dialer.on_bye(now, id(ME), Bye::SelfDial);
    assert!(dialer.bootstrap_status().next().unwrap().ourselves);
    assert_eq!(dialer.standing, 0);
    // The same set again, as DNS gives it every half minute, changes nothing.
    dialer.set_bootstrap(now, vec!["ws://me".to_owned()]);
    let (again, dial, _) = next(&mut dialer);
    assert_eq!(again, now + DialConfig::default().retry_self);
    // This time another hub answers at that address.
    dialer.on_neighbour_up(again, id(1), Some(dial));
    assert!(!dialer.bootstrap_status().next().unwrap().ourselves);
}

#[test]
fn however_many_addresses_lead_to_ourselves_each_rests_and_the_others_get_their_turn() {
    let config = DialConfig::default();
    let mut dialer = with_bootstrap(&["ws://me", "ws://me-too", "ws://stranger"]);
    let mut tried = Vec::new();
    while tried.len() < 3 {
        let (now, dial, target) = next(&mut dialer);
        assert!(now < at_ms(0) + config.retry_self, "{tried:?}");
        if target == bootstrap("ws://stranger") {
            dialer.on_dial_failed(now, dial, DialFailure::Unreachable);
        } else {
            // Both ends of the link are here.
            dialer.on_neighbour_up(now, id(ME), Some(dial));
            dialer.on_neighbour_up(now, id(ME), None);
            dialer.on_bye(now, id(ME), Bye::SelfDial);
        }
        tried.push(target);
    }
    tried.sort_by_key(|target| format!("{target:?}"));
    let all = ["ws://me", "ws://me-too", "ws://stranger"];
    assert_eq!(tried, all.map(bootstrap));
}

#[test]
fn a_new_set_of_bootstrap_addresses_keeps_the_state_of_those_that_stay() {
    let mut dialer = with_bootstrap(&["ws://a", "ws://b"]);
    let (now, dial, _) = next(&mut dialer);
    dialer.on_dial_failed(now, dial, DialFailure::Unreachable);
    dialer.set_bootstrap(now, vec!["ws://c".to_owned(), "ws://a".to_owned()]);
    let status: Vec<_> = dialer
        .bootstrap_status()
        .map(|status| (status.url, status.attempt))
        .collect();
    assert_eq!(status, [("ws://a", 1), ("ws://c", 0)]);
    let dials = targets(&run(&mut dialer, at_ms(5_000)));
    assert!(!dials.contains(&bootstrap("ws://b")));
}
