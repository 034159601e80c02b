//! Rooms over HTTP in a narrow mesh, whose hubs know only the networks of their own clients. A hub that gets a request
//! asks the other hubs.

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::hub_process::{HubBuilder, HubProcess, eventually};
use crate::{authenticated, get, has_members, post};

/// The mesh is narrow from the first peer on. A hub that does not answer stays a part of the mesh for longer than a
/// test takes.
fn narrow(builder: HubBuilder) -> HubBuilder {
    let builder = builder.env("MESH_FULL_DIRECTORY_PEERS", "0");
    builder.env("MESH_HOLD_MS", "60000")
}

async fn metric(hub: &HubProcess, name: &str) -> String {
    let headers = [("accept", "text/plain")];
    let page = hub.http(Method::GET, "/metrics", &headers).await.body;
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_default().trim().to_owned()
}

/// The ids of the hubs: by the order of take-over the fourth guards all rooms here that one other hub lists.
const IDS: [&str; 4] = [
    "1111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222",
    "3333333333333333333333333333333333333333",
    "ffffffffffffffffffffffffffffffffffffffbf",
];

/// A chain of three hubs. The first holds the room "notes", with ada as its host and bob as a member. The second holds
/// the room "empty", which has no member. The third has no client, and knows only that the rooms exist. The fourth, beside
/// the first, guards both rooms.
async fn chain() -> [HubProcess; 4] {
    chain_of(|builder| builder).await
}

async fn chain_of(more: impl Fn(HubBuilder) -> HubBuilder) -> [HubProcess; 4] {
    furnished(more, |_, second| second.neighbour()).await
}

/// The hubs of [`chain`] with their rooms. The third is linked with others as `third` says.
async fn furnished(
    more: impl Fn(HubBuilder) -> HubBuilder,
    third: impl FnOnce(&HubProcess, &HubProcess) -> HubBuilder,
) -> [HubProcess; 4] {
    let start = |builder, id| more(narrow(builder)).env("HUB_ID", id).start();
    let first = start(HubProcess::builder(), IDS[0]).await;
    let second = start(first.neighbour(), IDS[1]).await;
    let third = start(third(&first, &second), IDS[2]).await;
    let fourth = start(first.neighbour(), IDS[3]).await;
    let hubs = [first, second, third, fourth];
    let [first, second, third, _] = &hubs;
    for hub in &hubs {
        hub.reaches_hubs(3).await;
    }
    let notes = json!({"roomId": "notes", "roomName": "Notes", "hostId": "ada", "content": "kept"});
    for (hub, said) in [(first, notes), (second, json!({"roomId": "empty"}))] {
        let made = post(hub, "/api/rooms", &said).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }
    let joined = post(first, "/api/rooms/notes/join", &json!({"userId": "bob"})).await;
    assert_eq!(joined.status, StatusCode::OK, "{}", joined.body);
    for hub in &hubs {
        eventually("the mesh is narrow", async || {
            metric(hub, "hubmesh_mesh_narrow").await == "1"
        })
        .await;
    }
    // The third hub is narrow once it follows no room of the others. Its one interest is the bans, as at every hub.
    eventually("both rooms are listed, and not followed", async || {
        let told = get(third, "/api/rooms", StatusCode::OK).await;
        told["count"] == 2 && metric(third, "hubmesh_mesh_interests").await == "1"
    })
    .await;
    hubs
}

