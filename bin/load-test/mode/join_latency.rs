//! How long a join takes to be seen: on the neighbour hub where two are given, else by a neighbour on the same hub.
//!
//! Observers sit on the second hub, one to a network. Joiners connect to the first hub at a steady rate, announce
//! themselves into the networks in turn, are seen, and leave; the time runs from the announcement's writing to its
//! sighting. A joiner leaves once it was seen, so that networks stay small and the rate is all that is measured.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::connection::{Connection, Failure, within};
use crate::dialect::Event;
use crate::lab::Lab;
use crate::report::Report;

/// A join that no peer saw for this long is lost.
const UNSEEN: Duration = Duration::from_secs(5);
/// The longest until the first join is seen: the mesh may have to find itself.
const WAY_LIMIT: Duration = Duration::from_secs(30);
/// Joiners under way at once, so that a hub which sees nothing does not use up all files.
const MOST_AT_ONCE: usize = 4_000;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub rate: f64,
    pub observers: usize,
    pub warmup: Duration,
    pub duration: Duration,
}

impl Options {
    /// The most connections that are open at once.
    pub fn connections(&self) -> usize {
        let joins = self.rate * (self.warmup + self.duration).as_secs_f64();
        self.observers + MOST_AT_ONCE.min(joins as usize + 1)
    }
}

/// Which joins are not seen yet, and what was found.
#[derive(Default)]
struct Book {
    waiting: RefCell<HashMap<String, oneshot::Sender<Instant>>>,
    steady: Cell<bool>,
    joined: Cell<u64>,
    seen: Cell<u64>,
    latency: RefCell<Option<Histogram<u64>>>,
}

pub async fn run(lab: &Rc<Lab>, options: &Options) -> Result<Report, Failure> {
    if !lab.dialect.tells_of_peers() {
        let complaint = format!("the {} dialect tells nobody of joins", lab.dialect);
        return Err(Failure::Other(complaint));
    }
    let book = Rc::new(Book::default());
    let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .map_err(|error| Failure::Other(error.to_string()))?;
    book.latency.replace(Some(histogram));
    let mut observers = observe(lab, options.observers, &book).await?;
    let used = tokio::select! {
        used = join_steadily(lab, options, &book) => used?,
        Some(Ok(failure)) = observers.join_next() => return Err(failure),
    };
    Ok(report(lab, options, &book, &used))
}

async fn observe(lab: &Lab, count: usize, book: &Rc<Book>) -> Result<JoinSet<Failure>, Failure> {
    let mut observers = JoinSet::new();
    for network in 0..count {
        let mut peer = lab.open(1, network).await?;
        peer.connection.join();
        peer.connection.flush().await?;
        observers.spawn_local(watch(peer.connection, Rc::clone(book)));
    }
    Ok(observers)
}

async fn watch(mut connection: Connection, book: Rc<Book>) -> Failure {
    let note = |event: &Event| {
        if let Event::Seen(id) = event
            && let Some(waiting) = book.waiting.borrow_mut().remove(id)
        {
            // A joiner that gave up has been counted as lost.
            let _ = waiting.send(Instant::now());
        }
        false
    };
    match connection.wait_for(note).await {
        Ok(()) => Failure::Other("an observer ended before its time".to_owned()),
        Err(failure) => failure,
    }
}

async fn join_steadily(
    lab: &Rc<Lab>,
    options: &Options,
    book: &Rc<Book>,
) -> Result<Vec<crate::process::ProcessUsage>, Failure> {
    wait_for_a_way(lab, book, options).await?;
    let mut joiners = JoinSet::new();
    let began = Instant::now();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / options.rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let bar = lab.progress(
        "joining",
        (options.warmup + options.duration).as_millis() as u64,
    );
    let mut before = None;
    let mut network = 0;
    while began.elapsed() < options.warmup + options.duration {
        ticks.tick().await;
        if before.is_none() && began.elapsed() >= options.warmup {
            before = Some(lab.watched.sample()?);
            book.steady.set(true);
        }
        while let Some(ended) = joiners.try_join_next() {
            ended.unwrap_or_else(|error| Err(Failure::Other(error.to_string())))?;
        }
        if joiners.len() < MOST_AT_ONCE {
            let joiner = join_once(Rc::clone(lab), Rc::clone(book), network % options.observers);
            joiners.spawn_local(joiner);
            network += 1;
        }
        bar.set_position(began.elapsed().as_millis() as u64);
    }
    bar.finish_and_clear();
    let used = lab.watched.sample()?.since(&before.unwrap_or_default());
    while let Some(ended) = joiners.join_next().await {
        ended.unwrap_or_else(|error| Err(Failure::Other(error.to_string())))?;
    }
    Ok(used)
}

/// Joins until every network's observer saw it once.
async fn wait_for_a_way(lab: &Rc<Lab>, book: &Rc<Book>, options: &Options) -> Result<(), Failure> {
    let all = async {
        for network in 0..options.observers {
            let seen = book.seen.get();
            while book.seen.get() == seen {
                join_once(Rc::clone(lab), Rc::clone(book), network).await?;
            }
        }
        Ok(())
    };
    within(WAY_LIMIT, "for a join to be seen by its observer", all).await?;
    book.joined.set(0);
    book.seen.set(0);
    Ok(())
}

async fn join_once(lab: Rc<Lab>, book: Rc<Book>, network: usize) -> Result<(), Failure> {
    let mut peer = lab.open(0, network).await?;
    let id = peer.id.to_string();
    let (waiting, sighting) = oneshot::channel();
    book.waiting.borrow_mut().insert(id.clone(), waiting);
    let steady = book.steady.get();
    peer.connection.join();
    let sent = Instant::now();
    peer.connection.flush().await?;
    book.joined.set(book.joined.get() + 1);
    let seen = tokio::select! {
        seen = timeout(UNSEEN, sighting) => seen,
        failure = peer.connection.idle() => return Err(failure),
    };
    book.waiting.borrow_mut().remove(&id);
    if let Ok(Ok(at)) = seen {
        book.seen.set(book.seen.get() + 1);
        if let Some(latency) = book.latency.borrow_mut().as_mut().filter(|_| steady) {
            let nanos = at.saturating_duration_since(sent).as_nanos();
            latency.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
    }
    peer.connection.leave();
    peer.connection.flush().await
}

fn report(
    lab: &Lab,
    options: &Options,
    book: &Book,
    used: &[crate::process::ProcessUsage],
) -> Report {
    let mut report = Report::new(format!(
        "join latency: {} joins/s into {} networks, {}",
        options.rate,
        options.observers,
        lab.hubs()
    ));
    let (joined, seen) = (book.joined.get(), book.seen.get());
    report.count("joined", "joins", joined);
    report.count("seen", "seen", seen);
    report.count(
        "lost",
        "never seen (joins − seen)",
        joined.saturating_sub(seen),
    );
    if let Some(latency) = book.latency.borrow().as_ref() {
        report.latency(latency);
        report.servers(used, latency.len(), "join, seen and left again");
    }
    report
}
