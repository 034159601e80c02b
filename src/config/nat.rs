//! How clients find their way through NATs: the ICE servers that `/ice-servers` names, the secret of their credentials,
//! and this hub's own STUN and TURN.
//!
//! [`IceUrl`] is an address as RFC 7064 and RFC 7065 write it. It is checked as strictly as browsers do, because a
//! browser refuses the whole list for one wrong entry. Knows nothing of HTTP.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use hubmesh_turn::Limits;
use ipnet::IpNet;

use super::read::Reader;
use super::{Caution, Secret};

/// How clients find their way through NATs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatSettings {
    /// STUN and TURN servers elsewhere that clients are told of.
    pub urls: Vec<IceUrl>,
    /// The secret of the credentials for TURN servers. Set if one of `urls` is a TURN server.
    pub secret: Option<Secret>,
    /// How long such credentials are valid.
    pub ttl: Duration,
    /// This hub's own STUN.
    pub stun: Option<StunSettings>,
    /// This hub's own TURN.
    pub turn: Option<TurnSettings>,
    /// The addresses of this hub's STUN and TURN, at most one of each family; empty if not set.
    pub public: Vec<IpAddr>,
    /// The name that clients are told in place of addresses.
    pub public_name: Option<String>,
    /// The limits of relaying.
    pub limits: Limits,
    /// TCP and TLS connections of TURN and STUN.
    pub max_connections: usize,
    /// How many other hubs' servers clients are told of.
    pub nearby: usize,
}

/// This hub's own STUN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StunSettings {
    /// UDP and TCP; 0 takes a free one.
    pub port: u16,
    /// The port that answers requests for a change of port; `None`: the next one.
    pub alternate: Option<u16>,
}

impl StunSettings {
    /// The second port; `None` if it is drawn.
    pub fn second(&self) -> Option<u16> {
        let next = || match self.port {
            0 => None,
            port => Some(port.checked_add(1).unwrap_or(port - 1)),
        };
        self.alternate.or_else(next)
    }
}

/// This hub's own TURN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TurnSettings {
    /// UDP and TCP; 0 takes a free one.
    pub port: u16,
    /// TLS, with the hub's certificate; 0 takes a free one.
    pub tls_port: Option<u16>,
    /// The ports of relays, one each.
    pub relay_ports: RangeInclusive<u16>,
    /// Peers that relays may reach beside those on the internet.
    pub allow_peers: Vec<IpNet>,
}

/// Two ports, the lower first.
struct PortRange(RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ends = text
            .split_once('-')
            .map(|(low, high)| (low.trim().parse(), high.trim().parse()));
        match ends {
            Some((Ok(low @ 1..), Ok(high))) if low <= high => Ok(PortRange(low..=high)),
            _ => Err("use two ports like 20000-29999, the lower first"),
        }
    }
}

/// A block of addresses, or a single one.
#[derive(PartialEq)]
struct Block(IpNet);

impl FromStr for Block {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        let block = one.or_else(|_| text.parse::<IpNet>());
        let block = block.map_err(|_| "use addresses and blocks such as 10.1.0.0/16")?;
        match block.network() {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err("write IPv4 without ::ffff:"),
            _ => Ok(Block(block)),
        }
    }
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

    /// The address in the form that `RTCPeerConnection` takes.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host and port.
    pub fn place(&self) -> Option<(url::Host, u16)> {
        let (scheme, rest) = self.text.split_once(':')?;
        let place = rest.split('?').next()?;
        let default = if scheme.ends_with('s') { 5349 } else { 3478 };
        let at = match place.starts_with('[') {
            true => place.find(']')? + 1,
            false => place.find(':').unwrap_or(place.len()),
        };
        let (host, port) = place.split_at_checked(at)?;
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => default,
        };
        Some((url::Host::parse(host).ok()?, port))
    }

    /// Whether it is a TURN server, which asks for credentials.
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
                .map_err(|_| format!("[{host}] is not an IPv6 address"))?;
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

/// The fewest bytes of a secret that cannot be guessed: every client with credentials can try at home.
const GOOD_SECRET_BYTES: usize = 16;

/// The longest list of servers. Browsers ask each of them.
const MAX_URLS: usize = 16;

