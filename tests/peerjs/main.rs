//! PeerJS on real hubs: separate processes, sockets on loopback, and clients that send the messages of `peerjs` 1.x.
//!
//! Each file has one kind of story. The stories of the unmodified client, in a browser, are in `tests/browser`. The
//! stories here need many clients, broken wires or hubs with special settings.

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
