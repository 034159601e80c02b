//! The hubs, networks and peers of the mesh as operators see them, page by page.
//!
//! For operators alone (see `operating`): the answers name networks of every dialect, and a client that knows the name
//! of a room may enter it. Networks are listed as this hub knows them, which is all of the mesh; in a narrow mesh it
//! knows the size of some only within a half. Peers are listed as this hub knows them too; in a narrow mesh it has them
//! told by other hubs first (`unseen`). Each hub reports its own state: all hubs in reach are asked, at most once a
//! second. Hubs that do not answer within [`ANSWERS_WITHIN`] are named. Each list is sorted, and a page begins after
//! `after`, so that no entry is left out or shown twice while other entries are added or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::admin::Door;
use super::paging::{BadQuery, Query};
use super::{App, Backend};
use crate::log::timestamp;
use crate::mesh::{Condition, HubReport, HubView, MeshView};
use crate::watch::Party;

/// The path of all these lists.
pub(super) const PATH: &str = "/admin/api/";
/// How long hubs have to answer: enough for round trips across the planet, and for a busy hub.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// For how long the answers are shown.
const FRESH: Duration = Duration::from_secs(1);

/// The last answers of the hubs.
pub(super) type Asked = tokio::sync::Mutex<Option<(Instant, Arc<Vec<HubReport>>)>>;

// ---- Hubs -----------------------------------------------------------------------------------------------

/// A hub, as this hub sees it, and as it reports itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HubRow<C> {
    id: String,
    /// This hub itself.
    #[serde(rename = "self")]
    is_self: bool,
    /// Where it can be dialled.
    url: Option<String>,
    region: String,
    /// There is a link to it from the hub that answers.
    direct: bool,
    /// Links to it.
    hops: u8,
    /// The round trip of the link to it.
    rtt_ms: Option<f64>,
    peers: usize,
    draining: bool,
    /// Null if it did not answer in time.
    pub(super) condition: Option<C>,
}

/// How a hub is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Condition)]
pub(super) struct ConditionRow {
    version: String,
    uptime_ms: u64,
    connections: u64,
    max_connections: u64,
    /// Of peers, since its start.
    messages: u64,
    /// CPU time since its start.
    cpu_ms: u64,
    memory_bytes: u64,
    open_files: u64,
    /// How far its clock is ahead of the one of the hub that answers.
    clock_ahead_ms: i64,
}

impl ConditionRow {
    fn new(answer: &HubReport) -> Self {
        let Condition {
            version,
            uptime_ms,
            wall_ms: _,
            connections,
            max_connections,
            messages,
            cpu_ms,
            memory_bytes,
            open_files,
        } = answer.condition.clone();
        ConditionRow {
            version,
            uptime_ms,
            connections,
            max_connections,
            messages,
            cpu_ms,
            memory_bytes,
            open_files,
            clock_ahead_ms: answer.clock_ahead_ms,
        }
    }
}

impl<C> HubRow<C> {
    fn other(hub: HubView) -> Self {
        HubRow {
            id: hub.id.to_string(),
            is_self: false,
            url: hub.url,
            region: hub.region,
            direct: hub.direct,
            hops: hub.hops,
            rtt_ms: hub.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            peers: hub.peers,
            draining: hub.draining,
            condition: None,
        }
    }

    fn own<B: Backend>(app: &App<B>, view: &MeshView) -> Self {
        let mesh = &app.config.mesh;
        HubRow {
            id: view.hub_id.to_string(),
            is_self: true,
            url: mesh.public_url.as_ref().map(ToString::to_string),
            region: mesh.region.clone(),
            direct: false,
            hops: 0,
            rtt_ms: None,
            peers: view.local_peers,
            draining: app.is_draining(),
            condition: None,
        }
    }

    /// The same hub with another form of its condition.
    pub(super) fn with<D>(self, condition: Option<D>) -> HubRow<D> {
        HubRow {
            id: self.id,
            is_self: self.is_self,
            url: self.url,
            region: self.region,
            direct: self.direct,
            hops: self.hops,
            rtt_ms: self.rtt_ms,
            peers: self.peers,
            draining: self.draining,
            condition,
        }
    }
}

