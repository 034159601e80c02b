//! Checks actions against the client's token, on an open connection.
//!
//! The token was checked when it was shown: with the request for the WebSocket or, in some dialects, in the client's
//! first message. Its restrictions are checked here, before each join and before each action that needs a right. Its
//! expiry is one of the `deadlines`. Knows no messages. Part of the conversation.

use std::time::Duration;

use hubmesh_core::api::RoomAsk;
use hubmesh_core::ids::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::bounds::{Bounds, other_dialect};
use super::carrying_out::Cause;
use super::conversation::Conversation;
use crate::auth::scope::{Right, Scope};
use crate::auth::{CLOCK_GRACE, Grant};
use crate::clock::unix_ms;
use crate::dialect::{Action, Actions, Complaint, HubEvent};
use crate::peers::port::MeshPort;
use crate::peers::reason::CloseReason;
use crate::watch::Party;

/// When a token expires, with the grace for clocks; `None`: never, or later than this hub can wait.
pub(super) fn token_end(expires_ms: Option<u64>) -> Option<Instant> {
    expires_ms.and_then(|expires| end_of(expires, unix_ms()))
}

/// The instant at which a token ends, from its expiry and the present time, both as Unix time in milliseconds.
fn end_of(expires_ms: u64, now_ms: u64) -> Option<Instant> {
    let left = Duration::from_millis(expires_ms.saturating_sub(now_ms)) + CLOCK_GRACE;
    let over = Duration::from_millis(now_ms.saturating_sub(expires_ms));
    Instant::now().checked_add(left.saturating_sub(over))
}

impl<S, M> Conversation<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: MeshPort,
{
    /// From now on the client has the rights of a token, for as long as that is valid. A client that joins by
    /// connecting asks only for the network that was checked then.
    pub(super) fn let_in(&mut self, grant: Grant, joins_by_connecting: bool) {
        let Grant {
            proof,
            mut scope,
            expires_ms,
            ..
        } = grant;
        if joins_by_connecting {
            scope.networks = None;
        }
        self.bounds = scope.is_bound().then(|| Box::new(Bounds::Confined(scope)));
        if !proof.is_empty() {
            self.proof = proof;
        }
        self.deadlines.expire(token_end(expires_ms));
    }

    /// Checks the token that the client shows, if one is needed.
    pub(super) fn prove(&mut self, token: &str) -> Result<(), CloseReason> {
        if !self.is_unproven() {
            return Ok(());
        }
        let grant = match self.shared.gate.check([token]) {
            Ok(grant) => grant,
            Err(why) => {
                let reason = CloseReason::Unauthorized;
                let why = Complaint::new(reason.label(), why.to_string());
                self.say(&HubEvent::Ending(why));
                return Err(reason);
            }
        };
        let party = Party::new(self.address, grant.subject.as_deref());
        // Bans are checked after the party is known: either a later ban finds the party at the mailbox, or this check
        // finds the ban.
        self.mailbox.prove(party);
        if self.shared.is_barred(&self.mailbox) {
            return Err(CloseReason::Banned);
        }
        if !grant.scope.speaks(self.dialect()) {
            self.say(&HubEvent::Ending(other_dialect()));
            return Err(CloseReason::Refused);
        }
        self.let_in(grant, false);
        let mut actions = Actions::new(unix_ms);
        self.protocol.tell(&HubEvent::Proven, &mut actions);
        for action in actions {
            // The client has its id now and is told of it, which needs no wait.
            self.try_now(action, Cause::none(CloseReason::Refused))?;
        }
        Ok(())
    }

    fn is_unproven(&self) -> bool {
        matches!(self.bounds.as_deref(), Some(Bounds::Unproven { .. }))
    }

    fn scope(&self) -> Option<&Scope> {
        match self.bounds.as_deref() {
            Some(Bounds::Confined(scope)) => Some(scope),
            _ => None,
        }
    }

    /// Whether its token allows the client this id.
    pub(super) fn admits(&self, peer: &PeerId) -> bool {
        !self.is_unproven() && self.scope().is_none_or(|scope| scope.admits(peer))
    }

    /// Whether its token gives the client a right.
    pub(super) fn has(&self, right: Right) -> bool {
        self.scope().is_none_or(|scope| scope.has(right))
    }

    /// Whether its token allows the client's action; if not, the client is told, and stays as it is.
    pub(super) fn may_do(&mut self, action: &Action<'_>) -> bool {
        let right = match action {
            Action::Publish { .. } => Some(Right::Publish),
            Action::Join {
                room: Some(RoomAsk::Create(_)),
                ..
            } => Some(Right::Create),
            _ => None,
        };
        let lacks = right.filter(|right| !self.has(*right));
        let why = if self.is_closed_to(action) {
            Complaint::new(Complaint::OTHER_ROOM, "the token is for another room")
        } else if let Some(right) = lacks {
            let text = format!("the token has no right to {}: see its rights", right.word());
            Complaint::new("no-right", text)
        } else {
            return true;
        };
        if let Action::Join { leaving, .. } = action {
            let leaving = leaving.as_ref();
            self.say(&HubEvent::Declined { leaving });
        }
        self.say(&HubEvent::Mistake(why));
        false
    }

    /// Whether this asks for a network that its token does not allow.
    fn is_closed_to(&self, action: &Action<'_>) -> bool {
        let Action::Join { network, .. } = action else {
            return false;
        };
        let scope = self.scope();
        scope.is_some_and(|scope| !scope.opens(network.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_after_the_grace_of_clocks() {
        let left = |expires, now| {
            let end = end_of(expires, now).expect("in this era");
            end.saturating_duration_since(Instant::now())
                .as_secs_f64()
                .round()
        };
        assert_eq!(left(10_000, 0), 40.0);
        assert_eq!(left(10_000, 10_000), 30.0);
        assert_eq!(left(10_000, 30_000), 10.0);
        assert_eq!(left(10_000, 50_000), 0.0);
        assert!(left(253_402_300_799_000, 0) > 1e9, "the year 9999");
    }
}
