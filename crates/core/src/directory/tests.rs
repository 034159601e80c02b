use bytes::Bytes;
use std::collections::BTreeSet;

use super::*;
use crate::frames::{Change, Claim};
use crate::ids::{Dialect, Moment, mix};

const ME: HubId = HubId([1; 20]);
const OTHER: HubId = HubId([2; 20]);
const THIRD: HubId = HubId([3; 20]);

fn life(nonce: u64) -> Incarnation {
    Incarnation { epoch: 0, nonce }
}

fn global() -> NetworkKey {
    NetworkKey::new(Dialect::Pigeon, "global").unwrap()
}

fn peer(name: &str) -> PeerId {
    PeerId::new(name).unwrap()
}

fn claim(name: &str, number: u64, hlc: u64) -> Claim {
    Claim {
        network: global(),
        peer: peer(name),
        claim: ClaimNo(number),
        hlc: Hlc(hlc),
        quiet: false,
        data: None,
    }
}

fn entry(seq: u64, claim: Claim) -> Entry {
    Entry {
        seq,
        change: Change::Claim(claim),
    }
}

fn gone(seq: u64, name: &str, number: u64) -> Entry {
    Entry {
        seq,
        change: Change::Gone {
            network: global(),
            peer: peer(name),
            claim: ClaimNo(number),
            reason: LeaveReason::Goodbye,
        },
    }
}

fn directory(large: usize) -> Directory {
    Directory::new(ME, life(1), 7, large, Mutants::NONE)
}

/// A hub of which a first set has arrived, and which is shown.
fn with_hub(directory: &mut Directory, hub: HubId, entries: Vec<Entry>) {
    directory.begin(hub, life(2));
    let to = entries.last().map_or(0, |entry| entry.seq);
    directory.apply(Moment(0), &hub, entries, to);
    directory.complete(&hub, to);
    directory.set_visible(&hub, true, LeaveReason::HubLost);
}

fn names(members: Vec<(PeerId, Option<Bytes>)>) -> BTreeSet<String> {
    members
        .into_iter()
        .map(|(peer, _)| peer.to_string())
        .collect()
}

#[test]
fn the_winner_is_the_highest_clock_whatever_the_order() {
    for flip in [false, true] {
        let mut directory = directory(10);
        let mut sets = [
            (OTHER, vec![entry(1, claim("x", 1, 10))]),
            (THIRD, vec![entry(1, claim("x", 1, 20))]),
        ];
        if flip {
            sets.reverse();
        }
        for (hub, entries) in sets {
            with_hub(&mut directory, hub, entries);
        }
        assert_eq!(directory.resolve(&global(), &peer("x")).unwrap().hub, THIRD);
        directory.set_visible(&THIRD, false, LeaveReason::HubLost);
        assert_eq!(directory.resolve(&global(), &peer("x")).unwrap().hub, OTHER);
    }
}

#[test]
fn equal_clocks_are_decided_by_the_hub_id() {
    let mut directory = directory(10);
    with_hub(&mut directory, THIRD, vec![entry(1, claim("x", 1, 10))]);
    with_hub(&mut directory, OTHER, vec![entry(1, claim("x", 1, 10))]);
    assert_eq!(directory.resolve(&global(), &peer("x")).unwrap().hub, THIRD);
}

#[test]
fn an_incomplete_or_hidden_set_is_not_seen() {
    let mut directory = directory(10);
    directory.begin(OTHER, life(2));
    directory.apply(Moment(0), &OTHER, vec![entry(1, claim("x", 1, 10))], 1);
    assert_eq!(directory.resolve(&global(), &peer("x")), None);
    assert!(directory.members(&global(), &peer("nobody")).is_empty());
}

#[test]
fn changes_are_reported_only_where_there_is_interest() {
    let mut directory = directory(10);
    with_hub(&mut directory, OTHER, vec![entry(1, claim("x", 1, 10))]);
    assert!(directory.take_changes().is_empty());
    directory.author(&claim("mine", 1, 11));
    assert_eq!(directory.take_changes().len(), 1);
    directory.apply(
        Moment(0),
        &OTHER,
        vec![gone(2, "x", 1), entry(3, claim("y", 2, 12))],
        3,
    );
    let changes = directory.take_changes();
    assert_eq!(changes.len(), 2);
    assert_eq!(
        (changes[0].peer.clone(), changes[0].reason),
        (peer("x"), LeaveReason::Goodbye)
    );
    assert!(changes[0].after.is_none() && changes[1].before.is_none());
}

