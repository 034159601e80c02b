//! Which certificates are believed when somebody is called, another hub or a webhook: those under the roots of the system.
//!
//! They are read once, at the first call that needs them, on a thread where reading files blocks no other task, and
//! serve every later call. A failure is not kept: the next call reads again. Knows nothing of who is called.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::roots::{NoRoots, read};

/// The roots of the system, once they were needed.
#[derive(Default)]
pub(crate) struct Trust {
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// What verifies the other end of a TLS connection.
    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, NoRoots> {
        let config = self.config.get_or_try_init(|| async {
            let reading = spawn_blocking(read).await;
            reading.unwrap_or_else(|why| Err(NoRoots(why.to_string())))
        });
        Ok(Arc::clone(config.await?))
    }
}
