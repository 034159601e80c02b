//! STUN and TURN against the programs that others use: coturn's server and clients.
//!
//! Each server listens on a loopback address of its own, so that tests run at once and need no free port. A machine
//! without coturn says so and tests nothing; scripts/tools.sh provides it.

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
