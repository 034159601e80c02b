use hubmesh_core::api::{Posted, SignalFailure, Source};
use hubmesh_core::ids::{HubId, Incarnation, LeaveReason, SignalKind};

use super::*;
use crate::peers::mailbox::Capacity;

fn id(n: u8) -> PeerId {
    PeerId::Hex([n; 20])
}

fn network(name: &str) -> NetworkKey {
    NetworkKey::new(Dialect::Pigeon, name).expect("a network's name")
}

struct Room {
    registry: Registry,
}

impl Room {
    fn new() -> Self {
        Room {
            registry: Registry::new(Metrics::new(), Policies::default()),
        }
    }

    fn insert(&self, claim: u64, peer: u8, capacity: u32, quiet: bool) -> Arc<Mailbox> {
        self.insert_of(claim, peer, capacity, quiet, network("room"))
    }

    fn insert_of(
        &self,
        claim: u64,
        peer: u8,
        capacity: u32,
        quiet: bool,
        network: NetworkKey,
    ) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(Capacity {
            messages: capacity,
            bytes: 1 << 20,
        }));
        let dialect = network.dialect().expect("one that is known");
        let source = Source {
            claim: ClaimNo(claim),
            network,
            peer: id(peer),
        };
        let peer = Peer::new(source, dialect, Arc::clone(&mailbox), quiet);
        self.registry.insert(ClaimNo(claim), Arc::new(peer));
        mailbox
    }

    fn join_of(&self, claim: u64, peer: u8, network: NetworkKey) -> Arc<Mailbox> {
        let mailbox = self.insert_of(claim, peer, 100, false, network);
        self.registry.accepted(ClaimNo(claim), Vec::new());
        mailbox
    }

    fn join(&self, claim: u64, peer: u8) -> Arc<Mailbox> {
        let mailbox = self.insert(claim, peer, 100, false);
        self.registry.accepted(ClaimNo(claim), Vec::new());
        mailbox
    }

    fn left(&self, peer: u8, to: Recipients) {
        self.left_at(Moment(0), peer, to);
    }

    fn left_at(&self, now: Moment, peer: u8, to: Recipients) {
        let event = PeerEvent::Left {
            peer: id(peer),
            reason: LeaveReason::HubLost,
        };
        self.registry.notify(now, &network("room"), to, event);
    }
}

fn texts(mailbox: &Mailbox) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(roster) = mailbox.drain(usize::MAX, |text| texts.push(text.to_owned())) {
        texts.push(format!("roster of {}", roster.left.len()));
    }
    texts
}

/// A sender on another hub, and its first signal.
fn posted(claim: u64) -> Sender {
    Sender::There(Posted {
        hub: HubId([9; 20]),
        incarnation: Incarnation { epoch: 0, nonce: 9 },
        claim: ClaimNo(claim),
        seq: 1,
    })
}

fn delivery(to: u64, target: u8, payload: &[u8]) -> Delivery {
    Delivery {
        to: ClaimNo(to),
        network: network("room"),
        from: id(9),
        sender: posted(9),
        target: id(target),
        kind: SignalKind(0),
        payload: Bytes::copy_from_slice(payload),
    }
}

#[test]
fn everyone_in_a_network_hears_of_a_change_but_the_peer_that_it_is_about() {
    let room = Room::new();
    let (a, b) = (room.join(1, 1), room.join(2, 2));
    let quiet = room.insert(3, 3, 100, true);
    room.registry.accepted(ClaimNo(3), Vec::new());
    room.left(2, Recipients::Network);
    let heard = texts(&a);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].contains("peer-disconnected"));
    assert_eq!(texts(&b), Vec::<String>::new());
    assert_eq!(texts(&quiet), Vec::<String>::new());
}

#[test]
fn those_named_hear_of_a_change_and_no_others() {
    let room = Room::new();
    let (a, b) = (room.join(1, 1), room.join(2, 2));
    room.left(7, Recipients::Only(vec![ClaimNo(2), ClaimNo(99)]));
    assert_eq!(texts(&a).len(), 0);
    assert_eq!(texts(&b).len(), 1);
}

#[test]
fn a_newcomer_reads_its_roster_before_any_later_change() {
    let room = Room::new();
    let a = room.insert(1, 1, 100, false);
    room.left(7, Recipients::Network);
    room.registry
        .accepted(ClaimNo(1), vec![(id(7), None), (id(8), None)]);
    room.left(7, Recipients::Network);
    let heard = texts(&a);
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0], "roster of 2");
    assert!(heard[1].contains("peer-disconnected"));
}

