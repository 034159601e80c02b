//! What holds a client back, beside the limits that all have: its token, or the token that it has yet to show.
//!
//! Used by the conversation, which looks at it in `proving`. Knows no connection.

use crate::auth::scope::Scope;
use crate::dialect::Complaint;
use crate::limits::AddressSlot;

/// What holds a client back.
pub(super) enum Bounds {
    /// Its token confines it.
    Confined(Scope),
    /// It has yet to show a token. It has a slot among such clients until then.
    Unproven {
        /// Free again when dropped.
        _slot: AddressSlot,
    },
}

impl Bounds {
    /// Those of a client that has yet to show a token.
    pub(super) fn unproven(slot: AddressSlot) -> Box<Self> {
        Box::new(Bounds::Unproven { _slot: slot })
    }
}

/// The token is for clients of other dialects than that of the connection.
pub(super) fn other_dialect() -> Complaint<'static> {
    let text = "the token is for clients of another dialect: see its dialect";
    Complaint::new("other-dialect", text)
}
