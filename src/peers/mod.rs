//! The peers of this hub, as everybody else sees them: where the sessions and the mesh meet.
//!
//! [`registry`] knows who is here, [`mailbox`] is what others leave for a peer and [`reason`] why its connection ends;
//! [`port`] is what a peer's session asks of the mesh. The sessions above and the
//! mesh beside know this room, and it knows neither.

pub mod mailbox;
pub mod port;
pub mod reason;
pub mod registry;
