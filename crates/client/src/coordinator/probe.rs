//! Tests whether a packet arrives from a host to which this end has not sent: a relay of this peer's own, on another
//! host, sends it.
//!
//! A TURN server on any host but the asked STUN server's is such a host. A missing packet counts only if the relay
//! certainly sends: a second socket, which sends to the relay, has to receive from it meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::ice::{self, TurnServer};
use super::lingering::Lingering;
use super::relay::Relay;
use super::relays;

/// How long to wait for a packet.
const WAIT: Duration = Duration::from_millis(800);
/// How long to wait for a relay.
const OPENING: Duration = Duration::from_secs(4);
/// How often it is sent meanwhile.
const REPEAT: Duration = Duration::from_millis(100);
/// Bytes of a packet.
const LENGTH: usize = 16;

/// A socket, and its public address.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) socket: &'s UdpSocket,
    pub(super) at: SocketAddr,
}

/// Whether `quiet`, which has sent to `server` only, receives a packet of an unknown host; `None` when there is no such
/// host to test with. `talkative` may send to any host.
pub(super) async fn from_elsewhere(
    quiet: Seen<'_>,
    talkative: Seen<'_>,
    server: SocketAddr,
    (turn, means): (
        &[TurnServer],
        (Option<Arc<rustls::ClientConfig>>, &Lingering),
    ),
) -> Option<bool> {
    let relay = relay_elsewhere(server, turn, means).await?;
    let (probe, control): ([u8; LENGTH], [u8; LENGTH]) = (rand::random(), rand::random());
    let (mut is_heard, mut works) = (false, false);
    let end = Instant::now() + WAIT;
    while Instant::now() < end && !is_heard {
        // Any of them may be lost; the first are, because the permission is missing.
        let _ = relay.send_to(&probe, quiet.at).await;
        let _ = relay.send_to(&control, talkative.at).await;
        let _ = talkative.socket.send_to(&control, relay.address).await;
        let until = (Instant::now() + REPEAT).min(end);
        tokio::join!(
            hear(quiet.socket, relay.address, &probe, until, &mut is_heard),
            hear(talkative.socket, relay.address, &control, until, &mut works),
        );
    }
    relay.close().await;
    (is_heard || works).then_some(is_heard)
}

async fn relay_elsewhere(
    server: SocketAddr,
    turn: &[TurnServer],
    (tls, lingering): (Option<Arc<rustls::ClientConfig>>, &Lingering),
) -> Option<Relay> {
    let mut elsewhere = Vec::new();
    for one in turn {
        elsewhere.push(open_elsewhere(server, one, (tls.clone(), lingering)));
    }
    // The reason does not matter: then there is no unknown host here.
    relays::first(elsewhere, OPENING).await.ok()
}

async fn open_elsewhere(
    server: SocketAddr,
    turn: &TurnServer,
    (tls, lingering): (Option<Arc<rustls::ClientConfig>>, &Lingering),
) -> Result<Relay, String> {
    let near = || Err("it is at the server that was asked".into());
    let addresses = ice::resolve(&turn.place).await;
    if addresses.iter().any(|address| address.ip() == server.ip()) {
        return near();
    }
    let relay = Relay::open(turn, tls, lingering).await;
    let relay = relay.map_err(|error| error.to_string())?;
    if relay.address.ip() == server.ip() {
        return near();
    }
    Ok(relay)
}

/// Waits for these bytes from that host.
async fn hear(
    socket: &UdpSocket,
    from: SocketAddr,
    bytes: &[u8],
    until: Instant,
    is_heard: &mut bool,
) {
    let mut buffer = [0; 1024];
    while !*is_heard {
        let Ok(came) = timeout_at(until, socket.recv_from(&mut buffer)).await else {
            return;
        };
        // An error is an ICMP message about an earlier packet.
        if let Ok((length, sender)) = came {
            *is_heard = sender.ip() == from.ip() && buffer.get(..length) == Some(bytes);
        }
    }
}
