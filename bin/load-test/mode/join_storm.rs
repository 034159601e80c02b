//! A join storm: many peers join one network, at once or one after the other, and each is told of all others.
//!
//! All are connected before the clock starts, so what counts is the telling. `n` peers make n·(n−1) `peer-discovered` frames; the storm is over when
//! all have come, or when none has come for a while (a hub with a discovery limit sends fewer, which is counted and
//! said).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::connection::{Connection, Failure};
use crate::dialect::Event;
use crate::lab::Lab;
use crate::report::Report;

/// When no frame came for this long, no more will come.
const SILENCE: Duration = Duration::from_secs(2);
/// How often the count is looked at.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub peers: usize,
    /// The joins come evenly over this time; none: all at once.
    pub spread: Duration,
    pub limit: Duration,
}

pub async fn run(lab: &Lab, options: &Options) -> Result<Report, Failure> {
    if !lab.dialect.tells_of_peers() {
        let complaint = format!("the {} dialect tells nobody of joins", lab.dialect);
        return Err(Failure::Other(complaint));
    }
    let peers = lab.open_many(options.peers, options.peers).await?;
    let seen = Rc::new(Cell::new(0));
    let before = lab.watched.sample()?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (turn, peer) in (0..).zip(peers) {
        let at = began + options.spread * turn / options.peers.max(1) as u32;
        tasks.spawn_local(join_and_count(at, peer.connection, Rc::clone(&seen)));
    }
    let expected = options.peers as u64 * (options.peers as u64).saturating_sub(1);
    let settled = tokio::select! {
        settled = wait(lab, &seen, expected, options) => settled,
        Some(Ok(failure)) = tasks.join_next() => return Err(failure),
    };
    let used = lab.watched.sample()?.since(&before);

    let title = format!(
        "join storm: {} peers into one network{}, {}",
        options.peers,
        pace(options.spread),
        lab.hubs()
    );
    let mut report = Report::new(title);
    report.count("peers", "peers", options.peers as u64);
    report.count("frames", "peer-discovered frames", seen.get());
    report.count(
        "frames_missing",
        "frames short of all-to-all",
        expected.saturating_sub(seen.get()),
    );
    let took = settled.saturating_duration_since(began);
    report.figure(
        "took_ms",
        "until the last frame",
        took.as_secs_f64() * 1e3,
        "ms",
    );
    report.servers(&used, seen.get(), "peer-discovered frame");
    Ok(report)
}

/// Joins at this moment. What comes before it is read then.
async fn join_and_count(at: Instant, mut connection: Connection, seen: Rc<Cell<u64>>) -> Failure {
    sleep_until(at).await;
    connection.join();
    if let Err(failure) = connection.flush().await {
        return failure;
    }
    let count = |event: &Event| {
        if matches!(event, Event::Seen(_)) {
            seen.set(seen.get() + 1);
        }
        false
    };
    match connection.wait_for(count).await {
        Ok(()) => Failure::Other("a peer ended before its time".to_owned()),
        Err(failure) => failure,
    }
}

fn pace(spread: Duration) -> String {
    match spread {
        Duration::ZERO => " at once".to_owned(),
        spread => format!(" within {spread:?}"),
    }
}

/// The moment of the last frame.
async fn wait(lab: &Lab, seen: &Cell<u64>, expected: u64, options: &Options) -> Instant {
    let bar = lab.progress("storming", expected);
    let end = Instant::now() + options.spread + options.limit;
    // Before the second peer has joined there is nothing to see.
    let patience = SILENCE + options.spread / options.peers.max(1) as u32;
    let (mut last, mut at) = (0, Instant::now());
    while seen.get() < expected && at.elapsed() < patience && Instant::now() < end {
        sleep(LOOK).await;
        if seen.get() != last {
            (last, at) = (seen.get(), Instant::now());
            bar.set_position(last);
        }
    }
    bar.finish_and_clear();
    if seen.get() == last {
        at
    } else {
        Instant::now()
    }
}
