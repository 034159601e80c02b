//! Tokens that confine their holders, on real hubs: every attempt to go beyond one, in every dialect, and what is valid.
//!
//! `attempts` has the table of attempts and what is told of each, `minting` who is given tokens by a hub, `later` the tokens
//! that come in a message. No story assumes a speed: it waits for what is to happen.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/json_client.rs"]
mod json_client;
#[path = "../common/jwt.rs"]
mod jwt;

mod attempts;
mod holder;
mod later;
mod minting;
