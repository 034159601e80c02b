//! Pairs of peers relay candidates through the server: paced, or saturated.
//!
//! Each pair is one task: its sender on the first hub, its receiver on the other where there are two. Before anything
//! counts, every pair probes until a candidate arrives, so that no run measures a mesh that is still finding itself.
//! Then a warm-up, a steady phase that is measured, and a drain. Invariant: sent = received + lost, over all of the run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{Failure, within};
use crate::dialect::{Candidate, Event};
use crate::lab::{Lab, Peer};
use crate::report::Report;
use crate::stamp::Stamp;

/// The longest that the first candidate of a pair may take: the mesh may have to find itself.
const WAY_LIMIT: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// How long messages under way at the end may still arrive.
const DRAIN: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub pairs: usize,
    pub bytes: usize,
    pub load: Load,
    pub warmup: Duration,
    pub duration: Duration,
}

#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// This many messages a second of all pairs together, evenly spread over the pairs and over time.
    Paced(f64),
    /// This many messages of each pair under way at any time.
    Saturated(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warmup,
    Steady,
    Drain,
}

/// What all pairs count together.
struct Tally {
    phase: Cell<Phase>,
    sent: Cell<u64>,
    received: Cell<u64>,
    out_of_order: Cell<u64>,
    complaints: Cell<u64>,
    first_complaint: RefCell<Option<String>>,
    latency: RefCell<Histogram<u64>>,
}

struct Pair {
    sender: Peer,
    receiver: Peer,
    candidate: Candidate,
    tally: Rc<Tally>,
    load: Load,
    /// Between two messages of a paced pair.
    interval: Duration,
    next_send: Instant,
    sent: u32,
    expected: u32,
    in_flight: u32,
    /// Probes that were lost, and of which the sender may still be told.
    lost_probes: u32,
}

pub async fn run(lab: &Lab, options: &Options) -> Result<Report, Failure> {
    let mut peers = lab.open_many(options.pairs * 2, 2).await?;
    lab.join_all(&mut peers).await?;
    let tally = Rc::new(Tally::new()?);
    let start = Instant::now() + Duration::from_millis(50);
    let mut pairs = pair_up(peers, options, &tally, start);
    probe_all(lab, &mut pairs).await?;

    let mut tasks = JoinSet::new();
    for pair in pairs {
        tasks.spawn_local(pair.run());
    }
    let measured = measure(lab, options, &tally, &mut tasks).await?;
    drain(&mut tasks).await?;
    Ok(report(lab, options, &tally, &measured))
}

/// What the steady phase was.
struct Measured {
    used: Vec<crate::process::ProcessUsage>,
    received: u64,
    took: Duration,
}

async fn measure(
    lab: &Lab,
    options: &Options,
    tally: &Tally,
    tasks: &mut JoinSet<Result<(), Failure>>,
) -> Result<Measured, Failure> {
    let steady = async {
        lab.pass("warming up", options.warmup).await;
        let before = lab.watched.sample()?;
        let (received, began) = (tally.received.get(), Instant::now());
        tally.phase.set(Phase::Steady);
        lab.pass("measuring", options.duration).await;
        tally.phase.set(Phase::Drain);
        Ok(Measured {
            used: lab.watched.sample()?.since(&before),
            received: tally.received.get() - received,
            took: began.elapsed(),
        })
    };
    tokio::select! {
        measured = steady => measured,
        // No pair ends before the drain unless its connection broke.
        ended = tasks.join_next() => match ended {
            Some(Ok(Err(failure))) => Err(failure),
            _ => Err(Failure::Other("a pair ended before its time".to_owned())),
        },
    }
}

/// Lets what is under way arrive.
async fn drain(tasks: &mut JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap_or_else(|error| Err(Failure::Other(error.to_string())))?;
        }
        Ok(())
    };
    // What has not arrived by then is lost, and the report says so.
    timeout(DRAIN, all).await.unwrap_or(Ok(()))
}

fn pair_up(peers: Vec<Peer>, options: &Options, tally: &Rc<Tally>, start: Instant) -> Vec<Pair> {
    let interval = match options.load {
        Load::Paced(rate) => Duration::from_secs_f64(options.pairs as f64 / rate),
        Load::Saturated(_) => Duration::ZERO,
    };
    let mut peers = peers.into_iter();
    let mut pairs = Vec::with_capacity(options.pairs);
    while let (Some(sender), Some(receiver)) = (peers.next(), peers.next()) {
        let share = pairs.len() as f64 / options.pairs as f64;
        pairs.push(Pair {
            candidate: sender
                .connection
                .codec()
                .candidate(&receiver.id, options.bytes),
            sender,
            receiver,
            tally: Rc::clone(tally),
            load: options.load,
            interval,
            next_send: start + interval.mul_f64(share),
            sent: 0,
            expected: 0,
            in_flight: 0,
            lost_probes: 0,
        });
    }
    pairs
}

async fn probe_all(lab: &Lab, pairs: &mut [Pair]) -> Result<(), Failure> {
    let bar = lab.progress("probing", pairs.len() as u64);
    let probing = futures::future::try_join_all(pairs.iter_mut().map(Pair::probe));
    let done = within(WAY_LIMIT, "for a candidate to reach its receiver", probing).await;
    bar.finish_and_clear();
    done.map(drop)
}

