//! The actions of operators. Each becomes one line in the log and one event. Both name the operator, and never a token.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use url::form_urlencoded;
use utoipa::{IntoResponses, ToSchema};
use warp::reply::Response;

use super::super::admin_api::ANSWERS_WITHIN;
use super::super::endpoint::Call;
use super::super::refusals::{Badly, Closed, NotRead};
use super::super::reply::{Answered, ErrorBody};
use super::super::{App, Backend};
use super::who::{self, Deed, Operator};
use super::{answer, bad, ok, refused};
use crate::mesh::Removal;
use crate::watch::{self, What};

/// Logs, counts and announces an operator's action.
pub(super) fn note<B: Backend>(
    app: &App<B>,
    operator: &Operator,
    action: &'static str,
    about: watch::Operator,
) {
    let with = operator.with.label();
    let by = operator.address;
    tracing::info!(
        action,
        by = by.map(tracing::field::display),
        with,
        dialect = about.dialect,
        network = about.network,
        peer = about.peer,
        ban = about.ban,
        kind = about.kind,
        value = about.value,
        reason = about.reason,
        "an operator's action"
    );
    app.metrics.operating.actions.inc(action);
    app.backend
        .watch()
        .events
        .note(What::Operator(watch::Operator {
            action: action.into(),
            by,
            with: with.into(),
            ..about
        }));
}

/// Decodes one segment of a path. `None` if it is not UTF-8.
pub(super) fn decoded(name: &str) -> Option<String> {
    let text = percent_decode_str(name).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// The dialect, the network and the id that a request names: in its path, or each once in its query.
fn said(call: &Call) -> Result<[String; 3], &'static str> {
    if let [dialect, network, peer] = call.names.as_slice() {
        let text = |name: &String| decoded(name).ok_or("the path is not UTF-8");
        return Ok([text(dialect)?, text(network)?, text(peer)?]);
    }
    let wrong = "the query has to name dialect, network and id, each once";
    let mut all = [None, None, None];
    for (name, value) in form_urlencoded::parse(call.head.query.as_bytes()) {
        let known = ["dialect", "network", "id"];
        let mut places = known.iter().zip(&mut all);
        let place = places.find(|(known, _)| **known == name);
        let (_, place) = place.ok_or(wrong)?;
        if place.replace(value.into_owned()).is_some() {
            return Err(wrong);
        }
    }
    let [Some(dialect), Some(network), Some(peer)] = all else {
        return Err(wrong);
    };
    Ok([dialect, network, peer])
}

/// The peer that a request names, as types.
fn named(call: &Call) -> Result<(Dialect, NetworkKey, PeerId), &'static str> {
    let [dialect, network, peer] = said(call)?;
    let dialect = Dialect::from_label(&dialect).ok_or("there is no such dialect")?;
    let network = NetworkKey::new(dialect, &network);
    let network = network.map_err(|_| "no network can have this name")?;
    let peer = PeerId::new(&peer).map_err(|_| "no peer can have this id")?;
    Ok((dialect, network, peer))
}

/// A peer was removed.
#[derive(Serialize, ToSchema)]
struct Removed {
    removed: bool,
    /// The hub that had the peer.
    hub: String,
}

/// Why a peer was not removed. Listed after [`Closed`], because the last description of a status counts.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the description uses this type")]
enum NotRemoved {
    /// There is no such peer, or operators have a listener of their own.
    #[response(status = 404)]
    NoSuchPeer(ErrorBody<'static>),
    /// The peer's hub does not answer.
    #[response(status = 504)]
    NoAnswer(ErrorBody<'static>),
}

/// Removes a peer, at any hub of the mesh.
#[utoipa::path(
    delete, path = "/admin/api/peers/{dialect}/{network}/{id}", tag = "peers",
    security(("operator" = []), ("login" = [])),
    params(
        ("dialect" = String, Path, description = "The network's dialect."),
        ("network" = String, Path, description = "The network's name, percent-encoded."),
        ("id" = String, Path, description = "The peer's id, percent-encoded."),
    ),
    responses((status = 200, description = "The peer was removed.", body = Removed), Badly, Closed, NotRead, NotRemoved)
)]
pub(super) fn remove<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move { remove_peer(&app, &call).await })
}

/// Removes the peer that the query names.
///
/// Browsers remove the segments `.` and `..` from every path, so they cannot name every peer in a path.
#[utoipa::path(
    delete, path = "/admin/api/peers", tag = "peers", security(("operator" = []), ("login" = [])),
    params(
        ("dialect" = String, Query, description = "The network's dialect."),
        ("network" = String, Query, description = "The network's name.", min_length = 1, max_length = 128),
        ("id" = String, Query, description = "The peer's id.", min_length = 1, max_length = 128),
    ),
    responses((status = 200, description = "The peer was removed.", body = Removed), Badly, Closed, NotRead, NotRemoved)
)]
pub(super) fn remove_named<B: Backend>(
    app: Arc<App<B>>,
    call: Call,
) -> BoxFuture<'static, Response> {
    answer(async move { remove_peer(&app, &call).await })
}

async fn remove_peer<B: Backend>(app: &App<B>, call: &Call) -> Result<Response, Answered> {
    let operator = who::operator(app, call, Deed::Change)?;
    let (dialect, network, peer) = named(call).or_else(|why| bad(&why))?;
    let removal = app.backend.remove(&network, &peer, ANSWERS_WITHIN).await;
    let about = watch::Operator {
        dialect: Some(dialect.label().to_owned()),
        network: Some(network.name().to_owned()),
        peer: Some(peer.to_string()),
        ..watch::Operator::default()
    };
    match removal {
        Removal::Done(hub) => {
            note(app, &operator, "remove", about);
            ok(&Removed {
                removed: true,
                hub: hub.to_string(),
            })
        }
        Removal::NoSuchPeer => refused(
            StatusCode::NOT_FOUND,
            &"no peer in this network has this id",
        ),
        Removal::NoAnswer(hub) => {
            let why = format!("hub {hub}, which has the peer, does not answer");
            // This hub has closed its own connections, and the other hub may do so later.
            let about = watch::Operator {
                reason: Some(why.clone()),
                ..about
            };
            note(app, &operator, "remove", about);
            refused(StatusCode::GATEWAY_TIMEOUT, &why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_a_path_is_decoded_once_and_not_interpreted() {
        for (name, text) in [
            ("ada", Some("ada")),
            ("a%2Fb", Some("a/b")),
            ("%2E%2E", Some("..")),
            ("%252e", Some("%2e")),
            ("%00room", Some("\0room")),
            ("a+b", Some("a+b")),
            ("%3Cimg%20src%3Dx%3E", Some("<img src=x>")),
            ("%ff", None),
        ] {
            assert_eq!(decoded(name).as_deref(), text, "{name}");
        }
    }
}
