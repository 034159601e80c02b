//! The second of the three parts of a core: the mesh beyond its links. It has the graph and the routes, the
//! subscriptions in both directions, and the networks of interest.
//!
//! Writes other hubs' sets in the directory, and knows nothing of peers and of sockets. Called by
//! [`Core`](super::Core), which passes events on; `narrowing` decides which sets it subscribes to.

use std::sync::Arc;

use parking_lot::RwLock;

use super::api::SharedRoutes;
use super::directory::Directory;
use super::guards::Guards;
use super::hold_down::HoldDown;
use super::ids::{HubId, Moment};
use super::interest::Interest;
use super::mutants::Mutants;
use super::subscribers::Subscribers;
use super::subscriptions::Subscriptions;
use super::topology::Topology;

/// The state of the mesh, for this hub.
pub(super) struct Routing {
    pub(super) me: HubId,
    pub(super) directory: Arc<RwLock<Directory>>,
    pub(super) topology: Topology,
    pub(super) hold_down: HoldDown,
    /// The routes that the subscriptions were last given.
    pub(super) routed: SharedRoutes,
    pub(super) subscriptions: Subscriptions,
    pub(super) subscribers: Subscribers,
    pub(super) interest: Interest,
    pub(super) guards: Guards,
    pub(super) mutants: Mutants,
}

impl Routing {
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let parts = [
            self.topology.poll_timeout(),
            self.hold_down.poll_timeout(),
            self.interest.poll_timeout(),
        ];
        parts.into_iter().flatten().min()
    }
}
