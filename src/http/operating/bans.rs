//! `/admin/api/bans`: lists, places and lifts bans.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use hubmesh_core::api::BanId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use warp::reply::Response;

use super::super::endpoint::Call;
use super::super::paging::Query;
use super::super::{App, Backend, reply};
use super::acts::{self, decoded};
use super::bad;
use super::who::Operator;
use crate::log::timestamp;
use crate::watch::{self, BadBan, Banned, BannedBy};

/// How long a ban lasts if the request does not say it.
const SECONDS: u64 = 24 * 60 * 60;

/// A ban as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BanRow {
    ban: String,
    kind: &'static str,
    value: String,
    dialect: Option<String>,
    network: Option<String>,
    reason: String,
    placed_at: u64,
    until: u64,
    placed_by: String,
}

impl BanRow {
    fn new(ban: &Banned) -> Self {
        let (dialect, network) = match &ban.by {
            BannedBy::Id {
                dialect, network, ..
            } => (dialect.clone(), network.clone()),
            BannedBy::Subject(_) | BannedBy::Address(_) | BannedBy::Block(..) => (None, None),
        };
        BanRow {
            ban: hex::encode(ban.id.0),
            kind: ban.by.kind(),
            value: ban.by.value(),
            dialect,
            network,
            reason: ban.reason.clone(),
            placed_at: ban.placed_ms,
            until: ban.until_ms,
            placed_by: ban.placed_by.to_string(),
        }
    }

    fn about(&self) -> watch::Operator {
        watch::Operator {
            ban: Some(self.ban.clone()),
            kind: Some(self.kind.to_owned()),
            value: Some(self.value.clone()),
            dialect: self.dialect.clone(),
            network: self.network.clone(),
            reason: Some(self.reason.clone()),
            ..watch::Operator::default()
        }
    }
}

/// The bans that count, in the order in which they were placed.
pub(super) fn list<B: Backend>(app: &Arc<App<B>>, call: &Call) -> Response {
    let query = match Query::read(&call.head.query, &[]) {
        Ok(query) => query,
        Err(why) => return bad(&why),
    };
    let all = app.backend.watch().bans.all();
    // By time and number, so that a page begins where the one before ended.
    let key = |ban: &Banned| format!("{:016x}{}", ban.placed_ms, hex::encode(ban.id.0));
    let rows = all.iter().map(|ban| (key(ban), BanRow::new(ban)));
    let page = query.paging.page_by_name(rows.collect());
    let body = json!({
        "timestamp": timestamp(),
        "bans": page.entries,
        "next": page.next,
        "total": page.total,
        "max": app.config.admin.max_bans,
    });
    reply::json(StatusCode::OK, &body)
}

/// The target of a ban, as an operator says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    id: Option<String>,
    subject: Option<String>,
    address: Option<String>,
    block: Option<String>,
    dialect: Option<String>,
    network: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    seconds: Option<u64>,
}

impl Wanted {
    fn by(&self) -> Result<BannedBy, BadBan> {
        let (dialect, network) = (self.dialect.as_deref(), self.network.as_deref());
        if self.id.is_none() && (dialect.is_some() || network.is_some()) {
            return Err(BadBan::Bound);
        }
        match (&self.id, &self.subject, &self.address, &self.block) {
            (Some(id), None, None, None) => BannedBy::id(id, dialect, network),
            (None, Some(subject), None, None) => BannedBy::subject(subject),
            (None, None, Some(address), None) => BannedBy::address(address),
            (None, None, None, Some(block)) => BannedBy::block(block),
            _ => Err(BadBan::NotOne),
        }
    }
}

/// Places a ban.
pub(super) async fn place<B: Backend>(
    app: &Arc<App<B>>,
    call: &Call,
    operator: &Operator,
) -> Response {
    let wanted: Wanted = match serde_json::from_slice(&call.body) {
        Ok(wanted) => wanted,
        Err(why) => return bad(&format!("a ban is a JSON object: {why}")),
    };
    let me = app.backend.view().hub_id;
    let made = wanted.by().and_then(|by| {
        let reason = wanted.reason.clone().unwrap_or_default();
        Banned::new(by, reason, wanted.seconds.unwrap_or(SECONDS), me)
    });
    let ban = match made {
        Ok(ban) => ban,
        Err(why) => return bad(&why),
    };
    match app.backend.place_ban(&ban).await {
        Ok(closed) => {
            let row = BanRow::new(&ban);
            acts::note(app, operator, "ban", row.about());
            let body = json!({ "ban": row, "closed": closed });
            reply::json(StatusCode::CREATED, &body)
        }
        Err(full) => reply::error(StatusCode::CONFLICT, &full.to_string()),
    }
}

/// Lifts a ban.
pub(super) async fn lift<B: Backend>(
    app: &Arc<App<B>>,
    call: &Call,
    operator: &Operator,
) -> Response {
    let name = call.names.first().and_then(|name| decoded(name));
    let mut id = [0; 20];
    let known = name.filter(|name| hex::decode_to_slice(name, &mut id).is_ok());
    let all = app.backend.watch().bans.all();
    let all: BTreeMap<BanId, Banned> = all.into_iter().map(|ban| (ban.id, ban)).collect();
    let found = known.and_then(|_| all.get(&BanId(id)));
    let none = || reply::error(StatusCode::NOT_FOUND, "there is no such ban");
    let Some(ban) = found else {
        return none();
    };
    if !app.backend.lift_ban(ban.id).await {
        return none();
    }
    let row = BanRow::new(ban);
    acts::note(app, operator, "lift", row.about());
    reply::json(StatusCode::OK, &json!({ "lifted": row }))
}
