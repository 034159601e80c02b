//! Who asks: the long-term credential mechanism (RFC 8489, section 9.2) over time-limited credentials.
//!
//! The order is the RFC's: signed at all, whole, by a nonce of ours that is still good, by a name that may come, with its
//! key. That a name's time is over counts only where a relay is asked for, so that a call may outlast the credentials
//! that it began with.

use crate::allocation::Allocation;
use crate::codec::{self, IntegrityKey, Request};
use crate::error_code::Code;
use crate::nonce::Nonces;
use crate::rest;
use crate::{FiveTuple, Moment};

/// What clients sign for. Short, because it is in answers to strangers.
pub(crate) const REALM: &str = "turn";

/// Who asks, proved.
pub(crate) struct Identity {
    /// `expiry:name`.
    pub(crate) username: String,
    pub(crate) key: IntegrityKey,
}

impl Identity {
    /// Whom it names.
    pub(crate) fn name(&self) -> &str {
        rest::parts(&self.username).map_or("", |(_, name)| name)
    }
}

/// Nobody proved anything. The answer is not signed, and has a challenge unless the request was malformed.
pub(crate) struct Unproved(pub(crate) Code);

/// Who signed a request. `existing` is the relay of the one that it comes from.
pub(crate) fn identify(
    request: &Request<'_>,
    secret: &str,
    nonces: &Nonces,
    (now, from): (Moment, FiveTuple),
    existing: Option<&Allocation>,
) -> Result<Identity, Unproved> {
    if !request.is_signed() {
        return Err(Unproved(Code::Unauthorized));
    }
    let all = (request.username(), request.realm(), request.nonce());
    let (Some(username), Some(realm), Some(nonce)) = all else {
        return Err(Unproved(Code::BadRequest));
    };
    if !nonces.is_good(&nonce, from.client, now.at) {
        return Err(Unproved(Code::StaleNonce));
    }
    let known = existing.filter(|allocation| allocation.username == username);
    let parts = rest::parts(&username).filter(|_| realm == REALM);
    let (expiry, _) = parts.ok_or(Unproved(Code::Unauthorized))?;
    let key = match known {
        Some(allocation) => allocation.key.clone(),
        None => codec::key(&username, &rest::password(secret, &username), REALM),
    };
    let is_over = expiry < now.unix_s && known.is_none();
    if is_over || !request.is_signed_by(&key) {
        return Err(Unproved(Code::Unauthorized));
    }
    Ok(Identity { username, key })
}
