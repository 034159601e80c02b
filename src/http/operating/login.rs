//! Logins of browsers: a cookie in place of the token.
//!
//! A cookie contains the end of its validity, and is signed with a key that is derived from the token. So every hub with
//! the same token accepts the cookie, and no hub stores it. After a logout, this hub remembers the cookie until the end of
//! its validity, and does not accept it any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;
use warp::reply::Response;

use super::super::admin::{Door, NoOperator};
use super::super::endpoint::Call;
use super::super::refusals::{Badly, Closed, NotRead};
use super::super::reply::{Answered, ErrorBody};
use super::super::{App, Backend, Head, admin, admit, reply};
use super::acts;
use super::who::{self, Deed, Operator, With};
use super::{answer, bad, ok, refused};
use crate::auth::Secret;
use crate::clock::unix_ms;
use crate::config::AdminSettings;
use crate::limits::AddressGroup;
use crate::metrics::Refusal;
use crate::watch;

/// The cookie's name.
pub(super) const NAME: &str = "hubmesh_admin";
/// How long a login is valid, in seconds.
const VALID_S: u64 = 12 * 60 * 60;
/// The label from which the key of the cookies is derived.
const KEY_LABEL: &[u8] = b"hubmesh admin cookie 1\0";
/// The most returned cookies that are remembered.
const MAX_RETURNED: usize = 1_024;

/// The logins of browsers.
pub(in super::super) struct Logins {
    key: Option<[u8; 32]>,
    /// The returned cookies, each with the end of its validity in Unix seconds.
    returned: Mutex<BTreeMap<String, u64>>,
}

fn signature(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("a key may have any length"));
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

impl Logins {
    pub(in super::super) fn new(settings: &AdminSettings) -> Self {
        let token = settings.token.as_ref().map(Secret::expose);
        Logins {
            key: token.map(|token| signature(token.as_bytes(), &[KEY_LABEL])),
            returned: Mutex::default(),
        }
    }

    /// The value of a new cookie, which is valid from now on.
    fn issue(&self, now_s: u64) -> Option<String> {
        let key = self.key.as_ref()?;
        let number: [u8; 16] = rand::random();
        let said = format!("{}.{}", now_s + VALID_S, hex::encode(number));
        let proof = signature(key, &[said.as_bytes()]);
        Some(format!("{said}.{}", hex::encode(proof)))
    }

    /// The end of a cookie's validity. `None` if the cookie is not ours or no longer valid.
    fn until(&self, value: &str, now_s: u64) -> Option<u64> {
        let (said, proof) = value.rsplit_once('.')?;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_ref()?).ok()?;
        mac.update(said.as_bytes());
        // This comparison takes constant time.
        mac.verify_slice(&hex::decode(proof).ok()?).ok()?;
        let (until, _) = said.split_once('.')?;
        let until = until.parse().ok()?;
        (now_s < until).then_some(until)
    }

    /// Whether a request has the cookie of a login.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        self.shown(headers).is_some()
    }

    /// The cookie of a request, and the end of its validity.
    fn shown(&self, headers: &HeaderMap) -> Option<(String, u64)> {
        let now_s = unix_ms() / 1_000;
        let all = headers.get_all(COOKIE).iter();
        let all = all.filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|value| value.split(';'));
        let named = pairs.filter_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='));
        let mut good = named.filter_map(|value| Some((value, self.until(value, now_s)?)));
        let (value, until) = good.find(|(value, _)| !self.returned.lock().contains_key(*value))?;
        Some((value.to_owned(), until))
    }

    fn take_back(&self, headers: &HeaderMap) {
        let Some((value, until)) = self.shown(headers) else {
            return;
        };
        let mut returned = self.returned.lock();
        let now_s = unix_ms() / 1_000;
        returned.retain(|_, until| now_s < *until);
        if returned.len() >= MAX_RETURNED {
            let first = returned.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(value, _)| value.clone()) {
                returned.remove(&first);
            }
        }
        returned.insert(value, until);
    }
}

