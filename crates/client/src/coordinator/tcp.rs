//! TCP simultaneous open: both ends connect to each other from a port whose mapping they know, at once, until one of the
//! connections stands.
//!
//! The mapping is one of TCP: a STUN server is asked over TCP from the same port, and its connection is kept open meanwhile.
//! Listening, that connection and every attempt share the port. Whoever connects has to prove itself by a sealed packet
//! before it counts, and the end that asked chooses among the connections that do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::detect::{self, TCP_WAIT};
use super::gather::{Ground, socket_trouble};
use super::meet::{Line, Miss};
use super::packet::{Kind, LENGTH, Seal};
use super::plan::Side;

/// How long one attempt to connect may take: longer than the first repetition of a SYN, which comes after a second.
const ATTEMPT: Duration = Duration::from_millis(3500);
/// After an attempt that was refused.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a stranger may take to prove itself.
const PROOF: Duration = Duration::from_secs(2);
/// Connections that are looked at, at once.
const MOST_STREAMS: usize = 16;

/// A port whose mapping is known.
#[derive(Debug)]
pub(super) struct Mapped {
    local: SocketAddr,
    /// Where the other end may reach it, the address outside first.
    pub(super) addresses: Vec<SocketAddr>,
    /// Whether two servers saw two addresses.
    pub(super) symmetric: bool,
    /// The connections that keep the mapping.
    _kept: Vec<TcpStream>,
}

pub(super) async fn gather(ground: &Ground) -> Result<Mapped, String> {
    let servers = detect::addresses(&ground.servers.stun).await;
    let own = ground.own(&servers).map_err(socket_trouble)?;
    let first = socket((own, 0).into()).map_err(socket_trouble)?;
    let local = first.local_addr().map_err(socket_trouble)?;
    drop(first);
    let (mut kept, mut seen) = (Vec::new(), Vec::new());
    for server in servers {
        let asking = async {
            let mut stream = socket(local)?.connect(server).await?;
            let mapped = detect::mapped_by_tcp(&mut stream).await?;
            Ok::<_, std::io::Error>((stream, mapped))
        };
        if let Ok(Ok((stream, mapped))) = timeout(TCP_WAIT, asking).await {
            kept.push(stream);
            seen.push(mapped);
        }
        if seen.len() == 2 {
            break;
        }
    }
    let symmetric = matches!(seen.as_slice(), [one, other] if one != other);
    let mut addresses: Vec<SocketAddr> = seen.first().copied().into_iter().collect();
    if !addresses.contains(&local) {
        addresses.push(local);
    }
    Ok(Mapped {
        local,
        addresses,
        symmetric,
        _kept: kept,
    })
}

/// A socket that shares its port.
fn socket(local: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if local.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(local)?;
    Ok(socket)
}

/// One end of the round.
struct Race {
    side: Side,
    seal: Seal,
    end: Instant,
    /// The end that asked nominates one stream at a time.
    turn: Mutex<()>,
}

/// Connects both ways until a connection has won.
pub(super) async fn race(
    mapped: Mapped,
    theirs: Vec<SocketAddr>,
    (side, seal): (Side, Seal),
    end: Instant,
    mut line: Line<'_>,
) -> Result<TcpStream, Miss> {
    let listener = socket(mapped.local).and_then(|socket| socket.listen(8));
    let listener = listener.map_err(|error| Miss::Failed(socket_trouble(error)))?;
    let race = Arc::new(Race {
        side,
        seal,
        end,
        turn: Mutex::new(()),
    });
    let (winners, mut won) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, Arc::clone(&race), winners.clone()));
    for to in theirs {
        tasks.spawn(dial(mapped.local, to, Arc::clone(&race), winners.clone()));
    }
    drop(winners);
    let (mut done, mut winner) = (side == Side::Asking, None);
    loop {
        if done && let Some(stream) = winner.take() {
            return Ok(stream);
        }
        tokio::select! {
            stream = won.recv(), if winner.is_none() => {
                let none = || Miss::Failed("no connection could be tried".into());
                winner = Some(stream.ok_or_else(none)?);
            }
            // The end that was asked knows by this that its agreement arrived.
            heard = line.until_done(), if !done => {
                heard?;
                done = true;
            }
            () = tokio::time::sleep_until(end) => {
                return Err(Miss::Failed("no connection stood".into()));
            }
        }
    }
}

async fn accept(listener: TcpListener, race: Arc<Race>, winners: mpsc::Sender<TcpStream>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if streams.len() < MOST_STREAMS => {
                    let (race, winners) = (Arc::clone(&race), winners.clone());
                    streams.spawn(async move { race.prove(stream, &winners).await });
                }
                Ok(_) => {}
                Err(_) => sleep(AGAIN).await,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn dial(
    local: SocketAddr,
    to: SocketAddr,
    race: Arc<Race>,
    winners: mpsc::Sender<TcpStream>,
) {
    while Instant::now() < race.end {
        let Ok(socket) = socket(local) else { return };
        match timeout(ATTEMPT, socket.connect(to)).await {
            // A connection to oneself, which simultaneous open makes possible, proves nothing: its packets are mirrored.
            Ok(Ok(stream)) => {
                race.prove(stream, &winners).await;
                sleep(AGAIN).await;
            }
            Ok(Err(_)) => sleep(AGAIN).await,
            Err(_) => {}
        }
    }
}

impl Race {
    /// Has the other end prove itself, and hands the stream over if it is the one.
    async fn prove(&self, stream: TcpStream, winners: &mpsc::Sender<TcpStream>) {
        let agreed = async {
            let mut stream = stream;
            stream.set_nodelay(true)?;
            self.say(&mut stream, Kind::Hello).await?;
            let hello = timeout(PROOF, self.hear(&mut stream)).await??;
            match (self.side, hello) {
                (Side::Asking, Kind::Hello) => {
                    let _turn = self.turn.lock().await;
                    self.say(&mut stream, Kind::Nominate).await?;
                    let agreed = timeout(PROOF, self.hear(&mut stream)).await??;
                    if agreed != Kind::Agreed {
                        return Err(std::io::ErrorKind::InvalidData.into());
                    }
                    // No later one has its turn once this is handed over.
                    let _ = winners.send(stream).await;
                    std::future::pending::<()>().await;
                    Ok(())
                }
                (Side::Asked, Kind::Hello) => {
                    if self.hear(&mut stream).await? == Kind::Nominate {
                        self.say(&mut stream, Kind::Agreed).await?;
                        let _ = winners.send(stream).await;
                    }
                    Ok(())
                }
                _ => Err(std::io::Error::from(std::io::ErrorKind::InvalidData)),
            }
        };
        // A stream that fails is one of several.
        let _: Result<std::io::Result<()>, _> = timeout_at(self.end, agreed).await;
    }

    async fn say(&self, stream: &mut TcpStream, kind: Kind) -> std::io::Result<()> {
        stream.write_all(&self.seal.write(kind, [0; 8])).await
    }

    async fn hear(&self, stream: &mut TcpStream) -> std::io::Result<Kind> {
        let mut packet = [0; LENGTH];
        stream.read_exact(&mut packet).await?;
        let read = self.seal.read(&packet);
        let stranger = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        read.map(|packet| packet.kind).ok_or_else(stranger)
    }
}

/// Has the system keep the connection alive, and find out when the other end is gone.
pub(super) fn keep_alive(stream: &TcpStream, every: Duration) {
    let every = TcpKeepalive::new().with_time(every).with_interval(every);
    // Without it the stream serves as well, for as long as the NATs let it.
    let _ = SockRef::from(stream).set_tcp_keepalive(&every);
}
