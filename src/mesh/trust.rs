//! Which certificates are believed when another hub is dialled: those under the roots of the system.
//!
//! They are read once, at the first dial that needs them, on a thread where reading files blocks no other task, and
//! serve every later dial. A failure is not kept: the next dial reads again. Knows nothing of hubs.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_tungstenite::Connector;

/// No certificate can be believed. Nothing changed; an operator has to mend it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no root certificates to verify others with: {0} (SSL_CERT_FILE can name a PEM file of them)"
)]
pub struct NoRoots(String);

/// The roots of the system, once they were needed.
#[derive(Default)]
pub struct Trust {
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// The connector that verifies the other end of a TLS connection.
    pub async fn connector(&self) -> Result<Connector, NoRoots> {
        let config = self.config.get_or_try_init(|| async {
            let reading = spawn_blocking(read).await;
            reading.unwrap_or_else(|why| Err(NoRoots(why.to_string())))
        });
        Ok(Connector::Rustls(Arc::clone(config.await?)))
    }
}

fn read() -> Result<Arc<ClientConfig>, NoRoots> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    if roots.is_empty() {
        return Err(NoRoots(match errors.is_empty() {
            true => "the system has none".into(),
            false => errors.join("; "),
        }));
    }
    if ignored > 0 || !errors.is_empty() {
        tracing::warn!(
            ignored,
            errors = errors.join("; "),
            "some root certificates cannot be used"
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| NoRoots(why.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
