//! Which addresses of the other end are worth trying, and which own addresses are worth sending. Pure.
//!
//! As in ICE, an address of a host is tried only if both ends may be in one network. A malicious peer could name
//! addresses so that this end sends packets to hosts of its own network, or to its own machine. So such an address
//! counts only if it can lead to the other end.

use std::net::{IpAddr, SocketAddr};

/// The most addresses of one end.
pub(super) const MOST: usize = 16;
/// Of these, the most in the own network: a host has one of each family, and the public address is only its own claim.
const MOST_PRIVATE: usize = 2;

/// The knowledge with which one end judges addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// The address of its socket, or of its relay.
    pub(super) own: IpAddr,
    /// Its public address, as servers see it.
    pub(super) own_public: Option<IpAddr>,
    /// The public address of the other end, as that end says.
    pub(super) their_public: Option<IpAddr>,
    /// Whether an end uses a relay, which may be in a network of neither end.
    pub(super) is_relayed: bool,
}

impl View {
    /// The addresses to try: each once, and only those that may lead to the other end.
    pub(super) fn usable(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut usable = distinct(addresses);
        let mut private = 0;
        usable.retain(|place| {
            let leads = self.leads_there(*place);
            private += usize::from(leads && is_private(place.ip()));
            leads && (private <= MOST_PRIVATE || !is_private(place.ip()))
        });
        usable
    }

    fn leads_there(&self, place: SocketAddr) -> bool {
        let ip = place.ip();
        let nobody = ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip);
        if place.port() == 0 || nobody || ip.is_ipv4() != self.own.is_ipv4() {
            return false;
        }
        if ip.is_loopback() || self.own.is_loopback() {
            return ip.is_loopback() && self.own.is_loopback();
        }
        if is_link_local(ip) {
            return is_link_local(self.own);
        }
        !is_private(ip) || (is_private(self.own) && self.may_be_near(ip))
    }

    /// Whether a private address may be in the own network: both ends have the same public address, or it is unknown,
    /// or servers see the other end there.
    fn may_be_near(&self, ip: IpAddr) -> bool {
        let apart = are_apart(self.own_public, self.their_public);
        self.is_relayed || !apart || self.their_public == Some(ip)
    }
}

fn are_apart(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// The own addresses that the other end can use. Private addresses are not sent to ends in other networks.
pub(super) fn worth_telling(
    own: &[SocketAddr],
    own_public: Option<IpAddr>,
    their_public: Option<IpAddr>,
) -> Vec<SocketAddr> {
    let apart = are_apart(own_public, their_public);
    let tells = |place: &SocketAddr| {
        let ip = place.ip();
        !apart || !is_private(ip) || own_public == Some(ip)
    };
    distinct(own).into_iter().filter(tells).collect()
}

/// Each address once, in its shortest form, in the order given, and not too many.
pub(super) fn distinct(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        let place = (address.ip().to_canonical(), address.port()).into();
        if !all.contains(&place) && all.len() < MOST {
            all.push(place);
        }
    }
    all
}

/// Whether an address is of a private network, of this machine, or of its link.
pub(super) fn is_private(address: IpAddr) -> bool {
    let of_a_network = match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    };
    of_a_network || address.is_loopback() || is_link_local(address)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn view(own: &str, own_public: &str, their_public: &str) -> View {
        View {
            own: ip(own),
            own_public: own_public.parse().ok(),
            their_public: their_public.parse().ok(),
            is_relayed: false,
        }
    }

    fn leads(view: View, place: &str) -> bool {
        view.usable(&[at(place)]) == [at(place)]
    }

    #[test]
    fn each_place_is_tried_once_and_not_too_many_are() {
        let view = view("192.0.2.1", "192.0.2.1", "198.51.100.7");
        let twice = [
            "198.51.100.7:1",
            "[::ffff:198.51.100.7]:1",
            "198.51.100.7:1",
            "198.51.100.7:2",
        ];
        let expected = [at("198.51.100.7:1"), at("198.51.100.7:2")];
        assert_eq!(view.usable(&twice.map(at)), expected);
        let many: Vec<_> = (1..100)
            .map(|port| (ip("198.51.100.7"), port).into())
            .collect();
        assert_eq!(view.usable(&many).len(), MOST);
    }

    #[test]
    fn the_own_machine_and_the_own_link_are_tried_from_there_alone() {
        let outside = view("198.51.100.4", "198.51.100.4", "198.51.100.7");
        let inside = view("10.0.0.2", "", "");
        for from in [outside, inside] {
            for place in [
                "127.0.0.1:80",
                "169.254.169.254:80",
                "[::1]:80",
                "[::ffff:127.0.0.1]:80",
            ] {
                assert!(from.usable(&[at(place)]).is_empty(), "{place}");
            }
        }
        assert!(leads(view("127.0.0.1", "", ""), "127.7.0.1:80"));
        assert!(!leads(view("127.0.0.1", "", ""), "198.51.100.7:80"));
        assert!(leads(view("169.254.3.4", "", ""), "169.254.1.2:80"));
    }

    #[test]
    fn a_private_address_is_tried_where_both_ends_may_be_in_its_network() {
        let same = view("192.168.1.5", "198.51.100.4", "198.51.100.4");
        let apart = view("192.168.1.5", "198.51.100.4", "198.51.100.7");
        let unknown = view("192.168.1.5", "198.51.100.4", "");
        let outside = view("198.51.100.4", "198.51.100.4", "198.51.100.4");
        let lan = "192.168.1.9:5000";
        assert!(leads(same, lan) && leads(unknown, lan));
        assert!(!leads(apart, lan) && !leads(outside, lan));
        // A network without NAT in which all addresses are private, including those of servers.
        assert!(leads(
            view("10.1.0.2", "10.1.0.2", "10.2.0.2"),
            "10.2.0.2:5000"
        ));
        let relay = View {
            is_relayed: true,
            ..apart
        };
        assert!(leads(relay, "192.168.1.1:50000"));
    }

    #[test]
    fn one_who_says_to_be_in_the_own_network_has_few_of_its_places_tried() {
        let same = view("192.168.1.5", "198.51.100.4", "198.51.100.4");
        let lan = (1..=9).map(|host| ([192, 168, 1, host], 80).into());
        let all: Vec<SocketAddr> = lan.chain([at("198.51.100.4:5000")]).collect();
        assert_eq!(same.usable(&all), [all[0], all[1], all[9]]);
    }

    #[test]
    fn nobody_is_sent_to_at_no_port_no_host_all_hosts_or_another_family() {
        let view = view("198.51.100.4", "198.51.100.4", "198.51.100.7");
        for place in [
            "198.51.100.7:0",
            "0.0.0.0:9",
            "224.0.0.1:9",
            "255.255.255.255:9",
            "[2001:db8::1]:9",
        ] {
            assert!(view.usable(&[at(place)]).is_empty(), "{place}");
        }
    }

    #[test]
    fn the_own_network_is_told_to_those_alone_who_may_be_in_it() {
        let own = [
            at("198.51.100.4:9"),
            at("192.168.1.5:9"),
            at("192.168.1.5:9"),
        ];
        let to = |theirs: &str| worth_telling(&own, Some(ip("198.51.100.4")), theirs.parse().ok());
        assert_eq!(to("198.51.100.7"), own[..1]);
        assert_eq!(to("198.51.100.4"), own[..2]);
        assert_eq!(to(""), own[..2]);
        let bare = [at("10.1.0.2:9")];
        let told = worth_telling(&bare, Some(ip("10.1.0.2")), Some(ip("198.51.100.7")));
        assert_eq!(told, bare, "servers see it there");
    }
}
