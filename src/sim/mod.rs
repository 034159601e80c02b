//! Whole meshes in virtual time, in one thread, from one seed.
//!
//! Owns: simulated machines, links, clients and clocks around real [`Core`](crate::mesh::core::Core)s, the
//! checks of what a mesh promises, scripts of known troubles, random histories, and the figures that
//! `mesh-sim` prints. Every byte between two cores goes through the real codec. Nothing of the daemon depends
//! on this module.
//!
//! Invariants: the same seed gives the same trace; nothing here looks at a clock or draws from anything but
//! the world's [`Rng`](crate::mesh::core::rng::Rng); a check never changes the world.
//!
//! Callers: `tests/simulation.rs`, `bin/mesh-sim.rs`.

mod bounds;
#[cfg(feature = "mutants")]
pub mod catch;
pub mod checks;
pub mod figures;
pub mod history;
mod ledger;
mod net;
mod queue;
pub mod scripts;
mod sessions;
pub mod siege;
mod watch;
pub mod world;
