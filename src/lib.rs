//! hubmesh: a federated WebRTC signaling daemon.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod mesh;
