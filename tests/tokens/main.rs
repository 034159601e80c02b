//! Tokens that confine their holders, on real hubs: the attempts to do more than a token allows, in every dialect, and
//! the tokens that are valid.
//!
//! `attempts` has the table of attempts and the answers to them. `minting` has the clients that a hub gives tokens to.
//! `later` has the tokens that a client sends in a message. No test assumes a speed: each one waits for the event that
//! it expects.

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
