//! The behaviour of a hub under attack by its clients and by other hubs.
//!
//! The tests start the real binary, link a second hub to it, and attack it over loopback. Meanwhile innocent peers on
//! both hubs exchange signals and pings, and [`watcher`] measures how long these take. The same rules ([`arena`]) hold
//! for each attack. The attacker is told its fault, and the fault is counted in `/metrics`. The innocent peers lose no
//! message, see nothing unexpected, and do not have to wait. After the attack the hub runs, has not panicked, and
//! accepts peers.
//!
//! Each kind of attacker has one file. [`http`] attacks before the upgrade, [`frames`] and [`messages`] after it.
//! [`floods`] sends too much, [`places`] takes the places of others, [`lines`] uses up bandwidth, and [`unread`] does
//! not read. [`hubs`] attacks on `/mesh`, [`gossip`] and [`words`] with link records, and [`forgers`] and [`exile`] in
//! the names of other hubs. [`memory`] looks for leaks over time. [`limits`] hits each cap of the configuration once;
//! the caps on PeerJS clients are in [`peerjs_limits`].

mod arena;
mod evil_hub;
mod exile;
mod floods;
mod forgers;
mod frames;
mod gossip;
mod http;
#[path = "../common/hub_process.rs"]
mod hub_process;
mod hubs;
mod limits;
mod lines;
mod memory;
mod messages;
mod peerjs_limits;
mod places;
#[path = "../common/proxy.rs"]
mod proxy;
mod raw;
mod unread;
mod watcher;
mod words;
