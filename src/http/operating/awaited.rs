//! `GET /admin/api/waiting` and `/admin/api/contests`: the ids in the whole mesh for which signals or joins wait. Payloads
//! are never shown.
//!
//! Each hub is asked for one page, and this hub merges the pages. So the size of an answer does not depend on how many
//! signals or joins wait.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use super::super::admin_api::{ANSWERS_WITHIN, silent};
use super::super::endpoint::Call;
use super::super::paging::{BadQuery, Paging, Query};
use super::super::refusals::{Badly, Closed};
use super::super::{App, Backend};
use super::pictures::hubs;
use super::{answer, ok, who};
use crate::clock::unix_ms;
use crate::log::timestamp;
use crate::mesh::{AwaitedIds, AwaitedQuery, Awaiting, Tally};

/// An id for which signals or joins wait at a hub.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Awaited)]
struct AwaitedRow {
    dialect: &'static str,
    network: String,
    id: String,
    hub: String,
    /// Since when the first of these signals or joins waits.
    since_ms: u64,
    /// How many signals or joins wait.
    count: u64,
}

/// The number of signals that wait at a hub.
#[derive(Serialize, ToSchema)]
struct WaitingAt {
    hub: String,
    waiting: u64,
}

/// A page of the signals whose target is at no hub.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WaitingPage {
    timestamp: String,
    hubs: Vec<WaitingAt>,
    /// A page of their targets. A target is listed once for each hub at which signals wait for it.
    waiting: Vec<AwaitedRow>,
    not_answered: Vec<String>,
    /// The value of `after` for the next page. Null on the last page.
    next: Option<String>,
    /// The number of targets on all pages.
    ids: u64,
    /// The number of signals that wait at these hubs.
    total: u64,
}

/// The number of contested joins at a hub.
#[derive(Serialize, ToSchema)]
struct ContestsAt {
    hub: String,
    contests: u64,
}

/// A page of the contested ids.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ContestPage {
    timestamp: String,
    hubs: Vec<ContestsAt>,
    /// A page of the ids. An id is listed once for each hub at which joins wait for it.
    contests: Vec<AwaitedRow>,
    not_answered: Vec<String>,
    /// The value of `after` for the next page. Null on the last page.
    next: Option<String>,
    /// The number of ids on all pages.
    ids: u64,
    /// The number of contested joins at these hubs.
    total: u64,
}

/// Signals whose target is at no hub: how many wait, and for which targets. Each hub has two seconds to answer.
#[utoipa::path(
    get, path = "/admin/api/waiting", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("dialect" = Option<String>, Query, description = "The dialect of the targets."),
        ("network" = Option<String>, Query, description = "A part of their network's name."),
        ("hub" = Option<String>, Query, description = "The beginning of the id of the hub at which the signals wait."),
    ),
    responses((status = 200, description = "A page of the targets, by network and id.", body = WaitingPage), Badly, Closed)
)]
pub(super) fn waiting<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let list = list(&app, &call, Awaiting::Targets, |tally| tally.waiting).await?;
        let hubs = list.hubs.into_iter();
        ok(&WaitingPage {
            timestamp: timestamp(),
            hubs: hubs
                .map(|(hub, waiting)| WaitingAt { hub, waiting })
                .collect(),
            waiting: list.rows,
            not_answered: list.not_answered,
            next: list.next,
            ids: list.ids,
            total: list.total,
        })
    })
}

/// Joins whose id is contested now: how many, and which ids. Each hub has two seconds to answer.
#[utoipa::path(
    get, path = "/admin/api/contests", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("dialect" = Option<String>, Query, description = "The dialect of the ids."),
        ("network" = Option<String>, Query, description = "A part of their network's name."),
        ("hub" = Option<String>, Query, description = "The beginning of the id of the hub at which the joins wait."),
    ),
    responses((status = 200, description = "A page of the ids, by network and id.", body = ContestPage), Badly, Closed)
)]
pub(super) fn contests<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let list = list(&app, &call, Awaiting::Contested, |tally| tally.contests).await?;
        let hubs = list.hubs.into_iter();
        ok(&ContestPage {
            timestamp: timestamp(),
            hubs: hubs
                .map(|(hub, contests)| ContestsAt { hub, contests })
                .collect(),
            contests: list.rows,
            not_answered: list.not_answered,
            next: list.next,
            ids: list.ids,
            total: list.total,
        })
    })
}

/// Rows are sorted by this key.
type Key = (NetworkKey, PeerId, HubId);

