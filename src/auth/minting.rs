//! Tokens that a hub makes: what a client may ask for, and what it gets.
//!
//! A token is never wider than the token of its asker. A bound that the request leaves out is taken over from the
//! asker's token, and a request beyond a bound is refused with the name of the field. Operators may ask for any token.
//! Only an operator names the subject (`sub`): in all other cases subject, issuer and audience are those of the asker's
//! token, so that a ban of a subject covers all tokens that come from its own. Knows no HTTP and no clock.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use hubmesh_core::ids::{NetworkKey, PeerId};

use super::jwt::{CannotSign, Jwt};
use super::scope::{MOST_NETWORKS, Right, Scope, known_dialect};
use super::{Denied, Grant};

/// How long a token is valid by default, in seconds.
pub const USUAL_SECONDS: u64 = 3_600;

/// The longest validity that a request may ask for, in seconds: thirty days.
pub const MOST_SECONDS: u64 = 30 * 24 * 3_600;

/// The longest `sub`, in bytes.
const MOST_SUBJECT_BYTES: usize = 256;

/// What a request for a token says. A field that is left out is as wide as in the asker's token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    /// The only id that its holder may have, 1 to 128 bytes.
    #[serde(alias = "peerId")]
    #[schema(min_length = 1, max_length = 128)]
    pub user_id: Option<String>,
    /// The only room, network or topic that it may enter, 1 to 128 bytes.
    #[schema(min_length = 1, max_length = 128)]
    pub room_id: Option<String>,
    /// The only rooms, networks or topics that it may enter: up to 64 names of 1 to 128 bytes. In place of `roomId`.
    #[schema(max_items = 64)]
    pub networks: Option<Vec<String>>,
    /// The only dialects that it may speak: `pigeon`, `peerjs`, `rooms`, `coordinator`, `yjs`.
    pub dialect: Option<OneOrMany>,
    /// All that its holder may do beside joining and signalling: `publish`, `discover`, `create`.
    pub rights: Option<Vec<String>>,
    /// Who its holder is, up to 256 bytes. A client with a token of the same `sub` can take over the id of another such
    /// client.
    #[schema(max_length = 256)]
    pub sub: Option<String>,
    /// Seconds until it expires, 1 to 2592000; unset: an hour, or what is left of the asker's own token.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub expires_in: Option<u64>,
}

/// One text, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "dialect is a text or a list of texts")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, or none.
    Many(Vec<String>),
}

/// A token, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenAnswer {
    /// The token.
    pub token: String,
    /// Seconds until it expires.
    pub expires_in: u64,
    /// When it expires, in Unix milliseconds.
    pub expires_at: u64,
    /// The only id that its holder may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The only room, network or topic that it may enter, if that is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// The only rooms, networks or topics that it may enter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// The only dialects that it may speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Vec<&'static str>>,
    /// All that its holder may do beside joining and signalling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rights: Option<Vec<&'static str>>,
    /// Who its holder is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

/// Who asks for a token.
#[derive(Debug, Clone, Copy)]
pub enum Asker<'a> {
    /// An operator of the hub.
    Operator,
    /// A client with a token that grants this.
    Holder(&'a Grant),
}

/// Why no token is made. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMinted {
    /// The hub has nothing to sign with.
    #[error(transparent)]
    CannotSign(#[from] CannotSign),
    /// A field of the request has a wrong value.
    #[error("{field} must be {want}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What it must be.
        want: &'static str,
    },
    /// The request goes beyond the asker's token.
    #[error("{0} goes beyond the token that asks for it: a token may only be narrowed")]
    Wider(&'static str),
    /// The asker's own token has expired, apart from the tolerance for clocks.
    #[error(transparent)]
    Expired(Denied),
}

/// The claims of a token that this hub makes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'a [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rights: Option<Vec<&'static str>>,
}

/// The audience of a token.
#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Many(&'a [String]),
}

/// The issuer and the audience of a token: those that this hub demands, or else those of the asker's token.
fn named<'a>(jwt: &'a Jwt, asker: Asker<'a>) -> (Option<&'a str>, Option<Audience<'a>>) {
    let (iss, aud) = jwt.named();
    let aud = aud.map(Audience::One);
    let Asker::Holder(own) = asker else {
        return (iss, aud);
    };
    let own_aud = match own.audience.as_slice() {
        [] => None,
        [only] => Some(Audience::One(only)),
        all => Some(Audience::Many(all)),
    };
    (iss.or(own.issuer.as_deref()), aud.or(own_aud))
}

/// Makes this token, at this Unix time in seconds.
pub fn mint(
    jwt: &Jwt,
    asker: Asker<'_>,
    request: TokenRequest,
    now: u64,
) -> Result<TokenAnswer, NotMinted> {
    if !jwt.signs() {
        return Err(CannotSign.into());
    }
    let sub = subject(asker, &request)?;
    let seconds = seconds(asker, request.expires_in, now)?;
    let scope = within(asker, asked(request)?)?;
    let rights = scope.rights.as_ref();
    let rights = rights.map(|all| all.iter().map(|right| right.word()).collect::<Vec<_>>());
    let (iss, aud) = named(jwt, asker);
    let exp = now + seconds;
    let token = jwt.sign(&Claims {
        iss,
        aud,
        sub: sub.as_deref(),
        iat: now,
        exp,
        peer_id: scope.peer.as_deref(),
        networks: scope.networks.as_deref(),
        dialect: scope.dialects.as_deref(),
        rights: rights.clone(),
    })?;
    let room_id = scope.networks.as_deref().and_then(|all| match all {
        [only] => Some(only.clone()),
        _ => None,
    });
    Ok(TokenAnswer {
        token,
        expires_in: seconds,
        expires_at: exp * 1_000,
        user_id: scope.peer,
        room_id,
        networks: scope.networks,
        dialect: scope.dialects,
        rights,
        sub,
    })
}

