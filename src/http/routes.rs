//! The paths of each door and their handlers.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use hubmesh_core::ids::Dialect;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::filters::path::FullPath;
use warp::reply::Response;

use super::admin::{self, Door};
use super::endpoint::{self, Endpoint};
use super::head::head;
#[cfg(feature = "trial-dialect")]
use super::trial;
use super::{
    App, Backend, Head, accept_header, admit, api, asked, auth_token, coordinator, ice_servers,
    misrouted, openapi, operating, peerjs, ready, reply, status, web,
};
use crate::config::Config;

type Page<B> = fn(&Arc<App<B>>, Head) -> Response;

/// All routes of a door. A path that exists answers GET and HEAD, and 405 to other methods; any other path is 404.
pub(super) fn routes<B: Backend>(app: &Arc<App<B>>, door: Door) -> BoxedFilter<(Response,)> {
    let mut pages: Vec<(&'static str, Page<B>)> = vec![
        ("health", status::health),
        ("live", ready::live),
        ("ready", ready::ready),
        ("metrics", status::metrics),
        ("hubs", status::hubs),
        ("stats", status::stats),
        ("hubstats", status::hubstats),
    ];
    match door {
        Door::Admin => pages.push(("", status::operators_description)),
        Door::Public => pages.extend([
            ("", root as Page<B>),
            ("ws", admit::peer),
            ("yjs", |app, head| admit::unnamed(app, head, Dialect::Yjs)),
            ("p2p", |app, head| {
                admit::unnamed(app, head, Dialect::Coordinator)
            }),
            ("ice-servers", ice_servers::page),
            ("page.json", web::about),
        ]),
    }
    if door == Door::Admin || app.config.admin.addr.is_none() {
        pages.push(("admin", web::operators_page));
    }
    #[cfg(feature = "trial-dialect")]
    if door == Door::Public {
        pages.push(("trial", |app, head| {
            admit::unnamed(app, head, Dialect::Trial)
        }));
    }
    if app.config.is_hub && door == Door::Public {
        pages.push(("mesh", admit::hub));
    }
    let others = match door {
        Door::Public => elsewhere(app),
        Door::Admin => assets_alone(),
    };
    let others = endpoints(&app.config, door)
        .into_iter()
        .fold(others, |others, endpoint| {
            let route = endpoint::route(app, door, endpoint);
            route.or(others).unify().boxed()
        });
    pages.into_iter().fold(others, |others, (path, page)| {
        route(app, door, path, page).or(others).unify().boxed()
    })
}

/// The endpoints of a door: their answers may take time, or they answer other methods than pages do.
pub(super) fn endpoints<B: Backend>(
    config: &Config,
    #[cfg_attr(not(feature = "trial-dialect"), expect(unused_variables))] door: Door,
) -> Vec<Endpoint<B>> {
    let mut all = api::endpoints(config);
    all.extend(openapi::endpoints());
    all.push(auth_token::endpoint());
    all.extend(coordinator::endpoints());
    all.extend(operating::endpoints());
    #[cfg(feature = "trial-dialect")]
    if door == Door::Public {
        all.push(trial::endpoint());
    }
    all
}

/// The methods at this path, or those of a page if the path does not exist.
pub(super) fn methods_at<B: Backend>(app: &App<B>, door: Door, path: &str) -> Cow<'static, str> {
    let all = endpoints::<B>(&app.config, door);
    let found = all.iter().find(|endpoint| endpoint.is_at(path));
    found.map_or(Cow::Borrowed(reply::METHODS), |found| {
        Cow::Owned(found.methods())
    })
}

