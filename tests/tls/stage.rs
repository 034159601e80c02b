//! Hubs that speak TLS, and clients that send them requests.

use std::sync::Arc;

use hubmesh_client::{ConnectOptions, PeerId};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::Files;
use crate::hub_process::{HubBuilder, HubProcess, LIMIT, eventually};
use crate::peer::Peer;

/// A hub with the certificate, the key and the roots of these files.
pub fn hub(files: &Files) -> HubBuilder {
    HubProcess::builder()
        .env("TLS_CERT", files.cert())
        .env("TLS_KEY", files.key())
        .env("SSL_CERT_FILE", files.roots())
}

/// The hub's URL, with the name in its certificate.
pub fn wss_url(hub: &HubProcess) -> String {
    format!("wss://localhost:{}", hub.addr.port())
}

/// A TLS connection to a hub, after its handshake.
pub async fn open(
    hub: &HubProcess,
    client: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(hub.addr).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(Arc::clone(client)).connect(name, tcp);
    timeout(LIMIT, connecting).await.expect("in time")
}

/// The certificate that a hub shows to a client that connects now.
pub async fn shown(hub: &HubProcess, client: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = open(hub, client).await.expect("TLS");
    let chain = stream.get_ref().1.peer_certificates();
    chain
        .and_then(<[_]>::first)
        .expect("a certificate")
        .clone()
        .into_owned()
}

/// The hub's whole answer to a GET.
pub async fn get(hub: &HubProcess, client: &Arc<ClientConfig>, path: &str) -> String {
    ask(open(hub, client).await.expect("TLS"), path).await
}

/// The hub's whole answer to a GET on this connection, which ends with the answer.
pub async fn ask(mut stream: TlsStream<TcpStream>, path: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
    );
    let mut answer = String::new();
    let asking = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    let asked = timeout(LIMIT, asking).await.expect("in time");
    asked.expect("a whole answer, and the end of TLS said");
    answer
}

/// The value of the series with this name and these labels; 0 if the hub does not show it.
pub async fn metric(hub: &HubProcess, client: &Arc<ClientConfig>, series: &str) -> u64 {
    value(&get(hub, client, "/metrics").await, series)
}

/// The value of one series of an exposition; 0 if it is not in it.
pub fn value(exposition: &str, series: &str) -> u64 {
    let mut lines = exposition.lines();
    let found = lines.find_map(|line| line.strip_prefix(series));
    found.map_or(0, |value| value.trim().parse().expect("a number"))
}

/// Waits until one series has this value.
pub async fn metric_is(hub: &HubProcess, client: &Arc<ClientConfig>, series: &str, value: u64) {
    let what = format!("{series} is {value}");
    eventually(&what, async || metric(hub, client, series).await == value).await;
}

/// Waits until `times` lines of the log contain all of `words`, and checks that no more lines do. The wait is needed: a
/// line of the log may arrive after an answer that the hub sent later.
pub async fn is_logged(hub: &HubProcess, words: &[&str], times: usize) {
    let what = format!("{words:?} is logged");
    eventually(&what, async || logged(hub, words) >= times).await;
    assert_eq!(logged(hub, words), times, "{:#?}", hub.log_lines());
}

/// The number of lines of the log that contain all of `words`.
fn logged(hub: &HubProcess, words: &[&str]) -> usize {
    let lines = hub.log_lines();
    let has_all = |line: &&String| words.iter().all(|word| line.contains(word));
    lines.iter().filter(has_all).count()
}

/// A peer that is a member of `network`, connected over TLS.
pub async fn join(hub: &HubProcess, client: &Arc<ClientConfig>, network: &str) -> Peer {
    let url = wss_url(hub).parse().expect("a hub's own address");
    let options = ConnectOptions {
        id: PeerId::random(),
        tls: Some(Arc::clone(client)),
        ..ConnectOptions::new(url)
    };
    let peer = Peer::connect(&options, network).await.expect("let in");
    peer.announce("{}").await;
    peer.fence().await;
    peer
}
