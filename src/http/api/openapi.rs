//! The description of `/api` as OpenAPI 3.1 has it, made of the handlers and the types that are served.

use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{rooms, service};

/// How clients show tokens.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut Document) {
        let bearer = |what: &str| {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
            SecurityScheme::Http(scheme.description(Some(what)).build())
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", bearer("AUTH_TOKEN, or a JWT"));
        components.add_security_scheme("operator", bearer("ADMIN_TOKEN, else AUTH_TOKEN"));
    }
}

/// The description of `/api`.
#[derive(OpenApi)]
#[openapi(
    paths(
        service::health, service::stats, service::cleanup, service::gc,
        rooms::list, rooms::create, rooms::details, rooms::stats, rooms::peers, rooms::join, rooms::leave,
    ),
    modifiers(&Tokens),
    info(
        title = "hubmesh",
        description = "Rooms of a mesh of signaling hubs, tokens for its clients, and how a hub is looked after."
    )
)]
struct Api;

/// What is answered here.
pub(in super::super) fn document() -> Document {
    Api::openapi()
}
