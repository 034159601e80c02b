//! The HTTP requests of PeerJS clients: for an id, the list of ids, and the WebSocket of their dialect.
//!
//! A client's option `path` prefixes all of these addresses, so each of them exists under each path of `PEERJS_PATH`. A
//! client is told its mistake on the socket if its library knows the message, because browsers hide the answer to a
//! refused upgrade from scripts. A wrong bearer token and a full room are told by the HTTP status. Knows no message of
//! the dialect.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId};
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use sha2::{Digest, Sha256};
use warp::reply::Response;

use super::admit::{self, Refused};
use super::query::{self, Value};
use super::upgrade::{self, Handshake};
use super::{App, Backend, Head, PageName, Permits, UpgradeRequest, reply};
use crate::auth::Grant;
use crate::config::PeerJsPaths;
use crate::limits::{AddressSlot, NoSlot};
use crate::metrics::Refusal;

/// The longest id of a client, in characters; in bytes it is [`PeerId::MAX_BYTES`].
const MAX_ID_CHARS: usize = 64;

/// Texts that `peerjs` clients and their users know from PeerServer.
mod words {
    pub const INCOMPLETE: &str = "No id, token, or key supplied to websocket server";
    pub const WRONG_KEY: &str = "Invalid key provided";
    pub const FULL: &str = "Server has reached its concurrent user limit";
    pub const BAD_ID: &str = "An id has 1 to 64 characters, and at most 128 bytes";
    pub const BAD_ROOM: &str = "The token names no room: 1 to 63 bytes are a room's name";
    pub const OTHER_ROOM: &str = "The token is for another room";
    pub const MANY_ROOMS: &str =
        "The token is not for one room: show it in Authorization, and name the room as the token";
}

/// The endpoints under a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Page<'p> {
    /// The WebSocket.
    Socket,
    /// The description of the server.
    About,
    /// A fresh id.
    Id,
    /// The ids of a realm.
    Ids {
        /// The key that the realm is called by.
        key: &'p str,
    },
}

/// The endpoint at `path`, if any; if the path has both a WebSocket and a page, the requested one.
pub(super) fn page<'p>(paths: &PeerJsPaths, path: &'p str, upgrade: bool) -> Option<Page<'p>> {
    let found = || paths.iter().filter_map(|prefix| below(path, prefix));
    found()
        .find(|page| (*page == Page::Socket) == upgrade)
        .or_else(|| found().next())
}

fn below<'p>(path: &'p str, prefix: &str) -> Option<Page<'p>> {
    let rest = path.strip_prefix(prefix)?;
    if rest.is_empty() || rest == "/" {
        return Some(Page::About);
    }
    match rest.strip_prefix('/')?.split_once('/') {
        None => (rest == "/peerjs").then_some(Page::Socket),
        Some((_, "id")) => Some(Page::Id),
        Some((key, "peers")) => Some(Page::Ids { key }),
        Some(_) => None,
    }
}

/// Answers a GET of a page.
pub(super) fn answer<B: Backend>(app: &Arc<App<B>>, page: Page<'_>, head: Head) -> Response {
    let client = admit::client(app, &head);
    match page {
        Page::Socket => admit::answer(app, client, try_socket(app, head, client)),
        Page::About if app.is_draining() => app.draining_response(),
        Page::About => about(),
        Page::Id => id(),
        Page::Ids { key } => admit::answer(app, client, ids(app, key, &head)),
    }
}

fn about() -> Response {
    let body = json!({
        "name": env!("CARGO_PKG_NAME"),
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "website": super::status::WEBSITE,
    });
    reply::json(StatusCode::OK, &body)
}

fn id() -> Response {
    reply::text(StatusCode::OK, "text/plain; charset=utf-8", fresh_id())
}

/// A fresh id.
pub(super) fn fresh_id() -> String {
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    id.hyphenated().to_string()
}