/// The answers of all hubs together.
struct AwaitedList {
    /// The number of signals or joins at each hub that answered.
    hubs: Vec<(String, u64)>,
    /// The sum of these numbers. It saturates, so that no hub can make the sum overflow.
    total: u64,
    rows: Vec<AwaitedRow>,
    next: Option<String>,
    ids: u64,
    not_answered: Vec<String>,
}

async fn list<B: Backend>(
    app: &App<B>,
    call: &Call,
    what: Awaiting,
    count: fn(&Tally) -> u64,
) -> Result<AwaitedList, BadQuery> {
    let query = Query::read(&call.head.query, &["dialect", "network", "hub"])?;
    let after = query.paging.after().map(read).transpose()?;
    let from = after
        .as_ref()
        .map(|(network, peer, _)| (network.as_str().to_owned(), peer.to_string()));
    let wanted = AwaitedQuery {
        dialect: query.dialect()?.map(|dialect| dialect.label().to_owned()),
        network: query.filter("network").map(str::to_owned),
        from,
        // The first row may be the last row of the previous page, and one row after the page shows that more follow.
        most: query.paging.limit() + 2,
    };
    // The list is made before the hubs are asked, so that it names a hub that is lost meanwhile.
    let mut hubs = hubs(app);
    hubs.retain(|hub| query.wants_hub(hub));
    let (mut tallies, mut told) = futures::join!(
        app.backend.tallies(ANSWERS_WITHIN),
        app.backend.awaited(what, wanted, ANSWERS_WITHIN)
    );
    // The turn is taken after the hubs have answered, so that other requests do not wait for a silent hub.
    let _turn = app.turn(call.door).acquire().await;
    tallies.retain(|hub, _| query.wants_hub(hub));
    told.retain(|hub, _| query.wants_hub(hub));
    let sum = |sum: u64, count: u64| sum.saturating_add(count);
    let not_answered = silent(&hubs, &told);
    let ids = told.values().map(|ids| ids.total).fold(0, sum);
    let page = query.paging.page(rows(told), after);
    let tallies = tallies.iter();
    let hubs: Vec<_> = tallies
        .map(|(hub, tally)| (hub.to_string(), count(tally)))
        .collect();
    Ok(AwaitedList {
        total: hubs.iter().map(|(_, count)| *count).fold(0, sum),
        hubs,
        rows: page.entries,
        next: page.next.as_ref().map(written),
        ids,
        not_answered,
    })
}

fn rows(told: BTreeMap<HubId, AwaitedIds>) -> Vec<(Key, AwaitedRow)> {
    let now = unix_ms();
    let mut rows = Vec::new();
    for (hub, AwaitedIds { ids, .. }) in told {
        rows.extend(ids.iter().filter_map(|one| {
            let (network, peer) = one.place()?;
            let row = AwaitedRow {
                dialect: network.dialect().map_or("unknown", Dialect::label),
                network: network.name().to_owned(),
                id: peer.to_string(),
                hub: hub.to_string(),
                since_ms: now.saturating_sub(one.for_ms),
                count: one.count,
            };
            Some(((network, peer, hub), row))
        }));
    }
    rows
}

/// A key as text. Networks and ids are percent-encoded, because clients choose them.
fn written((network, peer, hub): &Key) -> String {
    let peer = peer.to_string();
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("{}/{}/{hub}", encode(network.as_str()), encode(&peer))
}

fn decode(text: &str) -> Result<Cow<'_, str>, BadQuery> {
    let text = percent_decode_str(text).decode_utf8();
    text.map_err(|_| BadQuery::After)
}

fn read(text: &str) -> Result<Key, BadQuery> {
    let parts: Vec<&str> = text.split('/').collect();
    let [network, peer, hub] = parts.as_slice() else {
        return Err(BadQuery::After);
    };
    let network = NetworkKey::from_wire(&decode(network)?).map_err(|_| BadQuery::After)?;
    let peer = PeerId::new(&decode(peer)?).map_err(|_| BadQuery::After)?;
    let hub = hub.parse().map_err(|_| BadQuery::After)?;
    Ok((network, peer, hub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_any_row_is_read_as_it_was_written() {
        let network = NetworkKey::new(Dialect::Yjs, "a/b c%2F\u{1F600}").expect("a name");
        let peer = PeerId::new("<img src=x>/..").expect("an id");
        let key = (network, peer, HubId([7; 20]));
        assert_eq!(read(&written(&key)), Ok(key));
        for wrong in ["", "a", "a/b", "//", "p/a/00", "%FFx/a/00", "a/b/c/d"] {
            assert_eq!(read(wrong), Err(BadQuery::After), "{wrong}");
        }
    }
}
