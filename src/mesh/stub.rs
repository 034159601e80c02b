//! A stand-in for the mesh on this branch alone: every peer is by itself.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use super::MeshView;
use super::core::api::{Join, SignalFailure, Source};
use super::core::ids::{ClaimNo, LeaveReason, PeerId, SignalKind};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::session::MeshPort;

/// A stand-in.
#[derive(Clone)]
pub struct Mesh {
    config: Arc<Config>,
    registry: Arc<Registry>,
    next: Arc<AtomicU64>,
}

impl Mesh {
    /// Starts.
    pub fn start(config: &Arc<Config>, registry: Arc<Registry>, _metrics: Arc<Metrics>) -> Self {
        Mesh {
            config: Arc::clone(config),
            registry,
            next: Arc::default(),
        }
    }

    /// Ends at once.
    pub async fn accept(&self, _stream: WebSocketStream<TcpStream>, _remote: SocketAddr) {}

    /// Nobody but this hub.
    pub fn view(&self) -> MeshView {
        let networks: Vec<_> = self
            .registry
            .networks()
            .into_iter()
            .map(|(key, peers)| (key.name().to_owned(), peers))
            .collect();
        MeshView {
            hub_id: self.config.mesh.hub_id,
            namespace: self.config.mesh.namespace.clone(),
            hubs: Vec::new(),
            networks,
            bootstrap: Vec::new(),
            local_peers: self.registry.local_peers(),
            peers: self.registry.local_peers(),
        }
    }

    /// Nobody to tell.
    pub async fn drain(&self) {}

    /// Nothing to stop.
    pub async fn stop(&self) {}
}

impl MeshPort for Mesh {
    fn next_claim(&self) -> ClaimNo {
        ClaimNo(self.next.fetch_add(1, Ordering::Relaxed))
    }

    async fn join(&self, join: Join) {
        self.registry.accepted(join.claim, Vec::new());
    }

    async fn update(&self, _: ClaimNo, _: Option<Bytes>, _: bool) {}

    async fn leave(&self, _: ClaimNo, _: LeaveReason) {}

    fn leave_now(&self, _: ClaimNo, _: LeaveReason) {}

    async fn probe_result(&self, _: ClaimNo, _: u64, _: bool) {}

    fn signal(&self, _: &Source, _: &PeerId, _: SignalKind, _: Bytes) -> Result<(), SignalFailure> {
        Err(SignalFailure::NoSuchPeer)
    }
}
