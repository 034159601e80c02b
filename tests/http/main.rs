//! The HTTP side over real sockets: status pages, who may switch to a WebSocket, and what is refused.
//!
//! Behind it stands a backend that echoes, so that nothing here depends on what peers and hubs say.

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
