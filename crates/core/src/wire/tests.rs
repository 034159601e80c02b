//! The codec against itself, against hostile bytes, and against the bytes that it wrote before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod follows;
mod strategies;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::api::Bye;
use crate::frames::{
    AckFrame, Change, Claim, ControlFrame, DataFrame, Delta, DigestEntry, Entry, FrameHead,
    LinkRecord, PeerSignal, RefusedSignal, RefusedWhy, Scope, Set, SignalBody, SignalFrame,
    Summary, UnknownChange,
};
use crate::ids::{ClaimNo, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, SignalKind};
use strategies::{changes, control_frames, data_frames, records};

fn hub(n: u16) -> HubId {
    let mut id = [0xab; 20];
    id[..2].copy_from_slice(&n.to_be_bytes());
    HubId(id)
}

fn control_message(encoder: &mut Encoder, frames: &[ControlFrame]) -> Bytes {
    let mut out = BytesMut::new();
    for frame in frames {
        encoder.encode(frame, &mut out);
    }
    out.freeze()
}

fn data_message(frames: &[DataFrame]) -> Bytes {
    let mut out = BytesMut::new();
    for frame in frames {
        encode_data(frame, &mut out);
    }
    out.freeze()
}

proptest! {
    #[test]
    fn control_messages_come_back_as_they_were_sent(
        messages in vec(vec(control_frames(), 1..5), 1..6),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for frames in messages {
            let message = control_message(&mut encoder, &frames);
            prop_assert!(!is_data(&message));
            prop_assert_eq!(decoder.decode(&message).unwrap(), frames);
        }
    }

    #[test]
    fn data_messages_come_back_as_they_were_sent(frames in vec(data_frames(), 1..5)) {
        let message = data_message(&frames);
        prop_assert!(is_data(&message));
        prop_assert_eq!(decode_data(&message).unwrap(), frames);
    }

    #[test]
    fn a_control_message_cut_short_is_an_error_and_no_panic(frames in vec(control_frames(), 1..4)) {
        let message = control_message(&mut Encoder::new(), &frames);
        let mut whole = 0;
        for cut in 0..message.len() {
            match Decoder::new().decode(&message.slice(..cut)) {
                Ok(read) => {
                    whole += 1;
                    prop_assert!(read.len() < frames.len());
                }
                Err(error) => prop_assert!(cut == 0 || error == WireError::Truncated),
            }
        }
        prop_assert_eq!(whole, frames.len() - 1);
    }

    #[test]
    fn a_data_message_cut_short_is_an_error_and_no_panic(frames in vec(data_frames(), 1..4)) {
        let message = data_message(&frames);
        for cut in 0..message.len() {
            if let Ok(read) = decode_data(&message.slice(..cut)) {
                prop_assert!(read.len() < frames.len());
            }
        }
    }

    #[test]
    fn flipped_bits_make_no_panic(frames in vec(control_frames(), 1..4), data in data_frames()) {
        for message in [control_message(&mut Encoder::new(), &frames), data_message(&[data])] {
            for bit in 0..message.len() * 8 {
                let mut bytes = message.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let bytes = Bytes::from(bytes);
                let _ = Decoder::new().decode(&bytes);
                let _ = decode_data(&bytes);
                let _ = is_data(&bytes);
            }
        }
    }

    #[test]
    fn random_bytes_make_no_panic(bytes in vec(any::<u8>(), 0..600)) {
        let bytes = Bytes::from(bytes);
        let _ = Decoder::new().decode(&bytes);
        let _ = decode_data(&bytes);
        let _ = is_data(&bytes);
    }

    #[test]
    fn random_bodies_of_known_kinds_make_no_panic(
        kind in prop::sample::select(vec![1_u8, 2, 3, 4, 5, 6, 7, 8, 9, 0x41, 0x42]),
        body in vec(prop_oneof![0..4_u8, any::<u8>()], 0..127),
    ) {
        let mut bytes = vec![u8::try_from(body.len()).unwrap(), kind];
        bytes.extend(body);
        let bytes = Bytes::from(bytes);
        let _ = Decoder::new().decode(&bytes);
        let _ = decode_data(&bytes);
    }

    #[test]
    fn sizes_are_upper_bounds(change in changes(), seq in any::<u64>(), record in records()) {
        let entry = Entry { seq, change };
        let size = entry_size(&entry);
        let message = control_message(&mut Encoder::new(), &[delta(0, vec![entry])]);
        prop_assert!(message.len() <= size + FRAME_OVERHEAD);
        let size = record_size(&record);
        let message = control_message(&mut Encoder::new(), &[ControlFrame::Records(vec![record])]);
        prop_assert!(message.len() <= size + FRAME_OVERHEAD);
    }
}

