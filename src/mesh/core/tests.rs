//! What the core promises beyond what its parts do each for itself.

use super::ids::Dialect;
use super::*;

const ME: HubId = HubId([1; 20]);

fn at(ms: u64) -> Now {
    Now {
        at: Moment(ms * 1_000),
        wall_ms: 1_000_000 + ms,
    }
}

fn core(config: CoreConfig) -> Core {
    let config = CoreConfig { me: ME, ..config };
    Core::new(config, at(0))
}

fn global() -> NetworkKey {
    NetworkKey::new(Dialect::Pigeon, "global").unwrap()
}

fn peer(name: &str) -> PeerId {
    PeerId::new(name).unwrap()
}

fn join(claim: u64, name: &str) -> Join {
    Join {
        claim: ClaimNo(claim),
        network: global(),
        peer: peer(name),
        data: None,
        quiet: false,
        proof: Bytes::new(),
    }
}

fn outputs(core: &mut Core) -> Vec<Output> {
    std::iter::from_fn(|| core.poll_output()).collect()
}

#[test]
fn an_id_changes_hands_three_times_on_one_hub_and_no_fourth_time() {
    let mut core = core(CoreConfig {
        contest: ContestConfig {
            replace: true,
            ..ContestConfig::default()
        },
        ..CoreConfig::default()
    });
    for claim in 1..=5 {
        core.join(at(claim), join(claim, "wanted"));
    }
    let verdicts: Vec<(u64, bool)> = outputs(&mut core)
        .into_iter()
        .filter_map(|output| match output {
            Output::Accepted { claim, .. } => Some((claim.0, true)),
            Output::Refused { claim, why } => {
                assert_eq!(why, JoinRefusal::TakeoverLimit);
                Some((claim.0, false))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        verdicts,
        [(1, true), (2, true), (3, true), (4, true), (5, false)]
    );
}

#[test]
fn a_hub_that_left_the_mesh_dials_nobody_any_more() {
    let mut core = core(CoreConfig {
        bootstrap: vec!["ws://first/mesh".to_owned()],
        ..CoreConfig::default()
    });
    core.handle_timeout(at(1));
    let dialed = outputs(&mut core)
        .into_iter()
        .find_map(|output| match output {
            Output::Dial { dial, .. } => Some(dial),
            _ => None,
        });
    assert!(dialed.is_some());
    // Nothing is above the highest epoch, so that this hub gives in at once.
    let clone = Incarnation {
        epoch: u32::MAX,
        nonce: 7,
    };
    core.handle_link_up(
        at(2),
        LinkUp {
            link: LinkId(1),
            hub: ME,
            incarnation: clone,
            dialed,
            dial_number: 1,
        },
    );
    assert!(core.has_left());
    core.set_bootstrap(at(3), vec!["ws://second/mesh".to_owned()]);
    for second in 1..=300 {
        core.handle_timeout(at(1_000 * second));
    }
    let dials = outputs(&mut core)
        .into_iter()
        .filter(|output| matches!(output, Output::Dial { .. }));
    assert_eq!(dials.count(), 0);
}
