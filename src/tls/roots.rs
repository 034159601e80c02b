//! Whose certificates are believed when the hub calls another server: the roots of the system.
//!
//! Reads files: not to be called where that keeps others waiting.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// No certificate can be believed. Nothing changed; the operator's to mend.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no root certificates to verify others with: {0} (SSL_CERT_FILE can name a PEM file of them)"
)]
pub struct NoRoots(pub(crate) String);

/// What verifies the other end of a TLS connection by the roots of the system, as they are now.
pub(crate) fn read() -> Result<Arc<ClientConfig>, NoRoots> {
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
