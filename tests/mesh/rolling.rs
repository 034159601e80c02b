//! Three hubs are replaced one after the other behind a proxy that reads `/ready`, while pairs of peers talk. The
//! sender is told of each accepted signal that is lost. At most one signal in a hundred fails.
//!
//! The test plays the proxy: it asks each hub as a proxy does, and sends newcomers to the hubs that are ready. A peer
//! that is sent away connects to the next of these hubs. `HUBMESH_PAIRS` and `HUBMESH_PACE_MS` set the number of pairs
//! and their pace.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubmesh_client::{Client, ConnectOptions, Event, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::stage::{Site, all_linked, eventually, sound};

/// The number of pairs in one network.
const PAIRS_IN_A_NETWORK: usize = 10;
/// How often the proxy asks each hub, and how long it waits for the answer.
const ASK_EVERY: Duration = Duration::from_millis(100);
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// The time that a peer waits after it was turned away.
const TRY_AGAIN: Duration = Duration::from_millis(50);

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |text| text.parse().expect("a number"))
}

// ---- The proxy ------------------------------------------------------------------------------------------

/// Whether a hub says that it accepts peers.
async fn is_ready(at: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        let request = b"GET /ready HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.starts_with("HTTP/1.1 200"))
    };
    let answer = timeout(ANSWERS_WITHIN, asking).await;
    answer.ok().flatten().unwrap_or(false)
}

/// Keeps the list of the hubs that accept peers up to date.
async fn follow(hubs: Vec<SocketAddr>, ready: watch::Sender<Vec<SocketAddr>>) {
    let mut rounds = interval(ASK_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let asked = hubs
            .iter()
            .map(|hub| async { (*hub, is_ready(*hub).await) });
        let answers = futures::future::join_all(asked).await;
        let takes = answers.into_iter().filter(|(_, is_ready)| *is_ready);
        ready.send_replace(takes.map(|(hub, _)| hub).collect());
    }
}

// ---- The peers ------------------------------------------------------------------------------------------

/// The messages that one peer sent and received.
#[derive(Default)]
struct Diary {
    sent: u64,
    heard: BTreeMap<u64, usize>,
    errors: Vec<String>,
    moves: usize,
    turned_away: usize,
}

/// The outcome of all signals.
#[derive(Default, Debug, PartialEq, Eq)]
struct Sum {
    sent: u64,
    lost: u64,
    twice: u64,
    failed: usize,
    moves: usize,
    turned_away: usize,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} signals: {} lost, {} twice, {} told to have failed; {} moves, turned away {} times",
            self.sent, self.lost, self.twice, self.failed, self.moves, self.turned_away
        )
    }
}

type Diaries = Arc<Vec<Mutex<Diary>>>;

fn sum(diaries: &Diaries) -> Sum {
    let mut sum = Sum::default();
    for me in 0..diaries.len() {
        let sent = diaries[me ^ 1].lock().expect("sound").sent;
        let mine = diaries[me].lock().expect("sound");
        let heard = u64::try_from(mine.heard.len()).expect("few");
        sum.sent += sent;
        sum.lost += sent.saturating_sub(heard);
        sum.twice += mine
            .heard
            .values()
            .map(|times| *times as u64 - 1)
            .sum::<u64>();
        sum.failed += mine.errors.len();
        sum.moves += mine.moves;
        sum.turned_away += mine.turned_away;
    }
    sum
}

/// One peer. It lives until the test ends.
struct Talker {
    me: usize,
    ids: Arc<Vec<PeerId>>,
    ready: watch::Receiver<Vec<SocketAddr>>,
    talk: watch::Receiver<bool>,
    diaries: Diaries,
}

