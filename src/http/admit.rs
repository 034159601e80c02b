//! Which clients and hubs may switch to a WebSocket: the checks in their order, and the task that follows.
//!
//! Each refusal is one [`Refused`]: its status, its words, its counter. Some dialects let a client show its token in a
//! message; until then, the client also holds one of `MAX_UNPROVEN_CLIENTS` slots. A peer holds one of
//! `MAX_CONNECTIONS` permits from the 101 until its task ends, so the hub never has more peers than permits, and never
//! more from one address than `MAX_CONNECTIONS_PER_IP`.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{AUTHORIZATION, ORIGIN};
use hubmesh_core::ids::{Dialect, PeerId};
use hubmesh_core::reach::Reach;
use hyper::upgrade::OnUpgrade;
use warp::reply::Response;

use super::client_ip::{self, client_ip};
use super::upgrade::{self, BadHandshake, Handshake};
use super::{App, Backend, Head, Permits, UpgradeRequest, query, reply};
use crate::auth::scope::Right;
use crate::auth::{Denied, Grant, bearer};
use crate::limits::{AddressGroup, NoSlot};
use crate::metrics::{Label, Refusal};
use crate::watch::Party;

/// Why a WebSocket is refused. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Handshake(#[from] BadHandshake),
    #[error("the hub is shutting down")]
    Draining,
    #[error("the hub is short of memory")]
    Memory,
    #[error("peerId must be 40 hex digits")]
    PeerId,
    #[error("peerId must be text of 1 to {} bytes", PeerId::MAX_BYTES)]
    PeerName,
    #[error("the token is for another peerId")]
    OtherPeer,
    #[error("the token is for named rooms, and clients of this dialect reach each other in all")]
    OtherRoom,
    #[error("the token is for another network")]
    OtherNetwork,
    #[error("the token is for clients of another dialect: see its dialect")]
    OtherDialect,
    #[error("the token has no right to {0}: see its rights")]
    NoRight(&'static str),
    #[error(
        "as many clients as may be connected have yet to show their token: show it with the request, in Authorization or \
         as ?token="
    )]
    Unproven,
    #[error(transparent)]
    Unauthorized(#[from] Denied),
    #[error("banned by an operator")]
    Banned,
    #[error("pages of this origin may not connect")]
    Origin,
    #[error(
        "the mesh of this hub has no token, so it takes links from loopback and private addresses alone: \
         set the same HUB_TOKEN on both hubs"
    )]
    OpenMesh,
    #[error("this hub has as many peers as it accepts")]
    Full,
    #[error("this hub has as many peers from your address as it accepts from one")]
    AddressFull,
    #[error("too many connections from your address within a minute")]
    AddressTooFast(Duration),
    #[error("the room is full")]
    RoomFull,
    #[error("the address of the connection is unknown")]
    NoAddress,
}

impl From<NoSlot> for Refused {
    fn from(why: NoSlot) -> Self {
        match why {
            NoSlot::Full => Refused::Full,
            NoSlot::AddressFull => Refused::AddressFull,
        }
    }
}

impl Refused {
    fn counted_as(self) -> Refusal {
        match self {
            Refused::Handshake(BadHandshake::Lost(_)) => Refusal::Misrouted,
            Refused::Handshake(_) | Refused::NoAddress => Refusal::Handshake,
            Refused::Draining => Refusal::Draining,
            Refused::Memory => Refusal::Memory,
            Refused::PeerId | Refused::PeerName => Refusal::PeerId,
            Refused::OtherPeer => Refusal::OtherPeer,
            Refused::OtherRoom | Refused::OtherNetwork => Refusal::OtherRoom,
            Refused::OtherDialect => Refusal::OtherDialect,
            Refused::NoRight(_) => Refusal::NoRight,
            Refused::Unproven => Refusal::Unproven,
            Refused::Unauthorized(_) => Refusal::Unauthorized,
            Refused::Banned => Refusal::Banned,
            Refused::Origin => Refusal::Origin,
            Refused::OpenMesh => Refusal::OpenMesh,
            Refused::Full => Refusal::Full,
            Refused::AddressFull => Refusal::AddressFull,
            Refused::AddressTooFast(_) => Refusal::AddressTooFast,
            Refused::RoomFull => Refusal::RoomFull,
        }
    }

