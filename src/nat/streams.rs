//! Clients that come by TCP or TLS: their connections, bounded in number, time and memory.
//!
//! A connection without a relay may send only short packets, and only for a while: if it shows no credentials within
//! `HEADER_TIMEOUT_MS`, it is closed, whatever else it sends. TLS handshakes have slots, and take only a part of the
//! thread's time, which relays need. A connection with a relay lasts as long as that does. Packets for a client wait in
//! a short [`queue`]; a packet that does not fit is lost, as it would be by UDP, so a client that does not read harms
//! no other.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hubmesh_turn::{FiveTuple, Frame, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

use super::engine::{Engine, SharedEngine, now};
use super::queue::{Waiting, queue};
use crate::config::Config;
use crate::limits::{FairSlots, NoSlot};
use crate::log::Seldom;
use crate::metrics::{Metrics, TurnRefusal};
use crate::tls::{Certificates, StepTurns, TlsDoor};

/// The longest packet of a client without a relay, in bytes: requests are much shorter.
const LONGEST_UNPROVED: usize = 2 * 1024;
/// How long the listening socket is left alone when it cannot accept.
const PAUSE: Duration = Duration::from_millis(100);
/// The most bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// TLS handshakes take one part in this many of the thread's time: a signature takes up to a millisecond, and packets wait.
const PARTS: u32 = 4;

/// What all connections share.
pub(super) struct Streams {
    slots: FairSlots,
    most: usize,
    patience: Duration,
    certificates: Option<Arc<Certificates>>,
    door: TlsDoor,
    turns: StepTurns,
    metrics: Arc<Metrics>,
    full: Seldom,
    failures: Seldom,
}

impl Streams {
    pub(super) fn new(
        config: &Config,
        certificates: Option<Arc<Certificates>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let proxies = config.trusted_proxies.clone();
        Streams {
            slots: FairSlots::new(config.nat.max_connections, proxies),
            most: config.nat.max_connections,
            patience: config.header_timeout,
            certificates,
            door: TlsDoor::new(config),
            turns: StepTurns::one_part_in(PARTS),
            metrics,
            full: Seldom::default(),
            failures: Seldom::default(),
        }
    }

    fn refuse(&self, why: TurnRefusal) {
        self.metrics.turn_refusals.inc(why);
    }

    /// Closes a connection for which there is no slot.
    fn turn_away(&self, client: SocketAddr, why: NoSlot) {
        self.refuse(match why {
            NoSlot::Full => TurnRefusal::Full,
            NoSlot::AddressFull => TurnRefusal::AddressFull,
        });
        if let (NoSlot::Full, Some(left_out)) = (why, self.full.due()) {
            tracing::warn!(
                setting = "TURN_MAX_CONNECTIONS",
                most = self.most,
                left_out,
                "TURN is full and turns connections away: raise the setting if this hub can bear more"
            );
        }
        tracing::debug!(%client, "a connection of TURN was closed: TURN_MAX_CONNECTIONS are open, or its address has its share");
    }

    /// TLS with a client, if there is a slot for its handshake, and the handshake is done in time.
    async fn secure(
        &self,
        certificates: &Certificates,
        tcp: TcpStream,
        client: SocketAddr,
    ) -> io::Result<TlsStream<TcpStream>> {
        let no_place = || {
            self.refuse(TurnRefusal::TlsFull);
            io::Error::other("there are MAX_TLS_HANDSHAKES, or its address has its share")
        };
        let place = self.door.enter(client.ip()).map_err(|_| no_place())?;
        let accepting = certificates.accept_for_turn(tcp, &place, &self.turns);
        let done = tokio::select! {
            done = timeout(self.patience, accepting) => done,
            () = place.lost() => return Err(no_place()),
        };
        let done = done.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()));
        if let Err(why) = &done {
            match why.kind() {
                io::ErrorKind::TimedOut => self.refuse(TurnRefusal::Late),
                io::ErrorKind::InvalidData => self.refuse(TurnRefusal::TlsHandshake),
                // It went away.
                _ => {}
            }
        }
        done
    }
}

/// Accepts connections for as long as the thread lives.
pub(super) async fn accept(
    this: SharedEngine,
    streams: Rc<Streams>,
    listener: TcpListener,
    secure: bool,
) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let connection = connection(Rc::clone(&this), Rc::clone(&streams), tcp, secure);
                Engine::spawn(&this, connection);
            }
            Err(why) => {
                streams.metrics.accept_errors.inc();
                if let Some(left_out) = streams.failures.due() {
                    tracing::error!(%why, left_out, "cannot accept connections of STUN and TURN");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(this: SharedEngine, streams: Rc<Streams>, tcp: TcpStream, secure: bool) {
    let (Ok(client), Ok(server)) = (tcp.peer_addr(), tcp.local_addr()) else {
        return;
    };
    let _slot = match streams.slots.try_take(client.ip()) {
        Ok(slot) => slot,
        Err(why) => return streams.turn_away(client, why),
    };
    // A socket that closed meanwhile cannot be set, and ends at its first read.
    let _ = tcp.set_nodelay(true);
    let from = FiveTuple {
        transport: Transport::Stream,
        client,
        server,
    };
    let done = match (&streams.certificates, secure) {
        (Some(certificates), true) => match streams.secure(certificates, tcp, client).await {
            Ok(stream) => serve(&this, &streams, stream, from, true).await,
            Err(why) => Err(why),
        },
        _ => serve(&this, &streams, tcp, from, false).await,
    };
    if let Err(why) = done {
        tracing::debug!(%client, %why, "a connection of TURN ended");
    }
}

/// Serves one connection to its end.
async fn serve<S>(
    this: &SharedEngine,
    streams: &Streams,
    stream: S,
    from: FiveTuple,
    secure: bool,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let patience = streams.patience;
    let (reader, writer) = split(stream);
    let (queue, waiting) = queue();
    this.borrow_mut().connected(from, queue);
    let (ends, ended) = oneshot::channel::<()>();
    let writing = async move {
        let _ends = ends;
        write(writer, waiting, secure).await;
    };
    let writing = Engine::spawn(this, writing);
    let done = read(this, reader, from, patience).await;
    match done.as_ref().map_err(io::Error::kind) {
        Err(io::ErrorKind::TimedOut) => streams.refuse(TurnRefusal::Late),
        Err(io::ErrorKind::InvalidData) => streams.refuse(TurnRefusal::Malformed),
        _ => {}
    }
    Engine::disconnected(this, from);
    // Its queue is closed now, so it ends with what is in it, unless the client reads nothing.
    if timeout(patience, ended).await.is_err() {
        writing.abort();
    }
    done
}

/// Writes the packets that wait for a client, and flushes after all of them. Over TLS each packet is a record of its
/// own, because some clients take a record for a packet.
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
    this: &SharedEngine,
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

/// Hands over all whole packets; `false` if the bytes cannot be a packet.
fn take_packets(
    this: &SharedEngine,
    buffer: &mut BytesMut,
    from: FiveTuple,
    has_relay: bool,
) -> bool {
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
