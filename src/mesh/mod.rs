//! The mesh: hubs that know each other's peers.
pub mod core;
pub mod frames;
pub mod wire;
