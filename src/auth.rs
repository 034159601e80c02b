//! Who may come in: a token that all share, compared in constant time, or a JSON Web Token ([`jwt`]).
//!
//! [`Gate`] decides whether the credentials of a client open it. The [`Grant`] says what else they prove, and what the
//! client is confined to. Further kinds of credentials can be added without a change for the callers. Nothing here
//! knows of HTTP or sockets, and nothing here shows a token: [`Secret`] prints as `[redacted]`, and [`Denied`] says
//! what is wrong with a token without quoting it.

pub mod jwt;
pub mod minting;
pub mod scope;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use jwt::Jwt;
use scope::Scope;

/// How far the clock of an issuer and the clock of a hub may be apart.
pub const CLOCK_GRACE: Duration = Duration::from_secs(30);

/// A text that must not be shown: tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Secret(text.into())
    }

    /// The text, for code that computes with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a client has shown, beyond being let in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    /// Tells this client's party from all others; empty if nothing does. A token that all peers share proves nothing.
    pub proof: Bytes,
    /// The subject of its token, if that names one.
    pub subject: Option<String>,
    /// The issuer of its token, if that names one.
    pub issuer: Option<String>,
    /// The audience of its token; empty if the token names none.
    pub audience: Vec<String>,
    /// What it is confined to.
    pub scope: Scope,
    /// When its token expires, in Unix milliseconds; `None`: never.
    pub expires_ms: Option<u64>,
}

/// The client may not come in. It is the client's fault, and nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// A token is needed and none was shown.
    #[error("a bearer token is needed, in Authorization or as ?token=")]
    Missing,
    /// None of those shown is right.
    #[error("the bearer token is wrong")]
    Wrong,
    /// A JWT that has expired.
    #[error("the token has expired: its exp is in the past")]
    Expired,
    /// A JWT that is not valid yet.
    #[error("the token is not valid yet: its nbf is in the future")]
    NotYetValid,
    /// A JWT that is signed with another key, or was changed.
    #[error("the token's signature is wrong")]
    Signature,
    /// A JWT with an algorithm that does not go with the configured key.
    #[error("the token is signed with an algorithm that this hub does not accept")]
    Algorithm,
    /// A JWT that demands an extension.
    #[error("the token's header has crit, and this hub understands no extension")]
    Critical,
    /// A JWT of another issuer, or of none.
    #[error("the token is from an issuer that this hub does not trust: see its iss")]
    Issuer,
    /// A JWT for another audience, or for none.
    #[error("the token is not meant for this hub: see its aud")]
    Audience,
    /// A JWT without `exp`, or with an `exp` that is not a time.
    #[error("the token lacks exp as a number of seconds since 1970")]
    NoExpiry,
    /// A JWT with a time after the year 9999.
    #[error("the token's {0} is beyond the year 9999: it counts seconds, not milliseconds")]
    Milliseconds(&'static str),
    /// A JWT with a claim of the wrong type.
    #[error("the token's {claim} must be {want}")]
    Claim {
        /// The claim's name.
        claim: &'static str,
        /// What it must be.
        want: &'static str,
    },
    /// A JWT whose claims are not a JSON object.
    #[error("the token's claims are not a JSON object")]
    Claims,
}

/// What clients must present: the shared token or a valid JWT if both are configured, and nothing if neither is.
#[derive(Clone)]
pub struct Gate {
    /// The SHA-256 of the shared token.
    bearer: Option<[u8; 32]>,
    jwt: Option<Jwt>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.bearer, &self.jwt) {
            (None, None) => "Open",
            (Some(_), None) => "Bearer",
            (None, Some(_)) => "Jwt",
            (Some(_), Some(_)) => "Bearer or Jwt",
        })
    }
}

impl Gate {
    /// A gate that opens to this token and to JWTs that pass this check; to any client if there is neither.
    pub fn new(token: Option<&Secret>, jwt: Option<&Jwt>) -> Self {
        Gate {
            bearer: token.map(|token| digest(token.expose())),
            jwt: jwt.cloned(),
        }
    }

    /// Whether it opens to any client.
    pub fn is_open(&self) -> bool {
        self.bearer.is_none() && self.jwt.is_none()
    }

