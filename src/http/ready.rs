//! The questions of orchestrators: `/live` (restart this hub?) and `/ready` (send it peers?).
//!
//! The answers tell nothing of peers or networks, so any client may ask both. A hub is ready once it knows the peers of
//! the mesh, or once learning them took too long: a hub that reaches no other hub still serves its own peers. A ready
//! hub stays ready until it is told to stop. A full hub is ready too: otherwise an operator could not roll out a larger
//! `MAX_CONNECTIONS`.
//!
//! A hub that shuts down first reports it at `/ready`, and lets peers in for a while, until the proxy has asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use warp::reply::Response;

use super::{App, Backend, Head, reply};

/// A load balancer that has not asked for this long will not ask in time to notice the change.
const WATCHED_FOR: Duration = Duration::from_secs(60);

/// Whether peers should connect to this hub.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// The hub has been ready before.
    was: AtomicBool,
    leaving: AtomicBool,
    asked: Mutex<Option<Instant>>,
}

/// Why peers should connect to another hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum NotReady {
    #[error("the hub is shutting down")]
    Draining,
    #[error("the hub has no link with another one yet")]
    NoLink,
    #[error("the hub does not know all peers of the mesh yet")]
    NotSynced,
}

impl NotReady {
    const fn word(self) -> &'static str {
        match self {
            NotReady::Draining => "draining",
            NotReady::NoLink => "no-link",
            NotReady::NotSynced => "not-synced",
        }
    }
}

impl<B: Backend> App<B> {
    /// From now on `/ready` says that peers should connect to another hub. Peers are let in as before.
    pub fn leave(&self) {
        self.readiness.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether a client asks for `/ready` now and then, and so can notice the change.
    pub fn is_watched(&self) -> bool {
        let asked = *self.readiness.asked.lock();
        asked.is_some_and(|asked| asked.elapsed() < WATCHED_FOR)
    }

    fn readiness(&self) -> Result<(), NotReady> {
        let readiness = &self.readiness;
        if readiness.leaving.load(Ordering::Relaxed) || self.is_draining() {
            return Err(NotReady::Draining);
        }
        if !readiness.was.load(Ordering::Relaxed) {
            self.has_joined()?;
            readiness.was.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether this hub has joined the mesh, has tried for long enough, or has no mesh to join.
    fn has_joined(&self) -> Result<(), NotReady> {
        let config = &self.config;
        let alone = !config.is_hub || config.mesh.bootstrap.is_empty();
        if alone || self.started.elapsed() >= config.ready_timeout {
            return Ok(());
        }
        let view = self.backend.view();
        match view.links {
            0 => Err(NotReady::NoLink),
            _ if view.is_synced() => Ok(()),
            _ => Err(NotReady::NotSynced),
        }
    }
}

/// `GET /live`: 200, unless the hub can serve no client any more and has to be restarted.
pub(super) fn live<B: Backend>(app: &Arc<App<B>>, _: Head) -> Response {
    if app.is_draining() || app.backend.is_running() {
        return reply::json(StatusCode::OK, &json!({ "status": "live" }));
    }
    let body = json!({ "status": "stopped", "error": "the mesh's task has ended: this is a bug" });
    reply::json(StatusCode::SERVICE_UNAVAILABLE, &body)
}

/// `GET /ready`: 200 while peers should connect to this hub, 503 with the reason while they should not.
pub(super) fn ready<B: Backend>(app: &Arc<App<B>>, _: Head) -> Response {
    *app.readiness.asked.lock() = Some(Instant::now());
    match app.readiness() {
        Ok(()) => reply::json(StatusCode::OK, &json!({ "status": "ready" })),
        Err(why) => {
            let body = json!({ "status": why.word(), "error": why.to_string() });
            reply::json(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}
