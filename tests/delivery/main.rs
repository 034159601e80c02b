//! What the project ships besides its code: the deploy script, the container and service files, and
//! the script that runs all checks.
//!
//! The scripts run for real, with a search path that holds stubs of the tools that reach outside;
//! each stub writes down how it was called. Nothing here leaves this machine.

mod artifacts;
mod checks;
mod deploy;
#[path = "../common/hub_process.rs"]
mod hub_process;
mod observed;
mod workshop;
