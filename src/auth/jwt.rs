//! JSON Web Tokens (RFC 7519): which key they are signed with, and what a valid one grants.
//!
//! [`JwtKey`] is the key and, with it, the only algorithms that are taken: what a token says of its own algorithm
//! chooses among those of the key's kind and nothing else. [`Jwt`] checks tokens. Signatures are computed by ring,
//! which TLS brings along (`ring_jws`). Nothing here knows of HTTP, and no error or log line carries a token.
//!
//! A token is looked at when a peer connects, and never again: a connection outlives the token that opened it.

mod key;
mod ring_jws;

use bytes::Bytes;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Denied, Grant};
pub use key::{BadKey, JwtKey};

/// How far the clocks of issuer and hub may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 30;

/// Keeps what a subject proves apart from everything else that is hashed into a proof.
const PROOF_LABEL: &[u8] = b"hubmesh jwt subject 1\0";

/// What makes a token valid.
#[derive(Clone, Debug)]
pub struct Jwt {
    key: DecodingKey,
    validation: Validation,
}

/// The claims that the hub uses beyond those that `jsonwebtoken` checks.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    #[serde(rename = "peerId")]
    peer_id: Option<String>,
    room: Option<String>,
}

impl Jwt {
    /// Signed with this key, not expired, and by this issuer and for this audience where one is given.
    pub fn new(key: JwtKey, issuer: Option<&str>, audience: Option<&str>) -> Self {
        ring_jws::install();
        let (key, algorithms) = key.into_parts();
        let mut validation = Validation {
            algorithms,
            leeway: LEEWAY_SECONDS,
            validate_nbf: true,
            validate_aud: audience.is_some(),
            ..Validation::default()
        };
        let mut required = vec!["exp"];
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Jwt { key, validation }
    }

    /// What this token grants now.
    pub fn check(&self, token: &str) -> Result<Grant, Denied> {
        // What has no such header is some other kind of token.
        decode_header(token).map_err(|_| Denied::Wrong)?;
        let claims = decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|why| denied(&why))?
            .claims;
        Ok(Grant {
            proof: proof(claims.iss.as_deref(), claims.sub.as_deref()),
            peer_id: claims.peer_id,
            room: claims.room,
        })
    }
}

fn denied(why: &Error) -> Denied {
    match why.kind() {
        ErrorKind::ExpiredSignature => Denied::Expired,
        ErrorKind::ImmatureSignature => Denied::NotYetValid,
        ErrorKind::InvalidSignature | ErrorKind::Base64(_) => Denied::Signature,
        ErrorKind::InvalidAlgorithm => Denied::Algorithm,
        ErrorKind::InvalidIssuer => Denied::Issuer,
        ErrorKind::InvalidAudience => Denied::Audience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => Denied::Issuer,
            "aud" => Denied::Audience,
            _ => Denied::Claims,
        },
        _ => Denied::Claims,
    }
}

/// The same for one subject of one issuer on every hub, and for nobody else; empty without a subject.
fn proof(issuer: Option<&str>, subject: Option<&str>) -> Bytes {
    let Some(subject) = subject.filter(|subject| !subject.is_empty()) else {
        return Bytes::new();
    };
    let mut hash = Sha256::new_with_prefix(PROOF_LABEL);
    // The length keeps "a" + "bc" apart from "ab" + "c", the first byte no issuer from an empty one.
    let named = issuer.unwrap_or_default();
    hash.update([u8::from(issuer.is_some())]);
    hash.update((named.len() as u64).to_be_bytes());
    hash.update(named);
    hash.update(subject);
    Bytes::copy_from_slice(&hash.finalize())
}

#[cfg(test)]
mod tests;
