//! Which rooms a hub guards, beside other hubs whose lines the tests make up.

use super::*;
use crate::directory::{ClaimQuota, Directory};
use crate::frames::{Change, Claim, Entry, Set};
use crate::ids::{ClaimNo, Dialect, Hlc, Incarnation, LeaveReason, Moment, PeerId};

fn hub(no: u8) -> HubId {
    HubId([no; 20])
}

fn room(no: u64) -> NetworkKey {
    NetworkKey::new(Dialect::Rooms, &format!("room {no}")).unwrap()
}

fn guards(staying: &[HubId]) -> Guards {
    let mut guards = Guards::new(1_000, Mutants::NONE);
    guards.set_staying(staying.to_vec());
    guards
}

#[test]
fn of_the_hubs_that_stay_one_guards_each_room_and_it_takes_over_first() {
    let hubs: Vec<HubId> = (0..9).map(hub).collect();
    let guards = guards(&hubs);
    let mut rooms_of = [0; 9];
    for no in 0..900 {
        let (room, lister) = (room(no), hubs[(no % 9) as usize]);
        let guardians = hubs
            .iter()
            .filter(|me| guards.is_guardian(**me, &room, lister));
        let guardians: Vec<&HubId> = guardians.collect();
        let order = TakeOverOrder::of(&room);
        let others = hubs.iter().filter(|hub| **hub != lister);
        let first = others.min_by_key(|hub| order.rank(hub)).unwrap();
        assert_eq!(guardians, [first]);
        rooms_of[usize::from(first.0[0])] += 1;
    }
    let is_fair = |count: &i32| (60..140).contains(count);
    assert!(rooms_of.iter().all(is_fair), "{rooms_of:?}");
}

#[test]
fn a_hub_guards_twice_its_part_of_another_hub_s_rooms_and_a_few_more() {
    let hubs: Vec<HubId> = (0..200).map(hub).collect();
    assert_eq!(guards(&hubs).share(), 2 * 1_000 / 200 + 32);
    assert_eq!(guards(&[]).share(), 2_032);
    let (me, other) = (hub(1), hub(2));
    let mut guards = guards(&[me, other]);
    guards.most_rooms = 1;
    // Two hubs: the room of each is guarded by the other.
    for no in 0..40 {
        let decided = guards.decide(me, &room(no), Some(other));
        assert_eq!(decided == Decided::Guarded, no < 33);
    }
    assert_eq!((guards.len(), guards.take_place()), (33, Some(0)));
    assert_eq!(
        guards.decide(me, &room(40), Some(hub(3))),
        Decided::AsBefore
    );
    guards.try_again();
    assert_eq!(guards.take_place(), Some(0), "there was no space");
    assert_eq!(guards.decide(me, &room(1), None), Decided::LetGo);
    assert_eq!(guards.decide(me, &room(39), Some(other)), Decided::Guarded);
    guards.try_again();
    assert_eq!(guards.take_place(), None);
}

#[test]
fn a_room_is_guarded_while_one_other_hub_lists_it_and_no_other_comes_first() {
    let (me, other, room) = (hub(1), hub(2), room(1));
    let mut guards = guards(&[]);
    let decide = |guards: &mut Guards, lister| guards.decide(me, &room, lister);
    assert_eq!(
        decide(&mut guards, Some(other)),
        Decided::AsBefore,
        "who stays is not known"
    );
    guards.set_staying(vec![other, me]);
    assert_eq!(guards.take_place(), Some(0));
    assert_eq!(decide(&mut guards, Some(me)), Decided::AsBefore);
    assert_eq!(decide(&mut guards, Some(other)), Decided::Guarded);
    assert_eq!(decide(&mut guards, Some(other)), Decided::AsBefore);
    guards.set_staying(vec![me, other]);
    assert_eq!(guards.take_place(), None, "the same hubs");
    // The hub that lists it is lost.
    guards.set_staying(vec![me]);
    assert_eq!(decide(&mut guards, Some(other)), Decided::AsBefore);
    assert!(guards.includes(&room));
    assert_eq!(
        decide(&mut guards, Some(hub(3))),
        Decided::Guarded,
        "for another hub"
    );
    assert_eq!(guards.of_hub, BTreeMap::from([(hub(3), 1)]));
    // This hub drains.
    guards.set_staying(vec![other]);
    assert_eq!(decide(&mut guards, Some(hub(3))), Decided::LetGo);
    assert_eq!(guards.of_hub, BTreeMap::new());
    guards.review([
        room.clone(),
        NetworkKey::new(Dialect::Pigeon, "no room").unwrap(),
    ]);
    assert_eq!(guards.take_undecided(), BTreeSet::from([room.clone()]));
}