#[test]
fn a_peer_that_moves_between_hubs_neither_leaves_nor_joins() {
    let mut directory = directory(10);
    directory.author(&claim("mine", 1, 1));
    with_hub(&mut directory, OTHER, vec![entry(1, claim("x", 1, 10))]);
    directory.take_changes();
    with_hub(&mut directory, THIRD, vec![entry(1, claim("x", 9, 20))]);
    directory.apply(Moment(0), &OTHER, vec![gone(2, "x", 1)], 2);
    let changes = directory.take_changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].before.is_some() && changes[0].after.is_some() && changes[0].appeared);
}

#[test]
fn a_lost_claim_of_ours_is_named() {
    let mut directory = directory(10);
    directory.author(&claim("x", 5, 10));
    directory.take_changes();
    with_hub(&mut directory, OTHER, vec![entry(1, claim("x", 1, 20))]);
    let changes = directory.take_changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].lost, [ClaimNo(5)]);
}

#[test]
fn a_part_is_what_a_cursor_lacks_and_reaches_the_head() {
    let mut directory = directory(10);
    for number in 1..=10 {
        directory.author(&claim(&format!("p{number}"), number, number));
    }
    directory.retract(Moment(0), ClaimNo(3), LeaveReason::Closed);
    let seqs = |part: &SetPart| {
        part.entries
            .iter()
            .map(|entry| entry.seq)
            .collect::<Vec<_>>()
    };
    let whole = directory.part(&ME, 8, 1_000, |_| 1).unwrap();
    assert_eq!(
        (seqs(&whole), whole.to, whole.last),
        (vec![9, 10, 11], 11, true)
    );
    let cut = directory.part(&ME, 0, 4, |_| 1).unwrap();
    assert_eq!((seqs(&cut), cut.to, cut.last), (vec![1, 2, 4, 5], 5, false));
}

#[test]
fn what_was_applied_already_is_skipped() {
    let mut directory = directory(10);
    with_hub(
        &mut directory,
        OTHER,
        vec![entry(1, claim("x", 1, 10)), gone(2, "x", 1)],
    );
    let again = vec![
        entry(1, claim("x", 1, 10)),
        gone(2, "x", 1),
        entry(3, claim("y", 2, 11)),
    ];
    assert_eq!(directory.apply(Moment(0), &OTHER, again, 3), 1);
    assert_eq!(directory.claims_of(&OTHER).len(), 1);
}

#[test]
fn replacing_a_set_reports_the_difference_alone() {
    let mut directory = directory(10);
    directory.author(&claim("mine", 1, 1));
    let set = vec![
        entry(1, claim("stays", 1, 10)),
        entry(2, claim("goes", 2, 11)),
    ];
    with_hub(&mut directory, OTHER, set);
    directory.take_changes();
    let fresh = vec![
        entry(1, claim("stays", 1, 10)),
        entry(9, claim("comes", 3, 12)),
    ];
    directory.replace(Moment(0), &OTHER, fresh, 9);
    let changed: BTreeSet<String> = directory
        .take_changes()
        .iter()
        .map(|change| change.peer.to_string())
        .collect();
    assert_eq!(
        changed,
        BTreeSet::from(["goes".to_owned(), "comes".to_owned()])
    );
    let state = directory.origin_state(&OTHER).unwrap();
    assert_eq!(
        (state.seq, state.claims, directory.floor(&OTHER)),
        (9, 2, 9)
    );
}

#[test]
fn equal_sets_have_equal_hashes_whatever_their_history() {
    let mut straight = directory(10);
    with_hub(&mut straight, OTHER, vec![entry(4, claim("x", 2, 10))]);
    let mut winding = directory(10);
    let history = vec![
        entry(1, claim("y", 1, 3)),
        gone(2, "y", 1),
        entry(4, claim("x", 2, 10)),
    ];
    with_hub(&mut winding, OTHER, history);
    let hash = |directory: &Directory| directory.origin_state(&OTHER).unwrap().hash;
    assert_eq!(hash(&straight), hash(&winding));
    winding.apply(Moment(0), &OTHER, vec![entry(5, claim("z", 3, 11))], 5);
    assert_ne!(hash(&straight), hash(&winding));
}

#[test]
fn a_dropped_hub_leaves_nothing_behind() {
    let mut directory = directory(10);
    with_hub(
        &mut directory,
        OTHER,
        (1..=100)
            .map(|n| entry(n, claim(&format!("p{n}"), n, n)))
            .collect(),
    );
    directory.drop_origin(&OTHER, LeaveReason::HubLost);
    assert_eq!(directory.records(), 0);
    assert!(directory.networks().is_empty());
    assert_eq!(directory.network_count(), 0);
    assert_eq!(directory.hubs(), [ME]);
}