fn ids<B: Backend>(app: &App<B>, key: &str, head: &Head) -> Result<Response, Refused> {
    let settings = &app.config.peerjs;
    if !settings.allow_discovery || !settings.keys.has(key) {
        let why = "ids are listed with PEERJS_ALLOW_DISCOVERY=true, and for a known key";
        tracing::debug!(why, "a PeerJS client was refused the ids of a realm");
        return Ok(reply::error(StatusCode::UNAUTHORIZED, why));
    }
    let grant = admit::grant(app, head)?;
    admit::may_discover(&grant, Dialect::PeerJs, key)?;
    let list = app.pages.get(PageName::Ids(key.to_owned()), || {
        let ids = NetworkKey::new(Dialect::PeerJs, key)
            .map(|realm| app.backend.ids(&realm, settings.discovery_limit))
            .unwrap_or_default();
        let ids: Vec<String> = ids.iter().map(PeerId::to_string).collect();
        reply::to_json(&ids)
    });
    Ok(reply::text(StatusCode::OK, reply::JSON, list))
}

/// The parameters in the address of the socket.
#[derive(Default, PartialEq, Eq, Debug)]
struct Query {
    key: String,
    /// The id as PeerServer reads it: clients allow blanks in ids, and no `+`.
    id: String,
    token: Value,
}

impl Query {
    /// Of two parameters with one name, the first that is not empty counts.
    fn read(query: &str) -> Self {
        let first = |name| {
            let mut all = query::values(query, name);
            all.find(|value| !value.form.is_empty()).unwrap_or_default()
        };
        Query {
            key: first("key").form,
            id: first("id").form,
            token: first("token"),
        }
    }

    /// The token as its client has it: no client writes a `+` there for a blank.
    fn token(&self) -> &str {
        &self.token.plain
    }

    fn peer(&self) -> Option<PeerId> {
        let fits = self.id.chars().count() <= MAX_ID_CHARS;
        fits.then(|| PeerId::new(&self.id).ok()).flatten()
    }
}

fn try_socket<B: Backend>(
    app: &Arc<App<B>>,
    mut head: Head,
    client: Option<IpAddr>,
) -> Result<Response, Refused> {
    let (handshake, client) = admit::handshake(app, &mut head, client)?;
    let grant = admit::grant(app, &head)?;
    admit::its_dialect(&grant, app.peerjs_dialect())?;
    admit::origin(app, &head)?;
    let query = Query::read(&head.query);
    let identity = match identity(app, &query, grant) {
        Ok(identity) => identity,
        Err(why) => {
            if why == words::WRONG_KEY {
                let why = "a PeerJS client names a key that is not among PEERJS_KEY";
                app.misrouted.warn(Some(client), None, why);
            }
            return turn_away(app, handshake, client, Refusal::PeerJsQuery, why);
        }
    };
    admit::its_own(&identity.grant, &identity.peer)?;
    if !app.backend.has_capacity(&identity.network, &identity.peer) {
        return Err(Refused::RoomFull);
    }
    let permits = match permits(app, client) {
        Ok(permits) => permits,
        Err(NoSlot::AddressFull) => return Err(Refused::AddressFull),
        Err(NoSlot::Full) => return turn_away(app, handshake, client, Refusal::Full, words::FULL),
    };
    let request = UpgradeRequest {
        dialect: Some(app.peerjs_dialect()),
        network: Some(identity.network),
        peer: Some(identity.peer),
        remote: client,
        grant: identity.grant,
    };
    Ok(admit::take_in(app, handshake, request, permits))
}

/// A slot among all peers, and one among those of this dialect.
fn permits<B: Backend>(app: &App<B>, client: IpAddr) -> Result<Permits<B>, NoSlot> {
    let of_dialect = app.peerjs_slots.try_admit(client);
    let of_dialect = app.full.peerjs.watch(of_dialect)?;
    Ok(Permits {
        among_all: app.try_admit(client)?,
        of_dialect: Some(of_dialect),
        unproven: None,
    })
}

/// The network and the id that a client may have.
struct PeerJsIdentity {
    network: NetworkKey,
    peer: PeerId,
    grant: Grant,
}

