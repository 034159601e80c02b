//! What the core promises beyond what its parts do each for itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::api::{Join, JoinRefusal, LinkUp, PeerEvent, Recipients};
use super::ids::{ClaimNo, Dialect, NetworkKey, PeerId};
use super::*;
use crate::frames::{Change, Claim, Entry, PULLS_SINCE};
use crate::policy::Policies;
use crate::reach::AddressGroup;

const ME: HubId = HubId([1; 20]);
const OTHER: HubId = HubId([2; 20]);

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
        room: None,
        address: AddressGroup::of(std::net::Ipv4Addr::LOCALHOST.into()),
        counts_for: None,
    }
}

fn outputs(core: &mut Core) -> Vec<Output> {
    std::iter::from_fn(|| core.poll_output()).collect()
}

/// The verdicts on joins, and the probes that are asked for, in order.
fn verdicts(core: &mut Core) -> Vec<(&'static str, u64)> {
    let outputs = outputs(core).into_iter();
    outputs
        .filter_map(|output| match output {
            Output::Accepted { claim, .. } => Some(("accepted", claim.0)),
            Output::Superseded { claim } => Some(("superseded", claim.0)),
            Output::Probe { token, .. } => Some(("probed", token)),
            Output::Refused { claim, why } => {
                assert_eq!(why, JoinRefusal::TakeoverLimit);
                Some(("refused", claim.0))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn an_id_changes_hands_three_times_on_one_hub_and_after_that_from_the_dead_alone() {
    let mut core = core(CoreConfig {
        contest: ContestConfig {
            replace: true,
            ..ContestConfig::default()
        },
        ..CoreConfig::default()
    });
    for claim in 1..=4 {
        core.join(at(claim), join(claim, "wanted"));
    }
    let accepted = verdicts(&mut core);
    assert_eq!(accepted.last(), Some(&("superseded", 3)));
    core.join(at(5), join(5, "wanted"));
    let asked = verdicts(&mut core);
    let [("probed", first)] = asked[..] else {
        panic!("{asked:?}");
    };
    core.handle_probe_result(at(6), first, true);
    assert_eq!(verdicts(&mut core), [("refused", 5)]);
    // It was alive just now.
    core.join(at(7), join(6, "wanted"));
    assert_eq!(verdicts(&mut core), [("refused", 6)]);
    core.join(at(1_007), join(7, "wanted"));
    let asked = verdicts(&mut core);
    let [("probed", second)] = asked[..] else {
        panic!("{asked:?}");
    };
    core.handle_probe_result(at(1_008), second, false);
    let asked = verdicts(&mut core);
    let [("superseded", 4), ("probed", newcomer)] = asked[..] else {
        panic!("{asked:?}");
    };
    core.handle_probe_result(at(1_009), newcomer, true);
    assert_eq!(verdicts(&mut core), [("accepted", 7)]);
}

/// A link to a machine that uses our id, in this epoch.
fn meet_clone(core: &mut Core, ms: u64, epoch: u32) {
    let up = LinkUp {
        link: LinkId(ms),
        hub: ME,
        incarnation: Incarnation { epoch, nonce: 7 },
        dialed: None,
        dial_number: 1,
        version: PULLS_SINCE,
    };
    core.handle_link_up(at(ms), up);
}

fn dials(core: &mut Core) -> usize {
    let outputs = outputs(core).into_iter();
    outputs
        .filter(|output| matches!(output, Output::Dial { .. }))
        .count()
}

#[test]
fn a_hub_that_left_the_mesh_dials_nobody_until_it_comes_back() {
    let mut core = core(CoreConfig {
        bootstrap: vec!["ws://first/mesh".to_owned()],
        ..CoreConfig::default()
    });
    core.handle_timeout(at(1));
    assert_eq!(dials(&mut core), 1);
    let mut now = 1_000;
    for absence in [120, 240, 480, 960, 1_800, 1_800] {
        for rise in 1..=4 {
            let above = core.incarnation().epoch + 1;
            meet_clone(&mut core, now + rise, above);
        }
        assert!(core.has_left());
        outputs(&mut core);
        for second in 1..absence {
            core.handle_timeout(at(now + 1_000 * second));
            assert!(core.has_left());
        }
        assert_eq!(dials(&mut core), 0);
        now += 1_000 * (absence + 1);
        core.handle_timeout(at(now));
        assert!(!core.has_left());
        core.handle_timeout(at(now + 1));
        assert_eq!(dials(&mut core), 1, "it looks for the mesh again");
        now += 60_000;
    }
}

#[test]
fn no_life_that_is_too_far_above_makes_a_hub_rise_or_leave() {
    let mut core = core(CoreConfig::default());
    for (ms, epoch) in (1..).zip([u32::MAX, u32::MAX - 1, 1 << 31, (1 << 16) + 1]) {
        meet_clone(&mut core, ms, epoch);
        assert_eq!(core.incarnation().epoch, 0, "{epoch}");
        assert!(!core.has_left());
    }
    meet_clone(&mut core, 9, 1 << 16);
    assert_eq!(core.incarnation().epoch, (1 << 16) + 1);
}

fn gone(seq: u64, claim: u64) -> Entry {
    Entry {
        seq,
        change: Change::Gone {
            network: global(),
            peer: peer(&format!("peer {claim}")),
            claim: ClaimNo(claim),
            reason: LeaveReason::Closed,
        },
    }
}

fn there(claim: u64) -> Entry {
    Entry {
        seq: claim,
        change: Change::Claim(Claim {
            network: global(),
            peer: peer(&format!("peer {claim}")),
            claim: ClaimNo(claim),
            hlc: ids::Hlc::from_wall(claim),
            quiet: false,
            data: None,
        }),
    }
}

#[test]
fn nobody_hears_of_the_leave_of_a_peer_that_it_never_knew_when_a_network_becomes_small() {
    const OTHERS: u64 = 20;
    let mut core = core(CoreConfig {
        discovery_limit: 4,
        ..CoreConfig::default()
    });
    {
        let mut directory = core.directory().write();
        directory.begin(OTHER, Incarnation { epoch: 0, nonce: 2 });
        let everybody = (1..=OTHERS).map(there).collect();
        directory.apply(Moment(0), &OTHER, everybody, OTHERS);
        directory.complete(&OTHER, OTHERS);
        directory.set_visible(&OTHER, true, LeaveReason::HubLost);
    }
    core.join(at(1), join(1, "me"));
    let mut known: Vec<PeerId> = outputs(&mut core)
        .into_iter()
        .flat_map(|output| match output {
            Output::Accepted { roster, .. } => roster,
            _ => Vec::new(),
        })
        .map(|(peer, _)| peer)
        .collect();
    let is_known = |claim: &u64| known.contains(&peer(&format!("peer {claim}")));
    let stranger = (1..=OTHERS).find(|claim| !is_known(claim)).unwrap();
    let mut seq = OTHERS;
    for claim in (1..=OTHERS).filter(|claim| *claim != stranger) {
        seq += 1;
        let leaves = vec![gone(seq, claim)];
        let directory = Arc::clone(core.directory());
        directory.write().apply(Moment(0), &OTHER, leaves, seq);
    }
    core.handle_timeout(at(2));
    // In one step: the last stranger goes, and the network is found to have become small.
    let last = vec![gone(seq + 1, stranger)];
    let directory = Arc::clone(core.directory());
    directory.write().apply(Moment(0), &OTHER, last, seq + 1);
    core.handle_timeout(at(60_000));
    for output in outputs(&mut core) {
        let Output::Notify { event, .. } = output else {
            continue;
        };
        match event {
            PeerEvent::Joined { peer, .. } => known.push(peer),
            PeerEvent::Left { peer, .. } => {
                let place = known.iter().position(|known| *known == peer);
                assert!(place.is_some(), "{peer} was never known");
                known.swap_remove(place.unwrap());
            }
            PeerEvent::Updated { .. } | PeerEvent::Hosts { .. } => {}
        }
    }
    assert!(known.is_empty());
}

#[test]
fn whoever_loses_its_whole_neighbourhood_in_a_large_network_learns_of_another() {
    const OTHERS: u64 = 400;
    const LIMIT: usize = 16;
    let mut core = core(CoreConfig {
        discovery_limit: LIMIT,
        ..CoreConfig::default()
    });
    for n in 1..=OTHERS {
        core.join(at(n), join(n, &format!("peer {n}")));
    }
    outputs(&mut core);
    // More than are told of others in one go.
    let mut rosters = Rosters::default();
    for n in OTHERS + 1..=OTHERS + 12 {
        rosters.insert(ClaimNo(n), BTreeSet::new());
        core.join(at(n), join(n, &format!("peer {n}")));
    }
    replay(&mut core, &mut rosters);
    // Everybody that one of them knows leaves.
    let known: BTreeSet<PeerId> = rosters.values().flatten().cloned().collect();
    let leaving = |n: &u64| known.contains(&peer(&format!("peer {n}")));
    for n in (1..=OTHERS).filter(leaving) {
        core.leave(at(2_000), ClaimNo(n), LeaveReason::Closed);
    }
    let soon = at(2_100).at;
    while let Some(next) = core.poll_timeout().filter(|next| *next <= soon) {
        core.handle_timeout(at(next.0.div_ceil(1_000)));
    }
    replay(&mut core, &mut rosters);
    for (claim, roster) in &rosters {
        assert!(roster.len() >= LIMIT / 8, "{claim:?} knows {roster:?}");
    }
}

/// Who each of some claims knows.
type Rosters = BTreeMap<ClaimNo, BTreeSet<PeerId>>;

/// What the core has to say to these claims; their joins and leaves alternate.
fn replay(core: &mut Core, rosters: &mut Rosters) {
    for output in outputs(core) {
        match output {
            Output::Accepted { claim, roster, .. } => {
                if let Some(known) = rosters.get_mut(&claim) {
                    known.extend(roster.into_iter().map(|(peer, _)| peer));
                }
            }
            Output::Notify {
                to: Recipients::Only(claims),
                event,
                ..
            } => {
                for claim in claims {
                    let Some(known) = rosters.get_mut(&claim) else {
                        continue;
                    };
                    let alternates = match &event {
                        PeerEvent::Joined { peer, .. } => known.insert(peer.clone()),
                        PeerEvent::Left { peer, .. } => known.remove(peer),
                        PeerEvent::Updated { .. } | PeerEvent::Hosts { .. } => true,
                    };
                    assert!(alternates, "{claim:?}: {event:?}");
                }
            }
            _ => {}
        }
    }
}

#[test]
fn a_network_that_grows_over_the_limit_costs_its_size_and_not_the_square_of_it() {
    const LIMIT: u64 = 200;
    let mut core = core(CoreConfig {
        discovery_limit: LIMIT as usize,
        ..CoreConfig::default()
    });
    for n in 1..=LIMIT {
        core.join(at(n), join(n, &format!("peer {n}")));
    }
    assert_eq!(core.presence.rosters.entries(), 0);
    outputs(&mut core);
    core.join(at(1_000), join(1_000, "one more"));
    let entries = core.presence.rosters.entries();
    assert!(entries <= 5 * LIMIT as usize, "{entries} entries");
    // Who was there knows all that were there: each is told of a leave, but for the one that leaves.
    outputs(&mut core);
    core.leave(at(1_001), ClaimNo(7), LeaveReason::Closed);
    let told = outputs(&mut core)
        .into_iter()
        .find_map(|output| match output {
            Output::Notify {
                to: Recipients::Only(claims),
                event: PeerEvent::Left { .. },
                ..
            } => Some(claims),
            _ => None,
        });
    let told = told.expect("they are told");
    let elders = (1..=LIMIT).filter(|claim| *claim != 7).map(ClaimNo);
    assert!(elders.into_iter().all(|claim| told.contains(&claim)));
    assert!(!told.contains(&ClaimNo(7)));
    // And of none twice.
    core.join(at(1_002), join(1_002, "peer 7"));
    outputs(&mut core);
    core.leave(at(1_003), ClaimNo(1_002), LeaveReason::Closed);
    core.leave(at(1_004), ClaimNo(1_000), LeaveReason::Closed);
    for claim in (1..=LIMIT).filter(|claim| *claim != 7) {
        core.leave(at(2_000 + claim), ClaimNo(claim), LeaveReason::Closed);
    }
    assert_eq!(core.presence.rosters.entries(), 0);
}

fn room() -> NetworkKey {
    NetworkKey::new(Dialect::PeerJsRoomMode, "peerjs/attic").unwrap()
}

fn enter(claim: u64, name: &str) -> Join {
    Join {
        network: room(),
        ..join(claim, name)
    }
}

/// The claims that were taken in and sent away, in that order each.
fn admissions(core: &mut Core) -> (Vec<u64>, Vec<u64>) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for output in outputs(core) {
        match output {
            Output::Accepted { claim, .. } => accepted.push(claim.0),
            Output::Refused { claim, why } => {
                assert_eq!(why, JoinRefusal::RoomFull);
                refused.push(claim.0);
            }
            _ => {}
        }
    }
    (accepted, refused)
}

/// Rooms take so many.
fn rooms_of(most: usize) -> Policies {
    let mut policies = Policies::default();
    policies.of_mut(Dialect::PeerJsRoomMode).capacity = Some(most);
    policies
}

#[test]
fn a_room_takes_as_many_as_it_may_and_one_more_when_one_has_left() {
    let mut core = core(CoreConfig {
        policies: rooms_of(2),
        ..CoreConfig::default()
    });
    for (claim, name) in [(1, "a"), (2, "b"), (3, "c")] {
        core.join(at(claim), enter(claim, name));
    }
    assert_eq!(admissions(&mut core), (vec![1, 2], vec![3]));
    core.leave(at(4), ClaimNo(1), LeaveReason::Closed);
    core.join(at(5), enter(5, "c"));
    core.join(at(6), join(6, "elsewhere"));
    assert_eq!(admissions(&mut core), (vec![5, 6], vec![]));
}

#[test]
fn of_those_who_come_to_a_full_room_on_two_hubs_at_once_the_last_goes() {
    let config = CoreConfig {
        policies: rooms_of(3),
        ..CoreConfig::default()
    };
    let mut core = core(config);
    for (claim, name) in [(1, "a"), (2, "b"), (3, "c")] {
        core.join(at(10 * claim), enter(claim, name));
    }
    assert_eq!(admissions(&mut core), (vec![1, 2, 3], vec![]));
    let others = [("x", 15), ("y", 1_000_000)];
    let there = others.into_iter().zip(1..).map(|((name, ms), seq)| Entry {
        seq,
        change: Change::Claim(Claim {
            network: room(),
            peer: peer(name),
            claim: ClaimNo(seq),
            hlc: ids::Hlc::from_wall(1_000_000 + ms),
            quiet: false,
            data: None,
        }),
    });
    let directory = Arc::clone(core.directory());
    let mut directory = directory.write();
    directory.begin(OTHER, Incarnation { epoch: 0, nonce: 2 });
    directory.apply(Moment(0), &OTHER, there.collect(), 2);
    directory.complete(&OTHER, 2);
    directory.set_visible(&OTHER, true, LeaveReason::HubLost);
    drop(directory);
    core.handle_timeout(at(100));
    // By clock they are a, x, b, c, y: this hub's last is one too many, and the other's is the other's business.
    assert_eq!(admissions(&mut core), (vec![], vec![3]));
    assert!(core.directory().read().own_claim(ClaimNo(3)).is_none());
}

#[test]
fn in_a_realm_nobody_is_told_of_others() {
    let mut core = core(CoreConfig {
        discovery_limit: 1,
        ..CoreConfig::default()
    });
    let realm = NetworkKey::new(Dialect::PeerJs, "peerjs").unwrap();
    for claim in 1..=5 {
        let network = realm.clone();
        let name = format!("peer {claim}");
        core.join(
            at(claim),
            Join {
                network,
                ..join(claim, &name)
            },
        );
    }
    core.leave(at(6), ClaimNo(5), LeaveReason::Closed);
    for output in outputs(&mut core) {
        match output {
            Output::Accepted { roster, .. } => assert!(roster.is_empty()),
            Output::Notify { event, .. } => panic!("somebody is told: {event:?}"),
            _ => {}
        }
    }
    assert_eq!(core.directory().read().ids(&realm, 9).len(), 4);
    assert_eq!(core.directory().read().ids(&realm, 3).len(), 3);
}
