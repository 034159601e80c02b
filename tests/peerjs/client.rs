//! A PeerJS client on a plain WebSocket, and hubs for it.
//!
//! The client can only write and read messages: it sends no heartbeats and does not reconnect by itself. A separate
//! task reads, so pings of the hub are answered as a browser answers them, even while the story waits. Every wait has a
//! limit, except that of `next_unless_closed`.

use futures::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::hub_process::{HubBuilder, HubProcess, LIMIT, eventually};

/// The id of a client, and how the client connects.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    pub id: &'a str,
    pub token: &'a str,
    pub key: &'a str,
    pub path: &'a str,
    pub bearer: Option<&'a str>,
}

impl<'a> Way<'a> {
    pub fn new(id: &'a str, token: &'a str) -> Self {
        Way {
            id,
            token,
            key: "peerjs",
            path: "/",
            bearer: None,
        }
    }

    fn target(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([("key", self.key), ("id", self.id), ("token", self.token)]);
        format!("{}peerjs?{}&version=1.5.5", self.path, query.finish())
    }
}

/// A client with an open WebSocket, even if the hub has refused its id.
#[derive(Debug)]
pub struct Client {
    pub id: String,
    out: SplitSink<Socket, Message>,
    heard: mpsc::UnboundedReceiver<Heard>,
    reader: JoinHandle<()>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An event of the socket: a message or the end.
#[derive(Debug)]
enum Heard {
    Text(String),
    End(Option<CloseCode>),
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// Opens a WebSocket at the address of a hub. If the hub refuses, returns the HTTP status.
    pub async fn connect(base: &str, way: &Way<'_>) -> Result<Self, u16> {
        let mut request = format!("{base}{}", way.target())
            .into_client_request()
            .expect("an address");
        if let Some(bearer) = way.bearer {
            let value = format!("Bearer {bearer}").parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        match timeout(LIMIT, connect_async(request))
            .await
            .expect("an answer in time")
        {
            Ok((socket, _)) => Ok(Self::over(socket, way.id)),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(why) => panic!("no answer: {why}"),
        }
    }

    /// Opens a WebSocket at this path and query, unchanged, as a browser does. If the hub refuses, returns the HTTP
    /// status.
    pub async fn dial(hub: &HubProcess, target: &str) -> Result<Self, u16> {
        let connecting = connect_async(format!("{}{target}", hub.ws_url()));
        match timeout(LIMIT, connecting).await.expect("an answer in time") {
            Ok((socket, _)) => Ok(Self::over(socket, target)),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(why) => panic!("no answer: {why}"),
        }
    }

    fn over(socket: Socket, id: &str) -> Self {
        let (out, mut incoming) = socket.split();
        let (hear, heard) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            let code = loop {
                match incoming.next().await {
                    Some(Ok(Message::Text(text))) => {
                        // Sending fails if the story is over.
                        let _ = hear.send(Heard::Text(text.to_string()));
                    }
                    Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break None,
                }
            };
            let _ = hear.send(Heard::End(code));
        });
        Client {
            id: id.to_owned(),
            out,
            heard,
            reader,
        }
    }

    /// Connects and waits for `OPEN`.
    pub async fn open(hub: &HubProcess, id: &str, token: &str) -> Self {
        Self::open_by(hub, &Way::new(id, token)).await
    }

    /// Connects in this way and waits for `OPEN`.
    pub async fn open_by(hub: &HubProcess, way: &Way<'_>) -> Self {
        let connected = Self::connect(&hub.ws_url(), way).await;
        let mut client = connected.expect("the hub lets it in");
        assert_eq!(client.next().await["type"], "OPEN", "{way:?}");
        client
    }

    pub async fn say(&mut self, message: Value) {
        self.say_text(&message.to_string()).await;
    }

    pub async fn say_text(&mut self, message: &str) {
        let sent = self.out.send(Message::text(message)).await;
        sent.expect("an open socket");
    }

    /// Sends a signal.
    pub async fn send(&mut self, kind: &str, to: &str, payload: Value) {
        self.say(json!({"type": kind, "dst": to, "payload": payload}))
            .await;
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).expect("JSON")
    }

    pub async fn next_text(&mut self) -> String {
        match self.hears().await {
            Heard::Text(text) => text,
            Heard::End(code) => panic!("{} was closed: {code:?}", self.id),
        }
    }

    async fn hears(&mut self) -> Heard {
        let heard = timeout(LIMIT, self.heard.recv()).await;
        heard
            .expect("word in time")
            .expect("not read beyond the end")
    }

    /// The next message, or `None` once the connection is over. This wait has no limit.
    pub async fn next_unless_closed(&mut self) -> Option<Value> {
        match self.heard.recv().await? {
            Heard::Text(text) => serde_json::from_str(&text).ok(),
            Heard::End(_) => None,
        }
    }

    /// Fails if a message arrives before the one that `other` now sends to this client.
    pub async fn hears_nothing_before(&mut self, other: &mut Client) {
        let fence = json!({"fence": other.id});
        other
            .send("CANDIDATE", &self.id.clone(), fence.clone())
            .await;
        assert_eq!(self.next().await["payload"], fence);
    }

    /// The messages that arrive before the socket is closed, and the close code.
    pub async fn is_closed(&mut self) -> (Vec<Value>, Option<CloseCode>) {
        let mut told = Vec::new();
        loop {
            match self.hears().await {
                Heard::Text(text) => told.push(serde_json::from_str(&text).expect("JSON")),
                Heard::End(code) => return (told, code),
            }
        }
    }

    /// Stops reading, so that pings are not answered: like a page that has disappeared without closing its connection.
    pub fn go_deaf(&self) {
        self.reader.abort();
    }

    /// Sends a close frame and waits for the end of the connection.
    pub async fn close(mut self) {
        self.say_close().await;
        self.is_closed().await;
    }

    /// Sends a close frame.
    pub async fn say_close(&mut self) {
        let close = self.out.send(Message::Close(None)).await;
        close.expect("an open socket");
    }
}

/// Two linked hubs with these settings.
pub async fn pair(settings: impl Fn(HubBuilder) -> HubBuilder) -> [HubProcess; 2] {
    let first = settings(HubProcess::builder()).start().await;
    let second = settings(first.neighbour()).start().await;
    for hub in [&first, &second] {
        hub.reaches_hubs(1).await;
    }
    [first, second]
}

/// Waits until a hub knows this number of peers.
pub async fn knows(hub: &HubProcess, peers: usize) {
    eventually("the hub knows the peers", async || {
        hub.http_get("/stats").await.json()["peers"] == peers
    })
    .await;
}
