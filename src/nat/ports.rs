//! The ports that STUN and TURN are served on: all that are asked for, or none.
//!
//! STUN and TURN have UDP and TCP on one number, and may have the same one. STUN has a second number, from which it answers
//! clients that ask for a change of port.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::NatSettings;

/// A port cannot be opened. Nothing is bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} for {setting} ({protocol}): {why}")]
pub struct PortError {
    /// The setting that asks for it.
    pub setting: &'static str,
    /// UDP or TCP.
    pub protocol: &'static str,
    /// The address and port that it should have.
    pub addr: SocketAddr,
    /// The error of the system.
    pub why: io::Error,
}

/// One port that is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// `udp`, `tcp` or `tls`.
    pub protocol: &'static str,
    /// The address and port that it has.
    pub addr: SocketAddr,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.addr)
    }
}

/// The port numbers and their uses.
#[derive(Clone, Copy, Default, Debug)]
struct Numbers {
    stun: Option<u16>,
    alternate: Option<u16>,
    turn: Option<u16>,
    tls: Option<u16>,
}

/// Open sockets, each once for each address.
#[derive(Default)]
pub(super) struct Ports {
    numbers: Numbers,
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) tls: Vec<TcpListener>,
}

/// How often a port number is drawn until one is free for all addresses and both protocols.
const TRIES: usize = 32;
/// The receive buffer of a socket that clients send to, in bytes: it holds packets that come in while others are
/// served.
const RECEIVE_BYTES: usize = 2 * 1024 * 1024;

impl Ports {
    pub(super) fn open(nat: &NatSettings, hosts: &[IpAddr]) -> Result<Self, PortError> {
        let mut ports = Ports::default();
        if let Some(stun) = &nat.stun {
            let number = ports.both("STUN_PORT", hosts, stun.port)?;
            ports.numbers.stun = Some(number);
            let second = stun.second().unwrap_or(0);
            ports.numbers.alternate = Some(ports.both("STUN_ALT_PORT", hosts, second)?);
        }
        let Some(turn) = &nat.turn else {
            return Ok(ports);
        };
        let shares = nat
            .stun
            .as_ref()
            .is_some_and(|stun| stun.port == turn.port && turn.port != 0);
        ports.numbers.turn = match ports.numbers.stun {
            Some(number) if shares => Some(number),
            _ => Some(ports.both("TURN_PORT", hosts, turn.port)?),
        };
        if let Some(port) = turn.tls_port {
            let (number, _, listeners) = open("TURN_TLS_PORT", hosts, port, Over::Tcp)?;
            ports.numbers.tls = Some(number);
            ports.tls = listeners;
        }
        Ok(ports)
    }

    /// Opens one number on all addresses, for UDP and TCP.
    fn both(
        &mut self,
        setting: &'static str,
        hosts: &[IpAddr],
        port: u16,
    ) -> Result<u16, PortError> {
        let (number, udp, tcp) = open(setting, hosts, port, Over::Both)?;
        self.udp.extend(udp);
        self.tcp.extend(tcp);
        Ok(number)
    }

    pub(super) fn stun_port(&self) -> Option<u16> {
        self.numbers.stun
    }

    pub(super) fn alternate_port(&self) -> Option<u16> {
        self.numbers.alternate
    }

    pub(super) fn turn_port(&self) -> Option<u16> {
        self.numbers.turn
    }

    pub(super) fn tls_port(&self) -> Option<u16> {
        self.numbers.tls
    }

    /// The port numbers where relays are asked for.
    pub(super) fn turn(&self) -> Vec<u16> {
        let numbers = [self.numbers.turn, self.numbers.tls];
        numbers.into_iter().flatten().collect()
    }

    /// The two numbers of STUN.
    pub(super) fn change(&self) -> Option<(u16, u16)> {
        Some((self.numbers.stun?, self.numbers.alternate?))
    }

    /// All that is open.
    pub(super) fn all(&self) -> Vec<Port> {
        let port = |protocol| {
            move |addr: io::Result<SocketAddr>| {
                Some(Port {
                    protocol,
                    addr: addr.ok()?,
                })
            }
        };
        let udp = self.udp.iter().map(UdpSocket::local_addr);
        let tcp = self.tcp.iter().map(TcpListener::local_addr);
        let tls = self.tls.iter().map(TcpListener::local_addr);
        udp.filter_map(port("udp"))
            .chain(tcp.filter_map(port("tcp")))
            .chain(tls.filter_map(port("tls")))
            .collect()
    }
}

/// The protocols that a number is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Both,
    Tcp,
}

type Opened = (u16, Vec<UdpSocket>, Vec<TcpListener>);

/// Opens one number on all addresses; 0 stands for one that is free on all of them.
fn open(
    setting: &'static str,
    hosts: &[IpAddr],
    port: u16,
    over: Over,
) -> Result<Opened, PortError> {
    let mut tries = 1;
    loop {
        match try_open(setting, hosts, port, over) {
            Err(error)
                if port == 0 && tries < TRIES && error.why.kind() == io::ErrorKind::AddrInUse =>
            {
                tries += 1;
            }
            done => return done,
        }
    }
}

fn try_open(
    setting: &'static str,
    hosts: &[IpAddr],
    port: u16,
    over: Over,
) -> Result<Opened, PortError> {
    let (mut number, mut udp, mut tcp) = (port, Vec::new(), Vec::new());
    for host in hosts {
        let addr = SocketAddr::new(*host, number);
        let failed = |protocol| {
            move |why| PortError {
                setting,
                protocol,
                addr,
                why,
            }
        };
        // The number can only be 0 while none is bound.
        if over == Over::Both {
            let socket = bind_udp(addr).map_err(failed("UDP"))?;
            number = socket.local_addr().map_or(number, |bound| bound.port());
            udp.push(socket);
        }
        let listener = listen(SocketAddr::new(*host, number)).map_err(failed("TCP"))?;
        number = listener.local_addr().map_or(number, |bound| bound.port());
        tcp.push(listener);
    }
    Ok((number, udp, tcp))
}

/// A socket of its own family alone, so that an address is always what it looks like.
fn socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
    // As much as the system grants.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    let _ = socket.set_send_buffer_size(RECEIVE_BYTES);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// The port of a relay.
pub(super) fn bind_relay(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
