//! TLS to hubs and TURN servers, and the reasons for failed connections in words.

use std::error::Error;
use std::sync::Arc;

use hubmesh_causes as causes;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) type AnyError = Box<dyn Error + Send + Sync>;

/// Verifies `host` with `config`, or with the system's root certificates if there is none.
pub(super) async fn connect(
    stream: TcpStream,
    host: String,
    config: Option<Arc<rustls::ClientConfig>>,
) -> Result<TlsStream<TcpStream>, AnyError> {
    let config = config.map_or_else(system_roots, Ok)?;
    let name = rustls::pki_types::ServerName::try_from(host)?;
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}

/// The TLS configuration if the caller gives none: the system's root certificates.
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

/// Why a server was not reached, for the person who can fix it: the message of the system or of TLS, however deep it is
/// wrapped.
pub(super) fn words(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut inner: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = inner {
        if let Some(io) = one.downcast_ref::<std::io::Error>() {
            return causes::of_io(io);
        }
        if let Some(tls) = one.downcast_ref::<rustls::Error>() {
            return causes::of_tls(tls);
        }
        if let Some(http) = one.downcast_ref::<hyper::Error>() {
            if http.is_parse() {
                return format!(
                    "the server there does not speak HTTP, or speaks TLS, which needs wss://: {http}"
                );
            }
            if http.is_incomplete_message() || http.is_closed() || http.is_canceled() {
                return "it broke the connection off".to_owned();
            }
        }
        inner = one.source();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outside")]
    struct Wrapped(#[source] std::io::Error);

    #[test]
    fn what_the_system_says_is_put_in_words_however_it_is_wrapped() {
        let refused = || std::io::Error::from_raw_os_error(111);
        let bare: AnyError = refused().into();
        let wrapped: AnyError = Wrapped(refused()).into();
        for error in [bare, wrapped] {
            assert_eq!(words(&*error), "nobody listens there");
        }
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(words(&plain).contains("speaks no TLS"));
    }
}
