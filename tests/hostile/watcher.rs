//! The innocent: two peers on the attacked hub and one on its neighbour, who talk to each other all the time.
//!
//! Owns their connections, on a thread of its own, so that what the attackers compute in this process does not
//! count as a delay of the hub. Every [`TICK`] each of them sends a signal with its number and the time to the next
//! one, and the first asks its hub for a pong. What is late is measured; what is lost, doubled, out of order or from
//! a stranger is a fault. Must not know what the attack is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::hub_process::{HubProcess, LIMIT};
use crate::raw::fresh_id;

/// How often the innocent send; well within the default rate limit.
const TICK: Duration = Duration::from_millis(25);
/// Their network, which no attacker enters.
const NETWORK: &str = "the innocent";

type Socket = WebSocketStream<TcpStream>;

/// What was seen in a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The longest that a signal or a pong took.
    pub worst: Duration,
    /// How late the watcher's own clock rang at worst: the machine's noise, not the hub's.
    pub own: Duration,
    /// How many signals and pongs came.
    pub samples: u64,
}

#[derive(Default)]
struct Ledger {
    seen: Seen,
    sent: u64,
    received: u64,
    pings: VecDeque<Instant>,
    faults: Vec<String>,
}

impl Ledger {
    fn took(&mut self, delay: Duration) {
        self.received += 1;
        self.seen.samples += 1;
        self.seen.worst = self.seen.worst.max(delay);
    }
}

/// The three, at it until dropped.
pub struct Watcher {
    ledger: Arc<Mutex<Ledger>>,
    running: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Connects them and waits until they all know each other.
    pub async fn start(hub: &HubProcess, neighbour: &HubProcess) -> Self {
        let homes = [hub.ws_url(), hub.ws_url(), neighbour.ws_url()];
        let ledger = Arc::<Mutex<Ledger>>::default();
        let (running, stopped) = watch::channel(true);
        let (ready, met) = tokio::sync::oneshot::channel();
        let kept = Arc::clone(&ledger);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(watch(homes, kept, stopped, ready));
        });
        timeout(LIMIT, met)
            .await
            .expect("the innocent meet in time")
            .expect("the innocent meet");
        let thread = Some(thread);
        Self {
            ledger,
            running,
            thread,
        }
    }

    /// Forgets what was seen so far.
    pub fn begin(&self) {
        self.ledger.lock().expect("no panic").seen = Seen::default();
    }

    /// What was seen since, once all that was under way by now has come, and at least a few rounds have.
    pub async fn end(&self) -> Seen {
        let (sent, target) = {
            let ledger = self.ledger.lock().expect("no panic");
            (ledger.sent, ledger.sent + 3 * 4)
        };
        let began = Instant::now();
        let mut tick = interval(TICK);
        loop {
            tick.tick().await;
            let ledger = self.ledger.lock().expect("no panic");
            assert!(ledger.faults.is_empty(), "{:?}", ledger.faults);
            if ledger.received >= target {
                return ledger.seen;
            }
            let (waited, received) = (began.elapsed(), ledger.received);
            assert!(
                waited < LIMIT,
                "of {sent} messages sent, {received} came in {waited:?}"
            );
        }
    }

    /// Watches for this long.
    pub async fn watch_for(&self, span: Duration) -> Seen {
        self.begin();
        tokio::time::sleep(span).await;
        self.end().await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread may have ended by a panic, which its join tells.
        let _ = self.running.send(false);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("an innocent peer failed");
        }
    }
}

struct Innocent {
    id: String,
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
}

async fn watch(
    homes: [String; 3],
    ledger: Arc<Mutex<Ledger>>,
    mut stopped: watch::Receiver<bool>,
    ready: tokio::sync::oneshot::Sender<()>,
) {
    let began = Instant::now();
    let mut innocents = Vec::new();
    for home in homes {
        innocents.push(join(&home).await);
    }
    let ids: Vec<String> = innocents.iter().map(|one| one.id.clone()).collect();
    let mut readers = tokio::task::JoinSet::new();
    let mut sinks = Vec::new();
    for (place, mut one) in innocents.into_iter().enumerate() {
        meet(&mut one, &ids).await;
        let sender = ids[(place + 2) % 3].clone();
        let known = ids.clone();
        let ledger = Arc::clone(&ledger);
        readers.spawn(async move { listen(one.stream, &sender, &known, began, &ledger).await });
        sinks.push(one.sink);
    }
    // Whoever waited may have given up.
    let _ = ready.send(());
    tokio::select! {
        () = talk(&mut sinks, &ids, began, &ledger) => {}
        _ = stopped.wait_for(|running| !running) => {}
    }
}

