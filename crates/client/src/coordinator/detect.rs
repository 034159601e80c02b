//! Detects the NAT: sends STUN requests and passes the answers to [`Observations`].
//!
//! One socket asks every server for its mapping. A second one, which has sent to one server only, asks that server to
//! answer from another port, or from another host if it has one; so it shows which packets the NAT accepts. A missing
//! answer counts only if the server still answers a plain request. If two types are then possible, a relay on another
//! host sends a packet (`probe`). UDP is considered blocked when no server answers by UDP and one does by TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::candidates::is_private;
use super::ice::{self, IceServers, Place, TurnServer};
use super::lingering::Lingering;
use super::nat_type::{NatType, Observations};
use super::own::{self, socket_trouble};
use super::probe::{self, Seen};
use super::stun::{self, Answer, Change};

/// How long to wait for answers by UDP.
const UDP_WAIT: Duration = Duration::from_millis(1200);
/// How long to wait for a packet from another port or host.
const FILTER_WAIT: Duration = Duration::from_millis(800);
/// How long a connection to a STUN server may take.
pub(super) const TCP_WAIT: Duration = Duration::from_millis(2000);
/// The first of the times after which a request is repeated; each is twice as long as the last.
const FIRST_REPEAT: Duration = Duration::from_millis(150);
/// The most addresses of servers that are asked.
const MOST_SERVERS: usize = 8;
/// The longest time for the whole detection.
const LIMIT: Duration = Duration::from_secs(15);

/// The result of the detection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "found")]
pub enum Finding {
    /// Only one type fits.
    Determined {
        /// The type.
        #[serde(rename = "type")]
        kind: NatType,
    },
    /// Several types fit the observations.
    Undetermined {
        /// These types, in order.
        possible: Vec<NatType>,
        /// Why there is no single type.
        reason: String,
    },
    /// UDP does not work, and TCP does.
    UdpBlocked,
    /// No server was reached, so nothing is known.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// The NAT of this peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NatInfo {
    /// The type of the NAT.
    #[serde(flatten)]
    pub finding: Finding,
    /// The public address of a socket of this peer, as servers see it.
    pub public: Option<SocketAddr>,
    /// The local address of the same socket.
    pub local: Option<SocketAddr>,
    /// Servers that answered.
    pub answered: Vec<SocketAddr>,
    /// How long it took.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub took: Duration,
}

fn milliseconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

impl NatInfo {
    /// The possible types of the NAT: none when UDP is blocked, all when nothing is known.
    pub fn possible(&self) -> Vec<NatType> {
        match &self.finding {
            Finding::Determined { kind } => vec![*kind],
            Finding::Undetermined { possible, .. } => possible.clone(),
            Finding::UdpBlocked => Vec::new(),
            Finding::Unknown { .. } => NatType::ALL.to_vec(),
        }
    }

    fn without_answers(finding: Finding, started: Instant) -> Self {
        Self {
            finding,
            public: None,
            local: None,
            answered: Vec::new(),
            took: started.elapsed(),
        }
    }
}

/// Asks these servers, within a time limit.
pub(super) async fn detect(
    servers: &IceServers,
    tls: Option<Arc<rustls::ClientConfig>>,
    lingering: &Lingering,
) -> NatInfo {
    let started = Instant::now();
    let looked = timeout(LIMIT, look(servers, (tls, lingering), started)).await;
    looked.unwrap_or_else(|_| {
        let reason = format!("the network was not found out within {LIMIT:?}");
        NatInfo::without_answers(Finding::Unknown { reason }, started)
    })
}

/// The values that a relay needs beside its server.
type Means<'m> = (Option<Arc<rustls::ClientConfig>>, &'m Lingering);

async fn look(servers: &IceServers, means: Means<'_>, started: Instant) -> NatInfo {
    let unknown = |reason: String| {
        let finding = Finding::Unknown { reason };
        NatInfo::without_answers(finding, started)
    };
    if servers.stun.is_empty() {
        return unknown("no STUN server is known: the hub names none, and none was given".into());
    }
    let addresses = addresses(&servers.stun).await;
    if addresses.is_empty() {
        return unknown("the names of the STUN servers lead to no address".into());
    }
    match over_udp(&addresses, (&servers.turn, means), started).await {
        Ok(Some(info)) => info,
        Ok(None) if answers_by_tcp(&addresses).await => {
            NatInfo::without_answers(Finding::UdpBlocked, started)
        }
        Ok(None) => unknown("no STUN server answered, by UDP or by TCP".into()),
        Err(error) => unknown(socket_trouble(&error)),
    }
}

