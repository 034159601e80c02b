//! The exchange: frame by frame (`windows`, `lies`), alone (`rules`, `publishing`, `waiting`, `congestion`, `unread`), and in company over scripted
//! links in virtual time (`histories`).

mod bench;
mod congestion;
mod histories;
mod lies;
mod publishing;
mod rules;
mod unread;
mod variants;
mod waiting;
mod windows;
mod world;
