//! The address of this machine towards another, and why none of its sockets could be used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hubmesh_causes as causes;

/// Which of this machine's addresses the system would send from. Nothing is sent.
pub(super) fn address(towards: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if towards.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(towards)?;
    Ok(socket.local_addr()?.ip())
}

pub(super) fn socket_trouble(error: &std::io::Error) -> String {
    format!("no socket could be used: {}", causes::of_io(error))
}
