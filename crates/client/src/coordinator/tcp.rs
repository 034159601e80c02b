//! TCP simultaneous open: both ends connect to each other at once, each from a port whose mapping is known, until one
//! of the connections is open.
//!
//! The mapping is one of TCP: a STUN server is asked over TCP from the same port, and its connection is kept open
//! meanwhile. The listening socket, that connection and every attempt share the port. On each stream both ends prove
//! themselves: each sends back the challenge of the other, which is new for each stream, so that recorded packets prove
//! nothing. The end that accepted a connection sends nothing before the other has, so that an attacker who connects to
//! both ends has nothing to pass on. The end that asked nominates one of the proved streams, and the last message names
//! it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::detect::{self, TCP_WAIT};
use super::gather::Environment;
use super::meet::{Line, Miss};
use super::own::socket_trouble;
use super::packet::{Challenge, Kind, LENGTH, Seal};
use super::plan::Side;

/// How long one attempt to connect may take: longer than the time until a SYN is first repeated, one second.
const ATTEMPT: Duration = Duration::from_millis(3500);
/// The pause after an attempt that was refused.
const AGAIN: Duration = Duration::from_millis(100);
/// How long an unknown host may take to prove itself.
const PROOF: Duration = Duration::from_secs(2);
/// The most connections from the other end's addresses that are checked at once; and as many from elsewhere.
const MOST_STREAMS: usize = 8;
/// How many unanswered keep-alives the system sends before a connection is over.
const SILENT: u32 = 3;

/// A port whose mapping is known.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) local: SocketAddr,
    /// The addresses at which the other end may reach it, the public one first.
    pub(super) addresses: Vec<SocketAddr>,
    /// Whether two servers saw two addresses.
    pub(super) symmetric: bool,
    /// The connections that keep the mapping.
    _kept: Vec<TcpStream>,
}

