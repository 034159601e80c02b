//! The peers of this hub: where the sessions and the mesh meet.
//!
//! [`registry`] knows this hub's peers, [`mailbox`] holds the messages for a peer, [`reason`] lists the causes for
//! which its connection ends, and [`port`] is the interface through which sessions use the mesh. The sessions and the
//! mesh use this module, and it uses neither.

pub mod mailbox;
pub mod port;
pub mod reason;
pub mod registry;