/// Whether a request came by TLS, to this hub or to a trusted proxy.
fn is_secure<B: Backend>(app: &App<B>, head: &Head) -> bool {
    let proxies = &app.config.trusted_proxies;
    let by_proxy = head.remote.is_some_and(|remote| {
        let told = head.headers.get("x-forwarded-proto");
        proxies.trusts(remote.ip().to_canonical()) && told.is_some_and(|told| told == "https")
    });
    app.config.tls.is_some() || by_proxy
}

fn cookie<B: Backend>(app: &App<B>, head: &Head, value: &str, seconds: u64) -> Option<HeaderValue> {
    let secure = if is_secure(app, head) { "; Secure" } else { "" };
    let text = format!(
        "{NAME}={value}; Path=/admin; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::from_str(&text).ok()
}

/// A login.
#[derive(Deserialize, ToSchema)]
#[schema(as = Login)]
struct LoginBody {
    /// `ADMIN_TOKEN`.
    token: String,
}

/// The rights of a client that has logged in.
#[derive(Serialize, ToSchema)]
struct LoggedIn {
    /// `full`.
    access: &'static str,
}

/// The rights of the client that asks.
#[derive(Serialize, ToSchema)]
struct SessionBody {
    /// `full`, `read` or `none`.
    access: &'static str,
    /// How the client has shown its rights: `bearer`, `cookie`, `listener` or `loopback`.
    with: Option<&'static str>,
    /// Whether the hub has an `ADMIN_TOKEN`, so that a login is possible.
    login: bool,
    /// The id of the hub that answers. Null for a client without rights.
    hub: Option<String>,
}

/// Gives a browser a cookie in return for the token.
#[utoipa::path(
    post, path = "/admin/api/login", tag = "session", request_body = LoginBody,
    responses(
        (status = 200, description = "`Set-Cookie` has the cookie, which is valid for twelve hours.", body = LoggedIn),
        (status = 415, description = "The body is not JSON.", body = ErrorBody<'static>),
        Badly, Closed, NotRead,
        (
            status = 404, body = ErrorBody<'static>,
            description = "There is no `ADMIN_TOKEN`, or operators have a listener of their own."
        )
    )
)]
pub(super) fn login<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move { let_in(&app, &call) })
}

fn let_in<B: Backend>(app: &App<B>, call: &Call) -> Result<Response, Answered> {
    let Call { door, head, .. } = call;
    let operators = &app.operators;
    let answered = |why| Box::new(admin::refuse(app, why));
    let Some(gate) = operators.gate() else {
        return Ok(reply::nothing_here());
    };
    if *door == Door::Public && operators.has_door() {
        return Err(answered(NoOperator::Elsewhere));
    }
    who::is_of_our_page(&head.headers, Deed::Look).map_err(answered)?;
    if !call.is_json() {
        let why = "a login is JSON: Content-Type: application/json";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why);
    }
    let Some(address) = admit::client(app, head) else {
        return Err(answered(NoOperator::Missing));
    };
    if let Err(wait) = app.guesses.take_turn(AddressGroup::of(address)) {
        let why = "too many logins from your address within a minute";
        return Err(Box::new(reply::too_many(why, wait.as_secs() + 1)));
    }
    let Ok(LoginBody { token }) = serde_json::from_slice(&call.body) else {
        return bad(&"a login is {\"token\": \"…\"}");
    };
    if gate.check([token.as_str()]).is_err() {
        let watch = app.backend.watch();
        watch.events.note_refusal("operator", Some(address), None);
        return Err(answered(NoOperator::Wrong));
    }
    let value = app.logins.issue(unix_ms() / 1_000);
    let cookie = value.and_then(|value| cookie(app, head, &value, VALID_S));
    let Some(cookie) = cookie else {
        return Ok(reply::nothing_here());
    };
    let operator = Operator {
        address: Some(address),
        with: With::Bearer,
    };
    acts::note(app, &operator, "login", watch::Operator::default());
    let mut response = reply::json(StatusCode::OK, &LoggedIn { access: "full" });
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// Ends a login: this hub no longer accepts the cookie.
#[utoipa::path(
    post, path = "/admin/api/logout", tag = "session", security(("operator" = []), ("login" = [])),
    responses((status = 204, description = "This hub no longer accepts the cookie."), Closed, NotRead)
)]
pub(super) fn logout<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let operator = who::operator(&app, &call, Deed::Change)?;
        app.logins.take_back(&call.head.headers);
        acts::note(&app, &operator, "logout", watch::Operator::default());
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Some(cookie) = cookie(&app, &call.head, "", 0) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        Ok(response)
    })
}

