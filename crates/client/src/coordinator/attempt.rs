//! One attempt to connect two peers, at one end: asks or agrees, and tries one way after the other.
//!
//! The end that asks decides what is tried, from what both know of their NATs; the other follows. In each round both open
//! their sockets, tell each other where they may be, and meet there at once. The end that asks has a shorter time in each
//! round, so that it is the one that goes on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::seq::SliceRandom as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::datagram::Datagram;
use super::failure::{ConnectFailure, Tried, failure};
use super::gather::{self, Gathered, Ground};
use super::link::Link;
use super::meet::{self, Line, Miss};
use super::packet::{Nonce, Round, Seal};
use super::plan::{self, End, Method, Side, Step};
use super::port::Port;
use super::progress::Progress;
use super::punch::{Pace, Path, Punch};
use super::signal::Body;
use super::tcp;

/// How long the other end may take to open its sockets: a relay over TLS is the slowest.
const GATHERING: Duration = Duration::from_secs(15);
/// How much longer the end that was asked waits for a round.
const FOLLOWS: Duration = Duration::from_secs(3);
/// How much sooner TCP is given up when the port of one end is unknown.
const HALF_HOPE: Duration = Duration::from_millis(2500);
/// Ways that an end follows the other to, in one attempt: more than there are.
const MOST_ROUNDS: usize = 8;
/// The lowest port that birthday probing guesses: NATs leave those below to servers.
const LOWEST_PORT: u16 = 1024;
/// Probes of birthday probing.
const PROBES: usize = 1024;

/// What a connection is: datagrams or a stream.
#[derive(Debug)]
pub enum Channel {
    /// Datagrams, each as it was sent, or lost.
    Datagram(Datagram),
    /// A stream of bytes.
    Stream(TcpStream),
}

/// What an attempt led to.
pub(super) struct Reached {
    pub(super) method: Method,
    pub(super) way: String,
    pub(super) remote: SocketAddr,
    pub(super) channel: Channel,
    pub(super) tried: Vec<Tried>,
}

/// Where an end is in a round.
struct Place {
    addresses: Vec<SocketAddr>,
    /// For TCP: whether the NAT gives each destination another port.
    symmetric: bool,
    relayed: bool,
}

/// One end of an attempt, once both have agreed to it.
pub(super) struct Attempt {
    pub(super) ground: Arc<Ground>,
    pub(super) link: Link,
    pub(super) side: Side,
    pub(super) asking: Nonce,
    pub(super) asked: Nonce,
    pub(super) keep_alive: Duration,
    pub(super) progress: Progress,
    pub(super) tried: Tries,
}

/// The ways that were tried, for whoever has to tell of them.
pub(super) type Tries = Arc<Mutex<Vec<Tried>>>;

