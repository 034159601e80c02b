//! The exchange, alone (`rules`) and in company over scripted links in virtual time (`histories`).

mod histories;
mod rules;
mod windows;
mod world;
