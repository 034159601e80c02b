//! `GET /admin/api/waiting` and `/admin/api/contests`: ids that signals or joins wait for, of the whole mesh. Never what is in
//! the signals.
//!
//! Each hub is asked for a page of its own, and these are laid together, so that no answer grows with what waits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use super::super::admin_api::ANSWERS_WITHIN;
use super::super::endpoint::Call;
use super::super::paging::{BadQuery, Page, Paging, Query};
use super::super::refusals::{Badly, Closed};
use super::super::{App, Backend};
use super::pictures::hubs;
use super::{answer, ok, who};
use crate::clock::unix_ms;
use crate::log::timestamp;
use crate::mesh::{AwaitedIds, AwaitedQuery, Awaiting, Tally};

/// An id that signals or joins wait for at a hub.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Awaited)]
struct AwaitedRow {
    dialect: &'static str,
    network: String,
    id: String,
    hub: String,
    /// Since when the first of them waits.
    since_ms: u64,
    /// How many wait.
    count: u64,
}

/// How many signals wait at a hub.
#[derive(Serialize, ToSchema)]
struct WaitingAt {
    hub: String,
    waiting: u64,
}

/// Signals that wait for a target that nobody holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WaitingPage {
    timestamp: String,
    hubs: Vec<WaitingAt>,
    /// A page of their targets, each once for each hub.
    waiting: Vec<AwaitedRow>,
    not_answered: Vec<String>,
    /// What `after` of the next page has to be; null at the end.
    next: Option<String>,
    /// How many targets there are, on all pages.
    ids: u64,
    /// How many signals wait at these hubs.
    total: u64,
}

/// How many joins are contested at a hub.
#[derive(Serialize, ToSchema)]
struct ContestsAt {
    hub: String,
    contests: u64,
}

/// Joins whose id is contested.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ContestPage {
    timestamp: String,
    hubs: Vec<ContestsAt>,
    /// A page of the ids, each once for each hub.
    contests: Vec<AwaitedRow>,
    not_answered: Vec<String>,
    /// What `after` of the next page has to be; null at the end.
    next: Option<String>,
    /// How many ids there are, on all pages.
    ids: u64,
    /// How many joins are contested at these hubs.
    total: u64,
}

/// Signals that wait for a target that nobody holds: how many, and for whom. Hubs have two seconds to answer.
#[utoipa::path(
    get, path = "/admin/api/waiting", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("dialect" = Option<String>, Query, description = "That of the targets."),
        ("network" = Option<String>, Query, description = "A part of their network's name."),
        ("hub" = Option<String>, Query, description = "The beginning of the id of the hub at which they wait."),
    ),
    responses((status = 200, description = "A page of the targets, by network and id.", body = WaitingPage), Badly, Closed)
)]
pub(super) fn waiting<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let AwaitedList {
            hubs,
            page,
            ids,
            not_answered,
        } = list(&app, &call, Awaiting::Targets).await?;
        let row = |(hub, tally): &(HubId, Tally)| WaitingAt {
            hub: hub.to_string(),
            waiting: tally.waiting,
        };
        ok(&WaitingPage {
            timestamp: timestamp(),
            total: sum(&hubs, |tally| tally.waiting),
            hubs: hubs.iter().map(row).collect(),
            waiting: page.entries,
            not_answered,
            next: page.next.as_ref().map(written),
            ids,
        })
    })
}

/// Joins whose id is contested now: how many, and which ids. Hubs have two seconds to answer.
#[utoipa::path(
    get, path = "/admin/api/contests", tag = "mesh", security(("operator" = []), ("login" = [])),
    params(
        Paging,
        ("dialect" = Option<String>, Query, description = "That of the ids."),
        ("network" = Option<String>, Query, description = "A part of their network's name."),
        ("hub" = Option<String>, Query, description = "The beginning of the id of the hub at which somebody wants them."),
    ),
    responses((status = 200, description = "A page of the ids, by network and id.", body = ContestPage), Badly, Closed)
)]
pub(super) fn contests<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks(&app, &call)?;
        let AwaitedList {
            hubs,
            page,
            ids,
            not_answered,
        } = list(&app, &call, Awaiting::Contested).await?;
        let row = |(hub, tally): &(HubId, Tally)| ContestsAt {
            hub: hub.to_string(),
            contests: tally.contests,
        };
        ok(&ContestPage {
            timestamp: timestamp(),
            total: sum(&hubs, |tally| tally.contests),
            hubs: hubs.iter().map(row).collect(),
            contests: page.entries,
            not_answered,
            next: page.next.as_ref().map(written),
            ids,
        })
    })
}

/// By what the rows are sorted.
type Key = (NetworkKey, PeerId, HubId);

/// What all hubs say together.
struct AwaitedList {
    /// Those that said how many wait.
    hubs: Vec<(HubId, Tally)>,
    page: Page<Key, AwaitedRow>,
    ids: u64,
    not_answered: Vec<String>,
}

async fn list<B: Backend>(
    app: &App<B>,
    call: &Call,
    what: Awaiting,
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
        // A hub may begin with the last of the page before, and one behind the page says that more follow.
        most: query.paging.limit() + 2,
    };
    let is_asked_for = |hub: &HubId| {
        let only = query.filter("hub");
        only.is_none_or(|only| hub.to_string().starts_with(only))
    };
    // Before they are asked, so that whoever is lost meanwhile is named.
    let hubs = hubs(app).into_iter().filter(is_asked_for);
    let hubs: Vec<HubId> = hubs.collect();
    let (mut tallies, mut told) = futures::join!(
        app.backend.tallies(ANSWERS_WITHIN),
        app.backend.awaited(what, wanted, ANSWERS_WITHIN)
    );
    // Taken once they have answered: others need not wait for a hub that does not.
    let _turn = app.turn(call.door).acquire().await;
    tallies.retain(|hub, _| is_asked_for(hub));
    told.retain(|hub, _| is_asked_for(hub));
    let silent = hubs.iter().filter(|hub| !told.contains_key(hub));
    Ok(AwaitedList {
        not_answered: silent.map(ToString::to_string).collect(),
        ids: told
            .values()
            .fold(0, |sum, ids| ids.total.saturating_add(sum)),
        page: query.paging.page(rows(told), after),
        hubs: tallies.into_iter().collect(),
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

/// A key as a text: what strangers have chosen is encoded in it.
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
    let mut id = [0; 20];
    hex::decode_to_slice(hub, &mut id).map_err(|_| BadQuery::After)?;
    Ok((network, peer, HubId(id)))
}

/// What all hubs that answer say together; whatever one says, there is an answer.
fn sum(hubs: &[(HubId, Tally)], of: fn(&Tally) -> u64) -> u64 {
    let all = hubs.iter().map(|(_, tally)| of(tally));
    all.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_page_ends_is_read_as_it_was_written_whatever_stands_in_it() {
        let network = NetworkKey::new(Dialect::Yjs, "a/b c%2F\u{1F600}").expect("a name");
        let peer = PeerId::new("<img src=x>/..").expect("an id");
        let key = (network, peer, HubId([7; 20]));
        assert_eq!(read(&written(&key)), Ok(key));
        for wrong in ["", "a", "a/b", "//", "p/a/00", "%FFx/a/00", "a/b/c/d"] {
            assert_eq!(read(wrong), Err(BadQuery::After), "{wrong}");
        }
    }
}
