//! The rooms of the mesh over HTTP: lists of rooms and members, and how a user without a connection creates, enters and
//! leaves a room.
//!
//! The answers are true of all hubs: where this hub does not know a room, others are asked (`unseen`). A user that enters over HTTP is a member like any other, but no message reaches
//! it; it stays for as long as a silent client would (`session::visits`).

use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::StatusCode;
use hubmesh_core::api::{RECORD, RoomAsk};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::yield_now;
use warp::reply::Response;

use super::super::admin_api::ANSWERS_WITHIN;
use super::super::endpoint::Call;
use super::super::paging::Paging;
use super::super::refusals::{Badly, Elsewhere, Refused, Unfit, Unknown, Unseen};
use super::super::reply::Answered;
use super::super::unseen::no_answer;
use super::super::{App, Backend, admit, reply};
use super::access::Changer;
use super::shapes::{
    Created, JoinBody, JoinedRoom, LeaveBody, LeftRoom, NewRoomBody, NoRoom, RoomBody, RoomDetails,
    RoomList, RoomPeers, RoomStats, RoomSummary,
};
use crate::auth::scope::Right;
use crate::clock::unix_ms;
use crate::config::DuplicatePeer;
use crate::dialect::rooms::{self, NewRoom};
use crate::limits::{AddressGroup, NoSlot};
use crate::peers::reason::CloseReason;
use crate::session::{NoVisit, Visitor};

/// The creator of a room, if the request names none.
const NOBODY: &str = "unknown";
/// How many rooms are described until others get their turn.
const AT_ONCE: usize = 32;
const IS_ELSEWHERE: &str = "this user is in the room by a connection, or by another hub: what keeps it there and lets it leave is that";
/// When to come back to a hub without space.
const RETRY_SECONDS: u64 = 10;

/// Runs what makes an answer, or gives the answer that is there already.
pub(super) fn answer<F>(made: F) -> BoxFuture<'static, Response>
where
    F: Future<Output = Result<Response, Answered>> + Send + 'static,
{
    made.map(|made| made.unwrap_or_else(|answered| *answered))
        .boxed()
}

fn ok(body: &impl Serialize) -> Result<Response, Answered> {
    Ok(reply::json(StatusCode::OK, body))
}

fn refused<T>(status: StatusCode, why: &str) -> Result<T, Answered> {
    Err(Box::new(reply::error(status, why)))
}

/// There is no room of this name.
fn no_room(room: &str) -> Answered {
    Box::new(reply::json(
        StatusCode::NOT_FOUND,
        &NoRoom {
            error: CloseReason::NoSuchRoom.text(),
            room_id: room.to_owned(),
            timestamp: unix_ms(),
        },
    ))
}

/// The room of this name, with or without members, where these hubs did not answer.
fn find<B: Backend>(
    app: &App<B>,
    name: &str,
    not_answered: &[String],
) -> Result<RoomBody, Answered> {
    let network = NetworkKey::new(Dialect::Rooms, name).map_err(|_| no_room(name))?;
    match app.backend.room(&network) {
        Some(room) => Ok(RoomBody::new(name, &room, unix_ms())),
        None if not_answered.is_empty() => Err(no_room(name)),
        None => Err(no_answer(not_answered.to_vec())),
    }
}

/// Has a room known here. Gives the hubs that have members in it and did not answer.
async fn look_at<B: Backend>(
    app: &Arc<App<B>>,
    call: &Call,
    name: &str,
) -> Result<Vec<String>, Answered> {
    let network = NetworkKey::new(Dialect::Rooms, name).map_err(|_| no_room(name))?;
    app.look_at(call, &network).await
}

