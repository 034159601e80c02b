//! `POST /api/auth/token`: tokens for clients, made by the hub.
//!
//! An operator gets any token; whoever shows a token in `Authorization` gets one that is no wider than that. What a token
//! may be is `auth::minting`'s to know, here is who asks. Asking counts as a request for a WebSocket does, since it tries a
//! token as that does, and pages of origins that may not connect may not ask.
//!
//! Without `ADMIN_TOKEN`, `ADMIN_ADDR` and `AUTH_TOKEN` there is nothing that an operator could show. Then a program on the
//! same machine is one that asks by an address of this machine: what a proxy passes on, and what a page asks for, is not.

use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use warp::reply::Response;

use super::admit::{self, Refused};
use super::endpoint::{Call, Endpoint, Handler};
use super::near::is_of_this_machine;
use super::{App, Backend, Head, admin, reply};
use crate::auth::Grant;
use crate::auth::jwt::CannotSign;
use crate::auth::minting::{Asker, NotMinted, TokenAnswer, TokenRequest, mint};
use crate::clock::unix_ms;
use crate::metrics::Minting;

/// The longest request, in bytes: as many names as there may be, each of the longest, written in any way.
const MOST: u64 = 64 * 1024;

/// Why there is no token. Nothing changed.
#[derive(Debug, thiserror::Error)]
enum NoToken {
    /// The one who asks may not ask for anything.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody is told apart here, and the one who asks is not on this machine.
    #[error(
        "on a hub without ADMIN_TOKEN and AUTH_TOKEN only programs of its own machine are given tokens, by its own \
         address and through no proxy; others show a token in Authorization"
    )]
    NotHere,
    /// What is asked for is not given.
    #[error(transparent)]
    NotMinted(#[from] NotMinted),
    /// The hub has no key that signs.
    #[error("this hub cannot make tokens: {0}")]
    Unable(&'static str),
    /// The body is no request.
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

fn answer<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
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
                // Not why: what is wrong with a body may be in its words.
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
            "JWT_PUBLIC_KEY verifies and does not sign, and whoever holds the private key makes them",
        )),
        minted => Ok(minted?),
    }
}

/// What the one who asks holds; `None` is all, as operators do.
fn asker<B: Backend>(app: &App<B>, call: &Call) -> Result<Option<Grant>, NoToken> {
    let headers = &call.head.headers;
    if app.operators.are_told_apart() {
        if app.operators.check(call.door, headers).is_ok() {
            return Ok(None);
        }
    } else if app.config.auth_token.is_some() {
        // Whoever holds what all hold is an operator where nobody else is.
        let grant = shown(app, &call.head)?;
        return Ok(grant.expires_ms.is_some().then_some(grant));
    } else if !headers.contains_key(AUTHORIZATION) {
        let is_here = is_of_this_machine(app, &call.head).is_ok();
        return is_here.then_some(None).ok_or(NoToken::NotHere);
    }
    Ok(Some(shown(app, &call.head)?))
}

/// What the tokens in `Authorization` grant, unless their subject is banned: addresses end in logs.
fn shown<B: Backend>(app: &App<B>, head: &Head) -> Result<Grant, Refused> {
    let shown = app.gate.check(admin::bearers(&head.headers))?;
    admit::not_barred(app, head, shown)
}

impl NoToken {
    fn counted_as(&self) -> Minting {
        match self {
            NoToken::Refused(_) | NoToken::NotHere => Minting::Refused,
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
