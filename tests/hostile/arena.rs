//! Two linked hubs, innocent peers on both, and the rules that each attack is checked against.
//!
//! **Innocent peers do not have to wait.** The promise is 50 ms. On a machine that runs other programs beside this
//! test, a delay on the wall clock is not always the hub's. Each arena therefore first watches the innocent peers in
//! peace, without an attack. An attack fails only if their worst delay is above 50 ms *and* above [`NOISE`] times the
//! worst in peace. It must be above both in each of [`ROUNDS`] repetitions, and peace is measured again before each
//! repetition. A hub that blocks does so every time; a busy machine does not. All figures are printed.
//!
//! A hub that is built without optimization needs five to ten times the processor time for the same work. Its order
//! of work is the same, and the bound for it is 250 ms. `cargo test --release --test hostile` checks the 50 ms.
//!
//! **The hub lives.** After each attack both hubs run, have logged no panic, answer `/health`, and accept a peer.

use std::time::Duration;

use http::StatusCode;

use crate::hub_process::{HubBuilder, HubProcess, LIMIT};
use crate::raw::{Raw, fresh_id};
use crate::watcher::{Seen, Watcher};

/// The longest delay that innocent peers may see.
const PROMISE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 });
/// A delay above this many times the worst in peace is not the machine's noise.
const NOISE: u32 = 10;
/// The number of rounds in which an attack must delay the innocent peers to count as the cause.
const ROUNDS: usize = 3;
/// How long the innocent peers are watched in peace.
const PEACE: Duration = Duration::from_millis(500);

/// The token that opens `/mesh` of these hubs.
pub const TOKEN: &str = "of-the-mesh-alone";

/// The attacked hub, its neighbour, and the innocent peers.
pub struct Arena {
    pub hub: HubProcess,
    pub neighbour: HubProcess,
    watcher: Watcher,
    peace: Seen,
}

/// A hub whose deadlines are short enough for a test.
pub fn impatient() -> HubBuilder {
    HubProcess::builder()
        .env("HUB_TOKEN", TOKEN)
        .env("HEADER_TIMEOUT_MS", "500")
        .env("ANNOUNCE_TIMEOUT_MS", "500")
}

impl Arena {
    pub async fn open() -> Self {
        Self::around(impatient()).await
    }

    /// Opens an arena in which `attacked` is the attacked hub.
    pub async fn around(attacked: HubBuilder) -> Self {
        Self::between(attacked, |neighbour| neighbour).await
    }

    /// Like [`Self::around`], with a neighbour that `setup` has changed.
    pub async fn between(
        attacked: HubBuilder,
        setup: impl FnOnce(HubBuilder) -> HubBuilder,
    ) -> Self {
        let hub = attacked.start().await;
        let neighbour = setup(hub.neighbour().env("HUB_TOKEN", TOKEN));
        let neighbour = neighbour.start().await;
        let watcher = Watcher::start(&hub, &neighbour).await;
        let peace = watcher.watch_for(PEACE).await;
        println!("in peace: {peace:?}");
        Self {
            hub,
            neighbour,
            watcher,
            peace,
        }
    }

    /// Attacks the hub, and checks the rules.
    pub async fn attack(&mut self, name: &str, attack: impl AsyncFn(&HubProcess)) {
        for round in 1..=ROUNDS {
            self.watcher.begin();
            attack(&self.hub).await;
            let seen = self.watcher.end().await;
            let allowed = PROMISE.max(self.peace.worst * NOISE);
            println!("{name}: {seen:?}, allowed {allowed:?}");
            if seen.worst <= allowed {
                break;
            }
            assert!(
                round < ROUNDS,
                "{name}: the innocent waited {:?} in round {round}, allowed are {allowed:?}",
                seen.worst
            );
            let again = self.watcher.watch_for(PEACE).await;
            self.peace.worst = self.peace.worst.max(again.worst);
        }
        lives(&mut self.hub).await;
        lives(&mut self.neighbour).await;
    }
}

/// Fails unless the hub runs, has not panicked, and serves clients.
pub async fn lives(hub: &mut HubProcess) {
    let status = hub.child.try_wait().expect("the hub can be asked for");
    assert_eq!(status, None, "the hub ended");
    let log = hub.log_lines();
    let panic = log.iter().find(|line| line.contains("panick"));
    assert_eq!(panic, None);
    assert_eq!(hub.http_get("/health").await.status, StatusCode::OK);
    Raw::member(hub, &fresh_id(), "afterwards").await;
}

/// The sum of all series of this name that have all of these labels, such as `reason="binary"`.
pub async fn count(hub: &HubProcess, name: &str, labels: &str) -> u64 {
    let accept = [("accept", "text/plain")];
    let answer = hub.http(http::Method::GET, "/metrics", &accept).await;
    let of_the_name = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
    };
    let values = answer.body.lines().filter(of_the_name).map(|line| {
        let (_, value) = line.rsplit_once(' ').expect("a sample");
        value.parse::<f64>().expect("a number") as u64
    });
    values.sum()
}

/// Runs `act` and waits until the hub has counted at least `times` more in this series.
pub async fn counted<T>(
    hub: &HubProcess,
    (name, labels): (&str, &str),
    times: u64,
    act: impl Future<Output = T>,
) -> T {
    let before = count(hub, name, labels).await;
    let result = act.await;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let began = tokio::time::Instant::now();
    loop {
        tick.tick().await;
        let now = count(hub, name, labels).await;
        if now >= before + times {
            return result;
        }
        assert!(
            began.elapsed() < LIMIT,
            "{name}{{{labels}}} went from {before} to {now} only, not by {times}"
        );
    }
}

/// Runs `one` for `many` attackers at once.
pub async fn crowd<T>(many: usize, one: impl AsyncFn(usize) -> T) -> Vec<T> {
    futures::future::join_all((0..many).map(|place| one(place))).await
}
