//! A hub with its own STUN and TURN servers, and the servers that it names to a client.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::client::Client;
use crate::coturn::own_address;
use crate::hub_process::{HubBuilder, HubProcess};

pub const SECRET: &str = "of-the-hub-and-its-clients";

/// A hub at its own address, with STUN and TURN at port 3478.
pub fn hub() -> (Ipv4Addr, HubBuilder) {
    let address = own_address();
    let builder = HubProcess::builder()
        .env("HOST", address.to_string())
        .env("STUN_PORT", "3478")
        .env("TURN_PORT", "3478")
        .env("TURN_SECRET", SECRET);
    (address, builder)
}

/// A TURN client at the address `from`, for the hub at the address `hub`.
pub fn client(from: Ipv4Addr, hub: Ipv4Addr, name: &str, expiry: u64) -> Client {
    Client::new(from, (hub, 3478).into(), SECRET, (name, expiry))
}

/// The servers that `/ice-servers` names to this peer.
pub async fn ice_servers(hub: &HubProcess, peer: &str) -> Vec<Value> {
    let answer = hub.http_get(&format!("/ice-servers?peerId={peer}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["iceServers"]
        .as_array()
        .expect("a list")
        .clone()
}

/// All URLs that begin with `scheme`.
pub fn urls(servers: &[Value], scheme: &str) -> Vec<String> {
    let all = servers
        .iter()
        .flat_map(|one| one["urls"].as_array().expect("a list"));
    let texts = all.map(|url| url.as_str().expect("text").to_owned());
    texts.filter(|url| url.starts_with(scheme)).collect()
}

/// The address in a URL.
pub fn place(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once(':').expect("a scheme");
    let place = rest.split('?').next().expect("a place");
    place.parse().expect("an address")
}

/// The value of a series in `/metrics`; 0 if the page does not have it yet.
pub async fn metric(hub: &HubProcess, series: &str) -> u64 {
    let accept = [("accept", "text/plain;version=0.0.4")];
    let page = hub.http(http::Method::GET, "/metrics", &accept).await.body;
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{series} ")));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0, |value| value.parse().expect("a number"))
}