/// The rooms of the mesh, with members or without.
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms", params(Paging), security((), ("token" = []), ("operator" = [])),
    responses((status = 200, description = "A page of them, by their ids.", body = RoomList), Badly, Unseen, Unknown, Elsewhere)
)]
pub(super) fn list<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let only = app.may_list(&call, Dialect::Rooms)?;
        let paging = Paging::of(&call)?;
        let mut page = {
            let _turn = app.turn(call.door).acquire().await;
            let all = app.backend.rooms().into_iter();
            let all = all.filter(|room| only.opens(room.name()));
            let all = all.map(|room| (room.name().to_owned(), room)).collect();
            paging.page_by_name(all)
        };
        // Others need not wait for hubs that do not answer.
        let elsewhere = app.elsewhere(&call, &page.entries, 0).await?;
        let is_left_out = |network: &NetworkKey| Some(network) == elsewhere.left_out.as_ref();
        page.end_before(is_left_out, NetworkKey::name);
        let _turn = app.turn(call.door).acquire().await;
        let now = unix_ms();
        let mut rooms = Vec::with_capacity(page.entries.len());
        for (at, network) in page.entries.iter().enumerate() {
            let (name, known) = (network.name(), app.backend.room(network));
            let members = known.as_ref().map_or(0, |room| room.members.len());
            let sketch = elsewhere.sketch(network, members);
            let told = sketch.and_then(|sketch| RoomSummary::of(name, sketch, now));
            // A room may have ended since it was listed.
            let known = || known.map(|room| RoomBody::new(name, &room, now).into_summary());
            rooms.extend(told.or_else(known));
            // A room may hold a long text, and peers wait while it is written.
            if at % AT_ONCE == AT_ONCE - 1 {
                yield_now().await;
            }
        }
        ok(&RoomList {
            rooms,
            count: page.total,
            next: page.next,
            not_answered: elsewhere.not_answered,
            timestamp: now,
        })
    })
}

/// One room, with all that is kept of it.
#[utoipa::path(
    get, path = "/api/rooms/{roomId}", tag = "rooms", security((), ("token" = [])),
    params(("roomId" = String, Path, description = "The room's id.")),
    responses(
        (status = 200, description = "The room as it is now.", body = RoomDetails),
        (status = 404, description = "There is no such room.", body = NoRoom),
        Unseen, Unknown
    )
)]
pub(super) fn details<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let name = call.decoded_name();
        app.may_see(&call, Dialect::Rooms, &name)?;
        let not_answered = look_at(&app, &call, &name).await?;
        let _turn = app.turn(call.door).acquire().await;
        let metadata = find(&app, &name, &not_answered)?;
        let now = unix_ms();
        ok(&RoomDetails {
            stats: metadata.stats(now, Vec::new()),
            metadata,
            not_answered,
            timestamp: now,
        })
    })
}

/// The counters of a room.
#[utoipa::path(
    get, path = "/api/rooms/{roomId}/stats", tag = "rooms", security((), ("token" = [])),
    params(("roomId" = String, Path, description = "The room's id.")),
    responses(
        (status = 200, description = "Its counts.", body = RoomStats),
        (status = 404, description = "There is no such room.", body = NoRoom),
        Unseen, Unknown
    )
)]
pub(super) fn stats<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let name = call.decoded_name();
        app.may_see(&call, Dialect::Rooms, &name)?;
        let not_answered = look_at(&app, &call, &name).await?;
        let _turn = app.turn(call.door).acquire().await;
        let room = find(&app, &name, &not_answered)?;
        ok(&room.stats(unix_ms(), not_answered))
    })
}

/// Who is in a room, on all hubs.
#[utoipa::path(
    get, path = "/api/rooms/{roomId}/peers", tag = "rooms", security((), ("token" = [])),
    params(("roomId" = String, Path, description = "The room's id."), Paging),
    responses(
        (status = 200, description = "A page of its members, by their ids.", body = RoomPeers),
        (status = 404, description = "There is no such room.", body = NoRoom),
        Badly, Unseen, Unknown
    )
)]
pub(super) fn peers<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let name = call.decoded_name();
        app.may_see(&call, Dialect::Rooms, &name)?;
        let paging = Paging::of(&call)?;
        let not_answered = look_at(&app, &call, &name).await?;
        let _turn = app.turn(call.door).acquire().await;
        let all = find(&app, &name, &not_answered)?.peers.into_iter();
        let all = all.map(|peer| (peer.user_id.clone(), peer)).collect();
        let page = paging.page_by_name(all);
        ok(&RoomPeers {
            room_id: name,
            peer_count: page.total,
            peers: page.entries,
            next: page.next,
            not_answered,
            timestamp: unix_ms(),
        })
    })
}

