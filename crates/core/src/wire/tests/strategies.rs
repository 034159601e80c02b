//! Frames at random, with names that come again and names that do not.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::hub;
use crate::api::Bye;
use crate::frames::{
    AckFrame, Change, Claim, ControlFrame, DataFrame, Delta, DigestEntry, Entry, FrameHead,
    LinkRecord, PeerSignal, RefusedSignal, RefusedWhy, Scope, Set, SignalBody, SignalFrame,
    Summary, UnknownChange,
};
use crate::ids::{ClaimNo, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, SignalKind};

pub(super) fn hubs() -> impl Strategy<Value = HubId> {
    prop_oneof![(0..6_u16).prop_map(hub), any::<[u8; 20]>().prop_map(HubId)]
}

pub(super) fn incarnations() -> impl Strategy<Value = Incarnation> {
    prop_oneof![
        (0..3_u32, 0..2_u64).prop_map(|(epoch, nonce)| Incarnation { epoch, nonce }),
        (any::<u32>(), any::<u64>()).prop_map(|(epoch, nonce)| Incarnation { epoch, nonce }),
    ]
}

pub(super) fn peers() -> impl Strategy<Value = PeerId> {
    prop_oneof![
        any::<[u8; 20]>().prop_map(PeerId::Hex),
        "[a-zé]{1,40}".prop_map(|text| PeerId::new(&text).unwrap()),
    ]
}

pub(super) fn networks() -> impl Strategy<Value = NetworkKey> {
    prop_oneof![
        Just(NetworkKey::from_wire("pglobal").unwrap()),
        "[pqé][a-z]{1,20}".prop_map(|key| NetworkKey::from_wire(&key).unwrap()),
    ]
}

pub(super) fn payloads() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

pub(super) fn reasons() -> impl Strategy<Value = LeaveReason> {
    (0..6_u8).prop_map(LeaveReason::from_code)
}

pub(super) fn changes() -> impl Strategy<Value = Change> {
    let claim = (
        (networks(), peers()),
        any::<u64>(),
        any::<u64>(),
        any::<bool>(),
        option::of(payloads()),
    )
        .prop_map(|((network, peer), claim, hlc, quiet, data)| {
            Change::Claim(Claim {
                network,
                peer,
                claim: ClaimNo(claim),
                hlc: Hlc(hlc),
                quiet,
                data,
            })
        });
    let gone = (networks(), peers(), any::<u64>(), reasons()).prop_map(
        |(network, peer, claim, reason)| Change::Gone {
            network,
            peer,
            claim: ClaimNo(claim),
            reason,
        },
    );
    let unknown = (2..8_u8, 0..16_u8, networks(), any::<u64>(), payloads());
    let unknown = unknown.prop_map(|(kind, flags, network, item, body)| {
        Change::Unknown(UnknownChange {
            tag: kind | flags << 4,
            network,
            item,
            body,
        })
    });
    prop_oneof![claim, gone, unknown]
}

pub(super) fn deltas() -> impl Strategy<Value = ControlFrame> {
    let seqs = prop_oneof![0..5_u64, any::<u64>()];
    let entries = vec(
        (seqs.clone(), changes()).prop_map(|(seq, change)| Entry { seq, change }),
        0..6,
    );
    (
        (hubs(), incarnations()),
        seqs.clone(),
        seqs,
        any::<bool>(),
        any::<bool>(),
        entries,
    )
        .prop_map(|((origin, incarnation), from, to, reset, last, entries)| {
            ControlFrame::Delta(Delta {
                origin,
                incarnation,
                from,
                reset,
                last,
                to,
                entries,
            })
        })
}

pub(super) fn scopes() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Scope::Networks), networks().prop_map(Scope::Of)]
}

/// Frames about sets that are not all of a hub's claims.
pub(super) fn follows() -> impl Strategy<Value = ControlFrame> {
    let sets = || (hubs(), scopes()).prop_map(|(hub, scope)| Set { hub, scope });
    let follow = (sets(), incarnations(), any::<u64>()).prop_map(|(set, incarnation, seq)| {
        ControlFrame::Follow {
            set,
            incarnation,
            seq,
        }
    });
    let unfollow = sets().prop_map(|set| ControlFrame::Unfollow { set });
    let changes = (scopes(), deltas()).prop_map(|(scope, delta)| match delta {
        ControlFrame::Delta(delta) => ControlFrame::Changes(scope, delta),
        other => other,
    });
    prop_oneof![follow, unfollow, changes]
}

pub(super) fn records() -> impl Strategy<Value = LinkRecord> {
    (
        (hubs(), incarnations(), any::<u64>(), any::<bool>()),
        vec("[a-z:/.]{0,60}", 0..=LinkRecord::MAX_URLS),
        "[a-z]{0,32}",
        proptest::collection::btree_map(hubs(), any::<u16>(), 0..8),
    )
        .prop_map(
            |((hub, incarnation, number, draining), urls, region, neighbours)| LinkRecord {
                hub,
                incarnation,
                number,
                draining,
                urls,
                region,
                neighbours: neighbours.into_iter().collect(),
            },
        )
}