impl Tally {
    fn new() -> Result<Self, Failure> {
        // Nanoseconds up to a minute, to three digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Self {
            phase: Cell::new(Phase::Warmup),
            sent: Cell::new(0),
            received: Cell::new(0),
            out_of_order: Cell::new(0),
            complaints: Cell::new(0),
            first_complaint: RefCell::new(None),
            latency: RefCell::new(latency),
        })
    }

    fn arrived(&self, stamp: Stamp) {
        bump(&self.received);
        if self.phase.get() == Phase::Steady {
            let nanos = u64::try_from(stamp.age().as_nanos()).unwrap_or(u64::MAX);
            self.latency.borrow_mut().saturating_record(nanos);
        }
    }

    fn complained(&self, complaint: &str) {
        bump(&self.complaints);
        let mut first = self.first_complaint.borrow_mut();
        first.get_or_insert_with(|| complaint.to_owned());
    }
}

fn bump(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

impl Pair {
    /// Sends probes until one arrives.
    async fn probe(&mut self) -> Result<(), Failure> {
        let arrived = |event: &Event| matches!(event, Event::Arrived(stamp) if stamp.is_probe());
        loop {
            self.sender
                .connection
                .send(&mut self.candidate, Stamp::probe());
            self.sender.connection.flush().await?;
            let waiting = self.receiver.connection.wait_for(arrived);
            if let Ok(done) = timeout(PROBE_EVERY, waiting).await {
                return done;
            }
            self.lost_probes += 1;
        }
    }

    async fn run(mut self) -> Result<(), Failure> {
        let (mut events, mut answers) = (Vec::new(), Vec::new());
        if let Load::Saturated(in_flight) = self.load {
            (0..in_flight).for_each(|_| self.send());
        }
        loop {
            self.sender.connection.flush().await?;
            if self.draining() && self.in_flight == 0 {
                return Ok(());
            }
            let paced = matches!(self.load, Load::Paced(_)) && !self.draining();
            tokio::select! {
                biased;
                read = self.receiver.connection.read(&mut events) => {
                    read?;
                    self.on_receiver(&events);
                    self.receiver.connection.flush().await?;
                }
                read = self.sender.connection.read(&mut answers) => {
                    read?;
                    self.on_sender(&answers);
                }
                () = sleep_until(self.next_send), if paced => self.send_what_is_due(),
            }
        }
    }

    fn draining(&self) -> bool {
        self.tally.phase.get() == Phase::Drain
    }

    fn on_receiver(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Arrived(stamp) if !stamp.is_probe() => self.on_arrival(*stamp),
                Event::Complaint(complaint) => self.tally.complained(complaint),
                _ => {}
            }
        }
    }

    fn on_arrival(&mut self, stamp: Stamp) {
        self.tally.arrived(stamp);
        if stamp.number != self.expected {
            bump(&self.tally.out_of_order);
        }
        self.expected = stamp.number.wrapping_add(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        if matches!(self.load, Load::Saturated(_)) && !self.draining() {
            self.send();
        }
    }

    fn on_sender(&mut self, events: &[Event]) {
        for event in events {
            match event {
                // Nothing counts before a probe arrives.
                Event::Complaint(_) if self.lost_probes > 0 => self.lost_probes -= 1,
                Event::Complaint(complaint) => self.tally.complained(complaint),
                _ => {}
            }
        }
    }

    fn send_what_is_due(&mut self) {
        let now = Instant::now();
        while self.next_send <= now && !self.draining() {
            self.send();
            self.next_send += self.interval;
        }
    }

    fn send(&mut self) {
        let stamp = Stamp::now(self.sent);
        self.sender.connection.send(&mut self.candidate, stamp);
        self.sent = self.sent.wrapping_add(1);
        self.in_flight += 1;
        bump(&self.tally.sent);
    }
}

fn report(lab: &Lab, options: &Options, tally: &Tally, measured: &Measured) -> Report {
    let how = match options.load {
        Load::Paced(rate) => format!("paced at {rate} messages/s"),
        Load::Saturated(in_flight) => format!("saturated with {in_flight} in flight"),
    };
    let mut report = Report::new(format!(
        "relay: {} pairs, {} bytes, {how}, {} dialect, {}",
        options.pairs,
        options.bytes,
        lab.dialect,
        lab.hubs()
    ));
    let (sent, received) = (tally.sent.get(), tally.received.get());
    report.count("sent", "sent", sent);
    report.count("received", "received", received);
    report.count(
        "lost",
        "lost (sent − received)",
        sent.saturating_sub(received),
    );
    report.count(
        "out_of_order",
        "out of order or repeated",
        tally.out_of_order.get(),
    );
    report.count(
        "complaints",
        "complaints of the server",
        tally.complaints.get(),
    );
    let rate = measured.received as f64 / measured.took.as_secs_f64();
    report.figure("messages_per_s", "messages a second", rate, "/s");
    report.latency(&tally.latency.borrow());
    report.servers(&measured.used, measured.received, "message");
    if let Some(complaint) = &*tally.first_complaint.borrow() {
        report.note(format!("first complaint: {complaint}"));
    }
    report
}