/// Reads a body of JSON.
fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Answered> {
    if !call.is_json() {
        // A page of another origin can send any other type without a preflight.
        let why = "the body has to be application/json, and Content-Type to say so";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    serde_json::from_slice(&call.body).or_else(|why| {
        refused(
            StatusCode::BAD_REQUEST,
            &format!("the body does not fit: {why}"),
        )
    })
}

fn user(text: &str) -> Result<PeerId, Answered> {
    let peer = PeerId::new(text).ok().filter(|_| text != RECORD);
    peer.map_or_else(
        || refused(StatusCode::BAD_REQUEST, "a userId has 1 to 128 bytes"),
        Ok,
    )
}

/// A text as the dialect passes it on.
fn quoted(text: Option<&String>) -> Option<Box<RawValue>> {
    text.and_then(|text| to_raw_value(text).ok())
}

/// The answer to a user that has no visit.
struct Unvisited {
    answered: Answered,
    /// Another client has the id, and is alive.
    is_taken: bool,
}

impl From<Unvisited> for Answered {
    fn from(why: Unvisited) -> Self {
        why.answered
    }
}

impl<B: Backend> App<B> {
    /// Counts a change to rooms against the allowance of its address. Operators may make as many as they like,
    /// and the rooms that they create count for no address.
    fn in_pace(&self, call: &Call, from: IpAddr) -> Result<(), Answered> {
        let Some(rate) = self
            .change_rate
            .as_ref()
            .filter(|_| !self.is_operator(call))
        else {
            return Ok(());
        };
        rate.check(AddressGroup::of(from)).map_err(|wait| {
            self.metrics.rate_limited.inc();
            let why = "too many changes to rooms from your address";
            Box::new(reply::too_many(why, wait.as_secs() + 1))
        })
    }

    /// Keeps a user in a room for as long as a visit lasts.
    async fn visit(self: &Arc<Self>, visitor: Visitor) -> Result<(), Unvisited> {
        let (room, from) = (visitor.network.name().to_owned(), visitor.address);
        let refuse = |why: NoSlot| Unvisited {
            answered: Box::new(admit::refuse(self, why.into())),
            is_taken: false,
        };
        let slot = self.visitor_slots.try_take(from).map_err(refuse)?;
        let permit = self.try_admit(from).map_err(refuse)?;
        match self.backend.visit(visitor, permit).await {
            Ok(stay) => {
                if let Some(stay) = stay {
                    let killed = self.killed.clone();
                    self.peers.spawn(async move {
                        killed.run_until_cancelled(stay).await;
                        drop(slot);
                    });
                }
                Ok(())
            }
            Err(why) => Err(self.unvisited(why, &room)),
        }
    }

    fn unvisited(&self, why: NoVisit, room: &str) -> Unvisited {
        let response = match why {
            NoVisit::Refused(why) => self.refusal(why, room),
            NoVisit::Later(wait) => reply::too_many(&why.to_string(), wait.as_secs() + 1),
        };
        Unvisited {
            answered: Box::new(response),
            is_taken: why == NoVisit::Refused(CloseReason::IdTaken),
        }
    }

    fn refusal(&self, why: CloseReason, room: &str) -> Response {
        match why {
            CloseReason::NoSuchRoom => *no_room(room),
            CloseReason::Draining => self.draining_response(),
            CloseReason::TooManyRooms | CloseReason::OutOfMemory => {
                reply::retry_later(why.text(), RETRY_SECONDS)
            }
            CloseReason::Banned => reply::error(StatusCode::FORBIDDEN, why.text()),
            CloseReason::TakeoverLimit | CloseReason::TooManyRoomsOfOne => {
                reply::too_many(why.text(), RETRY_SECONDS)
            }
            _ => reply::error(StatusCode::CONFLICT, why.text()),
        }
    }
}

/// Creates a room, with its host as a member without a connection, or without a member.
#[utoipa::path(
    post, path = "/api/rooms", tag = "rooms", request_body = NewRoomBody,
    security((), ("token" = []), ("operator" = [])),
    responses(
        (status = 201, description = "The room is there.", body = Created),
        (status = 409, description = "There is one of that id.", body = reply::ErrorBody),
        Unfit, Refused, Elsewhere
    )
)]
pub(super) fn create<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let body: NewRoomBody = read(&call)?;
        let host = body.host_id.as_deref().map(user).transpose()?;
        let create = Some(Right::Create);
        let changer = app.may_change(&call, &body.room_id, host.as_ref(), create)?;
        app.in_pace(&call, changer.address)?;
        let Ok(network) = NetworkKey::new(Dialect::Rooms, &body.room_id) else {
            return refused(StatusCode::BAD_REQUEST, "a roomId has 1 to 128 bytes");
        };
        if app.backend.room(&network).is_none() {
            app.look_at(&call, &network).await?;
        }
        if app.backend.room(&network).is_some() {
            // Otherwise its host would give way to a visit that creates no room.
            return Err(Box::new(
                app.refusal(CloseReason::RoomExists, &body.room_id),
            ));
        }
        // A hub of which it is not known what it lists does not count: it would keep all others from creating rooms. If
        // it has the room, the record that was created first counts in the end.
        let silent = app.silent_hubs(&network);
        if !silent.is_empty() {
            return Err(no_answer(silent));
        }
        let limits = &app.config.peer;
        let (room_name, user_name) = (
            quoted(body.room_name.as_ref()),
            quoted(body.host_name.as_ref()),
        );
        let about = NewRoom {
            room_name: room_name.as_deref().map(RawValue::get),
            user_name: user_name.as_deref().map(RawValue::get),
            file: body.file_id.as_deref().map(RawValue::get),
            content: body.content.as_deref().map(RawValue::get),
            version: body.version.as_deref().map(RawValue::get),
        };
        let record = rooms::record(&about, &body.room_id, limits.max_room_bytes)
            .or_else(|why| refused(StatusCode::PAYLOAD_TOO_LARGE, &why.text))?;
        let peer = host.clone().map_or_else(|| user(NOBODY), Ok)?;
        let data = rooms::shown(about.user_name, &peer, limits.max_announce_bytes)
            .or_else(|why| refused(StatusCode::PAYLOAD_TOO_LARGE, &why.text))?;
        let visitor = Visitor {
            network: network.clone(),
            peer: peer.clone(),
            data: Some(data),
            room: RoomAsk::Create(record),
            address: changer.address,
            is_operators: changer.is_operator,
            subject: changer.subject(),
            expires_ms: changer.grant.expires_ms,
        };
        app.visit(visitor).await?;
        if host.is_none() {
            app.backend.end_visit(&network, &peer).await;
        }
        let mut data = find(&app, &body.room_id, &[])?;
        if !changer.sees_members() {
            data.cut_to(body.host_id.as_deref());
        }
        let created = Created {
            message: "Room created",
            data,
            timestamp: unix_ms(),
        };
        Ok(reply::json(StatusCode::CREATED, &created))
    })
}

