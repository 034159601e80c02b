//! The addresses of the servers: where they listen, where relays are reached, what clients are told, and which are the
//! machine's own and therefore no peers.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use hubmesh_turn::{Config as ServerConfig, PeerPolicy, Relays, Server, TurnConfig, Verdict};
use tokio::time::Instant;

use super::ports::Ports;
use crate::auth::Secret;
use crate::config::NatSettings;
use crate::log::Seldom;

/// The address where this machine is reached is not known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "TURN_PUBLIC_ADDRESS is unset, and this machine has no address that leads to the internet: set it to the one that \
     clients and peers reach this hub at"
)]
pub struct NoAddress;

/// Warns that clients elsewhere get addresses that they cannot reach, as behind a cloud's NAT or in a container.
fn warn_of_private(found: impl Iterator<Item = IpAddr>) {
    for address in found {
        if PeerPolicy::default().judge(address) != Verdict::Allowed {
            tracing::warn!(
                %address,
                "STUN and TURN tell clients a private address of this machine; set TURN_PUBLIC_ADDRESS to the one that \
                 clients reach it at"
            );
        }
    }
}

/// The addresses of the servers.
pub(super) struct Addresses {
    /// The addresses that sockets are bound to; `::` is IPv6 alone.
    pub(super) listening: Vec<IpAddr>,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    name: Option<String>,
}

/// An address as it stands in a URL.
struct InUrl<'a>(&'a IpAddr);

impl fmt::Display for InUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => write!(f, "{v4}"),
            IpAddr::V6(v6) => write!(f, "[{v6}]"),
        }
    }
}

impl Addresses {
    /// The configured addresses, or else those that the hub listens on, or else those that this machine uses towards
    /// the internet.
    pub(super) fn find(nat: &NatSettings, hub: &[IpAddr]) -> Result<Self, NoAddress> {
        let mut listening: Vec<IpAddr> = hub.to_vec();
        // The hub's own is of both families.
        if listening.contains(&IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
            listening.push(Ipv4Addr::UNSPECIFIED.into());
        }
        listening.sort_unstable();
        listening.dedup();
        let all: Vec<IpAddr> = match nat.public.as_slice() {
            [] => listening.iter().filter_map(|ip| outward(*ip)).collect(),
            set => set.to_vec(),
        };
        let has = |family: fn(&IpAddr) -> bool| listening.iter().any(family);
        let v4 = all.iter().find_map(|ip| match ip {
            IpAddr::V4(v4) if has(IpAddr::is_ipv4) => Some(*v4),
            _ => None,
        });
        let v6 = all.iter().find_map(|ip| match ip {
            IpAddr::V6(v6) if has(IpAddr::is_ipv6) => Some(*v6),
            _ => None,
        });
        if v4.is_none() && v6.is_none() {
            return Err(NoAddress);
        }
        let found = Addresses {
            listening,
            v4,
            v6,
            name: nat.public_name.clone(),
        };
        if nat.public.is_empty() {
            warn_of_private(found.reached());
        }
        Ok(found)
    }

    /// Where relays are reached, one address of each family at most.
    fn reached(&self) -> impl Iterator<Item = IpAddr> {
        let (v4, v6) = (self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6));
        v4.into_iter().chain(v6)
    }

    /// The addresses that the ports of relays are bound to, for each family that has relays.
    pub(super) fn relay_hosts(&self) -> Vec<IpAddr> {
        let hosts = self.listening.iter().copied();
        hosts
            .filter(|ip| match ip {
                IpAddr::V4(_) => self.v4.is_some(),
                IpAddr::V6(_) => self.v6.is_some(),
            })
            .collect()
    }

    /// A server for these ports, on a machine with these addresses.
    pub(super) fn server(
        &self,
        nat: &NatSettings,
        ports: &Ports,
        secret: &Secret,
        machine: Option<&Machine>,
    ) -> Server {
        let turn = nat.turn.as_ref().map(|turn| TurnConfig {
            secret: secret.expose().to_owned(),
            ports: ports.turn(),
            relays: Relays {
                v4: self.v4,
                v6: self.v6,
                ports: turn.relay_ports.clone(),
            },
            policy: PeerPolicy {
                allow: turn.allow_peers.clone(),
                own: machine.map_or_else(Vec::new, |machine| machine.own.clone()),
            },
            limits: nat.limits,
        });
        let config = ServerConfig {
            ports: ports.change(),
            turn,
            seed: rand::random(),
        };
        Server::new(config, Instant::now().into_std())
    }

    /// This machine's addresses, if it tells.
    pub(super) fn machine(&self) -> io::Result<Machine> {
        let known: Vec<IpAddr> = self
            .reached()
            .chain(self.listening.iter().copied())
            .collect();
        Machine::new(known, interfaces)
    }

    /// Each host that clients are told, for each of these ports.
    fn urls(&self, port: Option<u16>, scheme: &str, end: &str) -> Vec<String> {
        let hosts: Vec<String> = match &self.name {
            Some(name) => vec![name.clone()],
            None => self.reached().map(|ip| InUrl(&ip).to_string()).collect(),
        };
        let urls = hosts.iter().zip(std::iter::repeat(port));
        urls.filter_map(|(host, port)| Some(format!("{scheme}:{host}:{}{end}", port?)))
            .collect()
    }

    pub(super) fn stun_urls(&self, ports: &Ports) -> Vec<String> {
        let one = self.urls(ports.stun_port(), "stun", "");
        let other = self.urls(ports.alternate_port(), "stun", "");
        [one, other].concat()
    }

    pub(super) fn turn_urls(&self, ports: &Ports) -> Vec<String> {
        let udp = self.urls(ports.turn_port(), "turn", "?transport=udp");
        let tcp = self.urls(ports.turn_port(), "turn", "?transport=tcp");
        let tls = self.urls(ports.tls_port(), "turns", "?transport=tcp");
        [udp, tcp, tls].concat()
    }
}

