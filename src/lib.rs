//! hubmesh: a federated WebRTC signaling daemon.
pub mod dialect;
pub mod mesh;
