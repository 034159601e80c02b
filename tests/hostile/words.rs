//! Hubs that send link records, ask for them and compare them without end.

use hubmesh_core::api::Bye;
use hubmesh_core::frames::{ControlFrame, DigestEntry, Summary};
use hubmesh_core::ids::{HubId, Incarnation};

use crate::arena::{Arena, counted};
use crate::evil_hub::EvilHub;

const ENDED: &str = "hubmesh_mesh_links_down_total";

fn made_up(many: usize) -> Vec<DigestEntry> {
    let line = || DigestEntry {
        hub: HubId(rand::random()),
        incarnation: Incarnation { epoch: 0, nonce: 1 },
        number: 1,
    };
    (0..many).map(|_| line()).collect()
}

fn summary(sums: u32) -> ControlFrame {
    ControlFrame::Summary(Summary {
        wants_all: true,
        is_answer: false,
        sums: vec![sums; Summary::SHARES],
    })
}

#[tokio::test]
async fn word_requests_and_sums_without_end_cost_others_nothing() {
    let mut arena = Arena::open().await;
    arena
        .attack("word of a hundred thousand hubs", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            for _ in 0..100 {
                assert!(evil.control(&ControlFrame::Announce(made_up(1_000))).await);
            }
            assert!(evil.stands().await);
        })
        .await;
    arena
        .attack("requests for what nobody has", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            for _ in 0..100 {
                let hubs = made_up(1_000).iter().map(|line| line.hub).collect();
                assert!(evil.control(&ControlFrame::Want(hubs)).await);
            }
            assert!(evil.stands().await);
        })
        .await;
    arena
        .attack("sums that are never the same", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            evil.enter().await;
            for sums in 1..1_000 {
                assert!(evil.control(&summary(sums)).await);
            }
            assert!(evil.stands().await);
        })
        .await;
}

#[tokio::test]
async fn one_message_makes_a_bounded_amount_of_work() {
    let mut arena = Arena::open().await;
    let hubs = made_up(8_193).iter().map(|line| line.hub).collect();
    for (name, frame, times) in [
        ("8,193 words", ControlFrame::Announce(made_up(8_193)), 1),
        ("8,193 requests", ControlFrame::Want(hubs), 1),
        ("nine summaries", summary(1), 9),
        (
            "nine digests of nothing",
            ControlFrame::Digest(Vec::new()),
            9,
        ),
        (
            "8,193 words of nothing",
            ControlFrame::Announce(Vec::new()),
            8_193,
        ),
    ] {
        arena
            .attack(name, async |hub| {
                counted(hub, (ENDED, "reason=\"bad-frame\""), 1, async {
                    let mut evil = EvilHub::link(hub).await;
                    evil.enter().await;
                    assert!(evil.control_times(&frame, times).await);
                    assert_eq!(evil.bye().await, Some(Bye::BadFrame), "{name}");
                })
                .await;
            })
            .await;
    }
}