fn life(epoch: u32) -> Incarnation {
    Incarnation {
        epoch,
        nonce: 0x0102_0304_0506_0708,
    }
}

fn join(n: u64, wall_ms: u64) -> Change {
    let mut packed = [0x5a; 20];
    packed[..8].copy_from_slice(&n.to_be_bytes());
    Change::Claim(Claim {
        network: NetworkKey::from_wire("pglobal").unwrap(),
        peer: PeerId::Hex(packed),
        claim: ClaimNo(n),
        hlc: Hlc::from_wall(wall_ms),
        quiet: false,
        data: None,
    })
}

fn delta(from: u64, entries: Vec<Entry>) -> ControlFrame {
    let to = entries.last().map_or(from, |entry| entry.seq);
    ControlFrame::Delta(Delta {
        origin: hub(7),
        incarnation: life(1),
        from,
        reset: false,
        last: true,
        to,
        entries,
    })
}

fn one_join(n: u64, wall_ms: u64) -> ControlFrame {
    let change = join(n, wall_ms);
    delta(n - 1, vec![Entry { seq: n, change }])
}

#[test]
fn a_join_costs_at_most_32_bytes_once_its_hub_and_network_are_known() {
    let mut encoder = Encoder::new();
    let wall_ms = 1_800_000_000_000;
    control_message(&mut encoder, &[one_join(1000, wall_ms)]);
    for (n, later_ms) in [(1001, 3), (1002, 900), (1003, 60_000)] {
        let message = control_message(&mut encoder, &[one_join(n, wall_ms + later_ms)]);
        assert!(message.len() <= 32, "{} bytes", message.len());
    }
}

/// The same in a set of its network.
fn one_join_followed(n: u64, wall_ms: u64) -> ControlFrame {
    let network = NetworkKey::from_wire("pglobal").unwrap();
    match one_join(n, wall_ms) {
        ControlFrame::Delta(delta) => ControlFrame::Changes(Scope::Of(network), delta),
        other => other,
    }
}

#[test]
fn a_network_of_the_entry_before_costs_nothing() {
    let entries = |n: u64| Entry {
        seq: n,
        change: join(n, 1_800_000_000_000),
    };
    let size = |count: u64| {
        let frame = delta(0, (1..=count).map(entries).collect());
        control_message(&mut Encoder::new(), &[frame]).len()
    };
    // Tag, 20 bytes of peer, claim number, wall clock, counter.
    assert_eq!(size(3) - size(2), 24);
}

#[test]
fn dictionaries_are_bounded_and_names_beyond_them_still_travel() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let last = u16::try_from(MAX_SLOTS).unwrap() + 10;
    for round in 0..2 {
        for n in (0..last).rev() {
            let network = NetworkKey::from_wire(&format!("p{n}")).unwrap();
            let peer = PeerId::new("someone").unwrap();
            let change = Change::Gone {
                network,
                peer,
                claim: ClaimNo(1),
                reason: LeaveReason::Closed,
            };
            let frame = ControlFrame::Delta(Delta {
                origin: hub(n),
                incarnation: life(round),
                from: 4,
                reset: false,
                last: true,
                to: 5,
                entries: vec![Entry { seq: 5, change }],
            });
            let message = control_message(&mut encoder, std::slice::from_ref(&frame));
            assert_eq!(decoder.decode(&message).unwrap(), [frame]);
        }
    }
}

