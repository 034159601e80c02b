//! Clients of OctateCode's rooms on real hubs, one and several that are linked, as raw WebSockets.
//!
//! The flow of messages that OctateCode publishes is a fixture; `tests/browser/flow.mjs` plays the same flow with the
//! `ws` package. No test assumes a speed, except the one about a hub's death: the documentation promises that time.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/json_client.rs"]
mod json_client;
mod outliving;

use std::time::Duration;

use futures::SinkExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use hub_process::{HubProcess, eventually, eventually_within};
use json_client::{JsonClient, play, timeless};

const FLOW: &str = include_str!("../fixtures/rooms/flow.jsonl");

/// A client that is authenticated.
async fn authenticated(hub: &HubProcess, user: &str, room: &str) -> JsonClient {
    let mut client = JsonClient::at(hub, "/rooms").await;
    let said = json!({"type": "auth", "userId": user, "roomId": room});
    assert_eq!(client.ask(said).await["data"]["status"], "authenticated");
    client
}

fn create(name: &str) -> Value {
    json!({"type": "create-room", "data": {"roomName": name, "userName": "Somebody", "content": "kept"}})
}

fn enter() -> Value {
    json!({"type": "join-room", "data": {"userName": "Somebody"}})
}

/// Enters a room as soon as this hub has heard of it.
async fn entered(hub: &HubProcess, user: &str, room: &str) -> (JsonClient, Value) {
    let mut client = authenticated(hub, user, room).await;
    let mut told = Value::Null;
    eventually("the room is there", async || {
        told = client.ask(enter()).await;
        told["type"] == "room-joined"
    })
    .await;
    (client, told["data"]["room"].take())
}

#[tokio::test]
async fn the_published_flow_goes_on_one_hub() {
    let hub = HubProcess::start().await;
    play(FLOW, &[hub], "/rooms").await;
}

#[tokio::test]
async fn the_published_flow_goes_across_two_hubs() {
    let (first, second) = HubProcess::two().await;
    play(FLOW, &[first, second], "/rooms").await;
}

#[tokio::test]
async fn clients_at_the_root_path_are_told_by_their_first_word() {
    let hub = HubProcess::start().await;
    let mut ada = JsonClient::at(&hub, "/").await;
    let said = json!({"type": "auth", "userId": "ada", "roomId": "r"});
    assert_eq!(ada.ask(said).await["type"], "auth");
    assert_eq!(ada.ask(create("r")).await["type"], "room-created");
}

#[tokio::test]
async fn two_hubs_that_create_one_room_at_once_settle_on_one() {
    let (first, second) = HubProcess::two().await;
    for round in 0..5 {
        let room = format!("room {round}");
        let mut ada = authenticated(&first, "ada", &room).await;
        let mut bob = authenticated(&second, "bob", &room).await;
        tokio::join!(ada.send(create("ada's")), bob.send(create("bob's")));
        // One of them is sent out of the room, whatever it was told before.
        let (lost, host) = tokio::select! {
            told = ada.next_of("error") => (told, "bob"),
            told = bob.next_of("error") => (told, "ada"),
        };
        let mut loser = match host {
            "bob" => ada,
            _ => bob,
        };
        assert_eq!(lost["data"]["code"], "room-exists", "{lost}");
        loser.send(enter()).await;
        let told = loser.next_of("room-joined").await;
        let told = &told["data"]["room"];
        assert_eq!(
            (&told["hostId"], &told["peerCount"]),
            (&json!(host), &json!(2)),
            "{told}"
        );
        assert_eq!(told["roomName"], format!("{host}'s"));
    }
}

#[tokio::test]
async fn an_empty_room_keeps_its_state_for_its_time_and_is_gone_everywhere_then() {
    let hub = HubProcess::builder().env("ROOM_INACTIVITY_TIMEOUT", "3000");
    let first = hub.start().await;
    let second = first.neighbour().env("ROOM_INACTIVITY_TIMEOUT", "3000");
    let second = second.start().await;
    second.reaches_hubs(1).await;
    let mut ada = authenticated(&first, "ada", "r").await;
    let made = ada.ask(create("Notes")).await["data"]["room"].take();
    ada.close().await;
    let (bob, found) = entered(&second, "bob", "r").await;
    assert_eq!(
        (&found["roomName"], &found["content"]),
        (&json!("Notes"), &json!("kept"))
    );
    assert_eq!(
        (&found["createdAt"], &found["hostId"]),
        (&made["createdAt"], &json!("bob"))
    );
    bob.close().await;
    for (hub, user) in [(&first, "cy"), (&second, "dee")] {
        let mut client = authenticated(hub, user, "probe").await;
        eventually("the room is gone", async || {
            // To enter the room would keep it. To create it succeeds once it is gone.
            let said = json!({"type": "create-room", "roomId": "r", "data": {"roomName": "New"}});
            let told = client.ask(said).await;
            let is_new = told["type"] == "room-created";
            if is_new {
                client
                    .send(json!({"type": "leave-room", "roomId": "r"}))
                    .await;
            }
            is_new
        })
        .await;
    }
}