#[test]
fn a_full_mailbox_costs_its_own_peer_alone() {
    let room = Room::new();
    let full = room.insert(1, 1, 2, false);
    room.registry.accepted(ClaimNo(1), Vec::new());
    let other = room.join(2, 2);
    for _ in 0..5 {
        room.left(7, Recipients::Network);
    }
    assert_eq!(texts(&other).len(), 5);
    let refused = room.registry.deliver(&delivery(1, 1, b"{}"));
    assert_eq!(refused, Err(RefusedWhy::Overload));
    let close = Control::Close(CloseReason::OutboxFull);
    assert_eq!(full.next_control(), Some(close));
}

#[test]
fn a_flood_of_signals_is_refused_to_its_sender_and_does_not_end_the_receiver() {
    let room = Room::new();
    let flooded = room.join(1, 1);
    let mut flood = (0..100).map(|_| room.registry.deliver(&delivery(1, 1, b"{}")));
    assert!(flood.any(|taken| taken == Err(RefusedWhy::Overload)));
    let mut other = delivery(1, 1, b"{}");
    (other.from, other.sender) = (id(8), posted(8));
    assert_eq!(room.registry.deliver(&other), Ok(()));
    room.left(7, Recipients::Network);
    assert_ne!(
        flooded.next_control(),
        Some(Control::Close(CloseReason::OutboxFull))
    );
}

#[test]
fn those_whose_signals_were_not_read_are_told_once_a_target() {
    let room = Room::new();
    let (a, b) = (room.join(1, 1), room.join(2, 2));
    let target = room.join(3, 3);
    for (claim, from) in [(1, 1), (2, 2), (1, 1)] {
        let mut signal = delivery(3, 3, b"{}");
        (signal.from, signal.sender) = (id(from), Sender::Here(ClaimNo(claim)));
        room.registry.deliver(&signal).expect("there is space");
    }
    room.registry
        .deliver(&delivery(3, 3, b"{}"))
        .expect("there is space");
    let elsewhere = room.registry.unread(&id(3), &target.shut());
    let Sender::There(sender) = posted(9) else {
        unreachable!("it is there");
    };
    let (to, kind) = (ClaimNo(3), SignalKind(0));
    assert_eq!(elsewhere, [Unread { sender, to, kind }]);
    assert_eq!(texts(&a).len(), 2);
    let told = texts(&b);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("no-such-peer") && told[0].contains(&id(3).to_string()));
}

#[test]
fn what_other_hubs_say_was_left_unread_fills_no_mailbox() {
    let room = Room::new();
    let a = room.join(1, 1);
    let returned = || Failed {
        source: ClaimNo(1),
        network: network("room"),
        target: id(3),
        kind: SignalKind(0),
        why: SignalFailure::NoSuchPeer,
        repeats_previous: false,
    };
    room.registry.returned(returned());
    let told = texts(&a);
    assert!(
        told.len() == 1 && told[0].contains("no-such-peer"),
        "{told:?}"
    );
    (0..10_000).for_each(|_| room.registry.returned(returned()));
    assert_eq!(a.next_control(), Some(Control::Accepted(ClaimNo(1))));
    assert_eq!(a.next_control(), None);
    assert_eq!(texts(&a).len(), 25, "half of what signals may fill");
}

#[test]
fn a_signal_for_a_claim_that_is_not_here_or_another_peer_s_is_refused() {
    let room = Room::new();
    let a = room.join(1, 1);
    let not_here = Err(RefusedWhy::NotHere);
    assert_eq!(room.registry.deliver(&delivery(2, 1, b"{}")), not_here);
    assert_eq!(room.registry.deliver(&delivery(1, 2, b"{}")), not_here);
    let mut other = delivery(1, 1, b"{}");
    other.network = network("other");
    assert_eq!(room.registry.deliver(&other), not_here);
    assert_eq!(texts(&a).len(), 0);
    assert_eq!(room.registry.deliver(&delivery(1, 1, b"{}")), Ok(()));
    assert_eq!(texts(&a).len(), 1);
    room.registry.remove(ClaimNo(1), LeaveReason::Closed);
    assert_eq!(room.registry.deliver(&delivery(1, 1, b"{}")), not_here);
}

#[test]
fn a_payload_from_another_hub_that_would_break_out_of_its_message_is_refused() {
    let room = Room::new();
    let a = room.join(1, 1);
    let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
    let hostile: [&[u8]; 6] = [
        br#"1},"fromPeerId":"evil""#,
        b"",
        b"\xff",
        b"{} {}",
        br#""unfinished"#,
        &deep,
    ];
    for payload in hostile {
        let answer = room.registry.deliver(&delivery(1, 1, payload));
        assert_eq!(answer, Err(RefusedWhy::Forged));
    }
    assert_eq!(texts(&a).len(), 0);
}

