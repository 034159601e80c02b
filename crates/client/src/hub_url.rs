//! The address of a hub, and the URL to which a peer connects.
//!
//! Parses `ws://`, `wss://`, `http://` and `https://` addresses with or without a path. A value of [`HubUrl`] is a `ws`
//! or `wss` URL with a host, without query, fragment or credentials.

use std::{fmt, str::FromStr};

use thiserror::Error;
use url::Url;

use crate::PeerId;
use hubmesh_causes as causes;

/// A hub's WebSocket address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubUrl(Url);

/// Why a text is not the address of a hub.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidHubUrl {
    /// It is not a URL.
    #[error("`{text}` is not the URL of a hub: {}", causes::of_url(*.why))]
    NotAUrl {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: url::ParseError,
    },
    /// Hubs do not use this protocol.
    #[error("a hub's URL begins with ws:// or wss:// (http:// and https:// work too), not {0}://")]
    Scheme(String),
    /// It has no host, or has parts that a hub's address must not have.
    #[error("a hub's URL has a host and carries no user, password, query or fragment")]
    Shape,
}

impl HubUrl {
    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "wss"
    }

    /// The host as written, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port, or the scheme's own.
    pub fn port(&self) -> u16 {
        self.0
            .port_or_known_default()
            .unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// The path to which peers connect: `/ws`, unless the address names another.
    pub fn path(&self) -> &str {
        match self.0.path() {
            "" | "/" => "/ws",
            path => path,
        }
    }

    /// The path as written, without a last slash: empty where there is none.
    pub fn prefix(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// The URL to which the peer `id` connects.
    pub fn for_peer(&self, id: &PeerId) -> Url {
        let mut url = self.0.clone();
        url.set_path(self.path());
        url.query_pairs_mut().append_pair("peerId", id.as_str());
        url
    }
}

impl FromStr for HubUrl {
    type Err = InvalidHubUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("ws://{text}")
        };
        let mut url = Url::parse(&with_scheme).map_err(|why| InvalidHubUrl::NotAUrl {
            text: text.to_owned(),
            why,
        })?;
        let scheme = match url.scheme() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            other => return Err(InvalidHubUrl::Scheme(other.to_owned())),
        };
        url.set_scheme(scheme).map_err(|()| InvalidHubUrl::Shape)?;
        let bare = url.query().is_none() && url.fragment().is_none();
        if url.host_str().is_none_or(str::is_empty)
            || !bare
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(InvalidHubUrl::Shape);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}
