//! A STUN and TURN server without IO: packets and the time go in, packets come out.
//!
//! [`Server`] answers STUN Binding requests (RFC 8489) and relays UDP for its clients (RFC 8656), which come by UDP,
//! TCP or TLS. Its owner has the sockets: it hands in each packet with its source ([`Server::handle_client`],
//! [`Server::handle_peer`]), sends the packets that come back, opens and closes ports on request ([`Effect`]), and
//! calls again when time is up ([`Server::poll_timeout`]). So the same packets at the same times give the same answers,
//! and hours are tested in milliseconds.
//!
//! What holds at every instant:
//!
//! - Nothing is kept of a source that has not proved to have credentials; nonces are known again by their signature.
//! - Nothing passes between a client and a peer without a permission that the client asked for in the last five minutes,
//!   and none is given for an address that the [`PeerPolicy`] refuses.
//! - No relay outlives its lifetime, and none its greatest age.
//! - A client that has proved nothing gets at most one and a half times the bytes that it sent, counted on the wire.
//!
//! Not supported, and refused on the wire: relays that speak TCP with peers (442), DONT-FRAGMENT (420), reserved ports
//! (508), two relays by one request (an ADDRESS-ERROR-CODE of 440 beside the one that is given).
#![warn(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice
)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod allocation;
mod auth;
mod codec;
mod config;
mod counters;
mod error_code;
mod ledger;
mod nonce;
mod pending;
mod policy;
mod ports;
mod rate;
mod requests;
mod rest;
mod server;
mod stream;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

pub use allocation::AllocationId;
pub use codec::{Family, Method};
pub use config::{Config, Limits, Relays, TurnConfig};
pub use counters::{Counted, Counter, Counters, Drop, End, Passing, Toward, Traffic};
pub use error_code::Code;
pub use policy::{PeerPolicy, Verdict};
pub use rest::Credentials;
pub use server::{Effect, Server, ToPeer};
pub use stream::Frame;

/// Now, by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// For lifetimes.
    pub at: Instant,
    /// For credentials: the Unix time in seconds.
    pub unix_s: u64,
}

/// The transport of a client's packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// TCP, with or without TLS.
    Stream,
}

/// The address of a client, and the address at which it reached the server: relays belong to both (RFC 8656, section
/// 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FiveTuple {
    /// The transport.
    pub transport: Transport,
    /// The client's address.
    pub client: SocketAddr,
    /// The server's address and port, from which answers come.
    pub server: SocketAddr,
}

impl FiveTuple {
    /// The same, with IPv4 addresses in their own form where a socket of both families maps them to IPv6.
    pub fn canonical(self) -> Self {
        FiveTuple {
            client: canonical(self.client),
            server: canonical(self.server),
            ..self
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        v4 @ IpAddr::V4(_) => SocketAddr::new(v4, address.port()),
        // Its zone stays.
        IpAddr::V6(_) => address,
    }
}
