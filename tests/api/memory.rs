//! A hub that is short of memory: it ends rooms without a member and refuses clients, and members of rooms notice
//! nothing. It recovers by itself.

use http::StatusCode;
use serde_json::{Value, json};

use crate::hub_process::{HubProcess, eventually};
use crate::json_client::JsonClient;
use crate::{authenticated, get, post};

/// The content of each room of the flood, in bytes.
const KEPT: usize = 256 * 1024;
/// The most rooms of a flood. All of them together would need several times the memory that the thresholds leave.
const MOST: usize = 400;
/// The MiB from the memory of an idle hub to the first threshold, and to the second.
const TO_WARNING: u64 = 12;
const TO_CRITICAL: u64 = 24;

/// The memory of an idle hub, in MiB.
async fn idle() -> u64 {
    let hub = HubProcess::start().await;
    let told = get(&hub, "/api/health", StatusCode::OK).await;
    told["memory"]["rss"].as_u64().expect("a number")
}

async fn small_hub() -> HubProcess {
    let idle = idle().await;
    HubProcess::builder()
        .env("MEMORY_WARNING_THRESHOLD", (idle + TO_WARNING).to_string())
        .env(
            "MEMORY_CRITICAL_THRESHOLD",
            (idle + TO_CRITICAL).to_string(),
        )
        .env("MAX_ROOM_BYTES", (KEPT + 1024).to_string())
        .env("MESH_DATA_PER_HUB", (1_u64 << 30).to_string())
        .env("MAX_MESSAGE_BYTES", (2 * KEPT).to_string())
        .start()
        .await
}

async fn state(hub: &HubProcess) -> Value {
    get(hub, "/api/health", StatusCode::OK).await["memory"]["state"].take()
}

async fn count(hub: &HubProcess, metric: &str) -> u64 {
    let headers = [("accept", "text/plain")];
    let shown = hub.http(http::Method::GET, "/metrics", &headers).await.body;
    let line = shown.lines().find_map(|line| line.strip_prefix(metric));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}

/// Two clients in a room, which send each other messages again and again.
struct Pair {
    ada: JsonClient,
    bob: JsonClient,
}

impl Pair {
    async fn new(hub: &HubProcess) -> Self {
        let mut ada = authenticated(hub, "ada", "theirs").await;
        let made =
            json!({"type": "create-room", "data": {"roomName": "Theirs", "content": "kept"}});
        assert_eq!(ada.ask(made).await["type"], "room-created");
        let mut bob = authenticated(hub, "bob", "theirs").await;
        assert_eq!(
            bob.ask(json!({"type": "join-room"})).await["type"],
            "room-joined"
        );
        assert_eq!(ada.next().await["type"], "peer-joined");
        Pair { ada, bob }
    }

    /// The clients notice nothing of the flood: each one hears only the other's messages.
    async fn talk(&mut self) {
        let offer = json!({"type": "sdp-offer", "targetUserId": "bob", "data": {"sdp": "v=0"}});
        self.ada.send(offer).await;
        assert_eq!(self.bob.next().await["type"], "sdp-offer");
        self.bob
            .send(json!({"type": "presence", "data": {"at": 1}}))
            .await;
        assert_eq!(self.ada.next().await["type"], "presence");
    }
}

fn room(number: usize, host: Option<&str>) -> Value {
    json!({"room_id": format!("flood {number}"), "content": "x".repeat(KEPT), "host_id": host})
}

