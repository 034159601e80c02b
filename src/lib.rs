//! hubmesh: a federated WebRTC signaling daemon.
pub mod auth;
pub mod config;
pub mod dialect;
pub mod http;
pub mod hub;
pub mod limits;
pub mod log;
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod mesh;
pub mod metrics;
pub mod registry;
pub mod session;
pub mod client;
