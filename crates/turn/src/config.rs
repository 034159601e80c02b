//! The configuration of a server: where it listens, what it relays, for whom, and how much.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::codec::Family;
use crate::policy::PeerPolicy;

/// The configuration of a server.
#[derive(Clone)]
pub struct Config {
    /// A port and the one that answers in its place when a client asks for a change of port (RFC 5780); both ways.
    pub ports: Option<(u16, u16)>,
    /// Relays; `None` is a STUN server.
    pub turn: Option<TurnConfig>,
    /// The secret that signs nonces and draws relay ports. Random, and never shown.
    pub seed: [u8; 32],
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Config");
        shown.field("ports", &self.ports);
        shown.field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// What relays need.
#[derive(Clone)]
pub struct TurnConfig {
    /// The secret that makes credentials; see [`Credentials`](crate::Credentials).
    pub secret: String,
    /// The server's ports at which clients can request relays.
    pub ports: Vec<u16>,
    /// The addresses of relays.
    pub relays: Relays,
    /// Which addresses may be peers.
    pub policy: PeerPolicy,
    /// The limits.
    pub limits: Limits,
}

impl std::fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("TurnConfig");
        shown.field("ports", &self.ports);
        shown.field("relays", &self.relays);
        shown.field("policy", &self.policy);
        shown.field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The addresses of relays, as peers see them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relays {
    /// For relays of IPv4, if there are any.
    pub v4: Option<Ipv4Addr>,
    /// For relays of IPv6, if there are any.
    pub v6: Option<Ipv6Addr>,
    /// One port each.
    pub ports: RangeInclusive<u16>,
}

impl Relays {
    pub(crate) fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let both = [self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6)];
        both.into_iter().flatten()
    }

    /// Whether relays have this address.
    pub(crate) fn is_one(&self, address: SocketAddr) -> bool {
        self.address(Family::of(&address)) == Some(address.ip())
    }
}

/// The limits of relaying. Bytes are those of data and, for each datagram, of its headers: 28, and with IPv6 48. The
/// bytes of a user count from the start of its first relay, the same number each second; unused ones are kept for a
/// second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Relays at once.
    pub allocations: usize,
    /// Relays of one user at once: of one name at one address, or one network of 64 bits with IPv6.
    pub per_user: usize,
    /// Bytes a second of one user, both ways together; `None`: no limit.
    pub user_bytes_per_s: Option<u64>,
    /// Bytes a second of all; `None`: no limit.
    pub bytes_per_s: Option<u64>,
    /// The longest time between two refreshes of a relay; at least 10 minutes, which clients count on.
    pub lifetime: Duration,
    /// The longest time from a relay's start to its end, however often it is refreshed.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            allocations: 1_000,
            per_user: 50,
            user_bytes_per_s: None,
            bytes_per_s: None,
            lifetime: Duration::from_secs(3_600),
            age: Duration::from_secs(86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let config = Config {
            ports: Some((3478, 3479)),
            turn: Some(TurnConfig {
                secret: "sesame".into(),
                ports: vec![3478],
                relays: Relays {
                    v4: None,
                    v6: None,
                    ports: 20_000..=20_009,
                },
                policy: PeerPolicy::default(),
                limits: Limits::default(),
            }),
            seed: [173; 32],
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("3479") && shown.contains("20009"), "{shown}");
        assert!(
            !shown.contains("sesame") && !shown.contains("173"),
            "{shown}"
        );
    }
}