fn route<B: Backend>(
    app: &Arc<App<B>>,
    door: Door,
    path: &'static str,
    page: Page<B>,
) -> BoxedFilter<(Response,)> {
    let app = Arc::clone(app);
    let is_kept = status::is_of_operators(path) && app.operators.are_told_apart();
    let here = if path.is_empty() {
        warp::path::end().boxed()
    } else {
        warp::path(path).and(warp::path::end()).boxed()
    };
    let page_alone = door == Door::Admin || !is_socket(path);
    let answer = move |mut head: Head| {
        let checked = match path {
            _ if is_kept => app.check_operator(door, &head),
            "" | "health" => {
                let checked = app.check_operator_or_client(door, &head);
                head.is_operator = app.tells_more(checked);
                checked
            }
            _ => Ok(()),
        };
        match (&head.method, checked) {
            (_, Err(why)) if is_kept => admin::refuse(&app, why),
            (&Method::GET, _) if page_alone && asked::is_wanted(&head.headers) => {
                misrouted::no_endpoint(&app, &head, &format!("/{path}"))
            }
            (&Method::GET | &Method::HEAD, _) if is_kept => admin::keep(page(&app, head)),
            (&Method::GET | &Method::HEAD, _) => page(&app, head),
            _ => reply::method_not_allowed(reply::METHODS),
        }
    };
    here.and(head()).map(answer).boxed()
}

/// Whether there is a WebSocket at this path of the public door, beside those of PeerJS clients.
pub(super) fn is_socket(path: &str) -> bool {
    matches!(path, "" | "ws" | "yjs" | "p2p" | "rooms" | "mesh")
        || (cfg!(feature = "trial-dialect") && path == "trial")
}

/// The paths of the operators' door without a route of their own: the files of its page.
fn assets_alone() -> BoxedFilter<(Response,)> {
    let answer =
        |path: FullPath, head: Head| asset(&path, &head).unwrap_or_else(reply::nothing_here);
    warp::path::full().and(head()).map(answer).boxed()
}

/// The script, style or picture of a page at this path, if there is one.
fn asset(path: &FullPath, head: &Head) -> Option<Response> {
    let asset = web::asset(path.as_str())?;
    Some(match head.method {
        Method::GET | Method::HEAD => asset.response(&head.headers),
        _ => reply::method_not_allowed(reply::METHODS),
    })
}

/// The paths without a route of their own: those of PeerJS clients; any other is 404.
fn elsewhere<B: Backend>(app: &Arc<App<B>>) -> BoxedFilter<(Response,)> {
    let app = Arc::clone(app);
    warp::path::full()
        .and(head())
        .map(move |path: FullPath, head: Head| {
            let wanted = asked::is_meant(&head);
            let page = peerjs::page(&app.config.peerjs.paths, path.as_str(), wanted);
            if let (None, Some(found)) = (&page, asset(&path, &head)) {
                return found;
            }
            match (page, &head.method) {
                (None | Some(peerjs::Page::About), _) if wanted => {
                    misrouted::no_endpoint(&app, &head, path.as_str())
                }
                (Some(page), &Method::GET)
                    if page != peerjs::Page::Socket && asked::is_wanted(&head.headers) =>
                {
                    misrouted::no_endpoint(&app, &head, path.as_str())
                }
                (None, _) => reply::nothing_here(),
                (Some(page), &Method::GET | &Method::HEAD) => peerjs::answer(&app, page, head),
                (Some(_), _) => reply::method_not_allowed(reply::METHODS),
            }
        })
        .boxed()
}

/// `/`: a peer's WebSocket, or the description of this server: a page for browsers, JSON for other clients.
///
/// A WebSocket here without `peerId` belongs to a client that does not name itself in the address: its first text tells
/// its dialect.
fn root<B: Backend>(app: &Arc<App<B>>, head: Head) -> Response {
    if asked::is_peerjs(&head) && app.config.peerjs.is_served() {
        misrouted::no_endpoint(app, &head, "/")
    } else if asked::is_meant(&head) {
        match asked::names_a_peer(&head) {
            true => admit::peer(app, head),
            false => admit::undecided(app, head),
        }
    } else if app.is_draining() {
        app.draining_response()
    } else {
        reply::by_accept(match accept_header::wants_page(&head.headers) {
            true => web::page(&head.headers),
            false => status::description(app, &head),
        })
    }
}
