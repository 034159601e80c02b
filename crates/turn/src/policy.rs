//! Which addresses may be peers: without this, a relay would open the network around it to strangers.
//!
//! By default a peer has to be on the internet. Refused are this machine, private and shared networks, link-local
//! addresses (clouds keep a machine's keys there), multicast, reserved addresses, and IPv6 forms of IPv4 addresses.
//! Those of NAT64 are judged by the IPv4 address inside. A list of blocks allows exceptions. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Whether an address may be a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It is an address of this server: its other relays may be peers, and nothing else there.
    Own,
    /// It may not.
    Refused,
}

/// The exceptions, and the server's own addresses.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Allowed although they are not on the internet. A server's own address is among them only if it is named by
    /// itself, as a block of one.
    pub allow: Vec<IpNet>,
    /// The server's own addresses, unmapped. Those of its relays need not be listed.
    pub own: Vec<IpAddr>,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(first: u16, second: u16, length: u8) -> IpNet {
    let address = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// The blocks of the registry of special-purpose addresses (RFC 6890) that are not on the internet, and the address at
/// which one cloud answers its machines (Azure's). The blocks for documentation lead nowhere and are left out.
const REFUSED_V4: [IpNet; 12] = [
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
];

/// All of IPv6 that is assigned for the internet. Outside it are this machine, private networks, and forms of IPv4
/// addresses that a translator may lead anywhere.
const INTERNET_V6: IpNet = v6(0x2000, 0, 3);
/// The blocks inside it that are for protocols (Teredo among them) and 6to4: these wrap IPv4 addresses, and hardly any
/// peer is reached so.
const REFUSED_V6: [IpNet; 2] = [v6(0x2001, 0, 23), v6(0x2002, 0, 16)];
/// The prefix in which NAT64 puts IPv4 addresses, into the last four bytes.
const NAT64: IpNet = v6(0x0064, 0xff9b, 96);

impl PeerPolicy {
    /// Whether this address may be a peer. Exceptions and own addresses count in their IPv4-mapped form too.
    pub fn judge(&self, peer: IpAddr) -> Verdict {
        let plain = peer.to_canonical();
        if self.allow.contains(&IpNet::from(plain)) {
            return Verdict::Allowed;
        }
        if self.own.contains(&plain) {
            return Verdict::Own;
        }
        let within = |blocks: &[IpNet]| blocks.iter().any(|block| block.contains(&peer));
        let allowed = self.allow.iter().any(|block| block.contains(&plain));
        let is_good = match (peer, behind_nat64(peer)) {
            _ if allowed => true,
            (IpAddr::V4(_), _) => !within(&REFUSED_V4),
            (_, Some(inner)) => self.judge(inner) == Verdict::Allowed,
            (IpAddr::V6(_), None) => INTERNET_V6.contains(&peer) && !within(&REFUSED_V6),
        };
        match is_good {
            true => Verdict::Allowed,
            false => Verdict::Refused,
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
            "2001:200::1",
            "3ffe::1",
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
            "::ffff:0:10.0.0.1",
            "::ffff:0:8.8.8.8",
            "100::1",
            "1fff::1",
            "4000::1",
            "5f00::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::203.0.113.5",
            "64:ff9b:1::1.1.1.1",
            "2002:a00:1::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
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
                block("127.0.0.1/32"),
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

    #[test]
    fn a_block_that_is_allowed_does_not_open_the_server_itself() {
        let block = |text: &str| text.parse::<IpNet>().unwrap_or_else(|_| panic!("{text}"));
        let mut policy = PeerPolicy {
            allow: ["127.0.0.0/8", "203.0.113.0/24", "2001:db8::/32"]
                .map(block)
                .to_vec(),
            ..own()
        };
        let all = [
            "127.0.0.1",
            "203.0.113.5",
            "::ffff:203.0.113.5",
            "2001:db8::5",
        ];
        for peer in all {
            assert_eq!(policy.judge(ip(peer)), Verdict::Own, "{peer}");
        }
        assert_eq!(policy.judge(ip("127.0.0.2")), Verdict::Allowed);
        assert_eq!(policy.judge(ip("203.0.113.6")), Verdict::Allowed);
        let named = ["127.0.0.1/32", "203.0.113.5/32", "2001:db8::5/128"];
        policy.allow.extend(named.map(block));
        for peer in all {
            assert_eq!(policy.judge(ip(peer)), Verdict::Allowed, "{peer}");
        }
    }
}