#[test]
fn the_neighbourhood_of_a_large_network_is_bounded_and_the_same_everywhere() {
    let entries = |from: u64| -> Vec<Entry> {
        (1..=300)
            .map(|n| entry(n, claim(&format!("{:016x}{:024x}", mix(from + n), n), n, n)))
            .collect()
    };
    let mut here = directory(100);
    with_hub(&mut here, OTHER, entries(0));
    with_hub(&mut here, THIRD, entries(1_000));
    let mut there = directory(100);
    with_hub(&mut there, THIRD, entries(1_000));
    with_hub(&mut there, OTHER, entries(0));
    let asker = peer(&format!("{:016x}{:024x}", mix(5), 5));
    let found = here.neighbourhood(&global(), &asker, 100);
    assert_eq!(found.len(), 100);
    assert!(!found.contains(&asker));
    assert_eq!(found, there.neighbourhood(&global(), &asker, 100));
}

#[test]
fn members_are_each_id_once_and_never_the_asker() {
    let mut directory = directory(10);
    directory.author(&claim("me", 1, 1));
    with_hub(&mut directory, OTHER, vec![entry(1, claim("x", 1, 10))]);
    with_hub(
        &mut directory,
        THIRD,
        vec![entry(1, claim("x", 1, 20)), entry(2, claim("y", 2, 21))],
    );
    let members = names(directory.members(&global(), &peer("me")));
    assert_eq!(members, BTreeSet::from(["x".to_owned(), "y".to_owned()]));
}

#[test]
fn a_source_is_vouched_for_by_its_own_hub_only() {
    let mut directory = directory(10);
    with_hub(
        &mut directory,
        OTHER,
        vec![
            entry(1, claim("x", 1, 10)),
            entry(2, claim("y", 2, 11)),
            gone(3, "y", 2),
        ],
    );
    let vouch = |hub: &HubId, name: &str, number, seq| {
        directory.vouches(hub, &global(), &peer(name), ClaimNo(number), seq)
    };
    assert_eq!(vouch(&OTHER, "x", 1, 1), Vouch::Holds);
    assert_eq!(vouch(&OTHER, "x", 7, 9), Vouch::NotYet);
    assert_eq!(vouch(&OTHER, "y", 2, 2), Vouch::Gone);
    assert_eq!(vouch(&THIRD, "x", 1, 1), Vouch::NotYet);
}

#[test]
fn no_set_that_replaces_another_leaves_a_record_behind_that_nobody_owns() {
    let crooked = [
        // Out of order.
        vec![entry(5, claim("y", 2, 20)), entry(3, claim("x", 1, 10))],
        // The same claim, of another id.
        vec![entry(5, claim("y", 1, 20))],
    ];
    for entries in crooked {
        let mut directory = directory(10);
        with_hub(&mut directory, OTHER, vec![entry(1, claim("x", 1, 10))]);
        directory.replace(Moment(0), &OTHER, entries, 6);
        assert_eq!(directory.records(), directory.claims_of(&OTHER).len());
        directory.drop_origin(&OTHER, LeaveReason::HubLost);
        with_hub(&mut directory, THIRD, Vec::new());
        assert_eq!(directory.records(), 0);
        assert!(directory.members(&global(), &peer("me")).is_empty());
    }
}

#[test]
fn a_hub_has_few_claims_of_one_id_however_many_it_makes() {
    let mut directory = directory(100);
    let entries = (1..=10_000).map(|seq| entry(seq, claim("x", seq, seq)));
    with_hub(&mut directory, OTHER, entries.collect());
    with_hub(&mut directory, THIRD, vec![entry(1, claim("x", 1, 1))]);
    assert_eq!(directory.origin_state(&OTHER).unwrap().claims, MAX_SAME);
    assert_eq!(directory.origin_state(&THIRD).unwrap().claims, 1);
    assert_eq!(directory.records(), MAX_SAME + 1);
    // One that is retracted makes space for the next.
    directory.apply(Moment(0), &OTHER, vec![gone(10_001, "x", 1)], 10_001);
    let later = vec![entry(10_002, claim("x", 10_002, 99_999))];
    directory.apply(Moment(0), &OTHER, later, 10_002);
    let (found, _) = directory.holder(&global(), &peer("x")).unwrap();
    assert_eq!((found.hub, found.claim), (OTHER, ClaimNo(10_002)));
}

#[test]
fn a_network_that_was_named_in_vain_is_forgotten() {
    let mut directory = directory(100);
    with_hub(&mut directory, OTHER, vec![entry(1, claim("x", 1, 1))]);
    let elsewhere = |number: u64| Claim {
        network: NetworkKey::new(Dialect::Pigeon, &format!("n{number}")).unwrap(),
        ..claim("y", number, 1)
    };
    let far = (0..100).map(|number| entry((1 << 40) + number, elsewhere(number)));
    directory.apply(Moment(0), &OTHER, far.collect(), 1 << 41);
    assert_eq!(directory.networks().len(), 1);
    assert_eq!((directory.by_name.len(), directory.records()), (1, 1));
}

