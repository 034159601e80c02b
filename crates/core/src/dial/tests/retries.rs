//! How often hubs are tried that nobody reaches.

use std::collections::BTreeSet;

use super::*;

/// Of `hubs` hubs that reach each other, one; and hub 250, which none of them reaches.
fn one_of(hubs: u16, seed: u64) -> Dialer {
    let mut dialer = Dialer::new(id(ME), seed, DialConfig::default());
    for hub in 1..hubs {
        let mut other = [0; 20];
        other[..2].copy_from_slice(&hub.to_be_bytes());
        dialer.on_reachable(at_ms(0), HubId(other));
    }
    dialer.on_learned(at_ms(0), id(250), &[url(250)], false);
    dialer
}

#[test]
fn together_many_hubs_try_one_as_often_as_sixty_four_do() {
    for (hubs, interval) in [(2, 15), (64, 15), (128, 30), (1_024, 240)] {
        let mut dialer = one_of(hubs, 5);
        let waits: Vec<Duration> = (0..2_000).map(|_| dialer.retry_wait()).collect();
        let mean = waits.iter().sum::<Duration>() / 2_000;
        let expected = Duration::from_secs(interval);
        assert!(
            mean > expected * 9 / 10 && mean < expected * 11 / 10,
            "{hubs} hubs: {mean:?}"
        );
        let first = waits.iter().min().unwrap();
        assert!(*first >= Duration::from_millis(7_500) && *first < Duration::from_secs(9));
    }
}

#[test]
fn the_first_of_many_tries_a_lost_hub_within_seconds() {
    let first = (0..1_000).map(|seed| {
        let mut dialer = one_of(1_000, seed);
        dialer.on_reachable(at_ms(0), id(250));
        dialer.on_unreachable(at_ms(0), id(250));
        next(&mut dialer).0
    });
    assert!(first.min().unwrap() < at_ms(9_000));
}

#[test]
fn the_loss_of_half_a_mesh_is_not_dialled_all_at_once_but_whole() {
    let mut dialer = dialer();
    meet(&mut dialer, at_ms(0), 0..120);
    for hub in 1..120 {
        dialer.on_unreachable(at_ms(0), id(hub));
    }
    let dials = run(&mut dialer, at_ms(120_000));
    let tried: BTreeSet<_> = dials.iter().map(|dial| format!("{:?}", dial.2)).collect();
    assert!(tried.len() >= 119, "{} of them were tried", tried.len());
    let unreachable = dials.iter().filter(|dial| dial.2 != learned(0));
    let times: Vec<Moment> = unreachable.map(|dial| dial.0).collect();
    assert!(times.len() > 50);
    assert!(
        times
            .windows(2)
            .all(|two| two[1] - two[0] >= Duration::from_millis(500))
    );
}

#[test]
fn who_is_left_alone_with_a_lost_hub_does_not_wait_as_one_of_a_thousand() {
    for seed in 0..50 {
        let mut dialer = one_of(1_000, seed);
        dialer.on_reachable(at_ms(0), id(250));
        dialer.on_unreachable(at_ms(0), id(250));
        for hub in 2..1_000_u16 {
            let mut other = [0; 20];
            other[..2].copy_from_slice(&hub.to_be_bytes());
            dialer.on_unreachable(at_ms(1_000), HubId(other));
        }
        let known = dialer.hubs.get(&id(250)).expect("it is known");
        assert!(
            known.backoff.due() <= at_ms(61_000),
            "{:?}",
            known.backoff.due()
        );
    }
}