/// The reports of the hubs, unless they were asked a moment ago. Requests that arrive meanwhile wait for the same
/// answers.
pub(super) async fn conditions<B: Backend>(app: &App<B>) -> Arc<Vec<HubReport>> {
    let mut asked = app.asked.lock().await;
    if let Some((at, answers)) = &*asked
        && at.elapsed() < FRESH
    {
        return Arc::clone(answers);
    }
    let answers = Arc::new(app.backend.conditions(ANSWERS_WITHIN).await);
    *asked = Some((Instant::now(), Arc::clone(&answers)));
    answers
}

/// All hubs in reach, and the reports of those that answer.
pub(super) async fn all_hubs<B: Backend>(app: &App<B>) -> Vec<(HubId, HubRow<ConditionRow>)> {
    // The view is taken before the hubs are asked, so that a hub that is lost meanwhile is named.
    let mut view = app.backend.view();
    let answers = conditions(app).await;
    let answers: BTreeMap<HubId, &HubReport> = answers.iter().map(|one| (one.hub, one)).collect();
    let others = std::mem::take(&mut view.hubs);
    let others = others.into_iter().map(|hub| (hub.id, HubRow::other(hub)));
    let rows = others.chain([(view.hub_id, HubRow::own(app, &view))]);
    let told = rows.map(|(id, row)| {
        let condition = answers.get(&id).map(|answer| ConditionRow::new(answer));
        (id, HubRow { condition, ..row })
    });
    told.collect()
}

/// A page of the hubs in reach.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HubPage {
    timestamp: String,
    hubs: Vec<HubRow<ConditionRow>>,
    /// The ids of those of all that are asked for, on this page or not, that did not answer in time.
    not_answered: Vec<String>,
    /// What `after` of the next page has to be; null at the end.
    next: Option<String>,
    total: usize,
}

pub(super) async fn hubs<B: Backend>(app: &App<B>, query: &str) -> Result<HubPage, BadQuery> {
    let query = Query::read(query, &["hub", "region"])?;
    let rows = all_hubs(app).await.into_iter();
    let wanted = |row: &HubRow<ConditionRow>| {
        query.wants_hub(&row.id)
            && query
                .filter("region")
                .is_none_or(|region| row.region == region)
    };
    let mut silent = Vec::new();
    let mut all = Vec::new();
    for (_, row) in rows.filter(|(_, row)| wanted(row)) {
        if row.condition.is_none() {
            silent.push(row.id.clone());
        }
        all.push((row.id.clone(), row));
    }
    let page = query.paging.page_by_name(all);
    Ok(HubPage {
        timestamp: timestamp(),
        hubs: page.entries,
        not_answered: silent,
        next: page.next,
        total: page.total,
    })
}

// ---- Networks and peers ---------------------------------------------------------------------------------

/// A network.
#[derive(Serialize, ToSchema)]
#[schema(as = Network)]
pub(super) struct NetworkRow {
    dialect: &'static str,
    network: String,
    peers: usize,
}

/// A page of the networks of the mesh.
#[derive(Serialize, ToSchema)]
pub(super) struct NetworkPage {
    timestamp: String,
    networks: Vec<NetworkRow>,
    /// What `after` of the next page has to be; null at the end.
    next: Option<String>,
    total: usize,
}

fn label(network: &NetworkKey) -> &'static str {
    network.dialect().map_or("unknown", Dialect::label)
}

pub(super) fn networks<B: Backend>(app: &App<B>, query: &str) -> Result<NetworkPage, BadQuery> {
    let query = Query::read(query, &["dialect", "network"])?;
    let dialect = query.dialect()?;
    let after = match query.paging.after().map(|after| after.split_once('/')) {
        None => None,
        Some(None) => return Err(BadQuery::After),
        Some(Some((label, name))) => Some((label.to_owned(), name.to_owned())),
    };
    let wanted = |key: &NetworkKey| {
        let is_dialect = dialect.is_none_or(|one| key.dialect() == Some(one));
        is_dialect
            && query
                .filter("network")
                .is_none_or(|part| key.name().contains(part))
    };
    let all = app.backend.networks().into_iter();
    let all = all.filter(|(key, _)| wanted(key)).map(|(key, peers)| {
        let (dialect, network) = (label(&key), key.name().to_owned());
        let row = NetworkRow {
            dialect,
            network: network.clone(),
            peers,
        };
        ((dialect.to_owned(), network), row)
    });
    let page = query.paging.page(all.collect(), after);
    let next = page.next.map(|(dialect, name)| format!("{dialect}/{name}"));
    Ok(NetworkPage {
        timestamp: timestamp(),
        networks: page.entries,
        next,
        total: page.total,
    })
}

