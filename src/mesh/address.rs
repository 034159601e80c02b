//! The addresses at which hubs are dialled: the path `/mesh` of a configured address, or of an address found by name.

use std::net::SocketAddr;

use crate::config::HubUrl;

/// The path that hubs dial.
pub const MESH_PATH: &str = "/mesh";

/// The mesh endpoint of the hub at this address; its own path and query are left out.
pub fn endpoint(address: &HubUrl) -> String {
    let mut url = address.url().clone();
    url.set_path(MESH_PATH);
    url.set_query(None);
    url.into()
}

/// The mesh endpoint at this socket address, without TLS.
pub fn endpoint_at(address: SocketAddr) -> String {
    format!("ws://{address}{MESH_PATH}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_dialled_at_its_mesh_path_whatever_its_address_says() {
        for text in ["ws://a:1", "ws://a:1/", "ws://a:1/mesh"] {
            assert_eq!(endpoint(&text.parse().unwrap()), "ws://a:1/mesh");
        }
        let secure = "wss://hub.example".parse().unwrap();
        assert_eq!(endpoint(&secure), "wss://hub.example/mesh");
    }

    #[test]
    fn an_ipv6_address_makes_an_endpoint() {
        assert_eq!(
            endpoint_at("[fd00::1]:80".parse().unwrap()),
            "ws://[fd00::1]:80/mesh"
        );
    }
}
