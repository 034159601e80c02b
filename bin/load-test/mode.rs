//! What can be measured: one file a mode.
//!
//! Each mode takes a [`crate::lab::Lab`] and its own options, is bounded in count and time, and gives a
//! [`crate::report::Report`]. The CPU time of servers is taken over its steady phase alone.

pub mod accept;
pub mod floor;
pub mod idle;
pub mod join_latency;
pub mod join_storm;
pub mod mesh;
pub mod relay;
pub mod table;
