//! The innocent peers: two on the attacked hub and one on its neighbour, which send to each other all the time.
//!
//! Owns their connections, on a thread of its own, so that the attackers' computing in this process does not count as
//! a delay of the hub. Every [`TICK`] each peer sends the next peer a signal with a number and the time, and the first
//! peer asks its hub for a pong. Delays are measured. A signal that is lost, doubled, out of order or from a stranger
//! is a fault. The watcher must not know what the attack is.

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

/// The interval at which innocent peers send; well within the default rate limit.
const TICK: Duration = Duration::from_millis(25);
/// Their network, which no attacker enters.
const NETWORK: &str = "the innocent";

type Socket = WebSocketStream<TcpStream>;

/// The measurements of one period.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The longest that a signal or a pong took.
    pub worst: Duration,
    /// The longest delay of the watcher's own timer: the machine's noise, not the hub's.
    pub own: Duration,
    /// How many signals and pongs arrived.
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

/// The three innocent peers, which send until the watcher is dropped.
pub struct Watcher {
    ledger: Arc<Mutex<Ledger>>,
    running: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Connects the three peers and waits until all know each other.
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

    /// Forgets all measurements so far.
    pub fn begin(&self) {
        self.ledger.lock().expect("no panic").seen = Seen::default();
    }

    /// The measurements since [`Self::begin`]. First waits until all messages that are under way have arrived, and
    /// those of three more ticks.
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

    /// Watches for `span`, and gives the measurements.
    pub async fn watch_for(&self, span: Duration) -> Seen {
        self.begin();
        tokio::time::sleep(span).await;
        self.end().await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread may have ended by a panic, which `join` reports.
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
    // The receiver may have stopped waiting.
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

/// Reads until this peer knows all others.
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
