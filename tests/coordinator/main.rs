//! Clients of Self-Streme's coordinator on real hubs, one and two that are linked, as raw WebSockets.
//!
//! The flow of messages that Self-Streme publishes is a fixture; `tests/browser/coordinator` plays the same flow with
//! the `ws` package. No test assumes a speed.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/json_client.rs"]
mod json_client;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use hub_process::{HubProcess, eventually};
use json_client::{JsonClient, agreed, play};

const FLOW: &str = include_str!("../fixtures/coordinator/flow.jsonl");

/// A client that is registered under this id.
async fn registered(hub: &HubProcess, id: &str) -> JsonClient {
    let mut client = JsonClient::at(hub, "/p2p").await;
    assert_eq!(client.next().await["type"], "welcome");
    let answer = client.ask(json!({"type": "register", "peerId": id})).await;
    assert_eq!(
        (&answer["type"], &answer["peerId"]),
        (&json!("registered"), &json!(id))
    );
    client
}

async fn joined(client: &mut JsonClient, id: &str, room: &str) -> Value {
    let said = json!({"type": "join-room", "peerId": id, "roomId": room});
    client.ask(said).await
}

#[tokio::test]
async fn the_published_flow_goes_on_one_hub() {
    let hub = HubProcess::start().await;
    play(FLOW, &[hub], "/p2p").await;
}

#[tokio::test]
async fn the_published_flow_goes_across_two_hubs() {
    let (first, second) = HubProcess::two().await;
    play(FLOW, &[first, second], "/p2p").await;
}

#[tokio::test]
async fn bad_input_is_told_and_costs_no_connection() {
    let hub = HubProcess::start().await;
    let mut ada = registered(&hub, "ada").await;
    joined(&mut ada, "ada", "r").await;
    let deep = format!(
        r#"{{"type":"signal","from":"ada","to":"bob","signal":{}1{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    for (said, code) in [
        ("", "not-json"),
        ("{\"type\"", "not-json"),
        ("7", "not-an-object"),
        (r#"{"type":{"x":1}}"#, "unsupported-type"),
        (
            r#"{"type":"join-room","peerId":"ada","roomId":"\u0000registered"}"#,
            "bad-room",
        ),
        (
            r#"{"type":"broadcast","from":"ada","roomId":"elsewhere","data":1}"#,
            "not-announced",
        ),
        (
            r#"{"type":"register","peerId":"bob"}"#,
            "already-registered",
        ),
        (&deep, "too-deep"),
    ] {
        ada.say(said).await;
        let answer = ada.next().await;
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("error"), &json!(code)),
            "{said:.60}"
        );
    }
    assert_eq!(ada.ask(json!({"type": "ping"})).await["type"], "pong");
    let page = hub
        .http(http::Method::GET, "/metrics", &[("accept", "text/plain")])
        .await;
    for counted in ["announce", "malformed", "other", "ping"] {
        let line = page.body.lines().find(|line| {
            line.contains("messages_received")
                && line.contains("\"coordinator\"")
                && line.contains(counted)
        });
        assert!(
            line.is_some_and(|line| !line.ends_with(" 0")),
            "{counted}: {line:?}"
        );
    }
}

#[tokio::test]
async fn an_id_is_one_client_s_in_the_mesh_and_a_refused_one_may_take_another() {
    let (first, second) = HubProcess::two().await;
    let hubs = [first, second];
    let mut ada = registered(&hubs[0], "ada").await;
    joined(&mut ada, "ada", "r").await;
    agreed(&hubs).await;
    // The client is alive, and answers pings.
    let ada = tokio::spawn(async move { ada.next_of("peer-joined").await });
    let mut eve = JsonClient::at(&hubs[1], "/p2p").await;
    eve.next().await;
    // Messages behind the registration wait for it. When it fails, they have no effect.
    eve.send(json!({"type": "register", "peerId": "ada"})).await;
    eve.send(json!({"type": "join-room", "peerId": "ada", "roomId": "secret"}))
        .await;
    let refused = eve.next().await;
    assert_eq!(
        (&refused["type"], &refused["code"]),
        (&json!("error"), &json!("id-taken"))
    );
    eve.send(json!({"type": "register", "peerId": "eve"})).await;
    assert_eq!(eve.next_of("registered").await["peerId"], "eve");
    let room = joined(&mut eve, "eve", "r").await;
    assert_eq!(room["peers"][0]["peerId"], "ada");
    assert_eq!(ada.await.expect("it listens")["peerId"], "eve");
}

#[tokio::test]
async fn whoever_dies_with_its_hub_has_left_its_rooms() {
    let (first, mut second) = HubProcess::two().await;
    let mut bob = registered(&second, "bob").await;
    joined(&mut bob, "bob", "r").await;
    let mut ada = registered(&first, "ada").await;
    eventually("one hub hears of the other's", async || {
        let said = json!({"type": "join-room", "peerId": "ada", "roomId": "r"});
        ada.send(said).await;
        let room = ada.next_of("room-joined").await;
        !room["peers"].as_array().expect("a list").is_empty()
    })
    .await;
    second.kill9().await;
    let left = ada.next_of("peer-left").await;
    assert_eq!(left["peerId"], "bob");
    let lost = ada
        .ask(json!({"type": "signal", "from": "ada", "to": "bob", "signal": 1}))
        .await;
    assert_eq!(lost["error"], "Peer bob not found");
}

#[tokio::test]
async fn a_hub_that_shuts_down_says_so() {
    let mut hub = HubProcess::builder().env("DRAIN_MS", "100").start().await;
    let mut ada = registered(&hub, "ada").await;
    hub.terminate();
    let (told, frame) = ada.end().await;
    assert_eq!(told.last().expect("a word")["type"], "server-shutdown");
    assert_eq!(u16::from(frame.expect("a close frame").code), 1012);
    hub.wait_exit().await;
}

#[tokio::test]
async fn a_token_is_asked_for_in_the_address() {
    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "open-sesame")
        .start()
        .await;
    let url = format!("ws://{}/p2p", hub.addr);
    let Err(Error::Http(answer)) = JsonClient::try_open(&url).await else {
        panic!("it is refused");
    };
    assert_eq!(answer.status(), 401);
    let mut ada = JsonClient::open(&format!("{url}?token=open-sesame")).await;
    assert_eq!(ada.next().await["type"], "welcome");
}
