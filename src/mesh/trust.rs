//! Which certificates are believed when another hub is dialled: those under the roots of the system.
//!
//! They are read once, at the first dial that needs them, on a thread where reading files blocks no other task, and
//! serve every later dial. A failure is not kept: the next dial reads again. Knows nothing of hubs.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_tungstenite::Connector;

pub use crate::tls::NoRoots;
use crate::tls::read_roots;

/// The roots of the system, once they were needed.
#[derive(Default)]
pub struct Trust {
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// The connector that verifies the other end of a TLS connection.
    pub async fn connector(&self) -> Result<Connector, NoRoots> {
        let config = self.config.get_or_try_init(|| async {
            let reading = spawn_blocking(read_roots).await;
            reading.unwrap_or_else(|why| Err(NoRoots(why.to_string())))
        });
        Ok(Connector::Rustls(Arc::clone(config.await?)))
    }
}