impl Talker {
    fn diary(&self) -> std::sync::MutexGuard<'_, Diary> {
        self.diaries[self.me]
            .lock()
            .expect("nobody panicked with it")
    }

    fn network(&self) -> String {
        format!("rolling-{}", self.me / 2 / PAIRS_IN_A_NETWORK)
    }

    /// Tries until it is connected to a hub that is ready, and announces itself.
    async fn connect(&self) -> Client {
        for turn in self.me.. {
            let ready = self.ready.borrow().clone();
            if let Some(hub) = ready.get(turn % ready.len().max(1)) {
                let url = format!("ws://{hub}").parse().expect("an address");
                let mut options = ConnectOptions::new(url);
                options.id = self.ids[self.me].clone();
                if let Ok(mut client) = Client::connect(&options).await {
                    let network = self.network();
                    let text =
                        format!(r#"{{"type":"announce","networkName":"{network}","data":{{}}}}"#);
                    if client.send_text(text).await.is_ok() {
                        return client;
                    }
                }
                self.diary().turned_away += 1;
            }
            sleep(TRY_AGAIN).await;
        }
        unreachable!("there is always a next turn")
    }

    fn hear(&self, event: &Event) {
        match event {
            Event::Signal { data, .. } => {
                let number = data.get().parse().expect("a number");
                *self.diary().heard.entry(number).or_default() += 1;
            }
            Event::Error { text, .. } => self.diary().errors.push(text.clone()),
            _ => {}
        }
    }

    async fn say(&self, client: &mut Client) {
        let (number, to, network) = (self.diary().sent, &self.ids[self.me ^ 1], self.network());
        let text = format!(
            r#"{{"type":"ice-candidate","targetPeerId":"{to}","networkName":"{network}","data":{number}}}"#
        );
        let sent = client.send_text(text).await.is_ok();
        self.diary().sent += u64::from(sent);
    }

    /// Talks to its partner, and connects to another hub whenever it is sent away.
    async fn live(self, pace: Duration) {
        let mut client = self.connect().await;
        let mut turns = interval(pace);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = client.next_event() => match event {
                    Event::Closed { .. } => {
                        self.diary().moves += 1;
                        client = self.connect().await;
                    }
                    event => self.hear(&event),
                },
                _ = turns.tick() => {
                    if *self.talk.borrow() {
                        self.say(&mut client).await;
                    }
                }
            }
        }
    }
}

// ---- The test -------------------------------------------------------------------------------------------

async fn three_hubs() -> [Site; 3] {
    let sites = [Site::new().await, Site::new().await, Site::new().await];
    let urls = sites.each_ref().map(Site::url).join(",");
    let mut sites = sites.map(|site| {
        site.env("BOOTSTRAP_HUBS", urls.as_str())
            .env("DRAIN_MS", "1000")
            .env("DRAIN_PAUSE_MS", "1000")
            .env("READY_TIMEOUT_MS", "600000")
    });
    for site in &mut sites {
        site.start().await;
    }
    all_linked(&[&sites[0], &sites[1], &sites[2]]).await;
    sites
}

#[tokio::test]
async fn no_signal_is_lost_while_hubs_behind_a_proxy_are_replaced() {
    let peers = 2 * usize::try_from(number("HUBMESH_PAIRS", 20)).expect("few");
    let pace = Duration::from_millis(number("HUBMESH_PACE_MS", 50));
    let mut sites = three_hubs().await;
    let (asking, ready) = watch::channel(Vec::new());
    let (talks, talk) = watch::channel(true);
    let diaries: Diaries = Arc::new((0..peers).map(|_| Mutex::default()).collect());
    let ids: Arc<Vec<PeerId>> = Arc::new((0..peers).map(|_| PeerId::random()).collect());
    let mut tasks = JoinSet::new();
    let addresses = sites.each_ref().map(|site| site.front.addr());
    tasks.spawn(follow(addresses.to_vec(), asking));
    for me in 0..peers {
        let (ids, ready, talk) = (Arc::clone(&ids), ready.clone(), talk.clone());
        let diaries = Arc::clone(&diaries);
        let talker = Talker {
            me,
            ids,
            ready,
            talk,
            diaries,
        };
        tasks.spawn(talker.live(pace));
    }
    let hears = |diary: &Mutex<Diary>| !diary.lock().expect("sound").heard.is_empty();
    eventually("all talk", async || diaries.iter().all(hears)).await;

    for site in &mut sites {
        let address = site.front.addr();
        site.retire().await;
        site.start().await;
        eventually("the new hub is ready", async || {
            ready.borrow().contains(&address)
        })
        .await;
    }
    talks.send_replace(false);
    eventually("all is heard, or told to have failed", async || {
        let now = sum(&diaries);
        now.lost <= u64::try_from(now.failed).expect("few")
    })
    .await;
    let end = sum(&diaries);
    println!(
        "{} pairs, one signal each in {pace:?} each way: {end}",
        peers / 2
    );
    let diaries = diaries.iter().map(|diary| diary.lock().expect("sound"));
    let error = diaries.flat_map(|diary| diary.errors.clone()).next();
    assert_eq!(end.twice, 0, "{end}");
    // On a machine under heavy load, a peer may be away for longer than signals wait.
    assert!(end.failed as u64 * 100 <= end.sent, "{end}: {error:?}");
    assert!(end.moves >= peers, "all hubs were replaced: {end}");
    sound(&[&sites[0], &sites[1], &sites[2]]).await;
}
