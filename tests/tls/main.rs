//! TLS on the hub's own port: what it shows, what it refuses, how its certificate is replaced, links over it, and a webhook.
//!
//! The hubs are processes of their own; the certificates are those of an authority that the test makes.

mod authority;
mod crowded;
#[path = "../common/hub_process.rs"]
mod hub_process;
mod links;
#[path = "../common/peer.rs"]
mod peer;
mod port;
mod replacing;
mod stage;
mod start;
mod webhook;
