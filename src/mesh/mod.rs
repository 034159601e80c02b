//! The mesh: hubs that know each other's peers.
pub mod core;
pub mod frames;
mod view;
pub mod wire;
pub use view::{BootstrapView, HubView, MeshView};
mod stub;
pub use stub::Mesh;
