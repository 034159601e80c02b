//! Which addresses may be peers: a relay without this is a door into the network that it stands in.
//!
//! By default a peer has to be somewhere on the internet. What is refused is this machine, private and shared networks,
//! link-local addresses (clouds keep a machine's keys there), multicast, what is reserved, and every IPv6 form of such an
//! IPv4 address. A list of blocks allows what is needed nevertheless. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Whether an address may be a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It is this server's: other relays of it may be peers, and nothing else there.
    Own,
    /// It may not.
    Refused,
}

/// What is allowed beyond the internet, and which addresses are the server's own.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Allowed whatever else is said.
    pub allow: Vec<IpNet>,
    /// The server's own addresses, unmapped.
    pub own: Vec<IpAddr>,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(first: u16, second: u16, length: u8) -> IpNet {
    let address = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// Of the registries of special-purpose addresses (RFC 6890), what is not on the internet, and one address at which a
/// cloud answers its machines (Azure's). The blocks for documentation lead nowhere and are left out.
const REFUSED: [IpNet; 20] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(168, 63, 129, 16, 32),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(224, 0, 0, 0, 3),
    // IPv4-compatible, IPv4-mapped, unspecified and loopback: no peer is reached so.
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 80)),
    v6(0x0100, 0, 64),
    // Teredo and 6to4 wrap IPv4 addresses, and hardly anybody is reached so any more.
    v6(0x2001, 0, 32),
    v6(0x2002, 0, 16),
    v6(0x5f00, 0, 16),
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 9),
    v6(0xff00, 0, 8),
];

/// Where NAT64 puts IPv4 addresses, into the last four bytes: of these a provider's own are used inside its network.
const NAT64: IpNet = v6(0x0064, 0xff9b, 96);
const NAT64_LOCAL: IpNet = IpNet::V6(Ipv6Net::new_assert(
    Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0),
    48,
));

impl PeerPolicy {
    /// Whether this address may be a peer.
    pub fn judge(&self, peer: IpAddr) -> Verdict {
        let within = |blocks: &[IpNet], ip: IpAddr| blocks.iter().any(|block| block.contains(&ip));
        let plain = peer.to_canonical();
        if within(&self.allow, plain) {
            return Verdict::Allowed;
        }
        if self.own.contains(&plain) {
            return Verdict::Own;
        }
        if within(&REFUSED, peer) || NAT64_LOCAL.contains(&peer) {
            return Verdict::Refused;
        }
        match behind_nat64(peer).map(|inner| self.judge(inner)) {
            None | Some(Verdict::Allowed) => Verdict::Allowed,
            Some(Verdict::Own | Verdict::Refused) => Verdict::Refused,
        }
    }
}

fn behind_nat64(peer: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = peer else { return None };
    let [.., a, b, c, d] = v6.octets();
    NAT64.contains(&peer).then_some([a, b, c, d].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn own() -> PeerPolicy {
        PeerPolicy {
            allow: Vec::new(),
            own: vec![ip("203.0.113.5"), ip("2001:db8::5"), ip("127.0.0.1")],
        }
    }

    #[test]
    fn by_default_peers_are_on_the_internet() {
        for peer in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "64:ff9b::1.1.1.1",
        ] {
            assert_eq!(own().judge(ip(peer)), Verdict::Allowed, "{peer}");
        }
        for peer in [
            "127.0.0.2",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "100.100.100.200",
            "169.254.169.254",
            "168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.9",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::203.0.113.5",
            "64:ff9b:1::1.1.1.1",
            "2002:a00:1::1",
            "2001::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert_eq!(own().judge(ip(peer)), Verdict::Refused, "{peer}");
        }
    }

    #[test]
    fn the_server_s_own_addresses_are_told_apart_in_every_form() {
        for peer in [
            "203.0.113.5",
            "::ffff:203.0.113.5",
            "2001:db8::5",
            "127.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(own().judge(ip(peer)), Verdict::Own, "{peer}");
        }
    }

    #[test]
    fn what_the_operator_allows_is_allowed_and_nothing_beside_it() {
        let block = |text: &str| text.parse::<IpNet>().unwrap_or_else(|_| panic!("{text}"));
        let policy = PeerPolicy {
            allow: vec![
                block("10.1.0.0/16"),
                block("127.0.0.0/8"),
                block("fd00::/16"),
            ],
            ..own()
        };
        for peer in [
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "127.0.0.1",
            "fd00::9",
            "64:ff9b::10.1.2.3",
        ] {
            assert_eq!(policy.judge(ip(peer)), Verdict::Allowed, "{peer}");
        }
        for peer in ["10.2.0.1", "fd01::1", "64:ff9b::10.2.0.1"] {
            assert_eq!(policy.judge(ip(peer)), Verdict::Refused, "{peer}");
        }
    }
}