#[tokio::test]
async fn a_flood_of_rooms_that_nobody_is_in_ends_them_and_nobody_else_notices() {
    let hub = small_hub().await;
    let mut pair = Pair::new(&hub).await;
    let mut made = 0;
    for number in 0..MOST {
        let answer = post(&hub, "/api/rooms", &room(number, None)).await;
        // The hub may have been critical for a moment.
        let shed = answer.status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(
            shed || answer.status == StatusCode::CREATED,
            "{}",
            answer.body
        );
        made += usize::from(!shed);
        if number % 20 == 0 {
            pair.talk().await;
            if count(&hub, "hubmesh_rooms_shed_total").await > 0 {
                break;
            }
        }
    }
    assert!(made > 10, "only {made} were made");
    eventually("rooms have ended", async || {
        count(&hub, "hubmesh_rooms_shed_total").await > 0
    })
    .await;
    eventually("it is well again", async || state(&hub).await == "normal").await;
    pair.talk().await;
    let kept = get(&hub, "/api/rooms/theirs", StatusCode::OK).await;
    assert_eq!(kept["metadata"]["content"], "kept");
    let told = hub.log_lines();
    // The flood may pass both thresholds between two looks of the hub at its memory.
    let passed = ["MEMORY_WARNING_THRESHOLD", "MEMORY_CRITICAL_THRESHOLD"];
    let is_said = |line: &String| passed.iter().any(|threshold| line.contains(threshold));
    assert!(told.iter().any(is_said), "{told:#?}");
}

#[tokio::test]
async fn a_hub_that_takes_too_much_lets_nobody_in_until_it_takes_less() {
    let hub = small_hub().await;
    let mut pair = Pair::new(&hub).await;
    let mut waiting = authenticated(&hub, "cy", "new").await;
    // The hub does not end rooms with a member, so the flood reaches the second threshold.
    let mut hosted = Vec::new();
    for number in 0..MOST {
        let host = format!("host {number}");
        let answer = post(&hub, "/api/rooms", &room(number, Some(&host))).await;
        match answer.status {
            StatusCode::CREATED => hosted.push((number, host)),
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(answer.headers.contains_key("retry-after"));
                break;
            }
            other => panic!("{other}: {}", answer.body),
        }
        if number % 20 == 0 {
            pair.talk().await;
        }
    }
    assert!(hosted.len() < MOST, "the flood was not held up");
    assert_eq!(state(&hub).await, "critical");
    // The hub refuses new connections in any dialect.
    let peer = "ab".repeat(20);
    for path in [
        "/rooms".to_owned(),
        "/p2p".into(),
        "/yjs".into(),
        format!("/ws?peerId={peer}"),
    ] {
        let refused = JsonClient::try_open(&format!("ws://{}{path}", hub.addr)).await;
        let refused = refused.err().unwrap_or_else(|| panic!("{path} is let in"));
        assert!(refused.to_string().contains("503"), "{path}: {refused}");
    }
    // A client that is connected and asks for a room is refused too.
    for said in [
        json!({"type": "create-room"}),
        json!({"type": "join-room", "roomId": "theirs"}),
    ] {
        let told = waiting.ask(said).await;
        assert_eq!(told["data"]["code"], "out-of-memory", "{told}");
    }
    let joined = post(&hub, "/api/rooms/theirs/join", &json!({"user_id": "dee"})).await;
    assert_eq!(
        joined.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        joined.body
    );
    pair.talk().await;
    assert!(count(&hub, "hubmesh_refusals_total{reason=\"memory\"}").await >= 4);
    assert_eq!(count(&hub, "hubmesh_memory_pressure").await, 2);

    // The hosts only have to leave: the hub ends the rooms without a member.
    for (number, host) in &hosted {
        let path = format!("/api/rooms/flood%20{number}/leave");
        leave(&hub, &path, host).await;
    }
    eventually("it is well again", async || state(&hub).await == "normal").await;
    let told = waiting
        .ask(json!({"type": "create-room", "data": {"roomName": "New"}}))
        .await;
    assert_eq!(told["type"], "room-created", "{told}");
    pair.talk().await;
    authenticated(&hub, "eve", "theirs").await;
}

async fn leave(hub: &HubProcess, path: &str, host: &str) {
    let answer = post(hub, path, &json!({"user_id": host})).await;
    assert!(
        [StatusCode::OK, StatusCode::NOT_FOUND].contains(&answer.status),
        "{path}: {} {}",
        answer.status,
        answer.body
    );
}
