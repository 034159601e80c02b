//! Clients that begin a TLS handshake and send nothing, or too little, and other clients that are served all the same.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::authority::{Authority, files};
use crate::hub_process::{HubBuilder, HubProcess, LIMIT, eventually};
use crate::stage::{ask, get, hub, metric, metric_is};

const FULL: &str = "hubmesh_refusals_total{reason=\"tls-full\"}";
/// The first bytes of a ClientHello. Its lengths announce more.
const HALF_A_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// Gives a hub `places` slots for handshakes. No client loses its slot by a timeout.
fn crowded(hub: HubBuilder, places: usize) -> HubBuilder {
    hub.env("MAX_TLS_HANDSHAKES", places.to_string())
        .env("HEADER_TIMEOUT_MS", "600000")
}

async fn connect(to: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("bound");
    timeout(LIMIT, socket.connect(to))
        .await
        .expect("in time")
        .expect("connected")
}

/// `many` connections from one address that send `words` and then nothing.
async fn mute(to: SocketAddr, from: [u8; 4], many: usize, words: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..many {
        let mut stream = connect(to, from).await;
        // The write fails if the hub has closed the connection already.
        let _ = stream.write_all(words).await;
        streams.push(stream);
    }
    streams
}

/// The hub's answer over TLS to a client at the address `from`.
async fn asks(hub: &HubProcess, client: &Arc<ClientConfig>, from: [u8; 4]) -> io::Result<String> {
    let tcp = connect(hub.addr, from).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(Arc::clone(client)).connect(name, tcp);
    let stream = timeout(LIMIT, connecting).await.expect("in time")?;
    Ok(ask(stream, "/health").await)
}

async fn is_served(hub: &HubProcess, client: &Arc<ClientConfig>, from: [u8; 4]) {
    let answer = asks(hub, client, from).await.expect("TLS");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn silent_handshakes_of_one_address_keep_nobody_out_not_even_its_neighbours() {
    let authority = Authority::new();
    let files = files(&authority);
    let client = authority.client();
    let hub = crowded(hub(&files), 16).start().await;
    let silent = mute(hub.addr, [127, 0, 0, 2], 40, b"").await;
    // The address has half of the slots, and the hub closed its other connections: only 8 are open.
    metric_is(&hub, &client, FULL, 40 - 8).await;
    for from in [[127, 0, 0, 1], [127, 0, 0, 3], [127, 0, 0, 2]] {
        is_served(&hub, &client, from).await;
    }
    // The client from the silent address got the slot of a silent connection, which was closed.
    assert_eq!(metric(&hub, &client, FULL).await, 40 - 8 + 1);
    drop(silent);
}

#[tokio::test]
async fn silent_handshakes_of_many_addresses_keep_nobody_out() {
    for words in [&b""[..], HALF_A_HELLO] {
        let authority = Authority::new();
        let files = files(&authority);
        let client = authority.client();
        let hub = crowded(hub(&files), 16)
            .env("MAX_HTTP_CONNECTIONS", "64")
            .start()
            .await;
        let mut silent = Vec::new();
        for host in 2..12 {
            silent.push(mute(hub.addr, [127, 0, 1, host], 20, words).await);
        }
        let own = [127, 0, 0, 1];
        // Closed connections still count until their tasks have run.
        eventually("all have come", async || {
            asks(&hub, &client, own).await.is_ok()
        })
        .await;
        for _ in 0..8 {
            is_served(&hub, &client, own).await;
        }
        drop(silent);
    }
}

#[tokio::test]
async fn a_proxy_that_is_trusted_may_have_more_than_half_of_the_places() {
    let authority = Authority::new();
    let files = files(&authority);
    let client = authority.client();
    let hub = crowded(hub(&files), 8)
        .env("TRUSTED_PROXIES", "127.0.0.2")
        .start()
        .await;
    let of_the_proxy = mute(hub.addr, [127, 0, 0, 2], 7, b"").await;
    is_served(&hub, &client, [127, 0, 0, 1]).await;
    assert_eq!(metric(&hub, &client, FULL).await, 0);
    drop(of_the_proxy);
}

/// The address and port of TURN over TLS.
async fn turn(hub: &HubProcess, client: &Arc<ClientConfig>) -> SocketAddr {
    let answer = get(hub, client, "/ice-servers").await;
    let (_, rest) = answer.split_once("turns:").expect("TURN over TLS");
    let (place, _) = rest.split_once('?').expect("a transport");
    place.parse().expect("an address")
}

async fn has_tls(to: SocketAddr, client: &Arc<ClientConfig>, from: [u8; 4]) -> bool {
    let tcp = connect(to, from).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(Arc::clone(client)).connect(name, tcp);
    timeout(LIMIT, connecting).await.expect("in time").is_ok()
}

#[tokio::test]
async fn handshakes_of_turn_have_places_of_their_own_which_nobody_takes_from_others() {
    let authority = Authority::new();
    let files = files(&authority);
    let client = authority.client();
    let hub = crowded(hub(&files), 4)
        .env("TURN_PORT", "0")
        .env("TURN_TLS_PORT", "0")
        .start()
        .await;
    let turn = turn(&hub, &client).await;
    // The client offers no protocol by ALPN: TURN does not accept those of the hub's port.
    let mut plain = ClientConfig::clone(&client);
    plain.alpn_protocols.clear();
    let plain = Arc::new(plain);
    let silent = mute(turn, [127, 0, 0, 2], 10, b"").await;
    let full = "hubmesh_turn_connections_refused_total{reason=\"tls-full\"}";
    metric_is(&hub, &client, full, 10 - 2).await;
    for from in [[127, 0, 0, 1], [127, 0, 0, 3], [127, 0, 0, 2]] {
        assert!(has_tls(turn, &plain, from).await, "{from:?}");
    }
    assert_eq!(metric(&hub, &client, full).await, 10 - 2 + 1);
    assert_eq!(
        metric(&hub, &client, FULL).await,
        0,
        "the hub's port has its own"
    );
    let mut odd = connect(turn, [127, 0, 0, 1]).await;
    odd.write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("sent");
    let no_tls = "hubmesh_turn_connections_refused_total{reason=\"tls-handshake\"}";
    metric_is(&hub, &client, no_tls, 1).await;
    drop(silent);
}