/// A directory with these lines.
fn lines(said: &[(u8, &NetworkKey)]) -> Directory {
    let life = Incarnation { epoch: 0, nonce: 1 };
    let mut directory = Directory::new(hub(0), life, 1, usize::MAX, Mutants::NONE);
    directory.set_quota(ClaimQuota::default());
    directory.open_lines();
    for no in 1..=3 {
        let set = Set::networks(hub(no));
        directory.begin_set(&set, life);
        let said = said.iter().filter(|(by, _)| *by == no);
        let entries = (1..).zip(said).map(|(seq, (_, network))| Entry {
            seq,
            change: Change::Claim(Claim {
                network: (*network).clone(),
                peer: PeerId::Text("n".into()),
                claim: ClaimNo(seq),
                hlc: Hlc::from_wall(1),
                quiet: true,
                data: None,
            }),
        });
        let entries: Vec<Entry> = entries.collect();
        directory.apply_set(Moment(0), &set, entries, 10);
        directory.complete_set(&set, 10);
        directory.show_set(&set, true, LeaveReason::HubLost);
    }
    directory
}

#[test]
fn a_room_is_listed_by_one_hub_alone_if_no_other_that_is_seen_lists_it() {
    let mut directory = lines(&[
        (1, &room(1)),
        (1, &room(2)),
        (2, &room(2)),
        // No honest hub has two lines of a room.
        (3, &room(3)),
        (3, &room(3)),
    ]);
    let only = |directory: &Directory, no| directory.lines().only_shown_in(&room(no));
    assert_eq!(only(&directory, 1), Some(hub(1)));
    assert_eq!(only(&directory, 2), None);
    assert_eq!(only(&directory, 3), Some(hub(3)));
    assert_eq!(only(&directory, 4), None);
    directory.show_set(&Set::networks(hub(1)), false, LeaveReason::HubLost);
    assert_eq!(only(&directory, 1), None);
    assert_eq!(only(&directory, 2), Some(hub(2)));
    directory.lines_mut().author(&room(2), 1);
    assert_eq!(only(&directory, 2), None);
    directory.lines_mut().author(&room(4), 1);
    assert_eq!(only(&directory, 4), Some(hub(0)));
}

#[test]
fn all_rooms_are_read_a_part_at_a_time() {
    let other = NetworkKey::new(Dialect::Pigeon, "no room").unwrap();
    let rooms: Vec<NetworkKey> = (0..5).map(room).collect();
    let mut said: Vec<(u8, &NetworkKey)> = rooms.iter().map(|room| (1, room)).collect();
    said.insert(2, (1, &other));
    let directory = lines(&said);
    let (mut read, mut from, mut parts) = (Vec::new(), Some(0), 0);
    while let Some(place) = from {
        let (part, next) = directory.lines().rooms_from(place, 2);
        assert!(part.len() <= 2);
        read.extend(part);
        from = next;
        parts += 1;
    }
    assert_eq!((read, parts), (rooms, 3));
    let none = Directory::new(
        hub(0),
        Incarnation { epoch: 0, nonce: 1 },
        1,
        9,
        Mutants::NONE,
    );
    assert_eq!(none.lines().rooms_from(0, 2), (Vec::new(), None));
    assert_eq!(none.lines().only_shown_in(&room(0)), None);
}
