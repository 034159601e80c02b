//! hubmesh: a federated WebRTC signaling daemon.
pub mod mesh;
