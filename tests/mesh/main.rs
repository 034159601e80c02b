//! The mesh on real hubs: each in its own process, with sockets on loopback and native clients.
//!
//! There is one file for each subject. The name of a test says what it promises. Hubs run the binary as it ships. Wires
//! that break are proxies of the test (`common/proxy.rs`). Peers run by themselves and remember all that they are told
//! (`common/peer.rs`). No test assumes a speed: it waits for each event, and fails after a generous time.

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
