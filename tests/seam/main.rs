//! The seam between dialects and the hub, tested with the tests' own dialect on two linked hubs.
//!
//! The messages of that dialect are in `trial`, which is a part of the hub only in builds for tests. No test assumes a
//! speed: it waits for each event, and fails after a generous time.
#![cfg(feature = "trial-dialect")]

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/json_client.rs"]
mod json_client;

use std::ops::{Deref, DerefMut};

use futures::StreamExt;
use http::Method;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::connect_async;

use hub_process::{HubProcess, LIMIT};
use json_client::JsonClient;

/// A client of the dialect.
struct Client(JsonClient);

impl Deref for Client {
    type Target = JsonClient;

    fn deref(&self) -> &JsonClient {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut JsonClient {
        &mut self.0
    }
}

impl Client {
    async fn connect(hub: &HubProcess) -> Self {
        Client(JsonClient::at(hub, "/trial").await)
    }

    /// A client that has told its id.
    async fn named(hub: &HubProcess, id: &str) -> Self {
        let mut client = Self::connect(hub).await;
        client.send(json!({"type": "hello", "id": id})).await;
        let welcome = json!({"type": "welcome", "id": id});
        assert_eq!(client.next().await, welcome);
        client
    }

    async fn subscribe(&mut self, topics: &[&str]) {
        self.send(json!({"type": "subscribe", "topics": topics}))
            .await;
    }

    /// Waits for a message of this type. Returns the messages before it, too.
    async fn until(&mut self, kind: &str) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let next = self.next().await;
            if next["type"] == kind {
                return (before, next);
            }
            before.push(next);
        }
    }
}

/// Subscribes a client to `topic`, and waits until it is told of `other`. Its hub may learn of `other` a little later.
async fn meet(client: &mut Client, topic: &str, other: &str) {
    client.subscribe(&[topic]).await;
    let (_, roster) = client.until("members").await;
    let ids = roster["ids"].as_array().expect("a list of ids").clone();
    if ids.iter().all(|id| id != other) {
        client.until("joined").await;
    }
}

#[tokio::test]
async fn a_client_says_who_it_is_when_it_likes_and_nothing_before() {
    let hub = HubProcess::builder()
        .env("ANNOUNCE_TIMEOUT_MS", "100")
        .start()
        .await;
    let mut client = Client::connect(&hub).await;
    client.subscribe(&["a"]).await;
    let error = json!({"type": "error", "code": "who-are-you"});
    assert_eq!(client.next().await, error);
    client.send(json!({"type": "hello", "id": "ada"})).await;
    assert_eq!(client.next().await["type"], "welcome");
    client.subscribe(&["a", "b"]).await;
    for topic in ["a", "b"] {
        let members = json!({"type": "members", "topic": topic, "ids": []});
        assert_eq!(client.next().await, members);
    }
    let topics = ["a", "b"];
    client
        .send(json!({"type": "unsubscribe", "topics": topics}))
        .await;
    client.send(json!({"type": "ping"})).await;
    assert_eq!(client.next().await["type"], "pong");
    // The client is in no topic for longer than `ANNOUNCE_TIMEOUT_MS`. Meanwhile, clients at `/ws` are closed because
    // they do not announce themselves in this time.
    for round in 0..3 {
        let url = format!(
            "{}/ws?peerId={}",
            hub.ws_url(),
            format!("a{round}").repeat(20)
        );
        let (mut mute, _) = connect_async(url).await.expect("it is let in");
        let closed = async { while let Some(Ok(_)) = mute.next().await {} };
        timeout(LIMIT, closed).await.expect("it is closed in time");
        client.send(json!({"type": "ping"})).await;
        assert_eq!(client.next().await["type"], "pong");
    }
}

#[tokio::test]
async fn what_is_published_reaches_the_members_of_its_topic_on_both_hubs_once_and_in_order() {
    let (first, second) = HubProcess::two().await;
    let mut ada = Client::named(&first, "ada").await;
    ada.subscribe(&["a", "b"]).await;
    ada.until("members").await;
    ada.until("members").await;
    let mut bob = Client::named(&second, "bob").await;
    meet(&mut bob, "a", "ada").await;
    let mut eve = Client::named(&second, "eve").await;
    meet(&mut eve, "b", "ada").await;
    for _ in 0..2 {
        let (_, joined) = ada.until("joined").await;
        assert!(joined["id"] == "bob" || joined["id"] == "eve", "{joined}");
    }
    for n in 0..50 {
        ada.send(json!({"type": "publish", "topic": "a", "data": {"n": n}}))
            .await;
        ada.send(json!({"type": "send", "topic": "a", "to": "bob", "data": n}))
            .await;
    }
    ada.send(json!({"type": "publish", "topic": "b", "data": "for eve"}))
        .await;
    for n in 0..50 {
        let published = json!({
            "type": "published", "topic": "a", "from": "ada", "data": {"n": n}, "clients": 2,
        });
        assert_eq!(bob.next().await, published);
        assert_eq!(
            ada.next().await,
            published,
            "whoever publishes hears itself"
        );
        let sent = json!({"type": "sent", "topic": "a", "from": "ada", "data": n});
        assert_eq!(bob.next().await, sent);
    }
    let for_eve = eve.next().await;
    assert_eq!(
        (&for_eve["topic"], &for_eve["data"]),
        (&json!("b"), &json!("for eve"))
    );
    bob.send(json!({"type": "send", "topic": "a", "to": "nobody", "data": 1}))
        .await;
    let (_, failed) = bob.until("undelivered").await;
    assert_eq!(failed["code"], "no-such-peer");
}

