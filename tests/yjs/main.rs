//! y-webrtc clients, as raw WebSockets, on one real hub and on two linked hubs.
//!
//! The tests of the unmodified client are in `tests/browser`. No story assumes a speed: each story waits for its
//! events.

#[path = "../common/hub_process.rs"]
mod hub_process;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use hub_process::{HubProcess, LIMIT, eventually};

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    async fn at(hub: &HubProcess, topics: &[&str]) -> Self {
        let url = format!("ws://{}/yjs", hub.addr);
        let connected = timeout(LIMIT, connect_async(url)).await;
        let (socket, _) = connected.expect("in time").expect("it is let in");
        let mut client = Client { socket };
        client
            .say(&json!({"type": "subscribe", "topics": topics}).to_string())
            .await;
        client
    }

    async fn say(&mut self, said: &str) {
        let sent = self.socket.send(Message::text(said)).await;
        sent.expect("it is sent");
    }

    async fn publish(&mut self, topic: &str, data: impl Into<Value>) {
        let data: Value = data.into();
        let said = json!({"type": "publish", "topic": topic, "data": data});
        self.say(&said.to_string()).await;
    }

    async fn text(&mut self) -> String {
        loop {
            let next = timeout(LIMIT, self.socket.next()).await;
            match next.expect("something comes").expect("it goes on") {
                Ok(Message::Text(text)) => return text.to_string(),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no text: {other:?}"),
            }
        }
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("it is JSON")
    }

    /// Publishes until the hub counts the wanted subscribers: a hub learns of another hub's subscribers a little later.
    async fn until_clients(&mut self, topic: &str, wanted: usize) {
        eventually("as many subscribers are counted", async || {
            self.publish(topic, "how many?").await;
            let mut heard = self.next().await;
            while heard["data"] != "how many?" {
                heard = self.next().await;
            }
            heard["clients"] == wanted
        })
        .await;
    }

    /// The next message that is not a question of `until_clients`.
    async fn answer(&mut self) -> Value {
        loop {
            let heard = self.next().await;
            if heard["data"] != "how many?" {
                return heard;
            }
        }
    }
}

#[tokio::test]
async fn a_client_hears_what_it_publishes_as_it_sent_it_and_how_many_heard_it() {
    let hub = HubProcess::start().await;
    let mut ada = Client::at(&hub, &["a", "b", "a"]).await;
    ada.say(r#"{"topic":"a", "type":"publish","data":"dwQ=","n":1e3,"clients":9}"#)
        .await;
    let same = r#"{"topic":"a", "type":"publish","data":"dwQ=","n":1e3,"clients":9,"clients":1}"#;
    assert_eq!(ada.text().await, same);
    ada.say(r#"{"type":"ping"}"#).await;
    assert_eq!(ada.text().await, r#"{"type":"pong"}"#);
    ada.say(r#"{"type":"unsubscribe","topics":["a",5]}"#).await;
    ada.publish("a", 1).await;
    assert_eq!(ada.next().await["code"], "not-announced");
    ada.publish("b", 2).await;
    assert_eq!(ada.next().await["data"], 2);
}

#[tokio::test]
async fn what_the_original_server_passes_over_costs_no_client_its_connection() {
    let hub = HubProcess::start().await;
    let mut ada = Client::at(&hub, &["a"]).await;
    for said in [
        "1",
        "[]",
        "{}",
        r#"{"type":"dance"}"#,
        r#"{"type":"publish"}"#,
    ] {
        ada.say(said).await;
    }
    ada.say(r#"{"type":"subscribe","topics":[1,null,{}]}"#)
        .await;
    ada.say(r#"{"type":"subscribe","topics":7}"#).await;
    ada.say("no JSON").await;
    assert_eq!(ada.next().await["code"], "not-json");
    let topic = "x".repeat(129);
    ada.say(&json!({"type": "subscribe", "topics": [topic]}).to_string())
        .await;
    assert_eq!(ada.next().await["code"], "bad-topic");
    ada.publish("a", 1).await;
    assert_eq!(ada.next().await["data"], 1);
    let page = hub
        .http(http::Method::GET, "/metrics", &[("accept", "text/plain")])
        .await;
    for counted in ["publish", "announce", "malformed", "other"] {
        let line = page.body.lines().find(|line| {
            line.contains("messages_received") && line.contains("\"yjs\"") && line.contains(counted)
        });
        assert!(
            line.is_some_and(|line| !line.ends_with(" 0")),
            "{counted}: {line:?}"
        );
    }
}

#[tokio::test]
async fn a_client_may_be_in_so_many_topics_and_is_told_of_one_more() {
    let hub = HubProcess::builder()
        .env("RATE_LIMIT_PER_SEC", "0")
        .start()
        .await;
    let topics: Vec<String> = (0..257).map(|n| format!("topic {n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut ada = Client::at(&hub, &topics).await;
    assert_eq!(ada.next().await["code"], "too-many-networks");
    ada.publish("topic 255", 1).await;
    assert_eq!(ada.next().await["clients"], 1);
}

#[tokio::test]
async fn a_topic_reaches_its_subscribers_on_both_hubs_once_and_in_order() {
    let (first, mut second) = HubProcess::two().await;
    let mut ada = Client::at(&first, &["a"]).await;
    let mut bob = Client::at(&second, &["a", "b"]).await;
    let mut eve = Client::at(&second, &["b"]).await;
    ada.until_clients("a", 2).await;
    bob.until_clients("a", 2).await;
    for n in 0..100 {
        ada.publish("a", n).await;
    }
    for n in 0..100 {
        let same = json!({"type": "publish", "topic": "a", "data": n, "clients": 2});
        assert_eq!(bob.answer().await, same);
        assert_eq!(ada.answer().await, same);
    }
    bob.publish("b", "for eve").await;
    let for_eve = eve.next().await;
    assert_eq!(
        (&for_eve["data"], &for_eve["clients"]),
        (&json!("for eve"), &json!(2))
    );
    // The subscribers of a dead hub are no longer counted.
    second.kill9().await;
    ada.until_clients("a", 1).await;
}

#[tokio::test]
async fn a_token_is_asked_for_in_the_address() {
    let hub = HubProcess::builder()
        .env("AUTH_TOKEN", "open-sesame")
        .start()
        .await;
    let refused = connect_async(format!("ws://{}/yjs", hub.addr)).await;
    let Err(Error::Http(answer)) = refused else {
        panic!("it is refused: {refused:?}");
    };
    assert_eq!(answer.status(), 401);
    let url = format!("ws://{}/yjs?token=open-sesame", hub.addr);
    connect_async(url).await.expect("it is let in");
}
