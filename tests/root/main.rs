//! Clients that connect to the root path, where the first message of a client shows its dialect.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/json_client.rs"]
mod json_client;
#[path = "../common/jwt.rs"]
mod jwt;

use futures::SinkExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

use hub_process::{HubProcess, eventually};
use json_client::JsonClient;

/// A client at `/` that has sent this message.
async fn first(hub: &HubProcess, said: Value) -> JsonClient {
    let mut client = JsonClient::at(hub, "/").await;
    client.send(said).await;
    client
}

async fn refused(mut client: JsonClient) -> String {
    let (told, frame) = client.end().await;
    assert_eq!(u16::from(frame.expect("a close frame").code), 1008);
    let [error] = told.as_slice() else {
        panic!("one error: {told:?}");
    };
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"], error["message"]);
    error["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn each_dialect_is_told_by_its_first_word() {
    let hub = HubProcess::start().await;
    let mut ada = first(&hub, json!({"type": "register", "peerId": "ada"})).await;
    assert_eq!(ada.next().await["type"], "welcome");
    assert_eq!(ada.next().await["type"], "registered");
    let mut doc = first(&hub, json!({"type": "subscribe", "topics": ["doc"]})).await;
    let said = json!({"type": "publish", "topic": "doc", "data": 1});
    assert_eq!(doc.ask(said).await["clients"], 1);
    let mut pinging = first(&hub, json!({"type": "ping"})).await;
    assert_eq!(pinging.next().await, json!({"type": "pong"}));
    let id = "0123456789abcdef0123456789abcdef01234567";
    let mut native = JsonClient::at(&hub, &format!("/?peerId={id}")).await;
    assert_eq!(native.next().await["type"], "connected");
}

#[tokio::test]
async fn those_of_the_root_and_those_of_the_paths_meet() {
    let (one, two) = HubProcess::two().await;
    let mut ada = first(&one, json!({"type": "register", "peerId": "ada"})).await;
    ada.send(json!({"type": "join-room", "peerId": "ada", "roomId": "r"}))
        .await;
    ada.next_of("room-joined").await;
    json_client::agreed(&[one, two]).await;
}

#[tokio::test]
async fn what_no_dialect_begins_with_is_told_what_would_have_been_right() {
    let hub = HubProcess::start().await;
    for said in [
        "hello",
        "[]",
        "{}",
        r#"{"type":"announce"}"#,
        r#"{"type":"ping","from":"a"}"#,
    ] {
        let mut client = JsonClient::at(&hub, "/").await;
        client.say(said).await;
        assert_eq!(refused(client).await, "undecided", "{said}");
    }
    let mut binary = JsonClient::at(&hub, "/").await;
    let sent = binary.socket.send(Message::binary(vec![1, 2])).await;
    sent.expect("it is sent");
    let (told, frame) = binary.end().await;
    assert_eq!(told[0]["code"], "binary");
    assert_eq!(u16::from(frame.expect("a close frame").code), 1003);
}

#[tokio::test]
async fn whoever_says_nothing_or_nothing_but_pings_is_sent_away() {
    let hub = HubProcess::start().await;
    let began = Instant::now();
    let silent = JsonClient::at(&hub, "/").await;
    assert_eq!(refused(silent).await, "undecided");
    assert!(began.elapsed().as_secs() >= 4, "it had five seconds");
    let mut pinging = JsonClient::at(&hub, "/").await;
    for _ in 0..1_100 {
        // The hub may have closed the connection already.
        if pinging.socket.feed(Message::Ping("".into())).await.is_err() {
            break;
        }
    }
    // The hub may have closed the connection before all pings arrive.
    let _ = pinging.socket.flush().await;
    let (told, _) = pinging.end().await;
    assert!(
        told.iter().all(|told| told["code"] == "undecided"),
        "{told:?}"
    );
    eventually("both are counted", async || {
        let text = [("accept", "text/plain")];
        let page = hub.http(http::Method::GET, "/metrics", &text).await;
        let closed = r#"hubmesh_connections_closed_total{reason="undecided"} 2"#;
        page.body.contains(closed)
    })
    .await;
}

#[tokio::test]
async fn a_second_port_serves_what_the_first_one_does() {
    let hub = HubProcess::builder()
        .env("SIGNALING_PORT", "0")
        .env("CORS_ORIGINS", "https://app.example.org")
        .start()
        .await;
    let start = hub.log_lines().into_iter().find_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        Some(line["fields"]["addrs"].as_str()?.to_owned())
    });
    let start = start.expect("it names its addresses");
    let [first, second] = start.split(',').collect::<Vec<_>>()[..] else {
        panic!("two addresses: {start}");
    };
    assert_eq!(first, hub.addr.to_string());
    let mut ada = JsonClient::open(&format!("ws://{second}/")).await;
    ada.send(json!({"type": "register", "peerId": "ada"})).await;
    assert_eq!(ada.next_of("registered").await["peerId"], "ada");
    let mut bob = first_word(&hub).await;
    ada.send(json!({"type": "offer", "from": "ada", "to": "bob", "offer": 1}))
        .await;
    assert_eq!(bob.next_of("offer").await["from"], "ada");
    let answer = hub
        .http(
            http::Method::GET,
            "/health",
            &[("origin", "https://app.example.org")],
        )
        .await;
    let allowed = answer.headers.get("access-control-allow-origin");
    assert_eq!(allowed.expect("it is allowed"), "https://app.example.org");
}