async fn join(home: &str) -> Innocent {
    let id = fresh_id();
    let address = home.trim_start_matches("ws://");
    let stream = TcpStream::connect(address).await.expect("the hub listens");
    stream.set_nodelay(true).expect("a fresh socket");
    let url = format!("{home}/ws?peerId={id}");
    let (socket, _) = client_async(url, stream).await.expect("a WebSocket");
    let (mut sink, stream) = socket.split();
    let announce = json!({"type": "announce", "networkName": NETWORK, "data": {}});
    sink.send(Message::text(announce.to_string()))
        .await
        .expect("a live hub");
    Innocent { id, sink, stream }
}

/// Reads until all others are known.
async fn meet(one: &mut Innocent, ids: &[String]) {
    let mut missing: Vec<&String> = ids.iter().filter(|id| **id != one.id).collect();
    while !missing.is_empty() {
        let message = next(&mut one.stream).await.expect("a live hub");
        if message["type"] == "peer-discovered" {
            missing.retain(|id| message["data"]["peerId"] != **id);
        }
    }
}

async fn next(stream: &mut SplitStream<Socket>) -> Option<Value> {
    loop {
        match stream.next().await?.ok()? {
            Message::Text(text) => return serde_json::from_str(&text).ok(),
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return None,
        }
    }
}

async fn talk(
    sinks: &mut [SplitSink<Socket, Message>],
    ids: &[String],
    began: Instant,
    ledger: &Mutex<Ledger>,
) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u64.. {
        let due = tick.tick().await;
        let late = tokio::time::Instant::now() - due;
        for (place, sink) in sinks.iter_mut().enumerate() {
            let micros = u64::try_from(began.elapsed().as_micros()).expect("a short test");
            let signal = json!({
                "type": "ice-candidate",
                "networkName": NETWORK,
                "targetPeerId": ids[(place + 1) % 3],
                "data": {"number": number, "at": micros},
            });
            ledger.lock().expect("no panic").sent += 1;
            let sent = sink.send(Message::text(signal.to_string())).await;
            note(ledger, sent.is_ok(), || {
                format!("innocent {place} cannot send")
            });
        }
        {
            let mut ledger = ledger.lock().expect("no panic");
            ledger.sent += 1;
            ledger.pings.push_back(Instant::now());
            ledger.seen.own = ledger.seen.own.max(late);
        }
        let ping = json!({"type": "ping", "networkName": NETWORK}).to_string();
        let sent = sinks[0].send(Message::text(ping)).await;
        note(ledger, sent.is_ok(), || "no ping can be sent".to_owned());
    }
}

fn note(ledger: &Mutex<Ledger>, fine: bool, fault: impl FnOnce() -> String) {
    if !fine {
        ledger.lock().expect("no panic").faults.push(fault());
    }
}

async fn listen(
    mut stream: SplitStream<Socket>,
    sender: &str,
    known: &[String],
    began: Instant,
    ledger: &Mutex<Ledger>,
) {
    let mut expected = 0;
    while let Some(message) = next(&mut stream).await {
        let mut ledger = ledger.lock().expect("no panic");
        match message["type"].as_str() {
            Some("pong") => {
                let Some(asked) = ledger.pings.pop_front() else {
                    ledger.faults.push("a pong nobody asked for".to_owned());
                    continue;
                };
                ledger.took(asked.elapsed());
            }
            Some("ice-candidate") if message["fromPeerId"] == *sender => {
                let number = message["data"]["number"].as_u64();
                if number != Some(expected) {
                    let fault = format!("number {expected} was due: {message}");
                    ledger.faults.push(fault);
                }
                expected = number.unwrap_or(expected) + 1;
                let at = Duration::from_micros(message["data"]["at"].as_u64().unwrap_or(0));
                ledger.took(began.elapsed().saturating_sub(at));
            }
            Some("peer-discovered") if known.iter().any(|id| message["data"]["peerId"] == **id) => {
            }
            _ => ledger.faults.push(format!("unexpected: {message}")),
        }
    }
    note(ledger, false, || {
        "an innocent peer's connection ended".to_owned()
    });
}
