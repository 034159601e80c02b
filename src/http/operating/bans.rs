//! `/admin/api/bans`: lists, places and lifts bans.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;
use hubmesh_core::api::BanId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::reply::Response;

use super::super::endpoint::Call;
use super::super::paging::{Paging, Query};
use super::super::refusals::{Badly, Closed, NotRead};
use super::super::reply::ErrorBody;
use super::super::{App, Backend, reply};
use super::acts::{self, decoded};
use super::who::{self, Deed};
use super::{answer, bad, ok, refused};
use crate::log::timestamp;
use crate::watch::{self, BadBan, Banned, BannedBy};

/// How long a ban lasts if the request has no `seconds`.
const SECONDS: u64 = 24 * 60 * 60;

/// A ban. Times are Unix milliseconds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Ban)]
struct BanRow {
    /// The ban's number.
    ban: String,
    /// `id`, `subject`, `address` or `block`.
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

/// A page of the bans in force.
#[derive(Serialize, ToSchema)]
struct BanPage {
    timestamp: String,
    bans: Vec<BanRow>,
    /// The value of `after` for the next page. Null on the last page.
    next: Option<String>,
    total: usize,
    /// `MAX_BANS`.
    max: usize,
}

/// Lists the bans in force.
#[utoipa::path(
    get, path = "/admin/api/bans", tag = "bans", params(Paging), security(("operator" = []), ("login" = [])),
    responses((status = 200, description = "A page of bans, in the order in which they were placed.", body = BanPage), Badly, Closed)
)]
pub(super) fn list<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        who::looks_at_persons(&app, &call)?;
        let query = Query::read(&call.head.query, &[])?;
        let all = app.backend.watch().bans.all();
        // Rows are sorted by time and number, so that each page begins where the previous page ended.
        let key = |ban: &Banned| format!("{:016x}{}", ban.placed_ms, hex::encode(ban.id.0));
        let rows = all.iter().map(|ban| (key(ban), BanRow::new(ban)));
        let page = query.paging.page_by_name(rows.collect());
        ok(&BanPage {
            timestamp: timestamp(),
            bans: page.entries,
            next: page.next,
            total: page.total,
            max: app.config.admin.max_bans,
        })
    })
}

/// A request for a ban. It has exactly one of `id`, `subject`, `address` and `block`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewBan)]
struct Wanted {
    /// An id, 1 to 128 bytes.
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// The subject of a token, 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    subject: Option<String>,
    /// An IPv4 or IPv6 address.
    address: Option<String>,
    /// All addresses of a block, such as 10.0.0.0/8.
    block: Option<String>,
    /// Only with `id`: the ban counts only in networks of this dialect.
    dialect: Option<String>,
    /// Only with `id` and `dialect`: the ban counts only in this network.
    #[schema(min_length = 1, max_length = 128)]
    network: Option<String>,
    /// The reason, for operators: one line of at most 200 bytes.
    #[serde(default)]
    #[schema(max_length = 200)]
    reason: Option<String>,
    /// How long the ban lasts. One day, unless given.
    #[schema(minimum = 1, maximum = 31_622_400)]
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

/// A ban that was placed.
#[derive(Serialize, ToSchema)]
struct Placed {
    ban: BanRow,
    /// How many of its connections the answering hub closed.
    closed: usize,
}

/// Bans an id, a subject, an address or a block.
#[utoipa::path(
    post, path = "/admin/api/bans", tag = "bans", request_body = Wanted, security(("operator" = []), ("login" = [])),
    responses(
        (status = 201, description = "The ban is in force.", body = Placed),
        (status = 409, description = "There are `MAX_BANS` bans.", body = ErrorBody<'static>),
        Badly, Closed, NotRead
    )
)]
pub(super) fn place<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let operator = who::operator(&app, &call, Deed::Change)?;
        let wanted: Wanted = serde_json::from_slice(&call.body)
            .or_else(|why| bad(&format!("a ban is a JSON object: {why}")))?;
        let me = app.backend.view().hub_id;
        let made = wanted.by().and_then(|by| {
            let reason = wanted.reason.clone().unwrap_or_default();
            Banned::new(by, reason, wanted.seconds.unwrap_or(SECONDS), me)
        });
        let ban = made.or_else(|why| bad(&why))?;
        match app.backend.place_ban(&ban).await {
            Ok(closed) => {
                let row = BanRow::new(&ban);
                acts::note(&app, &operator, "ban", row.about());
                let placed = Placed { ban: row, closed };
                Ok(reply::json(StatusCode::CREATED, &placed))
            }
            Err(full) => refused(StatusCode::CONFLICT, &full),
        }
    })
}

/// A ban that was lifted.
#[derive(Serialize, ToSchema)]
struct Lifted {
    lifted: BanRow,
}

/// Lifts a ban.
#[utoipa::path(
    delete, path = "/admin/api/bans/{ban}", tag = "bans", security(("operator" = []), ("login" = [])),
    params(("ban" = String, Path, description = "The ban's number.")),
    responses(
        (status = 200, description = "The ban is lifted.", body = Lifted),
        Closed, NotRead,
        (
            status = 404, body = ErrorBody<'static>,
            description = "There is no such ban, or operators have a listener of their own."
        )
    )
)]
pub(super) fn lift<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let operator = who::operator(&app, &call, Deed::Change)?;
        let name = call.names.first().and_then(|name| decoded(name));
        let mut id = [0; 20];
        let known = name.filter(|name| hex::decode_to_slice(name, &mut id).is_ok());
        let all = app.backend.watch().bans.all();
        let found = known.and_then(|_| all.iter().find(|ban| ban.id == BanId(id)));
        let none = || refused(StatusCode::NOT_FOUND, &"there is no such ban");
        let Some(ban) = found else {
            return none();
        };
        if !app.backend.lift_ban(ban.id).await {
            return none();
        }
        let row = BanRow::new(ban);
        acts::note(&app, &operator, "lift", row.about());
        ok(&Lifted { lifted: row })
    })
}
