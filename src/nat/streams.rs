//! Clients that come by TCP or TLS: their connections, bounded in number, time and memory.
//!
//! A connection without a relay may take short packets only and not long: one that shows no credentials within
//! `HEADER_TIMEOUT_MS` is closed, whatever else it says. With a relay it lasts as long as that does. What goes to a client
//! waits in a short [`Queue`]; what does not fit is lost, as it would be by UDP, so that who does not read harms nobody else.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hubmesh_turn::{FiveTuple, Frame, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::engine::{Engine, Shared, now};
use crate::config::Config;
use crate::http::{Certificates, Slots};

/// The longest packet of a client without a relay, in bytes: requests are much shorter.
const LONGEST_UNPROVED: usize = 2 * 1024;
/// Packets that may wait for one client.
const WAITING: usize = 256;
/// How many bytes they may have: a packet may be as long as a datagram, and the shortest are many.
const WAITING_BYTES: usize = 256 * 1024;
/// How long the listening socket is left alone when it cannot accept.
const PAUSE: Duration = Duration::from_millis(100);
/// What one read may bring, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// What goes to one client, bounded in packets and in bytes.
pub(super) struct Queue {
    packets: mpsc::Sender<Bytes>,
    /// Bytes that the writer has not taken yet.
    waiting: Rc<Cell<usize>>,
}

/// The other end of a [`Queue`].
struct Waiting {
    packets: mpsc::Receiver<Bytes>,
    waiting: Rc<Cell<usize>>,
}

fn queue() -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let waiting = Rc::new(Cell::new(0));
    let queue = Queue {
        packets: sender,
        waiting: Rc::clone(&waiting),
    };
    let packets = receiver;
    (queue, Waiting { packets, waiting })
}

impl Queue {
    /// Puts a packet at the end, or loses it: a client that does not read loses what it does not take.
    pub(super) fn put(&self, packet: &[u8]) {
        let waiting = self.waiting.get() + packet.len();
        if waiting <= WAITING_BYTES
            && self
                .packets
                .try_send(Bytes::copy_from_slice(packet))
                .is_ok()
        {
            self.waiting.set(waiting);
        }
    }
}

impl Waiting {
    async fn next(&mut self) -> Option<Bytes> {
        let packet = self.packets.recv().await;
        self.took(packet)
    }

    /// The next one, if it is there already.
    fn ready(&mut self) -> Option<Bytes> {
        let packet = self.packets.try_recv().ok();
        self.took(packet)
    }

    fn took(&self, packet: Option<Bytes>) -> Option<Bytes> {
        let bytes = packet.as_ref().map_or(0, Bytes::len);
        self.waiting.set(self.waiting.get() - bytes);
        packet
    }
}

/// What all connections share.
pub(super) struct Streams {
    slots: Slots,
    patience: Duration,
    certificates: Option<Arc<Certificates>>,
}

impl Streams {
    pub(super) fn new(config: &Arc<Config>, certificates: Option<Arc<Certificates>>) -> Self {
        let proxies = config.trusted_proxies.clone();
        Streams {
            slots: Slots::new(config.nat.max_connections, proxies),
            patience: config.header_timeout,
            certificates,
        }
    }
}

