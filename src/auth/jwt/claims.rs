//! The claims of a token whose signature is right: whether they hold now and here, and what they grant.
//!
//! JSON as JavaScript writes it: of a claim that is there twice the last counts, and half of a surrogate pair is U+FFFD.
//! Every refusal names the claim that it is about, and none its value. Knows no key and no clock.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;

use super::proof;
use crate::auth::{Denied, Grant};
use hubmesh_json as json;

/// How far the clocks of issuer and hub may be apart, in seconds.
const LEEWAY_SECONDS: f64 = 30.0;

/// The last second of the year 9999: what is later was counted in milliseconds.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// The JSON text of a part of a token, if it is text.
pub(super) fn text(part: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    Some(json::well_formed(&text).into_owned())
}

/// The members of an object, by name.
pub(super) struct Members<'t>(BTreeMap<String, &'t RawValue>);

impl<'t> Members<'t> {
    /// Those of this text, if it is an object.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Members)
    }

    /// Whether there is a member of this name, whatever it is.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn raw(&self, name: &str) -> Option<&'t str> {
        self.0.get(name).map(|value| value.get())
    }

    /// A string, or nothing if it is absent or `null`.
    pub(super) fn string(&self, name: &'static str) -> Result<Option<String>, Denied> {
        let Some(raw) = self.raw(name).filter(|raw| *raw != "null") else {
            return Ok(None);
        };
        let want = "a string";
        let wrong = Denied::Claim { claim: name, want };
        json::string(raw).map_or(Err(wrong), |text| Ok(Some(text.into_owned())))
    }

    /// Seconds since 1970, or nothing if it is absent.
    fn time(&self, name: &'static str) -> Result<Option<f64>, Denied> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let want = "a number of seconds since 1970";
        let wrong = Denied::Claim { claim: name, want };
        let seconds: f64 = raw.parse().map_err(|_| wrong)?;
        if seconds > LAST_SECOND {
            return Err(Denied::Milliseconds(name));
        }
        if seconds < 0.0 {
            Err(wrong)
        } else {
            Ok(Some(seconds))
        }
    }

    /// A subject is a string; many issuers put the number of a row there.
    fn subject(&self) -> Result<Option<String>, Denied> {
        let number = self.raw("sub").and_then(decimal);
        let wrong = Denied::Claim {
            claim: "sub",
            want: "a string or a number",
        };
        number.map_or_else(
            || self.string("sub").map_err(|_| wrong),
            |number| Ok(Some(number)),
        )
    }

    /// Whether the token is meant for this audience, alone or among others.
    fn is_for(&self, audience: &str) -> bool {
        let Some(raw) = self.raw("aud") else {
            return false;
        };
        let all: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
        let mut each = all.iter().map(|one| one.get()).chain([raw]);
        each.any(|one| json::string(one).is_some_and(|one| one == audience))
    }
}

/// The decimal text of a number: that of its value, and of as many digits as it has.
fn decimal(raw: &str) -> Option<String> {
    let number: f64 = raw.parse().ok()?;
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if number == 0.0 {
        return Some("0".into());
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(raw.into());
    }
    number.is_finite().then(|| number.to_string())
}

/// Whom tokens have to be of, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
}

impl Rules {
    /// What these claims grant at this time, in seconds since 1970.
    pub(super) fn grant(&self, claims: &Members<'_>, now: f64) -> Result<Grant, Denied> {
        let expires = claims.time("exp").map_err(|why| match why {
            Denied::Claim { .. } => Denied::NoExpiry,
            other => other,
        })?;
        if expires.ok_or(Denied::NoExpiry)? < now - LEEWAY_SECONDS {
            return Err(Denied::Expired);
        }
        if claims
            .time("nbf")?
            .is_some_and(|begins| begins > now + LEEWAY_SECONDS)
        {
            return Err(Denied::NotYetValid);
        }
        let issuer = claims.string("iss")?;
        if self.issuer.is_some() && self.issuer != issuer {
            return Err(Denied::Issuer);
        }
        if self
            .audience
            .as_deref()
            .is_some_and(|audience| !claims.is_for(audience))
        {
            return Err(Denied::Audience);
        }
        Ok(Grant {
            proof: proof(issuer.as_deref(), claims.subject()?.as_deref()),
            peer_id: claims.string("peerId")?,
            room: claims.string("room")?,
        })
    }
}
