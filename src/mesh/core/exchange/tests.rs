//! The exchange, alone (`rules`, `waiting`) and in company over scripted links in virtual time (`histories`).

mod histories;
mod rules;
mod waiting;
mod windows;
mod world;