/// Accepts connections for as long as the thread lives.
pub(super) async fn accept(this: Shared, listener: std::net::TcpListener, secure: bool) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(why) => return tracing::error!(%why, "a TCP port of STUN and TURN cannot be read"),
    };
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                spawn_local(connection(Rc::clone(&this), tcp, secure));
            }
            Err(why) => {
                tracing::debug!(%why, "cannot accept connections of STUN and TURN");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(this: Shared, tcp: TcpStream, secure: bool) {
    let (Ok(client), Ok(server)) = (tcp.peer_addr(), tcp.local_addr()) else {
        return;
    };
    let streams = Rc::clone(&this.borrow().streams);
    let Ok(_slot) = streams.slots.try_take(client.ip()) else {
        return tracing::debug!(%client, "a connection of TURN was closed: TURN_MAX_CONNECTIONS are open");
    };
    // A socket that closed meanwhile cannot be set, and ends at its first read.
    let _ = tcp.set_nodelay(true);
    let from = FiveTuple {
        transport: Transport::Stream,
        client,
        server,
    };
    let done = match (&streams.certificates, secure) {
        (Some(certificates), true) => {
            let acceptor = TlsAcceptor::from(certificates.for_turn());
            match timeout(streams.patience, acceptor.accept(tcp)).await {
                Ok(Ok(stream)) => serve(&this, stream, from, true).await,
                Ok(Err(why)) => Err(why),
                Err(_late) => Err(io::ErrorKind::TimedOut.into()),
            }
        }
        _ => serve(&this, tcp, from, false).await,
    };
    if let Err(why) = done {
        tracing::debug!(%client, %why, "a connection of TURN ended");
    }
}

/// Serves one connection to its end.
async fn serve<S>(this: &Shared, stream: S, from: FiveTuple, secure: bool) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let patience = this.borrow().streams.patience;
    let (reader, writer) = split(stream);
    let (queue, waiting) = queue();
    this.borrow_mut().connected(from, queue);
    let writing = spawn_local(write(writer, waiting, secure));
    let done = read(this, reader, from, patience).await;
    Engine::disconnected(this, from);
    // Its queue is closed now, so it ends with what is in it, unless the client reads nothing.
    let aborting = writing.abort_handle();
    if timeout(patience, writing).await.is_err() {
        aborting.abort();
    }
    done
}

/// Writes what waits for a client, all that is there before it is flushed. Over TLS each packet is a record of its own,
/// because there are clients that take a record for a packet.
async fn write<S: AsyncWrite + Unpin>(mut writer: S, mut waiting: Waiting, secure: bool) {
    let mut batch = Vec::new();
    while let Some(first) = waiting.next().await {
        let mut next = Some(first);
        while let Some(packet) = next {
            batch.extend_from_slice(&packet);
            let is_whole = secure || batch.len() >= READ_BYTES;
            if is_whole && writer.write_all(&batch).await.is_err() {
                return;
            }
            if is_whole {
                batch.clear();
            }
            next = waiting.ready();
        }
        let written = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        if written.await.is_err() {
            return;
        }
        batch.clear();
    }
    // It is over either way.
    let _ = writer.shutdown().await;
}

async fn read<S: AsyncRead + Unpin>(
    this: &Shared,
    mut reader: S,
    from: FiveTuple,
    patience: Duration,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(LONGEST_UNPROVED);
    let mut deadline = Instant::now() + patience;
    loop {
        let has_relay = this.borrow().has_allocation(from);
        if has_relay {
            deadline = Instant::now() + patience;
        }
        if !take_packets(this, &mut buffer, from, has_relay) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        buffer.reserve(if has_relay {
            READ_BYTES
        } else {
            LONGEST_UNPROVED
        });
        match timeout_at(deadline, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(why)) => return Err(why),
            // Its relay has a time of its own.
            Err(_) if this.borrow().has_allocation(from) => {}
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Hands over all whole packets; `false` if what is there can be none.
fn take_packets(this: &Shared, buffer: &mut BytesMut, from: FiveTuple, has_relay: bool) -> bool {
    let now = now();
    let good = loop {
        match Frame::at(buffer) {
            Frame::Unknown => break true,
            Frame::Broken => break false,
            Frame::Packet { padded, .. } if !has_relay && padded > LONGEST_UNPROVED => break false,
            Frame::Packet { padded, .. } if buffer.len() < padded => break true,
            Frame::Packet { length, padded } => {
                let packet = buffer.get(..length).unwrap_or_default();
                Engine::client(this, now, from, packet);
                buffer.advance(padded);
            }
        }
    };
    Engine::flush(this);
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_a_client_is_bounded_in_bytes() {
        let (queue, mut waiting) = queue();
        let packet = vec![0; 60_000];
        for _ in 0..10 {
            queue.put(&packet);
        }
        assert!(waiting.next().await.is_some());
        queue.put(&packet);
        let rest = std::iter::from_fn(|| waiting.ready()).count();
        assert_eq!(
            rest,
            WAITING_BYTES / packet.len(),
            "one more for the one taken"
        );
        queue.put(&packet);
        assert!(waiting.ready().is_some(), "there is room for all again");
    }
}
