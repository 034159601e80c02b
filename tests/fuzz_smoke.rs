//! The fuzz targets on the stable compiler: they run over their corpus, and over some thousands of mutations of it.
//!
//! The targets are in `fuzz/`, and a nightly compiler runs them for hours (`fuzz/README.md`). Here they run for
//! seconds, so that each change is tested with them. The mutations are the same in every run. A failure names the
//! number of its mutation and prints the input, which can then be put into the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Mutated inputs per target.
const MUTATIONS: usize = 20_000;
/// The longest mutated input, in bytes.
const LONGEST: usize = 4_096;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|why| panic!("{}: {why}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
        .iter()
        .map(|path| fs::read(path).expect("a readable file"))
        .collect()
}

/// Changes an input in one of the ways that find faults in decoders.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut StdRng) {
    let place = rng.random_range(0..=input.len());
    match rng.random_range(0..7) {
        0 if place < input.len() => input[place] ^= 1 << rng.random_range(0..8),
        1 if place < input.len() => {
            input[place] = *[0, 1, 0x7f, 0x80, 0xff]
                .get(rng.random_range(0..5))
                .expect("one of five")
        }
        2 => input.truncate(place),
        3 => input.insert(place, rng.random()),
        4 if place < input.len() => drop(input.remove(place)),
        5 => {
            let other = &others[rng.random_range(0..others.len())];
            let from = rng.random_range(0..=other.len());
            input.truncate(place);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let part = input[place..].to_vec();
            input.extend_from_slice(&part);
        }
    }
    input.truncate(LONGEST);
}

fn smoke(name: &str, target: fn(&[u8])) {
    let seeds = corpus(name);
    for seed in &seeds {
        target(seed);
    }
    let mut rng = StdRng::seed_from_u64(7);
    for number in 0..MUTATIONS {
        let mut input = seeds[number % seeds.len()].clone();
        for _ in 0..=rng.next_u32() % 4 {
            mutate(&mut input, &seeds, &mut rng);
        }
        let ran = catch_unwind(AssertUnwindSafe(|| target(&input)));
        assert!(
            ran.is_ok(),
            "{name}, mutation {number}: {}",
            hex::encode(&input)
        );
    }
}

#[test]
fn what_clients_say_is_read_without_harm() {
    smoke("pigeon", targets::pigeon);
    smoke("peerjs", targets::peerjs);
    smoke("yjs", targets::yjs);
    smoke("coordinator", targets::coordinator);
    smoke("rooms", targets::rooms);
    smoke("sniffing", targets::sniffing);
}

#[test]
fn what_hubs_say_of_themselves_and_their_peers_is_read_without_harm() {
    smoke("mesh_control", targets::mesh_control);
}

#[test]
fn signals_between_hubs_are_read_and_forwarded_without_harm() {
    smoke("mesh_data", targets::mesh_data);
}

#[test]
fn a_websocket_reads_the_same_wherever_it_is_cut() {
    smoke("ws", targets::ws);
}

#[test]
fn packets_of_stun_and_turn_are_read_without_harm() {
    smoke("stun", targets::stun);
}

#[test]
fn no_history_of_turn_clients_relays_what_the_model_does_not() {
    smoke("turn_world", targets::turn_world);
}

#[test]
fn no_history_of_links_frames_and_clients_harms_a_hub() {
    smoke("core_world", targets::core_world);
}

#[test]
fn no_handshake_without_the_token_makes_a_link() {
    smoke("greeting", targets::greeting);
}

/// Writes the binary seeds: one of each frame, as this version writes it. Run it when the layout has changed:
/// `cargo test --test fuzz_smoke -- --ignored`.
#[test]
#[ignore = "writes the corpus anew"]
fn the_binary_seeds_are_written_anew() {
    for (target, name, bytes) in seeds::all() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), bytes).expect("a file");
    }
}

mod seeds {
    use bytes::{Bytes, BytesMut};
    use hubmesh_core::api::Bye;
    use hubmesh_core::frames::{
        AckFrame, Change, Claim, ControlFrame, DataFrame, Delta, DigestEntry, Entry, FrameHead,
        LinkRecord, PeerSignal, RefusedSignal, RefusedWhy, SignalBody, SignalFrame, Summary,
    };
    use hubmesh_core::ids::{
        ClaimNo, Dialect, Hlc, HubId, Incarnation, LeaveReason, NetworkKey, PeerId, SignalKind,
    };
    use hubmesh_core::wire::{Encoder, encode_data};

    const INCARNATION: Incarnation = Incarnation {
        epoch: 1,
        nonce: 77,
    };

