//! hubmesh: a federated WebRTC signaling daemon.
//!
//! A hub lets peers in over WebSocket, links to other hubs, and hands every signal to the hub that holds its target.
//! The tree shows the way of a message: [`http`] admits a connection and switches it to a WebSocket, [`session`] serves
//! it to its end, [`dialect`] turns its messages into commands and back, [`peers`] knows the peers of this hub, and
//! [`mesh`] knows those of others and carries signals there. [`hub`] puts the parts together.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod auth;
mod clock;
pub mod config;
pub mod dialect;
pub mod http;
pub mod hub;
pub mod limits;
pub mod log;
mod memory;
pub mod mesh;
pub mod metrics;
pub mod nat;
pub mod peers;
pub mod session;
pub mod tls;
mod unsent;
pub mod watch;
