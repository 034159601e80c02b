//! The exchange, alone (`rules`, `waiting`, `congestion`, `unread`) and in company over scripted links in virtual time (`histories`).

mod congestion;
mod histories;
mod rules;
mod unread;
mod waiting;
mod windows;
mod world;
