//! A TCP proxy inside the test: an address that outlives the server behind it, and a wire that can be cut.
//!
//! Owns one listening port on loopback and the connections through it. It does not know the protocol of the bytes. The
//! wire has three states. *Open* passes everything on. *Cut* resets all connections and every new one. *Stalled* keeps
//! connections up, accepts new ones, and passes nothing on, like a network that swallows packets. When the wire is open
//! again, it passes on the bytes that it has swallowed.
#![allow(dead_code, reason = "every test binary uses a part of its own")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The state of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Open,
    Cut,
    Stalled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    wire: Wire,
    target: Option<SocketAddr>,
    /// The header that the proxy adds to each request, as an HTTP proxy does.
    header: Option<&'static str>,
}

/// A wire to one address. When it is dropped, all connections through it end.
pub struct Proxy {
    addr: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// A wire without an address behind it: it listens, and resets new connections.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let state = Arc::new(watch::Sender::new(State {
            wire: Wire::Open,
            target: None,
            header: None,
        }));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state))).abort_handle();
        Self {
            addr,
            state,
            accepting,
        }
    }

    /// A wire to this address.
    pub async fn to(target: SocketAddr) -> Self {
        let proxy = Self::new().await;
        proxy.aim(target);
        proxy
    }

    /// From now on, new connections lead to this address.
    pub fn aim(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = Some(target));
    }

    /// New connections begin with a request, which gets this header.
    pub fn add_header(&self, header: &'static str) {
        self.state.send_modify(|state| state.header = Some(header));
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.addr)
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Resets every connection, and every new one.
    pub fn cut(&self) {
        self.turn(Wire::Cut);
    }

    /// Passes nothing on any more, without telling either end.
    pub fn stall(&self) {
        self.turn(Wire::Stalled);
    }

    /// Passes everything on again.
    pub fn heal(&self) {
        self.turn(Wire::Open);
    }

    fn turn(&self, wire: Wire) {
        self.state.send_modify(|state| state.wire = wire);
    }
}

async fn accept(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    // The set is dropped with this task, and then every connection ends.
    let mut connections = JoinSet::new();
    while let Ok((inner, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(carry(inner, state.subscribe()));
    }
}

/// Carries one connection, until its end or until the wire is cut.
async fn carry(near: TcpStream, mut state: watch::Receiver<State>) {
    let now = *state.borrow();
    let Some(target) = now.target.filter(|_| now.wire != Wire::Cut) else {
        return reset(near);
    };
    if open(&mut state).await.is_err() {
        return reset(near);
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return reset(near);
    };
    // Small messages are sent at once, as without a proxy.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (mut near_in, near_out) = near.into_split();
    let (far_in, mut far_out) = far.into_split();
    if let Some(header) = now.header
        && add_header(&mut near_in, &mut far_out, header)
            .await
            .is_err()
    {
        return;
    }
    let mut watcher = state.clone();
    tokio::select! {
        _ = pump(near_in, far_out, state.clone()) => {}
        _ = pump(far_in, near_out, state) => {}
        _ = watcher.wait_for(|state| state.wire == Wire::Cut) => {}
    }
}

/// Passes on the first line of a request, and adds the header behind it.
async fn add_header(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    header: &str,
) -> io::Result<()> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(from.read_u8().await?);
    }
    line.extend_from_slice(format!("{header}\r\n").as_bytes());
    to.write_all(&line).await
}

/// Ends a connection with a reset, so that it does not look like an orderly end.
fn reset(stream: TcpStream) {
    // If the option cannot be set, the socket ends in order. Neither the tests nor a real hub would notice the
    // difference.
    let _ = stream.set_zero_linger();
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        open(&mut state).await?;
        to.write_all(&buffer[..read]).await?;
    }
}

/// Waits until the wire passes things on.
async fn open(state: &mut watch::Receiver<State>) -> io::Result<()> {
    let passed = state.wait_for(|state| state.wire != Wire::Stalled).await;
    match passed.map(|state| state.wire) {
        Ok(Wire::Open) => Ok(()),
        _ => Err(io::ErrorKind::ConnectionReset.into()),
    }
}