/// Says which rights the client has.
#[utoipa::path(
    get, path = "/admin/api/session", tag = "session", security((), ("operator" = []), ("login" = [])),
    responses(
        (status = 200, description = "The rights. Every client gets this answer.", body = SessionBody),
        (status = 404, description = "Operators have a listener of their own.", body = ErrorBody<'static>),
        (status = 429, description = "Too many wrong tokens came from one address.", body = ErrorBody<'static>),
    )
)]
pub(super) fn session<B: Backend>(app: Arc<App<B>>, call: Call) -> BoxFuture<'static, Response> {
    answer(async move {
        let operators = &app.operators;
        if call.door == Door::Public && operators.has_door() {
            return Err(Box::new(admin::refuse(&app, NoOperator::Elsewhere)));
        }
        let checked = who::check(&app, &call, Deed::Look);
        match checked {
            Err(why @ NoOperator::TooMany(_)) => {
                return Err(Box::new(admin::refuse(&app, why)));
            }
            Err(NoOperator::Wrong) => app.metrics.refusals.inc(Refusal::Operator),
            _ => {}
        }
        let operator = checked.ok();
        let access = match operator.map(|operator| operator.with) {
            Some(With::Loopback) => "read",
            Some(_) => "full",
            None => "none",
        };
        ok(&SessionBody {
            access,
            with: operator.map(|operator| operator.with.label()),
            login: operators.gate().is_some(),
            // A client without rights learns nothing about the mesh.
            hub: operator.map(|_| app.backend.view().hub_id.to_string()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(token: &str) -> Logins {
        Logins::new(&AdminSettings {
            token: Some(Secret::new(token)),
            ..AdminSettings::default()
        })
    }

    fn with_cookie(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let cookie = format!("other=1; {NAME}={value}; more=2");
        headers.insert(COOKIE, cookie.parse().expect("a value"));
        headers
    }

    #[test]
    fn a_cookie_is_valid_for_its_time_on_every_hub_with_the_token() {
        let (one, two) = (logins("for-operators-alone"), logins("for-operators-alone"));
        let now_s = unix_ms() / 1_000;
        let value = one.issue(now_s).expect("a cookie");
        assert!(one.knows(&with_cookie(&value)) && two.knows(&with_cookie(&value)));
        assert!(!logins("another-token-than-it").knows(&with_cookie(&value)));
        assert_eq!(
            two.until(&value, now_s + VALID_S - 1),
            Some(now_s + VALID_S)
        );
        assert_eq!(two.until(&value, now_s + VALID_S), None);
    }

    #[test]
    fn a_cookie_that_was_changed_or_returned_is_not_accepted() {
        let logins = logins("for-operators-alone");
        let value = logins.issue(unix_ms() / 1_000).expect("a cookie");
        for at in 0..value.len() {
            let mut other = value.clone().into_bytes();
            other[at] = if other[at] == b'1' { b'2' } else { b'1' };
            let other = String::from_utf8(other).expect("digits");
            assert!(!logins.knows(&with_cookie(&other)), "{other}");
            assert!(!logins.knows(&with_cookie(&value[..at])));
        }
        logins.take_back(&with_cookie(&value));
        assert!(!logins.knows(&with_cookie(&value)));
    }

    #[test]
    fn the_number_of_remembered_cookies_is_bounded() {
        let logins = logins("for-operators-alone");
        for _ in 0..MAX_RETURNED + 10 {
            let value = logins.issue(unix_ms() / 1_000).expect("a cookie");
            logins.take_back(&with_cookie(&value));
        }
        assert_eq!(logins.returned.lock().len(), MAX_RETURNED);
    }
}
