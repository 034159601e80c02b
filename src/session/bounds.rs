//! The restrictions of one client, beside the limits for all clients: the restrictions of its token, or of a client
//! without one so far.
//!
//! Used by the conversation, which checks them in `proving`. Knows no connection.

use crate::auth::scope::Scope;
use crate::dialect::Complaint;
use crate::limits::AddressSlot;

/// The restrictions of a client.
pub(super) enum Bounds {
    /// The restrictions of the client's token.
    Confined(Scope),
    /// The client has not shown a token yet. Until it does, it holds a slot among the unproven clients.
    Unproven {
        /// Released when dropped.
        _slot: AddressSlot,
    },
}

impl Bounds {
    /// The restrictions of a client that has not shown a token yet.
    pub(super) fn unproven(slot: AddressSlot) -> Box<Self> {
        Box::new(Bounds::Unproven { _slot: slot })
    }
}

/// The token is for clients of other dialects than that of the connection.
pub(super) fn other_dialect() -> Complaint<'static> {
    let text = "the token is for clients of another dialect: see its dialect";
    Complaint::new("other-dialect", text)
}