pub(super) fn summaries() -> impl Strategy<Value = ControlFrame> {
    (any::<bool>(), any::<bool>(), vec(any::<u32>(), 0..40)).prop_map(
        |(wants_all, is_answer, sums)| {
            ControlFrame::Summary(Summary {
                wants_all,
                is_answer,
                sums,
            })
        },
    )
}

pub(super) fn byes() -> impl Strategy<Value = Bye> {
    prop_oneof![
        any::<u32>().prop_map(|ms| Bye::Draining {
            retry_after: Duration::from_millis(u64::from(ms))
        }),
        incarnations().prop_map(|known| Bye::StaleIncarnation { known }),
        prop::sample::select(vec![
            Bye::Duplicate,
            Bye::SelfDial,
            Bye::IdentityClash,
            Bye::Full,
            Bye::BadFrame,
            Bye::Silent,
            Bye::Overflow,
        ]),
    ]
}

pub(super) fn lines() -> impl Strategy<Value = DigestEntry> {
    (hubs(), incarnations(), any::<u64>()).prop_map(|(hub, incarnation, number)| DigestEntry {
        hub,
        incarnation,
        number,
    })
}

pub(super) fn control_frames() -> impl Strategy<Value = ControlFrame> {
    prop_oneof![
        any::<u64>().prop_map(|token| ControlFrame::Ping { token }),
        any::<u64>().prop_map(|token| ControlFrame::Pong { token }),
        byes().prop_map(ControlFrame::Bye),
        vec(lines(), 0..6).prop_map(ControlFrame::Digest),
        vec(lines(), 0..6).prop_map(ControlFrame::Announce),
        vec(hubs(), 0..6).prop_map(ControlFrame::Want),
        summaries(),
        follows(),
        vec(records(), 0..4).prop_map(ControlFrame::Records),
        lines().prop_map(|line| ControlFrame::Subscribe {
            origin: line.hub,
            incarnation: line.incarnation,
            seq: line.number,
        }),
        hubs().prop_map(|origin| ControlFrame::Unsubscribe { origin }),
        (lines(), any::<u64>()).prop_map(|(line, hash)| ControlFrame::Audit {
            origin: line.hub,
            incarnation: line.incarnation,
            seq: line.number,
            hash,
        }),
        (0x30..0x40_u8).prop_map(|kind| ControlFrame::Unknown { kind }),
        deltas(),
        deltas(),
    ]
}

pub(super) fn ends() -> impl Strategy<Value = (u8, HubId, Incarnation, HubId, Incarnation)> {
    (any::<u8>(), hubs(), incarnations(), hubs(), incarnations())
}

pub(super) fn signal_bodies() -> impl Strategy<Value = SignalBody> {
    let peer = (
        networks(),
        peers(),
        any::<u64>(),
        any::<u64>(),
        peers(),
        any::<u64>(),
        any::<u8>(),
        payloads(),
    )
        .prop_map(
            |(network, from, from_claim, from_seq, target, target_claim, kind, payload)| {
                SignalBody::Peer(PeerSignal {
                    network,
                    from,
                    from_claim: ClaimNo(from_claim),
                    from_seq,
                    target,
                    target_claim: ClaimNo(target_claim),
                    kind: SignalKind(kind),
                    payload,
                })
            },
        );
    prop_oneof![
        peer,
        payloads().prop_map(|payload| SignalBody::Hub { payload }),
        (2..=u8::MAX, payloads())
            .prop_map(|(variant, payload)| SignalBody::Other { variant, payload }),
    ]
}

pub(super) fn data_frames() -> impl Strategy<Value = DataFrame> {
    let signal = (ends(), any::<u64>(), any::<u64>(), signal_bodies()).prop_map(
        |((ttl, source, source_incarnation, dest, dest_incarnation), seq, base, body)| {
            DataFrame::Signal(SignalFrame {
                head: FrameHead {
                    ttl,
                    source,
                    source_incarnation,
                    dest,
                    dest_incarnation,
                },
                seq,
                base,
                body,
            })
        },
    );
    let why = prop::sample::select(vec![
        RefusedWhy::NotHere,
        RefusedWhy::Overload,
        RefusedWhy::Forged,
        RefusedWhy::NotUnderstood,
    ]);
    let refused = vec(
        (any::<u64>(), why).prop_map(|(seq, why)| RefusedSignal { seq, why }),
        0..5,
    );
    let ack = (ends(), any::<u64>(), refused).prop_map(
        |((ttl, source, source_incarnation, dest, dest_incarnation), upto, refused)| {
            DataFrame::Ack(AckFrame {
                head: FrameHead {
                    ttl,
                    source,
                    source_incarnation,
                    dest,
                    dest_incarnation,
                },
                upto,
                refused,
            })
        },
    );
    prop_oneof![signal, ack]
}