/// The addresses of servers, all of the family of the first.
pub(super) async fn addresses(servers: &[Place]) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    let mut looking = Vec::new();
    for server in servers {
        looking.push(ice::resolve(server));
    }
    for addresses in join_all(looking).await {
        for address in addresses {
            let fits = all
                .first()
                .is_none_or(|first| first.is_ipv4() == address.is_ipv4());
            if fits && !all.contains(&address) && all.len() < MOST_SERVERS {
                all.push(address);
            }
        }
    }
    all
}

async fn over_udp(
    servers: &[SocketAddr],
    (turn, means): (&[TurnServer], Means<'_>),
    started: Instant,
) -> std::io::Result<Option<NatInfo>> {
    let Some(first) = servers.first() else {
        return Ok(None);
    };
    let own = own::address(*first)?;
    let socket = UdpSocket::bind((own, 0)).await?;
    let local = socket.local_addr()?;
    let mut servers = servers.to_vec();
    let asked: Vec<_> = servers.iter().map(|to| (*to, Change::NONE)).collect();
    let mut answers = ask(&socket, &asked, UDP_WAIT).await?;
    let others = other_addresses(&servers, &answers);
    let asked: Vec<_> = others.iter().map(|to| (*to, Change::NONE)).collect();
    answers.extend(ask(&socket, &asked, FILTER_WAIT).await?);
    servers.extend(others);
    let seen = seen_by(&servers, &answers);
    let Some((primary, mapped)) = seen.first().copied() else {
        return Ok(None);
    };
    let mut observations = mapping(local, &seen);
    let other = answers.iter().flatten().find_map(|got| got.0.other);
    let quiet = UdpSocket::bind((own, 0)).await?;
    let quiet_at = filtering(&quiet, primary, other, &mut observations).await?;
    // A NAT that accepts no other port accepts no other host.
    if let Some(at) = quiet_at
        && observations.from_port != Some(false)
        && observations.from_elsewhere.is_none()
        && observations.same_for_host != Some(false)
        // A relay cannot reach a host in a private network.
        && !is_private(at.ip())
    {
        let quiet = Seen { socket: &quiet, at };
        let talkative = Seen {
            socket: &socket,
            at: mapped,
        };
        let came = probe::from_elsewhere(quiet, talkative, primary, (turn, means)).await;
        observations.from_elsewhere = came;
    }
    let possible = observations.possible();
    let finding = match possible.as_slice() {
        [kind] => Finding::Determined { kind: *kind },
        [] => Finding::Undetermined {
            possible: NatType::ALL.to_vec(),
            reason: observations.reason(),
        },
        _ => Finding::Undetermined {
            reason: observations.reason(),
            possible,
        },
    };
    Ok(Some(NatInfo {
        finding,
        public: Some(mapped),
        local: Some(local),
        answered: seen.iter().map(|(server, _)| *server).collect(),
        took: started.elapsed(),
    }))
}

/// The other addresses of the first server that has any, except those that are asked already: its other port, and its
/// other host.
fn other_addresses(
    servers: &[SocketAddr],
    answers: &[Option<(Answer, SocketAddr)>],
) -> Vec<SocketAddr> {
    let all = servers.iter().zip(answers);
    let named = all.filter_map(|(server, got)| Some((*server, got.as_ref()?.0.other?)));
    let Some((server, other)) = named.into_iter().next() else {
        return Vec::new();
    };
    let both = [(server.ip(), other.port()).into(), other];
    let fits = |place: &SocketAddr| place.is_ipv4() == server.is_ipv4() && !servers.contains(place);
    both.into_iter().filter(fits).collect()
}

/// The public address that each server sees. A server inside the own network sees a private address, which counts only
/// when all servers do.
fn seen_by(
    servers: &[SocketAddr],
    answers: &[Option<(Answer, SocketAddr)>],
) -> Vec<(SocketAddr, SocketAddr)> {
    let all = servers.iter().zip(answers);
    let seen: Vec<_> = all
        .filter_map(|(server, got)| Some((*server, got.as_ref()?.0.mapped?)))
        .collect();
    let outside = |(_, mapped): &(SocketAddr, SocketAddr)| !is_private(mapped.ip());
    if seen.iter().any(outside) {
        seen.into_iter().filter(outside).collect()
    } else {
        seen
    }
}

fn mapping(local: SocketAddr, seen: &[(SocketAddr, SocketAddr)]) -> Observations {
    let Some((primary, mapped)) = seen.first() else {
        return Observations::default();
    };
    let same = |others: &dyn Fn(&SocketAddr) -> bool| {
        let mut all = seen
            .iter()
            .skip(1)
            .filter(|(server, _)| others(server))
            .peekable();
        all.peek()?;
        Some(all.all(|(_, other)| other == mapped))
    };
    Observations {
        translated: Some(*mapped != local),
        same_for_port: same(&|server| server.ip() == primary.ip()),
        same_for_host: same(&|server| server.ip() != primary.ip()),
        ..Observations::default()
    }
}

/// Which packets arrive at a socket that has sent to one server only. Returns the public address that this server sees.
async fn filtering(
    socket: &UdpSocket,
    primary: SocketAddr,
    other: Option<SocketAddr>,
    observations: &mut Observations,
) -> std::io::Result<Option<SocketAddr>> {
    // The NAT must know the server before it can accept a packet from it.
    let first = ask(socket, &[(primary, Change::NONE)], UDP_WAIT).await?;
    let Some(at) = first.into_iter().flatten().find_map(|(got, _)| got.mapped) else {
        return Ok(None);
    };
    let has_other_host = other.is_some_and(|other| other.ip() != primary.ip());
    let mut asked = vec![(primary, Change::PORT)];
    if has_other_host {
        asked.push((primary, Change::BOTH));
    }
    let answers = ask(socket, &asked, FILTER_WAIT).await?;
    let control = ask(socket, &[(primary, Change::NONE)], UDP_WAIT).await?;
    if control.iter().all(Option::is_none) {
        return Ok(Some(at));
    }
    let came = |index: usize, changed: &dyn Fn(SocketAddr) -> bool| match answers.get(index) {
        // Refused, or answered like a plain request: the server cannot do it.
        Some(Some((answer, from))) if answer.mapped.is_none() || !changed(*from) => None,
        Some(Some(_)) => Some(true),
        Some(None) => Some(false),
        None => None,
    };
    observations.from_port = came(0, &|from| from.port() != primary.port());
    observations.from_elsewhere = came(1, &|from| from.ip() != primary.ip());
    Ok(Some(at))
}

/// Sends all requests, repeats those without an answer, and returns the answers in the same order, each with its source
/// address.
pub(super) async fn ask(
    socket: &UdpSocket,
    requests: &[(SocketAddr, Change)],
    wait: Duration,
) -> std::io::Result<Vec<Option<(Answer, SocketAddr)>>> {
    let made: Vec<_> = requests
        .iter()
        .map(|(to, change)| (*to, stun::request(*change)))
        .collect();
    let mut answers = vec![None; made.len()];
    let end = Instant::now() + wait;
    let mut pause = FIRST_REPEAT;
    let mut bytes = [0; 1024];
    while Instant::now() < end && answers.iter().any(Option::is_none) {
        for ((to, (_, request)), answer) in made.iter().zip(&answers) {
            if answer.is_none() {
                // If it cannot be sent now, it may be when it is repeated.
                let _ = socket.send_to(request, to).await;
            }
        }
        let until = (Instant::now() + pause).min(end);
        pause *= 2;
        while answers.iter().any(Option::is_none) {
            let Ok(came) = tokio::time::timeout_at(until, socket.recv_from(&mut bytes)).await
            else {
                break;
            };
            // An error is an ICMP message about an earlier packet.
            let Ok((length, from)) = came else { continue };
            let Some((id, answer)) = bytes.get(..length).and_then(stun::answer) else {
                continue;
            };
            let index = made.iter().position(|(_, (own, _))| *own == id);
            if let Some(place) = index.and_then(|index| answers.get_mut(index)) {
                *place = Some((answer, from));
            }
        }
    }
    Ok(answers)
}

async fn answers_by_tcp(servers: &[SocketAddr]) -> bool {
    let mut asked = FuturesUnordered::new();
    for server in servers {
        asked.push(async move {
            let mut stream = TcpStream::connect(server).await?;
            mapped_by_tcp(&mut stream).await
        });
    }
    let any = async {
        while let Some(answer) = asked.next().await {
            if answer.is_ok() {
                return true;
            }
        }
        false
    };
    timeout(TCP_WAIT, any).await.unwrap_or(false)
}

/// The public address of this connection, as a STUN server sees it.
pub(super) async fn mapped_by_tcp(stream: &mut TcpStream) -> std::io::Result<SocketAddr> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (transaction, request) = stun::request(Change::NONE);
    stream.write_all(&request).await?;
    let mut head = [0; stun::HEADER];
    stream.read_exact(&mut head).await?;
    let mut message = head.to_vec();
    message.resize(stun::HEADER + stun::rest_of(&head), 0);
    if let Some(rest) = message.get_mut(stun::HEADER..) {
        stream.read_exact(rest).await?;
    }
    let read = stun::answer(&message).filter(|(id, _)| *id == transaction);
    let mapped = read.and_then(|(_, answer)| answer.mapped);
    mapped.ok_or_else(|| std::io::Error::other("the STUN server did not say where it sees us"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_server_in_the_own_network_counts_only_when_no_other_one_answers() {
        let servers = [at("10.0.0.9:3478"), at("203.0.113.1:3478")];
        let answer = |mapped: &str| {
            let mapped = Some(at(mapped));
            Some((
                Answer {
                    mapped,
                    other: None,
                },
                at("10.0.0.9:1"),
            ))
        };
        let both = [answer("10.0.0.2:5000"), answer("198.51.100.4:5000")];
        assert_eq!(
            seen_by(&servers, &both),
            [(servers[1], at("198.51.100.4:5000"))]
        );
        let near = [answer("10.0.0.2:5000"), None];
        assert_eq!(
            seen_by(&servers, &near),
            [(servers[0], at("10.0.0.2:5000"))]
        );
    }

    #[test]
    fn the_mapping_is_compared_by_port_and_by_host() {
        let mapped = at("198.51.100.4:5000");
        let seen = [
            (at("203.0.113.1:1"), mapped),
            (at("203.0.113.1:2"), mapped),
            (at("203.0.113.2:1"), at("198.51.100.4:5001")),
        ];
        let found = mapping(at("10.0.0.2:5000"), &seen);
        assert_eq!(
            (found.translated, found.same_for_port, found.same_for_host),
            (Some(true), Some(true), Some(false))
        );
        let alone = mapping(mapped, &seen[..1]);
        assert_eq!(
            (alone.translated, alone.same_for_port, alone.same_for_host),
            (Some(false), None, None)
        );
    }

    #[tokio::test]
    async fn servers_are_asked_by_tcp_at_once() {
        // They accept a connection and send nothing, each for the whole time.
        let silent: Vec<_> = (0..4)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let servers: Vec<SocketAddr> = silent.iter().map(|one| one.local_addr().unwrap()).collect();
        let began = Instant::now();
        assert!(!answers_by_tcp(&servers).await);
        assert!(began.elapsed() < 2 * TCP_WAIT, "one after the other");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_leaves_everything_unknown_and_says_why() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = UdpSocket::bind(taken.local_addr().unwrap()).await.unwrap();
        let port = silent.local_addr().unwrap().port();
        drop(taken);
        let host = "127.0.0.1".to_owned();
        let mut servers = IceServers::default();
        servers.stun.push(Place { host, port });
        let info = detect(&servers, None, &Lingering::new()).await;
        let told = matches!(&info.finding, Finding::Unknown { reason } if reason.contains("TCP"));
        assert!(told, "{info:?}");
        let none = detect(&IceServers::default(), None, &Lingering::new()).await;
        let told =
            matches!(&none.finding, Finding::Unknown { reason } if reason.contains("no STUN"));
        assert!(told, "{none:?}");
    }
}