#[test]
fn how_deep_a_payload_from_another_hub_may_be_is_the_dialect_s_to_say() {
    let room = Room::new();
    room.join(1, 1);
    let realm = NetworkKey::new(Dialect::PeerJs, "peerjs").expect("a realm");
    room.join_of(2, 2, realm.clone());
    for (depth, here, there) in [(64, true, true), (65, false, true), (1_001, false, false)] {
        let deep = [vec![b'['; depth], vec![b']'; depth]].concat();
        let room_s = delivery(1, 1, &deep);
        let realm_s = Delivery {
            network: realm.clone(),
            ..delivery(2, 2, &deep)
        };
        let taken = [room_s, realm_s].map(|one| room.registry.deliver(&one).is_ok());
        assert_eq!(taken, [here, there], "{depth}");
    }
    let half = delivery(1, 1, br#"{"\ud83d":"\udca5"}"#);
    assert_eq!(room.registry.deliver(&half), Ok(()));
}

#[test]
fn a_sender_is_told_of_a_signal_that_failed() {
    let room = Room::new();
    let a = room.join(1, 1);
    room.registry.failed(Failed {
        source: ClaimNo(1),
        network: network("room"),
        target: id(2),
        kind: SignalKind(2),
        why: SignalFailure::NoRoute,
        repeats_previous: false,
    });
    let told = texts(&a);
    assert!(told[0].contains(r#""code":"no-route""#), "{told:?}");
    assert!(told[0].contains(r#""signal":"ice-candidate""#), "{told:?}");
}

#[test]
fn a_realm_s_sender_is_told_once_of_what_failed_one_after_the_other() {
    let room = Room::new();
    let realm = NetworkKey::new(Dialect::PeerJs, "peerjs").expect("a realm");
    let a = room.join_of(1, 1, realm.clone());
    let fail = |kind, repeats_previous| {
        room.registry.failed(Failed {
            source: ClaimNo(1),
            network: realm.clone(),
            target: id(2),
            kind: SignalKind(kind),
            why: SignalFailure::Overload,
            repeats_previous,
        });
        texts(&a).len()
    };
    let (offer, candidate, whole) = (0, 2, 0x82);
    let told = [
        fail(candidate, false),
        fail(offer, true),
        fail(candidate, false),
        fail(whole, false),
        fail(offer, false),
        fail(candidate, false),
    ];
    assert_eq!(told, [1, 0, 0, 0, 1, 0]);
}

#[test]
fn a_claim_removed_before_it_is_accepted_is_on_no_list() {
    let room = Room::new();
    room.insert(1, 1, 100, false);
    room.registry.remove(ClaimNo(1), LeaveReason::Closed);
    room.registry.accepted(ClaimNo(1), Vec::new());
    assert_eq!(room.registry.networks(), []);
    assert_eq!(room.registry.local_peers(), 0);
}

#[test]
fn a_network_whose_last_member_left_is_forgotten() {
    let room = Room::new();
    room.join(1, 1);
    room.join(2, 2);
    assert_eq!(room.registry.networks(), [(network("room"), 2)]);
    room.registry.remove(ClaimNo(1), LeaveReason::Closed);
    room.registry.remove(ClaimNo(1), LeaveReason::Closed);
    assert_eq!(room.registry.networks(), [(network("room"), 1)]);
    room.registry.remove(ClaimNo(2), LeaveReason::Closed);
    assert_eq!(room.registry.networks(), []);
}

#[test]
fn members_of_a_large_network_are_woken_in_turns_and_once_for_changes_that_come_fast() {
    let room = Room::new();
    let members: Vec<_> = (1..=100).map(|n| room.join(u64::from(n), n)).collect();
    let wakes = Arc::new(Wakes::default());
    let count = || {
        for mailbox in &members {
            mailbox.register(&futures::task::waker(Arc::clone(&wakes)));
        }
        wakes.0.swap(0, Ordering::Relaxed)
    };
    let registry = &room.registry;
    count();
    room.left(200, Recipients::Network);
    let due = registry.next_release().expect("it waits for its turn");
    assert_eq!((count(), due), (0, Moment(0)));
    assert_eq!((registry.release(due), count()), (true, WOKEN_AT_ONCE));
    assert_eq!(registry.next_release(), Some(due), "the rest is due");
    assert_eq!(
        (registry.release(due), count()),
        (false, 100 - WOKEN_AT_ONCE)
    );
    assert_eq!(registry.next_release(), None);
    members.iter().for_each(|mailbox| drop(texts(mailbox)));

    for ms in 1..=5 {
        room.left_at(Moment(ms * 1000), 200, Recipients::Network);
    }
    let due = registry.next_release().expect("notices wait");
    assert_eq!((count(), due), (0, Moment(10_000)));
    while registry.release(due) {}
    assert_eq!((count(), registry.next_release()), (100, None));
    assert!(members.iter().all(|mailbox| texts(mailbox).len() == 5));
}

#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl futures::task::ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, Ordering::Relaxed);
    }
}
