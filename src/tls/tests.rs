use std::io::Write;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio_rustls::TlsConnector;

use super::*;
use crate::limits::{AddressGroup, HandshakeSlots};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let mut padded = [0; 4];
            padded[1..=three.len()].copy_from_slice(three);
            let bits = u32::from_be_bytes(padded) as usize;
            let digits = [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift) & 63]));
            text.extend(&digits[..=three.len()]);
            text.extend(std::iter::repeat_n('=', 3 - three.len()));
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn checked(cert: &str, key: &str) -> Result<(), Fault> {
    let (cert, key) = (file(cert), file(key));
    let files = TlsFiles {
        cert: cert.path().to_owned(),
        key: key.path().to_owned(),
    };
    check(&files).map_err(|bad| bad.why)
}

/// A certificate, and its key as PKCS#8.
fn pair() -> (String, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("signed").pem(), key)
}

#[test]
fn a_key_may_be_pkcs_8_or_sec_1() {
    let (cert, key) = pair();
    let pkcs8 = key.serialize_der();
    assert_eq!(checked(&cert, &pem("PRIVATE KEY", &pkcs8)), Ok(()));
    // Version and algorithm of a P-256 key take 29 bytes; what they are put around is its SEC1 form.
    assert_eq!(checked(&cert, &pem("EC PRIVATE KEY", &pkcs8[29..])), Ok(()));
}

#[test]
fn what_stands_around_the_pem_is_passed_over() {
    let (cert, key) = pair();
    let (cert, key) = (
        format!("subject=CN = localhost\n{cert}\n"),
        format!("{cert}{}", key.serialize_pem()),
    );
    assert_eq!(checked(&cert, &key), Ok(()), "one file may hold both");
}

#[test]
fn a_file_without_end_is_not_read_to_it() {
    let (_, key) = pair();
    let key = file(&key.serialize_pem());
    let files = TlsFiles {
        cert: "/dev/zero".into(),
        key: key.path().to_owned(),
    };
    assert_eq!(check(&files).map_err(|bad| bad.why), Err(Fault::TooLong));
}

#[test]
fn an_encrypted_key_is_refused_without_being_shown() {
    let (cert, key) = pair();
    let encrypted = pem("ENCRYPTED PRIVATE KEY", &key.serialize_der());
    let fault = checked(&cert, &encrypted).expect_err("cannot be read");
    assert_eq!(fault, Fault::NoKey);
    assert!(fault.to_string().contains("not encrypted"));
}

#[test]
fn no_two_pairs_have_one_hash() {
    assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
    assert_eq!(hash(b"ab", b"c"), hash(b"ab", b"c"));
}

/// A client that believes this certificate.
fn connector(cert: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("a certificate");
    roots.add(cert).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Lets the others go on until this is so.
async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), waiting)
        .await
        .expect("in time");
}

#[tokio::test]
async fn each_step_of_a_handshake_waits_for_its_turn_and_not_the_first_alone() {
    let (cert, key) = pair();
    let (cert_file, key_file) = (file(&cert), file(&key.serialize_pem()));
    let files = TlsFiles {
        cert: cert_file.path().to_owned(),
        key: key_file.path().to_owned(),
    };
    let certificates = Certificates::load(files, Metrics::new())
        .await
        .expect("a pair");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let turns = Arc::new(StepTurns::of(1));
    let place = Arc::new(
        HandshakeSlots::new(1)
            .enter(AddressGroup::of(addr.ip()), 1)
            .expect("a place"),
    );
    let held = turns.take().await;
    let name = ServerName::try_from("localhost").expect("a name");
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(addr).await.expect("connected");
        connector(&cert).connect(name, tcp).await
    });
    let server = {
        let (turns, place) = (Arc::clone(&turns), Arc::clone(&place));
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.expect("a client");
            certificates.accept(tcp, &place, &turns).await.map(drop)
        })
    };
    until(|| place.turn().available_permits() == 0).await;
    // It waits for its first step; whoever asks now has the turn after that.
    let next = turns.take();
    let mut next = pin!(next);
    assert!(futures::poll!(next.as_mut()).is_pending());
    drop(held);
    let held = next.await;
    until(|| client.is_finished()).await;
    until(|| server.is_finished() || place.turn().available_permits() == 0).await;
    assert!(!server.is_finished(), "it took a step out of turn");
    drop(held);
    until(|| server.is_finished()).await;
    server.await.expect("no panic").expect("TLS");
    client.await.expect("no panic").expect("TLS");
}