/// `is_hub`: there may be other hubs.
pub(super) fn read(reader: &mut Reader, is_hub: bool) -> Option<NatSettings> {
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
    let stun = read_stun(reader);
    let max_allocations = reader.number("TURN_MAX_ALLOCATIONS", 1..=60_000);
    let turn = read_turn(reader, max_allocations);
    let has_secret = reader.has_text("TURN_SECRET");
    // The problem of the list has been told already.
    if urls.is_some() && names_turn && !has_secret {
        let why = "is unset, while TURN_URLS names a TURN server: set the secret that it shares with this hub";
        reader.problem("TURN_SECRET", why);
    }
    let nearby: Option<usize> = reader.number("ICE_SERVERS_NEARBY", 0..=8);
    let needs_none = names_turn || reader.has_text("TURN_PORT") || (is_hub && nearby != Some(0));
    if urls.is_some() && has_secret && !needs_none {
        let why =
            "has no effect without a turn: or turns: server in TURN_URLS, TURN_PORT, or other hubs";
        reader.problem("TURN_SECRET", why);
    }
    let public = read_public(reader);
    let public_name = reader.url_host("TURN_PUBLIC_NAME");
    let limits = read_limits(reader, max_allocations);
    let max_connections = reader.number("TURN_MAX_CONNECTIONS", 1..=1_000_000);
    Some(NatSettings {
        urls: urls?,
        secret,
        ttl: ttl?,
        stun: stun?,
        turn: turn?,
        public: public?,
        public_name,
        limits: limits?,
        max_connections: max_connections?,
        nearby: nearby?,
    })
}

/// `None`: the settings cannot be used.
fn read_stun(reader: &mut Reader) -> Option<Option<StunSettings>> {
    let alternate_set = reader.has_text("STUN_ALT_PORT");
    let alternate = reader.optional_port("STUN_ALT_PORT")?;
    let Some(port) = reader.optional_port("STUN_PORT")? else {
        if alternate_set {
            reader.problem("STUN_ALT_PORT", "has no effect without STUN_PORT");
        }
        return Some(None);
    };
    if port != 0 && alternate == Some(port) {
        reader.problem("STUN_ALT_PORT", "is STUN_PORT itself: use another port");
    }
    Some(Some(StunSettings { port, alternate }))
}

/// `None`: the settings cannot be used.
fn read_turn(reader: &mut Reader, allocations: Option<usize>) -> Option<Option<TurnSettings>> {
    let relay_ports = reader.parse::<PortRange>("TURN_RELAY_PORTS");
    let allow_peers = reader.list::<Block>("TURN_ALLOW_PEERS");
    let tls_port = reader.optional_port("TURN_TLS_PORT");
    let port = reader.optional_port("TURN_PORT")?;
    if let Some(Some(_)) = tls_port {
        if port.is_none() {
            reader.problem("TURN_TLS_PORT", "has no effect without TURN_PORT");
        } else if !reader.has_text("TLS_CERT") {
            let why = "needs the hub's certificate: set TLS_CERT and TLS_KEY";
            reader.problem("TURN_TLS_PORT", why);
        }
    }
    let (PortRange(relay_ports), allow_peers) = (relay_ports?, allow_peers?);
    let Some(port) = port else { return Some(None) };
    if allocations.is_some_and(|most| relay_ports.len() < most) {
        let why = format!(
            "are {} ports, fewer than the relays of TURN_MAX_ALLOCATIONS, which have one each",
            relay_ports.len()
        );
        reader.problem("TURN_RELAY_PORTS", why);
    }
    Some(Some(TurnSettings {
        port,
        tls_port: tls_port?,
        relay_ports,
        allow_peers: allow_peers.into_iter().map(|Block(block)| block).collect(),
    }))
}

fn read_public(reader: &mut Reader) -> Option<Vec<IpAddr>> {
    let all = reader.list::<IpAddr>("TURN_PUBLIC_ADDRESS")?;
    let two_alike = |family: fn(&IpAddr) -> bool| all.iter().filter(|ip| family(ip)).count() > 1;
    if two_alike(IpAddr::is_ipv4) || two_alike(IpAddr::is_ipv6) {
        reader.problem(
            "TURN_PUBLIC_ADDRESS",
            "names two addresses of one family: relays have one of each",
        );
    }
    if all
        .iter()
        .any(|ip| ip.is_unspecified() || ip.is_multicast())
    {
        reader.problem(
            "TURN_PUBLIC_ADDRESS",
            "names an address that no client can reach",
        );
    }
    Some(all)
}

