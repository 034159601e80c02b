//! Hubs that invent incarnations of other hubs, so that those hubs leave the mesh or cannot return to it.

use bytes::BytesMut;
use hubmesh_core::api::Bye;
use hubmesh_core::frames::{ControlFrame, LinkRecord};
use hubmesh_core::ids::{HubId, Incarnation};
use hubmesh_core::wire::Encoder;
use tokio::time::{Instant, sleep};

use crate::arena::{Arena, TOKEN, impatient};
use crate::evil_hub::{EvilHub, identity};
use crate::forgers::third_hub;
use crate::hub_process::{HubProcess, LIMIT};

/// Epochs that no hub reaches by raising its own.
const MADE_UP: [u32; 3] = [u32::MAX, 1 << 31, 1 << 20];

fn life(epoch: u32) -> Incarnation {
    Incarnation { epoch, nonce: 1 }
}

/// How many hubs this hub reaches.
async fn reached(hub: &HubProcess) -> u64 {
    let page = hub.http_get("/hubs").await.json();
    page["totalHubs"].as_u64().expect("a number")
}

async fn none_left(hubs: &[&HubProcess]) {
    for hub in hubs {
        let log = hub.log_lines();
        let alarmed = log.iter().find(|line| line.contains("\"alarm\""));
        assert_eq!(alarmed, None);
        assert!(reached(hub).await >= 1);
    }
}

#[tokio::test]
async fn no_hub_leaves_for_a_life_that_was_made_up() {
    let mut arena = Arena::open().await;
    arena
        .attack("a later life of the hub itself", async |hub| {
            for epoch in MADE_UP {
                let mut evil = EvilHub::link(hub).await;
                let bye = Bye::StaleIncarnation { known: life(epoch) };
                let mut message = BytesMut::new();
                Encoder::new().encode(&ControlFrame::Bye(bye), &mut message);
                assert!(evil.send(message.freeze()).await);
                evil.bye().await;
            }
        })
        .await;
    arena
        .attack("records of a later life of both hubs", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            let (third, _) = third_hub(&mut evil).await;
            evil.enter().await;
            for epoch in MADE_UP {
                for whose in [third, evil.victim] {
                    let record = LinkRecord {
                        hub: whose,
                        incarnation: life(epoch),
                        neighbours: Vec::new(),
                        ..evil.record(1, &[])
                    };
                    assert!(evil.control(&ControlFrame::Records(vec![record])).await);
                }
            }
            assert!(evil.stands().await);
        })
        .await;
    arena
        .attack("a handshake as a later life of another hub", async |hub| {
            let mut evil = EvilHub::link(hub).await;
            let (third, _) = third_hub(&mut evil).await;
            for epoch in MADE_UP {
                let mut me = identity(TOKEN);
                (me.hub, me.incarnation) = (third, life(epoch));
                let mut link = EvilHub::try_link(hub, me).await.expect("a handshake");
                assert_eq!(link.bye().await, Some(Bye::BadFrame));
            }
        })
        .await;
    none_left(&[&arena.hub, &arena.neighbour]).await;
}

#[tokio::test]
async fn a_life_that_was_made_up_does_not_keep_its_hub_out() {
    let id = [0xab; 20];
    let hub = impatient().start().await;
    for epoch in [u32::MAX, 1 << 16] {
        let mut evil = EvilHub::link(&hub).await;
        evil.enter().await;
        let record = LinkRecord {
            hub: HubId(id),
            incarnation: life(epoch),
            neighbours: Vec::new(),
            ..evil.record(1, &[])
        };
        assert!(evil.control(&ControlFrame::Records(vec![record])).await);
        assert!(evil.stands().await);
        drop(evil);
        let newcomer = hub.neighbour().env("HUB_TOKEN", TOKEN);
        let newcomer = newcomer.env("HUB_ID", "ab".repeat(20)).start().await;
        let began = Instant::now();
        while reached(&newcomer).await == 0 || reached(&hub).await == 0 {
            assert!(began.elapsed() < LIMIT, "kept out by epoch {epoch}");
            sleep(std::time::Duration::from_millis(25)).await;
        }
    }
}

#[tokio::test]
async fn a_hub_that_is_driven_away_is_back_at_once_under_a_new_id() {
    let hub = impatient().start().await;
    let neighbour = hub.neighbour().env("HUB_TOKEN", TOKEN).start().await;
    let id = async || hub.http_get("/stats").await.json()["hubPeerId"].clone();
    let old = id().await;
    // Three times the hub raises its epoch above the one it hears of. The fourth time it assumes that another hub has
    // its id, and takes a new one.
    for epoch in [10, 20, 30, 40] {
        let mut evil = EvilHub::link(&hub).await;
        let bye = Bye::StaleIncarnation { known: life(epoch) };
        let mut message = BytesMut::new();
        Encoder::new().encode(&ControlFrame::Bye(bye), &mut message);
        assert!(evil.send(message.freeze()).await);
        evil.bye().await;
    }
    let began = Instant::now();
    while id().await == old || reached(&hub).await == 0 || reached(&neighbour).await == 0 {
        assert!(began.elapsed() < LIMIT, "it stays away");
        sleep(std::time::Duration::from_millis(25)).await;
    }
    let alarms = hub.log_lines();
    assert!(alarms.iter().any(|line| line.contains("\"new-id\"")));
}
