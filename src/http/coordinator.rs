//! `GET /rooms` and `/rooms/{id}/peers`: the rooms of coordinator clients, mesh-wide, in the words of Self-Streme's server.
//!
//! `/rooms` is a WebSocket too, of OctateCode's clients, which is not this file's. Who may see rooms is `api::access`' to say.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use hubmesh_core::ids::{Dialect, NetworkKey};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::value::RawValue;
use warp::reply::Response;

use super::api::access::Answered;
use super::endpoint::{Call, Endpoint, Handler};
use super::paging::Paging;
use super::{App, Backend, reply};
use crate::dialect::coordinator::{is_room, metadata};

/// How many peers of a room the list of rooms names.
const SHOWN: usize = 100;

/// The rooms, page by page.
#[derive(Serialize)]
struct Rooms {
    rooms: Vec<RoomRow>,
    /// What `after` of the next page has to be; null at the end.
    next: Option<String>,
    total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomRow {
    room_id: String,
    peer_count: usize,
    peers: Vec<String>,
}

/// Who is in a room, page by page.
#[derive(Serialize)]
struct Peers {
    peers: Vec<PeerRow>,
    next: Option<String>,
    total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerRow {
    peer_id: String,
    metadata: Box<RawValue>,
    joined_at: u64,
}

/// `/rooms/{id}/peers`.
pub(super) fn endpoint<B: Backend>() -> Endpoint<B> {
    Endpoint {
        path: "rooms/{}/peers",
        most: 0,
        guard: |_, _, _| None,
        handlers: Handlers::<B>::ALL,
    }
}

struct Handlers<B>(PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const ALL: &'static [(Method, Handler<B>)] = &[(Method::GET, peers)];
}

fn answer(made: Result<Response, Answered>) -> Response {
    made.unwrap_or_else(|answered| *answered)
}

fn paging(call: &Call) -> Result<Paging, Answered> {
    Paging::read(&call.head.query).map_err(|why| {
        let why = why.to_string();
        Box::new(reply::error(StatusCode::BAD_REQUEST, &why))
    })
}

/// `GET /rooms`, where no WebSocket is asked for.
pub(super) fn rooms<B: Backend>(app: &App<B>, call: &Call) -> Response {
    answer(list(app, call))
}

fn list<B: Backend>(app: &App<B>, call: &Call) -> Result<Response, Answered> {
    let only = app.may_list(call, Dialect::Coordinator)?;
    let paging = paging(call)?;
    let all = app.backend.networks().into_iter();
    let all = all.filter(|(network, _)| {
        let its = network.dialect() == Some(Dialect::Coordinator) && is_room(network);
        its && only
            .as_ref()
            .is_none_or(|only| only.iter().any(|name| name == network.name()))
    });
    let all = all.map(|(network, _)| (network.name().to_owned(), network));
    let page = paging.page(all.collect(), paging.after().map(str::to_owned));
    let rows = page.entries.iter().map(|network| {
        let members = app.backend.by_seniority(network);
        RoomRow {
            room_id: network.name().to_owned(),
            peer_count: members.len(),
            peers: members
                .iter()
                .take(SHOWN)
                .map(|one| one.peer.to_string())
                .collect(),
        }
    });
    let body = Rooms {
        rooms: rows.collect(),
        next: page.next,
        total: page.total,
    };
    Ok(reply::json(StatusCode::OK, &body))
}

fn peers<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move { answer(members(&app, &call)) }.boxed()
}

/// As in the original, a room that nobody is in has no peers, and is no error.
fn members<B: Backend>(app: &App<B>, call: &Call) -> Result<Response, Answered> {
    let name = call.names.first().map_or("", String::as_str);
    let name = percent_decode_str(name).decode_utf8_lossy();
    app.may_see(call, Dialect::Coordinator, &name)?;
    let paging = paging(call)?;
    let network = NetworkKey::new(Dialect::Coordinator, &name).ok();
    let network = network.filter(is_room);
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
    let page = paging.page(all.collect(), paging.after().map(str::to_owned));
    let body = Peers {
        peers: page.entries,
        next: page.next,
        total: page.total,
    };
    Ok(reply::json(StatusCode::OK, &body))
}
