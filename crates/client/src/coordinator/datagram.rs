//! A connected datagram socket between two peers, by any way: sends and receives, keeps the way open, and notices that
//! the other end is gone.
//!
//! Datagrams are passed on unchanged and unencrypted: a program that needs secrecy uses DTLS, QUIC or Noise on top.
//! Sealed packets of forty bytes are sent beside them: they keep NATs open, show that an end is alive, and announce the
//! end; a caller never sees them. However a [`Datagram`] ends, the other end is told.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::packet::{self, Kind, Seal};
use super::port::Port;

/// How many times the goodbye is sent: there is no answer to it.
const FAREWELLS: usize = 3;
/// After how many missing keep-alives in a row the other end is gone.
const MISSING: u32 = 3;
/// How much later than due a keep-alive may arrive.
const SLACK: Duration = Duration::from_secs(1);
/// The shortest wait for a packet. A program that has not called [`Datagram::recv`] for long still reads what has arrived
/// in the meantime, before the other end counts as gone.
const READING: Duration = Duration::from_millis(100);
/// The shortest time between two keep-alives.
const FASTEST: Duration = Duration::from_millis(10);

/// How often this end shows that it is alive, and how long the other end may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) keep_alive: Duration,
    silence: Duration,
}

impl Life {
    pub(super) fn new(keep_alive: Duration, theirs_ms: u32) -> Self {
        let theirs = Duration::from_millis(theirs_ms.into());
        Self {
            keep_alive: keep_alive.max(FASTEST),
            silence: theirs * MISSING + SLACK,
        }
    }

    pub(super) fn keep_alive_ms(self) -> u32 {
        milliseconds(self.keep_alive)
    }
}

/// The time between two keep-alives, as it is sent to the other end.
pub(super) fn milliseconds(keep_alive: Duration) -> u32 {
    u32::try_from(keep_alive.as_millis()).unwrap_or(u32::MAX)
}

/// A task that is aborted when this guard is dropped.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connected datagram socket.
#[derive(Debug)]
pub struct Datagram {
    shared: Arc<Shared>,
    heard: Mutex<Heard>,
    /// How long the other end may be silent before it counts as gone.
    silence: Duration,
    /// The connection is over, and the other end knows it or has been told.
    is_over: AtomicBool,
    _keeper: AbortOnDrop,
}

/// What a datagram shares with the task that sends its keep-alives.
#[derive(Debug)]
struct Shared {
    port: Arc<Port>,
    /// The address of the other end.
    remote: SocketAddr,
    seal: Seal,
}

#[derive(Debug)]
struct Heard {
    /// Packets of the other end that arrived before this end knew which sockets the round connects. They are read first.
    early: VecDeque<Vec<u8>>,
    /// When the last packet arrived.
    at: Instant,
}

impl Datagram {
    pub(super) fn new(
        port: Arc<Port>,
        remote: SocketAddr,
        seal: Seal,
        early: VecDeque<Vec<u8>>,
        life: Life,
    ) -> Self {
        let shared = Arc::new(Shared { port, remote, seal });
        let keeper = tokio::spawn(keep_alive(Arc::clone(&shared), life.keep_alive));
        let at = Instant::now();
        Self {
            shared,
            heard: Mutex::new(Heard { early, at }),
            silence: life.silence,
            is_over: AtomicBool::new(false),
            _keeper: AbortOnDrop(keeper),
        }
    }

    /// Sends one datagram. As with UDP, success does not mean that it arrives.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.port.send_to(bytes, self.shared.remote).await
    }

    /// The next datagram of the peer; `None` once the peer has ended the connection. If the peer has been silent for
    /// three of its keep-alives, an error of the kind `TimedOut`. Cancel-safe.
    pub async fn recv(&self) -> io::Result<Option<Vec<u8>>> {
        let mut heard = self.heard.lock().await;
        loop {
            if self.is_over.load(Relaxed) {
                return Ok(None);
            }
            let bytes = match heard.early.pop_front() {
                Some(early) => early,
                None => self.next(heard.at).await?,
            };
            match self.shared.seal.read(&bytes).map(|packet| packet.kind) {
                Some(Kind::Bye) => self.is_over.store(true, Relaxed),
                Some(_) => heard.at = Instant::now(),
                // A packet of an earlier round.
                None if packet::is_packet(&bytes) => {}
                None => {
                    heard.at = Instant::now();
                    return Ok(Some(bytes));
                }
            }
        }
    }

    /// The next packet from the peer's address. `last` is when the previous one arrived.
    async fn next(&self, last: Instant) -> io::Result<Vec<u8>> {
        let coming = async {
            loop {
                let (bytes, from) = self.shared.port.recv_from().await?;
                if from == self.shared.remote {
                    return Ok(bytes);
                }
            }
        };
        let end = (last + self.silence).max(Instant::now() + READING);
        let come = timeout_at(end, coming).await;
        come.unwrap_or_else(|_| Err(silent(self.silence)))
    }

    /// The address at which the peer is reached: its own, that of its NAT, or of its relay.
    pub fn remote_addr(&self) -> SocketAddr {
        self.shared.remote
    }

    /// The address of this end's socket, or of its relay.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.port.local_addr()
    }

    /// Tells the peer that the connection is over, and gives up the relay, if there is one. Dropping it does the same
    /// without waiting for the relay's server: see [`Coordinator::closed`](super::Coordinator::closed).
    pub async fn close(self) {
        self.say_bye();
        if let Port::Relay(relay) = &*self.shared.port {
            relay.close().await;
        }
    }

    /// At once, because a drop cannot wait.
    fn say_bye(&self) {
        if self.is_over.swap(true, Relaxed) {
            return;
        }
        let bye = self.shared.seal.write(Kind::Bye, [0; 8]);
        for _ in 0..FAREWELLS {
            // A peer that gets none of them notices the silence.
            self.shared.port.send_now(&bye, self.shared.remote);
        }
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        self.say_bye();
    }
}