/// A peer, and its party if that was asked for and its hub answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Peer)]
pub(super) struct PeerRow {
    id: String,
    hub: String,
    since_ms: u64,
    /// With `details`, where its hub answered.
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// The subject of its token, likewise, if it names one.
    subject: Option<String>,
}

/// A page of the peers of one network.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerPage {
    timestamp: String,
    dialect: &'static str,
    network: String,
    peers: Vec<PeerRow>,
    /// The ids of hubs that did not answer in time. They were asked for details, or may have peers in this network that
    /// are not known here.
    not_answered: Vec<String>,
    /// What `after` of the next page has to be; null at the end.
    next: Option<String>,
    total: usize,
}

pub(super) async fn peers<B: Backend>(
    app: &App<B>,
    door: Door,
    query: &str,
) -> Result<PeerPage, BadQuery> {
    let query = Query::read(query, &["dialect", "network", "hub", "details"])?;
    let dialect = query.dialect()?.unwrap_or(Dialect::Pigeon);
    let name = query.filter("network").ok_or(BadQuery::NoNetwork)?;
    let network = NetworkKey::new(dialect, name).map_err(|_| BadQuery::NoNetwork)?;
    app.look_for_operator(&network).await;
    let (mut page, mut silent) = {
        let _turn = app.turn(door).acquire().await;
        let all = app.backend.ids(&network, usize::MAX).into_iter();
        let all = all.filter_map(|peer| {
            // The peer may have left since it was listed.
            let (hub, since_ms) = app.backend.holder(&network, &peer)?;
            let row = || (peer.to_string(), (peer, hub, since_ms));
            query.wants_hub(&hub).then(row)
        });
        let page = query.paging.page_by_name(all.collect());
        let mut silent = app.unknown_hubs(&network);
        silent.retain(|hub| query.wants_hub(hub));
        (page, silent)
    };
    let entries = std::mem::take(&mut page.entries);
    let parties = match query.filter("details") {
        Some(_) => details(app, &network, &entries, &mut silent).await,
        None => BTreeMap::new(),
    };
    let rows = entries.into_iter().map(|(peer, hub, since_ms)| {
        let party = parties.get(&peer);
        PeerRow {
            id: peer.to_string(),
            hub: hub.to_string(),
            since_ms,
            address: party.map(|party| party.address),
            subject: party.and_then(|party| party.subject.as_deref().map(str::to_owned)),
        }
    });
    Ok(PeerPage {
        timestamp: timestamp(),
        dialect: dialect.label(),
        network: name.to_owned(),
        peers: rows.collect(),
        not_answered: silent.iter().map(ToString::to_string).collect(),
        next: page.next,
        total: page.total,
    })
}

/// The hubs among these that did not answer.
pub(super) fn silent<'a, T>(
    hubs: impl IntoIterator<Item = &'a HubId>,
    answers: &BTreeMap<HubId, T>,
) -> Vec<String> {
    let silent = hubs.into_iter().filter(|hub| !answers.contains_key(*hub));
    silent.map(ToString::to_string).collect()
}

/// The parties of these peers. Adds the hubs that did not answer to `silent`.
async fn details<B: Backend>(
    app: &App<B>,
    network: &NetworkKey,
    entries: &[(PeerId, HubId, u64)],
    silent: &mut BTreeSet<HubId>,
) -> BTreeMap<PeerId, Party> {
    let places: Vec<(PeerId, HubId)> = entries
        .iter()
        .map(|(peer, hub, _)| (peer.clone(), *hub))
        .collect();
    let told = app.backend.parties(network, &places, ANSWERS_WITHIN).await;
    let asked = places.iter().map(|(_, hub)| *hub);
    silent.extend(asked.filter(|hub| !told.contains_key(hub)));
    let parties = told.into_values().flatten();
    let parties = parties.filter_map(|(peer, party)| Some((peer, party?)));
    parties.collect()
}