#[tokio::test]
async fn the_host_s_hub_is_killed_and_the_members_that_are_left_agree_on_the_next() {
    let mut first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    let third = first.neighbour().env(
        "BOOTSTRAP_HUBS",
        format!("{},{}", first.ws_url(), second.ws_url()),
    );
    let third = third.start().await;
    for hub in [&first, &second, &third] {
        hub.reaches_hubs(2).await;
    }
    let mut host = authenticated(&first, "user 0", "r").await;
    let made = host.ask(create("Notes")).await["data"]["room"].take();
    let mut members = Vec::new();
    for (number, hub) in [&second, &third, &second, &third, &first]
        .into_iter()
        .enumerate()
    {
        let user = format!("user {}", number + 1);
        let (client, _) = entered(hub, &user, "r").await;
        members.push(client);
    }
    // The last member is at the host's hub, and is gone with it.
    let _fifth = members.pop();
    eventually("all six are known everywhere", async || {
        let mut all = true;
        for client in &mut members {
            client.send(enter()).await;
            let told = client.next_of("room-joined").await;
            all &= told["data"]["room"]["peerCount"] == 6;
        }
        all
    })
    .await;
    first.kill9().await;
    let killed = Instant::now();
    for client in &mut members {
        let told = client.next_of("host-changed").await;
        assert_eq!(told["data"]["hostId"], "user 1", "{told}");
    }
    let took = killed.elapsed();
    assert!(took < Duration::from_millis(5_500), "{took:?}");
    for client in &mut members {
        client.send(enter()).await;
        let told = client.next_of("room-joined").await["data"]["room"].take();
        for kept in ["roomName", "content", "createdAt"] {
            assert_eq!(told[kept], made[kept]);
        }
        assert_eq!(
            (&told["hostId"], &told["peerCount"]),
            (&json!("user 1"), &json!(4))
        );
    }
    println!("a new host {took:?} after the kill");
}

#[tokio::test]
async fn one_address_does_not_use_up_the_rooms_of_a_hub() {
    let hub = HubProcess::builder().env("MAX_ROOMS", "40");
    let hub = hub.env("TRUSTED_PROXIES", "127.0.0.1");
    // This test asks as fast as it can.
    let hub = hub.env("RATE_LIMIT_BURST", "1000").start().await;
    let mut eve = authenticated(&hub, "eve", "r").await;
    for no in 0..20 {
        let said = json!({"type": "create-room", "roomId": format!("r{no}"), "data": {}});
        assert_eq!(eve.ask(said).await["type"], "room-created", "{no}");
    }
    let said = json!({"type": "create-room", "roomId": "one more", "data": {}});
    let told = eve.ask(said).await;
    assert_eq!(told["data"]["code"], "too-many-rooms-of-address", "{told}");
    let headers = [
        ("x-forwarded-for", "192.0.2.1"),
        ("content-type", "application/json"),
    ];
    let body = r#"{"roomId":"ada's","hostId":"ada"}"#;
    let made = hub.post("/api/rooms", &headers, body).await;
    assert_eq!(made.status, http::StatusCode::CREATED, "{}", made.body);
    let headers = [("accept", "text/plain")];
    let metrics = hub.http(http::Method::GET, "/metrics", &headers).await.body;
    let counted = r#"hubmesh_joins_refused_total{reason="too-many-rooms-of-address"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn rooms_that_an_operator_makes_count_for_no_address() {
    const TOKEN: &str = "an-operator-s-token";
    let hub = HubProcess::builder().env("MAX_ROOMS", "40");
    let hub = hub.env("ADMIN_TOKEN", TOKEN);
    let hub = hub.env("RATE_LIMIT_BURST", "1000").start().await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    // More rooms than one address may make, each with a member.
    for no in 0..30 {
        let body = json!({"roomId": format!("r{no}"), "hostId": "host"});
        let made = hub.post("/api/rooms", &headers, &body.to_string()).await;
        assert_eq!(
            made.status,
            http::StatusCode::CREATED,
            "{no}: {}",
            made.body
        );
    }
    // A client of the same address still has its whole share.
    let mut eve = authenticated(&hub, "eve", "r").await;
    for no in 0..10 {
        let said = json!({"type": "create-room", "roomId": format!("eve's {no}"), "data": {}});
        assert_eq!(eve.ask(said).await["type"], "room-created", "{no}");
    }
    let said = json!({"type": "create-room", "roomId": "one more", "data": {}});
    let told = eve.ask(said).await;
    assert_eq!(told["data"]["code"], "too-many-rooms", "{told}");
}

