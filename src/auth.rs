//! Who may come in: bearer tokens, compared in constant time.
//!
//! [`Gate`] answers one question, whether what a client presents opens it, and says in a [`Grant`] what else that
//! proves. Other kinds of credentials join as further variants of `Gate` without a change for its callers. Nothing
//! here knows of HTTP or sockets, and nothing here shows a token: [`Secret`] prints as `[redacted]`.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A text that must not be shown: tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Secret(text.into())
    }

    /// The text, for whoever computes with it.
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
    /// What tells this party from all others; empty if nothing does. A token that all peers share proves nothing.
    pub proof: Bytes,
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
}

/// What clients must present.
#[derive(Clone)]
pub enum Gate {
    /// Nothing.
    Open,
    /// The token with this SHA-256.
    Bearer([u8; 32]),
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gate::Open => "Open",
            Gate::Bearer(_) => "Bearer",
        })
    }
}

impl Gate {
    /// Opens to this token; to anyone if there is none.
    pub fn new(token: Option<&Secret>) -> Self {
        match token {
            Some(token) => Gate::Bearer(digest(token.expose())),
            None => Gate::Open,
        }
    }

    /// Whether one of the presented tokens opens the gate.
    ///
    /// Takes the same time for every wrong token of one length: hashes are compared, all bytes of them.
    pub fn check<'t>(&self, presented: impl IntoIterator<Item = &'t str>) -> Result<Grant, Denied> {
        let Gate::Bearer(expected) = self else {
            return Ok(Grant::default());
        };
        let mut denied = Denied::Missing;
        for token in presented {
            if bool::from(digest(token).ct_eq(expected)) {
                return Ok(Grant::default());
            }
            denied = Denied::Wrong;
        }
        Err(denied)
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
        assert_eq!(Gate::new(None).check([]), Ok(Grant::default()));
        assert_eq!(Gate::new(None).check(["whatever"]), Ok(Grant::default()));
    }

    #[test]
    fn a_bearer_gate_opens_to_its_token_alone() {
        let gate = Gate::new(Some(&Secret::new("sesame")));
        assert_eq!(gate.check(["sesame"]), Ok(Grant::default()));
        assert_eq!(gate.check(["wrong", "sesame"]), Ok(Grant::default()));
        assert_eq!(gate.check([]), Err(Denied::Missing));
        for wrong in ["", "sesam", "sesame ", "Sesame", "sesamesesame"] {
            assert_eq!(gate.check([wrong]), Err(Denied::Wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_shared_token_proves_nothing_about_who_shows_it() {
        let gate = Gate::new(Some(&Secret::new("sesame")));
        assert!(
            gate.check(["sesame"])
                .is_ok_and(|grant| grant.proof.is_empty())
        );
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
        let shown = format!("{secret} {secret:?} {:?}", Gate::new(Some(&secret)));
        assert_eq!(shown, "[redacted] [redacted] Bearer");
    }
}
