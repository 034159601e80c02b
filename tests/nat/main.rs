//! STUN and TURN against widely used programs: coturn's server and clients.
//!
//! Each server listens on its own loopback address, so that tests can run at the same time and need no free port. On a
//! machine without coturn, the tests say so and test nothing; scripts/tools.sh provides coturn.

#[path = "../common/hub_process.rs"]
mod hub_process;
#[path = "../common/installed.rs"]
mod installed;
#[path = "../common/nat_lab.rs"]
mod nat_lab;
#[path = "../common/tool.rs"]
mod tool;

mod abuse;
mod client;
mod coturn;
mod drain;
mod matrix;
mod mesh;
mod outside;
mod own;
mod p2p;
mod serve;
mod stage;
