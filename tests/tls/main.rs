//! TLS on the hub's own port: the clients that it serves and refuses, and how its certificate is replaced. Also links
//! and a webhook over TLS.
//!
//! Each hub runs in its own process. The test makes an authority, which signs the certificates.

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
