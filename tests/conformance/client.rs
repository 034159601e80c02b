//! A client of any dialect, as the stories use it.
//!
//! A separate task reads all the time, so pings of the hub are answered as a browser answers them, even while the story
//! waits. Every wait has a limit. A wait for a message fails with all messages that the client has received.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::hub_process::{HubProcess, LIMIT};
use crate::jwt::token;
use crate::words::{Dialect, Kind, Told};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The longest time that a client waits for one more message before it asks again.
const AGAIN: Duration = Duration::from_millis(100);

/// An event of the socket: a message or the end.
enum Heard {
    Text(String),
    /// The code of the close frame.
    End(Option<u16>),
}

/// A client.
pub struct Client {
    dialect: Dialect,
    id: String,
    out: SplitSink<Socket, Message>,
    heard: mpsc::UnboundedReceiver<Heard>,
    reader: JoinHandle<()>,
    /// All messages that the client has received.
    log: Vec<Value>,
    /// The messages that no story has asked for yet.
    waiting: VecDeque<Value>,
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// A client whose id the hub knows. It is in no network, unless its dialect joins one on connecting.
    pub async fn connect(hub: &HubProcess, dialect: Dialect, id: &str) -> Self {
        let token = token(dialect.claims(id));
        let url = format!("{}{}&token={token}", hub.ws_url(), dialect.path(id));
        let connected = timeout(LIMIT, connect_async(url)).await;
        let (socket, _) = connected.expect("in time").expect("it is let in");
        let (out, mut incoming) = socket.split();
        let (hear, heard) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            let code = loop {
                match incoming.next().await {
                    // Sending fails if the story is over.
                    Some(Ok(Message::Text(text))) => drop(hear.send(Heard::Text(text.to_string()))),
                    Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break None,
                }
            };
            let _ = hear.send(Heard::End(code));
        });
        let mut client = Client {
            dialect,
            id: id.to_owned(),
            out,
            heard,
            reader,
            log: Vec::new(),
            waiting: VecDeque::new(),
            there: BTreeSet::new(),
            gone: BTreeSet::new(),
        };
        if let Some(said) = dialect.introduction(id) {
            client.say(&said).await;
        }
        if let Some(word) = dialect.greeting() {
            client.until_word(&[word]).await;
        }
        client
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    async fn say(&mut self, said: &Value) {
        // The hub may have closed the connection because of earlier messages.
        let _ = self.out.send(Message::text(said.to_string())).await;
    }

    /// The next message, or the close code if the connection has ended; `None` if neither arrives within this time.
    async fn receive(&mut self, within: Duration) -> Option<Result<Value, Option<u16>>> {
        match timeout(within, self.heard.recv()).await.ok()? {
            Some(Heard::Text(text)) => {
                let message: Value = serde_json::from_str(&text).expect("it is JSON");
                self.log.push(message.clone());
                match self.dialect.told(&message) {
                    Told::Come(ids) => ids.into_iter().for_each(|id| {
                        self.gone.remove(&id);
                        self.there.insert(id);
                    }),
                    Told::Gone(id) => {
                        self.there.remove(&id);
                        self.gone.insert(id);
                    }
                    _ => {}
                }
                Some(Ok(message))
            }
            Some(Heard::End(code)) => Some(Err(code)),
            None => Some(Err(None)),
        }
    }

    /// Waits for a message that `look` accepts, removes it from `waiting` and returns the result of `look`.
    async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let found = |waiting: &mut VecDeque<Value>, look: &mut dyn FnMut(&Value) -> Option<T>| {
            let place = waiting.iter().position(|message| look(message).is_some())?;
            look(&waiting.remove(place)?)
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(found) = found(&mut self.waiting, &mut look) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left).await {
                Some(Ok(message)) => self.waiting.push_back(message),
                Some(Err(code)) => panic!("{what}: closed with {code:?}: {:#?}", self.log),
                None => panic!("{what}: never came: {:#?}", self.log),
            }
        }
    }

    async fn until_word(&mut self, words: &[&str]) -> Value {
        let what = words.join(" or ");
        let is_one = |message: &Value| {
            let word = message["type"].as_str()?;
            words.contains(&word).then(|| message.clone())
        };
        self.until(&what, is_one).await
    }

    /// Adds the next message to `waiting`, if one arrives within `AGAIN`.
    async fn look(&mut self) {
        if let Some(Ok(message)) = self.receive(AGAIN).await {
            self.waiting.push_back(message);
        }
    }

    /// Creates the network, in dialects in which clients create it, and joins it.
    pub async fn found(&mut self) {
        match self.dialect.found() {
            Some(said) => {
                self.say(&said).await;
                self.is_in().await;
            }
            None => self.join().await,
        }
    }

    /// Joins the network. If the client's hub does not know the network yet, the client asks again until it does.
    pub async fn join(&mut self) {
        let Some(said) = self.dialect.join(&self.id) else {
            return;
        };
        self.say(&said).await;
        if self.dialect.found().is_none() {
            return self.is_in().await;
        }
        loop {
            let told = self.until_word(&["room-joined", "error"]).await;
            if told["type"] == "room-joined" {
                return;
            }
            assert_eq!(self.dialect.code(&told), "no-such-room", "{told}");
            self.look().await;
            self.say(&said).await;
        }
    }

    async fn is_in(&mut self) {
        match self.dialect.joined() {
            Some(words) => drop(self.until_word(words).await),
            None => self.is_answered().await,
        }
    }

    /// Waits until the hub has handled all messages sent so far, in dialects in which a hub answers pings.
    pub async fn is_answered(&mut self) {
        let deadline = Instant::now() + LIMIT;
        let (said, Some(word)) = self.dialect.ping() else {
            return;
        };
        self.waiting.retain(|message| message["type"] != word);
        // For a while, the hub ignores a client that was too fast.
        while !self.waiting.iter().any(|message| message["type"] == word) {
            assert!(Instant::now() < deadline, "no answer: {:#?}", self.log);
            self.say(&said).await;
            self.look().await;
        }
    }

    /// Sends this number of pings.
    pub async fn pings(&mut self, many: usize) {
        let (said, _) = self.dialect.ping();
        for _ in 0..many {
            self.say(&said).await;
        }
    }

    /// Waits until the hub has told this client that the other client is in the network.
    pub async fn knows(&mut self, other: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.there.contains(other) {
            assert!(
                Instant::now() < deadline,
                "{other} is not there: {:#?}",
                self.log
            );
            self.look().await;
        }
    }

    /// Waits until both hubs know both clients.
    pub async fn meets(&mut self, other: &mut Client) {
        if self.dialect.tells_who_comes() {
            self.knows(&other.id.clone()).await;
            other.knows(&self.id.clone()).await;
        }
        if self.dialect.signals() {
            // In dialects in which clients are not told of new members, the signal waits for its target.
            let hello = json!("hello");
            self.signal(Kind::Offer, &other.id.clone(), &hello).await;
            assert_eq!(other.hears(Kind::Offer, &self.id).await, hello);
            other.signal(Kind::Offer, &self.id.clone(), &hello).await;
            assert_eq!(self.hears(Kind::Offer, &other.id).await, hello);
        } else {
            self.counts(2).await;
            other.counts(2).await;
        }
    }

    /// Publishes until the hub counts the wanted number of receivers.
    async fn counts(&mut self, wanted: u64) {
        let deadline = Instant::now() + LIMIT;
        let question = json!({"to": "all", "question": self.id});
        loop {
            assert!(Instant::now() < deadline, "never {wanted}: {:#?}", self.log);
            self.publish(&question).await;
            let dialect = self.dialect;
            let counted = self
                .until("its own question", |message| match dialect.told(message) {
                    Told::Published(_, data, clients) if data == question => Some(clients),
                    _ => None,
                })
                .await;
            if counted == Some(wanted) {
                return;
            }
            self.look().await;
        }
    }

    pub async fn signal(&mut self, kind: Kind, to: &str, payload: &Value) {
        let said = self.dialect.signal(kind, &self.id, to, payload);
        self.say(&said).await;
    }

    /// The payload of the next signal of this kind, which has to be from this sender.
    pub async fn hears(&mut self, kind: Kind, from: &str) -> Value {
        let dialect = self.dialect;
        let heard = self.until("a signal", |message| match dialect.told(message) {
            Told::Signal(of, sender, payload) if of == kind => Some((sender, payload)),
            _ => None,
        });
        let (sender, payload) = heard.await;
        assert_eq!(sender, from);
        payload
    }

    pub async fn publish(&mut self, payload: &Value) {
        let said = self.dialect.publish(&self.id, payload);
        self.say(&said).await;
    }

    /// The next payload that this client published, except the questions of `counts`.
    pub async fn hears_published(&mut self, by: &str) -> Value {
        let dialect = self.dialect;
        self.until("something published", |message| {
            match dialect.told(message) {
                Told::Published(from, data, _) if from.as_deref() == Some(by) => {
                    data["question"].is_null().then_some(data)
                }
                _ => None,
            }
        })
        .await
    }

    pub async fn leave(&mut self) {
        let said = self.dialect.leave(&self.id);
        self.say(&said).await;
    }

    /// Stops reading, so that pings are not answered: like a page that has disappeared without closing its connection.
    pub fn falls_silent(&self) {
        self.reader.abort();
    }

    /// Waits until the hub has told this client that the other client left, or until this client finds out by itself.
    pub async fn misses(&mut self, other: &str) {
        let deadline = Instant::now() + LIMIT;
        if self.dialect == Dialect::Yjs {
            return self.counts(1).await;
        }
        let is_told = self.dialect.tells_who_leaves();
        loop {
            assert!(
                Instant::now() < deadline,
                "{other} is still there: {:#?}",
                self.log
            );
            if is_told && self.gone.contains(other) {
                return;
            }
            let dialect = self.dialect;
            let lost = |message: &Value| dialect.told(message) == Told::Undelivered;
            if !is_told && self.waiting.iter().any(lost) {
                return;
            }
            if !is_told {
                self.signal(Kind::Offer, other, &json!("still there?"))
                    .await;
            }
            self.look().await;
        }
    }

    /// Waits until the hub sends an error with this code.
    pub async fn is_told(&mut self, code: &str) {
        let dialect = self.dialect;
        let is_it = |message: &Value| (dialect.code(message) == code).then_some(());
        self.until(code, is_it).await;
    }

    /// Waits until the hub closes the connection. Returns the messages that no story has asked for, and the close code.
    pub async fn is_closed(&mut self) -> (Vec<Value>, u16) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left).await {
                Some(Ok(message)) => self.waiting.push_back(message),
                Some(Err(code)) => {
                    let told = self.waiting.drain(..).collect();
                    return (
                        told,
                        code.unwrap_or_else(|| panic!("no close frame: {:#?}", self.log)),
                    );
                }
                None => panic!("it is not closed: {:#?}", self.log),
            }
        }
    }
}