async fn first_word(hub: &HubProcess) -> JsonClient {
    let mut bob = first(hub, json!({"type": "register", "peerId": "bob"})).await;
    bob.next_of("registered").await;
    bob
}

#[tokio::test]
async fn a_token_is_asked_for_before_a_word() {
    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "open-sesame")
        .start()
        .await;
    let url = format!("ws://{}/", hub.addr);
    let Err(Error::Http(answer)) = JsonClient::try_open(&url).await else {
        panic!("it is refused");
    };
    assert_eq!(answer.status(), 401);
    let mut ada = JsonClient::open(&format!("{url}?token=open-sesame")).await;
    ada.send(json!({"type": "ping"})).await;
    assert_eq!(ada.next().await["type"], "pong");
}

/// A client whose token is for room `r` alone, at this path.
async fn bound_to_r(hub: &HubProcess, path: &str) -> Result<JsonClient, Error> {
    let token = jwt::token(json!({"sub": "ada", "room": "r"}));
    JsonClient::try_open(&format!("ws://{}{path}token={token}", hub.addr)).await
}

#[tokio::test]
async fn a_token_for_one_room_opens_no_other_in_any_dialect() {
    let hub = HubProcess::builder()
        .env("JWT_SECRET", jwt::SECRET)
        .start()
        .await;
    // The room `other` exists.
    let free = jwt::token(json!({"sub": "eve"}));
    let mut eve = JsonClient::open(&format!("ws://{}/rooms?token={free}", hub.addr)).await;
    eve.ask(json!({"type": "auth", "userId": "eve", "roomId": "other"}))
        .await;
    eve.ask(json!({"type": "create-room"})).await;
    for path in ["/rooms?", "/?"] {
        let mut ada = bound_to_r(&hub, path).await.expect("it is let in");
        let said = json!({"type": "auth", "userId": "ada", "roomId": "other"});
        assert_eq!(ada.ask(said).await["type"], "auth");
        for said in ["join-room", "create-room"] {
            let told = ada.ask(json!({"type": said})).await;
            assert_eq!(told["data"]["code"], "other-room", "{path} {said}");
        }
        let said = json!({"type": "create-room", "roomId": "r"});
        let told = ada.ask(said).await;
        // At the second path, the room exists already.
        let made = told["type"] == "room-created" || told["data"]["code"] == "room-exists";
        assert!(made, "{path} {told}");
    }
    for path in ["/yjs?", "/?"] {
        let mut doc = bound_to_r(&hub, path).await.expect("it is let in");
        let told = doc
            .ask(json!({"type": "subscribe", "topics": ["other", "r"]}))
            .await;
        assert_eq!(told["code"], "other-room", "{path} {told}");
        doc.send(json!({"type": "publish", "topic": "other", "data": 1}))
            .await;
        let said = json!({"type": "publish", "topic": "r", "data": 2});
        doc.send(said).await;
        let heard = doc.next_of("publish").await;
        assert_eq!((&heard["topic"], &heard["data"]), (&json!("r"), &json!(2)));
    }
    let id = "0123456789abcdef0123456789abcdef01234567";
    let path = format!("/ws?peerId={id}&");
    let mut native = bound_to_r(&hub, &path).await.expect("it is let in");
    assert_eq!(native.next().await["type"], "connected");
    for network in [json!("other"), Value::Null] {
        let told = native
            .ask(json!({"type": "announce", "networkName": network, "data": {}}))
            .await;
        assert_eq!(told["code"], "other-room", "{told}");
    }
    let said = json!({"type": "announce", "networkName": "r", "data": {}});
    native.send(said).await;
    let ping = json!({"type": "ping", "networkName": "r"});
    assert_eq!(native.ask(ping).await["type"], "pong");
    let realm = bound_to_r(&hub, "/peerjs?key=peerjs&id=ada&").await;
    let (told, _) = realm.expect("it is told").end().await;
    assert_eq!(told[0]["payload"]["msg"], "The token is for another room");
}

#[tokio::test]
async fn a_token_for_one_room_does_not_register_where_all_reach_each_other() {
    let hub = HubProcess::builder()
        .env("JWT_SECRET", jwt::SECRET)
        .start()
        .await;
    let Err(Error::Http(answer)) = bound_to_r(&hub, "/p2p?").await else {
        panic!("it is refused");
    };
    assert_eq!(answer.status(), 403);
    let mut ada = bound_to_r(&hub, "/?").await.expect("it is let in");
    ada.send(json!({"type": "register", "peerId": "ada"})).await;
    assert_eq!(refused(ada).await, "other-room");
}