#[test]
fn who_came_last_to_a_room_is_counted_as_if_all_were_sorted() {
    let room = NetworkKey::new(Dialect::PeerJsRoomMode, "room").unwrap();
    for round in 0..200_u64 {
        let mut directory = directory(100);
        let mut all = Vec::new();
        for n in 0..12 {
            let hlc = mix(round * 100 + n) % 20;
            let claim = Claim {
                network: room.clone(),
                ..claim(&format!("p{n}"), n + 1, hlc)
            };
            let hub = [ME, OTHER, THIRD][(mix(n ^ round) % 3) as usize];
            if hub == ME {
                directory.author(&claim);
            } else {
                if directory.origin_state(&hub).is_none() {
                    with_hub(&mut directory, hub, Vec::new());
                }
                directory.apply(Moment(0), &hub, vec![entry(n + 1, claim)], n + 1);
            }
            all.push((Hlc(hlc), hub, ClaimNo(n + 1)));
        }
        all.sort_unstable();
        for most in [0, 1, 4, 11, 12] {
            let late = all.iter().skip(most).filter(|(_, hub, _)| *hub == ME);
            let mut late: Vec<ClaimNo> = late.map(|(.., claim)| *claim).collect();
            let mut counted = directory.own_excess_members(&room, most);
            late.sort_unstable();
            counted.sort_unstable();
            assert_eq!(counted, late, "round {round}, most {most}");
        }
    }
}

#[test]
fn what_other_hubs_claim_takes_up_so_much_each_and_together() {
    let mut directory = directory(100);
    directory.set_quota(ClaimQuota {
        claims: 10,
        bytes: 100,
    });
    let with_data = |seq: u64, bytes: usize| {
        let data = Some(Bytes::from(vec![b'x'; bytes]));
        entry(
            seq,
            Claim {
                data,
                ..claim(&format!("p{seq}"), seq, seq)
            },
        )
    };
    let hub = |n: u8| HubId([n; 20]);
    let claims = |directory: &Directory, n| directory.origin_state(&hub(n)).unwrap().claims;
    with_hub(
        &mut directory,
        hub(10),
        (1..=20).map(|seq| with_data(seq, 1)).collect(),
    );
    assert_eq!(claims(&directory, 10), 10, "of one hub, so many");
    with_hub(
        &mut directory,
        hub(11),
        (1..=20).map(|seq| with_data(seq, 30)).collect(),
    );
    assert_eq!(claims(&directory, 11), 3, "of one hub, so many bytes");
    for n in 12..20 {
        with_hub(
            &mut directory,
            hub(n),
            (1..=10).map(|seq| with_data(seq, 1)).collect(),
        );
    }
    assert_eq!(
        directory.records(),
        40,
        "of all together, four times as many"
    );
    assert_eq!(directory.left_out(), 10 + 17 + 53);
    // Whoever leaves makes space, and nothing is counted twice.
    directory.drop_origin(&hub(10), LeaveReason::HubLost);
    let again = (1..=10).map(|seq| with_data(seq, 10)).collect();
    directory.replace(Moment(0), &hub(11), again, 10);
    assert_eq!(claims(&directory, 11), 10);
    assert_eq!(directory.used.claims, directory.records());
    for n in 11..20 {
        directory.drop_origin(&hub(n), LeaveReason::HubLost);
    }
    assert_eq!((directory.used, directory.records()), (Usage::default(), 0));
    // One's own are not bounded by it.
    for number in 1..=50 {
        directory.author(&claim(&format!("own{number}"), number, number));
    }
    assert_eq!(directory.records(), 50);
}

#[test]
fn a_hub_that_claims_an_id_several_times_is_told_of_once() {
    let mut directory = directory(usize::MAX);
    directory.author(&claim("mine", 1, 1));
    let same = (1..=4).map(|n| entry(n, claim("them", n, 5)));
    with_hub(&mut directory, OTHER, same.collect());
    assert_eq!(directory.take_changes().len(), 2, "our own, and theirs");
    directory.set_visible(&OTHER, false, LeaveReason::HubLost);
    let told = directory.take_changes();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].after, None);
}

#[test]
fn of_a_hubs_claims_with_one_clock_the_same_one_wins_whatever_else_there_is() {
    let mut directory = directory(usize::MAX);
    directory.author(&claim("mine", 1, 1));
    let same = (1..=4).map(|n| entry(n, claim("them", n, 5)));
    with_hub(&mut directory, OTHER, same.collect());
    for number in 0..3_000 {
        let holder = directory.holder(&global(), &peer("them"));
        assert_eq!(holder.map(|(found, _)| found.claim), Some(ClaimNo(4)));
        directory.author(&claim(&format!("other {number}"), number + 2, 9));
    }
}
