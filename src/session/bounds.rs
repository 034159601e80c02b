//! The restrictions of one client, beside the limits for all: those of its token, or those of a client that has not
//! shown one yet.
//!
//! Used by the conversation, which checks them in `proving`. Knows no connection.

use crate::auth::scope::Scope;
use crate::dialect::Complaint;
use crate::limits::AddressSlot;

/// The restrictions of a client.
pub(super) enum Bounds {
    /// Those of its token.
    Confined(Scope),
    /// It has not shown a token yet. Until then it has a slot among such clients.
    Unproven {
        /// Released when dropped.
        _slot: AddressSlot,
    },
}

impl Bounds {
    /// Those of a client that has not shown a token yet.
    pub(super) fn unproven(slot: AddressSlot) -> Box<Self> {
        Box::new(Bounds::Unproven { _slot: slot })
    }
}

/// The token is for clients of other dialects than that of the connection.
pub(super) fn other_dialect() -> Complaint<'static> {
    let text = "the token is for clients of another dialect: see its dialect";
    Complaint::new("other-dialect", text)
}
