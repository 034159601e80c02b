//! `/admin/api/`: what operators see of the whole mesh, and what they do to it.
//!
//! docs/admin.md is the contract. `who` says who is an operator and what a browser has to show, `login` gives a browser its
//! cookie, and `acts` has each change noted, with who made it. All of it is answered by any hub. Ids of peers and names of
//! networks are text of strangers: they come percent-encoded in paths, and are compared, never interpreted.

mod acts;
mod bans;
mod events;
mod login;
mod pictures;
mod who;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use super::endpoint::{Call, Endpoint, Handler};
use super::{App, Backend, admin, admin_api, reply};
use who::Deed;

pub(super) use events::Lasting;
pub(super) use login::Logins;

/// How long other hubs have to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// The longest body of a request.
const MOST: u64 = 4 * 1024;

/// All of it.
pub(super) fn endpoints<B: Backend>() -> [Endpoint<B>; 3] {
    let endpoint = |path, handlers| Endpoint {
        path,
        most: MOST,
        // Who asks is found out by each handler, which knows what for.
        guard: |_: &Arc<App<B>>, _, _: &HeaderMap| None,
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
    const PAGES: &'static [(Method, Handler<B>)] = &[(Method::GET, look), (Method::POST, act)];
    const BAN: &'static [(Method, Handler<B>)] = &[(Method::DELETE, lift)];
    const PEER: &'static [(Method, Handler<B>)] = &[(Method::DELETE, remove)];
}

/// What is shown at which path, and what is done.
const SHOWN: [&str; 10] = [
    "hubs", "networks", "peers", "topology", "history", "waiting", "contests", "bans", "events",
    "session",
];
const DONE: [&str; 3] = ["login", "logout", "bans"];

fn page(call: &Call) -> &str {
    call.names.first().map_or("", String::as_str)
}

fn look<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move { admin::keep(show(&app, &call).await) }.boxed()
}

async fn show<B: Backend>(app: &Arc<App<B>>, call: &Call) -> Response {
    let page = page(call);
    if !SHOWN.contains(&page) {
        return elsewhere(page, &DONE, "POST, OPTIONS");
    }
    if page == "session" {
        return login::session(app, call);
    }
    if let Err(why) = who::check(app, call, Deed::Look) {
        return admin::refuse(app, why);
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

fn act<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    let acting = async move {
        let page = page(&call);
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

/// A path at which this method is not answered: another one is, or nothing is there.
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

fn bad(why: &impl ToString) -> Response {
    reply::error(StatusCode::BAD_REQUEST, &why.to_string())
}
