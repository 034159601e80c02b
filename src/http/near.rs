//! Whether a program on the hub's own machine asks by itself, as far as this can be known.
//!
//! The request of a local program comes from a loopback address, names a loopback host, is not forwarded for another
//! client, and is not from a page of another origin. Requests through proxies do not count. A proxy names its client or
//! itself, or speaks HTTP/1.0, or is named in `TRUSTED_PROXIES`. A proxy on this machine that does none of these looks
//! like a program.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN, VIA};
use http::uri::Authority;
use http::{HeaderMap, Version};

use super::client_ip::is_forwarded;
use super::{App, Backend, Head};

/// The header in which a browser names the origin of a request.
const FETCH_SITE: &str = "sec-fetch-site";

/// Why a request does not count as that of a program on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Far {
    /// It comes from another machine, or may do so: through a proxy.
    Away,
    /// The requested host is not a name of this machine alone. An attacker can point such a name to this machine, so
    /// that pages reach it.
    Name,
    /// A page asks; all other conditions hold.
    Page,
}

/// Whether a program on this machine asks by itself.
pub(super) fn is_of_this_machine<B: Backend>(app: &App<B>, head: &Head) -> Result<(), Far> {
    let remote = head.remote.map(|remote| remote.ip().to_canonical());
    let is_near =
        remote.is_some_and(|ip| ip.is_loopback() && !app.config.trusted_proxies.trusts(ip));
    if !is_near || head.version < Version::HTTP_11 {
        return Err(Far::Away);
    }
    by_itself(&head.headers)
}

fn by_itself(headers: &HeaderMap) -> Result<(), Far> {
    let mut names = headers.keys();
    let is_passed_on = is_forwarded(headers)
        || headers.contains_key(VIA)
        || names.any(|name| name.as_str().starts_with("x-forwarded-"));
    if is_passed_on {
        return Err(Far::Away);
    }
    if !is_asked_by_loopback(headers) {
        return Err(Far::Name);
    }
    let mut sites = headers.get_all(FETCH_SITE).iter();
    let is_ours = sites.all(|site| site == "same-origin" || site == "none");
    match is_ours && !headers.contains_key(ORIGIN) {
        true => Ok(()),
        false => Err(Far::Page),
    }
}

/// Whether the request names this machine as its host.
fn is_asked_by_loopback(headers: &HeaderMap) -> bool {
    let named = headers.get(HOST).and_then(|value| value.to_str().ok());
    let named = named.and_then(|text| text.parse::<Authority>().ok());
    named.is_some_and(|authority| {
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(host: &str, more: &[(&'static str, &'static str)]) -> Result<(), Far> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a value"));
        for (name, value) in more {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        by_itself(&headers)
    }

    #[test]
    fn a_host_is_of_this_machine_by_its_name_or_an_address_of_the_loopback() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(asked(host, &[]), Ok(()), "{host}");
        }
        for host in [
            "10.1.2.3",
            "hub",
            "localhost.evil.example",
            "a b",
            "[::2]:1",
        ] {
            assert_eq!(asked(host, &[]), Err(Far::Name), "{host}");
        }
        assert_eq!(by_itself(&HeaderMap::new()), Err(Far::Name));
    }

    #[test]
    fn what_is_passed_on_and_what_a_page_asks_for_is_not_of_this_machine() {
        for (name, value, want) in [
            ("forwarded", "for=192.0.2.1", Err(Far::Away)),
            ("x-forwarded-for", "127.0.0.1", Err(Far::Away)),
            ("x-forwarded-proto", "https", Err(Far::Away)),
            ("x-forwarded-port", "443", Err(Far::Away)),
            ("x-real-ip", "192.0.2.1", Err(Far::Away)),
            ("via", "1.1 proxy", Err(Far::Away)),
            ("origin", "https://evil.example", Err(Far::Page)),
            ("sec-fetch-site", "cross-site", Err(Far::Page)),
            ("sec-fetch-site", "same-site", Err(Far::Page)),
            ("sec-fetch-site", "same-origin", Ok(())),
            ("accept", "*/*", Ok(())),
        ] {
            assert_eq!(
                asked("localhost", &[(name, value)]),
                want,
                "{name}: {value}"
            );
        }
    }
}
