//! Listening sockets for `HOST` and `PORT`: all of them, or none.
//!
//! `localhost` is 127.0.0.1 and, where the machine has one, ::1; clients try either. `::` is every interface of both
//! kinds, whatever the system's `bindv6only` says. A port in use is an error, never a reason to take the next one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

/// The hub cannot listen at its address. Nothing is bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// `HOST` is a name without an address.
    #[error("HOST {host} has no address: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error.
        why: io::Error,
    },
    /// Another program listens at this address.
    #[error(
        "{addr} is in use: stop what listens there, or set PORT to another port (0 takes a free one)"
    )]
    InUse {
        /// The address and port.
        addr: SocketAddr,
    },
    /// The port needs a privilege.
    #[error(
        "this process may not listen on {addr}: ports below 1024 need a right of their own. Set PORT to a higher one \
         and a proxy or a port mapping in front, or give the right: AmbientCapabilities=CAP_NET_BIND_SERVICE in a \
         systemd unit, setcap cap_net_bind_service=+ep on the binary, or --cap-add NET_BIND_SERVICE for docker"
    )]
    Privileged {
        /// The address and port.
        addr: SocketAddr,
    },
    /// `HOST` is an IPv6 address, and there is no IPv6.
    #[error(
        "cannot listen on {addr}: this machine has no IPv6 or not this address. Set HOST=0.0.0.0 for every interface \
         by IPv4"
    )]
    NoIpv6 {
        /// The address and port.
        addr: SocketAddr,
    },
    /// `HOST` is an address of another machine.
    #[error(
        "cannot listen on {addr}: this machine does not have that address. Set HOST to one that it has, or to :: or \
         0.0.0.0 for every interface"
    )]
    NotHere {
        /// The address and port.
        addr: SocketAddr,
    },
    /// Any other reason.
    #[error("cannot listen on {addr}: {why}")]
    Refused {
        /// The address and port.
        addr: SocketAddr,
        /// The system's error.
        why: io::Error,
    },
}

/// How often the hub looks for a port that is free at both addresses of `localhost`.
const TRIES_FOR_A_FREE_PORT: usize = 16;

/// Listens on every address of `host`. With port 0, all listen on the same free port.
pub async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, BindError> {
    if !host.eq_ignore_ascii_case("localhost") {
        return bind_each(&addresses(host, port).await?);
    }
    let mut tries = 1;
    loop {
        match bind_localhost(port) {
            Err(BindError::InUse { .. }) if port == 0 && tries < TRIES_FOR_A_FREE_PORT => {
                tries += 1
            }
            done => return done,
        }
    }
}

fn bind_localhost(port: u16) -> Result<Vec<TcpListener>, BindError> {
    let first = listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))?;
    let port = first.local_addr().map_or(port, |addr| addr.port());
    match listen(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)) {
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

fn bind_each(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for addr in addresses {
        let mut addr = *addr;
        if let Some(Ok(first)) = listeners.first().map(TcpListener::local_addr) {
            addr.set_port(first.port());
        }
        listeners.push(listen(addr)?);
    }
    Ok(listeners)
}

fn listen(addr: SocketAddr) -> Result<TcpListener, BindError> {
    open(addr).map_err(|why| refusal(addr, why))
}

/// How many connections may wait to be accepted: as many as the standard library asks for, or the system's limit.
const BACKLOG: i32 = 1024;

/// As in the standard library, except for the meaning of `::`.
fn open(addr: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(addr);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The first port that needs no right.
const UNPRIVILEGED: u16 = 1024;

/// The error for `HOST` or `PORT` that the system's refusal stands for.
fn refusal(addr: SocketAddr, why: io::Error) -> BindError {
    match why.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { addr },
        io::ErrorKind::PermissionDenied if addr.port() < UNPRIVILEGED => {
            BindError::Privileged { addr }
        }
        io::ErrorKind::AddrNotAvailable if addr.is_ipv6() => BindError::NoIpv6 { addr },
        io::ErrorKind::AddrNotAvailable => BindError::NotHere { addr },
        _ if addr.is_ipv6() && why.raw_os_error() == Some(NO_SUCH_FAMILY) => {
            BindError::NoIpv6 { addr }
        }
        _ => BindError::Refused { addr, why },
    }
}

/// The system knows no such kind of address (`EAFNOSUPPORT`).
const NO_SUCH_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use socket2::SockRef;

    use super::*;

    fn told(addr: &str, why: Errno) -> String {
        let addr = addr.parse().expect("an address");
        refusal(addr, why.into()).to_string()
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (addr, why, word) in [
            ("127.0.0.1:80", Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
            ("[::]:443", Errno::ACCESS, "PORT"),
            ("127.0.0.1:8080", Errno::ACCESS, "cannot listen"),
            ("[::]:8080", Errno::AFNOSUPPORT, "HOST=0.0.0.0"),
            ("[::1]:8080", Errno::ADDRNOTAVAIL, "HOST=0.0.0.0"),
            ("192.0.2.1:8080", Errno::ADDRNOTAVAIL, "does not have"),
            ("127.0.0.1:8080", Errno::ADDRINUSE, "in use"),
        ] {
            let told = told(addr, why);
            assert!(told.contains(word) && told.contains(addr), "{told}");
        }
    }

    #[tokio::test]
    async fn every_interface_of_both_kinds_is_one_socket() {
        let Ok(listeners) = bind("::", 0).await else {
            println!("skipped: this machine has no IPv6");
            return;
        };
        let [listener] = listeners.as_slice() else {
            panic!("one, not {listeners:?}")
        };
        let only_v6 = SockRef::from(listener).only_v6();
        assert!(
            !only_v6.expect("a socket of IPv6"),
            "whatever bindv6only says"
        );
        let port = listener.local_addr().expect("bound").port();
        let by_ipv4 = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        by_ipv4.expect("IPv4 is served too");
    }
}
