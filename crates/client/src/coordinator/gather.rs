//! Opens the sockets of one round, and finds out where they can be reached.

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

/// How long a STUN server is waited for.
const WAIT: Duration = Duration::from_millis(1500);
/// How long all TURN servers together may take until one gives a relay.
const RELAY_LIMIT: Duration = Duration::from_secs(9);
/// Sockets of the symmetric end in birthday probing.
pub(super) const MANY: usize = 256;
/// Rounds of birthday probing at once that this end asked for; others may ask for as many more.
const MOST_BIRTHDAYS: usize = 2;

/// The basis of an attempt: the network as it was found, and the servers.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) nat: NatInfo,
    pub(super) servers: IceServers,
    pub(super) local_port: u16,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) shared: AttemptResources,
}

/// What all attempts of a coordinator share.
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

    /// Space for a round of birthday probing. Rounds of others take no space of this end's own.
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

/// Sockets, and where the other end may reach them: the address outside first.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) ports: Vec<Port>,
    pub(super) addresses: Vec<SocketAddr>,
    /// Why it is not what was wanted, if the round goes on without.
    pub(super) troubles: Option<String>,
    /// What is kept while the sockets are used.
    pub(super) permits: Option<OwnedSemaphorePermit>,
}

impl Ground {
    /// The address at which servers see this end.
    pub(super) fn public(&self) -> Option<IpAddr> {
        self.nat.public.map(|public| public.ip())
    }

    pub(super) fn udp_blocked(&self) -> bool {
        matches!(self.nat.finding, Finding::UdpBlocked)
    }

    /// Whether birthday probing makes sense here, with the many sockets or with the one.
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

    /// What this end tells the other.
    pub(super) fn end(&self) -> End {
        End {
            possible: self.nat.possible(),
            udp_blocked: self.udp_blocked(),
            public: self.public(),
            relay: !self.servers.turn.is_empty(),
        }
    }

    /// The address of this machine towards the internet.
    pub(super) fn own(&self, servers: &[SocketAddr]) -> std::io::Result<IpAddr> {
        // Without any server, the route to an unused address shows which one it is.
        let nobody = SocketAddr::from(([192, 0, 2, 1], 9));
        own::address(servers.first().copied().unwrap_or(nobody))
    }

    /// The addresses of the STUN servers.
    pub(super) async fn stun(&self) -> Vec<SocketAddr> {
        if self.nat.answered.is_empty() {
            detect::addresses(&self.servers.stun).await
        } else {
            self.nat.answered.clone()
        }
    }
}

/// One UDP socket.
pub(super) async fn udp(ground: &Ground) -> Result<Gathered, String> {
    let servers = ground.stun().await;
    let own = ground
        .own(&servers)
        .map_err(|error| socket_trouble(&error))?;
    let socket = match UdpSocket::bind((own, ground.local_port)).await {
        Ok(socket) => socket,
        // Another connection has the wanted port.
        Err(_) => UdpSocket::bind((own, 0))
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

/// The sockets of birthday probing, with the many at the symmetric end, if there is space for a round.
pub(super) async fn birthday(ground: &Ground, side: Side, many: bool) -> Result<Gathered, String> {
    let permits = Some(ground.shared.birthday(side)?);
    let sockets = if many {
        self::many(ground).await?
    } else {
        udp(ground).await?
    };
    Ok(Gathered { permits, ..sockets })
}

/// The many sockets of birthday probing. Their ports outside are unknown, so the addresses name only the host.
async fn many(ground: &Ground) -> Result<Gathered, String> {
    let servers = ground.stun().await;
    let own = ground
        .own(&servers)
        .map_err(|error| socket_trouble(&error))?;
    let public = ground
        .nat
        .public
        .ok_or("no server said which address it sees")?;
    let mut ports = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        let socket = UdpSocket::bind((own, 0))
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

/// A relay on the first TURN server that gives one; if there is none, a plain socket, because the other end may have
/// one.
pub(super) async fn relay(ground: &Ground) -> Result<Gathered, String> {
    let mut opening = Vec::new();
    for server in &ground.servers.turn {
        if server.transport != Transport::Udp || !ground.udp_blocked() {
            opening.push(open(ground, server));
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
    if ground.udp_blocked() {
        return Err(troubles);
    }
    let plain = udp(ground).await?;
    Ok(Gathered {
        troubles: Some(troubles),
        ..plain
    })
}

async fn open(ground: &Ground, server: &TurnServer) -> Result<Relay, String> {
    let relay = Relay::open(server, ground.tls.clone(), &ground.shared.lingering).await;
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
