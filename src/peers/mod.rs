//! The peers of this hub, as the rest of it sees them: where the sessions and the mesh meet.
//!
//! [`registry`] knows which peers are here, [`mailbox`] has what others leave for a peer, [`reason`] tells why its
//! connection ends, and [`port`] is what a peer's session asks of the mesh. The sessions above and the mesh beside know
//! this module, and it knows neither.

pub mod mailbox;
pub mod port;
pub mod reason;
pub mod registry;