/// How often the machine is asked which addresses it has: interfaces come and go.
const LOOK: Duration = Duration::from_secs(5);

/// The addresses of all interfaces.
fn interfaces() -> io::Result<Vec<IpAddr>> {
    let all = if_addrs::get_if_addrs()?;
    Ok(all.iter().map(if_addrs::Interface::ip).collect())
}

/// This machine's own addresses, which are no peers.
pub(super) struct Machine {
    /// Those that are its own whatever its interfaces have.
    known: Vec<IpAddr>,
    ask: fn() -> io::Result<Vec<IpAddr>>,
    /// All of them, as they were at the last look.
    own: Vec<IpAddr>,
    looked: Instant,
    failures: Seldom,
}

impl Machine {
    fn new(known: Vec<IpAddr>, ask: fn() -> io::Result<Vec<IpAddr>>) -> io::Result<Self> {
        let own = [known.clone(), ask()?].concat();
        Ok(Machine {
            known,
            ask,
            own,
            looked: Instant::now(),
            failures: Seldom::default(),
        })
    }

    /// Looks again if it is time, and gives all addresses if they have changed. If the system does not tell, the known
    /// ones stay.
    pub(super) fn look_again(&mut self, now: Instant) -> Option<Vec<IpAddr>> {
        if now < self.looked + LOOK {
            return None;
        }
        self.looked = now;
        match (self.ask)() {
            Ok(found) => {
                let own = [self.known.clone(), found].concat();
                let is_new = own != self.own;
                self.own = own;
                is_new.then(|| self.own.clone())
            }
            Err(why) => {
                if let Some(left_out) = self.failures.due() {
                    tracing::warn!(
                        %why, left_out,
                        "this machine does not tell which addresses it has: relays refuse those that it had before"
                    );
                }
                None
            }
        }
    }
}

/// The address that this machine has towards the internet, if it listens on all of them. Nothing is sent: the system is
/// asked for a route.
fn outward(listening: IpAddr) -> Option<IpAddr> {
    if !listening.is_unspecified() {
        return Some(listening);
    }
    // A root server of the domain name system, of each family.
    let far: SocketAddr = match listening {
        IpAddr::V4(_) => ([198, 41, 0, 4], 53).into(),
        IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30), 53).into(),
    };
    let socket = UdpSocket::bind((listening, 0)).ok()?;
    socket.connect(far).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn settings(more: &[(&str, &str)]) -> NatSettings {
        let vars = [("TURN_PORT", "0")].into_iter().chain(more.iter().copied());
        Config::from_vars(vars).expect("fine").nat
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn relays_are_where_the_hub_listens_unless_it_is_said_where_they_are_reached() {
        let localhost = [ip("127.0.0.1"), ip("::1")];
        let found = Addresses::find(&settings(&[]), &localhost).expect("both");
        assert_eq!(
            (found.v4, found.v6),
            (Some(Ipv4Addr::LOCALHOST), Some(Ipv6Addr::LOCALHOST))
        );
        assert_eq!(
            found.urls(Some(9), "turn", ""),
            ["turn:127.0.0.1:9", "turn:[::1]:9"]
        );
        let set = settings(&[("TURN_PUBLIC_ADDRESS", "203.0.113.5")]);
        let found = Addresses::find(&set, &[ip("::")]).expect("one");
        assert_eq!((found.v4, found.v6), (Some([203, 0, 113, 5].into()), None));
        assert_eq!(found.relay_hosts(), [ip("0.0.0.0")]);
        let machine = found.machine().expect("it tells");
        assert!(machine.own.contains(&ip("203.0.113.5")));
        assert!(machine.own.contains(&ip("127.0.0.1")));
        let named = settings(&[("TURN_PUBLIC_NAME", "turn.example.org")]);
        let found = Addresses::find(&named, &localhost).expect("both");
        assert_eq!(
            found.urls(Some(9), "turns", ""),
            ["turns:turn.example.org:9"]
        );
        let v6 = settings(&[("TURN_PUBLIC_ADDRESS", "2001:db8::5")]);
        assert!(Addresses::find(&v6, &[ip("127.0.0.1")]).is_err());
    }

    #[test]
    fn addresses_that_come_later_are_the_machine_s_own_and_stay_so_while_it_does_not_tell() {
        use std::cell::Cell;
        thread_local! {
            static LOOKS: Cell<u8> = const { Cell::new(0) };
        }
        let ask = || {
            let look = LOOKS.get();
            LOOKS.set(look + 1);
            match look {
                0 | 1 => Ok(vec![ip("192.0.2.1")]),
                2 => Ok(vec![ip("192.0.2.1"), ip("192.0.2.2")]),
                3 => Err(io::ErrorKind::PermissionDenied.into()),
                _ => Ok(vec![ip("192.0.2.2")]),
            }
        };
        let mut machine = Machine::new(vec![ip("203.0.113.5")], ask).expect("it tells");
        let begin = machine.looked;
        let mut look = |times: u32| machine.look_again(begin + LOOK * times);
        assert_eq!(look(0), None, "it is too early");
        assert_eq!(look(1), None, "nothing is new");
        let all = [ip("203.0.113.5"), ip("192.0.2.1"), ip("192.0.2.2")];
        assert_eq!(look(2), Some(all.to_vec()));
        assert_eq!(look(3), None);
        assert_eq!(look(4), Some(vec![ip("203.0.113.5"), ip("192.0.2.2")]));
        let silent: fn() -> io::Result<Vec<IpAddr>> = || Err(io::ErrorKind::Other.into());
        assert!(Machine::new(Vec::new(), silent).is_err());
    }
}
