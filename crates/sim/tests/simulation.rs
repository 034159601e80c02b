//! Whole meshes in virtual time: the scripts, the known faults of the past, and random histories.
//!
//! `HUBMESH_SIM_HISTORIES` sets how many histories are played, `HUBMESH_SIM_SEED` the first seed.

use hubmesh_core::mutants::Mutants;
use hubmesh_sim::history::{self, Outcome, Plan};
use hubmesh_sim::{scripts, siege};

/// Seeds that once found a fault. They stay here after the fault is mended.
const REGRESSIONS: &[u64] = &[
    32, 54, 151, 156, 503, 878, 992, 1617, 2174, 2836, 3795, 4076, 11069, 12350,
];

/// Seeds that found a fault in histories with hubs of a later version.
const LATER_REGRESSIONS: &[u64] = &[
    615301, 655872, 667902, 722855, 726826, 768452, 795213, 914336, 919988, 944292, 1091141,
];

/// Seeds that found a fault in histories with interest.
const INTEREST_REGRESSIONS: &[u64] = &[
    11, 12, 139, 168, 182, 191, 234, 288, 414, 665, 1110, 1258, 1637,
];

/// Seeds that found a fault in histories with a rogue.
const ROGUE_REGRESSIONS: &[u64] = &[30251, 31022, 40735, 41020, 42013];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn complain(outcome: &Outcome) -> String {
    format!(
        "seed {}: {:#?}\nplay it again with: cargo run --release --package mesh-sim -- replay --verbose --seed {}",
        outcome.seed, outcome.faults, outcome.seed
    )
}

/// A history as it was when its seed found a fault: without hubs of a later version.
fn played_before(seed: u64, interest: bool) -> Outcome {
    history::play_as(&Plan {
        seed,
        mutants: Mutants::default(),
        verbose: false,
        hubs: None,
        interest,
        later: false,
    })
}

#[test]
fn every_script_ends_well() {
    let failed: Vec<String> = scripts::QUICK
        .iter()
        .chain(scripts::SLOW)
        .filter_map(|(name, script)| {
            script(Mutants::default())
                .err()
                .map(|why| format!("{name}: {why}"))
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn seeds_that_once_found_a_fault_find_none() {
    for seed in REGRESSIONS {
        let outcome = played_before(*seed, false);
        assert!(outcome.faults.is_empty(), "{}", complain(&outcome));
    }
    for seed in LATER_REGRESSIONS {
        let outcome = history::play(*seed, Mutants::default());
        assert!(outcome.faults.is_empty(), "{}", complain(&outcome));
    }
    for seed in INTEREST_REGRESSIONS {
        let outcome = played_before(*seed, true);
        assert!(
            outcome.faults.is_empty(),
            "{} --interest",
            complain(&outcome)
        );
    }
    for seed in ROGUE_REGRESSIONS {
        let outcome = siege::play(*seed, Mutants::default());
        assert!(outcome.faults.is_empty(), "{} --rogue", complain(&outcome));
    }
}

#[test]
fn random_histories_break_no_invariant() {
    let first = setting("HUBMESH_SIM_SEED", 1);
    for seed in first..first + setting("HUBMESH_SIM_HISTORIES", 2_000) {
        let outcome = history::play(seed, Mutants::default());
        assert!(outcome.faults.is_empty(), "{}", complain(&outcome));
    }
}

#[test]
fn random_histories_with_interest_break_no_invariant() {
    let first = setting("HUBMESH_SIM_SEED", 1);
    for seed in first..first + setting("HUBMESH_SIM_HISTORIES", 2_000) {
        let outcome = history::play_with_interest(seed, Mutants::default());
        assert!(
            outcome.faults.is_empty(),
            "{} --interest",
            complain(&outcome)
        );
    }
}

#[test]
fn a_rogue_hub_breaks_nothing_that_holds_among_honest_ones() {
    let first = setting("HUBMESH_SIM_SEED", 1);
    for seed in first..first + setting("HUBMESH_SIM_HISTORIES", 2_000) / 5 {
        let outcome = siege::play(seed, Mutants::default());
        assert!(outcome.faults.is_empty(), "{} --rogue", complain(&outcome));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..20 {
        let [first, second] = [(); 2].map(|()| history::play(seed, Mutants::default()));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        let [first, second] = [(); 2].map(|()| siege::play(seed, Mutants::default()));
        assert_eq!(first.trace, second.trace, "seed {seed} with a rogue");
    }
    assert_ne!(
        history::play(1, Mutants::default()).trace,
        history::play(2, Mutants::default()).trace
    );
}

/// The most histories that may pass before a known fault is found.
#[cfg(feature = "mutants")]
const SEEDS_PER_MUTANT: u64 = 100;

/// In the table of all faults, a script finds this fault before the histories. The histories must find it as well.
#[test]
#[cfg(feature = "mutants")]
fn random_histories_see_that_a_room_is_taken_over_by_nobody() {
    let (_, mutant) = Mutants::EACH
        .iter()
        .find(|(name, _)| *name == "rooms_not_taken_over")
        .expect("it is among them");
    let is_seen = |seed| {
        let faults = history::play(seed, *mutant).faults;
        faults.iter().any(|fault| fault.contains(" 29: "))
    };
    assert!((1..=SEEDS_PER_MUTANT).any(is_seen));
}

#[test]
#[cfg(feature = "mutants")]
fn every_known_fault_is_caught() {
    use hubmesh_sim::catch::{self, Catch};

    let table: Vec<Catch> = Mutants::EACH
        .iter()
        .map(|(name, mutant)| catch::catch(name, *mutant, SEEDS_PER_MUTANT))
        .collect();
    for row in &table {
        println!("{row}");
    }
    let survivors: Vec<&str> = table
        .iter()
        .filter(|row| row.caught.is_none())
        .map(|row| row.mutant)
        .collect();
    assert!(survivors.is_empty(), "nothing finds {survivors:?}");
}
