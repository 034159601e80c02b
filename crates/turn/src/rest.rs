//! Time-limited credentials, as coturn's `static-auth-secret` has them.
//!
//! The holder of the secret makes and checks them, and nobody stores them: the username is `expiry:name`, with the Unix
//! time in seconds at which it ends, and the credential is the base64 of HMAC-SHA1 over the username
//! (draft-uberti-behave-turn-rest-00; coturn, eturnal and LiveKit accept them). Pure: the time is given in.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha1::Sha1;

/// Characters that a name may not hold unencoded: servers compare it byte by byte, and blanks do not survive
/// everywhere.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// A username and its password. It is not shown: a client that has it may relay at the operator's expense.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `expiry:name`.
    pub username: String,
    /// The password, in base64.
    pub credential: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Credentials {
    /// The credentials of `name`, valid until `expiry_unix_s`. Letters beyond ASCII, blanks and `%` of the name are
    /// percent-encoded.
    pub fn new(secret: &str, name: &str, expiry_unix_s: u64) -> Self {
        let name = utf8_percent_encode(name, ENCODED);
        let username = format!("{expiry_unix_s}:{name}");
        let credential = password(secret, &username);
        Credentials {
            username,
            credential,
        }
    }
}

/// The password of a username.
pub(crate) fn password(secret: &str, username: &str) -> String {
    // HMAC takes keys of any length.
    let keyed = Hmac::<Sha1>::new_from_slice(secret.as_bytes());
    let mut mac = keyed.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// When a username ends, and its name.
pub(crate) fn parts(username: &str) -> Option<(u64, &str)> {
    let (expiry, name) = username.split_once(':')?;
    let is_number = !expiry.is_empty() && expiry.bytes().all(|byte| byte.is_ascii_digit());
    let expiry = expiry.parse().ok().filter(|_| is_number)?;
    (!name.is_empty()).then_some((expiry, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> Credentials {
        Credentials::new("north", name, 1_700_000_300)
    }

    #[test]
    fn credentials_are_what_coturn_computes() {
        // printf %s 1700000300:alice | openssl dgst -sha1 -hmac north -binary | base64
        let made = made("alice");
        assert_eq!(made.username, "1700000300:alice");
        assert_eq!(made.credential, "9G1RQudwl1L/ozNGiXzitEuA3uc=");
    }

    #[test]
    fn a_name_becomes_plain_ascii_and_stays_apart_from_all_others() {
        let name = |name: &str| made(name).username.replacen("1700000300:", "", 1);
        assert_eq!(name("a:b-c_d"), "a:b-c_d");
        assert_eq!(name("a b"), "a%20b");
        assert_eq!(name("a%20b"), "a%2520b");
        assert_eq!(name("ä\n"), "%C3%A4%0A");
    }

    #[test]
    fn credentials_do_not_print() {
        assert_eq!(format!("{:?}", made("alice")), "[redacted]");
    }

    #[test]
    fn a_username_is_a_time_and_a_name() {
        assert_eq!(parts("12:a:b"), Some((12, "a:b")));
        for wrong in [
            "",
            "12",
            "12:",
            ":a",
            "+1:a",
            "x:a",
            "99999999999999999999:a",
        ] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
