//! Who may see rooms, change them, and look after the hub.
//!
//! A client that may enter a room may see it: it shows the clients' token, if there is one. The list of all rooms is
//! for operators if these are told apart, because a client that knows the name of a room may enter it. A change to a
//! room takes `ADMIN_TOKEN` if that is set, and otherwise what clients show. Looking after the hub takes `ADMIN_TOKEN`,
//! or else `AUTH_TOKEN`. If there is neither, the request has to come from a program on this machine, not through a
//! proxy and not from a page in a browser.

use std::net::IpAddr;

use http::StatusCode;
use http::header::ORIGIN;
use hubmesh_core::ids::{Dialect, PeerId};
use warp::reply::Response;

use super::super::admit::Refused;
use super::super::endpoint::Call;
use super::super::near::is_of_this_machine;
use super::super::reply::Answered;
use super::super::{App, Backend, Head, admin, admit, reply};
use crate::auth::scope::{Right, Scope};
use crate::auth::{Gate, Grant};
use crate::metrics::Refusal;

/// The client that changes something about a room.
pub(super) struct Changer {
    /// Its address.
    pub(super) address: IpAddr,
    /// What its token grants; everything if it is an operator.
    pub(super) grant: Grant,
    pub(super) is_operator: bool,
}

impl Changer {
    /// The subject of its token.
    pub(super) fn subject(&self) -> Option<Box<str>> {
        self.grant.subject.as_deref().map(Into::into)
    }

    /// Whether it may know who is in the room.
    pub(super) fn sees_members(&self) -> bool {
        self.grant.scope.has(Right::Discover)
    }
}

fn answered<T>(response: Response) -> Result<T, Answered> {
    Err(Box::new(response))
}

impl<B: Backend> App<B> {
    /// Whether who asks is an operator, where clients may ask as well.
    pub(super) fn is_operator(&self, call: &Call) -> bool {
        self.operators.are_told_apart() && self.may_look_quietly(call)
    }

    /// What the token of a client shows.
    fn shown(&self, head: &Head) -> Result<Grant, Answered> {
        self.within(admit::grant(self, head))
    }

    /// Whether the client does not ask too often, checked before its token.
    fn in_turn(&self, head: &Head) -> Result<(), Answered> {
        let turn = admit::turn_to_ask(self, admit::client(self, head));
        self.within(turn.map(drop))
    }

    /// Counts and answers a request that the client's token does not allow.
    fn within<T>(&self, checked: Result<T, Refused>) -> Result<T, Answered> {
        checked.map_err(|why| Box::new(admit::refuse(self, why)))
    }

    /// Whether the client may see this room of this dialect.
    pub(in super::super) fn may_see(
        &self,
        call: &Call,
        dialect: Dialect,
        room: &str,
    ) -> Result<(), Answered> {
        if self.is_operator(call) {
            return Ok(());
        }
        self.in_turn(&call.head)?;
        let grant = self.shown(&call.head)?;
        let checked = admit::may_discover(&grant, dialect, room);
        self.within(checked)
    }

    /// Whether the client may see the rooms of this dialect; its scope says which.
    pub(in super::super) fn may_list(
        &self,
        call: &Call,
        dialect: Dialect,
    ) -> Result<Scope, Answered> {
        self.may_operate_or(call, || {
            self.in_turn(&call.head)?;
            let grant = self.shown(&call.head)?;
            self.within(admit::its_dialect(&grant, dialect))?;
            self.within(admit::has(&grant, Right::Discover))?;
            Ok(grant.scope)
        })
    }

    /// The same for pages that show the mesh and no rooms: they are for all clients if operators are not told apart.
    pub(super) fn may_look(&self, call: &Call) -> Result<(), Answered> {
        self.may_operate_or(call, || Ok(()))
    }

    /// Whether the client may see operators' pages; every client may if operators are not told apart.
    pub(super) fn may_look_quietly(&self, call: &Call) -> bool {
        self.tells_more(self.check_operator_or_client(call.door, &call.head))
    }

    /// For operators, if these are told apart; otherwise for clients that `others` lets in.
    fn may_operate_or<T: Default>(
        &self,
        call: &Call,
        others: impl FnOnce() -> Result<T, Answered>,
    ) -> Result<T, Answered> {
        if !self.operators.are_told_apart() {
            return others();
        }
        match self.check_operator_or_client(call.door, &call.head) {
            Ok(()) => Ok(T::default()),
            Err(why) => answered(admin::refuse(self, why)),
        }
    }

    /// Whether the client may change something about a room as this user, or as any user; gives the client.
    pub(super) fn may_change(
        &self,
        call: &Call,
        room: &str,
        user: Option<&PeerId>,
        right: Option<Right>,
    ) -> Result<Changer, Answered> {
        let head = &call.head;
        let let_in = admit::turn(self, admit::client(self, head)).and_then(|client| {
            admit::origin(self, head)?;
            Ok(client)
        });
        let address = self.within(let_in)?;
        if self.operators.have_a_token() {
            return match self.check_operator_or_client(call.door, head) {
                Ok(()) => Ok(Changer {
                    address,
                    grant: Grant::default(),
                    is_operator: true,
                }),
                Err(why) => answered(admin::refuse(self, why)),
            };
        }
        let grant = self.shown(head)?;
        self.within(may_be(&grant, room, user, right))?;
        Ok(Changer {
            address,
            grant,
            is_operator: false,
        })
    }

    /// Whether the client may look after the hub.
    pub(super) fn may_maintain(&self, call: &Call) -> Result<(), Answered> {
        let headers = &call.head.headers;
        if self.operators.are_told_apart() {
            if let Err(why) = self.check_operator_or_client(call.door, &call.head) {
                return answered(admin::refuse(self, why));
            }
            // Without a token, an attacker's page could ask through the browser of its visitor.
            return match !self.operators.have_a_token() && headers.contains_key(ORIGIN) {
                true => answered(reply::error(StatusCode::FORBIDDEN, NO_PAGE)),
                false => Ok(()),
            };
        }
        let refused = if let Some(token) = &self.config.auth_token {
            self.in_turn(&call.head)?;
            // The token of one client, or none.
            let checked = Gate::new(Some(token), None).check(admin::bearers(headers));
            checked
                .err()
                .map(|why| reply::unauthorized(&why.to_string()))
        } else {
            let is_near = is_of_this_machine(self, &call.head).is_ok();
            (!is_near).then(|| reply::error(StatusCode::FORBIDDEN, NOT_FROM_HERE))
        };
        match refused {
            None => Ok(()),
            Some(response) => {
                self.metrics.refusals.inc(Refusal::Operator);
                answered(response)
            }
        }
    }
}

const NO_PAGE: &str = "without ADMIN_TOKEN no page of a browser may ask for this";
const NOT_FROM_HERE: &str = "without ADMIN_TOKEN and AUTH_TOKEN this takes a request from the hub's own machine, through \
                             no proxy and from no page of a browser";

/// Whether a client with this token may be in the room as this user, and has the right.
fn may_be(
    grant: &Grant,
    room: &str,
    user: Option<&PeerId>,
    right: Option<Right>,
) -> Result<(), Refused> {
    admit::its_dialect(grant, Dialect::Rooms)?;
    admit::its_network(grant, room)?;
    match user {
        Some(user) => admit::its_own(grant, user)?,
        // The user id belongs to no client, so it is not the one that the token names.
        None if grant.scope.peer.is_some() => return Err(Refused::OtherPeer),
        None => {}
    }
    right.map_or(Ok(()), |right| admit::has(grant, right))
}
