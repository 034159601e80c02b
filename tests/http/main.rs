//! The HTTP side over real sockets: status pages, the switch to a WebSocket, and refusals.
//!
//! The backend only echoes, so that no test here depends on the messages of peers and hubs.

#[path = "../common/installed.rs"]
mod installed;

mod admin;
mod connections;
mod ice_servers;
mod misrouted;
mod operated;
mod page;
mod proxies;
mod ready;
mod served;
mod status;
mod steering;
mod unseen;
mod websocket;
