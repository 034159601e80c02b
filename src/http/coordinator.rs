//! `GET /rooms` and `/rooms/{id}/peers`: the rooms of coordinator clients, mesh-wide, in the format of Self-Streme's
//! server.
//!
//! `/rooms` is also the WebSocket of OctateCode's clients, which `admit` lets in. `api::access` decides who may see
//! rooms.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use hubmesh_core::ids::{Dialect, NetworkKey};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::yield_now;
use utoipa::ToSchema;
use warp::reply::Response;

use super::admin::Door;
use super::endpoint::{Call, Endpoint, Handler};
use super::paging::Paging;
use super::refusals::{Badly, Elsewhere, Unknown, Unseen};
use super::reply::Answered;
use super::{App, Backend, admit, asked, misrouted, reply};
use crate::dialect::coordinator::{is_room, metadata};

/// How many peers of a room the list of rooms names.
const SHOWN: usize = 100;
/// How many rooms are listed before other tasks may run.
const AT_ONCE: usize = 32;

/// The rooms, page by page.
#[derive(Serialize, ToSchema)]
#[schema(as = CoordinatorRooms)]
struct RoomPage {
    rooms: Vec<RoomRow>,
    /// What `after` of the next page has to be; null at the end.
    next: Option<String>,
    total: usize,
    /// The ids of hubs that did not answer: rooms that only they know are not on the page. Left out if all did.
    #[serde(rename = "notAnswered", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_answered: Vec<String>,
}

/// A room.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CoordinatorRoom)]
struct RoomRow {
    room_id: String,
    peer_count: usize,
    /// The ids of a hundred of them at most.
    peers: Vec<String>,
}

/// The members of a room, page by page.
#[derive(Serialize, ToSchema)]
#[schema(as = CoordinatorPeers)]
struct Peers {
    peers: Vec<PeerRow>,
    next: Option<String>,
    total: usize,
    /// The ids of hubs with members in it that did not answer; left out if all did.
    #[serde(rename = "notAnswered", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_answered: Vec<String>,
}

/// Who is in a room.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CoordinatorPeer)]
struct PeerRow {
    peer_id: String,
    /// What it said of itself.
    #[schema(value_type = Value)]
    metadata: Box<RawValue>,
    joined_at: u64,
}

/// `/rooms` and `/rooms/{id}/peers`.
pub(super) fn endpoints<B: Backend>() -> [Endpoint<B>; 2] {
    let all = [
        ("rooms", Handlers::<B>::ROOMS),
        ("rooms/{}/peers", Handlers::<B>::PEERS),
    ];
    all.map(|(path, handlers)| Endpoint {
        path,
        most: 0,
        handlers,
    })
}

struct Handlers<B>(PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const ROOMS: &'static [(Method, Handler<B>)] = &[(Method::GET, rooms)];
    const PEERS: &'static [(Method, Handler<B>)] = &[(Method::GET, peers)];
}

fn answer(made: Result<Response, Answered>) -> Response {
    made.unwrap_or_else(|answered| *answered)
}

/// The rooms of coordinator clients. A request for a WebSocket is one of OctateCode's clients.
// The door for operators has only the list.
#[utoipa::path(
    get, path = "/rooms", tag = "coordinator", params(Paging), security((), ("token" = []), ("operator" = [])),
    responses((status = 200, description = "A page of them, by their ids.", body = RoomPage), Badly, Unseen, Unknown, Elsewhere)
)]
pub(super) fn rooms<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move {
        match call.door {
            Door::Public if asked::is_meant(&call.head) => {
                admit::unnamed(&app, call.head, Dialect::Rooms)
            }
            Door::Admin if asked::is_wanted(&call.head.headers) => {
                misrouted::no_endpoint(&app, &call.head, "/rooms")
            }
            _ => answer(list(&app, &call).await),
        }
    }
    .boxed()
}

async fn list<B: Backend>(app: &Arc<App<B>>, call: &Call) -> Result<Response, Answered> {
    let only = app.may_list(call, Dialect::Coordinator)?;
    let paging = Paging::of(call)?;
    let all = app.backend.networks().into_iter();
    let all = all.filter(|(network, _)| {
        let its = network.dialect() == Some(Dialect::Coordinator) && is_room(network);
        its && only.opens(network.name())
    });
    let all = all.map(|(network, count)| (network.name().to_owned(), (network, count)));
    let mut page = paging.page_by_name(all.collect());
    let networks: Vec<NetworkKey> = page.entries.iter().map(|(key, _)| key.clone()).collect();
    let elsewhere = app.elsewhere(call, &networks, SHOWN).await?;
    page.end_before(
        |(network, _)| Some(network) == elsewhere.left_out.as_ref(),
        |(network, _)| network.name(),
    );
    let mut rooms = Vec::with_capacity(page.entries.len());
    for (at, (network, count)) in page.entries.iter().enumerate() {
        let shown = app.backend.ids(network, SHOWN);
        let (count, mut peers) = match elsewhere.sketch(network, shown.len()) {
            Some(sketch) => {
                let count = usize::try_from(sketch.members).unwrap_or(usize::MAX);
                (count, sketch.ids.clone())
            }
            None => (*count, shown.iter().map(ToString::to_string).collect()),
        };
        peers.sort_unstable();
        // The last member may have left since the room was listed, or its hub does not answer.
        if !peers.is_empty() {
            rooms.push(RoomRow {
                room_id: network.name().to_owned(),
                peer_count: count,
                peers,
            });
        }
        // Peers wait while the list is made.
        if at % AT_ONCE == AT_ONCE - 1 {
            yield_now().await;
        }
    }
    let body = RoomPage {
        rooms,
        next: page.next,
        total: page.total,
        not_answered: elsewhere.not_answered,
    };
    Ok(reply::json(StatusCode::OK, &body))
}

/// Who is in a room of coordinator clients: nobody, if there is no such room.
#[utoipa::path(
    get, path = "/rooms/{roomId}/peers", tag = "coordinator", security((), ("token" = [])),
    params(("roomId" = String, Path, description = "The room's id."), Paging),
    responses((status = 200, description = "A page of them, by their ids.", body = Peers), Badly, Unseen, Unknown)
)]
pub(super) fn peers<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move { answer(members(&app, &call).await) }.boxed()
}

/// As in the original server, a room without members has no peers, and is not an error.
async fn members<B: Backend>(app: &Arc<App<B>>, call: &Call) -> Result<Response, Answered> {
    let name = call.decoded_name();
    app.may_see(call, Dialect::Coordinator, &name)?;
    let paging = Paging::of(call)?;
    let network = NetworkKey::new(Dialect::Coordinator, &name).ok();
    let network = network.filter(is_room);
    let not_answered = match &network {
        Some(network) => app.look_at(call, network).await?,
        None => Vec::new(),
    };
    let members = network.map_or_else(Vec::new, |network| app.backend.by_seniority(&network));
    let all = members.into_iter().map(|member| {
        let id = member.peer.to_string();
        let shown = metadata(member.data.as_deref()).to_owned();
        let row = PeerRow {
            peer_id: id.clone(),
            metadata: RawValue::from_string(shown).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            joined_at: member.hlc.wall_ms(),
        };
        (id, row)
    });
    let page = paging.page_by_name(all.collect());
    let body = Peers {
        peers: page.entries,
        next: page.next,
        total: page.total,
        not_answered,
    };
    Ok(reply::json(StatusCode::OK, &body))
}
