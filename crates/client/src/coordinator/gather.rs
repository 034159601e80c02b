//! Opens the sockets of one round, and finds out where they can be reached.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::detect::{self, Finding, NatInfo};
use super::ice::{IceServers, Transport};
use super::nat_type::NatType;
use super::own;
use super::plan::End;
use super::port::Port;
use super::relay::Relay;
use super::stun::Change;

/// How long a STUN server is waited for.
const WAIT: Duration = Duration::from_millis(1500);
/// Sockets of the symmetric end in birthday probing.
pub(super) const MANY: usize = 256;

/// What the ends of an attempt stand on: the network as it was found, and the servers.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) nat: NatInfo,
    pub(super) servers: IceServers,
    pub(super) local_port: u16,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

/// Sockets, and where the other end may reach them: the address outside first.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) ports: Vec<Port>,
    pub(super) addresses: Vec<SocketAddr>,
    /// Why it is not what was wanted, where there is a reason to go on without.
    pub(super) troubles: Option<String>,
}

impl Ground {
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

    /// What is told of this end to the other.
    pub(super) fn end(&self) -> End {
        End {
            possible: self.nat.possible(),
            udp_blocked: self.udp_blocked(),
            public: self.nat.public.map(|public| public.ip()),
            relay: !self.servers.turn.is_empty(),
        }
    }

    /// The address of this machine towards the internet.
    pub(super) fn own(&self, servers: &[SocketAddr]) -> std::io::Result<IpAddr> {
        // Without any server, the way to an address that is nobody's says which one it is.
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
    let own = ground.own(&servers).map_err(socket_trouble)?;
    let socket = match UdpSocket::bind((own, ground.local_port)).await {
        Ok(socket) => socket,
        // Another connection has the port that was wished for.
        Err(_) => UdpSocket::bind((own, 0)).await.map_err(socket_trouble)?,
    };
    let local = socket.local_addr().map_err(socket_trouble)?;
    let asked: Vec<_> = servers
        .iter()
        .map(|to| (*to, Change::NONE))
        .take(2)
        .collect();
    let answers = detect::ask(&socket, &asked, WAIT).await;
    let answers = answers.map_err(socket_trouble)?;
    let mapped = answers.iter().flatten().find_map(|(got, _)| got.mapped);
    let mut addresses: Vec<SocketAddr> = mapped.into_iter().collect();
    if !addresses.contains(&local) {
        addresses.push(local);
    }
    Ok(Gathered {
        ports: vec![Port::Udp(socket)],
        addresses,
        troubles: None,
    })
}

/// The many sockets of birthday probing. Nobody knows their ports outside, so the addresses name the host alone.
pub(super) async fn many(ground: &Ground) -> Result<Gathered, String> {
    let servers = ground.stun().await;
    let own = ground.own(&servers).map_err(socket_trouble)?;
    let public = ground
        .nat
        .public
        .ok_or("no server said which address it sees")?;
    let mut ports = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        let socket = UdpSocket::bind((own, 0)).await.map_err(socket_trouble)?;
        ports.push(Port::Udp(socket));
    }
    Ok(Gathered {
        ports,
        addresses: vec![public],
        troubles: None,
    })
}

/// A relay on the first TURN server that gives one; without any, a plain socket, for the other end may have one.
pub(super) async fn relay(ground: &Ground) -> Result<Gathered, String> {
    let mut troubles = Vec::new();
    for server in &ground.servers.turn {
        if server.transport == Transport::Udp && ground.udp_blocked() {
            continue;
        }
        match Relay::open(server, ground.tls.clone()).await {
            Ok(relay) => {
                let addresses = vec![relay.address];
                return Ok(Gathered {
                    ports: vec![Port::Relay(relay)],
                    addresses,
                    troubles: None,
                });
            }
            Err(error) => troubles.push(error.to_string()),
        }
    }
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

pub(super) fn socket_trouble(error: std::io::Error) -> String {
    format!("no socket could be used: {error}")
}