#[tokio::test]
async fn bad_input_is_told_and_costs_no_connection() {
    let hub = HubProcess::builder().env("MAX_ROOMS", "1");
    // Longer than the test waits for anything.
    let hub = hub.env("SIGNAL_WAIT_MS", "60000").start().await;
    let mut ada = authenticated(&hub, "ada", "r").await;
    assert_eq!(ada.ask(create("r")).await["type"], "room-created");
    let long = "x".repeat(20_000);
    for (said, code) in [
        (json!(7), "not-an-object"),
        (json!({"type": "auth"}), "missing-field"),
        (
            json!({"type": "auth", "userId": "eve", "roomId": "r"}),
            "already-authenticated",
        ),
        (
            json!({"type": "join-room", "userId": "eve"}),
            "forged-sender",
        ),
        (
            json!({"type": "join-room", "roomId": "elsewhere"}),
            "no-such-room",
        ),
        (
            json!({"type": "create-room", "data": {"roomName": "again"}}),
            "room-exists",
        ),
        (
            json!({"type": "create-room", "roomId": "two", "data": {"roomName": "two"}}),
            "too-many-rooms",
        ),
        (
            json!({"type": "create-room", "roomId": "two", "data": {"content": long}}),
            "room-too-long",
        ),
        (
            json!({"type": "sdp-offer", "targetUserId": "\0room", "data": 1}),
            "no-such-peer",
        ),
        (
            json!({"type": "sdp-offer", "targetUserId": "nobody", "data": 1}),
            "no-such-peer",
        ),
        (
            json!({"type": "presence", "roomId": "elsewhere", "data": 1}),
            "not-announced",
        ),
        (json!({"type": "operation"}), "not-relayed"),
        (json!({"type": "dance"}), "unsupported-type"),
    ] {
        let told = ada.ask(said.clone()).await;
        assert_eq!(
            (&told["type"], &told["data"]["code"]),
            (&json!("error"), &json!(code)),
            "{:.80}",
            said.to_string()
        );
    }
    assert_eq!(
        timeless(ada.ask(json!({"type": "heartbeat"})).await)["type"],
        "heartbeat"
    );
    eventually_within(Duration::from_secs(10), "it is counted", async || {
        let text = [("accept", "text/plain")];
        let page = hub.http(http::Method::GET, "/metrics", &text).await;
        page.body.lines().any(|line| {
            line.contains("messages_received")
                && line.contains("\"rooms\"")
                && !line.ends_with(" 0")
        })
    })
    .await;
}

/// Sends all of these messages before any answer comes.
async fn burst(client: &mut JsonClient, said: &[Value]) {
    for said in said {
        let fed = client.socket.feed(Message::text(said.to_string())).await;
        fed.expect("it is taken");
    }
    client.socket.flush().await.expect("it is sent");
}

#[tokio::test]
async fn whoever_creates_a_room_that_it_is_about_to_be_in_is_told_that_there_is_one() {
    let hub = HubProcess::start().await;
    let mut ada = authenticated(&hub, "ada", "r").await;
    burst(&mut ada, &[create("first"), create("second")]).await;
    assert_eq!(ada.next().await["type"], "room-created");
    let told = ada.next().await;
    assert_eq!(told["data"]["code"], "room-exists", "{told}");
    assert_eq!(told["data"]["error"], "Room already exists");
    let mut bob = authenticated(&hub, "bob", "r").await;
    burst(&mut bob, &[enter(), create("third")]).await;
    let there = bob.next().await;
    assert_eq!(there["type"], "room-joined", "{there}");
    assert_eq!(there["data"]["room"]["roomName"], "first");
    assert_eq!(bob.next().await["data"]["code"], "room-exists");
    // Nobody has lost a membership.
    assert_eq!(ada.next_of("peer-joined").await["userId"], "bob");
    bob.send(json!({"type": "presence", "data": 1})).await;
    assert_eq!(ada.next().await["type"], "presence");
}

#[tokio::test]
async fn no_more_members_than_allowed_are_in_a_room() {
    let hub = HubProcess::builder().env("MAX_ROOM_MEMBERS", "2");
    let hub = hub.start().await;
    let mut ada = authenticated(&hub, "ada", "r").await;
    ada.ask(create("r")).await;
    let (bob, _) = entered(&hub, "bob", "r").await;
    let mut cy = authenticated(&hub, "cy", "r").await;
    let told = cy.ask(enter()).await;
    assert_eq!(told["data"]["code"], "room-full", "{told}");
    assert_eq!(ada.ask(enter()).await["type"], "peer-joined");
    assert_eq!(ada.next().await["data"]["room"]["peerCount"], 2);
    bob.close().await;
    ada.next_of("peer-left").await;
    assert_eq!(cy.ask(enter()).await["type"], "room-joined");
}

#[tokio::test]
async fn a_member_that_is_silent_for_too_long_has_left() {
    let hub = HubProcess::builder().env("PEER_HEARTBEAT_TIMEOUT", "1000");
    let hub = hub.start().await;
    let mut ada = authenticated(&hub, "ada", "r").await;
    ada.ask(create("r")).await;
    // This client reads nothing, so it answers no ping.
    let (_silent, _) = entered(&hub, "bob", "r").await;
    let left = ada.next_of("peer-left").await;
    assert_eq!(left["userId"], "bob");
}
