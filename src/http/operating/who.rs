//! Who is an operator, and what a browser has to show before it changes anything.
//!
//! A program shows the token, which no page can make a browser send. A browser shows its cookie, or nothing at a
//! listener without a token, and sends either for any page that asks. So a change needs a header that a form cannot
//! send, and has to come from a page of this origin. If operators are not told apart, programs on this machine may
//! look, and nobody may change anything.

use std::net::IpAddr;

use http::header::{HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};

use super::super::admin::{Door, NoOperator, has_bearer, is_named_well, is_shown};
use super::super::endpoint::Call;
use super::super::near::{Far, is_of_this_machine};
use super::super::reply::Answered;
use super::super::{App, Backend, Head, admin, admit};

/// The header that no form can send.
const OURS: HeaderName = HeaderName::from_static("x-hubmesh-admin");
/// The header in which a browser names the origin of a request.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The purpose of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// To see something.
    Look,
    /// To change something.
    Change,
}

/// How an operator has shown to be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum With {
    /// By the token.
    Bearer,
    /// By the cookie of a login.
    Cookie,
    /// By reaching the listener for operators.
    Listener,
    /// By being on this machine, if operators are not told apart.
    Loopback,
}

impl With {
    pub(super) const fn label(self) -> &'static str {
        match self {
            With::Bearer => "bearer",
            With::Cookie => "cookie",
            With::Listener => "listener",
            With::Loopback => "loopback",
        }
    }
}

/// An operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Operator {
    /// Its address.
    pub(super) address: Option<IpAddr>,
    /// How it has shown to be one.
    pub(super) with: With,
}

/// Whether the client is an operator, and may do what it asks for.
pub(super) fn check<B: Backend>(
    app: &App<B>,
    call: &Call,
    deed: Deed,
) -> Result<Operator, NoOperator> {
    let Call { door, head, .. } = call;
    let with = shown(app, *door, head)?;
    if deed == Deed::Change && with == With::Loopback {
        return Err(NoOperator::ReadOnly);
    }
    if with != With::Bearer {
        is_of_our_page(&head.headers, deed)?;
    }
    Ok(Operator {
        address: admit::client(app, head),
        with,
    })
}

/// The same, with the answer to whoever is none or may not.
pub(super) fn operator<B: Backend>(
    app: &App<B>,
    call: &Call,
    deed: Deed,
) -> Result<Operator, Answered> {
    check(app, call, deed).map_err(|why| Box::new(admin::refuse(app, why)))
}

/// Whether who asks may see the mesh.
pub(super) fn looks<B: Backend>(app: &App<B>, call: &Call) -> Result<(), Answered> {
    operator(app, call, Deed::Look).map(drop)
}

/// Whether who asks may see persons: where they are, whose they are, and what they did. A proxy on this machine that says
/// nothing of itself makes all strangers look as if they were here, so that being here is not enough for it.
pub(super) fn looks_at_persons<B: Backend>(app: &App<B>, call: &Call) -> Result<(), Answered> {
    match operator(app, call, Deed::Look)?.with {
        With::Loopback => Err(Box::new(admin::refuse(app, NoOperator::OfSomebody))),
        With::Bearer | With::Cookie | With::Listener => Ok(()),
    }
}

fn shown<B: Backend>(app: &App<B>, door: Door, head: &Head) -> Result<With, NoOperator> {
    let (operators, headers) = (&app.operators, &head.headers);
    match (door, operators.gate()) {
        (Door::Public, _) if operators.has_door() => Err(NoOperator::Elsewhere),
        (_, Some(gate)) if has_bearer(headers) => {
            let checked = app.guessed(head, || is_shown(gate, headers));
            checked.map(|()| With::Bearer)
        }
        (_, Some(_)) if app.logins.knows(headers) => Ok(With::Cookie),
        (_, Some(_)) => Err(NoOperator::Missing),
        (Door::Admin, None) => is_named_well(headers).map(|()| With::Listener),
        (Door::Public, None) => is_here(app, head).map(|()| With::Loopback),
    }
}

/// Whether a request comes from this machine, and by no name that an attacker can have given out.
fn is_here<B: Backend>(app: &App<B>, head: &Head) -> Result<(), NoOperator> {
    match is_of_this_machine(app, head) {
        // Every client without a token is checked for the page that asks.
        Ok(()) | Err(Far::Page) => Ok(()),
        Err(Far::Name) => Err(NoOperator::Name),
        Err(Far::Away) => Err(NoOperator::NotHere),
    }
}

/// Whether a page of this origin asks, as far as the browser says.
pub(super) fn is_of_our_page(headers: &HeaderMap, deed: Deed) -> Result<(), NoOperator> {
    if deed == Deed::Change && headers.get(OURS).is_none_or(|value| value != "1") {
        return Err(NoOperator::NoHeader);
    }
    let sites: Vec<&HeaderValue> = headers.get_all(FETCH_SITE).iter().collect();
    if !sites.is_empty() {
        let is_ours = |site: &&HeaderValue| {
            **site == "same-origin" || (**site == "none" && deed == Deed::Look)
        };
        return match sites.iter().all(is_ours) {
            true => Ok(()),
            false => Err(NoOperator::OtherSite),
        };
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match origins.all(|origin| is_host(origin, headers)) {
        true => Ok(()),
        false => Err(NoOperator::OtherSite),
    }
}

/// Whether an origin is the requested host.
fn is_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let read = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let origin = read(origin).and_then(|text| text.parse::<Uri>().ok());
    let host = headers.get(HOST).and_then(read);
    let host = host.and_then(|text| text.parse::<Authority>().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => *origin == host,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &str)], deed: Deed) -> Result<(), NoOperator> {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("hub.example:8443"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            map.append(HeaderName::from_static(name), value);
        }
        is_of_our_page(&map, deed)
    }

    #[test]
    fn a_change_needs_the_header_and_a_page_of_this_origin() {
        let ours = ("x-hubmesh-admin", "1");
        let other = Err(NoOperator::OtherSite);
        for (headers, want) in [
            (&[ours][..], Ok(())),
            (&[], Err(NoOperator::NoHeader)),
            (&[("x-hubmesh-admin", "0")], Err(NoOperator::NoHeader)),
            (&[ours, ("sec-fetch-site", "same-origin")], Ok(())),
            (&[ours, ("sec-fetch-site", "same-site")], other),
            (&[ours, ("sec-fetch-site", "cross-site")], other),
            (&[ours, ("sec-fetch-site", "none")], other),
            (&[ours, ("origin", "https://hub.example:8443")], Ok(())),
            (&[ours, ("origin", "https://HUB.example:8443")], Ok(())),
            (&[ours, ("origin", "https://hub.example")], other),
            (&[ours, ("origin", "https://evil.example:8443")], other),
            (&[ours, ("origin", "https://hub.example:8443.evil")], other),
            (&[ours, ("origin", "null")], other),
            (&[ours, ("origin", "")], other),
        ] {
            assert_eq!(asked(headers, Deed::Change), want, "{headers:?}");
        }
    }

    #[test]
    fn another_page_may_not_even_look() {
        for (headers, want) in [
            (&[][..], Ok(())),
            (&[("sec-fetch-site", "none")], Ok(())),
            (
                &[("sec-fetch-site", "cross-site")],
                Err(NoOperator::OtherSite),
            ),
            (
                &[("origin", "https://evil.example")],
                Err(NoOperator::OtherSite),
            ),
        ] {
            assert_eq!(asked(headers, Deed::Look), want, "{headers:?}");
        }
    }
}
