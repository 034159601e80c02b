//! TLS to hubs and TURN servers.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Verifies `host` by `config`; by the roots of the system when there is none.
pub(super) async fn connect(
    stream: TcpStream,
    host: String,
    config: Option<Arc<rustls::ClientConfig>>,
) -> Result<TlsStream<TcpStream>, AnyError> {
    let config = config.map_or_else(system_roots, Ok)?;
    let name = rustls::pki_types::ServerName::try_from(host)?;
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}

/// What verifies servers when the caller has no own wish: the roots of the system.
fn system_roots() -> Result<Arc<rustls::ClientConfig>, AnyError> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
