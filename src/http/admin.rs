//! Which requests come from an operator, and which answers are for operators: `ADMIN_TOKEN`, `ADMIN_ADDR`.
//!
//! A hub has a public [`Door`] and, with `ADMIN_ADDR`, one for operators. Every request is checked here: does it come
//! from an operator? Without the two settings, every client counts as an operator. A page for operators is refused to
//! all others, and no browser hands its answer to a page of another origin. The token counts only in `Authorization`:
//! addresses end in logs, and a browser never adds this header by itself, so a page of another origin cannot use the
//! token.
//!
//! Without a token, every client that reaches the door for operators may see its pages. A browser reaches the door as
//! well, and may show pages of an attacker: a name that the attacker points to this address would be of this origin. So
//! the door answers only requests for names that an attacker cannot give out.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use warp::reply::Response;

use super::{App, Backend, reply};
use crate::auth::{Gate, bearer};
use crate::config::AdminSettings;
use crate::limits::FairSlots;
use crate::metrics::Refusal;

/// The listener that accepted a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Door {
    /// `HOST` and `PORT`.
    Public,
    /// `ADMIN_ADDR`.
    Admin,
}

/// Why a client may not see the pages of operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NoOperator {
    #[error("operators show ADMIN_TOKEN as a bearer, in Authorization")]
    Missing,
    #[error("the bearer token is wrong")]
    Wrong,
    #[error("too many wrong tokens from your address within a minute")]
    TooMany(u64),
    #[error("there is nothing here")]
    Elsewhere,
    #[error(
        "without ADMIN_TOKEN this is to be asked for by address, as localhost, or by a name without a dot: others may \
         lead any other name here"
    )]
    Name,
    #[error(
        "without ADMIN_TOKEN or ADMIN_ADDR this is shown only on this machine, and not through a proxy"
    )]
    NotHere,
    #[error(
        "addresses, subjects, bans and events are for operators: set ADMIN_TOKEN or ADMIN_ADDR to see them"
    )]
    OfSomebody,
    #[error("nothing can be changed here without ADMIN_TOKEN or ADMIN_ADDR")]
    ReadOnly,
    #[error("a change needs the header X-Hubmesh-Admin: 1, or the token as a bearer")]
    NoHeader,
    #[error("this is not for pages of other origins")]
    OtherSite,
}

/// The rules that tell operators from other clients.
#[derive(Debug)]
pub(super) struct Operators {
    /// The check of `ADMIN_TOKEN`, if it is set.
    gate: Option<Gate>,
    has_door: bool,
}

impl Operators {
    pub(super) fn new(settings: &AdminSettings) -> Self {
        let token = settings.token.as_ref();
        Operators {
            gate: token.map(|token| Gate::new(Some(token), None)),
            has_door: settings.addr.is_some(),
        }
    }

    /// The check of the operators' token, if there is one.
    pub(super) fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    /// Whether operators have a door of their own.
    pub(super) fn has_door(&self) -> bool {
        self.has_door
    }

    /// Whether the public door hides anything from other clients.
    pub(super) fn are_told_apart(&self) -> bool {
        self.gate.is_some() || self.has_door
    }

    /// Whether operators have to show a token.
    pub(super) fn have_a_token(&self) -> bool {
        self.gate.is_some()
    }

    /// Whether a token is compared at this door.
    pub(super) fn compare_at(&self, door: Door) -> bool {
        self.gate.is_some() && (door == Door::Admin || !self.has_door)
    }

    /// Whether a request with these headers at this door may see the pages of operators. Guesses are counted by
    /// `App::check_operator`.
    pub(super) fn check(&self, door: Door, headers: &HeaderMap) -> Result<(), NoOperator> {
        match (door, &self.gate) {
            (Door::Public, _) if self.has_door => Err(NoOperator::Elsewhere),
            (_, Some(gate)) => is_shown(gate, headers),
            (Door::Public, None) => Ok(()),
            (Door::Admin, None) => is_named_well(headers),
        }
    }
}

/// Every bearer of the request.
pub(super) fn bearers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(AUTHORIZATION).into_iter();
    all.filter_map(|value| bearer(value.to_str().ok()?))
}

/// Whether the request shows a bearer.
pub(super) fn has_bearer(headers: &HeaderMap) -> bool {
    bearers(headers).next().is_some()
}

/// Whether the request shows the token as its only bearer. Of several bearers none is compared: a turn pays for one
/// guess.
pub(super) fn is_shown(gate: &Gate, headers: &HeaderMap) -> Result<(), NoOperator> {
    let mut shown = bearers(headers);
    match (shown.next(), shown.next()) {
        (None, _) => Err(NoOperator::Missing),
        (Some(one), None) => gate.check([one]).map(drop).map_err(|_| NoOperator::Wrong),
        (Some(_), Some(_)) => Err(NoOperator::Wrong),
    }
}

/// Whether the requested host is a name that an attacker cannot give out. Browsers always send a host.
pub(super) fn is_named_well(headers: &HeaderMap) -> Result<(), NoOperator> {
    let is_well = |value: &HeaderValue| {
        let authority = value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<Authority>().ok());
        authority.is_some_and(|authority| {
            let host = authority.host().trim_end_matches('.');
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            !host.contains('.') || bare.parse::<IpAddr>().is_ok()
        })
    };
    match headers.get_all(HOST).iter().all(is_well) {
        true => Ok(()),
        false => Err(NoOperator::Name),
    }
}

impl<B: Backend> App<B> {
    /// The slots of a door's TCP connections.
    pub(super) fn slots(&self, door: Door) -> &FairSlots {
        match door {
            Door::Public => &self.http_slots,
            Door::Admin => &self.admin_slots,
        }
    }

    /// The turns of requests for this door's pages.
    pub(super) fn turn(&self, door: Door) -> &Semaphore {
        match door {
            Door::Public => &self.page_turn,
            Door::Admin => &self.admin_turn,
        }
    }
}

/// Marks an answer that no page of another origin may read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Private;

/// Keeps an answer from pages of other origins.
pub(super) fn keep(mut response: Response) -> Response {
    response.extensions_mut().insert(Private);
    response
}

/// Refuses a page for operators to another client.
pub(super) fn refuse<B: Backend>(app: &App<B>, why: NoOperator) -> Response {
    let text = why.to_string();
    let response = match why {
        // The same answer as at any other path without a page.
        NoOperator::Elsewhere => return reply::error(StatusCode::NOT_FOUND, &text),
        NoOperator::Name
        | NoOperator::NotHere
        | NoOperator::OfSomebody
        | NoOperator::ReadOnly
        | NoOperator::NoHeader
        | NoOperator::OtherSite => reply::error(StatusCode::FORBIDDEN, &text),
        NoOperator::TooMany(seconds) => reply::too_many(&text, seconds),
        NoOperator::Missing | NoOperator::Wrong => reply::unauthorized(&text),
    };
    app.metrics.refusals.inc(Refusal::Operator);
    keep(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_without_a_token_is_asked_for_by_a_name_that_no_stranger_gives_out() {
        let asked = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a value"));
            is_named_well(&headers)
        };
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.1.2.3",
            "localhost:9090",
            "LOCALHOST",
            "hub-a:9090",
        ] {
            assert_eq!(asked(host), Ok(()), "{host}");
        }
        for host in [
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a.b.",
            "x y",
            "u@a.b:1",
        ] {
            assert_eq!(asked(host), Err(NoOperator::Name), "{host}");
        }
        assert_eq!(is_named_well(&HeaderMap::new()), Ok(()), "no browser");
    }
}
