//! The claims of a token whose signature is right: whether they are valid now and at this hub, and the grant in them.
//!
//! JSON is read as JavaScript reads it: if a claim is there twice, the last one counts, and half of a surrogate pair is
//! U+FFFD. Every refusal names its claim, and never the value. Knows no key and no clock.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;

use super::proof;
use crate::auth::scope::{MOST_NETWORKS, Right, Scope, known_dialect};
use crate::auth::{CLOCK_GRACE, Denied, Grant};
use hubmesh_json as json;

/// The last second of the year 9999. A later time was counted in milliseconds.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// The JSON text of a part of a token, if it is text.
pub(super) fn text(part: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    Some(json::well_formed(&text).into_owned())
}

/// The members of an object, by name.
pub(super) struct Members<'t>(BTreeMap<String, &'t RawValue>);

impl<'t> Members<'t> {
    /// The members of this text, if it is an object.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Members)
    }

    /// Whether there is a member of this name, of any type.
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

    /// A list of strings, or nothing if it is absent or `null`.
    fn list(&self, name: &'static str) -> Result<Option<Vec<String>>, Denied> {
        let Some(raw) = self.raw(name).filter(|raw| *raw != "null") else {
            return Ok(None);
        };
        let want = "a list of strings";
        let wrong = Denied::Claim { claim: name, want };
        let all: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| wrong)?;
        let texts = all.iter().map(|one| json::string(one.get()));
        let texts: Option<Vec<_>> = texts.map(|text| Some(text?.into_owned())).collect();
        texts.map_or(Err(wrong), |texts| Ok(Some(texts)))
    }

    /// A string or a list of strings, or nothing if it is absent or `null`.
    fn one_or_list(&self, name: &'static str) -> Result<Option<Vec<String>>, Denied> {
        if let Ok(one) = self.string(name) {
            return Ok(one.map(|one| vec![one]));
        }
        let want = "a string or a list of strings";
        let wrong = |_| Denied::Claim { claim: name, want };
        self.list(name).map_err(wrong)
    }

    /// The scope of the holder. Words that this hub does not know grant nothing.
    fn scope(&self) -> Result<Scope, Denied> {
        let room = self.string("room")?;
        let networks = self.list("networks")?;
        if networks
            .as_ref()
            .is_some_and(|all| all.len() > MOST_NETWORKS)
        {
            let want = "a list of at most 64 strings";
            let claim = "networks";
            return Err(Denied::Claim { claim, want });
        }
        let networks = match (room, networks) {
            (None, networks) => networks,
            (Some(room), Some(networks)) if !networks.contains(&room) => Some(Vec::new()),
            (Some(room), _) => Some(vec![room]),
        };
        let dialects = self.one_or_list("dialect")?.map(|words| {
            let known = words.iter().filter_map(|word| known_dialect(word));
            known.collect()
        });
        let rights = self.list("rights")?.map(|words| {
            let known = words.iter().filter_map(|word| Right::from_word(word));
            known.collect()
        });
        Ok(Scope {
            peer: self.string("peerId")?,
            networks,
            dialects,
            rights,
        })
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

    /// A subject is a string, but many issuers put the number of a database row there.
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

    /// The audience of the token, as far as it can be read: if no audience is configured, the claim may be anything.
    fn audience(&self) -> Vec<String> {
        let named = self.one_or_list("aud").unwrap_or_default();
        named.unwrap_or_default()
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

/// The decimal text of a number: its value, with as many digits as it has.
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

/// The issuer and the audience that tokens must have.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
}

impl Rules {
    /// The grant of these claims at this time, in seconds since 1970.
    pub(super) fn grant(&self, claims: &Members<'_>, now: f64) -> Result<Grant, Denied> {
        let expires = claims.time("exp").map_err(|why| match why {
            Denied::Claim { .. } => Denied::NoExpiry,
            other => other,
        })?;
        let expires = expires.ok_or(Denied::NoExpiry)?;
        let grace = CLOCK_GRACE.as_secs_f64();
        if expires < now - grace {
            return Err(Denied::Expired);
        }
        if claims
            .time("nbf")?
            .is_some_and(|begins| begins > now + grace)
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
        let subject = claims.subject()?;
        Ok(Grant {
            proof: proof(issuer.as_deref(), subject.as_deref()),
            subject,
            issuer,
            audience: claims.audience(),
            scope: claims.scope()?,
            // No later than the year 9999, and not before 1970.
            expires_ms: Some((expires * 1000.0) as u64),
        })
    }
}
