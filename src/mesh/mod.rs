//! The mesh: hubs that know each other's peers.
//!
//! [`core`] is the control plane, without IO; `router` the data path; `driver` the one task that owns the
//! core; `link` one hub-to-hub socket, after its [`handshake`]; [`frames`] and [`wire`] what travels.
//! The rest of the hub holds a [`Mesh`].

pub mod address;
mod advertised;
mod control_intake;
mod dns;
mod driver;
mod handle;
pub mod handshake;
mod link;
mod outbox;
mod progress;
mod router;
mod troubles;
mod trust;
mod view;

pub use handle::Mesh;
pub use hubmesh_core as core;
pub use hubmesh_core::{frames, reach, wire};
pub use link::socket_config;
pub use progress::{Observed, Progress};
pub use view::{BootstrapView, HubView, MeshView};
