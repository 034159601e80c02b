//! Listening sockets for `HOST` and `PORT`: all of them, or none.
//!
//! `localhost` is 127.0.0.1 and, where the machine has one, ::1; clients try either. A port in use is an error, never
//! a reason to take the next one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, lookup_host};

/// The hub cannot listen where it is told to. Nothing is bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// `HOST` is a name without an address.
    #[error("HOST {host} has no address: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        why: io::Error,
    },
    /// Another program listens there.
    #[error(
        "{addr} is in use: stop what listens there, or set PORT to another port (0 takes a free one)"
    )]
    InUse {
        /// Where.
        addr: SocketAddr,
    },
    /// Any other reason.
    #[error("cannot listen on {addr}: {why}")]
    Refused {
        /// Where.
        addr: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
}

/// How often a free port is looked for that is free for both addresses of `localhost`.
const TRIES_FOR_A_FREE_PORT: usize = 16;

/// Listens on every address of `host`. With port 0, all listen on the same free port.
pub async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, BindError> {
    if !host.eq_ignore_ascii_case("localhost") {
        return bind_each(&addresses(host, port).await?).await;
    }
    let mut tries = 1;
    loop {
        match bind_localhost(port).await {
            Err(BindError::InUse { .. }) if port == 0 && tries < TRIES_FOR_A_FREE_PORT => {
                tries += 1
            }
            done => return done,
        }
    }
}

async fn bind_localhost(port: u16) -> Result<Vec<TcpListener>, BindError> {
    let first = listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).await?;
    let port = first.local_addr().map_or(port, |addr| addr.port());
    match listen(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)).await {
        Ok(second) => Ok(vec![first, second]),
        Err(in_use @ BindError::InUse { .. }) => Err(in_use),
        // A machine without IPv6.
        Err(_) => Ok(vec![first]),
    }
}

async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, BindError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let failed = |why| BindError::Resolve {
        host: host.to_owned(),
        why,
    };
    let mut found: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(failed)?.collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

async fn bind_each(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for addr in addresses {
        let mut addr = *addr;
        if let Some(Ok(first)) = listeners.first().map(TcpListener::local_addr) {
            addr.set_port(first.port());
        }
        listeners.push(listen(addr).await?);
    }
    Ok(listeners)
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr)
        .await
        .map_err(|why| match why.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { addr },
            _ => BindError::Refused { addr, why },
        })
}