/// Them so far.
pub(super) fn so_far(tries: &Tries) -> Vec<Tried> {
    tries.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Asks the peer whether it wants a connection, again and again until it says so. Gives its nonce and its end.
pub(super) async fn ask(
    link: &mut Link,
    ask: Body,
    (times, limit): (u32, Duration),
    progress: &Progress,
) -> Result<(Nonce, End), ConnectFailure> {
    let peer = link.peer.clone();
    let each = limit / times.max(1);
    for time in 0..times.max(1) {
        progress.step(|| match time {
            0 => "asks it".into(),
            _ => "asks it again".into(),
        });
        let saying = link.say(ask.clone()).await;
        saying.map_err(|lost| failure(&peer, lost))?;
        let hearing = async {
            loop {
                match link.hear().await {
                    Ok(Body::Accept { nonce, end }) => return Ok((nonce, end)),
                    Ok(Body::Refuse { reason }) => {
                        let peer = peer.clone();
                        return Err(ConnectFailure::Refused { peer, reason });
                    }
                    Ok(_) => {}
                    Err(lost) => return Err(failure(&peer, lost)),
                }
            }
        };
        if let Ok(heard) = timeout(each, hearing).await {
            return heard;
        }
    }
    let waited = limit;
    Err(ConnectFailure::NoAnswer { peer, waited })
}

impl Attempt {
    /// Tries one way after the other; of those that fit, only these if there are any.
    pub(super) async fn lead(
        mut self,
        own: &End,
        other: &End,
        only: &[Method],
    ) -> Result<Reached, ConnectFailure> {
        let mut steps = plan::plan(own, other);
        steps.retain(|step| only.is_empty() || only.contains(&step.method));
        for (round, step) in (0..=u8::MAX).zip(steps) {
            let said = self.link.say(Body::Try { round, step }).await;
            said.map_err(|lost| failure(&self.link.peer, lost))?;
            if let Some(reached) = self.try_step(round, step).await? {
                // The other end hears of it by the way itself, too.
                let _ = self.link.say(Body::Done { round }).await;
                return Ok(reached);
            }
        }
        // Whoever hears it not sees that nothing follows.
        let _ = self.link.say(Body::GiveUp).await;
        Err(self.no_way())
    }

    /// Agrees, and follows the other end from way to way.
    pub(super) async fn follow(mut self) -> Result<Reached, ConnectFailure> {
        self.accept().await?;
        let mut rounds = 0;
        loop {
            match self.link.hear().await {
                Ok(Body::Try { round, step }) => {
                    rounds += 1;
                    if rounds > MOST_ROUNDS {
                        return Err(self.no_way());
                    }
                    if let Some(reached) = self.try_step(round, step).await? {
                        return Ok(reached);
                    }
                }
                Ok(Body::GiveUp) => return Err(self.no_way()),
                // It did not hear the answer.
                Ok(Body::Ask { .. }) => self.accept().await?,
                Ok(_) => {}
                Err(lost) => return Err(failure(&self.link.peer, lost)),
            }
        }
    }

    async fn accept(&self) -> Result<(), ConnectFailure> {
        let accept = Body::Accept {
            nonce: self.asked,
            end: self.ground.end(),
        };
        let said = self.link.say(accept).await;
        said.map_err(|lost| failure(&self.link.peer, lost))
    }

    fn no_way(&self) -> ConnectFailure {
        ConnectFailure::NoWay {
            peer: self.link.peer.clone(),
            tried: so_far(&self.tried),
        }
    }

    /// Tries one way; nothing if it leads nowhere, which is kept to be told.
    async fn try_step(&mut self, round: u8, step: Step) -> Result<Option<Reached>, ConnectFailure> {
        let began = Instant::now();
        self.progress.step(|| format!("tries {}", step.method));
        let went = match step.method {
            Method::TcpPunch => self.by_tcp(round).await,
            _ => self.by_datagrams(round, step).await,
        };
        match went {
            Ok((way, remote, channel)) => {
                self.progress.step(|| format!("{way} leads to {remote}"));
                Ok(Some(Reached {
                    method: step.method,
                    way,
                    remote,
                    channel,
                    tried: so_far(&self.tried),
                }))
            }
            Err(Miss::Failed(reason)) => {
                self.progress
                    .step(|| format!("{} fails: {reason}", step.method));
                let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
                tried.push(Tried {
                    method: step.method,
                    reason,
                    took: began.elapsed(),
                });
                Ok(None)
            }
            Err(Miss::Lost(lost)) => Err(failure(&self.link.peer, lost)),
        }
    }

    async fn by_datagrams(
        &mut self,
        round: u8,
        step: Step,
    ) -> Result<(String, SocketAddr, Channel), Miss> {
        let many = step.method == Method::Birthday && step.many == Some(self.side);
        let gathered = match step.method {
            Method::Relay => gather::relay(&self.ground).await,
            // Whoever asks for it for no reason gets neither sockets nor probes.
            Method::Birthday if !self.ground.fits_birthday(many) => {
                Err("its NAT is none for birthday probing".into())
            }
            Method::Birthday if many => gather::many(&self.ground).await,
            _ => gather::udp(&self.ground).await,
        };
        let (ports, addresses, troubles, trouble) = match gathered {
            Ok(Gathered {
                ports,
                addresses,
                troubles,
            }) => (ports, addresses, troubles, None),
            Err(trouble) => (Vec::new(), Vec::new(), None, Some(trouble)),
        };
        if let Some(troubles) = &troubles {
            self.progress.step(|| format!("no relay here: {troubles}"));
        }
        let relayed = matches!(ports.first(), Some(Port::Relay(_)));
        let own = Place {
            addresses,
            symmetric: false,
            relayed,
        };
        let theirs = self.exchange(round, own, trouble).await?;
        if let Some(troubles) = troubles.filter(|_| !theirs.relayed) {
            return Err(Miss::Failed(format!("neither end has a relay: {troubles}")));
        }
        let theirs = theirs.addresses;
        let (paths, pace) = if step.method == Method::Birthday {
            birthday_paths(&theirs, many)
        } else {
            let remotes = theirs.into_iter();
            let paths = remotes.map(|remote| Path { socket: 0, remote });
            (paths.collect(), Pace::FEW)
        };
        let seal = self.seal(round);
        let punch = Punch::new(self.side, seal.clone(), pace, paths, Instant::now());
        let end = self.end_of(step.method);
        let link = &mut self.link;
        let won = meet::meet(ports, punch, end, Line { link, round }).await?;
        let way = match &*won.port {
            Port::Relay(relay) => format!("{} over {}", step.method, relay.transport),
            Port::Udp(_) => step.method.to_string(),
        };
        let remote = won.remote;
        let datagram = Datagram::new(won.port, remote, seal, won.early, self.keep_alive);
        Ok((way, remote, Channel::Datagram(datagram)))
    }

    async fn by_tcp(&mut self, round: u8) -> Result<(String, SocketAddr, Channel), Miss> {
        let gathered = tcp::gather(&self.ground).await;
        let (mapped, addresses, symmetric, trouble) = match gathered {
            Ok(mapped) => {
                let (addresses, symmetric) = (mapped.addresses.clone(), mapped.symmetric);
                (Some(mapped), addresses, symmetric, None)
            }
            Err(trouble) => (None, Vec::new(), false, Some(trouble)),
        };
        let own = Place {
            addresses,
            symmetric,
            relayed: false,
        };
        let Place {
            addresses: theirs,
            symmetric: they,
            ..
        } = self.exchange(round, own, trouble).await?;
        if symmetric && they {
            let reason = "both NATs give each destination another TCP port";
            return Err(Miss::Failed(reason.into()));
        }
        let mapped = mapped.ok_or_else(|| Miss::Failed("no socket".into()))?;
        let mut end = self.end_of(Method::TcpPunch);
        if symmetric || they {
            // It leads there only if the other end lets in everybody, and then at once.
            end -= HALF_HOPE;
        }
        let seal = self.seal(round);
        let link = &mut self.link;
        let line = Line { link, round };
        let stream = tcp::race(mapped, theirs, (self.side, seal), end, line).await?;
        tcp::keep_alive(&stream, self.keep_alive);
        let remote = stream.peer_addr();
        let remote = remote.map_err(|error| Miss::Failed(gather::socket_trouble(error)))?;
        let way = Method::TcpPunch.to_string();
        Ok((way, remote, Channel::Stream(stream)))
    }

    /// Tells the other end where this one may be, and hears the same of it.
    async fn exchange(
        &mut self,
        round: u8,
        own: Place,
        trouble: Option<String>,
    ) -> Result<Place, Miss> {
        let own_trouble = trouble.clone();
        let body = Body::Candidates {
            round,
            addresses: own.addresses,
            symmetric: own.symmetric,
            relayed: own.relayed,
            trouble,
        };
        self.link.say(body).await?;
        let link = &mut self.link;
        let hearing = async {
            loop {
                match link.hear().await? {
                    Body::Candidates {
                        round: of,
                        addresses,
                        symmetric,
                        relayed,
                        trouble,
                    } if of == round => {
                        let place = Place {
                            addresses,
                            symmetric,
                            relayed,
                        };
                        return Ok((place, trouble));
                    }
                    later @ (Body::Try { .. } | Body::GiveUp) => {
                        link.keep(later);
                        return Err(Miss::Failed("the other end went on to the next way".into()));
                    }
                    _ => {}
                }
            }
        };
        let heard = timeout(GATHERING, hearing).await;
        let silent = || {
            Miss::Failed(format!(
                "the other end did not say where it is within {GATHERING:?}"
            ))
        };
        let (mut theirs, trouble) = heard.map_err(|_| silent())??;
        if let Some(trouble) = own_trouble {
            return Err(Miss::Failed(trouble));
        }
        if let Some(trouble) = trouble {
            return Err(Miss::Failed(format!("at the other end: {trouble}")));
        }
        self.progress
            .step(|| format!("the other end may be at {:?}", theirs.addresses));
        let usable = |place: &SocketAddr| {
            let ip = place.ip();
            place.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
        };
        theirs.addresses.retain(usable);
        Ok(theirs)
    }

    fn end_of(&self, method: Method) -> Instant {
        let limit = match method {
            Method::Direct => Duration::from_millis(1500),
            Method::UdpPunch | Method::Birthday | Method::TcpPunch => Duration::from_secs(4),
            Method::Relay => Duration::from_secs(6),
        };
        match self.side {
            Side::Asking => Instant::now() + limit,
            Side::Asked => Instant::now() + limit + FOLLOWS,
        }
    }

    fn seal(&self, number: u8) -> Seal {
        let round = Round {
            attempt: &self.link.attempt,
            number,
            asking: &self.asking,
            asked: &self.asked,
        };
        Seal::new(&round, self.side, rand::random())
    }
}

/// The symmetric end sends from many sockets to the one place of the other; that one sends to many ports of the first.
fn birthday_paths(theirs: &[SocketAddr], many: bool) -> (Vec<Path>, Pace) {
    let Some(first) = theirs.first().copied() else {
        return (Vec::new(), Pace::MANY);
    };
    if many {
        let paths = (0..gather::MANY).map(|socket| Path {
            socket,
            remote: first,
        });
        let gap = Duration::from_millis(1);
        return (paths.collect(), Pace { gap, ..Pace::MANY });
    }
    let mut ports: Vec<u16> = (LOWEST_PORT..=u16::MAX).collect();
    ports.shuffle(&mut rand::rng());
    let paths = ports.into_iter().take(PROBES).map(|port| Path {
        socket: 0,
        remote: (first.ip(), port).into(),
    });
    (paths.collect(), Pace::MANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birthday_probing_has_256_sockets_on_one_side_and_1024_ports_on_the_other() {
        let theirs = ["198.51.100.7:4000".parse().unwrap()];
        let (many, _) = birthday_paths(&theirs, true);
        assert_eq!(many.len(), 256);
        assert!(many.iter().all(|path| path.remote == theirs[0]));
        let (one, pace) = birthday_paths(&theirs, false);
        let ports: std::collections::HashSet<_> = one.iter().map(|path| path.remote).collect();
        assert_eq!((ports.len(), pace.most), (1024, 1024), "each port once");
        assert!(
            one.iter()
                .all(|path| path.socket == 0 && path.remote.port() >= 1024)
        );
        assert!(birthday_paths(&[], true).0.is_empty());
    }
}
