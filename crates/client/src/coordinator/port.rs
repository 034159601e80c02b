//! A sender and receiver of datagrams: a UDP socket, or a relay.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::UdpSocket;

use super::relay::Relay;

/// The longest datagram.
const LONGEST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum Port {
    Udp(UdpSocket),
    Relay(Relay),
}

impl Port {
    pub(super) async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send_to(bytes, to).await.map(drop),
            Self::Relay(relay) => relay.send_to(bytes, to).await,
        }
    }

    /// Sends without waiting; a datagram that cannot be sent at once is lost, as any may be.
    pub(super) fn send_now(&self, bytes: &[u8], to: SocketAddr) {
        match self {
            Self::Udp(socket) => {
                let _ = SockRef::from(socket).send_to(bytes, &to.into());
            }
            Self::Relay(relay) => relay.send_now(bytes, to),
        }
    }

    /// Cancel-safe. Errors of a socket that concern an earlier datagram are ignored.
    pub(super) async fn recv_from(&self) -> std::io::Result<(Vec<u8>, SocketAddr)> {
        match self {
            Self::Udp(socket) => loop {
                socket.readable().await?;
                let mut bytes = Vec::with_capacity(LONGEST);
                match socket.try_recv_buf_from(&mut bytes) {
                    Ok((_, from)) => {
                        bytes.shrink_to_fit();
                        return Ok((bytes, from));
                    }
                    Err(error) if is_about_another(&error) => {}
                    Err(error) => return Err(error),
                }
            },
            Self::Relay(relay) => relay.recv_from().await,
        }
    }

    /// The address that peers see as the source, if it is known here.
    pub(super) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Relay(relay) => Ok(relay.address),
        }
    }
}

fn is_about_another(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, WouldBlock,
    };
    matches!(
        error.kind(),
        WouldBlock | ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}
