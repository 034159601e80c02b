//! The values that settings take: each parses from its text and cannot hold nonsense.
//!
//! The errors say what is allowed, for a person who set the variable. Nothing here reads the environment.

use std::fmt;
use std::str::FromStr;

use http::HeaderValue;
use url::Url;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person to read.
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

/// What happens to a second connection with an id that a living peer holds and that proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DuplicatePeer {
    /// It is refused.
    Refuse,
    /// It takes the id over; the first is told and closed.
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

/// Where a hub is reached: a `ws://` or `wss://` address with a host, without user, password or fragment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HubUrl(Url);

impl HubUrl {
    /// The longest address, in bytes: what hubs tell each other.
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
        let url =
            Url::parse(text).map_err(|why| format!("{why}; use ws://host:port or wss://host"))?;
        let plain =
            url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err("use ws:// or wss://".into());
        }
        if url.port() == Some(0) || !plain || url.as_str().len() > Self::MAX_BYTES {
            let max = Self::MAX_BYTES;
            return Err(format!(
                "use up to {max} bytes, a port above 0, and no user, password or fragment"
            ));
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

/// The port that is written in `address`; a URL itself hides its scheme's default one.
fn explicit_port(address: &str) -> Option<u16> {
    let (_, port) = address.trim_end_matches('/').rsplit_once(':')?;
    port.parse().ok().filter(|port| *port > 0)
}

/// A web page's origin, as browsers write it: scheme, host and port, nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin(HeaderValue);

impl Origin {
    /// The value of the `Origin` header.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is not an origin such as https://example.org");
        let url = Url::parse(text).map_err(|_| refuse())?;
        let bare =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.has_host() || !url.username().is_empty() || url.password().is_some() {
            return Err(refuse());
        }
        // Schemes of apps have an opaque origin in the URL standard, and send `scheme://host` all the same.
        let origin = match url.origin() {
            url::Origin::Tuple(..) => url.origin().ascii_serialization(),
            url::Origin::Opaque(_) => text.trim_end_matches('/').to_owned(),
        };
        HeaderValue::from_str(&origin)
            .map(Origin)
            .map_err(|_| refuse())
    }
}

/// Which web pages may use this hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsOrigins {
    /// All of them.
    Any,
    /// Those of these origins; at least one.
    Only(Vec<Origin>),
}

impl CorsOrigins {
    /// Whether a page of this origin may use the hub. Programs that are no browsers send none, and may.
    pub fn allows(&self, origin: Option<&HeaderValue>) -> bool {
        match (self, origin) {
            (CorsOrigins::Any, _) | (_, None) => true,
            (CorsOrigins::Only(list), Some(origin)) => {
                list.iter().any(|allowed| allowed.0 == origin)
            }
        }
    }
}

impl FromStr for CorsOrigins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .collect();
        match entries.as_slice() {
            ["*"] => Ok(CorsOrigins::Any),
            entries if entries.is_empty() || entries.contains(&"*") => {
                Err("use * alone, or a comma list of origins such as https://example.org".into())
            }
            entries => {
                let list = entries
                    .iter()
                    .map(|entry| entry.parse())
                    .collect::<Result<_, _>>()?;
                Ok(CorsOrigins::Only(list))
            }
        }
    }
}
/// The paths under which PeerJS clients are served, without the slash at the end: `/` is the empty text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerJsPaths(Vec<String>);

impl PeerJsPaths {
    /// Each of them, once.
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
                return Err("use paths like /peerjs, or off");
            }
            let path = path.trim_end_matches('/').to_owned();
            if !paths.contains(&path) {
                paths.push(path);
            }
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

    /// Whether clients may name this one.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|known| known == key)
    }
}

impl FromStr for PeerJsKeys {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let keys: Vec<String> = entries(text).map(str::to_owned).collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let good = |key: &String| key.len() <= Self::MAX_BYTES && key.chars().all(plain);
        if keys.is_empty() || !keys.iter().all(good) {
            return Err("use keys of 1 to 64 letters, digits and -._~, between commas");
        }
        Ok(PeerJsKeys(keys))
    }
}

/// The entries of a comma list, without the blanks around them and without empty ones.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}
