//! JSON Web Tokens (RFC 7519): the key that they are signed with, and the grant of a valid token.
//!
//! [`JwtKey`] is the key and the algorithms that go with it. The header of a token chooses among these algorithms and
//! no others. [`Jwt`] checks tokens: header and signature here, the claims in `claims`, where each refusal names the
//! claim. Signatures are computed by ring, which TLS needs anyway (`ring_jws`). Nothing here knows of HTTP, and no
//! error or log line carries a token.
//!
//! A token is checked when a peer shows it. Its scope and its expiry then belong to the connection, which ends when the
//! token expires. If the key is a secret, the hub signs tokens too (`minting`).

mod claims;
mod key;
mod ring_jws;

use bytes::Bytes;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, encode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Denied, Grant};
use crate::clock::unix_ms;
use claims::{Members, Rules};
pub use key::{BadKey, JwtKey};

/// Keeps proofs of subjects apart from all other proofs.
const PROOF_LABEL: &[u8] = b"hubmesh jwt subject 1\0";

/// The conditions of a valid token.
#[derive(Clone, Debug)]
pub struct Jwt {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
    /// Signs tokens, if the key is a secret.
    signing: Option<EncodingKey>,
    rules: Rules,
}

/// No token can be signed here: the key can only verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this hub verifies tokens and cannot sign any")]
pub struct CannotSign;

impl Jwt {
    /// Tokens are valid if they are signed with this key, have not expired, and have this issuer and audience, where
    /// given.
    pub fn new(key: JwtKey, issuer: Option<&str>, audience: Option<&str>) -> Self {
        ring_jws::install();
        let (key, algorithms, signing) = key.into_parts();
        let rules = Rules {
            issuer: issuer.map(str::to_owned),
            audience: audience.map(str::to_owned),
        };
        Jwt {
            key,
            algorithms,
            signing,
            rules,
        }
    }

    /// Whether it can sign tokens.
    pub fn signs(&self) -> bool {
        self.signing.is_some()
    }

    /// The issuer and the audience that tokens must have, if any are configured.
    pub fn named(&self) -> (Option<&str>, Option<&str>) {
        let Rules { issuer, audience } = &self.rules;
        (issuer.as_deref(), audience.as_deref())
    }

    /// A token with these claims, signed as HS256.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, CannotSign> {
        let key = self.signing.as_ref().ok_or(CannotSign)?;
        encode(&Header::new(Algorithm::HS256), claims, key).map_err(|_| CannotSign)
    }

    /// The proof of this subject, for the issuer that tokens of this hub have.
    pub fn proof_of(&self, subject: &str) -> Bytes {
        proof(self.rules.issuer.as_deref(), Some(subject))
    }

    /// The present grant of this token.
    pub fn check(&self, token: &str) -> Result<Grant, Denied> {
        let (message, signature) = token.rsplit_once('.').ok_or(Denied::Wrong)?;
        let (header, payload) = message.split_once('.').ok_or(Denied::Wrong)?;
        self.check_signature(header, message, signature)?;
        let text = claims::text(payload).ok_or(Denied::Claims)?;
        let claims = Members::read(&text).ok_or(Denied::Claims)?;
        self.rules.grant(&claims, unix_ms() as f64 / 1000.0)
    }

    fn check_signature(&self, header: &str, message: &str, signature: &str) -> Result<(), Denied> {
        // A token without such a header is not a JWT.
        let text = claims::text(header).ok_or(Denied::Wrong)?;
        let header = Members::read(&text).ok_or(Denied::Wrong)?;
        let name = header.string("alg").ok().flatten().ok_or(Denied::Wrong)?;
        let algorithm: Algorithm = name.parse().map_err(|_| Denied::Wrong)?;
        if !self.algorithms.contains(&algorithm) {
            return Err(Denied::Algorithm);
        }
        // RFC 7515, 4.1.11: a token must be refused if its crit lists an extension that the reader does not know. A hub
        // knows none.
        if header.has("crit") {
            return Err(Denied::Critical);
        }
        match crypto::verify(signature, message.as_bytes(), &self.key, algorithm) {
            Ok(true) => Ok(()),
            Err(why) if *why.kind() == ErrorKind::InvalidAlgorithm => Err(Denied::Algorithm),
            Ok(false) | Err(_) => Err(Denied::Signature),
        }
    }
}

/// A proof that is the same on every hub for one subject of one issuer, and that no other subject has; empty without a
/// subject.
fn proof(issuer: Option<&str>, subject: Option<&str>) -> Bytes {
    let Some(subject) = subject.filter(|subject| !subject.is_empty()) else {
        return Bytes::new();
    };
    let mut hash = Sha256::new_with_prefix(PROOF_LABEL);
    // The length keeps "a" + "bc" apart from "ab" + "c". The first byte keeps no issuer apart from an empty one.
    let named = issuer.unwrap_or_default();
    hash.update([u8::from(issuer.is_some())]);
    hash.update((named.len() as u64).to_be_bytes());
    hash.update(named);
    hash.update(subject);
    Bytes::copy_from_slice(&hash.finalize())
}

#[cfg(test)]
mod tests;