fn identity<B: Backend>(
    app: &App<B>,
    query: &Query,
    grant: Grant,
) -> Result<PeerJsIdentity, &'static str> {
    if query.key.is_empty() || query.id.is_empty() || query.token().is_empty() {
        return Err(words::INCOMPLETE);
    }
    if !app.config.peerjs.keys.has(&query.key) {
        return Err(words::WRONG_KEY);
    }
    let peer = query.peer().ok_or(words::BAD_ID)?;
    let network = network(app, query, &grant)?;
    let mut grant = grant;
    if grant.proof.is_empty() && is_own_secret(app, query) {
        grant.proof = secret_proof(query).into();
    }
    Ok(PeerJsIdentity {
        network,
        peer,
        grant,
    })
}

/// The realm of the key, or the room of it that the token names.
fn network<B: Backend>(
    app: &App<B>,
    query: &Query,
    grant: &Grant,
) -> Result<NetworkKey, &'static str> {
    let (dialect, name) = if app.config.peerjs.rooms {
        let room = room(grant, &query.token, opens_gate(app, query))?;
        (Dialect::PeerJsRoomMode, format!("{}/{room}", query.key))
    } else {
        if !grant.scope.opens(&query.key) {
            return Err(words::OTHER_ROOM);
        }
        (Dialect::PeerJs, query.key.clone())
    };
    NetworkKey::new(dialect, &name).map_err(|_| words::BAD_ROOM)
}

/// A token that lets its holder in names a room by its claim, any other token by itself.
fn room<'r>(grant: &'r Grant, token: &'r Value, opens_gate: bool) -> Result<&'r str, &'static str> {
    let names = |room: &str| token.readings().any(|token| token == room);
    let only = grant.scope.networks.as_deref();
    match (only, opens_gate) {
        (None, false) => Ok(&token.plain),
        (Some(only), false) => {
            let named = only.iter().find(|room| names(room));
            named.map(String::as_str).ok_or(words::OTHER_ROOM)
        }
        (Some([only]), true) => Ok(only),
        (Some(_), true) => Err(words::MANY_ROOMS),
        (None, true) => Err(words::BAD_ROOM),
    }
}

/// Whether this token lets clients in.
fn opens_gate<B: Backend>(app: &App<B>, query: &Query) -> bool {
    !app.gate.is_open() && app.gate.check(query.token.readings()).is_ok()
}

/// Whether the token is the client's own: neither one that lets many clients in, nor the name of a room.
fn is_own_secret<B: Backend>(app: &App<B>, query: &Query) -> bool {
    !app.config.peerjs.rooms && !opens_gate(app, query)
}

/// The hash that stands for the client's secret between hubs; the secret itself never leaves this hub.
fn secret_proof(query: &Query) -> Vec<u8> {
    Sha256::new()
        .chain_update("peerjs token\0")
        .chain_update(query.token())
        .finalize()
        .to_vec()
}

/// Gives a client its WebSocket only to tell it why it is refused. These sockets count as HTTP connections.
fn turn_away<B: Backend>(
    app: &Arc<App<B>>,
    handshake: Handshake,
    client: IpAddr,
    counted: Refusal,
    why: &'static str,
) -> Result<Response, Refused> {
    let slot = app.full.http.watch(app.http_slots.try_take(client));
    let slot = slot.map_err(|_| Refused::Full)?;
    app.metrics.refusals.inc(counted);
    tracing::debug!(%client, why, "a PeerJS client was turned away");
    let (switch, on_upgrade) = handshake.into_parts();
    let task = tell_why(Arc::clone(app), on_upgrade, why, slot);
    app.tasks.spawn(task);
    Ok(switch)
}

