//! The functions that are fuzzed: each one accepts any bytes, and panics when a decoder breaks its promise.
//!
//! The promises are more than "does not panic". A message that was read and is written again reads the same. A message
//! that is passed on to others is well formed. `fuzz_targets/` hands these functions to libFuzzer.
//! `tests/fuzz_smoke.rs` runs them on the stable compiler, over the corpus and mutations of it. The functions depend on
//! neither.

mod coordinator;
mod core_world;
mod greeting;
mod mesh;
mod peerjs;
mod pigeon;
mod rooms;
mod sniffing;
mod turn;
mod ws;
mod yjs;

pub use coordinator::coordinator;
pub use core_world::core_world;
pub use greeting::greeting;
pub use mesh::{mesh_control, mesh_data};
pub use peerjs::peerjs;
pub use pigeon::pigeon;
pub use rooms::rooms;
pub use sniffing::sniffing;
pub use turn::{stun, turn_world};
pub use ws::ws;
pub use yjs::yjs;
