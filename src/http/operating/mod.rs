//! `/admin/api/`: what operators see of the whole mesh, and what they change.
//!
//! docs/admin.md is the contract, and `openapi` describes it for programs. `who` says who is an operator and what a browser has
//! to show, `login` gives a browser its cookie, `lists`, `pictures`, `awaited` and `events` show, `bans` and `acts` change, and `acts` has
//! each change noted, with who made it. All of it is answered by any hub. Ids of peers and names of networks are text of
//! strangers: they come percent-encoded in paths, and are compared, never interpreted. Whoever adds a path adds its line to
//! [`endpoints`], and its handler to the description.

mod acts;
mod awaited;
mod bans;
mod events;
mod lists;
mod login;
pub(super) mod openapi;
mod pictures;
mod who;

use std::marker::PhantomData;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde::Serialize;
use warp::reply::Response;

use super::endpoint::{Endpoint, Handler};
use super::reply::Answered;
use super::{Backend, admin, reply};

pub(super) use events::Lasting;
pub(super) use login::Logins;

/// The longest body of a request.
const MOST: u64 = 4 * 1024;

/// Who answers which method.
type Handled<B> = &'static [(Method, Handler<B>)];

struct Handlers<B>(PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const DESCRIBE: Handled<B> = &[(Method::GET, openapi::describe)];
    const HUBS: Handled<B> = &[(Method::GET, lists::hubs)];
    const NETWORKS: Handled<B> = &[(Method::GET, lists::networks)];
    const PEERS: Handled<B> = &[
        (Method::GET, lists::peers),
        (Method::DELETE, acts::remove_named),
    ];
    const PEER: Handled<B> = &[(Method::DELETE, acts::remove)];
    const TOPOLOGY: Handled<B> = &[(Method::GET, pictures::topology)];
    const HISTORY: Handled<B> = &[(Method::GET, pictures::history)];
    const WAITING: Handled<B> = &[(Method::GET, awaited::waiting)];
    const CONTESTS: Handled<B> = &[(Method::GET, awaited::contests)];
    const BANS: Handled<B> = &[(Method::GET, bans::list), (Method::POST, bans::place)];
    const BAN: Handled<B> = &[(Method::DELETE, bans::lift)];
    const EVENTS: Handled<B> = &[(Method::GET, events::listen)];
    const SESSION: Handled<B> = &[(Method::GET, login::session)];
    const LOGIN: Handled<B> = &[(Method::POST, login::login)];
    const LOGOUT: Handled<B> = &[(Method::POST, login::logout)];
}

/// All routes. Each handler checks the client itself, because it knows what for.
pub(super) fn endpoints<B: Backend>() -> impl Iterator<Item = Endpoint<B>> {
    let all = [
        ("admin/api/openapi.json", Handlers::<B>::DESCRIBE),
        ("admin/api/hubs", Handlers::<B>::HUBS),
        ("admin/api/networks", Handlers::<B>::NETWORKS),
        ("admin/api/peers", Handlers::<B>::PEERS),
        ("admin/api/peers/{}/{}/{}", Handlers::<B>::PEER),
        ("admin/api/topology", Handlers::<B>::TOPOLOGY),
        ("admin/api/history", Handlers::<B>::HISTORY),
        ("admin/api/waiting", Handlers::<B>::WAITING),
        ("admin/api/contests", Handlers::<B>::CONTESTS),
        ("admin/api/bans", Handlers::<B>::BANS),
        ("admin/api/bans/{}", Handlers::<B>::BAN),
        ("admin/api/events", Handlers::<B>::EVENTS),
        ("admin/api/session", Handlers::<B>::SESSION),
        ("admin/api/login", Handlers::<B>::LOGIN),
        ("admin/api/logout", Handlers::<B>::LOGOUT),
    ];
    all.into_iter().map(|(path, handlers)| Endpoint {
        path,
        most: MOST,
        handlers,
    })
}

/// Runs what makes an answer or is answered already, and keeps the answer from pages of other origins.
fn answer<F>(made: F) -> BoxFuture<'static, Response>
where
    F: Future<Output = Result<Response, Answered>> + Send + 'static,
{
    made.map(|made| admin::keep(made.unwrap_or_else(|answered| *answered)))
        .boxed()
}

fn ok(body: &impl Serialize) -> Result<Response, Answered> {
    Ok(reply::json(StatusCode::OK, body))
}

fn refused<T>(status: StatusCode, why: &impl ToString) -> Result<T, Answered> {
    Err(Box::new(reply::error(status, &why.to_string())))
}

fn bad<T>(why: &impl ToString) -> Result<T, Answered> {
    refused(StatusCode::BAD_REQUEST, why)
}
