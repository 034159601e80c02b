//! Which web pages may use this hub: the value of `CORS_ORIGIN`.
//!
//! An origin is what a browser writes into the `Origin` header. A text that no browser writes there would match
//! nothing, and is refused. Pure: `http::cors` and `http::admit` ask it.

use std::str::FromStr;

use http::HeaderValue;
use url::{Host, Url};

use super::types::{entries, without_passwords};

/// The origin that pages without an origin of their own send: sandboxed frames, `data:` addresses, most files.
const NONE: &str = "null";
/// The origin of pages that are files, if they do not send `null`.
const FILE: &str = "file://";
/// Schemes that no page has.
const NO_PAGES: [&str; 6] = ["ws", "wss", "ftp", "data", "blob", "about"];

/// Web pages' origins, as browsers write them: scheme, host and port, nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// One origin.
    One(HeaderValue),
    /// The origins of all subdomains of a name, but not of the name itself.
    Below {
        /// The part before the subdomain: `https://`.
        scheme: String,
        /// The part after it: `.example.org`, with the port if it is not the default one.
        suffix: String,
    },
}

impl Origin {
    /// Whether this is the value of an `Origin` header.
    fn matches(&self, header: &HeaderValue) -> bool {
        match self {
            Origin::One(one) => one == header,
            Origin::Below { scheme, suffix } => header.to_str().is_ok_and(|origin| {
                let rest = origin.strip_prefix(scheme.as_str());
                let below = rest.and_then(|rest| rest.strip_suffix(suffix.as_str()));
                below.is_some_and(is_name)
            }),
        }
    }
}

/// Whether this text can stand before the suffix: labels of a name and nothing else.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    text.split('.')
        .all(|label| !label.is_empty() && label.chars().all(fits))
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case(NONE) {
            return Ok(Origin::One(HeaderValue::from_static(NONE)));
        }
        if text.trim_end_matches('/').eq_ignore_ascii_case("file:") {
            return Ok(Origin::One(HeaderValue::from_static(FILE)));
        }
        match text.split_once("://*.") {
            Some((scheme, name)) => below(&format!("{scheme}://{name}"), text),
            None => one(text, text).map(Origin::One),
        }
    }
}

/// The origins below `parent`; `text` is the entry as written.
fn below(parent: &str, text: &str) -> Result<Origin, String> {
    let origin = one(parent, text)?;
    let url = Url::parse(parent).map_err(|_| refusal(text))?;
    let parts = origin.to_str().ok().and_then(|text| text.split_once("://"));
    match (parts, url.host()) {
        (Some((scheme, name)), Some(Host::Domain(_))) => Ok(Origin::Below {
            scheme: format!("{scheme}://"),
            suffix: format!(".{name}"),
        }),
        _ => Err(format!("{text:?}: an address has no subdomains")),
    }
}

fn refusal(text: &str) -> String {
    let shown = without_passwords(text);
    format!(
        "{shown:?} is not an origin such as https://example.org, https://*.example.org, null or file://"
    )
}

/// One origin, as browsers write it; the error shows `text`.
fn one(origin: &str, text: &str) -> Result<HeaderValue, String> {
    let url = Url::parse(origin).map_err(|_| refusal(text))?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.has_host() || !url.username().is_empty() || url.password().is_some() {
        return Err(refusal(text));
    }
    if NO_PAGES.contains(&url.scheme()) {
        return Err(format!(
            "{text:?} matches no page: the origin of a page begins with https:// or http://, even if the page opens {}://",
            url.scheme()
        ));
    }
    if origin.contains('*') || url.port() == Some(0) {
        let why =
            "* stands for subdomains alone, as in https://*.example.org, and ports begin at 1";
        return Err(format!("{text:?} matches no page: {why}"));
    }
    // Schemes of apps have an opaque origin in the URL standard, but browsers send `scheme://host` for them.
    let origin = match url.origin() {
        url::Origin::Tuple(..) => url.origin().ascii_serialization(),
        url::Origin::Opaque(_) => origin.trim_end_matches('/').to_owned(),
    };
    HeaderValue::from_str(&origin).map_err(|_| refusal(text))
}

