//! The client's address of a request, when proxies may have forwarded it.
//!
//! One pure function, [`client_ip`]: the socket's address, the headers and the trusted proxies go in, the client's
//! address comes out. A header counts only as far as a trusted proxy has written it, so a client cannot choose its
//! address. Called before an upgrade (`admit`); limits and logs use the result.
//!
//! Invariants: an untrusted socket is its own client, whatever the headers say; nothing here can panic; an
//! IPv4-mapped IPv6 address comes out as IPv4, wherever it was found.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::config::TrustedProxies;

/// Each proxy appends the address that it was connected from.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The address that Fly's edge was connected from; Fly's edge replaces any value that a client sends.
const FLY_CLIENT: HeaderName = HeaderName::from_static("fly-client-ip");

/// The header of some proxies in place of the list.
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The address of the client behind this socket.
///
/// - The socket is no trusted proxy: its own address.
/// - It is Fly's proxy: the address in `Fly-Client-IP`; without this header, the socket's address. If the address in
///   the header is again a trusted proxy, in front of Fly, the entries before it in `X-Forwarded-For` are walked.
/// - It is another trusted proxy: `X-Forwarded-For`, walked from the right to the first address that is not trusted. If
///   all are trusted, the left-most. An entry that is no address ends the walk at the entry to its right.
pub(super) fn client_ip(
    socket: SocketAddr,
    headers: &HeaderMap,
    trusted: &TrustedProxies,
) -> IpAddr {
    let socket = socket.ip().to_canonical();
    if !trusted.is_fly(socket) {
        return walk(socket, hops_from_right(headers), trusted);
    }
    let Some(edge) = fly_client(headers) else {
        return socket;
    };
    // Fly appends its own public address behind the address that it was connected from.
    let before_edge = hops_from_right(headers)
        .skip_while(|hop| *hop != Some(edge))
        .skip(1);
    walk(edge, before_edge, trusted)
}

/// Whether a proxy, trusted or not, says that it forwards this request.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    let names = [FORWARDED_FOR, FLY_CLIENT, REAL_IP, http::header::FORWARDED];
    names.iter().any(|name| headers.contains_key(name))
}

/// Walks from `nearest` over `hops` as long as the addresses are trusted; each address was named by the one before.
fn walk(
    nearest: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &TrustedProxies,
) -> IpAddr {
    let mut client = nearest;
    for hop in hops {
        if !trusted.trusts(client) {
            break;
        }
        match hop {
            Some(hop) => client = hop,
            None => break,
        }
    }
    client
}

/// The entries of all `X-Forwarded-For` headers, joined in their order, the last one first; `None` for an entry that is
/// not an address.
fn hops_from_right(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lists = headers.get_all(FORWARDED_FOR).iter().rev();
    // Bytes, because a client may send anything in front, and its part must not spoil the entries that proxies append.
    lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b',').map(address))
}

/// An address as proxies write it: bare, in brackets, with a port or without.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim();
    let bare = || entry.parse().ok();
    let with_port = || entry.parse().ok().map(|socket: SocketAddr| socket.ip());
    let in_brackets = || {
        let inside = entry.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    bare()
        .or_else(with_port)
        .or_else(in_brackets)
        .map(|address| address.to_canonical())
}

/// The address that Fly's proxy gives; `None` if the header is not exactly one address. Fly's proxy always sends one.
fn fly_client(headers: &HeaderMap) -> Option<IpAddr> {
    let mut values = headers.get_all(FLY_CLIENT).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => address(only.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
