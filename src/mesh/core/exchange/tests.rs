//! The exchange, alone (`rules`, `waiting`, `congestion`) and in company over scripted links in virtual time (`histories`).

mod congestion;
mod histories;
mod rules;
mod waiting;
mod windows;
mod world;
