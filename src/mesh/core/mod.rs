//! The control plane, without IO: no sockets, no clock, no tokio, no randomness of its own.
pub mod api;
pub mod dial;
pub mod ids;
pub mod links;
pub mod rng;
pub mod topology;
