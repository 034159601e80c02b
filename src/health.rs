//! `hubmesh --healthcheck`: asks the hub that runs with this environment how it is, for Docker and for scripts.
//!
//! Part of the binary alone. Speaks just enough HTTP, without a runtime, so that the check takes next to nothing.
//!
//! Where the hub has a certificate, the check speaks TLS and believes any, whoever issued it and for whatever name,
//! though the hub has to hold its key. That is safe, because nothing depends on whom it talks to: it calls the
//! address that this environment has the hub listen on, on this machine, where whoever could stand in for the hub
//! could stop it as well; it says nothing that is secret; and all that it takes from the answer is one status. To
//! insist on the name would fail a hub that is well, for its certificate names the outside and the check comes from
//! the inside; to insist on what is in `TLS_CERT` would fail it between a renewal and its reload.

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

/// Succeeds if `/health` answers 200; says on standard error why it does not.
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

/// Where a hub that listens on `host` is reached from its own machine.
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
    // Whatever the hub is called, it shows its one certificate.
    let name = ServerName::from(std::net::Ipv4Addr::LOCALHOST);
    let connection = ClientConnection::new(Arc::new(config), name)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Believes every certificate whose key the other end holds; see above why that will do here, and nowhere else.
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
