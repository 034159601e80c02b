//! Where load is aimed, and where it may be: on this machine, unless --allow-remote says otherwise.
//!
//! A [`Target`] is resolved once and its address is what every connection uses, so a name cannot begin to mean another
//! machine in the middle of a run.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hubmesh_client::HubUrl;
use thiserror::Error;
use tokio::net::TcpSocket;

/// How many connections one source address carries: below the number of ephemeral ports that Linux gives it.
const PER_SOURCE_ADDRESS: usize = 20_000;

#[derive(Clone, Debug)]
pub struct Target {
    pub hub: HubUrl,
    address: SocketAddr,
}

#[derive(Debug, Error)]
pub enum BadTarget {
    #[error(
        "{0} uses TLS, which the load generator does not speak: aim at the plain port behind it"
    )]
    Tls(HubUrl),
    #[error("cannot resolve {hub}: {reason}")]
    Unresolved { hub: HubUrl, reason: String },
    #[error(
        "{hub} is {address}, which is not this machine. Load at someone else's machine is an attack unless they agreed; \
         --allow-remote says that they did"
    )]
    Remote { hub: HubUrl, address: SocketAddr },
}

/// Reads a target's address: a hub's URL, `nats://host:port`, `tcp://host:port` or a bare `host:port`.
pub fn parse(text: &str) -> Result<HubUrl, String> {
    let bare = ["nats://", "tcp://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .unwrap_or(text);
    bare.parse().map_err(|error| format!("{error}"))
}

impl Target {
    pub async fn resolve(hub: &HubUrl, allow_remote: bool) -> Result<Self, BadTarget> {
        if hub.is_tls() {
            return Err(BadTarget::Tls(hub.clone()));
        }
        let unresolved = |reason: String| BadTarget::Unresolved {
            hub: hub.clone(),
            reason,
        };
        let host = hub.host().trim_matches(['[', ']']);
        let address = tokio::net::lookup_host((host, hub.port()))
            .await
            .map_err(|error| unresolved(error.to_string()))?
            // Hubs listen on IPv4 first, and `localhost` may mean both.
            .min_by_key(SocketAddr::is_ipv6)
            .ok_or_else(|| unresolved("no address".to_owned()))?;
        check(hub, address, allow_remote)?;
        Ok(Self {
            hub: hub.clone(),
            address,
        })
    }

    /// A socket for the `index`-th connection of the run and the address to connect it to.
    pub fn socket(&self, index: usize) -> std::io::Result<(TcpSocket, SocketAddr)> {
        let socket = if self.address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_nodelay(true)?;
        if let Some(source) = self.source(index) {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        Ok((socket, self.address))
    }

    /// Beyond the ports of one address, the loopback network has more addresses to come from.
    fn source(&self, index: usize) -> Option<IpAddr> {
        let further = u8::try_from(index / PER_SOURCE_ADDRESS).ok()?;
        let is_v4_loopback = self.address.is_ipv4() && self.address.ip().is_loopback();
        (further > 0 && is_v4_loopback).then(|| Ipv4Addr::new(127, 0, 1, further).into())
    }
}

/// Refuses an address of another machine unless `allow_remote`.
pub fn check(hub: &HubUrl, address: SocketAddr, allow_remote: bool) -> Result<(), BadTarget> {
    if address.ip().is_loopback() || allow_remote {
        Ok(())
    } else {
        Err(BadTarget::Remote {
            hub: hub.clone(),
            address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_is_a_target_until_someone_says_otherwise() {
        let remote = parse("ws://192.0.2.1:8080").unwrap();
        let refused = Target::resolve(&remote, false).await.err();
        assert!(matches!(refused, Some(BadTarget::Remote { .. })));
        assert!(Target::resolve(&remote, true).await.is_ok());
        for local in [
            "ws://127.0.0.1:1",
            "nats://127.0.0.1:1",
            "[::1]:1",
            "127.0.0.1:1",
        ] {
            let local = parse(local).unwrap();
            assert!(Target::resolve(&local, false).await.is_ok(), "{local}");
        }
    }

    #[tokio::test]
    async fn tls_is_refused_with_a_reason() {
        let hub = parse("wss://127.0.0.1:1").unwrap();
        assert!(matches!(
            Target::resolve(&hub, true).await.err(),
            Some(BadTarget::Tls(_))
        ));
    }
}
