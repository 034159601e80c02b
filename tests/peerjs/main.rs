//! PeerJS on real hubs: processes of their own, sockets on loopback, and clients that send what `peerjs` 1.x sends.
//!
//! One file for each kind of story. The unmodified client itself, in a browser, has its stories in `tests/browser`; here
//! are those that need many clients, broken wires or hubs with settings of their own.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/proxy.rs"]
mod proxy;

mod client;
mod contested;
mod http;
mod realm;
mod reconnecting;
mod refused;
mod rolling;
mod rooms;
