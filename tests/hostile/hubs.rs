//! Attackers on `/mesh`: strangers that can only reach the port, and hubs of the mesh that attack it.
//!
//! A hub that has the token is trusted about the facts that it alone can know: its own peers and links. These tests
//! check that it can do no more. It cannot send in another's name or change another hub's peers, and it cannot use up
//! its neighbours' memory or time.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hubmesh::mesh::handshake::{HandshakeError, Identity, Rejection};
use hubmesh_core::api::Bye;
use hubmesh_core::frames::{
    Change, Claim, ControlFrame, DataFrame, Delta, DigestEntry, Entry, FrameHead, LinkRecord,
    PeerSignal, RefusedWhy, SignalBody, SignalFrame,
};
use hubmesh_core::ids::{
    ClaimNo, Dialect, Hlc, HubId, Incarnation, NetworkKey, PeerId, SignalKind,
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::arena::{Arena, TOKEN, count, counted, crowd};
use crate::evil_hub::{EvilHub, identity, mesh_socket};
use crate::hub_process::{HubProcess, LIMIT};
use crate::raw::{Raw, fresh_id};

const REFUSED: &str = "hubmesh_mesh_handshakes_refused_total";
const ENDED: &str = "hubmesh_mesh_links_down_total";
const EVENTS: &str = "hubmesh_mesh_signal_events_total";

fn life() -> Incarnation {
    Incarnation {
        epoch: 0,
        nonce: rand::random(),
    }
}

/// The hub's answers to a first message on `/mesh`, until it closes.
async fn answers(hub: &HubProcess, first: Message) -> Vec<Bytes> {
    let mut socket = mesh_socket(hub).await;
    // The hub may close the connection before it has read the whole message.
    let _ = socket.send(first).await;
    let mut answers = Vec::new();
    let reading = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(bytes) = message {
                answers.push(bytes);
            }
        }
    };
    timeout(LIMIT, reading).await.expect("the hub closes");
    answers
}

