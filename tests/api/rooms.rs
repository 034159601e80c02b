//! Rooms over HTTP, on one hub and on two.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::hub_process::{HttpAnswer, HubBuilder, HubProcess, eventually, send};
use crate::json_client::JsonClient;
use crate::{authenticated, get, has_members, post, post_as};

fn without_times(mut room: Value) -> Value {
    let members = room.as_object_mut().expect("an object");
    for name in ["createdAt", "lastActivity", "timestamp"] {
        assert!(
            members.remove(name).is_some_and(|time| time.is_u64()),
            "{name}"
        );
    }
    for peer in members
        .get_mut("peers")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let peer = peer.as_object_mut().expect("an object");
        for name in ["connectedAt", "lastHeartbeat"] {
            assert!(
                peer.remove(name).is_some_and(|time| time.is_u64()),
                "{name}"
            );
        }
    }
    room
}

#[tokio::test]
async fn a_room_that_is_made_over_http_is_one_on_all_hubs() {
    let (first, second) = HubProcess::two().await;
    let said = json!({
        "room_id": "notes", "room_name": "Notes", "host_id": "ada", "host_name": "Ada",
        "fileId": 7, "content": {"text": "kept"}, "version": [1],
    });
    let made = post(&first, "/api/rooms", &said).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.json()["message"], "Room created");
    has_members(&second, "notes", 1).await;
    let mut told = get(&second, "/api/rooms/notes", StatusCode::OK).await;
    let metadata = told["metadata"].take();
    let mut metadata = without_times_of_room(metadata);
    assert_eq!(
        metadata["peers"].take(),
        json!([{"userId": "ada", "userName": "Ada", "isHost": true}])
    );
    assert_eq!(
        metadata,
        json!({
            "roomId": "notes", "roomName": "Notes", "hostId": "ada", "hostName": "Ada", "fileId": 7,
            "content": {"text": "kept"}, "version": [1], "peerCount": 1, "state": "active", "peers": null,
        })
    );
    let again = post(&second, "/api/rooms", &said).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
    assert_eq!(again.json()["error"], "Room already exists");

    // A client with a connection is told of this room as of any other room.
    let mut bob = authenticated(&second, "bob", "notes").await;
    let told = bob
        .ask(json!({"type": "join-room", "data": {"userName": "Bob"}}))
        .await;
    assert_eq!(told["type"], "room-joined", "{told}");
    assert_eq!(told["data"]["room"]["hostId"], "ada");
    let joined = post(&first, "/api/rooms/notes/join", &json!({"userId": "cy"})).await;
    assert_eq!(joined.status, StatusCode::OK, "{}", joined.body);
    assert_eq!(joined.json()["userId"], "cy");
    let told = bob.next_of("peer-joined").await;
    assert_eq!(
        told["data"]["peer"],
        json!({"userId": "cy", "userName": "cy"})
    );
    has_members(&first, "notes", 3).await;
    let stats = without_times(get(&first, "/api/rooms/notes/stats", StatusCode::OK).await);
    assert_eq!(
        (
            &stats["roomId"],
            &stats["peerCount"],
            &stats["bandwidth"]["sent"]
        ),
        (&json!("notes"), &json!(3), &json!(0))
    );

    // cy leaves at another hub than the one at which it joined.
    let left = post(&second, "/api/rooms/notes/leave", &json!({"user_id": "cy"})).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    assert_eq!(bob.next_of("peer-left").await["data"]["userId"], "cy");
    let left = post(&first, "/api/rooms/notes/leave", &json!({"user_id": "ada"})).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    let told = bob.next_of("host-changed").await;
    assert_eq!(told["data"]["hostId"], "bob");
}

fn without_times_of_room(room: Value) -> Value {
    let mut room = room;
    room["timestamp"] = json!(0);
    without_times(room)
}

