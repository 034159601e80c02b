//! Who sends a request: the long-term credential mechanism (RFC 8489, section 9.2) over time-limited credentials.
//!
//! The checks have the order of the RFC: signed at all, complete, with a valid nonce of ours, with an allowed name,
//! with its key. The expiry of a name counts only when a relay is requested, so that a call may outlast the credentials
//! with which it began.

use crate::allocation::Allocation;
use crate::codec::{self, IntegrityKey, Request};
use crate::error_code::Code;
use crate::nonce::Nonces;
use crate::rest;
use crate::{FiveTuple, Moment};

/// The realm that clients sign for. Short, because answers to strangers contain it.
pub(crate) const REALM: &str = "turn";

/// A proven user.
pub(crate) struct Identity {
    /// `expiry:name`.
    pub(crate) username: String,
    pub(crate) key: IntegrityKey,
}

impl Identity {
    /// The name.
    pub(crate) fn name(&self) -> &str {
        rest::parts(&self.username).map_or("", |(_, name)| name)
    }
}

/// The client proved nothing. The answer is not signed, and has a challenge unless the request was malformed.
pub(crate) struct Unproved(pub(crate) Code);

/// The user that signed a request. `existing` is the relay of the client that it comes from.
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
