//! One connection under load: a TCP stream, the codec that it speaks, and bytes not yet sent or understood.
//!
//! Invariants: `read` and `flush` are cancel-safe (nothing read or half written is lost); nothing is written before
//! `flush`, so that what is queued goes out in one call; an idle connection holds no buffer.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use hubmesh_causes as causes;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::dialect::{Candidate, Codec, Dialect, DialectError, Event, Persona};
use crate::process::Unreadable;
use crate::stamp::Stamp;
use crate::target::Target;

/// The longest that connecting and the handshake may take.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where all connections of the thread read into first: only incomplete messages are kept per connection.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Why a run cannot go on.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("cannot connect to {}: {}", .0, causes::of_io(.1))]
    Unreachable(String, io::Error),
    #[error("a connection broke: {}", causes::of_io(.0))]
    Io(#[from] io::Error),
    #[error("a connection was {0}")]
    Dialect(#[from] DialectError),
    #[error("gave up after {1:?} waiting {0}")]
    TimedOut(&'static str, Duration),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("{0}")]
    Other(String),
}

pub struct Connection {
    stream: TcpStream,
    codec: Box<dyn Codec>,
    heartbeat: Option<Interval>,
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    /// Connects and shakes hands; `index` counts the run's connections.
    pub async fn open(
        target: &Target,
        dialect: Dialect,
        persona: Persona,
        index: usize,
    ) -> Result<Self, Failure> {
        let opening = async {
            let unreachable = |error| Failure::Unreachable(target.hub.to_string(), error);
            let (socket, address) = target.socket(index).map_err(unreachable)?;
            let stream = socket.connect(address).await.map_err(unreachable)?;
            let mut connection = Self {
                stream,
                codec: dialect.codec(persona),
                heartbeat: dialect.heartbeat_every().map(regularly),
                rest: Vec::new(),
                out: Vec::new(),
            };
            connection.codec.hello(&mut connection.out);
            connection.flush().await?;
            connection.wait_for(|event| *event == Event::Open).await?;
            Ok(connection)
        };
        within(OPEN_LIMIT, "for a connection to open", opening).await
    }

    /// Queues the request to join.
    pub fn join(&mut self) {
        self.codec.join(&mut self.out);
    }

    /// Queues the polite leave.
    pub fn leave(&mut self) {
        self.codec.leave(&mut self.out);
    }

    /// Queues a stamped candidate.
    pub fn send(&mut self, candidate: &mut Candidate, stamp: Stamp) {
        candidate.write(stamp, &mut self.out);
    }

    pub fn codec(&self) -> &dyn Codec {
        self.codec.as_ref()
    }

    /// Writes all that is queued.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(written) if written == self.out.len() => self.out.clear(),
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives back the memory of what was sent, for a connection that will be idle.
    pub fn rest_now(&mut self) {
        self.out.shrink_to_fit();
        self.rest.shrink_to_fit();
    }

    /// Waits until the server says something and puts it into `events`, which is cleared first. Ends without an event when
    /// there is something to flush: an answer, or a heartbeat.
    pub async fn read(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        events.clear();
        loop {
            tokio::select! {
                // A heartbeat is due also where there is always something to read.
                biased;
                () = tick(&mut self.heartbeat) => {
                    self.codec.heartbeat(&mut self.out);
                    return Ok(());
                }
                ready = self.stream.readable() => ready?,
            }
            match SCRATCH.with_borrow_mut(|scratch| self.take(scratch, events)) {
                Ok(()) if events.is_empty() && self.out.is_empty() => {}
                Err(Failure::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    fn take(&mut self, scratch: &mut [u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        let read = self.stream.try_read(scratch)?;
        if read == 0 {
            return Err(DialectError::Closed("without a word".to_owned()).into());
        }
        let fresh = scratch.get(..read).unwrap_or_default();
        if self.rest.is_empty() {
            let done = self.codec.decode(fresh, events, &mut self.out)?;
            self.rest
                .extend_from_slice(fresh.get(done..).unwrap_or_default());
        } else {
            self.rest.extend_from_slice(fresh);
            let done = self.codec.decode(&self.rest, events, &mut self.out)?;
            self.rest.drain(..done);
        }
        Ok(())
    }

    /// Reads, answering what wants an answer, until `wanted` is among the events.
    pub async fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<(), Failure> {
        let mut events = Vec::new();
        loop {
            self.read(&mut events).await?;
            self.flush().await?;
            if events.iter().any(&mut wanted) {
                return Ok(());
            }
        }
    }

    /// Reads and answers until the connection breaks.
    pub async fn idle(&mut self) -> Failure {
        match self.wait_for(|_| false).await {
            Ok(()) => Failure::Other("an idle connection ended".to_owned()),
            Err(failure) => failure,
        }
    }
}

fn regularly(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Waits for the next tick, for ever where there is no interval.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Bounds `work` in time.
pub async fn within<T>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or(Err(Failure::TimedOut(doing, limit)))
}

#[cfg(test)]
mod tests {
    use hubmesh_client::PeerId;
    use tokio::net::TcpListener;

    use super::*;

    /// A connection over which nothing was said yet, and the server's end of it.
    async fn silent(dialect: Dialect) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let persona = Persona {
            id: PeerId::random(),
            network: "load".to_owned(),
            hub: address.to_string().parse().unwrap(),
            token: None,
        };
        let connection = Connection {
            stream,
            codec: dialect.codec(persona),
            heartbeat: dialect.heartbeat_every().map(regularly),
            rest: Vec::new(),
            out: Vec::new(),
        };
        (connection, server)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hears_nothing_says_at_intervals_that_it_is_alive() {
        let (mut connection, _server) = silent(Dialect::PeerJs).await;
        let began = Instant::now();
        let mut events = Vec::new();
        for beat in 1..=3 {
            connection.read(&mut events).await.unwrap();
            assert!(events.is_empty() && !connection.out.is_empty());
            connection.flush().await.unwrap();
            let every = Dialect::PeerJs.heartbeat_every().unwrap();
            // The clock counts whole milliseconds.
            assert_eq!(began.elapsed().as_secs(), (every * beat).as_secs());
        }
    }
}