#[tokio::test]
async fn whoever_is_connected_has_its_id_whatever_is_asked_over_http() {
    let (first, second) = HubProcess::two().await;
    let made = post(
        &first,
        "/api/rooms",
        &json!({"roomId": "r", "hostId": "ada"}),
    )
    .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    has_members(&second, "r", 1).await;
    // A client with a connection replaces the visit without one, also at another hub.
    let mut ada = authenticated(&second, "ada", "r").await;
    let told = ada
        .ask(json!({"type": "join-room", "data": {"userName": "Ada"}}))
        .await;
    assert_eq!(told["type"], "room-joined", "{told}");
    // She answers pings, as every client does.
    let reading = tokio::spawn(async move {
        loop {
            ada.next().await;
        }
    });
    for hub in [&first, &second] {
        eventually("she is in it by her connection", async || {
            let peers = get(hub, "/api/rooms/r/peers", StatusCode::OK).await;
            peers["peerCount"] == 1 && peers["peers"][0]["userName"] == "Ada"
        })
        .await;
        let joined = post(hub, "/api/rooms/r/join", &json!({"userId": "ada"})).await;
        assert_eq!(joined.status, StatusCode::CONFLICT, "{}", joined.body);
        let left = post(hub, "/api/rooms/r/leave", &json!({"userId": "ada"})).await;
        assert_eq!(left.status, StatusCode::CONFLICT, "{}", left.body);
    }
    assert!(!reading.is_finished(), "she is still there");
}

#[tokio::test]
async fn where_the_newest_has_every_id_a_visit_moves_and_a_connection_stays() {
    let first = HubProcess::builder().env("DUPLICATE_PEER", "replace");
    let first = first.start().await;
    let second = first.neighbour().env("DUPLICATE_PEER", "replace");
    let second = second.start().await;
    second.reaches_hubs(1).await;
    let host = json!({"roomId": "r", "hostId": "ada"});
    let made = post(&first, "/api/rooms", &host).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    has_members(&second, "r", 1).await;
    // ada joins at the second hub, and leaves it through the first.
    let named = json!({"userId": "ada", "userName": "Ada"});
    let joined = post(&second, "/api/rooms/r/join", &named).await;
    assert_eq!(joined.status, StatusCode::OK, "{}", joined.body);
    for hub in [&first, &second] {
        eventually("she is there by the second hub", async || {
            let peers = get(hub, "/api/rooms/r/peers", StatusCode::OK).await;
            peers["peerCount"] == 1 && peers["peers"][0]["userName"] == "Ada"
        })
        .await;
    }
    let left = post(&first, "/api/rooms/r/leave", &named).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    has_members(&first, "r", 0).await;
    has_members(&second, "r", 0).await;
    let mut ada = authenticated(&second, "ada", "r").await;
    let enter = json!({"type": "join-room", "data": {"userName": "Connected"}});
    assert_eq!(ada.ask(enter).await["type"], "room-joined");
    has_members(&first, "r", 1).await;
    for hub in [&first, &second] {
        for what in ["join", "leave"] {
            let path = format!("/api/rooms/r/{what}");
            let told = post(hub, &path, &named).await;
            assert_eq!(told.status, StatusCode::CONFLICT, "{what}: {}", told.body);
        }
    }
    assert_eq!(
        ada.ask(json!({"type": "heartbeat"})).await["type"],
        "heartbeat"
    );
}

#[tokio::test]
async fn a_signal_to_somebody_without_a_connection_fails_to_its_sender() {
    let hub = HubProcess::builder()
        .env("SIGNAL_WAIT_MS", "0")
        .start()
        .await;
    post(&hub, "/api/rooms", &json!({"roomId": "r", "hostId": "ada"})).await;
    let mut bob = authenticated(&hub, "bob", "r").await;
    bob.ask(json!({"type": "join-room", "data": {"userName": "Bob"}}))
        .await;
    let offer = json!({"type": "sdp-offer", "targetUserId": "ada", "data": {"sdp": "v=0"}});
    let told = bob.ask(offer).await;
    assert_eq!(
        (&told["type"], &told["data"]["code"]),
        (&json!("error"), &json!("no-such-peer"))
    );
}