/// Which web pages may use this hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsOrigins {
    /// All pages.
    Any,
    /// Pages of these origins; at least one.
    Only(Vec<Origin>),
}

impl CorsOrigins {
    /// Whether a page of this origin may use the hub. Programs other than browsers send no origin, and may.
    pub fn allows(&self, origin: Option<&HeaderValue>) -> bool {
        match (self, origin) {
            (CorsOrigins::Any, _) | (_, None) => true,
            (CorsOrigins::Only(list), Some(origin)) => {
                list.iter().any(|allowed| allowed.matches(origin))
            }
        }
    }
}

impl FromStr for CorsOrigins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries: Vec<&str> = entries(text).collect();
        match entries.as_slice() {
            ["*"] => Ok(CorsOrigins::Any),
            entries if entries.is_empty() || entries.contains(&"*") => {
                Err("use * alone, or a comma list of origins such as https://example.org".into())
            }
            entries => {
                let list = entries.iter().map(|entry| entry.parse());
                Ok(CorsOrigins::Only(list.collect::<Result<_, _>>()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, origin: &str) -> bool {
        let origins: CorsOrigins = list.parse().unwrap_or_else(|why| panic!("{list}: {why}"));
        origins.allows(Some(
            &HeaderValue::from_str(origin).expect("a header value"),
        ))
    }

    #[test]
    fn an_origin_matches_what_browsers_send_for_it_and_nothing_else() {
        for (written, sent) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG:443/", "https://example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            (
                "https://b\u{fc}cher.example",
                "https://xn--bcher-kva.example",
            ),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
            ("Null", "null"),
            ("file://", "file://"),
            ("file:///", "file://"),
        ] {
            assert!(allows(written, sent), "{written}");
            assert!(!allows(written, "https://evil.example"), "{written}");
        }
        assert!(!allows("https://example.org", "null"));
        assert!(!allows("null", "file://"));
    }

    #[test]
    fn a_star_stands_for_every_subdomain() {
        for (list, origin, allowed) in [
            ("https://*.example.org", "https://a.example.org", true),
            ("https://*.example.org", "https://a.b.example.org", true),
            ("https://*.example.org", "https://example.org", false),
            ("https://*.example.org", "http://a.example.org", false),
            ("https://*.example.org", "https://a.example.org:8443", false),
            ("https://*.example.org", "https://evilexample.org", false),
            ("https://*.example.org", "https://.example.org", false),
            ("https://*.example.org", "https://a/b.example.org", false),
            ("https://*.example.org", "https://u@a.example.org", false),
            (
                "https://*.example.org",
                "https://a.example.org.evil.net",
                false,
            ),
            (
                "https://*.example.org:8443",
                "https://a.example.org:8443",
                true,
            ),
            ("https://*.Example.org:443", "https://a.example.org", true),
            ("https://*.x", "https://a.x", true),
            ("https://a, https://*.b", "https://c.b", true),
            ("http://*.localhost:3000", "http://app.localhost:3000", true),
        ] {
            assert_eq!(allows(list, origin), allowed, "{list}: {origin}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for (wrong, why) in [
            ("ws://example.org", "matches no page"),
            ("wss://*.example.org", "matches no page"),
            ("ftp://example.org", "matches no page"),
            ("https://a*.example.org", "subdomains alone"),
            ("https://*", "subdomains alone"),
            ("https://*:8080", "subdomains alone"),
            ("https://*.*.example.org", "subdomains alone"),
            ("https://example.org:0", "begin at 1"),
            ("https://*.192.0.2.1", "no subdomains"),
            ("https://*.[::1]", "no subdomains"),
            ("*.example.org", "not an origin"),
            ("example.org", "not an origin"),
            ("https://example.org/path", "not an origin"),
            ("https://example.org?x", "not an origin"),
            ("file:///home/me/index.html", "not an origin"),
            ("'null'", "not an origin"),
            ("*,null", "* alone"),
            (",", "* alone"),
        ] {
            let refused = wrong.parse::<CorsOrigins>().expect_err(wrong);
            assert!(refused.contains(why), "{wrong}: {refused}");
        }
    }
}
