//! What clients need to reach each other through NATs, beside the signaling: credentials for TURN servers.
//!
//! Knows nothing of HTTP and of the mesh. `http::ice_servers` asks for what it hands out.

pub mod credentials;