    fn response(self, drain_seconds: u64) -> Response {
        let why = self.to_string();
        match self {
            Refused::Handshake(bad) => bad.response(),
            Refused::Draining => reply::retry_later(&why, drain_seconds),
            Refused::Full | Refused::Memory | Refused::Unproven => {
                reply::retry_later(&why, RETRY_WHEN_FULL_SECONDS)
            }
            Refused::AddressFull => reply::too_many(&why, RETRY_WHEN_FULL_SECONDS),
            Refused::AddressTooFast(wait) => reply::too_many(&why, wait.as_secs() + 1),
            Refused::RoomFull => reply::error(StatusCode::TOO_MANY_REQUESTS, &why),
            Refused::PeerId
            | Refused::PeerName
            | Refused::OtherPeer
            | Refused::OtherRoom
            | Refused::OtherNetwork
            | Refused::OtherDialect
            | Refused::NoRight(_)
            | Refused::Banned
            | Refused::Origin
            | Refused::OpenMesh => reply::error(StatusCode::FORBIDDEN, &why),
            Refused::NoAddress => reply::error(StatusCode::INTERNAL_SERVER_ERROR, &why),
            Refused::Unauthorized(_) => reply::unauthorized(&why),
        }
    }
}

/// When a refused peer may try again on a full hub.
const RETRY_WHEN_FULL_SECONDS: u64 = 10;

/// `/ws` and `/`: a peer.
pub(super) fn peer<B: Backend>(app: &Arc<App<B>>, head: Head) -> Response {
    let peer = peer_id(&head.query).map(Some).ok_or(Refused::PeerId);
    enter(app, head, Some(Dialect::Pigeon), peer)
}

/// A WebSocket whose client names its dialect by its first text, and itself then or later.
pub(super) fn undecided<B: Backend>(app: &Arc<App<B>>, head: Head) -> Response {
    enter(app, head, None, Ok(None))
}

/// A WebSocket of this dialect whose client does not name itself in the address: it does so later, or never.
pub(super) fn unnamed<B: Backend>(app: &Arc<App<B>>, head: Head, dialect: Dialect) -> Response {
    enter(app, head, Some(dialect), Ok(drawn(dialect)))
}

/// `/mesh`: another hub. It proves itself on the socket, so any hub may connect while this one is not draining. But no
/// hub sends an `Origin`: a page that does is refused, because an open mesh could otherwise be reached through the
/// browser of a visitor. Without a mesh token there is nothing to prove, and only hubs nearby may connect.
pub(super) fn hub<B: Backend>(app: &Arc<App<B>>, head: Head) -> Response {
    let client = client(app, &head);
    answer(app, client, try_hub(app, head, client))
}

pub(super) fn answer<B: Backend>(
    app: &App<B>,
    client: Option<IpAddr>,
    tried: Result<Response, Refused>,
) -> Response {
    tried.unwrap_or_else(|refused| {
        if refused.counted_as() == Refusal::Misrouted {
            app.misrouted.warn(client, None, &refused.to_string());
        }
        let events = &app.backend.watch().events;
        events.note_refusal(refused.counted_as().word(), client, None);
        let client = client.map(tracing::field::display);
        tracing::debug!(client, why = %refused, "a client was refused");
        refuse(app, refused)
    })
}

/// Counts a refusal, and answers it.
pub(super) fn refuse<B: Backend>(app: &App<B>, refused: Refused) -> Response {
    app.metrics.refusals.inc(refused.counted_as());
    refused.response(app.config.drain.as_secs().max(1))
}

fn enter<B: Backend>(
    app: &Arc<App<B>>,
    head: Head,
    dialect: Option<Dialect>,
    peer: Result<Option<PeerId>, Refused>,
) -> Response {
    let client = client(app, &head);
    answer(app, client, try_enter(app, head, client, (dialect, peer)))
}

