//! A connected datagram socket between two peers, whatever the way: sends and receives, keeps the way open.
//!
//! What the caller sends crosses as it is, and in the clear: whoever needs secrecy puts DTLS, QUIC or Noise on top. Beside it
//! cross sealed packets of forty bytes, which keep NATs open and tell the end; a caller never sees them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::packet::{self, Kind, Seal};
use super::port::Port;

/// How often the end is said, because nobody answers it.
const FAREWELLS: usize = 3;

/// A task that ends with its value.
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
    way: Arc<Way>,
    early: Mutex<VecDeque<Vec<u8>>>,
    _keeper: AbortOnDrop,
}

#[derive(Debug)]
struct Way {
    port: Arc<Port>,
    remote: SocketAddr,
    seal: Seal,
}

impl Datagram {
    pub(super) fn new(
        port: Arc<Port>,
        remote: SocketAddr,
        seal: Seal,
        early: VecDeque<Vec<u8>>,
        keep_alive: Duration,
    ) -> Self {
        let way = Arc::new(Way { port, remote, seal });
        let keeper = tokio::spawn(keep(Arc::clone(&way), keep_alive));
        Self {
            way,
            early: Mutex::new(early),
            _keeper: AbortOnDrop(keeper),
        }
    }

    /// Sends one datagram. As with UDP, that it was sent does not say that it arrives.
    pub async fn send(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.way.port.send_to(bytes, self.way.remote).await
    }

    /// The next datagram of the peer; nothing when the peer has ended the connection. Cancel-safe.
    pub async fn recv(&self) -> std::io::Result<Option<Vec<u8>>> {
        if let Some(early) = self.early.lock().await.pop_front() {
            return Ok(Some(early));
        }
        loop {
            let (bytes, from) = self.way.port.recv_from().await?;
            if from != self.way.remote {
                continue;
            }
            match self.way.seal.read(&bytes).map(|packet| packet.kind) {
                Some(Kind::Bye) => return Ok(None),
                Some(_) => {}
                // Of an earlier round.
                None if packet::is_packet(&bytes) => {}
                None => return Ok(Some(bytes)),
            }
        }
    }

    /// The address that the peer is reached at: its own, that of its NAT, or of its relay.
    pub fn remote_addr(&self) -> SocketAddr {
        self.way.remote
    }

    /// The address of this end's socket, or of its relay.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.way.port.local_addr()
    }

    /// Tells the peer that the connection is over, and gives up the relay, if it is one.
    pub async fn close(self) {
        let bye = self.way.seal.write(Kind::Bye, [0; 8]);
        for _ in 0..FAREWELLS {
            // A peer that hears none of them finds out by silence.
            let _ = self.send(&bye).await;
        }
        if let Port::Relay(relay) = &*self.way.port {
            relay.close().await;
        }
    }
}

async fn keep(way: Arc<Way>, every: Duration) {
    if let Port::Relay(relay) = &*way.port {
        // Without a short name the relay serves as well.
        let _ = relay.bind(way.remote).await;
    }
    let alive = way.seal.write(Kind::Alive, [0; 8]);
    loop {
        tokio::time::sleep(every).await;
        // What fails now may work next time; the caller's own sending tells it when the way is gone.
        let _ = way.port.send_to(&alive, way.remote).await;
    }
}