/// Puts a user without a connection into a room. It stays until it leaves, or has not asked again for as long as a
/// client may be silent. A member that is in it already stays as it is.
#[utoipa::path(
    post, path = "/api/rooms/{roomId}/join", tag = "rooms", request_body = JoinBody,
    security((), ("token" = []), ("operator" = [])),
    params(("roomId" = String, Path, description = "The room's id.")),
    responses(
        (status = 200, description = "It is in the room.", body = JoinedRoom),
        (
            status = 404, body = NoRoom,
            description = "There is no such room; or operators have a listener of their own, and there is `error` alone."
        ),
        (status = 409, description = "The room is full, or the user is in it by a connection.", body = reply::ErrorBody),
        Unfit, Refused
    )
)]
pub(super) fn join<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let (name, body) = (call.decoded_name(), read::<JoinBody>(&call)?);
        let peer = user(&body.user_id)?;
        let changer = app.may_change(&call, &name, Some(&peer), None)?;
        app.in_pace(&call, changer.address)?;
        let network = NetworkKey::new(Dialect::Rooms, &name).map_err(|_| no_room(&name))?;
        let user_name = quoted(body.user_name.as_ref());
        let user_name = user_name.as_deref().map(RawValue::get);
        let data = rooms::shown(user_name, &peer, app.config.peer.max_announce_bytes)
            .or_else(|why| refused(StatusCode::PAYLOAD_TOO_LARGE, &why.text))?;
        let expires_ms = changer.grant.expires_ms;
        if !app.backend.renew_visit(&network, &peer, expires_ms) {
            // The user may be a member at a hub that this one does not know of.
            let not_answered = app.look_at(&call, &network).await?;
            if app.backend.room(&network).is_none() && !not_answered.is_empty() {
                return Err(no_answer(not_answered));
            }
            let replaces = app.config.mesh.duplicate_peer == DuplicatePeer::Replace;
            if app.backend.hub_of(&network, &peer).is_some() {
                app.ends_no_connection(&network, &peer).await?;
            } else if replaces && !not_answered.is_empty() {
                // A connection at one of these hubs may have the id, and would lose it.
                return Err(no_answer(not_answered));
            }
            let visitor = Visitor {
                network: network.clone(),
                peer: peer.clone(),
                data: Some(data),
                room: RoomAsk::Enter,
                address: changer.address,
                is_operators: changer.is_operator,
                subject: changer.subject(),
                expires_ms,
            };
            match app.visit(visitor).await {
                Ok(()) => {}
                // Another request of the same user came first.
                Err(why)
                    if why.is_taken && app.backend.renew_visit(&network, &peer, expires_ms) => {}
                Err(why) if why.is_taken => return refused(StatusCode::CONFLICT, IS_ELSEWHERE),
                Err(why) => return Err(why.into()),
            }
        }
        let mut room = find(&app, &name, &[])?;
        if !changer.sees_members() {
            room.cut_to(Some(&body.user_id));
        }
        ok(&JoinedRoom {
            message: "User joined room",
            room,
            room_id: name,
            user_id: body.user_id,
            timestamp: unix_ms(),
        })
    })
}