fn try_enter<B: Backend>(
    app: &Arc<App<B>>,
    mut head: Head,
    client: Option<IpAddr>,
    (dialect, peer): (Option<Dialect>, Result<Option<PeerId>, Refused>),
) -> Result<Response, Refused> {
    let (handshake, client) = handshake(app, &mut head, client)?;
    let grant = grant(app, &head);
    let missing = Err(Refused::Unauthorized(Denied::Missing));
    let is_later = grant == missing && may_prove_later(app, dialect);
    let grant = match is_later {
        true => Grant::default(),
        false => grant?,
    };
    let peer = peer?;
    if let Some(peer) = &peer {
        its_own(&grant, peer)?;
    }
    if let Some(dialect) = dialect {
        its_dialect(&grant, dialect)?;
    }
    origin(app, &head)?;
    let unproven = is_later.then(|| app.unproven.try_take(client));
    let unproven = unproven.transpose().map_err(|_| Refused::Unproven)?;
    let permits = Permits {
        among_all: app.try_admit(client)?,
        of_dialect: None,
        unproven,
    };
    let request = UpgradeRequest {
        dialect,
        network: None,
        peer,
        grant,
        remote: client,
    };
    Ok(take_in(app, handshake, request, permits))
}

/// Whether a client that shows no token with its request may do so later.
fn may_prove_later<B: Backend>(app: &App<B>, dialect: Option<Dialect>) -> bool {
    let has_word = dialect.is_some_and(|dialect| dialect.policy().proves_later);
    has_word && app.config.max_unproven_clients > 0
}

/// The id of a client in a dialect whose clients have no ids.
fn drawn(dialect: Dialect) -> Option<PeerId> {
    let is_anonymous = dialect.policy().is_anonymous;
    is_anonymous.then(|| PeerId::Hex(rand::random()))
}

/// The request as one for a WebSocket, on a hub that accepts peers, and its client's address. The request counts
/// against the allowance of that address even if it is refused, because each guess at a token must have a cost.
pub(super) fn handshake<B: Backend>(
    app: &App<B>,
    head: &mut Head,
    client: Option<IpAddr>,
) -> Result<(Handshake, IpAddr), Refused> {
    let handshake = Handshake::check(head)?;
    let client = turn(app, client)?;
    match app.backend.pressure().is_critical() {
        true => Err(Refused::Memory),
        false => Ok((handshake, client)),
    }
}

/// Checks that the hub accepts peers, and that this client does not send requests too often.
pub(super) fn turn<B: Backend>(app: &App<B>, client: Option<IpAddr>) -> Result<IpAddr, Refused> {
    if app.is_draining() {
        return Err(Refused::Draining);
    }
    turn_to_ask(app, client)
}

/// Checks that this client does not send requests too often; the hub may be draining. A client that guesses tokens gets
/// no further tries this way.
pub(super) fn turn_to_ask<B: Backend>(
    app: &App<B>,
    client: Option<IpAddr>,
) -> Result<IpAddr, Refused> {
    let client = client.ok_or(Refused::NoAddress)?;
    not_banned(app, Party::at(client))?;
    if let Some(rate) = &app.connect_rate {
        let checked = rate.check(AddressGroup::of(client));
        checked.map_err(Refused::AddressTooFast)?;
    }
    Ok(client)
}

/// Whether no ban keeps this party out.
fn not_banned<B: Backend>(app: &App<B>, party: Party) -> Result<(), Refused> {
    match app.backend.watch().bans.bars(&party) {
        true => Err(Refused::Banned),
        false => Ok(()),
    }
}

/// Whether the page that sent the request may use the hub.
pub(super) fn origin<B: Backend>(app: &App<B>, head: &Head) -> Result<(), Refused> {
    let allowed = app.config.cors.allows(head.headers.get(ORIGIN));
    allowed.then_some(()).ok_or(Refused::Origin)
}