#[tokio::test]
async fn whoever_came_over_http_is_there_for_as_long_as_a_silent_client_would_be() {
    let hub = HubProcess::builder()
        .env("PEER_HEARTBEAT_TIMEOUT", "1500")
        .start()
        .await;
    post(&hub, "/api/rooms", &json!({"roomId": "r", "hostId": "ada"})).await;
    post(&hub, "/api/rooms/r/join", &json!({"userId": "bob"})).await;
    // bob asks again and stays; ada does not, and is dropped.
    eventually("ada is gone", async || {
        post(&hub, "/api/rooms/r/join", &json!({"userId": "bob"})).await;
        get(&hub, "/api/rooms/r", StatusCode::OK).await["metadata"]["hostId"] == "bob"
    })
    .await;
    eventually("bob is gone", async || {
        get(&hub, "/api/rooms/r", StatusCode::OK).await["metadata"]["state"] == "idle"
    })
    .await;
}

#[tokio::test]
async fn a_room_that_nobody_hosts_is_there_without_a_member() {
    let hub = HubProcess::start().await;
    let made = post(
        &hub,
        "/api/rooms",
        &json!({"room_id": "a/b ü", "content": "kept"}),
    )
    .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let room = made.json()["data"].take();
    assert_eq!(
        (&room["state"], &room["peerCount"]),
        (&json!("idle"), &json!(0)),
        "{room}"
    );
    let told = get(&hub, "/api/rooms/a%2Fb%20%C3%BC", StatusCode::OK).await;
    assert_eq!(told["metadata"]["content"], "kept");
    let peers = get(&hub, "/api/rooms/a%2Fb%20%C3%BC/peers", StatusCode::OK).await;
    assert_eq!(
        (&peers["peerCount"], &peers["peers"]),
        (&json!(0), &json!([]))
    );
}

#[tokio::test]
async fn a_room_that_there_is_not_is_told_by_its_name() {
    let hub = HubProcess::start().await;
    for path in [
        "/api/rooms/none",
        "/api/rooms/none/stats",
        "/api/rooms/none/peers",
    ] {
        let told = get(&hub, path, StatusCode::NOT_FOUND).await;
        assert_eq!(
            (&told["error"], &told["roomId"]),
            (&json!("Room not found"), &json!("none")),
            "{path}"
        );
        assert!(told["timestamp"].is_u64(), "{path}");
    }
    for path in ["/api/rooms/none/join", "/api/rooms/none/leave"] {
        let told = post(&hub, path, &json!({"user_id": "ada"})).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(told.json()["roomId"], "none", "{path}");
    }
}

