//! A native peer in a task of its own, for tests of the messages that it gets.
//!
//! Owns one client in a task of its own, which reads all the time, as a browser does: it answers pings, and keeps all
//! messages of the hub in order. Invariants: every wait has a limit, and fails with the messages that the peer had
//! heard. A replay of the messages refuses a peer that joins twice, or that leaves and has not joined. The socket
//! closes when the value is dropped. Use it with `mod peer;` beside `mod hub_process;`.
#![allow(dead_code, reason = "every test binary uses a part of its own")]

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use hubmesh_client::{Client, ConnectError, ConnectOptions, Event, PeerId, SignalKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::hub_process::{HubProcess, LIMIT};

/// A connected peer.
pub struct Peer {
    pub id: PeerId,
    network: String,
    heard: Arc<Mutex<Vec<Event>>>,
    count: watch::Receiver<usize>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

enum Order {
    Say(String),
    Goodbye,
}

/// A signal that a peer got from another peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    pub kind: SignalKind,
    pub from: String,
    /// The bytes of `data`.
    pub data: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {:#?}", self.id, self.network, self.log())
    }
}

/// The address at which the peer `id` reaches this hub.
pub fn way_to(hub: &HubProcess, id: &PeerId) -> ConnectOptions {
    let url = hub.ws_url().parse().expect("a hub's own address");
    ConnectOptions {
        id: id.clone(),
        ..ConnectOptions::new(url)
    }
}

impl Peer {
    /// A new peer that is a member of `network`.
    pub async fn join(hub: &HubProcess, network: &str) -> Self {
        Self::join_as(hub, network, PeerId::random()).await
    }

    /// A new member of `network`, with an id of the test's choice.
    pub async fn join_as(hub: &HubProcess, network: &str, id: PeerId) -> Self {
        let peer = Self::ask_to_join(hub, network, id).await;
        peer.fence().await;
        peer
    }

    /// A new peer that has announced itself and does not know yet whether it may stay.
    pub async fn ask_to_join(hub: &HubProcess, network: &str, id: PeerId) -> Self {
        let peer = Self::connect(&way_to(hub, &id), network)
            .await
            .expect("the hub lets the peer in");
        peer.announce("{}").await;
        peer
    }

    /// A connection; the peer is not a member of its network yet.
    pub async fn connect(options: &ConnectOptions, network: &str) -> Result<Self, ConnectError> {
        let client = Client::connect(options).await?;
        let heard = Arc::default();
        let (counting, count) = watch::channel(0);
        let (orders, inbox) = mpsc::channel(64);
        let task = tokio::spawn(live(client, inbox, Arc::clone(&heard), counting));
        Ok(Self {
            id: options.id.clone(),
            network: network.to_owned(),
            heard,
            count,
            orders,
            task,
        })
    }

    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// All messages that the peer has heard so far.
    pub fn log(&self) -> Vec<Event> {
        self.heard.lock().expect("nobody panicked with it").clone()
    }

    // ---- Speaking -----------------------------------------------------------------------------------

    /// Joins its network, or shows other data in it. `data` is JSON.
    pub async fn announce(&self, data: &str) {
        let network = &self.network;
        let text = format!(r#"{{"type":"announce","networkName":"{network}","data":{data}}}"#);
        self.say(text).await;
    }

    /// Sends a signal; `data` is JSON and goes out as it is.
    pub async fn signal(&self, kind: SignalKind, to: &PeerId, data: &str) {
        let network = &self.network;
        self.say(format!(
            r#"{{"type":"{kind}","targetPeerId":"{to}","networkName":"{network}","data":{data}}}"#
        ))
        .await;
    }

    /// Sends `other` an offer, and waits until `other` has the offer as the last of its signals.
    pub async fn reaches(&self, other: &Peer, data: &str) {
        let before = other.signals().len();
        self.signal(SignalKind::Offer, &other.id, data).await;
        let last = other
            .receives(before + 1)
            .await
            .pop()
            .expect("one at least");
        let expected = Handed {
            kind: SignalKind::Offer,
            from: self.id().to_owned(),
            data: data.to_owned(),
        };
        assert_eq!(last, expected);
    }

    /// Sends a text message as it is.
    pub async fn say(&self, text: String) {
        // If the hub has closed the connection, nothing is sent. The waits of the test report the end.
        let _ = self.orders.send(Order::Say(text)).await;
    }

    /// Says goodbye and closes.
    pub async fn goodbye(mut self) {
        let _ = self.orders.send(Order::Goodbye).await;
        let ended = timeout(LIMIT, &mut self.task).await;
        ended.expect("the peer leaves in time").expect("cleanly");
    }

    // ---- Listening ----------------------------------------------------------------------------------

    /// Waits until `look` finds its message among the received messages.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&[Event]) -> Option<T>) -> T {
        let mut count = self.count.clone();
        let watching = async {
            loop {
                count.borrow_and_update();
                if let Some(found) = look(&self.log()) {
                    return Some(found);
                }
                if count.changed().await.is_err() {
                    return look(&self.log());
                }
            }
        };
        match timeout(LIMIT, watching).await {
            Ok(Some(found)) => found,
            _ => panic!("{what}: never came to pass for {self:?}"),
        }
    }

    /// Waits until the hub has handled all messages so far.
    pub async fn fence(&self) {
        let before = pongs(&self.log());
        self.say(r#"{"type":"ping"}"#.to_owned()).await;
        self.until("a pong", |log| (pongs(log) > before).then_some(()))
            .await;
    }

    /// Waits until `other` is on its roster.
    pub async fn sees(&self, other: &PeerId) {
        self.until(&format!("{other} is discovered"), |log| {
            replay(log).contains(other.as_str()).then_some(())
        })
        .await;
    }

    /// Waits until `other` was on its roster and is no longer; gives the reason.
    pub async fn loses(&self, other: &PeerId) -> String {
        self.until(&format!("{other} is gone"), |log| {
            let gone = log.iter().rev().find_map(|event| match event {
                Event::Disconnected { id, reason } if id == other.as_str() => Some(reason.clone()),
                _ => None,
            })?;
            (!replay(log).contains(other.as_str())).then_some(gone)
        })
        .await
    }

    /// The peers that this peer knows of.
    pub fn roster(&self) -> BTreeSet<String> {
        replay(&self.log())
    }

    /// Whether this peer was never told that another peer left.
    pub fn lost_nobody(&self) -> bool {
        let left = |event: &Event| matches!(event, Event::Disconnected { .. });
        !self.log().iter().any(left)
    }

    /// The signals that this peer was handed, in order.
    pub fn signals(&self) -> Vec<Handed> {
        handed(&self.log())
    }

    /// Waits until this peer has got this many signals; gives all of them.
    pub async fn receives(&self, count: usize) -> Vec<Handed> {
        self.until(&format!("{count} signals"), |log| {
            let signals = handed(log);
            (signals.len() >= count).then_some(signals)
        })
        .await
    }

    /// The number of error messages with this code that this peer has got.
    pub fn complaints(&self, code: &str) -> usize {
        complaints(&self.log(), code)
    }

    /// Waits until this peer has got this many error messages with this code.
    pub async fn is_told(&self, code: &str, times: usize) {
        self.until(&format!("{times} errors {code}"), |log| {
            (complaints(log, code) >= times).then_some(())
        })
        .await;
    }

    /// Waits until the hub has closed the connection; gives code and reason.
    pub async fn is_closed(&self) -> (u16, String) {
        self.until("closed by the hub", closed).await
    }

    pub fn is_open(&self) -> bool {
        closed(&self.log()).is_none()
    }
}

/// The roster of a client that believes all messages.
fn replay(log: &[Event]) -> BTreeSet<String> {
    let mut roster = BTreeSet::new();
    for event in log {
        match event {
            Event::Discovered { id, .. } => {
                assert!(
                    roster.insert(id.clone()),
                    "{id} joins while it is there: {log:#?}"
                );
            }
            Event::Disconnected { id, .. } => {
                assert!(
                    roster.remove(id),
                    "{id} leaves without being there: {log:#?}"
                );
            }
            _ => {}
        }
    }
    roster
}

fn handed(log: &[Event]) -> Vec<Handed> {
    log.iter()
        .filter_map(|event| match event {
            Event::Signal {
                kind, from, data, ..
            } => Some(Handed {
                kind: *kind,
                from: from.clone(),
                data: data.get().to_owned(),
            }),
            _ => None,
        })
        .collect()
}

fn pongs(log: &[Event]) -> usize {
    log.iter().filter(|e| matches!(e, Event::Pong)).count()
}

fn complaints(log: &[Event], wanted: &str) -> usize {
    let code = |text: &str| -> Option<String> {
        let message: serde_json::Value = serde_json::from_str(text).ok()?;
        Some(message.get("code")?.as_str()?.to_owned())
    };
    log.iter()
        .filter(
            |event| matches!(event, Event::Error { text, .. } if code(text).as_deref() == Some(wanted)),
        )
        .count()
}

fn closed(log: &[Event]) -> Option<(u16, String)> {
    match log.last()? {
        Event::Closed { code, reason } => Some((*code, reason.clone())),
        _ => None,
    }
}

async fn live(
    mut client: Client,
    mut orders: mpsc::Receiver<Order>,
    heard: Arc<Mutex<Vec<Event>>>,
    counting: watch::Sender<usize>,
) {
    loop {
        tokio::select! {
            event = client.next_event() => {
                let over = matches!(event, Event::Closed { .. });
                heard.lock().expect("nobody panicked with it").push(event);
                counting.send_modify(|count| *count += 1);
                if over {
                    return;
                }
            }
            order = orders.recv() => match order {
                // If the send fails, the next event says how the connection ended.
                Some(Order::Say(text)) => drop(client.send_text(text).await),
                Some(Order::Goodbye) => return client.close().await,
                None => return,
            },
        }
    }
}