/// A peer that was let in, and whose connection is not a WebSocket yet.
struct Entering<B: Backend> {
    on_upgrade: OnUpgrade,
    request: UpgradeRequest,
    permits: Permits<B>,
}

/// Starts the task of a peer that was let in, and answers its request.
pub(super) fn take_in<B: Backend>(
    app: &Arc<App<B>>,
    handshake: Handshake,
    request: UpgradeRequest,
    permits: Permits<B>,
) -> Response {
    let (switch, on_upgrade) = handshake.into_parts();
    let entering = Box::new(Entering {
        on_upgrade,
        request,
        permits,
    });
    app.peers.spawn(serve_peer(Arc::clone(app), entering));
    switch
}

fn try_hub<B: Backend>(
    app: &Arc<App<B>>,
    mut head: Head,
    client: Option<IpAddr>,
) -> Result<Response, Refused> {
    let handshake = Handshake::check(&mut head)?;
    if app.is_draining() {
        return Err(Refused::Draining);
    }
    if head.headers.contains_key(ORIGIN) {
        return Err(Refused::Origin);
    }
    let mut remote = head.remote.ok_or(Refused::NoAddress)?;
    let reach = hub_reach(&head, client.ok_or(Refused::NoAddress)?);
    let is_near = matches!(reach, Reach::Loopback | Reach::Private);
    if app.config.mesh.token.is_none() && !is_near {
        return Err(Refused::OpenMesh);
    }
    // For the log; behind a proxy the port is still the proxy's.
    remote.set_ip(client.ok_or(Refused::NoAddress)?);
    let (switch, on_upgrade) = handshake.into_parts();
    app.tasks
        .spawn(serve_hub(Arc::clone(app), on_upgrade, remote, reach));
    Ok(switch)
}

/// How near a hub that connects is. Behind a proxy that is not named as trusted, every hub would look as near as the
/// proxy, so such a hub counts as far.
fn hub_reach(head: &Head, client: IpAddr) -> Reach {
    let socket = head.remote.map(|remote| remote.ip().to_canonical());
    if socket == Some(client) && client_ip::is_forwarded(&head.headers) {
        return Reach::Global;
    }
    Reach::of(client)
}

/// The client's address, seen through trusted proxies.
pub(super) fn client<B: Backend>(app: &App<B>, head: &Head) -> Option<IpAddr> {
    let trusted = &app.config.trusted_proxies;
    let remote = head.remote?;
    Some(client_ip(remote, &head.headers, trusted))
}

/// The peer's id: the first `peerId` of the query, if it is 40 hex digits.
fn peer_id(query: &str) -> Option<PeerId> {
    let id = query::values(query, "peerId").next()?.plain;
    let is_hex = id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| PeerId::new(&id).ok()).flatten()
}

/// A token may name a single id.
pub(super) fn its_own(grant: &Grant, peer: &PeerId) -> Result<(), Refused> {
    let admitted = grant.scope.admits(peer);
    admitted.then_some(()).ok_or(Refused::OtherPeer)
}

/// A token may name dialects. A token that names networks is of no use in a dialect without separate networks.
pub(super) fn its_dialect(grant: &Grant, dialect: Dialect) -> Result<(), Refused> {
    if !grant.scope.speaks(dialect) {
        return Err(Refused::OtherDialect);
    }
    match dialect.policy().registers && grant.scope.networks.is_some() {
        true => Err(Refused::OtherRoom),
        false => Ok(()),
    }
}

/// Whether a token lets its holder ask over HTTP about this network of this dialect.
pub(super) fn may_discover(grant: &Grant, dialect: Dialect, network: &str) -> Result<(), Refused> {
    its_dialect(grant, dialect)?;
    its_network(grant, network)?;
    has(grant, Right::Discover)
}

/// A token may name networks.
pub(super) fn its_network(grant: &Grant, network: &str) -> Result<(), Refused> {
    let opened = grant.scope.opens(network);
    opened.then_some(()).ok_or(Refused::OtherNetwork)
}

