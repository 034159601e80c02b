//! Room mode, on one hub and across two.

use serde_json::{Value, json};

use crate::{
    client::{Client, Way, knows, pair},
    hub_process::{HubBuilder, HubProcess, eventually},
};

fn rooms(hub: HubBuilder) -> HubBuilder {
    hub.env("PEERJS_ROOMS", "true")
        .env("PEERJS_EXPIRE_TIMEOUT_MS", "200")
}

/// A hub's counts of rooms and peers.
async fn counted(hub: &HubProcess) -> Value {
    hub.http_get("/metrics").await.json()["metrics"].clone()
}

async fn four_fill_a_room(hubs: [&HubProcess; 4]) {
    let mut members = Vec::new();
    for (number, hub) in hubs.into_iter().enumerate() {
        members.push(Client::open(hub, &format!("p{number}"), "attic").await);
        for other in hubs {
            knows(other, number + 1).await;
        }
    }
    for hub in hubs {
        let fifth = Client::connect(&hub.ws_url(), &Way::new("fifth", "attic")).await;
        assert_eq!(fifth.err(), Some(429));
        let metrics = counted(hub).await;
        assert_eq!(
            (&metrics["activeRooms"], &metrics["activePeers"]),
            (&json!(1), &json!(4))
        );
        assert!(metrics["messagesPerSecond"].is_number() && metrics["errorRate"].is_number());
    }
    let mut elsewhere = Client::open(hubs[0], "p1", "cellar").await;
    let mut friend = Client::open(hubs[3], "friend", "cellar").await;
    knows(hubs[0], 6).await;
    knows(hubs[3], 6).await;
    let [first, rest @ ..] = members.as_mut_slice() else {
        panic!("there are four");
    };
    first.send("OFFER", "p1", json!("for the attic")).await;
    assert_eq!(rest[0].next().await["payload"], "for the attic");
    elsewhere.hears_nothing_before(&mut friend).await;
    first
        .send("OFFER", "friend", json!("of another room"))
        .await;
    let told = first.next().await;
    assert_eq!(
        (&told["type"], &told["payload"]["type"]),
        (&json!("ERROR"), &json!("unknown-peer"))
    );
    first
        .say(json!({"type": "OFFER", "src": "p2", "dst": "p1", "payload": 1}))
        .await;
    assert_eq!(first.next().await["payload"]["type"], "invalid-message");
    first.say(json!({"type": "dance"})).await;
    assert_eq!(first.next().await["payload"]["type"], "invalid-message");

    let last = members.pop().expect("there are four");
    last.close().await;
    for member in &mut members {
        assert_eq!(
            member.next().await,
            json!({"type": "LEAVE", "peerId": "p3"})
        );
    }
    for hub in hubs {
        knows(hub, 5).await;
    }
    let _fifth = Client::open(hubs[1], "fifth", "attic").await;
}

#[tokio::test]
async fn a_room_of_one_hub_holds_four_and_is_apart() {
    let hub = rooms(HubProcess::builder()).start().await;
    four_fill_a_room([&hub; 4]).await;
}

#[tokio::test]
async fn a_room_across_hubs_holds_four_and_is_apart() {
    let hubs = pair(rooms).await;
    four_fill_a_room([&hubs[0], &hubs[1], &hubs[0], &hubs[1]]).await;
}

#[tokio::test]
async fn a_member_whose_hub_dies_expires_for_the_room() {
    let mut hubs = pair(rooms).await;
    let mut ada = Client::open(&hubs[0], "ada", "attic").await;
    let _bob = Client::open(&hubs[1], "bob", "attic").await;
    knows(&hubs[0], 2).await;
    hubs[1].kill9().await;
    assert_eq!(ada.next().await, json!({"type": "EXPIRE", "peerId": "bob"}));
}

#[tokio::test]
async fn those_who_rush_into_a_room_on_two_hubs_are_four_in_the_end() {
    let hubs = pair(rooms).await;
    let urls = [hubs[0].ws_url(), hubs[1].ws_url()];
    let rush = (0..12).map(|number| {
        let url = urls[number % 2].clone();
        async move {
            let id = format!("p{number}");
            Client::connect(&url, &Way::new(&id, "attic")).await.ok()
        }
    });
    let clients: Vec<Client> = futures::future::join_all(rush)
        .await
        .into_iter()
        .flatten()
        .collect();
    assert!(clients.len() >= 4);
    for hub in &hubs {
        eventually("four are left", async || {
            counted(hub).await["activePeers"] == 4
        })
        .await;
    }
    let mut sent_away = 0;
    for mut client in clients {
        // Clients that stay receive no more messages until the hubs end, so the test stops waiting after 500 ms.
        let watch = tokio::time::timeout(std::time::Duration::from_millis(500), client.is_closed());
        if let Ok((told, _)) = watch.await {
            assert_eq!(
                told.last().expect("it is told")["payload"]["type"],
                "room-full"
            );
            sent_away += 1;
        }
    }
    assert!(sent_away <= 8, "{sent_away}");
}
