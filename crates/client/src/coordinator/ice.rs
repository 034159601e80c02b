//! STUN and TURN servers, from URLs (RFC 7064 and 7065), and from a hub's `GET /ice-servers`.
//!
//! Pure, except for [`resolve`], which asks the system for addresses.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

/// How long to wait for a name to be looked up.
const NAME_LIMIT: Duration = Duration::from_secs(3);
/// The most STUN servers, and the most TURN servers, that are kept from one answer: a hub names two or three of each.
const MOST_KEPT: usize = 16;

/// The transport to a TURN server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream with TLS.
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        })
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The URL of a STUN or TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceUrl {
    /// `stun:`
    Stun(Place),
    /// `turn:` or `turns:`
    Turn(Place, Transport),
}

/// The text is not a URL of such a server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no server: write stun:HOST:PORT, turn:HOST:PORT, turn:HOST:PORT?transport=tcp or turns:HOST:PORT"
)]
pub struct InvalidIceUrl(String);

impl InvalidIceUrl {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for IceUrl {
    type Err = InvalidIceUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| InvalidIceUrl::new(text))
    }
}

fn read(text: &str) -> Option<IceUrl> {
    let (scheme, rest) = text.trim().split_once(':')?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query.strip_prefix("transport=")?)),
        None => (rest, None),
    };
    let default_port = if scheme == "turns" { 5349 } else { 3478 };
    let place = read_place(place, default_port)?;
    match (scheme, query) {
        ("stun", None) => Some(IceUrl::Stun(place)),
        ("turn", None | Some("udp")) => Some(IceUrl::Turn(place, Transport::Udp)),
        ("turn", Some("tcp")) => Some(IceUrl::Turn(place, Transport::Tcp)),
        ("turns", None | Some("tcp")) => Some(IceUrl::Turn(place, Transport::Tls)),
        _ => None,
    }
}

fn read_place(text: &str, default_port: u16) -> Option<Place> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() {
            None
        } else {
            Some(rest.strip_prefix(':')?)
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
    let plain = !host.is_empty() && !host.contains(['/', '@', '#', ' ']);
    let host = host.to_owned();
    (plain && port != 0).then_some(Place { host, port })
}

/// A TURN server and the credentials for it.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// Its address.
    pub place: Place,
    /// The transport to it.
    pub transport: Transport,
    /// The user name of this peer.
    pub username: String,
    /// The password.
    pub credential: String,
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the credential: this text may end in a log.
        write!(f, "{} ({})", self.place, self.transport)
    }
}

/// All known servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceServers {
    /// STUN servers.
    pub stun: Vec<Place>,
    /// TURN servers, UDP first, then TCP, then TLS.
    pub turn: Vec<TurnServer>,
}

impl IceServers {
    /// Adds the servers that are new.
    pub(super) fn merge(&mut self, more: Self) {
        for place in more.stun {
            if !self.stun.contains(&place) {
                self.stun.push(place);
            }
        }
        for server in more.turn {
            if !self.turn.contains(&server) {
                self.turn.push(server);
            }
        }
        self.turn.sort_by_key(|server| server.transport);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ice_servers: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    urls: Vec<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

/// Parses the answer of `GET /ice-servers`. URLs of another kind are left out, and so are those of TURN servers without
/// credentials.
pub(super) fn read_answer(body: &[u8]) -> Result<IceServers, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(body)?;
    let mut servers = IceServers::default();
    for listed in answer.ice_servers {
        for url in listed.urls.iter().filter_map(|url| url.parse().ok()) {
            match (url, &listed.username, &listed.credential) {
                (IceUrl::Stun(place), _, _) => servers.stun.push(place),
                (IceUrl::Turn(place, transport), Some(username), Some(credential)) => {
                    servers.turn.push(TurnServer {
                        place,
                        transport,
                        username: username.clone(),
                        credential: credential.clone(),
                    });
                }
                (IceUrl::Turn(..), _, _) => {}
            }
        }
    }
    // Sorted before the list is cut: no number of TLS servers takes the place of one by UDP.
    servers.turn.sort_by_key(|server| server.transport);
    servers.stun.truncate(MOST_KEPT);
    servers.turn.truncate(MOST_KEPT);
    Ok(servers)
}

/// The addresses of a place, IPv4 first; empty if its name cannot be looked up in time.
pub(super) async fn resolve(place: &Place) -> Vec<SocketAddr> {
    let looking = tokio::net::lookup_host((place.host.as_str(), place.port));
    let found = timeout(NAME_LIMIT, looking).await;
    let found = found.map(|found| found.map(Iterator::collect).unwrap_or_default());
    let mut all: Vec<SocketAddr> = found.unwrap_or_default();
    all.sort_by_key(SocketAddr::is_ipv6);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, port: u16) -> Place {
        let host = host.to_owned();
        Place { host, port }
    }

    #[test]
    fn urls_are_read_as_browsers_read_them() {
        for (text, expected) in [
            ("stun:a.example", IceUrl::Stun(place("a.example", 3478))),
            ("stun:[::1]:9", IceUrl::Stun(place("::1", 9))),
            ("turn:a:1", IceUrl::Turn(place("a", 1), Transport::Udp)),
            (
                "turn:a:1?transport=tcp",
                IceUrl::Turn(place("a", 1), Transport::Tcp),
            ),
            (
                "turns:a?transport=tcp",
                IceUrl::Turn(place("a", 5349), Transport::Tls),
            ),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "stun:",
            "stun:a:0",
            "stun:a:x",
            "http://a",
            "turn:a?x=y",
            "turn:a?transport=sctp",
            "stun://a",
            "turn:[::1",
            "turn:[::1]x",
        ] {
            assert!(wrong.parse::<IceUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_gives_not_too_many_servers_in_the_order_of_their_transports_and_hides_credentials()
    {
        let answer = br#"{"iceServers":[{"urls":["stun:s:1","data:x"]},
            {"urls":["turns:t:3","turn:t:2?transport=tcp","turn:t:2"],"username":"u","credential":"hush"},
            {"urls":["turn:without-credentials"]}]}"#;
        let servers = read_answer(answer).unwrap();
        assert_eq!(servers.stun, [place("s", 1)]);
        let transports: Vec<Transport> = servers.turn.iter().map(|turn| turn.transport).collect();
        assert_eq!(transports, [Transport::Udp, Transport::Tcp, Transport::Tls]);
        assert!(!format!("{servers:?}").contains("hush"));
        assert!(read_answer(b"{}").is_err());
        let all = |scheme: &str| {
            let urls = (1..=100).map(|port| format!("\"{scheme}:t:{port}\""));
            urls.collect::<Vec<_>>().join(",")
        };
        let (stun, turn) = (all("stun"), all("turn"));
        let answer = format!(
            r#"{{"iceServers":[{{"urls":[{stun},{turn}],"username":"u","credential":"c"}}]}}"#
        );
        let servers = read_answer(answer.as_bytes()).unwrap();
        assert_eq!((servers.stun.len(), servers.turn.len()), (16, 16));
    }

    #[test]
    fn tls_servers_that_come_first_do_not_push_out_udp() {
        let urls: Vec<String> = (1..=16).map(|port| format!("\"turns:t:{port}\"")).collect();
        let answer = format!(
            r#"{{"iceServers":[{{"urls":[{},"turn:u:1"],"username":"u","credential":"c"}}]}}"#,
            urls.join(",")
        );
        let servers = read_answer(answer.as_bytes()).unwrap();
        assert_eq!(servers.turn.len(), 16);
        assert_eq!(servers.turn[0].transport, Transport::Udp);
    }
}
