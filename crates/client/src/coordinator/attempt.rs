//! One attempt to connect two peers, at one end: asks or agrees, and tries one way after the other.
//!
//! The end that asked chooses the ways, from what both ends know of their NATs; the other end follows. In each round
//! both ends open their sockets, send each other the addresses, and send packets at the same time. The end that asked
//! has a shorter time limit in each round, so that it is the one that starts the next round.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::candidates::{self, View};
use super::datagram::{Datagram, Life};
use super::failure::{ConnectFailure, Tried, Tries, failure};
use super::gather::{self, Environment, Gathered};
use super::link::{Link, Lost};
use super::meet::{self, Line, Miss};
use super::packet::{Challenge, Nonce, Round, Seal};
use super::plan::{self, End, Method, Side, Step};
use super::port::Port;
use super::progress::Progress;
use super::punch::{Pace, Path, Punch};
use super::signal::Body;
use super::{own, tcp};

/// The time in which an end has to open its sockets: a relay over TLS is the slowest.
const GATHER: Duration = Duration::from_secs(12);
/// How long to wait for the other end to open its sockets and to send their addresses.
const GATHERING: Duration = Duration::from_secs(15);
/// How long the end that was asked waits for the next way.
const NEXT_WORD: Duration = Duration::from_secs(10);
/// How much longer the end that was asked waits for a round.
const FOLLOWS: Duration = Duration::from_secs(3);
/// How much sooner TCP is given up when the port of one end is unknown.
const HALF_HOPE: Duration = Duration::from_millis(2500);
/// The most ways on which an end follows the other in one attempt: more than exist.
const MOST_ROUNDS: usize = 8;
/// The lowest port that birthday probing guesses: NATs do not use lower ones.
const LOWEST_PORT: u16 = 1024;
/// The number of probes in birthday probing.
const PROBES: usize = 1024;

/// The channel of a connection: datagrams or a stream.
#[derive(Debug)]
pub enum Channel {
    /// Datagrams, each delivered unchanged or lost.
    Datagram(Datagram),
    /// A stream of bytes.
    Stream(TcpStream),
}

/// The result of an attempt.
pub(super) struct Reached {
    pub(super) method: Method,
    pub(super) way: String,
    pub(super) remote: SocketAddr,
    pub(super) channel: Channel,
    pub(super) tried: Vec<Tried>,
    /// The challenge of the nomination; the last message names it.
    challenge: Challenge,
}

/// A way that succeeded.
struct Found {
    way: String,
    remote: SocketAddr,
    channel: Channel,
    challenge: Challenge,
}

/// The addresses of one end in a round.
struct Place {
    addresses: Vec<SocketAddr>,
    /// For TCP: whether the NAT uses another port for each destination.
    symmetric: bool,
    relayed: bool,
}

/// One end of an attempt, after both have agreed to it.
pub(super) struct Attempt {
    pub(super) environment: Arc<Environment>,
    pub(super) link: Link,
    pub(super) side: Side,
    pub(super) asking: Nonce,
    pub(super) asked: Nonce,
    /// The other end's description of itself.
    pub(super) other: End,
    pub(super) life: Life,
    pub(super) progress: Progress,
    pub(super) tried: Tries,
}

/// The other end's agreement.
pub(super) struct Accepted {
    pub(super) nonce: Nonce,
    pub(super) end: End,
    pub(super) keep_alive_ms: u32,
}

