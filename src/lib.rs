//! hubmesh: a federated WebRTC signaling daemon.
pub mod auth;
pub mod config;
pub mod http;
pub mod log;
pub mod mesh;
pub mod metrics;