#[test]
fn unknown_frames_are_skipped_and_unknown_changes_kept_as_they_came() {
    let mut message = BytesMut::new();
    message.extend_from_slice(&[3, 0x3f, 1, 2, 3]);
    let mut encoder = Encoder::new();
    encoder.encode(&ControlFrame::Ping { token: 9 }, &mut message);
    let frames = Decoder::new().decode(&message.freeze()).unwrap();
    assert_eq!(
        frames,
        [
            ControlFrame::Unknown { kind: 0x3f },
            ControlFrame::Ping { token: 9 }
        ]
    );

    let known = control_message(&mut Encoder::new(), &[one_join(1, 5)]);
    let mut body = known[2..].to_vec();
    body[21] &= !0x10; // the end is given...
    body.splice(22 + 9..22 + 9, [4]); // ...as from + 2, after the incarnation
    body.extend([0x16, 5, 2, b'p', b'n', 9, 0xff]);
    let mut message = vec![u8::try_from(body.len()).unwrap(), 0x09];
    message.extend(body);
    let frames = Decoder::new().decode(&Bytes::from(message)).unwrap();
    let ControlFrame::Delta(delta) = &frames[0] else {
        panic!("not a delta: {frames:?}");
    };
    assert_eq!((delta.to, delta.entries.len()), (2, 2));
    assert_eq!(
        delta.entries[1],
        Entry {
            seq: 2,
            change: Change::Unknown(UnknownChange {
                tag: 0x16,
                network: NetworkKey::from_wire("pn").unwrap(),
                item: 9,
                body: Bytes::from_static(&[0xff]),
            })
        }
    );
    let Change::Unknown(unknown) = &delta.entries[1].change else {
        panic!("it is one");
    };
    assert!(unknown.is_gone());
}

#[test]
fn an_unknown_reason_makes_an_unknown_frame() {
    let message = Bytes::from_static(&[1, 0x03, 0x63]);
    let frames = Decoder::new().decode(&message).unwrap();
    assert_eq!(frames, [ControlFrame::Unknown { kind: 0x03 }]);
}

#[test]
fn what_this_version_cannot_read_of_a_signal_comes_as_it_is_under_its_number() {
    let later = SignalBody::Other {
        variant: 0x63,
        payload: Bytes::from_static(b"new"),
    };
    // One that is known, but is not laid out as it is known.
    let garbled = SignalBody::Other {
        variant: PEER_VARIANT,
        payload: Bytes::from_static(b"\xff\xff"),
    };
    for body in [later, garbled] {
        let message = data_message(&[signal(body.clone())]);
        assert_eq!(decode_data(&message).unwrap(), [signal(body)]);
    }
}

#[test]
fn a_hop_passes_on_what_it_does_not_know_byte_for_byte() {
    let signal = data_message(&[signal(SignalBody::Other {
        variant: 0x63,
        payload: Bytes::from_static(b"new"),
    })]);
    // A kind that is still to come, with the head that all have.
    let mut later = signal.to_vec();
    later[1] = 0x7f;
    for message in [signal, Bytes::from(later)] {
        let mut frame = split_data(&message).unwrap().remove(0);
        assert!(!frame.is_ack());
        frame.head.ttl -= 1;
        let mut expected = message.to_vec();
        expected[2] -= 1;
        assert_eq!(data_message(&[DataFrame::Raw(frame)]), expected);
    }
}

#[test]
fn a_head_that_cannot_be_read_is_the_fault_of_the_link() {
    let message = data_message(&[golden_ack()]);
    let mut short = message[..40].to_vec();
    short[0] = 38;
    assert_eq!(
        split_data(&Bytes::from(short)).unwrap_err(),
        WireError::Truncated
    );
    let mut endless = BytesMut::new();
    endless.extend_from_slice(&message[2..]);
    endless.resize(MAX_PAYLOAD + 4096, 0);
    let start = 0;
    close_frame(&mut endless, start, 0x41, 0);
    let endless = split_data(&endless.freeze());
    assert_eq!(endless.unwrap_err(), WireError::TooLong);
}