fn read_limits(reader: &mut Reader, allocations: Option<usize>) -> Option<Limits> {
    let per_user = reader.number("TURN_MAX_ALLOCATIONS_PER_USER", 1..=60_000);
    let bytes: Option<u64> = reader.number("TURN_BYTES_PER_SEC", 0..=1_000_000_000_000);
    let user_bytes: Option<u64> =
        reader.number("TURN_BYTES_PER_SEC_PER_USER", 0..=1_000_000_000_000);
    let lifetime = reader.seconds("TURN_MAX_LIFETIME_S", 600..=86_400);
    let age = reader.seconds("TURN_MAX_AGE_S", 600..=31_536_000);
    Some(Limits {
        allocations: allocations?,
        per_user: per_user?,
        user_bytes_per_s: Some(user_bytes?).filter(|bytes| *bytes > 0),
        bytes_per_s: Some(bytes?).filter(|bytes| *bytes > 0),
        lifetime: lifetime?,
        age: age?,
    })
}

impl NatSettings {
    /// Whether other hubs' servers are named: the secret makes credentials for them.
    pub fn names_others(&self, is_hub: bool) -> bool {
        is_hub && self.nearby > 0 && self.secret.is_some()
    }

    /// Relays cannot use the ports of STUN and TURN, so there would be fewer relays.
    fn shared_relay_ports(&self) -> Option<Caution> {
        let turn = self.turn.as_ref()?;
        let stun = self.stun.as_ref();
        let numbers = [
            ("STUN_PORT", stun.map(|stun| stun.port)),
            ("STUN_ALT_PORT", stun.and_then(StunSettings::second)),
            ("TURN_PORT", Some(turn.port)),
        ];
        let within = |number: Option<u16>| number.is_some_and(|it| turn.relay_ports.contains(&it));
        let (name, _) = numbers.into_iter().find(|(_, number)| within(*number))?;
        Some(Caution {
            name: String::from("TURN_RELAY_PORTS"),
            text: format!("contains {name}, which no relay can use"),
        })
    }

    /// Sockets that the hub's own STUN and TURN may have open.
    pub fn sockets(&self) -> usize {
        let relays = self.turn.as_ref().map_or(0, |_| self.limits.allocations);
        match self.stun.is_some() || self.turn.is_some() {
            true => relays + self.max_connections,
            false => 0,
        }
    }

    /// Cautions about a hub that is `open` to everybody or not.
    pub(super) fn cautions(&self, open: bool) -> Vec<Caution> {
        let caution = |name: &str, text: &str| Caution {
            name: name.into(),
            text: text.into(),
        };
        let mut cautions = Vec::new();
        let secret = self.secret.as_ref().map(Secret::expose);
        if secret.is_some_and(|secret| secret.len() < GOOD_SECRET_BYTES) {
            cautions.push(caution(
                "TURN_SECRET",
                "is shorter than 16 bytes: a client with credentials can guess it",
            ));
        }
        let maker = match (secret, &self.turn) {
            (Some(_), _) => Some("TURN_SECRET"),
            (None, Some(_)) => Some("TURN_PORT"),
            (None, None) => None,
        };
        if let Some(name) = maker.filter(|_| open) {
            cautions.push(caution(
                name,
                "is set on a hub that is open to everybody, so everybody may relay: set AUTH_TOKEN or a \
                 JWT key to choose who",
            ));
        }
        cautions.extend(self.shared_relay_ports());
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
        let place = |text: &str| {
            let url: IceUrl = text.parse().expect("fine");
            let (host, port) = url.place().expect("a place");
            format!("{host} {port}")
        };
        assert_eq!(place("turn:a.example"), "a.example 3478");
        assert_eq!(place("turns:a.example?transport=tcp"), "a.example 5349");
        assert_eq!(
            place("turn:[2001:db8::1]:9?transport=udp"),
            "[2001:db8::1] 9"
        );
        assert_eq!(place("stuns:[2001:db8::1]"), "[2001:db8::1] 5349");
        assert_eq!(place("stun:0x7f.1:80"), "127.0.0.1 80");
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
            ("turn:[example.org]", "not an IPv6 address"),
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
