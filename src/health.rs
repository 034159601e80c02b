//! `hubmesh --healthcheck`: asks the hub that runs with this environment whether it is healthy, for Docker and for
//! scripts.
//!
//! Part of the binary alone. Speaks just enough HTTP, without a runtime, so that the check takes next to nothing.
//!
//! If the hub has a certificate, the check speaks TLS and believes any certificate, whatever its issuer and name, as
//! long as the hub holds its key. This is safe, because nothing depends on the other end: the check calls the address
//! on this machine where the hub listens, and a program that could take the hub's place there could stop it as well; it
//! sends no secret; and it reads only a status from the answer. A check of the name would fail for a healthy hub,
//! because its certificate names the outside and the check comes from the inside; a check against `TLS_CERT` would fail
//! between a renewal and its reload.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hubmesh::config::Config;
use hubmesh_causes as causes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    StreamOwned,
};

/// For each step of the check.
const TIMEOUT: Duration = Duration::from_secs(3);
/// `HTTP/1.1 200` is all that is read of the answer.
const STATUS_BYTES: usize = 12;

/// Succeeds if `/health` answers 200; otherwise says on standard error why not.
pub(crate) fn check(config: &Config) -> ExitCode {
    let host = reachable(&config.host);
    match status(host, config.port, config.tls.is_some()) {
        Ok(status) if status.ends_with(" 200") => ExitCode::SUCCESS,
        Ok(status) => {
            let port = config.port;
            crate::complain(format_args!("{host} port {port} answers {status}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            let (port, why) = (config.port, causes::of_io(&error));
            crate::complain(format_args!("{host} port {port}: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// The address of a hub that listens on `host`, on its own machine.
fn reachable(host: &str) -> &str {
    match host {
        "localhost" | "0.0.0.0" | "::" => "127.0.0.1",
        other => other,
    }
}

fn status(host: &str, port: u16, tls: bool) -> io::Result<String> {
    let addr = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or(io::ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    if tls {
        ask(secured(stream).map_err(io::Error::other)?)
    } else {
        ask(stream)
    }
}

fn ask(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; STATUS_BYTES];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// TLS over a connection to this machine; the handshake takes place with the first write.
fn secured(stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    // Whatever its name, the hub shows its one certificate.
    let name = ServerName::from(std::net::Ipv4Addr::LOCALHOST);
    let connection = ClientConnection::new(Arc::new(config), name)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Believes every certificate if the other end holds its key. The contract of this module says why this is enough here,
/// and only here.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
