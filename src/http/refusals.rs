//! The answers to refused requests, for the OpenAPI descriptions: one type for each kind of request.
//!
//! These types are never built: handlers make the answers themselves. Knows no handler.

use utoipa::IntoResponses;

use super::reply::{ErrorBody, NoAnswer};

/// Answers to requests with wrong parameters.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Badly {
    /// A parameter cannot be read.
    #[response(status = 400)]
    Parameter(ErrorBody<'static>),
}

/// Answers to a client that may not read something.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Unseen {
    /// A token is needed, or the token of the request is wrong.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// The token does not allow this, or the request names the operators' listener by a name that an attacker may have
    /// given out.
    #[response(status = 403)]
    Other(ErrorBody<'static>),
    /// Too many requests came from one address. `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
}

/// Answers where other hubs have to be asked: in a mesh in which a hub knows only what concerns its own clients.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Unknown {
    /// Other hubs would know, and do not answer, or too many clients ask: `Retry-After` says when to come back.
    #[response(status = 503)]
    Silent(NoAnswer),
}

/// Answers of pages that only operators see, if the hub has `ADMIN_TOKEN` or `ADMIN_ADDR`.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Elsewhere {
    /// Operators have a listener of their own, and this path is only there.
    #[response(status = 404)]
    Nothing(ErrorBody<'static>),
}

/// Answers to a body that cannot be used.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Unfit {
    /// The body is not what this path expects.
    #[response(status = 400)]
    Body(ErrorBody<'static>),
    /// The body does not say how long it is.
    #[response(status = 411)]
    Length(ErrorBody<'static>),
    /// The body is too long, or a part of it.
    #[response(status = 413)]
    Long(ErrorBody<'static>),
    /// The body is not JSON.
    #[response(status = 415)]
    Kind(ErrorBody<'static>),
}

/// Answers to a client that may not change something, or may not change it now.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Refused {
    /// A token is needed, or the token of the request is wrong.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// The token does not allow this, or `CORS_ORIGIN` does not allow pages of this origin.
    #[response(status = 403)]
    Other(ErrorBody<'static>),
    /// Too many requests came from one address, or the address has as many members as it may have. `Retry-After` says
    /// when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
    /// The hub is full, short of memory or shutting down; or another hub that may know the room or the user does not
    /// answer, or too many clients ask about rooms of other hubs. `Retry-After` says when to come back.
    #[response(status = 503)]
    Full(NoAnswer),
}

/// Answers to a client that is no operator. A path with another 404 lists it after this type, because the last
/// description of a status counts.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Closed {
    /// The token or the cookie of a login is needed, or the request has a wrong one.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// Only operators, only this machine or only pages of this origin may do this.
    #[response(status = 403)]
    Other(ErrorBody<'static>),
    /// Operators have a listener of their own, and this path is only there.
    #[response(status = 404)]
    Elsewhere(ErrorBody<'static>),
    /// Too many wrong tokens came from one address. `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
}

/// Answers to a body that the hub does not read.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum NotRead {
    /// The body does not say how long it is.
    #[response(status = 411)]
    Length(ErrorBody<'static>),
    /// The body is too long.
    #[response(status = 413)]
    Long(ErrorBody<'static>),
}

/// Answers to a client that gets no token.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Unminted {
    /// The body is no request for a token.
    #[response(status = 400)]
    Body(ErrorBody<'static>),
    /// A token is needed, or the token of the request is wrong or has expired.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// The request goes beyond the client's own token, or this client or pages of this origin may not ask for tokens.
    #[response(status = 403)]
    Wider(ErrorBody<'static>),
    /// Too many requests came from one address. `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
    /// The hub has no key to sign tokens.
    #[response(status = 501)]
    Unable(ErrorBody<'static>),
    /// The hub is shutting down. `Retry-After` says when to come back.
    #[response(status = 503)]
    Draining(ErrorBody<'static>),
}

/// Answers to a client that may not do maintenance.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only the descriptions use these types")]
pub(super) enum Unmaintained {
    /// `ADMIN_TOKEN` is needed, or `AUTH_TOKEN` if the hub has no `ADMIN_TOKEN`.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// The hub has neither token, and the request does not come from the hub's own machine.
    #[response(status = 403)]
    Elsewhere(ErrorBody<'static>),
    /// The body does not say how long it is.
    #[response(status = 411)]
    Length(ErrorBody<'static>),
    /// The body is too long.
    #[response(status = 413)]
    Long(ErrorBody<'static>),
    /// Too many requests came from one address. `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
}
