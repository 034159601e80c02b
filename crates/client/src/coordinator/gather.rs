//! Opens the sockets of one round, and finds their public addresses.
//!
//! *Birthday probing* is for an end whose NAT gives each socket a public port that nobody can know. That end opens many
//! sockets, the other end sends to random ports, until a pair matches: far sooner than one expects (the birthday paradox).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::detect::{self, Finding, NatInfo};
use super::ice::{IceServers, Transport, TurnServer};
use super::lingering::Lingering;
use super::nat_type::NatType;
use super::own::{self, socket_trouble};
use super::plan::{End, Side};
use super::port::Port;
use super::relay::Relay;
use super::relays;
use super::stun::Change;

/// How long to wait for a STUN server.
const WAIT: Duration = Duration::from_millis(1500);
/// The time within which one of all TURN servers has to give a relay.
const RELAY_LIMIT: Duration = Duration::from_secs(9);
/// The number of sockets at the symmetric end in birthday probing.
pub(super) const MANY: usize = 256;
/// The most rounds of birthday probing at once that this end asked for; and, apart from these, the most that others asked for.
const MOST_BIRTHDAYS: usize = 2;

/// The environment of all attempts: the NAT as it was detected, and the servers.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) nat: NatInfo,
    pub(super) servers: IceServers,
    pub(super) local_port: u16,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) shared: AttemptResources,
}

/// The state that all attempts of a coordinator share.
#[derive(Clone, Debug)]
pub(super) struct AttemptResources {
    pub(super) lingering: Lingering,
    birthdays: [Arc<Semaphore>; 2],
}

impl AttemptResources {
    pub(super) fn new() -> Self {
        let permits = || Arc::new(Semaphore::new(MOST_BIRTHDAYS));
        Self {
            lingering: Lingering::new(),
            birthdays: [permits(), permits()],
        }
    }

    /// A permit for a round of birthday probing. Rounds that others ask for do not use the permits of our own rounds.
    fn birthday(&self, side: Side) -> Result<OwnedSemaphorePermit, String> {
        let [asking, asked] = &self.birthdays;
        let permits = match side {
            Side::Asking => asking,
            Side::Asked => asked,
        };
        let full = |_| format!("{MOST_BIRTHDAYS} rounds of birthday probing go on already");
        Arc::clone(permits).try_acquire_owned().map_err(full)
    }
}

/// Sockets, and the addresses at which the other end may reach them: the public address first.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) ports: Vec<Port>,
    pub(super) addresses: Vec<SocketAddr>,
    /// Why there is no relay, if a plain socket was opened instead.
    pub(super) troubles: Option<String>,
    /// Held while the sockets are used.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Environment {
    /// Our public IP address, as STUN servers see it.
    pub(super) fn public_ip(&self) -> Option<IpAddr> {
        self.nat.public.map(|public| public.ip())
    }

    pub(super) fn udp_blocked(&self) -> bool {
        matches!(self.nat.finding, Finding::UdpBlocked)
    }

    /// Whether birthday probing can work here: at the end with many sockets, or at the end with one.
    pub(super) fn fits_birthday(&self, many: bool) -> bool {
        let possible = self.nat.possible();
        let fits = |kind: &NatType| {
            if many {
                *kind == NatType::Symmetric
            } else {
                kind.filters_by_port()
            }
        };
        possible.iter().any(fits)
    }

    /// The description of this end that the other end is sent.
    pub(super) fn end(&self) -> End {
        End {
            possible: self.nat.possible(),
            udp_blocked: self.udp_blocked(),
            public: self.public_ip(),
            relay: !self.servers.turn.is_empty(),
        }
    }

    /// The local address from which this machine reaches the internet.
    pub(super) fn local_address(&self, servers: &[SocketAddr]) -> std::io::Result<IpAddr> {
        // If there is no server, use a reserved address: the route to it shows our own address. Nothing is sent.
        let reserved = SocketAddr::from(([192, 0, 2, 1], 9));
        own::address(servers.first().copied().unwrap_or(reserved))
    }

    /// The addresses of the STUN servers: of those that answered, if any has.
    pub(super) async fn stun_addresses(&self) -> Vec<SocketAddr> {
        if self.nat.answered.is_empty() {
            detect::addresses(&self.servers.stun).await
        } else {
            self.nat.answered.clone()
        }
    }
}

