//! Rooms whose members are all at one hub, and what becomes of them when that hub ends.

use serde_json::{Value, json};

use crate::hub_process::{HubProcess, eventually};
use crate::json_client::JsonClient;
use crate::{authenticated, create, entered};

/// Three hubs, and a room on the first of them: its two members, and the room as its creator was told. The other hubs
/// know the room.
async fn a_room_on_one_of_three() -> ([HubProcess; 3], Vec<JsonClient>, Value) {
    let first = HubProcess::start().await;
    let second = first.neighbour().start().await;
    let bootstrap = format!("{},{}", first.ws_url(), second.ws_url());
    let third = first.neighbour().env("BOOTSTRAP_HUBS", bootstrap);
    let third = third.start().await;
    for hub in [&first, &second, &third] {
        hub.reaches_hubs(2).await;
    }
    let mut ada = authenticated(&first, "ada", "r").await;
    let made = ada.ask(create("Notes")).await["data"]["room"].take();
    let (bob, _) = entered(&first, "bob", "r").await;
    for hub in [&second, &third] {
        eventually("the room is known", async || {
            hub.http_get("/api/rooms/r").await.status == 200
        })
        .await;
    }
    ([first, second, third], vec![ada, bob], made)
}

/// The number of records that a hub holds.
async fn held(hub: &HubProcess) -> u64 {
    let headers = [("accept", "text/plain")];
    let shown = hub.http(http::Method::GET, "/metrics", &headers).await.body;
    let mut lines = shown.lines();
    let line = lines.find_map(|line| line.strip_prefix("hubmesh_rooms_held "));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}

/// Both members come back at other hubs. They find the room as it was, and one of them is the host.
async fn they_come_back(hubs: [&HubProcess; 2], made: &Value) {
    let (mut bob, _) = entered(hubs[0], "bob", "r").await;
    let (_ada, _) = entered(hubs[1], "ada", "r").await;
    eventually("the room is theirs alone", async || {
        let said = json!({"type": "join-room", "data": {"userName": "Somebody"}});
        bob.send(said).await;
        let room = bob.next_of("room-joined").await["data"]["room"].take();
        for kept in ["roomName", "content", "createdAt"] {
            assert_eq!(room[kept], made[kept], "{room}");
        }
        room["hostId"] == "bob" && room["peerCount"] == 2
    })
    .await;
}

#[tokio::test]
async fn a_room_outlives_the_hub_that_all_its_members_were_at() {
    let ([mut first, second, third], clients, made) = a_room_on_one_of_three().await;
    first.kill9().await;
    drop(clients);
    // Before the room is taken over as well as afterwards: a member that comes back at once finds it too.
    they_come_back([&second, &third], &made).await;
}

#[tokio::test]
async fn a_room_nobody_comes_back_to_at_once_is_kept_by_another_hub() {
    let ([mut first, second, third], clients, made) = a_room_on_one_of_three().await;
    first.kill9().await;
    drop(clients);
    eventually("another hub has the room", async || {
        held(&second).await + held(&third).await == 1
    })
    .await;
    they_come_back([&third, &second], &made).await;
}

#[tokio::test]
async fn a_hub_that_drains_hands_its_rooms_on() {
    let ([mut first, second, third], _clients, made) = a_room_on_one_of_three().await;
    first.terminate();
    first.wait_exit().await;
    they_come_back([&second, &third], &made).await;
}
