//! A client of any dialect that speaks JSON, as a raw WebSocket, and conversations of several clients, played from a
//! fixture.
//!
//! A fixture has one step a line: `{"peer", "dir": "client->server" | "server->client" | "close", "text"}`, in the
//! order in which the steps happen. Times differ from play to play, so `timestamp` members and members that are named
//! for a time are not compared. Every wait has a limit. Use it with
//! `#[path = "../common/json_client.rs"] mod json_client;`.
#![allow(dead_code, reason = "every test binary uses a part of its own")]

use std::collections::HashMap;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use url::form_urlencoded;

use crate::hub_process::{HubProcess, LIMIT, eventually};

pub struct JsonClient {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl JsonClient {
    pub async fn at(hub: &HubProcess, path: &str) -> Self {
        Self::open(&format!("ws://{}{path}", hub.addr)).await
    }

    pub async fn open(url: &str) -> Self {
        Self::try_open(url).await.expect("it is let in")
    }

    pub async fn try_open(url: &str) -> Result<Self, Error> {
        let connected = timeout(LIMIT, connect_async(url)).await;
        let (socket, _) = connected.expect("in time")?;
        Ok(JsonClient { socket })
    }

    pub async fn say(&mut self, said: &str) {
        let sent = self.socket.send(Message::text(said)).await;
        sent.expect("it is sent");
    }

    pub async fn send(&mut self, said: Value) {
        self.say(&said.to_string()).await;
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        loop {
            let next = timeout(LIMIT, self.socket.next()).await;
            match next.expect("something comes").expect("it goes on") {
                Ok(Message::Text(text)) => {
                    return serde_json::from_str(&text).expect("it is JSON");
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no text: {other:?}"),
            }
        }
    }

    /// The next message of this type; others before it are dropped.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let next = self.next().await;
            if next["type"] == kind {
                return next;
            }
        }
    }

    /// Sends a message and gives the next one.
    pub async fn ask(&mut self, said: Value) -> Value {
        self.send(said).await;
        self.next().await
    }

    /// The messages before the close frame, and the close frame.
    pub async fn end(&mut self) -> (Vec<Value>, Option<CloseFrame>) {
        let mut before = Vec::new();
        loop {
            let next = timeout(LIMIT, self.socket.next()).await;
            match next.expect("it ends in time") {
                Some(Ok(Message::Text(text))) => {
                    before.push(serde_json::from_str(&text).expect("it is JSON"));
                }
                Some(Ok(Message::Close(frame))) => return (before, frame),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return (before, None),
            }
        }
    }

    pub async fn close(mut self) {
        self.socket.close(None).await.expect("it closes");
    }
}

/// A message without the parts that differ from play to play.
pub fn timeless(mut message: Value) -> Value {
    strip(&mut message);
    message
}

fn strip(value: &mut Value) {
    const TIMES: [&str; 5] = [
        "timestamp",
        "createdAt",
        "lastActivity",
        "connectedAt",
        "lastHeartbeat",
    ];
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !TIMES.contains(&name.as_str()));
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

async fn told(hub: &HubProcess, path: &str) -> Value {
    let answer = hub.http_get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// The peers that a hub knows in each network, with their hubs and since when they are there. Numbers alone would be the
/// same while one peer comes and another goes.
async fn peers(hub: &HubProcess) -> Vec<Value> {
    let networks = told(hub, "/admin/api/networks").await;
    let mut all = Vec::new();
    for network in networks["networks"].as_array().expect("a list") {
        let text = |member: &str| network[member].as_str().expect("text").to_owned();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("dialect", &text("dialect"));
        query.append_pair("network", &text("network"));
        let mut page = told(hub, &format!("/admin/api/peers?{}", query.finish())).await;
        page["timestamp"].take();
        all.push(page);
    }
    all
}

/// Waits until all hubs know the same peers in the same networks.
pub async fn agreed(hubs: &[HubProcess]) {
    eventually("all hubs know the same peers", async || {
        let mut all = Vec::new();
        for hub in hubs {
            all.push(peers(hub).await);
        }
        all.windows(2).all(|two| two[0] == two[1])
    })
    .await;
}

/// Plays the conversation of a fixture; each new client connects to the next hub, at `path`.
pub async fn play(fixture: &str, hubs: &[HubProcess], path: &str) {
    let mut clients: HashMap<String, JsonClient> = HashMap::new();
    for (number, line) in fixture.lines().enumerate() {
        let step: Value = serde_json::from_str(line).expect("a step");
        let peer = step["peer"].as_str().expect("a peer").to_owned();
        let text = step["text"].as_str().unwrap_or_default();
        if !clients.contains_key(&peer) {
            let hub = &hubs[clients.len() % hubs.len()];
            clients.insert(peer.clone(), JsonClient::at(hub, path).await);
        }
        let client = clients.get_mut(&peer).expect("it is connected");
        match step["dir"].as_str() {
            Some("client->server") => client.say(text).await,
            Some("server->client") => {
                let expected = serde_json::from_str(text).expect("it is JSON");
                let heard = client.next().await;
                assert_eq!(
                    timeless(heard),
                    timeless(expected),
                    "line {}: {peer}",
                    number + 1
                );
                agreed(hubs).await;
            }
            // The closed client keeps its place in the order of hubs.
            Some("close") => client.socket.close(None).await.expect("it closes"),
            other => panic!("no such step: {other:?}"),
        }
    }
}
