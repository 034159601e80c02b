//! Whole meshes in virtual time, in one thread, from one seed.
//!
//! Owns: simulated machines, links, clients and clocks around real [`Core`](hubmesh_core::Core)s, the checks of a
//! mesh's promises, scripts of known problems, random histories, and the figures that `mesh-sim` prints. Every byte
//! between two cores goes through the real codec. The daemon and this package know nothing of each other.
//!
//! Invariants: the same seed gives the same trace; nothing here reads a clock or draws random numbers except from the
//! world's [`Rng`](hubmesh_core::rng::Rng); a check never changes the world.
//!
//! Callers: `tests/simulation.rs`, and `bin/mesh-sim`.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod bounds;
#[cfg(feature = "mutants")]
pub mod catch;
pub mod checks;
pub mod figures;
pub mod history;
mod ids;
mod ledger;
mod net;
mod queue;
pub mod scripts;
mod sessions;
pub mod siege;
pub mod world;
