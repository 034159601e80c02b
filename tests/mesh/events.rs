//! Events of all hubs, as one hub sends them to a reader.

use std::time::Duration;

use hubmesh_client::PeerId;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::hub_process::{HubProcess, LIMIT, eventually};
use crate::peer::{Peer, way_to};
use crate::steering::{TOKEN, a_chain, id, kept, place};

/// A reader of a hub's events.
struct Listener {
    stream: TcpStream,
    heard: String,
}

impl Listener {
    async fn at(hub: &HubProcess) -> Self {
        let stream = TcpStream::connect(hub.addr).await.expect("the hub listens");
        let mut listener = Listener {
            stream,
            heard: String::new(),
        };
        let head = format!(
            "GET /admin/api/events HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let sent = listener.stream.write_all(head.as_bytes()).await;
        sent.expect("it is sent");
        listener.until("event: hello").await;
        listener
    }

    async fn until(&mut self, word: &str) {
        let mut buffer = [0; 8192];
        let until = Instant::now() + LIMIT;
        while !self.heard.contains(word) {
            let read = timeout_at(until, self.stream.read(&mut buffer)).await;
            let read = read.unwrap_or_else(|_| panic!("no {word} in time: {}", self.heard));
            let read = read.expect("the connection stands");
            assert!(read > 0, "it ended: {}", self.heard);
            self.heard += &String::from_utf8_lossy(&buffer[..read]);
        }
    }

    /// Waits for an event of this type whose text contains all of `words`.
    async fn hears(&mut self, kind: &str, words: &[&str]) {
        let mut buffer = [0; 8192];
        let until = Instant::now() + LIMIT;
        loop {
            let mut events = self.heard.split("\n\n");
            let named = format!("event: {kind}\n");
            let found = events.any(|event| {
                event.contains(&named) && words.iter().all(|word| event.contains(word))
            });
            if found {
                return;
            }
            let read = timeout_at(until, self.stream.read(&mut buffer)).await;
            let read = read.unwrap_or_else(|_| panic!("no {kind} {words:?}: {}", self.heard));
            let read = read.expect("the connection stands");
            assert!(read > 0, "it ended: {}", self.heard);
            self.heard += &String::from_utf8_lossy(&buffer[..read]);
        }
    }

    /// Waits until this reader's hub receives the events of another hub. Returns the peer whose join was heard first.
    async fn hears_of(&mut self, hub: &HubProcess) -> Peer {
        let mut joined = Vec::new();
        eventually("a join at the other hub is heard of", async || {
            let peer = Peer::join(hub, "kept").await;
            let name = peer.id().to_owned();
            joined.push(peer);
            let heard = timeout(Duration::from_secs(2), self.until(&name)).await;
            heard.is_ok()
        })
        .await;
        joined.pop().expect("it joined")
    }
}

#[tokio::test]
async fn any_hub_tells_what_happens_at_all() {
    let [first, second, mut third] = a_chain(&kept().env("DUPLICATE_PEER", "replace")).await;
    let (at_second, at_third) = (id(&second).await, id(&third).await);
    let mut listener = Listener::at(&first).await;
    let last = listener.hears_of(&third).await;
    let name = last.id().to_owned();
    listener
        .hears("join", &[&name, &at_third, "\"network\":\"kept\""])
        .await;
    last.goodbye().await;
    listener
        .hears("leave", &[&name, &at_third, "goodbye"])
        .await;
    let ban = place(&second, &json!({ "id": name })).await;
    listener
        .hears("operator", &["\"action\":\"ban\"", &ban, &at_second])
        .await;
    let banned = name.parse::<PeerId>().expect("an id");
    let barred = Peer::ask_to_join(&third, "kept", banned).await;
    barred.is_closed().await;
    listener
        .hears("refusal", &["banned", &name, "127.0.0.1", &at_third])
        .await;
    let watcher = Peer::join(&first, "kept").await;
    let moves = Peer::join(&third, "kept").await;
    watcher.sees(&moves.id).await;
    let newer = Peer::join_as(&first, "kept", moves.id.clone()).await;
    listener
        .hears("takeover", &[newer.id(), &at_third, "\"network\":\"kept\""])
        .await;
    third.kill9().await;
    listener
        .hears("hub-lost", &[&format!("\"other\":\"{at_third}\"")])
        .await;
    listener.hears("link-down", &[&at_second, &at_third]).await;
    let fourth = kept().env("BOOTSTRAP_HUBS", second.ws_url()).start().await;
    let other = format!("\"other\":\"{}\"", id(&fourth).await);
    listener.hears("hub-up", &[&other]).await;
    listener.hears("link-up", &[&at_second, &other]).await;
}

#[tokio::test]
async fn an_alarm_of_one_hub_is_told_at_another() {
    let first = kept().env("MESH_DATA_PER_HUB", "65536").start().await;
    let second = kept().env("BOOTSTRAP_HUBS", first.ws_url()).start().await;
    let mut listener = Listener::at(&second).await;
    listener.hears_of(&first).await;
    // This is more data than the first hub keeps of the peers of another hub.
    let data = format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000));
    let mut peers = Vec::new();
    for _ in 0..80 {
        let way = way_to(&second, &PeerId::random());
        let peer = Peer::connect(&way, "kept").await.expect("it is let in");
        peer.announce(&data).await;
        peers.push(peer);
    }
    let at_first = id(&first).await;
    let words = [&*at_first, "\"label\":\"claims-left-out\"", "\"text\":"];
    listener.hears("alarm", &words).await;
}
