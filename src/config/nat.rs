//! How clients find their way through NATs: the ICE servers that `/ice-servers` names, and the secret of their
//! credentials.
//!
//! [`IceUrl`] is an address as RFC 7064 and RFC 7065 write it, checked as strictly as browsers do, because a browser
//! refuses the whole list for one wrong entry. Knows nothing of HTTP.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use super::read::Reader;
use super::{Caution, Secret};

/// How clients find their way through NATs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatSettings {
    /// STUN and TURN servers elsewhere that clients are told of.
    pub urls: Vec<IceUrl>,
    /// What the credentials for TURN servers are made with. Set if one of `urls` is a TURN server.
    pub secret: Option<Secret>,
    /// For how long such credentials are good.
    pub ttl: Duration,
}

/// The address of a STUN or TURN server: `stun:`, `stuns:`, `turn:` or `turns:`, a host, and perhaps a port and, for
/// TURN, a transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceUrl {
    text: String,
    is_turn: bool,
}

impl IceUrl {
    /// The longest address, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// As `RTCPeerConnection` takes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a relay, which asks for credentials.
    pub fn is_turn(&self) -> bool {
        self.is_turn
    }
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const SHAPES: &str = "use turn:host, turns:host or stun:host, with :port and for TURN ?transport=udp or tcp if need be";

impl FromStr for IceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once(':').ok_or(SHAPES)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_turn = match scheme.as_str() {
            "turn" | "turns" => true,
            "stun" | "stuns" => false,
            _ => return Err(SHAPES.into()),
        };
        if rest.starts_with("//") {
            return Err(format!("it has no slashes: {scheme}:host:port"));
        }
        if rest.contains('@') {
            return Err("it has no user: credentials are made from TURN_SECRET".into());
        }
        if text.len() > Self::MAX_BYTES {
            return Err(format!("use up to {} bytes", Self::MAX_BYTES));
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        check_transport(query, is_turn)?;
        check_place(place)?;
        let text = format!("{scheme}:{rest}");
        Ok(IceUrl { text, is_turn })
    }
}

fn check_transport(query: Option<&str>, is_turn: bool) -> Result<(), String> {
    match query {
        None => Ok(()),
        Some(_) if !is_turn => Err("an address of a STUN server ends with its port".into()),
        Some("transport=udp" | "transport=tcp") => Ok(()),
        Some(_) => Err("what may follow ? is transport=udp or transport=tcp".into()),
    }
}

/// A host, with a port from 1 if there is one.
fn check_place(place: &str) -> Result<(), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or(SHAPES)?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| format!("[{host}] is no IPv6 address"))?;
            (host, port)
        }
        None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
    };
    if !place.starts_with('[') && !is_plain(host) {
        return Err(format!(
            "{host:?} is neither a host name nor an address; an IPv6 address stands in [ ]"
        ));
    }
    match port.strip_prefix(':').map(str::parse::<u16>) {
        None if port.is_empty() => Ok(()),
        Some(Ok(1..)) => Ok(()),
        _ => Err("its port is a number from 1 to 65535".into()),
    }
}

/// Whether this is a host name or an IPv4 address.
fn is_plain(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let parsed = url::Host::parse(host);
    host.chars().all(plain) && matches!(parsed, Ok(url::Host::Domain(_) | url::Host::Ipv4(_)))
}

/// The fewest bytes of a secret that cannot be found out by trying: everybody who is given credentials can try at home.
const GOOD_SECRET_BYTES: usize = 16;

/// The longest list of servers. Browsers ask each of them.
const MAX_URLS: usize = 16;

pub(super) fn read(reader: &mut Reader) -> Option<NatSettings> {
    let urls = reader.list::<IceUrl>("TURN_URLS");
    let secret = reader.secret("TURN_SECRET");
    let ttl = reader.seconds("TURN_TTL_S", 30..=86_400);
    let names_turn = urls
        .as_ref()
        .is_some_and(|urls| urls.iter().any(IceUrl::is_turn));
    if urls.as_ref().is_some_and(|urls| urls.len() > MAX_URLS) {
        let why = format!("names more than {MAX_URLS} servers, and browsers ask each of them");
        reader.problem("TURN_URLS", why);
    }
    // What is wrong with either is told already.
    if urls.is_some() && names_turn != reader.is_set("TURN_SECRET") {
        let why = match names_turn {
            true => {
                "is unset, while TURN_URLS names a TURN server: set the secret that it shares with this hub"
            }
            false => "has no effect without a turn: or turns: server in TURN_URLS",
        };
        reader.problem("TURN_SECRET", why);
    }
    Some(NatSettings {
        urls: urls?,
        secret,
        ttl: ttl?,
    })
}

impl NatSettings {
    /// What may not be what was meant, on a hub that is `open` to everybody or not.
    pub(super) fn cautions(&self, open: bool) -> Vec<Caution> {
        let caution = |text: &str| Caution {
            name: String::from("TURN_SECRET"),
            text: text.into(),
        };
        let mut cautions = Vec::new();
        let Some(secret) = &self.secret else {
            return cautions;
        };
        if secret.expose().len() < GOOD_SECRET_BYTES {
            cautions.push(caution(
                "is shorter than 16 bytes: whoever is given credentials can find it out by trying",
            ));
        }
        if open {
            cautions.push(caution(
                "is in use on a hub that is open to everybody, so everybody may relay: set AUTH_TOKEN or a JWT key \
                 to choose who",
            ));
        }
        cautions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_browsers_take_them() {
        for (text, is_turn) in [
            ("turn:turn.example.org", true),
            ("turn:turn.example.org:3478?transport=udp", true),
            ("turns:turn.example.org:5349?transport=tcp", true),
            ("turn:192.0.2.1:3478", true),
            ("turn:[2001:db8::1]:3478?transport=tcp", true),
            ("stun:stun.example.org:3478", false),
            ("stuns:[2001:db8::1]", false),
        ] {
            let url: IceUrl = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((url.as_str(), url.is_turn()), (text, is_turn));
        }
        let upper: IceUrl = "TURN:example.org".parse().expect("a scheme has no case");
        assert_eq!(upper.to_string(), "turn:example.org");
    }

    #[test]
    fn what_browsers_refuse_is_refused_with_the_reason() {
        for (text, reason) in [
            ("turn.example.org", "use turn:host"),
            ("http:example.org", "use turn:host"),
            ("turn://example.org", "no slashes"),
            ("turn:user:word@example.org", "no user"),
            ("turn:", "neither a host name"),
            ("turn:2001:db8::1", "port"),
            ("turn:[2001:db8::1", "use turn:host"),
            ("turn:[example.org]", "no IPv6 address"),
            ("turn:exa mple", "neither a host name"),
            ("turn:example.org/path", "neither a host name"),
            ("turn:example.org:0", "from 1 to 65535"),
            ("turn:example.org:65536", "from 1 to 65535"),
            ("turn:example.org:", "from 1 to 65535"),
            ("turn:example.org?transport=sctp", "transport=udp"),
            ("turn:example.org?transport=UDP", "transport=udp"),
            ("stun:example.org?transport=udp", "ends with its port"),
        ] {
            let why = text.parse::<IceUrl>().expect_err(text);
            assert!(why.contains(reason), "{text}: {why}");
        }
        let long = format!("turn:{}", "a".repeat(600));
        assert!(long.parse::<IceUrl>().is_err());
    }
}