/// One UDP socket.
pub(super) async fn udp(environment: &Environment) -> Result<Gathered, String> {
    let servers = environment.stun_addresses().await;
    let own_ip = environment
        .local_address(&servers)
        .map_err(|error| socket_trouble(&error))?;
    let socket = match UdpSocket::bind((own_ip, environment.local_port)).await {
        Ok(socket) => socket,
        // Another socket has the port from the options: any port will do.
        Err(_) => UdpSocket::bind((own_ip, 0))
            .await
            .map_err(|error| socket_trouble(&error))?,
    };
    let local = socket
        .local_addr()
        .map_err(|error| socket_trouble(&error))?;
    let asked: Vec<_> = servers
        .iter()
        .map(|to| (*to, Change::NONE))
        .take(2)
        .collect();
    let answers = detect::ask(&socket, &asked, WAIT).await;
    let answers = answers.map_err(|error| socket_trouble(&error))?;
    let mapped = answers.iter().flatten().find_map(|(got, _)| got.mapped);
    let mut addresses: Vec<SocketAddr> = mapped.into_iter().collect();
    if !addresses.contains(&local) {
        addresses.push(local);
    }
    Ok(Gathered {
        ports: vec![Port::Udp(socket)],
        addresses,
        ..Gathered::default()
    })
}

/// The sockets of birthday probing: many at the symmetric end, one at the other. Fails if too many rounds are running.
pub(super) async fn birthday(
    environment: &Environment,
    side: Side,
    many: bool,
) -> Result<Gathered, String> {
    let permit = Some(environment.shared.birthday(side)?);
    let sockets = if many {
        self::many(environment).await?
    } else {
        udp(environment).await?
    };
    Ok(Gathered { permit, ..sockets })
}

/// The many sockets of birthday probing. Their public ports are unknown: of the address, only the IP is valid.
async fn many(environment: &Environment) -> Result<Gathered, String> {
    let servers = environment.stun_addresses().await;
    let own_ip = environment
        .local_address(&servers)
        .map_err(|error| socket_trouble(&error))?;
    let public = environment
        .nat
        .public
        .ok_or("no server said which address it sees")?;
    let mut ports = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        let socket = UdpSocket::bind((own_ip, 0))
            .await
            .map_err(|error| socket_trouble(&error))?;
        ports.push(Port::Udp(socket));
    }
    Ok(Gathered {
        ports,
        addresses: vec![public],
        ..Gathered::default()
    })
}

/// A relay on the first TURN server that gives one. If none does, a plain socket: the other end may have a relay.
pub(super) async fn relay(environment: &Environment) -> Result<Gathered, String> {
    let mut opening = Vec::new();
    for server in &environment.servers.turn {
        if server.transport != Transport::Udp || !environment.udp_blocked() {
            opening.push(open(environment, server));
        }
    }
    let mut troubles = match relays::first(opening, RELAY_LIMIT).await {
        Ok(relay) => {
            let addresses = vec![relay.address];
            return Ok(Gathered {
                ports: vec![Port::Relay(relay)],
                addresses,
                ..Gathered::default()
            });
        }
        Err(troubles) => troubles,
    };
    if troubles.is_empty() {
        troubles.push("no TURN server is known".into());
    }
    let troubles = troubles.join("; ");
    if environment.udp_blocked() {
        return Err(troubles);
    }
    let plain = udp(environment).await?;
    Ok(Gathered {
        troubles: Some(troubles),
        ..plain
    })
}

async fn open(environment: &Environment, server: &TurnServer) -> Result<Relay, String> {
    let relay = Relay::open(
        server,
        environment.tls.clone(),
        &environment.shared.lingering,
    )
    .await;
    relay.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_birthday_probing_are_few_and_others_take_none_of_the_own() {
        let shared = AttemptResources::new();
        let asked: Vec<_> = (0..MOST_BIRTHDAYS)
            .map(|_| shared.birthday(Side::Asked).unwrap())
            .collect();
        let full = shared.clone().birthday(Side::Asked).unwrap_err();
        assert!(full.contains("go on already"), "{full}");
        assert!(shared.birthday(Side::Asking).is_ok());
        drop(asked);
        assert!(shared.birthday(Side::Asked).is_ok());
    }
}
