//! Whether an address is on this machine, in a private network or public; and which addresses count as one.
//!
//! One pure function, [`Reach::of`], for two decisions: from which addresses an open mesh accepts links
//! (`http::admit`), and which advertised addresses may be dialled (`mesh::advertised`). Limits count by
//! [`AddressGroup`]. Knows neither sockets nor names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How far an address reaches, the nearest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// This machine.
    Loopback,
    /// A private network: RFC 1918, or a unique local address of IPv6.
    Private,
    /// Addresses that a provider shares among its customers (RFC 6598): private, but not to us alone.
    Shared,
    /// Any host on the Internet.
    Global,
    /// An address at which no hub can be: link-local, where clouds have the keys of a machine, other services of a
    /// cloud at well-known addresses, multicast, unspecified, reserved.
    Nowhere,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(first: u16, second: u16, length: u8) -> IpNet {
    let address = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// Addresses outside the link-local block at which clouds answer their machines: AWS by IPv6, Alibaba, Azure.
const SERVICES: [IpNet; 3] = [
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0),
        32,
    )),
    v4(100, 100, 100, 200, 32),
    v4(168, 63, 129, 16, 32),
];

const NOWHERE: [IpNet; 8] = [
    v4(0, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(192, 0, 0, 0, 24),
    v4(224, 0, 0, 0, 3),
    v6(0xfe80, 0, 9),
    v6(0xff00, 0, 8),
    v6(0x0100, 0, 64),
    v6(0, 0, 96),
];

const PRIVATE: [IpNet; 4] = [
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v6(0xfc00, 0, 7),
];

const SHARED: [IpNet; 2] = [v4(100, 64, 0, 0, 10), v4(198, 18, 0, 0, 15)];

/// Prefixes of IPv6 behind which there is an IPv4 address, and the byte at which it begins: NAT64, 6to4.
const EMBEDDING: [(IpNet, usize); 2] = [(v6(0x64, 0xff9b, 96), 12), (v6(0x2002, 0, 16), 2)];

impl Reach {
    /// How far this address reaches. An address that represents an IPv4 address reaches as far as that does.
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        if let Some(inner) = embedded(address) {
            return Reach::of(inner);
        }
        let within = |blocks: &[IpNet]| blocks.iter().any(|block| block.contains(&address));
        if address.is_loopback() {
            Reach::Loopback
        } else if within(&SERVICES) || within(&NOWHERE) {
            Reach::Nowhere
        } else if within(&PRIVATE) {
            Reach::Private
        } else if within(&SHARED) {
            Reach::Shared
        } else {
            Reach::Global
        }
    }
}

fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let (_, at) = EMBEDDING
        .iter()
        .find(|(prefix, _)| prefix.contains(&address))?;
    let octets = v6.octets();
    let inner: [u8; 4] = octets.get(*at..at + 4)?.try_into().ok()?;
    Some(IpAddr::from(inner))
}

/// Addresses that count as one: an IPv4 address, or a /64 of IPv6, which is the least that a single customer gets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressGroup(IpAddr);

impl AddressGroup {
    /// The group of this address.
    pub fn of(address: IpAddr) -> Self {
        AddressGroup(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() & (u128::from(u64::MAX) << 64);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        Reach::of(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_reaches_as_far_as_its_block_does() {
        for (expected, addresses) in [
            (
                Reach::Loopback,
                &["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"][..],
            ),
            (
                Reach::Private,
                &[
                    "10.0.0.1",
                    "172.31.9.9",
                    "192.168.1.1",
                    "fd12::1",
                    "fdaa:0:1::3",
                ],
            ),
            (Reach::Shared, &["100.64.0.1", "100.127.255.255"]),
            (
                Reach::Global,
                &["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"],
            ),
            (
                Reach::Nowhere,
                &[
                    "169.254.169.254",
                    "fe80::1",
                    "fec0::1",
                    "fd00:ec2::254",
                    "100.100.100.200",
                    "168.63.129.16",
                    "0.0.0.0",
                    "::",
                    "224.0.0.1",
                    "255.255.255.255",
                    "240.0.0.1",
                    "ff02::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(reach(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn an_address_that_wraps_another_reaches_as_far_as_that_one() {
        for (wrapped, expected) in [
            ("64:ff9b::127.0.0.1", Reach::Loopback),
            ("64:ff9b::a9fe:a9fe", Reach::Nowhere),
            ("2002:a00:1::1", Reach::Private),
            ("2002:7f00:1::", Reach::Loopback),
            ("64:ff9b::1.1.1.1", Reach::Global),
            ("::169.254.169.254", Reach::Nowhere),
            ("::7f00:1", Reach::Nowhere),
        ] {
            assert_eq!(reach(wrapped), expected, "{wrapped}");
        }
    }
}