/// Asks the peer for a connection, again and again until it agrees or refuses.
pub(super) async fn ask(
    link: &mut Link,
    ask: Body,
    (times, limit): (u32, Duration),
    progress: &Progress,
) -> Result<Accepted, ConnectFailure> {
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
                    Ok(Body::Accept {
                        nonce,
                        end,
                        keep_alive_ms,
                    }) => {
                        return Ok(Accepted {
                            nonce,
                            end,
                            keep_alive_ms,
                        });
                    }
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
    /// Tries one way after the other; if `only` is not empty, only these.
    pub(super) async fn lead(
        mut self,
        own: &End,
        only: &[Method],
    ) -> Result<Reached, ConnectFailure> {
        let mut steps = plan::plan(own, &self.other);
        steps.retain(|step| only.is_empty() || only.contains(&step.method));
        for (round, step) in (0..=u8::MAX).zip(steps) {
            let said = self.link.say(Body::Try { round, step }).await;
            said.map_err(|lost| failure(&self.link.peer, lost))?;
            if let Some(reached) = self.try_step(round, step).await? {
                let challenge = reached.challenge;
                // The other end is also told on the way itself.
                let _ = self.link.say(Body::Done { round, challenge }).await;
                self.link.decided();
                return Ok(reached);
            }
        }
        // The link's last message says that it gives up.
        Err(self.no_way())
    }

    /// Agrees, and follows the other end from one way to the next.
    pub(super) async fn follow(mut self) -> Result<Reached, ConnectFailure> {
        self.accept().await?;
        let (mut rounds, mut next) = (0, 0);
        loop {
            self.tried.begin("waited to be told what to try");
            let Ok(heard) = timeout(NEXT_WORD, self.link.hear()).await else {
                let (peer, waited) = (self.link.peer.clone(), NEXT_WORD);
                return Err(ConnectFailure::NoAnswer { peer, waited });
            };
            match heard {
                // Each round has its own number, and so its own seal.
                Ok(Body::Try { round, step }) if round >= next => {
                    next = round.saturating_add(1);
                    rounds += 1;
                    if rounds > MOST_ROUNDS {
                        return Err(self.no_way());
                    }
                    if let Some(reached) = self.try_step(round, step).await? {
                        self.link.decided();
                        return Ok(reached);
                    }
                }
                // It did not get the answer.
                Ok(Body::Ask { .. }) => self.accept().await?,
                Ok(_) => {}
                Err(Lost::GivenUp) if rounds > 0 => return Err(self.no_way()),
                Err(lost) => return Err(failure(&self.link.peer, lost)),
            }
        }
    }

    async fn accept(&mut self) -> Result<(), ConnectFailure> {
        let accept = Body::Accept {
            nonce: self.asked,
            end: self.environment.end(),
            keep_alive_ms: self.life.keep_alive_ms(),
        };
        let said = self.link.say(accept).await;
        said.map_err(|lost| failure(&self.link.peer, lost))
    }

    fn no_way(&self) -> ConnectFailure {
        ConnectFailure::NoWay {
            peer: self.link.peer.clone(),
            tried: self.tried.so_far(),
        }
    }

    /// Tries one way. `None` if it fails; the reason is stored.
    async fn try_step(&mut self, round: u8, step: Step) -> Result<Option<Reached>, ConnectFailure> {
        let began = Instant::now();
        self.progress.step(|| format!("tries {}", step.method));
        self.tried.begin(format!("tried {}", step.method));
        let went = match step.method {
            Method::TcpPunch => self.by_tcp(round).await,
            _ => self.by_datagrams(round, step).await,
        };
        let (lost, reason) = match went {
            Ok(found) => return Ok(Some(self.reached(step.method, found))),
            Err(Miss::Failed(reason)) => (None, reason),
            Err(Miss::Lost(lost)) => {
                let reason = lost.to_string();
                (Some(lost), reason)
            }
        };
        self.progress
            .step(|| format!("{} fails: {reason}", step.method));
        self.tried.add(Tried {
            method: step.method,
            reason,
            took: began.elapsed(),
        });
        match lost {
            None => Ok(None),
            Some(Lost::GivenUp) => Err(self.no_way()),
            Some(lost) => Err(failure(&self.link.peer, lost)),
        }
    }

    fn reached(&self, method: Method, found: Found) -> Reached {
        let Found {
            way,
            remote,
            channel,
            challenge,
        } = found;
        self.progress.step(|| format!("{way} leads to {remote}"));
        Reached {
            method,
            way,
            remote,
            channel,
            tried: self.tried.so_far(),
            challenge,
        }
    }

    /// The sockets of a round of datagrams.
    async fn gather(&self, step: Step) -> Result<Gathered, String> {
        let many = step.many == Some(self.side);
        let gathering = async {
            match step.method {
                Method::Relay => gather::relay(&self.environment).await,
                // A peer that asks for this without need gets neither sockets nor probes.
                Method::Birthday if !self.environment.fits_birthday(many) => {
                    Err("its NAT is none for birthday probing".into())
                }
                Method::Birthday => gather::birthday(&self.environment, self.side, many).await,
                _ => gather::udp(&self.environment).await,
            }
        };
        let gathered = timeout(GATHER, gathering).await;
        gathered.unwrap_or_else(|_| Err(format!("no sockets were there within {GATHER:?}")))
    }

    /// The addresses of the other end that a socket or relay at this address should try.
    fn usable(
        &self,
        own: std::io::Result<SocketAddr>,
        theirs: &Place,
        is_relay: bool,
    ) -> Vec<SocketAddr> {
        let Ok(own) = own else { return Vec::new() };
        let view = View {
            own: own.ip(),
            own_public: self.environment.public_ip(),
            their_public: self.other.public,
            is_relayed: is_relay || theirs.relayed,
        };
        let usable = view.usable(&theirs.addresses);
        self.progress
            .step(|| format!("the other end may be at {usable:?}"));
        usable
    }

    async fn by_datagrams(&mut self, round: u8, step: Step) -> Result<Found, Miss> {
        let many = step.method == Method::Birthday && step.many == Some(self.side);
        let (gathered, trouble) = match self.gather(step).await {
            Ok(gathered) => (gathered, None),
            Err(trouble) => (Gathered::default(), Some(trouble)),
        };
        let Gathered {
            ports,
            addresses,
            troubles,
            permit: _permit,
        } = gathered;
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
        let first = ports
            .first()
            .ok_or_else(|| Miss::Failed("no socket".into()))?;
        let theirs = self.usable(first.local_addr(), &theirs, relayed);
        let (paths, pace) = if step.method == Method::Birthday {
            birthday_paths(&theirs, self.other.public, many)
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
        let (remote, challenge) = (won.remote, won.challenge);
        let datagram = Datagram::new(won.port, remote, seal, won.early, self.life);
        Ok(Found {
            way,
            remote,
            channel: Channel::Datagram(datagram),
            challenge,
        })
    }

    async fn by_tcp(&mut self, round: u8) -> Result<Found, Miss> {
        let gathered = timeout(GATHER, tcp::gather(&self.environment)).await;
        let gathered =
            gathered.unwrap_or_else(|_| Err(format!("no socket was there within {GATHER:?}")));
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
        let theirs = self.exchange(round, own, trouble).await?;
        let they = theirs.symmetric;
        if symmetric && they {
            let reason = "both NATs give each destination another TCP port";
            return Err(Miss::Failed(reason.into()));
        }
        let mapped = mapped.ok_or_else(|| Miss::Failed("no socket".into()))?;
        let theirs = self.usable(Ok(mapped.local), &theirs, false);
        let mut end = self.end_of(Method::TcpPunch);
        if symmetric || they {
            // It succeeds only if the other end accepts packets from anywhere, and then at once.
            end -= HALF_HOPE;
        }
        let seal = self.seal(round);
        let link = &mut self.link;
        let line = Line { link, round };
        let (stream, challenge) = tcp::race(mapped, theirs, (self.side, seal), end, line).await?;
        tcp::keep_alive(&stream, self.life.keep_alive);
        let remote = stream.peer_addr();
        let remote = remote.map_err(|error| Miss::Failed(own::socket_trouble(&error)))?;
        Ok(Found {
            way: Method::TcpPunch.to_string(),
            remote,
            channel: Channel::Stream(stream),
            challenge,
        })
    }

    /// Exchanges the addresses of both ends.
    async fn exchange(
        &mut self,
        round: u8,
        own: Place,
        trouble: Option<String>,
    ) -> Result<Place, Miss> {
        let own_trouble = trouble.clone();
        let addresses = if own.relayed {
            own.addresses
        } else {
            let (here, there) = (self.environment.public_ip(), self.other.public);
            candidates::worth_telling(&own.addresses, here, there)
        };
        let body = Body::Candidates {
            round,
            addresses,
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
                    later @ Body::Try { .. } => {
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
        let (theirs, trouble) = heard.map_err(|_| silent())??;
        if let Some(trouble) = own_trouble {
            return Err(Miss::Failed(trouble));
        }
        if let Some(trouble) = trouble {
            return Err(Miss::Failed(format!("at the other end: {trouble}")));
        }
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

/// The symmetric end sends from many sockets to the one address of the other. That end sends to many ports of the
/// symmetric end, but only at the public address that servers see: no host's own network is scanned for ports.
fn birthday_paths(theirs: &[SocketAddr], public: Option<IpAddr>, many: bool) -> (Vec<Path>, Pace) {
    let is_outside = |place: &&SocketAddr| {
        many || (Some(place.ip()) == public && !candidates::is_private(place.ip()))
    };
    let Some(first) = theirs.iter().find(is_outside).copied() else {
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
        let theirs: [SocketAddr; 1] = ["198.51.100.7:4000".parse().unwrap()];
        let public = Some(theirs[0].ip());
        let (many, _) = birthday_paths(&theirs, public, true);
        assert_eq!(many.len(), 256);
        assert!(many.iter().all(|path| path.remote == theirs[0]));
        let (one, pace) = birthday_paths(&theirs, public, false);
        let ports: std::collections::HashSet<_> = one.iter().map(|path| path.remote).collect();
        assert_eq!((ports.len(), pace.most), (1024, 1024), "each port once");
        assert!(
            one.iter()
                .all(|path| path.socket == 0 && path.remote.port() >= 1024)
        );
        assert!(birthday_paths(&[], public, true).0.is_empty());
    }

    #[test]
    fn no_ports_are_searched_in_a_network_of_the_own_or_of_a_third() {
        let probes = |first: &str, public: &str| {
            let theirs = [first.parse().unwrap()];
            birthday_paths(&theirs, public.parse().ok(), false).0.len()
        };
        assert_eq!(probes("192.168.1.1:80", "192.168.1.1"), 0);
        assert_eq!(probes("203.0.113.9:80", "198.51.100.7"), 0);
        assert_eq!(probes("203.0.113.9:80", ""), 0);
        assert_eq!(probes("198.51.100.7:80", "198.51.100.7"), 1024);
    }
}