#[test]
fn an_acknowledgement_is_no_longer_than_its_refusals_make_it() {
    let late = Incarnation {
        epoch: u32::MAX,
        nonce: u64::MAX,
    };
    let refused = |n: u64| RefusedSignal {
        seq: u64::MAX / 2 - n,
        why: RefusedWhy::NotUnderstood,
    };
    let longest = DataFrame::Ack(AckFrame {
        head: FrameHead {
            ttl: 64,
            source: HubId([0xff; 20]),
            source_incarnation: late,
            dest: HubId([0xff; 20]),
            dest_incarnation: late,
        },
        upto: u64::MAX,
        refused: (0..AckFrame::MAX_REFUSED as u64).map(refused).collect(),
    });
    let message = data_message(std::slice::from_ref(&longest));
    assert_eq!(decode_data(&message).unwrap(), [longest]);

    let mut longer = BytesMut::new();
    longer.extend_from_slice(&data_message(&[golden_ack()])[2..]);
    longer.resize(8 * 1024, 0);
    close_frame(&mut longer, 0, 0x42, 0);
    assert_eq!(
        split_data(&longer.freeze()).unwrap_err(),
        WireError::TooLong
    );
}

#[test]
fn the_two_classes_do_not_mix() {
    let ping = control_message(&mut Encoder::new(), &[ControlFrame::Ping { token: 1 }]);
    let ack = data_message(&[golden_ack()]);
    assert_eq!(decode_data(&ping), Err(WireError::WrongClass));
    assert_eq!(Decoder::new().decode(&ack), Err(WireError::WrongClass));
    assert_eq!(decode_data(&Bytes::new()), Err(WireError::Empty));
    assert_eq!(Decoder::new().decode(&Bytes::new()), Err(WireError::Empty));
    assert!(!is_data(&[]));
}

#[test]
fn references_to_what_was_never_named_are_refused() {
    let unsubscribe = Bytes::from_static(&[1, 0x07, 5]);
    assert_eq!(
        Decoder::new().decode(&unsubscribe),
        Err(WireError::BadReference)
    );
    let mut subscribe = vec![23, 0x06, 0];
    subscribe.extend([7; 20]);
    subscribe.extend([0, 1]);
    assert_eq!(
        Decoder::new().decode(&Bytes::from(subscribe)),
        Err(WireError::BadReference)
    );
}

#[test]
fn neighbours_out_of_order_are_refused() {
    let mut record = golden_record();
    record.neighbours.reverse();
    let message = control_message(&mut Encoder::new(), &[ControlFrame::Records(vec![record])]);
    assert_eq!(Decoder::new().decode(&message), Err(WireError::Disorder));
}

#[test]
fn payloads_are_slices_of_the_message() {
    let message = data_message(&[signal(SignalBody::Hub {
        payload: Bytes::from_static(b"hello"),
    })]);
    let DataFrame::Signal(signal) = decode_data(&message).unwrap().remove(0) else {
        panic!("not a signal");
    };
    let SignalBody::Hub { payload } = signal.body else {
        panic!("not from a hub");
    };
    assert!(message.as_ptr_range().contains(&payload.as_ptr()));
}

fn signal(body: SignalBody) -> DataFrame {
    DataFrame::Signal(SignalFrame {
        head: FrameHead {
            ttl: 6,
            source: hub(1),
            source_incarnation: life(1),
            dest: hub(2),
            dest_incarnation: life(2),
        },
        seq: 300,
        base: 298,
        body,
    })
}

fn golden_ack() -> DataFrame {
    DataFrame::Ack(AckFrame {
        head: FrameHead {
            ttl: 6,
            source: hub(2),
            source_incarnation: life(2),
            dest: hub(1),
            dest_incarnation: life(1),
        },
        upto: 300,
        refused: vec![RefusedSignal {
            seq: 299,
            why: RefusedWhy::Overload,
        }],
    })
}

fn golden_record() -> LinkRecord {
    LinkRecord {
        hub: hub(1),
        incarnation: life(1),
        number: 3,
        draining: true,
        urls: vec!["ws://a".to_owned()],
        region: "fra".to_owned(),
        neighbours: vec![(hub(2), 5), (hub(3), 300)],
    }
}