    pub fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
        let control = [
            (
                "link",
                vec![
                    ControlFrame::Ping { token: 300 },
                    ControlFrame::Pong { token: 1 },
                ],
            ),
            ("topology", topology()),
            ("subscriptions", subscriptions()),
            (
                "claims",
                vec![
                    ControlFrame::Delta(delta(0, true)),
                    ControlFrame::Delta(delta(3, false)),
                ],
            ),
            (
                "bye",
                vec![ControlFrame::Bye(Bye::StaleIncarnation {
                    known: INCARNATION,
                })],
            ),
        ];
        let control =
            control.map(|(name, frames)| ("mesh_control", name, control_messages(&frames)));
        let data = [("signal", signal()), ("ack", ack())].map(|(name, frame)| {
            let mut message = BytesMut::new();
            encode_data(&frame, &mut message);
            ("mesh_data", name, message.to_vec())
        });
        control.into_iter().chain(data).chain(greetings()).collect()
    }

    fn control_messages(frames: &[ControlFrame]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let mut bytes = Vec::new();
        for frame in frames {
            let mut message = BytesMut::new();
            encoder.encode(frame, &mut message);
            let length = u16::try_from(message.len()).expect("a short message");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&message);
        }
        bytes
    }

    fn digest(hub: u8) -> DigestEntry {
        DigestEntry {
            hub: HubId([hub; 20]),
            incarnation: INCARNATION,
            number: 9,
        }
    }

    fn topology() -> Vec<ControlFrame> {
        let record = LinkRecord {
            hub: HubId([1; 20]),
            incarnation: INCARNATION,
            number: 9,
            draining: true,
            urls: vec!["wss://hub.example".to_owned()],
            region: "ams".to_owned(),
            neighbours: vec![(HubId([2; 20]), 1), (HubId([3; 20]), 200)],
        };
        vec![
            ControlFrame::Digest(vec![digest(1), digest(2)]),
            ControlFrame::Records(vec![record]),
            ControlFrame::Summary(Summary {
                wants_all: true,
                is_answer: true,
                sums: vec![7; Summary::SHARES],
            }),
            ControlFrame::Announce(vec![digest(2), digest(3)]),
            ControlFrame::Want(vec![HubId([3; 20]), HubId([4; 20])]),
        ]
    }

    fn subscriptions() -> Vec<ControlFrame> {
        let DigestEntry {
            hub: origin,
            incarnation,
            number: seq,
        } = digest(1);
        vec![
            ControlFrame::Subscribe {
                origin,
                incarnation,
                seq,
            },
            ControlFrame::Audit {
                origin,
                incarnation,
                seq,
                hash: u64::MAX,
            },
            ControlFrame::Unsubscribe { origin },
        ]
    }

    fn network() -> NetworkKey {
        NetworkKey::new(Dialect::Pigeon, "global").expect("a network")
    }

    fn peer(text: &str) -> PeerId {
        PeerId::new(text).expect("a peer")
    }

    fn delta(from: u64, reset: bool) -> Delta {
        let claim = |peer: PeerId, claim: u64, data: Option<&'static [u8]>| {
            Change::Claim(Claim {
                network: network(),
                peer,
                claim: ClaimNo(claim),
                hlc: Hlc(Hlc::from_wall(1_700_000_000_000 + claim).0 + 3),
                quiet: data.is_none(),
                data: data.map(Bytes::from_static),
            })
        };
        let hex = "0123456789abcdef0123456789abcdef01234567";
        let gone = Change::Gone {
            network: network(),
            peer: peer("someone"),
            claim: ClaimNo(4),
            reason: LeaveReason::Goodbye,
        };
        let changes = [
            claim(peer(hex), 5, Some(b"{\"a\":1}")),
            claim(peer("someone"), 4, None),
            gone,
        ];
        let numbered = changes.into_iter().zip(from + 1..);
        Delta {
            origin: HubId([1; 20]),
            incarnation: INCARNATION,
            from,
            reset,
            last: true,
            to: from + 3,
            entries: numbered
                .map(|(change, seq)| Entry { seq, change })
                .collect(),
        }
    }

    fn signal() -> DataFrame {
        DataFrame::Signal(SignalFrame {
            head: FrameHead {
                ttl: 6,
                source: HubId([1; 20]),
                source_incarnation: INCARNATION,
                dest: HubId([2; 20]),
                dest_incarnation: INCARNATION,
            },
            seq: 300,
            base: 290,
            body: SignalBody::Peer(PeerSignal {
                network: network(),
                from: peer("someone"),
                from_claim: ClaimNo(4),
                from_seq: 2,
                target: peer("someone else"),
                target_claim: ClaimNo(5),
                kind: SignalKind(2),
                payload: Bytes::from_static(b"{\"candidate\":\"\"}"),
            }),
        })
    }

    fn ack() -> DataFrame {
        let refused = |seq, why| RefusedSignal { seq, why };
        DataFrame::Ack(AckFrame {
            head: FrameHead {
                ttl: 6,
                source: HubId([2; 20]),
                source_incarnation: INCARNATION,
                dest: HubId([1; 20]),
                dest_incarnation: INCARNATION,
            },
            upto: 300,
            refused: vec![
                refused(299, RefusedWhy::NotHere),
                refused(300, RefusedWhy::Forged),
            ],
        })
    }

    /// Messages of the handshake as `postcard` has them: the number of the kind, then its fields.
    fn greetings() -> Vec<(&'static str, &'static str, Vec<u8>)> {
        let hello = (
            0_u8,
            (1_u16, 1_u16),
            "fuzz",
            [9_u8; 20],
            (0_u32, 9_u64),
            [1_u8; 32],
            1_u64,
        );
        let welcome = (
            1_u8,
            1_u16,
            [9_u8; 20],
            (0_u32, 9_u64),
            [1_u8; 32],
            [2_u8; 32],
        );
        let proof = (2_u8, [3_u8; 32]);
        let bytes = |kind: Result<Vec<u8>, postcard::Error>| kind.expect("plain values");
        let (hello, welcome, proof) = (
            bytes(postcard::to_allocvec(&hello)),
            bytes(postcard::to_allocvec(&welcome)),
            bytes(postcard::to_allocvec(&proof)),
        );
        let script = |lines: &[&[u8]]| {
            let line =
                |line: &&[u8]| [&[5, u8::try_from(line.len()).expect("short")], *line].concat();
            lines.iter().flat_map(line).collect::<Vec<u8>>()
        };
        vec![
            ("greeting", "dialler", script(&[&hello, &proof])),
            ("greeting", "acceptor", script(&[&welcome, &[3]])),
            ("greeting", "rejection", script(&[&[4, 2]])),
        ]
    }
}