/// The subject of the holder. An operator names it; without a name it is the only id. Any other asker gets its own
/// subject.
fn subject(asker: Asker<'_>, request: &TokenRequest) -> Result<Option<String>, NotMinted> {
    let asked = request.sub.as_ref();
    if asked.is_some_and(|sub| sub.is_empty() || sub.len() > MOST_SUBJECT_BYTES) {
        let (field, want) = ("sub", "text of 1 to 256 bytes");
        return Err(NotMinted::Field { field, want });
    }
    match (asker, asked) {
        (Asker::Operator, sub) => Ok(sub.or(request.user_id.as_ref()).cloned()),
        (Asker::Holder(grant), Some(sub)) if grant.subject.as_ref() != Some(sub) => {
            Err(NotMinted::Wider("sub"))
        }
        (Asker::Holder(grant), _) => Ok(grant.subject.clone().filter(|sub| !sub.is_empty())),
    }
}

fn seconds(asker: Asker<'_>, asked: Option<u64>, now: u64) -> Result<u64, NotMinted> {
    if asked.is_some_and(|asked| !(1..=MOST_SECONDS).contains(&asked)) {
        let (field, want) = ("expiresIn", "a number of seconds from 1 to 2592000");
        return Err(NotMinted::Field { field, want });
    }
    let wanted = asked.unwrap_or(USUAL_SECONDS);
    let Asker::Holder(Grant {
        expires_ms: Some(ends),
        ..
    }) = asker
    else {
        return Ok(wanted);
    };
    let left = (ends / 1_000).saturating_sub(now);
    match (left, asked) {
        (0, _) => Err(NotMinted::Expired(Denied::Expired)),
        (left, Some(asked)) if asked > left => Err(NotMinted::Wider("expiresIn")),
        (left, _) => Ok(wanted.min(left)),
    }
}

/// The scope that a request names.
fn asked(request: TokenRequest) -> Result<Scope, NotMinted> {
    let wrong = |field, want| NotMinted::Field { field, want };
    let peer = request.user_id;
    if peer.as_deref().is_some_and(|id| PeerId::new(id).is_err()) {
        return Err(wrong("userId", "text of 1 to 128 bytes"));
    }
    let networks = match (request.room_id, request.networks) {
        (Some(_), Some(_)) => {
            let want = "left out where networks is given: it is one of them";
            return Err(wrong("roomId", want));
        }
        (Some(room), None) if is_name(&room) => Some(vec![room]),
        (Some(_), None) => return Err(wrong("roomId", "text of 1 to 128 bytes")),
        (None, networks) => networks,
    };
    let fits =
        |all: &Vec<String>| all.len() <= MOST_NETWORKS && all.iter().all(|name| is_name(name));
    if !networks.as_ref().is_none_or(fits) {
        let want = "a list of at most 64 names of 1 to 128 bytes";
        return Err(wrong("networks", want));
    }
    let dialects = request.dialect.map(|dialect| match dialect {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(all) => all,
    });
    let dialects: Option<Option<Vec<_>>> =
        dialects.map(|all| all.iter().map(|word| known_dialect(word)).collect());
    let rights: Option<Option<Vec<_>>> = request
        .rights
        .map(|all| all.iter().map(|word| Right::from_word(word)).collect());
    let dialects = match dialects {
        Some(None) => {
            let want = "of pigeon, peerjs, rooms, coordinator and yjs";
            return Err(wrong("dialect", want));
        }
        known => known.flatten(),
    };
    let rights = match rights {
        Some(None) => return Err(wrong("rights", "of publish, discover and create")),
        known => known.flatten(),
    };
    Ok(Scope {
        peer,
        networks: networks.map(sorted),
        dialects: dialects.map(sorted),
        rights: rights.map(sorted),
    })
}

/// A name that clients of some dialect could give a network.
fn is_name(name: &str) -> bool {
    (1..=NetworkKey::MAX_NAME_BYTES).contains(&name.len())
}

/// Each value once.
fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
}

/// The requested scope, if it is within the asker's scope.
fn within(asker: Asker<'_>, asked: Scope) -> Result<Scope, NotMinted> {
    let Asker::Holder(Grant { scope: own, .. }) = asker else {
        return Ok(asked);
    };
    if asked.peer.is_some() && own.peer.is_some() && asked.peer != own.peer {
        return Err(NotMinted::Wider("userId"));
    }
    Ok(Scope {
        peer: asked.peer.or_else(|| own.peer.clone()),
        networks: narrowed(asked.networks, own.networks.as_ref(), "networks")?,
        dialects: narrowed(asked.dialects, own.dialects.as_ref(), "dialect")?,
        rights: narrowed(asked.rights, own.rights.as_ref(), "rights")?,
    })
}

fn narrowed<T: PartialEq + Clone>(
    asked: Option<Vec<T>>,
    own: Option<&Vec<T>>,
    field: &'static str,
) -> Result<Option<Vec<T>>, NotMinted> {
    match (asked, own) {
        (Some(asked), Some(own)) if !asked.iter().all(|one| own.contains(one)) => {
            Err(NotMinted::Wider(field))
        }
        (Some(asked), _) => Ok(Some(asked)),
        (None, own) => Ok(own.cloned()),
    }
}

#[cfg(test)]
mod tests;
