//! `/api`: rooms and the hub for programs, in the words of OctateCode's server.
//!
//! Here is which path leads where; [`rooms`] and [`service`] answer, [`access`] checks rights, [`shapes`] has the
//! bodies, and [`openapi`] describes it all. A new path needs a line in [`endpoints`], and its handler in the
//! description.

pub(super) mod access;
mod openapi;
mod rooms;
mod service;
mod shapes;

use std::marker::PhantomData;

use http::Method;

use super::Backend;
use super::endpoint::{Endpoint, Handler};
use crate::config::Config;

pub(super) use openapi::document;

/// The path before all of it.
pub(super) const PATH: &str = "/api/";
/// What a body may have beside the text that is kept of a room, in bytes.
const BESIDE: u64 = 64 * 1024;

/// A path, its longest body, and the handlers of its methods.
type Line<B> = (&'static str, u64, &'static [(Method, Handler<B>)]);

struct Handlers<B>(PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const HEALTH: &'static [(Method, Handler<B>)] = &[(Method::GET, service::health)];
    const STATS: &'static [(Method, Handler<B>)] = &[(Method::GET, service::stats)];
    const CLEANUP: &'static [(Method, Handler<B>)] = &[(Method::POST, service::cleanup)];
    const GC: &'static [(Method, Handler<B>)] = &[(Method::POST, service::gc)];
    const ROOMS: &'static [(Method, Handler<B>)] =
        &[(Method::GET, rooms::list), (Method::POST, rooms::create)];
    const ROOM: &'static [(Method, Handler<B>)] = &[(Method::GET, rooms::details)];
    const ROOM_STATS: &'static [(Method, Handler<B>)] = &[(Method::GET, rooms::stats)];
    const ROOM_PEERS: &'static [(Method, Handler<B>)] = &[(Method::GET, rooms::peers)];
    const JOIN: &'static [(Method, Handler<B>)] = &[(Method::POST, rooms::join)];
    const LEAVE: &'static [(Method, Handler<B>)] = &[(Method::POST, rooms::leave)];
}

/// All paths and their handlers.
pub(super) fn endpoints<B: Backend>(config: &Config) -> Vec<Endpoint<B>> {
    let longest = config.peer.max_room_bytes as u64 + BESIDE;
    let all: [Line<B>; 10] = [
        ("api/health", 0, Handlers::<B>::HEALTH),
        ("api/stats", 0, Handlers::<B>::STATS),
        ("api/maintenance/cleanup", BESIDE, Handlers::<B>::CLEANUP),
        ("api/maintenance/gc", BESIDE, Handlers::<B>::GC),
        ("api/rooms", longest, Handlers::<B>::ROOMS),
        ("api/rooms/{}", 0, Handlers::<B>::ROOM),
        ("api/rooms/{}/stats", 0, Handlers::<B>::ROOM_STATS),
        ("api/rooms/{}/peers", 0, Handlers::<B>::ROOM_PEERS),
        ("api/rooms/{}/join", BESIDE, Handlers::<B>::JOIN),
        ("api/rooms/{}/leave", BESIDE, Handlers::<B>::LEAVE),
    ];
    let endpoint = |(path, most, handlers)| Endpoint {
        path,
        most,
        handlers,
    };
    all.into_iter().map(endpoint).collect()
}