#[tokio::test]
async fn the_list_of_rooms_has_those_of_all_hubs_page_by_page() {
    let [first, second, third, _fourth] = chain().await;
    let told = get(&third, "/api/rooms", StatusCode::OK).await;
    let rooms = told["rooms"].as_array().expect("a list");
    let shown: Vec<Value> = rooms
        .iter()
        .map(|room| {
            json!([
                room["roomId"],
                room["roomName"],
                room["peerCount"],
                room["state"]
            ])
        })
        .collect();
    let expected = [
        json!(["empty", "empty", 0, "idle"]),
        json!(["notes", "Notes", 2, "active"]),
    ];
    assert_eq!(shown, expected, "{told}");
    assert_eq!(rooms[1]["hostId"], "ada");
    assert_eq!(told["notAnswered"], Value::Null, "{told}");
    // The list at another hub has the same data as the room's own hub.
    let own = get(&first, "/api/rooms/notes", StatusCode::OK).await;
    assert_eq!(rooms[1]["createdAt"], own["metadata"]["createdAt"]);
    for name in ["a", "b", "c"] {
        post(&second, "/api/rooms", &json!({"roomId": name})).await;
    }
    for hub in [&first, &third] {
        eventually("all are listed", async || {
            get(hub, "/api/rooms", StatusCode::OK).await["count"] == 5
        })
        .await;
        let (mut after, mut pages) = (String::new(), Vec::new());
        loop {
            let told = get(hub, &format!("/api/rooms?limit=2{after}"), StatusCode::OK).await;
            assert_eq!(told["count"], 5);
            let rooms = told["rooms"].as_array().expect("a list").iter();
            let ids: Vec<&str> = rooms.filter_map(|room| room["roomId"].as_str()).collect();
            pages.push(ids.join(" "));
            match told["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(pages, ["a b", "c empty", "notes"]);
    }
    // A room that ends is on no list.
    second
        .http(Method::POST, "/api/maintenance/cleanup", &[])
        .await;
    eventually("one is left", async || {
        let told = get(&third, "/api/rooms", StatusCode::OK).await;
        let rooms = told["rooms"].as_array().expect("a list");
        rooms.len() == 1 && rooms[0]["roomId"] == "notes"
    })
    .await;
}

/// The hub follows a room that somebody looked at, and then follows it no more. The metric may lag behind at first.
async fn is_forgotten(hub: &HubProcess) {
    for (what, follows) in [
        ("the hub follows the room", true),
        ("nobody looks at it any more", false),
    ] {
        eventually(what, async || {
            let interests = metric(hub, "hubmesh_mesh_interests").await;
            (interests != "1") == follows
        })
        .await;
    }
}

#[tokio::test]
async fn one_room_is_known_at_the_hub_that_is_asked_and_forgotten_again() {
    let [first, _second, third, _fourth] = chain().await;
    let told = get(&third, "/api/rooms/notes", StatusCode::OK).await;
    assert_eq!(told["metadata"]["content"], "kept");
    assert_eq!(told["metadata"]["peerCount"], 2);
    let own = get(&first, "/api/rooms/notes", StatusCode::OK).await;
    assert_eq!(
        told["metadata"]["peers"][0]["connectedAt"],
        own["metadata"]["peers"][0]["connectedAt"]
    );
    let told = get(&third, "/api/rooms/notes/stats", StatusCode::OK).await;
    assert_eq!(told["peerCount"], 2);
    let told = get(&third, "/api/rooms/notes/peers", StatusCode::OK).await;
    assert_eq!(told["peers"][1]["userId"], "bob", "{told}");
    let told = get(&third, "/api/rooms/empty", StatusCode::OK).await;
    assert_eq!(told["metadata"]["state"], "idle");
    get(&third, "/api/rooms/none", StatusCode::NOT_FOUND).await;
    is_forgotten(&third).await;
}

#[tokio::test]
async fn operators_see_the_peers_of_a_network_that_their_hub_does_not_follow() {
    let [mut first, _second, third, _fourth] = chain().await;
    let id = get(&first, "/stats", StatusCode::OK).await["hubPeerId"].take();
    let networks = get(&third, "/admin/api/networks", StatusCode::OK).await;
    assert_eq!(networks["networks"][1]["network"], "notes", "{networks}");
    let path = "/admin/api/peers?dialect=rooms&network=notes";
    let body = get(&third, path, StatusCode::OK).await;
    let rows = body["peers"].as_array().expect("a list").iter();
    let shown: Vec<Value> = rows.map(|row| json!([row["id"], row["hub"]])).collect();
    let expected = [json!(["ada", id]), json!(["bob", id])];
    assert_eq!(shown, expected, "{body}");
    assert_eq!(body["notAnswered"], json!([]), "{body}");
    is_forgotten(&third).await;
    // A page without peers must not pass for all that there is.
    first.signal(Signal::STOP);
    let body = get(&third, path, StatusCode::OK).await;
    assert_eq!(body["total"], 0, "{body}");
    assert_eq!(body["notAnswered"], json!([id]), "{body}");
    let other = format!("{path}&hub={}", IDS[1]);
    let body = get(&third, &other, StatusCode::OK).await;
    assert_eq!(body["notAnswered"], json!([]), "that hub is not silent");
    first.kill9().await;
}

#[tokio::test]
async fn the_rooms_and_members_of_all_hubs_are_counted() {
    let [_first, _second, third, _fourth] = chain().await;
    eventually("all are counted", async || {
        let told = get(&third, "/api/stats", StatusCode::OK).await;
        let server = &told["server"];
        told["notAnswered"] == json!([])
            && server["activeRooms"] == 2
            && server["totalConnections"] == 2
    })
    .await;
}

#[tokio::test]
async fn a_user_enters_leaves_and_creates_a_room_at_any_hub() {
    let [first, _second, third, _fourth] = chain().await;
    let again = json!({"roomId": "notes", "hostId": "ada"});
    let again = post(&third, "/api/rooms", &again).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
    // Ada is still the host at her hub.
    let own = get(&first, "/api/rooms/notes", StatusCode::OK).await;
    assert_eq!(
        (&own["metadata"]["hostId"], &own["metadata"]["peerCount"]),
        (&json!("ada"), &json!(2))
    );
    let joined = post(&third, "/api/rooms/notes/join", &json!({"userId": "cy"})).await;
    assert_eq!(joined.status, StatusCode::OK, "{}", joined.body);
    assert_eq!(joined.json()["room"]["peerCount"], 3);
    has_members(&first, "notes", 3).await;
    let left = post(&third, "/api/rooms/notes/leave", &json!({"userId": "cy"})).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
}

#[tokio::test]
async fn a_user_leaves_at_a_hub_that_does_not_know_the_room() {
    let [first, _second, third, _fourth] = chain().await;
    let left = post(&third, "/api/rooms/notes/leave", &json!({"userId": "bob"})).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    has_members(&first, "notes", 1).await;
}

#[tokio::test]
async fn a_connection_keeps_its_id_at_a_hub_that_does_not_know_the_room() {
    let replace = |builder: HubBuilder| builder.env("DUPLICATE_PEER", "replace");
    let [first, _second, third, _fourth] = chain_of(replace).await;
    let mut eve = authenticated(&first, "eve", "notes").await;
    let enter = json!({"type": "join-room", "data": {"userName": "Connected"}});
    assert_eq!(eve.ask(enter).await["type"], "room-joined");
    let joined = post(&third, "/api/rooms/notes/join", &json!({"userId": "eve"})).await;
    assert_eq!(joined.status, StatusCode::CONFLICT, "{}", joined.body);
    assert_eq!(
        eve.ask(json!({"type": "heartbeat"})).await["type"],
        "heartbeat"
    );
}

#[tokio::test]
async fn a_hub_that_does_not_answer_is_named_and_what_others_know_is_shown() {
    let [mut first, _second, third, _fourth] = chain().await;
    let id = get(&first, "/stats", StatusCode::OK).await["hubPeerId"].take();
    first.signal(Signal::STOP);
    let room = async { get(&third, "/api/rooms/notes", StatusCode::SERVICE_UNAVAILABLE).await };
    let list = async {
        let mut list = Value::Null;
        // The last answer of the silent hub counts for one second.
        eventually("it is named", async || {
            list = get(&third, "/api/rooms", StatusCode::OK).await;
            list["notAnswered"] == json!([id])
        })
        .await;
        list
    };
    let (list, room) = tokio::join!(list, room);
    assert_eq!(list["count"], 2, "{list}");
    assert_eq!(list["rooms"][0]["roomId"], "empty", "{list}");
    assert_eq!(list["rooms"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(room["notAnswered"], json!([id]), "{room}");
    // No room that the silent hub may have is created, entered or left.
    for (path, said) in [
        ("/api/rooms", json!({"roomId": "notes", "hostId": "cy"})),
        ("/api/rooms/notes/join", json!({"userId": "cy"})),
        ("/api/rooms/notes/leave", json!({"userId": "bob"})),
    ] {
        let told = post(&third, path, &said).await;
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(told.status, status, "{path}: {}", told.body);
        assert_eq!(told.json()["notAnswered"], json!([id]), "{path}");
    }
    // The next request does not wait for the silent hub.
    let began = tokio::time::Instant::now();
    let list = get(&third, "/api/rooms?limit=3", StatusCode::OK).await;
    assert_eq!(list["notAnswered"], json!([id]), "{list}");
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
    first.kill9().await;
}

/// The hubs of [`chain`], but with a link between the third and the first, so that none is on the way from one to the
/// other. The first has bob in "notes" and a room of its own, the second has cy in "notes". The third knows only that the
/// rooms exist.
async fn silent_beside_another(
    more: impl Fn(HubBuilder) -> HubBuilder,
) -> ([HubProcess; 4], Value) {
    let both = |first: &HubProcess, second: &HubProcess| {
        let both = format!("{},{}", first.ws_url(), second.ws_url());
        HubProcess::builder().env("BOOTSTRAP_HUBS", both)
    };
    let [first, second, third, fourth] = furnished(more, both).await;
    eventually("the third is linked with both", async || {
        let hubs = get(&third, "/hubs", StatusCode::OK).await;
        let direct = |hub: &&Value| hub["direct"] == true;
        let hubs = hubs["hubs"].as_array().expect("a list");
        hubs.iter().filter(direct).count() == 2
    })
    .await;
    post(&first, "/api/rooms", &json!({"roomId": "own"})).await;
    // The room's record is at the hub of its host.
    for user in ["ada", "bob"] {
        let left = post(&first, "/api/rooms/notes/leave", &json!({"userId": user})).await;
        assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    }
    for (hub, user) in [(&second, "cy"), (&first, "bob")] {
        let joined = post(hub, "/api/rooms/notes/join", &json!({"userId": user})).await;
        assert_eq!(joined.status, StatusCode::OK, "{}", joined.body);
    }
    has_members(&second, "notes", 2).await;
    eventually("the third follows no room", async || {
        let told = get(&third, "/api/rooms", StatusCode::OK).await;
        told["count"] == 3 && metric(&third, "hubmesh_mesh_interests").await == "1"
    })
    .await;
    let id = get(&first, "/stats", StatusCode::OK).await["hubPeerId"].take();
    ([first, second, third, fourth], id)
}

#[tokio::test]
async fn a_user_at_a_silent_hub_beside_another_one_neither_leaves_nor_loses_its_id() {
    let replace = |builder: HubBuilder| builder.env("DUPLICATE_PEER", "replace");
    let ([mut first, _second, third, _fourth], id) = silent_beside_another(replace).await;
    first.signal(Signal::STOP);
    // The second hub follows the room. It may pass on in time what it has of the silent hub: then the user is known, and
    // counts as connected.
    for path in ["/api/rooms/notes/leave", "/api/rooms/notes/join"] {
        let told = post(&third, path, &json!({"userId": "bob"})).await;
        let body = told.json();
        let named = body["notAnswered"].as_array();
        match told.status {
            StatusCode::CONFLICT => assert_eq!(named, None, "{path}: {body}"),
            // The way to the second hub may lead through the silent one, until its silence is noticed: both are named.
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(
                    named.is_some_and(|hubs| hubs.contains(&id)),
                    "{path}: {body}"
                );
            }
            other => panic!("{path}: {other} {body}"),
        }
    }
    let mut room = Value::Null;
    eventually("the second hub is heard", async || {
        let answer = third.http_get("/api/rooms/notes").await;
        room = answer.json();
        answer.status == StatusCode::OK
    })
    .await;
    assert_eq!(room["metadata"]["hostId"], "cy", "{room}");
    let is_known = room["metadata"]["peerCount"] == 2;
    let named = if is_known { Value::Null } else { json!([id]) };
    assert_eq!(room["notAnswered"], named, "{room}");
    let left = post(&third, "/api/rooms/notes/leave", &json!({"userId": "cy"})).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    first.signal(Signal::CONT);
    first.kill9().await;
}

#[tokio::test]
async fn a_list_has_what_another_hub_knows_beside_a_silent_one() {
    let ([mut first, _second, third, _fourth], id) = silent_beside_another(|builder| builder).await;
    first.signal(Signal::STOP);
    eventually(
        "it is named, and its room is in the answer of the other",
        async || {
            let list = get(&third, "/api/rooms", StatusCode::OK).await;
            let rooms = list["rooms"].as_array().expect("a list").iter();
            let ids: Vec<&str> = rooms.filter_map(|room| room["roomId"].as_str()).collect();
            assert_eq!(list["count"], 3, "{list}");
            list["notAnswered"] == json!([id]) && ids == ["empty", "notes"]
        },
    )
    .await;
    first.signal(Signal::CONT);
    first.kill9().await;
}
