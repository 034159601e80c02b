//! Hubs that send in the name of others: signals, acknowledgements, and incarnations.

use bytes::Bytes;
use hubmesh_core::frames::{
    AckFrame, ControlFrame, DataFrame, FrameHead, PeerSignal, SignalBody, SignalFrame,
};
use hubmesh_core::ids::{ClaimNo, Dialect, HubId, Incarnation, NetworkKey, PeerId, SignalKind};

use crate::arena::{Arena, counted};
use crate::evil_hub::EvilHub;
use crate::raw::fresh_id;

const EVENTS: &str = "hubmesh_mesh_signal_events_total";

/// The id and incarnation of a third hub, as the attacker learns them on a link to a neighbour of that hub.
pub async fn third_hub(evil: &mut EvilHub) -> (HubId, Incarnation) {
    let (me, victim) = (evil.me.hub, evil.victim);
    let is_third = move |hub: &HubId| *hub != me && *hub != victim;
    let told = evil
        .until(|frame| match frame {
            ControlFrame::Announce(lines) => lines.iter().any(|line| is_third(&line.hub)),
            _ => false,
        })
        .await;
    let Some(ControlFrame::Announce(lines)) = told else {
        panic!("nothing announces a third hub")
    };
    let line = lines.iter().find(|line| is_third(&line.hub));
    line.map(|line| (line.hub, line.incarnation))
        .expect("a third hub")
}

/// A signal in the name of the hub `source`, from a peer that no hub knows.
fn signal(evil: &EvilHub, (source, life): (HubId, Incarnation), base: u64) -> DataFrame {
    DataFrame::Signal(SignalFrame {
        head: FrameHead {
            ttl: 8,
            source,
            source_incarnation: life,
            dest: evil.victim,
            dest_incarnation: evil.victim_life,
        },
        seq: base,
        base,
        body: SignalBody::Peer(PeerSignal {
            network: NetworkKey::new(Dialect::Pigeon, "forged").expect("a network"),
            from: PeerId::new(&fresh_id()).expect("a peer"),
            from_claim: ClaimNo(1),
            from_seq: 0,
            target: PeerId::new(&fresh_id()).expect("a peer"),
            target_claim: ClaimNo(1),
            kind: SignalKind(0),
            payload: Bytes::from_static(b"{}"),
        }),
    })
}

#[tokio::test]
async fn what_a_hub_says_in_a_third_ones_name_stops_nobody() {
    let mut arena = Arena::open().await;
    for (name, base, later) in [
        ("numbers far ahead", 1 << 62, false),
        ("numbers ahead", 1 << 40, false),
        ("the numbers that come next", 1, false),
        ("a life that is none", 1, true),
    ] {
        arena
            .attack(name, async |hub| {
                counted(hub, (EVENTS, "event=\"astray\""), 50, async {
                    let mut evil = EvilHub::link(hub).await;
                    let (third, life) = third_hub(&mut evil).await;
                    evil.enter().await;
                    let life = if later {
                        Incarnation {
                            epoch: u32::MAX,
                            nonce: 1,
                        }
                    } else {
                        life
                    };
                    for ahead in 0..50 {
                        let frame = signal(&evil, (third, life), base + ahead);
                        assert!(evil.data(&frame).await);
                    }
                    evil
                })
                .await;
            })
            .await;
    }
    arena
        .attack("acknowledgements of what was never sent", async |hub| {
            counted(hub, (EVENTS, "event=\"astray\""), 2, async {
                let mut evil = EvilHub::link(hub).await;
                let (third, life) = third_hub(&mut evil).await;
                evil.enter().await;
                for upto in [1 << 40, 1 << 62] {
                    let ack = AckFrame {
                        head: FrameHead {
                            ttl: 8,
                            source: third,
                            source_incarnation: life,
                            dest: evil.victim,
                            dest_incarnation: evil.victim_life,
                        },
                        upto,
                        refused: Vec::new(),
                    };
                    assert!(evil.data(&DataFrame::Ack(ack)).await);
                }
                evil
            })
            .await;
        })
        .await;
}
