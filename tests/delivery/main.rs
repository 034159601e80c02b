//! The files that the project ships besides its code: the deploy script, the container and service
//! files, and the script that runs all checks.
//!
//! The scripts really run. Their search path holds stubs for the tools that use the network, and
//! each stub writes down its calls. Nothing here leaves this machine.

mod artifacts;
mod checks;
mod deploy;
#[path = "../common/hub_process.rs"]
mod hub_process;
mod observed;
mod workshop;
