//! Where other hubs are: what `BOOTSTRAP_HUBS` and `PUBLIC_URL` may say, and what DNS makes of it.

use std::fmt;

use url::Url;

/// The path that hubs dial.
pub const MESH_PATH: &str = "/mesh";

/// One entry of `BOOTSTRAP_HUBS`.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Bootstrap {
    /// A hub at this address.
    Url(HubUrl),
    /// Every address of this name is a hub, looked up again and again: `dns+ws://name:port`.
    Dns {
        /// The name.
        name: String,
        /// The port of each.
        port: u16,
    },
}

/// The address of a hub's mesh endpoint: `ws` or `wss`, a host, and always the path `/mesh`.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct HubUrl(Url);

/// Why a text is no address of a hub.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadAddress {
    /// Not a URL at all.
    #[error("{0:?} is not a URL")]
    NotAUrl(String),
    /// Another scheme.
    #[error("{0:?} must start with ws://, wss:// or dns+ws://")]
    Scheme(String),
    /// `dns+ws://` needs a port.
    #[error("{0:?} needs a host and a port, as in dns+ws://hubs.internal:8080")]
    DnsPort(String),
    /// No host.
    #[error("{0:?} has no host")]
    Host(String),
}

impl HubUrl {
    /// The hub at this `ws` or `wss` URL; its path and query are replaced.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let mut url = Url::parse(text).map_err(|_| BadAddress::NotAUrl(text.to_owned()))?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(BadAddress::Scheme(text.to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(BadAddress::Host(text.to_owned()));
        }
        url.set_path(MESH_PATH);
        url.set_query(None);
        url.set_fragment(None);
        Ok(HubUrl(url))
    }

    /// The hub at this socket address, without TLS.
    pub fn at(address: std::net::SocketAddr) -> Self {
        let text = format!("ws://{address}{MESH_PATH}");
        match Url::parse(&text) {
            Ok(url) => HubUrl(url),
            Err(_) => unreachable!("a socket address makes a URL"),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Bootstrap {
    /// One entry of the list.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let Some(rest) = text.strip_prefix("dns+ws://") else {
            return HubUrl::parse(text).map(Bootstrap::Url);
        };
        // A stand-in scheme without a default port, so that a missing port shows.
        let url = Url::parse(&format!("dns://{rest}")).map_err(|_| BadAddress::NotAUrl(text.to_owned()))?;
        match (url.host_str(), url.port()) {
            (Some(name), Some(port)) if !name.is_empty() => {
                Ok(Bootstrap::Dns { name: name.to_owned(), port })
            }
            _ => Err(BadAddress::DnsPort(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_dialled_at_its_mesh_path_whatever_the_entry_says() {
        for text in ["ws://a:1", "ws://a:1/", "ws://a:1/ws?x=y", "ws://a:1/mesh#z"] {
            assert_eq!(HubUrl::parse(text).unwrap().as_str(), "ws://a:1/mesh");
        }
        assert_eq!(HubUrl::parse("wss://hub.example").unwrap().as_str(), "wss://hub.example/mesh");
    }

    #[test]
    fn other_schemes_and_hostless_urls_are_refused() {
        assert_eq!(HubUrl::parse("http://a"), Err(BadAddress::Scheme("http://a".to_owned())));
        assert_eq!(HubUrl::parse("nonsense"), Err(BadAddress::NotAUrl("nonsense".to_owned())));
        assert!(Bootstrap::parse("dns+ws://name").is_err());
    }

    #[test]
    fn a_dns_entry_names_a_host_and_a_port() {
        let entry = Bootstrap::parse("dns+ws://app.internal:8080").unwrap();
        assert_eq!(entry, Bootstrap::Dns { name: "app.internal".to_owned(), port: 8080 });
    }

    #[test]
    fn an_ipv6_address_makes_a_url() {
        let url = HubUrl::at("[fd00::1]:80".parse().unwrap());
        assert_eq!(url.as_str(), "ws://[fd00::1]/mesh");
    }
}