/// A token may lack a right.
pub(super) fn has(grant: &Grant, right: Right) -> Result<(), Refused> {
    let has = grant.scope.has(right);
    has.then_some(()).ok_or(Refused::NoRight(right.word()))
}

/// The grant of the tokens in the header and the query; one valid token is enough, unless its subject is banned.
pub(super) fn grant<B: Backend>(app: &App<B>, head: &Head) -> Result<Grant, Refused> {
    not_barred(app, head, shown(app, head)?)
}

/// The grant, unless its subject is banned.
pub(super) fn not_barred<B: Backend>(
    app: &App<B>,
    head: &Head,
    grant: Grant,
) -> Result<Grant, Refused> {
    let address = client(app, head).ok_or(Refused::NoAddress)?;
    not_banned(app, Party::new(address, grant.subject.as_deref()))?;
    Ok(grant)
}

fn shown<B: Backend>(app: &App<B>, head: &Head) -> Result<Grant, Denied> {
    let header = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let query = query::values(&head.query, "token").next();
    let query = query.iter().flat_map(query::Value::readings);
    app.gate
        .check(header.and_then(bearer).into_iter().chain(query))
}

/// Serves a peer to its end. A task has space for everything that it ever holds, so the parts that an idle peer no
/// longer needs are in boxes: the request and the wait for the connection.
async fn serve_peer<B: Backend>(app: Arc<App<B>>, entering: Box<Entering<B>>) {
    if let Some(peer) = Box::pin(upgraded(&app, entering)).await {
        app.killed.run_until_cancelled(peer).await;
    }
}

/// The peer's session, once the connection is a WebSocket. Boxed, because the task keeps it twice, once in the race
/// against the kill.
async fn upgraded<B: Backend>(
    app: &App<B>,
    entering: Box<Entering<B>>,
) -> Option<Pin<Box<impl Future<Output = ()> + Send>>> {
    // Moved out here, so that the empty box is freed with this future and not with the task.
    let entering = *entering;
    let upgraded = upgrade::finish(entering.on_upgrade, app.config.header_timeout).await;
    let (socket, ahead) = upgraded.inspect_err(|why| not_upgraded(app, *why)).ok()?;
    let session = app
        .backend
        .peer(socket, ahead, entering.request, entering.permits);
    Some(Box::pin(session))
}

async fn serve_hub<B: Backend>(
    app: Arc<App<B>>,
    on_upgrade: OnUpgrade,
    remote: SocketAddr,
    reach: Reach,
) {
    match upgrade::finish(on_upgrade, app.config.header_timeout).await {
        Ok((socket, ahead)) => {
            let socket = upgrade::hub_socket(socket, ahead).await;
            app.killed
                .run_until_cancelled(app.backend.hub(socket, remote, reach))
                .await;
        }
        Err(why) => not_upgraded(&app, why),
    }
}

pub(super) fn not_upgraded<B: Backend>(app: &App<B>, why: upgrade::UpgradeFailed) {
    app.metrics.refusals.inc(Refusal::UpgradeTimeout);
    tracing::debug!(%why, "a connection did not become a WebSocket");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_peer_id_is_forty_hex_digits_of_either_case() {
        assert_eq!(peer_id(&format!("peerId={ID}")), PeerId::new(ID).ok());
        let upper = ID.to_uppercase();
        assert_eq!(
            peer_id(&format!("a=b&peerId={upper}")),
            PeerId::new(&upper).ok()
        );
        for wrong in [
            "",
            "peerId=",
            "peerId=abc",
            "peerid=0123456789abcdef0123456789abcdef01234567",
        ] {
            assert_eq!(peer_id(wrong), None, "{wrong:?}");
        }
        assert_eq!(peer_id(&format!("peerId={ID}0")), None);
        assert_eq!(peer_id(&format!("peerId={}g", &ID[1..])), None);
        assert_eq!(peer_id(&format!("peerId=x&peerId={ID}")), None);
    }
}