/// Takes a user without a connection out of a room, on whichever hub it entered.
#[utoipa::path(
    post, path = "/api/rooms/{roomId}/leave", tag = "rooms", request_body = LeaveBody,
    security((), ("token" = []), ("operator" = [])),
    params(("roomId" = String, Path, description = "The room's id.")),
    responses(
        (status = 200, description = "It is no longer in the room.", body = LeftRoom),
        (
            status = 404, body = NoRoom,
            description = "There is no such room; or operators have a listener of their own, and there is `error` alone."
        ),
        (status = 409, description = "It has a connection, and leaves by that.", body = reply::ErrorBody),
        Unfit, Refused
    )
)]
pub(super) fn leave<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let (name, body) = (call.decoded_name(), read::<LeaveBody>(&call)?);
        let peer = user(&body.user_id)?;
        let changer = app.may_change(&call, &name, Some(&peer), None)?;
        app.in_pace(&call, changer.address)?;
        let network = NetworkKey::new(Dialect::Rooms, &name).map_err(|_| no_room(&name))?;
        if !app.backend.end_visit(&network, &peer).await {
            let not_answered = app.look_at(&call, &network).await?;
            find(&app, &name, &not_answered)?;
            if app.backend.hub_of(&network, &peer).is_some() {
                app.leave_elsewhere(&network, &peer, &changer).await?;
            } else if !not_answered.is_empty() {
                // The user may be at one of these hubs.
                return Err(no_answer(not_answered));
            }
        }
        ok(&LeftRoom {
            message: "User left room",
            room_id: name,
            user_id: body.user_id,
            timestamp: unix_ms(),
        })
    })
}

impl<B: Backend> App<B> {
    /// Refuses to take an id from a connection. If the newest connection wins every id, the mesh would allow that. So the
    /// hub that holds the id is asked, and no answer counts as a connection. That may be this hub: another request of the
    /// same user is about to be a visit here.
    async fn ends_no_connection(
        &self,
        network: &NetworkKey,
        peer: &PeerId,
    ) -> Result<(), Answered> {
        if self.config.mesh.duplicate_peer != DuplicatePeer::Replace {
            return Ok(());
        }
        let asked = self.backend.is_visitor(network, peer, ANSWERS_WITHIN);
        match asked.await {
            true => Ok(()),
            false => refused(StatusCode::CONFLICT, IS_ELSEWHERE),
        }
    }

    /// Ends a visit at another hub: a user without a connection gives way to a visit here, which ends then.
    async fn leave_elsewhere(
        self: &Arc<Self>,
        network: &NetworkKey,
        peer: &PeerId,
        changer: &Changer,
    ) -> Result<(), Answered> {
        self.ends_no_connection(network, peer).await?;
        let visitor = Visitor {
            network: network.clone(),
            peer: peer.clone(),
            data: None,
            room: RoomAsk::Enter,
            address: changer.address,
            is_operators: changer.is_operator,
            subject: changer.subject(),
            expires_ms: changer.grant.expires_ms,
        };
        match self.backend.end_visit_elsewhere(visitor).await {
            Ok(()) => Ok(()),
            Err(NoVisit::Refused(CloseReason::IdTaken)) => {
                refused(StatusCode::CONFLICT, IS_ELSEWHERE)
            }
            Err(why) => Err(self.unvisited(why, network.name()).into()),
        }
    }
}
