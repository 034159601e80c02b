//! `POST /api/auth/token`: tokens for clients, made by the hub.
//!
//! An operator gets any token. A client that shows a token in `Authorization` gets one that is no wider.
//! `auth::minting` decides which tokens are made; this module decides which client may ask for one. A request counts
//! like one for a WebSocket, because it can be used to guess a token in the same way. Pages of origins that may not
//! connect may not ask.
//!
//! Without `ADMIN_TOKEN`, `ADMIN_ADDR` and `AUTH_TOKEN` an operator has nothing to show. Then a program on the same
//! machine counts as an operator if it asks by an address of this machine; requests through a proxy or from a page do
//! not count.

use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use warp::reply::Response;

use super::admin::NoOperator;
use super::admit::{self, Refused};
use super::endpoint::{Call, Endpoint, Handler};
use super::near::is_of_this_machine;
use super::refusals::{NotRead, Unminted};
use super::{App, Backend, Head, admin, reply};
use crate::auth::Grant;
use crate::auth::jwt::CannotSign;
use crate::auth::minting::{Asker, NotMinted, TokenAnswer, TokenRequest, mint};
use crate::clock::unix_ms;
use crate::metrics::Minting;

/// The longest request, in bytes: the most names, each of the longest, with every character escaped.
const MOST: u64 = 64 * 1024;

/// Why there is no token. Nothing changed.
#[derive(Debug, thiserror::Error)]
enum NoToken {
    /// The client may not ask at all.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The token may be an operator's, and no bearer of this address is compared now.
    #[error(transparent)]
    NotCompared(NoOperator),
    /// The settings do not tell operators from other clients, and the client is not on this machine.
    #[error(
        "on a hub without ADMIN_TOKEN and AUTH_TOKEN only programs of its own machine are given tokens, by its own \
         address and through no proxy; others show a token in Authorization"
    )]
    NotHere,
    /// The hub does not give this token.
    #[error(transparent)]
    NotMinted(#[from] NotMinted),
    /// The hub has no key that signs.
    #[error("this hub cannot make tokens: {0}")]
    Unable(&'static str),
    /// The body cannot be read.
    #[error("the body is no request for a token: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// `/api/auth/token`.
pub(super) fn endpoint<B: Backend>() -> Endpoint<B> {
    Endpoint {
        path: "api/auth/token",
        most: MOST,
        handlers: Handlers::<B>::ALL,
    }
}

struct Handlers<B>(std::marker::PhantomData<B>);

impl<B: Backend> Handlers<B> {
    const ALL: &'static [(Method, Handler<B>)] = &[(Method::POST, answer)];
}

/// Makes a token for a client. Operators are given any; whoever shows a token, one that is no wider than that.
#[utoipa::path(
    post, path = "/api/auth/token", tag = "tokens", request_body = TokenRequest,
    security((), ("token" = []), ("operator" = [])),
    responses((status = 200, description = "The token, and what it is for.", body = TokenAnswer), Unminted, NotRead)
)]
pub(super) fn answer<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    async move {
        let client = admit::client(&app, &call.head);
        match try_answer(&app, &call, client) {
            Ok(made) => {
                app.metrics.tokens.inc(Minting::Made);
                reply::json(StatusCode::OK, &made)
            }
            Err(why) => {
                app.metrics.tokens.inc(why.counted_as());
                let client = client.map(tracing::field::display);
                // The reason is left out: it may quote the body.
                let result = why.counted_as().as_str();
                tracing::debug!(client, result, "no token was made");
                why.response(&app)
            }
        }
    }
    .boxed()
}

fn try_answer<B: Backend>(
    app: &App<B>,
    call: &Call,
    client: Option<IpAddr>,
) -> Result<TokenAnswer, NoToken> {
    admit::turn(app, client)?;
    admit::origin(app, &call.head)?;
    let Some(jwt) = app.config.jwt.as_ref() else {
        return Err(NoToken::Unable("it has no JWT_SECRET to sign them with"));
    };
    let asker = asker(app, call)?;
    let request: TokenRequest = serde_json::from_slice(&call.body)?;
    let asker = match &asker {
        Some(grant) => Asker::Holder(grant),
        None => Asker::Operator,
    };
    match mint(jwt, asker, request, unix_ms() / 1_000) {
        Err(NotMinted::CannotSign(CannotSign)) => Err(NoToken::Unable(
            "JWT_PUBLIC_KEY only verifies: the holder of the private key makes tokens",
        )),
        minted => Ok(minted?),
    }
}

/// The grant of the client; `None` for operators, who may ask for any token.
fn asker<B: Backend>(app: &App<B>, call: &Call) -> Result<Option<Grant>, NoToken> {
    let headers = &call.head.headers;
    if app.operators.are_told_apart() {
        let checked = app.check_operator_or_client(call.door, &call.head);
        if let Err(why @ NoOperator::TooMany(_)) = checked {
            return Err(NoToken::NotCompared(why));
        }
        if app.tells_more(checked) {
            return Ok(None);
        }
    } else if app.config.auth_token.is_some() {
        // If there is no operators' token, a client with the shared token counts as an operator.
        let grant = shown(app, &call.head)?;
        return Ok(grant.expires_ms.is_some().then_some(grant));
    } else if !headers.contains_key(AUTHORIZATION) {
        let is_here = is_of_this_machine(app, &call.head).is_ok();
        return is_here.then_some(None).ok_or(NoToken::NotHere);
    }
    Ok(Some(shown(app, &call.head)?))
}

/// The grant of the tokens in `Authorization`, unless their subject is banned. Tokens in the address do not count,
/// because addresses end in logs.
fn shown<B: Backend>(app: &App<B>, head: &Head) -> Result<Grant, Refused> {
    let shown = app.gate.check(admin::bearers(&head.headers))?;
    admit::not_barred(app, head, shown)
}

impl NoToken {
    fn counted_as(&self) -> Minting {
        match self {
            NoToken::Refused(_) | NoToken::NotCompared(_) | NoToken::NotHere => Minting::Refused,
            NoToken::NotMinted(NotMinted::Field { .. }) | NoToken::Malformed(_) => {
                Minting::Malformed
            }
            NoToken::NotMinted(_) => Minting::Refused,
            NoToken::Unable(_) => Minting::Unable,
        }
    }

    fn response<B: Backend>(&self, app: &App<B>) -> Response {
        let why = self.to_string();
        let status = match self {
            NoToken::Refused(refused) => return admit::refuse(app, *refused),
            NoToken::NotCompared(why) => return admin::refuse(app, *why),
            NoToken::NotMinted(NotMinted::Expired(_)) => return reply::unauthorized(&why),
            NoToken::NotMinted(NotMinted::Field { .. }) | NoToken::Malformed(_) => {
                StatusCode::BAD_REQUEST
            }
            NoToken::NotHere | NoToken::NotMinted(_) => StatusCode::FORBIDDEN,
            NoToken::Unable(_) => StatusCode::NOT_IMPLEMENTED,
        };
        reply::error(status, &why)
    }
}
