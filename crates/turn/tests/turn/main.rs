//! The server in virtual time: what RFC 8489 and RFC 8656 ask for, and what nobody may get out of it.

mod abuse;
mod allocations;
mod binding;
mod model;
mod opening;
mod peers;
mod properties;
mod stage;