    /// Whether one of these tokens opens the gate. If none does, the error is the one that says most.
    ///
    /// Comparing with the shared token takes the same time for every wrong token of one length: hashes are compared,
    /// all bytes of them.
    pub fn check<'t>(&self, presented: impl IntoIterator<Item = &'t str>) -> Result<Grant, Denied> {
        if self.is_open() {
            return Ok(Grant::default());
        }
        let mut denied = Denied::Missing;
        for token in presented {
            match self.check_one(token) {
                Ok(grant) => return Ok(grant),
                Err(why) if matches!(denied, Denied::Missing | Denied::Wrong) => denied = why,
                Err(_) => {}
            }
        }
        Err(denied)
    }

    fn check_one(&self, token: &str) -> Result<Grant, Denied> {
        let is_shared = |expected: &[u8; 32]| bool::from(digest(token).ct_eq(expected));
        if self.bearer.as_ref().is_some_and(is_shared) {
            return Ok(Grant::default());
        }
        self.jwt.as_ref().ok_or(Denied::Wrong)?.check(token)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The token of an `Authorization` header's value, if it is of the bearer kind.
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_gate_lets_anyone_in() {
        let gate = Gate::new(None, None);
        assert!(gate.is_open());
        assert_eq!(gate.check([]), Ok(Grant::default()));
        assert_eq!(gate.check(["whatever"]), Ok(Grant::default()));
    }

    #[test]
    fn a_bearer_gate_opens_to_its_token_alone() {
        let gate = Gate::new(Some(&Secret::new("sesame")), None);
        assert_eq!(gate.check(["sesame"]), Ok(Grant::default()));
        assert_eq!(gate.check(["wrong", "sesame"]), Ok(Grant::default()));
        assert_eq!(gate.check([]), Err(Denied::Missing));
        for wrong in ["", "sesam", "sesame ", "Sesame", "sesamesesame"] {
            assert_eq!(gate.check([wrong]), Err(Denied::Wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_shared_token_proves_nothing_about_who_shows_it() {
        let gate = Gate::new(Some(&Secret::new("sesame")), None);
        assert!(
            gate.check(["sesame"])
                .is_ok_and(|grant| grant.proof.is_empty())
        );
    }

    /// Expired in 1970, by a secret of 32 zeros: `{"alg":"HS256"}`, `{"exp":1}`.
    const EXPIRED: &str =
        "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.TCVDkpGG6a6FsUpNMrdPJxFgK5IHugNPvyYifgIyolg";

    fn jwt() -> Jwt {
        let key = jwt::JwtKey::secret(&"0".repeat(32)).expect("a key");
        Jwt::new(key, None, None)
    }

    #[test]
    fn with_both_configured_either_opens_and_the_most_telling_reason_is_told() {
        let gate = Gate::new(Some(&Secret::new("sesame")), Some(&jwt()));
        assert!(!gate.is_open());
        assert_eq!(gate.check(["sesame"]), Ok(Grant::default()));
        assert_eq!(gate.check([EXPIRED, "sesame"]), Ok(Grant::default()));
        assert_eq!(gate.check([]), Err(Denied::Missing));
        assert_eq!(gate.check(["wrong"]), Err(Denied::Wrong));
        assert_eq!(gate.check([EXPIRED, "wrong"]), Err(Denied::Expired));
        assert_eq!(gate.check(["wrong", EXPIRED]), Err(Denied::Expired));
        let alone = Gate::new(None, Some(&jwt()));
        assert_eq!(alone.check(["sesame"]), Err(Denied::Wrong));
        assert_eq!(alone.check([EXPIRED]), Err(Denied::Expired));
    }

    #[test]
    fn the_bearer_scheme_is_read_whatever_its_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
    }

    #[test]
    fn secrets_and_gates_do_not_print_their_token() {
        let secret = Secret::new("sesame");
        let gate = Gate::new(Some(&secret), Some(&jwt()));
        let shown = format!("{secret} {secret:?} {gate:?}");
        assert_eq!(shown, "[redacted] [redacted] Bearer or Jwt");
    }
}
