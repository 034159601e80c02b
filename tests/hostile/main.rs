//! What a hub does when those who connect to it mean harm.
//!
//! The real binary is started, a second hub linked to it, and attacked over loopback, while innocent peers on both
//! exchange signals and pings and [`watcher`] measures how long these take. Each attack is held to the same rules
//! ([`arena`]): the culprit is told what was wrong, it is counted in `/metrics`, the innocent lose nothing, see
//! nothing strange and are not made to wait, and afterwards the hub lives, has not panicked, and takes peers in.
//!
//! One file a kind of attacker: [`http`] before the upgrade, [`frames`] and [`messages`] after it, [`floods`] by
//! sheer amount, [`places`] by taking what others need, [`lines`] of bandwidth, [`unread`] by not reading, [`hubs`] on
//! `/mesh`, [`gossip`] and [`words`] by what hubs tell of, [`forgers`] and [`exile`] in others' names, [`memory`] over
//! time. [`limits`] hits each cap of the configuration once, those on PeerJS clients in [`peerjs_limits`].

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
