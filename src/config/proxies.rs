//! The proxies whose word about the client's address is believed: the value of `TRUSTED_PROXIES`.
//!
//! A list of blocks of addresses, and whether Fly's proxy is among them. Pure: it knows neither headers nor sockets;
//! `http::client_ip` asks it. Addresses are expected unmapped (`192.0.2.1`, not `::ffff:192.0.2.1`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The word for Fly's proxy.
const FLY: &str = "fly";

/// The addresses of Fly's proxy: the machine's own private IPv4 network, and the organisation's private IPv6 network.
const FLY_PRIVATE: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12)),
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(0xfdaa, 0, 0, 0, 0, 0, 0, 0),
        16,
    )),
];

/// The proxies that are believed; by default none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies {
    blocks: Vec<IpNet>,
    fly: bool,
}

impl TrustedProxies {
    /// Whether this address is a proxy whose `X-Forwarded-For` is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.blocks.iter().any(|block| block.contains(&address))
    }

    /// Whether this is an address of Fly's proxy, and the operator has named it.
    pub fn is_fly(&self, address: IpAddr) -> bool {
        self.fly && FLY_PRIVATE.iter().any(|block| block.contains(&address))
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut trusted = TrustedProxies::default();
        for entry in text.split(',').map(str::trim) {
            if entry.eq_ignore_ascii_case(FLY) {
                trusted.fly = true;
            } else if !entry.is_empty() {
                trusted.blocks.push(block(entry)?);
            }
        }
        Ok(trusted)
    }
}

/// One entry: a single address, or a block.
fn block(entry: &str) -> Result<IpNet, String> {
    let address = entry.parse::<IpAddr>().map(IpNet::from);
    let block = address.or_else(|_| entry.parse::<IpNet>()).map_err(|_| {
        format!("{entry:?} is neither an address, nor a block such as 10.0.0.0/8, nor `{FLY}`")
    })?;
    if block.prefix_len() == 0 {
        return Err(format!(
            "{entry:?} covers every address: every client could name an address of its choice"
        ));
    }
    match block.network() {
        IpAddr::V6(network) if network.to_ipv4_mapped().is_some() => {
            Err(format!("{entry:?} is IPv4: write it without ::ffff:"))
        }
        _ => Ok(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(text: &str) -> TrustedProxies {
        text.parse().unwrap_or_else(|why| panic!("{text:?}: {why}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_and_blocks_of_both_kinds_are_trusted_and_nothing_else() {
        let proxies = trusted(" 192.0.2.7, 10.0.0.0/8 ,2001:db8::1,fd00::/8,");
        for inside in ["192.0.2.7", "10.255.0.1", "2001:db8::1", "fdff::2"] {
            assert!(proxies.trusts(ip(inside)), "{inside}");
        }
        for outside in ["192.0.2.8", "11.0.0.1", "2001:db8::2", "fe80::1"] {
            assert!(!proxies.trusts(ip(outside)), "{outside}");
        }
        assert!(!proxies.is_fly(ip("172.16.0.1")));
    }

    #[test]
    fn the_word_fly_stands_for_flys_private_networks() {
        for text in ["fly", "FLY", "10.0.0.0/8,fly"] {
            let proxies = trusted(text);
            for inside in ["172.16.3.2", "172.31.255.255", "fdaa:0:1::3"] {
                assert!(proxies.is_fly(ip(inside)), "{inside}");
                assert!(!proxies.trusts(ip(inside)), "{inside}");
            }
            for outside in ["172.32.0.1", "10.0.0.1", "fdab::1", "66.241.124.1"] {
                assert!(!proxies.is_fly(ip(outside)), "{outside}");
            }
        }
    }

    #[test]
    fn nonsense_and_everybody_are_refused_by_the_entry() {
        for wrong in [
            "nginx",
            "10.0.0.0/33",
            "10.0.0.1:80",
            "[::1]",
            "0.0.0.0/0",
            "::/0",
            "::ffff:10.0.0.0/104",
            "fly.io",
        ] {
            let refused = format!("127.0.0.1,{wrong}").parse::<TrustedProxies>();
            let why = refused.expect_err(wrong);
            assert!(why.contains(wrong), "{why}");
        }
    }
}