#[tokio::test]
async fn a_client_without_a_name_is_given_one_and_is_told_when_its_hub_goes() {
    let mut hub = HubProcess::builder().env("DRAIN_MS", "0").start().await;
    let mut ada = Client::named(&hub, "ada").await;
    ada.subscribe(&["a"]).await;
    ada.until("members").await;
    let mut nameless = Client::connect(&hub).await;
    nameless.send(json!({"type": "hello"})).await;
    let welcome = nameless.next().await;
    let id = welcome["id"].as_str().expect("it is given a name");
    assert_eq!(id.len(), 40, "{id}");
    nameless.subscribe(&["a"]).await;
    let (_, joined) = ada.until("joined").await;
    assert_eq!(joined["id"], id);
    hub.terminate();
    nameless.until("draining").await;
    assert_eq!(hub.wait_exit().await.code(), Some(0));
}

/// The hub's answer to this request: its status and its JSON.
async fn asked(hub: &HubProcess, request: &str) -> (u16, Value) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(hub.addr).await.expect("it listens");
    let written = stream.write_all(request.as_bytes()).await;
    written.expect("it is sent");
    let mut answer = String::new();
    let read = timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    read.expect("in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    (
        status.expect("a status"),
        serde_json::from_str(body).expect("JSON"),
    )
}

fn post(topic: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /trial/topics/{topic} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn an_endpoint_takes_a_name_from_its_path_and_a_body_that_is_bounded() {
    let hub = HubProcess::builder().start().await;
    let mut ada = Client::named(&hub, "ada").await;
    ada.subscribe(&["a"]).await;
    ada.until("members").await;
    let there = json!({"ids": ["ada"]});
    let get = "GET /trial/topics/a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(asked(&hub, get).await, (200, there));
    let said = json!({"ids": ["ada"], "said": [1]});
    assert_eq!(asked(&hub, &post("a", "[1]")).await, (200, said));
    assert_eq!(asked(&hub, &post("b", "1")).await.1["ids"], json!([]));
    assert_eq!(asked(&hub, &post("a", "no")).await.0, 400);
    assert_eq!(asked(&hub, &post("a", &"1".repeat(101))).await.0, 413);
    let endless = "POST /trial/topics/a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(asked(&hub, endless).await.0, 411);
    assert_eq!(asked(&hub, &get.replace("GET", "DELETE")).await.0, 405);
    for (path, methods) in [
        ("/trial/topics/a", "GET, HEAD, POST, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
    ] {
        let preflight = [("access-control-request-method", "POST")];
        let told = hub.http(Method::OPTIONS, path, &preflight).await.headers;
        for header in ["allow", "access-control-allow-methods"] {
            assert_eq!(told[header], methods, "{path}");
        }
    }
    assert_eq!(
        asked(&hub, &get.replace("topics/a", "topics/a/b")).await.0,
        404
    );
}

#[tokio::test]
async fn what_one_topic_refuses_leaves_the_connection_and_its_other_topics_alone() {
    let (first, second) = HubProcess::two().await;
    let mut ada = Client::named(&first, "ada").await;
    ada.subscribe(&["a"]).await;
    ada.until("members").await;
    let mut bob = Client::named(&second, "bob").await;
    meet(&mut bob, "a", "ada").await;
    // The client reads, and so answers the hub's probe.
    let reading = tokio::spawn(async move { while ada.socket.next().await.is_some() {} });
    let mut other = Client::named(&second, "ada").await;
    other.subscribe(&["a", "b"]).await;
    // The contest in the topic "a" takes a while, and does not delay the topic "b".
    let members = json!({"type": "members", "topic": "b", "ids": []});
    assert_eq!(other.next().await, members);
    other
        .send(json!({"type": "publish", "topic": "b", "data": 1}))
        .await;
    assert_eq!(other.next().await["type"], "published");
    let lost = json!({"type": "lost", "topic": "a", "code": "id-taken"});
    assert_eq!(other.next().await, lost);
    other
        .send(json!({"type": "publish", "topic": "b", "data": 2}))
        .await;
    assert_eq!(other.next().await["data"], 2);
    other
        .send(json!({"type": "publish", "topic": "a", "data": 3}))
        .await;
    assert_eq!(other.next().await["code"], "not-announced");
    reading.abort();
    let (_, left) = bob.until("left").await;
    assert_eq!(left["id"], "ada");
}