#[tokio::test]
async fn noise_before_the_handshake_is_refused_and_says_so() {
    let mut arena = Arena::open().await;
    let malformed =
        Bytes::from(postcard::to_allocvec(&(4_u8, Rejection::Malformed)).expect("plain values"));
    for (name, first) in [
        ("noise", Message::binary(vec![0xff; 200])),
        ("nothing", Message::binary(Vec::new())),
        ("text", Message::text("{\"type\":\"ping\"}")),
        ("1 MB", Message::binary(vec![0; 1024 * 1024])),
        ("a proof of nothing", Message::binary(vec![2; 33])),
    ] {
        arena
            .attack(name, async |hub| {
                counted(hub, (REFUSED, "reason=\"malformed\""), 20, async {
                    for told in crowd(20, async |_| answers(hub, first.clone()).await).await {
                        assert_eq!(told, std::slice::from_ref(&malformed), "{name}");
                    }
                })
                .await;
            })
            .await;
    }
    arena
        .attack("more than a message may have", async |hub| {
            counted(hub, (REFUSED, "reason=\"closed\""), 4, async {
                let first = Message::binary(vec![0; 3 * 1024 * 1024]);
                crowd(4, async |_| answers(hub, first.clone()).await).await
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn strangers_who_say_nothing_on_the_mesh_are_let_go() {
    let mut arena = Arena::open().await;
    arena
        .attack("silence", async |hub| {
            // One address may have 32 connections in their handshake at once. One more would be refused with a
            // message.
            counted(hub, (REFUSED, "reason=\"late\""), 32, async {
                crowd(32, async |_| {
                    let mut socket = mesh_socket(hub).await;
                    let end = timeout(LIMIT, socket.next()).await;
                    assert!(matches!(end.expect("the hub closes"), None | Some(Err(_))));
                })
                .await
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn strangers_who_say_nothing_give_way_to_a_hub() {
    let mut arena = Arena::open().await;
    arena
        .attack("silence in every place", async |hub| {
            let silent = crowd(80, async |_| mesh_socket(hub).await).await;
            for _ in 0..10 {
                assert!(EvilHub::link(hub).await.stands().await);
            }
            drop(silent);
        })
        .await;
}

#[tokio::test]
async fn what_one_address_does_wrong_is_warned_of_once_and_counted() {
    let mut arena = Arena::open().await;
    arena
        .attack("wrong tokens", async |hub| {
            counted(hub, (REFUSED, "reason=\"other-namespace\""), 200, async {
                for _ in 0..200 {
                    let elsewhere = Identity {
                        namespace: "elsewhere".to_owned(),
                        ..identity(TOKEN)
                    };
                    assert!(EvilHub::try_link(hub, elsewhere).await.is_err());
                }
            })
            .await;
        })
        .await;
    let log = arena.hub.log_lines();
    let warned = log.iter().filter(|line| line.contains("hub not admitted"));
    assert!(warned.count() <= 2, "one a minute");
}

#[tokio::test]
async fn without_the_token_and_the_namespace_there_is_no_link() {
    let mut arena = Arena::open().await;
    let elsewhere = Identity {
        namespace: "elsewhere".to_owned(),
        ..identity(TOKEN)
    };
    arena
        .attack("another namespace", async |hub| {
            counted(hub, (REFUSED, "reason=\"other-namespace\""), 1, async {
                let link = EvilHub::try_link(hub, elsewhere.clone()).await;
                let why = link.err().expect("no link");
                assert_eq!(why, HandshakeError::RefusedByOther(Rejection::Namespace));
            })
            .await;
        })
        .await;
    arena
        .attack("a proof without the token", async |hub| {
            counted(hub, (REFUSED, "reason=\"wrong-token\""), 1, async {
                let mut socket = mesh_socket(hub).await;
                let hello = (
                    0_u8,
                    (1_u16, 1_u16),
                    "pigeonhub-mesh",
                    [9_u8; 20],
                    (0_u32, 9_u64),
                    [1_u8; 32],
                    1_u64,
                );
                for message in [
                    postcard::to_allocvec(&hello),
                    postcard::to_allocvec(&(2_u8, [7_u8; 32])),
                ] {
                    let message = Message::binary(message.expect("plain values"));
                    socket.send(message).await.expect("a live hub");
                }
                let mut last = None;
                while let Some(Ok(Message::Binary(bytes))) =
                    timeout(LIMIT, socket.next()).await.expect("an answer")
                {
                    last = Some(bytes.to_vec());
                }
                let rejection = postcard::to_allocvec(&(4_u8, Rejection::Token));
                assert_eq!(last, Some(rejection.expect("plain values")));
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_link_with_a_reason() {
    let mut arena = Arena::open().await;
    let digest_of_nobody = vec![1, 0x04, 99];
    for (name, message) in [
        ("noise", vec![0xff; 200]),
        ("a frame that goes past the end", vec![0x7f, 0x01, 0]),
        ("an empty message", Vec::new()),
        ("a slot that was never named", digest_of_nobody),
        ("signals that are none", vec![3, 0x41, 1, 2, 3]),
        ("both classes in one message", vec![1, 0x01, 5, 1, 0x41, 5]),
    ] {
        arena
            .attack(name, async |hub| {
                counted(hub, (ENDED, "reason=\"bad-frame\""), 1, async {
                    let mut evil = EvilHub::link(hub).await;
                    assert!(evil.send(message.clone()).await);
                    assert_eq!(evil.bye().await, Some(Bye::BadFrame), "{name}");
                })
                .await;
            })
            .await;
    }
}

/// A claim of some peer in some network.
fn claim(number: u64, network: &str, peer: &str, data: Option<Bytes>) -> Change {
    Change::Claim(Claim {
        network: NetworkKey::new(Dialect::Pigeon, network).expect("a network"),
        peer: PeerId::new(peer).expect("a peer"),
        claim: ClaimNo(number),
        hlc: Hlc::from_wall(1_700_000_000_000 + number),
        quiet: false,
        data,
    })
}

fn delta(origin: HubId, incarnation: Incarnation, entries: Vec<Change>) -> ControlFrame {
    let entries: Vec<Entry> = entries
        .into_iter()
        .zip(1..)
        .map(|(change, seq)| Entry { seq, change })
        .collect();
    ControlFrame::Delta(Delta {
        origin,
        incarnation,
        from: 0,
        reset: true,
        last: true,
        to: entries.len() as u64,
        entries,
    })
}

#[tokio::test]
async fn a_hub_speaks_for_its_own_peers_alone() {
    let mut arena = Arena::open().await;
    arena
        .attack("claims in other hubs' names", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            let ghost = fresh_id();
            for (origin, incarnation) in [
                (evil.victim, evil.victim_life),
                (evil.victim, Incarnation { epoch: 9, nonce: 9 }),
                (HubId([3; 20]), life()),
            ] {
                let claims = vec![claim(1, "ghosts", &ghost, None)];
                assert!(evil.control(&delta(origin, incarnation, claims)).await);
            }
            assert!(evil.stands().await);
            let page = hub.http_get("/metrics").await.json();
            assert_eq!(
                page["peers"]["networks"]["ghosts"],
                serde_json::Value::Null,
                "{page}"
            );
        })
        .await;
    arena
        .attack("signals in the name of others' peers", async |hub| {
            let (victim, friend) = (fresh_id(), fresh_id());
            let mut ear = Raw::member(hub, &victim, "forged").await;
            let mut mouth = Raw::member(hub, &friend, "forged").await;
            ear.message_of("peer-discovered").await;
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            // An empty set tells the hub that the attacker has no peers.
            assert!(
                evil.control(&delta(evil.me.hub, evil.me.incarnation, Vec::new()))
                    .await
            );
            assert!(evil.stands().await);
            let alarm = ("hubmesh_alarms_total", "alarm=\"forged-signal\"");
            counted(
                hub,
                alarm,
                1,
                counted(hub, (EVENTS, "event=\"forged\""), 2, async {
                    for (seq, from) in [(1, friend.as_str()), (2, victim.as_str())] {
                        let frame = forged(&evil, seq, from, &victim);
                        assert!(evil.data(&frame).await);
                    }
                }),
            )
            .await;
            let refused = evil
                .until_data(|frame| matches!(frame, DataFrame::Ack(ack) if ack.upto >= 2))
                .await;
            let Some(DataFrame::Ack(ack)) = refused else {
                panic!("the attacker is told: {refused:?}")
            };
            assert!(
                ack.refused
                    .iter()
                    .all(|refused| refused.why == RefusedWhy::Forged),
                "{ack:?}"
            );
            // No forged signal was delivered: the next offer that the victim receives is an honest one.
            let honest =
                serde_json::json!({"type": "offer", "targetPeerId": victim, "data": "honest"});
            mouth.say(&honest.to_string()).await.expect("a live hub");
            assert_eq!(ear.message_of("offer").await["data"], "honest");
        })
        .await;
}

fn forged(evil: &EvilHub, seq: u64, from: &str, target: &str) -> DataFrame {
    DataFrame::Signal(SignalFrame {
        head: FrameHead {
            ttl: 4,
            source: evil.me.hub,
            source_incarnation: evil.me.incarnation,
            dest: evil.victim,
            dest_incarnation: evil.victim_life,
        },
        seq,
        base: 1,
        body: SignalBody::Peer(PeerSignal {
            network: NetworkKey::new(Dialect::Pigeon, "forged").expect("a network"),
            from: PeerId::new(from).expect("a peer"),
            from_claim: ClaimNo(1),
            from_seq: 0,
            target: PeerId::new(target).expect("a peer"),
            target_claim: ClaimNo(1),
            kind: SignalKind(0),
            payload: Bytes::from_static(b"\"forged\""),
        }),
    })
}

#[tokio::test]
async fn data_of_another_hub_s_peers_cannot_break_a_message() {
    let mut arena = Arena::open().await;
    arena
        .attack("data that is none", async |hub| {
            let mut ear = Raw::member(hub, &fresh_id(), "remote").await;
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            let data: [&'static [u8]; 6] = [
                b"{\"a\":1},\"fromPeerId\":\"x\",\"y\":{}",
                b"{\"peerId\":\"someone else\",\"isHub\":true}",
                b"not JSON",
                b"\xff\xfe",
                b"{}{}",
                b"",
            ];
            let ids: Vec<String> = data.iter().map(|_| fresh_id()).collect();
            let claims = data.iter().zip(&ids).zip(1..).map(|((data, id), number)| {
                claim(number, "remote", id, Some(Bytes::from_static(data)))
            });
            let frame = delta(evil.me.hub, evil.me.incarnation, claims.collect());
            assert!(evil.control(&frame).await);
            for _ in &ids {
                let told = ear.message_of("peer-discovered").await;
                let id = told["data"]["peerId"].as_str().expect("an id");
                assert!(ids.iter().any(|known| known == id), "{told}");
                assert_eq!(told["data"]["isHub"], false);
                assert_eq!(told["fromPeerId"], "system");
            }
        })
        .await;
}

#[tokio::test]
async fn a_message_of_more_than_a_hub_would_send_at_once_ends_the_link() {
    let mut arena = Arena::open().await;
    arena
        .attack(
            "a message of forty thousand claims of one id",
            async |hub| {
                counted(hub, (ENDED, "reason=\"bad-frame\""), 1, async {
                    let mut evil = EvilHub::link(hub).await;
                    evil.enter().await;
                    let same = fresh_id();
                    let claims = (1..=40_000).map(|number| claim(number, "one", &same, None));
                    let frame = delta(evil.me.hub, evil.me.incarnation, claims.collect());
                    assert!(evil.control(&frame).await);
                    assert_eq!(evil.bye().await, Some(Bye::BadFrame));
                })
                .await;
            },
        )
        .await;
}

#[tokio::test]
async fn many_claims_of_one_id_cost_others_nothing() {
    let mut arena = Arena::open().await;
    arena
        .attack("forty thousand claims of one id", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            let same = fresh_id();
            let mut entries = (1..=40_000).map(|seq| Entry {
                seq,
                change: claim(seq, "one", &same, None),
            });
            for part in 0..10 {
                let entries: Vec<Entry> = entries.by_ref().take(4_000).collect();
                let delta = Delta {
                    origin: evil.me.hub,
                    incarnation: evil.me.incarnation,
                    from: part * 4_000,
                    reset: part == 0,
                    last: part == 9,
                    to: (part + 1) * 4_000,
                    entries,
                };
                assert!(evil.control(&ControlFrame::Delta(delta)).await);
            }
            assert!(evil.stands().await);
            let shown = hub.http_get("/stats").await.json();
            assert!(shown["peers"].as_u64().expect("a number") < 10, "{shown}");
        })
        .await;
}

#[tokio::test]
async fn one_hub_has_few_links_and_all_are_counted() {
    let mut arena = Arena::open().await;
    arena
        .attack("eighty links of one hub", async |hub| {
            let me = identity(TOKEN);
            // The first links count as silent after 3 s, and make place for later ones.
            counted(hub, (ENDED, "reason=\"full\""), 20, async {
                let mut links = Vec::new();
                for _ in 0..80 {
                    links.push(EvilHub::try_link(hub, me.clone()).await);
                }
                let open = count(hub, "hubmesh_mesh_links_open", "").await;
                assert!(open <= 1 + 4, "{open} links, one with the neighbour");
                links
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn the_dictionary_of_a_link_is_bounded() {
    let mut arena = Arena::open().await;
    arena
        .attack("more names than slots", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            for _ in 0..20 {
                let mut lines: Vec<DigestEntry> = (0..1_000)
                    .map(|number| DigestEntry {
                        hub: HubId(rand::random()),
                        incarnation: life(),
                        number,
                    })
                    .collect();
                lines.sort_unstable_by_key(|line| line.hub);
                assert!(evil.control(&ControlFrame::Digest(lines)).await);
            }
            assert!(evil.stands().await);
        })
        .await;
}

#[tokio::test]
async fn hubs_that_exist_on_paper_and_deltas_without_end_cost_others_nothing() {
    let mut arena = Arena::open().await;
    arena
        .attack("records of made-up hubs", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            let ghosts: Vec<HubId> = (0..400).map(|_| HubId(rand::random())).collect();
            let own = evil.record(2, &ghosts);
            let mut records = vec![own];
            records.extend(ghosts.iter().map(|ghost| LinkRecord {
                hub: *ghost,
                incarnation: life(),
                number: 1,
                draining: false,
                urls: vec!["ws://127.0.0.1:1/mesh".to_owned()],
                region: "nowhere".to_owned(),
                neighbours: vec![(evil.me.hub, 1)],
            }));
            for part in records.chunks(100) {
                assert!(evil.control(&ControlFrame::Records(part.to_vec())).await);
            }
            assert!(evil.stands().await);
        })
        .await;
    arena
        .attack("a delta without end", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            let mut seq = 0;
            for _ in 0..100 {
                let entries = (0..200).map(|_| {
                    seq += 1;
                    let change = claim(
                        seq,
                        "endless",
                        &fresh_id(),
                        Some(Bytes::from_static(b"{\"a\":1}")),
                    );
                    Entry { seq, change }
                });
                let part = Delta {
                    origin: evil.me.hub,
                    incarnation: evil.me.incarnation,
                    from: 0,
                    reset: true,
                    last: false,
                    entries: entries.collect(),
                    to: 20_000,
                };
                assert!(evil.control(&ControlFrame::Delta(part)).await);
            }
            assert!(evil.stands().await);
            // Claims of a delta that never ended are not shown.
            let page = hub.http_get("/metrics").await.json();
            assert_eq!(
                page["peers"]["networks"]["endless"],
                serde_json::Value::Null,
                "{page}"
            );
        })
        .await;
}

#[tokio::test]
async fn a_hub_that_floods_its_link_delays_nobody_else() {
    let mut arena = Arena::open().await;
    arena
        .attack("pings by the thousand", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            for token in 0..5_000 {
                assert!(evil.control(&ControlFrame::Ping { token }).await);
            }
            assert!(evil.stands().await);
        })
        .await;
    arena
        .attack("signals to nowhere", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            let before = count(hub, EVENTS, "").await;
            for seq in 1..2_000 {
                let DataFrame::Signal(signal) = forged(&evil, seq, "a", "b") else {
                    unreachable!("it is a signal")
                };
                let astray = SignalFrame {
                    head: FrameHead {
                        dest: HubId([9; 20]),
                        ttl: (seq % 3) as u8,
                        ..signal.head
                    },
                    ..signal
                };
                assert!(evil.data(&DataFrame::Signal(astray)).await);
            }
            assert!(evil.stands().await);
            assert!(count(hub, EVENTS, "").await >= before + 1_999);
        })
        .await;
}
