//! `/admin/api/`: what operators see of the whole mesh, and what they change.
//!
//! docs/admin.md is the contract. `who` decides who is an operator and what a browser has to show, `login` gives a
//! browser its cookie, and `acts` notes each change with its operator. Every hub answers all of it. Ids of peers and
//! names of networks are text of strangers: they come percent-encoded in paths, and are compared, never interpreted.

mod acts;
mod bans;
mod events;
mod guesses;
mod login;
mod pictures;
mod who;

use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http::{Method, StatusCode};
use url::form_urlencoded;
use warp::reply::Response;

use super::admin::NoOperator;
use super::endpoint::{Call, Endpoint, Handler};
use super::{App, Backend, admin, admin_api, reply};
use who::{Deed, With};

pub(super) use events::Lasting;
pub(super) use guesses::{Guesses, guessed};
pub(super) use login::Logins;

/// The longest body of a request.
const MOST: u64 = 4 * 1024;

/// All routes. Each handler checks the client itself, because it knows what for.
pub(super) fn endpoints<B: Backend>() -> [Endpoint<B>; 3] {
    let endpoint = |path, handlers| Endpoint {
        path,
        most: MOST,
        handlers,
    };
    [
        endpoint("admin/api/{}", Handlers::<B>::PAGES),
        endpoint("admin/api/bans/{}", Handlers::<B>::BAN),
        endpoint("admin/api/peers/{}/{}/{}", Handlers::<B>::PEER),
    ]
}

struct Handlers<B>(PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const PAGES: &'static [(Method, Handler<B>)] = &[
        (Method::GET, look),
        (Method::POST, act),
        (Method::DELETE, remove_named),
    ];
    const BAN: &'static [(Method, Handler<B>)] = &[(Method::DELETE, lift)];
    const PEER: &'static [(Method, Handler<B>)] = &[(Method::DELETE, remove)];
}

/// The paths and their handlers.
const SHOWN: [&str; 10] = [
    "hubs", "networks", "peers", "topology", "history", "waiting", "contests", "bans", "events",
    "session",
];
const DONE: [&str; 3] = ["login", "logout", "bans"];

fn look<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move { admin::keep(show(&app, &call).await) }.boxed()
}

async fn show<B: Backend>(app: &Arc<App<B>>, call: &Call) -> Response {
    let page = call.name();
    if !SHOWN.contains(&page) {
        return elsewhere(page, &DONE, "POST, OPTIONS");
    }
    if page == "session" {
        return login::session(app, call);
    }
    let operator = match who::check(app, call, Deed::Look) {
        Ok(operator) => operator,
        Err(why) => return admin::refuse(app, why),
    };
    if operator.with == With::Loopback && is_of_somebody(page, &call.head.query) {
        return admin::refuse(app, NoOperator::OfSomebody);
    }
    match page {
        "topology" => pictures::topology(app).await,
        "history" => pictures::history(app, call).await,
        "waiting" => pictures::waiting(app).await,
        "contests" => pictures::contests(app).await,
        "bans" => bans::list(app, call),
        "events" => events::listen(app, call),
        _ => admin_api::answer(app, call).await,
    }
}

/// Whether this tells of persons: where they are, which party they are, and what they did. A proxy on this machine that
/// does not name itself makes all strangers look local, so a local request is not enough here.
fn is_of_somebody(page: &str, query: &str) -> bool {
    let asks_for_details =
        || form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "details");
    matches!(page, "bans" | "events") || (page == "peers" && asks_for_details())
}

fn act<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    let acting = async move {
        let page = call.name();
        let done = match page {
            "login" => login::login(&app, &call),
            "logout" | "bans" => match who::check(&app, &call, Deed::Change) {
                Ok(operator) if page == "bans" => bans::place(&app, &call, &operator).await,
                Ok(operator) => login::logout(&app, &call, &operator),
                Err(why) => admin::refuse(&app, why),
            },
            _ => elsewhere(page, &SHOWN, reply::METHODS),
        };
        admin::keep(done)
    };
    acting.boxed()
}

/// A path that does not answer this method: it answers another one, or does not exist.
fn elsewhere(page: &str, others: &[&str], methods: &str) -> Response {
    match others.contains(&page) {
        true => reply::method_not_allowed(methods),
        false => reply::nothing_here(),
    }
}

fn lift<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    let lifting = async move {
        admin::keep(match who::check(&app, &call, Deed::Change) {
            Ok(operator) => bans::lift(&app, &call, &operator).await,
            Err(why) => admin::refuse(&app, why),
        })
    };
    lifting.boxed()
}

fn remove<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    let removing = async move {
        admin::keep(match who::check(&app, &call, Deed::Change) {
            Ok(operator) => acts::remove(&app, &call, &operator).await,
            Err(why) => admin::refuse(&app, why),
        })
    };
    removing.boxed()
}

/// Names the peer in the query, for browsers: they take `.` and `..` out of every path, however they are written.
fn remove_named<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    match call.name() {
        "peers" => remove(app, call),
        page => {
            let response = match SHOWN.contains(&page) {
                true => reply::method_not_allowed(reply::METHODS),
                false => elsewhere(page, &DONE, "POST, OPTIONS"),
            };
            ready(admin::keep(response)).boxed()
        }
    }
}

fn bad(why: &impl ToString) -> Response {
    reply::error(StatusCode::BAD_REQUEST, &why.to_string())
}