pub(super) async fn gather(environment: &Environment) -> Result<Mapped, String> {
    let servers = detect::addresses(&environment.servers.stun).await;
    let own_ip = environment
        .local_address(&servers)
        .map_err(|error| socket_trouble(&error))?;
    let first = socket((own_ip, 0).into()).map_err(|error| socket_trouble(&error))?;
    let local = first.local_addr().map_err(|error| socket_trouble(&error))?;
    drop(first);
    let (mut kept, mut seen) = (Vec::new(), Vec::new());
    let mut asked = FuturesUnordered::new();
    for server in servers {
        asked.push(mapped_by(local, server));
    }
    let asking = async {
        while seen.len() < 2
            && let Some(answer) = asked.next().await
        {
            // If a server does not answer, there are others.
            if let Ok((stream, mapped)) = answer {
                kept.push(stream);
                seen.push(mapped);
            }
        }
    };
    // With fewer answers, less is known.
    let _ = timeout(TCP_WAIT, asking).await;
    drop(asked);
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

/// The public address of the port, as a server sees it, and the connection that keeps the mapping.
async fn mapped_by(local: SocketAddr, server: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let mut stream = socket(local)?.connect(server).await?;
    let mapped = detect::mapped_by_tcp(&mut stream).await?;
    Ok((stream, mapped))
}

/// A socket that shares its port.
fn socket(local: SocketAddr) -> io::Result<TcpSocket> {
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
    turn: Semaphore,
}

/// A stream that is proved and agreed to, and the challenge of its nomination.
type Won = (Challenge, TcpStream);

/// Connects both ways until a connection has won.
pub(super) async fn race(
    mapped: Mapped,
    theirs: Vec<SocketAddr>,
    (side, seal): (Side, Seal),
    end: Instant,
    mut line: Line<'_>,
) -> Result<(TcpStream, Challenge), Miss> {
    let listener = socket(mapped.local).and_then(|socket| socket.listen(8));
    let listener = listener.map_err(|error| Miss::Failed(socket_trouble(&error)))?;
    let race = Arc::new(Race {
        side,
        seal,
        end,
        turn: Semaphore::new(1),
    });
    let (winners, mut won) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let hosts = theirs.iter().map(SocketAddr::ip).collect();
    tasks.spawn(accept(listener, hosts, Arc::clone(&race), winners.clone()));
    for to in theirs {
        tasks.spawn(dial(mapped.local, to, Arc::clone(&race), winners.clone()));
    }
    drop(winners);
    let (mut agreed, mut named): (Vec<Won>, Option<Challenge>) = (Vec::new(), None);
    loop {
        // The end that was asked may have agreed to several; the other end's message says which has won.
        let is_it = |(challenge, _): &Won| side == Side::Asking || named == Some(*challenge);
        if let Some(index) = agreed.iter().position(is_it) {
            let (challenge, stream) = agreed.swap_remove(index);
            return Ok((stream, challenge));
        }
        tokio::select! {
            stream = won.recv(), if agreed.len() < 2 * MOST_STREAMS => {
                let none = || Miss::Failed("no connection could be tried".into());
                agreed.push(stream.ok_or_else(none)?);
            }
            done = line.until_done() => named = Some(done?),
            () = sleep_until(end) => {
                return Err(Miss::Failed("no connection stood".into()));
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    hosts: Vec<IpAddr>,
    race: Arc<Race>,
    winners: mpsc::Sender<Won>,
) {
    // Unknown hosts use no slots of the other end.
    let slots = || Arc::new(Semaphore::new(MOST_STREAMS));
    let (named, strange) = (slots(), slots());
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let is_named = hosts.contains(&from.ip().to_canonical());
                    let slots = if is_named { &named } else { &strange };
                    let Ok(place) = Arc::clone(slots).try_acquire_owned() else {
                        continue;
                    };
                    let (race, winners) = (Arc::clone(&race), winners.clone());
                    streams.spawn(async move {
                        race.prove(stream, Opened::There, &winners).await;
                        drop(place);
                    });
                }
                Err(_) => sleep(AGAIN).await,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn dial(local: SocketAddr, to: SocketAddr, race: Arc<Race>, winners: mpsc::Sender<Won>) {
    while Instant::now() < race.end {
        let Ok(socket) = socket(local) else { return };
        match timeout(ATTEMPT, socket.connect(to)).await {
            // A connection to oneself, which simultaneous open makes possible, proves nothing: its packets are mirrored.
            Ok(Ok(stream)) => {
                race.prove(stream, Opened::Here, &winners).await;
                sleep(AGAIN).await;
            }
            Ok(Err(_)) => sleep(AGAIN).await,
            Err(_) => {}
        }
    }
}

/// Which end opened a stream, and so speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Here,
    There,
}

impl Race {
    /// Makes the other end prove itself, and returns the stream if it is nominated.
    async fn prove(&self, stream: TcpStream, opened: Opened, winners: &mpsc::Sender<Won>) {
        let agreed = async {
            let mut stream = stream;
            stream.set_nodelay(true)?;
            let own: Challenge = rand::random();
            let proving = self.exchange(&mut stream, opened, own);
            timeout(PROOF, proving).await??;
            let challenge = match self.side {
                Side::Asking => {
                    let turn = self.turn.acquire().await.map_err(|_| stranger())?;
                    self.say(&mut stream, Kind::Nominate, own).await?;
                    let agreed = self.hear(&mut stream, Kind::Agreed);
                    if timeout(PROOF, agreed).await?? != own {
                        return Err(stranger());
                    }
                    // No later one is nominated: this is the one.
                    turn.forget();
                    own
                }
                Side::Asked => {
                    let challenge = self.hear(&mut stream, Kind::Nominate).await?;
                    self.say(&mut stream, Kind::Agreed, challenge).await?;
                    challenge
                }
            };
            let _ = winners.send((challenge, stream)).await;
            Ok(())
        };
        // If a stream fails, there are others.
        let _: Result<io::Result<()>, _> = timeout_at(self.end, agreed).await;
    }

    /// Each end sends the other's challenge back.
    async fn exchange(
        &self,
        stream: &mut TcpStream,
        opened: Opened,
        own: Challenge,
    ) -> io::Result<()> {
        if opened == Opened::Here {
            self.say(stream, Kind::Hello, own).await?;
        }
        let theirs = self.hear(stream, Kind::Hello).await?;
        if opened == Opened::There {
            self.say(stream, Kind::Hello, own).await?;
        }
        self.say(stream, Kind::Heard, theirs).await?;
        if self.hear(stream, Kind::Heard).await? != own {
            return Err(stranger());
        }
        Ok(())
    }

    async fn say(
        &self,
        stream: &mut TcpStream,
        kind: Kind,
        challenge: Challenge,
    ) -> io::Result<()> {
        stream.write_all(&self.seal.write(kind, challenge)).await
    }

    /// The challenge of the next packet, which has to be of this kind.
    async fn hear(&self, stream: &mut TcpStream, kind: Kind) -> io::Result<Challenge> {
        let mut packet = [0; LENGTH];
        stream.read_exact(&mut packet).await?;
        let read = self.seal.read(&packet).filter(|read| read.kind == kind);
        read.map(|read| read.challenge).ok_or_else(stranger)
    }
}

fn stranger() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Makes the system keep the connection alive, and end it when the other end is silent for some keep-alives, or reads
/// nothing for as long.
pub(super) fn keep_alive(stream: &TcpStream, every: Duration) {
    // The system counts in seconds.
    let every = every.max(Duration::from_secs(1));
    let alive = TcpKeepalive::new().with_time(every).with_interval(every);
    let socket = SockRef::from(stream);
    // If that fails the stream works as well, for as long as the NATs remember it.
    let _ = socket.set_tcp_keepalive(&alive.with_retries(SILENT));
    let _ = socket.set_tcp_user_timeout(Some(every * (SILENT + 1)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::gather::AttemptResources;
    use crate::coordinator::ice::{IceServers, Place};
    use crate::coordinator::lingering::Lingering;

    fn race(side: Side) -> Race {
        Race {
            side,
            seal: Seal::sample(side),
            end: Instant::now() + Duration::from_secs(20),
            turn: Semaphore::new(1),
        }
    }

    /// Both ends of a stream; the first opened it.
    async fn stream() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let (opened, accepted) = tokio::join!(TcpStream::connect(to), listener.accept());
        (opened.unwrap(), accepted.unwrap().0)
    }

    async fn heard(stream: &mut TcpStream, of: Side) -> Option<(Kind, Challenge)> {
        let mut packet = [0; LENGTH];
        stream.read_exact(&mut packet).await.ok()?;
        let read = Seal::sample(of.other()).read(&packet)?;
        Some((read.kind, read.challenge))
    }

    #[tokio::test]
    async fn servers_are_asked_for_the_mapping_at_once() {
        // They accept a connection and send nothing, each for the whole time.
        let listen = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent: Vec<_> = (0..4).map(listen).collect();
        let mut servers = IceServers::default();
        for one in &silent {
            let (host, port) = ("127.0.0.1".to_owned(), one.local_addr().unwrap().port());
            servers.stun.push(Place { host, port });
        }
        let nat = detect::detect(&IceServers::default(), None, &Lingering::new()).await;
        let environment = Environment {
            nat,
            servers,
            local_port: 0,
            tls: None,
            shared: AttemptResources::new(),
        };
        let began = Instant::now();
        let mapped = gather(&environment).await.unwrap();
        assert_eq!(
            mapped.addresses,
            [mapped.local],
            "nobody said where it is seen"
        );
        assert!(began.elapsed() < 2 * TCP_WAIT, "one after the other");
    }

    #[tokio::test]
    async fn both_ends_prove_themselves_and_name_the_stream_whichever_of_them_opened_it() {
        for (here, there) in [(Opened::Here, Opened::There), (Opened::There, Opened::Here)] {
            let (one, other) = match here {
                Opened::Here => stream().await,
                Opened::There => {
                    let (opened, accepted) = stream().await;
                    (accepted, opened)
                }
            };
            let (asking, asked) = (race(Side::Asking), race(Side::Asked));
            let (winners, mut won) = mpsc::channel(1);
            let (others, mut other_won) = mpsc::channel(1);
            tokio::join!(
                asking.prove(one, here, &winners),
                asked.prove(other, there, &others),
            );
            let (challenge, _stream) = won.recv().await.unwrap();
            assert_eq!(other_won.recv().await.unwrap().0, challenge);
        }
    }

    #[tokio::test]
    async fn what_was_recorded_of_another_stream_proves_nothing() {
        let other = Seal::sample(Side::Asking);
        for stale in [[7; 8], [0; 8]] {
            let (mut stranger, accepted) = stream().await;
            let asked = race(Side::Asked);
            let (winners, mut won) = mpsc::channel(1);
            let proving = asked.prove(accepted, Opened::There, &winners);
            let replaying = async {
                for kind in [Kind::Hello, Kind::Heard, Kind::Nominate] {
                    stranger.write_all(&other.write(kind, stale)).await.unwrap();
                }
                let mut said = Vec::new();
                while let Some(packet) = heard(&mut stranger, Side::Asked).await {
                    said.push(packet.0);
                }
                said
            };
            let ((), said) = tokio::join!(proving, replaying);
            assert_eq!(said, [Kind::Hello, Kind::Heard], "it agrees to nothing");
            assert!(won.try_recv().is_err());
        }
    }

    #[tokio::test]
    async fn a_stranger_who_connects_and_waits_is_told_nothing() {
        let (mut stranger, accepted) = stream().await;
        let asked = race(Side::Asked);
        let (winners, _won) = mpsc::channel(1);
        let mut said = Vec::new();
        let (_, read) = tokio::join!(
            asked.prove(accepted, Opened::There, &winners),
            stranger.read_to_end(&mut said),
        );
        assert_eq!((read.unwrap(), said.len()), (0, 0));
    }
}