async fn tell_why<B: Backend>(
    app: Arc<App<B>>,
    on_upgrade: OnUpgrade,
    why: &'static str,
    slot: AddressSlot,
) {
    match upgrade::finish(on_upgrade, app.config.header_timeout).await {
        Ok((socket, ahead)) => {
            let told = app
                .backend
                .turn_away(socket, ahead, app.peerjs_dialect(), why);
            app.killed.run_until_cancelled(told).await;
        }
        Err(failed) => admit::not_upgraded(&app, failed),
    }
    drop(slot);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scope::Scope;

    fn at<'p>(path: &'p str, upgrade: bool) -> Option<Page<'p>> {
        let paths = "/,/peerjs,/a/b/".parse().expect("paths");
        page(&paths, path, upgrade)
    }

    #[test]
    fn everything_is_found_under_every_path() {
        for prefix in ["", "/peerjs", "/a/b"] {
            let of = |rest: &str| format!("{prefix}{rest}");
            assert_eq!(at(&of("/peerjs"), true), Some(Page::Socket));
            assert_eq!(at(&of("/any/id"), false), Some(Page::Id));
            let key = "peerjs";
            assert_eq!(at(&of("/peerjs/peers"), false), Some(Page::Ids { key }));
            assert_eq!(at(&of("/"), false), Some(Page::About));
        }
        for path in ["/a", "/a/bpeerjs", "/x/y/z", "/peerjs/other", "/peerjsx"] {
            assert_eq!(at(path, false), None, "{path}");
        }
    }

    #[test]
    fn a_path_that_is_a_page_and_a_socket_is_what_is_asked_for() {
        assert_eq!(at("/peerjs", true), Some(Page::Socket));
        assert_eq!(at("/peerjs", false), Some(Page::About));
        assert_eq!(at("/a/b/peerjs", false), Some(Page::Socket));
    }

    #[test]
    fn of_two_parameters_with_one_name_the_first_counts() {
        let query = Query::read("key=k&id=a&id=b&token=t%20u&version=1.5.5");
        let read = (query.key.as_str(), query.id.as_str(), query.token());
        assert_eq!(read, ("k", "a", "t u"));
    }

    #[test]
    fn a_bound_token_enters_its_room_alone() {
        let free = Grant::default();
        let of = |rooms: &[&str]| {
            let networks = rooms.iter().map(|room| (*room).to_owned()).collect();
            let scope = Scope {
                networks: Some(networks),
                ..Scope::default()
            };
            Grant {
                scope,
                ..Grant::default()
            }
        };
        let bound = of(&["attic"]);
        let token = |text: &str| Query::read(&format!("token={text}")).token;
        assert_eq!(room(&free, &token("attic"), false), Ok("attic"));
        assert_eq!(room(&free, &token("a.JWT"), true), Err(words::BAD_ROOM));
        assert_eq!(room(&bound, &token("a.JWT"), true), Ok("attic"));
        assert_eq!(room(&bound, &token("attic"), false), Ok("attic"));
        let other = token("cellar");
        assert_eq!(room(&bound, &other, false), Err(words::OTHER_ROOM));
        for spelling in ["a+b", "a%2Bb"] {
            assert_eq!(room(&free, &token(spelling), false), Ok("a+b"));
        }
        let several = of(&["attic", "loft"]);
        assert_eq!(room(&several, &token("loft"), false), Ok("loft"));
        assert_eq!(room(&several, &other, false), Err(words::OTHER_ROOM));
        assert_eq!(
            room(&several, &token("a.JWT"), true),
            Err(words::MANY_ROOMS)
        );
        let spaced = of(&["a b"]);
        for spelling in ["a+b", "a%20b"] {
            assert_eq!(room(&spaced, &token(spelling), false), Ok("a b"));
        }
    }

    #[test]
    fn an_id_has_one_to_sixty_four_characters_and_at_most_128_bytes() {
        let id = |id: String| Query::read(&format!("id={id}")).peer();
        assert!(id("ä".repeat(64)).is_some());
        assert!(id("ä".repeat(65)).is_none());
        assert!(id("中".repeat(42)).is_some());
        assert!(id("中".repeat(43)).is_none());
        assert!(id(String::new()).is_none());
        let half = PeerId::new("bob\u{fffd}").ok();
        assert_eq!(id("bob%EF%BF%BD".into()), half);
        assert_eq!(id("bob%ED%A0%BD".into()), half);
    }
}
