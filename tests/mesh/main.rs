//! The mesh on real hubs: processes of their own, sockets on loopback, native clients.
//!
//! One file for each kind of story. What each promises is in its test's name. Hubs are the binary as it ships; wires that
//! break are proxies of the test (`common/proxy.rs`); peers live by themselves and remember all that they are told
//! (`common/peer.rs`). No story assumes a speed: it waits for what is to happen, and fails after a generous while.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/jwt.rs"]
mod jwt;
#[path = "../common/peer.rs"]
mod peer;
#[path = "../common/proxy.rs"]
mod proxy;

mod banned;
mod contested;
mod drain;
mod duplicates;
mod events;
mod failures;
mod interest;
mod large;
mod linking;
mod operators;
mod partition;
mod ready;
mod restless;
mod rolling;
mod shapes;
mod signals;
mod silence;
mod stage;
mod steering;
mod tokens;
mod tracing;
mod trust;
mod waiting;
