//! The answers to refused requests, for the description: one type for each kind of request.
//!
//! The answers themselves are made where the fault is found. Knows no handler.

use utoipa::IntoResponses;

use super::reply::{ErrorBody, NoAnswer};

/// Answers to requests with wrong parameters.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Badly {
    /// A parameter cannot be read.
    #[response(status = 400)]
    Parameter(ErrorBody<'static>),
}

/// Answers to a client that may not see something.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Unseen {
    /// A token is needed, or the one that is shown is wrong.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// The token is for something else, or a client asked for the operators' page by a name that an attacker may give
    /// out.
    #[response(status = 403)]
    Other(ErrorBody<'static>),
    /// Too many requests came from one address: `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
}

/// Answers where other hubs have to be asked: in a mesh in which a hub knows only what concerns its own clients.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Unknown {
    /// Other hubs would know, and do not answer, or too many clients ask: `Retry-After` says when to come back.
    #[response(status = 503)]
    Silent(NoAnswer),
}

/// Answers where only operators are answered, if they are told apart.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Elsewhere {
    /// Operators have a listener of their own: here is nothing.
    #[response(status = 404)]
    Nothing(ErrorBody<'static>),
}

/// Answers to a body that cannot be used.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Unfit {
    /// The body does not fit.
    #[response(status = 400)]
    Body(ErrorBody<'static>),
    /// The body does not say how long it is.
    #[response(status = 411)]
    Length(ErrorBody<'static>),
    /// The body is too long, or something in it.
    #[response(status = 413)]
    Long(ErrorBody<'static>),
    /// The body is no JSON.
    #[response(status = 415)]
    Kind(ErrorBody<'static>),
}

/// Answers to a client that may not change something, or not now.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Refused {
    /// A token is needed, or the one that is shown is wrong.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// The token is for something else, or pages of this origin may not use the hub.
    #[response(status = 403)]
    Other(ErrorBody<'static>),
    /// Too many requests came from one address, or it has as many members as it may have: `Retry-After` says when to
    /// come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
    /// The hub is full, short of memory or shutting down: `Retry-After` says when to come back.
    #[response(status = 503)]
    Full(ErrorBody<'static>),
}

/// Answers to whoever may not see what operators see. A description of another 404 stands behind it: the last counts.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Closed {
    /// The token or the cookie of a login is needed, or the one that is shown is wrong.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// It is for operators alone, for this machine alone, or for pages of this origin alone.
    #[response(status = 403)]
    Other(ErrorBody<'static>),
    /// Operators have a listener of their own: here is nothing.
    #[response(status = 404)]
    Elsewhere(ErrorBody<'static>),
    /// Too many wrong tokens came from one address: `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
}

/// Answers to a body that is not read.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum NotRead {
    /// The body does not say how long it is.
    #[response(status = 411)]
    Length(ErrorBody<'static>),
    /// The body is too long.
    #[response(status = 413)]
    Long(ErrorBody<'static>),
}

/// Answers to whoever is given no token.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Unminted {
    /// The body is no request for a token.
    #[response(status = 400)]
    Body(ErrorBody<'static>),
    /// A token is needed, or the one that is shown is wrong or over.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// It goes beyond the token that is shown, or this caller or pages of this origin may not ask.
    #[response(status = 403)]
    Wider(ErrorBody<'static>),
    /// Too many requests came from one address: `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
    /// The hub has no key that signs.
    #[response(status = 501)]
    Unable(ErrorBody<'static>),
    /// The hub shuts down: `Retry-After` says when to come back.
    #[response(status = 503)]
    Draining(ErrorBody<'static>),
}

/// Answers to whoever may not look after the hub.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "these are for the description alone")]
pub(super) enum Unmaintained {
    /// `ADMIN_TOKEN` is needed, or `AUTH_TOKEN` if that is not set.
    #[response(status = 401)]
    Token(ErrorBody<'static>),
    /// There is neither, and the request does not come from the hub's own machine.
    #[response(status = 403)]
    Elsewhere(ErrorBody<'static>),
    /// The body does not say how long it is.
    #[response(status = 411)]
    Length(ErrorBody<'static>),
    /// There is a body, and it is too long.
    #[response(status = 413)]
    Long(ErrorBody<'static>),
    /// Too many requests came from one address: `Retry-After` says when to come back.
    #[response(status = 429)]
    Often(ErrorBody<'static>),
}
