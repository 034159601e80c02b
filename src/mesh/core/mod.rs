//! The control plane, without IO: no sockets, no clock, no tokio, no randomness of its own.
pub mod api;
pub mod exchange;
pub mod ids;