/// All there is to an entry: data, a text for an id, a gap, another network, a leave.
fn golden_delta() -> ControlFrame {
    let claim = Claim {
        network: NetworkKey::from_wire("pgames").unwrap(),
        peer: PeerId::new("bob").unwrap(),
        claim: ClaimNo(9),
        hlc: Hlc(Hlc::from_wall(1_800_000_000_000).0 + 2),
        quiet: true,
        data: Some(Bytes::from_static(b"{}")),
    };
    let gone = Change::Gone {
        network: NetworkKey::from_wire("pgames").unwrap(),
        peer: PeerId::Hex([0x22; 20]),
        claim: ClaimNo(4),
        reason: LeaveReason::Goodbye,
    };
    ControlFrame::Delta(Delta {
        origin: hub(7),
        incarnation: life(1),
        from: 0,
        reset: true,
        last: false,
        to: 12,
        entries: vec![
            Entry {
                seq: 8,
                change: Change::Claim(claim),
            },
            Entry {
                seq: 9,
                change: gone,
            },
            Entry {
                seq: 10,
                change: Change::Unknown(UnknownChange {
                    tag: 7,
                    network: NetworkKey::from_wire("pgames").unwrap(),
                    item: 5,
                    body: Bytes::from_static(b"x"),
                }),
            },
        ],
    })
}

/// One of each control frame, written by one encoder in this order.
fn golden_frames() -> Vec<(ControlFrame, &'static str)> {
    vec![
        (ControlFrame::Ping { token: 300 }, "0201ac02"),
        (ControlFrame::Pong { token: 1 }, "010201"),
        (
            ControlFrame::Bye(Bye::Draining {
                retry_after: Duration::from_secs(1),
            }),
            "030300e807",
        ),
        (
            ControlFrame::Bye(Bye::StaleIncarnation { known: life(2) }),
            "0b030302888e98a8c0e0808101",
        ),
        (
            ControlFrame::Digest(vec![golden_record().digest()]),
            "1f04000001abababababababababababababababababab02010203040506070803",
        ),
        (
            ControlFrame::Records(vec![golden_record()]),
            "3e0501000301010677733a2f2f610366726102000002abababababababababababababababababab05000003ababababababababababababababababababac02",
        ),
        (
            ControlFrame::Subscribe {
                origin: hub(7),
                incarnation: life(1),
                seq: 0,
            },
            "1f06000007abababababababababababababababababab02010203040506070800",
        ),
        (ControlFrame::Unsubscribe { origin: hub(7) }, "010704"),
        (
            ControlFrame::Audit {
                origin: hub(7),
                incarnation: life(1),
                seq: 200,
                hash: 0xdead_beef,
            },
            "0c080400c80100000000deadbeef",
        ),
        (
            one_join(1, 1_800_000_000_000),
            "2809041e00000770676c6f62616c00000000000000015a5a5a5a5a5a5a5a5a5a5a5a0280c0e285e36800",
        ),
        (
            one_join(2, 1_800_000_000_100),
            "1c09041e000100000000000000025a5a5a5a5a5a5a5a5a5a5a5a02c80100",
        ),
        (
            golden_delta(),
            "3b0904050018780e00067067616d657303626f620ec70102027b7d81222222222222222222222222222222222222222209010709067067616d65730578",
        ),
        (
            ControlFrame::Follow {
                set: Set::networks(hub(7)),
                incarnation: life(1),
                seq: 200,
            },
            "050d0400c80100",
        ),
        (
            ControlFrame::Follow {
                set: Set::of(hub(7), &NetworkKey::from_wire("pglobal").unwrap()),
                incarnation: life(1),
                seq: 0,
            },
            "0b0d0400000770676c6f62616c",
        ),
        (
            ControlFrame::Unfollow {
                set: Set::of(hub(7), &NetworkKey::from_wire("pglobal").unwrap()),
            },
            "090e040770676c6f62616c",
        ),
        (
            one_join_followed(300, 1_800_000_000_100),
            "270f00040770676c6f62616c16be0480000000000000012c5a5a5a5a5a5a5a5a5a5a5a5ac604c80100",
        ),
        (
            one_join_followed(301, 1_800_000_000_200),
            "1b0f011e80000000000000012d5a5a5a5a5a5a5a5a5a5a5a5a02c80100",
        ),
        (
            ControlFrame::Summary(Summary {
                wants_all: true,
                is_answer: false,
                sums: vec![1, 0xdead_beef],
            }),
            "090a0100000001deadbeef",
        ),
        (
            ControlFrame::Announce(vec![DigestEntry {
                hub: hub(7),
                incarnation: life(1),
                number: 3,
            }]),
            "030b040003",
        ),
        (ControlFrame::Want(vec![hub(7)]), "010c04"),
        (ControlFrame::Unknown { kind: 0x3f }, "003f"),
    ]
}

