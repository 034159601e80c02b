//! The types of settings: each parses from its text and holds only valid values.
//!
//! The errors tell the operator what is allowed. Nothing here reads the environment.

use std::fmt;
use std::str::FromStr;

use url::Url;

use hubmesh_causes as causes;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for a person.
    Text,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            "auto" => Ok(LogFormat::Auto),
            _ => Err("use json, text or auto"),
        }
    }
}

/// What happens to a second connection that proves nothing, if a living peer holds its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DuplicatePeer {
    /// It is refused.
    Refuse,
    /// It takes the id over; the first peer is told and closed.
    Replace,
}

impl FromStr for DuplicatePeer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "refuse" => Ok(DuplicatePeer::Refuse),
            "replace" => Ok(DuplicatePeer::Replace),
            _ => Err("use refuse or replace"),
        }
    }
}

/// Where other hubs reach this one: a `ws://` or `wss://` address with a host, without user, password, query or
/// fragment. Its path is empty, or the one that hubs dial anyway.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HubUrl(Url);

impl HubUrl {
    /// The longest address, in bytes: hubs tell each other no longer one.
    pub const MAX_BYTES: usize = 256;

    /// The address, as a URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for HubUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|why| format!("{}; use ws://host:port or wss://host", causes::of_url(why)))?;
        let plain =
            url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err("it has to begin with ws:// or wss://".into());
        }
        if url.port() == Some(0) || !plain || url.as_str().len() > Self::MAX_BYTES {
            let max = Self::MAX_BYTES;
            return Err(format!(
                "use up to {max} bytes, a port above 0, and no user, password or fragment"
            ));
        }
        if url.query().is_some() {
            return Err(
                "hubs send no query, so it would be lost; the secret of hubs goes into HUB_TOKEN"
                    .into(),
            );
        }
        if !matches!(url.path(), "" | "/" | "/mesh") {
            return Err(
                "hubs dial /mesh and no other path, so this path would be lost; \
                 have the proxy there pass /mesh on"
                    .into(),
            );
        }
        Ok(HubUrl(url))
    }
}

/// One entry of `BOOTSTRAP_HUBS`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum BootstrapHub {
    /// One hub.
    Url(HubUrl),
    /// Every address that the name resolves to is a hub.
    Dns {
        /// The name to look up.
        host: String,
        /// The port of each hub.
        port: u16,
    },
}

impl fmt::Display for BootstrapHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootstrapHub::Url(url) => url.fmt(f),
            BootstrapHub::Dns { host, port } => write!(f, "dns+ws://{host}:{port}"),
        }
    }
}

impl FromStr for BootstrapHub {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("dns+") else {
            let allowed = "use ws://, wss:// or dns+ws://name:port";
            return text
                .parse()
                .map(BootstrapHub::Url)
                .map_err(|why: String| format!("{why} ({allowed})"));
        };
        let shape = || String::from("use dns+ws://name:port");
        let url = rest.parse::<HubUrl>()?;
        let url = url.url();
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        match (url.scheme(), url.host_str(), explicit_port(rest)) {
            ("ws", Some(host), Some(port)) if bare => Ok(BootstrapHub::Dns {
                host: host.into(),
                port,
            }),
            _ => Err(shape()),
        }
    }
}

/// The port that `address` contains; a URL hides the default port of its scheme.
fn explicit_port(address: &str) -> Option<u16> {
    let (_, port) = address.trim_end_matches('/').rsplit_once(':')?;
    port.parse().ok().filter(|port| *port > 0)
}

/// The paths under which PeerJS clients are served, without the slash at the end: `/` is the empty text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerJsPaths(Vec<String>);

impl PeerJsPaths {
    const ALLOWED: &str = "use paths like /peerjs, or off";

    /// Each path once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for PeerJsPaths {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(PeerJsPaths(Vec::new()));
        }
        let mut paths = Vec::new();
        for path in entries(text) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
            if !path.starts_with('/') || path.contains("//") || !path.chars().all(plain) {
                return Err(PeerJsPaths::ALLOWED);
            }
            if path.split('/').any(is_dots) {
                return Err(
                    "clients resolve . and .. before they ask, so such a path is never asked for",
                );
            }
            let path = path.trim_end_matches('/').to_owned();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(PeerJsPaths::ALLOWED);
        }
        Ok(PeerJsPaths(paths))
    }
}

/// The keys that PeerJS clients may name: one realm each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerJsKeys(Vec<String>);

impl PeerJsKeys {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Whether clients may name this key.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|known| known == key)
    }
}

impl FromStr for PeerJsKeys {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let keys: Vec<String> = entries(text).map(str::to_owned).collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let good =
            |key: &String| key.len() <= Self::MAX_BYTES && key.chars().all(plain) && !is_dots(key);
        if keys.is_empty() || !keys.iter().all(good) {
            return Err(
                "use keys of 1 to 64 letters, digits and -._~ that are not . or .., between commas",
            );
        }
        Ok(PeerJsKeys(keys))
    }
}

/// Whether this part of a path means another one: clients resolve it before they ask.
fn is_dots(part: &str) -> bool {
    matches!(part, "." | "..")
}

/// The entries of a comma list, without the blanks around them, and no empty ones.
pub(super) fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// A comma list of addresses, made safe to show: `***` replaces users, passwords and queries, because operators put
/// tokens there by mistake.
pub(super) fn without_passwords(text: &str) -> String {
    let named = |entry: &str| match entry.rsplit_once('@') {
        None => entry.to_owned(),
        Some((before, host)) => {
            let scheme = before.find("://").map_or(0, |at| at + 3);
            format!("{}***@{host}", before.get(..scheme).unwrap_or_default())
        }
    };
    let shown = |entry: &str| match entry.split_once('?') {
        None => named(entry),
        Some((address, _)) => format!("{}?***", named(address)),
    };
    let entries: Vec<String> = text.split(',').map(shown).collect();
    entries.join(",")
}