fn silent(silence: Duration) -> io::Error {
    let text = format!("the other end is gone: nothing was heard of it for {silence:?}");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

async fn keep_alive(shared: Arc<Shared>, every: Duration) {
    if let Port::Relay(relay) = &*shared.port {
        // Without a channel the relay works as well.
        let _ = relay.bind(shared.remote).await;
    }
    let alive = shared.seal.write(Kind::Alive, [0; 8]);
    loop {
        tokio::time::sleep(every).await;
        // The next one may succeed. If none can be sent any more, the caller's own sends fail too.
        let _ = shared.port.send_to(&alive, shared.remote).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::coordinator::plan::Side;

    /// An end, and the bare socket to which it is connected.
    async fn connected(keep_alive: Duration, theirs_ms: u32) -> (Datagram, UdpSocket) {
        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (port, remote) = (Port::Udp(socket), other.local_addr().unwrap());
        let life = Life::new(keep_alive, theirs_ms);
        let early = VecDeque::new();
        let end = Datagram::new(
            Arc::new(port),
            remote,
            Seal::sample(Side::Asking),
            early,
            life,
        );
        (end, other)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_silent_for_three_of_its_keep_alives_is_gone() {
        let (end, other) = connected(Duration::from_hours(1), 25_000).await;
        let began = Instant::now();
        let gone = end.recv().await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            gone.to_string(),
            "the other end is gone: nothing was heard of it for 76s"
        );
        assert_eq!(began.elapsed().as_secs(), 76);
        let to = end.local_addr().unwrap();
        let alive = Seal::sample(Side::Asked).write(Kind::Alive, [0; 8]);
        // Keep-alives and data both show that it is alive.
        for (sign, data) in [(&alive[..], None), (b"back", Some(&b"back"[..]))] {
            other.send_to(sign, to).await.unwrap();
            let began = Instant::now();
            if data.is_some() {
                assert_eq!(end.recv().await.unwrap().as_deref(), data);
            }
            assert!(end.recv().await.is_err());
            assert_eq!(began.elapsed().as_secs(), 76, "since it was heard last");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_does_not_keep_a_dead_peer_alive() {
        let (end, other) = connected(Duration::from_hours(1), 1000).await;
        let to = end.local_addr().unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let began = Instant::now();
        let alive = Seal::sample(Side::Asked).write(Kind::Alive, [0; 8]);
        let strays = async {
            loop {
                stranger.send_to(&alive, to).await.unwrap();
                // Like a packet of an earlier round.
                let old = Seal::sample(Side::Asking).write(Kind::Alive, [0; 8]);
                other.send_to(&old, to).await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            gone = end.recv() => assert!(gone.is_err()),
            () = strays => {}
        }
        assert_eq!(began.elapsed().as_secs(), 4);
    }

    #[tokio::test]
    async fn whoever_drops_an_end_tells_the_other_and_whoever_was_told_does_not() {
        let (end, other) = connected(Duration::from_hours(1), 25_000).await;
        let to = end.local_addr().unwrap();
        drop(end);
        let mut bytes = [0; 64];
        for _ in 0..FAREWELLS {
            let (length, from) = other.recv_from(&mut bytes).await.unwrap();
            assert_eq!(from, to);
            let read = Seal::sample(Side::Asked).read(&bytes[..length]).unwrap();
            assert_eq!(read.kind, Kind::Bye);
        }
        let (end, other) = connected(Duration::from_hours(1), 25_000).await;
        let bye = Seal::sample(Side::Asked).write(Kind::Bye, [0; 8]);
        let to = end.local_addr().unwrap();
        other.send_to(&bye, to).await.unwrap();
        for _ in 0..2 {
            assert_eq!(end.recv().await.unwrap(), None, "it stays over");
        }
        drop(end);
        assert!(other.try_recv_from(&mut bytes).is_err(), "it knows already");
    }
}
