//! Hubs that are replaced one after the other while their clients talk: no message is lost unnoticed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::pair;
use crate::hub_process::{HubBuilder, eventually};

const CLIENTS: usize = 20;
/// The number of messages that a client sends before it reads again. It may send them while a close is on its way to
/// it.
const BLIND: u64 = 4;
/// The time between two messages of a client.
const PACE: Duration = Duration::from_millis(2);

/// The hub at which clients connect now, and whether they talk.
#[derive(Clone)]
struct Stage {
    url: String,
    talk: bool,
}

/// The messages that one client sent and received.
#[derive(Default, Debug)]
struct Diary {
    sent: u64,
    moves: usize,
    heard: BTreeMap<u64, usize>,
    errors: Vec<Value>,
}

impl Diary {
    fn enter(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        match message["payload"].as_u64() {
            Some(number) => *self.heard.entry(number).or_default() += 1,
            None if message["type"] == "OPEN" => {}
            None => self.errors.push(message),
        }
    }
}

type Diaries = Arc<Vec<Mutex<Diary>>>;

async fn open(url: &str, me: usize) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let url = format!("{url}/peerjs?key=peerjs&id=peer-{me}&token=secret-{me}");
    connect_async(url).await.expect("the hub lets it in").0
}

/// Talks to its partner at a pace and records all messages. When its hub sends it away, it connects to the hub of
/// `stage`.
async fn live(me: usize, stage: watch::Receiver<Stage>, diaries: Diaries) {
    let now = || stage.borrow().clone();
    let diary = || diaries[me].lock().expect("nobody panicked with it");
    let mut socket = open(&now().url, me).await;
    loop {
        for _ in 0..BLIND {
            sleep(PACE).await;
            if !now().talk {
                continue;
            }
            let number = diary().sent;
            let message =
                json!({"type": "CANDIDATE", "payload": number, "dst": format!("peer-{}", me ^ 1)});
            let sent = socket.send(Message::text(message.to_string())).await;
            diary().sent += u64::from(sent.is_ok());
        }
        while let Some(read) = socket.next().now_or_never() {
            match read {
                Some(Ok(Message::Text(text))) => diary().enter(&text),
                Some(Ok(_)) => {}
                // The client has answered the close.
                Some(Err(_)) | None => {
                    diary().moves += 1;
                    socket = open(&now().url, me).await;
                }
            }
        }
    }
}

/// The number of clients that have been sent away at least this number of times.
fn moved(diaries: &Diaries, times: usize) -> usize {
    let diaries = diaries.iter().map(|diary| diary.lock().expect("sound"));
    diaries.filter(|diary| diary.moves >= times).count()
}

/// Whether a client has received all messages of its partner, or the partner knows that it has not. A message that
/// arrives twice is always an error.
fn is_accounted_for(diaries: &Diaries, me: usize) -> bool {
    let (sent, told) = {
        let partner = diaries[me ^ 1].lock().expect("sound");
        (partner.sent, !partner.errors.is_empty())
    };
    let heard = &diaries[me].lock().expect("sound").heard;
    let twice: Vec<_> = heard.iter().filter(|(_, times)| **times > 1).collect();
    assert!(
        twice.is_empty(),
        "{me} heard these more than once: {twice:?}"
    );
    told || heard.keys().copied().eq(0..sent)
}

#[tokio::test]
async fn what_clients_say_while_hub_after_hub_is_replaced_arrives_once_and_whole() {
    let drain = |hub: HubBuilder| hub.env("DRAIN_MS", "500").env("RATE_LIMIT_PER_SEC", "0");
    let [mut first, mut second] = pair(drain).await;
    let (set, stage) = watch::channel(Stage {
        url: first.ws_url(),
        talk: true,
    });
    let diaries: Diaries = Arc::new((0..CLIENTS).map(|_| Mutex::default()).collect());
    let mut clients = tokio::task::JoinSet::new();
    for me in 0..CLIENTS {
        clients.spawn(live(me, stage.clone(), Arc::clone(&diaries)));
    }
    eventually("all talk", async || {
        (0..CLIENTS).all(|me| !diaries[me].lock().expect("sound").heard.is_empty())
    })
    .await;

    set.send_modify(|stage| stage.url = second.ws_url());
    first.terminate();
    eventually("all have moved", async || moved(&diaries, 1) == CLIENTS).await;
    assert_eq!(first.wait_exit().await.code(), Some(0));
    let third = drain(second.neighbour()).start().await;
    third.reaches_hubs(1).await;
    set.send_modify(|stage| stage.url = third.ws_url());
    second.terminate();
    eventually("all have moved again", async || {
        moved(&diaries, 2) == CLIENTS
    })
    .await;
    assert_eq!(second.wait_exit().await.code(), Some(0));

    set.send_modify(|stage| stage.talk = false);
    eventually("all is heard, or known not to be", async || {
        (0..CLIENTS).all(|me| is_accounted_for(&diaries, me))
    })
    .await;
    let errors = diaries
        .iter()
        .map(|d| d.lock().expect("sound").errors.len());
    assert!(errors.sum::<usize>() <= 1, "next to nothing fails");
}