#[tokio::test]
async fn rooms_are_listed_page_by_page() {
    let hub = HubProcess::start().await;
    for name in ["c", "a", "e", "b", "d"] {
        post(&hub, "/api/rooms", &json!({"room_id": name})).await;
    }
    let (mut after, mut pages) = (String::new(), Vec::new());
    loop {
        let told = get(&hub, &format!("/api/rooms?limit=2{after}"), StatusCode::OK).await;
        assert_eq!(told["count"], 5);
        let rooms = told["rooms"].as_array().expect("a list");
        let ids = rooms
            .iter()
            .map(|room| room["roomId"].as_str().expect("an id").to_owned());
        pages.push(ids.collect::<Vec<_>>().join(""));
        match told["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
    get(&hub, "/api/rooms?limit=0", StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_in_words() {
    let hub = HubProcess::builder()
        .env("MAX_ROOM_BYTES", "64")
        .start()
        .await;
    for (said, status) in [
        (json!({}), StatusCode::BAD_REQUEST),
        (json!({"room_id": 1}), StatusCode::BAD_REQUEST),
        (json!({"room_id": ""}), StatusCode::BAD_REQUEST),
        (json!({"room_id": "x".repeat(129)}), StatusCode::BAD_REQUEST),
        (
            json!({"room_id": "r", "host_id": ""}),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({"room_id": "r", "host_id": "\0room"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({"room_id": "r", "content": "x".repeat(100)}),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (
            json!({"room_id": "r", "content": "x".repeat(100_000)}),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let answer = post(&hub, "/api/rooms", &said).await;
        assert_eq!(answer.status, status, "{said}: {}", answer.body);
        assert!(answer.json()["error"].is_string());
    }
    // A browser lets a page of another origin send this request without a preflight.
    let body = Full::new(Bytes::from_static(br#"{"room_id":"r"}"#));
    let plain = [("content-type", "text/plain")];
    let answer = send(hub.addr, Method::POST, "/api/rooms", &plain, body).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn rooms_without_a_member_are_cleaned_up_and_memory_is_given_back_when_that_is_asked_for() {
    let hub = HubProcess::start().await;
    post(
        &hub,
        "/api/rooms",
        &json!({"room_id": "lived-in", "host_id": "ada"}),
    )
    .await;
    for name in ["a", "b", "c"] {
        post(&hub, "/api/rooms", &json!({"room_id": name})).await;
    }
    // `curl -X POST` sends this: no body, and no header for one.
    let empty = hub
        .http(Method::POST, "/api/maintenance/cleanup", &[])
        .await;
    assert_eq!(empty.status, StatusCode::OK, "{}", empty.body);
    let told = empty.json();
    assert_eq!(
        (&told["before"], &told["after"], &told["cleaned"]),
        (&json!(4), &json!(1), &json!(3)),
        "{told}"
    );
    get(&hub, "/api/rooms/a", StatusCode::NOT_FOUND).await;
    get(&hub, "/api/rooms/lived-in", StatusCode::OK).await;
    let told = hub
        .http(Method::POST, "/api/maintenance/gc", &[])
        .await
        .json();
    let bytes = |of: &str| told[of]["rssBytes"].as_u64().expect("bytes");
    assert!(bytes("before") > 0 && bytes("after") > 0, "{told}");
    assert_eq!(
        told["freed"],
        bytes("before").saturating_sub(bytes("after"))
    );
}

#[tokio::test]
async fn the_mesh_is_counted_hub_by_hub_and_whoever_does_not_answer_is_named() {
    // A hub that does not answer stays a part of the mesh for longer than the test takes.
    let patient = |builder: HubBuilder| builder.env("MESH_HOLD_MS", "60000");
    let first = patient(HubProcess::builder()).start().await;
    let mut second = patient(first.neighbour()).start().await;
    first.reaches_hubs(1).await;
    post(
        &second,
        "/api/rooms",
        &json!({"room_id": "r", "host_id": "ada"}),
    )
    .await;
    has_members(&first, "r", 1).await;
    let told = get(&first, "/api/stats", StatusCode::OK).await;
    assert_eq!(told["hubs"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(told["notAnswered"], json!([]));
    let server = &told["server"];
    assert_eq!(
        (&server["activeRooms"], &server["totalConnections"]),
        (&json!(1), &json!(1))
    );
    let id = get(&second, "/stats", StatusCode::OK).await["hubPeerId"].take();
    second.signal(Signal::STOP);
    // The last answers of the hub count for a second.
    eventually("it is named", async || {
        let told = get(&first, "/api/stats", StatusCode::OK).await;
        told["notAnswered"] == json!([id]) && told["hubs"].as_array().map(Vec::len) == Some(1)
    })
    .await;
    second.signal(Signal::CONT);
    second.kill9().await;
}

/// The answers to this many requests to join a room, each for another user.
async fn joins(hub: &HubProcess, many: usize, headers: &[(&str, &str)]) -> Vec<HttpAnswer> {
    let mut all = Vec::new();
    for number in 0..many {
        let said = json!({"userId": format!("user {number}")});
        all.push(post_as(hub, "/api/rooms/r/join", &said, headers).await);
    }
    all
}

fn held_up(answers: &[HttpAnswer]) -> usize {
    let late = |answer: &&HttpAnswer| answer.status == StatusCode::TOO_MANY_REQUESTS;
    for answer in answers.iter().filter(late) {
        assert!(
            answer.headers.contains_key("retry-after"),
            "{}",
            answer.body
        );
    }
    answers.iter().filter(late).count()
}

#[tokio::test]
async fn changes_over_http_have_the_pace_that_messages_have_but_not_those_of_operators() {
    let paced = || {
        HubProcess::builder()
            .env("RATE_LIMIT_PER_SEC", "1")
            .env("RATE_LIMIT_BURST", "3")
    };
    let hub = paced().start().await;
    post(&hub, "/api/rooms", &json!({"roomId": "r"})).await;
    let late = held_up(&joins(&hub, 12, &[]).await);
    assert!(late > 0, "each joined");
    let hub = paced()
        .env("ADMIN_TOKEN", "an-operator-s-token")
        .start()
        .await;
    let shown = [("authorization", "Bearer an-operator-s-token")];
    post_as(&hub, "/api/rooms", &json!({"roomId": "r"}), &shown).await;
    let all = joins(&hub, 12, &shown).await;
    assert!(all.iter().all(|answer| answer.status == StatusCode::OK));
}

#[tokio::test]
async fn joins_over_http_cause_no_more_notices_than_those_of_clients_with_a_connection() {
    let hub = HubProcess::builder()
        .env("NOTICES_PER_SEC_PER_IP", "1")
        .start()
        .await;
    let _ada = in_room(&hub).await;
    let late = held_up(&joins(&hub, 8, &[]).await);
    assert!(late > 0, "each joined");
}

async fn in_room(hub: &HubProcess) -> JsonClient {
    let mut ada = authenticated(hub, "ada", "r").await;
    let made = json!({"type": "create-room", "data": {"roomName": "R"}});
    assert_eq!(ada.ask(made).await["type"], "room-created");
    ada
}

/// Two hubs. The second has no place for another client, and bob visits its room through the first.
async fn one_full() -> (HubProcess, HubProcess, JsonClient) {
    let first = HubProcess::start().await;
    let second = first.neighbour().env("MAX_CONNECTIONS", "1").start().await;
    second.reaches_hubs(1).await;
    let ada = in_room(&second).await;
    has_members(&first, "r", 1).await;
    let joined = post(&first, "/api/rooms/r/join", &json!({"userId": "bob"})).await;
    assert_eq!(joined.status, StatusCode::OK, "{}", joined.body);
    has_members(&second, "r", 2).await;
    (first, second, ada)
}

#[tokio::test]
async fn who_asks_again_at_a_hub_that_has_no_place_is_told_so() {
    let (_first, second, _ada) = one_full().await;
    let again = post(&second, "/api/rooms/r/join", &json!({"userId": "bob"})).await;
    assert_eq!(
        again.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        again.body
    );
}

#[tokio::test]
async fn a_visit_ends_at_a_hub_that_has_no_place() {
    let (first, second, _ada) = one_full().await;
    let left = post(&second, "/api/rooms/r/leave", &json!({"userId": "bob"})).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    has_members(&second, "r", 1).await;
    has_members(&first, "r", 1).await;
}

#[tokio::test]
async fn a_clean_up_counts_the_rooms_of_its_hub_and_none_as_shed_by_memory() {
    let (first, second) = HubProcess::two().await;
    post(&first, "/api/rooms", &json!({"room_id": "a"})).await;
    post(&second, "/api/rooms", &json!({"room_id": "b"})).await;
    eventually("both are known", async || {
        get(&first, "/api/rooms", StatusCode::OK).await["count"] == 2
    })
    .await;
    let told = first
        .http(Method::POST, "/api/maintenance/cleanup", &[])
        .await;
    let told = told.json();
    assert_eq!(
        (&told["before"], &told["after"], &told["cleaned"]),
        (&json!(1), &json!(0), &json!(1)),
        "{told}"
    );
    let shown = [("accept", "text/plain")];
    let metrics = first.http(Method::GET, "/metrics", &shown).await.body;
    assert!(metrics.contains("hubmesh_rooms_shed_total 0"), "{metrics}");
}