#[test]
fn the_bytes_of_each_control_frame_are_what_they_were() {
    let mut encoder = Encoder::new();
    let (written, expected): (Vec<_>, Vec<_>) = golden_frames()
        .into_iter()
        .map(|(frame, expected)| {
            (
                hex::encode(control_message(&mut encoder, &[frame])),
                expected,
            )
        })
        .unzip();
    assert_eq!(written, expected);
}

#[test]
fn the_bytes_of_each_data_frame_are_what_they_were() {
    let peer = signal(SignalBody::Peer(PeerSignal {
        network: NetworkKey::from_wire("pglobal").unwrap(),
        from: PeerId::Hex([0x11; 20]),
        from_claim: ClaimNo(5),
        from_seq: 6,
        target: PeerId::new("bob").unwrap(),
        target_claim: ClaimNo(7),
        kind: SignalKind(2),
        payload: Bytes::from_static(b"{}"),
    }));
    let ours = signal(SignalBody::Hub {
        payload: Bytes::from_static(b"x"),
    });
    let written = [peer, ours, golden_ack()].map(|frame| hex::encode(data_message(&[frame])));
    assert_eq!(
        written,
        [
            "6641060002abababababababababababababababababab0201020304050607080001abababababababababababababababababab010102030405060708ac0204000770676c6f62616c001111111111111111111111111111111111111111050603626f6207027b7d",
            "4041060002abababababababababababababababababab0201020304050607080001abababababababababababababababababab010102030405060708ac02040178",
            "3f42060001abababababababababababababababababab0101020304050607080002abababababababababababababababababab020102030405060708ac020201"
        ]
    );
}

#[test]
fn what_could_not_be_passed_on_in_one_message_is_not_taken_in() {
    let long = Bytes::from(vec![b'x'; MAX_PAYLOAD]);
    let longer = Bytes::from(vec![b'x'; MAX_PAYLOAD + 1]);
    for (payload, fits) in [(long, true), (longer, false)] {
        let signal = DataFrame::Signal(SignalFrame {
            head: FrameHead {
                ttl: 4,
                source: HubId([1; 20]),
                source_incarnation: Incarnation { epoch: 0, nonce: 1 },
                dest: HubId([2; 20]),
                dest_incarnation: Incarnation { epoch: 0, nonce: 2 },
            },
            seq: 1,
            base: 1,
            body: SignalBody::Hub {
                payload: payload.clone(),
            },
        });
        let read = decode_data(&data_message(&[signal])).unwrap().remove(0);
        let DataFrame::Signal(signal) = read else {
            panic!("not a signal: {read:?}");
        };
        assert_eq!(matches!(signal.body, SignalBody::Hub { .. }), fits);
        let claim = Claim {
            network: NetworkKey::from_wire("pglobal").unwrap(),
            peer: PeerId::new("x").unwrap(),
            claim: ClaimNo(1),
            hlc: Hlc::from_wall(1),
            quiet: false,
            data: Some(payload),
        };
        let delta = ControlFrame::Delta(Delta {
            origin: HubId([1; 20]),
            incarnation: Incarnation { epoch: 0, nonce: 1 },
            from: 0,
            reset: false,
            last: true,
            to: 1,
            entries: vec![Entry {
                seq: 1,
                change: Change::Claim(claim),
            }],
        });
        let message = control_message(&mut Encoder::new(), &[delta]);
        let read = Decoder::new().decode(&message);
        assert_eq!(read.err(), (!fits).then_some(WireError::TooLong));
    }
}
